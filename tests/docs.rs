//! The documentation is true as far as a machine can tell: links lead somewhere, examples parse,
//! messages that it quotes are in the source, and commands that cost nothing are run.
//!
//! A fenced block says by the second word after its fence how it is checked: `yaml config`,
//! `yaml layers`, `yaml profile`, `json event`, `sh install`, `sh containerd`. Every other `sh` block is only read
//! by the shell.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mantlet::config::Config;
use mantlet::event::{Event, What};
use mantlet::profile::Profile;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below `folder` with this ending, what is built or hidden left out.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(top(), ".md", &mut found);
    assert!(found.contains(&top().join("README.md")));
    found
}

/// One fenced block.
struct Block {
    page: PathBuf,
    /// The words after the fence.
    kind: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    for page in pages() {
        let text = read(&page);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(kind) = line.strip_prefix("```") else {
                continue;
            };
            let inside = lines.by_ref().take_while(|line| *line != "```");
            found.push(Block {
                page: page.clone(),
                kind: kind.to_owned(),
                text: inside.fold(String::new(), |all, line| all + line + "\n"),
            });
        }
    }
    found
}

fn of_kind(kind: &str) -> Vec<Block> {
    let found: Vec<Block> = blocks().into_iter().filter(|b| b.kind == kind).collect();
    assert!(!found.is_empty(), "no page has a block `{kind}` any more");
    found
}

/// Targets of `[text](target)`, blocks left out.
fn links(text: &str) -> Vec<String> {
    let mut fenced = false;
    let prose = text.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && !line.starts_with("    ")
    });
    let mut found = Vec::new();
    for line in prose {
        for part in line.split("](").skip(1) {
            found.extend(part.split_once(')').map(|(target, _)| target.to_owned()));
        }
    }
    found
}

#[test]
fn every_relative_link_leads_to_a_file() {
    for page in pages() {
        for link in links(&read(&page)) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let target = link.split('#').next().unwrap_or_default();
            let path = page.parent().expect("in a folder").join(target);
            assert!(path.exists(), "{}: {link} leads nowhere", page.display());
        }
    }
}

#[test]
fn the_front_page_links_every_folders_page() {
    let linked = links(&read(&top().join("README.md")));
    for page in pages() {
        let name = page.strip_prefix(top()).expect("below it");
        let name = name.to_str().expect("UTF-8");
        assert!(
            name == "README.md" || linked.iter().any(|link| link == name),
            "README.md does not lead to {name}"
        );
    }
}

#[test]
fn the_configuration_shown_is_the_default() {
    for block in of_kind("yaml config") {
        let config = Config::parse(&block.text, &block.page).expect("a configuration");
        assert_eq!(config, Config::embedded(), "{}", block.page.display());
    }
}

#[test]
fn every_part_of_a_configuration_shown_is_one() {
    for block in of_kind("yaml layers") {
        let config = Config::parse(&block.text, &block.page).expect("a configuration");
        assert_ne!(config, Config::embedded(), "{}", block.page.display());
    }
}

#[test]
fn every_profile_shown_resolves() {
    for block in of_kind("yaml profile") {
        let name = block
            .text
            .lines()
            .find_map(|l| l.strip_prefix("name: "))
            .unwrap_or_else(|| panic!("{}: a profile without a name", block.page.display()));
        if let Err(error) = Profile::parse(name, &block.text) {
            panic!("{}: {error}", block.page.display());
        }
    }
}

/// The compiler asks for a line here when the schema grows, and the test then for an example.
fn tag(what: &What) -> &'static str {
    match what {
        What::Start { .. } => "start",
        What::Tripwire { .. } => "tripwire",
        What::Suppressed { .. } => "suppressed",
        What::Failed { .. } => "failed",
        What::Exit { .. } => "exit",
        What::End { .. } => "end",
        What::Detection { .. } => "detection",
        What::Response { .. } => "response",
        What::Watcher { .. } => "watcher",
        What::Lost { .. } => "lost",
        What::Overflow { .. } => "overflow",
        // Shown where its modes are.
        What::Observed { .. } => "observed",
    }
}

#[test]
fn every_event_shown_is_whole_and_every_type_is_shown() {
    let mut shown = BTreeSet::new();
    for block in of_kind("json event") {
        for line in block.text.lines() {
            let event: Event = serde_json::from_str(line).expect(line);
            let back = serde_json::to_value(&event).expect("an event");
            let written: serde_json::Value = serde_json::from_str(line).expect(line);
            assert_eq!(back, written, "keys that no event has, or too few");
            assert_eq!(event.version, mantlet::event::VERSION);
            shown.insert(tag(&event.what));
        }
    }
    let all = [
        "detection",
        "end",
        "exit",
        "failed",
        "lost",
        "observed",
        "overflow",
        "response",
        "start",
        "suppressed",
        "tripwire",
        "watcher",
    ];
    assert_eq!(shown, BTreeSet::from(all));
}

fn shell(program: &str, args: &[&str], text: &str, folder: &Path) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("a reading shell");
    drop(input);
    child.wait_with_output().expect("its end")
}

/// Runs `text` as a person would who stops at the first error.
fn run(text: &str, folder: &Path) {
    let output = shell("sh", &["-eu", "-s"], text, folder);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{said}");
}

#[test]
fn every_command_is_one_to_the_shell_and_names_scripts_that_exist() {
    for block in blocks().iter().filter(|b| b.kind.starts_with("sh")) {
        let output = shell("sh", &["-n", "-s"], &block.text, top());
        assert!(output.status.success(), "{}", block.text);
        for word in block.text.split_whitespace() {
            let ours = ["hack/", "containerd-config/", "profiles/"];
            if ours.iter().any(|folder| word.starts_with(folder)) {
                assert!(top().join(word).exists(), "{word} is not there");
            }
        }
    }
}

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("mantlet-docs-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a scratch folder");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The words as they stand, but for the folder that is built into and the one installed into.
#[test]
fn what_is_installed_as_shown_is_complete() {
    let scratch = Scratch::new("install");
    let built = Path::new(env!("CARGO_BIN_EXE_mantlet")).parent();
    let built = built.expect("in a folder").to_str().expect("UTF-8");
    for block in of_kind("sh install") {
        let place = scratch.0.to_str().expect("UTF-8");
        assert!(block.text.contains("/usr/local/bin/"));
        let text = block
            .text
            .replace("/usr/local/bin", place)
            .replace("target/x86_64-unknown-linux-gnu/release", built);
        run(&text, top());
    }
    for handler in Config::embedded().handlers.keys() {
        let link = scratch.0.join(format!("mantlet-{handler}"));
        if handler == "learn" {
            // It denies nothing: whoever wants it makes the link.
            assert!(!link.exists());
            continue;
        }
        let link = fs::read_link(link);
        assert_eq!(link.expect("a link"), Path::new("mantlet-runtime"));
    }
    let mut version = Command::new(scratch.0.join("mantlet"));
    let output = version.arg("--version").output().expect("mantlet");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("init: sha256:"), "{said}");
    for name in ["mantlet-init", "mantlet-supervisor"] {
        let found = doctor_on(&scratch.0, name);
        assert_eq!(found["level"], "ok", "{found}");
    }
}

/// What the installed `mantlet doctor` finds about one program; its exit code is about the node.
fn doctor_on(folder: &Path, name: &str) -> serde_json::Value {
    let config = folder.join("config.yaml");
    fs::write(&config, "version: 1\n").expect("a file");
    let output = Command::new(folder.join("mantlet"))
        .args(["doctor", "--json"])
        .env("MANTLET_CONFIG", config)
        .output()
        .expect("mantlet");
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = all["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["name"] == name);
    found.expect("a check of the program").clone()
}

#[test]
fn containerds_file_has_one_version_and_our_handlers_after_what_is_shown() {
    let scratch = Scratch::new("containerd");
    let file = scratch.0.join("config.toml");
    fs::write(&file, "version = 2\n").expect("a file");
    for block in of_kind("sh containerd") {
        let path = file.to_str().expect("UTF-8");
        run(
            &block.text.replace("/etc/containerd/config.toml", path),
            top(),
        );
    }
    let text = read(&file);
    let versions = text.lines().filter(|line| line.starts_with("version"));
    assert_eq!(versions.count(), 1);
    for handler in Config::embedded().handlers.keys() {
        let line = format!("BinaryName = \"/usr/local/bin/mantlet-{handler}\"");
        assert!(text.contains(&line), "{text}");
    }
}

/// Source text with continued string literals joined, as the compiler joins them.
fn source() -> String {
    let mut found = Vec::new();
    files(&top().join("src"), ".rs", &mut found);
    let mut all = String::new();
    for file in found {
        let text = read(&file);
        let mut pieces = text.split("\\\n");
        all.push_str(pieces.next().unwrap_or_default());
        pieces.for_each(|piece| all.push_str(piece.trim_start()));
    }
    all
}

#[test]
fn every_message_in_troubleshooting_is_in_the_source() {
    let page = read(&top().join("README.md"));
    let (_, section) = page.split_once("## Troubleshooting").expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let quoted: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert!(quoted.len() > 5, "the table has another form");
    let source = source();
    for message in quoted {
        assert!(source.contains(message), "no message says {message:?}");
    }
}

/// Names in backquotes that end like a file or a folder.
#[test]
fn every_file_that_the_tour_names_is_there() {
    let mut all = Vec::new();
    files(&top().join("src"), "", &mut all);
    let page = read(&top().join("src/README.md"));
    let names = page.split('`').skip(1).step_by(2);
    for name in names.filter(|name| name.ends_with(".rs") || name.ends_with('/')) {
        let known = top().join("src").join(name).exists()
            || top().join(name).exists()
            || all.iter().any(|path| path.ends_with(name));
        assert!(known, "src/README.md names {name}, which is not there");
    }
}
