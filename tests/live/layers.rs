//! Several profiles on one container: by the pod's own selection, by rules of the node, and never
//! less than the handler's. On the shipped drop-in, through CRI.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::harness::{Bundle, Container, Containerd, STATIC, World, eventually};

/// Allows about what `restricted` does, in files less: nothing may be written but below /tmp. Reports
/// mkdir(2), which `restricted` allows; denies the rest, unshare(2) too, in silence.
const NARROW: &str = "
version: 1
name: narrow
capabilities: [CHOWN]
files:
  read: [/]
  read_execute: [/bin]
  read_write: [{path: /tmp, optional: true}, /dev/null]
syscalls:
  groups: '2026.1'
  allow: ['@default', '@basic-io', '@file-system', '@io-event', '@process', '@signal', '@timer',
    '@setuid', '@sync', '@resources', '@network-io', ioctl]
  tripwire:
  - {name: mkdir, args: [{index: 1, op: ge, value: 0}]}
  - {name: mkdirat, args: [{index: 2, op: ge, value: 0}]}
";

/// A daemon whose node has rules and lets pods select.
fn containerd() -> &'static Containerd {
    static DAEMON: OnceLock<Containerd> = OnceLock::new();
    DAEMON.get_or_init(|| {
        let node = node("layers");
        Containerd::configured(World::runc(), "layers", |text| text, &node)
    })
}

fn node(name: &str) -> PathBuf {
    let world = World::runc();
    let folder = world.folder("nodes", name);
    let profiles = folder.join("profiles");
    fs::create_dir_all(&profiles).expect("our own folder");
    fs::write(profiles.join("narrow.yaml"), NARROW).expect("our own folder");
    let text = fs::read_to_string(world.config()).expect("the world has one");
    let offers = "profile: restricted, selectable: [narrow, baseline],";
    let text = text.replace("profile: restricted,", offers);
    let rules = format!(
        "profiles_dir: {}\nrules:\n\
         - {{namespace: payments, profile: narrow}}\n\
         - {{container: 'ruled-*', profile: narrow}}\n\
         - {{container: imaged, image: '{STATIC}', profile: narrow}}\n\
         - {{container: imaged, image: 'docker.io/**', profile: is-not-there}}\n",
        profiles.display()
    );
    let file = folder.join("config.yaml");
    fs::write(&file, text + &rules).expect("our own folder");
    file
}

/// What `mantlet inspect --json` says.
fn inspected(container: &Container<'_>) -> Value {
    let done = World::runc().mantlet(["inspect", "--json", &container.id]);
    serde_json::from_str(&done.ok().stdout).expect("JSON")
}

fn profiles(container: &Container<'_>) -> Value {
    inspected(container)["record"]["profiles"].clone()
}

/// Events of the container, once `enough` holds for them.
fn events(container: &Container<'_>, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let journal = inspected(container)["record"]["journal"].clone();
    let journal = Path::new(journal.as_str().expect("a path")).to_owned();
    eventually("the journal tells", || {
        let text = fs::read_to_string(&journal).unwrap_or_default();
        let events: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON lines"))
            .collect();
        enough(&events).then_some(events)
    })
}

/// What both layers do to the workload's sessions, and to nobody else's.
#[track_caller]
fn assert_held_by_both(container: &Container<'_>) {
    let allowed = container.sh("echo x >/tmp/x && cat /tmp/x");
    assert_eq!(allowed.ok().stdout, "x\n");
    container
        .exec(["harmless", "write", "/vol/x", "x"])
        .expect(libc::EACCES);
    container
        .exec(["hostile", "unshare-user"])
        .expect(libc::EPERM);
    assert_ne!(container.exec(["mkdir", "/tmp/made"]).code, 0);
    let seen = events(container, |events| {
        let tripwires = events.iter().filter(|event| event["type"] == "tripwire");
        tripwires.count() >= 2
    });
    for start in seen.iter().filter(|event| event["type"] == "start") {
        assert_eq!(start["report"]["landlock_layers"], 2, "{start}");
        let domains = start["report"]["landlock_domains"].as_array();
        assert_eq!(domains.map(Vec::len), Some(2), "{start}");
        assert_eq!(
            start["profiles"],
            json!(["restricted", "narrow"]),
            "{start}"
        );
    }
    let of = |call: &str| {
        let wire = seen.iter().find(|event| event["syscall"] == call);
        let wire = wire.unwrap_or_else(|| panic!("no {call} in {seen:?}"));
        (wire["profile"].clone(), wire["fix"].clone())
    };
    // narrow denies it in silence, and restricted's report stands.
    let narrow = "{name: unshare, args: [{index: 0, op: eq, value: 0x10000000}]}";
    let unshare = json!(format!("syscalls: {{allow: [{narrow}]}}"));
    assert_eq!(of("unshare"), (json!("restricted"), unshare));
    let (profile, fix) = of("mkdir");
    assert_eq!(profile, "narrow");
    let line = "{name: mkdir, args: [{index: 1, op: ge, value: 0x0}]}";
    assert_eq!(fix, format!("syscalls: {{allow: [{line}]}}"));
}

#[test]
fn a_pod_selects_for_all_its_containers_and_is_held_by_both_layers() {
    let pod = containerd().pod("mantlet-restricted");
    let pod = pod.annotation("mantlet.dev/profile", "narrow").run();
    let container = pod.container("main").volume("/vol", 0).volume("/tmp", 0);
    let container = container.run();
    assert_held_by_both(&container);
    // What the kernel says: neither CHOWN, restricted's own missing, nor NET_BIND_SERVICE is in both.
    let world = World::runc();
    let caps = world.status(container.pid(), "CapBnd");
    assert_eq!(caps.as_deref(), Some("0000000000000000"));
    let shown = inspected(&container);
    let effective = &shown["record"]["effective"];
    assert_eq!(effective["profiles"][0]["name"], "restricted");
    assert_eq!(effective["profiles"][1]["name"], "narrow");
    assert_eq!(
        effective["profiles"][1]["capabilities"],
        json!(["CAP_CHOWN"])
    );
    assert_eq!(effective["capabilities"], json!([]));
    assert_eq!(effective["landlock"]["layers"][1]["profile"], "narrow");
    let page = world.mantlet(["inspect", &container.id]).ok().stdout;
    assert!(page.contains("restricted + narrow"), "{page}");
    assert!(page.contains("2 layers"), "{page}");
    let told = world.mantlet(["events", &container.id]).stdout;
    assert!(told.contains("fix in narrow: "), "{told}");
}

#[test]
fn a_pod_selects_for_one_container() {
    let pod = containerd().pod("mantlet-restricted");
    let pod = pod.annotation("mantlet.dev/profile.main", "narrow").run();
    let main = pod.container("main").run();
    let side = pod.container("side").volume("/vol", 0).run();
    assert_eq!(profiles(&main), json!(["restricted", "narrow"]));
    assert_eq!(profiles(&side), json!(["restricted"]));
    side.exec(["harmless", "write", "/vol/x", "x"]).ok();
}

#[test]
fn a_selection_never_takes_the_handlers_own_profile_away() {
    let pod = containerd().pod("mantlet-restricted");
    let pod = pod.annotation("mantlet.dev/profile", "baseline").run();
    let container = pod.container("main").run();
    assert_eq!(profiles(&container), json!(["restricted", "baseline"]));
    container
        .exec(["harmless", "write", "/etc/planted", "x"])
        .expect(libc::EACCES);
    let caps = World::runc().status(container.pid(), "CapBnd");
    assert_eq!(caps.as_deref(), Some("0000000000000400"));
}

#[test]
fn a_profile_that_is_not_offered_is_refused_at_the_pods_sandbox() {
    for (annotation, value) in [
        ("mantlet.dev/profile", "pause"),
        ("mantlet.dev/profile", ""),
        ("mantlet.dev/profile.main", "../narrow"),
    ] {
        let pod = containerd().pod("mantlet-restricted");
        let refused = pod.annotation(annotation, value).try_run();
        let text = refused.err().expect("refused");
        for part in [annotation, value, "handler restricted", "baseline, narrow"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
    let pod = containerd().pod("mantlet-restricted");
    let refused = pod.annotation("mantlet.dev/profil", "narrow").try_run();
    let text = refused.err().expect("refused");
    assert!(text.contains("means nothing to mantlet"), "{text}");
    // Where the handler offers nothing.
    let pod = containerd().pod("mantlet-baseline");
    let refused = pod.annotation("mantlet.dev/profile", "narrow").try_run();
    let text = refused.err().expect("refused");
    assert!(text.contains("it offers: none"), "{text}");
}

#[test]
fn a_containers_own_annotation_is_answered_for_too() {
    let pod = containerd().pod("mantlet-restricted").run();
    let container = pod.container("main");
    let container = container.annotation("mantlet.dev/profile", "pause");
    let created = container.try_create().expect("no runtime is called yet");
    let text = created.try_start().expect_err("refused");
    assert!(text.contains("does not offer"), "{text}");
    let narrow = pod.container("other");
    let narrow = narrow.annotation("mantlet.dev/profile", "narrow").run();
    assert_eq!(profiles(&narrow), json!(["restricted", "narrow"]));
}

#[test]
fn rules_of_the_node_add_layers_by_namespace_image_and_container() {
    let mut pod = containerd().pod("mantlet-restricted");
    pod.config.metadata.as_mut().expect("set").namespace = "payments".into();
    let pod = pod.run();
    let container = pod.container("main").volume("/vol", 0).volume("/tmp", 0);
    assert_held_by_both(&container.run());

    let pod = containerd().pod("mantlet-restricted").run();
    for (name, narrowed) in [("ruled-1", true), ("imaged", true), ("unruled-1", false)] {
        let container = pod.container(name).run();
        let want: &[&str] = match narrowed {
            true => &["restricted", "narrow"],
            false => &["restricted"],
        };
        assert_eq!(profiles(&container), json!(want), "{name}");
    }
}

/// `ctr` tells neither namespace nor image nor name, so every rule holds, the one with a profile that
/// is not there included.
#[test]
fn a_rule_holds_where_the_engine_does_not_tell() {
    let daemon = containerd();
    let id = daemon.world().name("ctr");
    let run = daemon.ctr_run("mantlet-restricted", &id);
    let done = run
        .args(["--rm", STATIC, &id, "harmless", "echo", "ran"])
        .run();
    assert_ne!(done.code, 0, "{}", done.stdout);
    assert!(done.stderr.contains("is-not-there"), "{}", done.stderr);
}

/// Even where the admin lets every annotation through, containerd writes its own after the pod's.
#[test]
fn a_pod_cannot_forge_who_it_is() {
    let node = node("forged");
    let all = |text: String| text.replace("mantlet.dev/*", "*");
    let daemon = Containerd::configured(World::runc(), "forged", all, &node);
    let mut pod = daemon.pod("mantlet-restricted");
    pod.config.metadata.as_mut().expect("set").namespace = "payments".into();
    let pod = pod
        .annotation("io.kubernetes.cri.sandbox-namespace", "default")
        .annotation("io.kubernetes.cri.container-type", "sandbox")
        .annotation("io.kubernetes.cri.image-name", "other:1")
        .annotation("io.kubernetes.cri.container-name", "other")
        .annotation("forged", "passes")
        .run();
    let container = pod.container("main");
    let container = container
        .annotation("io.kubernetes.cri.container-type", "sandbox")
        .annotation("io.kubernetes.cri.container-name", "other")
        .annotation("io.kubernetes.cri.sandbox-namespace", "default")
        .run();
    let shown = inspected(&container);
    let record = &shown["record"];
    assert_eq!(record["profiles"], json!(["restricted", "narrow"]));
    assert_eq!(record["supervised"], true);
    let who = &record["container"];
    assert_eq!(
        (&who["namespace"], &who["name"], &who["image"]),
        (&json!("payments"), &json!("main"), &json!(STATIC))
    );
    let passed = &shown["config"]["before"]["annotations"]["forged"];
    assert_eq!(passed, "passes", "or nothing was tried");
}

/// Rules of the second domain are made from a listing of / and from /proc, which the first one forbids.
#[test]
fn the_first_layer_does_not_keep_init_from_making_the_second() {
    let blind = "{version: 1, name: blind, files: {read_execute: [/bin]}, \
                 syscalls: {groups: '2026.1', allow: ['@default', '@basic-io', '@file-system', \
                 '@process', '@signal', ioctl]}}";
    for world in [World::runc(), World::crun()] {
        let bundle = Bundle::new(world, "mantlet-restricted").profile("blind", blind);
        let bundle = bundle.ruled("{namespace: any, profile: restricted}");
        let bundle = bundle.up();
        bundle.exec(["harmless", "echo", "seen"]).ok();
        let listed = bundle.exec(["ls", "/"]);
        assert_ne!(listed.code, 0, "{}", listed.stdout);
        let journal = bundle.journal();
        assert_eq!(journal[0]["report"]["landlock_layers"], 2, "{journal:?}");
        assert_eq!(journal[0]["profiles"], json!(["blind", "restricted"]));
    }
}
