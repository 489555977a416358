//! The profile that a draft adds to: what an addition to it has to say, and what none can.

use std::collections::BTreeSet;

use super::check::{self, Error, Load};
use super::run::Run;
use super::union::Union;
use crate::access::{Access, Argument};
use crate::policy::decide::{Answer, Known, Layer, excepted};
use crate::policy::seccomp::exact;
use crate::profile::{Condition, Profile, implied_tripwire};

/// It.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent {
    /// Its name.
    pub name: String,
    layer: Layer,
}

impl Parent {
    /// Finds it by its name.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn find(name: &str, runs: &[Run], load: Load<'_>) -> Result<Parent, Error> {
        let layer = check::base(name, runs, load)?;
        let name = name.to_owned();
        Ok(Parent { name, layer })
    }

    /// What of `runs` it does not grant for certain.
    #[must_use]
    pub fn lacking(&self, runs: &[Run]) -> Vec<Run> {
        check::lacking(&self.layer, runs)
    }

    /// Whether it allows a call whatever its arguments.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        let call = Access::Syscall {
            name: name.to_owned(),
            args: Vec::new(),
        };
        check::said(&self.layer, &call) == Some(Answer::Allowed)
    }

    /// The conditions of each of its rules that refuses such a call by its arguments. They come before any allowance
    /// but one under the very same conditions.
    #[must_use]
    pub fn refusing(&self, name: &str, args: &[Argument]) -> Vec<&[Condition]> {
        let known = Known::of(name, args);
        let calls = self.profile().map(|profile| &profile.syscalls);
        let rules = calls
            .into_iter()
            .flat_map(|calls| calls.deny.iter().chain(&calls.tripwire));
        let rules = rules.filter(|rule| rule.name == name && !rule.args.is_empty());
        // That of `detect` is no line of anybody's, and nothing takes its place.
        let rules = rules.filter(|rule| *rule.args != [implied_tripwire()]);
        let meets =
            |rule: &&[Condition]| !args.is_empty() && exact::meet(name, rule, &known.values);
        rules
            .map(|rule| rule.args.as_slice())
            .filter(meets)
            .collect()
    }

    /// Whether it lets no TCP port be bound, which denies listen(2) on any socket.
    #[must_use]
    pub fn binds_nothing(&self) -> bool {
        let network = self.profile().and_then(|profile| profile.network.as_ref());
        let ports = network.and_then(|network| network.bind_tcp.as_ref());
        ports.is_some_and(BTreeSet::is_empty)
    }

    /// Takes out of `union` and `runs` what it leaves out by `files.except`, which no addition can grant, and puts it
    /// among what `union` has excepted.
    pub fn except(&self, union: &mut Union, runs: &mut [Run]) {
        let files = self.profile().and_then(|profile| profile.files.as_ref());
        let paths = files.into_iter().flat_map(|files| &files.except);
        let paths: Vec<&str> = paths.map(|out| out.path.as_str()).collect();
        let why = |access: &Access| match check::said(&self.layer, access) {
            Some(Answer::Allowed) | None => None,
            Some(_) => excepted(access, self.layer.domain.as_ref(), &paths),
        };
        for access in union.seen.keys() {
            if let Some(out) = why(access) {
                union.excepted.insert(access.clone(), out.to_owned());
            }
        }
        let excepted = &union.excepted;
        union
            .seen
            .retain(|access, _| !excepted.contains_key(access));
        for run in runs {
            run.seen.retain(|seen| !excepted.contains_key(&seen.access));
        }
    }

    fn profile(&self) -> Option<&Profile> {
        self.layer.profile.as_deref()
    }
}
