//! What layers in mode `audit` and `learn` make of a notified call: shared by the watcher, who looks, and
//! the keeper, who lets calls go on where no watcher can.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;

use super::link::Whose;
use super::shared::Shared;
use super::tripwire::NATIVE;
use crate::access::{Access, Phase, calls, files};
use crate::event::Session;
use crate::policy::decide::Domain;
use crate::policy::observe::{Denial, Observing, Word};
use crate::state::Record;
use crate::sys::seccomp::{self, Notification};

/// asm/unistd.h `__X32_SYSCALL_BIT`.
const X32: u32 = 0x4000_0000;

/// The record's, decoded.
pub(super) struct Observer {
    /// By policy.
    policies: Vec<Option<Observing>>,
    names: HashMap<u32, String>,
    /// Nobody in the container knows it, so nobody can choose two accesses that are taken for one. Every
    /// watcher has it by fork(2).
    key: RandomState,
}

impl Observer {
    /// # Errors
    /// The record is not of this version.
    pub(super) fn new(record: &Record) -> Result<Observer, serde_json::Error> {
        let policies = record.observing.iter().cloned();
        let policies: Vec<Option<Observing>> = policies
            .map(serde_json::from_value)
            .collect::<Result<_, _>>()?;
        let all = policies.iter().flatten();
        let names = all.flat_map(|own| own.names.iter().cloned()).collect();
        Ok(Observer {
            policies,
            names,
            key: RandomState::new(),
        })
    }

    /// Whether any layer of any policy only looks.
    pub(super) fn observes(&self) -> bool {
        self.policies.iter().any(Option::is_some)
    }

    /// Whether what is in memory is looked at.
    pub(super) fn reads_memory(&self) -> bool {
        let mut all = self.policies.iter().flatten();
        all.any(Observing::reads_memory)
    }

    /// What would have been refused at `create`, by profile.
    pub(super) fn at_start(&self) -> Vec<(String, String)> {
        let all = self.policies.iter().flatten();
        all.flat_map(|own| &own.at_start)
            .map(|own| (own.profile.clone(), own.what.clone()))
            .collect()
    }

    /// The layers that look at what such a listener brings.
    pub(super) fn of(&self, whose: Whose) -> Option<&Observing> {
        self.of_policy(whose.policy as usize)
    }

    /// Those of a policy, by its number.
    pub(super) fn of_policy(&self, policy: usize) -> Option<&Observing> {
        self.policies.get(policy)?.as_ref()
    }

    /// What layers that enforce say of the call: where there are no others, each that is notified is refused.
    pub(super) fn word(&self, whose: Whose, call: &Notification) -> Word {
        let Some(observing) = self.of(whose) else {
            return Word::Tripwire;
        };
        native(call).map_or(Word::Free, |number| observing.word(number, &call.args))
    }

    /// Answers a call that nobody reports.
    pub(super) fn answer(listener: impl AsFd, id: u64, word: Word) {
        // ENOENT: the caller was killed meanwhile.
        let _ = match word {
            Word::Free => seccomp::go_on(listener, id),
            Word::Silent(errno) => seccomp::deny(listener, id, errno.into()),
            Word::Tripwire => seccomp::deny(listener, id, libc::EPERM),
        };
    }

    /// The call's name.
    pub(super) fn name(&self, number: u32) -> String {
        let name = self.names.get(&number);
        name.cloned().unwrap_or_else(|| format!("syscall_{number}"))
    }

    /// Whether it is listen(2), from which on a workload serves.
    pub(super) fn listens(&self, call: &Notification) -> bool {
        native(call).is_some_and(|number| i64::from(number) == libc::SYS_listen)
    }

    /// The access that the call is by its registers, and its number here.
    pub(super) fn by_registers(&self, call: &Notification) -> (Option<u32>, Access) {
        match native(call) {
            Some(number) => (Some(number), calls::access(&self.name(number), &call.args)),
            None => (
                None,
                Access::Container {
                    what:
                        "a system call of another architecture (i386 or x32), which every filter \
                           that enforces kills"
                            .into(),
                },
            ),
        }
    }

    /// Who of those that only look would have denied an access of this call; `domains` are those of the layers
    /// on files.
    pub(super) fn denial<'a>(
        &'a self,
        whose: Whose,
        number: Option<u32>,
        args: &[u64; 6],
        access: &Access,
        domains: &[Domain],
    ) -> Option<Denial<'a>> {
        let observing = self.of(whose)?;
        match access {
            // clone3 is told, and judged, as what C libraries do without it.
            Access::Syscall { args, .. } if number == Some(libc::SYS_clone3 as u32) => {
                let flags = args.first().map_or(0, |flags| flags.value);
                observing.clone3(flags, access)
            }
            Access::Syscall { .. } => number.and_then(|own| observing.call(own, args, access)),
            Access::File { .. } => observing.file(access, domains),
            Access::Tcp { .. } => observing.tcp(access),
            Access::Capability { .. } => observing.capability(access),
            Access::Container { .. } if number.is_some() => observing.outside(),
            Access::Container { .. } => observing.foreign(),
        }
    }

    /// What an access is remembered by: what is said of it with it. Another policy may deny what this one does
    /// not, and of one call another rule other arguments, which an access tells of few calls.
    pub(super) fn hash(
        &self,
        access: &Access,
        whose: Whose,
        phase: Phase,
        denial: Option<&Denial<'_>>,
        denied: bool,
    ) -> u64 {
        let said = (denial, denied);
        self.key
            .hash_one((access, whose.policy, whose.exec, phase, said))
    }

    /// Whether all that the call can be was told before, as far as its registers say, or is not to be told.
    pub(super) fn knows(&self, shared: &Shared, whose: Whose, call: &Notification) -> bool {
        let (number, access) = self.by_registers(call);
        let in_memory = match &access {
            Access::Syscall { name, .. } => {
                name == "clone3"
                    || files::of(name, &call.args).is_some()
                    || files::socket(name, &call.args).is_some()
            }
            _ => false,
        };
        if in_memory {
            return false;
        }
        let denial = self.denial(whose, number, &call.args, &access, &[]);
        if denial.is_none() && !self.of(whose).is_some_and(|own| own.learns) {
            return true;
        }
        let denied = self.word(whose, call) != Word::Free;
        shared.is_told(self.hash(&access, whose, phase(shared), denial.as_ref(), denied))
    }
}

/// The kind of session whose calls a listener brings.
pub(super) fn session(whose: Whose) -> Session {
    if whose.exec {
        Session::Exec
    } else {
        Session::Workload
    }
}

/// The number, where it is one of the architecture that everything here is about.
fn native(call: &Notification) -> Option<u32> {
    let number = call.number as u32;
    let foreign = call.arch != NATIVE || number >= X32 && number != u32::MAX;
    (!foreign).then_some(number)
}

/// Now.
pub(super) fn phase(shared: &Shared) -> Phase {
    if shared.serves() {
        Phase::Serving
    } else {
        Phase::StartUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::observe::Audited;
    use crate::policy::seccomp::verdict::{Action, Decision};
    use crate::profile::{Condition, Op};

    /// fcntl(2), whose arguments no access tells.
    const FCNTL: u32 = libc::SYS_fcntl as u32;

    fn audited(profile: &str, values: &[u64]) -> Audited {
        let when = |value: &u64| Condition {
            index: 1,
            op: Op::Eq,
            value: *value,
            mask: None,
        };
        Audited {
            profile: profile.into(),
            calls: vec![(Decision::always(Action::Notify), vec![FCNTL])],
            allowed: Vec::new(),
            conditional: values.iter().map(|v| (FCNTL, vec![when(v)])).collect(),
            domain: None,
            files: false,
            capabilities: Vec::new(),
            excepts: Vec::new(),
            noexec: Vec::new(),
        }
    }

    fn observer(layers: Vec<Audited>, enforced: Vec<(u32, Decision)>) -> Observer {
        let names = vec![(FCNTL, "fcntl".to_owned())];
        let observing = Observing {
            learns: false,
            capabilities: false,
            enforced,
            names: names.clone(),
            layers,
            mounts: Vec::new(),
            at_start: Vec::new(),
        };
        Observer {
            policies: vec![Some(observing)],
            names: names.into_iter().collect(),
            key: RandomState::new(),
        }
    }

    fn fcntl(command: u64) -> Notification {
        Notification {
            id: 1,
            tid: 1,
            number: FCNTL as i32,
            arch: NATIVE,
            args: [0, command, 0, 0, 0, 0],
        }
    }

    /// Remembers the call as told, as a watcher does.
    fn told(observer: &Observer, shared: &Shared, call: &Notification) {
        let (number, access) = observer.by_registers(call);
        let whose = Whose::default();
        let denial = observer.denial(whose, number, &call.args, &access, &[]);
        let denied = observer.word(whose, call) != Word::Free;
        shared.remember(observer.hash(&access, whose, Phase::StartUp, denial.as_ref(), denied));
    }

    #[test]
    fn a_call_that_another_rule_denies_is_not_told_with_the_first() {
        let observer = observer(vec![audited("site", &[1033, 1034])], Vec::new());
        let shared = Shared::new(&[], true).unwrap();
        let knows = |command| observer.knows(&shared, Whose::default(), &fcntl(command));
        assert!(!knows(1033) && !knows(1034));
        told(&observer, &shared, &fcntl(1033));
        assert!(knows(1033) && !knows(1034));
        told(&observer, &shared, &fcntl(1034));
        assert!(knows(1034));
        // All others are one: the line that allows them is.
        told(&observer, &shared, &fcntl(1));
        assert!(knows(2));
    }

    #[test]
    fn a_call_that_is_done_is_not_told_with_one_that_somebody_denied() {
        use crate::policy::seccomp::verdict::{Compare, Condition as Compiled};
        let only = Compiled {
            index: 1,
            compare: Compare::Eq,
            value: 1,
            mask: u64::from(u32::MAX),
        };
        let enforced = Decision {
            branches: vec![(vec![only], Action::Errno(1))],
            otherwise: Action::Allow,
        };
        let observer = observer(vec![audited("site", &[])], vec![(FCNTL, enforced)]);
        let shared = Shared::new(&[], true).unwrap();
        let knows = |command| observer.knows(&shared, Whose::default(), &fcntl(command));
        told(&observer, &shared, &fcntl(1));
        assert!(knows(1) && !knows(2));
    }
}
