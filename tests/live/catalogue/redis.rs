//! redis: sets and gets, runs a script, saves, rewrites its log of changes, and loads all of it again.

use super::{Program, Wire, uid};
use crate::harness::{Container, Containerd, DEBIAN, Pod, eventually};

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
}
