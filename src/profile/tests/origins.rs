//! Where things were written, and what an author expects of a profile.

use super::*;
use crate::profile::{Deed, Document, Expectation, FileAccess, Origin, Outcome, Part};

const WEB: &str = "\
version: 1
name: web
extends: [parts]
capabilities:
  - NET_BIND_SERVICE
  - {name: CAP_CHOWN, why: 'its workers drop root'}
syscalls:
  groups: '2026.1'
  allow: ['@default', openat,
    {name: ioctl, args: [{index: 1, op: eq, value: 1}], why: terminals}]
  tripwire: [\"@mount\"]
files:
  read: [/etc,
         {path: /srv, why: pages}]
  except:
    - /etc/key
network:
  bind_tcp: [8080, {port: 8443, why: 'TLS'}]
scope: [signal]
process:
  refuse: [privileged, {host-path: ['/run/x', '@kubelet']}]
  max: 100
rlimits:
  NOFILE: 1024
devices: ['@standard', /dev/fuse]
exec: {interactive: deny, commands: [ls]}
detect:
  - {on: fileless-exec, why: nothing here makes code}
mode: enforce
";

const PARTS: &str = "\
version: 1
name: parts
syscalls: {groups: '2026.1', allow: [execve, memfd_create, openat]}
files: {read: [/usr]}
process: {max: 200}
rlimits: {NOFILE: 512}
requires: {landlock: 3}
";

fn web() -> Profile {
    Profile::resolve("web", &mut |name| {
        Ok(match name {
            "web" => Some(WEB.into()),
            "parts" => Some(PARTS.into()),
            _ => None,
        })
    })
    .unwrap()
}

/// The file, the line and what is written there, so far as `want` goes.
fn at(origin: &Origin, want: &str) -> String {
    let source = origin.source().unwrap();
    let line = source.text.lines().nth(origin.line() as usize - 1).unwrap();
    let from = line.chars().skip(origin.column() as usize - 1);
    let length = want.split_once(' ').unwrap().1.chars().count();
    format!("{} {}", source.name, from.take(length).collect::<String>())
}

#[test]
fn every_thing_that_a_file_lists_knows_its_file_line_and_column() {
    let profile = web();
    for (part, want) in [
        (Part::Key("mode"), "web.yaml enforce"),
        (
            Part::Capability("CAP_NET_BIND_SERVICE"),
            "web.yaml NET_BIND",
        ),
        (Part::Capability("CAP_CHOWN"), "web.yaml {name: CAP_CHOWN"),
        (Part::Key("network.bind_tcp"), "web.yaml [8080"),
        (Part::BindTcp(8080), "web.yaml 8080"),
        (Part::BindTcp(8443), "web.yaml {port: 8443"),
        (Part::Scope(Scope::Signal), "web.yaml signal"),
        (Part::Refuse(Refuse::Privileged), "web.yaml privileged"),
        (
            Part::Refuse(Refuse::HostPath(HostPath("@kubelet".into()))),
            "web.yaml '@kubelet'",
        ),
        (Part::Key("exec.interactive"), "web.yaml deny"),
        (Part::Command("ls".into()), "web.yaml ls]"),
        (
            Part::Detection("fileless-exec".into()),
            "web.yaml {on: fileless-exec",
        ),
        // Of two limits the higher one holds, and says where it is written.
        (Part::Key("process.max"), "parts.yaml 200"),
        (Part::Key("requires.landlock"), "parts.yaml 3}"),
    ] {
        let origin = profile.origins.of(&part).unwrap();
        assert_eq!(at(origin, want), want, "{part:?}");
    }
    let is_rlimit = |part: &&Part| matches!(part, Part::Rlimit(_));
    let mut rlimits = profile.origins.iter().filter(|(part, _)| is_rlimit(part));
    let want = "web.yaml 1024";
    assert_eq!(at(rlimits.next().unwrap().1, want), want);
    for (_, origin) in profile.origins.iter() {
        assert!(origin.is_known(), "{origin}");
    }
}

#[test]
fn a_call_knows_the_group_and_the_parent_that_it_came_by() {
    let profile = web();
    let (allow, tripwire) = (&profile.syscalls.allow, &profile.syscalls.tripwire);
    for (list, name, want, group, why) in [
        (allow, "brk", "web.yaml '@default'", Some("default"), None),
        (allow, "openat", "web.yaml openat", None, None),
        (
            allow,
            "ioctl",
            "web.yaml {name: ioctl",
            None,
            Some("terminals"),
        ),
        (allow, "memfd_create", "parts.yaml memfd_create", None, None),
        (
            tripwire,
            "mount",
            "web.yaml \"@mount\"",
            Some("mount"),
            None,
        ),
        // What a rule of `detect` implies comes from that rule.
        (
            tripwire,
            "memfd_create",
            "web.yaml {on: fileless-exec",
            None,
            Some("nothing here makes code"),
        ),
    ] {
        let rule = list.iter().find(|rule| rule.name == name).unwrap();
        assert_eq!(at(&rule.origin, want), want, "{name}");
        assert_eq!(
            (rule.origin.group(), rule.origin.why()),
            (group, why),
            "{name}"
        );
    }
}

#[test]
fn files_and_exceptions_know_where_they_are_written() {
    let files = web().files.unwrap();
    let want = ["web.yaml /etc,", "web.yaml {path: /srv", "parts.yaml /usr]"];
    for (entry, want) in files.read.iter().zip(want) {
        assert_eq!(at(&entry.origin, want), want);
    }
    assert_eq!(files.read[1].origin.why(), Some("pages"));
    assert_eq!(
        at(&files.except[0].origin, "web.yaml /etc/key"),
        "web.yaml /etc/key"
    );
}

#[test]
fn an_origin_changes_nothing_about_what_is_equal() {
    let other = WEB.replace("version: 1\n", "# moved\nversion: 1\n");
    let other = other.replace("why: pages", "why: 'other words'");
    let moved = Profile::resolve("web", &mut |name| {
        Ok(match name {
            "web" => Some(other.clone()),
            "parts" => Some(PARTS.into()),
            _ => None,
        })
    });
    assert_eq!(moved.unwrap(), web());
    let twice =
        "{version: 1, name: web, extends: [baseline], files: {read: [/a, {path: /a, why: b}]}}";
    let baseline = "{version: 1, name: web, extends: [baseline], files: {read: [/a, /a]}}";
    assert_eq!(
        Profile::parse("web", twice).unwrap(),
        Profile::parse("web", baseline).unwrap()
    );
}

#[test]
fn an_empty_reason_and_one_that_is_misspelt_are_errors() {
    for (text, want) in [
        (
            "capabilities: [{name: KILL, why: ''}]",
            "an empty `why` gives no reason",
        ),
        (
            "capabilities: [{name: KILL, why: ' '}]",
            "an empty `why` gives no reason",
        ),
        (
            "capabilities: [{name: KILL, whi: x}]",
            "did you mean `why`?",
        ),
        ("capabilities: [{name: KIL}]", "did you mean `KILL`?"),
        (
            "network: {bind_tcp: [{port: 80, why: ''}]}",
            "an empty `why`",
        ),
        ("network: {bind_tcp: [{why: 'x'}]}", "`port` is missing"),
        ("network: {bind_tcp: [-1]}", "-1 is no port"),
        ("files: {read: [{path: /a, why: ''}]}", "an empty `why`"),
        ("detect: [{on: drift, why: ''}]", "an empty `why`"),
    ] {
        let found = error(&format!("version: 1\nname: web\n{CALLS}{text}\n"));
        assert!(
            found.contains(want) && found.starts_with("web.yaml:4:"),
            "{text}: {found}"
        );
    }
}

fn tests_of(text: &str) -> Result<Vec<Expectation>, String> {
    Expectation::parse("web.tests.yaml", &format!("version: 1\ntests:\n{text}"))
        .map_err(|error| error.to_string())
}

#[test]
fn expectations_are_read_from_a_profile_and_from_a_file_of_their_own() {
    let text = "  - {syscall: ptrace, expect: denied, why: no debugger}
  - {syscall: socket, args: [2, -1], expect: allowed}
  - {path: /etc/shadow, access: write, expect: denied}
  - {path: /srv, access: [delete, read, read], expect: allowed}
  - {exec: /bin/sh, expect: allowed}
  - {bind: 8080, expect: allowed}
  - {connect: 443, expect: allowed}
  - {capability: NET_RAW, expect: denied}
";
    let tests = tests_of(text).unwrap();
    let deeds: Vec<Deed> = tests.iter().map(|test| test.deed.clone()).collect();
    assert_eq!(
        deeds,
        [
            Deed::Syscall {
                name: "ptrace".into(),
                args: None
            },
            Deed::Syscall {
                name: "socket".into(),
                args: Some(vec![2, u64::MAX])
            },
            Deed::File {
                path: "/etc/shadow".into(),
                access: vec![FileAccess::Write]
            },
            Deed::File {
                path: "/srv".into(),
                access: vec![FileAccess::Read, FileAccess::Delete],
            },
            Deed::Exec {
                path: "/bin/sh".into()
            },
            Deed::Bind { port: 8080 },
            Deed::Connect { port: 443 },
            Deed::Capability {
                name: "CAP_NET_RAW"
            },
        ]
    );
    assert_eq!(
        (tests[0].expect, tests[1].expect),
        (Outcome::Denied, Outcome::Allowed)
    );
    assert_eq!(tests[0].origin.to_string(), "web.tests.yaml:3:5");
    assert_eq!(tests[0].origin.why(), Some("no debugger"));
    let whole = format!("version: 1\nname: web\n{CALLS}tests:\n{text}");
    let profile = Profile::parse("web.yaml", &whole).unwrap();
    assert_eq!(profile.tests, tests);
    assert_eq!(profile.tests[0].origin.to_string(), "web.yaml:5:5");
    // A child is tested by its own.
    let child = Profile::resolve("child", &mut |name| {
        Ok(match name {
            "child" => Some("{version: 1, name: child, extends: [web]}".into()),
            "web" => Some(whole.clone()),
            _ => None,
        })
    });
    assert!(child.unwrap().tests.is_empty());
}

#[test]
fn an_expectation_that_means_nothing_is_an_error() {
    for (entry, want) in [
        ("{expect: denied}", "a test that tries nothing"),
        ("{syscall: ptrace}", "`expect` is missing"),
        (
            "{syscall: ptrase, expect: denied}",
            "did you mean `ptrace`?",
        ),
        ("{syscall: '@debug', expect: denied}", "is a group"),
        ("{syscall: ptrace, expect: deny}", "one of allowed, denied"),
        (
            "{syscall: ptrace, bind: 80, expect: denied}",
            "a test tries one thing",
        ),
        (
            "{bind: 80, args: [1], expect: denied}",
            "`args` are a system call's",
        ),
        (
            "{syscall: ptrace, args: [1, 2, 3, 4, 5, 6, 7], expect: denied}",
            "six arguments",
        ),
        ("{syscall: ptrace, args: [a], expect: denied}", "a number"),
        ("{path: /a, expect: denied}", "`path` without `access`"),
        (
            "{exec: /a, access: read, expect: denied}",
            "`access` is what",
        ),
        ("{path: a, access: read, expect: denied}", "is not absolute"),
        (
            "{path: /a, access: [], expect: denied}",
            "an empty `access`",
        ),
        (
            "{path: /a, access: raed, expect: denied}",
            "did you mean `read`?",
        ),
        (
            "{path: /a, access: [raed], expect: denied}",
            "did you mean `read`?",
        ),
        ("{exec: sh, expect: denied}", "is not absolute"),
        ("{bind: 70000, expect: denied}", "web.tests.yaml:3:"),
        (
            "{capability: NET_RAV, expect: denied}",
            "did you mean `NET_RAW`?",
        ),
    ] {
        let found = tests_of(&format!("  - {entry}\n")).unwrap_err();
        assert!(
            found.contains(want) && found.starts_with("web.tests.yaml:3:"),
            "{entry}: {found}"
        );
    }
    assert!(Expectation::parse("t", "version: 2\ntests: []").is_err());
    assert!(Expectation::parse("t", "version: 1\nname: web\ntests: []").is_err());
}

#[test]
fn a_mode_is_the_childs_own_else_it_is_enforced() {
    assert_eq!(web().mode, Mode::Enforce);
    assert_eq!(Profile::builtin("restricted").unwrap().mode, Mode::Enforce);
    let document = Document::parse("web", &format!("version: 1\nname: web\n{CALLS}")).unwrap();
    assert!(document.mode.is_none());
}
