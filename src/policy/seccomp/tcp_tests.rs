//! The ways around Landlock's TCP rights, asked of the compiled filter.

use super::interpreter::{Call, action, parse, run};
use super::verdict::Action;
use super::{Layers, bpf, plan};
use crate::profile::Profile;
use crate::profile::table::{Lookup, lookup};

/// The exact filter's answer under baseline with `network`, io_uring allowed.
fn answers(network: &str) -> impl Fn(&str, [u64; 6]) -> Action {
    let text = format!(
        "{{version: 1, name: net, extends: [baseline], network: {network}, \
         syscalls: {{groups: '2026.1', allow: ['@io-uring']}}}}"
    );
    let profile = Profile::parse("net", &text).unwrap();
    let program = parse(
        &plan(Layers::from(&&profile), None, true)
            .unwrap()
            .filter
            .program,
    );
    move |name, args| {
        let Lookup::Number(number) = lookup(name) else {
            panic!("{name} has no number");
        };
        let call = Call {
            number,
            arch: bpf::NATIVE,
            args,
        };
        action(run(&program, &call))
    }
}

fn errno(errno: i32) -> Action {
    Action::Errno(u16::try_from(errno).unwrap())
}

const FASTOPEN: u64 = 0x2000_0000;
/// What a caller may leave in a register's upper half.
const DIRT: u64 = 0xdead_0000_0000;

#[test]
fn a_profile_with_tcp_rules_has_no_socket_that_becomes_tcp_behind_landlock() {
    for network in [
        "{connect_tcp: [443]}",
        "{bind_tcp: [80]}",
        "{bind_tcp: [], connect_tcp: []}",
    ] {
        let ask = answers(network);
        for dirt in [0, DIRT] {
            for family in [2, 10] {
                for protocol in [262, 256] {
                    let args = [family, 1, protocol | dirt, 0, 0, 0];
                    assert_eq!(ask("socket", args), errno(libc::EPROTONOSUPPORT));
                }
                for protocol in [0, 6, 17] {
                    let args = [family, 1, protocol | dirt, 0, 0, 0];
                    assert_eq!(ask("socket", args), Action::Allow, "{protocol}");
                }
            }
            let smc = ask("socket", [43 | dirt, 1, 0, 0, 0, 0]);
            assert_eq!(smc, errno(libc::EAFNOSUPPORT));
        }
        let ring = ask("io_uring_setup", [8, 0, 0, 0, 0, 0]);
        assert_eq!(ring, errno(libc::ENOSYS), "its requests are not filtered");
    }
}

#[test]
fn fast_open_is_refused_where_connecting_is_restricted() {
    let ask = answers("{connect_tcp: [443]}");
    let free = answers("{bind_tcp: [80]}");
    for (name, flags) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] {
        for (value, want) in [
            (FASTOPEN, errno(libc::EOPNOTSUPP)),
            (FASTOPEN | 0x4040 | DIRT, errno(libc::EOPNOTSUPP)),
            (0x4040, Action::Allow),
            (0, Action::Allow),
        ] {
            let mut args = [0; 6];
            args[flags] = value;
            assert_eq!(ask(name, args), want, "{name} {value:#x}");
            assert_eq!(free(name, args), Action::Allow, "{name} {value:#x}");
        }
    }
}

#[test]
fn an_empty_list_of_ports_to_bind_denies_listening_too() {
    let deny = errno(libc::EACCES);
    assert_eq!(answers("{bind_tcp: []}")("listen", [0; 6]), deny);
    for listens in ["{bind_tcp: [80]}", "{connect_tcp: []}", "{}"] {
        assert_eq!(answers(listens)("listen", [0; 6]), Action::Allow);
    }
}

#[test]
fn a_profile_without_tcp_rules_pays_nothing_for_them() {
    for name in ["baseline", "restricted"] {
        let planned = plan(Layers::from(&&Profile::builtin(name).unwrap()), None, true).unwrap();
        for call in ["sendto", "sendmsg", "sendmmsg", "listen"] {
            let (_, decision) = &planned.exact.calls[call];
            assert!(decision.branches.is_empty(), "{name}: {call}");
        }
    }
    assert_eq!(answers("{}")("io_uring_setup", [0; 6]), Action::Allow);
    let mptcp = answers("{}")("socket", [2, 1, 262, 0, 0, 0]);
    assert_eq!(mptcp, Action::Allow);
}

#[test]
fn pairs_of_sockets_have_the_families_that_sockets_have() {
    for name in ["baseline", "restricted"] {
        let planned = plan(Layers::from(&&Profile::builtin(name).unwrap()), None, true).unwrap();
        let decision = |call: &str| planned.exact.calls[call].1.clone();
        assert_eq!(decision("socketpair"), decision("socket"), "{name}");
        let vsock = [40, 1, 0, 0, 0, 0];
        assert_eq!(decision("socketpair").verdict(&vsock), Action::Notify);
    }
}
