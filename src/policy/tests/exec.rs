//! Exec sessions.

use super::*;

/// As a probe calls.
pub(super) const PROBE: Streams = Streams {
    terminal: false,
    input: false,
};

#[test]
fn an_exec_session_gets_no_more_than_the_profile() {
    let profile = Profile::builtin("restricted").unwrap();
    let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
    let mut session = json!({"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": ["CAP_SYS_ADMIN", "CAP_NET_BIND_SERVICE"], "effective": ["CAP_SYS_ADMIN"]},
        "noNewPrivileges": false, "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 3, "soft": 3}]});
    let process: Process = serde_json::from_value(session.clone()).unwrap();
    let planned = plan_exec(&process, PROBE, &plan.exec).unwrap();
    patch::apply(&mut session, &planned.edits).unwrap();
    assert_eq!(
        session["capabilities"]["bounding"],
        json!(["CAP_NET_BIND_SERVICE"])
    );
    for set in ["effective", "permitted", "inheritable", "ambient"] {
        assert_eq!(session["capabilities"][set], json!([]), "{set}");
    }
    assert_eq!(
        (&session["noNewPrivileges"], &session["rlimits"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(
        planned.rlimits,
        [seal::Rlimit {
            resource: 7,
            soft: 3,
            hard: 3
        }]
    );
}

#[test]
fn without_landlock_sessions_that_could_be_captured_are_refused() {
    let text = |degrade: &str| {
        format!(
            "{{version: 1, name: old, extends: [baseline], requires: {{degrade: [{degrade}]}}}}"
        )
    };
    let session: Process =
        serde_json::from_value(json!({"cwd": "/", "args": ["sh"], "user": {"uid": 0}})).unwrap();
    let planned = |degrade: &str, spec: &Value| {
        let profile = Profile::parse("old", &text(degrade)).unwrap();
        attempt(spec, &profile, &host(0), &config())
    };
    assert!(
        planned("", &cri())
            .unwrap_err()
            .to_string()
            .contains("requires Landlock")
    );
    let strong = planned("landlock", &cri()).unwrap();
    assert!(strong.policy.layers.is_empty() && !strong.degraded.is_empty());
    assert!(
        plan_exec(&session, PROBE, &strong.exec)
            .unwrap_err()
            .to_string()
            .contains("CAP_DAC_OVERRIDE")
    );
    assert!(
        plan_exec(
            &session,
            PROBE,
            &planned("landlock, exec-capture", &cri()).unwrap().exec
        )
        .is_ok()
    );
    let weak = with(|s| s["process"]["capabilities"] = json!({}));
    assert!(plan_exec(&session, PROBE, &planned("landlock", &weak).unwrap().exec).is_ok());
}

fn sessions_of(exec: &str) -> ExecRules {
    let text = format!("{{version: 1, name: ops, extends: [baseline], exec: {exec}}}");
    let profile = Profile::parse("ops", &text).unwrap();
    attempt(&cri(), &profile, &host(7), &config()).unwrap().exec
}

/// A session of a process file.
fn session(args: &[&str], terminal: bool, streams: Streams, rules: &ExecRules) -> Option<String> {
    let process =
        json!({"cwd": "/", "args": args, "user": {"uid": 0, "gid": 0}, "terminal": terminal});
    let process: Process = serde_json::from_value(process).unwrap();
    plan_exec(&process, streams, rules)
        .err()
        .map(|refusal| refusal.to_string())
}

#[test]
fn an_interactive_session_is_denied_by_its_terminal_or_its_input_and_a_probe_never() {
    let rules = sessions_of("{interactive: deny}");
    let asks = |terminal, streams| session(&["sh"], terminal, streams, &rules);
    let (tty, input) = (
        Streams {
            terminal: true,
            ..PROBE
        },
        Streams {
            input: true,
            ..PROBE
        },
    );
    assert_eq!(asks(false, PROBE), None);
    for (terminal, streams, what) in [
        (true, PROBE, "this one has a terminal"),
        (false, tty, "this one has a terminal"),
        (false, input, "its standard input attached"),
    ] {
        let found = asks(terminal, streams).unwrap();
        let start = "exec is refused: profile ops denies interactive sessions";
        assert!(found.starts_with(start) && found.contains(what), "{found}");
    }
    let open = sessions_of("{interactive: allow}");
    assert_eq!(session(&["sh"], true, input, &open), None);
}

#[test]
fn a_session_executes_what_is_listed_and_nothing_else_probes_included() {
    let rules = sessions_of("{commands: [pg_isready, /opt/health/*]}");
    let asks = |args: &[&str]| session(args, false, PROBE, &rules);
    assert_eq!(asks(&["pg_isready", "-q"]), None);
    assert_eq!(asks(&["/opt/health/live"]), None);
    for argv0 in [
        "sh",
        "./pg_isready",
        "/tmp/pg_isready",
        "/opt/health/../../bin/sh",
        "\u{1b}[2J",
    ] {
        let found = asks(&[argv0, "-c", "pg_isready"]).unwrap();
        let start =
            format!("exec is refused: profile ops lists no {argv0:?} under `exec.commands`");
        assert!(found.starts_with(&start), "{found}");
        assert!(found.contains("/opt/health/*, pg_isready"), "{found}");
    }
    // A command that is no text is in no list.
    assert!(session::admit(Some(b"pg_isready\xff"), PROBE, &rules).is_err());
    let none = sessions_of("{commands: []}");
    let found = session(&["true"], false, PROBE, &none).unwrap();
    assert!(found.contains("no sessions at all"), "{found}");
}

#[test]
fn a_record_of_before_there_were_rules_on_sessions_still_reads() {
    let old = json!({"capabilities": [], "landlock": true});
    let rules: ExecRules = serde_json::from_value(old).unwrap();
    assert_eq!(session(&["sh"], true, PROBE, &rules), None);
}

/// `site` of the node, and the profiles that its `exec` names.
fn held(exec: &str, spec: &Value) -> Result<Plan, Refusal> {
    let site = format!("{{version: 1, name: site, extends: [baseline], exec: {exec}}}");
    let quiet = "{version: 1, name: quiet, extends: [restricted], scope: [], \
                 network: {connect_tcp: []}, masked_paths: [/srv/hidden], \
                 process: {refuse: [root-user], max: 64}}";
    attempt(
        spec,
        &of_node(&[("site", &site), ("quiet", quiet), OLD]),
        &host(7),
        &config(),
    )
}

#[test]
fn sessions_get_policies_of_the_workloads_layers_and_more() {
    let plan = held(
        "{profile: restricted, interactive: {profile: quiet}}",
        &cri(),
    )
    .unwrap();
    let [every, interactive] = &plan.session_policies[..] else {
        panic!("{} policies", plan.session_policies.len());
    };
    // Each begins with the workload's own domains, and never has its filter.
    for (policy, domains) in [(every, 2), (interactive, 3)] {
        assert_eq!(policy.layers.len(), domains);
        assert_eq!(policy.layers[0], plan.policy.layers[0]);
        assert_eq!(policy.rlimits, plan.policy.rlimits);
        assert_ne!(policy.filter.program, plan.policy.filter.program);
        assert!(policy.supervised);
    }
    let none: [String; 0] = [];
    let numbers = |streams| session::admit(None, streams, &plan.exec).unwrap();
    let probe = numbers(PROBE);
    assert_eq!((probe.policy, probe.refuse_root), (1, false));
    assert_eq!(probe.capabilities, ["CAP_NET_BIND_SERVICE"]);
    let typed = numbers(Streams {
        input: true,
        ..PROBE
    });
    assert_eq!((typed.policy, typed.refuse_root), (2, true));
    assert_ne!(typed.capabilities, none);
    // Reported by the session's own layer, and not twice where the workload has the same.
    let ptrace = plan.tripwires.iter().filter(|t| t.syscall == "ptrace");
    let by: Vec<&str> = ptrace.map(|t| t.profile.as_str()).collect();
    assert_eq!(by, ["restricted", "quiet"]);
    let degraded = plan.effective["exec"]["stricter"][1]["degraded"].to_string();
    assert!(
        degraded.contains("/srv/hidden is not hidden for exec sessions")
            && degraded.contains("process.max of profile quiet"),
        "{degraded}"
    );
}

#[test]
fn a_limit_that_does_not_hold_sessions_is_missing_and_one_of_the_layers_is_not() {
    let unlimited = with(|spec| {
        let resources = spec["linux"]["resources"].as_object_mut().unwrap();
        resources.remove("pids");
    });
    for (layer, own, refused) in [("", "max: 64, ", true), ("max: 64, ", "", false)] {
        let site = format!(
            "{{version: 1, name: site, extends: [baseline], exec: {{profile: ops}}, process: {{{layer}}}}}"
        );
        let ops = format!(
            "{{version: 1, name: ops, extends: [baseline], process: {{{own}refuse: [missing-limit: [pids]]}}}}"
        );
        let profile = of_node(&[("site", &site), ("ops", &ops)]);
        let plan = attempt(&unlimited, &profile, &host(7), &config()).unwrap();
        let found = session::admit(None, PROBE, &plan.exec);
        assert_eq!(found.is_err(), refused, "{layer:?} {own:?}: {found:?}");
    }
}

#[test]
fn a_capability_outside_the_bounding_set_can_capture_sessions_too() {
    // uid 0 keeps what it inherits across execve (capabilities(7)).
    let spec = with(|spec| {
        let sets = json!({"inheritable": ["CAP_DAC_OVERRIDE"], "permitted": ["CAP_DAC_OVERRIDE"]});
        spec["process"]["capabilities"] = sets;
    });
    let text = "{version: 1, name: old, extends: [baseline], requires: {degrade: [landlock]}}";
    let profile = Profile::parse("old", text).unwrap();
    let plan = attempt(&spec, &profile, &host(0), &config()).unwrap();
    let found = session::admit(None, PROBE, &plan.exec).unwrap_err();
    assert!(found.to_string().contains("CAP_DAC_OVERRIDE"), "{found}");
}

#[test]
fn one_profile_named_twice_or_in_force_already_makes_no_second_policy() {
    let twice = "{profile: restricted, interactive: {profile: restricted}}";
    let plan = held(twice, &cri()).unwrap();
    assert_eq!(plan.session_policies.len(), 1);
    assert!(plan.exec.stricter_interactive.is_none());
    let only = held("{interactive: {profile: quiet}}", &cri()).unwrap();
    assert_eq!(
        session::admit(None, PROBE, &only.exec).map(|held| held.policy),
        Ok(0)
    );
    assert_eq!(only.exec.held_to(true).map(|sub| sub.number), Some(1));
    assert!(held("{profile: old}", &cri()).is_err());
}

/// The runtime sets it for the exec of init, and it stays for the workload's: nothing to rewrite.
#[test]
fn an_apparmor_profile_is_left_to_the_runtime_for_workload_and_session() {
    let name = "cri-containerd.apparmor.d";
    let spec = with(|s| s["process"]["apparmorProfile"] = json!(name));
    let profile = Profile::builtin("restricted").unwrap();
    let plan = attempt(&spec, &profile, &host(7), &config()).unwrap();
    let mut rewritten = spec.clone();
    patch::apply(&mut rewritten, &plan.edits).unwrap();
    assert_eq!(rewritten["process"]["apparmorProfile"], name);
    let mut session = spec["process"].clone();
    let process: Process = serde_json::from_value(session.clone()).unwrap();
    let planned = plan_exec(&process, PROBE, &plan.exec).unwrap();
    patch::apply(&mut session, &planned.edits).unwrap();
    assert_eq!(session["apparmorProfile"], name);
}
