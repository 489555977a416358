//! More tasks than the profile expects, or more than the container's limit permits.
//!
//! Both are looked at whenever a program is executed, a wire tripped or a process ended; nobody tells of
//! them in between. Processes that merely fork are not seen until then.

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
