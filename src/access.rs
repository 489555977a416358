//! What a workload did that a profile decides about: one call, one file, one port, one capability.
//!
//! The currency between those who look (the supervisor, in modes `audit` and `learn`), those who decide
//! ([`crate::policy`]) and those who write profiles. Data only; nothing here decides.

pub mod calls;
pub mod files;
pub mod starter;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that was done, as far as a profile can tell it apart from another.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Access {
    /// A system call.
    Syscall {
        /// Its name, `syscall_<nr>` where unknown.
        name: String,
        /// The arguments that matter to profiles, cut to the bits that do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<Argument>,
    },
    /// A file or directory, by what Landlock asks of it (linux/landlock.h).
    File {
        /// Canonical path inside the container, links followed, untrusted. Where something is created,
        /// removed or renamed, its directory: that is where Landlock looks.
        path: String,
        /// The right: `read-file`, `write-file`, `execute`, `make-reg`, … ([`crate::seal::rights`]); or
        /// `map-execute`, a mapping by mmap(2) with PROT_EXEC, told of files on mounts that a profile may make
        /// `noexec` ([`files::MAP_EXECUTE`]).
        right: String,
        /// The entry of `path` that is created, removed or renamed, untrusted; absent for others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<String>,
        /// Where the mount begins that it lies on; `/` for the root file system.
        mount: String,
        /// It is a directory.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        directory: bool,
        /// Of `refer`: what comes to that directory; absent for others, and where nothing does. Landlock
        /// refuses a move or link by which it would gain rights.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        moved: Option<Moved>,
    },
    /// A TCP port.
    Tcp {
        /// `bind` or `connect`.
        right: String,
        /// 0 to 65535; 0 where the kernel picks one.
        port: u16,
    },
    /// A capability that the kernel asked for and found.
    Capability {
        /// With its prefix: `CAP_CHOWN`.
        name: String,
    },
    /// Something that a profile promises and that is seen as a whole only, such as a rule of
    /// `process.refuse` or a path that would be masked.
    Container {
        /// In words.
        what: String,
    },
}

impl Access {
    /// Whether a file is mapped to be executed, which its mount decides about and no right of Landlock's.
    #[must_use]
    pub fn maps(&self) -> bool {
        matches!(self, Access::File { right, .. } if right == files::MAP_EXECUTE)
    }

    /// The same of the file's directory, where no rule on the file itself would last.
    #[must_use]
    pub fn of_directory(&self) -> Access {
        let mut above = self.clone();
        if let Access::File { path, .. } = &mut above
            && let Some(at) = path.rfind('/')
        {
            path.truncate(at.max(1));
        }
        above
    }
}

/// What is moved or linked into another directory, which lies on the same mount: the kernel does neither
/// between mounts.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Moved {
    /// Canonical path that it had, inside the container, untrusted.
    pub path: String,
    /// It is a directory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub directory: bool,
}

/// One argument of a call.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Argument {
    /// Which, 0 to 5.
    pub index: u8,
    /// Its value under `mask`.
    pub value: u64,
    /// The bits that were looked at; absent: all that the kernel reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<u64>,
}

/// When in a workload's life.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before the first listen(2) of any process of it; a program that never listens is always here.
    StartUp,
    /// From then on.
    Serving,
}

/// Calls that no recording looks at, because every program needs them: a learned profile always allows
/// them, and a replay passes them over. The first four are init's own last ones; to hold back the others
/// would end no program any better.
pub const UNSEEN: [&str; 7] = [
    "read",
    "write",
    "exit_group",
    "rt_sigreturn",
    "exit",
    "restart_syscall",
    "sched_yield",
];
