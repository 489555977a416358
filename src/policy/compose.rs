//! Layers over one container → what init applies to one kind of session.
//!
//! `create` composes once for the workload. Sessions that are held to more layers than the workload
//! are composed once more, over the same container, into a policy of their own: the runtime's filter
//! in config.json is the workload's, and more layers only refuse more.

use oci_spec::runtime::Spec;

use super::mounts::Place;
use super::seccomp::{self, Filters};
use super::{Layers, Refusal, expressible, landlock, observe, process, refuse};
use crate::detect::Sensor;
use crate::host::Host;
use crate::profile::Profile;
use crate::seal;

/// The container and the node that layers are composed over.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Typed view of config.json as the engine wrote it.
    pub spec: &'a Spec,
    /// Its mounts, in order.
    pub mounts: &'a [Place],
    /// The node.
    pub host: &'a Host,
    /// Whether a supervisor answers.
    pub supervised: bool,
}

/// What layers come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Composed {
    /// One Landlock domain for each layer that enforces, outermost first, and at least the anchor; none
    /// on a kernel without Landlock.
    pub domains: Vec<seal::Layer>,
    /// Both filters.
    pub filters: Filters,
    /// Capabilities that a process may hold, `CAP_` names, sorted.
    pub capabilities: Vec<String>,
    /// Upper bounds of resource limits, each layer's.
    pub bounds: Vec<seal::Rlimit>,
    /// What those layers that only look would say; none where all enforce.
    pub observing: Option<observe::Observing>,
    /// What the kernel cannot do and every layer that asks for it goes without.
    pub degraded: Vec<String>,
}

impl Composed {
    /// The bytes' source for init; `rlimits` are the process's own.
    #[must_use]
    pub fn policy(&self, supervised: bool, rlimits: Vec<seal::Rlimit>) -> seal::Policy {
        seal::Policy {
            supervised,
            layers: self.domains.clone(),
            rlimits,
            bounds: self.bounds.clone(),
            filter: self.filters.filter.clone(),
        }
    }
}

/// Composes `layers`.
///
/// # Errors
///
/// [`Refusal`]: a layer cannot be had on this node, or the filter is too large.
pub fn compose(layers: Layers<'_>, scene: &Scene<'_>) -> Result<Composed, Refusal> {
    let (spec, host) = (scene.spec, scene.host);
    let (mut domains, mut degraded) = (Vec::new(), Vec::new());
    let mut observing = observe::Observing::of(layers, scene)?;
    for profile in layers.enforcing() {
        refuse::abilities(profile, host)?;
        let (domain, lacks) = landlock::plan(profile, spec, scene.mounts, host.landlock_abi);
        if let Some(domain) = &domain {
            expressible::exceptions(profile, spec, domain)?;
        }
        domains.extend(domain);
        note(&mut degraded, lacks);
    }
    domains.extend(landlock::shield(host.landlock_abi).filter(|_| domains.is_empty()));
    expressible::size(layers, &domains)?;
    let notify = scene.supervised && host.user_notif && !host.listener_taken;
    let engine = spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let too_large = |cause| Refusal::Filter {
        profile: layers.title(),
        cause,
    };
    let filters = seccomp::plan(layers, engine, notify).map_err(too_large)?;
    if let Some(observing) = &mut observing {
        let enforced = seccomp::exact::Exact::enforced(layers, notify).map_err(too_large)?;
        observing.notified(&filters.exact, &enforced);
    }
    let trips = |p: &Profile| !p.syscalls.tripwire.is_empty();
    if !notify && layers.enforcing().any(trips) {
        note(
            &mut degraded,
            ["no seccomp notification: tripwires deny in silence".to_owned()],
        );
    }
    let asks = |profile: &Profile| {
        let mut rules = profile.detect.iter();
        rules.any(|rule| rule.on == Sensor::Tripwire)
    };
    if !notify && scene.supervised && layers.iter().any(asks) {
        note(
            &mut degraded,
            ["no seccomp notification: rules of `detect` on tripwires see nothing".to_owned()],
        );
    }
    note(
        &mut degraded,
        filters.lacks.iter().copied().map(str::to_owned),
    );
    let unknown = filters.exact.unknown.iter();
    note(
        &mut degraded,
        unknown
            .map(|name| format!("system call {name} is unknown to this build: it answers ENOSYS")),
    );
    Ok(Composed {
        domains,
        filters,
        capabilities: layers.capabilities(),
        bounds: layers.enforcing().flat_map(process::bounds).collect(),
        degraded,
        observing,
    })
}

/// Adds what is not said yet: layers often lack the same.
fn note(degraded: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for text in more {
        if !degraded.contains(&text) {
            degraded.push(text);
        }
    }
}
