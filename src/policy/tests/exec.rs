//! Exec sessions.

use super::*;

#[test]
fn an_exec_session_gets_no_more_than_the_profile() {
    let profile = Profile::builtin("restricted").unwrap();
    let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
    let mut session = json!({"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": ["CAP_SYS_ADMIN", "CAP_NET_BIND_SERVICE"], "effective": ["CAP_SYS_ADMIN"]},
        "noNewPrivileges": false, "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 3, "soft": 3}]});
    let process: Process = serde_json::from_value(session.clone()).unwrap();
    let planned = plan_exec(&process, &plan.exec).unwrap();
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
        plan_exec(&session, &strong.exec)
            .unwrap_err()
            .to_string()
            .contains("CAP_DAC_OVERRIDE")
    );
    assert!(
        plan_exec(
            &session,
            &planned("landlock, exec-capture", &cri()).unwrap().exec
        )
        .is_ok()
    );
    let weak = with(|s| s["process"]["capabilities"] = json!({}));
    assert!(plan_exec(&session, &planned("landlock", &weak).unwrap().exec).is_ok());
}
