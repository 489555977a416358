//! The effective policy as people read it (`mantlet inspect`): plain JSON with stable keys.

use serde_json::{Value, json};

use super::seccomp::Filters;
use super::seccomp::verdict::Action;
use crate::profile::Profile;
use crate::seal::Layer;

/// What goes into the summary beside the profile.
pub(super) struct Parts<'a> {
    pub profile: &'a Profile,
    pub capabilities: &'a [String],
    pub abi: u32,
    pub layers: &'a [Layer],
    pub filters: &'a Filters,
    pub engine_seccomp: bool,
    pub supervised: bool,
    pub degraded: &'a [String],
    pub annotations: &'a [&'a str],
}

pub(super) fn summary(parts: &Parts<'_>) -> Value {
    let profile = parts.profile;
    json!({
        "profile": {
            "name": profile.name,
            "description": profile.description,
            "extends": profile.extends,
            "mode": "enforce",
        },
        "supervised": parts.supervised,
        "no_new_privs": true,
        "capabilities": parts.capabilities,
        "landlock": {
            "abi": parts.abi,
            "layers": parts.layers.iter().map(layer).collect::<Vec<Value>>(),
        },
        "seccomp": {
            "runtime_filter": if parts.engine_seccomp { "engine" } else { "profile" },
            "instructions": parts.filters.filter.program.len() / 8,
            "flags": parts.filters.filter.flags,
            "listener": parts.filters.filter.listener,
        },
        "syscalls": syscalls(parts),
        "masked_paths": profile.masked_paths,
        "readonly_paths": profile.readonly_paths,
        "limits": {
            "tasks": profile.max_tasks,
            "rlimits": profile.rlimits,
        },
        "devices": profile.devices,
        "refuse": profile.refuse,
        "removed_annotations": parts.annotations,
        "degraded": parts.degraded,
    })
}

fn syscalls(parts: &Parts<'_>) -> Value {
    let exact = &parts.filters.exact;
    let count = |test: fn(&super::seccomp::verdict::Decision) -> bool| {
        exact
            .calls
            .values()
            .filter(|(_, decision)| test(decision))
            .count()
    };
    let partly: Vec<&String> = exact
        .calls
        .iter()
        .filter(|(_, (_, d))| !d.permits_all() && !d.permits_none())
        .map(|(name, _)| name)
        .collect();
    json!({
        "groups": parts.profile.syscalls.groups,
        "allowed": count(|decision| decision.permits_all()),
        "conditional": partly,
        "denied": count(|decision| decision.permits_none()),
        "tripwires": parts.filters.tripwires.iter().map(|t| &t.syscall).collect::<Vec<_>>(),
        "absent": exact
            .calls
            .iter()
            .filter(|(_, (_, d))| d.branches.is_empty() && d.otherwise == Action::Errno(38))
            .map(|(name, _)| name)
            .collect::<Vec<_>>(),
    })
}

fn layer(layer: &Layer) -> Value {
    json!({
        "handled": { "files": files(layer.handled_fs), "tcp": ports(layer.handled_net) },
        "scope": names(layer.scoped, &["abstract-unix-socket", "signal"]),
        "paths": layer.paths.iter().map(|rule| json!({
            "path": String::from_utf8_lossy(&rule.path),
            "access": files(rule.access),
            "except": rule.except.iter().map(|p| String::from_utf8_lossy(p)).collect::<Vec<_>>(),
            "optional": rule.optional,
            "follow": rule.follow,
            "within_mount": rule.within_mount,
        })).collect::<Vec<_>>(),
        "ports": layer.ports.iter().map(|rule| json!({
            "port": rule.port,
            "access": ports(rule.access),
        })).collect::<Vec<_>>(),
    })
}

/// Bit order of linux/landlock.h.
fn files(bits: u64) -> Vec<&'static str> {
    let all = [
        "execute",
        "write-file",
        "read-file",
        "read-dir",
        "remove-dir",
        "remove-file",
        "make-char",
        "make-dir",
        "make-reg",
        "make-sock",
        "make-fifo",
        "make-block",
        "make-sym",
        "refer",
        "truncate",
        "ioctl-dev",
        "resolve-unix",
    ];
    names(bits, &all)
}

fn ports(bits: u64) -> Vec<&'static str> {
    names(bits, &["bind", "connect"])
}

fn names(bits: u64, all: &[&'static str]) -> Vec<&'static str> {
    all.iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect()
}
