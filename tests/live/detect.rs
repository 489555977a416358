//! What `detect:` promises, sensor by sensor and response by response: each with what it is about, and
//! what it is not about.

use serde_json::Value;

use crate::harness::{Bundle, World, eventually};

/// A bundle under a profile with these keys, beside `baseline`.
pub fn site(world: &'static World, keys: &str) -> Bundle {
    let text = format!("version: 1\nname: site\nextends: [baseline]\n{keys}\n");
    Bundle::new(world, "mantlet-baseline").profile("site", &text)
}

/// Events of a type.
pub fn of_type(bundle: &Bundle, kind: &str) -> Vec<Value> {
    let all = bundle.journal().into_iter();
    all.filter(|event| event["type"] == kind).collect()
}

/// Waits for a detection of this rule.
#[track_caller]
pub fn detected(bundle: &Bundle, rule: &str) -> Value {
    eventually(&format!("{rule} is detected"), || {
        of_type(bundle, "detection")
            .into_iter()
            .find(|event| event["rule"] == rule)
    })
}

fn prints(bundle: &Bundle, word: &str) {
    eventually(&format!("it prints {word}"), || {
        bundle.output().contains(word).then_some(())
    });
}

#[test]
fn a_program_that_was_made_after_the_start_is_refused_and_one_of_the_image_runs() {
    for world in [World::runc(), World::crun()] {
        let script = "cp /bin/harmless /tmp/new; /tmp/new work; echo code $?; \
                      /bin/harmless work && echo image; exec harmless stay";
        let bundle = site(world, "detect: [{on: drift, respond: deny}]")
            .args(["sh", "-c", script])
            .up();
        prints(&bundle, "image");
        let output = bundle.output();
        assert!(output.contains("code 126"), "{output}");
        let event = detected(&bundle, "drift");
        assert_eq!(event["file"]["path"], "/tmp/new", "{event}");
        assert_eq!(event["due"], true, "{event}");
        assert_eq!(of_type(&bundle, "detection").len(), 1);
    }
}

/// Of such a process cgroup v1 (the world of crun) says that it is nobody's.
#[test]
fn a_process_whose_first_thread_has_ended_is_the_containers_all_the_same() {
    for world in [World::runc(), World::crun()] {
        for (respond, code) in [("deny", "code 1\n"), ("kill-process", "code 137\n")] {
            let script = "cp /bin/harmless /tmp/new; hostile leaderless /tmp/new work; echo code $?; \
                          exec harmless stay";
            let bundle = site(
                world,
                &format!("detect: [{{on: drift, respond: {respond}}}]"),
            )
            .args(["sh", "-c", script])
            .up();
            prints(&bundle, "code");
            let output = bundle.output();
            assert!(output.contains(code), "{respond}: {output}");
            let event = detected(&bundle, "drift");
            assert_eq!(event["file"]["path"], "/tmp/new", "{event}");
            for response in of_type(&bundle, "response") {
                assert!(response.get("failed").is_none(), "{response}");
            }
        }
    }
}

#[test]
fn every_execution_is_told_with_its_program_arguments_parent_and_user() {
    let script = "harmless work one two; exec harmless stay";
    let bundle = site(World::runc(), "detect: [{on: exec}]")
        .args(["sh", "-c", script])
        .up();
    eventually("all executions are told", || {
        (of_type(&bundle, "detection").len() >= 2).then_some(())
    });
    let events = of_type(&bundle, "detection");
    let work = events.iter().find(|event| {
        let argv = event["file"]["argv"].as_array();
        argv.is_some_and(|argv| argv.iter().any(|word| word == "two"))
    });
    let work = work.unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(work["file"]["path"], "/bin/harmless");
    assert_eq!(work["ancestors"][0]["comm"], "sh", "{work}");
    assert_eq!(work["process"]["uid"], 0);
}

#[test]
fn a_tripwire_ends_its_process_before_it_hears_the_answer() {
    let keys = "detect: [{on: tripwire, calls: [keyctl], respond: kill-process}]";
    let script = "hostile keyctl; echo code $?; exec harmless stay";
    let bundle = site(World::runc(), keys).args(["sh", "-c", script]).up();
    prints(&bundle, "code");
    assert!(bundle.output().contains("code 137"), "{}", bundle.output());
    let response = of_type(&bundle, "response");
    assert_eq!(response[0]["action"], "kill-process", "{response:?}");
    assert!(response[0].get("failed").is_none(), "{response:?}");
}

#[test]
fn a_watcher_that_is_killed_is_followed_by_another() {
    let bundle = site(World::runc(), "")
        .args(["sh", "-c", "echo begun; while :; do hostile keyctl; done"])
        .up();
    let world = bundle.world();
    prints(&bundle, "begun");
    for _ in 0..50 {
        let pids = world.pids_named("mantlet-watcher");
        for pid in pids {
            world.signal(pid, nix::sys::signal::Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let output = bundle.output();
    assert!(!output.contains("ENOSYS"), "{output}");
    let seqs: Vec<u64> = bundle
        .journal()
        .iter()
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
}
