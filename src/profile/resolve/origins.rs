//! Where the plain values of a profile were written: a file's own first, then its parents'.

use super::super::model::Document;
use super::super::origin::{At, Origins, Part};
use super::Profile;
use crate::detect::OnLoss;

/// What a file itself says. Rules of `detect` have no name yet, and are added with it.
pub(super) fn own(document: &Document) -> Origins {
    let mut all = Origins::default();
    key(&mut all, "name", Some(&document.name));
    key(&mut all, "extends", document.extends.first());
    let groups = document.syscalls.as_ref().map(|lists| &lists.groups);
    key(&mut all, "syscalls.groups", groups);
    if let Some(mode) = &document.mode {
        all.add(Part::Key("mode"), mode.origin.clone());
    }
    if let Some(needs) = &document.requires {
        key(&mut all, "requires.landlock", needs.landlock.as_ref());
        for word in &needs.degrade {
            all.add(Part::Degrade(word.value), word.origin.clone());
        }
    }
    for capability in &document.capabilities {
        all.add(Part::Capability(capability.name), capability.origin.clone());
    }
    if let Some(ports) = &document.network {
        key(&mut all, "network.bind_tcp", ports.bind_tcp.as_ref());
        key(&mut all, "network.connect_tcp", ports.connect_tcp.as_ref());
        for port in ports.bind_tcp.iter().flat_map(|list| &list.value) {
            all.add(Part::BindTcp(port.port), port.origin.clone());
        }
        for port in ports.connect_tcp.iter().flat_map(|list| &list.value) {
            all.add(Part::ConnectTcp(port.port), port.origin.clone());
        }
    }
    for word in document.scope.iter().flatten() {
        all.add(Part::Scope(word.value), word.origin.clone());
    }
    for path in &document.masked_paths {
        all.add(Part::MaskedPath(path.path.clone()), path.origin.clone());
    }
    for path in &document.readonly_paths {
        all.add(Part::ReadonlyPath(path.path.clone()), path.origin.clone());
    }
    for device in document.devices.iter().flatten() {
        all.add(Part::Device(device.value.clone()), device.origin.clone());
    }
    for (resource, bound) in &document.rlimits {
        all.add(Part::Rlimit(*resource), bound.origin.clone());
    }
    for rule in document.process.refuse.iter().flat_map(|entry| &entry.0) {
        all.add(Part::Refuse(rule.value.clone()), rule.origin.clone());
    }
    key(&mut all, "process.max", document.process.max.as_ref());
    if let Some(exec) = document.exec.as_ref().map(|exec| &exec.value) {
        key(&mut all, "exec.interactive", exec.interactive.as_ref());
        key(&mut all, "exec.profile", exec.profile.as_ref());
        key(&mut all, "exec.commands", exec.commands.as_ref());
        for command in exec.commands.iter().flat_map(|list| &list.value) {
            all.add(
                Part::Command(command.value.0.clone()),
                command.origin.clone(),
            );
        }
    }
    key(&mut all, "checkpoint", document.checkpoint.as_ref());
    key(&mut all, "restore", document.restore.as_ref());
    let loss = document.on_supervisor_loss.as_ref();
    key(&mut all, "on_supervisor_loss", loss);
    all
}

fn key<T>(all: &mut Origins, name: &'static str, written: Option<&At<T>>) {
    if let Some(written) = written {
        all.add(Part::Key(name), written.origin.clone());
    }
}

/// Forgets what a file says and a parent outdoes.
pub(super) fn outdone(profile: &mut Profile, landlock: Option<u32>, loss: Option<OnLoss>) {
    if landlock.is_some_and(|own| own < profile.requires.landlock) {
        profile.origins.set(Part::Key("requires.landlock"), None);
    }
    if loss.is_some_and(|own| own < profile.on_supervisor_loss) {
        profile.origins.set(Part::Key("on_supervisor_loss"), None);
    }
}

/// Adds those of a parent, before its values are folded in: the nearer file's stays, but where the
/// parent's value is the one that will hold. Two are not handed down: `mode`, and the names of
/// detection rules, which have been told apart already.
pub(super) fn inherit(profile: &mut Profile, parent: &Profile) {
    for (part, origin) in parent.origins.iter() {
        let outdoes = match part {
            Part::Key("mode" | "name" | "extends") | Part::Detection(_) => continue,
            Part::Key("requires.landlock")
                if parent.requires.landlock < profile.requires.landlock =>
            {
                continue;
            }
            Part::Key("on_supervisor_loss")
                if parent.on_supervisor_loss < profile.on_supervisor_loss =>
            {
                continue;
            }
            // What all parents agree on, or the child's own words: no other is in force.
            Part::Scope(word) if !profile.scope.contains(word) => continue,
            Part::Degrade(word) if !profile.requires.degrade.contains(word) => continue,
            Part::Key("process.max") => parent.max_tasks > profile.max_tasks,
            Part::Rlimit(resource) => {
                let hard = |of: &Profile| of.rlimits.get(resource).map(|bound| bound.hard);
                hard(parent) > hard(profile)
            }
            _ => false,
        };
        if outdoes {
            profile.origins.set(part.clone(), Some(origin.clone()));
        } else {
            profile.origins.add(part.clone(), origin.clone());
        }
    }
}
