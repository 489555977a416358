//! What can be seen, and whether a rule is about it. Pure: sources bring observations, a sensor says
//! whether it is what its rule looks for, and in which words.
//!
//! | source | observes | where |
//! |---|---|---|
//! | seccomp listeners | [`Seen::Call`] | `watcher/calls.rs` |
//! | a fanotify group | [`Seen::Execution`], [`Seen::Opening`] | `watcher/files.rs` |
//! | pidfds | [`Seen::End`] | `watcher/known.rs` |
//! | control groups | [`Seen::Tasks`], [`Seen::OomKill`] | `counts.rs` |

mod drift;
mod exec;
mod exit;
mod fileless;
mod oom;
mod privilege;
mod process_count;
mod reverse_shell;
mod token;
mod tripwire;

use crate::detect::{Rule, Sensor};
use crate::event::File;
use crate::profile::covers_program;

/// One observation.
pub(super) enum Seen<'a> {
    /// A notified call: denied in any case, or, for rules of a layer that looks, one that it would deny.
    Call {
        name: &'a str,
        args: &'a [u64; 6],
    },
    Execution(&'a Execution),
    /// A file below a service account's token mount.
    Opening {
        file: &'a File,
        /// By the very program that the container was started with.
        entrypoint: bool,
    },
    /// A process that was seen before ended.
    End {
        code: Option<i32>,
    },
    /// Tasks of the container now, and whether its limit has refused one since the last time.
    Tasks {
        now: u64,
        refused: u64,
    },
    /// Processes that the kernel ended for want of memory since the last time.
    OomKill {
        count: u64,
    },
}

/// A file that the kernel opened to execute it.
#[derive(Debug, Clone, Default)]
pub(super) struct Execution {
    pub(super) file: File,
    /// Set-user-id or set-group-id, or file capabilities.
    pub(super) gains: Option<&'static str>,
    /// It has no name any more.
    pub(super) deleted: bool,
    /// It lies on a file system in memory at /dev/shm.
    pub(super) shared_memory: bool,
    /// It was made or changed after the container's start.
    pub(super) changed: bool,
    /// Its mount can be written and is not the image's.
    pub(super) writable_mount: bool,
    /// Effective uid of the process, and of its parent; where somebody asked.
    pub(super) uid: Option<u32>,
    pub(super) parent_uid: Option<u32>,
    /// Standard streams that are network sockets, bits 0, 1 and 2; where somebody asked.
    pub(super) network_streams: u8,
}

/// What `rule` has to say about it; none where it is about something else.
pub(super) fn sees(rule: &Rule, seen: &Seen<'_>) -> Option<String> {
    match rule.on {
        Sensor::Tripwire => tripwire::sees(rule, seen),
        Sensor::Exec => exec::sees(rule, seen),
        Sensor::Exit => exit::sees(seen),
        Sensor::Drift => drift::sees(seen),
        Sensor::FilelessExec => fileless::sees(seen),
        Sensor::PrivilegeChange => privilege::sees(seen),
        Sensor::ReverseShell => reverse_shell::sees(rule, seen),
        Sensor::TokenAccess => token::sees(seen),
        Sensor::ProcessCount => process_count::sees(rule, seen),
        Sensor::OomKill => oom::sees(seen),
    }
}

pub(super) use reverse_shell::is_shell;

/// Whether any pattern covers the program's path.
pub(super) fn listed(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| covers_program(pattern, path))
}

#[cfg(test)]
mod tests;
