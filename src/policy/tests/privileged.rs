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
