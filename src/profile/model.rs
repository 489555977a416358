//! One profile file as written. Every struct is strict, and none has a `Default` that would allow
//! something: an absent list grants nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::admission;
use super::detection;
use super::diagnose::Error;
use super::entry::{Call, Capability, Denied, FileEntry, PlainPath, Port};
use super::exec::Exec;
use super::expectation::Expectation;
use super::limits::{Bound, Device, Resource, Tasks};
use super::origin::{At, Source};
use super::places;
use crate::detect::OnLoss;

/// Version of the language.
pub const VERSION: u32 = 1;

/// A profile file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Version of the language: 1.
    pub version: u32,
    /// The profile's name; the file is called `NAME.yaml`.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Profiles whose allowances are added to this one's.
    #[serde(default)]
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
    pub rlimits: BTreeMap<Resource, At<Bound>>,
    /// Rules on the container as a whole.
    #[serde(default)]
    pub process: Process,
    /// Rules on exec sessions; absent: as the parents say, else none.
    #[serde(default)]
    pub exec: Option<Exec>,
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
    /// The file.
    #[serde(skip)]
    pub source: Option<Arc<Source>>,
}

/// What becomes of `checkpoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checkpoint {
    /// Refused.
    Deny,
    /// Passed on to the runtime.
    Allow,
}

/// What becomes of `restore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restore {
    /// Refused.
    Deny,
    /// Passed on to the runtime: what runs then has none of the sandbox but what CRIU brings back.
    Unprotected,
}

/// How a profile is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// Least Landlock ABI, 1 and up; absent: 1.
    #[serde(default)]
    pub landlock: Option<At<u32>>,
    /// What a node may lack; absent: nothing.
    #[serde(default)]
    pub degrade: Vec<At<Degrade>>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallLists {
    /// Data version of the groups.
    pub groups: String,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Signals.
    Signal,
    /// Abstract UNIX sockets.
    AbstractUnixSocket,
}

/// Rules on the container as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
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

    /// The first key, in the order of the language, by which it lists something that a recording would
    /// have no use for.
    fn listed(&self) -> Option<&'static str> {
        [
            (!self.extends.is_empty(), "extends"),
            (self.requires.is_some(), "requires"),
            (!self.capabilities.is_empty(), "capabilities"),
            (self.syscalls.is_some(), "syscalls"),
            (self.files.is_some(), "files"),
            (self.network.is_some(), "network"),
            (self.scope.is_some(), "scope"),
            (!self.masked_paths.is_empty(), "masked_paths"),
            (!self.readonly_paths.is_empty(), "readonly_paths"),
            (self.devices.is_some(), "devices"),
            (!self.rlimits.is_empty(), "rlimits"),
            (self.process != Process::default(), "process"),
            (self.exec.is_some(), "exec"),
        ]
        .into_iter()
        .find_map(|(there, key)| there.then_some(key))
    }

    /// Reads one file; `source` is what errors call it, such as its path.
    ///
    /// # Errors
    ///
    /// What is wrong, with line, column and, for a misspelt word, the likely right one.
    pub fn parse(source: &str, text: &str) -> Result<Document, Error> {
        let mut document: Document =
            serde_saphyr::from_str(text).map_err(|error| Error::from_yaml(source, &error))?;
        if document.version != VERSION {
            return Err(Error::Version {
                source_name: source.into(),
                found: document.version,
            });
        }
        let mode = document.mode.as_ref().map(|mode| mode.value);
        if let Some(key) = document.listed().filter(|_| mode == Some(Mode::Learn)) {
            return Err(Error::Learns {
                source_name: source.into(),
                key,
            });
        }
        let file = Arc::new(Source {
            name: source.into(),
            text: text.into(),
        });
        places::settle(&mut document, &file);
        document.source = Some(file);
        Ok(document)
    }
}
