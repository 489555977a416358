//! The effective policy as people read it (`mantlet inspect`): plain JSON with stable keys.

use serde_json::{Value, json};

use super::seccomp::Filters;
use super::seccomp::verdict::Action;
use crate::profile::Profile;
use crate::seal::{Layer, rights};

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
        "handled": { "files": rights::files(layer.handled_fs), "tcp": rights::tcp(layer.handled_net) },
        "scope": rights::scopes(layer.scoped),
        "paths": layer.paths.iter().map(|rule| json!({
            "path": String::from_utf8_lossy(&rule.path),
            "access": rights::files(rule.access),
            "except": rule.except.iter().map(|p| String::from_utf8_lossy(p)).collect::<Vec<_>>(),
            "optional": rule.optional,
            "follow": rule.follow,
            "within_mount": rule.within_mount,
        })).collect::<Vec<_>>(),
        "ports": layer.ports.iter().map(|rule| json!({
            "port": rule.port,
            "access": rights::tcp(rule.access),
        })).collect::<Vec<_>>(),
    })
}
