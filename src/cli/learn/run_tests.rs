//! Journals → runs: where one ends, and what is missing from it.

use super::run::{Line, Run, each_once, runs};
use super::union::Union;
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
        clipped: false,
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
    runs(events.iter().map(Line::Event), true)
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
fn a_life_whose_first_lines_are_gone_is_no_part_of_the_one_before() {
    let all = of(&[
        event(1, start()),
        event(9, call("brk")),
        event(4, call("mmap")),
        event(5, end()),
    ]);
    let lost: Vec<u64> = all.iter().map(Run::events_lost).collect();
    assert_eq!(lost, [7, 3]);
    assert_eq!((all[0].seen.len(), all[1].seen.len()), (1, 1));
}

#[test]
fn what_was_cut_is_not_learned() {
    let mut cut = call("brk");
    if let What::Observed { clipped, .. } = &mut cut {
        *clipped = true;
    }
    let all = of(&[event(1, start()), event(2, cut), event(3, end())]);
    assert_eq!(all[0].seen, []);
    assert_eq!(all[0].unsaid, ["brk".to_owned()].into(), "and that is said");
}

#[test]
fn what_was_denied_is_told_apart_from_what_was_done() {
    let mut refused = call("ptrace");
    if let What::Observed { denied, .. } = &mut refused {
        *denied = true;
    }
    let all = of(&[event(1, start()), event(2, refused.clone())]);
    assert!(all[0].seen.len() == 1 && all[0].seen[0].denied);
    let union = Union::of(&all, false);
    assert!(union.seen.is_empty() && union.refused.len() == 1);
    // Another time it was done.
    let all = of(&[
        event(1, start()),
        event(2, refused),
        event(3, call("ptrace")),
    ]);
    let union = Union::of(&all, false);
    assert!(union.seen.len() == 1 && union.refused.is_empty());
}

/// As `profile` would deny it.
fn audited(mut what: What, by: &str, of: Session) -> What {
    if let What::Observed {
        profile, session, ..
    } = &mut what
    {
        (*profile, *session) = (by.into(), of);
    }
    what
}

#[test]
fn what_an_audit_beside_a_recording_denies_was_recorded() {
    let (workload, exec) = (Session::Workload, Session::Exec);
    let by = |run: &Run| -> Vec<String> {
        let all = run.seen.iter().map(|seen| seen.profile.clone());
        all.collect()
    };
    let mut all = of(&[
        event(1, start()),
        event(2, call("brk")),
        event(3, audited(call("mkdir"), "site", workload)),
    ]);
    all[0].forget_who_audits_what_is_recorded();
    assert_eq!(by(&all[0]), ["", ""]);
    // A session that records says nothing of a workload that is audited.
    let mut all = of(&[
        event(1, start()),
        event(2, audited(call("mkdir"), "site", workload)),
        event(3, audited(call("brk"), "", exec)),
    ]);
    all[0].forget_who_audits_what_is_recorded();
    assert_eq!(by(&all[0]), ["", "site"]);
}

#[test]
fn a_life_that_is_read_twice_is_one_run_and_the_later_reading_counts() {
    let events = [
        event(1, start()),
        event(4, call("brk")),
        event(5, call("mmap")),
        event(6, end()),
    ];
    let (whole, early) = (of(&events), of(&events[..2]));
    for mixed in [[&early[..], &whole], [&whole[..], &early]] {
        let all = each_once(mixed.concat());
        assert_eq!(all, whole);
        assert_eq!(all[0].events_lost(), 2);
    }
    // Neither another container's nor another life's.
    let mut other = early.clone();
    other[0].container.id = "c2".into();
    let mut again = early.clone();
    again[0].began = "2026-11-26T00:00:00Z".into();
    assert_eq!(each_once([whole, other, again].concat()).len(), 3);
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
fn a_hole_that_is_explained_after_the_line_behind_it_is_counted_once() {
    let lost = |count| What::Lost {
        count,
        cause: "No space left on device".into(),
    };
    // As the journal is written once it can be again: the line, and then what is missing before it.
    let all = of(&[
        event(1, start()),
        event(6, call("brk")),
        event(7, lost(4)),
        event(10, call("mmap")),
        event(13, lost(2)),
    ]);
    let told: Vec<(&str, u64)> = all[0].lost.iter().map(|(c, n)| (c.as_str(), *n)).collect();
    assert_eq!(
        told,
        [
            ("No space left on device", 6),
            ("holes in the journal's numbers", 2)
        ]
    );
    // So it is where the first lines are among them.
    let all = of(&[event(4, start()), event(5, lost(3))]);
    assert_eq!(all[0].events_lost(), 3);
}

#[test]
fn a_broken_line_is_lost_and_no_hole_besides() {
    let (one, three) = (event(1, start()), event(3, end()));
    let lines = [Line::Event(&one), Line::Broken, Line::Event(&three)];
    let all = runs(lines, true);
    assert_eq!(all[0].events_lost(), 1);
    let all = runs([Line::Event(&one), Line::Broken], true);
    assert_eq!(all[0].events_lost(), 1);
}

#[test]
fn a_run_without_an_end_is_cut_off_unless_it_goes_on() {
    let (one, two) = (event(1, start()), event(2, call("brk")));
    let cut = |events: &[&Event], goes_on| -> Vec<bool> {
        let lines = events.iter().map(|event| Line::Event(event));
        runs(lines, goes_on).iter().map(|run| run.cut_off).collect()
    };
    assert_eq!(cut(&[&one, &two], true), [false]);
    assert_eq!(cut(&[&one, &two], false), [true]);
    // Only the last of a journal's lives goes on.
    assert_eq!(cut(&[&one, &two, &one], true), [true, false]);
    let end = event(3, end());
    assert_eq!(cut(&[&one, &two, &end], false), [false]);
}

#[test]
fn more_lost_events_than_can_be_counted_are_not_few() {
    let mut run = Run::default();
    run.lost.insert("overflow".into(), u64::MAX);
    run.lost.insert("a hole".into(), 2);
    assert_eq!(run.events_lost(), u64::MAX);
    let both = [run.clone(), run];
    assert_eq!(super::head::events_lost(&both), u64::MAX);
    assert_eq!(super::head::lost(&both)["overflow"], u64::MAX);
}

#[test]
fn a_run_that_lost_all_it_saw_counts_beside_others() {
    let good = runs(
        [event(1, start()), event(2, call("brk")), event(3, end())]
            .iter()
            .map(Line::Event),
        false,
    );
    let mut lost = good[0].clone();
    lost.container.id = "c2".into();
    lost.seen.clear();
    lost.recording = Some(Box::default());
    for (events, cut_off) in [(7, false), (0, true)] {
        lost.cut_off = cut_off;
        lost.lost = [("overflow".to_owned(), events)].into();
        let kept = super::usable(vec![good[0].clone(), lost.clone()], false).unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!(super::head::events_lost(&kept), events);
        // Alone it teaches nothing, for that reason.
        let wrong = super::usable(vec![lost.clone()], false).unwrap_err();
        assert!(
            wrong.to_string().contains("nobody knows what it needs"),
            "{wrong}"
        );
    }
    // One that saw nothing and lost nothing tells nothing.
    (lost.cut_off, lost.lost) = (false, std::collections::BTreeMap::new());
    assert_eq!(
        super::usable(vec![good[0].clone(), lost], false)
            .unwrap()
            .len(),
        1
    );
}
