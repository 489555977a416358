//! `process.max`, `rlimits` and `devices` in the kernel, for the workload and for sessions of either
//! form: never above the profile's, never above the engine's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Bundle, Containerd, Finished, World, eventually};

fn worlds() -> [&'static World; 2] {
    [World::runc(), World::crun()]
}

/// A bundle under `baseline` with `keys`.
fn site(world: &'static World, keys: &str) -> Bundle {
    let text = format!("version: 1\nname: site\nextends: [baseline]\n{keys}\n");
    Bundle::new(world, "mantlet-baseline").profile("site", &text)
}

/// What `harmless limits` prints: name, soft, hard.
fn limits(text: &str) -> BTreeMap<String, (u64, u64)> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [name, soft, hard] = words[..]
            && let (Ok(soft), Ok(hard)) = (soft.parse(), hard.parse())
        {
            all.insert(name.to_owned(), (soft, hard));
        }
    }
    all
}

fn workload(bundle: &Bundle, last: &str) -> String {
    eventually("the workload has printed", || {
        let output = bundle.output();
        output.contains(last).then_some(output)
    })
}

#[test]
fn resource_limits_are_the_lower_of_both_for_the_workload_and_every_session() {
    let keys = "rlimits: {NOFILE: 300, CORE: 0, FSIZE: 1000000, NPROC: {soft: 5000, hard: 6000}}";
    for world in worlds() {
        let engine = json!([
            {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024},
            {"type": "RLIMIT_FSIZE", "soft": 500_000, "hard": 500_000},
        ]);
        let bundle = site(world, keys).edit(|config| config["process"]["rlimits"] = engine);
        let bundle = bundle
            .args(["sh", "-c", "harmless limits; echo done; exec harmless stay"])
            .up();
        let check = |way: &str, text: &str| {
            let have = limits(text);
            assert_eq!(have["NOFILE"], (300, 300), "{way}");
            assert_eq!(have["CORE"], (0, 0), "{way}");
            assert_eq!(have["FSIZE"], (500_000, 500_000), "{way}");
            let (soft, hard) = have["NPROC"];
            assert!(soft <= 5000 && hard <= 6000, "{way}: {soft} {hard}");
        };
        check("workload", &workload(&bundle, "done"));
        let written: Value = serde_json::from_slice(&bundle.on_disk()).expect("JSON");
        assert_eq!(written["process"]["rlimits"][0]["hard"], 300);
        check("exec", &bundle.exec(["harmless", "limits"]).ok().stdout);
        let session =
            bundle.exec_process(|process| process["args"] = json!(["harmless", "limits"]));
        check("exec --process", &session.ok().stdout);
        // A process file of the engine's that asks for less, for more, or says nothing.
        for (asked, nofile) in [(json!(200), 200), (json!(1000), 300), (Value::Null, 300)] {
            let session = bundle.exec_process(|process| {
                process["args"] = json!(["harmless", "limits"]);
                process["rlimits"] = match &asked {
                    Value::Null => json!([]),
                    number => json!([{"type": "RLIMIT_NOFILE", "soft": number, "hard": number}]),
                };
            });
            let have = limits(&session.ok().stdout);
            assert_eq!(have["NOFILE"], (nofile, nofile), "{asked}");
            assert_eq!(have["CORE"], (0, 0), "{asked}");
            assert!(have["FSIZE"].1 <= 1_000_000, "{asked}");
        }
        // Root without CAP_SYS_RESOURCE cannot take them back.
        let raised = bundle.exec(["sh", "-c", "ulimit -n 301"]);
        assert_ne!(raised.code, 0, "{}", raised.stderr);
    }
}

#[test]
fn a_bound_above_what_a_process_inherits_raises_nothing() {
    // This call's own hard limit is lower than the profile's bound, and the engine says nothing.
    let keys = "rlimits: {NOFILE: 100000, CORE: 4096}";
    for world in worlds() {
        let bundle = site(world, keys).edit(|config| config["process"]["rlimits"] = json!([]));
        let bundle = bundle.args(["sh", "-c", "harmless limits; echo done; exec harmless stay"]);
        bundle.write();
        let call = bundle.call_after("ulimit -n 700 && ulimit -c 0");
        assert_eq!(bundle.create_with(call, &[]), 0, "{:?}", bundle.errors());
        bundle.start().ok();
        let have = limits(&workload(&bundle, "done"));
        assert_eq!((have["NOFILE"], have["CORE"]), ((700, 700), (0, 0)));
    }
}

/// `forks: MADE of COUNT` as `hostile forks` prints it.
fn forked(done: &Finished) -> u64 {
    let line = done
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("forks: "));
    let made = line.and_then(|line| line.split(' ').next()?.parse().ok());
    made.unwrap_or_else(|| panic!("no count in {:?} {:?}", done.stdout, done.stderr))
}

#[test]
fn the_pids_limit_holds_for_the_workload_and_its_sessions_together() {
    for world in worlds() {
        for (engine, most) in [
            (json!(null), 40),
            (json!({"limit": -1}), 40),
            (json!({"limit": 0}), 40),
            (json!({"limit": 30}), 30),
        ] {
            let bundle = site(world, "process: {max: 40}").edit(|config| {
                config["linux"]["resources"]["pids"] = engine.clone();
            });
            let bundle = bundle.args(["harmless", "stay"]).up();
            let pid = bundle.pid().expect("it runs");
            assert_eq!(pids_max(world, pid), most.to_string(), "{engine}");
            let session = bundle
                .exec(["hostile", "forks", "100"])
                .expect(libc::EAGAIN);
            // The workload and the session itself are two of them.
            assert!(forked(&session) < most - 1, "{engine}: {}", session.stdout);
            let session =
                bundle.exec_process(|process| process["args"] = json!(["hostile", "forks", "100"]));
            assert!(forked(&session.expect(libc::EAGAIN)) < most - 1);
            bundle.exec(["harmless", "work"]).ok();
        }
    }
}

#[test]
fn the_fewest_tasks_that_a_profile_may_write_are_enough_to_start_and_to_exec() {
    for world in worlds() {
        let bundle = site(world, "process: {max: 16}")
            .args(["harmless", "stay"])
            .up();
        for _ in 0..5 {
            bundle.exec(["harmless", "echo", "x"]).ok();
        }
    }
}

/// What the pids controller says of the cgroup of `pid`.
fn pids_max(world: &World, pid: i32) -> String {
    let text = std::fs::read_to_string(world.proc(pid).join("cgroup")).expect("it runs");
    let line = text.lines().find(|line| line.contains(":pids:"));
    let path = line
        .and_then(|line| line.rsplit(':').next())
        .expect("a pids cgroup");
    let file = format!("/sys/fs/cgroup/pids{path}/pids.max");
    std::fs::read_to_string(world.inside(file))
        .expect("its limit")
        .trim()
        .to_owned()
}

/// Every device and two nodes, as an engine gives a privileged container.
fn all_devices(config: &mut Value) {
    config["linux"]["devices"] = json!([
        {"path": "/dev/loop-control", "type": "c", "major": 10, "minor": 237, "fileMode": 438},
        {"path": "/dev/latency", "type": "c", "major": 10, "minor": 259, "fileMode": 438},
    ]);
    config["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
}

#[test]
fn devices_that_the_profile_does_not_list_cannot_be_opened() {
    for world in worlds() {
        let every = site(world, "description: every device")
            .edit(all_devices)
            .up();
        for node in ["/dev/loop-control", "/dev/latency"] {
            every.exec(["harmless", "read", node]).ok();
        }
        let one = "devices: ['@standard', {path: /dev/loop*, access: r}]";
        let bundle = site(world, one).edit(all_devices).up();
        bundle.exec(["harmless", "read", "/dev/loop-control"]).ok();
        bundle
            .exec(["hostile", "write-file", "/dev/loop-control"])
            .expect(libc::EPERM);
        bundle
            .exec(["harmless", "read", "/dev/latency"])
            .expect(libc::ENOENT);
        bundle.exec(["harmless", "write", "/dev/null", "x"]).ok();
        bundle
            .exec(["sh", "-c", "head -c 1 /dev/zero >/dev/null"])
            .ok();

        // A node from elsewhere: bound from the host's /dev, with numbers that are not listed.
        let bound = json!({"destination": "/bound", "type": "bind", "source": "/dev/loop-control",
                           "options": ["bind", "rw"]});
        let standard = site(world, "devices: ['@standard']").edit(all_devices);
        let standard = standard
            .edit(|config| config["mounts"].as_array_mut().expect("mounts").push(bound))
            .up();
        standard
            .exec(["harmless", "read", "/bound"])
            .expect(libc::EPERM);
        standard.exec(["harmless", "work"]).ok();
    }
}

#[test]
fn the_device_of_a_device_plugin_works_under_the_shipped_profiles() {
    let containerd = Containerd::shared();
    for handler in crate::harness::HANDLERS {
        let pod = containerd.pod(handler).run();
        let with = pod.container("with").device("/dev/loop-control").run();
        with.exec(["harmless", "read", "/dev/loop-control"]).ok();
        let without = pod.container("without").run();
        without
            .exec(["harmless", "read", "/dev/loop-control"])
            .expect(libc::ENOENT);
    }
}

#[test]
fn inspect_shows_what_is_limited() {
    let world = World::runc();
    let keys = "process: {max: 40, refuse: [{host-path: [/srv/**]}]}\nrlimits: {NOFILE: 300}\n\
                devices: ['@standard']";
    let bundle = site(world, keys).args(["harmless", "stay"]).up();
    let shown = world.mantlet(["inspect", "--json", &bundle.id]).ok().stdout;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let effective = &shown["record"]["effective"];
    assert_eq!(effective["limits"]["tasks"], 40);
    assert_eq!(effective["limits"]["rlimits"]["NOFILE"]["hard"], 300);
    assert_eq!(effective["profiles"][0]["devices"], json!(["standard"]));
    assert_eq!(effective["refuse"], json!([{"host-path": "/srv/**"}]));
}
