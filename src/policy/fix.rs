//! The profile line that would allow a call which a layer refused.

use super::refuse;
use super::seccomp::exact;
use crate::access::Argument;
use crate::profile::{Condition, Op, implied_tripwire};

/// An event's `fix`: a line that, in a profile which extends the one in force, allows the call
/// `syscall` with these arguments, and no more than it has to. `rules` are the conditions of the
/// profile's rules against it; `told`, what of the arguments is told of the call.
#[must_use]
pub fn fix_for(
    syscall: &str,
    rules: &[Vec<Condition>],
    args: &[u64; 6],
    told: &[Argument],
) -> String {
    if refuse::MOUNTING.contains(&syscall) {
        return format!(
            "none: {syscall} is denied in every Landlock domain; use a volume of the pod"
        );
    }
    // The rule that refused; one without conditions comes last, because it refuses the rest.
    let narrow = rules
        .iter()
        .find(|rule| !rule.is_empty() && exact::meet(syscall, rule, args));
    if narrow.is_some_and(|rule| *rule == [implied_tripwire()]) {
        return format!(
            "none where `detect` has `on: fileless-exec`: pass MFD_NOEXEC_SEAL to {syscall} (kernel 6.3)"
        );
    }
    match narrow {
        // An allowance under the very condition of a tripwire takes its place.
        Some(rule) => allowing(syscall, rule),
        // No more than this call: whole, ioctl would be TIOCSTI as well, which nothing else may refuse.
        None => {
            let own: Vec<Condition> = told.iter().map(condition).collect();
            allowing(syscall, &own)
        }
    }
}

fn allowing(syscall: &str, conditions: &[Condition]) -> String {
    if conditions.is_empty() {
        return format!("syscalls: {{allow: [{syscall}]}}");
    }
    let conditions: Vec<String> = conditions.iter().map(Condition::to_string).collect();
    let conditions = conditions.join(", ");
    format!("syscalls: {{allow: [{{name: {syscall}, args: [{conditions}]}}]}}")
}

fn condition(told: &Argument) -> Condition {
    Condition {
        index: u32::from(told.index),
        op: match told.mask {
            Some(_) => Op::Masked,
            None => Op::Eq,
        },
        value: told.value,
        mask: told.mask,
    }
}
