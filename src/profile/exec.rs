//! What a profile says of exec sessions (`exec:`): who may have one, what it may execute, and what
//! else it is held to.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use super::Profile;
use super::diagnose::{Error, Problem};
use super::entry::NameOr;
use super::origin::{At, Origin};

/// `exec` as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Sessions with a terminal or an attached standard input.
    #[serde(default)]
    pub interactive: Option<At<Interactive>>,
    /// A profile that every session is held to besides the container's own.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::name")]
    pub profile: Option<At<String>>,
    /// What sessions may execute, by argv[0]; absent: anything.
    #[serde(default)]
    pub commands: Option<At<Vec<At<Command>>>>,
}

/// What becomes of an interactive session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interactive {
    /// It is a session like any other.
    Allow,
    /// There is none.
    Deny,
    /// It is held to this profile too.
    Profile(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByProfile {
    profile: String,
}

impl<'de> Deserialize<'de> for Interactive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A word, or the mapping.
        struct Written(Result<String, String>);
        impl<'de> Deserialize<'de> for Written {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                ByProfile::deserialize(deserializer).map(|by| Written(Err(by.profile)))
            }
        }
        let shape =
            NameOr::<Written>::new("allow, deny or {profile: NAME}", |word| Written(Ok(word)));
        match deserializer.deserialize_any(shape)?.0 {
            Err(profile) => Ok(Interactive::Profile(profile)),
            Ok(word) if word == "allow" => Ok(Interactive::Allow),
            Ok(word) if word == "deny" => Ok(Interactive::Deny),
            Ok(word) => Err(de::Error::custom(format!(
                "`{word}` is neither allow, deny nor {{profile: NAME}}\nwrite one of these"
            ))),
        }
    }
}

/// A pattern for argv[0]: a bare name, or an absolute path, either with wildcards
/// ([`super::glob`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(pub String);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        match problem(&written) {
            None => Ok(Command(written)),
            Some(problem) => Err(de::Error::custom(format!("`{written}` {problem}"))),
        }
    }
}

fn problem(pattern: &str) -> Option<&'static str> {
    if pattern.is_empty() || pattern.contains('\0') {
        Some("can be no argv[0]\nwrite a name such as pg_isready, or an absolute path")
    } else if pattern.contains('/') && !is_plain_path(pattern) {
        Some(
            "is neither a bare name nor a plain absolute path\nwrite it from `/`, without `.` and `..`",
        )
    } else {
        None
    }
}

/// Whether `path` is absolute and means one place only as far as its text can tell.
pub(super) fn is_plain_path(path: &str) -> bool {
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

/// Whether `pattern` covers `argv0`, text against text. A name never stands for a path nor a path
/// for a name, and a path with `..` in it for nothing: a wildcard would lead anywhere.
#[must_use]
pub fn covers(pattern: &str, argv0: &str) -> bool {
    let alike = if argv0.contains('/') {
        pattern.starts_with('/') && is_plain_path(argv0)
    } else {
        !pattern.contains('/')
    };
    alike && super::glob::covers(pattern, argv0)
}

/// `exec`, with the parents folded in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// Absent: as any other session.
    pub interactive: Option<Interactive>,
    /// Absent: no other profile than the container's.
    pub profile: Option<String>,
    /// Patterns for argv[0]; absent: anything.
    pub commands: Option<BTreeSet<String>>,
    /// The profiles named above, whole.
    pub profiles: BTreeMap<String, Profile>,
}

impl Sessions {
    /// Profiles that a session is held to besides the container's own.
    pub fn stricter(&self, interactive: bool) -> impl Iterator<Item = &Profile> {
        let more = match &self.interactive {
            Some(Interactive::Profile(name)) if interactive => Some(name),
            _ => None,
        };
        let names = self.profile.iter().chain(more);
        names.filter_map(|name| self.profiles.get(name))
    }
}

/// What a child writes is its own; of what it leaves out, all parents that say something must say the
/// same, because neither of two answers is the looser one in every case. Commands add up. `combined` is
/// where the profile `name` says what it extends.
pub(super) fn merge(
    (name, combined): (&str, &Origin),
    own: Option<Exec>,
    parents: &[Profile],
    whole: &mut dyn FnMut(&str, &Origin) -> Result<Profile, Error>,
) -> Result<Option<Sessions>, Error> {
    let said: Vec<&Sessions> = parents.iter().filter_map(|p| p.exec.as_ref()).collect();
    if own.is_none() && said.is_empty() {
        return Ok(None);
    }
    let own = own.unwrap_or(Exec {
        interactive: None,
        profile: None,
        commands: None,
    });
    let interactive = said.iter().filter_map(|exec| exec.interactive.as_ref());
    let profile = said.iter().filter_map(|exec| exec.profile.as_ref());
    let lists = said.iter().filter_map(|exec| exec.commands.clone());
    let listed = own.commands.map(|list| {
        let commands = list.value.into_iter();
        commands.map(|command| command.value.0).collect()
    });
    let own_places = [
        own.profile.as_ref().map(|own| own.origin.clone()),
        own.interactive.as_ref().map(|own| own.origin.clone()),
    ];
    let own_interactive = own.interactive.map(|own| own.value);
    let own_profile = own.profile.map(|own| own.value);
    let by = (name, combined);
    let mut sessions = Sessions {
        interactive: agreed(by, "exec.interactive", own_interactive, interactive)?,
        profile: agreed(by, "exec.profile", own_profile, profile)?,
        commands: listed.into_iter().chain(lists).reduce(|a, b| &a | &b),
        profiles: Default::default(),
    };
    let by_profile = match &sessions.interactive {
        Some(Interactive::Profile(named)) => Some(named),
        _ => None,
    };
    let wanted = [sessions.profile.as_ref(), by_profile];
    for (named, place) in wanted.into_iter().zip(own_places) {
        let Some(named) = named else { continue };
        let found = said.iter().find_map(|exec| exec.profiles.get(named));
        let profile = match found {
            Some(profile) => profile.clone(),
            None => whole(named, place.as_ref().unwrap_or(combined))?,
        };
        sessions.profiles.insert(named.clone(), profile);
    }
    Ok(Some(sessions))
}

fn agreed<'a, T: Clone + PartialEq + 'a>(
    (name, combined): (&str, &Origin),
    key: &'static str,
    own: Option<T>,
    mut parents: impl Iterator<Item = &'a T>,
) -> Result<Option<T>, Error> {
    if own.is_some() {
        return Ok(own);
    }
    let first = parents.next();
    if parents.any(|other| Some(other) != first) {
        let profile = name.into();
        return Err(Error::at(combined, Problem::Disagree { profile, key }));
    }
    Ok(first.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_the_text_of_argv0_and_nothing_that_only_leads_there() {
        for (pattern, argv0) in [
            ("pg_isready", "pg_isready"),
            ("pg_*", "pg_dump"),
            ("/usr/bin/pg_isready", "/usr/bin/pg_isready"),
            ("/opt/health/*", "/opt/health/live"),
            ("/opt/**", "/opt/a/b"),
            ("*", "sh"),
        ] {
            assert!(covers(pattern, argv0), "{pattern} {argv0}");
        }
        for (pattern, argv0) in [
            ("pg_isready", "/usr/bin/pg_isready"),
            ("pg_isready", "./pg_isready"),
            ("pg_isready", "bin/pg_isready"),
            ("pg_isready", ""),
            ("/usr/bin/pg_isready", "pg_isready"),
            ("/usr/bin/pg_isready", "/usr/bin//pg_isready"),
            ("/opt/health/*", "/opt/health/.."),
            ("/opt/health/*", "/opt/health/../../bin/sh"),
            ("/opt/*/live", "/opt/../live"),
            ("/opt/**", "/opt/../bin/sh"),
            ("/opt/health/*", "/opt/health/"),
            ("*", "/bin/sh"),
            ("**", "/bin/sh"),
            ("*", "./sh"),
        ] {
            assert!(!covers(pattern, argv0), "{pattern} {argv0}");
        }
    }
}
