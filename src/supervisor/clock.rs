//! The host's clock, where a rule asks what changed since the container's start: an inode's change
//! time is told by it, and a clock that is set back would give new files an old one.
//!
//! A timer that is cancelled by setting the clock (TFD_TIMER_CANCEL_ON_SET, timerfd_create(2)) tells
//! of it. The line then moves back with the clock. Files of the image that changed since the new time
//! are taken for new ones from then on; better so than the other way round.

use std::time::Duration;

use nix::sys::epoll::EpollFlags;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::keeper::{Keeper, Source};
use crate::detect::Sensor;

/// Taken off the new time: it was set a moment before that was told.
const MOMENT: u64 = 1;

/// The far end of a clock that every kernel takes: nobody waits for it. Seconds.
const NEVER: u64 = 1 << 33;

/// CLOCK_REALTIME as inodes are stamped with it, of the last tick (clock_gettime(2),
/// CLOCK_REALTIME_COARSE): seconds and nanoseconds.
pub(super) fn stamp() -> (u64, u32) {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME_COARSE);
    now.map_or((0, 0), |now| (now.tv_sec() as u64, now.tv_nsec() as u32))
}

fn told_when_set() -> nix::Result<TimerFd> {
    let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, flags)?;
    arm(&timer)?;
    Ok(timer)
}

fn arm(timer: &TimerFd) -> nix::Result<()> {
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    let never = TimeSpec::from_duration(Duration::from_secs(NEVER));
    match timer.set(Expiration::OneShot(never), flags) {
        // It was set meanwhile. The timer is armed all the same.
        Err(nix::Error::ECANCELED) => Ok(()),
        other => other,
    }
}

impl Keeper {
    /// Begins to watch the clock, where a rule needs it.
    ///
    /// # Errors
    /// The kernel gives no such timer.
    pub(super) fn watch_clock(&mut self) -> Result<(), String> {
        if !self.rules.iter().any(|rule| rule.on == Sensor::Drift) {
            return Ok(());
        }
        let timer =
            told_when_set().map_err(|errno| format!("cannot watch the host's clock: {errno}"))?;
        self.add(Source::Clock(timer), EpollFlags::EPOLLIN);
        Ok(())
    }

    pub(super) fn clock_was_set(&mut self, token: u64) {
        if let Some(Source::Clock(timer)) = self.sources.get(&token) {
            // ECANCELED: that is what it tells. Where it cannot be armed again, this was the last time.
            let _ = nix::unistd::read(timer, &mut [0; 8]);
            let _ = arm(timer);
        }
        let Some(scene) = &mut self.scene else {
            return;
        };
        let (seconds, nanoseconds) = stamp();
        let now = (seconds.saturating_sub(MOMENT), nanoseconds);
        if now < scene.since {
            scene.since = now;
            self.tell_scene();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_made_now_is_not_older_than_the_stamp() {
        let before = stamp();
        let path = std::env::temp_dir().join(format!("mantlet-stamp-{}", std::process::id()));
        std::fs::write(&path, "x").unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!((meta.ctime() as u64, meta.ctime_nsec() as u32) >= before);
    }

    #[test]
    fn a_clock_that_nobody_sets_tells_nothing() {
        let timer = told_when_set().unwrap();
        let mut polled = [nix::poll::PollFd::new(
            timer.as_fd(),
            nix::poll::PollFlags::POLLIN,
        )];
        let ready = nix::poll::poll(&mut polled, nix::poll::PollTimeout::ZERO);
        assert_eq!(ready, Ok(0));
        arm(&timer).unwrap();
    }
}
