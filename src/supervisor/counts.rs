//! What the container's control groups tell: processes that the kernel ended for want of memory, and
//! how many tasks there are. Numbers of the kernel's, so the keeper may look at them; tasks it leaves
//! to the watcher, which knows the occasions.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::epoll::EpollFlags;

use super::bucket::Bucket;
use super::keeper::{Keeper, Source, Timer};
use super::link::Order;
use super::rules;
use super::sensors;
use crate::cgroup::Cgroup;
use crate::detect::{Response, Sensor};
use crate::event::Action;

/// Responses and blind reports told at once, and how fast that fills again.
const BURST: f64 = 200.0;
const PER_SECOND: f64 = 20.0;

/// cgroup v1 tells of a lack of memory before a process is ended: when it is looked at again.
const LOOKS: [u64; 4] = [10, 50, 250, 2_000];

/// What was seen so far.
pub(super) struct Seen {
    oom_kills: u64,
    /// Looks that are left after the last time that memory was short.
    looks: usize,
    bucket: Bucket,
    pub(super) responses_left_out: u64,
    /// Accesses that the journal says are lost.
    pub(super) unseen_said: u64,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            oom_kills: 0,
            looks: LOOKS.len(),
            bucket: Bucket::new(BURST, PER_SECOND),
            responses_left_out: 0,
            unseen_said: 0,
        }
    }
}

impl Seen {
    /// Whether one more line that the container causes at will may be written.
    pub(super) fn admits(&mut self) -> bool {
        self.bucket.admits()
    }
}

impl Keeper {
    fn wants(&self, sensor: Sensor) -> bool {
        self.rules.iter().any(|rule| rule.on == sensor)
    }

    /// Begins to watch what the rules ask for.
    ///
    /// # Errors
    /// A rule asks for what the container's control groups do not tell.
    pub(super) fn watch_counts(&mut self) -> Result<(), String> {
        let Some(cgroup) = self.cgroup.take() else {
            return Ok(());
        };
        let watched = self.watch_counts_of(&cgroup);
        self.cgroup = Some(cgroup);
        watched
    }

    fn watch_counts_of(&mut self, cgroup: &Cgroup) -> Result<(), String> {
        let failed = |sensor: Sensor, error: std::io::Error| {
            format!(
                "its profile has a rule on {}, which the container's control groups do not tell ({error}); give it such a group, or remove the rule",
                sensor.word()
            )
        };
        if self.wants(Sensor::ProcessCount) {
            let files = cgroup
                .task_files()
                .map_err(|error| failed(Sensor::ProcessCount, error))?;
            self.tasks = Some(files.map(OwnedFd::from));
            // cgroup v1 tells nobody.
            if let Ok(watch) = cgroup.watch_tasks() {
                let flags = watch.flags;
                self.add(Source::Tasks(watch), flags | EpollFlags::EPOLLERR);
            }
        }
        if self.wants(Sensor::OomKill) {
            self.counts.oom_kills = cgroup.oom_kills().unwrap_or(0);
            let watch = cgroup
                .watch_oom()
                .map_err(|error| failed(Sensor::OomKill, error))?;
            let flags = watch.flags;
            self.add(Source::Oom(watch), flags | EpollFlags::EPOLLERR);
        }
        Ok(())
    }

    /// The container's limit refused a task: the watcher looks at the numbers.
    pub(super) fn tasks_refused(&mut self, token: u64) {
        let taken = match self.sources.get(&token) {
            Some(Source::Tasks(watch)) => watch.take(),
            _ => return,
        };
        if taken.is_err() {
            // The group is gone, which would be told for ever.
            self.remove(token);
        }
        self.order(&Order::Count, &[]);
    }

    /// Memory was short.
    pub(super) fn out_of_memory(&mut self, token: u64) {
        let taken = match self.sources.get(&token) {
            Some(Source::Oom(watch)) => watch.take(),
            _ => return,
        };
        if taken.is_err() {
            // The group is gone, which would be told for ever.
            self.remove(token);
        }
        self.counts.looks = 0;
        self.look_for_oom();
    }

    /// Looks whether a process was ended, and if not yet, again in a while.
    pub(super) fn look_for_oom(&mut self) {
        let Some(cgroup) = &self.cgroup else {
            return;
        };
        let total = cgroup.oom_kills().unwrap_or(0);
        let count = total.saturating_sub(self.counts.oom_kills);
        self.counts.oom_kills = self.counts.oom_kills.max(total);
        self.forget(Timer::Oom);
        if let Some(wait) = LOOKS.get(self.counts.looks) {
            self.counts.looks += 1;
            self.after(Duration::from_millis(*wait), Timer::Oom);
        }
        if count > 0 {
            self.judge(&sensors::Seen::OomKill { count });
        }
    }

    fn judge(&mut self, seen: &sensors::Seen<'_>) {
        let findings = rules::findings(&self.rules, &self.shared, seen, "", |_| true);
        for finding in findings {
            let rule = &self.rules[finding.rule];
            let action = match rule.respond {
                Response::KillContainer => Some(Action::KillContainer),
                Response::Freeze => Some(Action::Freeze),
                _ => None,
            };
            if self.counts.admits() {
                let what = rules::event(rule, &finding, None, Vec::new(), None);
                self.status.detections += 1;
                self.tell(&what);
            } else {
                self.shared.leave_out_rule(finding.rule);
                self.tell_later();
            }
            if let Some(action) = action.filter(|_| finding.due) {
                self.act(action, finding.rule, 0, Vec::new());
            }
        }
    }
}
