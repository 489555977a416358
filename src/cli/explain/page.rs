//! What a profile comes to, in the order in which a person asks: calls, files, ports, capabilities, and so
//! on, each thing with where it was written. The JSON form has the same sections.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::sections;
use crate::cli::subject::Subject;
use crate::cli::text::{self, escape};
use crate::policy::Composed;
use crate::policy::decide::{self, Answer, Decider, Known, Written};
use crate::policy::seccomp::exact::UNKNOWN;
use crate::policy::seccomp::verdict::Action;
use crate::profile::{Origin, Profile};

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
pub(super) struct Line {
    /// Which layer says it; absent where there is one only, or all say it together.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<String>,
    pub(super) text: String,
    /// What it stands for, such as the calls of a group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Written>,
}

impl Line {
    /// Text alone.
    pub(super) fn new(text: impl Into<String>) -> Line {
        Line {
            layer: None,
            text: text.into(),
            names: Vec::new(),
            written: None,
        }
    }

    /// With where it was written, under `key`.
    pub(super) fn at(mut self, key: &str, origin: Option<&Origin>) -> Line {
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
            ("files", "Files (Landlock)", sections::files),
            ("network", "TCP ports (Landlock)", sections::network),
            ("scope", "Scope (Landlock)", sections::scope),
            (
                "capabilities",
                "Capabilities: what is listed here and given by the engine",
                sections::capabilities,
            ),
            (
                "limits",
                "Limits, devices, hidden and read-only paths",
                sections::limits,
            ),
            (
                "refuse",
                "Containers that are not created",
                sections::refuse,
            ),
            ("exec", "Exec sessions", sections::sessions),
            ("detect", "Detection", sections::detection),
            ("checkpoint", "Checkpoint and restore", sections::checkpoint),
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
            shown +=
                &text::wrap(
                    &escape(&self.names.join(
                        if self.names.iter().any(|name| name.contains(' ')) {
                            "; "
                        } else {
                            " "
                        },
                    )),
                    6,
                    width,
                );
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
