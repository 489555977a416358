//! More tasks than the profile expects, or more than the container's limit permits.
//!
//! The numbers are looked at whenever a program is executed, a wire tripped or a process that was seen
//! before has ended. Nobody tells when they change, so processes that merely fork are not seen until
//! then, not even where the limit refuses them: the usual fork bomb executes nothing.

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
