//! What each notified call is answered with, and which profile has it: shared by the watcher, who
//! answers, and the keeper, who does where no watcher can.

use std::collections::HashMap;
use std::rc::Rc;

use libseccomp::{ScmpArch, ScmpSyscall};
use nix::errno::Errno;

use crate::state::{Record, Tripwire};
use crate::sys::seccomp::Notification;

/// linux/audit.h AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64.
const ARCHES: [(u32, &str, ScmpArch); 2] = [
    (0xC000_003E, "x86_64", ScmpArch::X8664),
    (0xC000_00B7, "aarch64", ScmpArch::Aarch64),
];

/// What to answer.
pub(super) struct Tripwires {
    /// By system call number of the native architecture: the filter kills all others. Of each layer
    /// that has one, outermost first.
    answers: HashMap<i32, Vec<Rc<Tripwire>>>,
}

impl Tripwires {
    pub(super) fn new(record: &Record) -> Tripwires {
        let number = |name: &str| {
            ScmpSyscall::from_name(name)
                .ok()
                .map(ScmpSyscall::as_raw_syscall)
        };
        let mut answers: HashMap<i32, Vec<Rc<Tripwire>>> = HashMap::new();
        for wire in &record.tripwires {
            if let Some(number) = number(&wire.syscall) {
                answers
                    .entry(number)
                    .or_default()
                    .push(Rc::new(wire.clone()));
            }
        }
        Tripwires { answers }
    }

    /// What refused the call.
    pub(super) fn wire(&self, call: &Notification) -> Rc<Tripwire> {
        let layers = self.answers.get(&call.number);
        let wire = layers.and_then(|layers| crate::policy::speaking(layers, &call.args));
        wire.cloned().unwrap_or_else(|| {
            Rc::new(Tripwire {
                syscall: name_of(call),
                errno: libc::EPERM,
                profile: String::new(),
                rules: Vec::new(),
                unless: Vec::new(),
            })
        })
    }
}

pub(super) fn arch_of(call: &Notification) -> (&'static str, Option<ScmpArch>) {
    ARCHES
        .iter()
        .find(|(audit, ..)| *audit == call.arch)
        .map_or(("unknown", None), |(_, name, arch)| (*name, Some(*arch)))
}

pub(super) fn name_of(call: &Notification) -> String {
    arch_of(call)
        .1
        .and_then(|arch| {
            ScmpSyscall::from_raw_syscall(call.number)
                .get_name_by_arch(arch)
                .ok()
        })
        .unwrap_or_else(|| format!("syscall_{}", call.number))
}

/// The name of a call by its number on the native architecture.
pub(super) fn syscall_name(number: i32) -> String {
    ScmpSyscall::from_raw_syscall(number)
        .get_name()
        .unwrap_or_else(|_| format!("syscall_{number}"))
}

/// The errno's symbol, as nix spells it; the number where it has none.
pub(super) fn errno_name(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => errno.to_string(),
        known => format!("{known:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_that_a_profile_can_name_is_told_by_its_symbol() {
        for (errno, name) in [
            (libc::EPERM, "EPERM"),
            (libc::ENOSYS, "ENOSYS"),
            (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
            (libc::EOPNOTSUPP, "EOPNOTSUPP"),
            (4000, "4000"),
        ] {
            assert_eq!(errno_name(errno), name);
        }
    }
}
