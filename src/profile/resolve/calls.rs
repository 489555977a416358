//! The lists of system calls: groups expanded, parents' appended.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::diagnose::{Error, Problem, closest_group};
use super::super::entry::{Call, Condition};
use super::super::groups;
use super::super::model::{CallLists, Document};
use super::{Profile, Rule, Syscalls};

/// A file's own lists and its parents'.
pub(super) fn merge(document: &Document, parents: &[Profile]) -> Result<Syscalls, Error> {
    let mut merged = match &document.syscalls {
        Some(lists) => expand(&document.name.value, lists)?,
        None => Syscalls {
            groups: parents
                .first()
                .map_or(groups::CURRENT.into(), |p| p.syscalls.groups.clone()),
            allow: Vec::new(),
            tripwire: Vec::new(),
            deny: Vec::new(),
        },
    };
    for parent in parents {
        if parent.syscalls.groups != merged.groups {
            let own = document.syscalls.as_ref().map(|lists| &lists.groups.origin);
            let extends = document.extends.first().map(|first| &first.origin);
            let problem = Problem::MixedGroups {
                profile: document.name.value.clone(),
                own: merged.groups,
                parent: parent.name.clone(),
                theirs: parent.syscalls.groups.clone(),
            };
            let origin = own.or(extends).cloned().unwrap_or_default();
            return Err(Error::at(&origin, problem));
        }
        append(&mut merged.allow, &parent.syscalls.allow);
        append(&mut merged.tripwire, &parent.syscalls.tripwire);
        append(&mut merged.deny, &parent.syscalls.deny);
    }
    // An allow entry takes back a denial of the very same calls.
    let allowed: BTreeSet<(String, Vec<Condition>)> = merged
        .allow
        .iter()
        .map(|rule| (rule.name.clone(), rule.args.clone()))
        .collect();
    let kept = |rule: &Rule| !allowed.contains(&(rule.name.clone(), rule.args.clone()));
    merged.tripwire.retain(kept);
    merged.deny.retain(kept);
    Ok(merged)
}

/// Adds what is not there yet; the nearer profile's errno stays.
fn append(list: &mut Vec<Rule>, more: &[Rule]) {
    for rule in more {
        if !list
            .iter()
            .any(|have| have.name == rule.name && have.args == rule.args)
        {
            list.push(rule.clone());
        }
    }
}

fn expand(profile: &str, lists: &CallLists) -> Result<Syscalls, Error> {
    let version = &lists.groups.value;
    if !groups::VERSIONS.contains(&version.as_str()) {
        let problem = Problem::Groups {
            profile: profile.into(),
            found: version.clone(),
            known: groups::VERSIONS.join(", "),
        };
        return Err(Error::at(&lists.groups.origin, problem));
    }
    let expand = |calls: &mut dyn Iterator<Item = &Call>| expand_calls(profile, version, calls);
    Ok(Syscalls {
        groups: version.clone(),
        allow: expand(&mut lists.allow.iter())?,
        tripwire: expand(&mut lists.tripwire.iter().map(|d| &d.0))?,
        deny: expand(&mut lists.deny.iter().map(|d| &d.0))?,
    })
}

fn expand_calls(
    profile: &str,
    version: &str,
    calls: &mut dyn Iterator<Item = &Call>,
) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |rule: Rule| {
        if seen.insert((rule.name.clone(), rule.args.clone())) {
            rules.push(rule);
        }
    };
    for call in calls {
        let Some(group) = call.name.strip_prefix('@') else {
            add(Rule {
                name: call.name.clone(),
                args: call.args.clone(),
                errno: call.errno,
                origin: call.origin.clone(),
            });
            continue;
        };
        let members = groups::members(version, group).ok_or_else(|| {
            let problem = Problem::Group {
                profile: profile.into(),
                version: version.into(),
                group: group.into(),
                hint: closest_group(group, groups::names(version).into_iter()),
            };
            Error::at(&call.origin, problem)
        })?;
        let origin = call.origin.by_group(&Arc::from(group));
        for name in members {
            add(Rule {
                name: name.into(),
                args: Vec::new(),
                errno: call.errno,
                origin: origin.clone(),
            });
        }
    }
    Ok(rules)
}
