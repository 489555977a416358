//! Processes that were met: who they are, which are above them, and how they end.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use super::super::look;
use super::super::rules;
use super::super::sensors::Seen;
use super::super::shared::{Kind, Lines};
use super::Watcher;
use crate::event::{Ancestor, Process, What};
use crate::sys::pidfd;

/// Threads remembered at a time.
const MOST_CALLERS: usize = 256;
/// Processes whose end is waited for at a time.
const MOST_WATCHED: usize = 512;
/// Parents told of one process.
const MOST_ANCESTORS: usize = 16;

/// Threads that called, by number.
#[derive(Default)]
pub(super) struct Known(HashMap<i32, Caller>);

/// A process whose end is waited for.
pub(super) struct Watched {
    pidfd: OwnedFd,
    process: Process,
    ancestors: Vec<Ancestor>,
}

/// A thread that called, and the process it belongs to.
struct Caller {
    /// As long as the thread has not ended, its number is nobody else's. Absent where the kernel
    /// cannot hold it; then nothing is remembered.
    thread: Option<OwnedFd>,
    /// `/proc/PID/comm`: a process that has become another program mostly tells another name.
    comm: Option<File>,
    /// Device and inode of its program: one that has become another program of the same name would
    /// go by the former one's path, and by what is excepted for that.
    program: Option<(u64, u64)>,
    process: Process,
    ancestors: Vec<Ancestor>,
}

impl Caller {
    /// Whether the number is still this thread's.
    fn is_there(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|held| !pidfd::has_ended(held))
    }

    /// Looks again where it goes by another name now, or is another program.
    fn refresh(&mut self) {
        let program = look::executable(self.process.pid).ok();
        // None: it was killed meanwhile, and is told as it was.
        if program.is_some() && program != self.program {
            self.program = program;
            self.process = look::process(self.process.pid);
            return;
        }
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

impl Watcher<'_> {
    /// Who a thread is. What can be told of one that was killed meanwhile is perhaps its number.
    pub(super) fn who(&mut self, tid: i32) -> (Process, Vec<Ancestor>) {
        match self.known.0.get_mut(&tid) {
            Some(caller) if caller.is_there() => {
                caller.refresh();
                return (caller.process.clone(), caller.ancestors.clone());
            }
            Some(_) => drop(self.known.0.remove(&tid)),
            None => {}
        }
        self.wind_watchdog();
        let thread = pidfd::open_thread(tid).ok();
        let pid = look::thread_group(tid).unwrap_or(tid);
        let process = look::process(pid);
        let caller = Caller {
            thread,
            comm: File::open(format!("/proc/{pid}/comm")).ok(),
            program: look::executable(pid).ok(),
            ancestors: self.ancestors(&process),
            process,
        };
        let told = (caller.process.clone(), caller.ancestors.clone());
        self.remember(tid, caller);
        told
    }

    fn remember(&mut self, tid: i32, caller: Caller) {
        if self.known.0.len() >= MOST_CALLERS {
            self.known.0.retain(|_, caller| caller.is_there());
        }
        // Asked after everything was read: until here the number was this thread's.
        if self.known.0.len() >= MOST_CALLERS || !caller.is_there() {
            return;
        }
        let (process, ancestors) = (caller.process.clone(), caller.ancestors.clone());
        self.known.0.insert(tid, caller);
        if let Ok(pidfd) = pidfd::open(process.pid) {
            self.wait_for(pidfd, process, ancestors);
        }
    }

    /// Those above a process, nearest first, as far as they are the container's.
    pub(super) fn ancestors(&self, process: &Process) -> Vec<Ancestor> {
        let first = self.scene.as_ref().map_or(0, |scene| scene.pid);
        let (mut above, mut of) = (Vec::new(), process.ppid);
        if process.pid == first {
            return above;
        }
        while of > 1 && above.len() < MOST_ANCESTORS && self.holds(of) {
            let (parent, next) = look::ancestor(of);
            above.push(parent);
            if of == first {
                break;
            }
            of = next;
        }
        above
    }

    /// Waits for the end of a process of which the keeper tells, for the rules.
    pub(super) fn watch_session(&mut self, pid: i32) {
        let Ok(pidfd) = pidfd::open(pid) else {
            return;
        };
        let process = look::process(pid);
        let ancestors = self.ancestors(&process);
        self.wait_for(pidfd, process, ancestors);
        let waited_for = |watched: &Watched| watched.process.pid == pid;
        if self.watched.values().any(waited_for) {
            self.began.insert(pid);
        }
    }

    /// Waits for a process's end, unless that is done already.
    pub(super) fn wait_for(&mut self, pidfd: OwnedFd, process: Process, ancestors: Vec<Ancestor>) {
        let met = |watched: &Watched| watched.process.pid == process.pid;
        if self.watched.len() >= MOST_WATCHED || self.watched.values().any(met) {
            return;
        }
        let token = self.next;
        self.next += 1;
        if self.watch_fd(token, pidfd.as_fd()).is_ok() {
            let watched = Watched {
                pidfd,
                process,
                ancestors,
            };
            self.watched.insert(token, watched);
        }
    }

    /// Tells of all that have ended by now.
    pub(super) fn all_ended(&mut self) {
        let tokens: Vec<u64> = self.watched.keys().copied().collect();
        for token in tokens {
            let ended = |watched: &Watched| pidfd::has_ended(&watched.pidfd);
            if self.watched.get(&token).is_some_and(ended) {
                self.ended(token);
            }
        }
    }

    pub(super) fn ended(&mut self, token: u64) {
        let Some(ended) = self.watched.remove(&token) else {
            return;
        };
        let _ = self.epoll.delete(&ended.pidfd);
        let pid = ended.process.pid;
        self.known.0.retain(|_, caller| caller.process.pid != pid);
        self.executed_no_more(pid);
        // Reaped, a zombie, or reaped between the two questions.
        let code = pidfd::exit_code(&ended.pidfd)
            .or_else(|| look::zombie_code(pid))
            .or_else(|| pidfd::exit_code(&ended.pidfd));
        if self.began.remove(&pid) {
            // The keeper tells it.
        } else if self.admits(Lines::Ends) {
            let what = What::Exit {
                process: ended.process.clone(),
                code,
            };
            self.tell(Kind::Other, &what);
        } else {
            self.due |= self.shared.leave_out_end();
        }
        self.count_tasks();
        let (process, seen) = (&ended.process, Seen::End { code });
        let findings = rules::findings(self.rules, self.shared, &seen, &process.exe, |_| true);
        self.tell_findings(&findings, process, &ended.ancestors, None);
        self.respond(&findings, 0, None);
    }
}
