//! `process.refuse`: containers that a profile does not admit. Judged by config.json as the engine
//! wrote it, before anything of the container exists.

use std::borrow::Cow;
use std::collections::BTreeMap;

use oci_spec::runtime::{
    LinuxDeviceType, LinuxNamespace, LinuxNamespaceType, LinuxResources, Spec,
};

use super::host_path::{self, Source};
use super::refuse::{Refusal, first};
use super::{Input, limits, process};
use crate::profile::{Held, HostPath, Limited, Refuse};
use crate::state::HostPathRules;

/// What the front door found on the host, which config.json does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// One for each of [`host_path::asked`], and for each mount beneath one of them.
    pub sources: Vec<Source>,
    /// Of the folders of [`host_path::prefixes`] that are reached through a link, where they are.
    pub links: BTreeMap<String, String>,
    /// Namespaces that config.json names by a path and that are the front door's own: a pod's
    /// containers join those of its pause container, whosoever they are.
    pub namespaces: Vec<LinuxNamespaceType>,
}

/// Applies every rule of every layer that enforces; answers those that `start` applies again.
///
/// # Errors
///
/// [`Refusal::Rule`].
pub(super) fn rules(input: &Input<'_>) -> Result<Option<HostPathRules>, Refusal> {
    let (rules, refusals) = judge(input);
    first(refusals)?;
    Ok(rules)
}

/// The rules that `start` applies again, and all that [`rules`] would refuse.
pub(super) fn judge(input: &Input<'_>) -> (Option<HostPathRules>, Vec<Refusal>) {
    let (layers, spec) = (input.profiles, input.spec);
    let found = match input.found {
        Some(found) => Cow::Borrowed(found),
        None => Cow::Owned(Found {
            sources: host_path::unseen(spec),
            ..Found::default()
        }),
    };
    let broken = layers.enforcing().flat_map(|profile| {
        let broken = profile.refuse.iter().filter_map(|rule| {
            let (found, remedy) = offence(rule, input)?;
            Some(Refusal::Rule {
                profile: profile.name.clone(),
                rule: rule.to_string(),
                found,
                remedy,
            })
        });
        broken.collect::<Vec<_>>()
    });
    let mut all: Vec<Refusal> = broken.collect();
    let rules = host_path::rules(layers, spec, &found.links);
    let sources = found.sources.iter();
    all.extend(sources.filter_map(|source| mounted(rules.as_ref(), source).err()));
    (rules, all)
}

/// Applies the rules on the host's paths to one source.
///
/// # Errors
///
/// [`Refusal::Rule`].
pub fn mounted(rules: Option<&HostPathRules>, source: &Source) -> Result<(), Refusal> {
    let Some(offence) = rules.and_then(|rules| host_path::offence(rules, source)) else {
        return Ok(());
    };
    let rule = Refuse::HostPath(HostPath(offence.rule.written.clone()));
    Err(Refusal::Rule {
        profile: offence.rule.profile.clone(),
        rule: rule.to_string(),
        found: offence.found,
        remedy: host_path::REMEDY,
    })
}

fn offence(rule: &Refuse, input: &Input<'_>) -> Option<(String, &'static str)> {
    let spec = input.spec;
    let namespace = |typ, name: &str| {
        host_namespace(input, typ).map(|how| format!("the {name} namespace is the host's ({how})"))
    };
    let (found, remedy) = match rule {
        Refuse::RootUser => (
            root_user(input),
            "set securityContext.runAsUser to a number above 0",
        ),
        Refuse::Privileged => (
            privileged(spec),
            "remove securityContext.privileged and the capabilities",
        ),
        Refuse::HostPid => (
            namespace(LinuxNamespaceType::Pid, "pid"),
            "set hostPID: false",
        ),
        Refuse::HostNetwork => (
            namespace(LinuxNamespaceType::Network, "network"),
            "set hostNetwork: false",
        ),
        Refuse::HostIpc => (
            namespace(LinuxNamespaceType::Ipc, "ipc"),
            "set hostIPC: false",
        ),
        Refuse::WritableRootfs => {
            let readonly = spec
                .root()
                .as_ref()
                .and_then(oci_spec::runtime::Root::readonly);
            let found = (readonly != Some(true)).then(|| "root.readonly is not true".to_owned());
            (found, "set securityContext.readOnlyRootFilesystem: true")
        }
        Refuse::UnconfinedSeccomp => {
            let none = spec
                .linux()
                .as_ref()
                .is_none_or(|linux| linux.seccomp().is_none());
            let found = none.then(|| "config.json has no linux.seccomp".to_owned());
            (
                found,
                "set securityContext.seccompProfile.type: RuntimeDefault",
            )
        }
        Refuse::Capability(held) => capability(*held, spec),
        Refuse::MissingLimit(limit) => missing(*limit, input),
        // By its sources, which have more names than config.json tells.
        Refuse::HostPath(_) => return None,
    };
    found.map(|found| (found, remedy))
}

fn root_user(input: &Input<'_>) -> Option<String> {
    let process = input.spec.process().as_ref()?;
    let is_root = process.user().uid() == 0 && !has_user_namespace(input);
    is_root.then(|| "process.user.uid is 0".to_owned())
}

/// Whether uid 0 of the container is somebody else on the host, as far as config.json tells.
pub(super) fn has_user_namespace(input: &Input<'_>) -> bool {
    let linux = input.spec.linux().as_ref();
    let maps = linux.and_then(|linux| linux.uid_mappings().as_ref());
    let itself = maps
        .into_iter()
        .flatten()
        .any(|map| map.size() > 0 && (map.container_id(), map.host_id()) == (0, 0));
    !itself && host_namespace(input, LinuxNamespaceType::User).is_none()
}

/// The namespace of this type as config.json has it.
pub(super) fn namespace(spec: &Spec, typ: LinuxNamespaceType) -> Option<&LinuxNamespace> {
    let linux = spec.linux().as_ref()?;
    let mut all = linux.namespaces().iter().flatten();
    all.find(|namespace| namespace.typ() == typ)
}

/// How the container comes to share the host's namespace: none asked for, or the host's joined.
fn host_namespace(input: &Input<'_>, typ: LinuxNamespaceType) -> Option<String> {
    let Some(namespace) = namespace(input.spec, typ) else {
        return Some("not listed in linux.namespaces".into());
    };
    let path = namespace.path().as_ref()?;
    let same = input
        .found
        .is_some_and(|found| found.namespaces.contains(&typ));
    (same || path.starts_with("/proc/1/ns")).then(|| format!("joined by {path:?}"))
}

/// What makes a container privileged: capabilities that own the node, or all of its devices.
pub(super) fn privileged(spec: &Spec) -> Option<String> {
    let held = process::held(spec.process().as_ref());
    let strong = ["CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO"];
    if let Some(name) = strong
        .into_iter()
        .find(|name| held.iter().any(|have| have == name))
    {
        return Some(format!("process.capabilities holds {name}"));
    }
    let resources = spec.linux().as_ref()?.resources().as_ref()?;
    // The last rule that covers every device counts; engines begin with "deny all".
    let all = resources.devices().iter().flatten().rfind(|rule| {
        let any = |number: Option<i64>| number.is_none_or(|n| n < 0);
        any(rule.major())
            && any(rule.minor())
            && rule.typ().is_none_or(|typ| typ == LinuxDeviceType::A)
    })?;
    all.allow()
        .then(|| "linux.resources.devices allows every device".to_owned())
}

/// A capability of the kind in any of the five sets: the ambient one outlives the bounding one.
fn capability(held: Held, spec: &Spec) -> (Option<String>, &'static str) {
    let mut all = process::held(spec.process().as_ref()).into_iter();
    let name = all.find(|name| held.means(name));
    let found = name.map(|name| format!("process.capabilities holds {name}"));
    let remedy = match held {
        Held::All => "set securityContext.capabilities.drop: [ALL], and add nothing",
        Held::Added => "remove it from securityContext.capabilities.add",
        Held::Named(_) => {
            "remove it from securityContext.capabilities.add, or name it in capabilities.drop"
        }
    };
    (found, remedy)
}

fn missing(limit: Limited, input: &Input<'_>) -> (Option<String>, &'static str) {
    let resources = input.spec.linux().as_ref();
    let resources = resources.and_then(|linux| linux.resources().as_ref());
    let unset = |what: &str| Some(format!("config.json sets no {what}"));
    match limit {
        Limited::Memory if !resources.is_some_and(memory) => (
            unset("linux.resources.memory.limit"),
            "set resources.limits.memory of the container",
        ),
        Limited::Cpu if !resources.is_some_and(cpu) => (
            unset("linux.resources.cpu.quota"),
            "set resources.limits.cpu of the container",
        ),
        // What a layer itself limits is not missing.
        Limited::Pids
            if input.profiles.max_tasks().is_none()
                && resources.and_then(limits::tasks).is_none() =>
        {
            (
                unset("linux.resources.pids.limit"),
                "have the engine set one, or write `process: {max: N}` into the profile",
            )
        }
        _ => (None, ""),
    }
}

fn memory(resources: &LinuxResources) -> bool {
    // The kernel's own "no limit", a page below 2⁶³, is none either.
    let real = |bytes: i64| bytes > 0 && bytes < i64::MAX - 0xffff;
    let unified = limits::unified(resources, "memory.max").map(|text| text.parse().is_ok_and(real));
    let own = resources
        .memory()
        .as_ref()
        .and_then(|memory| memory.limit());
    unified.unwrap_or_else(|| own.is_some_and(real))
}

fn cpu(resources: &LinuxResources) -> bool {
    let unified = limits::unified(resources, "cpu.max").map(|text| !text.starts_with("max"));
    let own = resources.cpu().as_ref().and_then(|cpu| cpu.quota());
    unified.unwrap_or_else(|| own.is_some_and(|quota| quota > 0))
}
