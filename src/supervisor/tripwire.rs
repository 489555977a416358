//! Denials that are reported: each notified call is answered with its errno, on registers alone.
//!
//! A denial is sound whatever the caller does to its memory meanwhile; nothing is ever let through
//! here. The caller hears the answer first and the journal is written after it, but who it was is
//! looked up before: a caller that ends at once would leave no trace.

use std::collections::HashMap;
use std::os::fd::AsFd;

use libseccomp::{ScmpArch, ScmpSyscall};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Source, Supervisor, look};
use crate::event::{Process, What};
use crate::state::Record;
use crate::sys::pidfd;
use crate::sys::seccomp::{self, Notification};

/// linux/audit.h AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64.
const ARCHES: [(u32, &str, ScmpArch); 2] = [
    (0xC000_003E, "x86_64", ScmpArch::X8664),
    (0xC000_00B7, "aarch64", ScmpArch::Aarch64),
];

/// Callers remembered at a time.
const MOST_CALLERS: usize = 256;

/// What to answer, and who called before.
pub(super) struct Tripwires {
    /// By system call number of the native architecture: the filter kills all others.
    answers: HashMap<i32, (String, i32)>,
    callers: HashMap<i32, Process>,
}

impl Tripwires {
    pub(super) fn new(record: &Record) -> Tripwires {
        let number = |name: &str| {
            ScmpSyscall::from_name(name)
                .ok()
                .map(ScmpSyscall::as_raw_syscall)
        };
        let answers = record
            .tripwires
            .iter()
            .filter_map(|wire| Some((number(&wire.syscall)?, (wire.syscall.clone(), wire.errno))))
            .collect();
        Tripwires {
            answers,
            callers: HashMap::new(),
        }
    }

    pub(super) fn forget(&mut self, pid: i32) {
        self.callers.remove(&pid);
    }

    fn answer(&self, call: &Notification) -> (String, i32) {
        self.answers
            .get(&call.number)
            .cloned()
            .unwrap_or_else(|| (name_of(call), libc::EPERM))
    }
}

impl Supervisor {
    /// Answers what waits on a listener: as many as there are, one at a time, because RECV blocks.
    pub(super) fn notified(&mut self, token: u64) {
        loop {
            let Some(Source::Listener(listener)) = self.sources.get(&token) else {
                return;
            };
            let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, PollTimeout::ZERO) {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) => return,
            }
            let events = polled[0].revents().unwrap_or(PollFlags::POLLERR);
            if !events.contains(PollFlags::POLLIN) {
                // The last process under this filter has ended.
                self.remove(token);
                return;
            }
            match seccomp::receive(listener) {
                Ok(call) => self.deny(token, &call),
                // The caller was killed between the poll and here.
                Err(_) => return,
            }
        }
    }

    fn deny(&mut self, token: u64, call: &Notification) {
        let (name, errno) = self.tripwires.answer(call);
        let pid = look::thread_group(call.tid as i32).unwrap_or(call.tid as i32);
        let known = self.tripwires.callers.get(&pid).cloned();
        let first_call = known.is_none();
        let mut process = known.unwrap_or_else(|| look::process(pid));
        if let Some(Source::Listener(listener)) = self.sources.get(&token) {
            // ENOENT: the caller was killed meanwhile. It is reported all the same: it did call.
            let _ = seccomp::deny(listener, call.id, errno);
        }
        self.status.tripwires += 1;
        if !self.journal.admits(&name) {
            return;
        }
        if first_call {
            self.remember(pid, &process);
        } else if let Some(comm) = look::comm(pid).filter(|comm| *comm != process.comm) {
            // The same pid has become another program since.
            process = look::process(pid);
            process.comm = comm;
            self.tripwires.callers.insert(pid, process.clone());
        }
        let (arch, _) = arch_of(call);
        self.tell(What::Tripwire {
            process,
            fix: crate::policy::fix_for(&name),
            syscall: name,
            number: call.number.into(),
            arch: arch.into(),
            args: call.args.iter().map(|arg| format!("{arg:#x}")).collect(),
            errno: errno_name(errno),
        });
    }

    fn remember(&mut self, pid: i32, process: &Process) {
        let Ok(pidfd) = pidfd::open(pid) else { return };
        if self.tripwires.callers.len() >= MOST_CALLERS {
            return;
        }
        self.tripwires.callers.insert(pid, process.clone());
        let first_or_session = self.is_watched(pid);
        if !first_or_session {
            self.watch(pidfd, process.clone(), false, true);
        }
    }

    fn is_watched(&self, pid: i32) -> bool {
        self.sources
            .values()
            .any(|source| matches!(source, Source::Watched(watched) if watched.process.pid == pid))
    }
}

fn arch_of(call: &Notification) -> (&'static str, Option<ScmpArch>) {
    ARCHES
        .iter()
        .find(|(audit, ..)| *audit == call.arch)
        .map_or(("unknown", None), |(_, name, arch)| (*name, Some(*arch)))
}

fn name_of(call: &Notification) -> String {
    arch_of(call)
        .1
        .and_then(|arch| {
            ScmpSyscall::from_raw_syscall(call.number)
                .get_name_by_arch(arch)
                .ok()
        })
        .unwrap_or_else(|| format!("syscall_{}", call.number))
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
