//! The algebra of layers, asked of compiled programs: allowed is what all allow, reported what any
//! reports, in whatever order they come.

use super::interpreter::{Call, action, parse, run};
use super::tests::generate::{NAMES, Random, arguments, random_profile};
use super::tests::rounds;
use super::verdict::Action;
use super::{Layers, bpf, exact, plan};
use crate::profile::Profile;
use crate::profile::table::{Lookup, lookup};

/// The exact filter's program over an engine without a filter.
fn program(profiles: &[&Profile]) -> Vec<bpf::Instruction> {
    let planned = plan(Layers::new(profiles).unwrap(), None, true).unwrap();
    parse(&planned.filter.program)
}

fn ask(program: &[bpf::Instruction], name: &str, args: [u64; 6]) -> Action {
    let Lookup::Number(number) = lookup(name) else {
        panic!("{name} has no number");
    };
    let call = Call {
        number,
        arch: bpf::NATIVE,
        args,
    };
    action(run(program, &call))
}

#[test]
fn layers_allow_what_all_allow_and_report_what_any_reports_in_any_order() {
    let mut random = Random::new(11);
    let (mut allowed, mut reported) = (0, 0);
    for _ in 0..rounds(150) {
        let [a, b, c] = std::array::from_fn(|_| random_profile(&mut random));
        let alone = [program(&[&a]), program(&[&b]), program(&[&c])];
        let together = [
            program(&[&a, &b, &c]),
            program(&[&c, &a, &b]),
            program(&[&b, &c, &a, &b]),
        ];
        for name in NAMES {
            for _ in 0..20 {
                let args = arguments(&mut random);
                let each = alone.each_ref().map(|layer| ask(layer, name, args));
                let all = together.each_ref().map(|layers| ask(layers, name, args));
                let context = || format!("{name} {args:x?}: {each:?}, together {all:?}");
                let permits = each.iter().all(|layer| layer.permits());
                assert!(all.iter().all(|a| a.permits() == permits), "{}", context());
                // One layer filters clone: then clone3 is absent, whatever another says of it.
                let absent = name == "clone3" && all[0] == exact::UNKNOWN;
                let reports = !absent && each.contains(&Action::Notify);
                let notified = |a: &Action| (*a == Action::Notify) == reports;
                assert!(all.iter().all(notified), "{}", context());
                allowed += u32::from(permits && !exact::LAST_NEEDS.contains(&name));
                reported += u32::from(reports);
            }
        }
    }
    assert!(allowed > 500, "only {allowed}: the generator says nothing");
    assert!(
        reported > 500,
        "only {reported}: the generator says nothing"
    );
}

#[test]
fn a_layer_met_with_itself_answers_as_alone() {
    let mut random = Random::new(12);
    for _ in 0..rounds(150) {
        let profile = random_profile(&mut random);
        let (once, thrice) = (program(&[&profile]), program(&[&profile; 3]));
        assert!(
            thrice.len() <= once.len(),
            "{} {}",
            thrice.len(),
            once.len()
        );
        for name in NAMES {
            for _ in 0..20 {
                let args = arguments(&mut random);
                assert_eq!(ask(&thrice, name, args), ask(&once, name, args), "{name}");
            }
        }
    }
}

#[test]
fn a_hot_call_that_all_layers_allow_carries_no_condition() {
    let builtin = |name| Profile::builtin(name).unwrap();
    let (baseline, restricted) = (builtin("baseline"), builtin("restricted"));
    let layers = [&baseline, &restricted];
    let planned = plan(Layers::new(&layers).unwrap(), None, true).unwrap();
    for name in [
        "read", "write", "futex", "mmap", "openat", "close", "sendmsg",
    ] {
        let (_, decision) = &planned.exact.calls[name];
        assert!(decision.branches.is_empty() && decision.otherwise == Action::Allow);
    }
    assert!(planned.filter.program.len() / 8 < 600);
}

#[test]
fn conditions_that_would_multiply_without_end_are_refused() {
    let many = |name: &str, index: u32| {
        let rules: Vec<String> = (0..200)
            .map(|n| format!("{{name: socket, args: [{{index: {index}, op: gt, value: {n}}}]}}"))
            .collect();
        let allow = format!("[execve, {}]", rules.join(", "));
        let text =
            format!("{{version: 1, name: {name}, syscalls: {{groups: '2026.1', allow: {allow}}}}}");
        Profile::parse(name, &text).unwrap()
    };
    let (a, b) = (many("a", 0), many("b", 2));
    let layers = [&a, &b];
    let error = plan(Layers::new(&layers).unwrap(), None, true).unwrap_err();
    assert!(matches!(error, bpf::TooLarge::Pairs { .. }), "{error}");
}
