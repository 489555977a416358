//! `process.refuse`, and what privileged containers keep.

use super::*;

/// What a privileged pod's config.json holds beyond a plain one's.
fn privileged() -> Value {
    with(|spec| {
        spec["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"]);
        spec["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
        spec["linux"]["devices"] = json!([
            {"path": "/dev/sda", "type": "b", "major": 8, "minor": 0},
            {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11},
        ]);
    })
}

fn without_namespace(typ: &str) -> Value {
    with(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != typ);
    })
}

#[test]
fn restricted_refuses_what_pod_security_restricted_refuses() {
    let profile = Profile::builtin("restricted").unwrap();
    for (spec, rule) in [
        (privileged(), "privileged"),
        (without_namespace("pid"), "host-pid"),
        (without_namespace("network"), "host-network"),
        (without_namespace("ipc"), "host-ipc"),
    ] {
        let refusal = attempt(&spec, &profile, &host(7), &config()).unwrap_err();
        let wanted = format!("profile restricted refuses {rule} containers");
        assert!(refusal.to_string().starts_with(&wanted), "{refusal}");
    }
    assert!(attempt(&cri(), &profile, &host(7), &config()).is_ok());
}

#[test]
fn a_profile_that_extends_restricted_cannot_take_its_refusals_back() {
    let text = "{version: 1, name: site, extends: [restricted], process: {refuse: []}}";
    let profile = Profile::parse("site", text).unwrap();
    assert!(attempt(&privileged(), &profile, &host(7), &config()).is_err());
}

#[test]
fn the_devices_of_a_privileged_container_are_the_plain_ones() {
    let text = "{version: 1, name: site, syscalls: {groups: '2026.1', allow: ['@default']}, \
                files: {read_execute: ['/'], read_write: ['@devices']}}";
    let profile = Profile::parse("site", text).unwrap();
    let paths = |spec: &Value| -> Vec<String> {
        let plan = attempt(spec, &profile, &host(7), &config()).unwrap();
        let rules = plan.policy.layers[0].paths.iter();
        rules
            .map(|rule| String::from_utf8_lossy(&rule.path).into_owned())
            .collect()
    };
    let found = paths(&privileged());
    assert!(found.iter().any(|path| path == "/dev/null"), "{found:?}");
    for device in ["/dev/sda", "/dev/kmsg"] {
        assert!(!found.iter().any(|path| path == device), "{found:?}");
    }
    let own = with(|spec| {
        spec["linux"]["devices"] =
            json!([{"path": "/dev/xvdb", "type": "b", "major": 202, "minor": 16}]);
    });
    assert!(paths(&own).iter().any(|path| path == "/dev/xvdb"));
}

#[test]
fn each_refuse_rule_names_the_rule_the_value_and_the_profile() {
    let none = |spec: &mut Value, typ: &str| {
        spec["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .retain(|n| n["type"] != typ);
    };
    let cases: [(&str, Value, &str); 7] = [
        ("root-user", cri(), "uid is 0"),
        ("host-pid", with(|s| none(s, "pid")), "pid namespace"),
        (
            "host-network",
            with(|s| none(s, "network")),
            "network namespace",
        ),
        ("host-ipc", with(|s| none(s, "ipc")), "ipc namespace"),
        ("writable-rootfs", cri(), "root.readonly"),
        (
            "unconfined-seccomp",
            with(|s| {
                s["linux"].as_object_mut().unwrap().remove("seccomp");
            }),
            "linux.seccomp",
        ),
        (
            "privileged",
            with(|s| s["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"])),
            "CAP_SYS_ADMIN",
        ),
    ];
    for (rule, spec, value) in cases {
        let text = format!(
            "{{version: 1, name: site, extends: [baseline], process: {{refuse: [{rule}]}}}}"
        );
        let profile = Profile::parse("site", &text).unwrap();
        let error = attempt(&spec, &profile, &host(7), &config())
            .unwrap_err()
            .to_string();
        for part in [rule, value, "site"] {
            assert!(error.contains(part), "{error}");
        }
    }
    let text = "{version: 1, name: site, extends: [baseline], process: {refuse: [root-user]}}";
    let profile = Profile::parse("site", text).unwrap();
    let user = with(|s| s["process"]["user"]["uid"] = json!(1000));
    let plan = attempt(&user, &profile, &host(7), &config()).unwrap();
    let root: Process =
        serde_json::from_value(json!({"cwd": "/", "args": ["sh"], "user": {"uid": 0}})).unwrap();
    assert!(
        plan_exec(
            &root,
            Streams {
                terminal: false,
                input: false
            },
            &plan.exec
        )
        .unwrap_err()
        .to_string()
        .contains("uid is 0")
    );
}
