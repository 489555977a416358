//! Detection rules as they stand in a container's record: what the front door resolved from the
//! profiles' `detect:` lists, and what the supervisor goes by. Data only; nothing here decides.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may be seen. Each has its own file under `supervisor/sensors/`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Sensor {
    /// A call that a profile lists as a tripwire.
    Tripwire,
    /// A program is executed.
    Exec,
    /// A process that was seen before has ended.
    Exit,
    /// A program is executed that was made or changed after the container's start, or that lies on a
    /// writable mount.
    Drift,
    /// A program is executed that has no name any more or lies in shared memory, or memory that could
    /// be executed is made (memfd_create(2) without MFD_NOEXEC_SEAL).
    FilelessExec,
    /// A setuid, setgid or capable file is executed, or a process is uid 0 whose parent was not.
    PrivilegeChange,
    /// A shell whose standard streams are a network socket.
    ReverseShell,
    /// A pod's service-account token is opened by another program than the entrypoint's.
    TokenAccess,
    /// The container has more tasks than a number, or was refused one by its limit.
    ProcessCount,
    /// The kernel ended a process for want of memory.
    OomKill,
}

impl Sensor {
    /// All, in the order of the documentation.
    pub const ALL: [Sensor; 10] = [
        Sensor::Tripwire,
        Sensor::Exec,
        Sensor::Exit,
        Sensor::Drift,
        Sensor::FilelessExec,
        Sensor::PrivilegeChange,
        Sensor::ReverseShell,
        Sensor::TokenAccess,
        Sensor::ProcessCount,
        Sensor::OomKill,
    ];

    /// As profiles and events spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Sensor::Tripwire => "tripwire",
            Sensor::Exec => "exec",
            Sensor::Exit => "exit",
            Sensor::Drift => "drift",
            Sensor::FilelessExec => "fileless-exec",
            Sensor::PrivilegeChange => "privilege-change",
            Sensor::ReverseShell => "reverse-shell",
            Sensor::TokenAccess => "token-access",
            Sensor::ProcessCount => "process-count",
            Sensor::OomKill => "oom-kill",
        }
    }

    /// Whether it needs a fanotify group: whoever asks for one pays for it, at each execution.
    #[must_use]
    pub fn needs_fanotify(self) -> bool {
        match self {
            Sensor::Exec
            | Sensor::Exit
            | Sensor::Drift
            | Sensor::FilelessExec
            | Sensor::PrivilegeChange
            | Sensor::ReverseShell
            | Sensor::TokenAccess
            | Sensor::ProcessCount => true,
            Sensor::Tripwire | Sensor::OomKill => false,
        }
    }

    /// Whether it sees system calls that a profile refuses.
    #[must_use]
    pub fn sees_calls(self) -> bool {
        matches!(self, Sensor::Tripwire | Sensor::FilelessExec)
    }

    /// Whether what it sees can be denied before it happens.
    #[must_use]
    pub fn can_deny(self) -> bool {
        !matches!(self, Sensor::Exit | Sensor::ProcessCount | Sensor::OomKill)
    }

    /// Whether a process can be named for what it sees.
    #[must_use]
    pub fn has_process(self) -> bool {
        !matches!(self, Sensor::ProcessCount | Sensor::OomKill)
    }
}

/// What is done about it; each includes the event of those before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// An event.
    Log,
    /// It is refused (EPERM). A tripwire always is.
    Deny,
    /// The process is ended with SIGKILL.
    KillProcess,
    /// Every process of the container is.
    KillContainer,
    /// Every process of the container is stopped, evidence is collected, and a timeout decides.
    Freeze,
}

impl Response {
    /// As profiles and events spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Response::Log => "log",
            Response::Deny => "deny",
            Response::KillProcess => "kill-process",
            Response::KillContainer => "kill-container",
            Response::Freeze => "freeze",
        }
    }
}

/// How bad it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth a line.
    Info,
    /// Not what is usual.
    Notice,
    /// Worth a look.
    Warning,
    /// An attack, most likely.
    Critical,
}

impl Severity {
    /// As profiles and events spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// What ends a freeze whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// Every process is ended.
    Kill,
    /// The container goes on.
    Thaw,
}

impl Then {
    /// As profiles spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Then::Kill => "kill",
            Then::Thaw => "thaw",
        }
    }
}

/// How long a freeze lasts, and what then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Milliseconds.
    pub for_ms: u64,
    /// What then.
    pub then: Then,
}

impl Default for Freeze {
    /// Ten minutes for whoever is on call, then the end: what was worth a freeze is not let go on by
    /// default.
    fn default() -> Freeze {
        Freeze {
            for_ms: 600_000,
            then: Then::Kill,
        }
    }
}

/// What becomes of a container whose supervisor is gone.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum OnLoss {
    /// It goes on: what the kernel enforces holds, tripwires answer ENOSYS.
    #[default]
    Keep,
    /// It is ended.
    Kill,
}

/// One rule of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name within the profile.
    pub name: String,
    /// The profile.
    pub profile: String,
    /// What it looks at.
    pub on: Sensor,
    /// `tripwire`: names of the calls it is about; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<String>,
    /// `exec`, `reverse-shell`: globs of programs it is about (a pattern without a slash is compared
    /// with the file's last name); empty: all, for `reverse-shell` the usual shells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// `process-count`: more tasks than this; absent: only what the limit refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<u64>,
    /// Globs of executables that it is not about, compared as `programs` are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<String>,
    /// What is done.
    pub respond: Response,
    /// Of a profile in mode `audit`: what it would do, where `respond` is `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<Response>,
    /// From how many times on, 1..=[`MOST_AFTER`].
    pub after: u32,
    /// Within how many milliseconds those times count; 0: ever.
    #[serde(default)]
    pub within_ms: u64,
    /// `respond: freeze`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// How bad it is.
    pub severity: Severity,
    /// Free words; MITRE ATT&CK's ids by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// Largest `after`: each time counted is kept.
pub const MOST_AFTER: u32 = 1000;

/// Most rules of one container, all layers together.
pub const MOST_RULES: usize = 128;

impl Rule {
    /// The window of `after`; none: ever.
    #[must_use]
    pub fn within(&self) -> Option<Duration> {
        (self.within_ms > 0).then(|| Duration::from_millis(self.within_ms))
    }
}
