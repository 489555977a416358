//! For profiles that say `on_supervisor_loss: kill`: a third process that holds nothing but the
//! keeper's pidfd and the container's control group, sleeps, and ends the container where the keeper
//! ends before it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;

use super::keeper::{Keeper, Source, Timer};
use crate::detect::OnLoss;
use crate::event::{Action, What};
use crate::sys::{fds, pidfd, process, spawn};

/// When a sentinel that ended is followed by another one, and when that is tried again.
const AGAIN: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_secs(1);

impl Keeper {
    /// Posts the sentinel, where the profile asks for one.
    ///
    /// # Errors
    /// There can be none.
    pub(super) fn post_sentinel(&mut self) -> Result<(), String> {
        if self.on_loss == OnLoss::Keep || self.sentinel.is_some() {
            return Ok(());
        }
        let failed = |error: std::io::Error| format!("its sentinel cannot be started: {error}");
        let keeper = pidfd::open(std::process::id() as i32).map_err(failed)?;
        match spawn::fork().map_err(failed)? {
            spawn::Fork::Parent { pidfd, .. } => {
                let end = pidfd.try_clone().map_err(failed)?;
                self.add(Source::Sentinel(end), EpollFlags::EPOLLIN);
                self.sentinel = Some(pidfd);
                Ok(())
            }
            spawn::Fork::Child => self.stand_guard(&keeper),
        }
    }

    /// Somebody ended it, or want of memory did: the promise needs another one.
    pub(super) fn sentinel_ended(&mut self, token: u64) {
        self.remove(token);
        if let Some(sentinel) = self.sentinel.take() {
            let _ = pidfd::wait(&sentinel);
        }
        if !self.is_leaving() {
            self.after(AGAIN, Timer::Sentinel);
        }
    }

    pub(super) fn post_sentinel_again(&mut self) {
        if !self.is_leaving() && self.post_sentinel().is_err() {
            self.after(LATER, Timer::Sentinel);
        }
    }

    fn stand_guard(&mut self, keeper: &OwnedFd) -> ! {
        let _ = process::set_name(c"mantlet-sentine");
        self.journal.close();
        if fds::close_all_but(3, &mut vec![keeper.as_raw_fd()]).is_err() {
            process::exit_now(1);
        }
        process::give_back_memory();
        let mut polled = [PollFd::new(keeper.as_fd(), PollFlags::POLLIN)];
        while !matches!(poll(&mut polled, PollTimeout::NONE), Ok(1)) {}
        let killed = self.cgroup.as_ref().map(crate::cgroup::Cgroup::kill_all);
        let failed = killed.and_then(Result::err).map(|error| error.to_string());
        // The keeper's own numbers: it put them beside the watcher's.
        self.journal.take_over(self.shared.seq());
        self.journal.write(&What::Response {
            action: Action::KillContainer,
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
            let _ = pidfd::send_signal(&sentinel, libc::SIGKILL);
            let mut polled = [PollFd::new(sentinel.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut polled, PollTimeout::from(1000_u16));
            let _ = pidfd::wait(&sentinel);
        }
    }
}
