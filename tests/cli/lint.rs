//! `lint`: what it prints and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::node::Node;
use super::{code, err, out};

const CALLS: &str = "syscalls: {groups: '2026.1', allow: ['@default']}\n";
const TESTS: &str = "tests: [{syscall: mount, expect: denied}]\n";

/// A folder with `web.yaml`.
fn web(node: &Node, text: &str) -> String {
    let path = node.path.join("web.yaml");
    fs::write(&path, format!("version: 1\nname: web\n{text}{TESTS}")).unwrap();
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
    // One that is not there takes nothing from what is said of the others.
    let warned = web(&node, &format!("{CALLS}capabilities: [SYS_ADMIN]\n"));
    for word in ["json", "sarif", "text"] {
        let ran = node.run(&["lint", "--format", word, "/nosuch/web.yaml", &warned]);
        code(&ran, 1);
        assert!(out(&ran).contains("M101"), "{}", out(&ran));
        assert!(err(&ran).contains("/nosuch/web.yaml"), "{}", err(&ran));
    }
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
fn the_sites_file_is_read_as_create_reads_it() {
    let node = Node::new();
    let folder = node.path.join("profiles");
    fs::create_dir(&folder).unwrap();
    node.configure(&format!("profiles_dir: {}\n", folder.display()));
    let path = folder.join("web.yaml");
    let text = format!("version: 1\nname: web\n{CALLS}{TESTS}");
    fs::write(&path, &text).unwrap();
    code(&node.run(&["lint", "web"]), 0);
    // Too large, though all of it is right.
    fs::write(&path, format!("{text}#{}\n", "x".repeat(1 << 20))).unwrap();
    let ran = node.run(&["lint", "web"]);
    code(&ran, 1);
    assert!(out(&ran).contains("error[M001]") && out(&ran).contains("at most 1 MiB"));
    // Whoever can write it decides what holds.
    fs::write(&path, &text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let ran = node.run(&["lint", "web"]);
    code(&ran, 1);
    let said = out(&ran);
    assert!(
        said.contains("error[M001]") && said.contains("writable by everyone"),
        "{said}"
    );
    // A file that is named is the one that is meant, whoever may write it.
    code(&node.run(&["lint", path.to_str().unwrap()]), 0);
}

#[test]
fn a_kernel_may_be_asked_about_that_this_node_does_not_have() {
    let node = Node::new();
    let text = format!("{CALLS}requires: {{degrade: [network]}}\nnetwork: {{bind_tcp: [80]}}\n");
    let path = web(&node, &text);
    code(&node.run(&["lint", "--deny", "warnings", &path]), 0);
    let old = node.run(&["lint", "--deny", "warnings", "--landlock-abi", "3", &path]);
    code(&old, 1);
    let told = "warning[M503]: on Landlock ABI 3 TCP is free";
    assert!(out(&old).contains(told), "{}", out(&old));
    let new = node.run(&["lint", "--landlock-abi", "4", &path]);
    assert!(!out(&new).contains("M50"), "{}", out(&new));
    code(&node.run(&["lint", "--landlock-abi", "four", &path]), 2);
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

/// What SARIF 2.1.0 (OASIS standard, sections 3.13 to 3.52) says of all that a log of ours has: nothing else may
/// be in it here, so that whatever is added has to be looked up first.
fn sarif() -> Value {
    let object = |required: &[&str], properties: Value| {
        json!({"type": "object", "required": required, "properties": properties,
               "additionalProperties": false})
    };
    let level = json!({"enum": ["none", "note", "warning", "error"]});
    let text = object(
        &["text"],
        json!({"text": {"type": "string", "minLength": 1}}),
    );
    let rule = object(
        &["id"],
        json!({"id": {"type": "string"}, "shortDescription": text,
               "defaultConfiguration": object(&[], json!({"level": level}))}),
    );
    let rules = json!({"type": "array", "items": rule, "uniqueItems": true});
    let driver = object(
        &["name"],
        json!({"name": {"type": "string"}, "semanticVersion": {"type": "string"}, "rules": rules}),
    );
    let position = json!({"type": "integer", "minimum": 1});
    let region = object(&[], json!({"startLine": position, "startColumn": position}));
    let place = object(
        &["artifactLocation"],
        json!({"artifactLocation": object(&[], json!({"uri": {"type": "string", "pattern": "^[^ \\\\]+$"}})),
               "region": region}),
    );
    let location = object(&[], json!({"physicalLocation": place}));
    let result = object(
        &["message"],
        json!({"ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": -1},
               "level": level, "message": text,
               "locations": {"type": "array", "items": location}}),
    );
    let run = object(
        &["tool"],
        json!({"tool": object(&["driver"], json!({"driver": driver})),
               "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
               "results": {"type": "array", "items": result}}),
    );
    object(
        &["version", "runs"],
        json!({"$schema": {"type": "string", "format": "uri"}, "version": {"enum": ["2.1.0"]},
               "runs": {"type": "array", "items": run}}),
    )
}

#[test]
fn a_sarif_log_is_what_the_standard_says() {
    let node = Node::new();
    // The whole schema, where somebody has it: `sarif-schema-2.1.0.json` of oasis-tcs/sarif-spec.
    let whole = std::env::var_os("MANTLET_SARIF_SCHEMA");
    let whole = whole.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap());
    let schemas: Vec<_> = [sarif()].into_iter().chain(whole).collect();
    let missing = node.path.join("a b.yaml").to_str().unwrap().to_owned();
    fs::write(&missing, "version: 1\nname: a b\nscope: [signals]\n").unwrap();
    let found = web(
        &node,
        &format!("{CALLS}capabilities: [SYS_ADMIN, SETFCAP]\nmode: audit\n"),
    );
    for words in [
        &["restricted"][..],
        &[&found],
        &[&missing, &found],
        &["nosuch"],
    ] {
        let ran = node.run(&[&["lint", "--format", "sarif"], words].concat());
        let log: Value = serde_json::from_str(&out(&ran)).unwrap();
        for schema in &schemas {
            let judge = jsonschema::validator_for(schema).unwrap();
            let wrong: Vec<String> = judge
                .iter_errors(&log)
                .map(|e| format!("{} at {}", e, e.instance_path()))
                .collect();
            assert!(wrong.is_empty(), "{wrong:#?}\n{log:#}");
        }
        // Of each result, its rule is the one that it points to.
        let run = &log["runs"][0];
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(
                run["tool"]["driver"]["rules"][index]["id"],
                result["ruleId"]
            );
        }
    }
}
