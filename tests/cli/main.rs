//! Drives the real `mantlet` over a node made of temporary folders.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use mantlet::event::{Event, What};
use serde_json::{Value, json};

mod alarms;
mod catalogue;
mod compare;
mod events;
mod exchange;
mod explain;
mod learned;
mod lint;
mod node;
mod reference;
mod respond;
mod schema;
mod supervisor;
mod tree;
mod wrong;

use node::{Node, event, start, tripwire};

/// A pid that no process has: above the kernel's own limit.
const NO_PROCESS: u32 = 0x0050_0000;

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn code(output: &Output, expected: i32) {
    assert_eq!(
        output.status.code(),
        Some(expected),
        "{}\n{}",
        out(output),
        err(output)
    );
}

#[test]
fn an_empty_node_is_said_kindly_and_is_an_empty_array() {
    let node = Node::new();
    let ps = node.run(&["ps"]);
    code(&ps, 0);
    assert!(out(&ps).is_empty() && err(&ps).contains("no containers"));
    let json = node.run(&["ps", "--json"]);
    code(&json, 0);
    assert_eq!(
        serde_json::from_slice::<Value>(&json.stdout).unwrap(),
        json!([])
    );
    assert!(json.stderr.is_empty());
    let events = node.run(&["events"]);
    code(&events, 0);
    assert!(out(&events).is_empty() && err(&events).contains("no events"));
}

#[test]
fn wrong_usage_ends_with_2_and_a_broken_configuration_with_1() {
    let node = Node::new();
    for args in [
        &["frobnicate"][..],
        &[],
        &["ps", "--jsn"],
        &["inspect"],
        &["events", "-n", "x"],
    ] {
        code(&node.run(args), 2);
    }
    code(&node.run(&["--help"]), 0);
    node.configure("stat_dir: /x\n");
    let broken = node.run(&["ps"]);
    code(&broken, 1);
    assert!(
        err(&broken).contains("config.yaml:3:1: unknown key \"stat_dir\""),
        "{}",
        err(&broken)
    );
    fs::remove_file(node.path.join("config.yaml")).unwrap();
    code(&node.run(&["ps"]), 1);
}

#[test]
fn ps_shows_what_is_enforced() {
    let node = Node::new();
    node.container("abc123", Some(std::process::id()));
    let ps = node.run(&["ps"]);
    code(&ps, 0);
    let line = out(&ps).lines().nth(1).unwrap().to_owned();
    for part in [
        "abc123",
        "prod/shop-0/web",
        "restricted",
        "ABI 7, 1 layer",
        "exact+listener",
        "running",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let rows: Value = serde_json::from_slice(&node.run(&["ps", "--json"]).stdout).unwrap();
    assert_eq!(rows[0]["id"], "abc123");
    assert_eq!(rows[0]["enforced"]["landlock_abi"], 7);
    assert_eq!(rows[0]["supervisor"]["state"], "running");
    assert_eq!(rows[0]["tripwires"], 2);
}

#[test]
fn a_lost_supervisor_is_said_loudly() {
    let node = Node::new();
    node.container("lost", Some(NO_PROCESS));
    let ps = node.run(&["ps"]);
    code(&ps, 0);
    assert!(out(&ps).contains("LOST"));
    assert!(
        err(&ps).contains("container lost has LOST its supervisor"),
        "{}",
        err(&ps)
    );
    let rows: Value = serde_json::from_slice(&node.run(&["ps", "--json"]).stdout).unwrap();
    assert_eq!(rows[0]["supervisor"]["state"], "lost");
}

#[test]
fn a_record_that_cannot_be_read_is_listed_and_fails() {
    let node = Node::new();
    let home = node.container("torn", None);
    fs::write(home.path.join("record.json"), "{").unwrap();
    let ps = node.run(&["ps"]);
    code(&ps, 1);
    assert!(out(&ps).contains("UNKNOWN") && err(&ps).contains("record.json"));
    code(&node.run(&["inspect", "torn"]), 1);
}

#[test]
fn events_show_denials_with_their_fix_and_escape_what_is_hostile() {
    let node = Node::new();
    let hostile = "/tmp/\u{1b}[2J\nroot";
    let events = [event("c1", 1, start()), event("c1", 2, tripwire(hostile))];
    node.journal("c1", &events);
    let human = node.run(&["events"]);
    code(&human, 0);
    let text = out(&human);
    assert!(
        text.contains("prod/shop-0/web  denied mount(0x0, 0x1) = EPERM"),
        "{text}"
    );
    assert!(
        text.contains("\n    fix: syscalls: {allow: [mount]}\n"),
        "{text}"
    );
    assert!(
        text.contains("\\u{1b}[2J\\nroot") && !text.contains('\u{1b}'),
        "{text}"
    );
    assert_eq!(text.lines().count(), 3);
    let lines = out(&node.run(&["events", "--json"]));
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["process"]["exe"], hostile);
    assert_eq!(last["type"], "tripwire");
}

#[test]
fn events_of_one_container_and_the_last_ones_only() {
    let node = Node::new();
    node.journal(
        "aaa",
        &[
            event("aaa", 1, start()),
            event("aaa", 3 - 1, tripwire("/a")),
        ],
    );
    node.journal("bbb", &[event("bbb", 1, start())]);
    assert_eq!(out(&node.run(&["events"])).lines().count(), 4);
    assert_eq!(out(&node.run(&["events", "bb"])).lines().count(), 1);
    let nobody = node.run(&["events", "nosuch"]);
    code(&nobody, 1);
    assert!(err(&nobody).contains("no events of a container \"nosuch\""));
    assert_eq!(
        out(&node.run(&["events", "--container", "aaa"]))
            .lines()
            .count(),
        3
    );
    let last = out(&node.run(&["events", "-n", "1"]));
    assert!(
        last.contains("denied") && last.lines().count() == 2,
        "{last}"
    );
}

#[test]
fn a_gap_and_a_broken_line_are_said_and_fail() {
    let node = Node::new();
    let path = node.journal(
        "c1",
        &[event("c1", 1, start()), event("c1", 5, tripwire("/a"))],
    );
    let gap = node.run(&["events"]);
    code(&gap, 1);
    assert!(
        err(&gap).contains("events 2 to 4 are MISSING"),
        "{}",
        err(&gap)
    );
    assert!(out(&gap).contains("denied"));
    fs::write(&path, "no event\n").unwrap();
    let broken = node.run(&["events"]);
    code(&broken, 1);
    assert!(
        err(&broken).contains("a line is no event"),
        "{}",
        err(&broken)
    );
}

#[test]
fn following_sees_new_lines_and_new_journals_and_ends_with_its_reader() {
    let node = Node::new();
    let mut child = node
        .command(&["events", "-f"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    };
    // Written before or after the watch begins: either way it has to come.
    node.journal("one", &[event("one", 1, start())]);
    assert!(next().contains("started workload"));
    node.journal("one", &[event("one", 2, tripwire("/a"))]);
    assert!(next().contains("denied"));
    assert!(next().contains("fix:"));
    node.journal(
        "two",
        &[event(
            "two",
            1,
            What::End {
                tripwires: 0,
                observed: None,
            },
        )],
    );
    assert!(next().contains("ended"));
    drop(reader);
    // No event wakes it: the closed pipe alone has to.
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn inspect_shows_policy_attestation_and_the_difference() {
    let node = Node::new();
    node.container("abc123", Some(std::process::id()));
    let page = node.run(&["inspect", "abc"]);
    code(&page, 0);
    let text = out(&page);
    for part in [
        "image         nginx:1",
        "ABI 7, 1 layer, 12 rules",
        "exact+listener, 2 in all, 300 instructions",
        "\"files\"",
        "-    \"noNewPrivileges\": false",
        "+    \"noNewPrivileges\": true",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let whole: Value =
        serde_json::from_slice(&node.run(&["inspect", "abc123", "--json"]).stdout).unwrap();
    assert_eq!(whole["record"]["handler"], "restricted");
    assert_eq!(whole["config"]["after"]["process"]["noNewPrivileges"], true);
    assert_eq!(whole["status"]["report"]["landlock_rules"], 12);
}

#[test]
fn inspect_of_a_container_without_a_bundle_still_shows_the_rest() {
    let node = Node::new();
    node.container("gone", None);
    fs::remove_dir_all(node.path.join("bundle-gone")).unwrap();
    let page = node.run(&["inspect", "gone"]);
    code(&page, 0);
    assert!(out(&page).contains("no comparison") && out(&page).contains("nothing attested"));
}

#[test]
fn a_prefix_has_to_be_unique_and_a_whole_id_wins() {
    let node = Node::new();
    for id in ["web", "web1", "web2"] {
        node.container(id, None);
    }
    let ambiguous = node.run(&["inspect", "we"]);
    code(&ambiguous, 1);
    assert!(
        err(&ambiguous).contains("beginning of several ids"),
        "{}",
        err(&ambiguous)
    );
    assert!(err(&ambiguous).contains("web2"));
    code(&node.run(&["inspect", "web"]), 0);
    let unknown = node.run(&["inspect", "db"]);
    code(&unknown, 1);
    assert!(
        err(&unknown).contains("no container \"db\""),
        "{}",
        err(&unknown)
    );
    code(&node.run(&["inspect", ""]), 1);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let node = Node::new();
    let many: Vec<Event> = (1..=9).map(|seq| event("c", seq, tripwire("/a"))).collect();
    for id in 0..200 {
        node.journal(&format!("c{id}"), &many);
    }
    let mut child = node
        .command(&["events"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    code(&output, 0);
    assert!(err(&output).is_empty(), "{}", err(&output));
}

#[test]
fn a_reader_that_goes_away_leaves_doctor_its_verdict() {
    let node = Node::new();
    node.configure("handlers: {baseline: {runtime: /no/such/runtime}}\n");
    for args in [&["doctor"][..], &["doctor", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut doctor = node.command(args);
        doctor.stdout(writer).stderr(Stdio::piped());
        let output = doctor.output().unwrap();
        code(&output, 1);
        assert!(err(&output).is_empty(), "{}", err(&output));
    }
}

#[test]
fn doctor_names_a_missing_runtime_and_its_remedy() {
    let node = Node::new();
    node.configure("handlers: {baseline: {runtime: /no/such/runtime}}\n");
    let doctor = node.run(&["doctor"]);
    code(&doctor, 1);
    let text = out(&doctor);
    assert!(
        text.contains("fail  runtime: for baseline: cannot use the runtime"),
        "{text}"
    );
    assert!(text.contains("      -> install it"), "{text}");
    let json: Value = serde_json::from_slice(&node.run(&["doctor", "--json"]).stdout).unwrap();
    assert_eq!(json["enforceable"], false);
    let failed = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["level"] == "fail");
    assert!(failed.into_iter().all(|check| check["remedy"].is_string()));
}

/// Each is what `create` refuses every container of the handler for.
#[test]
fn doctor_fails_where_a_handlers_profile_is_missing_wrong_or_too_much_for_the_node() {
    let node = Node::new();
    let profiles = |text: &str| {
        node.configure(text);
        let ran = node.run(&["doctor", "--json"]);
        code(&ran, 1);
        let json: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let all = json["checks"].as_array().unwrap().clone();
        let own = all.into_iter().filter(|check| check["name"] == "profiles");
        own.map(|check| {
            let [level, finding] = ["level", "finding"].map(|key| check[key].as_str().unwrap());
            format!("{level} {finding}")
        })
        .collect::<Vec<String>>()
    };
    let missing = profiles("handlers: {web: {profile: nosuch}}\n");
    let told = |all: &[String], words: &str| all.iter().any(|one| one.contains(words));
    assert!(
        told(&missing, "fail handler web: there is no profile `nosuch`"),
        "{missing:?}"
    );
    let selected = profiles("handlers: {baseline: {selectable: [nosuch]}}\n");
    assert!(
        told(
            &selected,
            "fail handler baseline with nosuch, which pods may select: there is no profile"
        ),
        "{selected:?}"
    );
    let ruled = profiles("rules: [{profile: nosuch, image: x}]\n");
    assert!(
        told(&ruled, "fail rules[0]: there is no profile"),
        "{ruled:?}"
    );
}

#[test]
fn doctor_works_with_a_broken_configuration_and_an_open_folder() {
    let node = Node::new();
    fs::create_dir(node.state()).unwrap();
    fs::set_permissions(node.state(), fs::Permissions::from_mode(0o777)).unwrap();
    let open = node.run(&["doctor"]);
    code(&open, 1);
    assert!(out(&open).contains("fail  state folder:"), "{}", out(&open));
    node.configure("versio: 1\n");
    let broken = node.run(&["doctor"]);
    code(&broken, 1);
    assert!(
        out(&broken).contains("fail  configuration:"),
        "{}",
        out(&broken)
    );
    assert!(out(&broken).contains("did you mean \"version\"?"));
}

#[test]
fn the_version_tells_commit_and_init() {
    let version = Node::new().run(&["--version"]);
    code(&version, 0);
    let text = out(&version);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        format!("mantlet version {}", env!("CARGO_PKG_VERSION"))
    );
    assert!(lines[1].starts_with("commit: ") && lines[1].len() > "commit: ".len());
    assert!(lines[2] == "init: missing" || lines[2].starts_with("init: sha256:"));
}

#[test]
fn nothing_is_coloured_in_a_pipe() {
    let node = Node::new();
    node.journal("c", &[event("c", 1, tripwire("/a"))]);
    assert!(!out(&node.run(&["events"])).contains('\u{1b}'));
    assert!(!out(&node.run(&["doctor"])).contains('\u{1b}'));
}
