//! What `respond` does: to a call, to a process, to a container.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::detect::{ended, of_type, prints, responded, site, to_the_end, worlds};
use crate::harness::{Bundle, World, eventually};

/// Waits until the runtime says so.
fn stopped(bundle: &Bundle) {
    eventually("the runtime calls it stopped", || {
        (bundle.state()?["status"] == "stopped").then_some(())
    });
}

#[test]
fn a_tripwire_ends_its_process_before_it_hears_the_answer() {
    let keys = "detect: [{name: keys, on: tripwire, calls: [keyctl], respond: kill-process}]";
    let script = "hostile keyctl; echo code $?; hostile mount; echo other $?; exit 0";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        lived
            .printed("code 137")
            .printed(&format!("other {}", libc::EPERM));
        assert!(!lived.output.contains("keyctl:"), "{}", lived.output);
        let responses = lived.of_type("response");
        assert_eq!(responses.len(), 1, "{responses:?}");
        let response = responses[0];
        assert_eq!(response["action"], "kill-process");
        assert_eq!(response["by"], "site/keys");
        assert_eq!(response["pid"], lived.one("keys")["process"]["pid"]);
        assert!(response.get("failed").is_none(), "{response}");
    }
}

#[test]
fn an_execution_ends_its_process_before_the_program_runs() {
    let keys = "detect: [{name: new, on: drift, respond: kill-process}]";
    let script = "cp /bin/harmless /tmp/new; /tmp/new echo ran; echo code $?; exit 0";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        lived.printed("code 137");
        assert!(!lived.output.contains("ran"), "{}", lived.output);
        assert_eq!(lived.of_type("response")[0]["action"], "kill-process");
    }
}

#[test]
fn a_process_without_its_first_thread_is_ended_too() {
    let keys = "detect: [{name: keys, on: tripwire, calls: [keyctl], respond: kill-process}]";
    for world in worlds() {
        let lived = to_the_end(
            site(world, keys),
            "hostile headless keyctl; echo code $?; exit 0",
        );
        lived.printed("headless: keyctl").printed("code 137");
        let response = lived.of_type("response")[0];
        assert!(response.get("failed").is_none(), "{response}");
    }
}

const KILL: &str = "detect: [{name: keys, on: tripwire, calls: [keyctl], respond: kill-container}]";

#[test]
fn a_container_is_ended_as_a_whole() {
    let script = "/bin/sleep 1000 & setsid /bin/sleep 1000 & hostile headless stay & \
                  hostile keyctl; echo survived; exec harmless stay";
    for world in worlds() {
        let bundle = site(world, KILL).args(["sh", "-c", script]).up();
        eventually("the container is gone", || ended(&bundle));
        assert!(!bundle.output().contains("survived"), "{}", bundle.output());
        stopped(&bundle);
        let response = &of_type(&bundle, "response")[0];
        assert_eq!(response["action"], "kill-container");
        assert_eq!(response["by"], "site/keys");
        assert!(
            response["pid"].is_null() && response.get("failed").is_none(),
            "{response}"
        );
        bundle.call().arg("delete").arg(&bundle.id).run().ok();
        assert!(bundle.state().is_none());
    }
}

/// Pids of the container's cgroup, in the world's numbers.
fn members(bundle: &Bundle) -> Vec<i32> {
    let path = format!(
        "/sys/fs/cgroup/freezer{}/{}/cgroup.procs",
        bundle.world().cgroup(),
        bundle.id
    );
    let text = std::fs::read_to_string(bundle.world().inside(path)).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn with_a_shared_pid_namespace_nobody_is_left_over() {
    for world in worlds() {
        let script = "/bin/sleep 1000 & setsid /bin/sleep 1000 & hostile headless stay & \
                      echo begun; exec harmless stay";
        let bundle = site(world, KILL).edit(|config| {
            let namespaces = config["linux"]["namespaces"]
                .as_array_mut()
                .expect("a list");
            namespaces.retain(|space| space["type"] != "pid");
        });
        let bundle = bundle.args(["sh", "-c", script]).up();
        prints(&bundle, "headless: stay");
        assert!(members(&bundle).len() >= 4, "{:?}", members(&bundle));
        bundle.exec(["hostile", "keyctl"]).refused();
        let response = responded(&bundle, "kill-container");
        assert!(response.get("failed").is_none(), "{response}");
        eventually("nobody is left", || {
            members(&bundle).is_empty().then_some(())
        });
        stopped(&bundle);
        eventually("the last line is written", || ended(&bundle));
        bundle.call().arg("delete").arg(&bundle.id).run().ok();
    }
}

#[test]
fn a_number_of_tasks_and_a_lack_of_memory_end_the_container() {
    let world = World::runc();
    let keys = "detect: [{name: many, on: process-count, above: 5, respond: kill-container}]";
    let script =
        "for n in 1 2 3 4 5 6; do /bin/sleep 100 & done; harmless exit 0; exec harmless stay";
    let bundle = site(world, keys).args(["sh", "-c", script]).up();
    eventually("the container is gone", || ended(&bundle));
    assert_eq!(of_type(&bundle, "response")[0]["by"], "site/many");
    let keys = "detect: [{name: oom, on: oom-kill, respond: kill-container}]";
    let bundle = site(world, keys).edit(|config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 64 << 20, "swap": 64 << 20});
    });
    let script = "dd if=/dev/zero of=/dev/null bs=200M count=1; exec harmless stay";
    let bundle = bundle.args(["sh", "-c", script]).up();
    eventually("the container is gone", || ended(&bundle));
    assert_eq!(of_type(&bundle, "response")[0]["by"], "site/oom");
}

#[test]
fn a_count_outlives_the_watcher_that_began_it() {
    let keys =
        "detect: [{name: keys, on: tripwire, calls: [keyctl], after: 3, respond: kill-container}]";
    let world = World::runc();
    let bundle = site(world, keys).up();
    let watcher = || {
        let status = world.mantlet(["ps", "--json"]).stdout;
        let all: Value = serde_json::from_str(&status).expect("JSON");
        let own = all.as_array().cloned().unwrap_or_default().into_iter();
        let mut own = own.filter(|one| one["id"] == bundle.id.as_str());
        own.next()?["watcher"]["pid"].as_i64().map(|pid| pid as i32)
    };
    for _ in 0..2 {
        bundle.exec(["hostile", "keyctl"]).expect(libc::EPERM);
        let before = of_type(&bundle, "watcher").len();
        let pid = eventually("there is a watcher", watcher);
        assert!(world.signal(pid, Signal::SIGKILL));
        eventually("another one takes over", || {
            (of_type(&bundle, "watcher").len() > before).then_some(())
        });
    }
    bundle.exec(["hostile", "keyctl"]).refused();
    let events = eventually("the container is gone", || ended(&bundle));
    let hits: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "detection")
        .map(|event| (event["hits"].as_u64(), event["due"].as_bool()))
        .collect();
    assert_eq!(
        hits,
        [
            (Some(1), Some(false)),
            (Some(2), Some(false)),
            (Some(3), Some(true))
        ]
    );
}

#[test]
fn an_exemption_is_by_the_program_that_is_seen() {
    let keys = "detect:
  - {name: new, on: drift, respond: deny, unless: [/tmp/plugin]}
  - {name: keys, on: tripwire, calls: [keyctl], respond: kill-process, unless: [/bin/hostile]}";
    let script =
        "cp /bin/harmless /tmp/plugin; cp /bin/harmless /tmp/other; cp /bin/hostile /bin/plain
        /tmp/plugin exit 0; echo plugin $?; /tmp/other exit 0; echo other $?
        hostile keyctl; echo excepted $?; exit 0";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        lived.printed("plugin 0").printed("other 126");
        lived.printed(&format!("excepted {}", libc::EPERM));
        assert_eq!(lived.files("new"), ["/tmp/other"]);
        assert!(lived.detections("keys").is_empty());
    }
}

#[test]
fn a_log_rule_refuses_nothing() {
    let keys = "detect: [{on: drift}, {on: fileless-exec}, {on: privilege-change}, {on: exec}, {on: exit}]";
    let script = "cp /bin/harmless /tmp/new; /tmp/new exit 0; echo new $?; exit 0";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        lived.printed("new 0");
        assert_eq!(lived.one("drift")["respond"], "log");
        assert!(lived.of_type("response").is_empty());
    }
}

#[test]
fn a_person_ends_a_container() {
    for world in worlds() {
        let bundle = site(world, "").up();
        world.mantlet(["kill", &bundle.id]).ok();
        let events = eventually("the container is gone", || ended(&bundle));
        let response = events.iter().find(|event| event["type"] == "response");
        let response = response.unwrap_or_else(|| panic!("{events:#?}"));
        assert_eq!(response["by"], "mantlet");
        assert_eq!(response["action"], "kill-container");
        stopped(&bundle);
        let gone = world.mantlet(["freeze", &bundle.id]);
        assert_ne!(gone.code, 0, "{}", gone.stdout);
    }
}

/// Not asserted: how long from the call to the process's end, as the kernel's clock has it.
#[test]
fn a_tripwire_s_end_is_measured() {
    let keys = "detect: [{name: keys, on: tripwire, calls: [keyctl], respond: kill-process}]";
    let script = "for n in $(seq 50); do hostile keyctl; done; exit 0";
    let lived = to_the_end(site(World::runc(), keys), script);
    let at =
        |event: &Value| humantime::parse_rfc3339(event["time"].as_str().unwrap_or_default()).ok();
    let wires = lived.of_type("tripwire").into_iter().filter_map(at);
    let ends = lived.of_type("response").into_iter().filter_map(at);
    let mut took: Vec<_> = wires
        .zip(ends)
        .filter_map(|(from, to)| to.duration_since(from).ok())
        .collect();
    took.sort_unstable();
    println!(
        "tripwire to response, by the journal's times: median {:?} of {}",
        took[took.len() / 2],
        took.len()
    );
    assert_eq!(took.len(), 50);
}
