//! `freeze`, `thaw`, `kill` and `evidence`: what is asked of the supervisor, and why it is not done.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use mantlet::control::{Answer, Ask};
use mantlet::detect::{Freeze, Then};
use mantlet::state::Home;
use serde_json::Value;

use super::node::Node;
use super::supervisor::{Supervisor, done, refused};
use super::{NO_PROCESS, code, err, out};

const VERBS: [&str; 4] = ["freeze", "thaw", "kill", "evidence"];

/// A node with one container, `web-1`, whose supervisor is this process.
fn node() -> (Node, Home) {
    let node = Node::new();
    let home = node.container("web-1", Some(std::process::id()));
    (node, home)
}

#[test]
fn a_freeze_asks_for_its_time_its_end_and_evidence_and_says_what_nobody_else_does() {
    let (node, home) = node();
    let archive = "/var/log/mantlet/evidence/\u{1b}x.tar";
    let evidence = Some(archive.into());
    let supervisor = Supervisor::answering(&home, vec![done(), Answer::Done { evidence }]);
    let plain = node.run(&["freeze", "web"]);
    code(&plain, 0);
    let text = out(&plain);
    for part in [
        "prod/shop-0/web (web-1) is frozen until somebody ends it.",
        "containerd does not show it",
        "Probes fail",
        "`mantlet thaw web-1`",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let args = [
        "freeze",
        "web",
        "--for",
        "10m",
        "--then",
        "thaw",
        "--evidence",
    ];
    let timed = node.run(&args);
    code(&timed, 0);
    let text = out(&timed);
    assert!(text.contains("frozen for 10m, then it goes on."), "{text}");
    assert!(text.contains("/evidence/\\u{1b}x.tar"), "{text}");
    let freeze = Freeze {
        for_ms: 600_000,
        then: Then::Thaw,
    };
    assert_eq!(
        supervisor.heard(),
        [
            Ask::Freeze {
                freeze: None,
                evidence: false
            },
            Ask::Freeze {
                freeze: Some(freeze),
                evidence: true
            }
        ]
    );
}

#[test]
fn a_freeze_in_json_has_its_end_and_what_ends_it_by_default_is_a_kill() {
    let (node, home) = node();
    let supervisor = Supervisor::answering(&home, vec![done()]);
    let json = node.run(&["freeze", "web-1", "--for", "90s", "--json"]);
    code(&json, 0);
    let object: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(object["id"], "web-1");
    assert_eq!(object["done"], "freeze");
    assert_eq!(object["for_ms"], 90_000);
    assert_eq!(object["then"], "kill");
    assert_eq!(object["container"]["pod"], "shop-0");
    assert!(matches!(
        supervisor.heard()[..],
        [Ask::Freeze {
            freeze: Some(Freeze {
                then: Then::Kill,
                ..
            }),
            ..
        }]
    ));
}

#[test]
fn thaw_and_kill_ask_for_just_that_and_a_kill_says_who_starts_it_anew() {
    let (node, home) = node();
    let supervisor = Supervisor::answering(&home, vec![done(), done(), done(), done()]);
    let thaw = node.run(&["thaw", "web-1"]);
    code(&thaw, 0);
    assert_eq!(out(&thaw), "prod/shop-0/web (web-1) goes on.\n");
    let kill = node.run(&["kill", "web-1"]);
    code(&kill, 0);
    assert!(
        out(&kill).contains("every process is ended"),
        "{}",
        out(&kill)
    );
    assert!(out(&kill).contains("restartPolicy"), "{}", out(&kill));
    for verb in ["thaw", "kill"] {
        let json = node.run(&[verb, "web-1", "--json"]);
        code(&json, 0);
        let object: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(object["done"], verb);
    }
    assert_eq!(
        supervisor.heard(),
        [Ask::Thaw, Ask::Kill, Ask::Thaw, Ask::Kill]
    );
}

#[test]
fn a_supervisors_refusal_is_said_in_its_own_words_and_escaped() {
    let (node, home) = node();
    let said = "the container is frozen already\u{1b}[2J";
    let supervisor = Supervisor::answering(&home, vec![refused(said)]);
    let freeze = node.run(&["freeze", "web-1"]);
    code(&freeze, 1);
    assert_eq!(
        err(&freeze),
        "mantlet: cannot freeze container \"web-1\": the container is frozen already\\u{1b}[2J\n"
    );
    assert!(out(&freeze).is_empty());
    drop(supervisor.heard());
}

#[test]
fn an_older_supervisor_is_named_with_the_runtimes_own_way() {
    let (node, home) = node();
    let said = "the request cannot be read: unknown variant `kill`, expected one of `started`, \
                `exec`, `status`, `processes` at line 1 column 26";
    let foreign = || refused(said);
    let answers = vec![foreign(), foreign(), foreign(), foreign()];
    let supervisor = Supervisor::answering(&home, answers);
    let root = node.root().display().to_string();
    for (verb, instead) in [
        (
            "freeze",
            format!("use `/usr/sbin/runc --root {root} pause web-1`, or "),
        ),
        (
            "thaw",
            format!("use `/usr/sbin/runc --root {root} resume web-1`, or "),
        ),
        (
            "kill",
            format!("use `/usr/sbin/runc --root {root} kill web-1 KILL`, or "),
        ),
        ("evidence", String::new()),
    ] {
        let output = node.run(&[verb, "web-1"]);
        code(&output, 1);
        let own = env!("CARGO_PKG_VERSION");
        let want = format!(
            "its supervisor is mantlet 0.1.0, which cannot do this; {instead}restart the container \
             to have it under mantlet {own}"
        );
        assert!(err(&output).contains(&want), "{}", err(&output));
    }
    drop(supervisor.heard());
}

#[test]
fn who_has_no_supervisor_to_ask_is_told_why_and_what_to_do() {
    let node = Node::new();
    node.container("lost", Some(NO_PROCESS));
    let pause = node.container("pause", None);
    let mut record = pause.read_record().unwrap();
    record.supervised = false;
    pause.write_record(&record).unwrap();
    // A supervisor that has just ended: its socket is there, and nobody listens.
    let deaf = node.container("deaf", Some(std::process::id()));
    drop(deaf.bind_control().unwrap());
    let torn = node.container("torn", Some(std::process::id()));
    fs::write(torn.path.join("record.json"), "{").unwrap();
    for verb in VERBS {
        for (id, want) in [
            ("nosuch", "no container \"nosuch\"; `mantlet ps` lists"),
            ("lost", "its supervisor is gone; "),
            (
                "pause",
                "it is a pause container, which has no supervisor; name one of",
            ),
            ("deaf", "its supervisor does not answer: "),
            ("torn", "record.json"),
        ] {
            let output = node.run(&[verb, id]);
            code(&output, 1);
            assert!(err(&output).contains(want), "{want} in {}", err(&output));
            assert!(out(&output).is_empty());
        }
    }
    let kill = err(&node.run(&["kill", "lost"]));
    assert!(
        kill.contains("kill lost KILL`, or restart the container"),
        "{kill}"
    );
}

#[test]
fn an_answer_to_another_question_is_no_success() {
    let (node, home) = node();
    let pids = || Answer::Processes { pids: vec![] };
    let supervisor = Supervisor::answering(&home, vec![pids(), pids(), pids(), done()]);
    for verb in VERBS {
        let output = node.run(&[verb, "web-1"]);
        code(&output, 1);
        let said = err(&output);
        assert!(
            said.contains("its supervisor answered something else"),
            "{said}"
        );
    }
    drop(supervisor.heard());
}

#[test]
fn wrong_usage_reaches_no_supervisor() {
    let (node, _home) = node();
    for args in [
        &["freeze"][..],
        &["freeze", "web-1", "--for", "soon"],
        &["freeze", "web-1", "--for", "10ms"],
        &["freeze", "web-1", "--then", "kill"],
        &["freeze", "web-1", "--for", "1m", "--then", "forget"],
        &["thaw"],
        &["kill"],
        &["kill", "web-1", "db-1"],
        &["evidence"],
        &["evidence", "web-1", "--list"],
        &["evidence", "web-1", "--force"],
        &["evidence", "--list", "--output", "x"],
        &["schema"],
        &["schema", "weather"],
    ] {
        code(&node.run(args), 2);
    }
}

#[test]
fn evidence_prints_its_path_and_copies_it_where_nothing_is() {
    let (node, home) = node();
    let archive = node.path.join("made.tar");
    fs::write(&archive, "an archive").unwrap();
    let made = || Answer::Done {
        evidence: Some(archive.clone()),
    };
    let supervisor = Supervisor::answering(&home, vec![made(), made(), made(), made()]);
    let plain = node.run(&["evidence", "web-1"]);
    code(&plain, 0);
    assert_eq!(out(&plain), format!("{}\n", archive.display()));

    let copy = node.path.join("copy.tar");
    let to = copy.to_str().unwrap();
    code(&node.run(&["evidence", "web-1", "--output", to]), 0);
    assert_eq!(fs::read_to_string(&copy).unwrap(), "an archive");
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    fs::write(&copy, "somebody else's").unwrap();
    let refused = node.run(&["evidence", "web-1", "--output", to]);
    code(&refused, 1);
    let said = err(&refused);
    assert!(
        said.contains("copy.tar exists; name another file"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&copy).unwrap(), "somebody else's");

    let forced = node.run(&["evidence", "web-1", "--json", "--force", "-o", to]);
    code(&forced, 0);
    let object: Value = serde_json::from_slice(&forced.stdout).unwrap();
    assert_eq!(object["evidence"], archive.to_str().unwrap());
    assert_eq!(object["output"], to);
    assert_eq!(fs::read_to_string(&copy).unwrap(), "an archive");

    let nowhere = node.run(&["evidence", "web-1", "-o", "/nowhere/copy.tar"]);
    code(&nowhere, 1);
    let said = err(&nowhere);
    assert!(said.contains("cannot write /nowhere/copy.tar: "), "{said}");
    // The refusal asked for nothing.
    assert_eq!(supervisor.heard().len(), 4);
    let names = fs::read_dir(&node.path).unwrap();
    let left = names
        .flatten()
        .filter(|f| f.path().extension().is_some_and(|e| e == "tmp"));
    assert_eq!(left.count(), 0);
}

#[test]
fn what_was_put_in_an_archives_place_is_not_copied() {
    let (node, home) = node();
    let archive = node.path.join("made.tar");
    std::os::unix::fs::symlink("/etc/passwd", &archive).unwrap();
    let answer = Answer::Done {
        evidence: Some(archive),
    };
    let supervisor = Supervisor::answering(&home, vec![answer]);
    let copy = node.path.join("copy.tar");
    let output = node.run(&["evidence", "web-1", "-o", copy.to_str().unwrap()]);
    code(&output, 1);
    assert!(err(&output).contains("cannot open "), "{}", err(&output));
    assert!(!copy.exists());
    drop(supervisor.heard());
}

#[test]
fn archives_are_listed_with_container_time_and_size() {
    let node = Node::new();
    let none = node.run(&["evidence", "--list"]);
    code(&none, 0);
    assert!(out(&none).is_empty() && err(&none).contains("no evidence"));
    let none = node.run(&["evidence", "--list", "--json"]);
    assert_eq!(out(&none).trim(), "[]");
    let folder = node.log().join("evidence");
    fs::create_dir_all(&folder).unwrap();
    let name = "0123456789abcdef-web-1-20260101T000000.000Z.tar";
    fs::write(folder.join(name), vec![0; 3000]).unwrap();
    for other in [".half.tar", "notes.txt"] {
        fs::write(folder.join(other), "").unwrap();
    }
    let list = node.run(&["evidence", "--list"]);
    code(&list, 0);
    let text = out(&list);
    assert_eq!(text.lines().count(), 2, "{text}");
    let line = text.lines().nth(1).unwrap();
    assert!(line.starts_with("web-1 ") && line.ends_with(name), "{line}");
    assert!(line.contains("  3 KiB  "), "{line}");
    let json = node.run(&["evidence", "--list", "--json"]);
    let all: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(all[0]["container"], "web-1");
    assert_eq!(all[0]["size"], 3000);
    assert!(all[0]["time"].as_str().unwrap().ends_with('Z'));
}
