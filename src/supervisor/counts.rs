//! What the container's control groups tell by themselves: tasks that its limit refused, processes
//! that the kernel ended for want of memory. Numbers of the kernel's, so the keeper looks at them.

use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::sys::epoll::EpollFlags;

use super::keeper::{Keeper, Source};
use super::rules;
use super::sensors;
use crate::detect::{Response, Sensor};
use crate::event::Action;

/// Responses and blind reports told at once, and how fast that fills again.
const BURST: f64 = 200.0;
const PER_SECOND: f64 = 20.0;

/// What was seen so far.
pub(super) struct Seen {
    refused: u64,
    oom_kills: u64,
    tokens: f64,
    filled: Instant,
    pub(super) responses_left_out: u64,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            refused: 0,
            oom_kills: 0,
            tokens: BURST,
            filled: Instant::now(),
            responses_left_out: 0,
        }
    }
}

impl Seen {
    /// Whether one more line that the container causes at will may be written.
    pub(super) fn admits(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f64() * PER_SECOND;
        self.filled = now;
        self.tokens = (self.tokens + gained).min(BURST);
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
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
        let Some(cgroup) = &self.cgroup else {
            return Ok(());
        };
        let failed = |what: &str, error: std::io::Error| {
            format!(
                "its profile asks for {what}, which the container's control groups do not tell ({error}); give it such a group, or remove the rule"
            )
        };
        let mut sources = Vec::new();
        if self.wants(Sensor::ProcessCount) {
            self.counts.refused = cgroup.refused_tasks().unwrap_or(0);
            let watch = cgroup
                .watch_tasks()
                .map_err(|error| failed("process-count", error))?;
            self.tasks = cgroup.tasks_file().ok().map(OwnedFd::from);
            sources.push(Source::Tasks(watch));
        }
        if self.wants(Sensor::OomKill) {
            self.counts.oom_kills = cgroup.oom_kills().unwrap_or(0);
            let watch = cgroup
                .watch_oom()
                .map_err(|error| failed("oom-kill", error))?;
            sources.push(Source::Oom(watch));
        }
        for source in sources {
            let flags = match &source {
                Source::Tasks(watch) | Source::Oom(watch) => watch.flags,
                _ => EpollFlags::EPOLLIN,
            };
            self.add(source, flags);
        }
        Ok(())
    }

    pub(super) fn tasks_refused(&mut self, token: u64) {
        self.take(token);
        let Some(cgroup) = &self.cgroup else {
            return;
        };
        let (total, now) = (
            cgroup.refused_tasks().unwrap_or(0),
            cgroup.tasks().unwrap_or(0),
        );
        let refused = total.saturating_sub(self.counts.refused);
        self.counts.refused = total;
        if refused > 0 {
            self.judge(&sensors::Seen::Tasks { now, refused });
        }
    }

    pub(super) fn out_of_memory(&mut self, token: u64) {
        self.take(token);
        let Some(cgroup) = &self.cgroup else {
            return;
        };
        let total = cgroup.oom_kills().unwrap_or(0);
        let count = total.saturating_sub(self.counts.oom_kills);
        self.counts.oom_kills = total;
        if count > 0 {
            self.judge(&sensors::Seen::OomKill { count });
        }
    }

    /// Makes the descriptor tell of the next change; one that cannot is given up, or it would be
    /// reported for ever, as after the group's removal.
    fn take(&mut self, token: u64) {
        let taken = match self.sources.get(&token) {
            Some(Source::Tasks(watch) | Source::Oom(watch)) => watch.take(),
            _ => Ok(0),
        };
        if taken.is_err() {
            self.remove(token);
        }
    }

    fn judge(&mut self, seen: &sensors::Seen<'_>) {
        let findings = rules::findings(&self.rules, &self.shared, seen, "", |_| true);
        for finding in findings {
            let rule = &self.rules[finding.rule];
            let respond = rule.respond;
            let what = rules::event(rule, &finding, None, Vec::new(), None);
            self.status.detections += 1;
            if self.counts.admits() {
                self.tell(&what);
            } else {
                self.status.detections -= 1;
                self.shared.leave_out_rule(finding.rule);
            }
            let action = match respond {
                Response::KillContainer => Action::KillContainer,
                Response::Freeze => Action::Freeze,
                _ => continue,
            };
            if finding.due {
                self.act(action, finding.rule, 0, Vec::new());
            }
        }
    }
}
