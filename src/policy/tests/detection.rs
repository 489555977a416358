//! `detect` in a plan: what the supervisor is given, and what the filter takes away for it.

use super::layers::layered;
use super::*;
use crate::detect::{MOST_RULES, OnLoss, Sensor};
use crate::policy::seccomp::bpf;
use crate::policy::seccomp::interpreter::{Call, action, parse, run};
use crate::policy::seccomp::verdict::Action;
use crate::profile::table::{Lookup, lookup};

fn extending(parent: &str, more: &str) -> Profile {
    let text = format!("{{version: 1, name: web, extends: [{parent}], {more}}}");
    Profile::parse("web", &text).unwrap()
}

fn planned(profile: &Profile, host: &Host) -> Plan {
    attempt(&cri(), profile, host, &config()).unwrap()
}

fn words(plan: &Plan) -> Vec<String> {
    let rules = plan.detect.iter();
    rules
        .map(|rule| format!("{}/{}", rule.profile, rule.name))
        .collect()
}

#[test]
fn the_rules_of_all_layers_hold_and_any_layer_may_end_what_nobody_supervises() {
    let web = extending("baseline", "detect: [{on: drift}, {on: exit}]");
    let site = Profile::parse(
        "site",
        "{version: 1, name: site, extends: [baseline], detect: [{on: drift}], on_supervisor_loss: kill}",
    )
    .unwrap();
    let plan = layered(&cri(), &[&site, &web], &host(7)).unwrap();
    assert_eq!(words(&plan), ["site/drift", "web/drift", "web/exit"]);
    assert_eq!(plan.on_supervisor_loss, OnLoss::Kill);
    assert_eq!(plan.effective["on_supervisor_loss"], json!("kill"));
    assert_eq!(plan.effective["detect"][1]["profile"], json!("web"));
    assert_eq!(plan.effective["detect"], json!(plan.detect));
    let back: Vec<crate::detect::Rule> =
        serde_json::from_value(plan.effective["detect"].clone()).unwrap();
    assert_eq!(back, plan.detect, "the record is read as it was written");
    let twice = layered(&cri(), &[&site, &web, &site], &host(7)).unwrap();
    assert_eq!(twice.detect, plan.detect, "one pair of eyes");
    let alone = planned(&web, &host(7));
    assert_eq!(alone.on_supervisor_loss, OnLoss::Keep);
}

#[test]
fn more_rules_than_a_supervisor_counts_are_refused() {
    let many = |count: usize| {
        let rules = "{on: exit}, ".repeat(count);
        extending("baseline", &format!("detect: [{rules}]"))
    };
    let most = many(MOST_RULES);
    assert_eq!(planned(&most, &host(7)).detect.len(), MOST_RULES);
    let above = attempt(&cri(), &many(MOST_RULES + 1), &host(7), &config()).unwrap_err();
    let text = above.to_string();
    assert!(
        text.contains("129 rules of `detect`") && text.contains("128 at most"),
        "{text}"
    );
    let watched = Profile::builtin("watched").unwrap();
    let both = layered(&cri(), &[&watched, &most], &host(7))
        .unwrap_err()
        .to_string();
    assert!(both.contains("profiles watched + web"), "{both}");
}

#[test]
fn a_pause_container_has_nobody_to_watch_it() {
    let spec: Spec = serde_json::from_value(cri()).unwrap();
    let watched = Profile::builtin("watched").unwrap();
    let only = &watched;
    let pause = plan_pause(Input {
        profiles: Layers::from(&only),
        spec: &spec,
        host: &host(7),
        config: &config(),
        found: None,
        run: false,
    })
    .unwrap();
    assert!(pause.detect.is_empty());
    assert_eq!(pause.effective["detect"], json!([]));
}

/// The exact filter's answer to memfd_create(2) with these flags.
fn memfd(plan: &Plan) -> impl Fn(u64) -> Action + use<> {
    let program = parse(&plan.policy.filter.program);
    let Lookup::Number(number) = lookup("memfd_create") else {
        panic!("memfd_create has no number");
    };
    move |flags| {
        let call = Call {
            number,
            arch: bpf::NATIVE,
            args: [0, flags, 0, 0, 0, 0],
        };
        action(run(&program, &call))
    }
}

#[test]
fn memory_that_could_be_executed_is_denied_where_its_execution_is_watched_for() {
    const CLOEXEC: u64 = 0x1;
    const SEALED: u64 = 0x8;
    const EXEC: u64 = 0x10;
    const DIRT: u64 = 0xdead_0000_0000;
    let eyes = extending("baseline", "detect: [{on: fileless-exec}]");
    let baseline = Profile::builtin("baseline").unwrap();
    let free = memfd(&planned(&baseline, &host(7)));
    assert_eq!(free(0), Action::Allow);
    let alone = planned(&eyes, &host(7));
    let below = layered(&cri(), &[&baseline, &eyes], &host(7)).unwrap();
    for plan in [&alone, &below] {
        let ask = memfd(plan);
        for flags in [0, CLOEXEC, EXEC, CLOEXEC | EXEC, DIRT, !SEALED] {
            assert_eq!(ask(flags), Action::Notify, "{flags:#x}");
        }
        for flags in [SEALED, SEALED | CLOEXEC, SEALED | DIRT, u64::MAX] {
            assert_eq!(ask(flags), Action::Allow, "{flags:#x}");
        }
        let wire = plan
            .tripwires
            .iter()
            .find(|wire| wire.syscall == "memfd_create");
        let wire = wire.unwrap();
        assert_eq!((wire.errno, &*wire.profile), (libc::EPERM, "web"));
        let fix = fix_for("memfd_create", &wire.rules, &[0; 6], &[]);
        assert!(
            fix.starts_with("none where `detect` has `on: fileless-exec`"),
            "{fix}"
        );
    }
    // Without notification it is denied all the same, for whoever accepts that it is not told.
    let silent = extending(
        "baseline",
        "requires: {degrade: [tripwires]}, detect: [{on: fileless-exec}]",
    );
    let old = Host {
        user_notif: false,
        ..host(7)
    };
    let ask = memfd(&planned(&silent, &old));
    assert_eq!(ask(0), Action::Errno(1));
    assert_eq!(ask(SEALED), Action::Allow);
    let refused = attempt(&cri(), &eyes, &old, &config()).unwrap_err();
    assert!(refused.to_string().contains("kernel 5.0"), "{refused}");
}

#[test]
fn rules_that_see_nothing_for_want_of_notification_are_told() {
    let degraded = |rule: &str| {
        let more = format!("requires: {{degrade: [tripwires]}}, detect: [{rule}]");
        let old = Host {
            listener_taken: true,
            ..host(7)
        };
        planned(&extending("baseline", &more), &old).degraded
    };
    let blind = |all: &[String]| all.iter().any(|text| text.contains("see nothing"));
    assert!(blind(&degraded("{on: tripwire}")));
    assert!(!blind(&degraded("{on: drift}")));
}

#[test]
fn a_session_profile_adds_no_eyes_and_takes_none_away() {
    let web = extending("watched", "exec: {profile: restricted}");
    let plan = planned(&web, &host(7));
    let watched = Profile::builtin("watched").unwrap();
    assert_eq!(plan.detect.len(), watched.detect.len());
    assert!(plan.detect.iter().all(|rule| rule.profile == "web"));
    assert!(
        plan.detect
            .iter()
            .any(|rule| rule.on == Sensor::ReverseShell)
    );
}
