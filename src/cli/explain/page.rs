//! What a profile comes to, in the order in which a person asks: calls, files, ports, capabilities, and so
//! on, each thing with where it was written. The JSON form has the same sections.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::subject::Subject;
use crate::cli::text::{self, escape};
use crate::policy::Composed;
use crate::policy::decide::{self, Answer, Decider, Known, Written};
use crate::policy::landlock::sources;
use crate::policy::seccomp::exact::UNKNOWN;
use crate::policy::seccomp::verdict::Action;
use crate::profile::{Interactive, Origin, Part, Profile};
use crate::seal::rights;

/// The whole page.
pub struct Page {
    head: Vec<String>,
    profiles: Vec<Value>,
    over: String,
    abi: u32,
    sections: Vec<Section>,
}

struct Section {
    key: &'static str,
    title: &'static str,
    lines: Vec<Line>,
}

/// One thing.
#[derive(Debug, Serialize)]
struct Line {
    /// Which layer says it; absent where there is one only, or all say it together.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<String>,
    text: String,
    /// What it stands for, such as the calls of a group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Written>,
}

impl Line {
    fn new(text: impl Into<String>) -> Line {
        Line {
            layer: None,
            text: text.into(),
            names: Vec::new(),
            written: None,
        }
    }

    fn at(mut self, key: &str, origin: Option<&Origin>) -> Line {
        let origin = origin.filter(|origin| origin.is_known()).cloned();
        self.written = origin.map(|origin| Written {
            text: key.to_owned(),
            origin,
        });
        self
    }
}

impl Page {
    /// Puts it together.
    pub fn of(subject: &Subject, decider: &Decider, composed: &Composed) -> Page {
        let profiles = subject.profiles.iter().map(|profile| {
            json!({
                "name": profile.name,
                "description": profile.description,
                "mode": profile.mode,
                "extends": profile.extends,
                "requires": profile.requires,
                "groups": profile.syscalls.groups,
                "tests": profile.tests.len(),
            })
        });
        let head = subject.profiles.iter().map(|profile| {
            let extends = match profile.extends.is_empty() {
                true => String::new(),
                false => format!(" (extends {})", profile.extends.join(", ")),
            };
            let mode = serde_json::to_value(profile.mode).unwrap_or_default();
            let mode = mode.as_str().filter(|mode| *mode != "enforce");
            let mode = mode.map_or_else(String::new, |mode| format!(" [mode: {mode}]"));
            format!("{}{extends}{mode}: {}", profile.name, profile.description)
        });
        let mut sections = calls(decider, composed);
        let several = subject.profiles.len() > 1;
        type Make = fn(&Subject, &Profile) -> Vec<Line>;
        let each: [(&str, &str, Make); 9] = [
            ("files", "Files (Landlock)", files),
            ("network", "TCP ports (Landlock)", network),
            ("scope", "Scope (Landlock)", scope),
            (
                "capabilities",
                "Capabilities: what is listed here and given by the engine",
                capabilities,
            ),
            (
                "limits",
                "Limits, devices, hidden and read-only paths",
                limits,
            ),
            ("refuse", "Containers that are not created", refuse),
            ("exec", "Exec sessions", sessions),
            ("detect", "Detection", detection),
            ("checkpoint", "Checkpoint and restore", checkpoint),
        ];
        for (key, title, make) in each {
            let mut lines = Vec::new();
            for profile in &subject.profiles {
                let name = several.then(|| profile.name.clone());
                lines.extend(make(subject, profile).into_iter().map(|line| Line {
                    layer: name.clone(),
                    ..line
                }));
            }
            sections.push(Section { key, title, lines });
        }
        sections.push(Section {
            key: "always",
            title: "Always on",
            lines: ALWAYS.map(Line::new).into(),
        });
        sections.push(Section {
            key: "degraded",
            title: "What this kernel or build cannot enforce",
            lines: composed.degraded.iter().map(Line::new).collect(),
        });
        sections.retain(|section| !section.lines.is_empty());
        Page {
            head: head.collect(),
            profiles: profiles.collect(),
            over: subject.about.clone(),
            abi: subject.host.landlock_abi,
            sections,
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let sections = self
            .sections
            .iter()
            .map(|section| (section.key, json!(section.lines)));
        let sections: serde_json::Map<String, Value> = sections
            .map(|(key, lines)| (key.to_owned(), lines))
            .collect();
        json!({
            "profiles": self.profiles,
            "over": self.over,
            "landlock_abi": self.abi,
            "sections": sections,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let width = text::width().unwrap_or(100).clamp(60, 120);
        let mut page: String = self.head.iter().map(|line| escape(line) + "\n").collect();
        page += &format!("over: {}, Landlock ABI {}\n", escape(&self.over), self.abi);
        for section in &self.sections {
            page += &format!("\n{}\n", section.title);
            for line in &section.lines {
                page += &line.shown(width);
            }
        }
        page
    }
}

impl Line {
    fn shown(&self, width: usize) -> String {
        let mut head = escape(&self.text);
        if let Some(layer) = &self.layer {
            head = format!("{}: {head}", escape(layer));
        }
        if let Some(by) = &self.written {
            head += &format!("   [{}:{}]", escape(by.origin.file()), by.origin.line());
            if let Some(why) = by.origin.why() {
                head += &format!(" # {}", escape(why));
            }
        }
        let mut shown = text::wrap(&head, 2, width);
        if !self.names.is_empty() {
            shown += &text::wrap(&escape(&self.names.join(" ")), 6, width);
        }
        shown
    }
}

/// What is on whatever a profile says.
const ALWAYS: [&str; 5] = [
    "no_new_privs: setuid programs and file capabilities gain nothing",
    "a Landlock domain, and with it: no mount(2) and its family, no tracing of processes outside of the session",
    "other architectures' calls (i386, x32) end the process; calls younger than the data version are absent (ENOSYS)",
    "read, write, execve and exit_group are allowed: init needs them to start the workload",
    "what the engine withholds stays withheld: a profile never gives anything",
];

/// Calls by what becomes of them, each group with the line that lists it.
fn calls(decider: &Decider, composed: &Composed) -> Vec<Section> {
    let kinds: [(&str, &str); 5] = [
        ("allowed", "Calls that are performed"),
        (
            "conditional",
            "Calls that are performed or refused by their arguments",
        ),
        (
            "tripwires",
            "Calls that are refused and reported (tripwires)",
        ),
        ("denied", "Calls that are refused in silence"),
        ("absent", "Calls that are absent (ENOSYS)"),
    ];
    type Named = (Vec<String>, Option<Written>);
    let mut found: [BTreeMap<String, Named>; 5] = Default::default();
    for name in composed.filters.exact.calls.keys() {
        let Some(decision) = decider.whole(name) else {
            continue;
        };
        let notified = decision.all().any(|(_, action)| action == Action::Notify);
        let at = match (decision.permits_all(), decision.permits_none()) {
            (true, _) => 0,
            (_, false) => 1,
            _ if decision.all().all(|(_, action)| action == UNKNOWN) => 4,
            _ if notified => 2,
            _ => 3,
        };
        if at == 1 {
            let text = format!("{name}: {}", decide::decision_in_words(&decision));
            found[1].insert(text, (Vec::new(), None));
            continue;
        }
        let verdict = decider.call(name, &Known::default());
        let wanted = if at == 0 {
            Answer::Allowed
        } else {
            Answer::Denied
        };
        let mut said = verdict
            .contributions
            .iter()
            .filter(|one| one.answer == wanted);
        let written = said.find_map(|one| one.written.clone());
        let (label, written) = match written {
            Some(written) => (written.text.clone(), Some(written)),
            None if at == 3 => (
                "in no list of the profile, or refused by the engine".into(),
                None,
            ),
            None => ("without a line of its own".into(), None),
        };
        // A call that is named itself needs no group of one.
        let label = match written.as_ref().and_then(|by| by.origin.group()) {
            Some(_) => label,
            None => label.split(": ").next().unwrap_or_default().to_owned(),
        };
        let slot = found[at]
            .entry(label)
            .or_insert_with(|| (Vec::new(), written));
        slot.0.push(name.clone());
    }
    let sections = kinds.into_iter().zip(found);
    sections
        .map(|((key, title), groups)| {
            let lines = groups.into_iter().map(|(label, (names, written))| {
                let grouped = written
                    .as_ref()
                    .is_some_and(|by| by.origin.group().is_some());
                let text = match names.len() {
                    0 => label,
                    count => format!("{label} ({count})"),
                };
                Line {
                    layer: None,
                    text,
                    names,
                    written: written.filter(|_| grouped),
                }
            });
            Section {
                key,
                title,
                lines: lines.collect(),
            }
        })
        .collect()
}

fn files(subject: &Subject, profile: &Profile) -> Vec<Line> {
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
    for source in &all {
        let entry = decide::shown(&source.entry);
        let mut text = format!("{}: {entry}", source.list);
        for (yes, word) in [
            (source.entry.optional, " (optional)"),
            (source.entry.follow, " (follow)"),
        ] {
            text += if yes { word } else { "" };
        }
        let mut place = String::from_utf8_lossy(&source.rule.path).into_owned();
        let granted = rights::files(source.rule.access).join(", ");
        if !source.rule.except.is_empty() {
            let except: Vec<_> = source
                .rule
                .except
                .iter()
                .map(|p| String::from_utf8_lossy(p))
                .collect();
            place += &format!(" but {}", except.join(", "));
        }
        if source.rule.within_mount {
            place += " but all mounts beneath";
        }
        let name = match entry.starts_with('@') || !source.rule.except.is_empty() {
            true => format!("{place}: {granted};"),
            false => format!("{granted};"),
        };
        match lines.last_mut() {
            Some(last) if last.text == text => last.names.push(name),
            _ => {
                let mut line = Line::new(text).at(source.list, Some(&source.entry.origin));
                line.names.push(name);
                lines.push(line);
            }
        }
    }
    let excepts = files.except.iter();
    lines.extend(
        excepts
            .map(|out| Line::new(format!("except: {}", out.path)).at("except", Some(&out.origin))),
    );
    lines
}

fn network(_: &Subject, profile: &Profile) -> Vec<Line> {
    let list = |key: &'static str, ports: Option<&std::collections::BTreeSet<u16>>| match ports {
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

fn scope(_: &Subject, profile: &Profile) -> Vec<Line> {
    let each = profile.scope.iter().map(|scope| {
        Line::new(format!(
            "{} only to processes of the same session",
            word(scope)
        ))
        .at("scope", profile.origins.of(&Part::Scope(*scope)))
    });
    each.collect()
}

fn capabilities(_: &Subject, profile: &Profile) -> Vec<Line> {
    if profile.capabilities.is_empty() {
        return vec![Line::new("none")];
    }
    let each = profile.capabilities.iter().map(|name| {
        Line::new(*name).at("capabilities", profile.origins.of(&Part::Capability(name)))
    });
    each.collect()
}

fn limits(_: &Subject, profile: &Profile) -> Vec<Line> {
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

fn refuse(_: &Subject, profile: &Profile) -> Vec<Line> {
    let each = profile.refuse.iter().map(|rule| {
        Line::new(word(rule)).at(
            "process.refuse",
            profile.origins.of(&Part::Refuse(rule.clone())),
        )
    });
    each.collect()
}

fn sessions(_: &Subject, profile: &Profile) -> Vec<Line> {
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

fn detection(_: &Subject, profile: &Profile) -> Vec<Line> {
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

fn checkpoint(_: &Subject, profile: &Profile) -> Vec<Line> {
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
