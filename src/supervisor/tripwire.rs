//! Denials that are reported: each notified call is answered with its errno, on registers alone.
//!
//! A denial is sound whatever the caller does to its memory meanwhile; nothing is ever let through
//! here. The caller hears the answer first and the journal is written after it, but who it was is
//! looked up before: a caller that ends at once would leave no trace. The caller may get its answer
//! on this very processor, and then waits for the journal too: a known thread costs one poll(2), one
//! read and one write.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use libseccomp::{ScmpArch, ScmpSyscall};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;

use super::{Source, Supervisor, look};
use crate::event::{Process, What};
use crate::state::{Record, Tripwire};
use crate::sys::pidfd;
use crate::sys::seccomp::{self, Notification};

/// linux/audit.h AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64.
const ARCHES: [(u32, &str, ScmpArch); 2] = [
    (0xC000_003E, "x86_64", ScmpArch::X8664),
    (0xC000_00B7, "aarch64", ScmpArch::Aarch64),
];

/// Threads remembered at a time.
const MOST_CALLERS: usize = 256;

/// What to answer, and who called before.
pub(super) struct Tripwires {
    /// By system call number of the native architecture: the filter kills all others. Of each layer
    /// that has one, outermost first.
    answers: HashMap<i32, Vec<Rc<Tripwire>>>,
    /// By thread id.
    callers: HashMap<i32, Caller>,
}

/// A thread that called, and the process it belongs to.
struct Caller {
    /// As long as the thread has not ended, its number is nobody else's. Absent where the kernel
    /// cannot hold it; then nothing is remembered.
    thread: Option<OwnedFd>,
    /// `/proc/PID/comm`: a process that has become another program tells another name.
    comm: Option<File>,
    process: Process,
}

impl Caller {
    /// What can be told of the thread now: of one that was killed meanwhile, perhaps its number.
    fn meet(tid: i32) -> Caller {
        let thread = pidfd::open_thread(tid).ok();
        let pid = look::thread_group(tid).unwrap_or(tid);
        Caller {
            thread,
            comm: File::open(format!("/proc/{pid}/comm")).ok(),
            process: look::process(pid),
        }
    }

    /// Whether the number is still this thread's.
    fn is_there(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|held| !pidfd::has_ended(held))
    }

    /// Looks again where it goes by another name now.
    fn refresh(&mut self) {
        let mut name = [0; 64];
        let length = self
            .comm
            .as_ref()
            .and_then(|file| file.read_at(&mut name, 0).ok())
            .unwrap_or(0);
        let name = name[..length].strip_suffix(b"\n").unwrap_or_default();
        if length > 0 && String::from_utf8_lossy(name) != self.process.comm {
            let comm = String::from_utf8_lossy(name).into_owned();
            self.process = look::process(self.process.pid);
            self.process.comm = comm;
        }
    }
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
        Tripwires {
            answers,
            callers: HashMap::new(),
        }
    }

    pub(super) fn forget(&mut self, pid: i32) {
        self.callers.retain(|_, caller| caller.process.pid != pid);
    }

    /// The thread of that number, if it is the one that was met.
    fn known(&mut self, tid: i32) -> Option<&mut Caller> {
        if !self.callers.get(&tid)?.is_there() {
            self.callers.remove(&tid);
        }
        self.callers.get_mut(&tid)
    }

    /// The process of a known thread, as it is now.
    fn again(&mut self, tid: i32) -> Process {
        let known = self.callers.get_mut(&tid).map(|caller| {
            caller.refresh();
            caller.process.clone()
        });
        known.unwrap_or_default()
    }

    /// What refused the call.
    fn wire(&self, call: &Notification) -> Rc<Tripwire> {
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

impl Supervisor {
    /// Answers one call that waits on a listener; epoll tells of the next one. RECV would block
    /// where there is none, but a call that was killed meanwhile still counts for it (ENOENT).
    pub(super) fn notified(&mut self, token: u64, flags: EpollFlags) {
        if !flags.contains(EpollFlags::EPOLLIN) {
            // The last process under this filter has ended.
            self.remove(token);
            return;
        }
        let Some(Source::Listener(listener)) = self.sources.get(&token) else {
            return;
        };
        if let Ok(call) = seccomp::receive(listener) {
            self.deny(token, &call);
        }
    }

    fn deny(&mut self, token: u64, call: &Notification) {
        let wire = self.tripwires.wire(call);
        let tid = call.tid as i32;
        // 1. Who it is, where it will be told.
        let told = self.journal.admits(&wire.syscall);
        let stranger = (told && self.tripwires.known(tid).is_none()).then(|| Caller::meet(tid));
        // 2. The answer.
        if let Some(Source::Listener(listener)) = self.sources.get(&token) {
            // ENOENT: the caller was killed meanwhile. It is reported all the same: it did call.
            let _ = seccomp::deny(listener, call.id, wire.errno);
        }
        self.status.tripwires += 1;
        if !told {
            return;
        }
        // 3. The report.
        let process = match stranger {
            Some(caller) => self.remember(tid, caller),
            None => self.tripwires.again(tid),
        };
        self.journal.flush_suppressed();
        let (arch, _) = arch_of(call);
        self.tell(What::Tripwire {
            process,
            ancestors: Vec::new(),
            fix: crate::policy::fix_for(&wire.syscall, &wire.rules, &call.args),
            syscall: wire.syscall.clone(),
            profile: wire.profile.clone(),
            number: call.number.into(),
            arch: arch.into(),
            args: call.args.iter().map(|arg| format!("{arg:#x}")).collect(),
            errno: errno_name(wire.errno),
        });
    }

    /// Keeps a caller, and watches its process.
    fn remember(&mut self, tid: i32, caller: Caller) -> Process {
        let process = caller.process.clone();
        let callers = &mut self.tripwires.callers;
        if callers.len() >= MOST_CALLERS {
            callers.retain(|_, caller| caller.is_there());
        }
        // Asked after everything was read: until here the number was this thread's.
        if callers.len() >= MOST_CALLERS || !caller.is_there() {
            return process;
        }
        self.tripwires.callers.insert(tid, caller);
        if !self.is_watched(process.pid)
            && let Ok(pidfd) = pidfd::open(process.pid)
        {
            self.watch(pidfd, process.clone(), false, true);
        }
        process
    }

    pub(super) fn is_watched(&self, pid: i32) -> bool {
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
