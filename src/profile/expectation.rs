//! `tests:`: what an author expects of a profile, for `mantlet test`. They are part of the file so
//! that whoever changes a profile sees what it was for; a container is not touched by them.
//!
//! Read strictly, like everything else: an expectation that means nothing would be a test that never
//! fails.

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use std::fmt;

use super::capability;
use super::diagnose::{Error, closest};
use super::entry::{Capability, normal_path};
use super::model::check;
use super::origin::{At, Origin, Source, Why};
use super::table::{Lookup, lookup};

/// One expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// What is tried.
    pub deed: Deed,
    /// How it should come out.
    pub expect: Outcome,
    /// Where it is written, and why.
    pub origin: Origin,
}

/// What a workload tries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// A system call.
    Syscall {
        /// Its name.
        name: String,
        /// Its arguments from the first on; none: whatever they are.
        args: Option<Vec<u64>>,
    },
    /// An access to a file.
    File {
        /// Absolute path.
        path: String,
        /// All of them.
        access: Vec<FileAccess>,
    },
    /// The execution of a program, by its absolute path.
    Exec {
        /// The path.
        path: String,
    },
    /// A TCP port is bound.
    Bind {
        /// The port.
        port: u16,
    },
    /// A TCP port is connected to.
    Connect {
        /// The port.
        port: u16,
    },
    /// A capability is used, `CAP_` name.
    Capability {
        /// The name.
        name: &'static str,
    },
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileAccess {
    /// It is opened for reading, or listed.
    Read,
    /// It is opened for writing.
    Write,
    /// It is executed.
    Execute,
    /// It is made, in its directory.
    Create,
    /// It is removed, from its directory.
    Delete,
}

/// How it should come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is performed.
    Allowed,
    /// It is refused, reported or in silence.
    Denied,
}

/// The keys that say what is tried.
const DEEDS: [&str; 6] = ["syscall", "path", "exec", "bind", "connect", "capability"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    syscall: Option<CallName>,
    #[serde(default)]
    args: Option<Vec<Word>>,
    #[serde(default)]
    path: Option<AnyPath>,
    #[serde(default)]
    access: Option<Accesses>,
    #[serde(default)]
    exec: Option<AnyPath>,
    #[serde(default)]
    bind: Option<u16>,
    #[serde(default)]
    connect: Option<u16>,
    #[serde(default)]
    capability: Option<CapabilityName>,
    expect: Outcome,
    #[serde(default)]
    why: Option<Why>,
}

impl<'de> Deserialize<'de> for Expectation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Judged where it is read, so that an error has its place.
        struct Judged(Deed, Outcome, Option<Why>);
        impl<'de> Deserialize<'de> for Judged {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut fields = Fields::deserialize(deserializer)?;
                let (expect, why) = (fields.expect, fields.why.take());
                let deed = deed(fields).map_err(de::Error::custom)?;
                Ok(Judged(deed, expect, why))
            }
        }
        let At {
            value: Judged(deed, expect, why),
            origin,
        } = At::deserialize(deserializer)?;
        Ok(Expectation {
            deed,
            expect,
            origin: origin.because(why),
        })
    }
}

fn deed(fields: Fields) -> Result<Deed, String> {
    if fields.args.is_some() && fields.syscall.is_none() {
        return Err("`args` are a system call's\nwrite `syscall` too, or remove them".into());
    }
    if fields.access.is_some() && fields.path.is_none() {
        return Err("`access` is what is done to a file\nwrite `path` too, or remove it".into());
    }
    if fields.args.as_ref().is_some_and(|args| args.len() > 6) {
        return Err("a system call has six arguments at most\nremove the rest".into());
    }
    let args = fields
        .args
        .map(|all| all.into_iter().map(|w| w.0).collect());
    let access = fields.access.map(|all| all.0);
    let file = |path: AnyPath| match access {
        Some(access) => Ok(Deed::File {
            path: path.0,
            access,
        }),
        None => Err(
            "`path` without `access`\nwrite read, write, execute, create, delete, or a list of them",
        ),
    };
    let deeds = [
        fields
            .syscall
            .map(|name| Ok(Deed::Syscall { name: name.0, args })),
        fields.path.map(file),
        fields.exec.map(|path| Ok(Deed::Exec { path: path.0 })),
        fields.bind.map(|port| Ok(Deed::Bind { port })),
        fields.connect.map(|port| Ok(Deed::Connect { port })),
        fields
            .capability
            .map(|name| Ok(Deed::Capability { name: name.0 })),
    ];
    let mut written = deeds.into_iter().flatten();
    match (written.next(), written.next()) {
        (Some(deed), None) => deed.map_err(str::to_owned),
        (None, _) => Err(format!(
            "a test that tries nothing\nwrite one of {}",
            DEEDS.join(", ")
        )),
        (Some(_), Some(_)) => Err(format!(
            "a test tries one thing\nkeep one of {}, and write another entry for the other",
            DEEDS.join(", ")
        )),
    }
}

/// A call that exists.
struct CallName(String);

impl<'de> Deserialize<'de> for CallName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        if written.starts_with('@') {
            return Err(de::Error::custom(format!(
                "`{written}` is a group: a test tries one call, name it"
            )));
        }
        if lookup(&written) == Lookup::Unknown {
            let known = super::groups::members(super::groups::CURRENT, "known").unwrap_or_default();
            let hint = closest(&written, known.into_iter());
            return Err(de::Error::custom(format!(
                "unknown system call `{written}`{hint}"
            )));
        }
        Ok(CallName(written))
    }
}

/// An argument: what a register holds, so that a negative number is its two's complement.
struct Word(u64);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Register;
        impl Visitor<'_> for Register {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, as the register holds it")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Word, E> {
                Ok(Word(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Word, E> {
                Ok(Word(value.cast_unsigned()))
            }
        }
        deserializer.deserialize_any(Register)
    }
}

/// An absolute path; below /proc too, which rules cannot name and workloads can.
struct AnyPath(String);

impl<'de> Deserialize<'de> for AnyPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        normal_path(&written)
            .map(AnyPath)
            .map_err(de::Error::custom)
    }
}

/// One word or a list of them.
struct Accesses(Vec<FileAccess>);

impl<'de> Deserialize<'de> for Accesses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Accesses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("read, write, execute, create, delete, or a list of them")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Accesses, E> {
                let one = FileAccess::deserialize(de::value::StrDeserializer::new(word))?;
                Ok(Accesses(vec![one]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Accesses, A::Error> {
                let mut all = Vec::deserialize(de::value::SeqAccessDeserializer::new(seq))?;
                if all.is_empty() {
                    return Err(de::Error::custom(
                        "an empty `access` tries nothing\nwrite read, write, execute, create or delete",
                    ));
                }
                all.sort_unstable();
                all.dedup();
                Ok(Accesses(all))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

struct CapabilityName(&'static str);

impl<'de> Deserialize<'de> for CapabilityName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        capability::canonical(&written)
            .map(CapabilityName)
            .ok_or_else(|| de::Error::custom(Capability::unknown(&written)))
    }
}

/// A file that holds nothing but tests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    version: At<u32>,
    tests: Vec<Expectation>,
}

impl Expectation {
    /// Reads a file of its own: `version` and `tests`, and nothing else. `source` is what errors call
    /// it.
    ///
    /// # Errors
    ///
    /// As [`super::Document::parse`].
    pub fn parse(source: &str, text: &str) -> Result<Vec<Expectation>, Error> {
        let file = Source::of(source, text);
        let mut sheet: Sheet =
            serde_saphyr::from_str(text).map_err(|error| Error::from_yaml(&file, &error))?;
        sheet.version.origin.set_source(&file);
        check(&sheet.version)?;
        let mut tests = sheet.tests;
        tests
            .iter_mut()
            .for_each(|test| test.origin.set_source(&file));
        Ok(tests)
    }
}
