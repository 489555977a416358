//! Every Landlock ABI from none to one above the newest that the crate knows: the host is described
//! by hand, so these are the plans for kernels that are not here.

use ::landlock::{ABI, Access, AccessFs, AccessNet, Scope as Bits};

use super::*;

/// linux/landlock.h, by hand: the rights that each ABI handles.
const FILES: [(u32, u64); 11] = [
    (0, 0),
    (1, 0x1fff),
    (2, 0x3fff),
    (3, 0x7fff),
    (4, 0x7fff),
    (5, 0xffff),
    (6, 0xffff),
    (7, 0xffff),
    (8, 0xffff),
    (9, 0x1_ffff),
    (10, 0x1_ffff),
];

/// Narrow in every control that there is.
const NARROW: &str = "files: {read: [/etc], read_execute: [/usr], execute: ['@image'], \
    read_write: ['@volumes', '@tmpfs', '@devices'], device_ioctl: [/dev/tty], make_device: [/srv], \
    except: [/etc/shadow]}, network: {bind_tcp: [8080], connect_tcp: [443]}, \
    scope: [signal, abstract-unix-socket]";

const EVERYTHING: &str = "requires: {degrade: [landlock, exec-capture]}";

fn text(lines: &str) -> String {
    format!(
        "{{version: 1, name: site, syscalls: {{groups: '2026.1', allow: ['@default']}}, {lines}}}"
    )
}

fn site(lines: &str) -> Profile {
    Profile::parse("site", &text(lines)).unwrap()
}

fn planned(profile: &Profile, abi: u32) -> Result<Plan, String> {
    attempt(&cri(), profile, &host(abi), &config()).map_err(|refusal| refusal.to_string())
}

#[test]
fn a_plan_handles_what_its_abi_knows_and_no_rule_says_more() {
    let accepting = site(&format!("{NARROW}, {EVERYTHING}"));
    for (abi, files) in FILES {
        let plan = planned(&accepting, abi).unwrap();
        if abi == 0 {
            assert!(plan.policy.layers.is_empty());
            assert!(plan.degraded[0].contains("no Landlock in this kernel"));
            continue;
        }
        let [layer] = &plan.policy.layers[..] else {
            panic!("ABI {abi}: {:?}", plan.policy.layers);
        };
        assert_eq!(layer.handled_fs, files, "ABI {abi}");
        assert_eq!(layer.handled_net, if abi < 4 { 0 } else { 3 }, "ABI {abi}");
        assert_eq!(layer.scoped, if abi < 6 { 0 } else { 3 }, "ABI {abi}");
        for rule in &layer.paths {
            assert_ne!(rule.access, 0, "ABI {abi}: {rule:?}");
            assert_eq!(rule.access & !layer.handled_fs, 0, "ABI {abi}: {rule:?}");
        }
        for rule in &layer.ports {
            assert_ne!(rule.access & layer.handled_net, 0, "ABI {abi}: {rule:?}");
            assert_eq!(rule.access & !layer.handled_net, 0, "ABI {abi}: {rule:?}");
        }
        // The crate is what init builds the ruleset with.
        let known = ABI::from(i32::try_from(abi).unwrap());
        assert_eq!(files, AccessFs::from_all(known).bits());
        assert!(AccessNet::from_all(known).bits() & 3 == layer.handled_net);
        assert_eq!(Bits::from_all(known).bits(), layer.scoped);
    }
}

#[test]
fn every_control_is_enforced_refused_or_listed_as_lacking_on_every_abi() {
    // Words of the profile, word of `degrade`, first ABI, what stands under `degraded`.
    let controls = [
        (
            "files: {read_execute: [/usr], device_ioctl: [/]}",
            "truncate",
            3,
            "truncate(2)",
        ),
        (
            "files: {read_write_execute: [/]}",
            "device-ioctl",
            5,
            "ioctl(2)",
        ),
        ("network: {bind_tcp: [80]}", "network", 4, "TCP ports"),
        ("scope: [signal]", "scope", 6, "not scoped"),
    ];
    for (lines, word, least, lack) in controls {
        let strict = site(lines);
        let accepting = site(&format!("{lines}, requires: {{degrade: [{word}]}}"));
        for abi in 1..=10 {
            let plan = planned(&accepting, abi).unwrap();
            let noted = plan.degraded.iter().any(|note| note.contains(lack));
            assert_eq!(noted, abi < least, "{word}, ABI {abi}: {:?}", plan.degraded);
            match planned(&strict, abi) {
                Ok(_) => assert!(abi >= least, "{word}, ABI {abi}"),
                Err(refusal) => {
                    assert!(abi < least, "{word}, ABI {abi}: {refusal}");
                    let words = [
                        format!("needs Landlock ABI {least}, and this kernel has {abi}"),
                        format!("degrade: [{word}]"),
                    ];
                    for want in words {
                        assert!(refusal.contains(&want), "{refusal}");
                    }
                }
            }
        }
        // A word for one control accepts no kernel without any.
        assert!(planned(&accepting, 0).is_err(), "{word}");
    }
}

#[test]
fn a_right_that_is_granted_everywhere_needs_no_abi_of_its_own() {
    assert!(
        planned(
            &site("files: {read_write_execute: [/], device_ioctl: [/]}"),
            1
        )
        .is_ok()
    );
    // Until an exception makes it a promise.
    let excepting = site("files: {read_write_execute: [/], device_ioctl: [/], except: [/srv]}");
    assert!(
        planned(&excepting, 2)
            .unwrap_err()
            .contains("degrade: [truncate]")
    );
    assert!(
        planned(&excepting, 4)
            .unwrap_err()
            .contains("degrade: [device-ioctl]")
    );
}

#[test]
fn sockets_by_path_are_promised_by_requires_alone_and_always_noted() {
    let narrow = "files: {read_execute: [/usr], device_ioctl: [/]}";
    let noted = |abi| {
        let plan = planned(&site(narrow), abi).unwrap();
        plan.degraded
            .iter()
            .any(|note| note.contains("UNIX sockets by path"))
    };
    assert!(noted(8) && !noted(9));
    let insisting = site(&format!("{narrow}, requires: {{landlock: 9}}"));
    assert!(
        planned(&insisting, 8)
            .unwrap_err()
            .contains("requires Landlock ABI 9")
    );
    assert!(planned(&insisting, 9).is_ok());
}

#[test]
fn shipped_profiles_run_on_the_kernels_that_they_name() {
    for (name, least) in [("baseline", 1), ("restricted", 3)] {
        let profile = Profile::builtin(name).unwrap();
        for abi in 0..=10 {
            assert_eq!(
                planned(&profile, abi).is_ok(),
                abi >= least,
                "{name}, ABI {abi}"
            );
        }
    }
    let spec: Spec = serde_json::from_value(cri()).unwrap();
    let pause = &Profile::builtin("pause").unwrap();
    for abi in 0..=10 {
        let input = Input {
            profiles: Layers::from(&pause),
            spec: &spec,
            host: &host(abi),
            config: &config(),
            run: false,
            found: None,
        };
        assert!(plan_pause(input).is_ok(), "pause, ABI {abi}");
    }
}

#[test]
fn an_exception_in_a_volume_that_the_kubelet_replaces_is_refused() {
    let source = |kind: &str| format!("/var/lib/kubelet/pods/u/volumes/kubernetes.io~{kind}/v");
    let attempt = |kind: &str, except: &str| {
        let spec = with(|spec| {
            let mount = json!({"destination": "/etc/conf", "type": "bind", "source": source(kind),
                "options": ["rbind", "ro"]});
            spec["mounts"].as_array_mut().unwrap().push(mount);
        });
        let profile = site(&format!(
            "files: {{read: [/], device_ioctl: [/], except: [{except}]}}"
        ));
        attempt(&spec, &profile, &host(7), &config()).map_err(|refusal| refusal.to_string())
    };
    for kind in ["configmap", "secret", "projected", "downward-api"] {
        let refusal = attempt(kind, "/etc/conf/key").unwrap_err();
        assert!(
            refusal.contains("\"/etc/conf/key\" in the volume at \"/etc/conf\""),
            "{refusal}"
        );
        assert!(attempt(kind, "/etc/conf").is_ok(), "the whole volume");
        assert!(attempt(kind, "/etc/confer").is_ok(), "beside it");
    }
    assert!(attempt("empty-dir", "/etc/conf/key").is_ok());
}

#[test]
fn more_rules_than_init_should_add_are_refused_by_number() {
    let paths = |count: usize| {
        (0..count)
            .map(|n| format!("/srv/{n}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let of = |count| {
        site(&format!(
            "files: {{read: [{}], device_ioctl: [/]}}",
            paths(count)
        ))
    };
    // The one rule more is device_ioctl's.
    assert!(planned(&of(9_999), 7).is_ok());
    let refusal = planned(&of(10_000), 7).unwrap_err();
    assert!(
        refusal.contains("comes to 10001 Landlock rules and exceptions, and at most 10000"),
        "{refusal}"
    );
}

#[test]
fn lint_finds_for_a_kernel_what_the_plan_refuses_or_goes_without() {
    let written = [
        "scope: []".to_owned(),
        EVERYTHING.to_owned(),
        NARROW.to_owned(),
        format!("{NARROW}, {EVERYTHING}"),
        format!("{NARROW}, requires: {{landlock: 4, degrade: [scope, device-ioctl]}}"),
        "files: {read: ['/'], read_write: ['/']}, requires: {degrade: [network]}".to_owned(),
    ];
    let site_of = |lines: &String| (text(lines), site(lines));
    let shipped = |name| {
        let text = crate::profile::embedded(name).unwrap().to_owned();
        (text, Profile::resolve(name, &mut |_| Ok(None)).unwrap())
    };
    let written = written.iter().map(site_of);
    for (text, profile) in written.chain(["restricted", "nginx"].map(shipped)) {
        for (abi, _) in FILES {
            let found = crate::profile::lint::lint(&profile.name, Some(abi), &mut |name| {
                Ok((name == profile.name).then(|| text.clone()))
            });
            let count = |code| found.iter().filter(|one| one.code == Some(code)).count();
            let refused = controls::refusals(&profile, abi).len();
            assert_eq!(count("M504"), refused, "{text} on ABI {abi}");
            let lacks = match refused {
                0 => controls::lacking(&profile, abi).len(),
                _ => 0,
            };
            assert_eq!(count("M503"), lacks, "{text} on ABI {abi}");
        }
    }
}
