//! Rules of `detect` from a file and its parents, and what they come to in the profile as a whole:
//! groups expanded, and a call denied that one of them implies.
//!
//! Rules add up: nothing that a parent watches for is lost, unless the child itself writes a rule
//! of that name. Groups and calls are judged last, because only the whole profile has one data version
//! and says which calls are tripwires.

use std::collections::BTreeSet;

use super::super::diagnose::{Error, Problem, closest_group};
use super::super::entry::{Condition, Op};
use super::super::origin::{Origin, Part};
use super::super::resolve::{self, Profile};
use super::super::{groups, programs};
use super::Entry;
use crate::detect::{Rule, Sensor};

/// Adds a file's own rules to its parents'. A rule that has no name is called by its sensor, the
/// second such `drift-2`; of two parents' different rules of one name the later one is counted up too.
pub(in crate::profile) fn merge(
    profile: &str,
    own: Vec<Entry>,
    parents: &[Profile],
) -> Result<Vec<Entry>, Error> {
    // 1. Names that the file itself gives.
    let mut taken = BTreeSet::new();
    for Entry { rule, origin } in own.iter().filter(|entry| !entry.rule.name.is_empty()) {
        if !taken.insert(rule.name.clone()) {
            let problem = Problem::SameRule {
                profile: profile.into(),
                rule: rule.name.clone(),
            };
            return Err(Error::at(origin, problem));
        }
    }
    // 2. The parents', but those that the file replaces and those that come by two ways.
    let replaced = taken.clone();
    let mut inherited: Vec<Entry> = Vec::new();
    for parent in parents {
        for rule in &parent.detect {
            let entry = Entry {
                rule: rule.clone(),
                origin: origin(parent, rule),
            };
            if !replaced.contains(&rule.name) && !inherited.contains(&entry) {
                inherited.push(entry);
            }
        }
    }
    let mut all = inherited;
    for Entry { rule, .. } in &mut all {
        rule.name = free(&rule.name, &mut taken);
    }
    // 3. Its own.
    for mut entry in own {
        if entry.rule.name.is_empty() {
            entry.rule.name = free(entry.rule.on.word(), &mut taken);
        }
        all.push(entry);
    }
    Ok(all)
}

/// Where a rule of a profile was written.
fn origin(profile: &Profile, rule: &Rule) -> Origin {
    let part = Part::Detection(rule.name.clone());
    profile.origins.of(&part).cloned().unwrap_or_default()
}

/// `name`, or the first of `name-2`, `name-3`, … that nobody has, which is taken thereby.
fn free(name: &str, taken: &mut BTreeSet<String>) -> String {
    let counted = (2_u32..).map(|number| format!("{name}-{number}"));
    let mut names = [name.to_owned()].into_iter().chain(counted);
    let found = names.find(|name| !taken.contains(name));
    let found = found.expect("there are more numbers than rules");
    taken.insert(found.clone());
    found
}

/// Makes the rules of a whole profile what the supervisor goes by.
pub(in crate::profile) fn complete(profile: &mut Profile) -> Result<(), Error> {
    imply(profile);
    let mut rules = std::mem::take(&mut profile.detect);
    for rule in &mut rules {
        let origin = origin(profile, rule);
        rule.profile.clone_from(&profile.name);
        if rule.on == Sensor::Tripwire {
            rule.calls = tripping(profile, rule, &origin)?;
        }
        if rule.on == Sensor::ReverseShell && rule.programs.is_empty() {
            rule.programs = vec!["@shells".into()];
        }
        let expand = |list: &[String]| {
            programs::expand((&profile.name, &origin), &profile.syscalls.groups, list)
        };
        rule.programs = expand(&rule.programs)?;
        rule.unless = expand(&rule.unless)?;
    }
    profile.detect = rules;
    Ok(())
}

/// The condition under which memfd_create(2) makes memory that can be executed: its flags lack
/// MFD_NOEXEC_SEAL (linux/memfd.h).
#[must_use]
pub fn implied() -> Condition {
    const MFD_NOEXEC_SEAL: u64 = 0x8;
    Condition {
        index: 1,
        op: Op::Masked,
        value: 0,
        mask: Some(MFD_NOEXEC_SEAL),
    }
}

/// Nobody sees the execution of a memfd before it happens but whoever sees it made: a rule on such
/// executions makes it a tripwire, whatever the profile allows. Where the profile denies every memfd
/// in silence it stays so.
fn imply(profile: &mut Profile) {
    const CALL: &str = "memfd_create";
    let mut rules = profile.detect.iter();
    let Some(asks) = rules.find(|rule| rule.on == Sensor::FilelessExec) else {
        return;
    };
    let origin = origin(profile, asks);
    let calls = &mut profile.syscalls;
    let named = |list: &[resolve::Rule]| list.iter().any(|rule| rule.name == CALL);
    let rule = resolve::Rule {
        name: CALL.into(),
        args: vec![implied()],
        errno: None,
        origin,
    };
    let there = calls
        .tripwire
        .iter()
        .any(|have| have.name == rule.name && have.args == rule.args);
    if !there && (named(&calls.allow) || named(&calls.tripwire)) {
        calls.tripwire.push(rule);
    }
}

/// The calls of a rule on tripwires: each that it names must be one, and some of each group.
fn tripping(profile: &Profile, rule: &Rule, origin: &Origin) -> Result<Vec<String>, Error> {
    let calls = &profile.syscalls;
    let listed = |list: &[resolve::Rule], name: &str| list.iter().any(|have| have.name == name);
    let never = |call: &str, why| {
        let problem = Problem::NeverTrips {
            profile: profile.name.clone(),
            rule: rule.name.clone(),
            call: call.into(),
            why,
        };
        Error::at(origin, problem)
    };
    if calls.tripwire.is_empty() {
        return Err(never("tripwires", "the profile has no tripwire"));
    }
    let mut all: Vec<String> = Vec::new();
    for written in &rule.calls {
        let Some(group) = written.strip_prefix('@') else {
            if !listed(&calls.tripwire, written) {
                let why = match listed(&calls.allow, written) {
                    true => "the profile allows it",
                    false => "the profile denies it in silence",
                };
                return Err(never(written, why));
            }
            add(&mut all, written);
            continue;
        };
        let members = groups::members(&calls.groups, group).ok_or_else(|| {
            let problem = Problem::Group {
                profile: profile.name.clone(),
                version: calls.groups.clone(),
                group: group.into(),
                hint: closest_group(group, groups::names(&calls.groups).into_iter()),
            };
            Error::at(origin, problem)
        })?;
        let tripping = members
            .into_iter()
            .filter(|name| listed(&calls.tripwire, name));
        let tripping: Vec<&str> = tripping.collect();
        if tripping.is_empty() {
            return Err(never(written, "none of them is a tripwire of the profile"));
        }
        tripping.into_iter().for_each(|name| add(&mut all, name));
    }
    Ok(all)
}

fn add(all: &mut Vec<String>, name: &str) {
    if !all.iter().any(|have| have == name) {
        all.push(name.to_owned());
    }
}
