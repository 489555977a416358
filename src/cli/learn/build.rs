//! Runs → a draft: what was seen becomes allowances, and what is known of the runs its head.

use std::collections::BTreeMap;

use super::calls::{self, Calls};
use super::draft::{Allowance, Draft, Section};
use super::expect::expectations;
use super::files::{self, Grant, Need, Options as FileOptions};
use super::head;
use super::parent::Parent;
use super::run::Run;
use super::union::{Coverage, Union};
use crate::access::{Access, Argument};
use crate::policy::mounts::Place;
use crate::profile::capability;
use crate::yaml::scalar;

/// What a person chose.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The profile's name.
    pub name: String,
    /// How files are taken together.
    pub files: FileOptions,
    /// What exec sessions did counts too.
    pub exec_sessions: bool,
    /// Groups of calls of which half was seen stand for all of it.
    pub fold: bool,
    /// The profile may deny though events are lost.
    pub accept_loss: bool,
    /// Who writes it: `mantlet 0.2.0`.
    pub writer: String,
}

/// Ports of one direction that are written one by one; more are as good as any.
const MOST_PORTS: usize = 64;

/// Files that a comment names of those that a place stands for.
const MOST_NAMED: usize = 3;

/// Least ABI that denies what every learned profile narrows: files (1), moving them (2), truncate(2)
/// (3) and TCP ports (4).
const ABI: u32 = 4;

/// What a draft is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The runs, with what the profile lacks that the draft is to extend.
    pub runs: &'a [Run],
    /// All that was seen: what was made at run time is made whoever permits it.
    pub union: &'a Union,
    /// The profile that the draft adds to.
    pub extends: Option<&'a Parent>,
}

/// Makes a draft.
#[must_use]
pub fn draft(parts: &Parts<'_>, choice: &Choice) -> Draft {
    let Parts {
        runs,
        union: whole,
        extends,
    } = *parts;
    let union = Union {
        excepted: whole.excepted.clone(),
        ..Union::of(runs, choice.exec_sessions)
    };
    let calls = calls::lines(&union, choice.fold);
    let grants = files::places(&union, whole, &common_mounts(runs), &choice.files);
    let mut draft = Draft {
        head: head::lines(runs, &union, extends.map(|one| one.name.as_str()), choice),
        name: choice.name.clone(),
        description: head::description(runs),
        extends: extends.map(|parent| parent.name.clone()),
        audit: head::reason_to_audit(runs, &union, choice),
        landlock: ABI,
        degrade: vec!["scope", "device-ioctl"],
        absent: absent(&calls),
        ..Draft::default()
    };
    capabilities(&mut draft, &union, runs);
    syscalls(&mut draft, &union, calls, extends);
    for grant in &grants {
        file(&mut draft, &union, grant);
    }
    ports(&mut draft, &union, extends);
    draft.allowances.sort_by_key(|one| one.section);
    draft.tests = expectations(&union, &grants, &draft);
    draft
}

/// Mounts that every run had; none where one does not tell.
fn common_mounts(runs: &[Run]) -> Vec<Place> {
    let mut all = runs.iter().map(Run::mounts);
    let first = all.next().unwrap_or_default();
    all.fold(first, |mut known, more| {
        known.retain(|mount| more.contains(mount));
        known
    })
}

fn absent(calls: &Calls) -> Vec<(String, String)> {
    let absent = calls.absent.iter();
    absent
        .map(|(name, why)| (name.clone(), (*why).to_owned()))
        .collect()
}

/// Capabilities that were used; where no recording can tell them, those that the workload held.
fn capabilities(draft: &mut Draft, union: &Union, runs: &[Run]) {
    let mut used: BTreeMap<&str, Coverage> = BTreeMap::new();
    for (access, coverage) in &union.seen {
        if let Access::Capability { name } = access
            && let Some(name) = capability::canonical(name)
        {
            used.entry(name).or_default().join(coverage);
        }
    }
    // An audit tells those that were denied, and no more is asked of it.
    let blind = runs.iter().filter(|run| run.blind_to_capabilities());
    let held = match draft.extends {
        None => blind.fold(0, |all, run| all | run.held_capabilities()),
        Some(_) => 0,
    };
    if held != 0 {
        let text = "Which capabilities are used was not recorded. These were held at the start: take out \
                    what the program does without.";
        draft
            .left_out
            .insert(Section::Capabilities, vec![text.into()]);
    }
    for (bit, name) in capability::ALL.iter().enumerate() {
        let (seen, note) = match used.get(name) {
            Some(coverage) => (true, union.stamp(coverage)),
            None if held >> bit & 1 == 1 => (false, "held; nobody knows whether it is used".into()),
            None => continue,
        };
        draft.allowances.push(Allowance {
            section: Section::Capabilities,
            item: name.trim_start_matches("CAP_").into(),
            note,
            above: Vec::new(),
            seen,
        });
    }
}

fn syscalls(draft: &mut Draft, union: &Union, calls: Calls, extends: Option<&Parent>) {
    let never = calls
        .never
        .iter()
        .map(|(name, why)| format!("{name} was called and is not allowed: {why}."));
    let mut above: Vec<String> = never.collect();
    if draft.extends.is_none() {
        above.insert(0, "read, write and exit_group are always allowed.".into());
    }
    draft.left_out.insert(Section::Calls, above);
    for line in calls.allow {
        // What is needed though nobody saw it, where the other profile has it.
        if line.coverage.is_none() && extends.is_some_and(|parent| parent.allows(&line.name)) {
            continue;
        }
        // A rule of the other profile comes first; see below.
        let refused = |only: &Argument| {
            extends.is_some_and(|parent| !parent.refusing(&line.name, &[*only]).is_empty())
        };
        if line.only.as_ref().is_some_and(refused) {
            continue;
        }
        let stamp = line.coverage.as_ref().map(|known| union.stamp(known));
        let words = [line.note.clone(), stamp.unwrap_or_default()];
        let words: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .filter(|w| !w.is_empty())
            .collect();
        draft.allowances.push(Allowance {
            section: Section::Calls,
            item: match line.only {
                Some(argument) => conditional(&line.name, &argument),
                None => scalar(&line.name),
            },
            note: words.join("; "),
            above: Vec::new(),
            seen: line.coverage.is_some(),
        });
    }
    if let Some(parent) = extends {
        lifted(draft, union, parent);
    }
}

/// Allowances in the place of rules of the parent that refuse what was seen by its arguments: only one under the very
/// same conditions comes before such a rule.
fn lifted(draft: &mut Draft, union: &Union, parent: &Parent) {
    let mut lifted: BTreeMap<String, Coverage> = BTreeMap::new();
    for (access, coverage) in &union.seen {
        let Access::Syscall { name, args } = access else {
            continue;
        };
        for rule in parent.refusing(name, args) {
            let rule: Vec<String> = rule.iter().map(ToString::to_string).collect();
            let item = format!("{{name: {name}, args: [{}]}}", rule.join(", "));
            lifted.entry(item).or_default().join(coverage);
        }
    }
    for (item, coverage) in lifted {
        draft.allowances.push(Allowance {
            section: Section::Calls,
            item,
            note: union.stamp(&coverage),
            above: vec![format!(
                "in the place of the rule of {} with these conditions, and as wide: it comes before any narrower allowance",
                parent.name
            )],
            seen: true,
        });
    }
}

fn conditional(name: &str, argument: &Argument) -> String {
    let Argument { index, value, mask } = argument;
    let rest = match mask {
        Some(mask) => format!("op: masked, mask: {mask:#x}, value: {value:#x}"),
        None => format!("op: eq, value: {value:#x}"),
    };
    format!("{{name: {name}, args: [{{index: {index}, {rest}}}]}}")
}

/// The lines of one place: one of the lists of rights that nest, and those that stand alone.
fn file(draft: &mut Draft, union: &Union, grant: &Grant) {
    let (write, execute) = (grant.need.has(Need::WRITE), grant.need.has(Need::EXECUTE));
    let main = match (write, execute, grant.need.has(Need::READ)) {
        (true, true, _) => Some(Section::ReadWriteExecute),
        (true, false, _) => Some(Section::ReadWrite),
        (false, true, _) => Some(Section::ReadExecute),
        (false, false, true) => Some(Section::Read),
        (false, false, false) => None,
    };
    let mut notes = vec![union.stamp(&grant.coverage)];
    if write && !grant.need.has(Need::READ) && grant.place.starts_with('/') {
        notes.push("reading comes with it".into());
    }
    notes.retain(|note| !note.is_empty());
    let ioctl = grant.need.has(Need::IOCTL).then_some(Section::DeviceIoctl);
    let device = grant.need.has(Need::DEVICE).then_some(Section::MakeDevice);
    for section in [main, ioctl, device].into_iter().flatten() {
        draft.allowances.push(Allowance {
            section,
            item: match grant.optional {
                true => format!("{{path: {}, optional: true}}", scalar(&grant.place)),
                false => scalar(&grant.place),
            },
            note: notes.join("; "),
            above: from(grant),
            seen: true,
        });
    }
}

/// What a place was made from, unless it is the file that was seen.
fn from(grant: &Grant) -> Vec<String> {
    let mut lines = Vec::new();
    if grant.place == "/" {
        lines.push(
            "WIDE: / itself was listed or written to, and Landlock has no right for that alone."
                .into(),
        );
    }
    if !grant.moved_to.is_empty() {
        let to: Vec<&str> = grant
            .moved_to
            .iter()
            .take(MOST_NAMED)
            .map(String::as_str)
            .collect();
        let more = if grant.moved_to.len() > MOST_NAMED {
            " and others"
        } else {
            ""
        };
        lines.push(format!(
            "as free as {}{more}, where something is moved or linked to from here: Landlock lets nothing gain \
             rights by that",
            to.join(", ")
        ));
    }
    let others: Vec<&String> = grant
        .from
        .iter()
        .filter(|path| **path != grant.place)
        .collect();
    if others.is_empty() || grant.why.is_empty() && others.len() == grant.from.len() - 1 {
        if !others.is_empty() {
            lines.push(format!("with {} beneath it", count(others.len(), "path")));
        }
        return lines;
    }
    let named = others.iter().take(MOST_NAMED).map(|path| path.as_str());
    let named: Vec<&str> = named.collect();
    let why: Vec<String> = grant.why.iter().map(ToString::to_string).collect();
    let more = match others.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let why = match why.is_empty() {
        true => String::new(),
        false => format!(" ({})", why.join("; ")),
    };
    lines.push(format!("from {}{more}{why}", named.join(", ")));
    lines
}

/// A number with its noun.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Ports that were bound and connected to. A list that is not written restricts nothing, so both are.
fn ports(draft: &mut Draft, union: &Union, extends: Option<&Parent>) {
    for (section, right) in [(Section::Bind, "bind"), (Section::Connect, "connect")] {
        let mut ports: BTreeMap<u16, &Coverage> = BTreeMap::new();
        for (access, coverage) in &union.seen {
            if let Access::Tcp { right: seen, port } = access
                && seen == right
            {
                ports.insert(*port, coverage);
            }
        }
        if ports.len() > MOST_PORTS {
            let why = format!("{} ports were seen", ports.len());
            draft.free.insert(section, why);
            continue;
        }
        for (port, coverage) in &ports {
            let choice = (*port == 0).then_some("the kernel's choice");
            let words = [choice.unwrap_or_default().to_owned(), union.stamp(coverage)];
            let words: Vec<&str> = words
                .iter()
                .map(String::as_str)
                .filter(|w| !w.is_empty())
                .collect();
            draft.allowances.push(Allowance {
                section,
                item: port.to_string(),
                note: words.join("; "),
                above: Vec::new(),
                seen: true,
            });
        }
        let listens = union
            .seen
            .keys()
            .any(|access| matches!(access, Access::Syscall { name, .. } if name == "listen"));
        // On top of another profile, only where that one has the empty list: elsewhere it would close ports.
        let empty = extends.is_none_or(Parent::binds_nothing);
        if section == Section::Bind && ports.is_empty() && listens && empty {
            draft.allowances.push(Allowance {
                section,
                item: "0".into(),
                note: "a UNIX socket was listened on, and an empty list denies listen(2)".into(),
                above: Vec::new(),
                seen: true,
            });
        }
    }
}
