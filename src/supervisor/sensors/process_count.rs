//! More tasks than the profile expects, or more than the container's limit permits.
//!
//! The number is looked at whenever a program is executed or a wire tripped; the limit's refusals
//! wake the supervisor themselves. Processes that merely fork, below the limit, are not seen.

use super::Seen;
use crate::detect::Rule;

pub(super) fn sees(rule: &Rule, seen: &Seen<'_>) -> Option<String> {
    let Seen::Tasks { now, refused } = seen else {
        return None;
    };
    if *refused > 0 {
        return Some(format!(
            "its limit refused a process {refused} times; it has {now} tasks"
        ));
    }
    let above = rule.above?;
    (*now > above).then(|| format!("it has {now} tasks, more than {above}"))
}
