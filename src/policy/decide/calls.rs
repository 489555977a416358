//! Calls by registers of which some are known: an answer where the rest does not matter, else every
//! answer with its conditions.

use oci_spec::runtime::LinuxSeccomp;

use super::{Answer, Contribution, ENGINE, Layer, Written};
use crate::access::Argument;
use crate::policy::seccomp::engine as filters;
use crate::policy::seccomp::exact::{self, UNKNOWN};
use crate::policy::seccomp::verdict::{Action, Compare, Condition, Decision};
use crate::profile::{Part, Rule, Syscalls, table};

/// What is known of six registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// Values; zero where a bit is not known.
    pub values: [u64; 6],
    /// Which bits are known.
    pub bits: [u64; 6],
}

impl Known {
    /// All of them.
    #[must_use]
    pub fn all(values: [u64; 6]) -> Known {
        let bits = [u64::MAX; 6];
        Known { values, bits }
    }

    /// These arguments of `name`; one without a mask is known as far as the kernel reads it.
    #[must_use]
    pub fn of(name: &str, args: &[Argument]) -> Known {
        let mut known = Known::default();
        for argument in args.iter().filter(|argument| argument.index < 6) {
            let at = usize::from(argument.index);
            let width = match table::is_int(name, argument.index.into()) {
                true => 0xffff_ffff,
                false => u64::MAX,
            };
            let mask = argument.mask.unwrap_or(width);
            known.bits[at] |= mask;
            known.values[at] |= argument.value & mask;
        }
        known
    }

    /// With what equalities among `conditions` tell besides; where they contradict what is known, so do
    /// they still.
    fn with(&self, conditions: &[Condition]) -> Known {
        let mut more = *self;
        for condition in conditions.iter().filter(|c| c.compare == Compare::Eq) {
            let at = usize::from(condition.index);
            let new = condition.mask & !more.bits[at];
            more.values[at] |= condition.value & new;
            more.bits[at] |= new;
        }
        more
    }

    /// Whether the condition holds; none where what is known does not tell.
    #[must_use]
    pub fn holds(&self, condition: &Condition) -> Option<bool> {
        let at = usize::from(condition.index);
        let (bits, value) = (self.bits[at] & condition.mask, self.values[at]);
        let least = value & bits;
        let most = least | (condition.mask & !bits);
        let wanted = condition.value;
        let equal = match (least == most, (least ^ wanted) & bits) {
            (true, _) => Some(least == wanted),
            // A known bit differs, or one outside of the mask can never be.
            (false, differs) if differs != 0 || wanted & !condition.mask != 0 => Some(false),
            (false, _) => None,
        };
        let below = |bound: u64| match (most < bound, least >= bound) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let above = |bound: u64| match (least > bound, most <= bound) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        match condition.compare {
            Compare::Eq => equal,
            Compare::Ne => equal.map(|equal| !equal),
            Compare::Lt => below(wanted),
            Compare::Ge => below(wanted).map(|below| !below),
            Compare::Gt => above(wanted),
            Compare::Le => above(wanted).map(|above| !above),
        }
    }
}

/// Every answer that `decision` may give, in order, each with the conditions that are still open. What
/// cannot be is left out: conditions that contradict each other, and a branch that an earlier one has
/// answered.
#[must_use]
pub fn answers(decision: &Decision, known: &Known) -> Vec<(Vec<Condition>, Action)> {
    let mut found: Vec<(Vec<Condition>, Action)> = Vec::new();
    for (conditions, action) in decision.all() {
        // What would be known where all of them hold.
        let within = known.with(conditions);
        let fails = |condition: &Condition| within.holds(condition) == Some(false);
        let answered = |(before, _): &(Vec<Condition>, Action)| {
            let holds = |condition: &Condition| within.holds(condition) == Some(true);
            before.iter().all(holds)
        };
        if conditions.iter().any(fails) || found.iter().any(answered) {
            continue;
        }
        let mut open = open(conditions, known, &within);
        // A branch of one condition that was passed over tells that its opposite holds.
        let opposite = |condition: &Condition| {
            let mut passed = found.iter();
            passed.any(|(before, _)| matches!(&before[..], [one] if one.opposite() == *condition))
        };
        open.retain(|condition| !opposite(condition));
        let last = open.is_empty();
        found.push((open, action));
        if last {
            break;
        }
    }
    // What comes to the same as what is left needs no word.
    while let [.., (_, before), (_, last)] = &found[..] {
        if before != last {
            break;
        }
        found.remove(found.len() - 2);
    }
    found
}

/// Conditions that say something: neither known to hold nor said by others of them.
fn open(conditions: &[Condition], known: &Known, within: &Known) -> Vec<Condition> {
    let mut open: Vec<Condition> = Vec::new();
    for (at, condition) in conditions.iter().enumerate() {
        let equal = condition.compare == Compare::Eq;
        let wider = |(other, c): (usize, &Condition)| {
            let covers = c.mask & condition.mask == condition.mask;
            let first = c.mask != condition.mask || other < at;
            other != at && c.compare == Compare::Eq && c.index == condition.index && covers && first
        };
        let said = match equal {
            true => conditions.iter().enumerate().any(wider),
            false => within.holds(condition) == Some(true),
        };
        if known.holds(condition).is_none() && !said {
            open.push(*condition);
        }
    }
    open
}

/// The answer of a decision, in words.
pub(super) fn answer(decision: &Decision, known: &Known) -> (Answer, String) {
    let all = answers(decision, known);
    let performed = all.iter().filter(|(_, action)| action.permits()).count();
    let answer = match performed {
        0 => Answer::Denied,
        n if n == all.len() => Answer::Allowed,
        _ => Answer::Depends,
    };
    let first = all[0].1;
    if all.iter().all(|(_, action)| *action == first) {
        return (answer, action(first));
    }
    let branch = |(conditions, then): &(Vec<Condition>, Action)| match conditions.is_empty() {
        true => format!("else {}", action(*then)),
        false => format!("{} where {}", action(*then), in_words(conditions)),
    };
    let mut branches: Vec<String> = Vec::new();
    let mut said: Vec<String> = Vec::new();
    for one in &all {
        // The upper half of a register, where the kernel reads the lower one only.
        let conditions = in_words(&one.0);
        if !said.contains(&conditions) {
            said.push(conditions);
            branches.push(branch(one));
        }
    }
    (answer, format!("by its arguments: {}", branches.join("; ")))
}

/// A decision as people read it, whatever the arguments.
#[must_use]
pub fn decision_in_words(decision: &Decision) -> String {
    answer(decision, &Known::default()).1
}

/// Conditions as people read them: `arg0 & 0x7e020000 == 0x0`.
#[must_use]
pub fn in_words(conditions: &[Condition]) -> String {
    let one = |c: &Condition| {
        let compare = match c.compare {
            Compare::Eq => "==",
            Compare::Ne => "!=",
            Compare::Lt => "<",
            Compare::Le => "<=",
            Compare::Gt => ">",
            Compare::Ge => ">=",
        };
        let mask = match c.mask {
            u64::MAX | 0xffff_ffff => String::new(),
            mask => format!(" & {mask:#x}"),
        };
        format!("arg{}{mask} {compare} {:#x}", c.index, c.value)
    };
    let all: Vec<String> = conditions.iter().map(one).collect();
    all.join(" and ")
}

/// What becomes of a call.
fn action(action: Action) -> String {
    match action {
        Action::Allow => "performed".into(),
        Action::Audit => "performed, and looked at".into(),
        Action::Log => "performed and logged by the kernel".into(),
        Action::Notify => "refused and reported (tripwire)".into(),
        Action::Errno(libc_enosys) if Action::Errno(libc_enosys) == UNKNOWN => {
            "absent (ENOSYS)".into()
        }
        Action::Errno(errno) => {
            let errno = nix::errno::Errno::from_raw(errno.into());
            format!("refused in silence ({errno:?})")
        }
        Action::Trace => "refused (ENOSYS without a tracer)".into(),
        Action::Trap => "refused with SIGSYS".into(),
        Action::KillThread => "ends the thread".into(),
        Action::KillProcess => "ends the process".into(),
    }
}

/// What the engine's filter answers.
pub(super) fn engine(filter: &LinuxSeccomp, name: &str, known: &Known) -> Contribution {
    if exact::LAST_NEEDS.contains(&name) {
        return Contribution::new(ENGINE, Answer::Allowed, "performed: init itself needs it");
    }
    let (answer, reason) = answer(&filters::decision(filter, name), known);
    Contribution::new(ENGINE, answer, reason)
}

/// What one layer answers.
pub(super) fn layer(layer: &Layer, name: &str, known: &Known) -> Contribution {
    let Some(decision) = layer.calls.get(name) else {
        let reason = "absent (ENOSYS): no call that its data version knows here";
        return Contribution::new(&layer.name, Answer::Denied, reason);
    };
    let (answer, mut reason) = answer(decision, known);
    let profile = layer.profile.as_ref();
    if let Some(implied) = layer.implied(name, known) {
        reason = format!("{reason}: {}", implied.reason());
        let written = |key| {
            let origin = profile?.origins.of(&Part::Key(key))?;
            Some(Written::new(key, Some(origin)))
        };
        let keys = ["network.connect_tcp", "network.bind_tcp"];
        return Contribution {
            written: keys.into_iter().find_map(written),
            ..Contribution::new(&layer.name, answer, reason)
        };
    }
    let rule = profile.and_then(|profile| deciding(&profile.syscalls, name, known));
    let written = rule.map(|(list, rule)| self::written(list, rule));
    if written.is_none() && answer == Answer::Denied {
        reason += ", as all that no list of it names, or because another rule of it implies so";
    }
    Contribution {
        written,
        ..Contribution::new(&layer.name, answer, reason)
    }
}

/// A rule as its author wrote it: by its group where it came by one.
fn written(list: &str, rule: &Rule) -> Written {
    let group = rule.origin.group();
    let name = group.map_or_else(|| rule.name.clone(), |group| format!("@{group}"));
    let args = match rule.args.is_empty() {
        true => String::new(),
        false => format!(" where {}", in_words(&exact::conditions(rule))),
    };
    Written::new(format!("syscalls.{list}: {name}{args}"), Some(&rule.origin))
}

/// The rule of a profile that decides about a call, in the order in which they do; none where an open
/// condition comes first, or no rule names the call.
#[must_use]
pub fn deciding<'a>(
    calls: &'a Syscalls,
    name: &str,
    known: &Known,
) -> Option<(&'static str, &'a Rule)> {
    let lists = [
        ("deny", &calls.deny),
        ("tripwire", &calls.tripwire),
        ("allow", &calls.allow),
    ];
    for (list, rules) in lists {
        for rule in rules
            .iter()
            .filter(|r| r.name == name && !r.args.is_empty())
        {
            let held = exact::conditions(rule);
            let mut held = held.iter().map(|condition| known.holds(condition));
            if held.clone().all(|holds| holds == Some(true)) {
                return Some((list, rule));
            }
            if !held.any(|holds| holds == Some(false)) {
                return None;
            }
        }
    }
    let bare = |(list, rules): &(&'static str, &'a Vec<Rule>)| {
        let mut rules = rules.iter();
        let rule = rules.find(|rule| rule.name == name && rule.args.is_empty())?;
        Some((*list, rule))
    };
    [lists[2], lists[1], lists[0]].iter().find_map(bare)
}
