//! What layers that only look would say, beside what those that enforce do.

use super::*;
use crate::policy::seccomp::bpf;
use crate::profile::{Op, Profile};
use crate::seal::{PortRule, rights};

fn profile(text: &str) -> Profile {
    let head = "version: 1\nname: site\n";
    Profile::parse("site", &format!("{head}{text}")).unwrap()
}

fn number(name: &str) -> u32 {
    match crate::profile::table::lookup(name) {
        crate::profile::table::Lookup::Number(number) => number,
        other => panic!("{name}: {other:?}"),
    }
}

fn exact(profiles: &[&Profile]) -> Exact {
    Exact::new(Layers::new(profiles).unwrap(), true).unwrap()
}

const NONE: [u64; 6] = [0; 6];

#[test]
fn a_layer_in_mode_audit_denies_nothing_whatever_it_lists() {
    for name in ["baseline", "restricted", "watched"] {
        let mut audited = Profile::builtin(name).unwrap();
        let enforced = exact(&[&audited]);
        audited.mode = Mode::Audit;
        let looked = exact(&[&audited]);
        assert!(looked.foreign.permits() && looked.unlisted.permits());
        for (call, (_, decision)) in &looked.calls {
            if call == "seccomp" {
                // Only another listener is refused: the kernel does, while there is ours.
                continue;
            }
            assert!(decision.permits_all(), "{name}: {call}: {decision:?}");
            // What it would deny is looked at, at the very same arguments.
            let (_, own) = &enforced.calls[call];
            for (_, action) in own.all().zip(decision.all()).map(|(a, b)| (a, b.1)) {
                assert!(matches!(
                    action,
                    Action::Allow | Action::Audit | Action::Log
                ));
            }
            if own.permits_none() {
                assert!(decision.all().all(|(_, action)| action == Action::Audit));
            }
        }
        bpf::compile(&looked.by_number(), looked.unlisted, looked.foreign).unwrap();
    }
}

#[test]
fn a_layer_that_enforces_does_so_beside_any_that_look() {
    let enforced = Profile::builtin("restricted").unwrap();
    let mut audited = Profile::builtin("baseline").unwrap();
    audited.mode = Mode::Audit;
    let learn = Profile::builtin("learn").unwrap();
    let alone = exact(&[&enforced]);
    let shield = Exact::enforced(Layers::from(&&enforced), true).unwrap();
    for beside in [&audited, &learn] {
        let both = exact(&[beside, &enforced]);
        for (call, (number, decision)) in &alone.calls {
            for args in [NONE, [16; 6], [u64::MAX; 6], [0x1000_0000; 6]] {
                let (own, with) = (decision.verdict(&args), both.calls[call].1.verdict(&args));
                assert_eq!(own.permits(), with.permits(), "{call} {args:?}");
                if with != Action::Notify {
                    assert!(own.permits() || own == with, "{call} {args:?}");
                    continue;
                }
                // The supervisor's own answer: what it refuses is what the layer refuses, as it does.
                let mut observing = Observing {
                    enforced: Vec::new(),
                    ..looking(&beside.name)
                };
                observing.notified(&both, &shield);
                let word = match own {
                    Action::Notify => Word::Tripwire,
                    Action::Errno(errno) => Word::Silent(errno),
                    other => panic!("{call}: {other:?} is no denial"),
                };
                assert_eq!(observing.word(*number, &args), word, "{call} {args:?}");
            }
        }
        assert!(!both.foreign.permits() && !both.unlisted.permits());
    }
}

fn looking(profile: &str) -> Observing {
    Observing {
        learns: profile == "learn",
        capabilities: true,
        enforced: Vec::new(),
        names: Vec::new(),
        layers: Vec::new(),
        mounts: Vec::new(),
        at_start: Vec::new(),
    }
}

#[test]
fn a_silent_denial_is_notified_where_a_layer_that_looks_would_deny_it_too() {
    let text = "extends: [baseline]\nsyscalls:\n  groups: '2026.1'\n  \
                deny: [{name: getpriority, errno: EAGAIN, args: [{index: 0, op: eq, value: 1}]}]\n";
    let enforced = profile(text);
    let mut audited = enforced.clone();
    audited.mode = Mode::Audit;
    let shield = Exact::enforced(Layers::from(&&enforced), true).unwrap();
    let both = exact(&[&enforced, &audited]);
    let mut observing = looking("site");
    observing.notified(&both, &shield);
    let one = [1, 0, 0, 0, 0, 0];
    let call = &both.calls["getpriority"];
    assert_eq!(call.1.verdict(&one), Action::Notify);
    assert_eq!(observing.word(call.0, &one), Word::Silent(11));
    assert!(call.1.verdict(&NONE).permits());
    assert_eq!(observing.word(call.0, &NONE), Word::Free);
    // Nobody else would deny it, so nobody would tell.
    let mut free = Profile::builtin("baseline").unwrap();
    free.mode = Mode::Audit;
    let both = exact(&[&enforced, &free]);
    assert_eq!(both.calls["getpriority"].1.verdict(&one), Action::Errno(11));
    // What is to be taken for absent is not told as a denial: each C library asks for it first.
    let both = exact(&[&enforced, &audited]);
    assert_eq!(
        both.calls["clone3"].1.verdict(&NONE),
        Action::Errno(libc::ENOSYS as u16)
    );
    assert!(!both.unlisted.permits() && both.unlisted != Action::Notify);
}

#[test]
fn a_recording_looks_at_every_call_but_those_that_every_program_needs() {
    let learn = Profile::builtin("learn").unwrap();
    let looked = exact(&[&learn]);
    for name in [
        "openat", "mkdir", "execve", "futex", "clone3", "ptrace", "getpid",
    ] {
        let verdict = looked.calls[name].1.verdict(&NONE);
        assert_eq!(verdict, Action::Audit, "{name}");
    }
    for name in crate::access::UNSEEN {
        assert_eq!(
            looked.calls[name].1,
            Decision::always(Action::Allow),
            "{name}"
        );
    }
    for name in super::super::seccomp::exact::LAST_NEEDS {
        if name != "execve" {
            assert!(crate::access::UNSEEN.contains(&name), "{name}");
        }
    }
    assert_eq!(looked.unlisted, Action::Audit);
}

#[test]
fn a_denial_names_the_outermost_layer_and_the_line_that_allows_it() {
    let under = Condition {
        index: 1,
        op: Op::Eq,
        value: 7,
        mask: None,
    };
    let layer = Audited {
        profile: "site".into(),
        calls: vec![
            (Decision::always(Action::Errno(1)), vec![number("mkdir")]),
            (
                Decision {
                    branches: vec![(
                        vec![crate::policy::seccomp::verdict::Condition {
                            index: 0,
                            compare: crate::policy::seccomp::verdict::Compare::Eq,
                            value: 1,
                            mask: 0xffff_ffff,
                        }],
                        Action::Allow,
                    )],
                    otherwise: Action::Errno(1),
                },
                vec![number("socket")],
            ),
        ],
        allowed: vec![number("getpid")],
        conditional: vec![(number("mkdir"), vec![under])],
        domain: Some(Layer {
            handled_fs: rights::file("read-file").unwrap(),
            handled_net: rights::port("bind").unwrap(),
            paths: vec![PathRule {
                path: b"/srv".to_vec(),
                access: rights::file("read-file").unwrap(),
                except: vec![b"/srv/private".to_vec()],
                optional: false,
                follow: false,
                within_mount: true,
            }],
            ports: vec![PortRule {
                port: 8080,
                access: rights::port("bind").unwrap(),
            }],
            ..Layer::default()
        }),
        files: true,
        capabilities: vec!["CAP_CHOWN".into()],
        excepts: vec!["/srv/private".into()],
        noexec: Vec::new(),
    };
    let observing = Observing {
        learns: false,
        capabilities: true,
        enforced: Vec::new(),
        names: Vec::new(),
        layers: vec![layer],
        mounts: Vec::new(),
        at_start: Vec::new(),
    };
    let call = |name: &str, args: [u64; 6]| {
        let access = crate::access::calls::access(name, &args);
        let denial = observing.call(number(name), &args, &access);
        denial.map(|denial| denial.fix)
    };
    assert_eq!(call("getpid", NONE), None);
    // A plain allowance does not reach past a denial under a condition.
    let narrow = call("mkdir", [0, 7, 0, 0, 0, 0]).unwrap();
    assert!(
        narrow.contains("mkdir, args: [{index: 1, op: eq"),
        "{narrow}"
    );
    assert_eq!(call("mkdir", NONE).unwrap(), "syscalls: {allow: [mkdir]}");
    assert_eq!(call("socket", [1, 0, 0, 0, 0, 0]), None);
    assert_eq!(
        call("socket", [16, 0, 0, 0, 0, 0]).unwrap(),
        "syscalls: {allow: [{name: socket, args: [{index: 0, op: eq, value: 0x10}]}]}"
    );
    assert!(call("statx", NONE).unwrap().starts_with("none: "));
    let file = |path: &str, right: &str, mount: &str| {
        let access = Access::File {
            path: path.into(),
            right: right.into(),
            entry: None,
            mount: mount.into(),
            directory: false,
            moved: None,
        };
        // What stood beside the exception.
        let places = ["/srv/a", "/srv/b"].map(str::to_owned).into();
        let domains = observing.domains(&[vec![places]]);
        observing.file(&access, &domains).map(|denial| denial.fix)
    };
    assert_eq!(file("/srv/a", "read-file", "/"), None);
    assert_eq!(file("/srv/a", "write-file", "/"), None, "not handled");
    let denied = file("/etc/a b", "read-file", "/").unwrap();
    assert_eq!(denied, "files: {read: [\"/etc/a b\"]}");
    let excepted = "none in a child: take /srv/private out of `files.except`";
    assert_eq!(file("/srv/private/x", "read-file", "/").unwrap(), excepted);
    assert_eq!(
        file("/srv", "read-file", "/").unwrap(),
        excepted,
        "on the way"
    );
    assert!(file("/srv/later", "read-file", "/").is_some());
    assert_eq!(
        file("/srv/b/c", "read-file", "/srv/b/c"),
        None,
        "mounted later"
    );
    assert!(file("/srvx", "read-file", "/").is_some());
    let tcp = |right: &str, port| {
        let right = right.into();
        let access = Access::Tcp { right, port };
        observing.tcp(&access).map(|denial| denial.fix)
    };
    assert_eq!(tcp("bind", 8080), None);
    assert_eq!(tcp("connect", 1), None, "not handled");
    assert_eq!(tcp("bind", 80).unwrap(), "network: {bind_tcp: [80]}");
    let capability = |name: &str| {
        let name = name.into();
        let access = Access::Capability { name };
        observing.capability(&access).map(|denial| denial.fix)
    };
    assert_eq!(capability("CAP_CHOWN"), None);
    assert_eq!(
        capability("CAP_NET_RAW").unwrap(),
        "capabilities: [NET_RAW]"
    );
}

/// The layer as the supervisor has it.
fn as_held(profile: &Profile) -> Observing {
    let spec = serde_json::from_value(crate::policy::tests::cri()).unwrap();
    let mounts = crate::policy::mounts::read(&spec).unwrap();
    let scene = Scene {
        spec: &spec,
        mounts: &mounts,
        host: &crate::policy::tests::host(7),
        supervised: true,
    };
    let layers = Layers::from(&profile);
    Observing::of(layers, &scene).unwrap().unwrap()
}

#[test]
fn clone3_is_judged_as_what_c_libraries_do_where_it_is_absent() {
    let allow = |calls: &str| {
        profile(&format!(
            "mode: audit\nsyscalls: {{groups: 2026.1, allow: [execve, {calls}]}}"
        ))
    };
    let thread = u64::from(libc::CLONE_VM as u32 | libc::CLONE_THREAD as u32);
    let namespace = u64::from(libc::CLONE_NEWUSER as u32);
    let told = |profile: &Profile, flags: u64| {
        let access = crate::access::calls::access("clone", &[flags, 0, 0, 0, 0, 0]);
        let looking = as_held(profile);
        let denial = looking.clone3(flags, &access);
        denial.map(|denial| denial.fix)
    };
    // Filtered by flags: ENOSYS, and a thread is made by clone.
    let filtered =
        allow("{name: clone, args: [{index: 0, op: masked, mask: 0x7e020000, value: 0}]}, clone3");
    assert_eq!(told(&filtered, thread), None);
    let denied = told(&filtered, namespace).expect("a namespace");
    assert!(denied.contains("clone"), "{denied}");
    // No layer of files: the flags are read all the same, or each thread would be told as a denial.
    let looks = as_held(&filtered);
    assert!(looks.reads_memory() && !looks.reads_names());
    // Free: both are, and nothing has to be read.
    let free = allow("clone, clone3");
    assert_eq!(told(&free, namespace), None);
    assert!(!as_held(&free).reads_memory());
    // EPERM makes no C library take clone.
    assert_eq!(
        told(&allow("clone"), thread).unwrap(),
        "syscalls: {allow: [clone3]}"
    );
}

#[test]
fn a_layer_trips_where_its_own_tripwire_would() {
    let looking = as_held(&profile(
        "mode: audit\nsyscalls: {groups: 2026.1, allow: [execve], tripwire: [mount, {name: socket, \
         args: [{index: 0, op: eq, value: 16}]}], deny: [keyctl]}",
    ));
    let trips = |name: &str, first: u64| {
        let args = [first, 0, 0, 0, 0, 0];
        looking.trips(number(name), &args).collect::<Vec<_>>()
    };
    assert_eq!(trips("mount", 0), ["site"]);
    assert_eq!(trips("socket", 16), ["site"]);
    assert!(trips("socket", 2).is_empty() && trips("keyctl", 0).is_empty());
    assert!(trips("execve", 0).is_empty());
}

#[test]
fn a_profile_that_records_lists_nothing_and_is_nobodys_parent() {
    assert_eq!(Profile::builtin("learn").unwrap().mode, Mode::Learn);
    let head = "version: 1\nname: site\nmode: learn\n";
    for (key, text) in [
        ("extends", "extends: [baseline]"),
        ("syscalls", "syscalls: {groups: 2026.1, allow: [read]}"),
        ("files", "files: {read: [/]}"),
        ("process", "process: {max: 100}"),
        ("capabilities", "capabilities: [CHOWN]"),
    ] {
        let error = Profile::parse("site", &format!("{head}{text}")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("`{key}`")), "{text}");
    }
    let child = Profile::parse("site", "version: 1\nname: site\nextends: [learn]");
    assert!(child.unwrap_err().to_string().contains("extends learn"));
    assert_eq!(
        profile("mode: audit\nextends: [baseline]").mode,
        Mode::Audit
    );
    // A parent's mode is its own.
    assert_eq!(profile("extends: [baseline]").mode, Mode::Enforce);
}

#[test]
fn all_that_an_audited_layer_would_have_refused_a_container_for_is_told() {
    let audited = profile(
        "mode: audit\nprocess: {refuse: [writable-rootfs, root-user]}\nnetwork: {bind_tcp: [80]}\n\
         scope: [signal]\nsyscalls: {groups: 2026.1, allow: ['@default', mount, pivot_root]}",
    );
    let spec = serde_json::from_value(crate::policy::tests::cri()).unwrap();
    let only = &audited;
    let (host, config) = (
        crate::policy::tests::host(3),
        crate::policy::tests::config(),
    );
    let input = Input {
        profiles: Layers::from(&only),
        spec: &spec,
        host: &host,
        config: &config,
        found: None,
        run: false,
    };
    let told = at_start(&input);
    let all: Vec<&str> = told.0.iter().map(|own| own.what.as_str()).collect();
    for word in [
        "mount",
        "pivot_root",
        "TCP",
        "signals",
        "writable-rootfs",
        "root-user",
    ] {
        assert!(
            all.iter().any(|what| what.contains(word)),
            "{word}: {all:#?}"
        );
    }
}

/// `allow: [sendto]` beside `network` gives the very same denial again.
#[test]
fn what_network_implies_has_no_line_that_would_allow_it() {
    let site = profile(
        "extends: [baseline]\nnetwork: {bind_tcp: [80], connect_tcp: [443]}\n\
         syscalls: {groups: \"2026.1\", allow: [sendto]}",
    );
    let spec = serde_json::from_value(crate::policy::tests::cri()).unwrap();
    let mounts = crate::policy::mounts::read(&spec).unwrap();
    let host = crate::policy::tests::host(7);
    let scene = Scene {
        spec: &spec,
        mounts: &mounts,
        host: &host,
        supervised: true,
    };
    let layer = audited(&site, &scene);
    let fix = |name: &str, args: [u64; 6]| {
        let access = crate::access::calls::access(name, &args);
        let denial = layer.call(number(name), name, &args, &access);
        denial.map(|denial| denial.fix)
    };
    let mptcp = fix("socket", [2, 1, 262, 0, 0, 0]).unwrap();
    assert!(mptcp.starts_with("none beside `network`"), "{mptcp}");
    assert!(mptcp.contains("arg2 is 0x106"), "{mptcp}");
    let fast = fix("sendto", [3, 0, 0, 0x2000_4000, 0, 0]).unwrap();
    assert!(fast.contains("arg3 has 0x20000000"), "{fast}");
    assert_eq!(fix("sendto", [3, 0, 0, 0x4000, 0, 0]), None);
    // A family that the profile itself does not allow has its line.
    let netrom = fix("socket", [6, 5, 0, 0, 0, 0]).unwrap();
    assert!(netrom.starts_with("syscalls: "), "{netrom}");
}

/// A file mapped to be executed.
fn mapping(path: &str, mount: &str) -> Access {
    Access::File {
        path: path.into(),
        right: crate::access::files::MAP_EXECUTE.into(),
        entry: None,
        mount: mount.into(),
        directory: false,
        moved: None,
    }
}

#[test]
fn a_mapping_is_denied_where_the_layer_would_make_its_mount_noexec_and_nowhere_else() {
    let told = |files: &str, path: &str, mount: &str| {
        let profile = profile(&format!(
            "mode: audit\nsyscalls: {{groups: '2026.1', allow: ['@default']}}\n{files}"
        ));
        let looking = as_held(&profile);
        let denial = looking.file(&mapping(path, mount), &looking.domains(&[]));
        denial.map(|denial| denial.fix)
    };
    let image = "files: {read_execute: ['@image'], read_write: ['@volumes', '@tmpfs']}";
    for (path, mount) in [
        ("/data/lib.so", "/data"),
        ("/data/a/b", "/data/a"),
        ("/tmp/x", "/tmp"),
    ] {
        assert_eq!(
            told(image, path, mount).unwrap(),
            format!("files: {{read_execute: [{path}]}}")
        );
    }
    // The image's libraries, devices, and what the engine has closed itself.
    for (path, mount) in [("/usr/lib/libc.so.6", "/"), ("/dev/zero", "/dev")] {
        assert_eq!(told(image, path, mount), None, "{path}");
    }
    // It is a question of the mount and not of the file; a profile without `files` has no word on it.
    let one = "files: {read_execute: ['@image'], execute: [/data/plugin.so]}";
    assert_eq!(told(one, "/data/other.so", "/data"), None);
    assert!(told(one, "/tmp/x", "/tmp").is_some());
    assert_eq!(told("", "/data/lib.so", "/data"), None);
    // Read already: what is missing is execution.
    let reads = "files: {read: [/], read_execute: ['@image']}";
    let looking = as_held(&profile(&format!(
        "mode: audit\nsyscalls: {{groups: '2026.1', allow: ['@default']}}\n{reads}"
    )));
    let places = looking.layers[0].domain.as_ref().unwrap().paths.iter();
    let places = places.map(|rule| [String::from_utf8_lossy(&rule.path).into_owned()].into());
    let domains = looking.domains(&[places.collect()]);
    let denial = looking.file(&mapping("/data/lib.so", "/data"), &domains);
    assert_eq!(denial.unwrap().fix, "files: {execute: [/data/lib.so]}");
}

#[test]
fn only_a_mapping_of_a_file_to_be_executed_is_notified() {
    let mut audited = Profile::builtin("restricted").unwrap();
    audited.mode = Mode::Audit;
    let looked = exact(&[&audited]);
    let (_, decision) = &looked.calls["mmap"];
    let verdict = |prot: i32, flags: i32| {
        let high = 0xdead_0000_0000_0000;
        decision.verdict(&[0, 4096, high | prot as u64, high | flags as u64, 3, 0])
    };
    let (x, r, w) = (libc::PROT_EXEC, libc::PROT_READ, libc::PROT_WRITE);
    for (prot, flags, want) in [
        (r | x, libc::MAP_PRIVATE, Action::Audit),
        (r | w | x, libc::MAP_SHARED, Action::Audit),
        (r, libc::MAP_PRIVATE, Action::Allow),
        (r | w, libc::MAP_SHARED, Action::Allow),
        (
            r | x,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            Action::Allow,
        ),
    ] {
        assert_eq!(verdict(prot, flags), want, "{prot} {flags:#x}");
    }
    // Where all layers enforce, nothing of it is notified.
    let enforced = exact(&[&Profile::builtin("restricted").unwrap()]);
    assert_eq!(enforced.calls["mmap"].1, Decision::always(Action::Allow));
}
