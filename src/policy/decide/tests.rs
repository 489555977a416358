//! Calls, ports and capabilities; files are compared with the kernel itself (`crate::tests::foretold`).

use super::*;
use crate::access::Argument;
use crate::policy::mounts;
use crate::policy::seccomp::verdict::{Action, Compare, Condition};
use crate::policy::tests::{cri, host};

fn decider(profiles: &[&Profile], abi: u32) -> Decider {
    let spec = serde_json::from_value(cri()).unwrap();
    let mounts = mounts::read(&spec).unwrap();
    let host = host(abi);
    let scene = Scene {
        spec: &spec,
        mounts: &mounts,
        host: &host,
        supervised: true,
    };
    let layers = Layers::new(profiles).unwrap();
    Decider::compose(layers, &scene, &AsWritten).unwrap().0
}

fn profile(name: &str, lines: &str) -> Profile {
    let text = format!("version: 1\nname: {name}\nextends: [baseline]\n{lines}\n");
    Profile::parse(name, &text).unwrap()
}

fn call(name: &str, args: &[(u8, u64)]) -> Access {
    let argument = |&(index, value): &(u8, u64)| Argument {
        index,
        value,
        mask: None,
    };
    Access::Syscall {
        name: name.into(),
        args: args.iter().map(argument).collect(),
    }
}

fn condition(compare: Compare, mask: u64, value: u64) -> Condition {
    Condition {
        index: 0,
        compare,
        value,
        mask,
    }
}

#[test]
fn a_condition_on_bits_that_are_not_known_is_open_only_where_they_matter() {
    let mut known = Known::default();
    known.bits[0] = 0xff;
    known.values[0] = 0x11;
    let holds = |compare, mask, value| known.holds(&condition(compare, mask, value));
    assert_eq!(holds(Compare::Eq, 0xf, 1), Some(true));
    assert_eq!(holds(Compare::Ne, 0xf, 1), Some(false));
    // A known bit is enough to differ.
    assert_eq!(holds(Compare::Eq, 0xfff, 0x12), Some(false));
    assert_eq!(holds(Compare::Eq, 0xfff, 0x11), None);
    assert_eq!(holds(Compare::Eq, 0xfff, 0x1011), Some(false));
    assert_eq!(holds(Compare::Lt, 0xfff, 0x11), Some(false));
    assert_eq!(holds(Compare::Lt, 0xfff, 0x1000), Some(true));
    assert_eq!(holds(Compare::Ge, 0xfff, 0x12), None);
    assert_eq!(holds(Compare::Gt, 0xff, 0x10), Some(true));
    assert_eq!(holds(Compare::Le, 0xff, 0x10), Some(false));
}

/// For every call and a few registers: what is known wholly has the decision's own verdict, and what is
/// known in part names it among its answers.
#[test]
fn what_is_known_in_part_never_excludes_what_happens() {
    let baseline = Profile::builtin("baseline").unwrap();
    let decider = decider(&[&baseline], 7);
    let values = [0, 1, 2, 0x10, 0x7e02_0000, 0x8000_0000, u64::MAX];
    for (name, decision) in &decider.layers()[0].calls {
        for (at, value) in values.iter().enumerate() {
            let args = [
                *value,
                values[(at + 1) % 7],
                *value,
                0,
                values[(at + 3) % 7],
                *value,
            ];
            let verdict = decision.verdict(&args);
            let whole = answers(decision, &Known::all(args));
            assert_eq!(whole.last().unwrap().1, verdict, "{name} {args:x?}");
            assert_eq!(whole.len(), 1);
            for bits in [0, 0xff, 0xffff_ffff] {
                let known = Known {
                    values: args.map(|value| value & bits),
                    bits: [bits; 6],
                };
                let some = answers(decision, &known);
                assert!(some.iter().any(|(_, action)| *action == verdict), "{name}");
            }
        }
    }
}

#[test]
fn calls_are_decided_by_what_is_known_of_their_registers() {
    let baseline = Profile::builtin("baseline").unwrap();
    let decider = decider(&[&baseline], 7);
    let answer = |name: &str, args: &[(u8, u64)]| decider.decide(&call(name, args)).answer;
    assert_eq!(answer("openat", &[]), Answer::Allowed);
    assert_eq!(answer("mount", &[]), Answer::Denied);
    assert_eq!(answer("clone", &[]), Answer::Depends);
    assert_eq!(answer("clone", &[(0, 0x11)]), Answer::Allowed);
    assert_eq!(answer("clone", &[(0, 0x1000_0000)]), Answer::Denied);
    // Its upper half is not the kernel's business.
    assert_eq!(
        answer("clone", &[(0, 0xffff_ffff_0000_0011)]),
        Answer::Allowed
    );
    assert_eq!(answer("no_such_call", &[]), Answer::Denied);
    let absent = decider.decide(&call("clone3", &[]));
    assert!(
        absent
            .contributions
            .iter()
            .any(|one| one.reason.contains("ENOSYS"))
    );
}

#[test]
fn each_layer_says_its_own_and_the_rule_that_decided() {
    let baseline = Profile::builtin("baseline").unwrap();
    let closed = profile(
        "closed",
        "syscalls: {groups: \"2026.1\", tripwire: [{name: ptrace, args: [{index: 0, op: eq, value: 1}]}]}\n\
         network: {bind_tcp: [80], connect_tcp: []}\ncapabilities: [NET_RAW]",
    );
    let decider = decider(&[&baseline, &closed], 7);
    let verdict = decider.decide(&call("ptrace", &[(0, 1)]));
    let last = verdict.contributions.last().unwrap();
    assert_eq!(
        (last.layer.as_str(), last.answer),
        ("closed", Answer::Denied)
    );
    let written = last.written.as_ref().unwrap();
    assert_eq!(written.text, "syscalls.tripwire: ptrace where arg0 == 0x1");
    assert_eq!(
        (written.origin.file(), written.origin.line()),
        ("closed", 4)
    );
    let tcp = |right: &str, port| {
        let right = right.into();
        decider.decide(&Access::Tcp { right, port }).answer
    };
    assert_eq!(tcp("bind", 80), Answer::Allowed);
    assert_eq!(tcp("bind", 0), Answer::Denied);
    assert_eq!(tcp("connect", 443), Answer::Denied);
    let capability = |name: &str| decider.decide(&Access::Capability { name: name.into() });
    assert_eq!(capability("CAP_NET_RAW").contributions.len(), 3);
    assert_eq!(capability("CAP_CHOWN").answer, Answer::Allowed);
    let admin = capability("CAP_SYS_ADMIN");
    assert_eq!(admin.against().count(), 3, "the engine and both layers");
}

#[test]
fn what_two_layers_do_to_each_other_is_said_by_neither() {
    let free = Profile::parse(
        "free",
        "version: 1\nname: free\nsyscalls: {groups: \"2026.1\", allow: [\"@process\", execve]}",
    )
    .unwrap();
    let baseline = Profile::builtin("baseline").unwrap();
    let together = decider(&[&free, &baseline], 7);
    let whole = together.whole("clone3").unwrap();
    assert_eq!(whole.otherwise, Action::Errno(libc::ENOSYS as u16));
    assert_eq!(together.decide(&call("clone3", &[])).answer, Answer::Denied);
}

#[test]
fn a_kernel_that_cannot_deny_it_allows_it_and_says_so() {
    let text = "requires: {landlock: 1, degrade: [network, landlock]}\nnetwork: {bind_tcp: []}";
    let site = profile("site", text);
    let bind = Access::Tcp {
        right: "bind".into(),
        port: 80,
    };
    for (abi, answer) in [
        (7, Answer::Denied),
        (3, Answer::Allowed),
        (0, Answer::Allowed),
    ] {
        let verdict = decider(&[&site], abi).decide(&bind);
        assert_eq!(verdict.answer, answer, "ABI {abi}");
        assert!(!verdict.contributions[0].reason.is_empty());
    }
}

#[test]
fn a_tripwire_is_reported_though_the_engine_would_refuse_it_in_silence() {
    let restricted = Profile::builtin("restricted").unwrap();
    let decider = decider(&[&restricted], 7);
    for name in ["mount", "bpf", "setns"] {
        let whole = decider.whole(name).unwrap();
        assert_eq!(whole.verdict(&[0; 6]), Action::Notify, "{name}");
    }
    // Calls that init needs and the engine withholds stay withheld.
    assert!(decider.whole("clone3").unwrap().permits_none());
}

#[test]
fn what_cannot_be_is_not_said() {
    let eq = |mask, value| condition(Compare::Eq, mask, value);
    let narrow = |value| eq(u64::MAX, value);
    let wide = |value| eq(0xffff_ffff, value);
    let decision = Decision {
        branches: vec![
            (vec![narrow(0), wide(0)], Action::Allow),
            (vec![narrow(0), wide(8)], Action::Allow),
            (vec![narrow(0)], Action::Errno(1)),
            (vec![narrow(8), wide(8)], Action::Allow),
            (
                vec![condition(Compare::Gt, u64::MAX, 100)],
                Action::Errno(1),
            ),
        ],
        otherwise: Action::Errno(1),
    };
    let said = answers(&decision, &Known::default());
    let wanted = vec![
        (vec![narrow(0)], Action::Allow),
        (vec![narrow(8)], Action::Allow),
        (vec![], Action::Errno(1)),
    ];
    assert_eq!(said, wanted);
}

#[test]
fn a_condition_and_its_opposite_leave_nothing_over() {
    let flags = condition(Compare::Ne, 0x7e02_0000, 0);
    let decision = Decision {
        branches: vec![
            (vec![flags], Action::Errno(1)),
            (vec![flags.opposite()], Action::Allow),
        ],
        otherwise: Action::Errno(1),
    };
    let said = answers(&decision, &Known::default());
    assert_eq!(
        said,
        [(vec![flags], Action::Errno(1)), (vec![], Action::Allow)]
    );
}

#[test]
fn what_network_implies_is_said_with_its_argument_and_no_line_is_promised() {
    let site = profile("site", "network: {bind_tcp: [], connect_tcp: [443]}");
    let decider = decider(&[&site], 7);
    let layer = &decider.layers()[0];
    for (name, args, told) in [
        (
            "socket",
            &[(0, 2), (2, 262)][..],
            "arg2 is 0x106 (IPPROTO_MPTCP)",
        ),
        ("socket", &[(0, 2), (2, 256)], "arg2 is 0x100"),
        ("socket", &[(0, 43)], "arg0 is 0x2b (AF_SMC)"),
        (
            "sendto",
            &[(3, 0x2000_0000)],
            "arg3 has 0x20000000 (MSG_FASTOPEN)",
        ),
        ("listen", &[], "lists no port"),
        ("io_uring_setup", &[], "unseen"),
    ] {
        let access = call(name, args);
        let verdict = decider.decide(&access);
        assert_eq!(verdict.answer, Answer::Denied, "{name}");
        let said = &verdict.against().last().unwrap().reason;
        assert!(said.contains(told), "{said}");
        let fix = layer.fix(&access);
        assert!(fix.starts_with("none ") && fix.contains(told), "{fix}");
    }
    // What is no part of it has its line.
    assert!(layer.fix(&call("bpf", &[])).starts_with("syscalls: "));
    let absent = layer.fix(&call("clone3", &[]));
    assert!(absent.starts_with("none: "), "{absent}");
}

fn file(path: &str, right: &str) -> Access {
    Access::File {
        path: path.into(),
        right: right.into(),
        entry: None,
        mount: "/".into(),
        directory: false,
        moved: None,
    }
}

#[test]
fn what_is_excepted_is_granted_by_no_line() {
    let text = "version: 1\nname: site\nsyscalls: {groups: \"2026.1\", allow: [\"@default\"]}\n\
                files: {read: [/etc], except: [/etc/shadow, /srv]}";
    let site = Profile::parse("site", text).unwrap();
    let decider = decider(&[&site], 7);
    let fix = |path: &str| decider.layers()[0].fix(&file(path, "read-file"));
    assert_eq!(
        fix("/etc/shadow"),
        "none in a child: take /etc/shadow out of `files.except`"
    );
    // No rule is left of one that is excepted whole.
    assert_eq!(
        fix("/srv/a"),
        "none in a child: take /srv out of `files.except`"
    );
    assert_eq!(fix("/opt/a"), "files: {read: [/opt/a]}");
}

/// A rule can be bound to what is there when the program starts, and to nothing else.
#[test]
fn the_line_for_a_file_that_the_program_may_have_made_is_about_its_directory() {
    let text = "version: 1\nname: site\nsyscalls: {groups: \"2026.1\", allow: [\"@default\"]}\n\
                files: {read_write: [/w/rw]}";
    let site = Profile::parse("site", text).unwrap();
    let decider = decider(&[&site], 7);
    let layer = &decider.layers()[0];
    assert_eq!(
        layer.fix(&file("/w/rw/t", "execute")),
        "files: {execute: [/w/rw]}"
    );
    assert_eq!(
        layer.fix(&file("/usr/bin/id", "execute")),
        "files: {read_execute: [/usr/bin/id]}"
    );
}
