//! What was denied, how often, and what one would add to a profile to allow all of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::cli::events::human;
use crate::cli::lives::Lives;
use crate::cli::text::escape;
use crate::event::{Event, What};
use crate::yaml::scalar;

/// Counts denials, and what would have been one.
#[derive(Debug, Default)]
pub struct Tally {
    /// (profile, what, fix) → how often.
    seen: BTreeMap<(String, String, String), u64>,
    /// Of all these, how many were performed, because the profile only looks.
    performed: u64,
    /// What the journal lost.
    lives: Lives,
}

impl Tally {
    /// Counts an event, where it is one of those.
    pub fn count(&mut self, event: &Event) {
        self.lives.take(event);
        let outermost = || event.profiles.first().cloned().unwrap_or_default();
        let (profile, what, fix) = match &event.what {
            What::Tripwire {
                syscall,
                profile,
                fix,
                ..
            } => (profile, syscall.clone(), fix),
            What::Observed {
                access,
                profile,
                fix,
                clipped: false,
                denied,
                ..
            } if !profile.is_empty() => {
                self.performed += u64::from(!denied);
                (profile, human::done(access), fix)
            }
            _ => return,
        };
        let profile = match profile.is_empty() {
            true => outermost(),
            false => profile.clone(),
        };
        *self.seen.entry((profile, what, fix.clone())).or_default() += 1;
    }

    /// Counts a line that is no event.
    pub fn broken(&mut self) {
        self.lives.broken();
    }

    /// For people; each line ends. Empty where nothing is to be said.
    pub fn summary(&self, audit: bool) -> String {
        let mut text = String::new();
        let all: u64 = self.seen.values().sum();
        if all > 0 {
            let were = match self.performed {
                n if audit || n == all => "would be denied",
                0 => "was denied",
                _ => "was denied, or would be",
            };
            let times = match all {
                1 => "once".to_owned(),
                n => format!("{n} times in all"),
            };
            text += &format!("mantlet: what {were}, {times}:\n");
            for ((_, what, _), count) in &self.seen {
                text += &format!("  {count:>5} ×  {}\n", escape(what));
            }
            text += &self.snippets();
        }
        // Whether it is cut off has been said.
        for life in self.lives.clone().finish(true) {
            if life.suppressed > 0 {
                text += &format!(
                    "mantlet: {} more came too fast to be told\n",
                    life.suppressed
                );
            }
            for (cause, count) in &life.lost {
                text += &format!("mantlet: {count} events are LOST: {}\n", escape(cause));
            }
        }
        text
    }

    /// For each profile, all its fixes as one piece of YAML.
    fn snippets(&self) -> String {
        let mut profiles: BTreeMap<&str, (Value, Vec<&str>)> = BTreeMap::new();
        for (profile, _, fix) in self.seen.keys() {
            let (merged, other) = profiles.entry(profile).or_default();
            match serde_saphyr::from_str::<Value>(fix) {
                Ok(Value::Object(map)) => merge(merged, Value::Object(map)),
                // `none: …` is a mapping too, with a sentence for a value.
                _ => other.push(fix),
            }
        }
        let mut text = String::new();
        for (profile, (mut merged, mut other)) in profiles {
            let mut none = Vec::new();
            if let Some(map) = merged.as_object_mut() {
                map.retain(|key, value| {
                    let sentence = key.starts_with("none");
                    if sentence {
                        none.push(format!("{key}: {}", value.as_str().unwrap_or_default()));
                    }
                    !sentence
                });
                for list in map
                    .get_mut("files")
                    .and_then(Value::as_object_mut)
                    .into_iter()
                    .flatten()
                {
                    without_beneath(list.1);
                }
                if !map.is_empty() {
                    text += &format!(
                        "mantlet: to allow that, add to profile {}, or to one that extends it:\n",
                        escape(profile)
                    );
                    text += &yaml(&merged, 2);
                }
            }
            other.extend(none.iter().map(String::as_str));
            other.sort_unstable();
            other.dedup();
            for line in other.iter().filter(|line| !line.is_empty()) {
                text += &format!("mantlet: {}: {}\n", escape(profile), escape(line));
            }
        }
        text
    }
}

/// Maps are united, lists joined with each entry once; of two other values the first stays.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(there) => merge(there, value),
                    None => drop(into.insert(key, value)),
                }
            }
        }
        (Value::Array(into), Value::Array(from)) => {
            for value in from {
                if !into.contains(&value) {
                    into.push(value);
                }
            }
        }
        (into @ Value::Null, from) => *into = from,
        _ => {}
    }
}

/// Leaves out paths beneath another one of the same list, which covers them. A file that a run has made need
/// not be there when the next one begins, and a path that is not there refuses the container.
fn without_beneath(list: &mut Value) {
    let Some(entries) = list.as_array_mut() else {
        return;
    };
    let all: Vec<String> = entries
        .iter()
        .filter_map(|entry| entry.as_str().map(str::to_owned))
        .collect();
    entries.retain(|entry| {
        let Some(path) = entry.as_str() else {
            return true;
        };
        let above = |other: &&String| *other != path && Path::new(path).starts_with(other);
        !all.iter().any(|other| above(&other))
    });
}

/// Mappings as blocks, and what is in lists as one line each, which JSON's own form is.
fn yaml(value: &Value, depth: usize) -> String {
    let indent = " ".repeat(depth);
    let Value::Object(map) = value else {
        return String::new();
    };
    let mut text = String::new();
    for (key, value) in map {
        let key = scalar(key);
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text += &format!("{indent}{key}:\n{}", yaml(value, depth + 2));
            }
            Value::Array(items) if !items.is_empty() => {
                text += &format!("{indent}{key}:\n");
                for item in items {
                    text += &format!("{indent}  - {}\n", flow(item));
                }
            }
            _ => text += &format!("{indent}{key}: {}\n", flow(value)),
        }
    }
    text
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs = map
                .iter()
                .map(|(key, value)| format!("{}: {}", scalar(key), flow(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!(
                "[{}]",
                items.iter().map(flow).collect::<Vec<_>>().join(", ")
            )
        }
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{Identity, VERSION};

    fn tally(fixes: &[(&str, &str, &str)]) -> Tally {
        let mut tally = Tally::default();
        for (profile, what, fix) in fixes {
            let key = [profile, what, fix].map(|text| (*text).to_owned()).into();
            *tally.seen.entry(key).or_default() += 1;
        }
        tally
    }

    #[test]
    fn fixes_of_a_profile_become_one_snippet_that_is_yaml_and_says_the_same() {
        let narrow =
            "syscalls: {allow: [{name: ioctl, args: [{index: 1, op: eq, value: 0x5412}]}]}";
        let summary = tally(&[
            ("web", "bpf", "syscalls: {allow: [bpf]}"),
            ("web", "bpf", "syscalls: {allow: [bpf]}"),
            ("web", "keyctl", "syscalls: {allow: [keyctl]}"),
            ("web", "ioctl", narrow),
            ("web", "read-file /etc/x", "files: {read: [\"/etc/a b\"]}"),
            (
                "web",
                "mount",
                "none: mount is denied in every Landlock domain; use a volume",
            ),
        ])
        .summary(false);
        assert!(summary.contains("6 times in all"), "{summary}");
        assert!(summary.contains("    2 ×  bpf\n"), "{summary}");
        assert!(
            summary.contains("mantlet: web: none: mount is denied"),
            "{summary}"
        );
        let lines: Vec<&str> = summary
            .lines()
            .filter(|line| line.starts_with("  ") && !line.contains('×'))
            .collect();
        let read: Value = serde_saphyr::from_str(&lines.join("\n")).unwrap();
        assert_eq!(
            read,
            json!({"files": {"read": ["/etc/a b"]}, "syscalls": {"allow": ["bpf",
                {"name": "ioctl", "args": [{"index": 1, "op": "eq", "value": 0x5412}]}, "keyctl"]}})
        );
    }

    #[test]
    fn what_was_lost_is_said_with_its_cause_and_once() {
        let event = |seq, what| Event {
            version: VERSION,
            seq,
            time: String::new(),
            container: Identity::default(),
            handler: String::new(),
            profiles: Vec::new(),
            policy: String::new(),
            what,
        };
        let suppressed = |count, of: &str| What::Suppressed {
            count,
            of: of.into(),
        };
        let mut tally = Tally::default();
        tally.count(&event(1, suppressed(2, "tripwire mount")));
        tally.count(&event(2, suppressed(3, "observed file")));
        tally.broken();
        let cause = "calls went on without being looked at".into();
        tally.count(&event(8, What::Lost { count: 4, cause }));
        assert_eq!(
            tally.summary(false),
            "mantlet: 2 more came too fast to be told\n\
             mantlet: 4 events are LOST: calls went on without being looked at\n\
             mantlet: 3 events are LOST: faster than the journal takes them\n\
             mantlet: 1 events are LOST: lines of the journal that are no events\n"
        );
    }

    #[test]
    fn a_folder_covers_what_is_beneath_it() {
        let summary = tally(&[
            ("web", "a", "files: {read_write: [/etc, /var/x]}"),
            (
                "web",
                "b",
                "files: {read_write: [/etc/new], read: [/etc/other]}",
            ),
        ])
        .summary(false);
        assert!(
            summary.contains("- /etc\n") && summary.contains("- /var/x\n"),
            "{summary}"
        );
        assert!(
            summary.contains("- /etc/other\n"),
            "another list: {summary}"
        );
        assert!(!summary.contains("/etc/new"), "{summary}");
    }

    #[test]
    fn each_layer_has_its_own_and_nothing_denied_says_nothing() {
        let summary = tally(&[
            ("a", "bpf", "syscalls: {allow: [bpf]}"),
            ("b", "acct", "syscalls: {allow: [acct]}"),
        ])
        .summary(true);
        assert!(summary.contains("would be denied"));
        assert!(summary.contains("add to profile a") && summary.contains("add to profile b"));
        assert_eq!(Tally::default().summary(false), "");
    }

    #[test]
    fn what_a_profile_that_only_looks_would_deny_was_not_denied() {
        let told = |denied: bool| {
            serde_json::from_value::<Event>(json!({
                "version": 2, "seq": 1, "time": "2026-01-01T00:00:00.000000Z", "container": {"id": "c"},
                "handler": "h", "profiles": ["web"], "policy": "", "type": "observed",
                "process": {"pid": 1, "ppid": 0, "uid": 0, "comm": "x", "exe": "/x"},
                "session": "workload", "phase": "start-up", "denied": denied, "profile": "web",
                "access": {"kind": "syscall", "name": "bpf"}, "fix": "syscalls: {allow: [bpf]}"
            }))
            .unwrap()
        };
        let mut tally = Tally::default();
        tally.count(&told(false));
        assert!(tally.summary(false).contains("what would be denied, once:"));
        tally.count(&told(true));
        let both = tally.summary(false);
        assert!(
            both.contains("what was denied, or would be, 2 times"),
            "{both}"
        );
    }
}
