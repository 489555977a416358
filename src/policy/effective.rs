//! The effective policy as people read it (`mantlet inspect`): plain JSON with stable keys.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::seccomp::verdict::Action;
use super::session::Planned;
use super::{Composed, Layers};
use crate::detect;
use crate::profile::{Bound, Profile, Rule};
use crate::seal::{Layer, PathRule, Policy, PortRule, rights};
use crate::state::SubPolicy;

/// What goes into the summary.
pub(super) struct Parts<'a> {
    pub layers: Layers<'a>,
    pub composed: &'a Composed,
    pub capabilities: &'a [String],
    pub abi: u32,
    pub engine_seccomp: bool,
    pub supervised: bool,
    pub annotations: &'a [&'a str],
    pub sessions: &'a Planned,
    pub detect: &'a [detect::Rule],
    pub on_supervisor_loss: detect::OnLoss,
}

/// `profiles` are the layers as written, each with its own lists; everything beside them is what
/// they come to together.
pub(super) fn summary(parts: &Parts<'_>) -> Value {
    let layers = parts.layers;
    let filter = &parts.composed.filters.filter;
    let names: Vec<String> = layers.enforcing().map(|p| p.name.clone()).collect();
    // The anchor alone is nobody's.
    let names = if names.is_empty() {
        vec![String::new()]
    } else {
        names
    };
    let domains = parts.composed.domains.iter().zip(&names);
    let mut summary = json!({
        "profiles": layers.iter().map(profile).collect::<Vec<Value>>(),
        "supervised": parts.supervised,
        "no_new_privs": true,
        "capabilities": parts.capabilities,
        "landlock": {
            "abi": parts.abi,
            "layers": domains.map(|(domain, name)| layer(domain, name)).collect::<Vec<Value>>(),
        },
        "seccomp": {
            "runtime_filter": if parts.engine_seccomp { "engine" } else { "profile" },
            "instructions": filter.program.len() / 8,
            "flags": filter.flags,
            "listener": filter.listener,
        },
        "syscalls": syscalls(parts),
        "masked_paths": layers.union(|profile| &profile.masked_paths),
        "readonly_paths": layers.union(|profile| &profile.readonly_paths),
        "limits": {
            "tasks": layers.max_tasks(),
            "rlimits": rlimits(layers),
        },
        "refuse": layers.union(|profile| &profile.refuse),
        "exec": sessions(parts.sessions),
        "detect": parts.detect,
        "on_supervisor_loss": parts.on_supervisor_loss,
        "checkpoint": layers.iter().map(|p| p.checkpoint).min(),
        "restore": layers.iter().map(|p| p.restore).min(),
        "removed_annotations": parts.annotations,
        "degraded": parts.composed.degraded,
    });
    if layers.observe() {
        // A container that denies less than it lists must not look as if it did.
        summary["mode"] = json!(layers.mode());
    }
    summary
}

/// The sub-policy of exec sessions: which there may be, and each policy but the workload's.
fn sessions(planned: &Planned) -> Value {
    let rules = &planned.rules;
    let held = |(sub, policy): (&SubPolicy, &Policy)| {
        json!({
            "interactive_only": Some(sub) == rules.stricter_interactive.as_ref(),
            "profiles": sub.profiles,
            "capabilities": sub.capabilities,
            "landlock_layers": policy.layers.len(),
            "instructions": policy.filter.program.len() / 8,
            "refuse_root": sub.refuse_root,
            "refused": sub.refused,
            "degraded": sub.degraded,
        })
    };
    let policies = rules.sub_policies().zip(&planned.policies);
    json!({
        "rules": rules.sessions,
        "refused": rules.refused,
        "stricter": policies.map(held).collect::<Vec<Value>>(),
    })
}

/// One layer as its author wrote it, `extends` folded in. Its files, ports and scopes are those of
/// the Landlock domain with its name.
fn profile(profile: &Profile) -> Value {
    let calls = &profile.syscalls;
    json!({
        "name": profile.name,
        "description": profile.description,
        "extends": profile.extends,
        "mode": profile.mode,
        "requires": profile.requires,
        "capabilities": profile.capabilities,
        "syscalls": {
            "groups": calls.groups,
            "allowed": distinct(&calls.allow),
            "tripwires": distinct(&calls.tripwire),
            "denied": distinct(&calls.deny),
        },
        "masked_paths": profile.masked_paths,
        "readonly_paths": profile.readonly_paths,
        "max_tasks": profile.max_tasks,
        "rlimits": profile.rlimits,
        "devices": profile.devices,
        "refuse": profile.refuse,
    })
}

/// The lowest bounds, by name.
fn rlimits(layers: Layers<'_>) -> BTreeMap<&'static str, Bound> {
    let all = layers.enforcing().flat_map(|profile| &profile.rlimits);
    let mut lowest: BTreeMap<&'static str, Bound> = BTreeMap::new();
    for (resource, bound) in all {
        let least = lowest.entry(resource.name()).or_insert(*bound);
        *least = least.and(*bound);
    }
    lowest
}

/// How many calls a list names.
fn distinct(rules: &[Rule]) -> usize {
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    names.len()
}

fn syscalls(parts: &Parts<'_>) -> Value {
    let exact = &parts.composed.filters.exact;
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
        "allowed": count(|decision| decision.permits_all()),
        "conditional": partly,
        "denied": count(|decision| decision.permits_none()),
        "tripwires": exact.tripwires().collect::<Vec<_>>(),
        "absent": exact
            .calls
            .iter()
            .filter(|(_, (_, d))| d.branches.is_empty() && d.otherwise == Action::Errno(38))
            .map(|(name, _)| name)
            .collect::<Vec<_>>(),
    })
}

/// The domains of a summary, each with its profile's name; what it does not hold whole is left out.
#[must_use]
pub fn domains(effective: &Value) -> Vec<(String, Layer)> {
    let layers = effective["landlock"]["layers"].as_array();
    layers.into_iter().flatten().filter_map(domain).collect()
}

fn domain(value: &Value) -> Option<(String, Layer)> {
    fn words(value: &Value) -> Option<Vec<&str>> {
        value.as_array()?.iter().map(Value::as_str).collect()
    }
    fn bits(value: &Value, bit: fn(&str) -> Option<u64>) -> Option<u64> {
        words(value)?
            .into_iter()
            .try_fold(0, |all, name| Some(all | bit(name)?))
    }
    let path = |value: &Value| {
        Some(PathRule {
            path: value["path"].as_str()?.into(),
            access: bits(&value["access"], rights::file)?,
            except: words(&value["except"])?
                .into_iter()
                .map(Vec::from)
                .collect(),
            optional: value["optional"].as_bool()?,
            follow: value["follow"].as_bool()?,
            within_mount: value["within_mount"].as_bool()?,
        })
    };
    let port = |value: &Value| {
        Some(PortRule {
            port: u16::try_from(value["port"].as_u64()?).ok()?,
            access: bits(&value["access"], rights::port)?,
        })
    };
    let layer = Layer {
        handled_fs: bits(&value["handled"]["files"], rights::file)?,
        handled_net: bits(&value["handled"]["tcp"], rights::port)?,
        scoped: bits(&value["scope"], rights::scope)?,
        paths: value["paths"]
            .as_array()?
            .iter()
            .map(path)
            .collect::<Option<_>>()?,
        ports: value["ports"]
            .as_array()?
            .iter()
            .map(port)
            .collect::<Option<_>>()?,
    };
    Some((value["profile"].as_str()?.to_owned(), layer))
}

fn layer(layer: &Layer, profile: &str) -> Value {
    json!({
        "profile": profile,
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
