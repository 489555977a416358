//! For profiles that say `on_supervisor_loss: kill`: a third process that holds nothing but the
//! keeper's pidfd and the container's control group, sleeps, and ends the container where the keeper
//! ends before it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::keeper::Keeper;
use crate::detect::OnLoss;
use crate::event::{Action, What};
use crate::sys::{fds, pidfd, process, spawn};

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
                self.sentinel = Some(pidfd);
                Ok(())
            }
            spawn::Fork::Child => self.stand_guard(&keeper),
        }
    }

    fn stand_guard(&mut self, keeper: &OwnedFd) -> ! {
        let _ = process::set_name(c"mantlet-sentine");
        self.journal.close();
        if fds::close_all_but(3, &mut [keeper.as_raw_fd()]).is_err() {
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
