//! The memory, read back by whoever has not written it.

use super::*;
use crate::detect::{Response, Sensor, Severity};

fn rule(after: u32, within_ms: u64) -> Rule {
    Rule {
        name: "r".into(),
        profile: "p".into(),
        on: Sensor::Tripwire,
        calls: Vec::new(),
        programs: Vec::new(),
        above: None,
        unless: Vec::new(),
        respond: Response::Log,
        would: None,
        after,
        within_ms,
        freeze: None,
        severity: Severity::Info,
        tags: Vec::new(),
    }
}

#[test]
fn events_come_out_as_they_went_in_around_the_ring_s_end() {
    let shared = Shared::new(&[], false).unwrap();
    for round in 0..2000_u64 {
        let body = vec![b'a' + (round % 26) as u8; (round as usize * 37) % 5000];
        assert!(shared.commit(round, &[(Kind::Detection, body.clone())]));
        let entry = shared.take().unwrap();
        assert_eq!((entry.call, entry.kind), (round, Kind::Detection));
        assert_eq!(entry.body, body);
    }
    assert!(shared.take().is_none());
}

#[test]
fn a_full_ring_takes_nothing_and_loses_nothing() {
    let shared = Shared::new(&[], false).unwrap();
    let body = vec![b'x'; 1000];
    let mut taken = 0;
    while shared.commit(0, &[(Kind::Other, body.clone())]) {
        taken += 1;
    }
    assert!(taken > 40);
    for _ in 0..taken {
        assert_eq!(shared.take().unwrap().body, body);
    }
    assert!(shared.take().is_none());
    assert!(!shared.commit(0, &[(Kind::Other, vec![0; LARGEST + 1])]));
}

#[test]
fn what_no_watcher_of_ours_writes_is_counted_and_no_more() {
    for (head, length) in [(16_u64, u32::MAX), (8, 0), (u64::MAX, 3), (64, 60)] {
        let shared = Shared::new(&[], false).unwrap();
        shared.put(0, &length.to_le_bytes());
        shared.set(HEAD, head);
        assert!(shared.take().is_none());
        assert_eq!(shared.take_dropped(), 1);
        assert!(shared.take().is_none(), "it goes on behind it");
    }
}

#[test]
fn a_window_counts_what_lies_within_it() {
    let rules = [rule(3, 10_000), rule(2, 0), rule(1, 0)];
    let shared = Shared::new(&rules, false).unwrap();
    let hits = |at: &[u64]| {
        at.iter()
            .map(|now| shared.hit(0, &rules[0], *now))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        hits(&[20_000, 21_000, 35_000, 36_000, 37_000, 37_001]),
        [1, 2, 1, 2, 3, 3]
    );
    assert_eq!(
        (0..3)
            .map(|now| shared.hit(1, &rules[1], now))
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(
        shared.hit(2, &rules[2], 0),
        1,
        "the rules' windows do not touch"
    );
}

#[test]
fn events_that_belong_together_come_together_or_not_at_all() {
    let shared = Shared::new(&[], false).unwrap();
    let part = |length| (Kind::Detection, vec![b'x'; length]);
    assert!(shared.commit(7, &[part(LARGEST), part(LARGEST)]));
    assert!(!shared.commit(8, &[part(10), part(LARGEST)]));
    for _ in 0..2 {
        assert_eq!(shared.take().unwrap().call, 7);
    }
    assert!(shared.take().is_none());
}

#[test]
fn a_call_whose_watcher_ended_while_it_counted_is_counted_once() {
    let shared = Shared::new(&[], false).unwrap();
    assert!(!shared.is_call_counted());
    shared.leave_out_call(250);
    // Ended after the count, or between its two words: either way whoever comes makes it one.
    for lost in [false, true] {
        if lost {
            shared.set(LEFT_CALLS + 250 * 8, 0);
        }
        assert!(shared.is_call_counted() && shared.is_call_counted());
    }
    assert_eq!(shared.take_left_calls(), [(250, 1)]);
    // Nothing but a count is ever written that way.
    for at in [HEAD, TAIL, CALL, LEFT_CALLS + 4, LEFT_RULES, usize::MAX] {
        shared.set(COUNTED_AT, at as u64);
        assert!(!shared.is_call_counted(), "{at}");
    }
}

#[test]
fn an_allowance_fills_again_and_no_watcher_begins_with_a_full_one() {
    let shared = Shared::new(&[], false).unwrap();
    let burst = (0..300).filter(|_| shared.admits(Lines::Calls, 1_000_000));
    assert_eq!(burst.count(), 200);
    let later = (0..300).filter(|_| shared.admits(Lines::Calls, 1_000_500));
    assert_eq!(later.count(), 10);
    assert!(shared.admits(Lines::Ends, 1_000_500), "each has its own");
}

#[test]
fn what_is_left_out_is_counted_once() {
    let shared = Shared::new(&[rule(1, 0)], false).unwrap();
    for number in [165, 165, -1, 9999] {
        shared.leave_out_call(number);
    }
    shared.leave_out_rule(0);
    assert_eq!(shared.take_left_calls(), [(165, 2), (511, 2)]);
    assert_eq!(shared.take_left_rules(), [(0, 1)]);
    assert!(shared.take_left_calls().is_empty() && shared.take_left_rules().is_empty());
}
