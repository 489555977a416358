//! A watcher that is killed, at whatever moment, costs nobody anything: each call is answered with its
//! denial and told exactly once. One that is stopped or cannot begin holds up a start, and no longer
//! than the deadline.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::detect::{of_type, site};
use crate::faults::{self, have, keeper, serving, signal, strained};
use crate::harness::{Bundle, World, eventually};
use crate::kills::buried;
use crate::remains;
use crate::trace::{self, Point};

const DRIFT: &str = "detect: [{on: drift, respond: deny}]";

/// Kills of the test under load; `MANTLET_ROUNDS` makes it other than a thousand.
fn rounds() -> u32 {
    let rounds = std::env::var("MANTLET_ROUNDS").ok();
    rounds.and_then(|text| text.parse().ok()).unwrap_or(1000)
}

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[test]
fn a_thousand_watchers_killed_under_load_lose_no_call_and_no_number() {
    let bundle = site(World::runc(), DRIFT)
        .args(["strain", "both", "4", "/bin/strain"])
        .up();
    let keeper = keeper(&bundle);
    let (mut random, mut former) = (1_u32, 0);
    let begin = Instant::now();
    for round in 0..rounds() {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let pid = if round % 10 == 9 {
            // On its way, as like as not before it is confined.
            eventually("a watcher", || {
                let found = faults::child(keeper, "mantlet-watcher");
                found.filter(|pid| *pid != former)
            })
        } else {
            faults::serving_after(keeper, former)
        };
        former = pid;
        spin(Duration::from_micros(u64::from(random >> 20)));
        signal(pid, Signal::SIGKILL);
    }
    let took = begin.elapsed();
    serving(keeper);
    bundle.kill("TERM").ok();
    let did = strained(&bundle);
    faults::ended(&bundle);
    faults::adds_up(&bundle, &did);
    let events = faults::journal(&bundle);
    let ended = events
        .iter()
        .filter(|event| event["type"] == "watcher")
        .count();
    println!(
        "{ended} watchers ended in {took:?}: {did:?}, {} lines",
        events.len()
    );
    // A kill may hit one that has ended a moment ago.
    assert!(ended as u32 > rounds() * 9 / 10, "{ended}");
    assert!(did["calls"] > 100 && did["executed"] > 100, "{did:?}");
    assert!(did["refused"] < did["executed"], "{did:?}");
}

/// A container that waits for signals, under a profile with these keys.
fn waiting(keys: &str) -> Bundle {
    faults::waiting(site(World::runc(), keys))
}

/// Every system call that a watcher makes for one signal to the workload.
fn points(bundle: &Bundle, keeper: i32, signal_name: &str) -> Vec<Point> {
    let file = bundle.path.join("trace");
    let pid = serving(keeper);
    let list = ["-o".to_owned(), file.to_string_lossy().into_owned()];
    let strace = trace::attach_host(pid, &list);
    have(bundle, signal_name);
    faults::end(pid);
    trace::finish(strace);
    let all = trace::points(&file, None);
    assert!(all.len() > 8, "{all:?}");
    all
}

#[test]
fn a_watcher_killed_at_any_call_of_an_answer_tells_it_once() {
    let keys = "detect: [{on: tripwire, calls: [keyctl]}]";
    let bundle = waiting(keys);
    let keeper = keeper(&bundle);
    let all = points(&bundle, keeper, "USR1");
    let mut calls = 1;
    for point in trace::spread(&all, &["ioctl", "write"], 20) {
        let pid = serving(keeper);
        let strace = trace::attach_host(pid, &point.strike("KILL"));
        assert_eq!(have(&bundle, "USR1"), "errno EPERM", "{point:?}");
        // Where it did not come to that call this time.
        faults::end(pid);
        trace::finish(strace);
        calls += 1;
    }
    bundle.kill("TERM").ok();
    let did = strained(&bundle);
    faults::ended(&bundle);
    assert_eq!(did["calls"], calls);
    faults::adds_up(&bundle, &did);
    // What the rule has to say of a call comes with the call.
    assert_eq!(of_type(&bundle, "detection").len() as u64, calls);
}

#[test]
fn a_watcher_killed_at_any_call_of_an_execution_has_it_answered() {
    let bundle = waiting(DRIFT);
    let keeper = keeper(&bundle);
    let all = points(&bundle, keeper, "USR2");
    let mut refused = 0;
    for point in trace::spread(&all, &["write"], 16) {
        let pid = serving(keeper);
        let strace = trace::attach_host(pid, &point.strike("KILL"));
        let came = have(&bundle, "USR2");
        refused += usize::from(came.ends_with("refused"));
        faults::end(pid);
        trace::finish(strace);
    }
    assert_eq!(have(&bundle, "USR2"), "ran");
    bundle.kill("TERM").ok();
    strained(&bundle);
    faults::ended(&bundle);
    let events = faults::journal(&bundle);
    faults::no_hole(&events);
    let denied = events.iter().filter(|event| event.get("denied").is_some());
    assert_eq!(
        denied.count(),
        refused,
        "each refusal is told, and nothing else as one"
    );
    assert!(refused > 0, "no point was in the midst of it");
}

/// Calls that a watcher makes on its way and a keeper never does.
const ON_THE_WAY: [(&str, usize); 9] = [
    ("prctl", 1),
    ("unshare", 1),
    ("mount", 2),
    ("pivot_root", 1),
    ("umount2", 1),
    ("setgroups", 1),
    ("setresuid", 1),
    ("capset", 1),
    ("seccomp", 1),
];

#[test]
fn a_watcher_that_never_gets_ready_leaves_the_keeper_alone_and_calls_denied() {
    let bundle = waiting("");
    let keeper = keeper(&bundle);
    for (name, number) in ON_THE_WAY {
        let words = [
            vec!["-f".to_owned()],
            Point::new(name, number).strike("KILL"),
        ]
        .concat();
        let former = serving(keeper);
        let strace = trace::attach_host(keeper, &words);
        signal(former, Signal::SIGKILL);
        let why = "killed by SIGKILL before it was ready; nothing starts without one";
        eventually(&format!("{name}: no session, and why"), || {
            let session = bundle.exec(["harmless", "work"]);
            assert_ne!(session.code, 0, "{name}");
            session.stderr.contains(why).then_some(())
        });
        assert_eq!(have(&bundle, "USR1"), "errno EPERM", "{name}");
        trace::detach(strace);
        serving(keeper);
        eventually("a session works again", || {
            (bundle.exec(["harmless", "work"]).code == 0).then_some(())
        });
        assert_eq!(have(&bundle, "USR1"), "errno EPERM", "{name}");
    }
    bundle.kill("TERM").ok();
    let did = strained(&bundle);
    faults::ended(&bundle);
    faults::adds_up(&bundle, &did);
}

#[test]
fn a_watcher_that_cannot_be_confined_has_the_container_refused_with_the_reason() {
    let cases = [
        (
            "pivot_root",
            "EINVAL",
            "cannot enter an empty root: cannot change the root",
        ),
        (
            "mount",
            "EPERM",
            "cannot enter an empty root: cannot make / private",
        ),
        (
            "setresuid",
            "EAGAIN",
            "cannot give up its privileges: cannot change the user",
        ),
        ("seccomp", "EINVAL", "cannot install its seccomp filter"),
    ];
    for (call, errno, says) in cases {
        let bundle = site(World::runc(), DRIFT);
        bundle.write();
        assert_eq!(bundle.create(), 0);
        let keeper = keeper(&bundle);
        let inject = format!("inject={call}:error={errno}");
        let words = [
            "-f",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
            "-e",
            &inject,
        ];
        let strace = trace::attach_host(keeper, &words.map(str::to_owned));
        signal(serving(keeper), Signal::SIGKILL);
        let start = bundle.start().expect(1);
        let wanted = [
            says,
            "the container's watcher is not there",
            "nothing starts without one",
        ];
        for word in wanted {
            assert!(start.stderr.contains(word), "{call}: {}", start.stderr);
        }
        trace::detach(strace);
        buried(&bundle, call);
    }
}

#[test]
fn a_stopped_watcher_fails_a_start_at_the_deadline_and_a_crashed_one_is_told() {
    let bundle = site(World::runc(), DRIFT);
    bundle.write();
    assert_eq!(bundle.create(), 0);
    let stopped = serving(keeper(&bundle));
    assert!(signal(stopped, Signal::SIGSTOP));
    let begin = Instant::now();
    let start = bundle.start().expect(1);
    assert!(begin.elapsed() > Duration::from_secs(9));
    assert!(start.stderr.contains("within 10 s"), "{}", start.stderr);
    remains::nothing_runs(bundle.world(), &bundle.id);
    assert!(
        fs::metadata(format!("/proc/{stopped}")).is_err(),
        "it is not left behind"
    );
    buried(&bundle, "stopped");

    let bundle = waiting("");
    signal(serving(keeper(&bundle)), Signal::SIGSEGV);
    assert_eq!(have(&bundle, "USR1"), "errno EPERM");
    let event = eventually("its end is told", || of_type(&bundle, "watcher").pop());
    assert_eq!(event["ended"], "was killed by SIGSEGV", "{event}");
}

#[test]
fn executions_that_a_killed_watcher_had_in_hand_are_counted_as_lost() {
    let bundle = waiting("detect: [{on: exec}]");
    let keeper = keeper(&bundle);
    let told = || of_type(&bundle, "detection").len() as u64;
    eventually("the first is told", || (told() == 1).then_some(()));
    let pid = serving(keeper);
    // It has looked at the execution, and waits for the program to run.
    let strace = trace::attach_host(pid, &Point::new("ppoll", 1).strike("KILL"));
    assert_eq!(have(&bundle, "USR2"), "ran");
    faults::end(pid);
    trace::finish(strace);
    serving(keeper);
    bundle.kill("TERM").ok();
    faults::ended(&bundle);
    let lost: u64 = of_type(&bundle, "lost")
        .iter()
        .filter_map(|event| event["count"].as_u64())
        .sum();
    assert_eq!(told() + lost, 2, "{:?}", faults::journal(&bundle));
}
