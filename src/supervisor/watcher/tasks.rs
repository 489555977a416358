//! The container's number of tasks, and how often its limit refused one.

use std::os::fd::OwnedFd;

use super::super::rules;
use super::super::sensors::Seen;
use super::super::shared::{Kind, Lines};
use super::Watcher;
use crate::cgroup::number;

impl Watcher<'_> {
    /// Looks at the number of tasks, where a rule asks. Nobody tells when it changes (not even of the
    /// limit's refusals, on cgroup v1), so it is looked at whenever something else was seen.
    pub(super) fn count_tasks(&mut self) {
        let Some([tasks, refused]) = &self.tasks else {
            return;
        };
        let total = limit_hits(refused);
        let now = number_in(tasks, |text| text.trim().parse().ok());
        let refused = total.saturating_sub(self.refused);
        self.refused = total;
        let seen = Seen::Tasks { now, refused };
        let findings = rules::findings(self.rules, self.shared, &seen, "", |_| true);
        for finding in &findings {
            if self.admits(Lines::Of(finding.rule)) {
                let what = rules::event(&self.rules[finding.rule], finding, None, Vec::new(), None);
                self.tell(Kind::Detection, &what);
            } else {
                self.due |= self.shared.leave_out_rule(finding.rule);
            }
        }
        self.respond(&findings, 0, None);
    }
}

/// A number in a file of the kernel's; 0 where it cannot be told.
fn number_in(file: &OwnedFd, find: impl Fn(&str) -> Option<u64>) -> u64 {
    let mut text = [0; 128];
    let length = nix::sys::uio::pread(file, &mut text, 0).unwrap_or(0);
    let text = std::str::from_utf8(&text[..length]).ok();
    text.and_then(find).unwrap_or(0)
}

/// How often a limit has refused a task (`pids.events`).
pub(super) fn limit_hits(file: &OwnedFd) -> u64 {
    number_in(file, |text| number(text, "max"))
}
