//! The algebra of decisions, and that a compiled decision answers as the algebra does.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::json;

use super::generate::{Random, VALUES, random_engine};
use super::installed::Installed;
use super::interpreter::{Call, parse, run};
use super::verdict::{Action, Compare, Condition, Decision};
use super::{bpf, engine, exact, number};

/// Every value's neighbours as often as itself.
fn arguments(random: &mut Random) -> [u64; 6] {
    std::array::from_fn(|_| {
        let value = *random.pick(&VALUES);
        value.wrapping_add(random.below(3)).wrapping_sub(1)
    })
}

#[test]
fn a_compiled_decision_answers_as_the_algebra_does() {
    let mut random = Random::new(3);
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
            &bpf::compile(&decisions, exact::UNKNOWN, exact::FOREIGN).unwrap(),
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
    let mut random = Random::new(5);
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

/// Found by the fuzzer: with these two inequalities libseccomp 2.5.4 never comes to the first.
#[test]
fn inequalities_that_overlap_are_read_at_least_as_strictly_as_libseccomp_compiles_them() {
    for (action, default) in [("ALLOW", "ERRNO"), ("TRAP", "KILL")] {
        let filter: LinuxSeccomp = serde_json::from_value(json!({
            "defaultAction": format!("SCMP_ACT_{default}"),
            "syscalls": [{"names": ["openat"], "action": format!("SCMP_ACT_{action}"), "args": [
                {"index": 2, "value": 0x1_0000_0001_u64, "op": "SCMP_CMP_LT"},
                {"index": 2, "value": 0xffff_ffff_u64, "op": "SCMP_CMP_LT"},
            ]}],
        }))
        .unwrap();
        let (program, read) = (Installed::new(&filter), engine::decision(&filter, "openat"));
        for value in [0, 0xffff_fffe, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001] {
            let call = Call {
                number: number("openat"),
                arch: bpf::NATIVE,
                args: [0, 0, value, 0, 0, 0],
            };
            let (compiled, read) = (program.answer(&call), read.verdict(&call.args));
            assert!(
                read.rank() <= compiled.rank(),
                "{value:x}: {compiled:?}, {read:?}"
            );
        }
    }
}
