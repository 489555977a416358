//! M2xx to M4xx: entries of `syscalls` that do nothing, or not what they look like. The order of
//! decision is conditional `deny`, conditional `tripwire`, conditional `allow`, plain `allow`, plain
//! `tripwire`, plain `deny`.

use super::super::diagnose::{Finding, closest};
use super::super::entry::Call;
use super::super::groups;
use super::super::model::CallLists;
use super::super::resolve::Rule;
use super::super::table::{Lookup, lookup};
use super::conditions::{never, within};
use super::{Subject, finding};
use crate::detect::Sensor;

pub(super) fn look(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let Some(lists) = &subject.own.syscalls else {
        return;
    };
    for call in &lists.allow {
        allowed(lists, call, all);
    }
    let denied = |list: &'static str| match list {
        "tripwire" => lists.tripwire.iter(),
        _ => lists.deny.iter(),
    };
    for list in ["tripwire", "deny"] {
        for call in denied(list).map(|denied| &denied.0) {
            shadowed(subject, lists, list, call, all);
        }
    }
    let lists_of_calls: [Vec<&Call>; 3] = [
        lists.allow.iter().collect(),
        lists.tripwire.iter().map(|denied| &denied.0).collect(),
        lists.deny.iter().map(|denied| &denied.0).collect(),
    ];
    for list in &lists_of_calls {
        twice(lists, list, all);
        narrower(list, all);
        list.iter().for_each(|call| never(call, all));
    }
    for denied in &lists.deny {
        needless(subject, lists, &denied.0, all);
    }
    inherited(subject, lists, all);
}

fn members<'a>(lists: &CallLists, call: &'a Call) -> Vec<&'a str> {
    match call.name.strip_prefix('@') {
        Some(group) => groups::members(&lists.groups.value, group).unwrap_or_default(),
        None => vec![call.name.as_str()],
    }
}

fn allowed(lists: &CallLists, call: &Call, all: &mut Vec<Finding>) {
    let mounts = groups::members(&lists.groups.value, "mount").unwrap_or_default();
    let meant = members(lists, call);
    let mounting = groups::MOUNTING.iter().find(|name| meant.contains(name));
    let help = "remove it; a container that mounts cannot be sandboxed";
    if let Some(name) = mounting {
        let by = match *name == call.name {
            true => String::new(),
            false => format!(" by {}", call.name),
        };
        let message = format!("{name} is allowed{by}: every container is refused");
        all.push(finding("M201", &call.origin, message, help));
    } else if mounts.contains(&call.name.as_str()) {
        let message = format!(
            "{} cannot be allowed: every Landlock domain denies it",
            call.name
        );
        all.push(finding("M210", &call.origin, message, help));
    }
    if call.errno.is_some() {
        let message = format!("{} is allowed, and answers no `errno`", call.name);
        let help = "remove `errno`, or list the call in `deny`";
        all.push(finding("M206", &call.origin, message, help));
    }
    let plain = |other: &&Call| {
        other.args.is_empty() && members(lists, other).contains(&call.name.as_str())
    };
    if !call.args.is_empty()
        && let Some(wider) = lists.allow.iter().find(plain)
    {
        let message = format!(
            "conditions on {} mean nothing: `{}` allows it without, on line {}",
            call.name,
            wider.name,
            wider.origin.line()
        );
        let help = "remove one of them; what a call must not do goes to `deny` or `tripwire`";
        all.push(finding("M203", &call.origin, message, help));
    }
    if call.name.starts_with('@') {
        return;
    }
    let known = groups::members(&lists.groups.value, "known").unwrap_or_default();
    match lookup(&call.name) {
        Lookup::Unknown => {
            let hint = closest(&call.name, known.into_iter());
            let help = match hint.strip_prefix('\n') {
                Some(hint) => hint.to_owned(),
                None => "correct the name; a younger mantlet may know it".into(),
            };
            let message = format!(
                "unknown system call `{}`: nothing is allowed by it",
                call.name
            );
            all.push(finding("M401", &call.origin, message, &help));
        }
        Lookup::Number(_) if !known.contains(&call.name.as_str()) => {
            let message = format!(
                "{} is younger than groups {}",
                call.name, lists.groups.value
            );
            let help = "it is allowed; where it is denied elsewhere it answers ENOSYS";
            all.push(finding("M402", &call.origin, message, help));
        }
        _ => {}
    }
}

/// Plain denials that come after what allows or reports the same. A group may hold what is allowed,
/// unless that is all of it.
fn shadowed(
    subject: &Subject<'_>,
    lists: &CallLists,
    list: &str,
    call: &Call,
    all: &mut Vec<Finding>,
) {
    let whole = &subject.whole.syscalls;
    if !call.args.is_empty() {
        return overtaken(lists, &whole.deny, list, call, all);
    }
    let names = members(lists, call);
    let plainly = |name: &&str| {
        let mut rules = whole.allow.iter();
        rules.any(|rule| rule.name == **name && rule.args.is_empty())
    };
    if !names.is_empty() && names.iter().all(plainly) {
        let message = format!(
            "{} is not denied: `allow` comes before a plain `{list}`",
            call.name
        );
        let help = "remove it here or from `allow`, or deny it under a condition";
        all.push(finding("M202", &call.origin, message, help));
        return;
    }
    let reported = |name: &&str| {
        let mut others = lists.tripwire.iter().map(|denied| &denied.0);
        others.any(|other| other.args.is_empty() && members(lists, other).contains(name))
    };
    if list == "deny" && !names.is_empty() && names.iter().all(reported) {
        let message = format!(
            "{} is reported: `tripwire` comes before a plain `deny`",
            call.name
        );
        all.push(finding(
            "M205",
            &call.origin,
            message,
            "remove it from one of both",
        ));
    }
}

/// Denials under conditions that come after what allows or silences the same.
fn overtaken(lists: &CallLists, denied: &[Rule], list: &str, call: &Call, all: &mut Vec<Finding>) {
    let same = |other: &&Call| other.name == call.name && other.args == call.args;
    if let Some(allowed) = lists.allow.iter().find(same) {
        let message = format!(
            "{} is not denied: `allow` has the very same conditions, on line {}",
            call.name,
            allowed.origin.line()
        );
        let help = "remove it here or from `allow`";
        all.push(finding("M202", &call.origin, message, help));
        return;
    }
    let silent = |rule: &&Rule| {
        rule.name == call.name && !rule.args.is_empty() && within(&call.args, &rule.args)
    };
    if list == "tripwire"
        && let Some(rule) = denied.iter().find(silent)
    {
        let message = format!(
            "{} is not reported: a `deny` under conditions comes before it, {}:{}",
            call.name,
            rule.origin.file(),
            rule.origin.line()
        );
        let help = "remove it here, or there where that is yours";
        all.push(finding("M207", &call.origin, message, help));
    }
}

/// Entries of one list that another one of it makes needless, both under conditions.
fn narrower(list: &[&Call], all: &mut Vec<Finding>) {
    for (i, call) in list.iter().enumerate() {
        let wider = |(j, other): &(usize, &&Call)| {
            let others = *j != i && other.name == call.name && other.args != call.args;
            let alike = others && !other.args.is_empty() && other.errno == call.errno;
            // Of two that come to the same, the later one is too much.
            let equal = || *j < i || !within(&other.args, &call.args);
            alike && within(&call.args, &other.args) && equal()
        };
        if let Some((_, other)) = list.iter().enumerate().find(wider) {
            let message = format!(
                "what {} may be here is within the wider conditions on line {}",
                call.name,
                other.origin.line()
            );
            let help = "remove it, or narrow the other one";
            all.push(finding("M208", &call.origin, message, help));
        }
    }
}

/// A denial that nothing is denied by: what nobody allows nor reports is denied all the same.
fn needless(subject: &Subject<'_>, lists: &CallLists, call: &Call, all: &mut Vec<Finding>) {
    let whole = &subject.whole.syscalls;
    let known = groups::members(&lists.groups.value, "known").unwrap_or_default();
    let named = |rules: &[Rule], name: &str| rules.iter().any(|rule| rule.name == name);
    let fileless = |name: &str| {
        let mut rules = subject.whole.detect.iter();
        name == "memfd_create" && rules.any(|rule| rule.on == Sensor::FilelessExec)
    };
    // A call that is younger than the groups would answer ENOSYS, and clone3 may.
    let here = |name: &&str| known.contains(name) && *name != "clone3";
    let bare =
        |name: &str| !named(&whole.allow, name) && !named(&whole.tripwire, name) && !fileless(name);
    let mut names: Vec<&str> = members(lists, call);
    names.retain(here);
    let usual = call.errno.is_none_or(|errno| errno == libc::EPERM);
    // One under conditions comes before what a child allows.
    let plain = call.args.is_empty();
    if plain && usual && !names.is_empty() && names.into_iter().all(bare) {
        let message = format!("{} is denied anyway: nobody allows it", call.name);
        let help = "remove it; `tripwire` instead of `deny` would report it";
        all.push(finding("M209", &call.origin, message, help));
    }
}

fn twice(lists: &CallLists, list: &[&Call], all: &mut Vec<Finding>) {
    for (i, call) in list.iter().enumerate() {
        let same = |(j, other): &(usize, &&Call)| {
            let earlier = *j < i && other.name == call.name && other.args == call.args;
            let held = other.name.starts_with('@')
                && !call.name.starts_with('@')
                && call.args.is_empty()
                && call.errno.is_none()
                && members(lists, other).contains(&call.name.as_str());
            earlier || held
        };
        if let Some((_, other)) = list.iter().enumerate().find(same) {
            let message = match other.name == call.name {
                true => format!(
                    "{} is listed twice, first on line {}",
                    call.name,
                    other.origin.line()
                ),
                false => format!(
                    "{} is in {}, listed on line {}",
                    call.name,
                    other.name,
                    other.origin.line()
                ),
            };
            all.push(finding("M301", &call.origin, message, "remove it"));
        }
    }
}

fn inherited(subject: &Subject<'_>, lists: &CallLists, all: &mut Vec<Finding>) {
    for call in &lists.allow {
        let names = members(lists, call);
        let granting = subject.parents.iter().find(|parent| {
            let allow = &parent.syscalls.allow;
            let has = |name: &&str| {
                allow
                    .iter()
                    .any(|rule| rule.name == **name && rule.args == call.args)
            };
            !names.is_empty() && names.iter().all(has)
        });
        if let Some(parent) = granting {
            let message = format!("{} is allowed by {} already", call.name, parent.name);
            all.push(finding("M303", &call.origin, message, "remove it"));
        }
    }
}
