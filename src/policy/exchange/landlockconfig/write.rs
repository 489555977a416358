//! A ruleset as landlockconfig's text: each right by its name, what shares its rights together.

use std::collections::BTreeMap;

use landlock::{Access, BitFlags};

use super::{Config, FILES, Form, SCOPES, TCP};

impl Config {
    /// Writes it, each right by its name.
    #[must_use]
    pub fn write(&self, form: Form) -> String {
        let mut set = Vec::new();
        let key = |camel: &'static str, snake: &'static str| {
            if form == Form::Json { camel } else { snake }
        };
        for (name, words) in [
            (
                key("handledAccessFs", "handled_access_fs"),
                words(self.handled_fs, &FILES),
            ),
            (
                key("handledAccessNet", "handled_access_net"),
                words(self.handled_net, &TCP),
            ),
            ("scoped", words(self.scoped, &SCOPES)),
        ] {
            if !words.is_empty() {
                set.push((name, list(&words)));
            }
        }
        let allowed = key("allowedAccess", "allowed_access");
        let paths = by_rights(&self.paths, &FILES)
            .into_iter()
            .map(|(rights, paths)| {
                let paths: Vec<String> = paths
                    .into_iter()
                    .map(|path| path.replace('$', "$$"))
                    .collect();
                vec![(allowed, rights), ("parent", list(&paths))]
            });
        let ports = by_rights(&self.ports, &TCP)
            .into_iter()
            .map(|(rights, ports)| {
                let ports: Vec<String> = ports.into_iter().map(u16::to_string).collect();
                vec![
                    (allowed, rights),
                    ("port", format!("[{}]", ports.join(", "))),
                ]
            });
        let tables = [
            ("ruleset", vec![set]),
            (key("pathBeneath", "path_beneath"), paths.collect()),
            (key("netPort", "net_port"), ports.collect()),
        ];
        let tables = tables
            .into_iter()
            .filter(|(_, all)| all.iter().any(|one| !one.is_empty()));
        match form {
            Form::Json => written_json(tables),
            Form::Toml => written_toml(tables),
        }
    }
}

type Table = Vec<(&'static str, String)>;

fn written_json(tables: impl Iterator<Item = (&'static str, Vec<Table>)>) -> String {
    let one = |table: &Table| {
        let keys: Vec<String> = table
            .iter()
            .map(|(key, value)| format!("      \"{key}\": {value}"))
            .collect();
        format!("    {{\n{}\n    }}", keys.join(",\n"))
    };
    let tables: Vec<String> = tables
        .map(|(name, all)| {
            let all: Vec<String> = all.iter().map(one).collect();
            format!("  \"{name}\": [\n{}\n  ]", all.join(",\n"))
        })
        .collect();
    format!("{{\n{}\n}}\n", tables.join(",\n"))
}

fn written_toml(tables: impl Iterator<Item = (&'static str, Vec<Table>)>) -> String {
    let mut out = String::new();
    for (name, all) in tables {
        for table in all {
            let begin = if out.is_empty() { "" } else { "\n" };
            out += &format!("{begin}[[{name}]]\n");
            for (key, value) in table {
                out += &format!("{key} = {}\n", value.replace('\u{7f}', "\\u007f"));
            }
        }
    }
    out
}

fn words<A: Access>(rights: BitFlags<A>, known: &[(&str, A)]) -> Vec<String> {
    let found = known.iter().filter(|(_, right)| rights.contains(*right));
    found.map(|(name, _)| (*name).to_owned()).collect()
}

/// As JSON has it, which is TOML's too but for one character.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// What shares its rights, together.
fn by_rights<'a, K: Ord, A: Access>(
    rules: &'a BTreeMap<K, BitFlags<A>>,
    known: &[(&str, A)],
) -> BTreeMap<String, Vec<&'a K>> {
    let mut all: BTreeMap<String, Vec<&K>> = BTreeMap::new();
    for (key, rights) in rules {
        let words = words(*rights, known);
        if !words.is_empty() {
            all.entry(list(&words)).or_default().push(key);
        }
    }
    all
}
