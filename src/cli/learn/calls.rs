//! From system calls that were made to lines of `syscalls`: single names, narrowed by an argument
//! where few values of one that matters were seen.

use std::collections::{BTreeMap, BTreeSet};

use super::spelt;
use super::union::{Coverage, Union};
use crate::access::calls::{NAMESPACES, deciding};
use crate::access::{Access, Argument};
use crate::profile::groups;
use crate::profile::table::{self, Lookup};

/// One line of `syscalls.allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The call's name, or an `@group`.
    pub name: String,
    /// The argument that narrows it.
    pub only: Option<Argument>,
    /// When and by whom; none for what was not seen and is allowed all the same.
    pub coverage: Option<Coverage>,
    /// What a reader should know of it.
    pub note: String,
}

/// What `syscalls` should say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calls {
    /// Allowed.
    pub allow: Vec<Line>,
    /// Refused with ENOSYS, so that programs take another way, with the reason.
    pub absent: Vec<(String, &'static str)>,
    /// Seen, and not to be had by any profile, with the reason.
    pub never: Vec<(String, &'static str)>,
}

/// Values of one argument that are written one by one; more say that the call is used at large.
const MOST_VALUES: usize = 16;

/// What every program may need though no recording shows it, and why. Of these, [`crate::access::UNSEEN`] are
/// not looked at.
const IMPLIED: [(&str, &str); 10] = [
    ("clock_gettime", "a call where the node's clock has no vDSO"),
    ("execve", "starts the workload"),
    ("exit", "not recorded; ends a thread"),
    ("futex", "whether threads wait for each other is chance"),
    ("getcpu", "a call where the vDSO has none"),
    ("gettimeofday", "a call where the node's clock has no vDSO"),
    (
        "restart_syscall",
        "not recorded; made by the kernel after a stop",
    ),
    (
        "rt_sigreturn",
        "not recorded; returns from a signal handler",
    ),
    ("sched_yield", "not recorded; gives way"),
    ("time", "a call where the node's clock has no vDSO"),
];

/// Calls that the exact filter lets through whatever a profile says; no line is lost on them.
const ALWAYS: [&str; 3] = ["exit_group", "read", "write"];

/// clone(2) that makes no namespace.
const NO_NAMESPACES: Argument = Argument {
    index: 0,
    value: 0,
    mask: Some(NAMESPACES),
};

/// What a C library does where clone3 answers ENOSYS.
#[must_use]
pub fn plain_clone() -> Access {
    Access::Syscall {
        name: "clone".into(),
        args: vec![NO_NAMESPACES],
    }
}

/// Groups that are not written for their members: each member is a decision of its own.
const NOT_FOLDED: [&str; 16] = [
    "bpf",
    "clock",
    "cpu-emulation",
    "debug",
    "handles",
    "io-uring",
    "keyring",
    "known",
    "module",
    "mount",
    "namespaces",
    "obsolete",
    "privileged",
    "raw-io",
    "system-service",
    "userfault",
];

/// Makes lines of what `union` says of calls. `fold`: groups of which half was seen stand for their
/// members; else only those of which everything was.
#[must_use]
pub fn lines(union: &Union, fold: bool) -> Calls {
    let mut calls = Calls::default();
    let mut by_name: BTreeMap<&str, Vec<(&[Argument], &Coverage)>> = BTreeMap::new();
    for (access, coverage) in &union.seen {
        if let Access::Syscall { name, args } = access {
            by_name.entry(name).or_default().push((args, coverage));
        }
    }
    for (name, seen) in &by_name {
        if let Some(why) = never(name) {
            calls.never.push(((*name).to_owned(), why));
        } else if name.starts_with("io_uring_") {
            let why = "its requests pass every filter; programs take the plain calls";
            calls.absent.push(((*name).to_owned(), why));
        } else if !ALWAYS.contains(name) {
            calls.allow.extend(narrowed(name, seen));
        }
    }
    clone3(&mut calls);
    for (name, why) in IMPLIED {
        let native = matches!(table::lookup(name), Lookup::Number(_));
        if native && !calls.allow.iter().any(|line| line.name == name) {
            calls.allow.push(Line {
                name: name.into(),
                only: None,
                coverage: None,
                note: match why.starts_with("not ") {
                    true => why.into(),
                    false => format!("not seen; {why}"),
                },
            });
        }
    }
    folded(&mut calls.allow, fold);
    calls.allow.sort_by(|a, b| {
        let key = |line: &Line| (!line.name.starts_with('@'), line.name.clone(), line.only);
        key(a).cmp(&key(b))
    });
    calls
}

/// Why no profile can allow a call.
#[must_use]
pub fn never(name: &str) -> Option<&'static str> {
    if crate::policy::MOUNTING.contains(&name) {
        return Some("every Landlock domain denies it; use a volume of the pod");
    }
    match table::lookup(name) {
        Lookup::Unknown => Some("this build does not know it, so it answers ENOSYS"),
        Lookup::Elsewhere => Some("a call of another architecture"),
        Lookup::Number(_) => None,
    }
}

/// The lines of one call: by the values of its deciding argument, or bare.
fn narrowed(name: &str, seen: &[(&[Argument], &Coverage)]) -> Vec<Line> {
    let bare = |note: String| {
        let mut coverage = Coverage::default();
        seen.iter().for_each(|(_, other)| coverage.join(other));
        vec![Line {
            name: name.into(),
            only: None,
            coverage: Some(coverage),
            note,
        }]
    };
    let Some(index) = deciding(name) else {
        return bare(String::new());
    };
    let mut values: BTreeMap<Argument, Coverage> = BTreeMap::new();
    for (args, coverage) in seen {
        let Some(argument) = args.iter().find(|argument| argument.index == index) else {
            return bare(String::new());
        };
        values.entry(*argument).or_default().join(coverage);
    }
    if values.len() > MOST_VALUES {
        return bare(format!("{} values of argument {index}", values.len()));
    }
    let line = |(argument, coverage): (Argument, Coverage)| Line {
        note: spelt::argument(name, &argument),
        name: name.into(),
        only: Some(argument),
        coverage: Some(coverage),
    };
    values.into_iter().map(line).collect()
}

/// clone3 takes its flags from memory, which no filter reads: next to a clone with a condition it
/// answers ENOSYS, and C libraries take clone instead. So a recording that shows clone3 alone needs a
/// line for clone.
fn clone3(calls: &mut Calls) {
    let Some(at) = calls.allow.iter().position(|line| line.name == "clone3") else {
        return;
    };
    let narrow = |line: &&Line| line.name == "clone";
    if calls
        .allow
        .iter()
        .filter(narrow)
        .any(|line| line.only.is_none())
    {
        return;
    }
    let line = calls.allow.remove(at);
    let plain = NO_NAMESPACES;
    match calls
        .allow
        .iter_mut()
        .find(|line| line.name == "clone" && line.only == Some(plain))
    {
        Some(clone) => {
            if let (Some(known), Some(more)) = (&mut clone.coverage, &line.coverage) {
                known.join(more);
            }
        }
        None => calls.allow.push(Line {
            name: "clone".into(),
            only: Some(plain),
            coverage: line.coverage,
            note: "no new namespaces; seen as clone3, which answers ENOSYS".into(),
        }),
    }
}

/// Puts a group in the place of its members, where that allows nothing that was not seen or, with
/// `wider`, where at least half was; what it adds is said.
fn folded(allow: &mut Vec<Line>, wider: bool) {
    let mut names = groups::names(groups::CURRENT);
    names.retain(|name| !NOT_FOLDED.contains(name));
    // The largest first: it takes what smaller ones would.
    names.sort_by_key(|name| std::cmp::Reverse(natives(name).len()));
    for group in names {
        let members = natives(group);
        let bare = |name: &str| {
            let mut lines = allow.iter().filter(|line| line.name == name);
            ALWAYS.contains(&name) || lines.any(|line| line.only.is_none())
        };
        let (seen, more): (Vec<&str>, Vec<&str>) = members.iter().partition(|name| bare(name));
        let half = wider && seen.len() * 2 >= members.len();
        if seen.len() < 3 || !(more.is_empty() || half) {
            continue;
        }
        let narrow = |line: &Line| more.contains(&line.name.as_str()) && line.only.is_some();
        // A condition that was seen is worth more than a shorter list.
        if allow.iter().any(narrow) {
            continue;
        }
        let mut coverage = Coverage::default();
        let seen: BTreeSet<&str> = seen.into_iter().collect();
        allow.retain(|line| {
            let taken = seen.contains(line.name.as_str());
            if let (true, Some(known)) = (taken, &line.coverage) {
                coverage.join(known);
            }
            !taken
        });
        allow.push(Line {
            name: format!("@{group}"),
            only: None,
            coverage: Some(coverage),
            note: match more.is_empty() {
                true => format!("all {} of it", members.len()),
                false => format!("not seen, and allowed by it: {}", more.join(" ")),
            },
        });
    }
}

/// Members of a group that have a number here.
fn natives(group: &str) -> Vec<&'static str> {
    let mut members = groups::members(groups::CURRENT, group).unwrap_or_default();
    members.retain(|name| matches!(table::lookup(name), Lookup::Number(_)));
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::calls::{Bits, CLASSES};
    use crate::access::{self, calls};

    #[test]
    fn what_no_recording_looks_at_is_always_allowed() {
        for name in access::UNSEEN {
            let implied = IMPLIED.iter().any(|(implied, _)| *implied == name);
            assert!(implied || ALWAYS.contains(&name), "{name}");
        }
    }

    #[test]
    fn what_is_recorded_of_a_call_is_what_is_written_of_it_and_what_filters_compare() {
        for (name, index, bits) in CLASSES {
            let access = calls::access(name, &[1; 6]);
            let Access::Syscall { args, .. } = &access else {
                panic!("{access:?}");
            };
            let lines = narrowed(name, &[(args.as_slice(), &Coverage::default())]);
            let only = lines[0].only.map(|only| only.index);
            assert_eq!((lines.len(), only), (1, Some(index)), "{name}");
            let is_int = table::is_int(name, index.into());
            assert_eq!(is_int, bits != Bits::Long, "{name}");
        }
    }
}
