//! `lint`: what it prints and how it ends.

use std::fs;

use serde_json::Value;

use super::node::Node;
use super::{code, out};

const CALLS: &str = "syscalls: {groups: '2026.1', allow: ['@default']}\n";

/// A folder with `web.yaml`.
fn web(node: &Node, text: &str) -> String {
    let path = node.path.join("web.yaml");
    fs::write(&path, format!("version: 1\nname: web\n{text}")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn exit_codes_tell_errors_warnings_and_wrong_usage() {
    let node = Node::new();
    let clean = web(&node, CALLS);
    let ran = node.run(&["lint", &clean]);
    code(&ran, 0);
    assert_eq!(out(&ran), "nothing found\n");
    let warned = web(&node, &format!("{CALLS}capabilities: [SYS_ADMIN]\n"));
    let ran = node.run(&["lint", &warned]);
    code(&ran, 0);
    let text = out(&ran);
    assert!(
        text.starts_with("warning[M101]: SYS_ADMIN without a reason"),
        "{text}"
    );
    assert!(
        text.contains("4 | capabilities: [SYS_ADMIN]\n  |                ^^^^^^^^^\n"),
        "{text}"
    );
    assert!(text.ends_with("\n1 warning\n"), "{text}");
    code(&node.run(&["lint", "--deny", "warnings", &warned]), 1);
    let wrong = web(
        &node,
        &format!("{CALLS}scope: [signals]\ncapabilitys: []\n"),
    );
    let ran = node.run(&["lint", &wrong]);
    code(&ran, 1);
    assert!(out(&ran).ends_with("2 errors\n"), "{}", out(&ran));
    code(&node.run(&["lint"]), 2);
    code(&node.run(&["lint", "--format", "xml", &clean]), 2);
    code(&node.run(&["lint", "/nosuch/web.yaml"]), 1);
    code(&node.run(&["lint", "nosuch"]), 1);
    code(
        &node.run(&[
            "lint",
            "--deny",
            "warnings",
            "baseline",
            "restricted",
            "watched",
        ]),
        0,
    );
}

#[test]
fn programs_get_json_and_sarif() {
    let node = Node::new();
    let path = web(&node, &format!("{CALLS}capabilities: [SYS_ADMIN]\n"));
    let json: Value =
        serde_json::from_str(&out(&node.run(&["lint", "--format", "json", &path]))).unwrap();
    assert_eq!(json[0]["code"], "M101");
    assert_eq!(
        (&json[0]["line"], &json[0]["column"]),
        (&4.into(), &16.into())
    );
    assert_eq!(json[0]["file"], path.as_str());
    let ran = node.run(&["lint", "--format", "sarif", "--deny", "warnings", &path]);
    code(&ran, 1);
    let sarif: Value = serde_json::from_str(&out(&ran)).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let result = &run["results"][0];
    // What SARIF 2.1.0 requires of a result and of its rule (sections 3.27 and 3.49).
    let index = result["ruleIndex"].as_u64().unwrap();
    assert_eq!(
        run["tool"]["driver"]["rules"][usize::try_from(index).unwrap()]["id"],
        "M101"
    );
    assert_eq!(result["level"], "warning");
    assert!(
        result["message"]["text"]
            .as_str()
            .unwrap()
            .contains("SYS_ADMIN")
    );
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], 4);
    assert!(
        place["artifactLocation"]["uri"]
            .as_str()
            .unwrap()
            .starts_with("file:///")
    );
}

#[test]
fn a_parent_is_found_beside_the_file() {
    let node = Node::new();
    let parent = node.path.join("own.yaml");
    fs::write(parent, format!("version: 1\nname: own\n{CALLS}")).unwrap();
    let path = web(&node, "extends: [own]\n");
    code(&node.run(&["lint", &path]), 0);
}
