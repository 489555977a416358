//! What an engine would have asked for: config.json as containerd's CRI plugin writes it for a pod that
//! asks for nothing special (RuntimeDefault seccomp, the engines' fourteen capabilities, namespaces of its
//! own). It stands in for an engine where there is none: a profile is explained, tested and tried
//! against it.
//!
//! It refuses to be a policy: nothing here is enforced by mantlet but as the engine's part of
//! *engine ∧ profile*.

use serde_json::{Value, json};

/// The whole file. Its filter is containerd 1.6's default as containerd resolves it for those capabilities
/// (of containerd/containerd, Apache License 2.0).
const TEXT: &str = include_str!("reference/config.json");

/// Calls that containerd's default filter lets through besides for whoever holds a capability.
const CALLS: [(&str, &[&str]); 14] = [
    ("CAP_BPF", &["bpf"]),
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_PERFMON", &["perf_event_open"]),
    ("CAP_SYSLOG", &["syslog"]),
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    (
        "CAP_SYS_MODULE",
        &["delete_module", "finit_module", "init_module"],
    ),
    ("CAP_SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy"]),
    ("CAP_SYS_PACCT", &["acct"]),
    (
        "CAP_SYS_PTRACE",
        &[
            "kcmp",
            "pidfd_getfd",
            "process_madvise",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
        ],
    ),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    (
        "CAP_SYS_TIME",
        &["clock_settime", "clock_settime64", "settimeofday", "stime"],
    ),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
];

/// config.json of a pod that asks for nothing, with `rootfs` beside it as the root filesystem and `true`
/// as the command. `process`, `root` and `linux` are objects, `mounts` is a list.
#[must_use]
pub fn config() -> Value {
    serde_json::from_str(TEXT).expect("the file beside this one is JSON; a test reads it")
}

/// What an engine does for `securityContext.capabilities.add`: each of these `CAP_` names joins the
/// bounding, effective and permitted sets, and the default filter lets their calls through.
pub fn add_capabilities(config: &mut Value, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        let held = config.pointer_mut(&format!("/process/capabilities/{set}"));
        let Some(held) = held.and_then(Value::as_array_mut) else {
            continue;
        };
        for name in names {
            if held.iter().all(|other| other != name) {
                held.push(json!(name));
            }
        }
    }
    let calls = CALLS.iter().filter(|(name, _)| names.contains(name));
    let calls: Vec<&str> = calls.flat_map(|(_, calls)| calls.iter().copied()).collect();
    let rules = config.pointer_mut("/linux/seccomp/syscalls");
    let rules = rules.and_then(Value::as_array_mut);
    let Some(rules) = rules.filter(|_| !calls.is_empty()) else {
        return;
    };
    // Engines write one rule a call; a conditional or refusing one would stand beside it otherwise.
    rules.retain(|rule| {
        let named = |name: &&str| rule["names"] == json!([name]);
        !calls.iter().any(named)
    });
    rules.push(json!({"names": calls, "action": "SCMP_ACT_ALLOW"}));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::oci::document::{Document, Kind};
    use crate::profile::capability;

    #[test]
    fn it_is_a_config_json_that_every_runtime_reads_alike() {
        let path = Path::new("config.json");
        let document = Document::parse(path, Kind::Config, TEXT.as_bytes()).unwrap();
        let spec = document.spec().unwrap();
        let root = spec.root().as_ref().unwrap();
        assert_eq!(root.path(), Path::new("rootfs"));
        assert!(spec.linux().as_ref().unwrap().seccomp().is_some());
        let held = config()["process"]["capabilities"]["bounding"].clone();
        let held: Vec<String> = serde_json::from_value(held).unwrap();
        let engines = capability::ENGINES;
        assert_eq!(held.len(), engines.len());
        assert!(engines.iter().all(|name| held.iter().any(|h| h == name)));
    }

    #[test]
    fn an_added_capability_brings_its_calls_and_known_ones_bring_nothing() {
        let (mut plain, mut more) = (config(), config());
        add_capabilities(&mut plain, &["CAP_CHOWN"]);
        assert_eq!(plain, config());
        add_capabilities(&mut more, &["CAP_SYS_ADMIN", "CAP_SYS_TIME"]);
        let text = more.to_string();
        assert!(text.contains("CAP_SYS_TIME") && text.contains("\"settimeofday\""));
        let rules = more["linux"]["seccomp"]["syscalls"].as_array().unwrap();
        let of_clone3 = |rule: &&Value| {
            let names = rule["names"].as_array().unwrap();
            names.iter().any(|name| name == "clone3")
        };
        let actions: Vec<&Value> = rules.iter().filter(of_clone3).collect();
        assert_eq!(actions.len(), 1);
        assert_eq!(actions[0]["action"], "SCMP_ACT_ALLOW");
        assert!(CALLS.iter().all(|(n, _)| capability::ALL.contains(n)));
    }
}
