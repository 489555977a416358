//! M8xx: `detect`.

use super::super::admission::Refuse;
use super::super::detection::Entry;
use super::super::diagnose::Finding;
use super::{Subject, finding};
use crate::detect::{Rule, Sensor};

pub(super) fn look(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let Some(first) = subject.own.detect.first() else {
        return;
    };
    if !subject.whole.refuse.contains(&Refuse::HostPid) {
        let message = "rules are watched, and the container may be in the host's pid namespace, where it sees who watches";
        let help = "add `host-pid` to `process.refuse`";
        all.push(finding("M801", &first.origin, message.into(), help));
    }
    doubled(&subject.own.detect, all);
    let find = |on: Sensor| subject.own.detect.iter().find(|entry| entry.rule.on == on);
    let watched = |on: Sensor| subject.whole.detect.iter().any(|rule| rule.on == on);
    if let Some(drift) = find(Sensor::Drift).filter(|_| !watched(Sensor::FilelessExec)) {
        let message = "`drift` sees files; a program in memory has none";
        let help = "add {on: fileless-exec}, or deny @memfd";
        let denied = !subject
            .whole
            .syscalls
            .allow
            .iter()
            .any(|rule| rule.name == "memfd_create");
        if !denied {
            all.push(finding("M802", &drift.origin, message.into(), help));
        }
    }
    if let Some(rule) = find(Sensor::FilelessExec) {
        let mut allow = subject.whole.syscalls.allow.iter();
        if allow.any(|call| call.name == "memfd_create" && call.args.is_empty()) {
            let message = "memfd_create is allowed, and this rule makes it a tripwire without MFD_NOEXEC_SEAL";
            let help = "mind libffi, .NET and JITs, or remove memfd_create from what is allowed";
            all.push(finding("M803", &rule.origin, message.into(), help));
        }
    }
}

/// Rules that add nothing to what another one of the file tells and does.
fn doubled(detect: &[Entry], all: &mut Vec<Finding>) {
    for (i, entry) in detect.iter().enumerate() {
        let wider = detect.iter().enumerate().find(|(j, other)| {
            // Of two that say the same, the later one is too much.
            let alike = || *j < i || !tells(&entry.rule, &other.rule);
            *j != i && tells(&other.rule, &entry.rule) && alike()
        });
        if let Some((_, other)) = wider {
            let message = format!(
                "the rule on line {} tells all of this, and does the same about it",
                other.origin.line()
            );
            let help = "remove it, or give it another response or a higher severity";
            all.push(finding("M804", &entry.origin, message, help));
        }
    }
}

/// Whether `wide` sees all that `narrow` does, is no less loud, and does the same about it.
fn tells(wide: &Rule, narrow: &Rule) -> bool {
    // A reverse shell without programs is one of the usual shells, not of any.
    let any = wide.on != Sensor::ReverseShell || narrow.programs.is_empty();
    let about = |all: &[String], some: &[String]| {
        (all.is_empty() && any) || (!some.is_empty() && some.iter().all(|word| all.contains(word)))
    };
    let spares = wide.unless.iter().all(|word| narrow.unless.contains(word));
    let above = match (wide.above, narrow.above) {
        (Some(wide), Some(narrow)) => wide <= narrow,
        (wide, narrow) => wide == narrow,
    };
    let sees = about(&wide.calls, &narrow.calls)
        && about(&wide.programs, &narrow.programs)
        && spares
        && above;
    let does = |rule: &Rule| (rule.respond, rule.after, rule.within_ms, rule.freeze);
    wide.on == narrow.on && sees && does(wide) == does(narrow) && wide.severity >= narrow.severity
}
