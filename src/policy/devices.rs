//! Device nodes and the device cgroup, cut to the profile's `devices`.
//!
//! The rules of config.json are a program: each one changes what those before it left. What remains
//! of it here is a plain list of what is allowed, which every runtime and both cgroup versions read
//! alike. Where a refusal would make a hole in something allowed, the whole of that goes.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, Spec};
use serde_json::{Value, json};

use super::mounts;
use crate::oci::patch::Edit;
use crate::profile::{Access, Device, DeviceKind, glob};

/// What runtimes allow every container, whatever config.json says: `(kind, major, minor)`.
const STANDARD: [(DeviceKind, u32, Option<u32>); 9] = [
    (DeviceKind::Char, 1, Some(3)),
    (DeviceKind::Char, 1, Some(5)),
    (DeviceKind::Char, 1, Some(7)),
    (DeviceKind::Char, 1, Some(8)),
    (DeviceKind::Char, 1, Some(9)),
    (DeviceKind::Char, 5, Some(0)),
    (DeviceKind::Char, 5, Some(1)),
    (DeviceKind::Char, 5, Some(2)),
    (DeviceKind::Char, 136, None),
];

/// Some devices and what may be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    kind: DeviceKind,
    major: Option<u32>,
    minor: Option<u32>,
    access: Access,
}

/// Edits of `/linux/devices` and `/linux/resources/devices`, cut to every one of `lists`; none where
/// there is no list.
#[must_use]
pub fn edits(spec: &Spec, lists: &[&[Device]]) -> Vec<Edit> {
    if lists.is_empty() {
        return Vec::new();
    }
    let linux = spec.linux().as_ref();
    let nodes = linux
        .and_then(|linux| linux.devices().as_deref())
        .unwrap_or_default();
    let is_gone = |node: &LinuxDevice| lists.iter().any(|listed| !is_kept(node, listed));
    let gone = nodes.iter().enumerate().filter(|(_, node)| is_gone(node));
    // From the end, so that earlier positions stay true.
    let mut edits: Vec<Edit> = gone
        .rev()
        .map(|(at, _)| Edit::Remove {
            pointer: format!("/linux/devices/{at}"),
        })
        .collect();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let engine = resources
        .and_then(|all| all.devices().as_deref())
        .unwrap_or_default();
    let mut changes: Vec<(bool, Rule)> = Vec::new();
    for rule in engine {
        changes.extend(rules(rule).into_iter().map(|one| (rule.allow(), one)));
    }
    for listed in lists {
        let left = cut(&changes, &allowed(listed, nodes));
        changes = left.into_iter().map(|rule| (true, rule)).collect();
    }
    let left: Vec<Rule> = changes.into_iter().map(|(_, rule)| rule).collect();
    edits.push(Edit::Set {
        pointer: "/linux/resources/devices".into(),
        value: written(&left),
    });
    edits
}

/// Whether the profile lets the container have this node.
#[must_use]
pub fn is_kept(node: &LinuxDevice, listed: &[Device]) -> bool {
    // A FIFO is no device; the runtimes make one as any file.
    let Some(kind) = kind(node.typ()) else {
        return node.typ() == LinuxDeviceType::P;
    };
    let own = allowed(listed, std::slice::from_ref(node));
    own.iter().any(|rule| {
        let is =
            |wanted: Option<u32>, have: i64| wanted.is_none_or(|wanted| i64::from(wanted) == have);
        rule.kind == kind && is(rule.major, node.major()) && is(rule.minor, node.minor())
    })
}

/// The profile's list in numbers.
fn allowed(listed: &[Device], nodes: &[LinuxDevice]) -> Vec<Rule> {
    let mut all = Vec::new();
    for device in listed {
        match device {
            Device::Standard => all.extend(STANDARD.map(|(kind, major, minor)| Rule {
                kind,
                major: Some(major),
                minor,
                access: Access::ALL,
            })),
            Device::Numbers {
                kind,
                major,
                minor,
                access,
            } => all.push(Rule {
                kind: *kind,
                major: *major,
                minor: *minor,
                access: *access,
            }),
            Device::Path { path, access } => {
                let named = nodes.iter().filter(|node| {
                    mounts::normal(node.path()).is_ok_and(|own| glob::covers(path, &own))
                });
                all.extend(named.filter_map(|node| {
                    Some(Rule {
                        kind: kind(node.typ())?,
                        major: Some(u32::try_from(node.major()).ok()?),
                        minor: Some(u32::try_from(node.minor()).ok()?),
                        access: *access,
                    })
                }));
            }
        }
    }
    all
}

fn kind(typ: LinuxDeviceType) -> Option<DeviceKind> {
    match typ {
        LinuxDeviceType::B => Some(DeviceKind::Block),
        LinuxDeviceType::C | LinuxDeviceType::U => Some(DeviceKind::Char),
        LinuxDeviceType::A | LinuxDeviceType::P => None,
    }
}

/// Rules in order, `(whether it allows, what)`, each allowance narrowed to `profile`.
fn cut(rules: &[(bool, Rule)], profile: &[Rule]) -> Vec<Rule> {
    let mut left: Vec<Rule> = Vec::new();
    for (allows, one) in rules {
        if *allows {
            left.extend(profile.iter().filter_map(|own| meet(one, own)));
        } else {
            for have in left.iter_mut().filter(|have| overlap(have, one)) {
                have.access = have.access.without(one.access);
            }
            left.retain(|have| !have.access.is_none());
        }
    }
    // What another rule allows anyway goes, so that cutting twice equals cutting once.
    let mut once: Vec<Rule> = Vec::new();
    for rule in left {
        if !once.iter().any(|have| covers(have, &rule)) {
            once.retain(|have| !covers(&rule, have));
            once.push(rule);
        }
    }
    once
}

fn covers(one: &Rule, other: &Rule) -> bool {
    let whole = |a: Option<u32>, b: Option<u32>| a.is_none() || a == b;
    one.kind == other.kind
        && whole(one.major, other.major)
        && whole(one.minor, other.minor)
        && other.access.without(one.access).is_none()
}

/// One rule of config.json as one for each kind. `a`, also where no type is said, is every device: the
/// kernel then looks at neither numbers nor, in a refusal, letters.
fn rules(rule: &LinuxDeviceCgroup) -> Vec<Rule> {
    let read = rule.access().as_deref().map(Access::read);
    // A letter that nobody knows allows nothing and refuses everything.
    let access = match read {
        None => Access::ALL,
        Some(Some(access)) => access,
        Some(None) if rule.allow() => return Vec::new(),
        Some(None) => Access::ALL,
    };
    let every = rule.typ().is_none_or(|typ| typ == LinuxDeviceType::A);
    let kinds = match rule.typ().and_then(kind) {
        Some(kind) => vec![kind],
        None if every => vec![DeviceKind::Char, DeviceKind::Block],
        None => Vec::new(),
    };
    let number = |written: Option<i64>| {
        let plain = written.filter(|number| *number >= 0);
        plain.map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    };
    let whole = every && !rule.allow();
    let one = |kind| Rule {
        kind,
        major: number(rule.major()).filter(|_| !whole),
        minor: number(rule.minor()).filter(|_| !whole),
        access: if whole { Access::ALL } else { access },
    };
    kinds.into_iter().map(one).collect()
}

fn meet(one: &Rule, other: &Rule) -> Option<Rule> {
    let access = one.access.and(other.access);
    (overlap(one, other) && !access.is_none()).then(|| Rule {
        kind: one.kind,
        major: one.major.or(other.major),
        minor: one.minor.or(other.minor),
        access,
    })
}

fn overlap(one: &Rule, other: &Rule) -> bool {
    let near = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
    one.kind == other.kind && near(one.major, other.major) && near(one.minor, other.minor)
}

/// As config.json has it: nothing, and then what is allowed.
fn written(rules: &[Rule]) -> Value {
    let mut all = vec![json!({"allow": false, "access": "rwm"})];
    all.extend(rules.iter().map(|rule| {
        let mut one = json!({"allow": true, "type": rule.kind});
        if let Some(major) = rule.major {
            one["major"] = json!(major);
        }
        if let Some(minor) = rule.minor {
            one["minor"] = json!(minor);
        }
        one["access"] = json!(rule.access.to_string());
        one
    }));
    Value::Array(all)
}
