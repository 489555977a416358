//! A profile: what is accepted resolves and compiles, no profile is more than itself when it is laid
//! over another, and rules of detection can see what they are about.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use mantlet::detect::{MOST_AFTER, Response, Sensor};
use mantlet::policy::Layers;
use mantlet::policy::seccomp::{self, exact, exact::Exact};
use mantlet::profile::{Profile, capability};

use super::bpf;
use super::interpreter::{Call, action, parse, run};
use super::verdict::Action;

static RESTRICTED: LazyLock<Profile> = LazyLock::new(|| Profile::builtin("restricted").unwrap());

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(profile) = Profile::parse("web", text) else {
        return;
    };
    assert_eq!(Profile::parse("web", text).unwrap(), profile, "read twice");
    for name in &profile.capabilities {
        assert_eq!(capability::canonical(name), Some(*name));
    }
    rules(&profile);
    // 1. What it says, and nothing else, is compiled.
    let alone = [&profile];
    let alone = Layers::new(&alone).unwrap();
    let Ok(own) = Exact::new(alone, true) else {
        return;
    };
    if let Ok(planned) = seccomp::plan(alone, None, true) {
        let program = parse(&planned.filter.program);
        for (name, (number, decision)) in &own.calls {
            for args in [[0; 6], [u64::MAX; 6], [1; 6]] {
                let call = Call {
                    number: *number,
                    arch: bpf::NATIVE,
                    args,
                };
                assert_eq!(
                    action(run(&program, &call)),
                    decision.verdict(&args),
                    "{name}"
                );
            }
        }
        assert_eq!(planned.filter.listener, own.notifies());
    }
    for name in exact::LAST_NEEDS {
        assert_eq!(own.calls[name].1.verdict(&[0; 6]), Action::Allow, "{name}");
    }
    // 2. Without notification nothing is allowed that was reported.
    if let Ok(silent) = Exact::new(alone, false) {
        for (name, (_, decision)) in &silent.calls {
            let reported = own.calls[name].1.verdict(&[0; 6]);
            assert_eq!(
                decision.verdict(&[0; 6]).permits(),
                reported.permits(),
                "{name}"
            );
        }
    }
    // 3. Twice is once, and a layer only takes away.
    let pairs = [
        [&profile, &profile],
        [&*RESTRICTED, &profile],
        [&profile, &*RESTRICTED],
    ];
    for (at, pair) in pairs.iter().enumerate() {
        let Ok(both) = Exact::new(Layers::new(pair).unwrap(), true) else {
            continue;
        };
        for (name, (_, decision)) in &both.calls {
            let Some((_, mine)) = own.calls.get(name) else {
                assert!(decision.permits_none(), "{name} is unknown to the profile");
                continue;
            };
            for args in [[0; 6], [u64::MAX; 6]] {
                let (found, mine) = (decision.verdict(&args), mine.verdict(&args));
                assert!(
                    mine.permits() || !found.permits(),
                    "{name}: {mine:?} became {found:?}"
                );
                assert!(
                    at != 0 || found == mine,
                    "{name}: twice {found:?}, once {mine:?}"
                );
            }
        }
    }
}

/// Rules of detection are told apart, keep their bounds, and are about what is reported.
fn rules(profile: &Profile) {
    let mut names = BTreeSet::new();
    let trips = |call: &String| {
        profile
            .syscalls
            .tripwire
            .iter()
            .any(|wire| wire.name == *call)
    };
    for rule in &profile.detect {
        assert!(names.insert(&rule.name), "two rules named {}", rule.name);
        assert_eq!(rule.profile, profile.name);
        assert!((1..=MOST_AFTER).contains(&rule.after));
        assert!(rule.after > 1 || rule.within_ms == 0);
        assert_eq!(rule.freeze.is_some(), rule.respond == Response::Freeze);
        assert!(rule.on.can_deny() || rule.respond != Response::Deny);
        assert!(rule.on.has_process() || rule.respond != Response::KillProcess);
        assert!(rule.calls.iter().all(trips), "{:?}", rule.calls);
        let patterns = rule.programs.iter().chain(&rule.unless);
        assert!(
            patterns
                .into_iter()
                .all(|pattern| !pattern.starts_with('@'))
        );
        if rule.on == Sensor::FilelessExec {
            let memfd = Exact::new(Layers::new(&[profile]).unwrap(), true);
            let memfd = memfd.map(|exact| exact.calls["memfd_create"].1.verdict(&[0; 6]));
            assert!(!memfd.is_ok_and(Action::permits), "memory can be executed");
        }
    }
}
