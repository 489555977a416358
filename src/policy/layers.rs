//! The profiles in force on one container. Each only takes away from what the others leave: a
//! capability, a call, a path is had where *every* layer grants it, a container is refused where
//! *any* layer refuses it, a call is reported where any layer reports it, and what any layer watches
//! for is watched for.

use std::collections::BTreeSet;

use super::refuse::Refusal;
use crate::detect::{self, OnLoss};
use crate::profile::{Device, Profile, Tasks};

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

    /// Capabilities that every layer lets a process hold, `CAP_` names.
    #[must_use]
    pub fn capabilities(self) -> Vec<String> {
        let sets = self.iter().map(|profile| profile.capabilities.clone());
        let all = sets.reduce(|a, b| &a & &b).unwrap_or_default();
        all.into_iter().map(str::to_owned).collect()
    }

    /// The lowest limit on tasks; none where no layer has one.
    #[must_use]
    pub fn max_tasks(self) -> Option<Tasks> {
        self.iter().filter_map(|profile| profile.max_tasks).min()
    }

    /// The lists of devices of those layers that have one.
    #[must_use]
    pub fn devices(self) -> Vec<&'a [Device]> {
        self.iter()
            .filter_map(|profile| profile.devices.as_deref())
            .collect()
    }

    /// Rules of detection of all layers; a layer that is there twice sees with one pair of eyes.
    ///
    /// # Errors
    ///
    /// [`Refusal::Rules`].
    pub fn detect(self) -> Result<Vec<detect::Rule>, Refusal> {
        let mut all: Vec<detect::Rule> = Vec::new();
        for (at, profile) in self.iter().enumerate() {
            if !self.iter().take(at).any(|before| before == profile) {
                all.extend(profile.detect.iter().cloned());
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

    /// `kill` where any layer says so.
    #[must_use]
    pub fn on_supervisor_loss(self) -> OnLoss {
        let said = self.iter().map(|profile| profile.on_supervisor_loss);
        said.max().unwrap_or_default()
    }

    /// What any layer lists.
    #[must_use]
    pub fn union<T: Ord + Clone>(self, get: fn(&Profile) -> &BTreeSet<T>) -> BTreeSet<T> {
        self.iter().flat_map(get).cloned().collect()
    }
}

/// A lone profile is a layer too.
impl<'a> From<&'a &'a Profile> for Layers<'a> {
    fn from(profile: &'a &'a Profile) -> Layers<'a> {
        Layers(std::slice::from_ref(profile))
    }
}
