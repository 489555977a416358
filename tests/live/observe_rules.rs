//! What the rules of a layer in mode `audit` see, and what must not hold whoever looks: a lease on a
//! program's file, and a question about it that the watcher itself would have to answer.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{SigHandler, Signal};
use serde_json::{Value, json};

use crate::detect::{bind, ended, mounted, to_the_end, worlds};
use crate::harness::{Bundle, World, eventually};

/// Calls that ordinary programs need, and one folder to read and execute from.
const NARROW: &str = "syscalls: {groups: 2026.1, allow: ['@default', '@file-system', '@process', '@basic-io', \
    '@io-event', '@network-io', '@ipc', '@signal']}\nfiles: {read_execute: [/bin]}";

/// A bundle whose only layer looks, and has these keys.
fn audited(world: &'static World, keys: &str) -> Bundle {
    let text = format!("version: 1\nname: site\nmode: audit\n{keys}\n");
    Bundle::new(world, "mantlet-baseline").profile("site", &text)
}

#[test]
fn rules_on_calls_are_told_with_what_they_would_have_done() {
    let keys = "extends: [restricted]
detect:
  - {name: end, on: tripwire, calls: [memfd_create], respond: kill-container}
  - {name: other, on: tripwire, calls: [mount]}
  - {name: memory, on: fileless-exec, respond: kill-process}
  - {name: often, on: tripwire, calls: [memfd_create], after: 2, respond: freeze}";
    let script = "hostile memfd-exec; echo first $?; hostile memfd-exec; echo second $?; exit 0";
    for world in worlds() {
        let lived = to_the_end(audited(world, keys), script);
        lived.printed("first 0").printed("second 0");
        for rule in ["end", "memory"] {
            let seen = lived.detections(rule);
            let by_call: Vec<&&Value> = seen
                .iter()
                .filter(|event| {
                    event["why"]
                        .as_str()
                        .is_some_and(|why| why.contains("memfd_create"))
                })
                .collect();
            assert_eq!(by_call.len(), 2, "{rule}: each time, not once: {seen:#?}");
            let event = by_call[0];
            assert_eq!(
                (&event["respond"], &event["due"]),
                (&json!("log"), &json!(true))
            );
            assert_eq!(event["process"]["exe"], "/bin/hostile");
        }
        let end = lived.detections("end")[0];
        assert_eq!(end["would"], "kill-container");
        assert_eq!(
            end["why"],
            "called memfd_create, which its profile would refuse"
        );
        let often = lived.detections("often");
        let due: Vec<bool> = often.iter().map(|event| event["due"] == true).collect();
        assert_eq!(due, [false, true]);
        assert!(lived.detections("other").is_empty());
        for kind in ["response", "tripwire", "watcher"] {
            assert!(
                lived.of_type(kind).is_empty(),
                "{kind}: {:#?}",
                lived.events
            );
        }
    }
}

#[test]
fn a_rule_that_looks_hears_of_tripwires_that_another_layer_refuses() {
    let keys = "extends: [baseline]\ndetect: [{name: keys, on: tripwire, calls: [keyctl], respond: kill-container}]";
    let strict = "version: 1\nname: strict\nextends: [baseline]\n\
                  detect: [{name: own, on: tripwire, calls: [mount]}]\n";
    let bundle = audited(World::runc(), keys).ruled("{namespace: any, profile: strict}");
    fs::write(bundle.path.join("profiles/strict.yaml"), strict).expect("our own folder");
    let lived = to_the_end(bundle, "hostile keyctl; echo keyctl $?; exit 0");
    lived.printed(&format!("keyctl {}", libc::EPERM));
    let event = lived.one("keys");
    assert_eq!(
        (&event["respond"], &event["would"]),
        (&json!("log"), &json!("kill-container"))
    );
    assert!(lived.detections("own").is_empty());
    assert!(lived.of_type("response").is_empty());
}

#[test]
fn each_rule_on_one_call_is_told_with_the_line_that_answers_it() {
    let keys = "extends: [baseline]
syscalls:
  groups: 2026.1
  tripwire:
    - {name: fcntl, args: [{index: 1, op: eq, value: 1033}]}
    - {name: fcntl, args: [{index: 1, op: eq, value: 1034}]}";
    let program = "import ctypes\nfor command in [1033, 1034] * 3: ctypes.CDLL(None).syscall(72, 0, command, 0)";
    let text = format!("version: 1\nname: site\nmode: audit\n{keys}\n");
    let bundle = Bundle::of(World::runc(), "mantlet-baseline", "debian-rootfs")
        .profile("site", &text)
        .args(["python3", "-c", program])
        .edit(|config| {
            config["process"]["env"] = json!(["PATH=/usr/local/bin:/usr/bin:/bin"]);
        })
        .up();
    let events = eventually("the container is gone", || ended(&bundle));
    let fixes: Vec<&str> = events
        .iter()
        .filter(|event| event["access"]["name"] == "fcntl")
        .filter_map(|event| event["fix"].as_str())
        .collect();
    let fix = |value| {
        format!(
            "syscalls: {{allow: [{{name: fcntl, args: [{{index: 1, op: eq, value: {value}}}]}}]}}"
        )
    };
    assert_eq!(fixes, [fix("0x409"), fix("0x40a")], "{events:#?}");
}

/// The host holds the lease: whoever opens the file waits until it lets go of it.
#[test]
fn a_lease_on_a_program_s_file_does_not_hold_the_watcher() {
    // SAFETY: it installs no handler.
    unsafe { nix::sys::signal::signal(Signal::SIGIO, SigHandler::SigIgn) }.expect("a signal");
    for world in worlds() {
        let folder = world.folder("volumes", &world.name("lease"));
        let path = folder.join("leased");
        fs::copy(
            crate::harness::image("static-rootfs").join("bin/harmless"),
            &path,
        )
        .expect("our own folder");
        let file = File::open(&path).expect("our own file");
        // SAFETY: fcntl takes numbers.
        let lease = |kind: i32| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
        assert_eq!(
            lease(libc::F_WRLCK),
            0,
            "{}",
            std::io::Error::last_os_error()
        );
        let script = "(/vol/leased exit 7; echo ran $?) & \
                      while [ ! -e /vol/begun ]; do usleep 10000; done; mkdir /tmp/meanwhile; wait; exit 0";
        let bundle = mounted(audited(world, NARROW), bind(&folder, "/vol", "rw"));
        let bundle = bundle.args(["sh", "-c", script]).up();
        // SAFETY: fcntl takes numbers.
        let held = || unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) };
        eventually("somebody asks for the file", || {
            (held() != libc::F_WRLCK).then_some(())
        });
        fs::write(folder.join("begun"), "").expect("our own folder");
        // The execution is held by the lease, and the watcher is not.
        eventually("the next call is told", || {
            let mut events = bundle.journal().into_iter();
            let made = |event: &Value| event["access"]["entry"] == "meanwhile";
            events.any(|event| made(&event)).then_some(())
        });
        assert!(!bundle.output().contains("ran"), "the lease is held");
        assert_eq!(lease(libc::F_UNLCK), 0);
        let events = eventually("the container is gone", || ended(&bundle));
        assert!(bundle.output().contains("ran 7"), "{}", bundle.output());
        let ended = events.iter().filter(|event| event["type"] == "watcher");
        assert_eq!(ended.count(), 0, "{events:#?}");
    }
}

#[test]
fn a_token_that_is_executed_does_not_have_the_watcher_wait_for_itself() {
    let keys = format!("{NARROW}\ndetect: [{{name: token, on: token-access, respond: deny}}]");
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let script = format!("cd /tmp; ({token}; echo tried $?); mkdir /tmp/after; exit 0");
    for world in worlds() {
        for mode in [0o644, 0o755] {
            let folder = world.folder("tokens", &world.name("token"));
            let file = folder.join("token");
            fs::write(&file, "#!/bin/true\n").expect("our own folder");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("our own file");
            let at = "/var/run/secrets/kubernetes.io/serviceaccount";
            let bundle = mounted(audited(world, &keys), bind(&folder, at, "ro"));
            let lived = to_the_end(bundle, &script);
            let code = if mode == 0o755 { 0 } else { 126 };
            lived.printed(&format!("tried {code}"));
            assert!(lived.of_type("watcher").is_empty(), "{:#?}", lived.events);
            let mut made = lived.of_type("observed").into_iter();
            assert!(made.any(|event| event["access"]["entry"] == "after"));
        }
    }
}
