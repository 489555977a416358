//! What conditions on arguments come to: whether they can hold, and whether some are within others.

use super::super::diagnose::Finding;
use super::super::entry::{Call, Condition, Op};
use super::super::table::is_int;
use super::finding;

/// Conditions that no call meets.
pub(super) fn never(call: &Call, all: &mut Vec<Finding>) {
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

/// Whether every call that meets `inner` meets `outer`, as far as one condition against one can tell.
pub(super) fn within(inner: &[Condition], outer: &[Condition]) -> bool {
    let met = |wide: &Condition| inner.iter().any(|narrow| implies(narrow, wide));
    outer.iter().all(met)
}

fn implies(narrow: &Condition, wide: &Condition) -> bool {
    if narrow == wide {
        return true;
    }
    if narrow.index != wide.index {
        return false;
    }
    match (narrow.op, wide.op) {
        (Op::Eq, _) => holds(wide, narrow.value),
        (Op::Masked, Op::Masked | Op::MaskedNe) => {
            let (known, asked) = (bits(narrow), bits(wide));
            let same = narrow.value & asked == wide.value;
            asked & !known == 0 && same == (wide.op == Op::Masked)
        }
        (Op::Masked, Op::Ne) => wide.value & bits(narrow) != narrow.value,
        _ => match (range(narrow), wide.op) {
            (Some((low, high)), Op::Ne) => wide.value < low || wide.value > high,
            (Some((low, high)), _) => {
                range(wide).is_some_and(|(least, most)| least <= low && high <= most)
            }
            (None, _) => false,
        },
    }
}

fn bits(condition: &Condition) -> u64 {
    condition.mask.unwrap_or(u64::MAX)
}

fn holds(condition: &Condition, argument: u64) -> bool {
    let value = condition.value;
    match condition.op {
        Op::Eq => argument == value,
        Op::Ne => argument != value,
        Op::Lt => argument < value,
        Op::Le => argument <= value,
        Op::Gt => argument > value,
        Op::Ge => argument >= value,
        Op::Masked => argument & bits(condition) == value,
        Op::MaskedNe => argument & bits(condition) != value,
    }
}

/// The least and the largest argument that meets a comparison; none where they are no range.
fn range(condition: &Condition) -> Option<(u64, u64)> {
    let value = condition.value;
    match condition.op {
        Op::Eq => Some((value, value)),
        Op::Lt => Some((0, value.checked_sub(1)?)),
        Op::Le => Some((0, value)),
        Op::Gt => Some((value.checked_add(1)?, u64::MAX)),
        Op::Ge => Some((value, u64::MAX)),
        Op::Ne | Op::Masked | Op::MaskedNe => None,
    }
}
