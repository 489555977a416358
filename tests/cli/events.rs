//! `events`: every kind as a person reads it, and filters.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use mantlet::detect::{Response, Sensor, Severity};
use mantlet::event::{Action, Ancestor, Event, File, Process, What};
use serde_json::Value;

use super::node::{Node, event, start, tripwire};
use super::{code, err, out};

fn detection(severity: Severity, respond: Response, hits: u32, due: bool) -> What {
    let above = |pid, exe: &str| Ancestor {
        pid,
        comm: "x".into(),
        exe: exe.into(),
    };
    What::Detection {
        rule: "drift".into(),
        profile: "restricted".into(),
        on: Sensor::Drift,
        severity,
        tags: vec!["T1059".into(), "written".into()],
        process: Some(Process {
            pid: 12,
            ppid: 11,
            uid: 33,
            comm: "x".into(),
            exe: "/tmp/x".into(),
        }),
        ancestors: vec![above(11, "/bin/sh"), above(7, "")],
        file: Some(File {
            path: "/tmp/x\u{1b}[2J".into(),
            mode: "100755".into(),
            uid: 33,
            changed: "2026-01-01T00:00:00Z".into(),
            argv: Some(vec!["x".into(), "a b".into(), "\n".into()]),
            tty: Some("136:0".into()),
            ..File::default()
        }),
        why: "made after the start".into(),
        hits,
        respond,
        would: None,
        due,
    }
}

fn response(action: Action, pid: Option<i32>, failed: Option<&str>, by: &str) -> What {
    What::Response {
        action,
        by: by.into(),
        pid,
        failed: failed.map(str::to_owned),
        evidence: None,
    }
}

/// What `mantlet events` says of this one, without time and name.
fn told(what: What) -> String {
    let node = Node::new();
    node.journal("c1", &[event("c1", 1, what)]);
    let events = node.run(&["events"]);
    code(&events, 0);
    let text = out(&events);
    assert!(!text.contains('\u{1b}'), "{text}");
    let (_, told) = text.split_once("prod/shop-0/web  ").unwrap();
    told.to_owned()
}

#[test]
fn a_detection_of_an_audited_profile_tells_what_was_not_done() {
    let last = |would, hits, due| {
        let mut what = detection(Severity::Critical, Response::Log, hits, due);
        if let What::Detection { would: own, .. } = &mut what {
            *own = Some(would);
        }
        let told = told(what);
        told.lines().last().unwrap().trim().to_owned()
    };
    let done = last(Response::KillContainer, 1, true);
    assert_eq!(done, "not done (mode audit): kill-container, at hit 1");
    let later = last(Response::Freeze, 2, false);
    assert_eq!(later, "not done (mode audit): later freeze, this was hit 2");
    assert!(last(Response::Log, 1, true).starts_with("from: "));
}

#[test]
fn a_detection_tells_rule_file_parents_and_what_it_led_to() {
    let said = told(detection(
        Severity::Critical,
        Response::KillProcess,
        1,
        true,
    ));
    assert_eq!(
        said,
        "critical restricted/drift: made after the start  by /tmp/x[12] uid 33  [T1059, written]
    file: /tmp/x\\u{1b}[2J  mode 100755, uid 33, changed 2026-01-01T00:00:00Z, terminal 136:0
    args: x \"a b\" \"\\n\"
    from: /bin/sh[11] ← x[7]
    then: kill-process
"
    );
    let last = |respond, hits, due| {
        let said = told(detection(Severity::Info, respond, hits, due));
        said.lines().last().unwrap().trim().to_owned()
    };
    assert_eq!(last(Response::Freeze, 3, true), "then: freeze, at hit 3");
    let later = last(Response::KillContainer, 2, false);
    assert_eq!(later, "then: nothing yet, hit 2; later kill-container");
    assert_eq!(last(Response::Log, 4, true), "hits: 4");
    assert_eq!(last(Response::Log, 1, true), "from: /bin/sh[11] ← x[7]");
}

#[test]
fn a_response_tells_what_was_done_or_why_it_was_not() {
    let rule = "restricted/drift";
    for (what, want) in [
        (
            response(Action::KillProcess, Some(12), None, rule),
            "killed process 12  by restricted/drift\n",
        ),
        (
            response(Action::KillContainer, None, None, "mantlet"),
            "killed every process  by mantlet\n",
        ),
        (
            response(Action::Freeze, None, Some("no freezer\u{1b}"), rule),
            "FAILED to freeze every process: no freezer\\u{1b}  by restricted/drift\n",
        ),
        (
            response(Action::Thaw, None, None, "mantlet"),
            "thawed every process  by mantlet\n",
        ),
    ] {
        assert_eq!(told(what), want);
    }
    let said = told(What::Response {
        action: Action::Evidence,
        by: "mantlet".into(),
        pid: None,
        failed: None,
        evidence: Some("/var/log/mantlet/evidence/a.tar".into()),
    });
    assert!(said.starts_with("collected evidence"), "{said}");
    assert!(said.contains("\n    evidence: /var/log/mantlet/evidence/a.tar\n"));
}

#[test]
fn what_went_wrong_with_watching_is_told() {
    let watcher = told(What::Watcher {
        ended: "was killed by SIGKILL".into(),
        restarts: 2,
        denied: Some("/tmp/x\u{1b}".into()),
    });
    assert_eq!(
        watcher,
        "watcher was killed by SIGKILL, and another one took over, 2 so far; \
         denied, as it had that in hand: /tmp/x\\u{1b}\n"
    );
    let overflow = told(What::Overflow { count: 3 });
    assert!(overflow.starts_with("UNSEEN") && overflow.contains("seen 3 times"));
}

#[test]
fn a_gap_that_a_lost_event_explains_has_its_cause() {
    let node = Node::new();
    let lost = What::Lost {
        count: 2,
        cause: "No space left on device".into(),
    };
    node.journal("c1", &[event("c1", 1, start()), event("c1", 4, lost)]);
    let events = node.run(&["events", "--type", "start"]);
    code(&events, 1);
    let want = "events 2 to 3 are LOST: No space left on device; mend";
    assert!(err(&events).contains(want), "{}", err(&events));
    assert_eq!(out(&events).lines().count(), 1);
}

#[test]
fn first_lines_that_are_gone_are_said_and_no_fault() {
    let node = Node::new();
    node.journal("c1", &[event("c1", 4, start()), event("c1", 5, start())]);
    let events = node.run(&["events"]);
    code(&events, 0);
    assert!(
        err(&events).contains("events 1 to 3 are not kept any more"),
        "{}",
        err(&events)
    );
    let path = mantlet::state::journal_path(&node.log(), &node.root(), "c1");
    let path = path.to_str().unwrap();
    let replayed = node.run(&["test", "baseline", "--replay", path]);
    let want = "NOT whole: 3 events are lost: the beginning of the journal is gone";
    assert!(out(&replayed).contains(want), "{}", out(&replayed));
}

#[test]
fn filters_go_by_kind_severity_and_age() {
    let node = Node::new();
    let ago = |seq, minutes: u64, what| {
        let then = SystemTime::now() - Duration::from_secs(60 * minutes);
        let time = humantime::format_rfc3339_micros(then).to_string();
        Event {
            time,
            ..event("c1", seq, what)
        }
    };
    let log = |severity| detection(severity, Response::Log, 1, true);
    let journal = [
        ago(1, 90, start()),
        ago(2, 80, log(Severity::Info)),
        ago(3, 70, log(Severity::Critical)),
        ago(4, 30, log(Severity::Warning)),
        ago(5, 20, response(Action::Freeze, None, None, "mantlet")),
        ago(
            6,
            10,
            What::End {
                tripwires: 0,
                observed: None,
            },
        ),
    ];
    node.journal("c1", &journal);
    let numbers = |args: &[&str]| -> Vec<u64> {
        let events = node.run(&[&["events", "--json"], args].concat());
        code(&events, 0);
        let lines = out(&events);
        let number = |line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64();
        lines.lines().map(|line| number(line).unwrap()).collect()
    };
    assert_eq!(numbers(&["--type", "start,end"]), [1, 6]);
    assert_eq!(numbers(&["--type", "start", "--type", "end"]), [1, 6]);
    assert_eq!(numbers(&["--severity", "warning"]), [3, 4]);
    let on_call = ["--type", "detection,response", "--severity", "warning"];
    assert_eq!(numbers(&on_call), [3, 4, 5]);
    assert_eq!(numbers(&["--severity", "info", "--type", "end"]), [6]);
    assert_eq!(numbers(&["--since", "1h"]), [4, 5, 6]);
    assert_eq!(numbers(&["--since", "1h", "--severity", "info"]), [4]);
    assert_eq!(numbers(&["--type", "detection", "-n", "2"]), [3, 4]);
    assert_eq!(numbers(&["--type", "failed"]), [0; 0]);
    for wrong in [
        &["--type", "weather"][..],
        &["--severity", "bad"],
        &["--since", "yesterday"],
    ] {
        code(&node.run(&[&["events"], wrong].concat()), 2);
    }
}

#[test]
fn several_ids_are_shown_together_and_each_has_to_be_known() {
    let node = Node::new();
    for id in ["aaa", "bbb", "ccc"] {
        node.journal(id, &[event(id, 1, start())]);
    }
    assert_eq!(out(&node.run(&["events", "aa", "ccc"])).lines().count(), 2);
    let mixed = node.run(&["events", "aaa", "-c", "bbb"]);
    assert_eq!(out(&mixed).lines().count(), 2);
    let unknown = node.run(&["events", "aaa", "zzz"]);
    code(&unknown, 1);
    assert_eq!(out(&unknown).lines().count(), 1);
    let want = "no events of a container \"zzz\"";
    assert!(err(&unknown).contains(want), "{}", err(&unknown));
    // A filter that lets nothing through does not make a container unknown.
    code(&node.run(&["events", "aaa", "--type", "end"]), 0);
}

#[test]
fn lines_of_version_1_are_read_and_newer_ones_are_not() {
    let node = Node::new();
    let path = node.journal("c1", &[]);
    let old = r#"{"version":1,"seq":1,"time":"2025-01-01T00:00:00.000000Z","container":{"id":"c1"},"handler":"h","profiles":["p"],"type":"end","tripwires":3}"#;
    fs::write(&path, format!("{old}\n")).unwrap();
    let events = node.run(&["events"]);
    code(&events, 0);
    assert!(
        out(&events).contains("c1  ended  3 denials"),
        "{}",
        out(&events)
    );
    fs::write(&path, old.replace("\"version\":1", "\"version\":3") + "\n").unwrap();
    let newer = node.run(&["events"]);
    code(&newer, 1);
    assert!(err(&newer).contains("it has version 3"), "{}", err(&newer));
}

#[test]
fn following_loses_nothing_when_a_journal_is_put_aside() {
    let node = Node::new();
    let path = node.journal("c1", &[event("c1", 1, start())]);
    let mut child = node
        .command(&["events", "-f", "--type", "tripwire,end"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    };
    node.journal("c1", &[event("c1", 2, tripwire("/a"))]);
    assert!(next().contains("denied") && next().contains("fix:"));
    // In one go, as far as a reader can tell: written, put aside, begun anew.
    node.journal("c1", &[event("c1", 3, tripwire("/b"))]);
    fs::rename(&path, path.with_extension("jsonl.1")).unwrap();
    node.journal(
        "c1",
        &[event(
            "c1",
            4,
            What::End {
                tripwires: 2,
                observed: None,
            },
        )],
    );
    assert!(next().contains("by /b[9]") && next().contains("fix:"));
    assert!(next().contains("ended"));
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert!(err(&output).is_empty(), "{}", err(&output));
    // And whoever comes later reads both.
    assert_eq!(out(&node.run(&["events"])).lines().count(), 6);
}
