//! Layers that only look over random engines: what the engine's own filter denies stays denied, at every
//! call, of every architecture, and what it permits goes on.

use oci_spec::runtime::LinuxSeccomp;

use super::calls::{arguments, boundaries, nameless, numbers};
use super::exact::LAST_NEEDS;
use super::generate::{NAMES, Random, random_engine, random_profile};
use super::installed::Installed;
use super::interpreter::{Call, action, parse, run};
use super::invariant::patched;
use super::verdict::Action;
use super::{Layers, bpf, engine, fixtures, known, number, plan, rounds, runtime};
use crate::profile::{Mode, Profile};

/// Calls that were asked about.
#[derive(Debug, Default)]
struct Counts {
    asked: u32,
    miscompiled: u32,
    /// The engine denies them, and so do both filters together.
    denied: u32,
    /// Of those, calls of another architecture.
    foreign: u32,
    /// Notified, and let go on.
    looked: u32,
}

fn check(
    filter: &LinuxSeccomp,
    layers: Layers<'_>,
    names: &[(&str, u32)],
    most: usize,
    random: &mut Random,
    counts: &mut Counts,
) {
    let planned = plan(layers, Some(filter), true).unwrap();
    let patched = patched(Some(filter), &planned.edits);
    let (plain, outer) = (Installed::new(filter), Installed::new(&patched));
    let inner = parse(&planned.filter.program);
    let mut judge = |name: Option<&str>, call: &Call| {
        let native = call.arch == bpf::NATIVE && call.number < 0x4000_0000;
        let (engine, first) = (plain.answer(call), outer.answer(call));
        let together = action(run(&inner, call)).meet(first);
        counts.asked += 1;
        // libseccomp's own mistakes, as in the invariant.
        let stub = Action::Errno(libc::ENOSYS as u16);
        let sound = |filter: &LinuxSeccomp, name: &str, answer: Action| {
            let possible = engine::possible(filter, name, &call.args);
            answer == stub || possible.iter().any(|one| one.rank() == answer.rank())
        };
        if let Some(name) = name.filter(|_| native)
            && !(sound(filter, name, engine) && sound(&patched, name, first))
        {
            counts.miscompiled += 1;
            return;
        }
        if native && name.is_some_and(|name| LAST_NEEDS.contains(&name)) {
            return;
        }
        let context = || {
            format!(
                "{name:?} {call:x?}: engine {engine:?}, runtime {first:?}, together {together:?}\n{}",
                serde_json::to_string(filter).unwrap()
            )
        };
        // All layers only look: the supervisor lets every call go on that it is told of.
        let performed = together == Action::Notify || together.permits();
        if !engine.permits() {
            assert!(!performed, "the engine denies it: {}", context());
            counts.denied += 1;
            counts.foreign += u32::from(!native);
            return;
        }
        counts.looked += u32::from(together == Action::Notify);
        // Init's needs are taken back by the strict reading of the engine's rules.
        let strict = match name {
            Some(name) if native && runtime::INIT_NEEDS.contains(&name) => {
                engine::decision(filter, name).verdict(&call.args)
            }
            _ => engine,
        };
        let killed = !native && together == Action::KillProcess;
        let told = planned.lacks.iter().any(|text| text.contains("killed"));
        let listener = name == Some("seccomp") && together == Action::Errno(libc::EBUSY as u16);
        if strict.permits() && !listener && !(killed && told) {
            assert!(performed, "nobody denies it: {}", context());
        }
    };
    for (name, native) in names {
        let bounds = boundaries(Some(filter), &planned.exact, name);
        for args in arguments(&bounds, most, random) {
            for (number, arch) in numbers(name, *native) {
                judge(Some(name), &Call { number, arch, args });
            }
        }
    }
    for call in nameless() {
        judge(None, &call);
    }
}

fn audited(mut profile: Profile) -> Profile {
    profile.mode = Mode::Audit;
    profile
}

#[test]
fn what_an_engine_denies_stays_denied_where_all_layers_only_look() {
    let names = NAMES.map(|name| (name, number(name)));
    let learn = Profile::builtin("learn").unwrap();
    let mut random = Random::new(21);
    let mut counts = Counts::default();
    for round in 0..rounds(150) {
        let filter = random_engine(&mut random);
        let own = audited(random_profile(&mut random));
        let all = [&own, &learn];
        let layers = Layers::new(match round % 3 {
            0 => &all[..1],
            1 => &all[1..],
            _ => &all,
        });
        check(
            &filter,
            layers.unwrap(),
            &names,
            16,
            &mut random,
            &mut counts,
        );
    }
    assert!(counts.miscompiled < counts.asked / 50, "{counts:?}");
    assert!(
        counts.denied > 10_000 && counts.foreign > 1000 && counts.looked > 1000,
        "the generator says nothing: {counts:?}"
    );
}

#[test]
fn the_shipped_profiles_in_mode_audit_lift_nothing_of_the_engines_own_defaults() {
    let names = known();
    for name in ["baseline", "restricted", "learn"] {
        let mut profile = Profile::builtin(name).unwrap();
        if profile.mode == Mode::Enforce {
            profile = audited(profile);
        }
        let layer = &profile;
        for (engine, filter) in fixtures() {
            let (mut counts, mut random) = (Counts::default(), Random::new(22));
            let layers = Layers::from(&layer);
            check(&filter, layers, &names, 8, &mut random, &mut counts);
            assert_eq!(counts.miscompiled, 0, "{engine}");
            // Programs of 32 bits work as they do without mantlet.
            let planned = plan(layers, Some(&filter), true).unwrap();
            assert!(planned.exact.foreign.permits() && planned.lacks.is_empty());
        }
    }
}

/// The filter that only lists what a runtime of its day called, for two architectures.
fn narrow(rules: serde_json::Value) -> LinuxSeccomp {
    serde_json::from_value(serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": rules,
    }))
    .unwrap()
}

#[test]
fn what_init_needs_is_no_gift_to_programs_of_another_architecture() {
    let filter = narrow(serde_json::json!([
        {"names": ["read", "write", "execve", "exit_group"], "action": "SCMP_ACT_ALLOW"},
    ]));
    let profile = audited(Profile::builtin("restricted").unwrap());
    let layer = &profile;
    let planned = plan(Layers::from(&layer), Some(&filter), true).unwrap();
    // openat(2) of i386: added to the engine's filter, which denied it.
    let call = Call {
        number: 295,
        arch: super::calls::I386,
        args: [0; 6],
    };
    let outer = Installed::new(&patched(Some(&filter), &planned.edits));
    assert!(!Installed::new(&filter).answer(&call).permits());
    let answer = action(run(&parse(&planned.filter.program), &call)).meet(outer.answer(&call));
    assert!(!answer.permits() && answer != Action::Notify, "{answer:?}");
    let said = planned.lacks.join("\n");
    assert!(said.contains("other architectures are killed"), "{said}");
}

#[test]
fn a_call_that_an_engine_has_logged_is_told_to_be_missing_from_the_kernels_log() {
    let filter = narrow(serde_json::json!([
        {"names": ["mkdir"], "action": "SCMP_ACT_LOG"},
        {"names": runtime::INIT_NEEDS, "action": "SCMP_ACT_ALLOW"},
    ]));
    let enforced = Profile::builtin("restricted").unwrap();
    let audited = audited(enforced.clone());
    let lacks = |profile: &Profile| {
        plan(Layers::from(&profile), Some(&filter), true)
            .unwrap()
            .lacks
    };
    assert!(lacks(&enforced).is_empty());
    assert!(
        lacks(&audited)
            .iter()
            .any(|text| text.contains("SCMP_ACT_LOG"))
    );
}
