use super::*;

/// config.json's annotations after the plan.
fn left(config: &Config) -> Value {
    let spec = with(|spec| {
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": "container",
            "run.oci.handler": "wasm",
            "run.oci.seccomp_bpf_data": "AAAA",
            "run.oci.hooks.stdout": "/etc/passwd",
            "run.oci.odd/na~me~1": "x",
            "module.wasm.image/variant": "compat-smart",
            "krun.cpus": "4",
            "mantlet.dev/run.oci.handler": "kept",
            "run.ociX": "kept",
        });
    });
    let profile = Profile::builtin("baseline").unwrap();
    let plan = attempt(&spec, &profile, &host(7), config).unwrap();
    let mut patched = spec.clone();
    patch::apply(&mut patched, &plan.edits).unwrap();
    let removed = plan.effective["removed_annotations"].as_array().unwrap();
    let before = spec["annotations"].as_object().unwrap().len();
    let after = patched["annotations"].as_object().unwrap().len();
    assert_eq!(before - after, removed.len(), "what goes is shown");
    patched["annotations"].clone()
}

#[test]
fn annotations_that_switch_the_runtime_are_taken_out() {
    let want = json!({
        "io.kubernetes.cri.container-type": "container",
        "mantlet.dev/run.oci.handler": "kept",
        "run.ociX": "kept",
    });
    assert_eq!(left(&config()), want);
}

#[test]
fn the_admin_permits_switches_by_their_exact_names() {
    let mut config = config();
    config.runtime_annotations = ["run.oci.handler", "module.wasm.image/"]
        .map(str::to_owned)
        .into();
    let left = left(&config);
    assert_eq!(left["run.oci.handler"], "wasm");
    assert_eq!(left.as_object().unwrap().len(), 4);
}

#[test]
fn a_pause_container_loses_them_too() {
    let spec = with(|spec| spec["annotations"]["run.oci.handler"] = json!("krun"));
    let typed: Spec = serde_json::from_value(spec).unwrap();
    let profile = Profile::builtin("baseline").unwrap();
    let plan = plan_pause(Input {
        profiles: Layers::from(&&profile),
        spec: &typed,
        host: &host(7),
        config: &config(),
        found: None,
        run: false,
    });
    let removal = crate::policy::annotations::removal("run.oci.handler");
    assert!(plan.unwrap().edits.contains(&removal));
}
