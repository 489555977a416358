//! `detect:` through a real engine: whose pod it was, sessions of the kubelet's, and what it shows of
//! a container that is ended or frozen.

use std::sync::OnceLock;

use serde_json::Value;

use crate::harness::{Container, Containerd, State, World, eventually};

const SITE: &str = r#"
version: 1
name: site
extends: [baseline]
detect:
  - {name: new, on: drift, respond: deny}
  - {name: shells, on: exec, programs: ["@shells"]}
  - {name: reverse, on: reverse-shell, respond: kill-container}
  - {name: escape, on: tripwire, calls: ["@mount"], after: 2, respond: kill-container}
  - {name: keys, on: tripwire, calls: [keyctl], respond: freeze, for: 1h}
"#;

fn daemon() -> &'static Containerd {
    static DAEMON: OnceLock<Containerd> = OnceLock::new();
    DAEMON.get_or_init(|| Containerd::with_profile(World::runc(), "detect", SITE))
}

/// Events of a container so far.
fn events(container: &Container<'_>) -> Vec<Value> {
    let root = "/run/containerd/runc/k8s.io";
    let world = daemon().world();
    let path = mantlet::state::journal_path(&world.log_dir(), root.as_ref(), &container.id);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("the journal is JSON lines"))
        .collect()
}

#[track_caller]
fn told(container: &Container<'_>, key: &str, word: &str) -> Value {
    eventually(&format!("{key}: {word}"), || {
        let mut all = events(container).into_iter();
        all.find(|event| event[key] == word)
    })
}

#[test]
fn a_pod_s_detections_say_whose_they_are() {
    let pod = daemon().pod("mantlet-baseline").run();
    let container = pod.container("main").run();
    container.exec(["cp", "/bin/harmless", "/tmp/new"]).ok();
    container.sh("/tmp/new exit 0").expect(126);
    let event = told(&container, "rule", "new");
    assert_eq!(event["container"]["id"], container.id.as_str());
    assert_eq!(event["container"]["name"], "main");
    assert_eq!(event["container"]["namespace"], "default");
    assert!(event["container"]["pod"].is_string(), "{event}");
    assert_eq!(event["profiles"], serde_json::json!(["site"]));
    // Sessions with pipes and with a terminal are shells, and no reverse shells.
    container
        .exec_tty(["/bin/sh"], "exit 0\n")
        .expect("a session");
    let shells = || {
        let all = events(&container).into_iter();
        all.filter(|event| event["rule"] == "shells").count()
    };
    eventually("both shells are told", || (shells() >= 2).then_some(()));
    assert!(
        events(&container)
            .iter()
            .all(|event| event["rule"] != "reverse")
    );
    assert_eq!(container.state(), State::Running);
}

#[test]
fn the_engine_sees_a_container_that_is_ended() {
    let pod = daemon().pod("mantlet-baseline").run();
    let container = pod.container("main").run();
    container.exec(["hostile", "mount"]).expect(libc::EPERM);
    let _ = container.try_exec(["hostile", "mount"]);
    assert_eq!(container.wait(), 137);
    let response = told(&container, "action", "kill-container");
    assert_eq!(response["by"], "site/escape");
    container.remove().expect("it is gone");
    // A reverse shell takes the server with it.
    let container = pod.container("second").run();
    let _ = container.try_exec(["harmless", "talk", "tcp", "/bin/sh", "-c", ":"]);
    assert_eq!(container.wait(), 137);
    assert_eq!(
        told(&container, "action", "kill-container")["by"],
        "site/reverse"
    );
}

#[test]
fn the_engine_shows_a_frozen_container_as_running_and_can_stop_it() {
    let pod = daemon().pod("mantlet-baseline").run();
    let container = pod
        .container("main")
        .shell("hostile keyctl; exec harmless stay")
        .run();
    let event = told(&container, "action", "freeze");
    assert_eq!(event["by"], "site/keys");
    told(&container, "action", "evidence");
    assert_eq!(container.state(), State::Running);
    let refused = container
        .try_exec(["harmless", "exit", "0"])
        .expect_err("it is frozen");
    assert!(refused.contains("mantlet thaw"), "{refused}");
    // SIGTERM, then SIGKILL.
    container.stop(1).expect("the engine ends it");
    assert_eq!(container.wait(), 137);
    container.remove().expect("it is gone");
    told(&container, "type", "end");
}
