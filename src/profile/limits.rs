//! What a container may use: `rlimits`, `process.max` and `devices`. Upper bounds, all of them: the
//! engine's own stay where they are lower.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

use super::diagnose::closest;
use super::entry::{NameOr, normal_glob};

/// A resource of getrlimit(2), by its name without `RLIMIT_`; the position is its number
/// (asm-generic/resource.h, which x86_64 and aarch64 share).
pub(super) const RESOURCES: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

/// A resource of getrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(u32);

impl Resource {
    /// `RLIMIT_*` as a number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The name without `RLIMIT_`.
    #[must_use]
    pub fn name(self) -> &'static str {
        RESOURCES[self.0 as usize]
    }
}

impl Serialize for Resource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // One spelling only: two keys for one resource would hide each other.
        let written = String::deserialize(deserializer)?;
        let at = RESOURCES.iter().position(|name| *name == written);
        at.map(|at| Resource(at as u32)).ok_or_else(|| {
            let upper = written.to_ascii_uppercase();
            let bare = upper.strip_prefix("RLIMIT_").unwrap_or(&upper);
            let hint = closest(bare, RESOURCES.into_iter());
            de::Error::custom(format!("unknown resource `{written}`{hint}"))
        })
    }
}

/// An upper bound of one resource, in the kernel's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// Of the soft limit; at most `hard`.
    pub soft: u64,
    /// Of the hard limit.
    pub hard: u64,
}

impl Bound {
    /// The lower of both, limit by limit.
    #[must_use]
    pub fn and(self, other: Bound) -> Bound {
        Bound {
            soft: self.soft.min(other.soft),
            hard: self.hard.min(other.hard),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundFields {
    #[serde(default)]
    soft: Option<u64>,
    hard: u64,
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoundVisitor)
    }
}

struct BoundVisitor;

impl<'de> Visitor<'de> for BoundVisitor {
    type Value = Bound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number for both limits, or {soft, hard}")
    }

    fn visit_u64<E: de::Error>(self, both: u64) -> Result<Bound, E> {
        bound(both, both)
    }

    fn visit_i64<E: de::Error>(self, both: i64) -> Result<Bound, E> {
        let both = u64::try_from(both).map_err(|_| E::custom("a limit is 0 or more"))?;
        bound(both, both)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Bound, A::Error> {
        let fields = BoundFields::deserialize(MapAccessDeserializer::new(map))?;
        bound(fields.soft.unwrap_or(fields.hard), fields.hard)
    }
}

fn bound<E: de::Error>(soft: u64, hard: u64) -> Result<Bound, E> {
    if soft > hard {
        let text = format!("the soft limit {soft} is above the hard one, {hard}\nwrite it lower");
        return Err(E::custom(text));
    }
    Ok(Bound { soft, hard })
}

/// Threads of runc count too while it works in the container's cgroup, on larger machines more of
/// them. With runc 1.1.5 on two processors one `exec` of five failed under a limit of 3 or 4.
const FEWEST_TASKS: u64 = 16;

/// Most processes and threads of a container at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Tasks(pub u64);

impl<'de> Deserialize<'de> for Tasks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = u64::deserialize(deserializer)?;
        if written < FEWEST_TASKS {
            return Err(de::Error::custom(format!(
                "`max: {written}` leaves no room for the runtime's own threads\nwrite {FEWEST_TASKS} or more"
            )));
        }
        // The kernel's largest (PID_MAX_LIMIT); more is no limit.
        if written > 1 << 22 {
            return Err(de::Error::custom(format!(
                "`max: {written}` limits nothing: no system has more than 4194304 tasks"
            )));
        }
        Ok(Tasks(written))
    }
}

/// Kind of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Character device.
    #[serde(rename = "c")]
    Char,
    /// Block device.
    #[serde(rename = "b")]
    Block,
}

/// What may be done with a device: a set of `r`, `w` and `m` (mknod).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access(u8);

const LETTERS: [(char, u8); 3] = [('r', 1), ('w', 2), ('m', 4)];

impl Access {
    /// All three.
    pub const ALL: Access = Access(7);
    /// `rw`.
    pub const READ_WRITE: Access = Access(3);

    /// The letters; none where another one is among them.
    #[must_use]
    pub fn read(text: &str) -> Option<Access> {
        text.chars().try_fold(Access(0), |all, letter| {
            let (_, bit) = LETTERS.iter().find(|(known, _)| *known == letter)?;
            Some(Access(all.0 | bit))
        })
    }

    /// In both.
    #[must_use]
    pub fn and(self, other: Access) -> Access {
        Access(self.0 & other.0)
    }

    /// In this one and not in `other`.
    #[must_use]
    pub fn without(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }

    /// Whether nothing may be done.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut have = LETTERS.iter().filter(|(_, bit)| self.0 & bit != 0);
        have.try_for_each(|(letter, _)| write!(f, "{letter}"))
    }
}

impl Serialize for Access {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Access {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        let read = Access::read(&written).filter(|access| !access.is_none());
        read.ok_or_else(|| {
            de::Error::custom(format!("`{written}` is no access\nwrite letters of `rwm`"))
        })
    }
}

/// Devices that a container may be given, as listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// null, zero, full, random, urandom, tty, console, ptmx and pts, which runtimes add anyway.
    Standard,
    /// Nodes that config.json lists under a path that this glob matches.
    Path {
        /// The glob.
        path: String,
        /// What may be done with them.
        access: Access,
    },
    /// By numbers.
    Numbers {
        /// Kind.
        #[serde(rename = "type")]
        kind: Kind,
        /// Major number; none: every one.
        major: Option<u32>,
        /// Minor number; none: every one.
        minor: Option<u32>,
        /// What may be done with them.
        access: Access,
    },
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceFields {
    #[serde(default)]
    path: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<Kind>,
    #[serde(default)]
    major: Option<u32>,
    #[serde(default)]
    minor: Option<u32>,
    #[serde(default)]
    access: Option<Access>,
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = deserializer.deserialize_any(NameOr::<DeviceFields>::new(
            "@standard, a path in /dev, or {path, access} or {type, major, minor, access}",
            |path| DeviceFields {
                path: Some(path),
                ..DeviceFields::default()
            },
        ))?;
        device(fields).map_err(de::Error::custom)
    }
}

fn device(fields: DeviceFields) -> Result<Device, String> {
    let access = fields.access.unwrap_or(Access::READ_WRITE);
    let numbers = fields.kind.is_some() || fields.major.is_some() || fields.minor.is_some();
    match (fields.path, fields.kind, fields.major) {
        (Some(_), ..) if numbers => {
            Err("a device is named by `path` or by numbers, not by both\nremove one".into())
        }
        (Some(path), ..) if path == "@standard" => match fields.access {
            None => Ok(Device::Standard),
            Some(_) => Err("`@standard` takes no `access`: the runtimes give it whole".into()),
        },
        (Some(path), ..) if path.starts_with('@') => {
            let hint = closest(&path, ["@standard"].into_iter());
            Err(format!("unknown group `{path}`{hint}"))
        }
        (Some(path), ..) => match normal_glob(&path)? {
            path if path.starts_with("/dev/") => Ok(Device::Path { path, access }),
            _ => Err(format!(
                "`{path}` does not lie in /dev\nname the device by its path there"
            )),
        },
        (None, Some(kind), Some(major)) => Ok(Device::Numbers {
            kind,
            major: Some(major),
            minor: fields.minor,
            access,
        }),
        (None, Some(_), None) if fields.minor.is_some() => {
            Err("`minor` without `major`\nwrite both".into())
        }
        (None, Some(kind), None) => Ok(Device::Numbers {
            kind,
            major: None,
            minor: None,
            access,
        }),
        (None, None, _) => Err("a device needs `path`, or `type` and `major`".into()),
    }
}
