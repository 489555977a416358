//! Attempts to gain: a program with set-user-id, set-group-id or capabilities of its own (which gain
//! nothing under no_new_privs, but somebody tried), and a process of uid 0 whose parent was another
//! user.

use super::Seen;

/// Calls by which a process changes its user. They are seen where the profile has them as tripwires.
const CALLS: [&str; 7] = [
    "setuid",
    "setreuid",
    "setresuid",
    "setgid",
    "setregid",
    "setresgid",
    "setfsuid",
];

pub(super) fn sees(seen: &Seen<'_>) -> Option<String> {
    match seen {
        Seen::Call { name, .. } if CALLS.contains(name) => Some(format!("called {name}")),
        Seen::Execution(execution) => {
            let path = &execution.file.path;
            if let Some(gains) = execution.gains {
                return Some(format!("executes {path}, which has {gains}"));
            }
            match (execution.uid, execution.parent_uid) {
                (Some(0), Some(parent)) if parent != 0 => Some(format!(
                    "executes {path} as uid 0, and its parent is uid {parent}"
                )),
                _ => None,
            }
        }
        _ => None,
    }
}
