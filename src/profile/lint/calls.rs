//! M2xx to M4xx: entries of `syscalls` that do nothing, or not what they look like. The order of
//! decision is conditional `deny`, conditional `tripwire`, conditional `allow`, plain `allow`, plain
//! `tripwire`, plain `deny`.

use super::super::diagnose::{Finding, closest};
use super::super::entry::{Call, Condition, Op};
use super::super::groups;
use super::super::model::CallLists;
use super::super::table::{Lookup, is_int, lookup};
use super::{Subject, finding};

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
        list.iter().for_each(|call| never(call, all));
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
    if call.name == "@mount" || mounts.contains(&call.name.as_str()) {
        let message = format!(
            "{} cannot be allowed: every Landlock domain denies it",
            call.name
        );
        let help = "remove it; a container that mounts cannot be sandboxed";
        all.push(finding("M201", &call.origin, message, help));
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
    if !call.args.is_empty() {
        return;
    }
    let names = members(lists, call);
    let whole = &subject.whole.syscalls;
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

fn never(call: &Call, all: &mut Vec<Finding>) {
    let impossible = call.args.iter().find_map(|one| {
        let int = is_int(&call.name, one.index);
        cannot_hold(one, int).or_else(|| {
            let other = call.args.iter().find(|other| contradict(one, other))?;
            Some(format!(
                "argument {} cannot be {:#x} and {:#x}",
                one.index, one.value, other.value
            ))
        })
    });
    if let Some(why) = impossible {
        let message = format!("the conditions on {} never hold: {why}", call.name);
        all.push(finding(
            "M204",
            &call.origin,
            message,
            "correct or remove the entry",
        ));
    }
}

fn cannot_hold(one: &Condition, int: bool) -> Option<String> {
    let most = if int { u64::from(u32::MAX) } else { u64::MAX };
    let index = one.index;
    match one.op {
        Op::Lt if one.value == 0 => Some(format!("argument {index} is never below 0")),
        Op::Gt if one.value >= most => Some(format!("argument {index} is never above {most:#x}")),
        Op::Eq | Op::Ge if one.value > most => Some(format!(
            "argument {index} is an int, and never {:#x}",
            one.value
        )),
        Op::MaskedNe if one.mask == Some(0) => Some("no bits are compared".into()),
        _ => None,
    }
}

fn contradict(one: &Condition, other: &Condition) -> bool {
    one.index == other.index
        && match (one.op, other.op) {
            (Op::Eq, Op::Eq) => one.value != other.value,
            (Op::Eq, Op::Ne) => one.value == other.value,
            (Op::Eq, Op::Lt) => one.value >= other.value,
            (Op::Eq, Op::Gt) => one.value <= other.value,
            (Op::Eq, Op::Le) => one.value > other.value,
            (Op::Eq, Op::Ge) => one.value < other.value,
            (Op::Lt, Op::Gt) => one.value <= other.value.saturating_add(1),
            _ => false,
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
