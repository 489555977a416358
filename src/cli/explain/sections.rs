//! One profile's sections of the page, but its calls: each line with where it was written.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::page::Line;
use crate::cli::subject::Subject;
use crate::policy::decide;
use crate::policy::landlock::sources;
use crate::policy::mounts::beneath;
use crate::profile::{Interactive, Part, Profile};
use crate::seal::rights;

/// `files`, and what its entries are in this container.
pub(super) fn files(subject: &Subject, profile: &Profile) -> Vec<Line> {
    let Some(files) = &profile.files else {
        return vec![Line::new("not restricted: the profile has no `files`")];
    };
    if subject.host.landlock_abi == 0 {
        return vec![Line::new("not restricted: no Landlock in this kernel")];
    }
    let all = sources(
        profile,
        &subject.spec,
        &subject.mounts,
        subject.host.landlock_abi,
    );
    let mut lines: Vec<Line> = Vec::new();
    let mut usual: BTreeMap<&str, u64> = BTreeMap::new();
    for source in &all {
        *usual.entry(source.list).or_default() |= source.rule.access;
    }
    for (list, access) in &usual {
        lines.push(Line::new(format!(
            "{list} is {}",
            rights::files(*access).join(", ")
        )));
    }
    for source in &all {
        let entry = decide::shown(&source.entry);
        let mut text = format!("{}: {entry}", source.list);
        for (yes, word) in [
            (source.entry.optional, " (optional)"),
            (source.entry.follow, " (follow)"),
        ] {
            text += if yes { word } else { "" };
        }
        let path = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let mut place = path(&source.rule.path);
        // Another may lie in it by a link; it is listed below.
        let out = source.rule.except.iter().map(|p| path(p));
        let mut out: Vec<String> = out.filter(|out| beneath(out, &place)).collect();
        if source.rule.within_mount {
            out.push("all mounts".to_owned());
        }
        if !out.is_empty() {
            place += &format!(" but {}", out.join(", "));
        }
        if source.rule.access != usual[source.list] {
            place += &format!(": {}", rights::files(source.rule.access).join(", "));
        }
        if !matches!(lines.last(), Some(last) if last.text == text) {
            lines.push(Line::new(text).at(source.list, Some(&source.entry.origin)));
        }
        if let Some(last) = lines.last_mut().filter(|_| place != entry) {
            last.names.push(place);
        }
    }
    let excepts = files.except.iter();
    lines.extend(
        excepts
            .map(|out| Line::new(format!("except: {}", out.path)).at("except", Some(&out.origin))),
    );
    lines
}

/// `network`.
pub(super) fn network(_: &Subject, profile: &Profile) -> Vec<Line> {
    let list = |key: &'static str, ports: Option<&BTreeSet<u16>>| match ports {
        None => Line::new(format!("{key}: any port")),
        Some(ports) => {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            let none = if ports.is_empty() { "none" } else { "" };
            let part = match key {
                "bind_tcp" => Part::Key("network.bind_tcp"),
                _ => Part::Key("network.connect_tcp"),
            };
            Line::new(format!("{key}: {none}{}", ports.join(", ")))
                .at(key, profile.origins.of(&part))
        }
    };
    let network = profile.network.as_ref();
    vec![
        list("bind_tcp", network.and_then(|n| n.bind_tcp.as_ref())),
        list("connect_tcp", network.and_then(|n| n.connect_tcp.as_ref())),
    ]
}

/// `scope`.
pub(super) fn scope(_: &Subject, profile: &Profile) -> Vec<Line> {
    let each = profile.scope.iter().map(|scope| {
        Line::new(format!(
            "{} only to processes of the same session",
            word(scope)
        ))
        .at("scope", profile.origins.of(&Part::Scope(*scope)))
    });
    each.collect()
}

/// `capabilities`.
pub(super) fn capabilities(_: &Subject, profile: &Profile) -> Vec<Line> {
    if profile.capabilities.is_empty() {
        return vec![Line::new("none")];
    }
    let each = profile.capabilities.iter().map(|name| {
        Line::new(*name).at("capabilities", profile.origins.of(&Part::Capability(name)))
    });
    each.collect()
}

/// Limits, devices, and paths that are hidden or read-only.
pub(super) fn limits(_: &Subject, profile: &Profile) -> Vec<Line> {
    let mut lines = Vec::new();
    let tasks = profile.max_tasks.iter();
    lines.extend(tasks.map(|most| {
        let origin = profile.origins.of(&Part::Key("process.max"));
        Line::new(format!("at most {} processes and threads", word(most))).at("process.max", origin)
    }));
    lines.extend(profile.rlimits.iter().map(|(resource, bound)| {
        Line::new(format!("{}: {}", word(resource), word(bound)))
            .at("rlimits", profile.origins.of(&Part::Rlimit(*resource)))
    }));
    if let Some(devices) = &profile.devices {
        let list: Vec<String> = devices.iter().map(word).collect();
        lines.push(Line::new(format!("devices: {}", list.join(", "))));
    }
    for (key, paths) in [
        ("masked_paths", &profile.masked_paths),
        ("readonly_paths", &profile.readonly_paths),
    ] {
        if !paths.is_empty() {
            let mut line = Line::new(format!("{key} ({})", paths.len()));
            line.names = paths.iter().cloned().collect();
            lines.push(line);
        }
    }
    lines
}

/// `process.refuse`.
pub(super) fn refuse(_: &Subject, profile: &Profile) -> Vec<Line> {
    let each = profile.refuse.iter().map(|rule| {
        Line::new(word(rule)).at(
            "process.refuse",
            profile.origins.of(&Part::Refuse(rule.clone())),
        )
    });
    each.collect()
}

/// `exec`.
pub(super) fn sessions(_: &Subject, profile: &Profile) -> Vec<Line> {
    let Some(exec) = &profile.exec else {
        return vec![Line::new(
            "as free as the workload: the profile has no `exec`",
        )];
    };
    let mut lines = Vec::new();
    match &exec.interactive {
        Some(Interactive::Deny) => lines.push(Line::new("interactive ones are refused")),
        Some(Interactive::Profile(name)) => {
            lines.push(Line::new(format!(
                "interactive ones are held to {name} as well"
            )));
        }
        Some(Interactive::Allow) | None => {}
    }
    if let Some(name) = &exec.profile {
        lines.push(Line::new(format!("all are held to {name} as well")));
    }
    if let Some(commands) = &exec.commands {
        let mut line = Line::new(match commands.is_empty() {
            true => "none at all".to_owned(),
            false => "only these commands".to_owned(),
        });
        line.names = commands.iter().map(ToString::to_string).collect();
        lines.push(line);
    }
    lines
}

/// `detect`.
pub(super) fn detection(_: &Subject, profile: &Profile) -> Vec<Line> {
    let each = profile.detect.iter().map(|rule| {
        let mut text = format!(
            "{}: on {}, {}",
            rule.name,
            rule.on.word(),
            rule.respond.word()
        );
        if rule.after > 1 {
            text += &format!(" from {} times on", rule.after);
        }
        let part = Part::Detection(rule.name.clone());
        Line::new(text).at("detect", profile.origins.of(&part))
    });
    let mut lines: Vec<Line> = each.collect();
    if !lines.is_empty() {
        let loss = word(&profile.on_supervisor_loss);
        lines.push(Line::new(format!(
            "without its supervisor the container is: {loss}"
        )));
    }
    lines
}

/// `checkpoint` and `restore`.
pub(super) fn checkpoint(_: &Subject, profile: &Profile) -> Vec<Line> {
    vec![
        Line::new(format!("checkpoint: {}", word(&profile.checkpoint))),
        Line::new(format!("restore: {}", word(&profile.restore))),
    ]
}

/// A value as the language writes it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string().replace('"', ""),
        Err(_) => String::new(),
    }
}
