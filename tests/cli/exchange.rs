//! `import` and `export`: goldens (bless with `MANTLET_BLESS=1 cargo test --test cli exchange`), where results
//! and notes go, and exit codes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use super::node::Node;
use super::{code, err, out};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/exchanged")
}

fn fixture(name: &str) -> String {
    folder().join(name).display().to_string()
}

/// Runs in the folder of the fixtures, so that no path of this machine gets into a golden.
fn run(node: &Node, args: &[&str]) -> std::process::Output {
    node.command(args).current_dir(folder()).output().unwrap()
}

#[track_caller]
fn golden(name: &str, found: &str) {
    let path = folder().join("golden").join(name);
    if std::env::var_os("MANTLET_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let wanted = fs::read_to_string(&path).expect("bless with MANTLET_BLESS=1");
    assert!(
        found == wanted,
        "{name} has changed; bless it and see git diff\n{found}"
    );
}

/// What a ruleset's profile has of `baseline` is that file's own business.
fn without_baseline(text: &str) -> String {
    match (text.find("    - \"@aio\"\n"), text.find("\nfiles:\n")) {
        (Some(from), Some(to)) => format!("{}    # …\n{}", &text[..from], &text[to..]),
        _ => text.to_owned(),
    }
}

#[test]
fn what_is_made_is_what_it_was() {
    let node = Node::new();
    for (name, args) in [
        ("imported-seccomp.yaml", &["import", "seccomp.json"][..]),
        (
            "imported-admin.yaml",
            &[
                "import",
                "seccomp.json",
                "--capability",
                "sys_admin",
                "--name",
                "admin",
            ],
        ),
        ("imported-ruleset.yaml", &["import", "ruleset.toml"]),
        (
            "exported-seccomp.json",
            &["export", "web.yaml", "--to", "oci-seccomp"],
        ),
        (
            "exported-manifest.yaml",
            &["export", "web.yaml", "--to", "spo"],
        ),
        (
            "exported-ruleset.json",
            &["export", "web.yaml", "--to", "landlockconfig"],
        ),
        (
            "exported-ruleset.toml",
            &["export", "web.yaml", "--to", "landlockconfig", "--toml"],
        ),
    ] {
        let done = run(&node, args);
        code(&done, 0);
        golden(name, &without_baseline(&out(&done)));
        golden(&format!("{name}.notes"), &err(&done));
    }
}

#[test]
fn a_result_goes_where_it_is_sent_and_its_name_is_the_files() {
    let node = Node::new();
    let file = node.path.join("site.yaml");
    let shown = file.display().to_string();
    let done = run(&node, &["import", "seccomp.json", "-o", &shown]);
    code(&done, 0);
    assert!(done.stdout.is_empty() && err(&done).contains("note: "));
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .contains("name: \"site\"")
    );
    // Nothing is written over but by order.
    fs::write(&file, "mine").unwrap();
    let refused = run(&node, &["import", "seccomp.json", "-o", &shown]);
    code(&refused, 1);
    assert!(err(&refused).contains("--force"), "{}", err(&refused));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let words = ["import", "seccomp.json", "-o", &shown, "--force"];
    code(&run(&node, &words), 0);
    // What was imported is a profile that can be exported again, by its file.
    let toml = node.path.join("x.toml").display().to_string();
    code(&run(&node, &["export", &shown, "--to", "oci-seccomp"]), 0);
    code(
        &run(
            &node,
            &["export", "web.yaml", "--to", "landlockconfig", "-o", &toml],
        ),
        0,
    );
    assert!(
        fs::read_to_string(&toml)
            .unwrap()
            .starts_with("[[ruleset]]")
    );
    let json = run(&node, &["import", "seccomp.json", "--json"]);
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(value["text"].as_str().unwrap().contains("version: 1") && value["file"].is_null());
    assert!(!value["notes"].as_array().unwrap().is_empty() && json.stderr.is_empty());
}

#[test]
fn stdin_is_a_file_too() {
    let node = Node::new();
    let text = fs::read(folder().join("seccomp.json")).unwrap();
    let mut command = node.command(&["import", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let done = child.wait_with_output().unwrap();
    code(&done, 0);
    assert!(out(&done).contains("from stdin") && out(&done).contains("name: \"imported\""));
}

#[test]
fn a_profile_that_ships_needs_its_container_for_the_rules_on_files() {
    let node = Node::new();
    let alone = run(&node, &["export", "restricted", "--to", "landlockconfig"]);
    code(&alone, 1);
    assert!(err(&alone).contains("`@volumes` in `files`") && err(&alone).contains("--bundle DIR"));
    let bundle = node.path.join("bundle");
    fs::create_dir_all(bundle.join("rootfs/usr/bin")).unwrap();
    fs::create_dir_all(bundle.join("rootfs/data")).unwrap();
    fs::write(bundle.join("rootfs/init"), "").unwrap();
    std::os::unix::fs::symlink("/etc", bundle.join("rootfs/link")).unwrap();
    let config = json!({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": [
        {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "rw"]}]});
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    let shown = bundle.display().to_string();
    let done = run(
        &node,
        &[
            "export",
            "restricted",
            "--to",
            "landlockconfig",
            "--bundle",
            &shown,
        ],
    );
    code(&done, 0);
    let ruleset: Value = serde_json::from_slice(&done.stdout).unwrap();
    let executes = |path: &str| {
        ruleset["pathBeneath"]
            .as_array()
            .unwrap()
            .iter()
            .any(|rule| {
                let has =
                    |key: &str, word: &str| rule[key].as_array().unwrap().contains(&json!(word));
                has("allowedAccess", "execute") && has("parent", path)
            })
    };
    assert!(executes("/usr") && executes("/init"));
    assert!(!executes("/data") && !executes("/") && !executes("/link"));
    let missing = run(
        &node,
        &[
            "export",
            "restricted",
            "--to",
            "landlockconfig",
            "--bundle",
            "/nowhere",
        ],
    );
    code(&missing, 1);
    assert!(err(&missing).contains("/nowhere/config.json"));
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_ends_with_1() {
    let node = Node::new();
    let wrong = node.path.join("wrong.json");
    let shown = wrong.display().to_string();
    for (text, words) in [
        ("{\n \"defaultAction\": \"SCMP_ACT_ALOW\"}", "wrong.json:2:"),
        (
            "{\"ruleset\": [{\"scoped\":\n [\"sginal\"]}]}",
            "wrong.json:2:",
        ),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\"}", "--expand"),
        ("\u{fffd}", "wrong.json:"),
        ("", "wrong.json"),
    ] {
        fs::write(&wrong, text).unwrap();
        let done = node.run(&["import", &shown]);
        code(&done, 1);
        assert!(
            err(&done).contains(words) && done.stdout.is_empty(),
            "{text}: {}",
            err(&done)
        );
    }
    fs::write(&wrong, b"\xff\xfe").unwrap();
    for (args, words) in [
        (&["import", &shown][..], "no UTF-8"),
        (&["import", "/nowhere.json"], "cannot read /nowhere.json"),
        (&["export", "nosuch", "--to", "spo"], "no profile `nosuch`"),
        (&["export", "./nosuch.yaml", "--to", "spo"], "nosuch"),
        (
            &["import", "seccomp.json", "-o", "/nowhere/x.yaml"],
            "cannot write /nowhere/x.yaml",
        ),
    ] {
        let done = run(&node, args);
        code(&done, 1);
        assert!(
            err(&done).contains(words) && done.stdout.is_empty(),
            "{args:?}: {}",
            err(&done)
        );
    }
    // A word of the command line is wrong, which is 2 as all of them are.
    for (option, value, words) in [
        ("--capability", "fly", "unknown capability `fly`"),
        ("--kernel", "new", "no kernel version"),
        ("--name", "../x", "no profile name"),
    ] {
        let done = run(&node, &["import", "seccomp.json", option, value]);
        code(&done, 2);
        assert!(err(&done).contains(words), "{}", err(&done));
    }
    for args in [
        &["import"][..],
        &["export", "web.yaml"],
        &["export", "web.yaml", "--to", "word"],
        &["import", "x", "--as", "y"],
    ] {
        code(&run(&node, args), 2);
    }
    let fixture = fixture("seccomp.json");
    code(
        &node.run(&["import", &fixture, "--as", "landlockconfig"]),
        1,
    );
}
