//! The engine's filter (`linux.seccomp`) read as decisions.
//!
//! Where several rules of one call hold at once, libseccomp's choice depends on their order and
//! version; here the strictest of them stands, so that what is derived from it is never weaker.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Oci, LinuxSeccompArg,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};

use super::verdict::{Action, Compare, Condition, Decision};

#[cfg(target_arch = "x86_64")]
const NATIVE: Arch = Arch::ScmpArchX86_64;
#[cfg(target_arch = "aarch64")]
const NATIVE: Arch = Arch::ScmpArchAarch64;

/// What the engine's filter answers for `name`, at least as strict as any runtime would make it.
///
/// libseccomp chains overlapping rules of a call so that one which holds may never be reached, and the
/// default answers (seen with 2.5.4 by the property test, for several conditions in a rule and for
/// several inequalities on one argument). Only a lone rule, and rules that list values of one argument
/// with one action, mean what they say; of anything else the strictest action stands, whatever the
/// arguments.
#[must_use]
pub fn decision(filter: &LinuxSeccomp, name: &str) -> Decision {
    let rules = rules(filter, name);
    let default = default(filter);
    if is_mixed(&rules) {
        let strictest = rules
            .iter()
            .fold(default, |all, (_, action)| all.meet(*action));
        return Decision::always(strictest);
    }
    Decision::strictest(rules, default)
}

/// Where the filter may hand the call to a tracer or to a listener: at some arguments, or, where its rules
/// do not mean what they say, at any. None where it never does.
#[must_use]
pub fn handed_over(filter: &LinuxSeccomp, name: &str) -> Option<Decision> {
    let rules = rules(filter, name);
    if is_mixed(&rules) {
        let mut actions = rules.iter().map(|(_, action)| *action);
        let default = Some(default(filter));
        let found = actions.find(|a| a.hands_over());
        return found
            .or(default.filter(|a| a.hands_over()))
            .map(Decision::always);
    }
    let decision = Decision::strictest(rules, default(filter));
    let hands_over = decision.all().any(|(_, action)| action.hands_over());
    hands_over.then_some(decision)
}

/// Rules of which libseccomp may reach another one than it should.
fn is_mixed(rules: &[(Vec<Condition>, Action)]) -> bool {
    let plain = rules.iter().all(|(conditions, action)| {
        let value = match conditions.as_slice() {
            [one] => {
                (one.compare, one.mask, one.index) == (Compare::Eq, u64::MAX, first_index(rules))
            }
            several => several.is_empty(),
        };
        value && *action == rules[0].1
    });
    rules.len() > 1 && !plain
}

/// The rules on `name` as they are written, a rule that names an argument twice in its stricter reading.
/// The strictest of those that hold is what a correct compiler may answer at the least, the default where
/// none does.
#[must_use]
pub fn rules(filter: &LinuxSeccomp, name: &str) -> Vec<(Vec<Condition>, Action)> {
    let mut rules = Vec::new();
    for rule in naming(filter, name) {
        let action = action(rule.action(), rule.errno_ret());
        for conditions in conditions(rule, action) {
            rules.push((conditions, action));
        }
    }
    rules
}

/// The argument that the first condition is on.
fn first_index(rules: &[(Vec<Condition>, Action)]) -> u8 {
    let mut conditions = rules.iter().flat_map(|(conditions, _)| conditions);
    conditions.next().map_or(0, |condition| condition.index)
}

/// Every action whose rule holds for these arguments, else the default: what a correct compiler may
/// answer, in runc's reading of rules that name an argument twice. For tests and fuzzing: what is
/// planned rests on [`decision`].
#[must_use]
pub fn possible(filter: &LinuxSeccomp, name: &str, args: &[u64; 6]) -> Vec<Action> {
    let mut found = Vec::new();
    for rule in naming(filter, name) {
        let action = action(rule.action(), rule.errno_ret());
        let all: Vec<Condition> = rule.args().iter().flatten().filter_map(condition).collect();
        let twice = all
            .iter()
            .enumerate()
            .any(|(i, c)| all[..i].iter().any(|d| d.index == c.index));
        let any = all.iter().any(|c| c.holds(args));
        if (twice && any) || (!twice && all.iter().all(|c| c.holds(args))) {
            found.push(action);
        }
    }
    found.push(default(filter));
    if found.len() > 1 && !naming(filter, name).any(|rule| rule.args().iter().flatten().count() > 1)
    {
        found.pop();
    }
    found
}

/// Whether every call of `name` is answered with an errno, so that a notification by another
/// filter would never be seen.
#[must_use]
pub fn denies_in_silence(filter: &LinuxSeccomp, name: &str) -> bool {
    let errno = |action| matches!(action, Action::Errno(_));
    let mut always = errno(default(filter));
    for rule in naming(filter, name) {
        if !errno(action(rule.action(), rule.errno_ret())) {
            return false;
        }
        always |= rule.args().as_ref().is_none_or(Vec::is_empty);
    }
    always
}

fn naming<'a>(filter: &'a LinuxSeccomp, name: &'a str) -> impl Iterator<Item = &'a LinuxSyscall> {
    let all = filter.syscalls().iter().flatten();
    all.filter(move |rule| rule.names().iter().any(|n| n == name))
}

/// What it answers for calls it does not list.
#[must_use]
pub fn default(filter: &LinuxSeccomp) -> Action {
    action(filter.default_action(), filter.default_errno_ret())
}

/// Every rule's names and what it answers, whatever its arguments.
pub fn actions(filter: &LinuxSeccomp) -> impl Iterator<Item = (&[String], Action)> {
    let rules = filter.syscalls().iter().flatten();
    rules.map(|rule| {
        let answer = action(rule.action(), rule.errno_ret());
        (rule.names().as_slice(), answer)
    })
}

/// Whether its rules hold for other architectures than this machine's: libseccomp kills what is not listed.
#[must_use]
pub fn lists_foreign(filter: &LinuxSeccomp) -> bool {
    let mut listed = filter.architectures().iter().flatten();
    listed.any(|arch| *arch != NATIVE)
}

/// Whether it has any call put into the kernel's log (SCMP_ACT_LOG).
#[must_use]
pub fn logs(filter: &LinuxSeccomp) -> bool {
    default(filter) == Action::Log || actions(filter).any(|(_, action)| action == Action::Log)
}

/// The strictest answer that it gives to any call.
#[must_use]
pub fn strictest(filter: &LinuxSeccomp) -> Action {
    let actions = actions(filter).map(|(_, action)| action);
    actions.fold(default(filter), Action::meet)
}

/// Whether it hands calls to a listener of its own.
#[must_use]
pub fn notifies(filter: &LinuxSeccomp) -> bool {
    filter.listener_path().is_some()
        || filter.default_action() == Oci::ScmpActNotify
        || filter
            .syscalls()
            .iter()
            .flatten()
            .any(|rule| rule.action() == Oci::ScmpActNotify)
}

fn action(action: Oci, errno: Option<u32>) -> Action {
    match action {
        Oci::ScmpActKill | Oci::ScmpActKillThread => Action::KillThread,
        Oci::ScmpActKillProcess => Action::KillProcess,
        Oci::ScmpActTrap => Action::Trap,
        Oci::ScmpActErrno => Action::Errno(errno.map_or(1, |n| u16::try_from(n).unwrap_or(1))),
        Oci::ScmpActNotify => Action::Notify,
        Oci::ScmpActTrace => Action::Trace,
        Oci::ScmpActLog => Action::Log,
        Oci::ScmpActAllow => Action::Allow,
    }
}

/// One list of conditions, or several where a rule names an argument twice: runc takes each
/// condition of such a rule as a rule of its own (any may hold), the runtime-spec reads them as
/// "all must hold". The stricter reading: all for what permits, any for what denies.
fn conditions(rule: &LinuxSyscall, action: Action) -> Vec<Vec<Condition>> {
    let args: &[LinuxSeccompArg] = rule.args().as_deref().unwrap_or_default();
    let all: Vec<Condition> = args.iter().filter_map(condition).collect();
    let twice = all
        .iter()
        .enumerate()
        .any(|(i, c)| all[..i].iter().any(|d| d.index == c.index));
    if twice && !action.permits() {
        return all.into_iter().map(|one| vec![one]).collect();
    }
    vec![all]
}

/// None for an argument that does not exist; the runtime refuses such a filter itself.
fn condition(arg: &LinuxSeccompArg) -> Option<Condition> {
    let index = u8::try_from(arg.index()).ok().filter(|index| *index <= 5)?;
    let plain = |compare| Condition {
        index,
        compare,
        value: arg.value(),
        mask: u64::MAX,
    };
    Some(match arg.op() {
        Operator::ScmpCmpNe => plain(Compare::Ne),
        Operator::ScmpCmpLt => plain(Compare::Lt),
        Operator::ScmpCmpLe => plain(Compare::Le),
        Operator::ScmpCmpEq => plain(Compare::Eq),
        Operator::ScmpCmpGe => plain(Compare::Ge),
        Operator::ScmpCmpGt => plain(Compare::Gt),
        // `value` is the mask, `valueTwo` the datum; libseccomp masks the datum too.
        Operator::ScmpCmpMaskedEq => Condition {
            index,
            compare: Compare::Eq,
            value: arg.value_two().unwrap_or(0) & arg.value(),
            mask: arg.value(),
        },
    })
}
