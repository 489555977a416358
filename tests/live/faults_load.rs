//! A container that does more than anybody can write down: nothing stalls, what is left out is counted,
//! and the supervisor stays as small as it was.

use std::time::{Duration, Instant};

use crate::detect::site;
use crate::faults::{self, cpu, descriptors, keeper, resident, serving, told, waited};
use crate::harness::{Bundle, World, eventually};

/// Hits of the test that hammers; `MANTLET_ROUNDS` makes it other than a fiftieth of a million.
fn hits() -> u64 {
    let rounds = std::env::var("MANTLET_ROUNDS").ok();
    rounds.and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

/// Waits as [`eventually`], for as long as so many hits take.
fn patiently<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120) + Duration::from_micros(hits() * 400);
    loop {
        match ready() {
            Some(answer) => return answer,
            None => assert!(Instant::now() < deadline, "gave up waiting for strain"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What both processes take: memory in KiB, descriptors, CPU time.
fn takes(keeper: i32, watcher: i32) -> (u64, usize, Duration) {
    (
        resident(keeper) + resident(watcher),
        descriptors(keeper) + descriptors(watcher),
        cpu(keeper) + cpu(watcher),
    )
}

/// Runs the workload to its end; what it counted, and by how much the supervisor grew meanwhile.
fn strain(keys: &str, args: &[&str]) -> (Bundle, std::collections::BTreeMap<String, u64>) {
    let bundle = site(World::runc(), keys).args(args).up();
    eventually("it is ready", || {
        bundle.output().contains("ready").then_some(())
    });
    let keeper = keeper(&bundle);
    let watcher = serving(keeper);
    let before = takes(keeper, watcher);
    let begin = Instant::now();
    bundle.kill("USR1").ok();
    let mut most = before;
    let mut stood = Duration::ZERO;
    let did = patiently(|| {
        stood = stood.max(waited(watcher));
        let now = takes(keeper, watcher);
        most = (most.0.max(now.0), most.1.max(now.1), most.2.max(now.2));
        faults::counted(&bundle.output())
    });
    println!(
        "{args:?}: {:?}, {did:?}; memory {} to {} KiB, descriptors {} to {}, CPU {:?}, the watcher stood in line for {:?}",
        begin.elapsed(),
        before.0,
        most.0,
        before.1,
        most.1,
        most.2.saturating_sub(before.2),
        stood
    );
    assert!(most.0 < before.0 + 8192, "memory: {before:?} {most:?}");
    assert!(most.1 < before.1 + 1200, "descriptors: {before:?} {most:?}");
    faults::ended(&bundle);
    (bundle, did)
}

#[test]
fn ten_thousand_forks_wake_nobody() {
    let (bundle, did) = strain("", &["strain", "later", "fork", "1", "10000"]);
    assert_eq!(did["executed"], 10_000);
    faults::no_hole(&faults::journal(&bundle));
}

#[test]
fn executions_faster_than_anybody_writes_are_all_counted() {
    let keys = "detect: [{on: exec}]";
    let (bundle, did) = strain(
        keys,
        &["strain", "later", "execute", "4", "1000", "/bin/strain"],
    );
    assert_eq!((did["executed"], did["refused"]), (4000, 0));
    let events = faults::journal(&bundle);
    let of = "detection site/exec";
    let overflows = told(&events, "overflow", "");
    let lost = events.iter().filter(|event| event["type"] == "lost");
    let lost: u64 = lost.filter_map(|event| event["count"].as_u64()).sum();
    let told = told(&events, "detection", of);
    // And the workload's own.
    let wanted = did["executed"] + 1;
    println!("{told} of {wanted} told, {lost} lost, {overflows} overflows");
    assert!(told + lost == wanted || overflows > 0, "{told} {lost}");
}

#[test]
fn executions_that_are_refused_by_the_thousand_are_all_refused_and_counted() {
    let bundle = "cp /bin/strain /tmp/new; exec strain later execute 2 500 /tmp/new";
    let (bundle, did) = strain(
        "detect: [{on: drift, respond: deny}]",
        &["sh", "-c", bundle],
    );
    assert_eq!((did["executed"], did["refused"]), (0, 1000));
    let events = faults::journal(&bundle);
    faults::no_hole(&events);
    assert_eq!(told(&events, "detection", "detection site/drift"), 1000);
}

#[test]
fn whoever_hammers_a_tripwire_is_slowed_down_and_nobody_else() {
    let other = site(World::runc(), "").args(["harmless", "stay"]).up();
    let each = (hits() / 2).to_string();
    std::thread::scope(|scope| {
        let hammer = scope.spawn(|| strain("", &["strain", "later", "hammer", "2", &each]));
        let mut slowest = 0;
        let mut asked = 0;
        while !hammer.is_finished() && asked < 100 {
            // Within what is told at once: this one is not slowed down.
            let done = other.exec(["strain", "hammer", "1", "10"]).ok();
            let did = faults::counted(&done.stdout).expect("it counts");
            assert_eq!(did["eperm"], 10);
            slowest = slowest.max(did["micros"] / 10);
            asked += 10;
        }
        println!("another container's calls: {asked}, {slowest} µs at the most");
        let (bundle, did) = hammer.join().expect("it ends");
        assert_eq!(did["calls"], hits() / 2 * 2);
        faults::adds_up(&bundle, &did);
        // 32 in 2 ms, once they are not told any more.
        let least = (did["calls"] - 400) / 32 * 2000;
        assert!(did["micros"] > least * 9 / 10, "{did:?}");
        let size = std::fs::metadata(faults::journal_path(&bundle))
            .expect("a journal")
            .len();
        assert!(size < 8 << 20, "{size}");
    });
}
