//! Modes `audit` and `learn`: nothing is denied, and what would be, or everything, is told once.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::detect::{Lived, ended, to_the_end, worlds};
use crate::faults::{self, keeper, signal};
use crate::harness::{Bundle, World, eventually};
use crate::trace::{self, Point};

/// A bundle whose only layer is this profile.
fn site(world: &'static World, text: &str) -> Bundle {
    let text = format!("version: 1\nname: site\n{text}\n");
    Bundle::new(world, "mantlet-baseline").profile("site", &text)
}

/// A recording.
fn recorded(world: &'static World) -> Bundle {
    site(world, "mode: learn")
}

/// Accesses of that kind, in order.
fn seen<'a>(lived: &'a Lived, kind: &str) -> Vec<&'a Value> {
    let all = lived.of_type("observed").into_iter();
    all.filter(|event| event["access"]["kind"] == kind)
        .collect()
}

/// Whether an access was told, by the path and right of a file.
fn has_file(lived: &Lived, path: &str, right: &str) -> bool {
    let mut all = seen(lived, "file").into_iter();
    all.any(|event| event["access"]["path"] == path && event["access"]["right"] == right)
}

#[track_caller]
fn file(lived: &Lived, path: &str, right: &str) {
    let all: Vec<String> = seen(lived, "file")
        .iter()
        .map(|event| format!("{} {}", event["access"]["path"], event["access"]["right"]))
        .collect();
    assert!(
        has_file(lived, path, right),
        "{path} {right}: {all:#?}\n{}",
        lived.output
    );
}

fn calls(lived: &Lived) -> Vec<&str> {
    let all = seen(lived, "syscall").into_iter();
    all.filter_map(|event| event["access"]["name"].as_str())
        .collect()
}

/// Nothing was lost, nothing was denied, and each access was told once.
#[track_caller]
fn whole(lived: &Lived) {
    for kind in ["lost", "tripwire", "watcher", "failed", "suppressed"] {
        assert_eq!(lived.of_type(kind), Vec::<&Value>::new(), "{kind}");
    }
    let mut told = Vec::new();
    for event in lived.of_type("observed") {
        let key = json!([event["access"], event["session"], event["phase"]]);
        assert!(!told.contains(&key), "twice: {key}");
        told.push(key);
    }
    let end = lived.of_type("end")[0];
    assert_eq!(end["observed"]["told"], told.len(), "{end}");
    assert_eq!(end["observed"]["unseen"], 0, "{end}");
}

#[test]
fn an_audited_profile_denies_nothing_and_tells_what_it_would() {
    // Of everything that the script does, the profile allows too little.
    let text = "mode: audit\nsyscalls: {groups: 2026.1, allow: ['@default', '@file-system', '@process', '@basic-io', '@io-event', '@network-io', '@ipc', '@signal']}\nfiles: {read_execute: [/bin]}\n\
                network: {bind_tcp: [8080]}";
    let script = "mkdir /tmp/made && echo made; echo x > /tmp/made/file && echo wrote; \
                  unshare -m true && echo unshared; cat /etc/passwd >/dev/null && echo read";
    for world in worlds() {
        let lived = to_the_end(site(world, text), script);
        lived.printed("made").printed("wrote").printed("read");
        file(&lived, "/tmp", "make-dir");
        file(&lived, "/tmp/made", "make-reg");
        file(&lived, "/tmp/made/file", "write-file");
        file(&lived, "/etc/passwd", "read-file");
        assert!(!has_file(&lived, "/bin/sh", "execute"), "that is granted");
        let denied = seen(&lived, "file");
        let made = denied
            .iter()
            .find(|event| event["access"]["right"] == "make-dir");
        let made = made.expect("told above");
        assert_eq!(made["profile"], "site");
        assert_eq!(made["fix"], "files: {read_write: [/tmp]}");
        assert_eq!(made["access"]["entry"], "made");
        assert!(calls(&lived).contains(&"unshare"), "{:?}", calls(&lived));
        whole(&lived);
    }
}

#[test]
fn a_recording_tells_calls_files_and_ports_once() {
    let script = "mkdir /tmp/a; mv /tmp/a /tmp/b; rmdir /tmp/b; ln -s /etc/passwd /tmp/l; \
                  cat /tmp/l /tmp/l >/dev/null; cat /proc/self/status >/dev/null; echo x >/dev/stdout; \
                  cat /no/such 2>/dev/null; for i in 1 2 3; do cat /etc/group >/dev/null; done; \
                  nc -w 1 127.0.0.1 9 </dev/null; echo done";
    for world in worlds() {
        let lived = to_the_end(recorded(world), script);
        lived.printed("done").printed("x");
        for (path, right) in [
            ("/bin/sh", "execute"),
            ("/bin/sh", "read-file"),
            ("/tmp", "make-dir"),
            ("/tmp", "remove-dir"),
            ("/tmp", "make-sym"),
            ("/etc/passwd", "read-file"),
            ("/etc/group", "read-file"),
            ("/dev/null", "write-file"),
        ] {
            file(&lived, path, right);
        }
        assert!(!has_file(&lived, "/tmp/l", "read-file"), "a link is none");
        let status = seen(&lived, "file").into_iter();
        let status: Vec<&str> = status
            .filter_map(|event| event["access"]["path"].as_str())
            .filter(|path| path.starts_with("/proc/") && path.ends_with("/status"))
            .collect();
        assert!(!status.is_empty(), "/proc/self is the caller");
        let connects = seen(&lived, "tcp");
        assert_eq!(connects.len(), 1, "{connects:#?}");
        assert_eq!(connects[0]["access"]["right"], "connect");
        assert_eq!(connects[0]["access"]["port"], 9);
        let calls = calls(&lived);
        for name in [
            "execve", "mkdir", "rename", "rmdir", "symlink", "socket", "wait4",
        ] {
            assert!(calls.contains(&name), "{name}: {calls:?}");
        }
        assert!(!calls.contains(&"read") && !calls.contains(&"clone3"));
        whole(&lived);
        let start = lived.of_type("start")[0];
        assert_eq!(start["report"]["landlock_layers"], 1, "the anchor");
    }
}

#[test]
fn an_enforcing_layer_goes_on_enforcing_beside_a_recording() {
    let bundle = recorded(World::runc()).ruled("{namespace: any, profile: strict}");
    let strict = "version: 1\nname: strict\nextends: [restricted]\n";
    std::fs::write(bundle.path.join("profiles/strict.yaml"), strict).expect("our own folder");
    let lived = to_the_end(
        bundle,
        "mkdir /etc/a || echo refused; unshare -m true || echo tripped; echo done",
    );
    lived.printed("refused").printed("tripped").printed("done");
    assert_eq!(lived.of_type("tripwire").len(), 1, "{:#?}", lived.events);
    file(&lived, "/etc", "make-dir");
    assert!(calls(&lived).contains(&"mkdir"));
}

#[test]
fn an_audit_beside_a_recording_takes_nothing_from_what_is_learned() {
    let strict = "version: 1\nname: strict\nmode: audit\nextends: [restricted]\n";
    for world in worlds() {
        let bundle = recorded(world).ruled("{namespace: any, profile: strict}");
        std::fs::write(bundle.path.join("profiles/strict.yaml"), strict).expect("our own folder");
        let bundle = bundle.args(["sh", "-c", "mkdir /tmp/made; chroot / true; echo done"]);
        let bundle = bundle.up();
        let events = eventually("the container is gone", || ended(&bundle));
        let (output, journal) = (bundle.output(), bundle.journal_path());
        let lived = Lived { output, events };
        lived.printed("done");
        // Of these the audit told, of the others the recording.
        let by = |name: &str| {
            let mut all = seen(&lived, "syscall").into_iter();
            let found = all.find(|event| event["access"]["name"] == name);
            found.unwrap_or_else(|| panic!("{name}: {:#?}", lived.events))["profile"].clone()
        };
        assert_eq!((by("chroot"), by("wait4")), (json!("strict"), Value::Null));
        let journal = journal.display().to_string();
        let learned = world
            .mantlet(["learn", "--name", "app", "--from", &journal])
            .ok();
        let text = &learned.stdout;
        for line in ["    - chroot", "    - mkdir", "    - wait4", "    - /tmp"] {
            assert!(
                text.lines().any(|own| own.starts_with(line)),
                "{line}\n{text}"
            );
        }
        assert!(
            !text.contains("\nextends:") && !text.contains("\nmode:"),
            "{text}"
        );
        whole(&lived);
    }
}

#[test]
fn a_name_that_is_no_utf8_is_told_by_its_bytes_and_counted() {
    let script = r#"f=$(printf '/tmp/caf\351'); echo x > "$f"; cat "$f"; mv "$f" /tmp/plain; cat /tmp/plain; echo done"#;
    for world in worlds() {
        let lived = to_the_end(recorded(world), script);
        lived.printed("done").printed("x");
        let all = seen(&lived, "file");
        let of = |path: &str, right: &str| {
            let mut all = all
                .iter()
                .map(|event| (&event["access"], &event["clipped"]));
            let found = all.find(|(access, _)| access["path"] == path && access["right"] == right);
            found
                .unwrap_or_else(|| panic!("{path} {right}: {all:#?}"))
                .1
        };
        for right in ["write-file", "read-file"] {
            assert_eq!(of(r"/tmp/caf\xe9", right), true, "{right}");
        }
        assert_eq!(of("/tmp", "remove-file"), true);
        assert_eq!(of("/tmp/plain", "read-file"), &Value::Null);
        let cut = all.iter().filter(|event| event["clipped"] == true).count();
        let lost = lived.of_type("lost").into_iter();
        let lost: u64 = lost.filter_map(|event| event["count"].as_u64()).sum();
        assert_eq!(lost, cut as u64, "{:#?}", lived.events);
        assert_eq!(lived.of_type("end")[0]["observed"]["unseen"], lost);
    }
}

#[test]
fn what_is_listened_to_begins_the_serving_phase() {
    let script = "nc -l -p 8080 -e true & sleep 0.3; nc -w 1 127.0.0.1 8080 </dev/null; \
                  mkdir /tmp/late; wait; echo done";
    let lived = to_the_end(recorded(World::runc()), script);
    lived.printed("done");
    let tcp: Vec<(Value, Value, Value)> = seen(&lived, "tcp")
        .iter()
        .map(|event| {
            let access = &event["access"];
            (
                access["right"].clone(),
                access["port"].clone(),
                event["phase"].clone(),
            )
        })
        .collect();
    assert!(
        tcp.contains(&(json!("bind"), json!(8080), json!("start-up"))),
        "{tcp:?}"
    );
    assert!(
        tcp.contains(&(json!("connect"), json!(8080), json!("serving"))),
        "{tcp:?}"
    );
    let late = seen(&lived, "file").into_iter();
    let mut late = late.filter(|event| event["access"]["right"] == "make-dir");
    assert_eq!(late.next().expect("it was made")["phase"], "serving");
    whole(&lived);
}

#[test]
fn what_begins_to_serve_while_nobody_watches_serves() {
    let script = "until [ -e /tmp/listen ]; do sleep 0.2; done; nc -l -p 8080 -e true & \
                  until grep -qs ':1F90 ' /proc/net/tcp /proc/net/tcp6; do sleep 0.2; done; echo listens; \
                  until [ -e /tmp/late ]; do sleep 0.05; done; mkdir /tmp/after; kill $!; echo done";
    let bundle = recorded(World::runc()).args(["sh", "-c", script]).up();
    let keeper = keeper(&bundle);
    let make = |name: &str| {
        let path = bundle.rootfs().join("tmp").join(name);
        std::fs::write(path, "").expect("a writable layer of our own");
    };
    let former = faults::serving(keeper);
    // Each watcher from here on ends before it is ready.
    let words = [
        vec!["-f".to_owned()],
        Point::new("seccomp", 1).strike("KILL"),
    ]
    .concat();
    let strace = trace::attach_host(keeper, &words);
    signal(former, Signal::SIGKILL);
    eventually("there is no watcher", || {
        let said = bundle.exec(["true"]);
        said.stderr
            .contains("nothing starts without one")
            .then_some(())
    });
    make("listen");
    eventually("it listens", || {
        bundle.output().contains("listens").then_some(())
    });
    trace::detach(strace);
    faults::serving(keeper);
    make("late");
    let events = eventually("the container is gone", || ended(&bundle));
    let call = |name: &str| {
        let mut all = events.iter().filter(|event| event["type"] == "observed");
        all.find(|event| event["access"]["name"] == name)
    };
    assert_eq!(call("listen"), None, "the keeper let it go");
    let after = events
        .iter()
        .find(|event| event["access"]["entry"] == "after");
    assert_eq!(after.expect("it was watched")["phase"], "serving");
}

#[test]
fn a_watcher_that_is_killed_under_load_denies_nothing_and_what_is_not_seen_is_counted() {
    let script =
        "i=0; while [ $i -lt 400 ]; do mkdir /tmp/d$i || echo denied; i=$((i+1)); done; echo done";
    let bundle = recorded(World::runc()).args(["sh", "-c", script]).up();
    let (keeper, mut former) = (keeper(&bundle), 0);
    for _ in 0..6 {
        former = faults::serving_after(keeper, former);
        std::thread::sleep(std::time::Duration::from_millis(40));
        signal(former, Signal::SIGKILL);
    }
    let events = eventually("the container is gone", || ended(&bundle));
    let output = bundle.output();
    assert!(
        output.contains("done") && !output.contains("denied"),
        "{output}"
    );
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert!(count("watcher") > 0, "{events:#?}");
    let lost: u64 = events
        .iter()
        .filter(|event| event["type"] == "lost")
        .filter_map(|event| event["count"].as_u64())
        .sum();
    let end = events.last().expect("the end");
    assert_eq!(end["observed"]["unseen"], lost, "{end}");
    // Each directory was told or is among those that were lost.
    let made = events
        .iter()
        .filter(|event| event["access"]["right"] == "make-dir");
    let made = made.count() as u64;
    assert!(made + lost >= 400, "{made} told, {lost} lost");
    assert_eq!(count("tripwire"), 0);
}

fn capabilities(lived: &Lived, session: &str) -> Vec<String> {
    let all = seen(lived, "capability").into_iter();
    let of = all.filter(|event| event["session"] == session);
    of.filter_map(|event| event["access"]["name"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_recording_says_what_it_began_with_and_which_capabilities_were_used() {
    // runc's own default has no CAP_CHOWN.
    let bundle = recorded(World::runc()).edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] =
                json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]);
        }
    });
    let lived = to_the_end(bundle, "echo > /tmp/f; chown 7:7 /tmp/f && echo done");
    lived.printed("done");
    let start = lived.of_type("start")[0];
    let recording = &start["recording"];
    assert_eq!(recording["mode"], "learn");
    assert_eq!(recording["command"], "sh");
    let kernel = recording["kernel"].as_str().expect("a text");
    assert!(kernel.contains('.'), "{kernel}");
    let held = recording["capabilities"].as_array().expect("a list");
    assert!(held.contains(&json!("CAP_NET_RAW")), "{recording}");
    if recording["blind"] == Value::Null {
        let used = capabilities(&lived, "workload");
        assert!(used.contains(&"CAP_CHOWN".to_owned()), "{used:?}");
        assert!(!used.contains(&"CAP_NET_RAW".to_owned()), "{used:?}");
        assert!(!used.contains(&"CAP_SYS_ADMIN".to_owned()), "{used:?}");
    } else {
        // Kernels before 6.14.
        assert!(
            recording["blind"][0]
                .as_str()
                .expect("a text")
                .contains("capabilities")
        );
    }
    whole(&lived);
}

#[test]
fn a_capability_is_told_in_each_phase_in_which_it_is_used() {
    let bundle = recorded(World::runc()).edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_CHOWN"]);
        }
    });
    let script = "echo > /tmp/f; chown 7:7 /tmp/f; nc -l -p 8080 -e true & sleep 0.3; \
                  nc -w 1 127.0.0.1 8080 </dev/null; chown 8:8 /tmp/f; wait; echo done";
    let lived = to_the_end(bundle, script);
    lived.printed("done");
    let used = seen(&lived, "capability").into_iter();
    let used: Vec<&str> = used
        .filter(|event| event["access"]["name"] == "CAP_CHOWN")
        .filter_map(|event| event["phase"].as_str())
        .collect();
    if lived.of_type("start")[0]["recording"]["blind"] == Value::Null {
        assert_eq!(used, ["start-up", "serving"]);
    }
    whole(&lived);
}

#[test]
fn what_the_runtime_uses_for_a_session_is_not_the_workloads() {
    let names = ["SETUID", "SETGID", "SETPCAP", "CHOWN", "DAC_OVERRIDE"];
    let all: Vec<String> = names.iter().map(|name| format!("CAP_{name}")).collect();
    // As engines have it: the bounding set is theirs, and a workload that is not root holds none of it.
    let bundle = recorded(World::runc()).user(1000).edit(|config| {
        config["process"]["capabilities"] = json!({"bounding": all});
    });
    let bundle = bundle.args(["sleep", "1000"]).up();
    for _ in 0..10 {
        bundle.exec(["true"]).ok();
    }
    bundle.kill("KILL");
    let events = eventually("the container is gone", || ended(&bundle));
    let lived = Lived {
        output: bundle.output(),
        events,
    };
    assert_eq!(capabilities(&lived, "workload"), Vec::<String>::new());
    if lived.of_type("start")[0]["recording"]["blind"] == Value::Null {
        let used = capabilities(&lived, "exec");
        assert!(used.contains(&"CAP_SETUID".to_owned()), "{used:?}");
    }
}

#[test]
fn a_session_of_an_audited_container_is_told_apart_and_not_refused() {
    let text = "mode: audit\nsyscalls: {groups: 2026.1, allow: ['@default', '@file-system', '@process', '@basic-io', '@io-event', '@ipc', '@signal']}\nexec: {commands: ['true']}\nfiles: {read_execute: [/bin]}\n\
                process: {refuse: [writable-rootfs]}";
    for world in worlds() {
        let bundle = site(world, text).up();
        let said = bundle.exec(["sh", "-c", "mkdir /tmp/by-session && echo made"]);
        assert!(
            said.stdout.contains("made"),
            "{} {}",
            said.stdout,
            said.stderr
        );
        let whole = eventually("it is told", || {
            let events = bundle.journal();
            let made = |event: &Value| event["access"]["entry"] == "by-session";
            events.iter().any(made).then_some(events)
        });
        let observed: Vec<&Value> = whole.iter().filter(|e| e["type"] == "observed").collect();
        let by = observed
            .iter()
            .find(|event| event["access"]["entry"] == "by-session");
        assert_eq!(by.expect("found above")["session"], "exec");
        let refused: Vec<&str> = observed
            .iter()
            .filter(|event| event["access"]["kind"] == "container")
            .filter_map(|event| event["access"]["what"].as_str())
            .collect();
        assert!(
            refused.iter().any(|what| what.contains("writable-rootfs")),
            "{refused:?}"
        );
        assert!(
            refused.iter().any(|what| what.contains("sh")),
            "{refused:?}"
        );
        let listed = world.mantlet(["ps"]);
        assert!(listed.stdout.contains("AUDIT"), "{}", listed.stdout);
        bundle.kill("KILL").ok();
    }
}
