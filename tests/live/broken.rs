//! Broken configurations of a container: what is no JSON, what runtimes read differently, what has
//! other types than runtime-spec says, and what cannot be read.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::scene::{Case, Scene, check};

#[test]
fn a_config_that_is_no_json_object_is_refused() {
    check(&[
        Case {
            name: "truncated",
            change: |scene| {
                let bytes = scene.bundle.on_disk();
                scene.bundle.write_raw(&bytes[..bytes.len() / 2]);
            },
            says: &["config.json", "EOF", "line", "correct the JSON"],
        },
        Case {
            name: "empty",
            change: |scene| scene.bundle.write_raw(""),
            says: &["config.json", "EOF", "correct the JSON"],
        },
        Case {
            name: "not JSON",
            change: |scene| scene.bundle.write_raw("version: 1\n"),
            says: &["config.json", "line 1", "correct the JSON"],
        },
        Case {
            name: "an array",
            change: |scene| scene.bundle.write_raw("[1, 2]"),
            says: &["config.json", "no JSON object", "write one"],
        },
        Case {
            name: "two values",
            change: |scene| {
                let bytes = scene.bundle.on_disk();
                scene.bundle.write_raw([&bytes[..], b"{}"].concat());
            },
            says: &["config.json", "trailing", "correct the JSON"],
        },
        Case {
            name: "not UTF-8",
            change: |scene| {
                let mut bytes = scene.bundle.on_disk();
                let at = bytes
                    .iter()
                    .rposition(|byte| *byte == b'/')
                    .expect("a path");
                bytes[at] = 0xff;
                scene.bundle.write_raw(bytes);
            },
            says: &["config.json", "not UTF-8", "save the file as UTF-8"],
        },
        Case {
            name: "a NUL byte in the middle",
            change: |scene| scene.replace("\"process\"", "\0\"process\""),
            says: &["config.json", "line", "correct the JSON"],
        },
        Case {
            name: "larger than 16 MiB",
            change: |scene| {
                let mut bytes = scene.bundle.on_disk();
                bytes.resize(17 << 20, b' ');
                scene.bundle.write_raw(bytes);
            },
            says: &["config.json", "larger than 16 MiB", "shorten it"],
        },
        Case {
            name: "nested a million deep",
            change: |scene| scene.bundle.write_raw("[".repeat(1_000_000)),
            says: &["config.json", "nested", "flatten it"],
        },
        Case {
            name: "nested in a field nobody knows",
            change: |scene| {
                let deep = format!("{{\"x\": {}{}, ", "[".repeat(5000), "]".repeat(5000));
                scene.replace("{", &deep);
            },
            says: &["config.json", "nested 5001 deep", "flatten it"],
        },
    ]);
}

#[test]
fn a_config_that_runtimes_read_differently_is_refused() {
    check(&[
        Case {
            name: "a key twice",
            change: |scene| scene.replace("\"process\":", "\"process\": {}, \"process\":"),
            says: &["config.json", "line", "\"process\"", "keep one"],
        },
        Case {
            name: "a key twice, once with an escape",
            change: |scene| scene.replace("\"args\":", "\"\\u0061rgs\": [\"sh\"], \"args\":"),
            says: &["config.json", "line", "\"args\"", "keep one"],
        },
        Case {
            name: "a key in other letters",
            change: |scene| scene.replace("\"linux\":", "\"Linux\": {}, \"linux\":"),
            says: &["config.json", "line", "Linux", "linux"],
        },
        Case {
            name: "a key in letters that fold",
            change: |scene| scene.replace("\"args\":", "\"arg\\u017f\": [\"sh\"], \"args\":"),
            says: &["config.json", "line", "args"],
        },
        Case {
            name: "NUL inside a string",
            change: |scene| scene.replace("HOME=/root", "HOME=/root\\u0000X=1"),
            says: &["config.json", "line", "u0000", "remove it"],
        },
    ]);
}

#[test]
fn a_config_of_wrong_types_is_refused() {
    check(&[
        Case {
            name: "args is a string",
            change: |scene| scene.set("/process", "args", json!("sh")),
            says: &["config.json", "string \"sh\"", "line", "correct that field"],
        },
        Case {
            name: "args holds a number",
            change: |scene| scene.set("/process", "args", json!(["sh", 7])),
            says: &[
                "config.json",
                "expected a string",
                "line",
                "correct that field",
            ],
        },
        Case {
            name: "args is empty",
            change: |scene| scene.set("/process", "args", json!([])),
            says: &["args"],
        },
        Case {
            name: "process is null",
            change: |scene| scene.set("", "process", json!(null)),
            says: &["process"],
        },
        Case {
            name: "process is an array",
            change: |scene| scene.set("", "process", json!([])),
            says: &["config.json", "line", "correct that field"],
        },
        Case {
            name: "capabilities is a number",
            change: |scene| scene.set("/process", "capabilities", json!(7)),
            says: &["config.json", "line", "correct that field"],
        },
        Case {
            name: "a capability that nobody knows",
            change: |scene| {
                scene.set(
                    "/process/capabilities",
                    "bounding",
                    json!(["CAP_EVERYTHING"]),
                );
            },
            says: &["config.json", "CAP_EVERYTHING", "correct that field"],
        },
        Case {
            name: "noNewPrivileges is a word",
            change: |scene| scene.set("/process", "noNewPrivileges", json!("yes")),
            says: &["config.json", "expected a boolean", "correct that field"],
        },
        Case {
            name: "user is negative",
            change: |scene| scene.set("/process", "user", json!({"uid": -1, "gid": 0})),
            says: &["config.json", "-1", "correct that field"],
        },
        Case {
            name: "mounts is an object",
            change: |scene| scene.set("", "mounts", json!({"destination": "/proc"})),
            says: &["config.json", "line", "correct that field"],
        },
        Case {
            name: "seccomp is an array",
            change: |scene| scene.set("/linux", "seccomp", json!([])),
            says: &["config.json", "line", "correct that field"],
        },
        Case {
            name: "seccomp acts in a way nobody knows",
            change: |scene| {
                scene.set(
                    "/linux",
                    "seccomp",
                    json!({"defaultAction": "SCMP_ACT_PRAY"}),
                );
            },
            says: &["config.json", "SCMP_ACT_PRAY", "correct that field"],
        },
        Case {
            name: "annotations is a list",
            change: |scene| scene.set("", "annotations", json!(["mantlet.dev/profile"])),
            says: &["config.json", "line", "correct that field"],
        },
        Case {
            name: "linux is a string",
            change: |scene| scene.set("", "linux", json!("yes")),
            says: &["config.json", "line", "correct that field"],
        },
    ]);
}

#[test]
fn a_config_that_cannot_be_read_is_refused() {
    let gone = |scene: &mut Scene| fs::remove_file(scene.config_file()).expect("it is there");
    check(&[
        Case {
            name: "missing",
            change: gone,
            says: &["config.json", "No such file", "check the path"],
        },
        Case {
            name: "a directory",
            change: |scene| {
                fs::remove_file(scene.config_file()).expect("it is there");
                fs::create_dir(scene.config_file()).expect("our own folder");
            },
            says: &["config.json", "directory", "name a regular file"],
        },
        Case {
            name: "a device",
            change: |scene| {
                fs::remove_file(scene.config_file()).expect("it is there");
                symlink("/dev/zero", scene.config_file()).expect("our own folder");
            },
            says: &["config.json", "device", "name a regular file"],
        },
        Case {
            name: "a link to itself",
            change: |scene| {
                fs::remove_file(scene.config_file()).expect("it is there");
                symlink("config.json", scene.config_file()).expect("our own folder");
            },
            says: &["config.json", "symbolic links", "check the path"],
        },
        Case {
            name: "a file whose bytes the kernel refuses",
            change: |scene| {
                fs::remove_file(scene.config_file()).expect("it is there");
                symlink("/proc/self/mem", scene.config_file()).expect("our own folder");
            },
            says: &["config.json", "Input/output error", "check the path"],
        },
        Case {
            name: "a bundle that is not there",
            change: |scene| {
                let folder = scene.node.join("nothing");
                fs::create_dir(&folder).expect("our own folder");
                scene.elsewhere = Some(folder);
            },
            says: &["nothing/config.json", "No such file", "check the path"],
        },
        Case {
            name: "mantlet's own work without the original",
            change: |scene| {
                scene.set("/process", "args", json!(["/proc/self/fd/3", "sh"]));
            },
            says: &["config.json", "original is gone", "anew"],
        },
    ]);
}
