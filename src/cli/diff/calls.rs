//! Calls of two sides: who performs what the other refuses, and who reports what the other refuses in
//! silence.
//!
//! The algebra of decisions names the conditions; whether there is a call that meets them is shown by an
//! example, because conditions on one argument may contradict each other in ways that the algebra does
//! not see.

use std::collections::BTreeSet;

use super::Section;
use crate::policy::decide::{Decider, conditions_in_words};
use crate::policy::seccomp::exact::UNKNOWN;
use crate::policy::seccomp::verdict::{Action, Condition, Decision};

/// Most combinations of arguments that are tried for one call.
const MOST: usize = 20_000;

/// Compares every call that either side knows.
pub fn compare(a: &Decider, b: &Decider) -> Vec<Section> {
    let names: BTreeSet<&String> = [a, b].into_iter().flat_map(Decider::calls).collect();
    let (mut performed, mut refused) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for name in names {
        let whole = |decider: &Decider| {
            let unknown = || Decision::always(UNKNOWN);
            decider.whole(name).unwrap_or_else(unknown)
        };
        let (one, other) = (whole(a), whole(b));
        if one == other {
            continue;
        }
        performed.0.extend(more(name, &one, &other));
        performed.1.extend(more(name, &other, &one));
        if one.permits_none() && other.permits_none() && way(&one) != way(&other) {
            refused.0.push(format!("{name}: {}", way(&one)));
            refused.1.push(format!("{name}: {}", way(&other)));
        }
    }
    let section = |key, title, (a, b)| Section::of(key, title, a, b);
    vec![
        section("calls", "Calls that are performed", performed),
        section(
            "refusals",
            "How calls are refused that both refuse",
            refused,
        ),
    ]
}

/// How `own` is wider than `other`, where it is.
fn more(name: &str, own: &Decision, other: &Decision) -> Option<String> {
    let example = example(own, other)?;
    if own.permits_all() && other.permits_none() {
        return Some(name.to_owned());
    }
    let more = own.more_than(other);
    let wider = more.all().filter(|(_, action)| action.permits());
    let wider: Vec<String> = wider
        .map(|(conditions, _)| match conditions.is_empty() {
            true => "otherwise".to_owned(),
            false => conditions_in_words(conditions),
        })
        .collect();
    let shown: Vec<String> = example
        .iter()
        .enumerate()
        .map(|(at, value)| format!("arg{at}={value:#x}"))
        .collect();
    let used = arguments(own, other);
    let shown: Vec<String> = shown
        .into_iter()
        .enumerate()
        .filter(|(at, _)| used.contains(at))
        .map(|(_, s)| s)
        .collect();
    Some(match wider.len() {
        // Which of many conditions matter, an example says better.
        1..=3 => format!(
            "{name} where {} (such as {})",
            wider.join("; or "),
            shown.join(", ")
        ),
        _ => format!("{name} in part, such as {}", shown.join(", ")),
    })
}

/// The arguments that either looks at.
fn arguments(one: &Decision, other: &Decision) -> BTreeSet<usize> {
    let conditions = [one, other]
        .into_iter()
        .flat_map(Decision::all)
        .flat_map(|(all, _)| all);
    conditions.map(|c| usize::from(c.index)).collect()
}

/// Arguments of a call that `own` performs and `other` refuses, where there are such.
fn example(own: &Decision, other: &Decision) -> Option<[u64; 6]> {
    let mut values: [BTreeSet<u64>; 6] = Default::default();
    let all = [own, other]
        .into_iter()
        .flat_map(Decision::all)
        .flat_map(|(all, _)| all);
    for condition in all {
        values[usize::from(condition.index)].extend(near(condition));
    }
    let mut choices: Vec<Vec<u64>> = Vec::new();
    for set in values {
        let mut list: Vec<u64> = set.into_iter().collect();
        // Two conditions on different bits of one argument are met by both values together.
        let pairs: BTreeSet<u64> = match list.len() {
            2..=24 => list
                .iter()
                .flat_map(|a| list.iter().map(move |b| a | b))
                .collect(),
            _ => BTreeSet::new(),
        };
        list.extend(pairs);
        list.insert(0, 0);
        choices.push(list);
    }
    let count = choices
        .iter()
        .fold(1_usize, |all, list| all.saturating_mul(list.len()));
    for number in 0..count.min(MOST) {
        let mut rest = number;
        let mut args = [0; 6];
        for (slot, list) in args.iter_mut().zip(&choices) {
            *slot = list[rest % list.len()];
            rest /= list.len();
        }
        if own.verdict(&args).permits() && !other.verdict(&args).permits() {
            return Some(args);
        }
    }
    None
}

/// Values on both sides of a condition.
fn near(condition: &Condition) -> Vec<u64> {
    let (value, mask) = (condition.value, condition.mask);
    let lowest = mask & mask.wrapping_neg();
    let mut all = vec![
        value,
        value.wrapping_add(1),
        value.wrapping_sub(1),
        value ^ lowest,
        mask,
        !mask,
    ];
    // Any one of the bits.
    if mask.count_ones() <= 16 {
        all.extend((0..64).map(|bit| 1 << bit).filter(|bit| mask & bit != 0));
    }
    all
}

/// How a call is refused.
fn way(decision: &Decision) -> &'static str {
    let any = |wanted: Action| decision.all().any(|(_, action)| action == wanted);
    match decision.otherwise {
        _ if any(Action::Notify) => "refused and reported",
        UNKNOWN => "absent (ENOSYS)",
        Action::KillProcess | Action::KillThread => "ends it",
        _ => "refused in silence",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::seccomp::verdict::Compare;

    fn decision(branches: &[(Compare, u64, u64, Action)], otherwise: Action) -> Decision {
        let branch = |&(compare, mask, value, action): &(Compare, u64, u64, Action)| {
            let condition = Condition {
                index: 0,
                compare,
                value,
                mask,
            };
            (vec![condition], action)
        };
        Decision {
            branches: branches.iter().map(branch).collect(),
            otherwise,
        }
    }

    const NO: Action = Action::Errno(1);

    #[test]
    fn wider_narrower_and_both_ways_are_told_apart() {
        let all = Decision::always(Action::Allow);
        let low = decision(&[(Compare::Lt, u64::MAX, 10, Action::Allow)], NO);
        let high = decision(&[(Compare::Gt, u64::MAX, 5, Action::Allow)], NO);
        assert_eq!(more("x", &low, &all), None);
        assert!(more("x", &all, &low).is_some());
        assert!(more("x", &low, &high).is_some() && more("x", &high, &low).is_some());
        assert_eq!(more("x", &all, &Decision::always(NO)).as_deref(), Some("x"));
    }

    #[test]
    fn the_same_in_other_words_is_no_difference() {
        // Not 0 and not 1, and from 2 on.
        let one = Decision {
            branches: [0, 1]
                .map(|value| {
                    decision(&[(Compare::Eq, u64::MAX, value, NO)], NO)
                        .branches
                        .remove(0)
                })
                .into(),
            otherwise: Action::Allow,
        };
        let other = decision(&[(Compare::Ge, u64::MAX, 2, Action::Allow)], NO);
        assert_eq!(
            (more("x", &one, &other), more("x", &other, &one)),
            (None, None)
        );
    }

    #[test]
    fn one_bit_of_a_mask_is_found() {
        let few = decision(&[(Compare::Ne, 0x7e02_0000, 0, NO)], Action::Allow);
        let fewer = decision(&[(Compare::Ne, 0x7e02_0080, 0, NO)], Action::Allow);
        assert!(more("clone", &few, &fewer).unwrap().contains("arg0"));
        assert_eq!(more("clone", &fewer, &few), None);
    }
}
