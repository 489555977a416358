//! The reference of the language has an entry for every key, in the order of systemd.exec(5): value, effect, what it
//! implies, what it does not cover, default, least kernel.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::profile::schema;

const PAGE: &str = include_str!("../../../profiles/README.md");

/// Keys that enforce nothing of their own: of these nobody expects what they do not do.
const DESCRIBE: [&str; 19] = [
    "version",
    "name",
    "description",
    "extends",
    "mode",
    "why",
    "tests",
    "syscalls.groups",
    "detect.name",
    "detect.on",
    "detect.calls",
    "detect.above",
    "detect.after",
    "detect.within",
    "detect.for",
    "detect.then",
    "detect.severity",
    "detect.tags",
    "lint",
];

/// One entry: the keys that it is about, and its text.
struct Entry {
    keys: Vec<String>,
    text: String,
}

fn entries() -> Vec<Entry> {
    let mut all: Vec<(&str, String)> = Vec::new();
    let (mut section, mut open, mut before) = ("", false, "");
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            (section, open) = (title, false);
        } else if line.starts_with("**`") && before.is_empty() {
            all.push((section, String::new()));
            open = true;
        }
        if let Some((_, text)) = all.last_mut().filter(|_| open) {
            *text += line;
            text.push('\n');
        }
        before = line;
    }
    let entry = |(section, text): (&str, String)| Entry {
        keys: keys(section, &text),
        text,
    };
    all.into_iter().map(entry).collect()
}

/// The keys before the dash, and any with a dash of its own. Those of a list of names go by the first one's, those of
/// rules of `detect` by the section.
fn keys(section: &str, text: &str) -> Vec<String> {
    let head = text.find(['—', '\n']).unwrap_or(text.len());
    let head = text.find('—').unwrap_or(head);
    let mut names: Vec<&str> = Vec::new();
    let mut at = 0;
    while let Some(from) = text[at..].find("**`").map(|from| at + from + 3) {
        let Some(to) = text[from..].find("`**").map(|to| from + to) else {
            break;
        };
        at = to + 3;
        if from < head || text[at..].starts_with(" —") {
            names.push(&text[from..to]);
        }
    }
    let group = names.first().and_then(|first| first.split_once('.'));
    let full = |name: &str| match (section, group) {
        ("Detection", _) if !["detect", "on_supervisor_loss"].contains(&name) => {
            format!("detect.{name}")
        }
        ("Admission", _) if name == "host-path" => format!("process.refuse.{name}"),
        (_, Some((group, _))) if !name.contains('.') => format!("{group}.{name}"),
        _ => name.to_owned(),
    };
    names.into_iter().map(full).collect()
}

/// Every key that may be written, with those that it lies in.
fn walk(root: &Value, part: &Value, path: &str, all: &mut BTreeSet<String>) {
    if let Some(name) = part["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").unwrap();
        walk(root, &root["$defs"][name], path, all);
    }
    for (key, inside) in part["properties"].as_object().into_iter().flatten() {
        // Conditions (`if`, `then`) name keys too, and say nothing of them.
        if part["type"] == "object" || path.is_empty() {
            let path = format!("{path}.{key}").trim_start_matches('.').to_owned();
            walk(root, inside, &path, all);
            all.insert(path);
        }
    }
    for list in ["anyOf", "oneOf"] {
        for one in part[list].as_array().into_iter().flatten() {
            walk(root, one, path, all);
        }
    }
    walk_inside(root, &part["items"], path, all);
}

fn walk_inside(root: &Value, part: &Value, path: &str, all: &mut BTreeSet<String>) {
    if part.is_object() {
        walk(root, part, path, all);
    }
}

#[test]
fn every_key_has_an_entry_with_its_default_its_least_kernel_and_what_it_does_not_cover() {
    let root = schema();
    let mut written = BTreeSet::new();
    walk(&root, &root, "", &mut written);
    for known in [
        "requires.degrade",
        "files.execute",
        "detect.respond",
        "tests.expect",
    ] {
        assert!(written.contains(known), "{known} is not in {written:?}");
    }
    let entries = entries();
    let entry = |key: &str| {
        entries
            .iter()
            .find(|one| one.keys.iter().any(|own| own == key))
    };
    let mut wrong = Vec::new();
    for key in &written {
        // Sections of the language: their keys have entries.
        if ["syscalls", "files", "network", "process", "exec"].contains(&key.as_str()) {
            continue;
        }
        let mut path = key.as_str();
        let mut inner = Vec::new();
        let found = loop {
            if let Some(found) = entry(path) {
                break Some(found);
            }
            match path.rsplit_once('.') {
                Some((outer, last)) => {
                    inner.push(last);
                    path = outer;
                }
                None => break None,
            }
        };
        let Some(found) = found else {
            wrong.push(format!("{key} has no entry"));
            continue;
        };
        for word in inner {
            // `why` has an entry of its own, resources are named by getrlimit(2).
            let elsewhere = word == "why" || path == "rlimits";
            let mut words = found
                .text
                .split(|c: char| !(c.is_alphanumeric() || "_-".contains(c)));
            if !elsewhere && !words.any(|one| one == word) {
                wrong.push(format!("{key}: the entry of {path} does not name `{word}`"));
            }
        }
    }
    for one in &entries {
        let name = one.keys.join(", ");
        let mut lacks = |what: &str| wrong.push(format!("{name} does not say its {what}"));
        // Entries about a part of a key have the key's.
        if !one
            .keys
            .iter()
            .any(|key| written.contains(key) || key == "why")
        {
            lacks("key: there is none of that name");
            continue;
        }
        if one.keys.iter().any(|key| key == "process.refuse.host-path") {
            continue;
        }
        if !["Default", "default:", "Required"]
            .iter()
            .any(|word| one.text.contains(word))
        {
            lacks("default");
        }
        if !["ernel", "ABI"].iter().any(|word| one.text.contains(word)) {
            lacks("least kernel");
        }
        let describes = one.keys.iter().all(|key| DESCRIBE.contains(&key.as_str()));
        let flat = one.text.replace('\n', " ");
        if !describes && !flat.contains("not cover") {
            lacks("limits: what it does not cover");
        }
    }
    assert!(
        wrong.is_empty(),
        "profiles/README.md:\n{}",
        wrong.join("\n")
    );
}
