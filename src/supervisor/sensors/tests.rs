use super::*;
use crate::detect::{Response, Severity};

fn rule(on: Sensor) -> Rule {
    Rule {
        name: "r".into(),
        profile: "p".into(),
        on,
        calls: Vec::new(),
        programs: Vec::new(),
        above: None,
        unless: Vec::new(),
        respond: Response::Log,
        would: None,
        after: 1,
        within_ms: 0,
        freeze: None,
        severity: Severity::Info,
        tags: Vec::new(),
    }
}

fn execution(path: &str) -> Execution {
    Execution {
        file: File {
            path: path.into(),
            ..File::default()
        },
        ..Execution::default()
    }
}

fn call(name: &str) -> Seen<'_> {
    Seen::Call {
        name,
        args: &[0; 6],
    }
}

#[track_caller]
fn saw(rule: &Rule, seen: &Seen<'_>, wanted: bool) {
    assert_eq!(
        sees(rule, seen).is_some(),
        wanted,
        "{:?} {:?}",
        rule.on,
        sees(rule, seen)
    );
}

#[test]
fn a_rule_on_calls_is_about_its_calls_and_without_any_about_all() {
    let mut some = rule(Sensor::Tripwire);
    saw(&some, &call("bpf"), true);
    some.calls = vec!["mount".into()];
    saw(&some, &call("mount"), true);
    saw(&some, &call("bpf"), false);
    saw(&some, &Seen::OomKill { count: 1 }, false);
}

#[test]
fn programs_are_known_by_their_last_name_or_by_their_path() {
    let mut some = rule(Sensor::Exec);
    saw(&some, &Seen::Execution(&execution("/any/thing")), true);
    some.programs = vec!["sh".into(), "/opt/tool/*".into()];
    for (path, wanted) in [
        ("/bin/sh", true),
        ("/tmp/sh (deleted)", true),
        ("/opt/tool/x", true),
        ("/opt/tool/x/y", false),
        ("/bin/bash", false),
    ] {
        saw(&some, &Seen::Execution(&execution(path)), wanted);
    }
}

#[test]
fn drift_is_what_changed_or_can_be_changed() {
    let quiet = execution("/bin/a");
    saw(&rule(Sensor::Drift), &Seen::Execution(&quiet), false);
    let (mut changed, mut mount) = (quiet.clone(), quiet);
    changed.changed = true;
    mount.writable_mount = true;
    saw(&rule(Sensor::Drift), &Seen::Execution(&changed), true);
    saw(&rule(Sensor::Drift), &Seen::Execution(&mount), true);
}

#[test]
fn fileless_is_what_has_no_name_or_lies_in_memory() {
    let of = rule(Sensor::FilelessExec);
    let quiet = execution("/bin/a");
    saw(&of, &Seen::Execution(&quiet), false);
    let (mut deleted, mut memory) = (quiet.clone(), quiet);
    deleted.deleted = true;
    memory.shared_memory = true;
    saw(&of, &Seen::Execution(&deleted), true);
    saw(&of, &Seen::Execution(&memory), true);
    saw(&of, &call("memfd_create"), true);
    let sealed = Seen::Call {
        name: "memfd_create",
        args: &[0, 0x8, 0, 0, 0, 0],
    };
    saw(&of, &sealed, false);
    saw(&of, &call("mount"), false);
}

#[test]
fn privileges_are_a_file_s_own_or_a_user_s_change() {
    let of = rule(Sensor::PrivilegeChange);
    let quiet = execution("/bin/su");
    saw(&of, &Seen::Execution(&quiet), false);
    let mut gains = quiet.clone();
    gains.gains = Some("set-user-id");
    saw(&of, &Seen::Execution(&gains), true);
    for (uid, parent, wanted) in [
        (Some(0), Some(0), false),
        (Some(0), Some(1000), true),
        (Some(1000), Some(0), false),
        (Some(0), None, false),
    ] {
        let mut user = quiet.clone();
        (user.uid, user.parent_uid) = (uid, parent);
        saw(&of, &Seen::Execution(&user), wanted);
    }
    saw(&of, &call("setresuid"), true);
}

#[test]
fn a_reverse_shell_is_a_shell_with_a_socket() {
    let mut of = rule(Sensor::ReverseShell);
    of.programs = vec!["sh".into(), "bash".into()];
    let mut shell = execution("/usr/bin/bash");
    saw(&of, &Seen::Execution(&shell), false);
    shell.network_streams = 0b101;
    saw(&of, &Seen::Execution(&shell), true);
    let why = sees(&of, &Seen::Execution(&shell)).unwrap();
    assert!(why.ends_with("standard input and standard error"), "{why}");
    let mut server = execution("/usr/sbin/inetd");
    server.network_streams = 7;
    saw(&of, &Seen::Execution(&server), false);
    of.programs = vec!["inetd".into()];
    saw(&of, &Seen::Execution(&server), true);
}

#[test]
fn a_token_is_the_entrypoint_s_own() {
    let file = File::default();
    for entrypoint in [true, false] {
        let seen = Seen::Opening {
            file: &file,
            entrypoint,
        };
        saw(&rule(Sensor::TokenAccess), &seen, !entrypoint);
    }
}

#[test]
fn tasks_are_counted_against_the_rule_and_the_limit() {
    let mut of = rule(Sensor::ProcessCount);
    let tasks = |now, refused| Seen::Tasks { now, refused };
    saw(&of, &tasks(500, 0), false);
    saw(&of, &tasks(500, 1), true);
    of.above = Some(10);
    saw(&of, &tasks(10, 0), false);
    saw(&of, &tasks(11, 0), true);
}

#[test]
fn an_end_tells_how() {
    let said = |code| sees(&rule(Sensor::Exit), &Seen::End { code }).unwrap();
    assert_eq!(said(Some(137)), "ended by signal 9");
    assert_eq!(said(Some(3)), "ended with code 3");
    assert!(said(None).contains("does not tell"));
    saw(&rule(Sensor::OomKill), &Seen::OomKill { count: 2 }, true);
}
