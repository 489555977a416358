//! A third process, where somebody has to act once the keeper is gone: it holds nothing but the keeper's
//! pidfd, the container's control group and, where a layer only looks, its listeners. It sleeps, and does its
//! duty where the keeper ends before it.
//!
//! * `on_supervisor_loss: kill`: it ends the container.
//! * A frozen container: it does what ends the freeze. Nobody else is there to end it.
//! * A layer in mode `audit` or `learn`: it has calls go on that nobody refuses, to the container's end, and
//!   counts them. The kernel would answer them with ENOSYS, and such a layer must not be what breaks a program.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;

use super::keeper::{Keeper, Source, Timer};
use super::link::{self, Order};
use crate::cgroup::Cgroup;
use crate::detect::{OnLoss, Then};
use crate::event::{Action, What};
use crate::sys::{fds, pidfd, process, socket, spawn};

/// When a sentinel that ended is followed by another one, and when that is tried again.
const AGAIN: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_secs(1);

/// What is done without a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    Kill,
    Thaw,
    GoOn,
}

/// The process.
pub(super) struct Sentinel {
    pidfd: OwnedFd,
    /// For a freeze only.
    for_freeze: bool,
    /// Takes listeners, where it has calls go on.
    link: Option<OwnedFd>,
}

/// How long the watcher, which ends with the keeper, is waited for.
const WATCHERS_END: Duration = Duration::from_secs(1);

impl Keeper {
    /// Posts the sentinel, where the profile asks for one.
    ///
    /// # Errors
    /// There can be none.
    pub(super) fn post_sentinel(&mut self) -> Result<(), String> {
        let duty = match self.on_loss {
            OnLoss::Kill => Duty::Kill,
            OnLoss::Keep if self.observer.observes() => Duty::GoOn,
            OnLoss::Keep => return Ok(()),
        };
        match self.sentinel {
            Some(_) => Ok(()),
            None => self.post(duty, false),
        }
    }

    /// Shares a listener with the sentinel, where that has calls go on. One that takes none is replaced, and the
    /// next one has them all.
    pub(super) fn share_listener(&self, order: &Order, number: RawFd) {
        let Some(sentinel) = &self.sentinel else {
            return;
        };
        if let Some(link) = &sentinel.link
            && socket::send(link, &order.encode(), &[number]).is_err()
        {
            let _ = pidfd::send_signal(&sentinel.pidfd, libc::SIGKILL);
        }
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
        let (near, far) = match duty {
            Duty::GoOn => {
                let (near, far) = socket::pair().map_err(failed)?;
                // The keeper never waits.
                fcntl(&near, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                    .map_err(|errno| failed(errno.into()))?;
                (Some(near), Some(far))
            }
            Duty::Kill | Duty::Thaw => (None, None),
        };
        match spawn::fork().map_err(failed)? {
            spawn::Fork::Parent { pidfd, .. } => {
                let end = pidfd.try_clone().map_err(failed)?;
                self.add(Source::Sentinel(end), EpollFlags::EPOLLIN);
                self.sentinel = Some(Sentinel {
                    pidfd,
                    for_freeze,
                    link: near,
                });
                Ok(())
            }
            spawn::Fork::Child => self.stand_guard(&keeper, far, duty),
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

    fn stand_guard(&mut self, keeper: &OwnedFd, link: Option<OwnedFd>, duty: Duty) -> ! {
        let _ = process::set_name(c"mantlet-sentine");
        self.journal.close();
        self.hold_listeners_alone(duty == Duty::GoOn);
        let mut kept = vec![keeper.as_raw_fd()];
        kept.extend(link.iter().map(AsRawFd::as_raw_fd));
        kept.extend(self.sources.values().map(|source| source.fd().as_raw_fd()));
        if fds::close_all_but(3, &mut kept).is_err() {
            process::exit_now(1);
        }
        process::give_back_memory();
        self.wait_for_the_end_of(keeper, link.as_ref());
        // The keeper's own numbers: it put them beside the watcher's. What the watcher told last nobody has
        // written yet.
        self.journal.take_over(self.shared.seq());
        if duty == Duty::GoOn {
            self.go_on();
            process::exit_now(0);
        }
        let done = self.end_or_thaw(duty == Duty::Kill);
        while let Some(entry) = self.shared.take() {
            self.journal.write_body(&entry.body);
        }
        self.did(done);
        process::exit_now(0)
    }

    /// Ends the container, or a freeze; what was done, and why it was not.
    fn end_or_thaw(&self, kills: bool) -> (Action, Option<String>) {
        let (action, act): (_, fn(&Cgroup) -> std::io::Result<()>) = match kills {
            true => (Action::KillContainer, Cgroup::kill_all),
            false => (Action::Thaw, Cgroup::thaw),
        };
        let done = self.cgroup.as_ref().map(act);
        let failed = done.and_then(Result::err).map(|error| error.to_string());
        (action, failed)
    }

    fn did(&mut self, (action, failed): (Action, Option<String>)) {
        self.journal.write(&What::Response {
            action,
            by: "on_supervisor_loss".into(),
            pid: None,
            failed,
            evidence: None,
        });
    }

    /// In the child: leaves alone what is the keeper's, whose numbers are about to be closed.
    fn hold_listeners_alone(&mut self, listeners: bool) {
        let all = std::mem::take(&mut self.sources);
        for (token, source) in all {
            match source {
                Source::Listener(..) if listeners => drop(self.sources.insert(token, source)),
                other => std::mem::forget(other),
            }
        }
        std::mem::forget(self.files.take());
        std::mem::forget(self.tasks.take());
    }

    /// Sleeps until the keeper is gone, and takes what listeners come meanwhile.
    fn wait_for_the_end_of(&mut self, keeper: &OwnedFd, link: Option<&OwnedFd>) {
        loop {
            let mut polled = vec![PollFd::new(keeper.as_fd(), PollFlags::POLLIN)];
            polled.extend(link.map(|link| PollFd::new(link.as_fd(), PollFlags::POLLIN)));
            // Told of their last process's end without being asked.
            let tokens: Vec<u64> = self.sources.keys().copied().collect();
            let listeners = self.sources.values();
            polled.extend(listeners.map(|own| PollFd::new(own.fd(), PollFlags::empty())));
            if poll(&mut polled, PollTimeout::NONE).is_err() {
                continue;
            }
            let ready: Vec<bool> = polled.iter().map(|one| one.any() == Some(true)).collect();
            let others = polled.len() - tokens.len();
            for (token, _) in tokens
                .iter()
                .zip(&ready[others..])
                .filter(|(_, ended)| **ended)
            {
                self.sources.remove(token);
            }
            // Those that it sent last are there until they are taken.
            let more = link.is_some_and(|link| ready[1] && self.take_listener(link));
            if ready[0] && !more {
                return;
            }
        }
    }

    /// False where none is there and none will be.
    fn take_listener(&mut self, link: &OwnedFd) -> bool {
        let Ok(mut packet) = socket::receive(link, link::LARGEST) else {
            return false;
        };
        if let Ok(Order::Listener { token, whose }) = Order::decode(&packet.bytes)
            && let Some(listener) = packet.fds.pop()
        {
            self.sources
                .insert(token, Source::Listener(listener, whose));
        }
        !packet.bytes.is_empty()
    }

    /// Does what the keeper does where there is no watcher, to the end of the last process under a filter.
    fn go_on(&mut self) {
        // 1. What the keeper knew last. The watcher ends with it, and may have a call in hand.
        if let Ok(Some(status)) = self.home.read_status() {
            self.status = status;
        }
        if let Ok(watcher) = pidfd::open(self.status.watcher) {
            let mut polled = [PollFd::new(watcher.as_fd(), PollFlags::POLLIN)];
            let _ = poll(
                &mut polled,
                PollTimeout::from(WATCHERS_END.as_millis() as u16),
            );
        }
        // 2. What the two had not come to. A container that stood still goes on, or ends.
        self.shared.begin_counting_anew();
        self.counts.unseen_said = self.shared.unseen_said();
        self.drain();
        self.settle();
        self.finish_call();
        if let Some(frozen) = self.status.frozen.take() {
            let done = self.end_or_thaw(frozen.then == Some(Then::Kill));
            self.did(done);
        }
        // 3. Calls, as long as there is anybody to make them.
        self.tell_unseen(false);
        while !self.sources.is_empty() {
            let tokens: Vec<u64> = self.sources.keys().copied().collect();
            let listeners = self.sources.values();
            let mut polled: Vec<PollFd<'_>> = listeners
                .map(|own| PollFd::new(own.fd(), PollFlags::POLLIN))
                .collect();
            if poll(&mut polled, PollTimeout::NONE).is_err() {
                continue;
            }
            let seen: Vec<PollFlags> = polled.iter().filter_map(PollFd::revents).collect();
            for (token, seen) in tokens
                .into_iter()
                .zip(seen)
                .filter(|(_, seen)| !seen.is_empty())
            {
                self.listener_spoke(token, EpollFlags::from_bits_truncate(seen.bits().into()));
            }
            self.tell_unseen(false);
        }
        self.tell_left_out();
        self.tell_unseen(true);
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
