//! What layers say to one thing that a workload does: allowed or not, by whom, and why.
//!
//! `explain`, `test`, `replay` and `diff` ask here, and so does the supervisor for layers in mode
//! `audit`. It foretells what init and the kernel do with the very plan that `create` makes
//! ([`super::compose`]); a test enters that plan's domains and compares every answer. It judges no
//! ordinary permission (owner, mode, read-only mounts, masked paths): what it calls allowed is what
//! *mantlet* does not deny.
//!
//! It sees names, not inodes. A file that the container has under two names is reached by both where a
//! rule names either; a file with several names beside an exception is denied though it calls it
//! allowed. init refuses the cases of those that would matter.

mod calls;
mod files;
mod fix;
mod layer;
mod rootfs;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use oci_spec::runtime::{LinuxSeccomp, Spec};
use serde::ser::SerializeMap as _;

use super::seccomp::engine;
use super::seccomp::exact::{Exact, LAST_NEEDS};
use super::seccomp::verdict::Decision;
use super::{Composed, Layers, Refusal, Scene, compose, process};
use crate::access::Access;
use crate::oci::patch;
use crate::profile::{FileEntry, Origin, Place as Where, Profile, Symbol};
use crate::seal;

pub use calls::{Known, answers, decision_in_words, in_words as conditions_in_words};
pub use files::{AsWritten, Domain, Grant, Places, allows_port};
pub use fix::{engine as engine_fix, excepted, file as file_fix, folder_of};
pub use layer::Layer;
pub use rootfs::Rootfs;

/// What is said to one access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is refused.
    Denied,
    /// It is refused or not by what is not known here, such as an argument.
    Depends,
    /// It is performed.
    Allowed,
}

/// The answer, and what each layer said.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// All layers together.
    pub answer: Answer,
    /// The engine's first where it has a say, then the layers', outermost first.
    pub contributions: Vec<Contribution>,
}

impl Verdict {
    /// Whether it is performed for certain.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.answer == Answer::Allowed
    }

    /// Those that refuse it, for certain or perhaps.
    pub fn against(&self) -> impl Iterator<Item = &Contribution> {
        self.contributions
            .iter()
            .filter(|one| one.answer != Answer::Allowed)
    }
}

/// What one layer says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Contribution {
    /// The profile's name; [`ENGINE`] for what config.json says, [`MANTLET`] for what no profile writes.
    pub layer: String,
    /// What it says.
    pub answer: Answer,
    /// Why, in words.
    pub reason: String,
    /// What decided, as written in the profile; absent where nothing was written about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
}

/// A line of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Key and entry: `syscalls.tripwire: mount`.
    pub text: String,
    /// Where that stands.
    pub origin: Origin,
}

impl Written {
    fn new(text: impl Into<String>, origin: Option<&Origin>) -> Written {
        Written {
            text: text.into(),
            origin: origin.cloned().unwrap_or_default(),
        }
    }
}

impl serde::Serialize for Written {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("text", &self.text)?;
        if self.origin.is_known() {
            map.serialize_entry("file", self.origin.file())?;
            map.serialize_entry("line", &self.origin.line())?;
            map.serialize_entry("column", &self.origin.column())?;
        }
        for (key, value) in [("group", self.origin.group()), ("why", self.origin.why())] {
            if let Some(value) = value {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

/// The engine's name among the layers.
pub const ENGINE: &str = "engine";
/// mantlet's own.
pub const MANTLET: &str = "mantlet";

impl Contribution {
    fn new(layer: &str, answer: Answer, reason: impl Into<String>) -> Contribution {
        Contribution {
            layer: layer.to_owned(),
            answer,
            reason: reason.into(),
            written: None,
        }
    }
}

/// What the engine says beside the layers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Engine {
    /// `linux.seccomp` as the engine wrote it; none: no filter of its own.
    pub filter: Option<LinuxSeccomp>,
    /// The same as the plan leaves it: a tripwire that it would refuse in silence is refused aloud.
    pub edited: Option<LinuxSeccomp>,
    /// Capabilities in any set of the process; none: not known.
    pub capabilities: Option<BTreeSet<String>>,
}

/// Layers over one container, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Decider {
    /// Outermost first.
    layers: Vec<Layer>,
    engine: Engine,
    /// The exact filter of all layers together, where it is at hand.
    exact: Option<Exact>,
    /// Where the container's mounts begin, the longest first.
    mounts: Vec<String>,
}

impl Decider {
    /// From profiles over a container and a node, by [`compose`]; `places` tells what paths of rules
    /// lead to. A layer in another mode is asked what it would deny if it enforced.
    ///
    /// # Errors
    ///
    /// As [`compose`].
    pub fn compose(
        layers: Layers<'_>,
        scene: &Scene<'_>,
        places: &dyn Places,
    ) -> Result<(Decider, Composed), Refusal> {
        let enforced: Vec<Profile> = layers.iter().map(layer::enforced).collect();
        let enforced: Vec<&Profile> = enforced.iter().collect();
        let layers = Layers::new(&enforced)?;
        let composed = compose(layers, scene)?;
        let mut all = Vec::new();
        for profile in layers.iter() {
            all.push(Layer::of(profile, scene, places)?);
        }
        let linux = scene.spec.linux().as_ref();
        let engine = Engine {
            filter: linux.and_then(|linux| linux.seccomp().clone()),
            edited: edited(scene.spec, &composed),
            capabilities: Some(process::held(scene.spec.process().as_ref())),
        };
        let mut decider = Decider::new(all, engine);
        decider.exact = Some(composed.filters.exact.clone());
        let destinations = scene.mounts.iter().map(|mount| mount.destination.clone());
        decider.mounts = destinations.collect();
        decider
            .mounts
            .sort_by_key(|path| std::cmp::Reverse(path.len()));
        Ok((decider, composed))
    }

    /// Domains that were really entered take the place of those that the profiles come to today, by the
    /// names of their layers.
    pub fn take_domains(&mut self, domains: &[(String, seal::Layer)], places: &dyn Places) {
        for layer in &mut self.layers {
            let own = domains.iter().find(|(name, _)| *name == layer.name);
            if let Some((_, domain)) = own {
                layer.domain = Some(Domain::new(domain, places));
            }
        }
    }

    /// From layers that somebody kept.
    #[must_use]
    pub fn new(layers: Vec<Layer>, engine: Engine) -> Decider {
        Decider {
            layers,
            engine,
            exact: None,
            mounts: Vec::new(),
        }
    }

    /// Outermost first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Where the mount begins that `path` lies on, as config.json has it.
    #[must_use]
    pub fn mount_of(&self, path: &str) -> &str {
        let mut mounts = self.mounts.iter();
        mounts
            .find(|mount| super::mounts::beneath(path, mount))
            .map_or("/", String::as_str)
    }

    /// What all layers say to `access`.
    #[must_use]
    pub fn decide(&self, access: &Access) -> Verdict {
        let contributions = match access {
            Access::Syscall { name, args } => return self.call(name, &Known::of(name, args)),
            Access::File { .. } => self.each(|layer| layer.file(access)),
            Access::Tcp { right, port } => self.each(|layer| layer.port(right, *port)),
            Access::Capability { name } => self.capability(name),
            Access::Container { what } => vec![Contribution::new(
                MANTLET,
                Answer::Depends,
                format!("{what}: decided when a container is created, of the container as a whole"),
            )],
        };
        together(contributions)
    }

    /// What all layers answer to a call of which this is known.
    #[must_use]
    pub fn call(&self, name: &str, known: &Known) -> Verdict {
        let mut contributions = Vec::new();
        if let Some(filter) = &self.engine.filter {
            contributions.push(calls::engine(filter, name, known));
        }
        contributions.extend(self.each(|layer| layer.call(name, known)));
        let mut verdict = together(contributions);
        // What two layers do to each other (clone3, listeners) and what init keeps for itself.
        if let Some(whole) = self.whole(name) {
            let (answer, reason) = calls::answer(&whole, known);
            if answer != verdict.answer {
                let own = Contribution::new(MANTLET, answer, reason);
                verdict.answer = answer;
                verdict.contributions.push(own);
            }
        }
        verdict
    }

    /// The answers to one call, engine's and layers' together, as both filters give them.
    #[must_use]
    pub fn whole(&self, name: &str) -> Option<Decision> {
        let exact = self.exact.as_ref()?;
        let unknown = || Decision::always(super::seccomp::exact::UNKNOWN);
        let own = exact
            .calls
            .get(name)
            .map_or_else(unknown, |(_, d)| d.clone());
        let engine = &self.engine;
        let filter = engine.edited.as_ref().or(engine.filter.as_ref());
        Some(match filter.filter(|_| !LAST_NEEDS.contains(&name)) {
            Some(filter) => own.meet(&engine::decision(filter, name)),
            None => own,
        })
    }

    /// Names of the calls that have an answer of their own.
    pub fn calls(&self) -> impl Iterator<Item = &String> {
        self.exact.iter().flat_map(|exact| exact.calls.keys())
    }

    /// `LANDLOCK_ACCESS_FS_*` that every layer leaves at `path`, whatever else may forbid them.
    #[must_use]
    pub fn rights(&self, path: &str) -> u64 {
        let mount = self.mount_of(path);
        let domains = self.layers.iter().filter_map(|layer| layer.domain.as_ref());
        domains.fold(u64::MAX, |all, domain| all & domain.granted(path, mount))
    }

    /// `LANDLOCK_ACCESS_FS_*` that any layer denies unless granted.
    #[must_use]
    pub fn handled(&self) -> u64 {
        let domains = self.layers.iter().filter_map(|layer| layer.domain.as_ref());
        domains.fold(0, |all, domain| all | domain.handled_fs)
    }

    /// Every path that a rule is about, or leaves out, and where mounts begin.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        let domains = self.layers.iter().filter_map(|layer| layer.domain.as_ref());
        let grants = domains.flat_map(|domain| &domain.grants);
        let ruled = grants.flat_map(|grant| grant.places.iter().chain(&grant.excepts));
        ruled.chain(&self.mounts).cloned()
    }

    fn each(&self, mut ask: impl FnMut(&Layer) -> Contribution) -> Vec<Contribution> {
        self.layers.iter().map(&mut ask).collect()
    }

    fn capability(&self, name: &str) -> Vec<Contribution> {
        let mut all = Vec::new();
        if let Some(held) = &self.engine.capabilities {
            all.push(match held.contains(name) {
                true => Contribution::new(ENGINE, Answer::Allowed, "config.json gives it"),
                false => Contribution::new(
                    ENGINE,
                    Answer::Denied,
                    "config.json does not give it: `securityContext.capabilities.add`",
                ),
            });
        }
        all.extend(self.each(|layer| layer.capability(name)));
        all
    }
}

/// The engine's filter with the plan's edits; none where it has none.
fn edited(spec: &Spec, composed: &Composed) -> Option<LinuxSeccomp> {
    let filter = spec.linux().as_ref()?.seccomp().as_ref()?;
    let mut value = serde_json::json!({"linux": {"seccomp": filter}});
    patch::apply(&mut value, &composed.filters.edits).ok()?;
    serde_json::from_value(value["linux"]["seccomp"].take()).ok()
}

/// The strictest of what was said.
fn together(contributions: Vec<Contribution>) -> Verdict {
    let said = contributions.iter().map(|one| one.answer);
    Verdict {
        answer: said.min().unwrap_or(Answer::Allowed),
        contributions,
    }
}

/// An entry of a file list as an author writes it.
#[must_use]
pub fn shown(entry: &FileEntry) -> &str {
    match &entry.place {
        Where::Path(path) => path,
        Where::Symbol(Symbol::Image) => "@image",
        Where::Symbol(Symbol::Volumes) => "@volumes",
        Where::Symbol(Symbol::Tmpfs) => "@tmpfs",
        Where::Symbol(Symbol::Devices) => "@devices",
    }
}
