//! The runtime's filter: edits to `linux.seccomp`, or a filter generated from the profile where
//! the engine gave none.

use std::collections::BTreeSet;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};
use serde_json::{Value, json};

use super::engine;
use super::exact::{Exact, UNKNOWN};
use super::verdict::Action;
use crate::oci::patch::Edit;

/// What init calls before the exact filter. Where the engine's filter denies one of these, or
/// allows it under a condition only, it is allowed until the exact filter, which takes back
/// whatever profile and engine do not both allow.
pub const INIT_NEEDS: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "chdir",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "close_range",
    "dup",
    "dup3",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmsg",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "seccomp",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_tid_address",
    "setrlimit",
    "setsockopt",
    "sigaltstack",
    "stat",
    "statx",
    "uname",
    "write",
    "writev",
];

/// What the runtimes call beside [`INIT_NEEDS`] between installing their filter and executing init.
/// With no_new_privs they install it last of all (runc: then writes to the exec fifo, closes
/// descriptors, executes; its Go threads sleep, lock, map and signal each other meanwhile; crun:
/// waits on its socket, marks descriptors, executes). An engine's filter lets its runtime work
/// already, so these are added to a generated filter only.
pub const RUNTIME_NEEDS: &[&str] = &[
    "capget",
    "clone",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "eventfd2",
    "getresgid",
    "getresuid",
    "kill",
    "nanosleep",
    "pidfd_open",
    "pipe2",
    "pselect6",
    "select",
    "tgkill",
    "umask",
    "wait4",
    "waitid",
];

/// Names of [`INIT_NEEDS`] that the engine does not allow whatever their arguments.
#[must_use]
pub fn missing_needs(filter: &LinuxSeccomp) -> BTreeSet<&'static str> {
    INIT_NEEDS
        .iter()
        .copied()
        .filter(|name| !engine::decision(filter, name).permits_all())
        .collect()
}

/// Edits to the engine's filter: `added` become allowed, and what the exact filter refuses with a
/// report becomes SCMP_ACT_TRACE where the engine would refuse it in silence; of layers that enforce alone
/// (`enforced`), because others promise no report of what the engine refuses.
///
/// TRACE is denied at every moment: before init nothing of the image runs and there is no tracer
/// (ENOSYS); after it, the exact filter's USER_NOTIF is stricter and wins, so a tracer of the
/// container's own never sees it. That is why only calls that the exact filter notifies, or
/// answers more strictly, whatever their arguments, may become TRACE.
///
/// What the exact filter refuses without a report leaves the engine's allow lists, and so do foreign
/// architectures, which it kills: denied earlier, and the runtime compiles a filter of a third of the
/// size (containerd's default lists 349 calls for three architectures, and libseccomp copies what it
/// has with every rule it adds). Only where the engine answers with an errno, though: one that kills or
/// traps stays whole, because what is not listed is answered more mildly in places (runc answers ENOSYS to
/// numbers above the largest listed one, libseccomp kills the thread only for a foreign architecture).
#[must_use]
pub fn edits(
    filter: &LinuxSeccomp,
    added: &BTreeSet<&'static str>,
    exact: &Exact,
    enforced: &Exact,
) -> Vec<Edit> {
    let trace = traced(filter, exact, enforced);
    let moved = |name: &str| added.contains(name) || trace.contains(name);
    let denies = !engine::default(filter).permits();
    let shortens = matches!(engine::default(filter), Action::Errno(_));
    let rules = filter.syscalls().as_deref().unwrap_or_default();
    let mut edits = Vec::new();
    let mut appended = Vec::new();
    let architectures = filter.architectures().as_deref().unwrap_or_default();
    if architectures.len() > 1
        && !exact.foreign.permits()
        && engine::strictest(filter).rank() >= UNKNOWN.rank()
    {
        edits.push(Edit::Set {
            pointer: "/linux/seccomp/architectures".into(),
            value: json!([ARCHITECTURE]),
        });
    }
    if !added.is_empty() && denies {
        appended.push(json!({"names": added, "action": "SCMP_ACT_ALLOW"}));
    }
    if !trace.is_empty() {
        appended.push(json!({"names": trace, "action": "SCMP_ACT_TRACE"}));
    }
    let mut emptied = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let plain = shortens
            && rule.action() == LinuxSeccompAction::ScmpActAllow
            && rule.args().as_ref().is_none_or(Vec::is_empty);
        let stays = |name: &&String| !(moved(name) || plain && refused(name, exact));
        let kept: Vec<&String> = rule.names().iter().filter(stays).collect();
        if kept.len() == rule.names().len() {
            continue;
        }
        if kept.is_empty() {
            emptied.push(at);
        } else {
            edits.push(Edit::Set {
                pointer: format!("/linux/seccomp/syscalls/{at}/names"),
                value: json!(kept),
            });
        }
    }
    if filter.syscalls().is_none() {
        if !appended.is_empty() {
            let pointer = "/linux/seccomp/syscalls".to_owned();
            edits.push(Edit::Set {
                pointer,
                value: Value::Array(appended),
            });
        }
        return edits;
    }
    for (more, rule) in appended.into_iter().enumerate() {
        // One past the end appends (RFC 6901's `-` by number).
        let pointer = format!("/linux/seccomp/syscalls/{}", rules.len() + more);
        edits.push(Edit::Set {
            pointer,
            value: rule,
        });
    }
    // From the end, so that earlier positions stay true.
    for at in emptied.into_iter().rev() {
        edits.push(Edit::Remove {
            pointer: format!("/linux/seccomp/syscalls/{at}"),
        });
    }
    edits
}

/// Whether the exact filter refuses the call in silence whatever its arguments, and nobody needs it
/// before.
fn refused(name: &str, exact: &Exact) -> bool {
    let silent = |action: Action| action.rank() < Action::Notify.rank();
    let refused = match exact.calls.get(name) {
        Some((_, decision)) => decision.all().all(|(_, action)| silent(action)),
        None => silent(exact.unlisted),
    };
    !needed(name) && refused
}

fn traced<'a>(filter: &LinuxSeccomp, exact: &'a Exact, enforced: &Exact) -> BTreeSet<&'a str> {
    let reported: BTreeSet<&str> = enforced.tripwires().collect();
    let wholly = |name: &&str| {
        let decision = &exact.calls[*name].1;
        decision
            .all()
            .all(|(_, action)| action.rank() <= Action::Notify.rank())
    };
    let silent = |name: &&str| engine::denies_in_silence(filter, name);
    exact
        .tripwires()
        .filter(wholly)
        .filter(silent)
        .filter(|n| !INIT_NEEDS.contains(n) && reported.contains(n))
        .collect()
}

fn needed(name: &str) -> bool {
    INIT_NEEDS.contains(&name) || RUNTIME_NEEDS.contains(&name)
}

/// A filter from the profile alone. Conditions are left to the exact filter: the engine asked for
/// no filter, so nothing is weakened by answering a conditional call with ALLOW until then.
#[must_use]
pub fn generated(exact: &Exact) -> Value {
    let (mut allow, mut trace) = (Vec::new(), Vec::new());
    for (name, (_, decision)) in &exact.calls {
        if !decision.permits_none() || needed(name) {
            allow.push(name);
        } else if decision.all().all(|(_, action)| action == Action::Notify) {
            trace.push(name);
        }
    }
    let mut syscalls = vec![json!({"names": allow, "action": "SCMP_ACT_ALLOW"})];
    if !trace.is_empty() {
        syscalls.push(json!({"names": trace, "action": "SCMP_ACT_TRACE"}));
    }
    if exact
        .calls
        .get("clone3")
        .is_some_and(|(_, clone3)| clone3.permits_none())
    {
        // Absent, not forbidden, in the runtime's own last steps too: Go and C libraries fall back.
        let errno = libc::ENOSYS;
        syscalls.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}));
    }
    json!({
        "defaultAction": LinuxSeccompAction::ScmpActErrno,
        "architectures": [ARCHITECTURE],
        "syscalls": syscalls,
    })
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "SCMP_ARCH_AARCH64";
