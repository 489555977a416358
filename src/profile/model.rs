//! One profile file as written. Every struct is strict, and none has a `Default` that would allow
//! something: an absent list grants nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use super::admission;
use super::detection;
use super::diagnose::{Error, Problem};
use super::entry::{Call, Capability, Denied, FileEntry, PlainPath, Port};
use super::exec::Exec;
use super::expectation::Expectation;
use super::limits::{Bound, Device, Resource, Tasks};
use super::origin::{At, Source};
use super::remarks::Remarks;
use super::{places, schema};
use crate::detect::OnLoss;

/// Version of the language.
pub const VERSION: u32 = 1;

/// A profile file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Profile")]
pub struct Document {
    /// Version of the language: 1.
    #[schemars(schema_with = "schema::version")]
    pub version: At<u32>,
    /// The profile's name; the file is called `NAME.yaml`.
    #[schemars(schema_with = "schema::name")]
    pub name: At<String>,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Profiles whose allowances are added to this one's.
    #[serde(default)]
    #[schemars(schema_with = "schema::names")]
    pub extends: Vec<At<String>>,
    /// What becomes of what it does not allow; absent: it is denied, whatever the parents say.
    #[serde(default)]
    pub mode: Option<At<Mode>>,
    /// What the node must be able to do.
    #[serde(default)]
    pub requires: Option<Needs>,
    /// Capabilities a process may hold.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// System calls; a profile that has none, nor inherits any, is refused when resolved.
    #[serde(default)]
    pub syscalls: Option<CallLists>,
    /// Landlock file rules; absent: files are not restricted by this file.
    #[serde(default)]
    pub files: Option<Files>,
    /// Landlock TCP rules; absent: TCP is not restricted by this file.
    #[serde(default)]
    pub network: Option<Ports>,
    /// Landlock scopes; absent: as the parents say, else none.
    #[serde(default)]
    pub scope: Option<Vec<At<Scope>>>,
    /// Hidden in addition to what the engine hides.
    #[serde(default)]
    pub masked_paths: Vec<PlainPath>,
    /// Read-only in addition to what the engine makes so.
    #[serde(default)]
    pub readonly_paths: Vec<PlainPath>,
    /// Devices that the engine may give; absent: all that it gives.
    #[serde(default)]
    pub devices: Option<Vec<At<Device>>>,
    /// Upper bounds of resource limits.
    #[serde(default)]
    #[schemars(schema_with = "schema::rlimits")]
    pub rlimits: BTreeMap<Resource, At<Bound>>,
    /// Rules on the container as a whole.
    #[serde(default)]
    pub process: Process,
    /// Rules on exec sessions; absent: as the parents say, else none.
    #[serde(default)]
    pub exec: Option<At<Exec>>,
    /// Whether the container may be checkpointed; absent: as all parents agree, else not.
    #[serde(default)]
    pub checkpoint: Option<At<Checkpoint>>,
    /// Whether a checkpoint may be restored as one; absent: as all parents agree, else not.
    #[serde(default)]
    pub restore: Option<At<Restore>>,
    /// What the supervisor watches for; added to the parents'.
    #[serde(default)]
    pub detect: Vec<detection::Entry>,
    /// What becomes of a container whose supervisor is gone; absent: as the parents say, else it is
    /// kept.
    #[serde(default)]
    pub on_supervisor_loss: Option<At<OnLoss>>,
    /// What the author expects of it; a container is not touched by them, and children do not have
    /// them.
    #[serde(default)]
    pub tests: Vec<Expectation>,
    /// What the author has an answer to of what `mantlet lint` finds; children do not have it.
    #[serde(default)]
    pub lint: Remarks,
    /// The file.
    #[serde(skip)]
    pub source: Option<Arc<Source>>,
}

/// What becomes of `checkpoint`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Checkpoint {
    /// Refused.
    Deny,
    /// Passed on to the runtime.
    Allow,
}

/// What becomes of `restore`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Restore {
    /// Refused.
    Deny,
    /// Passed on to the runtime: what runs then has none of the sandbox but what CRIU brings back.
    Unprotected,
}

/// How a profile is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// What is not allowed is denied.
    Enforce,
    /// What is not allowed is performed and reported.
    Audit,
    /// Everything is performed, and recorded: what a profile is learned from.
    Learn,
}

/// `requires` as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// Least Landlock ABI, 1 and up; absent: 1.
    #[serde(default)]
    pub landlock: Option<At<Abi>>,
    /// What a node may lack; absent: nothing.
    #[serde(default)]
    pub degrade: Vec<At<Degrade>>,
}

/// A Landlock ABI, 1 and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abi(pub u32);

impl<'de> Deserialize<'de> for Abi {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            0 => Err(de::Error::custom(
                "`landlock: 0` is no ABI\nwrite 1 or more; to go without Landlock, list it in `degrade`",
            )),
            abi => Ok(Abi(abi)),
        }
    }
}

/// What the node must be able to do, and what a container may go without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requires {
    /// Least Landlock ABI, 1 and up.
    pub landlock: u32,
    /// What a node may lack.
    pub degrade: BTreeSet<Degrade>,
}

/// A promise that a profile lets go of on a node that cannot keep it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Degrade {
    /// A Landlock ABI below `requires.landlock`, or no Landlock at all.
    Landlock,
    /// No seccomp user notification: denials are silent.
    Tripwires,
    /// A Landlock ABI that cannot deny truncate(2) (below 3), where the profile's `files` do.
    Truncate,
    /// A Landlock ABI that cannot deny ioctl(2) on device files (below 5), where the profile's
    /// `files` do.
    DeviceIoctl,
    /// A Landlock ABI without TCP rights (below 4), where the profile has `network`.
    Network,
    /// A Landlock ABI without scopes (below 6), where the profile has `scope`.
    Scope,
    /// Without Landlock, exec sessions into containers whose processes could capture them
    /// (DAC_OVERRIDE, DAC_READ_SEARCH, SYS_PTRACE).
    ExecCapture,
}

/// System calls as listed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallLists {
    /// Data version of the groups.
    #[schemars(schema_with = "schema::data_version")]
    pub groups: At<String>,
    /// Allowed.
    #[serde(default)]
    pub allow: Vec<Call>,
    /// Denied and reported.
    #[serde(default)]
    pub tripwire: Vec<Denied>,
    /// Denied in silence, where another errno than EPERM is wanted or where a condition carves
    /// calls out of `allow`.
    #[serde(default)]
    pub deny: Vec<Denied>,
}

/// Landlock file rules. What no list grants is denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Read files, list directories, connect to sockets.
    #[serde(default)]
    pub read: Vec<FileEntry>,
    /// The same and execute.
    #[serde(default)]
    pub read_execute: Vec<FileEntry>,
    /// Read, write, create, remove, rename; no device files.
    #[serde(default)]
    pub read_write: Vec<FileEntry>,
    /// The same and execute.
    #[serde(default)]
    pub read_write_execute: Vec<FileEntry>,
    /// Execute only.
    #[serde(default)]
    pub execute: Vec<FileEntry>,
    /// ioctl(2) on device files (ABI 5).
    #[serde(default)]
    pub device_ioctl: Vec<FileEntry>,
    /// Create character and block device files.
    #[serde(default)]
    pub make_device: Vec<FileEntry>,
    /// Left out of every entry above that holds them.
    #[serde(default, serialize_with = "plain")]
    pub except: Vec<PlainPath>,
}

fn plain<S: serde::Serializer>(paths: &[PlainPath], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(paths.iter().map(|path| &path.path))
}

/// `network` as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// Ports that may be bound.
    #[serde(default)]
    pub bind_tcp: Option<At<Vec<Port>>>,
    /// Ports that may be connected to.
    #[serde(default)]
    pub connect_tcp: Option<At<Vec<Port>>>,
}

/// Landlock TCP rules (ABI 4). A direction that is absent is not restricted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Ports that may be bound; 0 stands for any port the kernel picks.
    pub bind_tcp: Option<BTreeSet<u16>>,
    /// Ports that may be connected to.
    pub connect_tcp: Option<BTreeSet<u16>>,
}

impl Network {
    /// Whether any direction is restricted.
    #[must_use]
    pub fn restricts(&self) -> bool {
        self.bind_tcp.is_some() || self.connect_tcp.is_some()
    }
}

/// Landlock scopes (ABI 6): reach only processes of the same domain.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Signals.
    Signal,
    /// Abstract UNIX sockets.
    AbstractUnixSocket,
}

/// Rules on the container as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// What a container must not be.
    #[serde(default)]
    pub refuse: Vec<admission::Entry>,
    /// Most processes and threads at once; absent: as many as the engine allows.
    #[serde(default)]
    pub max: Option<At<Tasks>>,
}

impl Document {
    /// The key by which it asks something of the supervisor that only a whole container can have.
    pub(super) fn watches(&self) -> Option<&'static str> {
        let lost = self.on_supervisor_loss.as_ref();
        let kills = lost.is_some_and(|lost| lost.value == OnLoss::Kill);
        match (self.detect.is_empty(), kills) {
            (false, _) => Some("detect"),
            (true, true) => Some("on_supervisor_loss: kill"),
            (true, false) => None,
        }
    }

    /// Keys that list something to enforce.
    pub(super) const ENFORCED: [&str; 13] = [
        "extends",
        "requires",
        "capabilities",
        "syscalls",
        "files",
        "network",
        "scope",
        "masked_paths",
        "readonly_paths",
        "devices",
        "rlimits",
        "process",
        "exec",
    ];

    /// The first key, in the order of the language, by which it lists something that a recording would
    /// have no use for.
    fn listed(&self) -> Option<&'static str> {
        let there = [
            !self.extends.is_empty(),
            self.requires.is_some(),
            !self.capabilities.is_empty(),
            self.syscalls.is_some(),
            self.files.is_some(),
            self.network.is_some(),
            self.scope.is_some(),
            !self.masked_paths.is_empty(),
            !self.readonly_paths.is_empty(),
            self.devices.is_some(),
            !self.rlimits.is_empty(),
            self.process != Process::default(),
            self.exec.is_some(),
        ];
        let keys = there.into_iter().zip(Document::ENFORCED);
        keys.into_iter()
            .find_map(|(there, key)| there.then_some(key))
    }

    /// Reads one file; `source` is what errors call it, such as its path.
    ///
    /// # Errors
    ///
    /// What is wrong, with line, column and, for a misspelt word, the likely right one.
    pub fn parse(source: &str, text: &str) -> Result<Document, Error> {
        let file = Source::of(source, text);
        let mut document: Document =
            serde_saphyr::from_str(text).map_err(|error| Error::from_yaml(&file, &error))?;
        places::settle(&mut document, &file);
        check(&document.version)?;
        let learns = |mode: &&At<Mode>| mode.value == Mode::Learn;
        if let (Some(mode), Some(key)) = (document.mode.as_ref().filter(learns), document.listed())
        {
            return Err(Error::at(&mode.origin, Problem::Learns { key }));
        }
        document.source = Some(file);
        Ok(document)
    }
}

/// Whether this build reads that version.
pub(super) fn check(version: &At<u32>) -> Result<(), Error> {
    if version.value == VERSION {
        return Ok(());
    }
    let found = version.value;
    Err(Error::at(&version.origin, Problem::Version { found }))
}
