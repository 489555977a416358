//! The event schema, version 2: one JSON object a line, in the order of `seq`.
//!
//! A container's events carry numbers without holes, so a reader sees a loss as a gap. Version 1
//! (mantlet 0.1) had fewer kinds and fields; its lines are read as they are. Text that
//! comes from the container (names, paths, arguments) is untrusted: it is escaped by JSON here and
//! for terminals where it is shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::{Access, Phase};
use crate::detect::{Response, Sensor, Severity};

/// Version of this schema. A reader refuses a line with a larger one.
pub const VERSION: u32 = 2;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Version of this schema; a reader refuses a larger one than it knows.
    pub version: u32,
    /// 1, 2, 3, … for one container; a hole is a loss.
    pub seq: u64,
    /// RFC 3339, UTC, microseconds.
    pub time: String,
    /// Which container.
    pub container: Identity,
    /// Name of the handler it was created through.
    pub handler: String,
    /// Names of the profiles in force, outermost layer first.
    pub profiles: Vec<String>,
    /// SHA-256 of the sealed policy in force, hexadecimal; empty in lines of version 1.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// Who a container is, as far as its annotations tell.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The runtime's container id.
    pub id: String,
    /// `io.kubernetes.cri.container-name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `io.kubernetes.cri.sandbox-name`: the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// `io.kubernetes.cri.sandbox-namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `io.kubernetes.cri.image-name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// What happened, tagged by `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum What {
    /// Init applied the sandbox and the workload (or an exec session) was let go.
    Start {
        /// The process that became the workload.
        process: Process,
        /// `workload` or `exec`.
        session: Session,
        /// Profiles that an exec session is held to besides the container's.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stricter: Vec<String>,
        /// What init attested and the supervisor checked.
        report: Report,
        /// Where a layer only looks: what a profile that is learned from this has to know.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recording: Option<Box<Recording>>,
    },
    /// A call that the profile lists as a tripwire was refused.
    Tripwire {
        /// The caller, as the kernel and /proc tell.
        process: Process,
        /// Its parents, nearest first, up to the container's first process; at most 16.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ancestors: Vec<Ancestor>,
        /// System call name, `syscall_<nr>` where unknown.
        syscall: String,
        /// System call number on `arch`.
        number: i64,
        /// Architecture name as in linux/audit.h, lower case: `x86_64`.
        arch: String,
        /// Arguments as registers, hexadecimal.
        args: Vec<String>,
        /// Errno name answered, such as `EPERM`.
        errno: String,
        /// The layer whose tripwire it is, the outermost where several have one.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        profile: String,
        /// The line of that profile that would allow it.
        fix: String,
    },
    /// A rule of `detect` saw what it is about.
    Detection {
        /// The rule's name within its profile.
        rule: String,
        /// The profile.
        profile: String,
        /// The sensor.
        on: Sensor,
        /// How bad it is.
        severity: Severity,
        /// The rule's tags, MITRE ATT&CK's ids among them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
        /// The process; of one that has ended, its pid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<Process>,
        /// Its parents, nearest first, up to the container's first process; at most 16.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ancestors: Vec<Ancestor>,
        /// What was executed or opened, for the sensors that see files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<File>,
        /// What was seen, in words.
        why: String,
        /// How often it was seen within the rule's window, this time included; counted up to `after`.
        hits: u32,
        /// What the rule does about it from `after` times on.
        respond: Response,
        /// What it would have done if its profile did more than look (mode `audit`); `respond` is `log`
        /// then. Absent: the profile enforces.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        would: Option<Response>,
        /// Whether that was due, and so asked for: a `response` follows where it is more than `deny`.
        due: bool,
    },
    /// Something that a layer in mode `audit` would have denied, or that a recording (mode `learn`) saw;
    /// it was performed, unless `denied`. Each is told once for its container, session and phase; again where
    /// another layer or another line is named with it, or where it was denied and then performed.
    Observed {
        /// Who, as the kernel and /proc tell.
        process: Process,
        /// `workload` or `exec`.
        session: Session,
        /// Before or after the workload listened.
        phase: Phase,
        /// What.
        access: Access,
        /// The file has several names (hard links), or none any more, so that no rule on this one would last: its
        /// directory is what can be granted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        linked: bool,
        /// Its texts were too long for a line and are cut (`…`), or are no UTF-8, whose bytes are told as `\xe9`. So it
        /// is not what was seen, and no profile can say it; a `lost` line counts it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        clipped: bool,
        /// The layer that would have denied it, the outermost of several; empty where none would have: in a
        /// recording.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        profile: String,
        /// The line of that profile that would allow it; empty in a recording.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        fix: String,
        /// A layer that enforces denied it, in silence. Of files, ports and capabilities it is not known, and
        /// therefore never said, but by `mantlet try`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        denied: bool,
    },
    /// What became of a response, whether a rule or a person asked for it.
    Response {
        /// What was done.
        action: Action,
        /// `PROFILE/RULE`, or `mantlet` for a person's.
        by: String,
        /// The process meant; absent: the container.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<i32>,
        /// Why it could not be done; absent: it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
        /// The archive of evidence, where one was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<String>,
    },
    /// The watcher ended and another one took over. The call that it had in hand was denied.
    Watcher {
        /// How it ended: `was killed by SIGKILL`, `exited with code 101`.
        ended: String,
        /// How many have ended so far.
        restarts: u64,
        /// What it had in hand and was refused for that, a call excepted, which has its own line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        denied: Option<String>,
    },
    /// Lines that could not be written, or what went on unseen: their numbers are missing before this one.
    Lost {
        /// How many.
        count: u64,
        /// The last cause.
        cause: String,
    },
    /// The kernel's queue of executions and openings was full: it let those pass unseen.
    Overflow {
        /// How often that was seen.
        count: u64,
    },
    /// Events that a container caused faster than the journal takes them.
    Suppressed {
        /// How many were left out since the last line of this kind.
        count: u64,
        /// What they were, such as `tripwire mount`.
        of: String,
    },
    /// The workload could not be executed, or init refused to go on.
    Failed {
        /// `workload` or `exec`.
        session: Session,
        /// The runtime error people know.
        message: String,
    },
    /// A watched process ended: the container's first process, an exec session, or a caller of a
    /// tripwire.
    Exit {
        /// The process.
        process: Process,
        /// Exit code where the kernel tells (6.15 and later), 128 + signal where killed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
    },
    /// The container is gone; the last line.
    End {
        /// Tripwires refused in its life, those suppressed included.
        tripwires: u64,
        /// What was looked at; absent where every layer enforces.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        observed: Option<Observed>,
    },
}

/// What a container is that a layer in mode `audit` or `learn` looks at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Recording {
    /// `audit` or `learn`: the mildest of its layers' modes.
    pub mode: String,
    /// Release of the kernel: `6.12.5`.
    pub kernel: String,
    /// First word of the command, untrusted.
    pub command: String,
    /// Digest of the image, where an annotation tells it, untrusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Capabilities that the engine gave and no enforcing layer took, `CAP_` names.
    pub capabilities: Vec<String>,
    /// Its mounts, but for the kernel's own file systems.
    pub mounts: Vec<Mounted>,
    /// What cannot be seen here, in words: what a profile keeps as the engine gave it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blind: Vec<String>,
}

/// One mount of a container's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Mounted {
    /// Where, as config.json has it.
    pub destination: String,
    /// `volume` (`@volumes` of a profile) or `tmpfs` (`@tmpfs`).
    pub kind: String,
    /// It can be written.
    pub writable: bool,
}

/// What was looked at in a container's life, where a layer is in mode `audit` or `learn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// Accesses told, each once: `observed` lines.
    pub told: u64,
    /// Calls looked at, those again that were told before.
    pub calls: u64,
    /// Calls that went on without being looked at; told by `lost` lines too.
    pub unseen: u64,
}

/// What can be done to a container or a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// SIGKILL to one process.
    KillProcess,
    /// SIGKILL to every process.
    KillContainer,
    /// Every process is stopped. Engines do not show it.
    Freeze,
    /// They go on.
    Thaw,
    /// Evidence was collected.
    Evidence,
}

/// A process above another one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Ancestor {
    /// Pid in the host's namespace.
    pub pid: i32,
    /// `comm`, untrusted.
    pub comm: String,
    /// Target of `/proc/PID/exe`, untrusted path inside the container.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub exe: String,
}

/// A file that was executed or opened: what the kernel opened, not what memory claimed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Its path inside the container, untrusted; with ` (deleted)` where it has none any more.
    pub path: String,
    /// Device, `MAJOR:MINOR`.
    pub device: String,
    /// Inode.
    pub inode: u64,
    /// Permission bits and file type, octal as in stat(2).
    pub mode: String,
    /// Owner, in the host's namespace.
    pub uid: u32,
    /// Last change of the inode, RFC 3339.
    pub changed: String,
    /// Arguments of the new program, untrusted: what its memory held when it was looked at, once it
    /// ran; the first 4 KiB. Absent where it ended or was refused before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// Its controlling terminal, `MAJOR:MINOR`, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
}

/// Which kind of process init became.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Session {
    /// The container's own first process.
    Workload,
    /// A process added by `exec`.
    Exec,
}

/// A process as seen from the host at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Pid in the host's namespace.
    pub pid: i32,
    /// Parent's pid, 0 where unknown.
    #[serde(default)]
    pub ppid: i32,
    /// Real user id in the host's namespace.
    #[serde(default)]
    pub uid: u32,
    /// `comm`, untrusted.
    #[serde(default)]
    pub comm: String,
    /// Target of `/proc/PID/exe`, untrusted path inside the container.
    #[serde(default)]
    pub exe: String,
}

/// What took effect in one session, as init attested it and the supervisor saw it in /proc.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Landlock ABI of the kernel, 0 where it has none.
    pub landlock_abi: u32,
    /// Landlock domains entered.
    pub landlock_layers: u32,
    /// Landlock rules added, over all domains.
    pub landlock_rules: u32,
    /// The domains one by one, outermost first.
    #[serde(default)]
    pub landlock_domains: Vec<Domain>,
    /// Landlock errata that this kernel has fixed, by number; empty where it does not tell (kernels
    /// before 6.15 without backports).
    #[serde(default)]
    pub landlock_errata: Vec<u32>,
    /// Optional paths that did not exist: the first ones, 8 KiB of them.
    pub skipped_paths: Vec<String>,
    /// How many optional paths did not exist.
    #[serde(default)]
    pub skipped_count: u32,
    /// What the container goes without, as its profile allows, in the words of its plan.
    #[serde(default)]
    pub degraded: Vec<String>,
    /// Instructions of the exact filter.
    pub filter_instructions: u32,
    /// `Seccomp_filters:` of /proc/PID/status, the runtime's filter included.
    pub seccomp_filters: u32,
    /// The listener is held by the supervisor.
    pub listener: bool,
    /// `NoNewPrivs:` of /proc/PID/status.
    pub no_new_privs: bool,
    /// `CapEff:` of /proc/PID/status, hexadecimal.
    pub effective_capabilities: String,
}

/// One Landlock domain as the kernel took it. Rights by their names in linux/landlock.h, lower case,
/// with hyphens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Domain {
    /// Rights on files that are denied unless a rule allows them.
    pub files: Vec<String>,
    /// The same for TCP: `bind`, `connect`.
    pub tcp: Vec<String>,
    /// `abstract-unix-socket`, `signal`.
    pub scope: Vec<String>,
    /// Rules on files and directories; a path with exceptions becomes several.
    pub path_rules: u32,
    /// Rules on ports.
    pub port_rules: u32,
}
