//! A third process, where somebody has to act once the keeper is gone: it holds nothing but the keeper's
//! pidfd and the container's control group, sleeps, and does its duty where the keeper ends before it.
//!
//! * `on_supervisor_loss: kill`: it ends the container.
//! * A frozen container: it does what ends the freeze. Nobody else is there to end it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;

use super::keeper::{Keeper, Source, Timer};
use crate::cgroup::Cgroup;
use crate::detect::{OnLoss, Then};
use crate::event::{Action, What};
use crate::sys::{fds, pidfd, process, spawn};

/// When a sentinel that ended is followed by another one, and when that is tried again.
const AGAIN: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_secs(1);

/// What is done without a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    Kill,
    Thaw,
}

/// The process.
pub(super) struct Sentinel {
    pidfd: OwnedFd,
    /// For a freeze only.
    for_freeze: bool,
}

impl Keeper {
    /// Posts the sentinel, where the profile asks for one.
    ///
    /// # Errors
    /// There can be none.
    pub(super) fn post_sentinel(&mut self) -> Result<(), String> {
        if self.on_loss == OnLoss::Keep || self.sentinel.is_some() {
            return Ok(());
        }
        self.post(Duty::Kill, false)
    }

    /// Posts one for the time of a freeze, where there is none already. Without one, a freeze whose
    /// keeper is gone has no end; that is no reason not to freeze.
    pub(super) fn post_freezes_sentinel(&mut self, then: Option<Then>) {
        if self.sentinel.is_none() {
            let duty = match then {
                Some(Then::Kill) => Duty::Kill,
                Some(Then::Thaw) | None => Duty::Thaw,
            };
            let _ = self.post(duty, true);
        }
    }

    pub(super) fn end_freezes_sentinel(&mut self) {
        if self.sentinel.as_ref().is_some_and(|held| held.for_freeze) {
            self.end_sentinel();
        }
    }

    fn post(&mut self, duty: Duty, for_freeze: bool) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("its sentinel cannot be started: {error}");
        let keeper = pidfd::open(std::process::id() as i32).map_err(failed)?;
        match spawn::fork().map_err(failed)? {
            spawn::Fork::Parent { pidfd, .. } => {
                let end = pidfd.try_clone().map_err(failed)?;
                self.add(Source::Sentinel(end), EpollFlags::EPOLLIN);
                self.sentinel = Some(Sentinel { pidfd, for_freeze });
                Ok(())
            }
            spawn::Fork::Child => self.stand_guard(&keeper, duty),
        }
    }

    /// Somebody ended it, or want of memory did: the promise needs another one.
    pub(super) fn sentinel_ended(&mut self, token: u64) {
        self.remove(token);
        let Some(sentinel) = self.sentinel.take_if(|held| pidfd::has_ended(&held.pidfd)) else {
            return;
        };
        let _ = pidfd::wait(&sentinel.pidfd);
        if !self.is_leaving() && !sentinel.for_freeze {
            self.after(AGAIN, Timer::Sentinel);
        }
    }

    pub(super) fn post_sentinel_again(&mut self) {
        if !self.is_leaving() && self.post_sentinel().is_err() {
            self.after(LATER, Timer::Sentinel);
        }
    }

    fn stand_guard(&mut self, keeper: &OwnedFd, duty: Duty) -> ! {
        let _ = process::set_name(c"mantlet-sentine");
        self.journal.close();
        if fds::close_all_but(3, &mut [keeper.as_raw_fd()]).is_err() {
            process::exit_now(1);
        }
        process::give_back_memory();
        let mut polled = [PollFd::new(keeper.as_fd(), PollFlags::POLLIN)];
        while !matches!(poll(&mut polled, PollTimeout::NONE), Ok(1)) {}
        let (action, act): (_, fn(&Cgroup) -> std::io::Result<()>) = match duty {
            Duty::Kill => (Action::KillContainer, Cgroup::kill_all),
            Duty::Thaw => (Action::Thaw, Cgroup::thaw),
        };
        let done = self.cgroup.as_ref().map(act);
        let failed = done.and_then(Result::err).map(|error| error.to_string());
        // The keeper's own numbers: it put them beside the watcher's. What the watcher told last nobody has
        // written yet.
        self.journal.take_over(self.shared.seq());
        while let Some(entry) = self.shared.take() {
            self.journal.write_body(&entry.body);
        }
        self.journal.write(&What::Response {
            action,
            by: "on_supervisor_loss".into(),
            pid: None,
            failed,
            evidence: None,
        });
        process::exit_now(0)
    }

    /// The container is gone, and the keeper ends in good order.
    pub(super) fn end_sentinel(&mut self) {
        if let Some(sentinel) = self.sentinel.take() {
            let _ = pidfd::send_signal(&sentinel.pidfd, libc::SIGKILL);
            let mut polled = [PollFd::new(sentinel.pidfd.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut polled, PollTimeout::from(1000_u16));
            let _ = pidfd::wait(&sentinel.pidfd);
        }
    }
}
