//! The small things a profile's lists hold: a file, a system call, a condition. Each is checked
//! where it is read, so that an error carries the line and column of the very entry.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

use super::diagnose::closest;
use super::origin::{At, Origin, Why};
use super::{capability, groups, table};

/// A capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// Its full name.
    pub name: &'static str,
    /// Where it is written, and why.
    pub origin: Origin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CapabilityFields {
    name: String,
    #[serde(default)]
    why: Option<Why>,
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Judged where it is read, so that an error has its place.
        struct Judged(&'static str, Option<Why>);
        impl<'de> Deserialize<'de> for Judged {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let fields = deserializer.deserialize_any(NameOr::<CapabilityFields>::new(
                    "a capability's name, or {name, why}",
                    |name| CapabilityFields { name, why: None },
                ))?;
                let name = capability::canonical(&fields.name)
                    .ok_or_else(|| de::Error::custom(Capability::unknown(&fields.name)))?;
                Ok(Judged(name, fields.why))
            }
        }
        let At {
            value: Judged(name, why),
            origin,
        } = At::deserialize(deserializer)?;
        Ok(Capability {
            name,
            origin: origin.because(why),
        })
    }
}

impl Capability {
    /// What to say of a name that is none.
    pub(super) fn unknown(written: &str) -> String {
        let bare = written.strip_prefix("CAP_").unwrap_or(written);
        let known = capability::ALL.iter().map(|name| &name[4..]);
        let hint = closest(&bare.to_ascii_uppercase(), known);
        format!("unknown capability `{written}`{hint}")
    }
}

/// A port of `network`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The port.
    pub port: u16,
    /// Where it is written, and why.
    pub origin: Origin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PortFields {
    port: u16,
    #[serde(default)]
    why: Option<Why>,
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A number, or the mapping.
        struct Written(PortFields);
        impl<'de> Deserialize<'de> for Written {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(PortVisitor).map(Written)
            }
        }
        let At { value, origin } = At::<Written>::deserialize(deserializer)?;
        Ok(Port {
            port: value.0.port,
            origin: origin.because(value.0.why),
        })
    }
}

struct PortVisitor;

impl<'de> Visitor<'de> for PortVisitor {
    type Value = PortFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port from 0 to 65535, or {port, why}")
    }

    fn visit_u64<E: de::Error>(self, port: u64) -> Result<PortFields, E> {
        let port = u16::try_from(port)
            .map_err(|_| E::custom(format!("{port} is no port\nwrite 0 to 65535")))?;
        Ok(PortFields { port, why: None })
    }

    fn visit_i64<E: de::Error>(self, port: i64) -> Result<PortFields, E> {
        match u64::try_from(port) {
            Ok(port) => self.visit_u64(port),
            Err(_) => Err(E::custom(format!("{port} is no port\nwrite 0 to 65535"))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PortFields, A::Error> {
        PortFields::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less, unsigned.
    Lt,
    /// Less or equal, unsigned.
    Le,
    /// Greater, unsigned.
    Gt,
    /// Greater or equal, unsigned.
    Ge,
    /// The bits of `mask` equal `value`.
    Masked,
    /// The bits of `mask` differ from `value`.
    MaskedNe,
}

/// A condition on one argument, unsigned. Where the kernel reads that argument as an `int`, only
/// its lower 32 bits are compared ([`table::is_int`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Which argument, 0..=5.
    pub index: u32,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub value: u64,
    /// Which bits; required by `masked` and `masked-ne`, refused elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<u64>,
}

impl Op {
    /// As profiles spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Op::Eq => "eq",
            Op::Ne => "ne",
            Op::Lt => "lt",
            Op::Le => "le",
            Op::Gt => "gt",
            Op::Ge => "ge",
            Op::Masked => "masked",
            Op::MaskedNe => "masked-ne",
        }
    }
}

impl fmt::Display for Condition {
    /// As an entry of `args`, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{index: {}, op: {}, ", self.index, self.op.word())?;
        if let Some(mask) = self.mask {
            write!(f, "mask: {mask:#x}, ")?;
        }
        write!(f, "value: {:#x}}}", self.value)
    }
}

impl Condition {
    fn problem(&self) -> Option<String> {
        if self.index > 5 {
            return Some(format!(
                "`index: {}` is above 5, the last argument\nwrite 0 (the first) to 5",
                self.index
            ));
        }
        match (self.op, self.mask) {
            (Op::Masked | Op::MaskedNe, None) => Some("`masked` needs a `mask`\nadd the bits to look at, such as `mask: 0xff`".into()),
            (Op::Masked | Op::MaskedNe, Some(mask)) if self.value & !mask != 0 => Some(format!(
                "value {:#x} has bits outside mask {mask:#x}, so it never compares equal\nwrite a `mask` that has them",
                self.value
            )),
            (Op::Masked | Op::MaskedNe, Some(_)) => None,
            (_, Some(_)) => Some("`mask` goes with the ops `masked` and `masked-ne` only\nremove it, or write one of these".into()),
            (_, None) => None,
        }
    }
}

/// A system call as listed: a name, an `@group`, or a name with conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The name, with the `@` of a group.
    pub name: String,
    /// All must hold.
    pub args: Vec<Condition>,
    /// What a refusal answers; EPERM where absent.
    pub errno: Option<i32>,
    /// Where it is written, and why.
    pub origin: Origin,
}

/// A listed call of `tripwire` or `deny`: its name must exist, or nothing would be denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied(pub Call);

/// A condition that can hold.
struct Sound(Condition);

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let condition = Condition::deserialize(deserializer)?;
        match condition.problem() {
            None => Ok(Sound(condition)),
            Some(problem) => Err(de::Error::custom(problem)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallFields {
    name: String,
    #[serde(default)]
    args: Vec<Sound>,
    #[serde(default)]
    errno: Option<Errno>,
    #[serde(default)]
    why: Option<Why>,
}

/// A call that is judged where it is read, so that an error has its place.
struct Judged(CallFields);

impl<'de> Deserialize<'de> for Judged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = deserializer.deserialize_any(NameOr::<CallFields>::new(
            "a system call's name, an @group, or {name, args, errno, why}",
            |name| CallFields {
                name,
                args: Vec::new(),
                errno: None,
                why: None,
            },
        ))?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let group = fields.name.starts_with('@');
        if !group && (fields.name.is_empty() || !fields.name.chars().all(plain)) {
            return Err(de::Error::custom(format!(
                "`{}` is no system call's name\nwrite it as in the manual's section 2, such as openat",
                fields.name
            )));
        }
        // Bound the program: a condition is at most ten instructions, a jump reaches 255.
        if fields.args.len() > 12 {
            return Err(de::Error::custom(format!(
                "`{}` has {} conditions, at most 12 fit one entry",
                fields.name,
                fields.args.len()
            )));
        }
        if fields.name.starts_with('@') && !fields.args.is_empty() {
            return Err(de::Error::custom(format!(
                "{} is a group, and means other arguments in each call\nwrite the condition on one call's name",
                fields.name
            )));
        }
        Ok(Judged(fields))
    }
}

/// Puts a judged call and its place together.
fn call(At { value, origin }: At<Judged>) -> Call {
    let fields = value.0;
    Call {
        name: fields.name,
        args: fields.args.into_iter().map(|sound| sound.0).collect(),
        errno: fields.errno.map(|e| e.0),
        origin: origin.because(fields.why),
    }
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        At::deserialize(deserializer).map(call)
    }
}

impl<'de> Deserialize<'de> for Denied {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A call that exists.
        struct Known(Judged);
        impl<'de> Deserialize<'de> for Known {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let judged = Judged::deserialize(deserializer)?;
                let name = &judged.0.name;
                if !name.starts_with('@') && table::lookup(name) == table::Lookup::Unknown {
                    let known = groups::members(groups::CURRENT, "known").unwrap_or_default();
                    let hint = closest(name, known.into_iter());
                    return Err(de::Error::custom(format!(
                        "unknown system call `{name}`: it would not be denied{hint}"
                    )));
                }
                Ok(Known(judged))
            }
        }
        let At { value, origin } = At::<Known>::deserialize(deserializer)?;
        Ok(Denied(call(At {
            value: value.0,
            origin,
        })))
    }
}

/// An errno by name.
struct Errno(i32);

/// What a refusal may answer. Success is not among them.
pub(super) const ERRNOS: [(&str, i32); 12] = [
    ("EPERM", libc::EPERM),
    ("EACCES", libc::EACCES),
    ("ENOSYS", libc::ENOSYS),
    ("ENOENT", libc::ENOENT),
    ("EINVAL", libc::EINVAL),
    ("ENODEV", libc::ENODEV),
    ("EBUSY", libc::EBUSY),
    ("EAGAIN", libc::EAGAIN),
    ("ENOMEM", libc::ENOMEM),
    ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ("EAFNOSUPPORT", libc::EAFNOSUPPORT),
    ("EROFS", libc::EROFS),
];

/// The word for an errno that a refusal may answer.
#[must_use]
pub fn errno_name(errno: i32) -> Option<&'static str> {
    let found = ERRNOS.iter().find(|(_, number)| *number == errno);
    found.map(|(name, _)| *name)
}

impl<'de> Deserialize<'de> for Errno {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        ERRNOS
            .iter()
            .find(|(name, _)| *name == written)
            .map(|(_, n)| Errno(*n))
            .ok_or_else(|| {
                let hint = closest(&written, ERRNOS.iter().map(|(name, _)| *name));
                de::Error::custom(format!("unknown errno `{written}`{hint}"))
            })
    }
}

/// A set of places that depends on the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Symbol {
    /// What the image shipped: `/` without `/dev`, `/proc`, `/sys` and every writable mount.
    Image,
    /// Writable mounts that the pod asked for.
    Volumes,
    /// Mounts of type tmpfs.
    Tmpfs,
    /// Ordinary device files and those the pod asked for.
    Devices,
}

pub(super) const SYMBOLS: [(&str, Symbol); 4] = [
    ("@image", Symbol::Image),
    ("@volumes", Symbol::Volumes),
    ("@tmpfs", Symbol::Tmpfs),
    ("@devices", Symbol::Devices),
];

impl Symbol {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        let found = SYMBOLS.iter().find(|(_, symbol)| *symbol == self);
        found.map_or("", |(word, _)| word)
    }
}

/// Where a file entry points.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// An absolute path, normal: no `.`, no `..`, no doubled or trailing slash.
    Path(String),
    /// A symbolic set.
    Symbol(Symbol),
}

/// A file or directory (with everything beneath it) as listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct FileEntry {
    /// Where.
    pub place: Place,
    /// A missing path is passed over.
    pub optional: bool,
    /// Symbolic links in it are followed.
    pub follow: bool,
    /// Where it is written, and why.
    #[serde(skip)]
    pub origin: Origin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFields {
    path: String,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    why: Option<Why>,
}

impl<'de> Deserialize<'de> for FileEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Judged where it is read, so that an error has its place.
        struct Judged(Place, FileFields);
        impl<'de> Deserialize<'de> for Judged {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let fields = deserializer.deserialize_any(NameOr::<FileFields>::new(
                    "an absolute path, an @symbol, or {path, optional, follow, why}",
                    |path| FileFields {
                        path,
                        optional: false,
                        follow: false,
                        why: None,
                    },
                ))?;
                let place = place(&fields.path).map_err(de::Error::custom)?;
                Ok(Judged(place, fields))
            }
        }
        let At {
            value: Judged(place, fields),
            origin,
        } = At::deserialize(deserializer)?;
        Ok(FileEntry {
            place,
            optional: fields.optional,
            follow: fields.follow,
            origin: origin.because(fields.why),
        })
    }
}

fn place(written: &str) -> Result<Place, String> {
    if written.starts_with('@') {
        let known = SYMBOLS.iter().find(|(name, _)| *name == written);
        return known
            .map(|(_, symbol)| Place::Symbol(*symbol))
            .ok_or_else(|| {
                let hint = closest(written, SYMBOLS.iter().map(|(name, _)| *name));
                format!("unknown symbol `{written}`{hint}")
            });
    }
    let path = normal_path(written)?;
    if path.starts_with("/proc/") {
        return Err(format!(
            "`{written}` lies below procfs, where a rule vanishes with the inode cache and \
             /proc/self means mantlet's init\nname /proc itself"
        ));
    }
    Ok(Place::Path(path))
}

/// An absolute path as a profile may write it.
///
/// # Errors
///
/// What is wrong with it, and how it should be written.
pub fn normal_path(written: &str) -> Result<String, String> {
    let Some(rest) = written.strip_prefix('/') else {
        return Err(format!("`{written}` is not absolute\nwrite it from `/`"));
    };
    if rest.contains('\0') {
        return Err("a path cannot hold a NUL byte".into());
    }
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| *part == "." || *part == "..") {
        return Err(format!(
            "`{written}` holds `.` or `..`\nwrite the path itself"
        ));
    }
    if parts.iter().any(|part| part.contains('*')) {
        return Err(format!(
            "`{written}` holds a wildcard\nname a directory: a rule covers all beneath it"
        ));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// An absolute glob ([`super::glob`]) as a profile may write it.
///
/// # Errors
///
/// What is wrong with it, and how it should be written.
pub fn normal_glob(written: &str) -> Result<String, String> {
    let parts: Vec<&str> = written.split('/').collect();
    if let Some(part) = parts
        .iter()
        .find(|part| part.contains("**") && **part != "**")
    {
        return Err(format!(
            "`{part}` in `{written}`: `**` stands for whole components, so write it between slashes"
        ));
    }
    // Wildcards apart, a glob is written as a path is.
    normal_path(&written.replace('*', "\u{1}")).map_or_else(
        |problem| Err(problem.replace('\u{1}', "*")),
        |path| Ok(path.replace('\u{1}', "*")),
    )
}

/// A path of `except`, `masked_paths` or `readonly_paths`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlainPath {
    /// The path, absolute and normal.
    pub path: String,
    /// Where it is written.
    pub origin: Origin,
}

impl<'de> Deserialize<'de> for PlainPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Judged where it is read, so that an error has its place.
        struct Judged(String);
        impl<'de> Deserialize<'de> for Judged {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let written = String::deserialize(deserializer)?;
                normal_path(&written).map(Judged).map_err(de::Error::custom)
            }
        }
        let At { value, origin } = At::<Judged>::deserialize(deserializer)?;
        Ok(PlainPath {
            path: value.0,
            origin,
        })
    }
}

/// Reads either a bare string or a mapping.
pub(super) struct NameOr<T> {
    expecting: &'static str,
    bare: fn(String) -> T,
}

impl<T> NameOr<T> {
    pub(super) fn new(expecting: &'static str, bare: fn(String) -> T) -> Self {
        NameOr { expecting, bare }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for NameOr<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Ok((self.bare)(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}
