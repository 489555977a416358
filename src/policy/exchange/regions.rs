//! What a decision performs, as rules that each name an argument once: all that libseccomp takes.
//!
//! A decision asks in order, and says "differs under this mask"; libseccomp's rules have no order, and only
//! "equals under this mask". So a decision becomes the disjoint sets of arguments that it lets through, and
//! a set that no comparison spells becomes cubes: values of which some bits are given.

use crate::policy::seccomp::verdict::{Compare, Condition, Decision};

/// Rules of one call, beyond which nobody would want to load them.
pub const MOST: usize = 512;
/// Ways through one decision.
const MOST_WAYS: usize = 4096;

/// One comparison that libseccomp has. `Eq` with a mask is SCMP_CMP_MASKED_EQ, all others are whole.
pub type Rule = Vec<Condition>;

/// More rules than [`MOST`], or than there is time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// The arguments that are let through, as rules of which any may hold; `[[]]` is whatever the arguments,
/// and none is never. No two rules hold at once.
///
/// # Errors
///
/// [`TooMany`].
pub fn permitted(decision: &Decision) -> Result<Vec<Rule>, TooMany> {
    let mut all: Vec<(&[Condition], bool)> = decision
        .all()
        .map(|(c, action)| (c, action.permits()))
        .collect();
    // What answers like all that comes after it need not be asked.
    while let [.., (_, before), (_, last)] = all.as_slice()
        && before == last
    {
        all.remove(all.len() - 2);
    }
    let mut ways = Vec::new();
    walk(&all, &[], &mut ways)?;
    join(&mut ways);
    let mut rules = Vec::new();
    for way in ways {
        rules.extend(spell(&way)?);
        if rules.len() > MOST {
            return Err(TooMany);
        }
    }
    Ok(rules)
}

/// Every conjunction of conditions under which the answers from here on permit, given `held`.
fn walk(
    answers: &[(&[Condition], bool)],
    held: &[Condition],
    ways: &mut Vec<Rule>,
) -> Result<(), TooMany> {
    let Some(((conditions, permits), later)) = answers.split_first() else {
        return Ok(());
    };
    if impossible(held)? {
        return Ok(());
    }
    // Nothing that is left permits.
    if !answers.iter().any(|(_, permits)| *permits) {
        return Ok(());
    }
    if *permits {
        let here = [held, *conditions].concat();
        if !impossible(&here)? {
            ways.push(here);
        }
    }
    if ways.len() > MOST_WAYS {
        return Err(TooMany);
    }
    // The first condition fails; or it holds and the second fails; and so on: disjoint.
    for at in 0..conditions.len() {
        let mut not = [held, &conditions[..at]].concat();
        not.push(negated(&conditions[at]));
        walk(later, &not, ways)?;
    }
    Ok(())
}

/// Ways, beyond which they are not compared with each other.
const MOST_JOINED: usize = 64;

/// Two ways that differ in whether one condition holds are one, whatever it says.
fn join(ways: &mut Vec<Rule>) {
    for way in ways.iter_mut() {
        way.sort();
        way.dedup();
    }
    let mut at = 0;
    while at < ways.len() && ways.len() <= MOST_JOINED {
        let joined =
            (at + 1..ways.len()).find_map(|other| Some((other, common(&ways[at], &ways[other])?)));
        match joined {
            Some((other, common)) => {
                ways.remove(other);
                ways[at] = common;
                at = 0;
            }
            None => at += 1,
        }
    }
}

fn common(one: &Rule, other: &Rule) -> Option<Rule> {
    let alone = |these: &Rule, those: &Rule| {
        let alone = these
            .iter()
            .filter(|condition| !those.contains(condition))
            .copied();
        alone.collect::<Rule>()
    };
    match (alone(one, other).as_slice(), alone(other, one).as_slice()) {
        ([mine], [theirs]) if negated(mine) == *theirs => Some(
            one.iter()
                .filter(|condition| *condition != mine)
                .copied()
                .collect(),
        ),
        _ => None,
    }
}

fn negated(condition: &Condition) -> Condition {
    let compare = match condition.compare {
        Compare::Eq => Compare::Ne,
        Compare::Ne => Compare::Eq,
        Compare::Lt => Compare::Ge,
        Compare::Ge => Compare::Lt,
        Compare::Gt => Compare::Le,
        Compare::Le => Compare::Gt,
    };
    Condition {
        compare,
        ..*condition
    }
}

/// The conditions by argument.
fn by_argument(way: &[Condition]) -> Vec<Vec<Condition>> {
    let mut all = vec![Vec::new(); 6];
    for condition in way {
        let list: &mut Vec<Condition> = &mut all[usize::from(condition.index)];
        if !list.contains(condition) {
            list.push(*condition);
        }
    }
    all
}

fn impossible(way: &[Condition]) -> Result<bool, TooMany> {
    for conditions in by_argument(way) {
        if !conditions.is_empty() && cubes(&conditions, 1)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn spell(way: &[Condition]) -> Result<Vec<Rule>, TooMany> {
    let mut rules = vec![Vec::new()];
    for (index, conditions) in by_argument(way).into_iter().enumerate() {
        let spelt = argument(u8::try_from(index).unwrap_or(5), &conditions)?;
        if spelt.len() * rules.len() > MOST {
            return Err(TooMany);
        }
        let with = |rule: &Rule| {
            let each = spelt
                .iter()
                .map(|one| [rule.as_slice(), one.as_slice()].concat());
            each.collect::<Vec<_>>()
        };
        rules = rules.iter().flat_map(with).collect();
    }
    Ok(rules)
}

/// The conditions on one argument, as comparisons of which any may hold.
fn argument(index: u8, conditions: &[Condition]) -> Result<Vec<Rule>, TooMany> {
    match conditions {
        [] => return Ok(vec![Vec::new()]),
        [one] if one.mask == u64::MAX || one.compare == Compare::Eq && one.mask != 0 => {
            return Ok(vec![vec![*one]]);
        }
        _ => {}
    }
    let found = cubes(conditions, MOST)?;
    let rule = |cube: Cube| match cube.mask {
        0 => Vec::new(),
        mask => vec![Condition {
            index,
            compare: Compare::Eq,
            value: cube.value,
            mask,
        }],
    };
    Ok(found.into_iter().map(rule).collect())
}

/// Values of which the bits of `mask` are those of `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cube {
    mask: u64,
    value: u64,
}

/// The values for which all conditions hold, as disjoint cubes; at most one where `most` is 1, for who asks
/// whether there are any.
fn cubes(conditions: &[Condition], most: usize) -> Result<Vec<Cube>, TooMany> {
    let mut search = Search {
        conditions,
        most,
        found: Vec::new(),
        steps: 0,
    };
    let open = vec![Progress::Alike; conditions.len()];
    search.descend(64, &open, Cube { mask: 0, value: 0 })?;
    Ok(search.found)
}

/// How the bits that have been looked at compare with those of a condition's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Less,
    Alike,
    More,
}

struct Search<'a> {
    conditions: &'a [Condition],
    most: usize,
    found: Vec<Cube>,
    steps: usize,
}

impl Search<'_> {
    /// Decides the bits below `left`, the highest first.
    fn descend(&mut self, left: u32, states: &[Progress], cube: Cube) -> Result<(), TooMany> {
        self.steps += 1;
        if self.steps > 1 << 16 {
            return Err(TooMany);
        }
        if self.most == 1 && !self.found.is_empty() {
            return Ok(());
        }
        let answers = || {
            self.conditions
                .iter()
                .zip(states)
                .map(|(c, state)| answer(c, *state, left))
        };
        if answers().any(|answer| answer == Some(false)) {
            return Ok(());
        }
        if answers().all(|answer| answer == Some(true)) {
            if self.found.len() == self.most {
                return Err(TooMany);
            }
            self.found.push(cube);
            return Ok(());
        }
        let Some(left) = left.checked_sub(1) else {
            return Ok(());
        };
        let bit = 1u64 << left;
        let undecided = |(c, state): (&Condition, &Progress)| {
            answer(c, *state, left + 1).is_none() && c.mask & bit != 0
        };
        let matters = self.conditions.iter().zip(states).any(undecided);
        for value in [0, bit] {
            if value == bit && !matters {
                break;
            }
            let step = |(c, state): (&Condition, &Progress)| match state {
                Progress::Alike => match (value & c.mask, c.value & bit) {
                    (0, 0) => Progress::Alike,
                    (0, _) => Progress::Less,
                    (_, 0) => Progress::More,
                    _ => Progress::Alike,
                },
                decided => *decided,
            };
            let next: Vec<Progress> = self.conditions.iter().zip(states).map(step).collect();
            let cube = if matters {
                Cube {
                    mask: cube.mask | bit,
                    value: cube.value | value,
                }
            } else {
                cube
            };
            self.descend(left, &next, cube)?;
        }
        Ok(())
    }
}

/// Whether a condition holds, as soon as the bits below `left` cannot change it.
fn answer(condition: &Condition, state: Progress, left: u32) -> Option<bool> {
    let low = if left == 64 {
        u64::MAX
    } else {
        (1 << left) - 1
    };
    let (value, mask) = (condition.value & low, condition.mask & low);
    let order = match state {
        Progress::Less => std::cmp::Ordering::Less,
        Progress::More => std::cmp::Ordering::Greater,
        Progress::Alike => {
            let (least, most) = (0, mask);
            return match condition.compare {
                Compare::Eq if value & !mask != 0 => Some(false),
                Compare::Ne if value & !mask != 0 => Some(true),
                Compare::Eq if mask == 0 => Some(true),
                Compare::Ne if mask == 0 => Some(false),
                Compare::Eq | Compare::Ne => None,
                Compare::Lt if most < value => Some(true),
                Compare::Lt if least >= value => Some(false),
                Compare::Le if most <= value => Some(true),
                Compare::Le if least > value => Some(false),
                Compare::Gt if least > value => Some(true),
                Compare::Gt if most <= value => Some(false),
                Compare::Ge if least >= value => Some(true),
                Compare::Ge if most < value => Some(false),
                _ => None,
            };
        }
    };
    Some(match condition.compare {
        Compare::Eq => false,
        Compare::Ne => true,
        Compare::Lt | Compare::Le => order.is_lt(),
        Compare::Gt | Compare::Ge => order.is_gt(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(index: u8, compare: Compare, value: u64, mask: u64) -> Condition {
        Condition {
            index,
            compare,
            value,
            mask,
        }
    }

    #[test]
    fn cubes_hold_the_values_of_their_conditions_and_no_others() {
        let compares = [
            Compare::Eq,
            Compare::Ne,
            Compare::Lt,
            Compare::Le,
            Compare::Gt,
            Compare::Ge,
        ];
        for one in compares {
            for other in compares {
                for (value, second) in [(0, 7), (3, 3), (5, 12), (9, 2), (15, 16), (8, 0)] {
                    for (mask, more) in [(15, 15), (12, 15), (5, 10), (0, 9)] {
                        let conditions = [on(0, one, value, mask), on(0, other, second, more)];
                        let found = cubes(&conditions, MOST).unwrap();
                        for number in 0..32u64 {
                            let hits = found.iter().filter(|c| number & c.mask == c.value).count();
                            let holds = conditions.iter().all(|c| c.holds(&[number; 6]));
                            assert_eq!(
                                hits,
                                usize::from(holds),
                                "{number} {conditions:?} {found:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn all_but_two_values_of_an_int_are_a_few_dozen_cubes() {
        let int = 0xffff_ffff;
        let conditions = [
            on(1, Compare::Ne, 0x5412, int),
            on(1, Compare::Ne, 0x541c, int),
        ];
        let found = cubes(&conditions, MOST).unwrap();
        assert!(found.len() < 40, "{}", found.len());
    }
}
