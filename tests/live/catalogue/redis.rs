//! redis: sets and gets, runs a script, saves, rewrites its log of changes, and loads all of it again.

use super::{Attack, Program, Wire, furnished, said, uid};
use crate::harness::{Container, Containerd, DEBIAN, Pod, eventually, image};

pub struct Redis;

const PORT: u16 = 6379;

fn ask(wire: &Wire, command: &str) -> String {
    let answer = wire.ask(PORT, &format!("{command}\r\nQUIT\r\n"), |text| {
        text.ends_with("+OK\r\n") && text.len() > 5
    });
    answer.unwrap_or_default()
}

impl Redis {
    fn server<'a>(&self, pod: &'a Pod<'_>, name: &str) -> Container<'a> {
        let user = uid("debian", "redis");
        let container = pod
            .container(name)
            .image(DEBIAN)
            .user(user.into())
            .read_only();
        container.command([
            "redis-server",
            "--dir",
            "/data",
            "--appendonly",
            "yes",
            "--bind",
            "127.0.0.1",
        ])
    }
}

impl Program for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn import(&self, daemon: &Containerd) {
        daemon.with_debian();
    }

    fn live(&self, pod: &Pod<'_>) -> Vec<String> {
        let first = self
            .server(pod, "first")
            .volume("/data", uid("debian", "redis"))
            .run();
        let wire = Wire::of(&first);
        eventually("redis answers", || {
            ask(&wire, "PING").contains("PONG").then_some(())
        });
        assert!(ask(&wire, "SET key value").starts_with("+OK"));
        assert!(
            ask(
                &wire,
                "EVAL \"return redis.call('incrby', KEYS[1], 41)\" 1 n"
            )
            .starts_with(":41")
        );
        for number in 0..50 {
            ask(&wire, &format!("LPUSH list {number}"));
        }
        assert!(ask(&wire, "BGSAVE").contains("started"));
        let persisted = |what: &str, word: &str| {
            eventually(what, || {
                ask(&wire, "INFO persistence").contains(word).then_some(())
            });
        };
        persisted("the fork has saved", "rdb_bgsave_in_progress:0");
        assert!(ask(&wire, "BGREWRITEAOF").starts_with('+'));
        persisted("the log is rewritten", "aof_rewrite_in_progress:0");
        assert!(ask(&wire, "INFO persistence").contains("aof_last_bgrewrite_status:ok"));
        assert!(ask(&wire, "SAVE").starts_with("+OK"));
        let folder = first.volume_path("/data");
        first.stop(30).expect("StopContainer");
        assert_eq!(first.status().exit_code, 0);
        assert!(folder.join("dump.rdb").exists());
        let second = self
            .server(pod, "second")
            .mount(&folder, "/data", false)
            .run();
        let wire = Wire::of(&second);
        eventually("the data is there again", || {
            ask(&wire, "GET key").contains("value").then_some(())
        });
        assert!(ask(&wire, "LLEN list").starts_with(":50"));
        second.stop(30).expect("StopContainer");
        vec![first.id.clone(), second.id.clone()]
    }

    fn attacks(&self) -> &'static [Attack] {
        &[
            Attack {
                what: "a line for cron, by way of a dump",
                profile: None,
                carry_out: |pod| {
                    let (container, wire) = open(pod);
                    let set = ask(&wire, "CONFIG SET dir /etc/cron.d");
                    if !set.starts_with("+OK") {
                        return Some(set);
                    }
                    ask(&wire, "SET x \"* * * * * root id\"");
                    let saved = ask(&wire, "SAVE");
                    let there = container
                        .volume_path("/etc/cron.d")
                        .join("dump.rdb")
                        .exists();
                    assert_eq!(there, saved.starts_with("+OK"), "{saved}");
                    if there {
                        return None;
                    }
                    container.await_log("RDB");
                    Some(container.logs())
                },
                refused: &["Permission denied"],
            },
            Attack {
                what: "a module that was uploaded",
                profile: None,
                carry_out: |pod| {
                    let (container, wire) = open(pod);
                    ask(&wire, "MODULE LOAD /data/evil.so");
                    container.await_log("/data/evil.so");
                    let log = container.logs();
                    // It is mapped, and found to be no module: its constructors have run by then.
                    (!log.contains("does not export RedisModule_OnLoad")).then_some(log)
                },
                refused: &["failed to map segment from shared object"],
            },
            Attack {
                what: "a shell",
                profile: None,
                carry_out: |pod| said(&open(pod).0, &["/bin/sh", "-c", "id"]),
                refused: &["permission denied", "Permission denied"],
            },
        ]
    }
}

/// A server that lets everybody do everything, with folders that only permissions would protect.
fn open<'a>(pod: &'a Pod<'_>) -> (Container<'a>, Wire) {
    let user = uid("debian", "redis");
    let container = pod.container("open").image(DEBIAN).user(user.into());
    let data = furnished(&container, "/data", user, &[]);
    let library = image("debian-rootfs").join("usr/lib/x86_64-linux-gnu/libz.so.1");
    let evil = data.join("evil.so");
    std::fs::copy(library, &evil).expect("a library of the image");
    std::os::unix::fs::chown(&evil, Some(user), Some(user)).expect("our own file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&evil, mode).expect("our own file");
    let cron = furnished(&container, "/etc/cron.d", user, &[]);
    let container = container
        .mount(&data, "/data", false)
        .mount(&cron, "/etc/cron.d", false);
    let args = ["redis-server", "--dir", "/data", "--bind", "127.0.0.1"];
    let open = [
        "--enable-protected-configs",
        "yes",
        "--enable-module-command",
        "yes",
    ];
    let container = container.command([&args[..], &open].concat()).run();
    let wire = Wire::of(&container);
    eventually("redis answers", || {
        ask(&wire, "PING").contains("PONG").then_some(())
    });
    (container, wire)
}
