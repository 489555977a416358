//! `process.refuse` before real engines and runtimes: the text is what `kubectl describe pod` shows,
//! and no process of the container ever ran. Then what a pod's author would try against
//! `host-path`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::harness::{Bundle, Container, Containerd, Pod, World, eventually};
use crate::remains;

/// Every rule at once: each test breaks one.
const SITE: &str = r#"
version: 1
name: site
extends: [baseline]
process:
  refuse:
    - root-user
    - privileged
    - host-pid
    - host-network
    - host-ipc
    - writable-rootfs
    - unconfined-seccomp
    - missing-limit: [memory, cpu]
    - capability: ["@added", SYS_PTRACE]
    - host-path: ["@host-root", "@runtime-sockets", "@kubelet", "/etc/**", "/proc", "/sys/**", "/srv/**"]
"#;

fn site() -> &'static Containerd {
    static DAEMON: OnceLock<Containerd> = OnceLock::new();
    DAEMON.get_or_init(|| Containerd::with_profile(World::runc(), "site", SITE))
}

/// A container that breaks no rule and leaves a trace in its volume as soon as it runs.
fn modest<'a>(pod: &'a Pod<'a>) -> Container<'a> {
    pod.container(&site().world().name("modest"))
        .user(1000)
        .read_only()
        .limits(64 << 20, 50_000)
        .volume("/tmp", 1000)
        .shell("harmless write /tmp/ran yes; exec harmless stay")
}

/// StartContainer fails with `words`, and nothing of the container has ever run.
#[track_caller]
fn assert_refused(pod: &Pod<'_>, container: Container<'_>, words: &[&str]) {
    let world = site().world();
    let trace = container.volume_path("/tmp").join("ran");
    let container = container.try_create().expect("no runtime is called yet");
    let refusal = container.try_start().expect_err("the profile refuses it");
    println!("{refusal}");
    for word in words.iter().chain(&["profile site refuses"]) {
        assert!(refusal.contains(word), "{word:?} is not in {refusal:?}");
    }
    assert!(!world.inside(&trace).exists(), "it ran");
    remains::nothing_runs(world, &container.id);
    assert_eq!(
        remains::homes(world, &world.state_dir(), &container.id).len(),
        0
    );
    assert!(pod.ready());
}

#[test]
fn a_modest_container_is_admitted_with_all_that_pods_have_mounted() {
    let pod = site().pod("mantlet-baseline").run();
    let container = modest(&pod);
    let trace = container.volume_path("/tmp").join("ran");
    let container = container.run();
    eventually("it runs", || trace.exists().then_some(()));
    container.exec(["harmless", "work"]).ok();
}

#[test]
fn each_rule_refuses_with_its_name_the_value_and_the_remedy() {
    let pod = site().pod("mantlet-baseline").run();
    let mut root = modest(&pod);
    root.security().run_as_user = None;
    root.security().run_as_group = None;
    assert_refused(
        &pod,
        root,
        &["root-user containers", "uid is 0", "runAsUser"],
    );
    let mut writable = modest(&pod);
    writable.security().readonly_rootfs = false;
    let words = [
        "writable-rootfs containers",
        "root.readonly is not true",
        "readOnlyRootFilesystem",
    ];
    assert_refused(&pod, writable, &words);
    let mut unconfined = modest(&pod);
    let seccomp = unconfined.security().seccomp.as_mut().expect("the default");
    seccomp.profile_type = 1;
    let words = [
        "unconfined-seccomp containers",
        "no linux.seccomp",
        "RuntimeDefault",
    ];
    assert_refused(&pod, unconfined, &words);
    let words = [
        "`missing-limit: memory`",
        "memory.limit",
        "resources.limits.memory",
    ];
    assert_refused(&pod, modest(&pod).limits(0, 50_000), &words);
    let words = ["`missing-limit: cpu`", "cpu.quota", "resources.limits.cpu"];
    assert_refused(&pod, modest(&pod).limits(64 << 20, 0), &words);
    let words = [
        "`capability: @added`",
        "holds CAP_NET_ADMIN",
        "capabilities.add",
    ];
    assert_refused(&pod, modest(&pod).capabilities(&["NET_ADMIN"]), &words);
    let words = ["privileged containers", "holds CAP_SYS_ADMIN"];
    assert_refused(&pod, modest(&pod).capabilities(&["SYS_ADMIN"]), &words);
    for (source, rule) in [
        ("/", "@host-root"),
        ("/var/run", "@runtime-sockets"),
        ("/var/lib", "@kubelet"),
        ("/etc/ssl", "/etc/**"),
        ("/proc", "/proc"),
    ] {
        let container = modest(&pod).mount(Path::new(source), "/host", true);
        let rule = format!("`host-path: {rule}`");
        assert_refused(
            &pod,
            container,
            &[&rule, "the mount at \"/host\"", "remove that volume"],
        );
    }
}

#[test]
fn the_hosts_namespaces_are_refused() {
    for (network, pid, ipc, rule) in [
        (0, 2, 0, "host-pid"),
        (2, 1, 0, "host-network"),
        (0, 1, 2, "host-ipc"),
    ] {
        let mut pod = site().pod("mantlet-baseline").namespaces(network, pid, ipc);
        if network == 2 {
            // As the kubelet has it: the host's name is nobody's to set.
            pod.config.hostname.clear();
        }
        let pod = pod.run();
        let mut container = modest(&pod);
        let options = container
            .security()
            .namespace_options
            .get_or_insert_default();
        (options.network, options.pid, options.ipc) = (network, pid, ipc);
        let words = format!("{rule} containers");
        assert_refused(&pod, container, &[&words, "namespace is the host's"]);
    }
}

#[test]
fn a_privileged_container_is_refused_by_the_site() {
    let pod = site().pod("mantlet-baseline").privileged().run();
    let words = [
        "privileged containers",
        "process.capabilities holds CAP_SYS_ADMIN",
    ];
    assert_refused(&pod, modest(&pod).privileged(), &words);
}

#[test]
fn a_link_a_bind_and_a_bind_beneath_are_seen_through() {
    let world = site().world();
    let folder = world.folder("volumes", &world.name("names"));
    symlink("/etc", folder.join("link")).expect("our own folder");
    for name in ["bound", "above/inner"] {
        fs::create_dir_all(folder.join(name)).expect("our own folder");
        let bind = world.command("mount").args(["--bind", "/etc"]);
        bind.arg(folder.join(name)).run().ok();
    }
    let pod = site().pod("mantlet-baseline").run();
    // The engine follows a link at the end itself, and so knows no other name.
    for (name, words) in [
        ("link", "the mount at \"/host\" is \"/etc\""),
        ("link/ssl", "another name of \"/etc/ssl\""),
        ("bound", "another name of \"/etc\""),
        ("above", "a part of the mount at \"/host\""),
    ] {
        let container = modest(&pod).mount(&folder.join(name), "/host", true);
        assert_refused(&pod, container, &["`host-path: /etc/**`", words]);
    }
}

/// A bundle under a profile that refuses host paths.
fn bundle(world: &'static World, patterns: &str) -> Bundle {
    let text = format!(
        "version: 1\nname: site\nextends: [baseline]\nprocess: {{refuse: [{{host-path: [{patterns}]}}]}}\n"
    );
    Bundle::new(world, "mantlet-baseline").profile("site", &text)
}

fn bind(source: &Path) -> impl FnOnce(&mut Value) + use<> {
    let mount = json!({"destination": "/host", "type": "bind", "source": source,
                       "options": ["rbind", "ro"]});
    move |config| config["mounts"].as_array_mut().expect("mounts").push(mount)
}

fn worlds() -> [&'static World; 2] {
    [World::runc(), World::crun()]
}

#[test]
fn a_bundle_is_refused_without_an_engine_too() {
    for world in worlds() {
        for (source, pattern) in [
            ("/etc", "/etc/**"),
            ("/", "/etc/**"),
            ("/var/../run", "'@runtime-sockets'"),
        ] {
            let bundle = bundle(world, pattern).edit(bind(Path::new(source)));
            bundle.write();
            let before = bundle.on_disk();
            assert_ne!(bundle.create(), 0, "{source}");
            let errors = bundle.errors();
            let pattern = pattern.trim_matches('\'');
            let words = format!("profile site refuses containers by `host-path: {pattern}`");
            assert!(
                errors.len() == 1 && errors[0].contains(&words),
                "{errors:?}"
            );
            assert_eq!(bundle.on_disk(), before, "config.json was changed");
            assert!(!remains::runtime_knows(&bundle));
            remains::nothing_runs(world, &bundle.id);
        }
        let folder = world.folder("volumes", &world.name("plain"));
        let plain = bundle(world, "/etc/**").edit(bind(&folder)).up();
        plain.exec(["harmless", "work"]).ok();
    }
}

/// A link to something harmless in a folder of its own.
fn link(world: &'static World) -> PathBuf {
    let folder = world.folder("volumes", &world.name("swap"));
    fs::create_dir(folder.join("harmless")).expect("our own folder");
    symlink("harmless", folder.join("link")).expect("our own folder");
    folder.join("link")
}

/// The runtime that the front door becomes turns the link before it mounts.
fn turning(bundle: Bundle, link: &Path, target: &str) -> Bundle {
    let real = bundle.world().runtime();
    let runtime = link.with_file_name(real);
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *\" create \"*) ln -sfn {target} {} ;; esac\nexec {real} \"$@\"\n",
        link.display(),
    );
    fs::write(&runtime, script).expect("our own folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&runtime, mode).expect("our own file");
    let text = fs::read_to_string(bundle.path.join("mantlet.yaml")).expect("ours");
    let path = format!("runtime: {}", runtime.display());
    bundle.configured(|_| text.replace(&format!("runtime: {real}"), &path))
}

#[test]
fn a_link_that_is_turned_round_after_the_check_is_seen_at_start() {
    for world in worlds() {
        for (target, destination, pattern) in [
            ("/etc", "/host", "/etc/**"),
            // Where the kernel's own trees are usual, the host's are not.
            ("/sys", "/sys", "'@kernel'"),
            ("/sys/kernel", "/sys/kernel", "'@kernel'"),
            ("/sys/fs/cgroup", "/sys/fs/cgroup", "'@kernel'"),
            (
                "/sys/fs/cgroup/memory",
                "/sys/fs/cgroup/memory",
                "'@kernel'",
            ),
            ("/dev/pts", "/dev/pts", "/dev/**"),
        ] {
            let link = link(world);
            let mut mount = json!({"destination": destination, "type": "bind", "source": link});
            mount["options"] = json!(["bind", "rw"]);
            let bundle = bundle(world, pattern).edit(move |config| {
                config["mounts"].as_array_mut().expect("mounts").push(mount);
            });
            let bundle = bundle.args(["sh", "-c", "echo begun; exec harmless stay"]);
            let bundle = turning(bundle, &link, target);
            bundle.write();
            assert_eq!(bundle.create(), 0, "{target}: {:?}", bundle.errors());
            let started = bundle.start().refused();
            let words = format!(
                "profile site refuses containers by `host-path: {}`: the mount at \"",
                pattern.trim_matches('\'')
            );
            assert!(started.stderr.contains(&words), "{}", started.stderr);
            assert!(!bundle.output().contains("begun"), "it ran");
            eventually("the parked container is gone", || {
                let state = bundle.state();
                state
                    .is_none_or(|state| state["status"] == "stopped")
                    .then_some(())
            });
        }
    }
}

#[test]
fn what_runtimes_mount_of_the_kernels_is_usual_with_every_namespace_of_the_hosts() {
    for world in worlds() {
        for (gone, more) in [
            ("none", None),
            ("network", None),
            ("pid", None),
            ("ipc", None),
            ("none", Some("cgroup")),
            ("cgroup", None),
        ] {
            let bundle = bundle(world, "'@kernel', '/dev/**'").edit(|config| {
                let all = config["linux"]["namespaces"].as_array_mut();
                let all = all.expect("a list");
                all.retain(|namespace| namespace["type"] != gone);
                if let Some(more) = more.filter(|more| all.iter().all(|ns| ns["type"] != *more)) {
                    all.push(json!({"type": more}));
                }
                let cgroup = json!({"destination": "/sys/fs/cgroup", "type": "cgroup",
                    "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]});
                let mounts = config["mounts"].as_array_mut().expect("mounts");
                if mounts.iter().all(|mount| mount["destination"] != "/sys/fs/cgroup") {
                    mounts.push(cgroup);
                }
            });
            bundle.up().exec(["harmless", "work"]).ok();
        }
    }
}

#[test]
fn a_link_that_is_turned_round_is_seen_by_a_profile_for_sessions_too() {
    for world in worlds() {
        let link = link(world);
        let bundle = bundle(world, "/etc/**")
            .profile(
                "outer",
                "version: 1\nname: outer\nextends: [baseline]\nexec: {profile: site}\n",
            )
            .edit(bind(&link));
        let bundle = turning(bundle, &link, "/etc").up();
        let refused = bundle.exec(["harmless", "work"]).expect(255);
        let words =
            "profile site refuses containers by `host-path: /etc/**`: the mount at \"/host\"";
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
}

#[test]
fn an_audited_profile_is_told_of_what_was_really_mounted_and_of_roots_sessions() {
    let outer = "version: 1\nname: outer\nmode: audit\nextends: [baseline]\n\
                 process: {refuse: [{host-path: [/etc/**]}]}\nexec: {profile: strict}\n";
    let strict = "version: 1\nname: strict\nextends: [restricted]\n\
                  process: {refuse: [root-user, {host-path: [/etc/**]}]}\n";
    for world in worlds() {
        let link = link(world);
        let bundle = Bundle::new(world, "mantlet-baseline").profile("outer", outer);
        fs::write(bundle.path.join("profiles/strict.yaml"), strict).expect("our own folder");
        let bundle = turning(bundle.edit(bind(&link)), &link, "/etc").up();
        let session = bundle.exec(["sh", "-c", "mkdir /made && echo made"]).ok();
        assert!(session.stdout.contains("made"), "{}", session.stdout);
        let told = |session: &str, profile: &str, words: &str| {
            eventually(words, || {
                let mut events = bundle.journal().into_iter();
                let refusal = |event: &Value| {
                    let what = event["access"]["what"].as_str().unwrap_or_default();
                    event["type"] == "observed"
                        && (&event["session"], &event["profile"])
                            == (&json!(session), &json!(profile))
                        && what.contains(words)
                };
                events.any(|event| refusal(&event)).then_some(())
            });
        };
        let mounted = "host-path: /etc/**`: the mount at \"/host\"";
        told("workload", "outer", mounted);
        told("exec", "strict", mounted);
        told("exec", "strict", "refuses root-user");
        // What its filter and its files would have refused.
        eventually("the session's own layer is looked at", || {
            let mut events = bundle.journal().into_iter();
            let by =
                |event: &Value| event["profile"] == "strict" && event["access"]["entry"] == "made";
            events.any(|event| by(&event)).then_some(())
        });
        bundle.kill("KILL").ok();
    }
}

#[test]
fn restricted_itself_keeps_the_runtimes_sockets_out() {
    let containerd = Containerd::shared();
    let pod = containerd.pod("mantlet-restricted").run();
    for source in ["/run", "/var/run", "/"] {
        let name = containerd.world().name("socket");
        let container = pod.container(&name).mount(Path::new(source), "/host", true);
        let container = container.try_create().expect("no runtime is called yet");
        let refusal = container.try_start().expect_err("restricted refuses it");
        let words = "profile restricted refuses containers by `host-path: @";
        assert!(refusal.contains(words), "{refusal}");
        remains::nothing_runs(containerd.world(), &container.id);
    }
}

/// The kubelet's directory as it is on a node, over the world's own /var/lib: an emptyDir, and what
/// the kubelet binds for a `subPath` of it and for one of a hostPath volume.
fn kubelet(world: &World) -> &'static Path {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let script = r#"
            mkdir "$1/upper" "$1/work"
            mount -t overlay -o "lowerdir=/var/lib,upperdir=$1/upper,workdir=$1/work" overlay /var/lib
            cd /var/lib && mkdir -p kubelet/pods/own kubelet/pods/other/volumes/kubernetes.io~secret/s
            cd kubelet/pods/own
            mkdir -p volumes/kubernetes.io~empty-dir/data/sub volume-subpaths/data/main/0
            mkdir -p volume-subpaths/host/main/0 volume-subpaths/stolen/main/0
            mount --bind volumes/kubernetes.io~empty-dir/data/sub volume-subpaths/data/main/0
            mount --bind /etc volume-subpaths/host/main/0
            mount --bind ../other/volumes/kubernetes.io~secret/s volume-subpaths/stolen/main/0
        "#;
        let folder = world.folder("kubelet", "var-lib");
        let call = world.command("sh").args(["-euc", script, "sh"]);
        call.arg(folder).run().ok();
    });
    Path::new("/var/lib/kubelet/pods")
}

#[test]
fn a_pods_own_volumes_are_told_from_the_hosts_and_other_pods_through_every_bind() {
    let world = World::runc();
    let pods = kubelet(world);
    for (source, admitted) in [
        ("own/volumes/kubernetes.io~empty-dir/data", true),
        ("own/volume-subpaths/data/main/0", true),
        ("own/volume-subpaths/host/main/0", false),
        ("own/volume-subpaths/stolen/main/0", false),
        ("own", false),
        ("other/volumes/kubernetes.io~secret/s", false),
        (
            "own/volumes/../../other/volumes/kubernetes.io~secret/s",
            false,
        ),
    ] {
        let bundle = bundle(world, "'@kubelet', /etc/**").edit(bind(&pods.join(source)));
        let bundle = bundle.edit(|config| {
            config["annotations"] = json!({"io.kubernetes.cri.sandbox-uid": "own"});
        });
        bundle.write();
        assert_eq!(
            bundle.create() == 0,
            admitted,
            "{source}: {:?}",
            bundle.errors()
        );
        if admitted {
            bundle.start().ok();
            bundle.exec(["harmless", "work"]).ok();
        } else {
            let errors = bundle.errors();
            assert!(
                errors[0].contains("refuses containers by `host-path"),
                "{errors:?}"
            );
        }
    }
}
