//! Single facts about the shipped profiles' filters.

use oci_spec::runtime::LinuxSeccomp;

use super::installed::Installed;
use super::interpreter::{Call, action, parse, run};
use super::invariant::patched;
use super::verdict::Action;
use super::{Filters, Layers, Profile, bpf, exact, number, plan};

fn plan_builtin(
    name: &str,
    engine: Option<&LinuxSeccomp>,
    notify: bool,
) -> Result<Filters, bpf::TooLarge> {
    plan(
        Layers::from(&&Profile::builtin(name).unwrap()),
        engine,
        notify,
    )
}

#[test]
fn a_tripwire_that_the_engine_denies_becomes_trace_and_is_notified() {
    let [(_, filter), ..] = &super::fixtures();
    let planned = plan_builtin("restricted", Some(filter), true).unwrap();
    let outer = Installed::new(&patched(Some(filter), &planned.edits));
    let inner = parse(&planned.filter.program);
    for name in [
        "mount",
        "unshare",
        "bpf",
        "keyctl",
        "init_module",
        "userfaultfd",
        "ptrace",
    ] {
        let call = Call {
            number: number(name),
            arch: bpf::NATIVE,
            args: [0; 6],
        };
        let first = outer.answer(&call);
        if name == "ptrace" {
            assert_eq!(
                first,
                Action::Allow,
                "the engine allows it: only init's filter speaks"
            );
        } else {
            assert_eq!(first, Action::Trace, "{name}");
        }
        assert_eq!(action(run(&inner, &call)), Action::Notify, "{name}");
        assert!(planned.tripwires.iter().any(|t| t.syscall == name));
    }
    let ring = planned
        .tripwires
        .iter()
        .find(|t| t.syscall == "io_uring_setup")
        .unwrap();
    assert_eq!(ring.errno, libc::ENOSYS);
    assert!(planned.filter.listener);
}

#[test]
fn other_architectures_and_x32_are_killed_and_minus_one_is_unknown() {
    let planned = plan_builtin("baseline", None, true).unwrap();
    let program = parse(&planned.filter.program);
    let ask = |number, arch| {
        action(run(
            &program,
            &Call {
                number,
                arch,
                args: [0; 6],
            },
        ))
    };
    assert_eq!(ask(number("getpid"), bpf::NATIVE), Action::Allow);
    assert_eq!(ask(20, 0x4000_0003), Action::KillProcess, "i386");
    assert_eq!(
        ask(0x4000_0000 | 39, bpf::NATIVE),
        Action::KillProcess,
        "x32"
    );
    assert_eq!(ask(u32::MAX, bpf::NATIVE), exact::UNKNOWN);
    assert_eq!(ask(9999, bpf::NATIVE), exact::UNKNOWN);
    assert_eq!(ask(number("clone3"), bpf::NATIVE), exact::UNKNOWN);
    assert_eq!(ask(number("vserver"), bpf::NATIVE), exact::UNKNOWN);
}

#[test]
fn an_int_argument_is_compared_without_its_upper_half() {
    let planned = plan_builtin("baseline", None, true).unwrap();
    let program = parse(&planned.filter.program);
    let ioctl = |request: u64| {
        let call = Call {
            number: number("ioctl"),
            arch: bpf::NATIVE,
            args: [0, request, 0, 0, 0, 0],
        };
        action(run(&program, &call))
    };
    assert_eq!(ioctl(0x5412), Action::Notify);
    assert_eq!(
        ioctl(0xdead_beef_0000_5412),
        Action::Notify,
        "CVE-2019-10063"
    );
    assert_eq!(ioctl(0x5413), Action::Allow);
    let clone = |flags: u64| {
        let call = Call {
            number: number("clone"),
            arch: bpf::NATIVE,
            args: [flags, 0, 0, 0, 0, 0],
        };
        action(run(&program, &call))
    };
    assert_eq!(clone(17), Action::Allow);
    assert_eq!(clone(0x1000_0000 | 17), Action::Notify, "CLONE_NEWUSER");
    let socket = |family: u64| {
        let call = Call {
            number: number("socket"),
            arch: bpf::NATIVE,
            args: [family, 0, 0, 0, 0, 0],
        };
        action(run(&program, &call))
    };
    assert_eq!(
        (socket(1), socket(10), socket(38)),
        (Action::Allow, Action::Allow, Action::Notify)
    );
}

#[test]
fn hot_calls_carry_no_condition() {
    let planned = plan_builtin("restricted", None, true).unwrap();
    for name in [
        "read",
        "write",
        "futex",
        "epoll_wait",
        "mmap",
        "openat",
        "close",
        "sendmsg",
        "recvfrom",
        "clock_gettime",
    ] {
        let (_, decision) = &planned.exact.calls[name];
        assert!(
            decision.branches.is_empty() && decision.otherwise == Action::Allow,
            "{name}"
        );
    }
    assert!(
        planned.filter.program.len() / 8 < 600,
        "{}",
        planned.filter.program.len() / 8
    );
}
