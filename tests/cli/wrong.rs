//! What is no profile, no journal and no recording, said by every tool; and readers that go away.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use crate::node::Node;
use crate::{code, err, out};

/// Files that nobody can mean, in the node's folder.
fn wrong(node: &Node) -> Vec<String> {
    let path = |name: &str| node.path.join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("folder.yaml")).unwrap();
    fs::write(path("binary.yaml"), [0xff, 0xfe, 0, 1]).unwrap();
    fs::write(path("huge.yaml"), vec![b'a'; 5 << 20]).unwrap();
    let mut all: Vec<String> = ["missing.yaml", "folder.yaml", "binary.yaml", "huge.yaml"]
        .map(path)
        .into();
    all.push("/dev/zero".into());
    all
}

#[test]
fn what_is_no_profile_is_said_by_every_tool_with_what_to_do() {
    let node = Node::new();
    for file in wrong(&node) {
        let file = file.as_str();
        for (words, failed) in [
            (&["lint", file][..], 1),
            (&["explain", file], 1),
            (&["explain", "--exit-code", file, "syscall", "bpf"], 2),
            (&["export", file, "--to", "oci-seccomp"], 1),
            (&["import", file], 1),
            (&["test", file], 2),
            (&["test", "restricted", "--tests", file], 2),
            (&["diff", file, "restricted"], 2),
            (&["diff", "restricted", file], 2),
        ] {
            let ran = node.run(words);
            code(&ran, failed);
            assert_eq!(out(&ran), "", "{words:?}");
            let said = err(&ran);
            let told = said.starts_with("mantlet: cannot read ") || said.contains("is no UTF-8");
            assert!(
                told && said.contains(file) && said.lines().count() == 1,
                "{said}"
            );
            assert!(!said.contains("stream did not"), "{said}");
        }
    }
}

#[test]
fn what_is_no_journal_teaches_nothing_and_passes_no_test() {
    let node = Node::new();
    let mut files = wrong(&node);
    for (name, text) in [
        ("empty.jsonl", ""),
        ("bad.jsonl", "{\"a\": }\n"),
        ("cut.json", "{\"recording\": 1"),
    ] {
        let path = node.path.join(name);
        fs::write(&path, text).unwrap();
        files.push(path.to_str().unwrap().to_owned());
    }
    for file in files {
        let learned = node.run(&["learn", "--from", &file, "--name", "x"]);
        let replayed = node.run(&["test", "restricted", "--replay", &file]);
        for (ran, failed) in [(learned, 1), (replayed, 2)] {
            code(&ran, failed);
            assert_eq!(out(&ran), "", "{file}");
            let said = err(&ran);
            assert!(said.contains(&file) && said.contains("; name a "), "{said}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_answer() {
    let node = Node::new();
    for (words, expected) in [
        (&["diff", "restricted", "restricted"][..], 2),
        (&["lint", "restricted"], 1),
        (
            &["explain", "--exit-code", "restricted", "syscall", "read"],
            2,
        ),
        (&["explain", "restricted", "syscall", "read"], 0),
        (&["schema", "profile"], 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = node.command(words);
        let mut ran = command
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(command);
        let mut said = String::new();
        ran.stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(ran.wait().unwrap().code(), Some(expected), "{words:?}");
        assert_eq!(said, "", "{words:?}");
    }
    // A disk that is full is said.
    for words in [&["help"][..], &["schema", "event"], &["lint", "restricted"]] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let ran = node.command(words).stdout(full).output().unwrap();
        code(&ran, 1);
    }
}
