//! Journals → runs: where one ends, and what is missing from it.

use super::run::{Line, Run, runs};
use crate::access::{Access, Phase};
use crate::event::{self, Event, Identity, Process, Report, Session, What};

fn event(seq: u64, what: What) -> Event {
    Event {
        version: event::VERSION,
        seq,
        time: format!("2026-11-25T22:00:{seq:02}Z"),
        container: Identity {
            id: "c1".into(),
            ..Identity::default()
        },
        handler: "learn".into(),
        profiles: vec!["learn".into()],
        policy: String::new(),
        what,
    }
}

fn start() -> What {
    What::Start {
        process: Process {
            exe: "/bin/app".into(),
            ..Process::default()
        },
        session: Session::Workload,
        stricter: Vec::new(),
        report: Report::default(),
        recording: None,
    }
}

fn call(name: &str) -> What {
    What::Observed {
        process: Process::default(),
        session: Session::Workload,
        phase: Phase::StartUp,
        access: Access::Syscall {
            name: name.into(),
            args: Vec::new(),
        },
        linked: false,
        profile: String::new(),
        fix: String::new(),
        denied: false,
    }
}

fn end() -> What {
    What::End {
        tripwires: 0,
        observed: None,
    }
}

fn of(events: &[Event]) -> Vec<Run> {
    runs(events.iter().map(Line::Event))
}

#[test]
fn a_whole_run_has_lost_nothing() {
    let all = of(&[event(1, start()), event(2, call("brk")), event(3, end())]);
    assert_eq!(all.len(), 1);
    assert!(all[0].complete && all[0].events_lost() == 0 && all[0].seen.len() == 1);
    assert_eq!(all[0].program.as_deref(), Some("/bin/app"));
}

#[test]
fn an_id_that_is_used_again_is_another_run() {
    let all = of(&[
        event(1, start()),
        event(2, end()),
        event(1, start()),
        event(2, call("brk")),
    ]);
    assert_eq!(all.len(), 2);
    assert!(all[0].complete && !all[1].complete);
    // Without the first one's end too.
    let all = of(&[event(1, start()), event(2, call("brk")), event(1, start())]);
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].seen.len(), all[1].seen.len()), (1, 0));
}

#[test]
fn every_kind_of_loss_is_counted_once() {
    let lost = |count| What::Lost {
        count,
        cause: "No space left on device".into(),
    };
    let all = of(&[
        event(3, call("brk")),
        event(6, lost(2)),
        event(8, call("mmap")),
        event(
            9,
            What::Suppressed {
                count: 5,
                of: "observed file".into(),
            },
        ),
        event(
            10,
            What::Suppressed {
                count: 7,
                of: "tripwire mount".into(),
            },
        ),
        event(11, What::Overflow { count: 3 }),
        // What it had in hand is told by a `lost` line of its own.
        event(
            12,
            What::Watcher {
                ended: "was killed by SIGKILL".into(),
                restarts: 1,
                denied: None,
            },
        ),
    ]);
    let lost: Vec<(&str, u64)> = all[0].lost.iter().map(|(c, n)| (c.as_str(), *n)).collect();
    assert_eq!(
        lost,
        [
            ("No space left on device", 2),
            ("faster than the journal takes them", 5),
            ("holes in the journal's numbers", 1),
            ("the beginning of the journal is gone", 2),
            ("the kernel's queue was full", 3),
        ]
    );
    assert_eq!(all[0].events_lost(), 13);
}

#[test]
fn a_broken_line_is_lost_and_no_hole_besides() {
    let (one, three) = (event(1, start()), event(3, end()));
    let lines = [Line::Event(&one), Line::Broken, Line::Event(&three)];
    let all = runs(lines);
    assert_eq!(all[0].events_lost(), 1);
    let all = runs([Line::Event(&one), Line::Broken]);
    assert_eq!(all[0].events_lost(), 1);
}
