//! `on: exec` and `on: exit`: what the kernel executed, however it was asked to, and how it ended.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::detect::{detected, ended, of_type, site, to_the_end, worlds};
use crate::harness::{World, eventually};

/// Arguments of an execution; none where it had ended.
fn argv(event: &Value) -> Option<Vec<&str>> {
    let words = event["file"]["argv"].as_array()?;
    Some(words.iter().filter_map(Value::as_str).collect())
}

#[test]
fn programs_of_a_list_are_told_and_no_others() {
    let keys = "detect: [{name: listed, on: exec, programs: [id, /bin/cat, '@download-tools'], unless: [/bin/id]}]";
    let script =
        "harmless work; /bin/cat /dev/null; /bin/id; /bin/wget -q http://127.0.0.1:1/; true";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        assert_eq!(lived.files("listed"), ["/bin/cat", "/bin/wget"]);
        let event = lived.detections("listed")[0];
        assert_eq!(event["on"], "exec");
        assert_eq!(event["profile"], "site");
        assert_eq!(event["severity"], "notice");
        assert_eq!(event["respond"], "log");
        assert_eq!(event["hits"], 1, "{event}");
        assert_eq!(event["why"], "executes /bin/cat");
        assert_eq!(event["process"]["uid"], 0);
    }
}

#[test]
fn every_execution_is_told_with_its_program_arguments_parent_and_user() {
    // With a rule that refuses, each execution waits to be looked at.
    let keys = "detect: [{name: all, on: exec}, {on: drift, respond: deny}]";
    let script = "harmless echo one two; /bin/setpriv --nnp harmless echo three; exit 0";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        let files = lived.files("all");
        let programs = ["/bin/sh", "/bin/harmless", "/bin/setpriv", "/bin/harmless"];
        assert_eq!(files, programs);
        let seen = lived.detections("all");
        assert_eq!(seen[0]["ancestors"], Value::Null, "{}", seen[0]);
        assert_eq!(seen[1]["ancestors"][0]["comm"], "sh", "{}", seen[1]);
        assert_eq!(seen[1]["file"]["uid"], 0);
        assert_eq!(seen[1]["file"]["mode"], "100755");
    }
}

#[test]
fn a_program_that_ends_at_once_is_told_each_time() {
    let keys = "detect: [{name: all, on: exec, programs: [harmless]}, {name: whole, on: exec}]";
    let script = "for n in $(seq 60); do /bin/harmless exit 0; done";
    let lived = to_the_end(site(World::runc(), keys), script);
    let count = |rule| {
        let files = lived.files(rule).into_iter();
        files.filter(|path| *path == "/bin/harmless").count()
    };
    assert_eq!((count("all"), count("whole")), (60, 60));
}

#[test]
fn a_script_is_told_by_its_interpreter_and_by_itself() {
    let keys = "detect: [{name: all, on: exec}, {name: scripts, on: exec, programs: [/tmp/*]}]";
    let script =
        "printf '#!/bin/harmless echo\\n' > /tmp/s; /bin/chmod 755 /tmp/s; /tmp/s word; exit 0";
    let lived = to_the_end(site(World::runc(), keys), script);
    lived.printed("/tmp/s word");
    assert_eq!(lived.files("scripts"), ["/tmp/s"]);
    // The script is told as well only where it had ended before anybody could see which of them ran.
    let files: Vec<_> = lived.files("all");
    assert_eq!(files.last(), Some(&"/bin/harmless"), "{files:?}");
    assert_eq!(files[..2], ["/bin/sh", "/bin/chmod"]);
    for event in &lived.detections("all")[2..] {
        if let Some(words) = argv(event) {
            assert_eq!(words, ["/bin/harmless", "echo", "/tmp/s", "word"]);
        }
    }
}

/// Whose share of the processor is used up stands still for most of a period, within an execution too.
#[test]
fn an_execution_that_stands_still_for_long_is_told_all_the_same() {
    let keys = "detect: [{name: all, on: exec}, {on: drift, respond: deny}]";
    let script = "trap 'go=on' USR1; echo ready; until [ -n \"$go\" ]; do :; done; \
                  for n in $(seq 30); do /bin/harmless exit 0; done; exit 0";
    let bundle = site(World::runc(), keys).args(["sh", "-c", script]).up();
    eventually("it waits", || {
        bundle.output().contains("ready").then_some(())
    });
    let share = ["update", "--cpu-period", "300000", "--cpu-quota", "1000"];
    bundle.call().args(share).arg(&bundle.id).run().ok();
    bundle.kill("USR1").ok();
    let events = eventually("the container is gone", || ended(&bundle));
    let told = events
        .iter()
        .filter(|event| event["type"] == "detection" && event["file"]["path"] == "/bin/harmless");
    assert_eq!(told.count(), 30, "{events:#?}");
}

#[test]
fn a_dynamic_program_is_told_without_its_loader() {
    let keys = "detect: [{name: all, on: exec}, {on: drift, respond: deny}]";
    let bundle = site(World::runc(), keys)
        .args(["/bin/hostile-dynamic", "stay"])
        .up();
    let event = detected(&bundle, "all");
    assert_eq!(argv(&event), Some(vec!["/bin/hostile-dynamic", "stay"]));
    bundle.kill("KILL").ok();
    let events = eventually("the container is gone", || ended(&bundle));
    let seen = events.iter().filter(|event| event["type"] == "detection");
    assert_eq!(seen.count(), 1, "{events:#?}");
}

#[test]
fn a_process_that_becomes_the_same_program_again_is_told_each_time_with_its_own_arguments() {
    // With a rule that refuses, each execution waits to be looked at.
    let keys = "detect: [{name: all, on: exec}, {on: drift, respond: deny}]";
    let script = "exec /bin/busybox sh -c 'exec /bin/busybox sh -c \"exec /bin/busybox sh -c : last\" third' second";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        let told: Vec<_> = lived.detections("all").into_iter().map(argv).collect();
        let words = told[1..3]
            .iter()
            .filter_map(|words| words.as_ref()?.last().copied());
        assert_eq!(words.collect::<Vec<_>>(), ["second", "third"], "{told:?}");
        // This one may have ended before anybody looked.
        let last = told[3].as_ref().and_then(|words| words.last());
        assert!(last.is_none_or(|word| *word == "last"), "{told:?}");
        assert_eq!(told.len(), 4, "{told:?}");
    }
}

/// Where nothing waits, the kernel tells two executions of one file by one process as one, if nobody
/// has read the first. What is told is never another one's.
#[test]
fn arguments_are_those_of_the_execution_that_is_told() {
    let keys = "detect: [{name: all, on: exec, programs: [harmless]}]";
    let script = "for n in $(seq 20); do harmless attempt /bin/harmless; done; exit 0";
    let lived = to_the_end(site(World::runc(), keys), script);
    for event in lived.detections("all") {
        let told = argv(event);
        let first = ["harmless", "attempt", "/bin/harmless"];
        let second = ["/bin/harmless", "exit", "0"];
        assert!(
            told.as_ref()
                .is_none_or(|words| *words == first || *words == second),
            "{told:?}"
        );
    }
}

#[test]
fn hostile_arguments_are_told_as_they_are() {
    let keys = "detect: [{name: all, on: exec, programs: [harmless]}]";
    let words = [
        "/bin/harmless",
        "stay",
        "a\nb",
        "\u{1b}[31mred",
        "",
        "\u{202e}x",
    ];
    let bundle = site(World::runc(), keys).args(words).up();
    let event = detected(&bundle, "all");
    assert_eq!(argv(&event), Some(words.to_vec()), "{event}");
    let shown = bundle.world().mantlet(["events", &bundle.id]).ok().stdout;
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
        "{shown}"
    );
}

#[test]
fn what_the_kernel_does_not_take_hides_nothing_that_comes_after_it() {
    let keys = "detect: [{name: all, on: exec}]";
    let script = "printf garbage > /tmp/garbage; printf '#!/none\\n' > /tmp/script; \
                  chmod 755 /tmp/garbage /tmp/script; \
                  for n in $(seq 30); do harmless attempt /tmp/garbage /tmp/script /bin/harmless; done";
    let lived = to_the_end(site(World::runc(), keys), script);
    let real = lived.detections("all").into_iter();
    let real = real.filter(|event| event["file"]["path"] == "/bin/harmless");
    let pids: BTreeSet<i64> = real
        .filter_map(|event| event["process"]["pid"].as_i64())
        .collect();
    assert_eq!(pids.len(), 30);
}

#[test]
fn an_execution_by_descriptor_is_told_by_the_file() {
    let keys = "detect: [{name: all, on: exec, programs: ['/tmp/**']}]";
    let script =
        "hostile deleted-exec; echo code $?; hostile write-exec /tmp/written; hostile tmpfile-exec";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        lived.printed("code 0");
        let files = lived.files("all");
        // The path is the one that it has when it is looked at.
        for path in ["/tmp/hostile-deleted (deleted)", "/tmp/written", "/tmp/#"] {
            let found = files.iter().filter(|found| found.starts_with(path));
            assert_eq!(found.count(), 1, "{path}: {files:?}");
        }
    }
}

#[test]
fn a_session_s_executions_are_told_like_the_workload_s() {
    let keys = "detect: [{name: all, on: exec, programs: [cat]}]";
    let bundle = site(World::runc(), keys).up();
    bundle.exec(["cat", "/dev/null"]).ok();
    bundle.exec(["sh", "-c", "/bin/cat /dev/null; true"]).ok();
    let seen = eventually("both are told", || {
        let seen = of_type(&bundle, "detection");
        (seen.len() == 2).then_some(seen)
    });
    assert!(seen.iter().all(|event| event["file"]["path"] == "/bin/cat"));
}

#[test]
fn an_end_is_told_with_its_status() {
    let keys = "detect: [{name: ends, on: exit}, {name: but, on: exit, unless: [harmless]}]";
    let script = "harmless exit 3; harmless exit 0; /bin/sh -c 'kill -9 $$'; /bin/sh -c 'kill -TERM $$'; exit 7";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        let ends = |rule| {
            let mut all: Vec<&str> = lived
                .detections(rule)
                .iter()
                .filter_map(|e| e["why"].as_str())
                .collect();
            all.sort_unstable();
            all
        };
        let whys = [
            "ended by signal 15",
            "ended by signal 9",
            "ended with code 0",
            "ended with code 3",
            "ended with code 7",
        ];
        assert_eq!(ends("ends"), whys);
        let told: Vec<Value> = lived
            .of_type("exit")
            .iter()
            .map(|event| event["code"].clone())
            .collect();
        for code in [3, 0, 137, 143, 7] {
            assert!(told.contains(&json!(code)), "{code} in {told:?}");
        }
    }
}

#[test]
fn a_process_without_its_first_thread_is_seen_like_any_other() {
    let keys = "detect: [{name: made, on: drift, respond: deny}, {name: all, on: exec, programs: ['/tmp/*']}]";
    let script = "cp /bin/harmless /tmp/new; hostile headless exec /tmp/new; echo code $?";
    for world in worlds() {
        let lived = to_the_end(site(world, keys), script);
        lived.printed(&format!("code {}", libc::EPERM));
        assert_eq!(lived.files("made"), ["/tmp/new"]);
        assert_eq!(lived.files("all"), ["/tmp/new"]);
    }
}
