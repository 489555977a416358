//! What needs somebody: said by `ps`, shown by `inspect`, checked by `doctor`.

use std::fs;
use std::path::PathBuf;

use mantlet::detect::{Freeze, OnLoss, Response, Rule, Sensor, Severity, Then};
use mantlet::event::Recording;
use mantlet::state::{Frozen, Home, Record, Status};
use serde_json::Value;

use super::node::Node;
use super::{NO_PROCESS, code, err, out};

fn own() -> u32 {
    std::process::id()
}

fn with_status(home: &Home, change: impl FnOnce(&mut Status)) {
    let mut status = home.read_status().unwrap().unwrap();
    change(&mut status);
    home.write_status(&status).unwrap();
}

fn with_record(home: &Home, change: impl FnOnce(&mut Record)) {
    let mut record = home.read_record().unwrap();
    change(&mut record);
    home.write_record(&record).unwrap();
}

fn frozen() -> Frozen {
    Frozen {
        since: "2026-01-01T00:00:00Z".into(),
        by: "restricted/drift".into(),
        until: Some("2026-01-01T00:10:00Z".into()),
        then: Some(Then::Kill),
    }
}

/// `web` is frozen, its watcher was replaced twice and its journal cannot be written.
fn troubled() -> Node {
    let node = Node::new();
    with_status(&node.container("web", Some(own())), |status| {
        status.detections = 17;
        status.watcher = 4711;
        status.watcher_restarts = 2;
        status.suppressed = 5;
        status.lost = 3;
        status.journal_error = Some("No space left on device\u{1b}".into());
        status.frozen = Some(frozen());
        status.evidence = Some("/var/log/mantlet/evidence/a.tar".into());
    });
    node
}

fn checks(node: &Node) -> Vec<Value> {
    let output = node.run(&["doctor", "--json"]);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    all["checks"].as_array().unwrap().clone()
}

fn check(node: &Node, name: &str) -> Value {
    let all = checks(node);
    let found = all.into_iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name}"))
}

#[test]
fn ps_says_loudly_what_is_frozen_and_what_is_lost() {
    let node = troubled();
    let ps = node.run(&["ps"]);
    code(&ps, 0);
    let table = out(&ps);
    let (head, row) = table.split_once('\n').unwrap();
    assert!(head.contains("DETECTIONS  STATE"), "{head}");
    let want = "  17          FROZEN, 2 watcher restarts, 3 events LOST\n";
    assert!(row.ends_with(want), "{row}");
    let said = err(&ps);
    for part in [
        "container web is FROZEN since 2026-01-01T00:00:00Z by restricted/drift, until \
         2026-01-01T00:10:00Z, then killed: its engine shows it as running",
        "`mantlet thaw web` or `mantlet kill web`",
        "CANNOT be written (No space left on device\\u{1b}), 3 events are lost; free space",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let rows: Value = serde_json::from_slice(&node.run(&["ps", "--json"]).stdout).unwrap();
    let row = &rows[0];
    assert_eq!(row["detections"], 17);
    assert_eq!(row["watcher"]["restarts"], 2);
    assert_eq!(row["watcher"]["pid"], 4711);
    assert_eq!(row["suppressed"], 5);
    assert_eq!(row["lost"], 3);
    assert_eq!(row["journal_error"], "No space left on device\u{1b}");
    assert_eq!(row["frozen"]["by"], "restricted/drift");
    assert_eq!(row["evidence"], "/var/log/mantlet/evidence/a.tar");
    assert_eq!(row["on_supervisor_loss"], "keep");
    assert_eq!(row["alarms"].as_array().unwrap().len(), 2);
}

#[test]
fn a_container_that_is_only_looked_at_is_a_warning_of_doctors() {
    let node = Node::new();
    node.container("web", Some(own()));
    let home = node.container("shop", Some(own()));
    assert_eq!(check(&node, "audited and recorded")["level"], "ok");
    for (mode, word) in [("audit", "AUDIT"), ("learn", "LEARN")] {
        with_record(&home, |record| {
            record.recording = Some(Box::new(Recording {
                mode: mode.into(),
                ..Recording::default()
            }));
        });
        let found = check(&node, "audited and recorded");
        assert_eq!(found["level"], "warn");
        let finding = found["finding"].as_str().unwrap();
        assert_eq!(finding, format!("shop {word} (restricted)"));
        let remedy = found["remedy"].as_str().unwrap();
        assert!(remedy.contains("mode: enforce"), "{remedy}");
    }
    // One that has ended is nobody's worry.
    with_status(&home, |status| {
        (status.supervisor, status.pid) = (NO_PROCESS as i32, NO_PROCESS as i32);
    });
    assert_eq!(check(&node, "audited and recorded")["level"], "ok");
}

#[test]
fn a_container_without_trouble_has_no_alarm_and_one_without_its_watcher_has() {
    let node = Node::new();
    let home = node.container("web", Some(own()));
    assert!(err(&node.run(&["ps"])).is_empty());
    // A supervisor of before there were watchers.
    assert!(out(&node.run(&["ps"])).ends_with("  running\n"));
    with_status(&home, |status| status.watcher_restarts = 1);
    let ps = node.run(&["ps"]);
    assert!(
        out(&ps).ends_with("running, 1 watcher restart\n"),
        "{}",
        out(&ps)
    );
    assert!(
        err(&ps).contains("has no watcher after 1 ended"),
        "{}",
        err(&ps)
    );
    with_status(&home, |status| {
        status.watcher = 7;
        status.lost = 2;
    });
    let said = err(&node.run(&["ps"]));
    assert!(
        said.contains("2 events are LOST") && said.contains("--type lost web"),
        "{said}"
    );
}

#[test]
fn a_frozen_container_that_lost_its_supervisor_is_said_to_stay_so() {
    let node = Node::new();
    let home = node.container("web", Some(NO_PROCESS));
    with_status(&home, |status| status.frozen = Some(frozen()));
    with_record(&home, |record| record.on_supervisor_loss = OnLoss::Kill);
    let ps = node.run(&["ps"]);
    assert!(out(&ps).ends_with("LOST, FROZEN\n"), "{}", out(&ps));
    let said = err(&ps);
    assert!(
        said.contains("no deadline thaws or ends it any more"),
        "{said}"
    );
    assert!(said.contains("`on_supervisor_loss: kill`"), "{said}");
    let found = check(&node, "supervisors");
    assert_eq!(found["level"], "warn");
    let finding = found["finding"].as_str().unwrap();
    assert!(
        finding.contains("against its profile's `on_supervisor_loss: kill`"),
        "{finding}"
    );
}

#[test]
fn inspect_shows_rules_freeze_watcher_and_evidence() {
    let node = troubled();
    let home = Home::new(&node.state(), &node.root(), "web").unwrap();
    let rule = |name: &str| Rule {
        name: name.into(),
        profile: "restricted".into(),
        on: Sensor::Tripwire,
        calls: vec!["mount".into()],
        programs: Vec::new(),
        above: None,
        unless: vec!["/usr/bin/su\u{1b}".into()],
        respond: Response::Freeze,
        would: None,
        after: 3,
        within_ms: 10_000,
        freeze: Some(Freeze::default()),
        severity: Severity::Critical,
        tags: vec!["T1611".into()],
    };
    let mut group = rule("group");
    group.calls = (0..30).map(|call| format!("call{call}")).collect();
    with_record(&home, |record| {
        record.detect = vec![rule("mounts"), group];
    });
    let inspect = node.run(&["inspect", "web"]);
    code(&inspect, 0);
    let text = out(&inspect);
    let words: Vec<&str> = text.split_whitespace().collect();
    let row = "restricted/mounts tripwire mount, not /usr/bin/su\\u{1b} critical 3 in 10s freeze 10m, \
               then kill T1611";
    assert!(words.join(" ").contains(row), "{row} in\n{text}");
    for part in [
        "call0, call1, call2, call3, 26 more, not /usr/bin/su",
        "FROZEN        since 2026-01-01T00:00:00Z by restricted/drift, until",
        "watcher       pid 4711, 2 ended before it",
        "evidence      /var/log/mantlet/evidence/a.tar",
        "17 detections",
        "5 left out, 3 lost",
        "which CANNOT be written: No space left on device\\u{1b}",
        "without it    goes on, without reports (on_supervisor_loss: keep)",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let whole: Value =
        serde_json::from_slice(&node.run(&["inspect", "web", "--json"]).stdout).unwrap();
    assert_eq!(whole["record"]["detect"][0]["name"], "mounts");
    assert_eq!(whole["status"]["frozen"]["then"], "kill");
}

#[test]
fn doctor_warns_of_freezes_journals_and_a_full_log_dir() {
    let node = troubled();
    let frozen = check(&node, "frozen containers");
    assert_eq!(frozen["level"], "warn");
    assert!(
        frozen["finding"]
            .as_str()
            .unwrap()
            .starts_with("web since 2026-01-01")
    );
    let journals = check(&node, "journals");
    assert_eq!(journals["level"], "warn");
    assert!(
        journals["finding"]
            .as_str()
            .unwrap()
            .contains("3 events lost so far")
    );
    let size = check(&node, "journals' size");
    assert_eq!(size["level"], "ok", "{size}");
    node.configure("log_total_mib: 1\n");
    let evidence: PathBuf = node.log().join("evidence");
    fs::create_dir_all(&evidence).unwrap();
    fs::write(evidence.join("a.tar"), vec![1; 1 << 20]).unwrap();
    let size = check(&node, "journals' size");
    assert_eq!(size["level"], "warn", "{size}");
    assert!(
        size["remedy"]
            .as_str()
            .unwrap()
            .contains("raise log_total_mib")
    );
}

#[test]
fn doctor_counts_the_groups_of_containers_that_hold_one() {
    let node = Node::new();
    for id in ["a", "b", "c"] {
        node.container(id, Some(own()));
    }
    let lost = node.container("lost", Some(NO_PROCESS));
    with_record(&lost, |record| record.fanotify = true);
    let b = Home::new(&node.state(), &node.root(), "b").unwrap();
    with_record(&b, |record| record.fanotify = true);
    let found = check(&node, "fanotify groups");
    let finding = found["finding"].as_str().unwrap();
    let limit = fs::read_to_string("/proc/sys/fs/fanotify/max_user_groups").unwrap();
    let want = format!("1 of {} in use by containers", limit.trim());
    assert!(finding.starts_with(&want), "{finding}");
}
