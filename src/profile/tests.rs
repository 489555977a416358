use super::*;

mod detection;
mod lint;
mod mutations;
mod origins;
mod reference;
mod schema;
mod wrong;

fn error(text: &str) -> String {
    Profile::parse("web.yaml", text).unwrap_err().to_string()
}

const CALLS: &str = "syscalls: {groups: '2026.1', allow: ['@default']}\n";

#[test]
fn a_group_that_nobody_has_is_answered_with_where_groups_are() {
    let lists = "{groups: '2026.1', allow: [execve, '@everything-harmless']}";
    let found = error(&format!("version: 1\nname: web\nsyscalls: {lists}\n"));
    assert!(found.contains("no @everything-harmless"), "{found}");
    assert!(found.contains("mantlet explain @known"), "{found}");
}

#[test]
fn the_built_in_profiles_resolve_and_carry_their_own_names() {
    for name in BUILT_IN.into_iter().chain(["pause"]) {
        let profile = Profile::builtin(name).unwrap();
        assert_eq!(profile.name, name);
        assert!(!profile.description.is_empty() && profile.files.is_some());
    }
}

#[test]
fn a_misspelt_key_is_found_by_line_and_column_with_the_likely_word() {
    let found = error(&format!("version: 1\nname: web\n{CALLS}filse: {{}}\n"));
    assert_eq!(
        found,
        "web.yaml:4:1: unknown key `filse`; did you mean `files`?"
    );
    let found = error(&format!(
        "version: 1\nname: web\n{CALLS}files:\n  raed: [\"/\"]\n"
    ));
    assert!(
        found.starts_with("web.yaml:5:3: unknown key `raed`; did you mean `read`?"),
        "{found}"
    );
}

#[test]
fn wrong_words_are_errors_with_a_suggestion_and_their_line() {
    for (text, want) in [
        (
            "capabilities: [NET_BIND_SERVCE]",
            "did you mean `NET_BIND_SERVICE`?",
        ),
        ("files: {read: ['@volume']}", "did you mean `@volumes`?"),
        ("files: {read: [etc]}", "`etc` is not absolute"),
        ("files: {read: [/a/../b]}", "holds `.` or `..`"),
        ("files: {read: ['/tmp/*']}", "wildcard"),
        ("files: {read_write: [/proc/self]}", "below procfs"),
        (
            "files: {read: [{path: /a, optionl: true}]}",
            "did you mean `optional`?",
        ),
        ("scope: [signals]", "did you mean `signal`?"),
        ("process: {refuse: [root-usr]}", "did you mean `root-user`?"),
        ("requires: {degrade: [landlok]}", "did you mean `landlock`?"),
        ("network: {bind_tcp: [70000]}", "web.yaml:4:"),
        (
            "exec: {interactive: denied}",
            "neither allow, deny nor {profile: NAME}",
        ),
        (
            "exec: {interactive: {profil: x}}",
            "did you mean `profile`?",
        ),
        ("exec: {comands: [ls]}", "did you mean `commands`?"),
        ("exec: {commands: [bin/ls]}", "write it from `/`"),
        ("exec: {commands: [/bin/../ls]}", "without `.` and `..`"),
        ("exec: {commands: ['']}", "can be no argv[0]"),
        ("exec: deny", "web.yaml:4:"),
        ("description: [1]", "web.yaml:4:"),
        ("version: 1", "appears twice"),
    ] {
        let found = error(&format!("version: 1\nname: web\n{CALLS}{text}\n"));
        assert!(
            found.contains(want) && found.starts_with("web.yaml:4:"),
            "{text}: {found}"
        );
    }
}

#[test]
fn wrong_rules_and_limits_are_errors_that_say_what_to_write() {
    for (text, want) in [
        ("process: {refuse: [host-path]}", "write {host-path: [...]}"),
        (
            "process: {refuse: [{host-paths: ['/']}]}",
            "did you mean `host-path`?",
        ),
        ("process: {refuse: [{host-path: []}]}", "refuses nothing"),
        ("process: {refuse: [{}]}", "an entry without a rule"),
        (
            "process: {refuse: [{host-path: [etc]}]}",
            "`etc` is not absolute",
        ),
        (
            "process: {refuse: [{host-path: ['/a/../b*']}]}",
            "`/a/../b*` holds `.` or `..`",
        ),
        (
            "process: {refuse: [{host-path: ['/a/b**']}]}",
            "whole components",
        ),
        (
            "process: {refuse: [{host-path: ['@kubelets']}]}",
            "did you mean `@kubelet`?",
        ),
        (
            "process: {refuse: [{capability: [SYS_PTRCE]}]}",
            "did you mean `SYS_PTRACE`?",
        ),
        (
            "process: {refuse: [{capability: ['@add']}]}",
            "unknown capability",
        ),
        (
            "process: {refuse: [{missing-limit: [memroy]}]}",
            "did you mean `memory`?",
        ),
        ("process: {max: 15}", "write 16 or more"),
        ("process: {max: 4194305}", "limits nothing"),
        ("process: {max: -1}", "web.yaml:4:"),
        ("rlimits: {nofile: 5}", "did you mean `NOFILE`?"),
        ("rlimits: {RLIMIT_NOFILE: 5}", "did you mean `NOFILE`?"),
        (
            "rlimits: {NOFILE: {soft: 5, hard: 4}}",
            "above the hard one",
        ),
        ("rlimits: {NOFILE: {soft: 5}}", "`hard` is missing"),
        ("rlimits: {NOFILE: unlimited}", "web.yaml:4:"),
        ("rlimits: {NOFILE: 5, NOFILE: 6}", "appears twice"),
        ("devices: ['@standart']", "did you mean `@standard`?"),
        ("devices: [/etc/x]", "does not lie in /dev"),
        ("devices: [{path: /dev/x, major: 1}]", "not by both"),
        ("devices: [{type: c, minor: 1}]", "`minor` without `major`"),
        ("devices: [{type: d, major: 1}]", "web.yaml:4:"),
        ("devices: [{path: /dev/x, access: rwx}]", "letters of `rwm`"),
        (
            "devices: [{path: /dev/x, acces: r}]",
            "did you mean `access`?",
        ),
    ] {
        let found = error(&format!("version: 1\nname: web\n{CALLS}{text}\n"));
        assert!(
            found.contains(want) && found.starts_with("web.yaml:4:"),
            "{text}: {found}"
        );
    }
}

#[test]
fn wrong_system_calls_are_errors() {
    for (lists, want) in [
        (
            "allow: [execve], tripwire: [moutn]",
            "did you mean `mount`?",
        ),
        (
            "allow: [execve], deny: [{name: bfp}]",
            "would not be denied",
        ),
        ("allow: ['@basicio', execve]", "did you mean `@basic-io`?"),
        (
            "allow: [{name: ioctl, args: [{index: 6, op: eq, value: 1}]}]",
            "above 5",
        ),
        (
            "allow: [{name: ioctl, args: [{index: 1, op: masked, value: 1}]}]",
            "needs a `mask`",
        ),
        (
            "allow: [{name: ioctl, args: [{index: 1, op: masked, value: 2, mask: 1}]}]",
            "never compares equal",
        ),
        (
            "allow: [{name: ioctl, args: [{index: 1, op: like, value: 2}]}]",
            "unknown value `like`",
        ),
        (
            "allow: [{name: '@mount', args: [{index: 1, op: eq, value: 2}]}]",
            "is a group",
        ),
        (
            "allow: [execve], tripwire: [{name: bpf, errno: ENOSYSS}]",
            "did you mean `ENOSYS`?",
        ),
        ("allow: [read]", "does not allow execve"),
        ("allow: []", "allows no system call"),
    ] {
        let found = error(&format!(
            "version: 1\nname: web\nsyscalls: {{groups: '2026.1', {lists}}}\n"
        ));
        assert!(found.contains(want), "{lists}: {found}");
    }
    let found = error("version: 1\nname: web\nsyscalls: {groups: '2031.1', allow: [execve]}\n");
    assert!(found.contains("this mantlet holds 2026.1"), "{found}");
}

#[test]
fn other_versions_and_a_recording_that_lists_something_say_what_to_write() {
    assert!(error("version: 2\nname: web\n").contains("write `version: 1`"));
    assert!(
        error(&format!("version: 1\nname: web\nmode: learn\n{CALLS}"))
            .contains("`syscalls` has no meaning in it")
    );
    assert!(error("name: web\n").contains("`version` is missing"));
    assert!(error("").contains("web.yaml"));
}

#[test]
fn an_unknown_name_in_allow_is_kept_for_a_younger_build() {
    let text =
        "version: 1\nname: web\nsyscalls: {groups: '2026.1', allow: [execve, quantum_fork]}\n";
    assert!(
        Profile::parse("web", text)
            .unwrap()
            .syscalls
            .allow
            .iter()
            .any(|r| r.name == "quantum_fork")
    );
}

fn library(name: &str) -> std::io::Result<Option<String>> {
    let text = match name {
        "a" => "{version: 1, name: a, extends: [b]}",
        "b" => "{version: 1, name: b, extends: [c]}",
        "c" => "{version: 1, name: c, extends: [a]}",
        "lost" => "{version: 1, name: lost, extends: [nowhere]}",
        "alias" => "{version: 1, name: other, extends: [baseline]}",
        "locked" => return Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied)),
        _ => return Ok(None),
    };
    Ok(Some(text.into()))
}

#[test]
fn circles_missing_unreadable_and_misnamed_profiles_are_errors() {
    let why = |name: &str| {
        Profile::resolve(name, &mut library)
            .unwrap_err()
            .to_string()
    };
    assert!(why("a").contains("a -> b -> c -> a"));
    assert!(why("lost").contains("no profile `nowhere` (named by lost)"));
    assert!(why("locked").contains("permission denied"));
    assert!(why("alias").contains("says `name: other`"));
    for hostile in ["../etc/passwd", "/etc/x", ".hidden", "", "a/b"] {
        assert!(why(hostile).contains("is no profile name"), "{hostile}");
    }
}

#[test]
fn extends_is_a_union_and_does_not_depend_on_the_order_of_parents() {
    let parts = |name: &str| {
        let text = match name {
            "x" => {
                "{version: 1, name: x, capabilities: [KILL], syscalls: {groups: '2026.1', allow: [execve, bpf]}, files: {read: [/a], except: [/a/s]}, network: {bind_tcp: [80]}, process: {refuse: [host-pid]}}"
            }
            "y" => {
                "{version: 1, name: y, capabilities: [CHOWN], syscalls: {groups: '2026.1', allow: [read], tripwire: [bpf, mount]}, files: {read: [/b]}, network: {bind_tcp: [81], connect_tcp: []}}"
            }
            "xy" => "{version: 1, name: xy, extends: [x, y]}",
            "yx" => "{version: 1, name: yx, extends: [y, x]}",
            "xx" => "{version: 1, name: xx, extends: [x, x]}",
            _ => return Ok(None),
        };
        Ok(Some(text.to_owned()))
    };
    let sorted = |name: &str| {
        let mut p = Profile::resolve(name, &mut { parts }).unwrap();
        p.name.clear();
        p.extends.clear();
        p.syscalls.allow.sort();
        p.syscalls.tripwire.sort();
        if let Some(files) = &mut p.files {
            files.read.sort();
        }
        p
    };
    let both = sorted("xy");
    assert_eq!(both, sorted("yx"));
    assert_eq!(sorted("xx"), sorted("x"), "idempotent");
    assert_eq!(both.capabilities.len(), 2);
    let names: Vec<&str> = both
        .syscalls
        .tripwire
        .iter()
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(names, ["mount"], "what one part allows is allowed");
    let network = both.network.unwrap();
    assert_eq!(network.bind_tcp.unwrap().len(), 2);
    assert_eq!(
        both.files.unwrap().except.len(),
        1,
        "y grants nothing near x's exception"
    );
    assert!(
        both.refuse.contains(&Refuse::HostPid),
        "a refusal is never lost"
    );
}

#[test]
fn an_exception_that_a_union_would_lose_is_an_error() {
    let restricted = "{version: 1, name: web, extends: [restricted], files: {except: [/secret]}}";
    let found = error(restricted);
    for part in [
        "profile web",
        "`except: /secret`",
        "restricted grants files there",
    ] {
        assert!(found.contains(part), "{found}");
    }
    // Not the author's own exception, but a parent's.
    let part = |files: &str| {
        format!(
            "{{version: 1, name: x, files: {files}, syscalls: {{groups: '2026.1', allow: [execve]}}}}"
        )
    };
    let web = |parent: &str, own: &str| {
        let text = part(parent);
        let child = format!("{{version: 1, name: web, extends: [x], files: {own}}}");
        Profile::resolve("web", &mut |name| {
            Ok(match name {
                "x" => Some(text.clone()),
                "web" => Some(child.clone()),
                _ => None,
            })
        })
    };
    for (parent, own) in [
        ("{read_execute: [/], except: [/s]}", "{read: [/]}"),
        ("{read: [/], except: [/s]}", "{read: [/s/part]}"),
        ("{read: [/], except: [/s/deep]}", "{read: [/s]}"),
        ("{read: [/], except: [/s]}", "{read: ['@volumes']}"),
        (
            "{read: [/], except: [/s]}",
            "{read: [{path: /link, follow: true}]}",
        ),
        ("{read: [/]}", "{read: [/srv], except: [/srv/key]}"),
    ] {
        let found = web(parent, own);
        assert!(
            matches!(
                &found,
                Err(Error {
                    problem: Problem::ExceptLost { .. },
                    ..
                })
            ),
            "{parent} {own}"
        );
    }
    for (parent, own, kept) in [
        (
            "{read: [/], except: [/s]}",
            "{execute: [/], except: [/s]}",
            1,
        ),
        (
            "{read: [/a], except: [/a/s]}",
            "{read: [/b, /ab], except: [/b/s]}",
            2,
        ),
        ("{read: [/], except: [/s]}", "{}", 1),
        ("{}", "{read: [/], except: [/s]}", 1),
    ] {
        let files = web(parent, own).unwrap().files.unwrap();
        assert_eq!(files.except.len(), kept, "{parent} {own}");
    }
}

#[test]
fn what_is_said_of_sessions_is_the_childs_own_else_what_the_parents_agree_on() {
    let texts = |name: &str| {
        let exec = match name {
            "quiet" => "",
            "closed" => "exec: {interactive: deny, commands: [a]}",
            "listed" => "exec: {commands: [b, /c/*]}",
            "open" => "exec: {interactive: allow}",
            "held" => "exec: {interactive: {profile: restricted}, profile: quiet}",
            _ => return Ok(None),
        };
        Ok(Some(format!("version: 1\nname: {name}\n{CALLS}{exec}\n")))
    };
    let child = |extends: &str, exec: &str| {
        let text = format!("{{version: 1, name: web, extends: [{extends}], exec: {exec}}}");
        Profile::resolve("web", &mut |name| match name {
            "web" => Ok(Some(text.clone())),
            other => texts(other),
        })
    };
    let sessions = |extends, exec| child(extends, exec).unwrap().exec.unwrap();
    let agreed = sessions("quiet, closed, listed", "null");
    assert_eq!(agreed.interactive, Some(Interactive::Deny));
    let commands: Vec<String> = agreed.commands.into_iter().flatten().collect();
    assert_eq!(commands, ["/c/*", "a", "b"]);
    assert!(child("quiet", "null").unwrap().exec.is_none());
    let own = sessions("closed", "{interactive: allow, commands: []}");
    assert_eq!(own.interactive, Some(Interactive::Allow));
    assert!(own.commands.unwrap().contains("a"));
    assert_eq!(
        sessions("quiet", "{commands: []}").commands.unwrap().len(),
        0
    );
    let held = sessions("held", "null");
    let names = |interactive| -> Vec<&str> {
        held.stricter(interactive)
            .map(|p| p.name.as_str())
            .collect()
    };
    assert_eq!(
        (names(false), names(true)),
        (vec!["quiet"], vec!["quiet", "restricted"])
    );
    let why = |extends, exec| child(extends, exec).unwrap_err().to_string();
    assert!(why("closed, open", "null").contains("differ about `exec.interactive`"));
    assert!(
        sessions("closed, open", "{interactive: deny}")
            .interactive
            .is_some()
    );
    assert!(why("quiet", "{profile: nowhere}").contains("`nowhere` (named by web)"));
}

#[test]
fn checkpoint_and_restore_are_denied_unless_all_parents_or_the_child_itself_say_otherwise() {
    let resolved = |extends: &str, own: &str| {
        let text = format!("{{version: 1, name: web, extends: [{extends}]{own}}}");
        let profile = Profile::resolve("web", &mut |name| {
            Ok(match name {
                "web" => Some(text.clone()),
                "moves" => Some(format!(
                    "version: 1\nname: moves\n{CALLS}checkpoint: allow\nrestore: unprotected\n"
                )),
                _ => None,
            })
        });
        let profile = profile.unwrap();
        (profile.checkpoint, profile.restore)
    };
    let (denied, moves) = (
        (Checkpoint::Deny, Restore::Deny),
        (Checkpoint::Allow, Restore::Unprotected),
    );
    assert_eq!(resolved("baseline", ""), denied);
    assert_eq!(resolved("moves", ""), moves);
    assert_eq!(resolved("moves, baseline", ""), denied);
    assert_eq!(
        resolved("moves", ", checkpoint: deny, restore: deny"),
        denied
    );
    assert_eq!(
        resolved("baseline", ", checkpoint: allow, restore: unprotected"),
        moves
    );
    let found = error(&format!("version: 1\nname: web\n{CALLS}restore: allow\n"));
    assert!(found.contains("unknown value `allow`"), "{found}");
}

#[test]
fn a_profile_for_sessions_that_speaks_of_sessions_itself_is_an_error() {
    for exec in [
        "{profile: web}",
        "{interactive: {profile: web}}",
        "{profile: child}",
    ] {
        let text = format!("version: 1\nname: web\n{CALLS}exec: {exec}\n");
        let found = Profile::resolve("web", &mut |name| {
            Ok(match name {
                "web" => Some(text.clone()),
                "child" => Some("{version: 1, name: child, extends: [web]}".into()),
                _ => None,
            })
        });
        let found = found.unwrap_err().to_string();
        assert!(found.contains("profile web has `exec`, so no"), "{found}");
    }
}
