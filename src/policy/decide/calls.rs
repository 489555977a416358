//! Calls by registers of which some are known: an answer where the rest does not matter, else every
//! answer with its conditions.

use oci_spec::runtime::LinuxSeccomp;

use super::{Answer, Contribution, ENGINE, Layer};
use crate::access::Argument;
use crate::policy::seccomp::engine as filters;
use crate::policy::seccomp::exact::{self, UNKNOWN};
use crate::policy::seccomp::verdict::{Action, Compare, Condition, Decision};
use crate::profile::{Rule, Syscalls, table};

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

/// Every answer that `decision` may give, in order, each with the conditions that are still open.
#[must_use]
pub fn answers(decision: &Decision, known: &Known) -> Vec<(Vec<Condition>, Action)> {
    let mut found = Vec::new();
    for (conditions, action) in decision.all() {
        let held = |condition: &&Condition| known.holds(condition);
        if conditions.iter().any(|c| held(&c) == Some(false)) {
            continue;
        }
        let open = conditions.iter().filter(|c| held(c).is_none());
        let open: Vec<Condition> = open.copied().collect();
        let last = open.is_empty();
        found.push((open, action));
        if last {
            break;
        }
    }
    found
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
    let branches: Vec<String> = all.iter().map(branch).collect();
    (answer, format!("by its arguments: {}", branches.join("; ")))
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
    let written = layer
        .written
        .as_ref()
        .and_then(|w| deciding(w, name, known));
    let written = written.map(|(list, rule)| format!("syscalls.{list}: {}", rule.name));
    if written.is_none() && answer == Answer::Denied {
        reason += ", as all that no list of it names, or because another rule of it implies so";
    }
    Contribution {
        written,
        ..Contribution::new(&layer.name, answer, reason)
    }
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
