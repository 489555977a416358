//! Rules over observations: which are met, how often, and what is due. Shared windows make a rule's
//! count outlive the watcher that began it.

use super::sensors::{self, Seen};
use super::shared::Shared;
use crate::detect::{Response, Rule};
use crate::event::{Ancestor, File, Process, What};

/// A rule that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Its number.
    pub(super) rule: usize,
    /// What was seen, in words.
    pub(super) why: String,
    /// How often within its window.
    pub(super) hits: u32,
    /// Its response is due.
    pub(super) due: bool,
}

/// Milliseconds of a clock that nobody sets, the same in every process.
pub(super) fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    time.map_or(0, |time| {
        time.tv_sec() as u64 * 1000 + time.tv_nsec() as u64 / 1_000_000
    })
}

/// The rules that are met by what was seen and that `which` asks for. `program` is the executable that
/// exemptions go by.
pub(super) fn findings(
    rules: &[Rule],
    shared: &Shared,
    seen: &Seen<'_>,
    program: &str,
    which: impl Fn(&Rule) -> bool,
) -> Vec<Finding> {
    let met = rules.iter().enumerate().filter(|(_, rule)| which(rule));
    let met = met.filter_map(|(number, rule)| {
        let why = sensors::sees(rule, seen)?;
        (!sensors::listed(&rule.unless, program)).then_some((number, rule, why))
    });
    met.map(|(number, rule, why)| {
        let hits = shared.hit(number, rule, now());
        Finding {
            rule: number,
            why,
            hits,
            due: hits >= rule.after,
        }
    })
    .collect()
}

/// Whether any finding refuses what was seen: every response that is more than an event does.
pub(super) fn denies(rules: &[Rule], findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.due && rules[finding.rule].respond != Response::Log)
}

/// The event of a finding.
pub(super) fn event(
    rule: &Rule,
    finding: &Finding,
    process: Option<Process>,
    ancestors: Vec<Ancestor>,
    file: Option<File>,
) -> What {
    What::Detection {
        rule: rule.name.clone(),
        profile: rule.profile.clone(),
        on: rule.on,
        severity: rule.severity,
        tags: rule.tags.clone(),
        process,
        ancestors,
        file,
        why: finding.why.clone(),
        hits: finding.hits,
        respond: rule.respond,
        would: rule.would,
        due: finding.due,
    }
}

/// `PROFILE/RULE`, as responses name it.
pub(super) fn title(rule: &Rule) -> String {
    format!("{}/{}", rule.profile, rule.name)
}
