//! Everything of two sides but calls and files: ports, capabilities, limits, and rules on containers and
//! sessions.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::Section;
use crate::cli::subject::Subject;
use crate::policy::Composed;
use crate::profile::{Network, Profile};
use crate::seal::rights;

/// Compares.
pub fn compare(a: &Subject, b: &Subject, one: &Composed, other: &Composed) -> Vec<Section> {
    let capabilities = |subject: &Subject, composed: &Composed| {
        let held = crate::policy::process::held(subject.spec.process().as_ref());
        let kept = composed
            .capabilities
            .iter()
            .filter(|name| held.contains(*name));
        kept.cloned().collect::<Vec<String>>()
    };
    let each =
        |key, title, get: fn(&Subject) -> Vec<String>| Section::of(key, title, get(a), get(b));
    vec![
        each("bind_tcp", "TCP ports that may be bound", |s| {
            ports(s, |n| &n.bind_tcp)
        }),
        each("connect_tcp", "TCP ports that may be connected to", |s| {
            ports(s, |n| &n.connect_tcp)
        }),
        Section::of(
            "scope",
            "What is kept within the session",
            scopes(one),
            scopes(other),
        ),
        Section::of(
            "capabilities",
            "Capabilities that a process may hold",
            capabilities(a, one),
            capabilities(b, other),
        ),
        each("limits", "Limits and devices", limits),
        each("paths", "Paths that are hidden or read-only", hidden),
        each("refuse", "Containers that are refused", |s| {
            all(s, |p| &p.refuse)
        }),
        each(
            "exec",
            "Exec sessions: what is refused, or held to more",
            sessions,
        ),
        each("detect", "Rules of detection", detection),
        each(
            "life",
            "Mode, checkpoint, restore, and life without a supervisor",
            life,
        ),
        each("requires", "What the node must be able to do", requires),
    ]
}

/// The ports that every layer lists; `any` where none has a list.
fn ports(subject: &Subject, get: fn(&Network) -> &Option<BTreeSet<u16>>) -> Vec<String> {
    let lists = subject
        .profiles
        .iter()
        .filter_map(|p| get(p.network.as_ref()?).clone());
    match lists.reduce(|a, b| &a & &b) {
        Some(ports) => ports.iter().map(u16::to_string).collect(),
        None => vec!["any port".into()],
    }
}

fn scopes(composed: &Composed) -> Vec<String> {
    let bits = composed
        .domains
        .iter()
        .fold(0, |all, domain| all | domain.scoped);
    rights::scopes(bits)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

fn limits(subject: &Subject) -> Vec<String> {
    let profiles = || subject.profiles.iter();
    let mut lines = Vec::new();
    let tasks = profiles().filter_map(|p| p.max_tasks).min();
    lines.extend(tasks.map(|tasks| format!("at most {} processes and threads", tasks.0)));
    let resources: BTreeSet<_> = profiles().flat_map(|p| p.rlimits.keys()).collect();
    for resource in resources {
        let bounds = profiles().filter_map(|p| p.rlimits.get(resource));
        let lowest = bounds.copied().reduce(|mut all, more| {
            (all.soft, all.hard) = (all.soft.min(more.soft), all.hard.min(more.hard));
            all
        });
        lines.extend(lowest.map(|bound| format!("{}: {}", word(resource), word(&bound))));
    }
    lines.extend(
        profiles()
            .filter_map(|p| p.devices.as_ref())
            .map(|devices| {
                let list: Vec<String> = devices.iter().map(word).collect();
                format!("devices: only {}", list.join(", "))
            }),
    );
    lines
}

fn hidden(subject: &Subject) -> Vec<String> {
    let linux = subject.spec.linux().as_ref();
    let engine = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
    let masked = engine(linux.and_then(|l| l.masked_paths().as_ref()));
    let readonly = engine(linux.and_then(|l| l.readonly_paths().as_ref()));
    let masked = masked.into_iter().chain(all(subject, |p| &p.masked_paths));
    let readonly = readonly
        .into_iter()
        .chain(all(subject, |p| &p.readonly_paths));
    let masked = masked.map(|path| format!("{path} hidden"));
    let both: BTreeSet<String> = masked
        .chain(readonly.map(|path| format!("{path} read-only")))
        .collect();
    both.into_iter().collect()
}

/// What any layer lists.
fn all<T: Ord + Serialize>(subject: &Subject, get: fn(&Profile) -> &BTreeSet<T>) -> Vec<String> {
    let listed: BTreeSet<&T> = subject.profiles.iter().flat_map(get).collect();
    listed.into_iter().map(word).collect()
}

fn sessions(subject: &Subject) -> Vec<String> {
    let mut lines = BTreeSet::new();
    for exec in subject.profiles.iter().filter_map(|p| p.exec.as_ref()) {
        lines.extend(
            exec.interactive
                .as_ref()
                .map(|how| format!("interactive ones: {how:?}")),
        );
        lines.extend(exec.profile.as_ref().map(|name| format!("held to {name}")));
        lines.extend(exec.commands.as_ref().map(|commands| {
            let list: Vec<&str> = commands.iter().map(String::as_str).collect();
            format!("only the commands: {}", list.join(", "))
        }));
    }
    lines.into_iter().collect()
}

/// By what a rule says, and not by whose it is.
fn detection(subject: &Subject) -> Vec<String> {
    let rules = subject.profiles.iter().flat_map(|p| &p.detect);
    let lines = rules.map(|rule| {
        let mut value = serde_json::to_value(rule).unwrap_or_default();
        if let Some(rule) = value.as_object_mut() {
            rule.shift_remove("profile");
        }
        value.to_string().replace('"', "")
    });
    lines.collect::<BTreeSet<String>>().into_iter().collect()
}

fn life(subject: &Subject) -> Vec<String> {
    let profiles = || subject.profiles.iter();
    let modes: BTreeSet<String> = profiles().map(|p| word(&p.mode)).collect();
    let mut lines: Vec<String> = modes
        .into_iter()
        .map(|mode| format!("mode: {mode}"))
        .collect();
    let checkpoint = profiles().map(|p| p.checkpoint).min();
    let restore = profiles().map(|p| p.restore).min();
    let loss = profiles().map(|p| p.on_supervisor_loss).max();
    lines.extend(checkpoint.map(|how| format!("checkpoint: {}", word(&how))));
    lines.extend(restore.map(|how| format!("restore: {}", word(&how))));
    lines.extend(loss.map(|how| format!("on_supervisor_loss: {}", word(&how))));
    lines
}

fn requires(subject: &Subject) -> Vec<String> {
    let profiles = || subject.profiles.iter();
    let least = profiles().map(|p| p.requires.landlock).max();
    let mut lines: Vec<String> = least
        .map(|abi| format!("Landlock ABI {abi}"))
        .into_iter()
        .collect();
    let degrade = profiles().map(|p| p.requires.degrade.clone());
    let may = degrade.reduce(|a, b| &a & &b).unwrap_or_default();
    lines.extend(
        may.iter()
            .map(|what| format!("may go without {}", word(what))),
    );
    lines
}

/// A value as the language writes it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string().replace('"', ""),
        Err(_) => String::new(),
    }
}
