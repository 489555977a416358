//! DESIGN §11: every way in, one test a row. "Never a container that starts with less than its
//! profile says" means each of these.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{Bundle, Console, Containerd, Finished, Run, World, eventually};

/// Prints what the kernel says of the asking process, and tries what `restricted` denies: a
/// tripwire, and a write that only Landlock refuses (the file's owner is the caller).
const PROBE: &str = "harmless status; hostile unshare-user; echo unshare $?; \
                     harmless write /etc/planted x; echo write $?";

/// The kernel's answers under `mantlet-restricted` for root with the engine's capabilities.
const HELD: [&str; 8] = [
    "NoNewPrivs: 1",
    "Seccomp: 2",
    "Seccomp_filters: 2",
    // NET_BIND_SERVICE alone.
    "CapEff: 0000000000000400",
    "CapPrm: 0000000000000400",
    "CapBnd: 0000000000000400",
    "unshare 1",
    "write 13",
];

/// NET_BIND_SERVICE alone, and what Docker grants by default.
const RESTRICTED: &str = "0000000000000400";
const BASELINE: &str = "00000000a80425fb";

fn restricted(world: &'static World) -> Bundle {
    Bundle::new(world, "mantlet-restricted")
}

fn worlds() -> [&'static World; 2] {
    [World::runc(), World::crun()]
}

#[track_caller]
fn assert_held(way: &str, output: &str) {
    let plain = output.replace('\t', " ");
    for line in HELD {
        assert!(
            plain.lines().any(|have| have == line),
            "{way}: no {line:?} in\n{output}"
        );
    }
}

/// `create` answers one line with `words`, nothing is there afterwards, the bundle is as it was.
#[track_caller]
pub fn assert_create_refused(bundle: &Bundle, words: &str) {
    bundle.write();
    let before = bundle.on_disk();
    assert_ne!(bundle.create(), 0, "created in spite of {words:?}");
    assert_refused(bundle, words);
    assert_eq!(bundle.on_disk(), before, "config.json was changed");
}

#[track_caller]
fn assert_refused(bundle: &Bundle, words: &str) {
    let errors = bundle.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains(words), "{errors:?}");
    let around = bundle.around().arg("state").arg(&bundle.id).run();
    assert_ne!(around.code, 0, "the runtime knows it: {}", around.stdout);
    eventually("nothing is left running", || {
        bundle.supervisors().is_empty().then_some(())
    });
}

#[test]
fn a_created_and_started_workload_is_held() {
    for world in worlds() {
        let script = format!("{PROBE}; exec harmless stay");
        let bundle = restricted(world).args(["sh", "-c", &script]).up();
        let output = eventually("the workload has probed", || {
            let output = bundle.output();
            output.contains("staying").then_some(output)
        });
        assert_held(world.runtime(), &output);
        let pid = bundle.pid().expect("it runs");
        let seen = |field| world.status(pid, field).expect("it runs");
        assert_eq!(seen("CapEff"), RESTRICTED);
        assert_eq!(
            (seen("NoNewPrivs"), seen("Seccomp_filters")),
            ("1".into(), "2".into())
        );
        let journal = bundle.journal();
        assert_eq!(journal[0]["type"], "start", "{journal:?}");
        assert_eq!(journal[0]["report"]["landlock_layers"], 1, "{journal:?}");
        let tripwire = journal.iter().find(|event| event["type"] == "tripwire");
        let tripwire = tripwire.expect("the denied call is an event");
        assert_eq!(
            (&tripwire["syscall"], &tripwire["errno"]),
            (&json!("unshare"), &json!("EPERM"))
        );
    }
}

#[test]
fn run_is_held_on_runc() {
    let bundle = restricted(World::runc()).args(["sh", "-c", PROBE]);
    assert_held("run", &bundle.run().stdout);
}

#[test]
fn run_is_refused_on_crun() {
    let bundle = restricted(World::crun()).args(["harmless", "write", "/tmp/ran", "x"]);
    let done = bundle.run().expect(1);
    assert_refused(&bundle, "never parks the container");
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(!bundle.rootfs().join("tmp/ran").exists());
}

#[test]
fn an_exec_of_either_form_is_held_in_the_foreground() {
    for world in worlds() {
        let bundle = restricted(world).up();
        assert_held("exec COMMAND", &bundle.exec(["sh", "-c", PROBE]).stdout);
        let probe = |process: &mut Value| {
            process["args"] = json!(["sh", "-c", PROBE]);
            // What the engine grants the session is cut again: containerd builds it from its own
            // stored spec, not from our config.json.
            let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"]);
            for set in ["bounding", "effective", "permitted"] {
                process["capabilities"][set] = all.clone();
            }
            process["noNewPrivileges"] = json!(false);
        };
        let done = bundle.exec_process(probe);
        assert_held("exec --process", &done.stdout);
    }
}

#[test]
fn an_exec_of_either_form_is_held_when_detached() {
    for world in worlds() {
        let bundle = restricted(world).up();
        let file = bundle.process_file(|process| process["args"] = json!(["sh", "-c", PROBE]));
        let file = file.to_str().expect("a plain path").to_owned();
        let ways: [(&[&str], &[&str]); 2] =
            [(&[], &["sh", "-c", PROBE]), (&["--process", &file], &[])];
        for (flags, args) in ways {
            let (code, output, pid) = bundle.exec_detached(flags, args);
            let text = || fs::read_to_string(&output).unwrap_or_default();
            assert_eq!(code, 0, "{}{:?}", text(), bundle.errors());
            assert!(pid.is_some(), "no pid file");
            eventually("the session has probed", || {
                text().contains("write ").then_some(())
            });
            assert_held("exec --detach", &text());
        }
    }
}

#[test]
fn an_exec_with_a_terminal_is_held() {
    for world in worlds() {
        let bundle = restricted(world).up();
        let script = format!("test -t 0 && echo terminal; {PROBE}");
        let file = bundle.process_file(|process| {
            process["args"] = json!(["sh", "-c", &script]);
            process["terminal"] = json!(true);
        });
        let file = file.to_str().expect("a plain path").to_owned();
        // containerd's way, and the way of podman and people.
        let ways: [(&[&str], &[&str]); 2] = [
            (&["--process", &file], &[]),
            (&["--tty"], &["sh", "-c", &script]),
        ];
        for (flags, args) in ways {
            let console = Console::new(&bundle.path, &world.name("pty"));
            let path = console.path.to_str().expect("a plain path").to_owned();
            let flags = [&["--console-socket", &path], flags].concat();
            let (code, output, _) = bundle.exec_detached(&flags, args);
            let said = fs::read_to_string(output).unwrap_or_default();
            assert_eq!(code, 0, "{said}{:?}", bundle.errors());
            let text = console.terminal().read_to_end();
            assert!(text.contains("terminal\n"), "{text}");
            assert_held("exec --tty", &text);
        }
    }
}

#[test]
fn a_container_that_is_restored_is_refused() {
    for world in worlds() {
        let bundle = restricted(world);
        bundle.write();
        let image = world.folder("images", &bundle.id);
        let restore = bundle
            .call()
            .args(["restore", "--bundle"])
            .arg(&bundle.path);
        let restore = restore.arg("--image-path").arg(image).arg(&bundle.id);
        restore.run().expect(1);
        assert_refused(&bundle, "CRIU suspends seccomp");
    }
}

#[test]
fn a_checkpoint_is_refused_with_its_reason_and_its_help_is_the_runtimes() {
    for world in worlds() {
        let bundle = restricted(world).up();
        let checkpoint = |runtime: Run| {
            let image = world.folder("images", &bundle.id);
            let call = runtime.args(["checkpoint", "--image-path"]).arg(image);
            call.arg("--leave-running").arg(&bundle.id).run()
        };
        checkpoint(bundle.call()).expect(1);
        let errors = bundle.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains("CRIU suspends its seccomp filter"),
            "{errors:?}"
        );
        assert_eq!(bundle.state().expect("it lives on")["status"], "running");
        // Podman asks for the help to learn what the runtime can do.
        // Debian's crun is built without CRIU and says that it knows no such command.
        let ours = bundle.call().args(["checkpoint", "--help"]).run();
        let theirs = bundle.around().args(["checkpoint", "--help"]).run();
        let answer = |done: Finished| (done.code, done.stdout, done.stderr);
        let (ours, theirs) = (answer(ours), answer(theirs));
        assert_eq!(ours, theirs);
        assert!((ours.1 + &ours.2).contains("checkpoint"), "{theirs:?}");
    }
}

#[test]
fn a_checkpoint_of_a_container_that_is_not_mantlets_is_the_runtimes_business() {
    let plain = Bundle::new(World::runc(), "runc").up();
    let ours = World::runc().command(World::runc().bin("mantlet-restricted"));
    let done = ours.arg("--root").arg(plain.root()).arg("checkpoint");
    let done = done.arg("--image-path").arg(&plain.path).arg(&plain.id);
    let done = done.run().refused();
    assert!(!done.stderr.contains("mantlet"), "{}", done.stderr);
}

/// Hooks of one stage each, which append the stage, their seccomp mode and their descriptors'
/// number to `FILE`.
fn hooks(file: &str, stages: &[&str]) -> Value {
    let hook = |stage: &str| {
        let script = format!(
            "set -- {stage} $(grep -w Seccomp: /proc/self/status); echo $* >>{file}; \
             ls -l /proc/self/fd | grep -c -e mantlet -e socket: | sed 's/^/{stage} leaked /' >>{file}"
        );
        let path = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": path}])
    };
    Value::Object(
        stages
            .iter()
            .map(|stage| ((*stage).to_owned(), hook(stage)))
            .collect(),
    )
}

#[test]
fn hooks_of_every_stage_on_the_host_run_with_the_hosts_privilege() {
    let stages = [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ];
    for world in worlds() {
        let bundle = restricted(world);
        let file = bundle.path.join("hooks").display().to_string();
        let bundle = bundle
            .edit(|config| config["hooks"] = hooks(&file, &stages))
            .up();
        bundle.exec(["true"]).ok();
        bundle.delete().ok();
        let text = fs::read_to_string(&file).unwrap_or_default();
        for stage in stages {
            let line = format!("{stage} Seccomp: 0");
            assert_eq!(
                text.lines().filter(|have| *have == line).count(),
                1,
                "{}: {line:?} in\n{text}",
                world.runtime()
            );
        }
        // The sealed files and the channel reach no hook, but for those that runc runs as the very
        // process that will be init: it hands on what it was told to preserve.
        for line in text.lines().filter(|line| line.contains("leaked")) {
            let own = world.runtime() == "runc" && line.starts_with("createContainer");
            assert!(
                own || line.ends_with("leaked 0"),
                "{}: {text}",
                world.runtime()
            );
        }
    }
}

#[test]
fn a_hook_that_runs_in_the_container_before_init_needs_the_admins_word() {
    for world in worlds() {
        let write = json!({"path": "/bin/harmless",
            "args": ["harmless", "write", "/tmp/hooked", "x"]});
        let with_hook = || {
            let bundle = restricted(world);
            bundle.edit(|config| config["hooks"] = json!({"startContainer": [write.clone()]}))
        };
        let refused = with_hook();
        assert_create_refused(&refused, "startContainer hooks");
        assert!(!refused.rootfs().join("tmp/hooked").exists());

        let script = format!("{PROBE}; exec harmless stay");
        let allowed = with_hook().args(["sh", "-c", &script]);
        let allowed = allowed
            .configured(|text| text + "start_container_hooks: true\n")
            .up();
        assert!(allowed.rootfs().join("tmp/hooked").exists());
        eventually("the workload has probed", || {
            allowed.output().contains("staying").then_some(())
        });
        assert_held("after a startContainer hook", &allowed.output());
    }
}

#[test]
fn init_and_ephemeral_containers_are_containers_like_any_other() {
    let containerd = Containerd::shared();
    let world = containerd.world();
    let pod = containerd.pod("mantlet-restricted").run();
    let first = pod.container("init").shell(PROBE).run();
    assert_eq!(first.wait(), 0);
    assert_held("init container", &first.logs());
    let main = pod.container("main").run();
    // `kubectl debug POD` adds a container to the running pod.
    let debug = pod
        .container("debugger")
        .capabilities(&["SYS_PTRACE", "NET_ADMIN"]);
    let debug = debug.shell(&format!("{PROBE}; exec harmless stay")).run();
    debug.await_log("staying");
    assert_held("ephemeral container", &debug.logs());
    for container in [&main, &debug] {
        let pid = container.pid();
        assert_eq!(world.status(pid, "CapEff").as_deref(), Some(RESTRICTED));
        assert_eq!(world.status(pid, "Seccomp_filters").as_deref(), Some("2"));
    }
}

#[test]
fn a_pause_container_gets_the_minimal_profile_and_no_supervisor() {
    for world in worlds() {
        let bundle = Bundle::new(world, "mantlet-baseline").args(["/bin/pause"]);
        let bundle = bundle.edit(|config| {
            config["annotations"] = json!({"io.kubernetes.cri.container-type": "sandbox"});
        });
        let bundle = bundle.up();
        let pid = bundle.pid().expect("it runs");
        eventually("pause runs", || {
            let exe = fs::read_link(world.proc(pid).join("exe")).ok()?;
            exe.ends_with("bin/pause").then_some(())
        });
        let seen = |field| world.status(pid, field).expect("it runs");
        // `baseline` would have left it Docker's capabilities.
        assert_eq!(seen("CapEff"), "0000000000000000");
        assert_eq!(seen("CapBnd"), "0000000000000000");
        assert_eq!(
            (seen("NoNewPrivs"), seen("Seccomp_filters")),
            ("1".into(), "2".into())
        );
        assert_eq!(bundle.supervisors(), Vec::<i32>::new());
        let done = bundle.exec(["harmless", "write", "/tmp/ran", "x"]);
        done.expect(255);
        let errors = bundle.errors();
        assert!(
            errors.iter().any(|line| line.contains("pause container")),
            "{errors:?}"
        );
        assert!(!bundle.rootfs().join("tmp/ran").exists());
    }
}

#[test]
fn the_pause_container_of_a_real_pod_is_held_by_the_minimal_profile() {
    let containerd = Containerd::shared();
    let pod = containerd.pod("mantlet-baseline").run();
    let (world, pid) = (containerd.world(), pod.pid());
    // Nobody waits for a pause container's init: `start` may answer before it has become the image's
    // program. That program itself never runs with less.
    eventually("the pause program", || {
        let exe = std::fs::read_link(world.proc(pid).join("exe")).ok()?;
        (exe.file_name()? == "pause").then_some(())
    });
    assert_eq!(
        world.status(pid, "CapEff").as_deref(),
        Some("0000000000000000")
    );
    assert_eq!(world.status(pid, "NoNewPrivs").as_deref(), Some("1"));
    assert_eq!(world.status(pid, "Seccomp_filters").as_deref(), Some("2"));
}

#[test]
fn a_privileged_container_gets_baseline_whole_and_is_refused_by_restricted() {
    let containerd = Containerd::shared();
    let world = containerd.world();
    let pod = containerd.pod("mantlet-restricted").privileged().run();
    let container = pod.container("main").privileged().try_create();
    let started = container.expect("no runtime is called yet").try_start();
    let refusal = started.expect_err("restricted refuses it");
    let words = "profile restricted refuses privileged containers";
    assert!(refusal.contains(words), "{refusal}");

    let pod = containerd.pod("mantlet-baseline").privileged().run();
    let container = pod.container("main").privileged().run();
    let pid = container.pid();
    assert_eq!(world.status(pid, "CapEff").as_deref(), Some(BASELINE));
    assert_eq!(world.status(pid, "NoNewPrivs").as_deref(), Some("1"));
    assert_eq!(world.status(pid, "Seccomp_filters").as_deref(), Some("2"));
    container.exec(["hostile", "mount"]).expect(libc::EPERM);
    container.exec(["hostile", "bpf"]).expect(libc::EPERM);
    // The engine masks nothing for it; the profile does.
    let mounts = fs::read_to_string(world.proc(pid).join("mountinfo")).expect("it runs");
    assert!(mounts.contains(" /proc/keys "), "{mounts}");
    assert!(mounts.contains(" /proc/sys "), "{mounts}");
}

/// All capabilities, every device, no seccomp: what `--privileged` makes of config.json.
fn privileged(config: &mut Value) {
    let all = json!([
        "CAP_SYS_ADMIN",
        "CAP_SYS_MODULE",
        "CAP_NET_ADMIN",
        "CAP_NET_BIND_SERVICE"
    ]);
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = all.clone();
    }
    let linux = config["linux"].as_object_mut().expect("linux");
    linux.remove("maskedPaths");
    linux.remove("readonlyPaths");
    linux.insert(
        "resources".into(),
        json!({"devices": [{"allow": true, "access": "rwm"}]}),
    );
}

#[test]
fn a_privileged_container_is_refused_by_restricted_and_where_the_site_says_so() {
    for world in worlds() {
        let words = "refuses privileged containers";
        assert_create_refused(&restricted(world).edit(privileged), words);
        let site = "version: 1\nname: site\nextends: [baseline]\nprocess: {refuse: [privileged]}\n";
        let refused = restricted(world).profile("site", site).edit(privileged);
        assert_create_refused(&refused, "profile site refuses privileged containers");
        restricted(world).profile("site", site).up();
    }
}

#[test]
fn a_profile_that_permits_mount_is_refused() {
    let site = "version: 1\nname: site\nextends: [baseline]\nsyscalls:\n  groups: \"2026.1\"\n  \
                allow: [mount]\n";
    for world in worlds() {
        let bundle = restricted(world).profile("site", site);
        assert_create_refused(&bundle, "profile site allows mount");
    }
}

#[test]
fn a_session_by_the_plain_runtime_meets_enosys_at_tripwires() {
    for world in worlds() {
        let bundle = restricted(world).up();
        let around = |name: &str| {
            let call = bundle.around().arg("exec").arg(&bundle.id);
            call.args(["hostile", name]).run()
        };
        // Nobody answers a notification there, so the runtime's own filter traces to nobody.
        for name in ["unshare-user", "bpf", "keyctl"] {
            around(name).expect(libc::ENOSYS);
        }
        // The same through mantlet: the profile's errno.
        bundle.exec(["hostile", "unshare-user"]).expect(libc::EPERM);
    }
}

/// The one stand-in among these tests: a script that tells an old version. Nothing of an old runc
/// is needed, because it must never be asked for more.
#[test]
fn a_runc_older_than_its_proc_guard_is_refused_and_doctor_says_so() {
    let world = World::runc();
    let folder = world.folder("runtimes", &world.name("old"));
    let runc = folder.join("runc");
    let called = folder.join("called");
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) echo runc version 1.1.4; echo spec: 1.0.2-dev;; \
         *) echo \"$@\" >>{}; exec /usr/sbin/runc \"$@\";; esac\n",
        called.display()
    );
    fs::write(&runc, script).expect("a folder of our own");
    fs::set_permissions(&runc, fs::Permissions::from_mode(0o755)).expect("our own file");
    let named =
        |text: String| text.replace("runtime: runc", &format!("runtime: {}", runc.display()));
    let bundle = restricted(world).configured(named);
    bundle.write();
    assert_ne!(bundle.create(), 0);
    let errors = bundle.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("1.1.4") && errors[0].contains("1.1.5"),
        "{errors:?}"
    );
    let called = fs::read_to_string(called).unwrap_or_default();
    assert!(
        !called.contains("create"),
        "the old runtime was called: {called}"
    );
    let doctor = world.command(world.bin("mantlet")).arg("doctor");
    let doctor = doctor.env("MANTLET_CONFIG", bundle.path.join("mantlet.yaml"));
    let doctor = doctor.run().refused();
    assert!(doctor.stdout.contains("1.1.4"), "{}", doctor.stdout);
}

#[test]
fn doctor_warns_of_ctr_without_pivot() {
    let ctr = World::runc().command("ctr").arg("--version").run().ok();
    if !ctr.stdout.contains(" 1.6.") {
        eprintln!("skipped: the trap is ctr 1.6's, this is {}", ctr.stdout);
        return;
    }
    let doctor = World::runc().mantlet(["doctor"]);
    assert!(doctor.stdout.contains("--no-pivot"), "{}", doctor.stdout);
}
