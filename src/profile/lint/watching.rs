//! M8xx: `detect`.

use super::super::admission::Refuse;
use super::super::diagnose::Finding;
use super::{Subject, finding};
use crate::detect::Sensor;

pub(super) fn look(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let Some(first) = subject.own.detect.first() else {
        return;
    };
    if !subject.whole.refuse.contains(&Refuse::HostPid) {
        let message = "rules are watched, and the container may be in the host's pid namespace, where it sees who watches";
        let help = "add `host-pid` to `process.refuse`";
        all.push(finding("M801", &first.origin, message.into(), help));
    }
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
