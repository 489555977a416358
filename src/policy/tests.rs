//! Whole plans: golden files (bless with `MANTLET_BLESS=1 cargo test --lib policy`), refusals, exec.

use std::path::PathBuf;

use oci_spec::runtime::{Process, Spec};
use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::host::{Family, Host, Runtime};
use crate::oci::patch;

pub(crate) fn host(abi: u32) -> Host {
    Host {
        landlock_abi: abi,
        user_notif: true,
        listener_taken: false,
        may_go_on: true,
        wait_killable: true,
        runtime: Runtime {
            path: "/usr/sbin/runc".into(),
            family: Family::Runc,
            version: "1.1.5".into(),
            number: Some((1, 1, 5)),
        },
    }
}

pub(super) fn config() -> Config {
    Config {
        log_total_mib: 0,
        version: 1,
        state_dir: "/run/mantlet".into(),
        log_dir: "/var/log/mantlet".into(),
        profiles_dir: "/etc/mantlet/profiles".into(),
        libexec_dir: None,
        default_handler: "baseline".into(),
        handlers: Default::default(),
        rules: Vec::new(),
        proc_mounts: Vec::new(),
        start_container_hooks: false,
        runtime_annotations: Default::default(),
        init_delivery: Default::default(),
    }
}

/// containerd's own config.json with what its CRI plugin adds.
pub(super) fn cri() -> Value {
    let mut spec: Value = serde_json::from_str(include_str!("testdata/ctr-seccomp.json")).unwrap();
    let bind = |destination: &str, mode: &str| {
        json!({"destination": destination, "type": "bind", "source": "/host/somewhere",
               "options": ["rbind", "rprivate", mode]})
    };
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|m| m["destination"] != "/run" && m["destination"] != "/dev/shm");
    mounts.extend([
        bind("/etc/hosts", "rw"),
        bind("/etc/hostname", "rw"),
        bind("/etc/resolv.conf", "rw"),
        bind("/dev/shm", "rw"),
        bind("/dev/termination-log", "rw"),
        bind("/data", "rw"),
        bind("/etc/app", "ro"),
        bind("/var/run/secrets/kubernetes.io/serviceaccount", "ro"),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]}),
    ]);
    spec["linux"]["readonlyPaths"] = json!(["/proc/bus"]);
    spec["annotations"] = json!({"io.kubernetes.cri.container-type": "container"});
    spec["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024},
        {"type": "RLIMIT_CORE", "hard": 0, "soft": 0},
        {"type": "RLIMIT_FSIZE", "hard": 4096, "soft": 4096},
    ]);
    spec
}

/// The first of a node's own profiles (name and text), which may name the others.
fn of_node(all: &[(&str, &str)]) -> Profile {
    let load = &mut |name: &str| {
        let found = all.iter().find(|(own, _)| *own == name);
        Ok(found.map(|(_, text)| (*text).to_owned()))
    };
    Profile::resolve(all[0].0, load).unwrap()
}

/// One that no kernel satisfies.
const OLD: (&str, &str) = (
    "old",
    "{version: 1, name: old, extends: [baseline], requires: {landlock: 99}}",
);

fn attempt(spec: &Value, profile: &Profile, host: &Host, config: &Config) -> Result<Plan, Refusal> {
    let spec: Spec = serde_json::from_value(spec.clone()).unwrap();
    plan(Input {
        profiles: Layers::from(&profile),
        spec: &spec,
        host,
        config,
        found: None,
        run: false,
    })
}

fn refused(spec: &Value) -> String {
    let profile = Profile::builtin("baseline").unwrap();
    attempt(spec, &profile, &host(7), &config())
        .unwrap_err()
        .to_string()
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = cri();
    change(&mut spec);
    spec
}

fn add_mount(destination: &str, typ: &str) -> Value {
    with(|spec| {
        let mount =
            json!({"destination": destination, "type": typ, "source": "x", "options": ["rbind"]});
        spec["mounts"].as_array_mut().unwrap().push(mount);
    })
}

fn golden(name: &str, found: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/policy/testdata")
        .join(name);
    let text = serde_json::to_string_pretty(found).unwrap() + "\n";
    if std::env::var_os("MANTLET_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let want = std::fs::read_to_string(&path).expect("bless with MANTLET_BLESS=1");
    assert!(
        want == text,
        "{name} differs; see `MANTLET_BLESS=1 cargo test --lib policy` and git diff"
    );
}

fn shown(plan: &Plan, spec: &Value) -> Value {
    let mut patched = spec.clone();
    patch::apply(&mut patched, &plan.edits).unwrap();
    json!({"config": patched, "effective": plan.effective, "exec": plan.exec,
           "rlimits": plan.policy.rlimits.iter().map(|r| json!([r.resource, r.soft, r.hard])).collect::<Vec<_>>()})
}

#[test]
fn plans_of_a_cri_container_are_as_blessed() {
    for name in ["baseline", "restricted", "watched"] {
        let profile = Profile::builtin(name).unwrap();
        let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
        golden(&format!("cri-{name}.json"), &shown(&plan, &cri()));
    }
    let spec = cri();
    let typed: Spec = serde_json::from_value(spec.clone()).unwrap();
    let profile = Profile::builtin("restricted").unwrap();
    let only = &profile;
    let input = Input {
        profiles: Layers::from(&only),
        spec: &typed,
        host: &host(7),
        config: &config(),
        found: None,
        run: false,
    };
    let pause = plan_pause(input).unwrap();
    assert!(
        !pause.policy.supervised && !pause.policy.filter.listener && pause.tripwires.is_empty()
    );
    golden("cri-pause.json", &shown(&pause, &spec));
}

#[test]
fn a_container_without_a_filter_gets_the_profiles_own() {
    let spec = with(|spec| {
        spec["linux"].as_object_mut().unwrap().remove("seccomp");
    });
    let profile = Profile::builtin("restricted").unwrap();
    let plan = attempt(&spec, &profile, &host(7), &config()).unwrap();
    golden("unconfined-restricted.json", &shown(&plan, &spec));
}

#[test]
fn restricted_never_grants_write_and_execute_on_the_same_place() {
    let profile = Profile::builtin("restricted").unwrap();
    let plan = attempt(&cri(), &profile, &host(7), &config()).unwrap();
    let rules = &plan.policy.layers[0].paths;
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let (execute, write) = (1, 2);
    let mounted: Vec<String> = cri()["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["destination"].as_str().unwrap().to_owned())
        .collect();
    for writable in rules.iter().filter(|r| r.access & write != 0) {
        for runnable in rules.iter().filter(|r| r.access & execute != 0) {
            let (w, x) = (text(&writable.path), text(&runnable.path));
            if mounts::beneath(&w, &x) {
                let on_mount =
                    runnable.within_mount && mounted.iter().any(|m| mounts::beneath(&w, m));
                let out = on_mount
                    || runnable
                        .except
                        .iter()
                        .any(|e| mounts::beneath(&w, &text(e)));
                assert!(out, "{w} is writable, and {x} is executable around it");
            }
            assert!(!mounts::beneath(&x, &w), "{x} lies in writable {w}");
        }
    }
    assert!(
        rules
            .iter()
            .any(|r| r.path == b"/data" && r.access & write != 0)
    );
    assert!(
        !rules
            .iter()
            .any(|r| r.path == b"/etc/hosts" || r.path == b"/etc/app")
    );
}

#[test]
fn every_right_that_the_abi_knows_is_handled() {
    for (abi, bits) in [
        (1, 0x1fff),
        (2, 0x3fff),
        (3, 0x7fff),
        (4, 0x7fff),
        (5, 0xffff),
        (7, 0xffff),
        (9, 0x1_ffff),
    ] {
        let profile = Profile::builtin("baseline").unwrap();
        let plan = attempt(&cri(), &profile, &host(abi), &config()).unwrap();
        assert_eq!(plan.policy.layers[0].handled_fs, bits, "ABI {abi}");
        let granted = plan.policy.layers[0]
            .paths
            .iter()
            .fold(0, |all, rule| all | rule.access);
        assert_eq!(
            granted & !bits,
            0,
            "ABI {abi} grants what it does not handle"
        );
        assert_eq!(granted & 0x840, 0, "make_char and make_block stay denied");
    }
}

#[test]
fn a_profile_without_files_still_enters_the_anchor_domain() {
    let text = "{version: 1, name: bare, syscalls: {groups: '2026.1', allow: ['@default']}}";
    let plan = attempt(
        &cri(),
        &Profile::parse("bare", text).unwrap(),
        &host(7),
        &config(),
    )
    .unwrap();
    let layer = &plan.policy.layers[0];
    assert_eq!((layer.handled_fs, layer.paths.len()), (0x2001, 1));
    assert_eq!(
        (layer.paths[0].path.as_slice(), layer.paths[0].access),
        (&b"/"[..], 0x2001)
    );
    assert!(plan.exec.landlock);
}

#[test]
fn a_mount_over_proc_is_refused_in_every_spelling() {
    for destination in [
        "/proc/self",
        "/proc/self/fd",
        "//proc/self/",
        "/proc/./meminfo",
        "/proc/1",
    ] {
        assert!(
            refused(&add_mount(destination, "bind")).contains("forge /proc"),
            "{destination}"
        );
    }
    for destination in ["/data/../proc", "proc", "/../proc/self", "../proc"] {
        assert!(
            refused(&add_mount(destination, "bind")).contains("mount destination"),
            "{destination}"
        );
    }
    assert!(refused(&add_mount("/", "bind")).contains("covers the whole root"));
    for typ in ["bind", "tmpfs", "proc"] {
        assert!(
            refused(&add_mount("/proc/", typ)).contains("/proc is not one plain procfs"),
            "{typ}"
        );
    }
    let none = with(|spec| {
        spec["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|m| m["type"] != "proc")
    });
    assert!(refused(&none).contains("mounts no procfs"));
}

#[test]
fn the_admin_may_list_a_file_below_proc_but_never_self() {
    let profile = Profile::builtin("baseline").unwrap();
    let mut config = config();
    config.proc_mounts = vec![
        "/proc/meminfo".into(),
        "/proc/self".into(),
        "/proc/7/fd".into(),
    ];
    let listed = add_mount("/proc/meminfo", "bind");
    assert!(attempt(&listed, &profile, &host(7), &config).is_ok());
    for never in ["/proc/self", "/proc/7/fd"] {
        assert!(
            attempt(&add_mount(never, "bind"), &profile, &host(7), &config).is_err(),
            "{never}"
        );
    }
}

#[test]
fn what_the_node_or_the_engine_makes_impossible_is_refused_by_name() {
    let hook = with(|spec| spec["hooks"] = json!({"startContainer": [{"path": "/bin/x"}]}));
    assert!(refused(&hook).contains("start_container_hooks: true"));
    let notify =
        with(|spec| spec["linux"]["seccomp"]["syscalls"][0]["action"] = json!("SCMP_ACT_NOTIFY"));
    assert!(refused(&notify).contains("SCMP_ACT_NOTIFY"));
    let label =
        with(|spec| spec["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0"));
    assert!(refused(&label).contains("linux.mountLabel is not set"));
    let bare = with(|spec| {
        spec.as_object_mut().unwrap().remove("process");
    });
    assert!(refused(&bare).contains("no `process`"));

    let profile = Profile::builtin("restricted").unwrap();
    let why = |host: &Host| {
        attempt(&cri(), &profile, host, &config())
            .unwrap_err()
            .to_string()
    };
    assert!(why(&host(2)).contains("requires Landlock ABI 3, this kernel has 2"));
    assert!(
        why(&Host {
            user_notif: false,
            ..host(7)
        })
        .contains("kernel 5.0")
    );
    assert!(
        why(&Host {
            listener_taken: true,
            ..host(7)
        })
        .contains("nested")
    );
    let mut old = host(7);
    old.runtime.number = Some((1, 1, 4));
    assert!(why(&old).contains("upgrade"));
    let spec: Spec = serde_json::from_value(cri()).unwrap();
    let mut crun = host(7);
    crun.runtime.family = Family::Crun;
    let only = &profile;
    let run = Input {
        profiles: Layers::from(&only),
        spec: &spec,
        host: &crun,
        config: &config(),
        found: None,
        run: true,
    };
    assert!(
        plan(run)
            .unwrap_err()
            .to_string()
            .contains("`run` is refused with crun")
    );
    assert!(plan(Input { run: false, ..run }).is_ok());
}

#[test]
fn a_profile_that_allows_mount_is_refused() {
    let text =
        "{version: 1, name: m, extends: [baseline], syscalls: {groups: '2026.1', allow: [mount]}}";
    let error = attempt(
        &cri(),
        &Profile::parse("m", text).unwrap(),
        &host(7),
        &config(),
    );
    assert!(error.unwrap_err().to_string().contains("allows mount"));
}

#[test]
fn a_tripwires_fix_is_a_line_of_a_profile() {
    let restricted = Profile::builtin("restricted").unwrap();
    let planned = |profile: &Profile| attempt(&cri(), profile, &host(7), &config()).unwrap();
    let wires = planned(&restricted).tripwires;
    for (name, args) in [
        ("bpf", [0; 6]),
        ("keyctl", [0; 6]),
        ("memfd_create", [0, 1, 0, 0, 0, 0]),
        ("clone", [0x1000_0000, 0, 0, 0, 0, 0]),
        ("ioctl", [0, 0xffff_ffff_0000_5412, 0, 0, 0, 0]),
        ("socket", [40, 1, 0, 0, 0, 0]),
        ("personality", [8, 0, 0, 0, 0, 0]),
    ] {
        let rules = |wires: &[crate::state::Tripwire]| {
            let wire = wires.iter().find(|wire| wire.syscall == name);
            wire.map(|wire| wire.rules.clone()).unwrap_or_default()
        };
        let fix = fix_for(name, &rules(&wires), &args, &told(name, &args));
        let text = format!(
            "{{version: 1, name: fixed, extends: [restricted], {}}}",
            fix.replace("{allow", "{groups: '2026.1', allow")
        );
        let fixed = Profile::parse("fixed", &text).unwrap_or_else(|e| panic!("{fix}: {e}"));
        let exact = super::seccomp::exact::Exact::new(Layers::from(&&fixed), true).unwrap();
        let answer = exact.calls[name].1.verdict(&args);
        assert!(answer.permits(), "{fix}: {answer:?}");
    }
    assert!(fix_for("mount", &[], &[0; 6], &[]).starts_with("none"));
}

/// What of a call's arguments is told.
fn told(name: &str, args: &[u64; 6]) -> Vec<crate::access::Argument> {
    match crate::access::calls::access(name, args) {
        crate::access::Access::Syscall { args, .. } => args,
        other => panic!("{other:?}"),
    }
}

/// `allow: [ioctl]` would take TIOCSTI along, which nothing but the lack of a line refuses.
#[test]
fn a_fix_allows_the_call_that_was_refused_and_no_other_command() {
    let nginx = Profile::builtin("nginx").unwrap();
    let wires = attempt(&cri(), &nginx, &host(7), &config())
        .unwrap()
        .tripwires;
    let wire = wires.iter().find(|wire| wire.syscall == "ioctl").unwrap();
    let refused = [0, 0x5413, 0, 0, 0, 0];
    let fix = fix_for("ioctl", &wire.rules, &refused, &told("ioctl", &refused));
    let text = format!(
        "{{version: 1, name: fixed, extends: [nginx], {}}}",
        fix.replace("{allow", "{groups: '2026.1', allow")
    );
    let fixed = Profile::parse("fixed", &text).unwrap_or_else(|e| panic!("{fix}: {e}"));
    let exact = super::seccomp::exact::Exact::new(Layers::from(&&fixed), true).unwrap();
    let (_, decision) = &exact.calls["ioctl"];
    assert!(decision.verdict(&refused).permits(), "{fix}");
    for other in [0x5412, 0x541c] {
        let args = [0, other, 0, 0, 0, 0];
        assert!(
            !decision.verdict(&args).permits(),
            "{fix} allows {other:#x}"
        );
    }
}

#[test]
fn a_field_beside_the_capability_sets_survives() {
    let process = json!({
        "cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0},
        "capabilities": {"later": ["CAP_NEW"], "bounding": ["CAP_SYS_ADMIN"]},
    });
    let typed = serde_json::from_value(process.clone()).unwrap();
    let (edits, _) = super::process::edits(&typed, "", &[], &[]);
    let mut edited = process;
    crate::oci::patch::apply(&mut edited, &edits).unwrap();
    let sets = &edited["capabilities"];
    assert_eq!(sets["later"], json!(["CAP_NEW"]));
    for set in [
        "bounding",
        "effective",
        "inheritable",
        "permitted",
        "ambient",
    ] {
        assert_eq!(sets[set], json!([]), "{set}");
    }
}

mod abilities;
mod abis;
mod admission;
mod annotations;
mod delivery;
mod detection;
mod exec;
mod hostile;
mod image;
mod layers;
mod limits;
mod looking;
mod noexec;
mod privileged;
mod weaker;
