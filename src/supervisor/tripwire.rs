//! What each notified call is answered with, and which profile has it: shared by the watcher, who
//! answers, and the keeper, who does where no watcher can.

use std::collections::HashMap;
use std::rc::Rc;

use nix::errno::Errno;

use crate::access::{Access, calls};
use crate::event::{Ancestor, Process, What};
use crate::state::{Record, Tripwire};
use crate::sys::seccomp::Notification;

/// linux/audit.h AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64.
const ARCHES: [(u32, &str); 2] = [(0xC000_003E, "x86_64"), (0xC000_00B7, "aarch64")];

/// What this program is built for, and every filter.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: u32 = ARCHES[0].0;
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: u32 = ARCHES[1].0;

/// What to answer.
pub(super) struct Tripwires {
    /// By system call number of the native architecture: the filter kills all others. Of each layer
    /// that has one, outermost first.
    answers: HashMap<i32, Vec<Rc<Tripwire>>>,
}

impl Tripwires {
    pub(super) fn new(record: &Record) -> Tripwires {
        let mut answers: HashMap<i32, Vec<Rc<Tripwire>>> = HashMap::new();
        for wire in &record.tripwires {
            if let Some(number) = wire.number {
                let layers = answers.entry(number).or_default();
                layers.push(Rc::new(wire.clone()));
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
                syscall: self.name(call.number),
                number: Some(call.number),
                errno: libc::EPERM,
                profile: String::new(),
                rules: Vec::new(),
                unless: Vec::new(),
            })
        })
    }

    /// What is told of a call that was refused.
    pub(super) fn event(
        &self,
        call: &Notification,
        process: Process,
        ancestors: Vec<Ancestor>,
    ) -> What {
        let wire = self.wire(call);
        let told = match calls::access(&wire.syscall, &call.args) {
            Access::Syscall { args, .. } => args,
            _ => Vec::new(),
        };
        What::Tripwire {
            process,
            ancestors,
            fix: crate::policy::fix_for(&wire.syscall, &wire.rules, &call.args, &told),
            syscall: wire.syscall.clone(),
            profile: wire.profile.clone(),
            number: call.number.into(),
            arch: arch_of(call).into(),
            args: call.args.iter().map(|arg| format!("{arg:#x}")).collect(),
            errno: errno_name(wire.errno),
        }
    }

    /// The name of a call that is notified.
    pub(super) fn name(&self, number: i32) -> String {
        let layers = self.answers.get(&number);
        let wire = layers.and_then(|layers| layers.first());
        wire.map_or_else(|| format!("syscall_{number}"), |wire| wire.syscall.clone())
    }
}

fn arch_of(call: &Notification) -> &'static str {
    let known = ARCHES.iter().find(|(audit, _)| *audit == call.arch);
    known.map_or("unknown", |(_, name)| name)
}

/// The errno's symbol, as nix spells it; the number where it has none.
fn errno_name(errno: i32) -> String {
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
