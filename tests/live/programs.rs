//! The hostile program against plain runc with nothing in its way: an attack that does not work
//! there proves nothing where it is refused.

use serde_json::{Value, json};

use crate::harness::{Bundle, World};

/// Attacks that an unprivileged process of an unfiltered container carries out on this kernel.
const WORK: [&str; 16] = [
    "write-exec",
    "shm-exec",
    "memfd-exec",
    "map-exec",
    "ptrace",
    "vm-write",
    "vm-read",
    "mem-write",
    "pidfd-getfd",
    "unshare-user",
    "clone-user",
    "clone3-user",
    "io-uring",
    "listener",
    "keyctl",
    "personality",
];

/// Attacks that root of an unfiltered container with every capability carries out.
const WORK_AS_ROOT: [&str; 8] = [
    "mount",
    "open-by-handle",
    "mknod",
    "chroot",
    "setns",
    "bpf",
    "raw-socket",
    "sethostname",
];

fn worked(bundle: &Bundle, names: &[&str]) {
    let done = bundle.run();
    for name in names {
        assert!(
            done.stdout
                .lines()
                .any(|line| line == format!("{name}: worked")),
            "{}{}",
            done.stdout,
            done.stderr
        );
    }
}

/// /dev/shm executable and nothing refused, as `--privileged` has it.
fn unconfined(config: &mut Value) {
    let all = [
        "MKNOD",
        "SYS_CHROOT",
        "SYS_ADMIN",
        "DAC_READ_SEARCH",
        "NET_RAW",
        "BPF",
        "SYS_PTRACE",
    ]
    .map(|name| format!("CAP_{name}"));
    config["process"]["capabilities"] =
        json!({"bounding": all, "effective": all, "permitted": all});
    for mount in config["mounts"].as_array_mut().expect("mounts") {
        if mount["destination"] == "/dev/shm" {
            mount["options"] = json!(["nosuid", "nodev", "mode=1777"]);
        }
    }
}

#[test]
fn attacks_of_a_user_work_where_nothing_stops_them() {
    let args = [&["hostile", "all"], &WORK[..]].concat();
    let bundle = Bundle::new(World::runc(), "runc")
        .args(args)
        .user(1000)
        .edit(unconfined);
    let bundle = bundle.edit(|config| {
        config["process"]["capabilities"] = json!({});
    });
    worked(&bundle, &WORK);
}

#[test]
fn attacks_of_root_work_where_nothing_stops_them() {
    let args = [&["hostile", "all"], &WORK_AS_ROOT[..]].concat();
    let bundle = Bundle::new(World::runc(), "runc")
        .args(args)
        .edit(unconfined);
    worked(&bundle, &WORK_AS_ROOT);
}

#[test]
fn a_set_uid_program_makes_root_where_nothing_stops_it() {
    let bundle = Bundle::new(World::runc(), "runc")
        .args(["hostile", "setuid-exec"])
        .user(1000);
    let bundle = bundle.edit(|config| {
        config["process"]["noNewPrivileges"] = json!(false);
        config["process"]["capabilities"] = json!({"bounding": ["CAP_SETUID"]});
    });
    bundle.run().ok();
}

#[test]
fn an_init_that_starts_unprotected_is_captured_from_inside() {
    let bundle = Bundle::new(World::runc(), "runc").edit(unconfined);
    // It is a race: as many tries as it takes, on a busy machine a few hundred.
    let script = "hostile capture 90 hostile & attacker=$!; sleep 0.5; \
                  for i in $(seq 3000); do hostile memfd-exec >/dev/null; code=$?; \
                  if [ $code = 77 ]; then echo code $code; break; fi; done; kill $attacker; wait";
    let done = bundle.args(["sh", "-c", script]).run().ok();
    assert!(done.stdout.contains("code 77"), "{}", done.stdout);
}
