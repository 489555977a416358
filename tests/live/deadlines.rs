//! Every wait has the one deadline of ten seconds: containerd cannot kill while a `start` hangs. What
//! is late is killed, and what was not let go in time never runs.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Bundle, Finished, eventually};
use crate::kills::{bundle, buried, create, sound, workload};
use crate::remains;
use crate::trace::{self, Point};

/// Runs `call`, which has to end soon after the deadline, and not before it.
#[track_caller]
fn late(what: &str, call: impl FnOnce() -> Finished) -> Finished {
    let begin = Instant::now();
    let done = call();
    let took = begin.elapsed();
    let window = Duration::from_secs(9)..Duration::from_secs(45);
    assert!(window.contains(&took), "{what}: {took:?} {}", done.stderr);
    done
}

/// A `start` that fails when its time is over, and leaves nothing of the image running.
#[track_caller]
fn fails_late(what: &str, bundle: &Bundle, word: &str) {
    let start = late(what, || bundle.start()).expect(1);
    assert!(start.stderr.contains(word), "{what}: {}", start.stderr);
    assert_eq!(start.stderr.lines().count(), 1, "{what}: {}", start.stderr);
    eventually(&format!("{what}: nothing of the image runs"), || {
        workload(bundle).is_empty().then_some(())
    });
    sound(bundle, what);
}

fn supervisor(bundle: &Bundle) -> i32 {
    remains::supervisor(bundle.world(), &bundle.id).expect("it serves")
}

fn init(bundle: &Bundle) -> i32 {
    let text = fs::read_to_string(bundle.path.join("init.pid")).expect("runc writes it");
    text.trim().parse().expect("a pid")
}

fn a_supervisor_stopped_before_start() {
    let bundle = bundle();
    create(&bundle);
    let pid = supervisor(&bundle);
    assert!(bundle.world().signal(pid, Signal::SIGSTOP));
    fails_late("stopped before start", &bundle, "supervisor");
    assert!(!bundle.output().contains("begun"));
    assert!(bundle.world().signal(pid, Signal::SIGCONT));
    buried(&bundle, "stopped before start");
}

/// Stops the supervisor just after `point`.
fn a_supervisor_stopped_at(point: &Point) {
    let bundle = bundle();
    create(&bundle);
    let pid = supervisor(&bundle);
    let strace = trace::attach(bundle.world(), pid, &point.strike("STOP"));
    fails_late(&format!("supervisor at {point:?}"), &bundle, "supervisor");
    assert!(bundle.world().signal(pid, Signal::SIGCONT));
    buried(&bundle, &format!("supervisor at {point:?}"));
    trace::finish(strace);
}

/// Stops init just after `point`.
fn an_init_stopped_at(point: &Point) {
    let bundle = bundle();
    create(&bundle);
    let words = [vec!["-f".to_owned()], point.strike("STOP")].concat();
    let strace = trace::attach(bundle.world(), init(&bundle), &words);
    fails_late(&format!("init at {point:?}"), &bundle, "within 10 s");
    assert!(!bundle.output().contains("begun"));
    buried(&bundle, &format!("init at {point:?}"));
    trace::finish(strace);
}

fn a_session_whose_supervisor_is_stopped() {
    let bundle = bundle();
    create(&bundle);
    bundle.start().ok();
    let pid = supervisor(&bundle);
    assert!(bundle.world().signal(pid, Signal::SIGSTOP));
    let session = late("exec", || bundle.exec(["harmless", "work"])).expect(255);
    assert!(
        session.stderr.contains("supervisor is gone"),
        "{}",
        session.stderr
    );
    assert_eq!(session.stdout, "");
    assert!(!workload(&bundle).is_empty(), "the workload goes on");
    sound(&bundle, "supervisor stopped");
    assert!(bundle.world().signal(pid, Signal::SIGCONT));
    bundle.exec(["harmless", "work"]).ok();
    buried(&bundle, "supervisor stopped");
}

/// In one test, so that they wait at the same time.
#[test]
fn whoever_is_stopped_costs_ten_seconds_and_lets_nothing_run() {
    let supervisors = [
        Point::new("pidfd_getfd", 1),
        // The welcome, and the word: init is the workload already when `start` gives up.
        Point::new("sendmsg", 1),
        Point::new("sendmsg", 2),
    ];
    let inits = [
        Point::new("landlock_restrict_self", 1),
        Point::new("sendmsg", 2),
    ];
    thread::scope(|scope| {
        scope.spawn(a_supervisor_stopped_before_start);
        scope.spawn(a_session_whose_supervisor_is_stopped);
        for point in &supervisors {
            scope.spawn(move || a_supervisor_stopped_at(point));
        }
        for point in &inits {
            scope.spawn(move || an_init_stopped_at(point));
        }
    });
}
