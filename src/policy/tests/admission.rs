//! Rules with a list: each refuses what it names, under every name, and nothing else.

use super::*;

/// A profile that refuses by `rule`, a YAML entry.
fn refusing(rule: &str) -> Profile {
    let text =
        format!("{{version: 1, name: site, extends: [baseline], process: {{refuse: [{rule}]}}}}");
    Profile::parse("site", &text).unwrap_or_else(|error| panic!("{rule}: {error}"))
}

fn verdict(rule: &str, spec: &Value) -> Result<Plan, String> {
    attempt(spec, &refusing(rule), &host(7), &config()).map_err(|refusal| refusal.to_string())
}

fn mounting(source: &str, typ: &str, options: &[&str]) -> Value {
    with(|spec| {
        let mount =
            json!({"destination": "/host", "type": typ, "source": source, "options": options});
        spec["mounts"].as_array_mut().unwrap().push(mount);
    })
}

fn bind(source: &str) -> Value {
    mounting(source, "bind", &["rbind", "rw"])
}

#[test]
fn a_host_path_is_refused_at_above_and_beneath_it() {
    for (pattern, source, want) in [
        ("/run/docker.sock", "/run/docker.sock", true),
        ("/run/docker.sock", "/run", true),
        ("/run/docker.sock", "/", true),
        ("/run/docker.sock", "/run/docker.sock.old", false),
        ("/run/docker.sock", "/runner", false),
        ("/run/docker.sock", "/run/docker", false),
        ("/var/run/docker.sock", "/run", true),
        ("/run/docker.sock", "/var/run/docker.sock", true),
        ("/run/docker.sock", "/srv/../run/./docker.sock", true),
        ("/run/docker.sock", "//run//docker.sock/", true),
        ("/etc", "/etc", true),
        ("/etc", "/etc/ssl", false),
        ("/etc/**", "/etc", true),
        ("/etc/**", "/etc/ssl/certs", true),
        ("/etc/**", "/etcetera", false),
        ("/srv/*/keys", "/srv", true),
        ("/srv/*/keys", "/srv/a", true),
        ("/srv/*/keys", "/srv/a/keys", true),
        ("/srv/*/keys", "/srv/a/data", false),
        ("/srv/*/keys", "/srv/a/b/keys", false),
        ("/srv/**/keys", "/srv/a/b/keys", true),
        ("/srv/**/keys", "/srv/a/b", true),
        ("/", "/", true),
        ("/", "/srv", false),
        ("/**", "/srv", true),
        (
            "@runtime-sockets",
            "/var/run/containerd/containerd.sock",
            true,
        ),
        ("@runtime-sockets", "/var", true),
        ("@runtime-sockets", "/run/user/1000/podman", true),
        ("@runtime-sockets", "/run/lock", false),
        ("@kubelet", "/var/lib/kubelet/pods/other/volumes/x", true),
        ("@host-root", "/proc/../", true),
        ("@host-root", "/tmp", false),
        ("@kernel", "/sys/fs/cgroup", true),
        ("@system", "/etc/shadow", true),
    ] {
        let found = verdict(&format!("{{host-path: ['{pattern}']}}"), &bind(source));
        assert_eq!(found.is_err(), want, "{pattern} and {source}: {found:?}");
        let Err(message) = found else { continue };
        let rule = format!("profile site refuses containers by `host-path: {pattern}`: ");
        assert!(message.starts_with(&rule), "{message}");
        assert!(message.contains(": the mount at \"/"), "{message}");
    }
}

#[test]
fn a_bind_is_one_by_its_options_and_other_filesystems_have_sources_too() {
    let rule = "{host-path: [/etc/**]}";
    for (source, typ, options) in [
        ("/etc", "bind", &[][..]),
        ("/etc", "none", &["rbind"]),
        ("/etc", "", &["bind", "ro"]),
        ("/etc", "tmpfs", &["bind"]),
        (
            "overlay",
            "overlay",
            &["lowerdir=/srv:/etc,x", "upperdir=/b"],
        ),
        ("overlay", "overlay", &["upperdir=/etc/x"]),
        ("overlay", "overlay", &["lowerdir+=/etc"]),
        ("/etc/disk.img", "ext4", &[]),
    ] {
        let spec = mounting(source, typ, options);
        assert!(verdict(rule, &spec).is_err(), "{typ} {source} {options:?}");
    }
    assert!(verdict(rule, &mounting("tmpfs", "tmpfs", &["size=1m"])).is_ok());
    let rootfs = with(|spec| spec["root"]["path"] = json!("/"));
    assert!(verdict("{host-path: ['@host-root']}", &rootfs).is_err());
    assert!(
        verdict("{host-path: ['/etc/**']}", &rootfs).is_err(),
        "it holds /etc"
    );
    let plain = with(|spec| spec["root"]["path"] = json!("/run/containerd/task/x/rootfs"));
    let all = with(|spec| {
        spec["root"]["path"] = json!("/run/containerd/task/x/rootfs");
        spec["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|m| m["type"] != "bind");
    });
    assert!(verdict("{host-path: ['/run/**']}", &plain).is_ok());
    assert!(
        verdict("{host-path: ['/**']}", &all).is_ok(),
        "a rootfs is no volume"
    );
}

/// A pod's annotations and the mounts that the kubelet and containerd give every pod.
fn pod() -> Value {
    with(|spec| {
        let own = "/var/lib/kubelet/pods/8f2a-uid";
        let sandbox = "/data/containerd/io.containerd.grpc.v1.cri/sandboxes/5eed";
        for (destination, source) in [
            ("/etc/hosts", format!("{own}/etc-hosts")),
            ("/etc/hostname", format!("{sandbox}/hostname")),
            ("/etc/resolv.conf", format!("{sandbox}/resolv.conf")),
            ("/dev/shm", format!("{sandbox}/shm")),
            (
                "/dev/termination-log",
                format!("{own}/containers/main/1a2b"),
            ),
            (
                "/data",
                format!("{own}/volumes/kubernetes.io~empty-dir/data"),
            ),
            (
                "/etc/app",
                format!("{own}/volumes/kubernetes.io~configmap/app"),
            ),
            (
                "/var/run/secrets/kubernetes.io/serviceaccount",
                format!("{own}/volumes/kubernetes.io~projected/kube-api-access-x"),
            ),
        ] {
            let mounts = spec["mounts"].as_array_mut().unwrap();
            let mut mount = mounts.iter_mut().find(|m| m["destination"] == destination);
            mount.as_mut().unwrap()["source"] = json!(source);
        }
        spec["annotations"] = json!({
            "io.kubernetes.cri.sandbox-uid": "8f2a-uid",
            "io.kubernetes.cri.sandbox-id": "5eed",
        });
    })
}

#[test]
fn what_every_pod_has_mounted_is_no_host_path() {
    for rule in ["@kubelet", "/**", "/var/lib/kubelet/**"] {
        let rule = format!("{{host-path: ['{rule}']}}");
        verdict(&rule, &pod()).unwrap_or_else(|error| panic!("{error}"));
        // Another pod's, or the own pod's by an annotation that could be a pattern.
        let mut other = pod();
        other["annotations"]["io.kubernetes.cri.sandbox-uid"] = json!("another");
        assert!(verdict(&rule, &other).is_err());
        other["annotations"]["io.kubernetes.cri.sandbox-uid"] = json!("*");
        assert!(verdict(&rule, &other).is_err());
    }
}

#[test]
fn a_subpath_of_a_host_path_counts_by_its_names_and_one_of_a_volume_does_not() {
    let bound = "/var/lib/kubelet/pods/8f2a-uid/volume-subpaths/v/main/0";
    let mut spec = pod();
    let mount =
        json!({"destination": "/host", "type": "bind", "source": bound, "options": ["rbind"]});
    spec["mounts"].as_array_mut().unwrap().push(mount);
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let profile = refusing("{host-path: ['@kubelet', '@system']}");
    let profile = &profile;
    let with_name = |name: &str| {
        let source = host_path::Source {
            what: "the mount at \"/host\"".into(),
            asked: bound.into(),
            names: vec![bound.into(), name.into()],
            root: false,
        };
        let found = Found {
            sources: vec![source],
            ..Found::default()
        };
        let input = Input {
            profiles: Layers::from(&profile),
            spec: &spec,
            host: &host(7),
            config: &config(),
            found: Some(&found),
            run: false,
        };
        plan(input).map_err(|refusal| refusal.to_string())
    };
    for host in [
        "/etc",
        "/var/lib/kubelet/pods/other/volumes/kubernetes.io~secret/s",
    ] {
        assert!(with_name(host).is_err(), "{host}");
    }
    let own = "/var/lib/kubelet/pods/8f2a-uid/volumes/kubernetes.io~csi/pv/mount/sub";
    assert!(with_name(own).is_ok());
}

#[test]
fn a_folder_of_the_patterns_that_is_a_link_counts_where_it_leads() {
    let profile = refusing("{host-path: ['@kubelet']}");
    let spec: Spec = serde_json::from_value(bind("/mnt/kubelet/pki")).unwrap();
    let links = [("/var/lib/kubelet".to_owned(), "/mnt/kubelet".to_owned())].into();
    assert!(host_path::prefixes(&profile).contains(&"/var/lib/kubelet".to_owned()));
    let found = Found {
        sources: host_path::unseen(&spec),
        links,
        ..Found::default()
    };
    let layer = &profile;
    let input = Input {
        profiles: Layers::from(&layer),
        spec: &spec,
        host: &host(7),
        config: &config(),
        found: Some(&found),
        run: false,
    };
    assert!(
        plan(input)
            .unwrap_err()
            .to_string()
            .contains("/mnt/kubelet/pki")
    );
    assert!(
        plan(Input {
            found: None,
            ..input
        })
        .is_ok()
    );
}

#[test]
fn a_capability_in_any_set_is_refused_by_name() {
    let held = |set: &str, names: &[&str]| {
        with(|spec| {
            for other in [
                "bounding",
                "effective",
                "permitted",
                "inheritable",
                "ambient",
            ] {
                spec["process"]["capabilities"][other] = json!([]);
            }
            spec["process"]["capabilities"][set] = json!(names);
        })
    };
    for set in [
        "bounding",
        "effective",
        "permitted",
        "inheritable",
        "ambient",
    ] {
        for name in ["CAP_SYS_PTRACE", "SYS_PTRACE"] {
            let error = verdict("{capability: [SYS_PTRACE]}", &held(set, &[name])).unwrap_err();
            assert!(
                error.contains(
                    "`capability: SYS_PTRACE`: process.capabilities holds CAP_SYS_PTRACE"
                ),
                "{error}"
            );
        }
    }
    assert!(
        verdict(
            "{capability: [SYS_PTRACE]}",
            &held("bounding", &["CAP_CHOWN"])
        )
        .is_ok()
    );
    for (names, added, all) in [
        (&[][..], false, false),
        (&["CAP_CHOWN"], false, true),
        (&["CAP_CHOWN", "CAP_NET_ADMIN"], true, true),
    ] {
        let spec = held("bounding", names);
        assert_eq!(
            verdict("{capability: ['@added']}", &spec).is_err(),
            added,
            "{names:?}"
        );
        assert_eq!(
            verdict("{capability: [ALL]}", &spec).is_err(),
            all,
            "{names:?}"
        );
    }
}

#[test]
fn a_limit_that_is_missing_or_none_is_refused() {
    let resources = |value: Value| with(|spec| spec["linux"]["resources"] = value);
    for (limit, missing, there) in [
        (
            "memory",
            vec![
                json!({}),
                json!({"memory": {"limit": -1}}),
                json!({"memory": {"limit": 0}}),
                json!({"memory": {"limit": 9_223_372_036_854_771_712_i64}}),
                json!({"memory": {"limit": 1024}, "unified": {"memory.max": "max"}}),
            ],
            vec![
                json!({"memory": {"limit": 1_048_576}}),
                json!({"unified": {"memory.max": "1048576"}}),
            ],
        ),
        (
            "cpu",
            vec![
                json!({"cpu": {"shares": 2}}),
                json!({"cpu": {"quota": -1, "period": 100}}),
                json!({"cpu": {"quota": 1}, "unified": {"cpu.max": "max 100000"}}),
            ],
            vec![json!({"cpu": {"quota": 1000, "period": 100_000}})],
        ),
        (
            "pids",
            vec![
                json!({}),
                json!({"pids": {"limit": 0}}),
                json!({"pids": {"limit": -1}}),
                json!({"pids": {"limit": 5}, "unified": {"pids.max": "max"}}),
            ],
            vec![json!({"pids": {"limit": 100}})],
        ),
    ] {
        let rule = format!("{{missing-limit: [{limit}]}}");
        for value in missing {
            let error = verdict(&rule, &resources(value)).unwrap_err();
            assert!(
                error.contains(&format!("`missing-limit: {limit}`")),
                "{error}"
            );
        }
        for value in there {
            let found = verdict(&rule, &resources(value.clone()));
            assert!(found.is_ok(), "{value}: {found:?}");
        }
    }
    let text = "{version: 1, name: site, extends: [baseline], \
                process: {max: 64, refuse: [{missing-limit: [pids]}]}}";
    let own = Profile::parse("site", text).unwrap();
    assert!(
        attempt(&cri(), &own, &host(7), &config()).is_ok(),
        "the profile limits them itself"
    );
}

#[test]
fn a_message_stays_short_whatever_a_pod_writes() {
    let source = format!("/etc/{}", "x\n\u{1b}[31m/".repeat(500));
    let error = verdict("{host-path: [/etc/**]}", &bind(&source)).unwrap_err();
    assert!(error.len() < 1000, "{}", error.len());
    assert!(!error.chars().any(char::is_control), "{error:?}");
}

#[test]
fn a_namespace_that_is_joined_counts_by_what_it_is() {
    use oci_spec::runtime::LinuxNamespaceType as Typ;
    for (rule, name, typ) in [
        ("host-pid", "pid", Typ::Pid),
        ("host-network", "network", Typ::Network),
        ("host-ipc", "ipc", Typ::Ipc),
    ] {
        let spec = with(|spec| {
            let all = spec["linux"]["namespaces"].as_array_mut().unwrap();
            let own = all.iter_mut().find(|own| own["type"] == name).unwrap();
            own["path"] = json!("/proc/4242/ns/x");
        });
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let profile = &refusing(rule);
        let judge = |namespaces: &[Typ]| {
            let found = Found {
                namespaces: namespaces.to_vec(),
                ..Found::default()
            };
            let input = Input {
                profiles: Layers::from(&profile),
                spec: &spec,
                host: &host(7),
                config: &config(),
                found: Some(&found),
                run: false,
            };
            plan(input).map_err(|refusal| refusal.to_string())
        };
        assert!(judge(&[]).is_ok(), "{rule}: another pod's own");
        let error = judge(&[typ]).unwrap_err();
        assert!(error.contains("is the host's (joined by"), "{error}");
    }
}

#[test]
fn uid_0_is_root_in_a_user_namespace_that_maps_it_to_the_hosts_root() {
    for (host_id, refused) in [(0, true), (100_000, false)] {
        let spec = with(|spec| {
            spec["process"]["user"]["uid"] = json!(0);
            let all = spec["linux"]["namespaces"].as_array_mut().unwrap();
            all.push(json!({"type": "user"}));
            let map = json!([{"containerID": 0, "hostID": host_id, "size": 65536}]);
            spec["linux"]["uidMappings"] = map;
        });
        let found = verdict("root-user", &spec);
        assert_eq!(found.is_err(), refused, "{host_id}");
    }
}
