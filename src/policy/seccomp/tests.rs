//! The invariant of DESIGN §6: at each moment, for every call outside init's own needs, the
//! verdict is at least as strict as the engine's, and with the exact filter on as the profile's.

use oci_spec::runtime::{LinuxSeccomp, Spec};
use serde_json::json;

use super::interpreter::{Call, action, parse, run};
use super::verdict::{Action, Compare, Condition, Decision};
use super::{Filters, Layers, bpf, engine, exact, plan, runtime};
use crate::oci::patch;
use crate::profile::Profile;
use crate::profile::table::{Lookup, lookup};

pub mod generate;

use generate::{NAMES, Random, VALUES, arguments, random_engine, random_profile, runtime_program};

fn number(name: &str) -> u32 {
    match lookup(name) {
        Lookup::Number(number) => number,
        other => panic!("{name}: {other:?}"),
    }
}

fn plan_builtin(
    name: &str,
    engine: Option<&LinuxSeccomp>,
    notify: bool,
) -> Result<Filters, bpf::TooLarge> {
    plan(
        Layers::from(&&Profile::builtin(name).unwrap()),
        engine,
        notify,
    )
}

fn patched(filter: Option<&LinuxSeccomp>, edits: &[patch::Edit]) -> LinuxSeccomp {
    let mut document = json!({"linux": {}});
    if let Some(filter) = filter {
        document["linux"]["seccomp"] = serde_json::to_value(filter).unwrap();
    }
    patch::apply(&mut document, edits).unwrap();
    serde_json::from_value(document["linux"]["seccomp"].clone()).unwrap()
}

/// How often a property is tried; MANTLET_ROUNDS asks for more.
pub fn rounds(budget: u32) -> u32 {
    let asked = std::env::var("MANTLET_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(budget)
}

/// Checks one pair; answers how many calls both allowed.
pub fn check(
    filter: Option<&LinuxSeccomp>,
    layers: Layers<'_>,
    random: &mut Random,
    names: &[&str],
) -> (u32, u32) {
    let planned = plan(layers, filter, true).unwrap();
    let patched = patched(filter, &planned.edits);
    let outer = runtime_program(&patched);
    let plain = filter.map(runtime_program);
    let inner = parse(&planned.filter.program);
    let wanted = exact::Exact::new(layers, true).unwrap();
    let (mut both, mut miscompiled) = (0, 0);
    for name in names {
        let number = number(name);
        for _ in 0..40 {
            let call = Call {
                number,
                arch: bpf::NATIVE,
                args: arguments(random),
            };
            let first = action(run(&outer, &call));
            let second = action(run(&inner, &call));
            let together = second.meet(first);
            let engine = plain
                .as_ref()
                .map_or(Action::Allow, |p| action(run(p, &call)));
            // libseccomp 2.5.4 miscompiles some overlapping rules of several conditions: it answers
            // what no rule says, and differently when another call's rules change. Nothing can be
            // promised about those; the caller bounds how many there are.
            let sound = |f: &LinuxSeccomp, answer: Action| {
                let possible = engine::possible(f, name, &call.args);
                possible.iter().any(|action| action.rank() == answer.rank())
            };
            if !sound(&patched, first) || filter.is_some_and(|f| !sound(f, engine)) {
                miscompiled += 1;
                continue;
            }
            let own = wanted.calls[*name].1.verdict(&call.args);
            let context = || {
                format!(
                    "{name} {call:x?}: engine {engine:?}, profile {own:?}, runtime {first:?}, exact {second:?}\n{filter:?}"
                )
            };
            // TRACE answers ENOSYS without a tracer: it counts as an errno before init.
            let counts = |a: Action| if a == Action::Trace { 3 } else { a.rank() };
            if !runtime::INIT_NEEDS.contains(name) {
                assert!(
                    counts(first) <= counts(engine),
                    "runtime's filter alone: {}",
                    context()
                );
            }
            if exact::LAST_NEEDS.contains(name) {
                assert_eq!(second, Action::Allow);
                continue;
            }
            // A tripwire's USER_NOTIF is answered with an errno by the supervisor, or ENOSYS.
            let answered = |a: Action| if a == Action::Notify { 3 } else { a.rank() };
            assert!(answered(together) <= engine.rank(), "both: {}", context());
            assert!(together.rank() <= own.rank(), "both: {}", context());
            assert_ne!(
                together,
                Action::Trace,
                "a tracer would decide: {}",
                context()
            );
            // Where an argument appears twice, the strict reading of the engine's rule holds.
            let strict = filter.map_or(Action::Allow, |f| {
                engine::decision(f, name).verdict(&call.args)
            });
            if engine.permits() && strict.permits() && own.permits() {
                assert!(together.permits(), "both allow it: {}", context());
                both += 1;
            }
        }
    }
    (both, miscompiled)
}

#[test]
fn no_pair_of_engine_and_profile_is_ever_weaker_than_either() {
    let budget = rounds(400);
    let mut random = Random(1);
    let (mut both, mut miscompiled) = (0, 0);
    for _ in 0..budget {
        let filter = random_engine(&mut random);
        let profile = random_profile(&mut random);
        let counted = check(Some(&filter), Layers::from(&&profile), &mut random, &NAMES);
        both += counted.0;
        miscompiled += counted.1;
    }
    let asked = budget * 40 * NAMES.len() as u32;
    assert!(
        miscompiled < asked / 50,
        "{miscompiled} of {asked} are libseccomp's own"
    );
    assert!(
        both > 1000,
        "only {both} calls were allowed by both: the generator says nothing"
    );
}

#[test]
fn the_shipped_profiles_over_containerds_default_are_never_weaker() {
    let spec: Spec = serde_json::from_str(include_str!("../testdata/ctr-seccomp.json")).unwrap();
    let filter = spec.linux().as_ref().unwrap().seccomp().as_ref().unwrap();
    for name in ["baseline", "restricted", "pause"] {
        let profile = Profile::builtin(name).unwrap();
        let known = crate::profile::groups::members("2026.1", "known").unwrap();
        let numbered: Vec<&str> = known
            .into_iter()
            .filter(|n| matches!(lookup(n), Lookup::Number(_)))
            .collect();
        let (both, miscompiled) = check(
            Some(filter),
            Layers::from(&&profile),
            &mut Random(7),
            &numbered,
        );
        assert!(both > 500 && miscompiled == 0);
        check(None, Layers::from(&&profile), &mut Random(8), &numbered);
    }
}

#[test]
fn a_tripwire_that_the_engine_denies_becomes_trace_and_is_notified() {
    let spec: Spec = serde_json::from_str(include_str!("../testdata/ctr-seccomp.json")).unwrap();
    let filter = spec.linux().as_ref().unwrap().seccomp().as_ref().unwrap();
    let planned = plan_builtin("restricted", Some(filter), true).unwrap();
    let runtime = patched(Some(filter), &planned.edits);
    let outer = runtime_program(&runtime);
    let inner = parse(&planned.filter.program);
    for name in [
        "mount",
        "unshare",
        "bpf",
        "keyctl",
        "init_module",
        "userfaultfd",
        "ptrace",
    ] {
        let call = Call {
            number: number(name),
            arch: bpf::NATIVE,
            args: [0; 6],
        };
        let first = action(run(&outer, &call));
        if name == "ptrace" {
            assert_eq!(
                first,
                Action::Allow,
                "the engine allows it: only init's filter speaks"
            );
        } else {
            assert_eq!(first, Action::Trace, "{name}");
        }
        assert_eq!(action(run(&inner, &call)), Action::Notify, "{name}");
        assert!(planned.tripwires.iter().any(|t| t.syscall == name));
    }
    let ring = planned
        .tripwires
        .iter()
        .find(|t| t.syscall == "io_uring_setup")
        .unwrap();
    assert_eq!(ring.errno, libc::ENOSYS);
    assert!(planned.filter.listener);
}

#[test]
fn other_architectures_and_x32_are_killed_and_minus_one_is_unknown() {
    let planned = plan_builtin("baseline", None, true).unwrap();
    let program = parse(&planned.filter.program);
    let ask = |number, arch| {
        action(run(
            &program,
            &Call {
                number,
                arch,
                args: [0; 6],
            },
        ))
    };
    assert_eq!(ask(number("getpid"), bpf::NATIVE), Action::Allow);
    assert_eq!(ask(20, 0x4000_0003), Action::KillProcess, "i386");
    assert_eq!(
        ask(0x4000_0000 | 39, bpf::NATIVE),
        Action::KillProcess,
        "x32"
    );
    assert_eq!(ask(u32::MAX, bpf::NATIVE), exact::UNKNOWN);
    assert_eq!(ask(9999, bpf::NATIVE), exact::UNKNOWN);
    assert_eq!(ask(number("clone3"), bpf::NATIVE), exact::UNKNOWN);
    assert_eq!(ask(number("vserver"), bpf::NATIVE), exact::UNKNOWN);
}

#[test]
fn an_int_argument_is_compared_without_its_upper_half() {
    let planned = plan_builtin("baseline", None, true).unwrap();
    let program = parse(&planned.filter.program);
    let ioctl = |request: u64| {
        let call = Call {
            number: number("ioctl"),
            arch: bpf::NATIVE,
            args: [0, request, 0, 0, 0, 0],
        };
        action(run(&program, &call))
    };
    assert_eq!(ioctl(0x5412), Action::Notify);
    assert_eq!(
        ioctl(0xdead_beef_0000_5412),
        Action::Notify,
        "CVE-2019-10063"
    );
    assert_eq!(ioctl(0x5413), Action::Allow);
    let clone = |flags: u64| {
        let call = Call {
            number: number("clone"),
            arch: bpf::NATIVE,
            args: [flags, 0, 0, 0, 0, 0],
        };
        action(run(&program, &call))
    };
    assert_eq!(clone(17), Action::Allow);
    assert_eq!(clone(0x1000_0000 | 17), Action::Notify, "CLONE_NEWUSER");
    let socket = |family: u64| {
        let call = Call {
            number: number("socket"),
            arch: bpf::NATIVE,
            args: [family, 0, 0, 0, 0, 0],
        };
        action(run(&program, &call))
    };
    assert_eq!(
        (socket(1), socket(10), socket(38)),
        (Action::Allow, Action::Allow, Action::Notify)
    );
}

#[test]
fn a_compiled_decision_answers_as_the_algebra_does() {
    let mut random = Random(3);
    let compares = [
        Compare::Eq,
        Compare::Ne,
        Compare::Lt,
        Compare::Le,
        Compare::Gt,
        Compare::Ge,
    ];
    let actions = [
        Action::Allow,
        Action::Notify,
        Action::Errno(1),
        Action::Errno(38),
        Action::Trap,
    ];
    for _ in 0..300 {
        let mut decisions = std::collections::BTreeMap::new();
        for _ in 0..random.below(60) {
            let mut branches = Vec::new();
            for _ in 0..random.below(4) {
                let conditions = (0..1 + random.below(5))
                    .map(|_| Condition {
                        index: random.below(6) as u8,
                        compare: *random.pick(&compares),
                        value: *random.pick(&VALUES),
                        mask: *random.pick(&[
                            u64::MAX,
                            0xffff_ffff,
                            0x7e02_0000,
                            0xff_0000_00ff,
                            0,
                        ]),
                    })
                    .collect();
                branches.push((conditions, *random.pick(&actions)));
            }
            let decision = Decision {
                branches,
                otherwise: *random.pick(&actions),
            };
            decisions.insert(random.below(80) as u32, decision);
        }
        let program = parse(&bpf::bytes(
            &bpf::compile(&decisions, exact::UNKNOWN).unwrap(),
        ));
        for number in 0..82 {
            for _ in 0..20 {
                let call = Call {
                    number,
                    arch: bpf::NATIVE,
                    args: arguments(&mut random),
                };
                let want = decisions
                    .get(&number)
                    .map_or(exact::UNKNOWN, |d| d.verdict(&call.args));
                assert_eq!(
                    run(&program, &call),
                    want.value(),
                    "{number} {call:x?}\n{decisions:#?}"
                );
            }
        }
    }
}

#[test]
fn the_meet_of_two_decisions_is_the_stricter_answer_for_all_arguments() {
    let mut random = Random(5);
    for _ in 0..300 {
        let (a, b) = (random_engine(&mut random), random_engine(&mut random));
        let (a, b) = (engine::decision(&a, "clone"), engine::decision(&b, "clone"));
        let (ab, ba) = (a.meet(&b), b.meet(&a));
        for _ in 0..50 {
            let args = arguments(&mut random);
            let want = a.verdict(&args).meet(b.verdict(&args)).rank();
            assert_eq!(ab.verdict(&args).rank(), want);
            assert_eq!(ba.verdict(&args).rank(), want, "commutative");
        }
    }
}

#[test]
fn hot_calls_carry_no_condition() {
    let planned = plan_builtin("restricted", None, true).unwrap();
    for name in [
        "read",
        "write",
        "futex",
        "epoll_wait",
        "mmap",
        "openat",
        "close",
        "sendmsg",
        "recvfrom",
        "clock_gettime",
    ] {
        let (_, decision) = &planned.exact.calls[name];
        assert!(
            decision.branches.is_empty() && decision.otherwise == Action::Allow,
            "{name}"
        );
    }
    assert!(
        planned.filter.program.len() / 8 < 600,
        "{}",
        planned.filter.program.len() / 8
    );
}
