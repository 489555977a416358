//! What layers in mode `audit` and `learn` would say of an access: compiled at `create` like everything
//! else, kept in the record, asked by the supervisor.
//!
//! Such a layer takes nothing away. Its filter's denials, its Landlock domain and its capabilities are put
//! down here instead, by the same code that makes them for a layer that enforces. Files and ports are
//! judged by [`super::decide`], over what init's own code makes of the rules in the container.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::compose::Scene;
use super::decide::{self, AsWritten, Domain};
use super::mounts::{Kind, Place};
use super::seccomp::exact::{self, Exact, UNKNOWN};
use super::seccomp::tcp;
use super::seccomp::verdict::{Action, Decision};
use super::session::Planned;
use super::{Input, Layers, Refusal, admission, expressible, fix_for, landlock, noexec, refuse};
use crate::access::Access;
use crate::event::{Mounted, Recording};
use crate::profile::{Condition, Mode, Profile};
use crate::seal::{Layer, PathRule};
use crate::state::HostPathRules;

const CLONE: u32 = libc::SYS_clone as u32;
const CLONE3: u32 = libc::SYS_clone3 as u32;

/// Everything that the supervisor needs to tell what it looks at: of the container's own policy, and of
/// each of its sessions'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observing {
    /// Everything is told, whoever allows it.
    pub learns: bool,
    /// Capabilities are looked at.
    pub capabilities: bool,
    /// Calls that layers which enforce refuse, by number: the only ones of those notified that do not go on.
    pub enforced: Vec<(u32, Decision)>,
    /// Names of the calls that may be notified.
    pub names: Vec<(u32, String)>,
    /// Layers in mode `audit`, outermost first.
    pub layers: Vec<Audited>,
    /// Mounts that a profile may make `noexec`: what is mapped of others to be executed is no access.
    #[serde(default)]
    pub mounts: Vec<String>,
    /// What `process.refuse` and the node's abilities would have refused as a whole.
    pub at_start: Vec<AtStart>,
}

/// One layer in mode `audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// The profile.
    pub profile: String,
    /// Calls that it does not allow, or not always: those of one decision together.
    pub calls: Vec<(Decision, Vec<u32>)>,
    /// Numbers of calls that it always allows: what stands in neither list it does not know.
    pub allowed: Vec<u32>,
    /// Conditions under which it denies calls by number, as its author wrote them: each comes before any
    /// `allow` but one under the very same.
    pub conditional: Vec<(u32, Vec<Condition>)>,
    /// The domain that it would enter; none on a kernel without Landlock.
    pub domain: Option<Layer>,
    /// That is about files: more than the anchor, or on a kernel where every domain is (ABI 1).
    pub files: bool,
    /// Capabilities that it leaves, `CAP_` names.
    pub capabilities: Vec<String>,
    /// `files.except`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excepts: Vec<String>,
    /// Mounts that it would make `noexec`.
    #[serde(default)]
    pub noexec: Vec<String>,
}

/// What a layer would have refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtStart {
    /// The profile.
    pub profile: String,
    /// The refusal, in its own words.
    pub what: String,
}

/// What layers that enforce say of a notified call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Nothing: it goes on, whatever the layers make of it that only look.
    Free,
    /// It is denied with this errno, and told by those layers alone that only look.
    Silent(u16),
    /// It is denied and reported.
    Tripwire,
}

/// Why a layer would have denied something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Denial<'a> {
    /// The profile.
    pub profile: &'a str,
    /// The line of it that would allow it. It says no more of a call's arguments than the access or the layer's
    /// own rules do, so there are no more of them than of those.
    pub fix: String,
}

impl Observing {
    /// What the layers that only look would say; none where all enforce.
    ///
    /// # Errors
    ///
    /// [`Refusal::CannotLook`], [`Refusal::ListenerTaken`]: nothing could be looked at, and a container
    /// that says it is audited must be; or what is looked at could not go on.
    pub fn of(layers: Layers<'_>, scene: &Scene<'_>) -> Result<Option<Observing>, Refusal> {
        let mut looking = layers.iter().filter(|p| p.mode != Mode::Enforce);
        let Some(first) = looking.next() else {
            return Ok(None);
        };
        let profile = first.name.clone();
        if scene.host.listener_taken {
            return Err(Refusal::ListenerTaken { profile });
        }
        if !(scene.host.user_notif && scene.host.may_go_on) {
            return Err(Refusal::CannotLook { profile });
        }
        let mut at_start = Vec::new();
        for profile in layers.audited() {
            let (domain, _) =
                landlock::plan(profile, scene.spec, scene.mounts, scene.host.landlock_abi);
            let lasting =
                domain.map(|domain| expressible::exceptions(profile, scene.spec, &domain));
            let lost = lasting.and_then(Result::err);
            at_start.extend(lost.map(|refusal| AtStart::new(&profile.name, &refusal)));
        }
        Ok(Some(Observing {
            learns: layers.learn(),
            capabilities: true,
            enforced: Vec::new(),
            names: Vec::new(),
            layers: layers.audited().map(|p| audited(p, scene)).collect(),
            mounts: noexec::possible(scene.spec, scene.mounts),
            at_start,
        }))
    }

    /// Adds what the filter notifies: `enforced` is that of the layers which enforce alone.
    pub fn notified(&mut self, exact: &Exact, enforced: &Exact) {
        let notified = |decision: &Decision| {
            let mut all = decision.all();
            all.any(|(_, action)| matches!(action, Action::Notify | Action::Audit))
        };
        self.names = exact
            .calls
            .iter()
            .filter(|(_, (_, decision))| notified(decision))
            .map(|(name, (number, _))| (*number, name.clone()))
            .collect();
        let looked = |number: &u32| self.names.iter().any(|(own, _)| own == number);
        self.enforced = enforced
            .calls
            .values()
            .filter(|(number, decision)| !decision.permits_all() && looked(number))
            .cloned()
            .collect();
    }

    /// What layers that enforce say of a notified call, by its registers, which nobody can change while it
    /// waits.
    #[must_use]
    pub fn word(&self, number: u32, args: &[u64; 6]) -> Word {
        let decision = self.enforced.iter().find(|(own, _)| *own == number);
        match decision.map(|(_, decision)| decision.verdict(args)) {
            None => Word::Free,
            Some(action) if action.permits() => Word::Free,
            Some(Action::Errno(errno)) => Word::Silent(errno),
            Some(_) => Word::Tripwire,
        }
    }

    /// Whether anything of it is about files or ports, whose names lie in a container's memory.
    #[must_use]
    pub fn reads_names(&self) -> bool {
        self.learns
            || self
                .layers
                .iter()
                .any(|layer| layer.files || !layer.noexec.is_empty() || layer.is_about_ports())
    }

    /// The rules on files of each layer, in its order: what has to be made of them in the container.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &[PathRule])> {
        self.layers.iter().map(|layer| {
            let domain = layer.domain.as_ref().filter(|_| layer.files);
            let rules = domain.map_or(&[][..], |domain| &domain.paths);
            (layer.profile.as_str(), rules)
        })
    }

    /// The domain of each layer, in its order, once it is known what its rules were bound to.
    #[must_use]
    pub fn domains(&self, places: &[Vec<BTreeSet<String>>]) -> Vec<Domain> {
        let nothing = Layer::default();
        let each = self.layers.iter().enumerate();
        each.map(|(at, layer)| {
            let own = layer.domain.as_ref().unwrap_or(&nothing);
            Domain::settled(own, places.get(at).map_or(&[], Vec::as_slice))
        })
        .collect()
    }

    /// Whether the supervisor has to read what a container's memory holds: names, or the flags of clone3(2).
    #[must_use]
    pub fn reads_memory(&self) -> bool {
        let filtered = |layer: &Audited| !layer.allowed.contains(&CLONE3);
        self.reads_names() || self.layers.iter().any(filtered)
    }

    /// The outermost layer that would have refused the call, by its registers.
    #[must_use]
    pub fn call(&self, number: u32, args: &[u64; 6], access: &Access) -> Option<Denial<'_>> {
        let name = match access {
            Access::Syscall { name, .. } => name,
            _ => return None,
        };
        let mut layers = self.layers.iter();
        layers.find_map(|layer| layer.call(number, name, args, access))
    }

    /// The same for clone3(2) with these flags, `access` being the clone(2) that they would be. A layer
    /// that looks at clone's flags answers ENOSYS to clone3, and C libraries take clone then.
    #[must_use]
    pub fn clone3(&self, flags: u64, access: &Access) -> Option<Denial<'_>> {
        let args = [flags, 0, 0, 0, 0, 0];
        self.layers.iter().find_map(|layer| {
            let listed = layer.calls.iter().find(|(_, all)| all.contains(&CLONE3));
            match listed.map(|(decision, _)| decision.verdict(&args)) {
                _ if layer.allowed.contains(&CLONE3) => None,
                Some(UNKNOWN) | None => layer.call(CLONE, "clone", &args, access),
                Some(_) => layer.call(CLONE3, "clone3", &args, access),
            }
        })
    }

    /// Layers that would have refused the call with a report, as a tripwire: what their rules of detection
    /// are about.
    pub fn trips(&self, number: u32, args: &[u64; 6]) -> impl Iterator<Item = &str> {
        let trips = move |layer: &&Audited| {
            let listed = layer.calls.iter().find(|(_, all)| all.contains(&number));
            listed.is_some_and(|(decision, _)| decision.verdict(args) == Action::Notify)
        };
        let layers = self.layers.iter().filter(trips);
        layers.map(|layer| layer.profile.as_str())
    }

    /// The outermost layer, where a call of another architecture is looked at: each kills it.
    #[must_use]
    pub fn foreign(&self) -> Option<Denial<'_>> {
        self.layers.first().map(|layer| Denial {
            profile: &layer.profile,
            fix: "none: use programs of this machine's own architecture".into(),
        })
    }

    /// The outermost layer that is about files, which no rule of can grant what is not the container's.
    #[must_use]
    pub fn outside(&self) -> Option<Denial<'_>> {
        let mut layers = self.layers.iter();
        let layer = layers.find(|layer| layer.files)?;
        Some(Denial {
            profile: &layer.profile,
            fix: "none: write to the descriptor itself rather than to /dev/stdout".into(),
        })
    }

    /// The outermost layer that would not have granted `access` to a file; `domains` are those of
    /// [`Observing::domains`].
    #[must_use]
    pub fn file(&self, access: &Access, domains: &[Domain]) -> Option<Denial<'_>> {
        let mut layers = self.layers.iter().enumerate();
        let (at, layer) = layers.find(|(at, layer)| match domains.get(*at) {
            _ if access.maps() => noexec::denies(&layer.noexec, access).is_some(),
            domain => layer.files && domain.is_some_and(|own| !own.allows_file(access)),
        })?;
        Some(Denial {
            profile: &layer.profile,
            fix: layer.file_fix(access, domains.get(at)),
        })
    }

    /// Leaves to each layer what it would make of the mounts of a container that only `own` are layers of: a
    /// session shares them.
    pub(super) fn share_mounts(&mut self, own: Layers<'_>) {
        let shares = |layer: &&mut Audited| !own.iter().any(|p| p.name == layer.profile);
        let others = self.layers.iter_mut().filter(shares);
        others.for_each(|layer| layer.noexec.clear());
    }

    /// The same for a port.
    #[must_use]
    pub fn tcp(&self, access: &Access) -> Option<Denial<'_>> {
        let Access::Tcp { right, port } = access else {
            return None;
        };
        let denies = |domain: &Layer| !decide::allows_port(domain, right, *port);
        let mut layers = self.layers.iter();
        let layer = layers.find(|layer| layer.domain.as_ref().is_some_and(denies))?;
        Some(Denial {
            profile: &layer.profile,
            fix: format!("network: {{{right}_tcp: [{port}]}}"),
        })
    }

    /// The same for a capability.
    #[must_use]
    pub fn capability(&self, access: &Access) -> Option<Denial<'_>> {
        let Access::Capability { name } = access else {
            return None;
        };
        let lacks = |layer: &&Audited| !layer.capabilities.contains(name);
        self.layers.iter().find(lacks).map(|layer| Denial {
            profile: &layer.profile,
            fix: format!(
                "capabilities: [{}]",
                name.strip_prefix("CAP_").unwrap_or(name)
            ),
        })
    }
}

impl Audited {
    /// Whether it would have refused the call.
    fn call(
        &self,
        number: u32,
        name: &str,
        args: &[u64; 6],
        access: &Access,
    ) -> Option<Denial<'_>> {
        if self.allowed.contains(&number) {
            return None;
        }
        let denial = |fix| Denial {
            profile: &self.profile,
            fix,
        };
        // clone3 is told as the clone that it would be, whose flags are none of its registers.
        let told = match access {
            Access::Syscall { name: told, args } if told == name => args.as_slice(),
            _ => &[],
        };
        match self.calls.iter().find(|(_, all)| all.contains(&number)) {
            None => Some(denial(format!(
                "none: {name} is younger than the profile, or than this mantlet"
            ))),
            Some((decision, _)) if decision.verdict(args).permits() => None,
            Some((decision, _)) => {
                let own = |(call, rule): &&(u32, Vec<Condition>)| {
                    *call == number && exact::meet(name, rule, args)
                };
                let rule = self.conditional.iter().find(own).map(|(_, rule)| rule);
                let rules = rule.map_or(&[][..], std::slice::from_ref);
                let implied = tcp::implied(name, decision, |condition| condition.holds(args));
                // Without conditions it could as well be an author's own line.
                let implied =
                    implied.filter(|own| self.is_about_ports() || !own.conditions.is_empty());
                Some(denial(match implied {
                    Some(implied) => implied.fix(),
                    None => fix_for(name, rules, args, told),
                }))
            }
        }
    }

    /// The line for a file: `domain` knows what the rules were bound to, and nothing of exceptions.
    fn file_fix(&self, access: &Access, domain: Option<&Domain>) -> String {
        let excepts: Vec<&str> = self.excepts.iter().map(String::as_str).collect();
        let as_written = match (&self.domain, excepts.is_empty()) {
            (Some(own), false) => Some(Domain::new(own, &AsWritten)),
            _ => None,
        };
        let excepted = decide::excepted(access, as_written.as_ref(), &excepts);
        decide::file_fix(access, domain, excepted)
    }

    fn is_about_ports(&self) -> bool {
        self.domain
            .as_ref()
            .is_some_and(|domain| domain.handled_net != 0)
    }
}

impl AtStart {
    /// By `profile`, of this name.
    pub(crate) fn new(profile: &str, what: &impl ToString) -> AtStart {
        AtStart {
            profile: profile.into(),
            what: what.to_string(),
        }
    }
}

fn audited(profile: &Profile, scene: &Scene<'_>) -> Audited {
    let filter = Exact::of(profile, true);
    let mut allowed = Vec::new();
    let mut calls: BTreeMap<Decision, Vec<u32>> = BTreeMap::new();
    for (number, decision) in filter.calls.values() {
        if decision.permits_all() {
            allowed.push(*number);
        } else {
            calls.entry(decision.clone()).or_default().push(*number);
        }
    }
    let denied = profile.syscalls.deny.iter();
    let conditional = denied
        .chain(&profile.syscalls.tripwire)
        .filter(|rule| !rule.args.is_empty())
        .filter_map(|rule| Some((filter.calls.get(rule.name.as_str())?.0, rule.args.clone())));
    let conditional = conditional.collect();
    let (domain, _) = landlock::plan(profile, scene.spec, scene.mounts, scene.host.landlock_abi);
    let excepts = profile.files.iter().flat_map(|files| &files.except);
    Audited {
        profile: profile.name.clone(),
        calls: calls.into_iter().collect(),
        allowed,
        conditional,
        files: profile.files.is_some() && domain.is_some() || scene.host.landlock_abi == 1,
        domain,
        capabilities: profile
            .capabilities
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        excepts: excepts.map(|out| out.path.clone()).collect(),
        noexec: noexec::closed_by(profile, scene.spec, scene.mounts),
    }
}

/// What each layer in mode `audit` would have refused before there is a container, and its rules on what
/// is mounted then.
#[must_use]
pub(super) fn at_start(input: &Input<'_>) -> (Vec<AtStart>, Vec<HostPathRules>) {
    let (mut all, mut mounted) = (Vec::new(), Vec::new());
    for profile in input.profiles.audited() {
        let mut enforced = profile.clone();
        enforced.mode = Mode::Enforce;
        let only = &enforced;
        let alone = Input {
            profiles: Layers::from(&only),
            ..*input
        };
        let (rules, refusals) = admission::judge(&alone);
        mounted.extend(rules);
        let refusals = refuse::disabled(profile, input.host)
            .into_iter()
            .chain(refusals);
        all.extend(refusals.map(|refusal| AtStart::new(&profile.name, &refusal)));
    }
    (all, mounted)
}

/// What a recording begins with; none where all layers enforce.
pub(super) fn recording(
    input: &Input<'_>,
    mounts: &[Place],
    held: &[String],
    sessions: &Planned,
) -> Option<Box<Recording>> {
    let mut sessions = sessions.observing.iter().flatten();
    let learns = input.profiles.learn() || sessions.clone().any(|own| own.learns);
    if !input.profiles.observe() && sessions.next().is_none() {
        return None;
    }
    let mounted = |place: &Place| {
        let kind = match place.kind {
            Kind::Volume => "volume",
            Kind::Tmpfs => "tmpfs",
            Kind::Engine => return None,
        };
        Some(Mounted {
            destination: place.destination.clone(),
            kind: kind.into(),
            writable: place.writable,
        })
    };
    let all: Vec<Mounted> = mounts.iter().filter_map(mounted).collect();
    let count = all.len();
    let told: Vec<Mounted> = all
        .into_iter()
        .filter(|mount| mount.destination.len() <= LONGEST)
        .take(MOST_MOUNTS)
        .collect();
    // One that is cut would be another one.
    let untold = count - told.len();
    let blind = (untold > 0)
        .then(|| format!("{untold} mounts: their paths are too long, or there are too many"));
    let annotations = input.spec.annotations().as_ref();
    let digest = annotations.and_then(|all| {
        let named = DIGESTS.iter().find_map(|name| all.get(*name));
        let image = all.get("io.kubernetes.cri.image-name");
        named
            .cloned()
            .or_else(|| Some(image?.split_once('@')?.1.to_owned()))
    });
    let process = input.spec.process().as_ref();
    let command = process.and_then(|process| process.args().as_ref()?.first().cloned());
    Some(Box::new(Recording {
        mode: if learns { "learn" } else { "audit" }.into(),
        kernel: String::new(),
        command: command.unwrap_or_default().chars().take(LONGEST).collect(),
        image_digest: digest.map(|digest| digest.chars().take(LONGEST).collect()),
        capabilities: held.to_vec(),
        mounts: told,
        blind: blind.into_iter().chain(unhidden(input)).collect(),
    }))
}

/// Paths that layers in mode `audit` would hide or make read-only and nobody does: what is done there is not
/// told, in words.
fn unhidden(input: &Input<'_>) -> Vec<String> {
    let linux = input.spec.linux().as_ref();
    let of = |list: Option<&Option<Vec<String>>>| -> BTreeSet<String> {
        list.into_iter().flatten().flatten().cloned().collect()
    };
    let masked = &of(linux.map(|linux| linux.masked_paths()))
        | &input.profiles.union(|profile| &profile.masked_paths);
    let readonly = &of(linux.map(|linux| linux.readonly_paths()))
        | &input.profiles.union(|profile| &profile.readonly_paths);
    let readonly = &readonly | &masked;
    let tell = |profile: &Profile, path: &String, what: &str| {
        let profile = &profile.name;
        format!(
            "{path} is not {what}, as profile {profile} would have it: accesses to it are not told"
        )
    };
    let mut all = Vec::new();
    for own in input.profiles.audited() {
        let hidden = own.masked_paths.difference(&masked);
        all.extend(hidden.map(|path| tell(own, path, "hidden")));
        let written = own.readonly_paths.difference(&readonly);
        all.extend(written.map(|path| tell(own, path, "read-only")));
    }
    all
}

/// Annotations by which engines tell an image's digest.
const DIGESTS: [&str; 2] = ["io.kubernetes.cri.image-id", "io.kubernetes.cri-o.ImageRef"];
/// Characters of a text that the pod's author chose, bytes of a mount's path.
const LONGEST: usize = 512;
/// Mounts that are told, so that the line fits into the journal.
const MOST_MOUNTS: usize = 256;

#[cfg(test)]
mod tests;
