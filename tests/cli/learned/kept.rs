//! What a person asks for and cannot have, said before anything is done in vain and as what it is; and recordings,
//! which stay whatever becomes of the profile.

use std::fs;
use std::process::Stdio;

use mantlet::access::Access;
use mantlet::event::What;
use mantlet::profile::Profile;
use serde_json::Value;

use super::observed::{Recorded, nginx};
use super::small;
use crate::node::Node;
use crate::{code, err, out};

#[test]
fn no_run_teaches_nothing_and_no_file_is_written() {
    let node = Node::new();
    let recording = node.path.join("empty.json");
    let recording = recording.to_str().unwrap();
    fs::write(
        recording,
        r#"{"recording": 1, "mantlet": "0.2.0", "runs": []}"#,
    )
    .unwrap();
    let path = node.path.join("web.yaml");
    let words = ["learn", "--from", recording, "-o", path.to_str().unwrap()];
    let learned = node.run(&words);
    code(&learned, 1);
    assert!(
        err(&learned).contains("no run of a container"),
        "{}",
        err(&learned)
    );
    assert!(!path.exists() && out(&learned).is_empty());
}

#[test]
fn why_nothing_was_seen_is_told_apart() {
    let node = Node::new();
    for (id, mode, said) in [
        ("a1", Some("learn"), "its program was not started"),
        ("b1", Some("audit"), "would have denied nothing"),
        ("c1", None, "let its handler name the profile `learn`"),
    ] {
        let mut events = Recorded::new(id, "/bin/app").end();
        if let What::Start { recording, .. } = &mut events[0].what {
            match mode {
                Some(mode) => recording.as_mut().unwrap().mode = mode.into(),
                None => *recording = None,
            }
        }
        node.journal(id, &events);
        let learned = node.run(&["learn", "--from", id]);
        code(&learned, 1);
        assert!(err(&learned).contains(said), "{id}: {}", err(&learned));
    }
}

#[test]
fn what_was_recorded_is_kept_where_no_profile_comes_of_it() {
    let node = Node::new();
    node.journal("a1", &small("a1").end());
    let mut audited = Recorded::new("b1", "/bin/app");
    node.journal("b1", &audited.audited("restricted").calls("chroot").end());
    let saved = node.path.join("both.json");
    let (path, saved) = (node.path.join("web.yaml"), saved.to_str().unwrap());
    let path = path.to_str().unwrap();
    let words = ["--from", "a1", "--from", "b1", "-o", path, "--save", saved];
    let learned = node.run(&[&["learn"], &words[..]].concat());
    code(&learned, 1);
    assert!(
        err(&learned).contains("in different ways"),
        "{}",
        err(&learned)
    );
    let kept: Value = serde_json::from_str(&fs::read_to_string(saved).unwrap()).unwrap();
    assert_eq!(kept["runs"].as_array().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_fulfilled_is_said_before_anything_is_read() {
    let node = Node::new();
    let at = |name: &str| node.path.join(name).display().to_string();
    let ran = at("ran");
    for (words, said) in [
        (
            &["-o", &at("my web.yaml")][..],
            "cannot be a profile's name",
        ),
        (
            &["-o", &at("web.yaml"), "--extends", "gone"],
            "profiles_dir",
        ),
        (
            &["-o", &at("web.yaml"), "--extends", "learn"],
            "cannot extend learn",
        ),
        (
            &["-o", &at("baseline.yaml"), "--extends", "baseline"],
            "cannot have the same name",
        ),
        (&["-o", &at("no/such/web.yaml")], "cannot write"),
        (
            &["-o", &at("web.yaml"), "--save", &at("no/such.json")],
            "cannot write",
        ),
        (
            &[
                "-o",
                &at("web.yaml"),
                "--save",
                &at("./web.yaml"),
                "--force",
            ],
            "cannot hold two of profile, recording and JSON",
        ),
        (
            &["-o", &at("web.yaml"), "--json"],
            "what is told with --json=FILE",
        ),
    ] {
        // Nothing is run: neither a container's program, nor is the source asked for, which is not there.
        let run = [&["learn"], words, &["--", "touch", &ran]].concat();
        let mut tried = vec![run];
        if !words.contains(&"--json") {
            tried.push([&["learn", "--from", "nosuch"], words].concat());
        }
        for words in tried {
            let learned = node.run(&words);
            code(&learned, 1);
            let told = err(&learned);
            assert!(
                told.contains(said) && !told.contains("nosuch"),
                "{words:?}: {told}"
            );
            assert!(!told.contains("a bug of mantlet's"), "{words:?}: {told}");
        }
    }
    let left = fs::read_dir(&node.path).unwrap();
    assert_eq!(left.count(), 1, "the configuration alone");
}

#[test]
fn a_profile_that_was_audited_is_not_called_like_what_adds_to_it() {
    let node = Node::new();
    node.configure(&format!("profiles_dir: {}\n", node.path.display()));
    let own = "version: 1\nname: web\nextends: [restricted]\n";
    fs::write(node.path.join("web.yaml"), own).unwrap();
    let mut audited = Recorded::new("c1", "/bin/app");
    node.journal("c1", &audited.audited("web").calls("chroot").end());
    let learned = node.run(&["learn", "--from", "c1", "--name", "web"]);
    code(&learned, 1);
    let told = err(&learned);
    assert!(
        told.contains("cannot have the same name") && !told.contains("a bug of mantlet's"),
        "{told}"
    );
}

#[test]
fn a_folder_that_holds_nothing_of_its_glob_is_a_persons_mistake() {
    let node = Node::new();
    node.journal("c1", &small("c1").end());
    for wrong in [
        "/usr/share/**=/opt",
        "/usr/share/**=/usr/share/doc",
        "/proc/sys/**=/proc/sys",
    ] {
        let learned = node.run(&["learn", "--from", "c1", "--generalise", wrong]);
        code(&learned, 2);
        let told = err(&learned);
        assert!(!told.contains("a bug of mantlet's"), "{told}");
    }
}

#[test]
fn what_no_profile_allows_makes_one_that_denies_nothing() {
    let node = Node::new();
    let mut run = small("c1");
    let what = "a system call of another architecture (i386 or x32), which every filter that enforces kills";
    run.see(Access::Container { what: what.into() });
    node.journal("c1", &run.end());
    let learned = node.run(&["learn", "--from", "c1"]);
    code(&learned, 1);
    assert!(
        out(&learned).contains("\nmode: audit\n"),
        "{}",
        out(&learned)
    );
    assert!(err(&learned).contains(what), "{}", err(&learned));
    let accepted = node.run(&["learn", "--from", "c1", "--accept-loss"]);
    code(&accepted, 0);
    assert!(!out(&accepted).contains("mode:") && out(&accepted).contains("# beside"));
}

#[test]
fn a_profile_that_nobody_read_is_no_success() {
    let node = Node::new();
    let mut run = small("c1");
    run.push(What::Overflow { count: 1 });
    node.journal("c1", &run.end());
    let mut learn = node.command(&["learn", "--from", "c1"]);
    let mut learn = learn
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(learn.stdout.take());
    assert_eq!(learn.wait().unwrap().code(), Some(1));
}

#[test]
fn what_is_told_as_json_may_have_a_file_of_its_own() {
    let node = Node::new();
    node.journal("c1", &small("c1").end());
    let (path, told) = (node.path.join("app.yaml"), node.path.join("told.json"));
    let as_json = format!("--json={}", told.display());
    let words = ["learn", "--from", "c1", "-o", path.to_str().unwrap()];
    let learned = node.run(&[&words[..], &[&as_json]].concat());
    code(&learned, 0);
    assert!(out(&learned).is_empty());
    let told: Value = serde_json::from_str(&fs::read_to_string(told).unwrap()).unwrap();
    assert_eq!(told["name"], "app");
    assert_eq!(
        told["profile"].as_str(),
        Some(&*fs::read_to_string(path).unwrap())
    );
}

#[test]
fn how_it_would_be_on_top_of_baseline_is_told_as_it_is() {
    let node = Node::new();
    node.journal("a1", &nginx("a1", false).end());
    let learn = |more: &[&str]| {
        let learned = node.run(&[&["learn", "--from", "a1", "--name", "web"], more].concat());
        code(&learned, 0);
        out(&learned)
    };
    let (alone, extending) = (learn(&[]), learn(&["--extends", "baseline"]));
    let (own, foot) = alone
        .split_once("\n# With --extends baseline this would be ")
        .expect("it says so");
    let lengths = format!(
        "{} lines instead of {}. It ",
        extending.lines().count(),
        own.lines().count()
    );
    assert!(foot.starts_with(&lengths), "{lengths}\n{foot}");
    let words: Vec<&str> = foot
        .split([' ', '\n', '#'])
        .filter(|word| !word.is_empty())
        .collect();
    assert!(
        words
            .join(" ")
            .ends_with("more calls, the files that baseline grants and every TCP port."),
        "{foot}"
    );
    assert!(!extending.contains("With --extends"), "{extending}");
    Profile::parse("web", &alone).expect("a profile");
}

#[test]
fn what_sessions_alone_did_is_kept_though_nothing_is_learned_of_it() {
    let node = Node::new();
    let mut run = Recorded::new("d1", "/bin/app");
    run.session().calls("ptrace");
    node.journal("d1", &run.end());
    let saved = node.path.join("saved.json");
    let saved = saved.to_str().unwrap();
    let learned = node.run(&["learn", "--from", "d1", "--save", saved]);
    code(&learned, 1);
    assert!(err(&learned).contains("--exec-sessions takes it in"));
    let again = node.run(&["learn", "--from", saved, "--exec-sessions"]);
    code(&again, 0);
    assert!(out(&again).contains("- ptrace"), "{}", out(&again));
}
