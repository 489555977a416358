//! What mantlet keeps about one container while it lives: `STATE/containers/ROOT/ID/`, root only.
//!
//! | file | writer | holds |
//! |---|---|---|
//! | `record.json` | front door, once, at `create` | [`Record`] |
//! | `profiles.json` | front door, once, at `create` | [`Texts`] |
//! | `control.sock` | front door binds, supervisor listens | [`crate::control`] |
//! | `status.json` | supervisor | [`Status`] |
//!
//! ROOT is a digest of the runtime's `--root`, because ids are unique only within one root. Ids are
//! reused, so a reader compares [`Status::pid`] with [`Status::start_time`] before it believes.
//!
//! Files appear whole or not at all (temporary name, rename). They are not synced: the state
//! directory is on tmpfs, and what it describes does not outlive the kernel either.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::detect;
use crate::event::{Identity, Report};
use crate::profile::Condition;

mod archives;
mod error;
mod files;
mod home;
mod process;
mod prune;
mod socket;
mod sweep;
#[cfg(test)]
pub(crate) mod tests;

pub use archives::{Archives, MOST_ARCHIVES};
pub use error::StateError;
pub use files::{digest, digest_file, write_atomic};
pub use home::{Home, HomeId, journal_path, runtime_of};
pub use process::{is_alive, start_time};
pub use prune::{Pruned, has_home, prune};
pub use sweep::{Listed, list, sweep};

/// Version of the files here. An exec through a newer front door accepts the same major number.
pub const VERSION: u32 = 1;

/// The texts that a container's policy was made from: who asks what is in force is not to be told what
/// somebody wrote to a profile's file since. Not in the [`Record`], which every `exec` reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// [`VERSION`].
    pub version: u32,
    /// By the name of each profile that was looked for; none where the one was taken that is built in.
    pub profiles: BTreeMap<String, Option<String>>,
}

impl Texts {
    /// The text of profile `name` then; none where it was built in. For [`crate::profile::Profile::resolve`].
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.profiles.get(name).cloned().flatten()
    }
}

/// What the front door decided at `create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// Version of the front door that made it, such as `0.1.0`.
    pub mantlet: String,
    /// Who the container is.
    pub container: Identity,
    /// The handler's name.
    pub handler: String,
    /// Names of the profiles in force, outermost layer first.
    pub profiles: Vec<String>,
    /// The runtime's `--root`, absolute.
    pub root: PathBuf,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The original config.json, kept beside the rewritten one.
    pub original: PathBuf,
    /// The event journal.
    pub journal: PathBuf,
    /// The container was made by `create`, which parks it until `start`; false for `run`, where
    /// nobody waits to be told that the workload could not be executed.
    pub parked: bool,
    /// `--pid-file` of `create`, absolute, where given.
    pub pid_file: Option<PathBuf>,
    /// The real runtime that owns the container.
    pub runtime: PathBuf,
    /// Whether a supervisor watches it; false for pause containers.
    pub supervised: bool,
    /// SHA-256 of the sealed policy, hexadecimal.
    pub policy_digest: String,
    /// SHA-256 of the init binary that was handed over, hexadecimal.
    pub init_digest: String,
    /// What an exec session is held to.
    pub exec: ExecRules,
    /// Paths of the host that the container may not have mounted, where its profile says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_paths: Option<HostPathRules>,
    /// The same of profiles in mode `audit`: what breaks one is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed_host_paths: Vec<HostPathRules>,
    /// Whether every profile permits `checkpoint`.
    #[serde(default)]
    pub checkpoint: bool,
    /// Calls that the supervisor answers, by name, with the errno's number.
    pub tripwires: Vec<Tripwire>,
    /// What layers in mode `audit` and `learn` would say, by policy
    /// ([`crate::policy::observe::Observing`]); empty where all enforce.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observing: Vec<serde_json::Value>,
    /// What a recording begins with; absent where all layers enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Box<crate::event::Recording>>,
    /// Rules of detection, all layers together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detect: Vec<detect::Rule>,
    /// What becomes of the container without its supervisor.
    #[serde(default)]
    pub on_supervisor_loss: detect::OnLoss,
    /// The front door passed a fanotify group for the sensors, as the descriptor before the policies.
    #[serde(default)]
    pub fanotify: bool,
    /// Bytes that all journals together may take; 0: no bound.
    #[serde(default)]
    pub log_total: u64,
    /// The effective policy, for people (`mantlet inspect`).
    pub effective: serde_json::Value,
    /// RFC 3339, UTC.
    pub created: String,
}

impl Record {
    /// What the container goes without, as its profile allows; from [`Record::effective`].
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        let list = self.effective["degraded"].as_array();
        let texts = list.into_iter().flatten().filter_map(|text| text.as_str());
        texts.map(str::to_owned).collect()
    }
}

/// What an exec session is held to; decided at `create` so that a probe compiles nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExecRules {
    /// Capabilities that a session may keep, `CAP_` names.
    pub capabilities: Vec<String>,
    /// Whether the policy enters a Landlock domain. Without one, a container whose processes hold
    /// DAC_OVERRIDE, DAC_READ_SEARCH or SYS_PTRACE cannot be exec'd into (DESIGN §5).
    pub landlock: bool,
    /// Refused with this reason, where the profile or the kernel forbids sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Whether the profile refuses uid 0, so that a session of root is refused too.
    #[serde(default)]
    pub refuse_root: bool,
    /// Upper bounds of a session's resource limits: resource, soft, hard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<(u32, u64, u64)>,
    /// The workload is uid 0, and so is a session of runc's command line that names no user.
    #[serde(default)]
    pub workload_is_root: bool,
    /// How init gets into the container.
    #[serde(default)]
    pub delivery: Delivery,
    /// Mounts under /proc that the node's admin permits.
    #[serde(default)]
    pub proc_mounts: Vec<PathBuf>,
    /// What the profiles say of sessions, one entry for each that does; all hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionRule>,
    /// The same of profiles in mode `audit`: what they say is told and not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<SessionRule>,
    /// Those of them that refuse uid 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed_root: Vec<String>,
    /// What every session is held to besides the workload's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stricter: Option<SubPolicy>,
    /// The same for interactive ones, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stricter_interactive: Option<SubPolicy>,
}

impl Record {
    /// `audit` or `learn` where a layer of the container, or of its sessions, denies nothing.
    #[must_use]
    pub fn looks_only(&self) -> Option<&str> {
        self.recording.as_ref().map(|own| own.mode.as_str())
    }
}

impl ExecRules {
    /// What such a session is held to besides the workload's policy.
    #[must_use]
    pub fn held_to(&self, interactive: bool) -> Option<&SubPolicy> {
        let own = self.stricter_interactive.as_ref().filter(|_| interactive);
        own.or(self.stricter.as_ref())
    }

    /// Every policy but the workload's, in the order of their numbers.
    pub fn sub_policies(&self) -> impl Iterator<Item = &SubPolicy> {
        self.stricter.iter().chain(&self.stricter_interactive)
    }
}

/// A second policy for one container: the workload's layers and more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubPolicy {
    /// Its place among the sealed policies that the supervisor holds; 0 is the workload's.
    pub number: u32,
    /// Names of the profiles that enforce in it besides the container's; none where its own only look.
    pub profiles: Vec<String>,
    /// Capabilities that such a session may keep, `CAP_` names.
    pub capabilities: Vec<String>,
    /// Whether the workload holds more than those. A session of runc's command line takes its
    /// capabilities from the workload's config.json, so there is none then.
    pub fewer_capabilities: bool,
    /// Whether one of those profiles refuses uid 0.
    pub refuse_root: bool,
    /// SHA-256 of the sealed policy, hexadecimal.
    pub digest: String,
    /// What such a session goes without, the container's own list included.
    #[serde(default)]
    pub degraded: Vec<String>,
    /// There are no such sessions, for this reason: one of those profiles refuses the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Those profiles' rules on the host's paths: each such session is refused where what was really
    /// mounted breaks one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_paths: Vec<HostPathRules>,
    /// What those of its profiles would refuse that only look.
    #[serde(default)]
    pub observed: WouldRefuse,
}

/// What profiles in mode `audit` would refuse sessions for, which is told and not done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WouldRefuse {
    /// Profiles that refuse uid 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub root: Vec<String>,
    /// Their rules on what was really mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_paths: Vec<HostPathRules>,
    /// What is wrong with the container, whoever the session is: the profile, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub container: Vec<(String, String)>,
}

/// How init gets into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// As a sealed file in memory.
    #[default]
    Memfd,
    /// As a read-only bind mount ([`crate::seal::BOUND_INIT`]) of a copy in the home.
    Bind,
}

/// What one profile says of exec sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SessionRule {
    /// The profile.
    pub profile: String,
    /// Sessions with a terminal or an attached standard input are refused.
    pub deny_interactive: bool,
    /// Patterns for argv[0] ([`crate::profile::covers_command`]); absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
}

/// The profiles' rules on paths of the host, by which is judged what was really mounted: at `start`, and
/// before a session that is held to more profiles than its container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostPathRules {
    /// The rules.
    pub rules: Vec<HostPathRule>,
    /// Globs of what was made for the container's own pod, which no rule refuses.
    pub own: Vec<String>,
    /// Where config.json has the kernel's own filesystems mounted, other than by a bind.
    #[serde(default)]
    pub kernels: Vec<String>,
}

/// One entry of `host-path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPathRule {
    /// The profile.
    pub profile: String,
    /// As written there.
    pub written: String,
    /// The globs that it stands for on this host.
    pub patterns: Vec<String>,
}

/// One call that one layer refuses and reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tripwire {
    /// System call name.
    pub syscall: String,
    /// Its number on the architecture that the filter admits; absent where it has none there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i32>,
    /// Errno to answer, as a number.
    pub errno: i32,
    /// The layer that has it. Several layers may have one for the same call, outermost first.
    #[serde(default)]
    pub profile: String,
    /// The profile's rules for it, each the conditions on arguments under which it holds; for the
    /// event's `fix`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Vec<Condition>>,
    /// Conditions under which this layer decides otherwise than a rule without conditions says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<Vec<Condition>>,
}

/// What the supervisor saw.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// The supervisor's pid.
    pub supervisor: i32,
    /// The supervisor's own `starttime`, as [`start_time`] tells; 0 where it did not say.
    #[serde(default)]
    pub supervisor_start_time: u64,
    /// The container's first process, host pid; 0 before init reported.
    pub pid: i32,
    /// Its `starttime` (proc_pid_stat(5), field 22), in clock ticks since boot.
    pub start_time: u64,
    /// What took effect for the workload.
    pub report: Option<Report>,
    /// Where the journal of this container is.
    pub journal: PathBuf,
    /// Events written so far.
    pub events: u64,
    /// Tripwires refused so far.
    pub tripwires: u64,
    /// Exec sessions let go so far.
    pub sessions: u64,
    /// The watcher's pid; 0 where none runs or the supervisor is of before there were watchers.
    #[serde(default)]
    pub watcher: i32,
    /// Watchers that ended before their time.
    #[serde(default)]
    pub watcher_restarts: u64,
    /// Detections so far, those suppressed included.
    #[serde(default)]
    pub detections: u64,
    /// Calls that went on without being looked at, where layers only look.
    #[serde(default)]
    pub unseen: u64,
    /// Accesses told so far by layers that only look, each once.
    #[serde(default)]
    pub observed: u64,
    /// Events left out because the container caused them too fast; told by `suppressed` events.
    #[serde(default)]
    pub suppressed: u64,
    /// Events that are not in the journal: not written, or never looked at; told by `lost` events.
    #[serde(default)]
    pub lost: u64,
    /// Why the last one could not; absent: the last one could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_error: Option<String>,
    /// The container is frozen, by mantlet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
    /// The last archive of evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<PathBuf>,
}

/// A freeze in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// RFC 3339, UTC.
    pub since: String,
    /// `PROFILE/RULE`, or `mantlet` where a person asked for it.
    pub by: String,
    /// When it ends, RFC 3339, UTC; absent: when somebody ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What happens then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<detect::Then>,
}

impl Status {
    /// Whether the supervisor that wrote this still runs.
    pub fn supervisor_alive(&self) -> bool {
        is_alive(self.supervisor, self.supervisor_start_time)
    }

    /// Whether the container's first process still runs; false before init reported.
    pub fn container_alive(&self) -> bool {
        self.pid != 0 && is_alive(self.pid, self.start_time)
    }
}
