//! `process.refuse`: kinds of containers that are not created. A rule is one word, or a key with a
//! list of what it is about: `{host-path: ["@runtime-sockets"]}`.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

use super::capability;
use super::diagnose::{closest, closest_group};
use super::entry::normal_glob;
use super::host_paths;
use super::origin::At;

/// A kind of container that is not created. One value each, so that a message names the very entry
/// of the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refuse {
    /// Uid 0 outside a user namespace.
    RootUser,
    /// SYS_ADMIN, SYS_MODULE or SYS_RAWIO, or every device.
    Privileged,
    /// The host's pid namespace.
    HostPid,
    /// The host's network namespace.
    HostNetwork,
    /// The host's ipc namespace.
    HostIpc,
    /// A root filesystem that is not read-only.
    WritableRootfs,
    /// No seccomp filter from the engine.
    UnconfinedSeccomp,
    /// No limit on a resource.
    MissingLimit(Limited),
    /// A capability in any of the process's sets.
    Capability(Held),
    /// A mount of something of the host's.
    HostPath(HostPath),
}

/// The rules that are one word.
pub(super) const WORDS: [(&str, Refuse); 7] = [
    ("root-user", Refuse::RootUser),
    ("privileged", Refuse::Privileged),
    ("host-pid", Refuse::HostPid),
    ("host-network", Refuse::HostNetwork),
    ("host-ipc", Refuse::HostIpc),
    ("writable-rootfs", Refuse::WritableRootfs),
    ("unconfined-seccomp", Refuse::UnconfinedSeccomp),
];
/// The rules that have a list.
const KEYS: [&str; 3] = ["missing-limit", "capability", "host-path"];

impl fmt::Display for Refuse {
    /// What is refused, as messages say it: `privileged containers`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refuse::MissingLimit(limit) => {
                write!(f, "containers by `missing-limit: {}`", limit.name())
            }
            Refuse::Capability(held) => write!(f, "containers by `capability: {}`", held.name()),
            Refuse::HostPath(path) => write!(f, "containers by `host-path: {}`", path.0),
            word => {
                let known = WORDS.iter().find(|(_, rule)| rule == word);
                write!(f, "{} containers", known.map_or("such", |(name, _)| name))
            }
        }
    }
}

/// A resource that has to be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limited {
    /// Bytes.
    Memory,
    /// CPU time a period.
    Cpu,
    /// Processes and threads.
    Pids,
}

impl Limited {
    /// As written in a profile.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Limited::Memory => "memory",
            Limited::Cpu => "cpu",
            Limited::Pids => "pids",
        }
    }
}

/// Capabilities that refuse a container which holds one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Every one.
    All,
    /// Every one that engines do not grant by default ([`capability::ENGINES`]).
    Added,
    /// One, `CAP_` name.
    Named(&'static str),
}

impl Held {
    /// As written in a profile.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Held::All => "ALL",
            Held::Added => "@added",
            Held::Named(name) => name.strip_prefix("CAP_").unwrap_or(name),
        }
    }

    /// Whether `name`, with its prefix, is meant.
    #[must_use]
    pub fn means(self, name: &str) -> bool {
        match self {
            Held::All => true,
            Held::Added => !capability::ENGINES.contains(&name),
            Held::Named(own) => own == name,
        }
    }
}

impl Serialize for Held {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        match written.as_str() {
            "ALL" => return Ok(Held::All),
            "@added" => return Ok(Held::Added),
            _ => {}
        }
        capability::canonical(&written)
            .map(Held::Named)
            .ok_or_else(|| {
                let bare = written.strip_prefix("CAP_").unwrap_or(&written);
                let known = capability::ALL.iter().map(|name| &name[4..]);
                let hint = closest(&bare.to_ascii_uppercase(), known.chain(["ALL", "@added"]));
                de::Error::custom(format!("unknown capability `{written}`{hint}"))
            })
    }
}

/// A path of the host: an absolute glob, or an `@group` of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HostPath(pub String);

impl<'de> Deserialize<'de> for HostPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        if let Some(group) = written.strip_prefix('@') {
            if host_paths::names().any(|name| name == group) {
                return Ok(HostPath(written));
            }
            let hint = closest_group(group, host_paths::names());
            return Err(de::Error::custom(format!(
                "unknown group `{written}`{hint}"
            )));
        }
        normal_glob(&written)
            .map(HostPath)
            .map_err(de::Error::custom)
    }
}

/// One entry of the list, which may stand for several rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry(pub Vec<At<Refuse>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Keys {
    #[serde(default)]
    missing_limit: Option<Vec<At<Limited>>>,
    #[serde(default)]
    capability: Option<Vec<At<Held>>>,
    #[serde(default)]
    host_path: Option<Vec<At<HostPath>>>,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value, origin } = At::<Written>::deserialize(deserializer)?;
        Ok(match value {
            Written::Word(value) => Entry(vec![At { value, origin }]),
            Written::Rules(rules) => Entry(rules),
        })
    }
}

/// An entry's two forms. The rules of a list have places of their own.
enum Written {
    Word(Refuse),
    Rules(Vec<At<Refuse>>),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rule such as `privileged`, or {host-path: [...]}")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Written, E> {
        if let Some((_, rule)) = WORDS.iter().find(|(name, _)| *name == word) {
            return Ok(Written::Word(rule.clone()));
        }
        if KEYS.contains(&word) {
            return Err(E::custom(format!(
                "`{word}` needs to be told what\nwrite {{{word}: [...]}}"
            )));
        }
        let words = WORDS.iter().map(|(name, _)| *name);
        let hint = closest(word, words.chain(KEYS));
        Err(E::custom(format!("unknown rule `{word}`{hint}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
        let keys = Keys::deserialize(MapAccessDeserializer::new(map))?;
        if keys.missing_limit.as_ref().is_some_and(Vec::is_empty)
            || keys.capability.as_ref().is_some_and(Vec::is_empty)
            || keys.host_path.as_ref().is_some_and(Vec::is_empty)
        {
            return Err(de::Error::custom(
                "an empty list refuses nothing\nremove it",
            ));
        }
        let limits = keys.missing_limit.into_iter().flatten();
        let capabilities = keys.capability.into_iter().flatten();
        let paths = keys.host_path.into_iter().flatten();
        let rules: Vec<At<Refuse>> = limits
            .map(|limit| limit.map(Refuse::MissingLimit))
            .chain(capabilities.map(|held| held.map(Refuse::Capability)))
            .chain(paths.map(|path| path.map(Refuse::HostPath)))
            .collect();
        if rules.is_empty() {
            return Err(de::Error::custom(format!(
                "an entry without a rule\nwrite one of {}",
                KEYS.join(", ")
            )));
        }
        Ok(Written::Rules(rules))
    }
}
