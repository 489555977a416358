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

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::LinuxSeccomp;

use super::seccomp::engine;
use super::seccomp::exact::{Exact, LAST_NEEDS};
use super::seccomp::verdict::Decision;
use super::{Composed, Layers, Refusal, Scene, compose, landlock, process};
use crate::access::Access;
use crate::profile::{FileEntry, Place as Where, Profile, Symbol, Syscalls};
use crate::seal::{self, rights};

pub use calls::{Known, answers, in_words as condition_in_words};
pub use files::{AsWritten, Domain, Grant, Places};

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
    /// What decided, as written in the profile: `syscalls.tripwire: mount`; absent where nothing was
    /// written about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
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

/// One layer, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The profile's name.
    pub name: String,
    /// Its Landlock domain; none on a kernel without Landlock.
    pub domain: Option<Domain>,
    /// What its calls are answered; what is not here is unknown to it: ENOSYS.
    pub calls: BTreeMap<String, Decision>,
    /// Capabilities that it leaves, `CAP_` names.
    pub capabilities: BTreeSet<String>,
    /// The lists that `calls` were made from, where they are at hand.
    pub written: Option<Syscalls>,
}

/// What the engine says beside the layers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Engine {
    /// `linux.seccomp` as the engine wrote it; none: no filter of its own.
    pub filter: Option<LinuxSeccomp>,
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
    /// lead to.
    ///
    /// # Errors
    ///
    /// As [`compose`].
    pub fn compose(
        layers: Layers<'_>,
        scene: &Scene<'_>,
        places: &dyn Places,
    ) -> Result<(Decider, Composed), Refusal> {
        let composed = compose(layers, scene)?;
        let mut all = Vec::new();
        for profile in layers.iter() {
            all.push(Layer::of(profile, scene, places)?);
        }
        let linux = scene.spec.linux().as_ref();
        let engine = Engine {
            filter: linux.and_then(|linux| linux.seccomp().clone()),
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
        let filter = self.engine.filter.as_ref();
        Some(match filter.filter(|_| !LAST_NEEDS.contains(&name)) {
            Some(filter) => own.meet(&engine::decision(filter, name)),
            None => own,
        })
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

/// The strictest of what was said.
fn together(contributions: Vec<Contribution>) -> Verdict {
    let said = contributions.iter().map(|one| one.answer);
    Verdict {
        answer: said.min().unwrap_or(Answer::Allowed),
        contributions,
    }
}

impl Layer {
    /// One profile over a container and a node.
    ///
    /// # Errors
    ///
    /// [`Refusal::Filter`].
    pub fn of(profile: &Profile, scene: &Scene<'_>, places: &dyn Places) -> Result<Layer, Refusal> {
        let abi = scene.host.landlock_abi;
        let (domain, _) = landlock::plan(profile, scene.spec, scene.mounts, abi);
        let sources = landlock::sources(profile, scene.spec, scene.mounts, abi);
        let domain = domain.map(|domain| match profile.files {
            Some(_) => Domain::written(&domain, sources, places),
            None => Domain::new(&domain, places),
        });
        let notify = scene.supervised && scene.host.user_notif && !scene.host.listener_taken;
        let exact =
            Exact::new(Layers::from(&profile), notify).map_err(|cause| Refusal::Filter {
                profile: profile.name.clone(),
                cause,
            })?;
        let calls = exact.calls.into_iter();
        Ok(Layer {
            name: profile.name.clone(),
            domain,
            calls: calls
                .map(|(name, (_, decision))| (name, decision))
                .collect(),
            capabilities: profile.capabilities.iter().map(|&c| c.to_owned()).collect(),
            written: Some(profile.syscalls.clone()),
        })
    }

    /// What it says to a file, by its domain.
    #[must_use]
    pub fn file(&self, access: &Access) -> Contribution {
        let Some(domain) = &self.domain else {
            return self.no_landlock();
        };
        let found = domain.file(access);
        Contribution {
            written: found.written,
            ..Contribution::new(&self.name, found.answer, found.reason)
        }
    }

    /// What it says to a TCP port.
    #[must_use]
    pub fn port(&self, right: &str, port: u16) -> Contribution {
        let Some(domain) = &self.domain else {
            return self.no_landlock();
        };
        let (key, verb) = match right {
            "bind" => ("network.bind_tcp", "bound"),
            _ => ("network.connect_tcp", "connected to"),
        };
        let Some(bit) = rights::port(right) else {
            let reason = format!("no such right on TCP ports: {right}");
            return Contribution::new(&self.name, Answer::Denied, reason);
        };
        if domain.handled_net & bit == 0 {
            let reason = format!("TCP ports may be {verb} freely: nothing is enforced of `{key}`");
            return Contribution::new(&self.name, Answer::Allowed, reason);
        }
        let listed = |rule: &&seal::PortRule| rule.port == port && rule.access & bit != 0;
        let written = Some(format!("{key}: {port}"));
        match domain.ports.iter().find(listed) {
            Some(_) => Contribution {
                written,
                ..Contribution::new(&self.name, Answer::Allowed, format!("`{key}` lists {port}"))
            },
            None => {
                let reason = format!("`{key}` does not list {port}");
                Contribution::new(&self.name, Answer::Denied, reason)
            }
        }
    }

    /// What it says to a capability.
    #[must_use]
    pub fn capability(&self, name: &str) -> Contribution {
        match self.capabilities.contains(name) {
            true => Contribution {
                written: Some(format!("capabilities: {name}")),
                ..Contribution::new(&self.name, Answer::Allowed, "`capabilities` lists it")
            },
            false => Contribution::new(
                &self.name,
                Answer::Denied,
                "`capabilities` does not list it",
            ),
        }
    }

    /// What it answers to a call of which this is known.
    #[must_use]
    pub fn call(&self, name: &str, known: &Known) -> Contribution {
        calls::layer(self, name, known)
    }

    fn no_landlock(&self) -> Contribution {
        let reason = "this kernel has no Landlock: nothing of the kind is denied";
        Contribution::new(&self.name, Answer::Allowed, reason)
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
