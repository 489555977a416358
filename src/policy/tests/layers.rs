//! Several profiles at once: an intersection, whatever their order, and nothing lost of any.

use super::*;
use crate::profile::Profile;

/// Something narrow, with everything in it that two layers can differ in.
pub fn narrow() -> Profile {
    let text = "{version: 1, name: narrow, extends: [baseline], capabilities: [CHOWN], \
        masked_paths: [/proc/timer_list], readonly_paths: [/proc/irq], scope: [signal], \
        network: {bind_tcp: [8080]}, files: {read: [/], read_execute: [/usr], read_write: [/data]}, \
        process: {refuse: [host-pid]}, requires: {landlock: 6}, on_supervisor_loss: kill, \
        detect: [{on: drift, respond: deny}, {on: fileless-exec, unless: [jit]}]}";
    Profile::parse("narrow", text).unwrap()
}

fn standalone(name: &str, more: &str) -> Profile {
    let text = format!("{{version: 1, name: {name}, {more}}}");
    Profile::parse(name, &text).unwrap()
}

pub fn layered(spec: &Value, profiles: &[&Profile], host: &Host) -> Result<Plan, Refusal> {
    let spec: Spec = serde_json::from_value(spec.clone()).unwrap();
    plan(Input {
        profiles: Layers::new(profiles)?,
        spec: &spec,
        host,
        config: &config(),
        found: None,
        run: false,
    })
}

#[test]
fn plans_of_two_layers_are_as_blessed() {
    let restricted = Profile::builtin("restricted").unwrap();
    let plan = layered(&cri(), &[&restricted, &narrow()], &host(7)).unwrap();
    golden("cri-restricted-narrow.json", &shown(&plan, &cri()));
}

#[test]
fn each_layer_is_a_domain_of_its_own_outermost_first() {
    let (restricted, narrow) = (Profile::builtin("restricted").unwrap(), narrow());
    let alone = |profile| {
        let plan = attempt(&cri(), profile, &host(7), &config()).unwrap();
        plan.policy.layers[0].clone()
    };
    let both = layered(&cri(), &[&restricted, &narrow], &host(7)).unwrap();
    assert_eq!(both.policy.layers, [alone(&restricted), alone(&narrow)]);
}

#[test]
fn a_profile_met_with_itself_is_itself() {
    for name in ["baseline", "restricted"] {
        let profile = Profile::builtin(name).unwrap();
        let once = layered(&cri(), &[&profile], &host(7)).unwrap();
        let thrice = layered(&cri(), &[&profile, &profile, &profile], &host(7)).unwrap();
        assert_eq!(once.edits, thrice.edits);
        assert_eq!(once.policy.filter, thrice.policy.filter, "not a byte more");
        assert_eq!(once.exec, thrice.exec);
        let domain = &once.policy.layers[0];
        assert!(thrice.policy.layers.iter().all(|layer| layer == domain));
    }
}

#[test]
fn lists_are_met_and_restrictions_add_up() {
    let restricted = Profile::builtin("restricted").unwrap();
    let narrow = narrow();
    for layers in [[&restricted, &narrow], [&narrow, &restricted]] {
        let plan = layered(&cri(), &layers, &host(7)).unwrap();
        let mut patched = cri();
        patch::apply(&mut patched, &plan.edits).unwrap();
        for set in ["bounding", "effective", "permitted"] {
            let left = json!(["CAP_NET_BIND_SERVICE"]);
            assert_eq!(patched["process"]["capabilities"][set], left, "{set}");
        }
        assert_eq!(plan.exec.capabilities, ["CAP_NET_BIND_SERVICE"]);
        let has = |list: &str, path: &str| {
            let all = patched["linux"][list].as_array().unwrap();
            all.contains(&json!(path))
        };
        assert!(has("maskedPaths", "/proc/timer_list") && has("maskedPaths", "/proc/keys"));
        assert!(has("readonlyPaths", "/proc/irq") && has("readonlyPaths", "/proc/bus"));
        let old = layered(&cri(), &layers, &host(5)).unwrap_err().to_string();
        assert!(
            old.contains("profile narrow requires Landlock ABI 6"),
            "{old}"
        );
        let shared = with(|spec| {
            let all = spec["linux"]["namespaces"].as_array_mut().unwrap();
            all.retain(|namespace| namespace["type"] != "pid");
        });
        let refused = layered(&shared, &layers, &host(7)).unwrap_err().to_string();
        assert!(refused.contains("refuses host-pid"), "{refused}");
    }
}

#[test]
fn a_capability_is_held_where_every_layer_lets_it() {
    let calls = "syscalls: {groups: '2026.1', allow: [execve]}";
    let one = standalone("one", &format!("capabilities: [CHOWN, KILL], {calls}"));
    let other = standalone("other", &format!("capabilities: [KILL, NET_RAW], {calls}"));
    let plan = layered(&cri(), &[&one, &other], &host(7)).unwrap();
    assert_eq!(plan.exec.capabilities, ["CAP_KILL"]);
    assert_eq!(plan.effective["capabilities"], json!(["CAP_KILL"]));
}

#[test]
fn a_refusal_names_the_layer_that_refuses() {
    let baseline = Profile::builtin("baseline").unwrap();
    let inner = standalone(
        "inner",
        "extends: [baseline], process: {refuse: [root-user]}",
    );
    let refused = layered(&cri(), &[&baseline, &inner], &host(7)).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.starts_with("profile inner refuses root-user"),
        "{text}"
    );
}

#[test]
fn a_mount_stays_executable_only_where_every_layer_lets_it() {
    let wide = "syscalls: {groups: '2026.1', allow: ['@default', execve]}, files: ";
    let data = standalone(
        "a",
        &format!("{wide}{{read_execute: [/usr, /data, /etc/app]}}"),
    );
    let app = standalone("b", &format!("{wide}{{read_execute: [/usr, /etc/app]}}"));
    let free = standalone(
        "c",
        "syscalls: {groups: '2026.1', allow: ['@default', execve]}",
    );
    let noexec = |layers: &[&Profile], destination: &str| {
        let plan = layered(&cri(), layers, &host(7)).unwrap();
        let mut patched = cri();
        patch::apply(&mut patched, &plan.edits).unwrap();
        let mounts = patched["mounts"].as_array().unwrap();
        let mount = mounts.iter().find(|m| m["destination"] == destination);
        let options = mount.unwrap()["options"].as_array().unwrap();
        options.contains(&json!("noexec"))
    };
    for (layers, data_closed, app_closed) in [
        (&[&data] as &[&Profile], false, false),
        (&[&data, &app], true, false),
        (&[&app, &data], true, false),
        (&[&free, &data], false, false),
        (&[&free], false, false),
    ] {
        assert_eq!(noexec(layers, "/data"), data_closed);
        assert_eq!(noexec(layers, "/etc/app"), app_closed);
        assert_eq!(noexec(layers, "/tmp"), layers != [&free]);
    }
}

#[test]
fn every_layer_reports_its_own_tripwires_with_its_own_name() {
    let outer = standalone("outer", "extends: [baseline]");
    // Denies mount in silence and reports what outer allows.
    let inner = standalone(
        "inner",
        "syscalls: {groups: '2026.1', allow: [execve, '@default', '@basic-io', \
         {name: socket, args: [{index: 0, op: eq, value: 1}]}], \
         tripwire: [chroot, {name: personality, errno: ENOSYS}, socket]}",
    );
    for layers in [[&outer, &inner], [&inner, &outer]] {
        let plan = layered(&cri(), &layers, &host(7)).unwrap();
        let spoken = |name: &str, args: [u64; 6]| {
            let of: Vec<_> = plan
                .tripwires
                .iter()
                .filter(|w| w.syscall == name)
                .collect();
            let wires: Vec<crate::state::Tripwire> = of.into_iter().cloned().collect();
            speaking(&wires, &args).map(|wire| (wire.profile.clone(), wire.errno))
        };
        let zero = [0; 6];
        assert_eq!(spoken("mount", zero), Some(("outer".into(), libc::EPERM)));
        assert_eq!(spoken("acct", zero), Some(("outer".into(), libc::EPERM)));
        assert_eq!(spoken("getpid", zero), None, "nobody's");
        assert_eq!(
            spoken("personality", [8, 0, 0, 0, 0, 0]),
            Some(("inner".into(), libc::ENOSYS))
        );
        assert_eq!(spoken("chroot", zero), Some(("inner".into(), libc::EPERM)));
        // AF_ALG is outer's condition and not among what inner lets through: the outermost answers.
        let first = layers[0].name.clone();
        assert_eq!(spoken("socket", [38, 0, 0, 0, 0, 0]).unwrap().0, first);
        // AF_INET is inner's alone.
        assert_eq!(spoken("socket", [2, 0, 0, 0, 0, 0]).unwrap().0, "inner");
    }
}

#[test]
fn more_layers_than_the_kernel_stacks_are_refused() {
    let profile = Profile::builtin("baseline").unwrap();
    assert!(layered(&cri(), &[&profile; 16], &host(7)).is_ok());
    let text = layered(&cri(), &[&profile; 17], &host(7))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("17 profiles") && text.contains("1 to 16"),
        "{text}"
    );
    assert_eq!(Layers::new(&[]), Err(Refusal::Layers { found: 0 }));
}

#[test]
fn a_profile_of_another_layer_cannot_go_without_for_this_one() {
    let lenient = standalone(
        "lenient",
        "extends: [baseline], requires: {degrade: [landlock, exec-capture]}",
    );
    let strict = standalone("strict", "extends: [baseline]");
    for layers in [[&lenient, &strict], [&strict, &lenient]] {
        let text = layered(&cri(), &layers, &host(0)).unwrap_err().to_string();
        assert!(
            text.contains("profile strict requires Landlock ABI 1"),
            "{text}"
        );
    }
    let captured = standalone(
        "captured",
        "extends: [baseline], requires: {degrade: [landlock]}",
    );
    let plan = layered(&cri(), &[&lenient, &captured], &host(0)).unwrap();
    assert!(
        plan.exec
            .refused
            .unwrap()
            .contains("let profile captured go without")
    );
}

/// What `explain` and `diff` read of a container's record is what init was given.
#[test]
fn the_domains_of_a_summary_are_read_back_whole() {
    for name in ["baseline", "restricted", "pause"] {
        let profile = Profile::builtin(name).unwrap();
        let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
        let read = domains(&plan.effective);
        let layers: Vec<_> = read.iter().map(|(_, layer)| layer.clone()).collect();
        assert_eq!(layers, plan.policy.layers);
        assert_eq!(read[0].0, name);
    }
    let broken = json!({"landlock": {"layers": [{"profile": "x", "paths": []}]}});
    assert!(domains(&broken).is_empty() && domains(&json!(null)).is_empty());
}
