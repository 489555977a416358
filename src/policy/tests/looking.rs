//! Layers in mode `audit`: what they would refuse of containers and sessions is told and not done.

use super::exec::PROBE;
use super::*;
use crate::profile::Mode;

/// A layer that only looks, and what it names for sessions.
fn audited(text: &str) -> Profile {
    let site = format!("{{version: 1, name: site, mode: audit, extends: [baseline], {text}}}");
    let quiet = "{version: 1, name: quiet, extends: [restricted], process: {refuse: [root-user, host-path: [/srv/**]]}}";
    of_node(&[("site", &site), ("quiet", quiet), OLD])
}

fn session(uid: u32) -> Process {
    let process = json!({"cwd": "/", "args": ["sh"], "user": {"uid": uid, "gid": 0},
        "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]}});
    serde_json::from_value(process).unwrap()
}

/// Who would have refused a session of root's, and of somebody's.
fn told(plan: &Plan) -> [Vec<String>; 2] {
    [0, 7].map(|uid| {
        let planned = plan_exec(&session(uid), PROBE, &plan.exec).unwrap();
        let all = planned.observed.into_iter();
        all.map(|(profile, why)| format!("{profile}: {why}"))
            .collect()
    })
}

#[test]
fn a_profile_for_sessions_that_an_audited_layer_names_takes_nothing_away() {
    let profile = audited("exec: {profile: quiet}");
    let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
    let [policy] = &plan.session_policies[..] else {
        panic!("{} policies", plan.session_policies.len());
    };
    assert_eq!(policy.layers, plan.policy.layers, "the anchor and no more");
    let held = session::admit(None, PROBE, &plan.exec).unwrap();
    assert_eq!((held.policy, held.refuse_root), (1, false));
    assert_eq!(held.capabilities, plan.exec.capabilities);
    assert!(held.fewer_capabilities.is_none());
    let sub = plan.exec.stricter.as_ref().unwrap();
    assert!(sub.profiles.is_empty() && sub.refused.is_none() && sub.host_paths.is_empty());
    // It is looked at instead.
    let looking = plan.observing[1].as_ref().unwrap();
    let layers: Vec<&str> = looking.layers.iter().map(|own| &*own.profile).collect();
    assert_eq!(layers, ["site", "quiet"]);
    assert_eq!(sub.observed.host_paths.len(), 1);
    let [root, somebody] = told(&plan);
    assert!(
        root.len() == 1 && root[0].starts_with("quiet: "),
        "{root:?}"
    );
    assert!(root[0].contains("root-user"), "{root:?}");
    assert!(somebody.is_empty(), "{somebody:?}");
}

#[test]
fn a_layer_that_enforces_holds_sessions_to_its_profile_beside_one_that_looks() {
    let looks = audited("exec: {profile: quiet}");
    let enforces = Profile {
        name: "strict".into(),
        mode: crate::profile::Mode::Enforce,
        ..looks.clone()
    };
    for order in [[&looks, &enforces], [&enforces, &looks]] {
        let spec: Spec = serde_json::from_value(cri()).unwrap();
        let plan = plan(Input {
            profiles: Layers::new(&order).unwrap(),
            spec: &spec,
            host: &host(7),
            config: &config(),
            found: None,
            run: false,
        })
        .unwrap();
        let held = session::admit(None, PROBE, &plan.exec).unwrap();
        assert!(held.refuse_root);
        assert_eq!(held.capabilities, ["CAP_NET_BIND_SERVICE"]);
        let sub = plan.exec.stricter.as_ref().unwrap();
        assert_eq!(sub.profiles, ["quiet"]);
    }
}

#[test]
fn what_an_audited_layer_says_of_root_and_of_the_node_is_told_of_sessions() {
    let profile = audited("process: {refuse: [root-user]}, exec: {profile: old}");
    let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
    let [root, somebody] = told(&plan);
    assert!(
        root.iter()
            .any(|why| why.contains("profile site refuses root-user")),
        "{root:?}"
    );
    let abi = |all: &[String]| {
        all.iter()
            .any(|why| why.starts_with("old: ") && why.contains("Landlock"))
    };
    assert!(abi(&root) && abi(&somebody), "{root:?} {somebody:?}");
    assert_eq!(somebody.len(), 1, "{somebody:?}");
}

#[test]
fn a_profile_of_sessions_that_is_looked_at_hides_none_that_is_enforced() {
    let mut enforcing = audited("exec: {interactive: {profile: quiet}}");
    enforcing.mode = Mode::Enforce;
    let looking = audited("exec: {profile: quiet}");
    for layers in [[&enforcing, &looking], [&looking, &enforcing]] {
        let plan = layers::layered(&cri(), &layers, &host(7)).unwrap();
        let (probe, shell) = (plan.exec.held_to(false), plan.exec.held_to(true));
        assert_eq!(probe.unwrap().profiles, [""; 0]);
        assert_eq!(shell.unwrap().profiles, ["quiet"]);
        assert!(shell.unwrap().refuse_root);
    }
}

#[test]
fn rules_on_the_hosts_paths_go_to_start_and_refuse_nothing_there() {
    let profile = audited("process: {refuse: [host-path: [/nowhere/**]]}");
    let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
    assert!(plan.host_paths.is_none());
    let [rules] = &plan.observed_host_paths[..] else {
        panic!("{:?}", plan.observed_host_paths);
    };
    assert_eq!(rules.rules[0].profile, "site");
    // Broken by config.json already, it is told for that; what `start` finds may be another mount.
    let profile = audited("process: {refuse: [host-path: [/host/**]]}");
    let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
    assert_eq!(plan.observed_host_paths.len(), 1);
    let refused = &plan.observing[0].as_ref().unwrap().at_start;
    assert!(
        refused.iter().any(|own| own.what.contains("host-path")),
        "{refused:?}"
    );
}

#[test]
fn a_kernel_whose_calls_cannot_go_on_refuses_what_only_looks() {
    let old = Host {
        may_go_on: false,
        ..host(7)
    };
    let learn = Profile::builtin("learn").unwrap();
    for layer in [&audited("description: tried"), &learn] {
        let refused = attempt(&cri(), layer, &old, &config()).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains("only looks") && text.contains("5.5"),
            "{text}"
        );
        assert!(attempt(&cri(), layer, &host(7), &config()).is_ok());
    }
    let enforced = Profile::builtin("restricted").unwrap();
    assert!(attempt(&cri(), &enforced, &old, &config()).is_ok());
}

#[test]
fn paths_that_nobody_hides_are_what_a_recording_cannot_see() {
    let blind = |text: &str| {
        let plan = attempt(&cri(), &audited(text), &host(7), &config()).unwrap();
        plan.recording.unwrap().blind
    };
    // What the engine hides itself is nobody's to tell; of `baseline`'s lists this one lacks a few.
    let usual = blind("description: tried");
    assert!(usual.iter().all(|what| what.contains("is not read-only")));
    assert!(usual.iter().all(|what| !what.starts_with("/proc/bus ")));
    let lists = "masked_paths: [/srv/hidden], readonly_paths: [/srv/kept, /srv/hidden]";
    let all = blind(lists);
    let found: Vec<&String> = all.iter().filter(|what| !usual.contains(what)).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    let told = |start: &str| found.iter().any(|what| what.starts_with(start));
    assert!(
        told("/srv/hidden is not hidden, as profile site would"),
        "{found:?}"
    );
    assert!(told("/srv/kept is not read-only"), "{found:?}");
}

#[test]
fn rules_of_detection_say_what_they_would_do_and_do_nothing() {
    let text = "detect: [{name: end, on: tripwire, respond: kill-container}, {name: look, on: exec}], \
                on_supervisor_loss: kill";
    let plan = attempt(&cri(), &audited(text), &host(7), &config()).unwrap();
    let rules: Vec<_> = plan
        .detect
        .iter()
        .map(|rule| (rule.respond, rule.would))
        .collect();
    use crate::detect::{OnLoss, Response};
    assert_eq!(
        rules,
        [
            (Response::Log, Some(Response::KillContainer)),
            (Response::Log, Some(Response::Log))
        ]
    );
    assert_eq!(plan.on_supervisor_loss, OnLoss::Keep);
}
