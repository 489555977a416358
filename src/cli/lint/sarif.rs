//! Findings as a SARIF 2.1.0 log (OASIS), with all rules, so that a reader can tell what was looked for.

use serde_json::{Value, json};

use crate::profile::lint::CODES;
use crate::profile::{Finding, Level};

/// The log of one run.
pub fn log(all: &[Finding]) -> Value {
    let rules: Vec<Value> = CODES
        .iter()
        .map(|code| {
            json!({
                "id": code.id,
                "shortDescription": {"text": code.title},
                "defaultConfiguration": {"level": level(code.level)},
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "mantlet lint",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            // Columns count characters, as the editor's do.
            "columnKind": "unicodeCodePoints",
            "results": all.iter().map(result).collect::<Vec<Value>>(),
        }],
    })
}

fn level(level: Level) -> &'static str {
    level.word()
}

fn result(found: &Finding) -> Value {
    let index = CODES.iter().position(|code| Some(code.id) == found.code);
    let message = match &found.help {
        Some(help) => format!("{}: {help}", found.message),
        None => found.message.clone(),
    };
    let mut result = json!({
        "ruleId": found.code,
        "ruleIndex": index,
        "level": level(found.level),
        "message": {"text": message},
    });
    let mut place = json!({"artifactLocation": {"uri": uri(found.origin.file())}});
    // A region begins at 1; what has no line is about the file.
    if found.origin.line() > 0 {
        place["region"] = json!({
            "startLine": found.origin.line(),
            "startColumn": found.origin.column().max(1),
        });
    }
    if found.origin.source().is_some() {
        result["locations"] = json!([{"physicalLocation": place}]);
    }
    result
}

/// A path as a URI reference: what is no plain letter there becomes %XX.
fn uri(path: &str) -> String {
    let mut all = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                all.push(char::from(byte));
            }
            other => all.push_str(&format!("%{other:02X}")),
        }
    }
    if path.starts_with('/') {
        all.insert_str(0, "file://");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_uri() {
        assert_eq!(uri("profiles/a b.yaml"), "profiles/a%20b.yaml");
        assert_eq!(uri("/etc/x.yaml"), "file:///etc/x.yaml");
    }
}
