//! `respond: freeze`, `mantlet freeze`, `thaw` and `evidence`: every process stands still, evidence is
//! collected, and somebody or the time ends it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::detect::{ended, of_type, prints, responded, site, worlds};
use crate::harness::{Bundle, World, eventually};

/// Whether the kernel says that every process stands still, in the hierarchy that has it: v2 beside
/// v1's where both are there.
fn frozen(bundle: &Bundle) -> bool {
    let world = bundle.world();
    let text = |of: &str| {
        let path = format!("/sys/fs/cgroup/{of}");
        fs::read_to_string(world.inside(path)).unwrap_or_default()
    };
    let group = format!("{}/{}", world.cgroup().trim_start_matches('/'), bundle.id);
    text(&format!("unified/{group}/cgroup.events")).contains("frozen 1")
        || text(&format!("{group}/cgroup.events")).contains("frozen 1")
        || text(&format!("freezer/{group}/freezer.state")).trim() == "FROZEN"
}

/// Waits until they do.
fn freezes(bundle: &Bundle) {
    eventually("it freezes", || frozen(bundle).then_some(()));
}

/// A rule that freezes whoever calls keyctl.
fn rule(more: &str) -> String {
    format!("detect: [{{name: keys, on: tripwire, calls: [keyctl], respond: freeze{more}}}]")
}

/// It counts for ever, and trips the wire meanwhile.
const SCRIPT: &str = "/bin/sleep 1000 & (while hostile keyctl; do :; done; echo answered) & \
                      echo begun; exec harmless stay";

fn archive(event: &Value) -> PathBuf {
    PathBuf::from(
        event["evidence"]
            .as_str()
            .unwrap_or_else(|| panic!("no archive: {event}")),
    )
}

/// The files of a tar archive, and one of them.
fn listed(bundle: &Bundle, archive: &std::path::Path) -> Vec<String> {
    let text = bundle
        .world()
        .command("tar")
        .arg("-tf")
        .arg(archive)
        .run()
        .ok()
        .stdout;
    text.lines().map(str::to_owned).collect()
}

fn extracted(bundle: &Bundle, archive: &std::path::Path, file: &str) -> String {
    let call = bundle.world().command("tar").arg("-xOf").arg(archive);
    call.arg(file).run().ok().stdout
}

#[test]
fn a_rule_s_freeze_stops_every_process_and_a_person_lets_them_go_on() {
    for world in worlds() {
        let bundle = site(world, &rule(", for: 1h"))
            .args(["sh", "-c", SCRIPT])
            .up();
        let response = responded(&bundle, "freeze");
        assert_eq!(response["by"], "site/keys");
        assert!(response.get("failed").is_none(), "{response}");
        assert!(frozen(&bundle));
        // Sessions are told what to do, and leave nothing behind.
        let refused = bundle.exec(["harmless", "exit", "0"]).refused();
        let text = format!("{} {:?}", refused.stderr, bundle.errors());
        assert!(
            text.contains("frozen by site/keys") && text.contains("mantlet thaw"),
            "{text}"
        );
        let again = world.mantlet(["freeze", &bundle.id]).refused();
        assert!(
            again.stderr.contains("frozen already, by site/keys"),
            "{}",
            again.stderr
        );
        // The call that was the cause is answered all the same.
        responded(&bundle, "evidence");
        world.mantlet(["thaw", &bundle.id]).ok();
        assert!(!frozen(&bundle));
        prints(&bundle, "answered");
        bundle.exec(["harmless", "exit", "0"]).ok();
        let thawed = responded(&bundle, "thaw");
        assert_eq!(thawed["by"], "mantlet");
    }
}

#[test]
fn what_ends_a_freeze_is_its_time() {
    for world in worlds() {
        let thaws = site(world, &rule(", for: 2s, then: thaw"))
            .args(["sh", "-c", SCRIPT])
            .up();
        let kills = site(world, &rule(", for: 1s, then: kill"))
            .args(["sh", "-c", SCRIPT])
            .up();
        let thawed = responded(&thaws, "thaw");
        assert_eq!(thawed["by"], "site/keys");
        prints(&thaws, "answered");
        let events = eventually("the container is gone", || ended(&kills));
        let end = events
            .iter()
            .find(|event| event["action"] == "kill-container");
        assert_eq!(
            end.map(|event| &event["by"]),
            Some(&"site/keys".into()),
            "{events:#?}"
        );
        assert!(!kills.output().contains("answered"), "{}", kills.output());
        eventually("the runtime sees it", || {
            (kills.state()?["status"] == "stopped").then_some(())
        });
    }
}

#[test]
fn the_engine_can_end_and_delete_a_frozen_container() {
    for world in worlds() {
        let bundle = site(world, &rule(", for: 1h"))
            .args(["sh", "-c", SCRIPT])
            .up();
        freezes(&bundle);
        responded(&bundle, "freeze");
        // As the kubelet does: it asks, waits, and ends it.
        bundle.kill("TERM").ok();
        bundle.kill("KILL").ok();
        eventually("the runtime calls it stopped", || {
            (bundle.state()?["status"] == "stopped").then_some(())
        });
        bundle.call().arg("delete").arg(&bundle.id).run().ok();
        eventually("its last line is written", || ended(&bundle));
        eventually("its supervisor leaves", || {
            bundle.supervisors().is_empty().then_some(())
        });
        // At once.
        let bundle = site(world, &rule(", for: 1h"))
            .args(["sh", "-c", SCRIPT])
            .up();
        responded(&bundle, "freeze");
        bundle.delete().ok();
        eventually("its supervisor leaves", || ended(&bundle));
        // By a person.
        let bundle = site(world, &rule(", for: 1h"))
            .args(["sh", "-c", SCRIPT])
            .up();
        responded(&bundle, "freeze");
        world.mantlet(["kill", &bundle.id]).ok();
        eventually("its supervisor leaves", || ended(&bundle));
    }
}

#[test]
fn a_refused_program_is_kept_as_evidence() {
    for world in worlds() {
        let keys = "detect: [{name: new, on: drift, respond: freeze, for: 1h}]";
        let script = "cp /bin/harmless /tmp/new; printf tail >> /tmp/new; sha256sum /tmp/new; /tmp/new echo ran";
        let bundle = site(world, keys).args(["sh", "-c", script]).up();
        let event = responded(&bundle, "evidence");
        assert_eq!(event["by"], "site/new");
        let path = world.inside(archive(&event));
        assert!(path.exists());
        let files = listed(&bundle, &archive(&event));
        let manifest = files.iter().find(|file| file.ends_with("manifest.json"));
        let manifest = manifest.unwrap_or_else(|| panic!("{files:?}"));
        let manifest: Value =
            serde_json::from_str(&extracted(&bundle, &archive(&event), manifest)).expect("JSON");
        assert_eq!(manifest["frozen"], true);
        assert_eq!(manifest["complete"], true, "{manifest:#}");
        assert_eq!(manifest["by"], "site/new");
        let output = bundle.output();
        let digest = output
            .split_whitespace()
            .next()
            .expect("sha256sum has printed");
        let binaries = manifest["binaries"].as_array().expect("a list");
        let binary = binaries.iter().find(|binary| {
            binary["entry"]
                .as_str()
                .is_some_and(|entry| entry.ends_with(digest))
        });
        let binary = binary.unwrap_or_else(|| panic!("{digest}: {binaries:#?}"));
        assert_eq!(binary["refused"], true);
        let copy = files.iter().find(|file| file.contains(digest));
        let copy = copy.unwrap_or_else(|| panic!("{digest}: {files:?}"));
        let script = "tar -xOf \"$1\" \"$2\" | sha256sum";
        let sum = world
            .command("sh")
            .args(["-c", script, "sh"])
            .arg(archive(&event))
            .arg(copy);
        assert!(sum.run().ok().stdout.starts_with(digest));
        assert!(frozen(&bundle));
        assert!(!output.contains("ran"), "{output}");
    }
}

#[test]
fn a_program_that_drifted_and_runs_is_kept_as_evidence() {
    let world = World::runc();
    let script = "cp /bin/harmless /tmp/new; sha256sum /tmp/new; exec /tmp/new stay";
    let bundle = site(world, "").args(["sh", "-c", script]).up();
    prints(&bundle, "staying");
    let done = world
        .mantlet(["freeze", &bundle.id, "--evidence", "--json"])
        .ok();
    let done: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let files = listed(&bundle, &archive(&done));
    let output = bundle.output();
    let digest = output
        .split_whitespace()
        .next()
        .expect("sha256sum has printed");
    assert!(
        files.iter().any(|file| file.contains(digest)),
        "{digest} in {files:?}"
    );
    assert!(frozen(&bundle));
    world.mantlet(["thaw", &bundle.id]).ok();
    assert!(!frozen(&bundle));
    // Without a freeze as well.
    let event = world.mantlet(["evidence", &bundle.id]).ok();
    println!("{}", event.stdout);
    assert_eq!(
        of_type(&bundle, "response")
            .iter()
            .filter(|event| event["action"] == "evidence")
            .count(),
        2
    );
}

#[test]
fn a_container_that_is_not_frozen_is_not_thawed() {
    let world = World::runc();
    let bundle = site(world, "").up();
    let refused = world.mantlet(["thaw", &bundle.id]).refused();
    assert!(
        refused.stderr.contains("not frozen by mantlet"),
        "{}",
        refused.stderr
    );
    world
        .mantlet(["freeze", &bundle.id, "--for", "2s", "--then", "thaw"])
        .ok();
    assert!(frozen(&bundle));
    eventually("it goes on", || (!frozen(&bundle)).then_some(()));
    let thawed = responded(&bundle, "thaw");
    assert_eq!(thawed["by"], "mantlet");
    assert!(
        bundle
            .state()
            .is_some_and(|state| state["status"] == "running")
    );
}

/// Not asserted: from the tripwire to the line that says that all stand still.
#[test]
fn a_freeze_is_measured() {
    let bundle = site(World::runc(), &rule(", for: 1h"))
        .args(["sh", "-c", SCRIPT])
        .up();
    let frozen = responded(&bundle, "freeze");
    let wire = of_type(&bundle, "tripwire");
    println!("tripwire {} frozen {}", wire[0]["time"], frozen["time"]);
}
