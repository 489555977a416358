//! Golden rows: every call that engines make (observed), and the traps.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::*;

const PREFIX: &str = "/opt/mantlet/bin/mantlet-restricted --root /run/containerd/runc/k8s.io --log /b/log.json --log-format json";

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn parse(line: &str) -> Invocation {
    Invocation::parse(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refused(line: &str) -> InvocationError {
    Invocation::parse(words(line)).expect_err(line).error
}

fn rendered(line: &str, changes: &Changes<'_>) -> String {
    let out = parse(line).render(Path::new("runc"), changes);
    out.iter()
        .map(|word| word.to_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

fn create(line: &str) -> Create {
    match parse(line).verb {
        Verb::Create(create) => create,
        verb => panic!("{line}: {verb:?}"),
    }
}

fn exec(line: &str) -> Exec {
    match parse(line).verb {
        Verb::Exec(exec) => exec,
        verb => panic!("{line}: {verb:?}"),
    }
}

fn other(name: &str, id: Option<&str>) -> Verb {
    Verb::Other {
        name: name.into(),
        id: id.map(String::from),
    }
}

#[test]
fn containerds_prefix_is_read() {
    let call = parse(&format!("{PREFIX} --systemd-cgroup start c1"));
    assert_eq!(call.program, "mantlet-restricted");
    assert_eq!(call.global.root, Some("/run/containerd/runc/k8s.io".into()));
    assert_eq!(call.global.log, Some("/b/log.json".into()));
    assert_eq!(call.global.log_format, LogFormat::Json);
    assert!(!call.global.debug);
    assert_eq!(call.verb, Verb::Start { id: "c1".into() });
    assert!(parse("runc --debug --root /r start c1").global.debug);
}

#[test]
fn containerds_create_is_read() {
    let got = create(&format!(
        "{PREFIX} create --bundle /b --pid-file /b/init.pid --console-socket /tmp/pty1/pty.sock --no-pivot --no-new-keyring c1"
    ));
    let want = Create {
        id: "c1".into(),
        bundle: Some("/b".into()),
        pid_file: Some("/b/init.pid".into()),
        console_socket: Some("/tmp/pty1/pty.sock".into()),
        no_pivot: true,
        no_new_keyring: true,
        ..Create::default()
    };
    assert_eq!(got, want);
    let plain = create(&format!(
        "{PREFIX} create --bundle /b --pid-file /b/init.pid c1"
    ));
    assert_eq!(
        plain,
        Create {
            console_socket: None,
            no_pivot: false,
            no_new_keyring: false,
            ..want
        }
    );
}

#[test]
fn containerds_exec_is_read() {
    let got = exec(&format!(
        "{PREFIX} exec --process /tmp/runc-process1 --console-socket /tmp/p/pty.sock --detach --pid-file /b/e.pid c1"
    ));
    let want = Exec {
        id: "c1".into(),
        process: Some("/tmp/runc-process1".into()),
        console_socket: Some("/tmp/p/pty.sock".into()),
        detach: true,
        pid_file: Some("/b/e.pid".into()),
        ..Exec::default()
    };
    assert_eq!(got, want);
}

#[test]
fn the_command_line_form_of_exec_is_read() {
    let got =
        exec("runc exec --cap CAP_A -c=CAP_B --no-new-privs=false -e A=b -u 1:2 --cwd /w c1 id");
    assert_eq!(got.caps, ["CAP_A", "CAP_B"]);
    assert_eq!(got.no_new_privs, Some(false));
    assert_eq!((got.env, got.command), (words("A=b"), words("id")));
    assert_eq!(
        (got.user.as_deref(), got.cwd),
        (Some("1:2"), Some("/w".into()))
    );
}

#[test]
fn verbs_that_engines_call_besides_are_forwarded() {
    for (line, name, id) in [
        ("kill c1 15", "kill", Some("c1")),
        ("kill --all c1 9", "kill", Some("c1")),
        ("delete c1", "delete", Some("c1")),
        ("delete --force c1", "delete", Some("c1")),
        ("ps --format json c1", "ps", Some("c1")),
        ("pause c1", "pause", Some("c1")),
        ("resume c1", "resume", Some("c1")),
        ("update --resources - c1", "update", Some("c1")),
        ("update --resources=- c1", "update", Some("c1")),
        ("state c1", "state", Some("c1")),
        ("list", "list", None),
        ("frobnicate c1", "frobnicate", Some("c1")),
    ] {
        let line = format!("{PREFIX} {line}");
        let call = parse(&line);
        assert_eq!(call.verb, other(name, id), "{line}");
        assert!(!call.is_help());
        let mut want = words(&line);
        want[0] = "/usr/bin/runc".into();
        assert_eq!(call.forward(Path::new("/usr/bin/runc")), want);
    }
    assert_eq!(parse("runc features").verb, other("features", None));
}

#[test]
fn checkpoint_is_told_from_its_help() {
    let line = format!(
        "{PREFIX} checkpoint --image-path /i --work-path /b/work/criu-work --leave-running c1"
    );
    assert_eq!(
        parse(&line).verb,
        Verb::Checkpoint {
            id: Some("c1".into()),
            help: false
        }
    );
    let probe = parse("runc checkpoint --help");
    assert_eq!(
        probe.verb,
        Verb::Checkpoint {
            id: None,
            help: true
        }
    );
    assert!(probe.is_help());
    assert!(!parse("runc checkpoint --image-path --help c1").is_help());
}

#[test]
fn dockers_runtime_arguments_come_first() {
    let line = "mantlet-runtime --debug --criu=/c --root /var/run/docker/runtime-runc/moby --log /b/log.json \
                --log-format json create --bundle /b --pid-file /b/init.pid 0123456789abcdef";
    let call = parse(line);
    assert!(call.global.debug);
    assert_eq!(
        call.global.root,
        Some("/var/run/docker/runtime-runc/moby".into())
    );
    assert!(matches!(call.verb, Verb::Create(Create { id, .. }) if id == "0123456789abcdef"));
    assert_eq!(parse("runc --version").verb, Verb::None);
    assert!(parse("runc --version").is_help());
}

#[test]
fn podmans_forms_are_read() {
    let known = parse(
        "crun --log-format=json --log /u/oci-log create --bundle /u --pid-file /u/pidfile c1",
    );
    assert_eq!(known.global.log, Some("/u/oci-log".into()));
    assert_eq!(known.global.log_format, LogFormat::Json);
    let unknown = parse(
        "mantlet --systemd-cgroup create --bundle /u --pid-file /u/pidfile --console-socket /tmp/c.X c1",
    );
    assert_eq!(unknown.global, Global::default());
    let session = exec(
        "mantlet exec --pid-file /u/exec_pid --process /u/exec-process-1 --detach --tty --console-socket /s c1",
    );
    assert!(session.tty && session.detach);
    assert_eq!(session.process, Some("/u/exec-process-1".into()));
    assert_eq!(
        parse("mantlet update --resources=/var/tmp/podman1 c1").verb,
        other("update", Some("c1"))
    );
}

#[test]
fn a_container_named_like_a_verb_is_not_the_verb() {
    assert_eq!(
        parse("runc kill create 9").verb,
        other("kill", Some("create"))
    );
    assert_eq!(create("runc create exec").id, "exec");
    assert_eq!(
        parse("runc --root create delete run").verb,
        other("delete", Some("run"))
    );
    assert_eq!(
        parse("runc --log exec create c1").global.log,
        Some("exec".into())
    );
}

#[test]
fn one_dash_and_equal_signs_are_go_flags() {
    let got = create("runc -root=/r create -bundle=/b -pid-file /p --preserve-fds=2 c1");
    assert_eq!(
        (got.bundle, got.pid_file, got.preserve_fds),
        (Some("/b".into()), Some("/p".into()), 2)
    );
    assert_eq!(create("runc create -b /b c1").bundle, Some("/b".into()));
    assert_eq!(
        create("runc create --bundle /a --bundle /b c1").bundle,
        Some("/b".into())
    );
    assert!(!create("runc create --no-pivot=false c1").no_pivot);
}

#[test]
fn flags_may_follow_the_id_except_in_exec() {
    assert_eq!(
        create("runc create c1 --bundle /b").bundle,
        Some("/b".into())
    );
    let session = exec("runc exec -t c1 sh --detach --help -- -c id");
    assert!(session.tty && !session.detach);
    assert_eq!(session.command, words("sh --detach --help -- -c id"));
    assert_eq!(exec("runc exec c1 -- sh").command, words("-- sh"));
    assert_eq!(exec("runc exec -- c1 sh").command, words("sh"));
}

#[test]
fn a_value_is_the_next_word_whatever_it_looks_like() {
    assert_eq!(
        create("runc create --pid-file --help c1").pid_file,
        Some("--help".into())
    );
    assert!(!parse("runc create --pid-file --help c1").is_help());
    assert!(matches!(
        refused("runc create c1 --bundle --"),
        InvocationError::BadValue { flag: "bundle", .. }
    ));
    assert!(matches!(
        refused("runc create c1 --bundle"),
        InvocationError::BadValue { flag: "bundle", .. }
    ));
}

#[test]
fn help_is_help_only_where_every_runtime_says_so() {
    for line in [
        "create --help",
        "run -h",
        "exec --help",
        "exec -h c1 sh",
        "restore --help",
        "start -help",
    ] {
        let call = parse(&format!("runc {line}"));
        assert!(call.is_help(), "{line}");
        assert_eq!(
            call.forward(Path::new("runc")),
            words(&format!("runc {line}"))
        );
    }
    assert!(!parse("runc exec c1 sh --help").is_help());
    assert!(matches!(
        refused("runc create c1 --help"),
        InvocationError::Ambiguous { .. }
    ));
    assert!(matches!(
        refused("runc create --new --help c1"),
        InvocationError::Ambiguous { .. }
    ));
    assert_eq!(create("runc create --help=false c1").id, "c1");
}

#[test]
fn an_unknown_flag_passes_through() {
    let line = "runc --brand-new create --newer --newest=7 --bundle /b c1";
    assert_eq!(create(line).bundle, Some("/b".into()));
    assert_eq!(
        rendered(
            line,
            &Changes {
                preserve_fds: Some(3),
                ..Changes::default()
            }
        ),
        "runc --brand-new create --preserve-fds 3 --newer --newest=7 --bundle /b c1"
    );
    assert_eq!(exec("runc exec --newest=7 c1 sh").id, "c1");
}

#[test]
fn an_unknown_flag_that_makes_the_id_ambiguous_is_refused() {
    assert!(matches!(
        refused("runc create --newer x c1"),
        InvocationError::Ambiguous { .. }
    ));
    assert!(matches!(
        refused("runc exec --newer c1 sh"),
        InvocationError::UnknownFlag { .. }
    ));
    assert!(matches!(
        refused("runc exec -it c1 sh"),
        InvocationError::UnknownFlag { .. }
    ));
    assert!(matches!(
        refused("runc create -b/tmp c1"),
        InvocationError::UnknownFlag { .. }
    ));
    assert!(matches!(
        refused("runc create --root=/r c1"),
        InvocationError::UnknownFlag { .. }
    ));
    assert!(matches!(
        refused("crun create --bund=/b c1"),
        InvocationError::Abbreviated { full: "bundle", .. }
    ));
    assert!(matches!(
        refused("crun --roo=/r create c1"),
        InvocationError::UnknownFlag { .. }
    ));
    assert!(matches!(
        refused("youki -r/r create c1"),
        InvocationError::UnknownFlag { .. }
    ));
}

#[test]
fn an_unknown_global_flag_never_hides_a_verb_of_ours() {
    assert_eq!(create("runc --new value create c1").id, "c1");
    assert_eq!(
        parse("runc --new value kill c1").verb,
        other("kill", Some("c1"))
    );
    assert_eq!(parse("runc --new kill c1").verb, other("kill", Some("c1")));
    // `state` could be the value of --new, and create the verb.
    let torn = Invocation::parse(words("runc --new state create c1"));
    assert!(torn.is_err(), "{torn:?}");
    assert!(Invocation::parse(words("runc --new --root create c1")).is_err());
    // --version could be the value of --new.
    assert_eq!(create("runc --new --version create c1").id, "c1");
}

#[test]
fn ids_that_are_paths_or_missing_are_refused() {
    for id in ["../c1", "a/b", ".", "..", "c1\u{e9}", "c:1"] {
        assert!(
            matches!(
                refused(&format!("runc start {id}")),
                InvocationError::BadId { .. }
            ),
            "{id}"
        );
    }
    assert!(matches!(
        refused("runc create --bundle /b"),
        InvocationError::MissingId { .. }
    ));
    assert!(matches!(
        refused("runc start a b"),
        InvocationError::Ambiguous { .. }
    ));
    assert_eq!(refused("runc exec c1"), InvocationError::NoCommand);
    assert_eq!(create("runc create -- -c1").id, "-c1");
}

#[test]
fn numbers_that_runtimes_read_differently_are_refused() {
    for value in ["010", "0x3", "-1", "1_0", "+1", "1.0", "", "9999999999"] {
        let line = format!("runc create --preserve-fds={value} c1");
        assert!(
            matches!(
                refused(&line),
                InvocationError::BadValue {
                    flag: "preserve-fds",
                    ..
                }
            ),
            "{value}"
        );
    }
}

#[test]
fn a_refusal_still_knows_where_the_log_is() {
    let rejected = Invocation::parse(words(&format!("{PREFIX} create a b"))).expect_err("two ids");
    assert_eq!(rejected.global.log, Some("/b/log.json".into()));
    assert_eq!(rejected.global.log_format, LogFormat::Json);
    assert_eq!(rejected.program, "mantlet-restricted");
    assert!(rejected.to_string().ends_with("the id once"), "{rejected}");
}

#[test]
fn default_roots_are_the_runtimes_own() {
    let root = Caller {
        euid: 0,
        user_namespace: false,
        xdg_runtime_dir: Some("/run/user/0".into()),
        user: None,
    };
    assert_eq!(
        default_root(Family::Runc, &root),
        PathBuf::from("/run/runc")
    );
    assert_eq!(
        default_root(Family::Crun, &root),
        PathBuf::from("/run/crun")
    );
    assert_eq!(
        default_root(Family::Youki, &root),
        PathBuf::from("/run/youki")
    );
    let user = Caller {
        euid: 1000,
        xdg_runtime_dir: Some("/run/user/1000".into()),
        ..root.clone()
    };
    assert_eq!(
        default_root(Family::Runc, &user),
        PathBuf::from("/run/user/1000/runc")
    );
    let nested = Caller {
        user_namespace: true,
        ..root.clone()
    };
    assert_eq!(
        default_root(Family::Runc, &nested),
        PathBuf::from("/run/user/0/runc")
    );
    let named_root = Caller {
        user: Some("root".into()),
        ..nested
    };
    assert_eq!(
        default_root(Family::Runc, &named_root),
        PathBuf::from("/run/runc")
    );
}
