//! The profiles in force on one container. Each only takes away from what the others leave: a
//! capability, a call, a path is had where *every* layer grants it, a container is refused where
//! *any* layer refuses it, a call is reported where any layer reports it, and what any layer watches
//! for is watched for.
//!
//! All of this is about layers that enforce. One in mode `audit` or `learn` takes nothing away: what it
//! would is observed ([`super::observe`]), and what it watches for is told and not answered.

use std::collections::BTreeSet;

use super::refuse::Refusal;
use crate::detect::Response;
use crate::detect::{self, OnLoss};
use crate::profile::{Device, Mode, Profile, Tasks, capability_names};

/// Landlock domains that the kernel stacks (LANDLOCK_MAX_NUM_LAYERS); each layer is one.
pub const MOST: usize = 16;

/// 1..=[`MOST`] profiles, outermost first: the handler's, those of the node's rules, the pod's
/// selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers<'a>(&'a [&'a Profile]);

impl<'a> Layers<'a> {
    /// Takes profiles, outermost first.
    ///
    /// # Errors
    ///
    /// [`Refusal::Layers`] where there is none, or more than the kernel stacks.
    pub fn new(profiles: &'a [&'a Profile]) -> Result<Layers<'a>, Refusal> {
        match profiles.len() {
            1..=MOST => Ok(Layers(profiles)),
            found => Err(Refusal::Layers { found }),
        }
    }

    /// Outermost first.
    pub fn iter(self) -> impl Iterator<Item = &'a Profile> + Clone {
        self.0.iter().copied()
    }

    /// Those that take something away, outermost first; there may be none.
    pub fn enforcing(self) -> impl Iterator<Item = &'a Profile> + Clone {
        self.iter().filter(|profile| profile.mode == Mode::Enforce)
    }

    /// Those in mode `audit`, outermost first.
    pub fn audited(self) -> impl Iterator<Item = &'a Profile> + Clone {
        self.iter().filter(|profile| profile.mode == Mode::Audit)
    }

    /// Whether any layer records.
    #[must_use]
    pub fn learn(self) -> bool {
        self.iter().any(|profile| profile.mode == Mode::Learn)
    }

    /// Whether any layer only looks.
    #[must_use]
    pub fn observe(self) -> bool {
        self.iter().any(|profile| profile.mode != Mode::Enforce)
    }

    /// The mildest mode of any: what the container must not be taken to be more than.
    #[must_use]
    pub fn mode(self) -> Mode {
        if self.learn() {
            Mode::Learn
        } else if self.observe() {
            Mode::Audit
        } else {
            Mode::Enforce
        }
    }

    /// Names of the profiles, outermost first.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        self.iter().map(|profile| profile.name.clone()).collect()
    }

    /// All of them as errors call them: `restricted + web`.
    #[must_use]
    pub fn title(self) -> String {
        self.names().join(" + ")
    }

    /// Capabilities that every enforcing layer lets a process hold, `CAP_` names; all where none enforces.
    #[must_use]
    pub fn capabilities(self) -> Vec<String> {
        let sets = self.enforcing().map(|profile| profile.capabilities.clone());
        let all = sets.reduce(|a, b| &a & &b);
        let all = all.unwrap_or_else(|| capability_names().collect());
        all.into_iter().map(str::to_owned).collect()
    }

    /// The lowest limit on tasks; none where no layer has one.
    #[must_use]
    pub fn max_tasks(self) -> Option<Tasks> {
        let limits = self.enforcing().filter_map(|profile| profile.max_tasks);
        limits.min()
    }

    /// The lists of devices of those layers that have one.
    #[must_use]
    pub fn devices(self) -> Vec<&'a [Device]> {
        self.enforcing()
            .filter_map(|profile| profile.devices.as_deref())
            .collect()
    }

    /// Rules of detection of all layers; a layer that is there twice sees with one pair of eyes, and those
    /// of one that does not enforce are told and nothing more, and that only where none that does has the
    /// very same rule.
    ///
    /// # Errors
    ///
    /// [`Refusal::Rules`].
    pub fn detect(self) -> Result<Vec<detect::Rule>, Refusal> {
        let mut all: Vec<detect::Rule> = Vec::new();
        for (at, profile) in self.iter().enumerate() {
            if !self.iter().take(at).any(|before| before == profile) {
                let mild = |rule: &detect::Rule| detect::Rule {
                    respond: Response::Log,
                    would: Some(rule.respond),
                    freeze: None,
                    ..rule.clone()
                };
                let own = profile.detect.iter();
                match profile.mode {
                    Mode::Enforce => all.extend(own.cloned()),
                    Mode::Audit | Mode::Learn => {
                        all.extend(own.filter(|rule| !self.answers(rule)).map(mild));
                    }
                }
            }
        }
        if all.len() > detect::MOST_RULES {
            return Err(Refusal::Rules {
                profiles: self.title(),
                found: all.len(),
            });
        }
        Ok(all)
    }

    /// Whether a layer that enforces has this rule, whatever its profile is called.
    fn answers(self, rule: &detect::Rule) -> bool {
        let mut enforced = self.enforcing().flat_map(|profile| &profile.detect);
        enforced.any(|other| {
            let profile = other.profile.clone();
            let same = detect::Rule {
                profile,
                ..rule.clone()
            };
            *other == same
        })
    }

    /// `kill` where any layer says so.
    #[must_use]
    pub fn on_supervisor_loss(self) -> OnLoss {
        let said = self.enforcing().map(|profile| profile.on_supervisor_loss);
        said.max().unwrap_or_default()
    }

    /// What any enforcing layer lists.
    #[must_use]
    pub fn union<T: Ord + Clone>(self, get: fn(&Profile) -> &BTreeSet<T>) -> BTreeSet<T> {
        self.enforcing().flat_map(get).cloned().collect()
    }
}

/// A lone profile is a layer too.
impl<'a> From<&'a &'a Profile> for Layers<'a> {
    fn from(profile: &'a &'a Profile) -> Layers<'a> {
        Layers(std::slice::from_ref(profile))
    }
}
