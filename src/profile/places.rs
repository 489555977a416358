//! Tells every part of a document which file it is in: a part is read by itself and knows its line
//! only.

use std::sync::Arc;

use super::model::{CallLists, Document, Files};
use super::origin::{At, Origin, Source};

/// Says `source` to all parts.
pub(super) fn settle(document: &mut Document, source: &Arc<Source>) {
    let tell = &mut |origin: &mut Origin| origin.set_source(source);
    tell(&mut document.version.origin);
    tell(&mut document.name.origin);
    each(&mut document.extends, tell);
    one(&mut document.mode, tell);
    if let Some(needs) = &mut document.requires {
        one(&mut needs.landlock, tell);
        each(&mut needs.degrade, tell);
    }
    for capability in &mut document.capabilities {
        tell(&mut capability.origin);
    }
    document
        .syscalls
        .iter_mut()
        .for_each(|lists| calls(lists, tell));
    document
        .files
        .iter_mut()
        .for_each(|lists| files(lists, tell));
    if let Some(ports) = &mut document.network {
        for list in [&mut ports.bind_tcp, &mut ports.connect_tcp] {
            one(list, tell);
            let ports = list.iter_mut().flat_map(|list| &mut list.value);
            ports.for_each(|port| tell(&mut port.origin));
        }
    }
    document.scope.iter_mut().for_each(|list| each(list, tell));
    for path in [&mut document.masked_paths, &mut document.readonly_paths] {
        path.iter_mut().for_each(|path| tell(&mut path.origin));
    }
    document
        .devices
        .iter_mut()
        .for_each(|list| each(list, tell));
    for bound in document.rlimits.values_mut() {
        tell(&mut bound.origin);
    }
    for entry in &mut document.process.refuse {
        each(&mut entry.0, tell);
    }
    one(&mut document.process.max, tell);
    one(&mut document.exec, tell);
    if let Some(exec) = document.exec.as_mut().map(|exec| &mut exec.value) {
        one(&mut exec.interactive, tell);
        one(&mut exec.profile, tell);
        one(&mut exec.commands, tell);
        let commands = exec.commands.iter_mut();
        commands.for_each(|list| each(&mut list.value, tell));
    }
    one(&mut document.checkpoint, tell);
    one(&mut document.restore, tell);
    for entry in &mut document.detect {
        tell(&mut entry.origin);
    }
    one(&mut document.on_supervisor_loss, tell);
    for ignored in &mut document.lint.ignore {
        tell(&mut ignored.origin);
    }
    for test in &mut document.tests {
        tell(&mut test.origin);
    }
}

type Tell<'a> = &'a mut dyn FnMut(&mut Origin);

fn one<T>(part: &mut Option<At<T>>, tell: Tell<'_>) {
    if let Some(part) = part {
        tell(&mut part.origin);
    }
}

fn each<T>(parts: &mut [At<T>], tell: Tell<'_>) {
    for part in parts {
        tell(&mut part.origin);
    }
}

fn calls(lists: &mut CallLists, tell: Tell<'_>) {
    tell(&mut lists.groups.origin);
    for call in &mut lists.allow {
        tell(&mut call.origin);
    }
    for list in [&mut lists.tripwire, &mut lists.deny] {
        list.iter_mut().for_each(|call| tell(&mut call.0.origin));
    }
}

fn files(lists: &mut Files, tell: Tell<'_>) {
    for list in [
        &mut lists.read,
        &mut lists.read_execute,
        &mut lists.read_write,
        &mut lists.read_write_execute,
        &mut lists.execute,
        &mut lists.device_ioctl,
        &mut lists.make_device,
    ] {
        list.iter_mut().for_each(|entry| tell(&mut entry.origin));
    }
    for path in &mut lists.except {
        tell(&mut path.origin);
    }
}
