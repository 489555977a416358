//! Files in mode `audit`: one program under one profile, once enforced and once looked at. What the kernel
//! refuses there is told here, and nothing else of it.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::detect::ended;
use crate::faults::{self, keeper, signal};
use crate::harness::{Bundle, World, eventually};

const CALLS: &str = "syscalls: {groups: 2026.1, allow: ['@default', '@aio', '@basic-io', '@chown', '@file-system', \
                     '@io-event', '@ipc', '@memlock', '@network-io', '@pkey', '@process', '@resources', '@sandbox', \
                     '@setuid', '@signal', '@sync', '@timer']}";

const FILES: &str = "files: {read: [/], read_execute: [/usr, /bin, /lib, /lib64], read_write: [/tmp, /data/in, /data/out], read_write_execute: [/data/bin], \
                     execute: [{path: /data/link, follow: true}], except: [/data/vault]}";

/// What is tried, and how that ends where the profile is enforced.
const TRIES: [(&str, &str); 13] = [
    ("kept", "ok"),
    ("later", "EACCES"),
    ("on-the-way", "EACCES"),
    ("vault", "EACCES"),
    ("make", "ok"),
    ("make-beside", "EACCES"),
    ("move", "ok"),
    ("move-gaining", "EXDEV"),
    ("swap-gaining", "EXDEV"),
    ("link-gaining", "EXDEV"),
    ("no-replace", "EEXIST"),
    ("unnamed", "ok"),
    ("between-mounts", "EXDEV"),
];

const PROGRAM: &str = r#"
import ctypes, errno, os, time
libc = ctypes.CDLL(None, use_errno=True)
def rename2(old, new, flags):
    if libc.syscall(316, -100, old.encode(), -100, new.encode(), flags):
        raise OSError(ctypes.get_errno(), "renameat2")
def read(path):
    with open(path) as file: file.read()
def write(path):
    with open(path, "x") as file: file.write("x")
def unnamed():
    file = os.open("/data/in", os.O_TMPFILE | os.O_RDWR)
    # Python's own link does not follow.
    if libc.syscall(265, -100, f"/proc/self/fd/{file}".encode(), -100, b"/data/in/named", 0x400):
        raise OSError(ctypes.get_errno(), "linkat")
def tried(name, what):
    try:
        what()
        print(f"{name}: ok", flush=True)
    except OSError as error:
        print(f"{name}: {errno.errorcode[error.errno]}", flush=True)
for name in "abcdef": write(f"/data/in/{name}")
write("/data/bin/a")
print("ready", flush=True)
while not os.path.exists("/data/in/go"): time.sleep(0.02)
tried("kept", lambda: read("/data/kept/file"))
tried("later", lambda: read("/data/later/file"))
tried("on-the-way", lambda: os.listdir("/data"))
tried("vault", lambda: read("/data/vault/file"))
tried("make", lambda: write("/data/in/new"))
tried("make-beside", lambda: os.mkdir("/data/new"))
tried("move", lambda: os.rename("/data/in/a", "/data/out/a"))
tried("move-gaining", lambda: os.rename("/data/in/b", "/data/bin/b"))
tried("swap-gaining", lambda: rename2("/data/bin/a", "/data/in/c", 2))
tried("link-gaining", lambda: os.link("/data/in/d", "/data/bin/d"))
tried("no-replace", lambda: rename2("/data/in/e", "/data/out/e", 1))
tried("unnamed", unnamed)
tried("between-mounts", lambda: os.rename("/data/in/f", "/tmp/f"))
"#;

fn bundle(mode: &str, files: &str, program: &str) -> Bundle {
    let text = format!("version: 1\nname: site\n{mode}\n{CALLS}\n{files}\n");
    let bundle =
        Bundle::of(World::runc(), "mantlet-baseline", "debian-rootfs").profile("site", &text);
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let bundle = bundle.volume("/data", 0).args(["python3", "-c", program]);
    let bundle = bundle.edit(|config| {
        config["process"]["env"] = json!([path, "PYTHONDONTWRITEBYTECODE=1"]);
        let mounts = config["mounts"].as_array_mut().expect("runc's own JSON");
        mounts.push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    });
    let data = bundle.volume_path("/data");
    for folder in ["kept", "vault", "in", "out", "bin"] {
        fs::create_dir(data.join(folder)).expect("our own folder");
    }
    for file in ["kept/file", "vault/file", "out/e"] {
        fs::write(data.join(file), "x").expect("our own file");
    }
    std::os::unix::fs::symlink("bin", data.join("link")).expect("our own folder");
    bundle
}

/// Its output and its events, once it has seen what was made while it ran.
fn lived(bundle: Bundle, meanwhile: impl FnOnce(&Bundle)) -> (String, Vec<Value>) {
    let bundle = bundle.up();
    eventually("it is ready", || {
        bundle.output().contains("ready").then_some(())
    });
    meanwhile(&bundle);
    let data = bundle.volume_path("/data");
    fs::create_dir(data.join("later")).expect("our own folder");
    fs::write(data.join("later/file"), "x").expect("our own file");
    fs::write(data.join("in/go"), "").expect("our own file");
    let events = eventually("the container is gone", || ended(&bundle));
    (bundle.output(), events)
}

/// Files below `/data` that were told, as `RIGHT PATH`, or `RIGHT ENTRY in PATH`.
fn told(events: &[Value]) -> Vec<String> {
    let all = events.iter().map(|event| &event["access"]);
    let files = all.filter(|access| {
        access["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("/data"))
    });
    let mut told: Vec<String> = files
        .map(|access| {
            let word = |key: &str| access[key].as_str().unwrap_or_default().to_owned();
            match access["entry"].as_str() {
                Some(entry) => format!("{} {entry} in {}", word("right"), word("path")),
                None => format!("{} {}", word("right"), word("path")),
            }
        })
        .collect();
    told.sort();
    told
}

#[test]
fn audit_tells_what_the_kernel_refuses_of_files_and_nothing_else() {
    let (output, _) = lived(bundle("mode: enforce", FILES, PROGRAM), |_| {});
    for (name, ends) in TRIES {
        let line = format!("{name}: {ends}");
        assert!(
            output.lines().any(|found| found == line),
            "{line}\n{output}"
        );
    }
    // What the rules were bound to outlives a watcher.
    let (output, events) = lived(bundle("mode: audit", FILES, PROGRAM), |bundle| {
        let keeper = keeper(bundle);
        let former = faults::serving_after(keeper, 0);
        signal(former, Signal::SIGKILL);
        faults::serving_after(keeper, former);
    });
    for (name, ends) in TRIES {
        let ends = if matches!(name, "no-replace" | "between-mounts") {
            ends
        } else {
            "ok"
        };
        let line = format!("{name}: {ends}");
        assert!(
            output.lines().any(|found| found == line),
            "{line}\n{output}"
        );
    }
    assert_eq!(
        told(&events),
        [
            "make-dir new in /data",
            "read-dir /data",
            "read-file /data/later/file",
            "read-file /data/vault/file",
            "refer a in /data/bin",
            "refer b in /data/bin",
            "refer d in /data/bin",
        ],
        "{events:#?}"
    );
    let moved = events.iter().find(|event| event["access"]["entry"] == "b");
    let moved = moved.expect("told above");
    assert_eq!(moved["access"]["moved"]["path"], "/data/in/b");
    assert_eq!(moved["fix"], "files: {execute: [/data/in]}");
}

/// What was told as what would have kept the container from starting.
fn refused(events: &[Value]) -> Vec<&str> {
    let told = events
        .iter()
        .filter(|event| event["access"]["kind"] == "container");
    let told = told.filter_map(|event| event["access"]["what"].as_str());
    let mut told: Vec<&str> = told.collect();
    told.sort_unstable();
    told
}

#[test]
fn more_names_than_anybody_keeps_hold_no_container_that_is_only_looked_at() {
    let files = "files: {read_execute: [/usr, /lib, /lib64, /etc, /bin], read: [/data], except: [/data/vault]}";
    let bundle = bundle("mode: audit", files, "print('done')");
    let data = bundle.volume_path("/data");
    for number in 0..40_000 {
        let name = format!("{number}{}", "x".repeat(230));
        fs::File::create(data.join(name)).expect("our own folder");
    }
    let bundle = bundle.up();
    let events = eventually("the container is gone", || ended(&bundle));
    assert!(bundle.output().contains("done"), "{}", bundle.output());
    let refused = refused(&events);
    assert_eq!(refused.len(), 1, "{refused:#?}");
    assert!(refused[0].contains("/data"), "{refused:#?}");
    let watchers = events.iter().filter(|event| event["type"] == "watcher");
    assert_eq!(watchers.count(), 0, "the first one comes to an end");
}

#[test]
fn what_no_rule_could_be_bound_to_is_told_at_start() {
    let files = "files: {read_execute: [/usr, /lib, /lib64, /etc, /bin], read: [/no/such, /data/link/x, \
                 {path: /not/there, optional: true}]}";
    let bundle = bundle("mode: audit", files, "print('done')").up();
    let events = eventually("the container is gone", || ended(&bundle));
    assert!(bundle.output().contains("done"), "{}", bundle.output());
    let refused = refused(&events);
    assert_eq!(refused.len(), 2, "{refused:#?}");
    assert!(
        refused[0].starts_with("\"/data/link/x\" has a symbolic link in it"),
        "{refused:#?}"
    );
    assert!(
        refused[1].starts_with("cannot open \"/no/such\" for a landlock rule: "),
        "{refused:#?}"
    );
    let read = events
        .iter()
        .find(|event| event["access"]["right"] == "execute");
    assert!(
        read.is_none(),
        "what links of images lead to is granted: {read:#?}"
    );
}
