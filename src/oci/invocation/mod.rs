//! runc's command line, read exactly as runc, crun and youki read it, and written again for the
//! real runtime.
//!
//! Verbs that start processes are read strictly: `create`, `run`, `exec`, `start`, `restore`. What
//! two runtimes would read differently is refused, because the sandbox would be computed from one
//! reading and the container started from the other. All other verbs are read leniently: a
//! container stays killable and deletable whatever is on the command line (but for the one case at
//! the end of the list below, which no engine produces).
//!
//! # How it is read
//!
//! * `-flag`, `--flag`, `--flag=VALUE`, `--flag VALUE` are one flag (Go's flag package); a value is
//!   the next word whatever it looks like; a later occurrence wins. Single-dash long names
//!   (`-bundle`) and `-b=X` mean something else to getopt_long(3) and clap, so
//!   [`Invocation::render`] spells them with two dashes.
//! * Global flags stand before the verb, which is the first word that is no flag and no value: a
//!   container named `create` is not the verb.
//! * `create`, `run`, `start` and `restore` take exactly one word, the id, and flags on either side
//!   of it (runc reorders them; crun refuses what follows the id). `exec` takes flags only before
//!   the id; everything behind the id is the command and never interpreted, `--` included.
//! * An unknown `--flag` is taken for a switch and passed on. Behind `exec`, where the next word
//!   could be its value or the id, it must be written `--flag=VALUE`. With more than one word left
//!   over, the id is ambiguous and refused. Unknown one-dash words are refused (getopt reads
//!   letters, runc a name), as are abbreviations (`--bund`, which only crun takes) and global flags
//!   behind the verb.
//! * An unknown global flag is taken for a switch if a verb follows, and for one with a value if
//!   the word that follows is no verb. If both readings name a verb and one of them is ours:
//!   refused.

mod flags;
mod head;
mod parse;
mod preserved;
mod render;
mod tail;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

pub use preserved::{Preserved, preserved};
pub use render::Changes;

use crate::host::Family;
use flags::Flag;

/// One call of the front door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Base name of `argv[0]`; `mantlet-restricted` tells the handler `restricted`.
    pub program: String,
    /// The words as they came, `argv[0]` included.
    pub argv: Vec<OsString>,
    /// What stands before the verb.
    pub global: Global,
    /// What is to be done.
    pub verb: Verb,
    /// Help or a version was asked for, before any word that could make it something else.
    help: bool,
    layout: Layout,
}

/// Global flags that matter to the front door.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Global {
    /// `--root`; see [`default_root`] where absent.
    pub root: Option<PathBuf>,
    /// `--log`, the file that errors go to besides stderr.
    pub log: Option<PathBuf>,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// `--debug`.
    pub debug: bool,
}

/// Form of the lines in the log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// logrus's `time="…" level=… msg="…"`; also for a format that the runtime will refuse.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// `create`: prepare a container and park it.
    Create(Create),
    /// `run`: `create` and `start` in one.
    Run(Run),
    /// `exec`: one more process.
    Exec(Exec),
    /// `start`: let the parked container go.
    Start {
        /// The container.
        id: String,
    },
    /// `restore`: a container from a checkpoint.
    Restore {
        /// The container.
        id: String,
        /// `--bundle`; the current directory where absent.
        bundle: Option<PathBuf>,
    },
    /// `checkpoint`.
    Checkpoint {
        /// The container, where it can be told.
        id: Option<String>,
        /// Only a question: Podman probes with `checkpoint --help`.
        help: bool,
    },
    /// Any other verb, or help about one of ours: to be forwarded untouched.
    Other {
        /// The verb.
        name: String,
        /// The container, best effort: the first word that is neither flag nor value.
        id: Option<String>,
    },
    /// No verb: `--version`, `--help`, or nothing.
    None,
}

/// `create`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Create {
    /// The container.
    pub id: String,
    /// `--bundle`; the current directory where absent.
    pub bundle: Option<PathBuf>,
    /// crun's `--config`: another name for config.json.
    pub config: Option<PathBuf>,
    /// `--pid-file`.
    pub pid_file: Option<PathBuf>,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--preserve-fds`: the engine's own descriptors.
    pub preserve_fds: u32,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
}

/// `run`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    /// What it shares with `create`.
    pub create: Create,
    /// `--detach`.
    pub detach: bool,
    /// `--keep`.
    pub keep: bool,
}

/// `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exec {
    /// The container.
    pub id: String,
    /// `--process`: an OCI process object; the command line's own process settings are ignored
    /// then.
    pub process: Option<PathBuf>,
    /// `--detach`.
    pub detach: bool,
    /// `--tty`; with `process`, the file's `terminal` holds.
    pub tty: bool,
    /// `--pid-file`.
    pub pid_file: Option<PathBuf>,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--preserve-fds`: the engine's own descriptors.
    pub preserve_fds: u32,
    /// `--cwd`.
    pub cwd: Option<PathBuf>,
    /// `--user`, `UID[:GID]`.
    pub user: Option<String>,
    /// `--env`, in order.
    pub env: Vec<OsString>,
    /// `--cap`, in order, as written.
    pub caps: Vec<String>,
    /// `--no-new-privs`, where given.
    pub no_new_privs: Option<bool>,
    /// All words behind the id; never empty where `process` is absent.
    pub command: Vec<OsString>,
}

/// Where the parts stand in argv.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Layout {
    verb: Option<usize>,
    id: Option<usize>,
    tokens: Vec<Token>,
}

/// One known flag as it was spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    at: usize,
    flag: &'static Flag,
    /// Behind `=`.
    inline: Option<OsString>,
    /// The value is the next word.
    next: bool,
}

/// Why a call that starts a process is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// The id is absent.
    #[error(
        "cannot read the command line of {verb}: it names no container; add the container's id"
    )]
    MissingId {
        /// The verb.
        verb: String,
    },
    /// The id is none that all runtimes take.
    #[error(
        "cannot read the command line of {verb}: {id:?} is no container id; use letters, digits and _ + - . only"
    )]
    BadId {
        /// The verb.
        verb: String,
        /// The word.
        id: String,
    },
    /// More words than the verb takes, or a flag that one runtime reads and another does not.
    #[error(
        "cannot read the command line of {verb}: {word:?} could be the id, or a flag's value; write values as --flag=VALUE, flags before the id, and the id once"
    )]
    Ambiguous {
        /// The verb.
        verb: String,
        /// The word.
        word: String,
    },
    /// A flag that mantlet does not know and that may change what the next word means.
    #[error(
        "cannot read the command line of {verb}: unknown flag {flag:?}; write it as --flag=VALUE, or leave it out"
    )]
    UnknownFlag {
        /// The verb.
        verb: String,
        /// The word.
        flag: String,
    },
    /// A beginning of a flag's name.
    #[error(
        "cannot read the command line of {verb}: {flag:?} is no full flag name; write --{full}"
    )]
    Abbreviated {
        /// The verb.
        verb: String,
        /// The word.
        flag: String,
        /// The full name.
        full: &'static str,
    },
    /// The value is absent or cannot be read by all runtimes alike.
    #[error("cannot read the command line of {verb}: --{flag} {value:?}: {expected}")]
    BadValue {
        /// The verb.
        verb: String,
        /// The flag.
        flag: &'static str,
        /// The value as written.
        value: String,
        /// What to write.
        expected: &'static str,
    },
    /// `exec` without a process.
    #[error(
        "cannot read the command line of exec: nothing to execute; add a command, or --process FILE"
    )]
    NoCommand,
}

/// A call that is refused, with what is needed to say so where the engine looks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Rejected {
    /// Base name of `argv[0]`.
    pub program: String,
    /// The global flags: the error goes to `--log`.
    pub global: Global,
    /// Why.
    pub error: InvocationError,
}

impl Invocation {
    /// Reads `argv`, `argv[0]` included.
    ///
    /// # Errors
    ///
    /// For verbs that start processes, and where an unknown global flag may hide one; see the
    /// module's rules.
    pub fn parse(argv: Vec<OsString>) -> Result<Invocation, Box<Rejected>> {
        parse::invocation(argv)
    }

    /// Help or a version is asked for: forward untouched, nothing will be started.
    pub fn is_help(&self) -> bool {
        self.help
    }

    /// The words for the real runtime, `argv[0]` replaced and nothing else.
    pub fn forward(&self, runtime: &Path) -> Vec<OsString> {
        std::iter::once(runtime.as_os_str().to_owned())
            .chain(self.argv.iter().skip(1).cloned())
            .collect()
    }

    /// The engine's `--preserve-fds`; 0 for verbs that take none.
    pub fn preserve_fds(&self) -> u32 {
        match &self.verb {
            Verb::Create(create) => create.preserve_fds,
            Verb::Run(run) => run.create.preserve_fds,
            Verb::Exec(exec) => exec.preserve_fds,
            _ => 0,
        }
    }
}

/// Who calls, as far as a runtime's default `--root` depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id.
    pub euid: u32,
    /// Whether the caller is in a user namespace other than the first (/proc/self/uid_map).
    pub user_namespace: bool,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<OsString>,
    /// `$USER`.
    pub user: Option<OsString>,
}

/// Where a runtime keeps its containers when `--root` is absent.
///
/// The families agree for root on a host: `/run/FAMILY`. Others use `$XDG_RUNTIME_DIR/FAMILY`
/// where it is set; without it, youki's further choices depend on what it may write, so the result
/// is the first of them.
pub fn default_root(family: Family, caller: &Caller) -> PathBuf {
    let name = match family {
        Family::Runc => "runc",
        Family::Crun => "crun",
        Family::Youki => "youki",
    };
    let host_root = caller.euid == 0
        && (!caller.user_namespace || caller.user.as_deref() == Some(OsStr::new("root")));
    let personal = caller
        .xdg_runtime_dir
        .as_deref()
        .filter(|dir| !dir.is_empty() && !host_root);
    match (personal, family) {
        (Some(dir), _) => Path::new(dir).join(name),
        (None, Family::Youki) if !host_root => {
            PathBuf::from(format!("/run/user/{}/youki", caller.euid))
        }
        (None, _) => Path::new("/run").join(name),
    }
}
