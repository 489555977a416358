//! Rules of `detect` as written: each is checked where it is read, so that an error carries its line
//! and column, and becomes a [`Rule`] whose groups are not expanded yet ([`merge`] does that).
//!
//! What one rule alone cannot tell is not judged here: whether its calls are tripwires of the profile,
//! and whether a node can see what it is about.

mod merge;

pub use merge::implied;
pub(super) use merge::{complete, merge};

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

use super::diagnose::closest;
use super::groups;
use super::origin::{At, Origin, Why};
use super::programs::Program;
use super::table::{Lookup, lookup};
use crate::detect::{Freeze, MOST_AFTER, Response, Rule, Sensor, Severity, Then};

/// Longest time of `within` and `for`.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Most tags of a rule.
pub(super) const MOST_TAGS: usize = 16;
/// Most entries of one list, as written.
pub(super) const MOST_ENTRIES: usize = 256;
/// Most letters of a name or a tag.
const MOST_LETTERS: usize = 64;
/// The kernel's largest number of tasks (PID_MAX_LIMIT).
pub(super) const MOST_TASKS: u64 = 1 << 22;

/// A rule. Its name is empty where none is written; [`Rule::profile`] always is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The rule.
    pub rule: Rule,
    /// Where it is written, and why.
    pub origin: Origin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    name: Option<Name>,
    on: Sensor,
    #[serde(default)]
    calls: Option<Vec<CallName>>,
    #[serde(default)]
    programs: Option<Vec<Program>>,
    #[serde(default)]
    above: Option<Above>,
    #[serde(default)]
    unless: Option<Vec<Program>>,
    #[serde(default)]
    respond: Option<Response>,
    #[serde(default)]
    after: Option<After>,
    #[serde(default)]
    within: Option<Time>,
    #[serde(default)]
    r#for: Option<Time>,
    #[serde(default)]
    then: Option<Then>,
    #[serde(default)]
    severity: Option<Severity>,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
    #[serde(default)]
    why: Option<Why>,
}

/// A rule that is judged where it is read, so that an error has its place.
struct Judged(Rule, Option<Why>);

impl<'de> Deserialize<'de> for Judged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At {
            value: Judged(rule, why),
            origin,
        } = At::deserialize(deserializer)?;
        Ok(Entry {
            rule,
            origin: origin.because(why),
        })
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Judged;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rule such as {on: drift, respond: kill-process}")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Judged, E> {
        let known = Sensor::ALL.iter().any(|sensor| sensor.word() == word);
        let word = if known { word } else { "drift" };
        Err(E::custom(format!(
            "a rule is a mapping\nwrite {{on: {word}, respond: log}}"
        )))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Judged, A::Error> {
        let mut fields = Fields::deserialize(MapAccessDeserializer::new(map))?;
        let why = fields.why.take();
        match problem(&fields) {
            None => Ok(Judged(rule(fields), why)),
            Some(problem) => Err(de::Error::custom(problem)),
        }
    }
}

/// Keys that do not go together.
fn problem(fields: &Fields) -> Option<String> {
    misplaced(fields)
        .or_else(|| lists(fields))
        .or_else(|| response(fields))
}

/// Keys that mean something to some sensors only.
fn misplaced(fields: &Fields) -> Option<String> {
    let on = fields.on;
    let keys: [(&str, bool, &[Sensor]); 3] = [
        ("calls", fields.calls.is_some(), &[Sensor::Tripwire]),
        ("programs", fields.programs.is_some(), &WITH_PROGRAMS),
        ("above", fields.above.is_some(), &[Sensor::ProcessCount]),
    ];
    for (key, written, fitting) in keys {
        if written && !fitting.contains(&on) {
            let fitting: Vec<&str> = fitting.iter().map(|sensor| sensor.word()).collect();
            return Some(format!(
                "`{key}` goes with `on: {}` only, and this rule is `on: {}`\nremove it",
                fitting.join("` or `on: "),
                on.word()
            ));
        }
    }
    (fields.unless.is_some() && !on.has_process()).then(|| {
        format!(
            "`unless` excepts executables, and `on: {}` is about no process\nremove it",
            on.word()
        )
    })
}

const WITH_PROGRAMS: [Sensor; 2] = [Sensor::Exec, Sensor::ReverseShell];

/// Lists that say nothing, or too much.
fn lists(fields: &Fields) -> Option<String> {
    let lengths = [
        ("calls", fields.calls.as_ref().map(Vec::len)),
        ("programs", fields.programs.as_ref().map(Vec::len)),
        ("unless", fields.unless.as_ref().map(Vec::len)),
    ];
    for (key, length) in lengths {
        match length {
            Some(0) => {
                return Some(format!("an empty `{key}` means nothing\nremove it"));
            }
            Some(many) if many > MOST_ENTRIES => {
                return Some(format!(
                    "`{key}` has {many} entries, at most {MOST_ENTRIES}\nuse groups and wildcards"
                ));
            }
            _ => {}
        }
    }
    let tags = fields.tags.as_ref().map_or(0, Vec::len);
    (tags > MOST_TAGS).then(|| format!("{tags} tags, at most {MOST_TAGS}\nwrite fewer"))
}

/// What the sensor cannot be answered with, and times without what they are the times of.
fn response(fields: &Fields) -> Option<String> {
    let (on, respond) = (fields.on, fields.respond.unwrap_or(Response::Log));
    if let Some(why) = impossible(on, respond) {
        let all = [
            Response::Log,
            Response::Deny,
            Response::KillProcess,
            Response::KillContainer,
            Response::Freeze,
        ];
        let possible = all.into_iter().filter(|&r| impossible(on, r).is_none());
        let possible: Vec<&str> = possible.map(Response::word).collect();
        return Some(format!(
            "`on: {}` cannot be answered with `{}`: {why}\nwrite one of {}",
            on.word(),
            respond.word(),
            possible.join(", ")
        ));
    }
    if fields.within.is_some() && fields.after.as_ref().is_none_or(|after| after.0 == 1) {
        return Some(
            "`within` is the time in which `after` times count, and the first time needs none\nwrite \
             `after: 2` or more, or remove it"
                .into(),
        );
    }
    let freeze = [
        ("for", fields.r#for.is_some()),
        ("then", fields.then.is_some()),
    ];
    let alone = freeze.into_iter().find(|(_, written)| *written);
    alone
        .filter(|_| respond != Response::Freeze)
        .map(|(key, _)| {
            format!("`{key}` goes with `respond: freeze` only\nremove it, or write that")
        })
}

fn impossible(on: Sensor, respond: Response) -> Option<&'static str> {
    match respond {
        Response::Deny if !on.can_deny() => Some("what it sees has happened already"),
        Response::KillProcess if !on.has_process() => Some("it is about no process"),
        Response::KillProcess if on == Sensor::Exit => Some("the process has ended"),
        _ => None,
    }
}

fn rule(fields: Fields) -> Rule {
    let on = fields.on;
    let named = |list: Option<Vec<Program>>| -> Vec<String> {
        list.into_iter()
            .flatten()
            .map(|program| program.0)
            .collect()
    };
    let (severity, tags) = usual(on, fields.programs.is_some());
    let respond = fields.respond.unwrap_or(Response::Log);
    let usual_freeze = Freeze::default();
    let freeze = Freeze {
        for_ms: fields.r#for.map_or(usual_freeze.for_ms, |time| time.0),
        then: fields.then.unwrap_or(usual_freeze.then),
    };
    Rule {
        name: fields.name.map(|name| name.0).unwrap_or_default(),
        profile: String::new(),
        on,
        calls: fields
            .calls
            .into_iter()
            .flatten()
            .map(|call| call.0)
            .collect(),
        programs: named(fields.programs),
        above: fields.above.map(|above| above.0),
        unless: named(fields.unless),
        respond,
        would: None,
        after: fields.after.map_or(1, |after| after.0),
        within_ms: fields.within.map_or(0, |time| time.0),
        freeze: (respond == Response::Freeze).then_some(freeze),
        severity: fields.severity.unwrap_or(severity),
        tags: fields.tags.map_or_else(
            || tags.iter().map(|tag| (*tag).to_owned()).collect(),
            |tags| tags.into_iter().map(|tag| tag.0).collect(),
        ),
    }
}

/// Severity and MITRE ATT&CK's ids of a rule that says neither. `listed`: it names programs.
fn usual(on: Sensor, listed: bool) -> (Severity, &'static [&'static str]) {
    match on {
        // Escape to Host: what tripwires are mostly about.
        Sensor::Tripwire => (Severity::Warning, &["T1611"]),
        // A program that is listed is worth a look; which technique it is, the list tells.
        Sensor::Exec if listed => (Severity::Notice, &["TA0002"]),
        Sensor::Exec | Sensor::Exit => (Severity::Info, &[]),
        // Ingress Tool Transfer.
        Sensor::Drift => (Severity::Critical, &["T1105"]),
        // Reflective Code Loading.
        Sensor::FilelessExec => (Severity::Critical, &["T1620"]),
        // Abuse Elevation Control Mechanism: Setuid and Setgid.
        Sensor::PrivilegeChange => (Severity::Warning, &["T1548.001"]),
        // Command and Scripting Interpreter: Unix Shell.
        Sensor::ReverseShell => (Severity::Critical, &["T1059.004"]),
        // Steal Application Access Token.
        Sensor::TokenAccess => (Severity::Critical, &["T1528"]),
        // Endpoint Denial of Service.
        Sensor::ProcessCount => (Severity::Warning, &["T1499"]),
        Sensor::OomKill => (Severity::Notice, &[]),
    }
}

/// A rule's name.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        if is_word(&written, &['.', '-', '_']) {
            return Ok(Name(written));
        }
        Err(de::Error::custom(format!(
            "`{}` is no rule's name\nuse letters, digits, `-`, `_` and `.`, {MOST_LETTERS} at most",
            written.escape_debug()
        )))
    }
}

/// A tag.
struct Tag(String);

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        if is_word(&written, &['.', '-', '_', ':']) {
            return Ok(Tag(written));
        }
        Err(de::Error::custom(format!(
            "`{}` is no tag\nuse letters, digits, `-`, `_`, `.` and `:`, {MOST_LETTERS} at most",
            written.escape_debug()
        )))
    }
}

fn is_word(text: &str, marks: &[char]) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || marks.contains(&letter);
    (1..=MOST_LETTERS).contains(&text.len()) && text.chars().all(plain)
}

/// A call by its name, or an `@group` of them. Conditions are the tripwire's own business.
struct CallName(String);

impl<'de> Deserialize<'de> for CallName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        if !written.starts_with('@') && lookup(&written) == Lookup::Unknown {
            let known = groups::members(groups::CURRENT, "known").unwrap_or_default();
            let hint = closest(&written, known.into_iter());
            return Err(de::Error::custom(format!(
                "unknown system call `{written}`: it would never be seen{hint}"
            )));
        }
        Ok(CallName(written))
    }
}

/// How often.
struct After(u32);

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = u64::deserialize(deserializer)?;
        match u32::try_from(written) {
            Ok(times @ 1..=MOST_AFTER) => Ok(After(times)),
            _ => Err(de::Error::custom(format!(
                "`after: {written}` is out of range\nwrite 1 (the first time) to {MOST_AFTER}"
            ))),
        }
    }
}

/// Tasks.
struct Above(u64);

impl<'de> Deserialize<'de> for Above {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = u64::deserialize(deserializer)?;
        if (1..MOST_TASKS).contains(&written) {
            return Ok(Above(written));
        }
        Err(de::Error::custom(format!(
            "`above: {written}` is never or always so\nwrite 1 to {}",
            MOST_TASKS - 1
        )))
    }
}

/// Milliseconds, written as a number with its unit.
struct Time(u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        let Ok(time) = humantime::parse_duration(&written) else {
            return Err(de::Error::custom(format!(
                "`{written}` is no time\nwrite a number with its unit, such as 10s, 5m or 1h"
            )));
        };
        match u64::try_from(time.as_millis()) {
            Ok(ms @ 1..) if time <= LONGEST => Ok(Time(ms)),
            _ => Err(de::Error::custom(format!(
                "`{written}` is out of range\nwrite 1ms to 24h"
            ))),
        }
    }
}
