//! `diff` and `test`: what two profiles come to, what a profile expects, what was recorded.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use mantlet::access::{Access, Phase};
use mantlet::event::{Mounted, Process, Recording, Session, What};
use mantlet::oci::reference;
use serde_json::{Value, json};

use crate::explain::{SITE, node};
use crate::node::{Node, event, report, tripwire};
use crate::{code, err, out};

fn put(node: &Node, name: &str, text: &str) {
    fs::write(
        node.path.join("profiles").join(format!("{name}.yaml")),
        text,
    )
    .unwrap();
}

#[test]
fn a_profile_and_its_like_are_the_same_and_others_differ_by_what_they_come_to() {
    let node = node();
    let same = node.run(&["diff", "restricted", "restricted"]);
    code(&same, 0);
    assert!(out(&same).contains("come to the same"));
    // Other words for the same thing.
    put(
        &node,
        "mine",
        "version: 1\nname: mine\nextends: [baseline]\n",
    );
    code(&node.run(&["diff", "baseline", "mine"]), 0);
    let done = node.run(&["diff", "baseline", "site"]);
    code(&done, 1);
    let page = out(&done);
    for part in [
        "- any port",
        "+ 8080",
        "+ 443",
        "- ptrace where",
        "(such as arg0=0x10)",
    ] {
        assert!(page.contains(part), "{part:?} in\n{page}");
    }
    assert!(!page.contains("Files"), "{page}");
    let page = out(&node.run(&["diff", "restricted", "baseline"]));
    for part in [
        "+ ptrace",
        "+ / and beneath: write-file",
        "+ CAP_NET_RAW",
        "- privileged",
    ] {
        assert!(page.contains(part), "{part:?} in\n{page}");
    }
}

#[test]
fn conditions_files_and_rules_are_compared_one_by_one() {
    let node = node();
    let narrow = "version: 1\nname: narrow\nsyscalls: {groups: \"2026.1\", allow: [\"@default\", \
                  {name: ioctl, args: [{index: 1, op: eq, value: 5}]}]}\nfiles: {read: [/], except: [/srv/keys]}\n\
                  detect: [{on: drift, respond: log}]\n";
    put(&node, "narrow", narrow);
    let wide = narrow
        .replace("narrow", "wide")
        .replace("value: 5", "value: 6")
        .replace("/srv/keys", "/srv/none");
    put(
        &node,
        "wide",
        &wide.replace("respond: log", "respond: deny"),
    );
    let value: Value =
        serde_json::from_slice(&node.run(&["diff", "narrow", "wide", "--json"]).stdout).unwrap();
    assert_eq!(value["same"], false);
    let sections = value["sections"].as_array().unwrap();
    let of = |key: &str| {
        sections
            .iter()
            .find(|s| s["key"] == key)
            .unwrap_or_else(|| panic!("{key}"))
            .to_string()
    };
    assert!(of("calls").contains("arg1 == 0x5") && of("calls").contains("arg1 == 0x6"));
    assert!(
        of("files").contains("/srv/keys and beneath")
            && of("files").contains("/srv/none and beneath")
    );
    assert!(of("detect").contains("respond:deny"));
}

#[test]
fn trouble_is_no_difference() {
    let node = node();
    for args in [
        &["diff", "restricted", "nobody"][..],
        &["diff", "container:zz", "restricted"],
        &["diff", "restricted"],
        &["test", "nobody"],
        &["test", "restricted"],
        &["test", "restricted", "--tests", "/none"],
        &["test", "restricted", "--replay", "/none.jsonl"],
        &["test", "restricted", "--replay", "none"],
    ] {
        let done = node.run(args);
        code(&done, 2);
        assert!(out(&done).is_empty() && !err(&done).is_empty());
    }
}

#[test]
fn a_container_is_compared_with_a_file_over_its_own_config() {
    let node = node();
    let home = node.container("abc", None);
    fs::write(
        home.path.join("config.json"),
        reference::config().to_string(),
    )
    .unwrap();
    let done = node.run(&["diff", "container:abc", "restricted"]);
    code(&done, 0);
    assert!(out(&done).contains("over container abc"), "{}", out(&done));
    let done = node.run(&["diff", "container:abc", "baseline"]);
    code(&done, 1);
    assert!(out(&done).contains("+ CAP_NET_RAW"), "{}", out(&done));
}

const TESTS: &str = "\
tests:
  - {syscall: mount, expect: denied, why: it was the way out}
  - {syscall: clone, args: [0x11], expect: allowed}
  - {path: /etc/shadow, access: [read, write], expect: allowed}
  - {bind: 8080, expect: allowed}
  - {connect: 25, expect: denied}
  - {exec: /bin/sh, expect: allowed}
  - {capability: NET_RAW, expect: allowed}
";

#[test]
fn expectations_that_hold_end_with_0_and_one_that_does_not_with_1() {
    let node = node();
    put(&node, "site", &format!("{SITE}{TESTS}"));
    let done = node.run(&["test", "site"]);
    code(&done, 0);
    let page = out(&done);
    assert!(
        page.contains("running 7 tests of site") && page.contains("7 passed; 0 failed"),
        "{page}"
    );
    assert!(
        page.contains("site.yaml:12: system call mount is denied ... ok"),
        "{page}"
    );

    let sheet = node.path.join("more.yaml");
    let more = "version: 1\ntests:\n  - {connect: 443, expect: denied, why: no way out}\n  - {syscall: clone, expect: allowed}\n";
    fs::write(&sheet, more).unwrap();
    let sheet = sheet.display().to_string();
    let done = node.run(&["test", "site", "--tests", &sheet]);
    code(&done, 1);
    let page = out(&done);
    for part in [
        "more.yaml:3: connect TCP port 443 is denied ... FAILED",
        "expected denied, and it is allowed",
        "why it was expected: no way out",
        "site.yaml:10",
        "expected allowed, and it is decided by what the test does not say",
        "7 passed; 2 failed",
    ] {
        assert!(page.contains(part), "{part:?} in\n{page}");
    }
    let json = node.run(&["test", "site", "--tests", &sheet, "--json"]);
    code(&json, 1);
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&value["passed"], &value["failed"]), (&7.into(), &2.into()));
    assert_eq!(value["tests"][7]["found"]["answer"], "allowed");
    // A sheet that is none.
    fs::write(node.path.join("more.yaml"), "version: 1\ntest: []\n").unwrap();
    code(&node.run(&["test", "site", "--tests", &sheet]), 2);
}

fn observed(access: Access) -> What {
    What::Observed {
        process: Process {
            exe: "/usr/bin/app".into(),
            ..Process::default()
        },
        session: Session::Workload,
        phase: Phase::Serving,
        linked: false,
        clipped: false,
        access,
        profile: String::new(),
        fix: String::new(),
        denied: false,
    }
}

fn file(path: &str, right: &str, mount: &str) -> What {
    observed(Access::File {
        path: path.into(),
        right: right.into(),
        entry: None,
        mount: mount.into(),
        directory: false,
        moved: None,
    })
}

fn call(name: &str) -> What {
    observed(Access::Syscall {
        name: name.into(),
        args: Vec::new(),
    })
}

#[test]
fn a_recording_is_decided_under_another_profile_and_says_what_it_lost() {
    let node = node();
    let connect = Access::Tcp {
        right: "connect".into(),
        port: 25,
    };
    let what = [
        call("openat"),
        call("ptrace"),
        file("/etc/passwd", "read-file", "/"),
        file("/data/x", "write-file", "/data"),
        observed(connect.clone()),
        observed(connect),
        end(),
    ];
    let mut events: Vec<_> = (1..)
        .zip(what)
        .map(|(seq, what)| event("gone", seq, what))
        .collect();
    let journal = node.journal("gone", &events).display().to_string();

    // What baseline allows, and a volume that only the journal tells of.
    let done = node.run(&["test", "baseline", "--replay", &journal]);
    code(&done, 0);
    let page = out(&done);
    for part in [
        "replaying 7 events",
        "nothing would be denied",
        "the journals are whole",
    ] {
        assert!(page.contains(part), "{part:?} in\n{page}");
    }
    let done = node.run(&["test", "restricted+site", "--replay", "gone"]);
    code(&done, 1);
    let page = out(&done);
    for part in [
        "would be denied: connect port 25 (2 times, by /usr/bin/app)",
        "fix for site: network: {connect_tcp: [25]}",
        "would be denied: ptrace (1 times",
        "fix for restricted: syscalls: {allow: [ptrace]}",
        "taken for writable volumes: /data",
        "3 would be denied (2 kinds); 6 decided, 3 allowed",
    ] {
        assert!(page.contains(part), "{part:?} in\n{page}");
    }

    // A hole, a suppression, a line that is none, and a tripwire that was refused then.
    events.clear();
    events.push(event("again", 1, tripwire("/bin/x")));
    let count = 5;
    let of = "tripwire mount".into();
    events.push(event("again", 4, What::Suppressed { count, of }));
    events.push(event("again", 6, end()));
    let journal = node.journal("again", &events).display().to_string();
    let mut text = fs::read(&journal).unwrap();
    text.extend(b"no event\n");
    // What `mantlet events --json` prints may be of several containers.
    for line in fs::read_to_string(node.journal("gone", &[]))
        .unwrap()
        .lines()
    {
        text.extend(format!("{line}\n").as_bytes());
    }
    let mut child = node
        .command(&["test", "baseline", "--replay", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let done = child.wait_with_output().unwrap();
    code(&done, 1);
    let value: Value = serde_json::from_slice(&done.stdout).unwrap();
    let replay = &value["replay"];
    assert_eq!(replay["denied"][0]["was_refused"], true);
    let lost = json!({
        "events": 4,
        "causes": {
            "holes in the journal's numbers": 3,
            "lines of the journal that are no events": 1,
        },
        "cut_off": 0,
        "suppressed": 5,
    });
    assert_eq!(replay["lost"], lost);
    let page = out(&node.run(&["test", "baseline", "--replay", &journal]));
    assert!(
        page.contains("NOT whole") && page.contains("denied, as it was: mount"),
        "{page}"
    );
}

fn end() -> What {
    What::End {
        tripwires: 0,
        observed: None,
    }
}

/// The first line of a container that was recorded.
fn start(mounts: Vec<Mounted>) -> What {
    What::Start {
        process: Process::default(),
        session: Session::Workload,
        stricter: Vec::new(),
        report: report(),
        recording: Some(Box::new(Recording {
            mode: "learn".into(),
            mounts,
            ..Recording::default()
        })),
    }
}

#[test]
fn a_journal_that_is_cut_off_is_not_whole_to_a_replay_either() {
    let node = node();
    let mut recorded = vec![
        event("cut", 1, start(Vec::new())),
        event("cut", 2, call("openat")),
    ];
    for one in &mut recorded {
        one.profiles = vec!["learn".into()];
    }
    let journal = node.journal("cut", &recorded).display().to_string();
    let replay = ["test", "baseline", "--replay", &journal];
    let done = node.run(&replay);
    code(&done, 1);
    for part in [
        "nothing would be denied",
        "NOT whole: a recording is cut off",
    ] {
        assert!(out(&done).contains(part), "{part:?} in\n{}", out(&done));
    }
    let done = node.run(&[&replay[..], &["--json", "--accept-loss"]].concat());
    code(&done, 0);
    let value: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(value["replay"]["lost"]["cut_off"], 1);
    // To learn the same.
    let done = node.run(&["learn", "--from", &journal, "--json"]);
    code(&done, 1);
    let value: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(value["runs"][0]["cut_off"], true);
    // With its last line it is whole.
    node.journal("cut", &[event("cut", 3, end())]);
    let done = node.run(&replay);
    code(&done, 0);
    assert!(out(&done).contains("the journals are whole"));
}

#[test]
fn a_replay_has_the_mounts_that_were_recorded() {
    let node = node();
    put(
        &node,
        "narrow",
        "version: 1\nname: narrow\nfiles: {read_execute: [\"@image\"]}\n\
         syscalls: {groups: \"2026.1\", allow: [\"@default\", \"@basic-io\", \"@file-system\"]}\n",
    );
    let mounted = |destination: &str, kind: &str, writable| Mounted {
        destination: destination.into(),
        kind: kind.into(),
        writable,
    };
    let read = file("/config/app.conf", "read-file", "/config");
    let replay = |id: &str, mounts| {
        let events = [
            event(id, 1, start(mounts)),
            event(id, 2, read.clone()),
            event(id, 3, end()),
        ];
        let journal = node.journal(id, &events).display().to_string();
        node.run(&["test", "narrow", "--replay", &journal])
    };
    // Read-only, it is `@image`'s; a volume that can be written is not.
    let done = replay("config", vec![mounted("/config", "volume", false)]);
    code(&done, 0);
    assert!(
        out(&done).contains("the mounts that the journal tells: /config (volume, read-only)"),
        "{}",
        out(&done)
    );
    let done = replay("data", vec![mounted("/config", "volume", true)]);
    code(&done, 1);
    assert!(out(&done).contains("would be denied: read-file /config/app.conf"));
    // Of one that is not told, the worst is assumed, and said.
    let done = replay("older", vec![mounted("/cache", "tmpfs", true)]);
    code(&done, 1);
    for part in ["/cache (tmpfs)", "taken for writable volumes: /config"] {
        assert!(out(&done).contains(part), "{part:?} in\n{}", out(&done));
    }
}

#[test]
fn a_whole_id_means_its_journal_and_a_beginning_the_only_one() {
    let node = node();
    for id in ["web", "web2"] {
        node.journal(id, &[event(id, 1, call("openat")), event(id, 2, end())]);
    }
    for (id, wanted, said) in [
        ("web", 0, ""),
        ("web2", 0, ""),
        ("we", 2, "several containers' ids; name one journal"),
        ("b", 2, "no events of a container \"b\""),
        ("", 2, "no events of a container \"\""),
    ] {
        let done = node.run(&["test", "baseline", "--replay", id]);
        code(&done, wanted);
        assert!(err(&done).contains(said), "{id}: {}", err(&done));
    }
}
