//! Processes that the kernel ended for want of memory.

use super::Seen;

pub(super) fn sees(seen: &Seen<'_>) -> Option<String> {
    match seen {
        Seen::OomKill { count } => Some(format!(
            "the kernel ended {count} of its processes for want of memory"
        )),
        _ => None,
    }
}
