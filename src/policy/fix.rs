//! The profile line that would allow what a tripwire refused.

use super::refuse;
use super::seccomp::exact;
use crate::profile::{Condition, implied_tripwire};

/// An event's `fix`: a line that, in a profile which extends the one in force, allows the call
/// `syscall` with these arguments, and no more than its tripwire refused. `rules` are the
/// conditions of the profile's tripwires for it.
#[must_use]
pub fn fix_for(syscall: &str, rules: &[Vec<Condition>], args: &[u64; 6]) -> String {
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
        Some(rule) => {
            let conditions: Vec<String> = rule.iter().map(Condition::to_string).collect();
            let conditions = conditions.join(", ");
            format!("syscalls: {{allow: [{{name: {syscall}, args: [{conditions}]}}]}}")
        }
        None => format!("syscalls: {{allow: [{syscall}]}}"),
    }
}
