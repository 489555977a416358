//! Capabilities that the container uses, where a layer only looks ([`crate::sys::capability`]).
//!
//! The kernel tells of every check that succeeded; which of them a program needed, nobody knows. Left out
//! are those of capabilities that no process of the container can hold: a file system below an overlay is
//! asked for with its mounter's. The first use by the workload is told, in each phase; an exec session's does not
//! stand in for it. Whose a process is tell its parents, as long as it is there: of one that has ended it is the
//! workload's where no session ever began, and else counted as unseen.
//!
//! Not told apart: what a session's process does after its parent has ended, which is taken for the workload's, and
//! a use in a user namespace of the container's own making. Not seen: processes in a pid namespace beneath.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;

use nix::sys::epoll::EpollFlags;

use super::keeper::{Keeper, Source};
use super::link::Whose;
use super::look;
use crate::access::{Access, Phase};
use crate::event::{Session, What};
use crate::profile::capability_names;
use crate::sys::capability::{Seen, User};

/// Parents asked for, from a user of a capability upwards.
const MOST_PARENTS: usize = 64;

/// The kernel's notes, and which of them are about the container.
pub(super) struct Using {
    seen: Seen,
    /// What its processes can hold at most.
    bounding: u64,
    /// What was told of the workload, in this phase.
    told: u64,
    /// When the workload was first seen to serve, nanoseconds of CLOCK_MONOTONIC.
    serves_since: Option<u64>,
    /// Users that were told of, or not, for good.
    met: HashSet<User>,
    /// Users that had no room, as far as they are counted.
    missed: u64,
}

/// The first pid namespace (linux/proc_ns.h, PROC_PID_INIT_INO), by whose numbers the kernel tells of processes.
const FIRST_NAMESPACE: u64 = 0xefff_fffc;

impl Using {
    fn forget(&mut self, user: &User) {
        self.met.remove(user);
        self.seen.forget(user);
    }

    /// The phase that is told of now.
    fn phase(&self) -> Phase {
        match self.serves_since {
            Some(_) => Phase::Serving,
            None => Phase::StartUp,
        }
    }
}

impl Keeper {
    /// Whether the workload serves, and what it uses from then on is not yet told apart.
    pub(super) fn begins_to_serve(&self) -> bool {
        let using = self.capabilities.as_ref();
        using.is_some_and(|using| using.serves_since.is_none()) && self.shared.serves()
    }

    /// Begins, before the workload does; its first process is init, which waits. Where that cannot be, the
    /// recording says so.
    pub(super) fn look_for_capabilities(&mut self, pid: i32) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        if let Ok(name) = nix::sys::utsname::uname() {
            recording.kernel = name.release().to_string_lossy().into_owned();
        }
        let begun = if look::begins_namespace(pid) {
            std::fs::metadata(format!("/proc/{pid}/ns/pid"))
                .and_then(|namespace| Seen::begin(namespace.dev(), namespace.ino()))
                .map_err(|error| match error.raw_os_error() {
                    Some(libc::ENOENT) => "this kernel tells of none (before 6.14)".to_owned(),
                    _ => error.to_string(),
                })
        } else {
            Err("the container shares its pid namespace".to_owned())
        };
        match begun {
            Ok(seen) => {
                if let Ok(bell) = seen.bell().try_clone_to_owned() {
                    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
                    self.add(Source::Capabilities(bell), flags);
                }
                self.capabilities = Some(Using {
                    seen,
                    bounding: look::bounding(pid).unwrap_or(u64::MAX),
                    told: 0,
                    serves_since: None,
                    met: HashSet::new(),
                    missed: 0,
                });
            }
            Err(why) => recording
                .blind
                .push(format!("capabilities cannot be seen: {why}")),
        }
    }

    /// Tells of those that were used since the last time, once the workload was told of.
    pub(super) fn see_capabilities(&mut self) {
        let begun = self.status.pid != 0 || self.status.report.is_some();
        let Some(mut using) = self.capabilities.take_if(|_| begun) else {
            return;
        };
        let users = using.seen.users();
        if using.serves_since.is_none() && self.shared.serves() {
            using.serves_since = Some(self.shared.serves_since());
            // Whoever used it before may do so again, and each is asked about once more.
            for number in 0..64 {
                // None for such a number.
                let _ = using.seen.settle(number, false);
            }
            using.told = 0;
            using.met.clear();
            users.iter().for_each(|user| using.seen.forget(user));
        }
        for user in &users {
            if using.met.insert(*user) {
                self.see_user(&mut using, user);
            } else if look::start_time(user.pid).is_none() {
                // The table has room for so many, and its number may be another one's soon.
                using.forget(user);
            }
        }
        let missed = using.seen.missed();
        for _ in using.missed..missed {
            self.shared.keeper_lost_one();
            self.tell_later();
        }
        using.missed = missed;
        self.capabilities = Some(using);
    }

    fn see_user(&mut self, using: &mut Using, user: &User) {
        let number = user.capability;
        let held = using.bounding >> number & 1 == 1;
        let name = capability_names().nth(number as usize);
        let (Some(name), true) = (name, held) else {
            // Nobody of the container's can hold it.
            let _ = using.seen.settle(number, true);
            return using.forget(user);
        };
        let there = look::start_time(user.pid).is_some();
        let phase = match using.serves_since {
            Some(since) if user.at >= since => Phase::Serving,
            _ => Phase::StartUp,
        };
        let now = using.phase();
        let news = using.told >> number & 1 == 0 || phase != now;
        match self.session_of(user.pid) {
            Some(Session::Exec) => self.tell_capability(name, user.pid, Session::Exec, phase),
            Some(Session::Workload) if news => {
                if phase == now {
                    using.told |= 1 << number;
                    let _ = using.seen.settle(number, true);
                }
                self.tell_capability(name, user.pid, Session::Workload, phase);
            }
            Some(Session::Workload) => {}
            None => {
                self.shared.keeper_lost_one();
                self.tell_later();
            }
        }
        if !there {
            // Its number may be another one's soon.
            using.forget(user);
        }
    }

    fn tell_capability(&mut self, name: &str, pid: i32, session: Session, phase: Phase) {
        let Some(observing) = self.observer.of(Whose::default()) else {
            return;
        };
        let access = Access::Capability { name: name.into() };
        let denial = observing.capability(&access);
        if denial.is_none() && !observing.learns {
            return;
        }
        let whose = Whose {
            exec: session == Session::Exec,
            ..Whose::default()
        };
        let hash = (self.observer).hash(&access, whose, phase, denial.as_ref(), false);
        if self.shared.is_told(hash) {
            return;
        }
        let (profile, fix) = denial
            .map(|denial| (denial.profile.to_owned(), denial.fix))
            .unwrap_or_default();
        self.shared.remember(hash);
        self.tell_observed(&What::Observed {
            process: look::process(pid),
            session,
            phase,
            access,
            linked: false,
            clipped: false,
            profile,
            fix,
            denied: false,
        });
    }

    /// Whose a process is: the workload's where its first process is above it, else an exec session's: where
    /// that one's first process is above it, and where neither is, which is the runtime on its way to become
    /// one. Of what has ended nobody can tell: while a session is on its way it is taken for the runtime,
    /// which asks for most of the engine's capabilities. Else it is the workload's where there was none yet, and
    /// none is answered where there was.
    fn session_of(&self, pid: i32) -> Option<Session> {
        let mut at = pid;
        for _ in 0..MOST_PARENTS {
            if at == self.status.pid {
                return Some(Session::Workload);
            }
            if at <= 1 || self.is_watched(at) {
                return Some(Session::Exec);
            }
            let process = look::process(at);
            if process.comm.is_empty() {
                break;
            }
            at = process.ppid;
        }
        let is_exec =
            |source: &Source| matches!(source, Source::Session(session) if session.is_exec());
        if self.sources.values().any(is_exec) {
            return Some(Session::Exec);
        }
        // Seen from a namespace of its own (mantlet in a container), the kernel's numbers are not those of /proc.
        let alone = self.status.sessions == 0 || !counts_as_the_kernel();
        alone.then_some(Session::Workload)
    }
}

fn counts_as_the_kernel() -> bool {
    let own = std::fs::metadata("/proc/self/ns/pid");
    own.is_ok_and(|own| own.ino() == FIRST_NAMESPACE)
}
