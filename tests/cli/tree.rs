//! `tree`: real processes, a journal that knows some of them, and pids that are not there.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};

use mantlet::control::Answer;
use mantlet::detect::{Response, Sensor, Severity};
use mantlet::event::{self, Ancestor, Event, Process, Session, What};
use serde_json::Value;

use super::node::{Node, event, report};
use super::supervisor::{Supervisor, refused};
use super::{NO_PROCESS, code, err, out};

fn own() -> i32 {
    std::process::id() as i32
}

/// A child of this process with hostile arguments, ended with the test.
struct Victim(Child);

impl Victim {
    fn new() -> Victim {
        let mut sleep = Command::new("/bin/sleep");
        sleep.arg0("evil\u{1b}[2J\nroot").arg("60");
        Victim(sleep.spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn process(&self) -> Process {
        Process {
            pid: self.pid(),
            ppid: own(),
            comm: "sleep".into(),
            exe: "/bin/sleep".into(),
            ..Process::default()
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An event of now, or of so long ago.
fn at(seq: u64, ago: u64, what: What) -> Event {
    let time = SystemTime::now() - Duration::from_secs(ago);
    Event {
        time: humantime::format_rfc3339_micros(time).to_string(),
        ..event("c1", seq, what)
    }
}

fn session(process: Process) -> What {
    What::Start {
        recording: None,
        stricter: Vec::new(),
        process,
        session: Session::Exec,
        report: report(),
    }
}

fn executed(process: Process, path: &str, argv: &[&str]) -> What {
    let ancestors = vec![Ancestor {
        pid: own(),
        comm: "test".into(),
        exe: "/test".into(),
    }];
    What::Detection {
        rule: "any".into(),
        profile: "restricted".into(),
        on: Sensor::Exec,
        severity: Severity::Info,
        tags: Vec::new(),
        process: Some(process),
        ancestors,
        file: Some(event::File {
            path: path.into(),
            argv: Some(argv.iter().map(|&word| word.to_owned()).collect()),
            ..event::File::default()
        }),
        why: "executed".into(),
        hits: 1,
        respond: Response::Log,
        would: None,
        due: true,
    }
}

fn processes(pids: &[i32]) -> Answer {
    Answer::Processes { pids: pids.into() }
}

#[test]
fn living_processes_are_drawn_with_what_the_journal_knows_of_them() {
    let node = Node::new();
    let home = node.container("c1", Some(std::process::id()));
    let victim = Victim::new();
    let old = Process {
        pid: victim.pid(),
        ..Process::default()
    };
    node.journal(
        "c1",
        &[
            // Of a process that had the same pid long ago, in this life and in one before.
            at(1, 4000, executed(old.clone(), "/before", &["before"])),
            at(1, 3000, executed(old.clone(), "/old", &["old"])),
            at(
                2,
                2900,
                What::Exit {
                    process: old,
                    code: Some(3),
                },
            ),
            at(3, 0, session(victim.process())),
            at(
                4,
                0,
                executed(victim.process(), "/bin/sleep", &["sleep", "a b"]),
            ),
        ],
    );
    let members = [own(), victim.pid(), NO_PROCESS as i32];
    let answers = || vec![processes(&members); 2];
    let supervisor = Supervisor::answering(&home, [answers(), answers(), answers()].concat());
    let tree = node.run(&["tree"]);
    code(&tree, 0);
    let text = out(&tree);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[0], "prod/shop-0/web (c1)  restricted  2 processes");
    let (me, child) = (own(), victim.pid());
    assert!(lines[1].starts_with("└─ ") && lines[1].contains(&format!("[{me}]  inside ")));
    assert!(lines[2].starts_with("   └─ /") && lines[2].contains(&format!("[{child}]  inside ")));
    assert!(
        lines[2].ends_with(r#"exec session  "evil\u{1b}[2J\nroot" 60"#),
        "{text}"
    );
    assert!(lines[3].starts_with("         · "), "{text}");
    assert!(
        lines[3].ends_with(r#" executed /bin/sleep  sleep "a b"  (restricted/any)"#),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'));

    let history = node.run(&["tree", "c1", "--history"]);
    code(&history, 0);
    let text = out(&history);
    assert!(text.contains("ended with code 3"), "{text}");
    assert!(
        text.contains("executed /old  old") && !text.contains("/before"),
        "{text}"
    );

    let json = node.run(&["tree", "c1", "--json"]);
    code(&json, 0);
    let all: Value = serde_json::from_slice(&json.stdout).unwrap();
    let listed = all[0]["processes"].as_array().unwrap();
    let found = listed.iter().find(|one| one["pid"] == child).unwrap();
    assert_eq!(found["ppid"], me);
    assert_eq!(found["argv"][0], "evil\u{1b}[2J\nroot");
    assert_eq!(found["session"], "exec");
    assert_eq!(found["executions"][0]["argv"][1], "a b");
    assert_eq!(found["executions"].as_array().unwrap().len(), 1);
    assert_eq!(supervisor.heard().len(), 6);
}

#[test]
fn a_pid_that_is_no_member_any_more_is_left_out() {
    let node = Node::new();
    let home = node.container("c1", Some(std::process::id()));
    let answers = vec![processes(&[own()]), processes(&[])];
    let supervisor = Supervisor::answering(&home, answers);
    let tree = node.run(&["tree", "c1"]);
    code(&tree, 0);
    assert!(out(&tree).ends_with("  0 processes\n"), "{}", out(&tree));
    drop(supervisor.heard());
}

#[test]
fn one_that_cannot_be_asked_does_not_hide_the_others() {
    let node = Node::new();
    node.container("lost", Some(NO_PROCESS));
    let home = node.container("works", Some(std::process::id()));
    let members = processes(&[own()]);
    let supervisor = Supervisor::answering(&home, vec![members.clone(), members]);
    let tree = node.run(&["tree"]);
    code(&tree, 1);
    assert!(out(&tree).contains("(works)"), "{}", out(&tree));
    let want = "cannot list the processes of container \"lost\": its supervisor is gone; use \
                `/usr/sbin/runc --root";
    assert!(err(&tree).contains(want), "{}", err(&tree));
    code(&node.run(&["tree", "lost"]), 1);
    code(&node.run(&["tree", "nosuch"]), 1);
    drop(supervisor.heard());
}

#[test]
fn a_node_without_containers_and_a_refusal_are_said() {
    let node = Node::new();
    let empty = node.run(&["tree"]);
    code(&empty, 0);
    assert!(err(&empty).contains("no containers"), "{}", err(&empty));
    assert_eq!(out(&node.run(&["tree", "--json"])).trim(), "[]");
    let home = node.container("c1", Some(std::process::id()));
    let supervisor = Supervisor::answering(&home, vec![refused("not now")]);
    let tree = node.run(&["tree", "c1"]);
    code(&tree, 1);
    assert!(err(&tree).contains("not now"), "{}", err(&tree));
    drop(supervisor.heard());
}
