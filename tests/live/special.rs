//! Containers out of the ordinary. Each kind × runtime, and where its test is:
//!
//! | kind | runc | crun | containerd |
//! |---|---|---|---|
//! | pause | `table` | `table` | `table` |
//! | init, ephemeral | | | `table` |
//! | privileged | `table` | `table` | `table` |
//! | user-namespaced | here | here | 1.6 makes none |
//! | idmapped volume | 1.1.5 cannot | here | |
//! | shared pid namespace | | | here |
//! | hostPID | here | here | here |
//! | terminal, of workload and session | `failures`, `table` | `failures`, `table` | `sessions`, `workloads` |
//! | low rlimits, of workload and session | here | here | |
//! | `--preserve-fds`, socket activation | `hygiene` | `hygiene` | |
//! | hooks of every stage | `table` | `table` | |
//! | AppArmor or SELinux label | on the rewritten config.json: `policy::tests` | | |
//! | init mounted, as under SELinux | `bound` | `bound` | |
//!
//! Labels cannot be run here: neither module is active, and the runtimes then refuse the label.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Bundle, Container, Containerd, World, eventually};

fn worlds() -> [&'static World; 2] {
    [World::runc(), World::crun()]
}

/// Uids and gids of the container from here on, on the host.
const MAPPED: u32 = 100_000;

fn in_user_namespace(config: &mut Value) {
    let linux = &mut config["linux"];
    let namespaces = linux["namespaces"].as_array_mut().expect("namespaces");
    namespaces.push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": MAPPED, "size": 65536}]);
    linux["uidMappings"] = map.clone();
    linux["gidMappings"] = map;
}

/// What the kernel says of a process under `restricted`.
#[track_caller]
fn assert_held(world: &World, pid: i32) {
    let seen = |field| world.status(pid, field).expect("it runs");
    assert_eq!(seen("CapEff"), "0000000000000400");
    assert_eq!(seen("NoNewPrivs"), "1");
    assert_eq!(seen("Seccomp_filters"), "2");
}

#[test]
fn a_container_in_a_user_namespace_is_held_and_so_are_its_sessions() {
    for world in worlds() {
        let site = "version: 1\nname: site\nextends: [restricted]\n\
                    process: {refuse: [root-user]}\n";
        // Root of a user namespace is somebody else on the host: the rule is not about it.
        let bundle = Bundle::new(world, "mantlet-restricted").profile("site", site);
        let bundle = bundle.edit(in_user_namespace).up();
        let pid = eventually("the workload runs", || {
            bundle
                .output()
                .contains("staying")
                .then(|| bundle.pid())
                .flatten()
        });
        assert_held(world, pid);
        let uid = world.status(pid, "Uid").expect("it runs");
        assert!(uid.starts_with(&MAPPED.to_string()), "{uid}");
        let ask = "harmless status; hostile unshare-user; echo unshare $?; \
                   harmless write /tmp/planted x; echo write $?; cat /proc/self/uid_map";
        let form = bundle.exec(["sh", "-c", ask]);
        let file = bundle.exec_process(|process| process["args"] = json!(["sh", "-c", ask]));
        for done in [form, file] {
            let text = done.stdout.replace('\t', " ");
            for line in [
                "CapEff: 0000000000000400",
                "Seccomp_filters: 2",
                "unshare 1",
                "write 13",
            ] {
                assert!(
                    text.contains(line),
                    "{}: {line}\n{text}{}",
                    world.runtime(),
                    done.stderr
                );
            }
            assert!(text.contains(&MAPPED.to_string()), "{text}");
        }
        let journal = bundle.journal();
        assert!(
            journal.iter().any(|event| event["syscall"] == "unshare"),
            "{journal:?}"
        );
    }
}

/// runc before 1.2 knows no idmapped mounts.
#[test]
fn an_idmapped_volume_of_a_user_namespaced_container_is_written_and_not_executed_from() {
    let world = World::crun();
    let bundle = Bundle::new(world, "mantlet-restricted").edit(in_user_namespace);
    let volume = bundle.path.join("volume");
    fs::create_dir(&volume).expect("a folder of our own");
    let mount = json!({"destination": "/volume", "type": "bind", "source": volume,
        "options": ["bind", "rw", "idmap"]});
    let bundle = bundle.edit(|config| config["mounts"].as_array_mut().expect("mounts").push(mount));
    let bundle = bundle.up();
    bundle.exec(["harmless", "write", "/volume/x", "x"]).ok();
    bundle
        .exec(["hostile", "write-exec", "/volume/y"])
        .expect(libc::EACCES);
    // The host's root, not the mapped one, owns what it wrote.
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(volume.join("x")).expect("it was written");
    assert_eq!(meta.uid(), 0);
}

/// Limits under which neither runc nor init could live: init lowers them as its last act.
#[test]
fn limits_too_low_for_the_runtime_hold_for_the_workload_and_a_session() {
    let low = [
        ("NOFILE", 6_u64),
        ("NPROC", 8),
        ("AS", 64 << 20),
        ("DATA", 8 << 20),
        ("FSIZE", 4096),
        ("CPU", 3),
        ("STACK", 256 << 10),
    ];
    let limits = |factor: u64| -> Value {
        let one = |(name, value): &(&str, u64)| json!({"type": format!("RLIMIT_{name}"), "soft": value * factor, "hard": value * factor});
        low.iter().map(one).collect()
    };
    for world in worlds() {
        let bundle = Bundle::new(world, "mantlet-restricted").args(["harmless", "limits"]);
        let bundle = bundle
            .edit(|config| config["process"]["rlimits"] = limits(1))
            .up();
        let output = eventually("it has told", || {
            let text = bundle.output();
            text.contains("CORE").then_some(text)
        });
        let up = Bundle::new(world, "mantlet-restricted");
        let up = up
            .edit(|config| config["process"]["rlimits"] = limits(1))
            .args(["harmless", "stay"])
            .up();
        // The command line takes the workload's; a process file has its own.
        let form = up.exec(["harmless", "limits"]).ok().stdout;
        let file = up.exec_process(|process| {
            process["args"] = json!(["harmless", "limits"]);
            process["rlimits"] = limits(2);
        });
        let file = file.ok().stdout;
        for (name, value) in low {
            let line = |factor: u64| format!("{name} {0} {0}\n", value * factor);
            let runtime = world.runtime();
            assert!(output.contains(&line(1)), "{runtime}: {name}\n{output}");
            assert!(form.contains(&line(1)), "{runtime}: {name}\n{form}");
            assert!(file.contains(&line(2)), "{runtime}: {name}\n{file}");
        }
    }
}

#[test]
fn a_container_in_the_hosts_pid_namespace_is_held_and_its_supervisor_leaves_with_it() {
    for world in worlds() {
        let host_pid = |config: &mut Value| {
            let namespaces = config["linux"]["namespaces"]
                .as_array_mut()
                .expect("namespaces");
            namespaces.retain(|namespace| namespace["type"] != "pid");
        };
        let refused = Bundle::new(world, "mantlet-restricted").edit(host_pid);
        refused.write();
        assert_ne!(refused.create(), 0);
        assert!(
            refused.errors()[0].contains("refuses host-pid containers"),
            "{:?}",
            refused.errors()
        );

        let bundle = Bundle::new(world, "mantlet-baseline").edit(host_pid);
        // A child that outlives its parent there: nothing but the cgroup tells whose it is.
        let bundle = bundle
            .args(["sh", "-c", "harmless stay & exec harmless stay"])
            .up();
        let pid = eventually("the workload runs", || {
            bundle
                .output()
                .contains("staying")
                .then(|| bundle.pid())
                .flatten()
        });
        assert_eq!(world.status(pid, "Seccomp_filters").as_deref(), Some("2"));
        bundle.exec(["harmless", "work"]).ok();
        // The world's own first process is there to be seen, and out of reach all the same.
        bundle.exec(["hostile", "mem-write", "1"]).refused();
        bundle.exec(["hostile", "ptrace", "1"]).refused();
        bundle
            .call()
            .args(["kill", "--all", &bundle.id, "KILL"])
            .run();
        bundle.delete().ok();
        eventually("the supervisor leaves", || {
            bundle.supervisors().is_empty().then_some(())
        });
    }
}

/// `shareProcessNamespace: true`.
const SHARED: i32 = 0;

fn two_containers(
    handler: &str,
    check: impl Fn(&Containerd, &Container<'_>, &Container<'_>, &str),
) {
    let containerd = Containerd::shared();
    let pod = containerd.pod(handler).namespaces(0, SHARED, 0).run();
    let container = |name: &str| {
        let mut container = pod.container(name);
        let options = container
            .security()
            .namespace_options
            .get_or_insert_default();
        options.pid = SHARED;
        container.shell("echo begun; exec harmless stay").run()
    };
    let (one, other) = (container("one"), container("other"));
    one.await_log("begun");
    let inside = containerd
        .world()
        .status(one.pid(), "NSpid")
        .expect("it runs");
    let inside = inside.split_whitespace().last().expect("a pid").to_owned();
    check(containerd, &one, &other, &inside);
}

#[test]
fn containers_that_share_a_pid_namespace_cannot_reach_into_each_other() {
    // The control: there is something to be kept from.
    two_containers("runc", |_, _, other, pid| {
        other.exec(["hostile", "mem-write", pid]).expect(0);
    });
    for handler in ["mantlet-baseline", "mantlet-restricted"] {
        two_containers(handler, |containerd, one, other, pid| {
            for attack in ["mem-write", "ptrace", "vm-write", "vm-read", "pidfd-getfd"] {
                other.exec(["hostile", attack, pid]).refused();
            }
            // Sessions of the container itself are siblings of its workload.
            one.exec(["hostile", "mem-write", pid]).refused();
            other.exec(["hostile", "kill", pid]).ok();

            // A denial is told of the container whose process it was, and of no other.
            other.exec(["hostile", "keyctl"]).expect(libc::EPERM);
            let told = |container: &Container<'_>| {
                let end = format!("-{}.jsonl", container.id);
                let logs = fs::read_dir(containerd.world().log_dir())
                    .expect("journals")
                    .flatten();
                let path = logs
                    .map(|entry| entry.path())
                    .find(|path| path.to_string_lossy().ends_with(&end));
                fs::read_to_string(path.expect("a journal")).expect("a file")
            };
            eventually("it is told", || {
                told(other).contains("keyctl").then_some(())
            });
            assert!(!told(one).contains("keyctl"));

            // One ends; the other's supervisor and sessions stay.
            other.stop(0).expect("it stops");
            one.exec(["harmless", "work"]).ok();
            eventually("its supervisor leaves", || {
                told(other).contains("\"end\"").then_some(())
            });
            assert!(!told(one).contains("\"end\""));
        });
    }
}
