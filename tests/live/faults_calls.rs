//! Calls that do not wait for their answer: the caller is killed, or interrupted all the time, or
//! writes over what is read of it.

use nix::sys::signal::Signal;

use crate::detect::{of_type, site};
use crate::faults::{self, have, keeper, serving, signal, told, waiting};
use crate::harness::{Bundle, World, eventually};
use crate::trace::{self, Point};

/// Starts a session that springs one tripwire, and answers its pid once it waits for the answer.
fn springing(bundle: &Bundle) -> i32 {
    let (code, _, pid) = bundle.exec_detached(&[], &["strain", "once"]);
    assert_eq!(code, 0);
    let pid = pid.expect("runc writes it");
    let world = bundle.world();
    let call = format!("{} ", nix::libc::SYS_keyctl);
    eventually("it is in its call", || {
        let text = std::fs::read_to_string(world.proc(pid).join("syscall")).unwrap_or_default();
        text.starts_with(&call).then_some(())
    });
    pid
}

fn gone(bundle: &Bundle, pid: i32) {
    assert!(bundle.world().signal(pid, Signal::SIGKILL));
    eventually("it is gone", || {
        let state = bundle.world().status(pid, "State");
        state
            .is_none_or(|state| state.starts_with('Z'))
            .then_some(())
    });
}

#[test]
fn a_caller_that_is_killed_before_its_call_was_seen_is_forgotten() {
    let bundle = waiting(site(World::runc(), ""));
    let watcher = serving(keeper(&bundle));
    signal(watcher, Signal::SIGSTOP);
    let pid = springing(&bundle);
    gone(&bundle, pid);
    signal(watcher, Signal::SIGCONT);
    assert_eq!(have(&bundle, "USR1"), "errno EPERM");
    bundle.kill("TERM").ok();
    faults::ended(&bundle);
    let events = faults::journal(&bundle);
    faults::no_hole(&events);
    assert_eq!(told(&events, "tripwire", "tripwire keyctl"), 1);
    assert!(of_type(&bundle, "watcher").is_empty(), "{events:?}");
}

#[test]
fn a_caller_that_is_killed_between_notification_and_answer_is_told_once() {
    let bundle = waiting(site(World::runc(), ""));
    let watcher = serving(keeper(&bundle));
    let strace = trace::attach_host(watcher, &Point::new("ioctl", 1).strike("STOP"));
    let pid = springing(&bundle);
    eventually("the watcher has stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{watcher}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
        state
            .is_some_and(|rest| rest.starts_with(['T', 't']))
            .then_some(())
    });
    gone(&bundle, pid);
    trace::detach(strace);
    signal(watcher, Signal::SIGCONT);
    assert_eq!(have(&bundle, "USR1"), "errno EPERM");
    bundle.kill("TERM").ok();
    faults::ended(&bundle);
    let events = faults::journal(&bundle);
    faults::no_hole(&events);
    assert_eq!(told(&events, "tripwire", "tripwire keyctl"), 2);
    assert!(of_type(&bundle, "watcher").is_empty(), "{events:?}");
}

#[test]
fn calls_under_two_thousand_signals_a_second_are_each_answered_and_told_once() {
    for restarts in ["1", "0"] {
        let bundle = site(World::runc(), "detect: [{on: tripwire, calls: [keyctl]}]")
            .args(["strain", "signals", "4000", restarts])
            .up();
        let did = faults::strained(&bundle);
        faults::ended(&bundle);
        println!("{did:?}");
        assert_eq!(did["calls"], 4000);
        if restarts == "1" {
            assert_eq!(did["eperm"], 4000, "as Go has it: {did:?}");
        }
        faults::adds_up(&bundle, &did);
        let events = faults::journal(&bundle);
        let detections = told(&events, "detection", "detection site/tripwire");
        assert_eq!(detections, did["eperm"]);
    }
}

#[test]
fn a_program_that_writes_over_its_arguments_is_told_by_its_file() {
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                  strain scribble one two three four five six seven eight nine ten; done; \
                  exec harmless stay";
    let bundle = site(World::runc(), "detect: [{on: exec}]")
        .args(["sh", "-c", script])
        .up();
    eventually("it stays", || {
        bundle.output().contains("staying").then_some(())
    });
    bundle.kill("TERM").ok();
    faults::ended(&bundle);
    // Each line is JSON, whatever stood there.
    let events = faults::journal(&bundle);
    faults::no_hole(&events);
    let files = events.iter().filter(|event| event["type"] == "detection");
    let files: Vec<&str> = files
        .filter_map(|event| event["file"]["path"].as_str())
        .collect();
    let of = |path: &str| files.iter().filter(|found| **found == path).count();
    assert_eq!(
        (of("/bin/strain"), of("/bin/harmless")),
        (20, 1),
        "{files:?}"
    );
    assert_eq!(files.len(), 22, "{files:?}");
}
