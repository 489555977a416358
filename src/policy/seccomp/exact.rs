//! The workload-exact filter: the profile's decisions by number, compiled.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::LinuxSeccomp;

use super::bpf::TooLarge;
use super::verdict::{Action, Compare, Condition, Decision};
use super::{engine, observe, tcp};
use crate::policy::Layers;
use crate::profile::table::{self, Lookup};
use crate::profile::{Condition as Written, Op, Profile, Rule, groups};
use crate::state::Tripwire;

/// What init itself still calls under the exact filter: it waits for the word, says that it
/// failed, executes the workload, ends. Always allowed, whatever profile and engine say; a profile
/// without execve is refused when it is resolved.
pub const LAST_NEEDS: [&str; 4] = ["read", "write", "execve", "exit_group"];

/// Decisions by name, for every call that has a number here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exact {
    /// Number and decision.
    pub calls: BTreeMap<String, (u32, Decision)>,
    /// Names that the profile allows and this build does not know: they answer ENOSYS.
    pub unknown: Vec<String>,
    /// What a number answers that stands nowhere here.
    pub unlisted: Action,
    /// What calls of other architectures answer.
    pub foreign: Action,
}

/// What an unlisted number answers: a C library takes its older way on ENOSYS, never on EPERM.
pub const UNKNOWN: Action = Action::Errno(libc::ENOSYS as u16);
/// What a call of another architecture answers, whose numbers mean something else.
pub const FOREIGN: Action = Action::KillProcess;
const DENIED: Action = Action::Errno(libc::EPERM as u16);

/// Answers of two layers to one call, each with each, beyond which no program would hold the rest.
const MOST_PAIRS: usize = 1 << 14;

impl Exact {
    /// Decides every call that any layer's data version knows: allowed where all allow it, reported
    /// where any reports it. `notify`: tripwires are notified; without it they answer their errno in
    /// silence.
    ///
    /// # Errors
    ///
    /// [`TooLarge::Pairs`].
    pub fn new(layers: Layers<'_>, notify: bool) -> Result<Exact, TooLarge> {
        let mut exact = Exact::enforced(layers, notify)?;
        for profile in layers.audited() {
            // Without notification no layer can look, and such a container is refused.
            let both = if notify {
                Action::beside
            } else {
                Action::layered
            };
            exact.narrow(Exact::of(profile, true).observed(), both)?;
        }
        if layers.observe() {
            exact.narrow(observe::calls(layers), Action::layered)?;
        }
        exact.close_listeners();
        Ok(exact)
    }

    /// What the layers come to that enforce; without any, nothing is denied.
    ///
    /// # Errors
    ///
    /// [`TooLarge::Pairs`].
    pub fn enforced(layers: Layers<'_>, notify: bool) -> Result<Exact, TooLarge> {
        let mut each = layers.enforcing().map(|profile| Exact::of(profile, notify));
        let Some(mut exact) = each.next() else {
            return Ok(Exact::open());
        };
        for more in each {
            exact.narrow(more, Action::layered)?;
        }
        // What one layer filters of clone, another's tripwire on clone3 must not make EPERM.
        exact.close_clone3();
        Ok(exact)
    }

    /// Adds a layer: of two answers `both`. A call that one of the two does not know is unknown to both, and
    /// such a number answers that it is not there, as clone3 does, without anybody being told.
    fn narrow(&mut self, other: Exact, both: fn(Action, Action) -> Action) -> Result<(), TooLarge> {
        let (unlisted, own) = (
            Decision::always(other.unlisted),
            Decision::always(self.unlisted),
        );
        for (name, (_, decision)) in &mut self.calls {
            let theirs = other.calls.get(name);
            let theirs = theirs.map_or(&unlisted, |(_, theirs)| theirs);
            let pairs = (decision.branches.len() + 1) * (theirs.branches.len() + 1);
            if pairs > MOST_PAIRS {
                return Err(TooLarge::Pairs {
                    call: name.clone(),
                    pairs,
                    most: MOST_PAIRS,
                });
            }
            let both = match name.as_str() {
                "clone3" => Action::layered,
                _ => both,
            };
            *decision = decision.both(theirs, both);
        }
        for (name, (number, theirs)) in other.calls {
            let meet = || (number, own.layered(&theirs));
            self.calls.entry(name).or_insert_with(meet);
        }
        self.unlisted = self.unlisted.layered(other.unlisted);
        self.foreign = self.foreign.meet(other.foreign);
        for name in other.unknown {
            if !self.unknown.contains(&name) {
                self.unknown.push(name);
            }
        }
        Ok(())
    }

    /// What nobody restricts.
    fn open() -> Exact {
        Exact {
            calls: BTreeMap::new(),
            unknown: Vec::new(),
            unlisted: Action::Allow,
            foreign: Action::Allow,
        }
    }

    /// The same where nothing is denied: what would be is looked at.
    fn observed(mut self) -> Exact {
        for (_, decision) in self.calls.values_mut() {
            *decision = decision.observed();
        }
        self.unknown.clear();
        self.unlisted = self.unlisted.observed();
        self.foreign = self.foreign.observed();
        self
    }

    /// One layer.
    pub(in crate::policy) fn of(profile: &Profile, notify: bool) -> Exact {
        let calls = &profile.syscalls;
        let lists = Lists {
            tripwire: by_name(&calls.tripwire),
            deny: by_name(&calls.deny),
            allow: by_name(&calls.allow),
            notify,
        };
        let known = groups::members(&calls.groups, "known").unwrap_or_default();
        let listed = [&calls.allow, &calls.tripwire, &calls.deny]
            .into_iter()
            .flatten();
        let names: BTreeSet<&str> = known
            .into_iter()
            .chain(listed.map(|rule| rule.name.as_str()))
            .collect();
        let mut exact = Exact {
            calls: BTreeMap::new(),
            unknown: Vec::new(),
            unlisted: UNKNOWN,
            foreign: FOREIGN,
        };
        for name in names {
            match table::lookup(name) {
                Lookup::Number(number) => {
                    exact
                        .calls
                        .insert(name.into(), (number, lists.decide(name)));
                }
                Lookup::Elsewhere => {}
                Lookup::Unknown if lists.allow.contains_key(name) => {
                    exact.unknown.push(name.into())
                }
                Lookup::Unknown => {}
            }
        }
        exact.close_clone3();
        for closed in profile.network.iter().flat_map(tcp::closed) {
            exact.close(closed);
        }
        for name in LAST_NEEDS {
            exact.set(name, Decision::always(Action::Allow));
        }
        exact
    }

    /// clone3 passes its flags in memory, which no filter can read: where clone is filtered by
    /// flags, clone3 must be absent, and ENOSYS makes every C library fall back to clone.
    fn close_clone3(&mut self) {
        let filtered = self
            .calls
            .get("clone")
            .is_none_or(|(_, clone)| !clone.permits_all());
        if filtered {
            self.set("clone3", Decision::always(UNKNOWN));
        }
    }

    /// No listener beside the supervisor's, nor after it. Of two USER_NOTIFs the kernel asks the newer
    /// filter's listener alone, and that one may let the call continue (seccomp_unotify(2)): a workload
    /// that outlives its supervisor, whose listener is then gone from the chain, could answer its own
    /// tripwires. EBUSY is what the kernel says while the supervisor lives.
    fn close_listeners(&mut self) {
        let closed = Decision {
            branches: vec![(
                vec![Condition {
                    index: 1,
                    compare: Compare::Eq,
                    value: libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                    mask: libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                }],
                Action::Errno(libc::EBUSY as u16),
            )],
            otherwise: Action::Allow,
        };
        if self.notifies()
            && let Some((_, decision)) = self.calls.get_mut("seccomp")
        {
            *decision = closed.layered(decision);
        }
    }

    /// Puts an errno before everything that a profile can say, of which none is stricter.
    fn close(&mut self, closed: tcp::Closed) {
        let Some((_, slot)) = self.calls.get_mut(closed.name) else {
            return;
        };
        if closed.conditions.is_empty() {
            *slot = Decision::always(closed.action);
        } else {
            slot.branches.insert(0, (closed.conditions, closed.action));
        }
    }

    fn set(&mut self, name: &str, decision: Decision) {
        if let Some((_, slot)) = self.calls.get_mut(name) {
            *slot = decision;
        }
    }

    /// Denies again what was added to the engine's filter for init's sake: for `added`, engine ∧
    /// profile.
    pub fn take_back(&mut self, filter: &LinuxSeccomp, added: &BTreeSet<&'static str>) {
        for name in added {
            if LAST_NEEDS.contains(name) {
                continue;
            }
            if let Some((_, decision)) = self.calls.get_mut(*name) {
                *decision = decision.meet(&engine::decision(filter, name));
            }
        }
    }

    /// Leaves alone what the engine's filter hands to a tracer or to a listener: USER_NOTIF is stricter to
    /// the kernel, and a call that is looked at goes on, which would lift what the engine denies. Which
    /// calls of another architecture, or of a name that no layer knows, these are is not told apart.
    pub fn respect(&mut self, filter: &LinuxSeccomp) {
        let default = engine::default(filter);
        for (name, (_, decision)) in &mut self.calls {
            if let Some(theirs) = engine::handed_over(filter, name) {
                *decision = decision.both(&theirs, spare);
            }
        }
        self.unlisted = spare(self.unlisted, default);
        for (names, action) in engine::actions(filter) {
            if !action.hands_over() {
                continue;
            }
            self.foreign = spare(self.foreign, action);
            if names.iter().any(|name| !self.calls.contains_key(name)) {
                self.unlisted = spare(self.unlisted, action);
            }
        }
        self.foreign = spare(self.foreign, default);
    }

    /// Kills calls of other architectures where something was added to the engine's filter for init's sake:
    /// it was added for each architecture that the filter lists, and [`Exact::take_back`] is about this one
    /// alone. Answers whether that takes away what no layer takes.
    pub fn close_foreign(&mut self, filter: &LinuxSeccomp) -> bool {
        let open = self.foreign.permits() && engine::lists_foreign(filter);
        if open {
            self.foreign = FOREIGN;
        }
        open
    }

    /// Decisions by number.
    #[must_use]
    pub fn by_number(&self) -> BTreeMap<u32, Decision> {
        self.calls.values().cloned().collect()
    }

    /// Whether any call is notified.
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.observes() || self.calls.values().any(|(_, decision)| notifies(decision))
    }

    /// Whether any call is looked at.
    #[must_use]
    pub fn observes(&self) -> bool {
        let observes = |decision: &Decision| decision.all().any(|(_, a)| a == Action::Audit);
        let mut all = self.calls.values();
        self.unlisted == Action::Audit || all.any(|(_, decision)| observes(decision))
    }

    /// Calls that are refused with a report, whole or in part.
    pub fn tripwires(&self) -> impl Iterator<Item = &str> {
        self.calls
            .iter()
            .filter(|(_, (_, d))| notifies(d))
            .map(|(name, _)| name.as_str())
    }
}

/// Ours, but nothing that the engine's filter hands to somebody.
fn spare(own: Action, engine: Action) -> Action {
    match own {
        Action::Audit if engine.hands_over() => Action::Allow,
        own => own,
    }
}

fn notifies(decision: &Decision) -> bool {
    decision.all().any(|(_, action)| action == Action::Notify)
}

type ByName<'a> = BTreeMap<&'a str, Vec<&'a Rule>>;

fn by_name(rules: &[Rule]) -> ByName<'_> {
    let mut map = ByName::new();
    for rule in rules {
        map.entry(&rule.name).or_default().push(rule);
    }
    map
}

struct Lists<'a> {
    tripwire: ByName<'a>,
    deny: ByName<'a>,
    allow: ByName<'a>,
    notify: bool,
}

impl Lists<'_> {
    /// Conditional denials, conditional allowances, then allowed, tripped, denied, unlisted.
    fn decide(&self, name: &str) -> Decision {
        let (tripwire, deny) = (listed(&self.tripwire, name), listed(&self.deny, name));
        let allow = listed(&self.allow, name);
        let refusal = |rule: &Rule| {
            let errno = rule.errno.and_then(|n| u16::try_from(n).ok());
            errno.map_or(DENIED, Action::Errno)
        };
        let trip = |rule: &Rule| {
            if self.notify {
                Action::Notify
            } else {
                refusal(rule)
            }
        };
        let mut branches = Vec::new();
        // A silent denial before a reported one of the same calls: the stricter first.
        for (rules, action) in [
            (deny, &refusal as &dyn Fn(&Rule) -> Action),
            (tripwire, &trip),
            (allow, &|_| Action::Allow),
        ] {
            for rule in rules.iter().filter(|rule| !rule.args.is_empty()) {
                branches.push((conditions(rule), action(rule)));
            }
        }
        let otherwise = match (bare(allow), bare(tripwire), bare(deny)) {
            (Some(_), _, _) => Action::Allow,
            (_, Some(rule), _) => trip(rule),
            (_, _, Some(rule)) => refusal(rule),
            _ => DENIED,
        };
        Decision {
            branches,
            otherwise,
        }
    }
}

fn bare<'a>(rules: &[&'a Rule]) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.args.is_empty()).copied()
}

fn listed<'a>(map: &'a ByName<'_>, name: &str) -> &'a [&'a Rule] {
    map.get(name).map_or(&[], Vec::as_slice)
}

/// What a rule asks of the registers.
pub(crate) fn conditions(rule: &Rule) -> Vec<Condition> {
    rule.args
        .iter()
        .map(|written| condition(&rule.name, written))
        .collect()
}

fn condition(name: &str, written: &Written) -> Condition {
    let width = if table::is_int(name, written.index) {
        0xffff_ffff
    } else {
        u64::MAX
    };
    let mask = written.mask.unwrap_or(u64::MAX) & width;
    let compare = match written.op {
        Op::Eq | Op::Masked => Compare::Eq,
        Op::Ne | Op::MaskedNe => Compare::Ne,
        Op::Lt => Compare::Lt,
        Op::Le => Compare::Le,
        Op::Gt => Compare::Gt,
        Op::Ge => Compare::Ge,
    };
    // A value written sign-extended (-1 as u64) means the same int.
    Condition {
        index: u8::try_from(written.index).unwrap_or(5),
        compare,
        value: written.value & width,
        mask,
    }
}

/// Whether the arguments, as registers, meet all of a rule's conditions.
#[must_use]
pub fn meet(name: &str, rule: &[Written], args: &[u64; 6]) -> bool {
    rule.iter()
        .all(|written| condition(name, written).holds(args))
}

/// What one layer's tripwires on a call come to, for those who answer and report; none where it
/// has none.
#[must_use]
pub fn tripwire(profile: &Profile, name: &str) -> Option<Tripwire> {
    let of = |list: &[Rule]| -> Vec<Rule> {
        let named = list.iter().filter(|rule| rule.name == name);
        named.cloned().collect()
    };
    let calls = &profile.syscalls;
    let tripwires = of(&calls.tripwire);
    if tripwires.is_empty() {
        return None;
    }
    let errno = tripwires.iter().find_map(|rule| rule.errno);
    let others = [of(&calls.allow), of(&calls.deny)].concat();
    let conditional = others.into_iter().map(|rule| rule.args);
    Some(Tripwire {
        syscall: name.into(),
        number: match table::lookup(name) {
            Lookup::Number(number) => i32::try_from(number).ok(),
            Lookup::Elsewhere | Lookup::Unknown => None,
        },
        errno: errno.unwrap_or(libc::EPERM),
        profile: profile.name.clone(),
        rules: tripwires.into_iter().map(|rule| rule.args).collect(),
        unless: conditional.filter(|args| !args.is_empty()).collect(),
    })
}

/// Which layer's tripwire refused a call with these arguments; `layers` are those that have one for
/// it, outermost first. The first where none speaks, as for a record of an older version.
#[must_use]
pub fn speaking<'a, T: Borrow<Tripwire>>(layers: &'a [T], args: &[u64; 6]) -> Option<&'a T> {
    let holds = |wire: &Tripwire, rules: &[Vec<Written>]| {
        let any = |rule: &Vec<Written>| !rule.is_empty() && meet(&wire.syscall, rule, args);
        rules.iter().any(any)
    };
    let speaks = |wire: &&T| {
        let wire: &Tripwire = (*wire).borrow();
        let bare = wire.rules.iter().any(Vec::is_empty);
        holds(wire, &wire.rules) || bare && !holds(wire, &wire.unless)
    };
    layers.iter().find(speaks).or(layers.first())
}
