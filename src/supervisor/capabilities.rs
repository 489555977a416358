//! Capabilities that the container uses, where a layer only looks ([`crate::sys::capability`]).
//!
//! The kernel tells of every check that succeeded; which of them a program needed, nobody knows. Left out
//! are those of capabilities that no process of the container can hold: a file system below an overlay is
//! asked for with its mounter's. The first user of each is told; an exec session's use does not stand in
//! for the workload's.

use std::os::unix::fs::MetadataExt;

use nix::sys::epoll::EpollFlags;

use super::keeper::{Keeper, Source};
use super::link::Whose;
use super::look;
use super::observer::phase;
use crate::access::Access;
use crate::event::{Session, What};
use crate::profile::capability_names;
use crate::sys::capability::Seen;

/// Parents asked for, from a user of a capability upwards.
const MOST_PARENTS: usize = 64;

/// The kernel's notes, and which of them are about the container.
pub(super) struct Using {
    seen: Seen,
    /// What its processes can hold at most.
    bounding: u64,
    /// What was told of the workload.
    told: u64,
}

impl Keeper {
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
                });
            }
            Err(why) => recording
                .blind
                .push(format!("capabilities cannot be seen: {why}")),
        }
    }

    /// Tells of those that were used since the last time, once the workload was told of.
    pub(super) fn see_capabilities(&mut self) {
        let Some(using) = self
            .capabilities
            .as_ref()
            .filter(|_| self.status.pid != 0 || self.status.report.is_some())
        else {
            return;
        };
        let users = using.seen.users();
        let fresh =
            |number: u32| using.bounding >> number & 1 == 1 && using.told >> number & 1 == 0;
        let fresh: Vec<(u32, i32)> = users
            .into_iter()
            .filter(|(number, _)| fresh(*number))
            .collect();
        for (number, pid) in fresh {
            let Some(name) = capability_names().nth(number as usize) else {
                continue;
            };
            let session = self.session_of(pid);
            if let Some(using) = &mut self.capabilities {
                match session {
                    Session::Workload => using.told |= 1 << number,
                    // Its next user may be the workload's.
                    Session::Exec => drop(using.seen.forget(number)),
                }
            }
            self.tell_capability(name, pid, session);
        }
    }

    fn tell_capability(&mut self, name: &str, pid: i32, session: Session) {
        let Some(observing) = self.observer.of(Whose::default()) else {
            return;
        };
        let access = Access::Capability { name: name.into() };
        let denial = observing.capability(&access);
        if denial.is_none() && !observing.learns {
            return;
        }
        let (profile, fix) = denial
            .map(|denial| (denial.profile.to_owned(), denial.fix))
            .unwrap_or_default();
        let phase = phase(&self.shared);
        let hash = self.observer.hash(&access, session, phase);
        if self.shared.is_told(hash) {
            return;
        }
        self.shared.remember(hash);
        self.status.observed += 1;
        self.tell(&What::Observed {
            process: look::process(pid),
            session,
            phase,
            access,
            linked: false,
            profile,
            fix,
            denied: false,
        });
    }

    /// Whose a process is: the workload's where its first process is above it, else an exec session's: where
    /// that one's first process is above it, and where neither is, which is the runtime on its way to become
    /// one. Of what has ended nobody can tell: while a session is on its way it is taken for the runtime,
    /// which asks for most of the engine's capabilities; else it is the workload's, so that none is missed.
    fn session_of(&self, pid: i32) -> Session {
        let mut at = pid;
        for _ in 0..MOST_PARENTS {
            if at == self.status.pid {
                return Session::Workload;
            }
            if at <= 1 || self.is_watched(at) {
                return Session::Exec;
            }
            let process = look::process(at);
            if process.comm.is_empty() {
                break;
            }
            at = process.ppid;
        }
        let is_exec =
            |source: &Source| matches!(source, Source::Session(session) if session.is_exec());
        match self.sources.values().any(is_exec) {
            true => Session::Exec,
            false => Session::Workload,
        }
    }
}
