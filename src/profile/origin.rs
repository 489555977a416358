//! Where a thing of a profile was written: file, line and column, the `@group` that it came by, and
//! the author's reason. Whatever says something about a profile (errors, `lint`, `explain`) can so
//! point at the very word.
//!
//! An origin takes no part in comparisons: two rules are the same rule if they say the same, wherever
//! they were written and for whatever reason. So every two origins are equal.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

use super::admission::Refuse;
use super::limits::{Device, Resource};
use super::model::{Degrade, Scope};

/// A file as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// What errors call it, such as its path.
    pub name: String,
    /// Its text, whole.
    pub text: String,
}

impl Source {
    pub(super) fn of(name: &str, text: &str) -> Arc<Source> {
        Arc::new(Source {
            name: name.into(),
            text: text.into(),
        })
    }
}

/// Where a thing was written, and why. Equal to every other, see the [module](self).
#[derive(Clone, Default)]
pub struct Origin {
    source: Option<Arc<Source>>,
    line: u32,
    column: u32,
    group: Option<Arc<str>>,
    why: Option<Arc<str>>,
}

impl Origin {
    pub(super) fn new(location: Location) -> Origin {
        let small = |number: u64| u32::try_from(number).unwrap_or(0);
        Origin {
            line: small(location.line()),
            column: small(location.column()),
            ..Origin::default()
        }
    }

    /// The file; none for what no file says, such as a profile put together by a program.
    #[must_use]
    pub fn source(&self) -> Option<&Source> {
        self.source.as_deref()
    }

    /// The file's name; empty where there is none.
    #[must_use]
    pub fn file(&self) -> &str {
        self.source().map_or("", |source| &source.name)
    }

    /// Line, from 1; 0 where it is not known.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Column in characters, from 1; 0 where it is not known.
    #[must_use]
    pub fn column(&self) -> u32 {
        self.column
    }

    /// The group by which a call was listed, without its `@`; none where it was named itself.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// The author's reason (`why:`).
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// The same place, in a file that is called otherwise.
    #[must_use]
    pub fn in_file(&self, name: &str) -> Origin {
        let source = self.source().map(|source| Source::of(name, &source.text));
        Origin {
            source,
            ..self.clone()
        }
    }

    /// Whether it is known where.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.source.is_some() && self.line > 0
    }

    pub(super) fn because(mut self, why: Option<Why>) -> Origin {
        self.why = why.map(|why| why.0.into());
        self
    }

    pub(super) fn by_group(&self, group: &Arc<str>) -> Origin {
        Origin {
            group: Some(Arc::clone(group)),
            ..self.clone()
        }
    }

    /// Points at `word`, where that stands behind on the same line and a whole word.
    pub(super) fn narrow(&mut self, word: &str) {
        let Some(source) = &self.source else { return };
        let line = self.line.saturating_sub(1) as usize;
        let from = self.column.saturating_sub(1) as usize;
        let Some(text) = source.text.lines().nth(line) else {
            return;
        };
        let rest: String = text.chars().skip(from).collect();
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '/' | '.');
        let whole = |at: &(usize, &str)| {
            let before = rest[..at.0].chars().next_back();
            let after = rest[at.0 + word.len()..].chars().next();
            !before.is_some_and(inside) && !after.is_some_and(inside)
        };
        if let Some((at, _)) = rest.match_indices(word).find(whole)
            && !word.is_empty()
        {
            // Whoever writes quotes means them as a part of the word.
            let quoted = rest[..at].ends_with(['"', '\'']);
            let more = rest[..at].chars().count() - usize::from(quoted);
            self.column += u32::try_from(more).unwrap_or(0);
        }
    }

    /// Says which file it is in: the reader of one word does not know.
    pub(super) fn set_source(&mut self, source: &Arc<Source>) {
        self.source = Some(Arc::clone(source));
    }
}

impl fmt::Display for Origin {
    /// `web.yaml:7:5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file(), self.line, self.column)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Origin) -> bool {
        true
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl PartialOrd for Origin {
    fn partial_cmp(&self, other: &Origin) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Origin {
    fn cmp(&self, _: &Origin) -> Ordering {
        Ordering::Equal
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub origin: Origin,
}

impl<T> At<T> {
    /// Another value of the same place.
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: f(self.value),
            origin: self.origin,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        Ok(At {
            value: spanned.value,
            origin: Origin::new(spanned.referenced),
        })
    }
}

/// A reason, as an author gives one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Why(String);

/// Longest reason: it goes into events and reports.
const LONGEST_WHY: usize = 1000;

impl<'de> Deserialize<'de> for Why {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        let text = written.trim();
        if text.is_empty() {
            return Err(serde::de::Error::custom(
                "an empty `why` gives no reason\nwrite one, or remove it",
            ));
        }
        if text.chars().count() > LONGEST_WHY {
            return Err(serde::de::Error::custom(format!(
                "a `why` has at most {LONGEST_WHY} letters\nwrite the reason, and the rest elsewhere"
            )));
        }
        Ok(Why(text.to_owned()))
    }
}

/// A part of a profile that is a plain value there and has its origin in [`Origins`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A key that holds one value or a list: `mode`, `network.bind_tcp`, `exec.profile`.
    Key(&'static str),
    /// A capability, `CAP_` name.
    Capability(&'static str),
    /// A port of `network.bind_tcp`.
    BindTcp(u16),
    /// A port of `network.connect_tcp`.
    ConnectTcp(u16),
    /// A word of `scope`.
    Scope(Scope),
    /// A word of `requires.degrade`.
    Degrade(Degrade),
    /// A rule of `process.refuse`.
    Refuse(Refuse),
    /// A path of `masked_paths`.
    MaskedPath(String),
    /// A path of `readonly_paths`.
    ReadonlyPath(String),
    /// A resource of `rlimits`.
    Rlimit(Resource),
    /// An entry of `devices`.
    Device(Device),
    /// A rule of `detect`, by its name in the profile.
    Detection(String),
    /// A pattern of `exec.commands`.
    Command(String),
}

/// Where the plain values of a profile were written. Like [`Origin`], equal to every other.
#[derive(Clone, Default)]
pub struct Origins(BTreeMap<Part, Origin>);

impl Origins {
    /// Where `part` was written; the nearest file's where several say it.
    #[must_use]
    pub fn of(&self, part: &Part) -> Option<&Origin> {
        self.0.get(part)
    }

    /// All, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&Part, &Origin)> {
        self.0.iter()
    }

    /// Adds one, unless a nearer file has said it.
    pub(super) fn add(&mut self, part: Part, origin: Origin) {
        self.0.entry(part).or_insert(origin);
    }

    /// Adds one in the place of whatever was there.
    pub(super) fn set(&mut self, part: Part, origin: Option<Origin>) {
        match origin {
            Some(origin) => drop(self.0.insert(part, origin)),
            None => drop(self.0.remove(&part)),
        }
    }
}

impl PartialEq for Origins {
    fn eq(&self, _: &Origins) -> bool {
        true
    }
}

impl Eq for Origins {}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}
