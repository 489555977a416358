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
use crate::policy::observe::{Observing, Word};
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
    pub(super) fn at_start(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.policies.iter().flatten();
        all.flat_map(|own| &own.at_start)
            .map(|own| (own.profile.as_str(), own.what.as_str()))
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

    /// What an access is remembered by.
    pub(super) fn hash(&self, access: &Access, session: Session, phase: Phase) -> u64 {
        let exec = session == Session::Exec;
        self.key.hash_one((access, exec, phase))
    }

    /// Whether all that the call can be was told before, as far as its registers say.
    pub(super) fn knows(&self, shared: &Shared, whose: Whose, call: &Notification) -> bool {
        let (_, access) = self.by_registers(call);
        let in_memory = match &access {
            Access::Syscall { name, .. } => {
                name == "clone3"
                    || files::of(name, &call.args).is_some()
                    || files::socket(name, &call.args).is_some()
            }
            _ => false,
        };
        !in_memory && shared.is_told(self.hash(&access, session(whose), phase(shared)))
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
