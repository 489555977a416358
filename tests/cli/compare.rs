//! `diff` and `test`: what two profiles come to, what a profile expects, what was recorded.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use mantlet::access::{Access, Phase};
use mantlet::event::{Process, Session, What};
use mantlet::oci::reference;
use serde_json::Value;

use crate::explain::{SITE, node};
use crate::node::{Node, event, tripwire};
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
        "replaying 6 events",
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
    events.push(event("gone", 9, tripwire("/bin/x")));
    let count = 5;
    let of = "tripwire mount".into();
    events.push(event("gone", 10, What::Suppressed { count, of }));
    node.journal("gone", &events);
    let mut text = fs::read(&journal).unwrap();
    text.extend(b"no event\n");
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
    assert_eq!(replay["lost"]["missing"], 2);
    assert_eq!(
        (&replay["lost"]["suppressed"], &replay["lost"]["broken"]),
        (&5.into(), &1.into())
    );
    let page = out(&node.run(&["test", "baseline", "--replay", &journal]));
    assert!(
        page.contains("NOT whole") && page.contains("denied, as it was: mount"),
        "{page}"
    );
}
