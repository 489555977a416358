//! Exec sessions as a subject of their own: `exec:` of a profile.

use std::fs;

use mantlet::state::Home;
use serde_json::{Value, json};

use crate::harness::{Bundle, Console, Containerd, Finished, World, eventually};

fn worlds() -> [&'static World; 2] {
    [World::runc(), World::crun()]
}

/// A profile that only adds `exec` to `restricted`.
fn site(exec: &str) -> String {
    format!("version: 1\nname: site\nextends: [restricted]\nexec: {exec}\n")
}

fn bundle(world: &'static World, exec: &str) -> Bundle {
    Bundle::new(world, "mantlet-restricted").profile("site", &site(exec))
}

/// Exit code 255, one line in the runtime's log, and nothing was executed.
#[track_caller]
fn assert_refused(bundle: &Bundle, what: &str, done: &Finished, words: &[&str]) {
    let world = bundle.world().runtime();
    assert_eq!(done.code, 255, "{what} over {world}: {}", done.stderr);
    assert_eq!(done.stdout, "", "{what} over {world}");
    let errors = bundle.errors();
    let last = errors.last().expect("a line in the log");
    for word in words.iter().chain(&["exec is refused: profile site"]) {
        assert!(last.contains(word), "{what} over {world}: {last}");
    }
    assert!(!bundle.rootfs().join("tmp/ran").exists(), "{what}");
}

const RUN: [&str; 4] = ["harmless", "write", "/tmp/ran", "x"];

#[test]
fn interactive_sessions_are_denied_in_every_form_and_probes_are_not() {
    for world in worlds() {
        let bundle = bundle(world, "{interactive: deny}").up();
        let file = |terminal: bool| {
            let file = bundle.process_file(|process| {
                process["args"] = json!(RUN);
                process["terminal"] = json!(terminal);
            });
            file.to_str().expect("a plain path").to_owned()
        };
        let (with, without) = (file(true), file(false));
        let ways: [(&[&str], &[&str]); 4] = [
            (&["--process", &with], &[]),
            (&["--process", &without, "--tty"], &[]),
            (&["--tty"], &RUN),
            (&["-t=true"], &RUN),
        ];
        for (flags, args) in ways {
            let console = Console::new(&bundle.path, &world.name("pty"));
            for detach in [&["--detach"][..], &[]] {
                let call = bundle.call().arg("exec").args(detach).args(flags);
                let call = call.arg("--console-socket").arg(&console.path);
                let done = call.arg(&bundle.id).args(args).run();
                let what = format!("{flags:?}");
                assert_refused(&bundle, &what, &done, &["has a terminal", "-t and -i"]);
            }
        }
        // `kubectl exec -i`: a shell reads its orders from a pipe as well as from a terminal.
        for (flags, args) in [(vec!["--process", &without], &[][..]), (vec![], &RUN[..])] {
            let call = bundle.call().arg("exec").args(flags).arg(&bundle.id);
            let done = call.args(args).stdin("echo typed\n").run();
            assert_refused(&bundle, "a pipe", &done, &["its standard input attached"]);
        }
        // A probe.
        let done = bundle.exec_process(|process| process["args"] = json!(["harmless", "work"]));
        done.ok();
        bundle.exec(["harmless", "work"]).ok();
    }
}

#[test]
fn a_session_executes_only_what_is_listed() {
    for world in worlds() {
        let bundle = bundle(world, "{commands: [harmless, /bin/hostile]}").up();
        bundle.exec(["harmless", "work"]).ok();
        bundle
            .exec(["/bin/hostile", "unshare-user"])
            .expect(libc::EPERM);
        let done = bundle.exec_process(|process| process["args"] = json!(["harmless", "work"]));
        done.ok();
        for argv0 in [
            "sh",
            "hostile",
            "/bin/harmless",
            "./harmless",
            "bin/hostile",
            "/bin/../bin/hostile",
        ] {
            let script = ["-c", "harmless write /tmp/ran x"];
            let words = [&[argv0][..], &script].concat();
            let told = format!("{argv0:?}");
            let done = bundle.exec(&words);
            assert_refused(&bundle, argv0, &done, &[&told, "/bin/hostile, harmless"]);
            let done = bundle.exec_process(|process| process["args"] = json!(words));
            assert_refused(&bundle, argv0, &done, &[&told]);
            let (code, ..) = bundle.exec_detached(&[], &words);
            assert_eq!(code, 255, "{argv0}");
        }
        // Words behind the id are the command, whatever they look like.
        for words in [&["--", "harmless", "work"][..], &["--tty", "harmless"]] {
            assert_refused(&bundle, words[0], &bundle.exec(words), &[words[0]]);
        }
    }
}

#[test]
fn an_empty_list_permits_no_session_and_the_workload_goes_on() {
    for world in worlds() {
        let bundle = bundle(world, "{commands: []}").up();
        let done = bundle.exec(["true"]);
        assert_refused(&bundle, "true", &done, &["no sessions at all"]);
        assert_eq!(bundle.state().expect("it lives")["status"], "running");
        let inspect = world.mantlet(["inspect", &bundle.id]);
        assert!(
            inspect.stdout.contains("commands: none"),
            "{}",
            inspect.stdout
        );
    }
}

const SETS: [&str; 5] = [
    "bounding",
    "effective",
    "permitted",
    "ambient",
    "inheritable",
];

/// The workload under `baseline`, every session under `restricted` too, and interactive ones under a
/// profile of the site's without TCP.
fn stricter(world: &'static World, refuse: &str) -> Bundle {
    let site = "version: 1\nname: site\nextends: [baseline]\n\
                exec: {profile: restricted, interactive: {profile: quiet}}\n";
    let quiet = format!(
        "version: 1\nname: quiet\nextends: [baseline]\n\
         network: {{connect_tcp: [], bind_tcp: []}}\nprocess: {{refuse: [{refuse}]}}\n"
    );
    let bundle = Bundle::new(world, "mantlet-baseline").profile("site", site);
    let bundle = bundle.edit(|config| {
        for set in SETS {
            config["process"]["capabilities"][set] = json!(["CAP_NET_BIND_SERVICE"]);
        }
    });
    fs::write(bundle.path.join("profiles/quiet.yaml"), quiet).expect("our own folder");
    bundle
}

/// What each policy answers differently: capabilities, a file that only `restricted` keeps from
/// being written, a call that only `restricted` trips, and a port.
const ASK: &str = "harmless status; harmless write /etc/planted x; echo write $?; \
                   hostile ptrace; \
                   echo tcp denied $(nc 127.0.0.1 9 </dev/null 2>&1 | grep -c Permission)";

#[test]
fn sessions_are_held_to_the_profiles_that_exec_names_and_the_workload_is_not() {
    for world in worlds() {
        let script = format!("{ASK}; exec harmless stay");
        let bundle = stricter(world, "").args(["sh", "-c", &script]).up();
        let workload = eventually("it has asked", || {
            let output = bundle.output();
            output.contains("staying").then_some(output)
        });
        let probe = bundle.exec(["sh", "-c", ASK]).stdout;
        let file = bundle.exec_process(|process| {
            process["args"] = json!(["sh", "-c", ASK]);
            // What only `baseline` would leave it.
            process["capabilities"]["effective"] = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
            process["capabilities"]["permitted"] = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
            process["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        });
        let typed = bundle
            .call()
            .arg("exec")
            .arg(&bundle.id)
            .args(["sh", "-c", ASK]);
        let typed = typed.stdin("x\n").run().stdout;
        let console = Console::new(&bundle.path, &world.name("pty"));
        let call = bundle
            .call()
            .args(["exec", "--tty", "--detach", "--console-socket"]);
        let call = call
            .arg(&console.path)
            .arg(&bundle.id)
            .args(["sh", "-c", ASK]);
        call.run().ok();
        let tty = console.terminal().read_to_end();
        let answers = |text: &str| {
            let plain = text.replace('\t', " ");
            let wanted = ["CapEff:", "Seccomp_filters:", "write ", "ptrace:", "tcp "];
            let lines = plain
                .lines()
                .map(str::trim)
                .filter(|line| wanted.iter().any(|w| line.starts_with(w)));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let restricted = [
            "CapEff: 0000000000000400",
            "Seccomp_filters: 2",
            "write 13",
            "ptrace: errno EPERM",
        ];
        let held = |bind: &str| {
            let mut lines = restricted.map(str::to_owned).to_vec();
            lines.push(format!("tcp denied {bind}"));
            lines
        };
        assert_eq!(
            answers(&workload)[1..],
            [
                "Seccomp_filters: 2",
                "write 0",
                "ptrace: worked",
                "tcp denied 0"
            ],
            "{workload}"
        );
        assert_eq!(answers(&probe), held("0"), "{}", world.runtime());
        assert_eq!(answers(&file.stdout), held("0"), "{}", world.runtime());
        assert_eq!(answers(&typed), held("1"), "{}", world.runtime());
        assert_eq!(answers(&tty), held("1"), "{}", world.runtime());
        let journal = bundle.journal();
        let starts: Vec<(&Value, &Value)> = journal
            .iter()
            .filter(|e| e["type"] == "start")
            .map(|e| (&e["stricter"], &e["report"]["landlock_layers"]))
            .collect();
        let (plain, interactive) = (json!(["restricted"]), json!(["restricted", "quiet"]));
        assert_eq!(
            starts,
            [
                (&Value::Null, &json!(1)),
                (&plain, &json!(2)),
                (&plain, &json!(2)),
                (&interactive, &json!(3)),
                (&interactive, &json!(3))
            ]
        );
        let traced = journal.iter().find(|event| event["syscall"] == "ptrace");
        assert_eq!(
            traced.expect("a session's own tripwire")["profile"],
            "restricted"
        );
        let inspect = world.mantlet(["inspect", &bundle.id]).stdout;
        assert!(
            inspect.contains(
                "sessions held to restricted too; interactive ones held to restricted + quiet too"
            ),
            "{inspect}"
        );
    }
}

/// The runtime takes them from config.json, where they are the workload's.
#[test]
fn a_session_of_the_command_line_never_keeps_more_capabilities_than_its_profile() {
    for world in worlds() {
        let bundle = stricter(world, "").edit(|config| {
            for set in SETS {
                config["process"]["capabilities"][set] = json!(["CAP_KILL"]);
            }
        });
        let bundle = bundle.up();
        let done = bundle.exec(["harmless", "work"]).expect(255);
        assert!(done.stderr.contains("leaves it fewer"), "{}", done.stderr);
        let file = bundle.exec_process(|process| process["args"] = json!(["harmless", "status"]));
        assert!(file.ok().stdout.contains("CapEff:\t0000000000000000"));
    }
}

#[test]
fn a_profile_for_sessions_refuses_root_sessions_and_not_the_container() {
    for world in worlds() {
        let bundle = stricter(world, "root-user").up();
        bundle.exec(["harmless", "work"]).ok();
        let typed = |flags: &[&str]| {
            let call = bundle.call().arg("exec").args(flags).arg(&bundle.id);
            call.args(["harmless", "work"]).stdin("x\n").run()
        };
        // The workload's own user is root.
        for flags in [&[][..], &["--user", "0"], &["--user", ""]] {
            let done = typed(flags).expect(255);
            assert!(done.stderr.contains("refuses root-user"), "{}", done.stderr);
        }
        typed(&["--user", "1000:1000"]).ok();
        let file = |uid: u32| {
            bundle.process_file(|process| {
                process["args"] = json!(["harmless", "work"]);
                process["user"] = json!({"uid": uid, "gid": uid});
            })
        };
        for (uid, code) in [(0, 255), (1000, 0)] {
            let call = bundle.call().args(["exec", "--process"]).arg(file(uid));
            call.arg(&bundle.id).stdin("x\n").run().expect(code);
        }
        let refused = stricter(world, "writable-rootfs").up();
        refused.exec(["harmless", "work"]).ok();
        let call = refused
            .call()
            .arg("exec")
            .arg(&refused.id)
            .arg("true")
            .stdin("x\n");
        let done = call.run().expect(255);
        assert!(
            done.stderr
                .contains("profile quiet refuses writable-rootfs containers"),
            "{}",
            done.stderr
        );
    }
}

/// A daemon whose handler `restricted` has a profile of the site's.
fn containerd() -> Containerd {
    let world = World::runc();
    let folder = world.folder("nodes", "probes");
    let profile = "version: 1\nname: probes\nextends: [restricted]\n\
                   exec: {interactive: deny, commands: [harmless, /bin/sh]}\n";
    fs::write(folder.join("probes.yaml"), profile).expect("our own folder");
    let text = fs::read_to_string(world.config()).expect("the world has one");
    let text = text.replace("profile: restricted", "profile: probes");
    let file = folder.join("config.yaml");
    let text = format!("{text}profiles_dir: {}\n", folder.display());
    fs::write(&file, text).expect("our own folder");
    Containerd::configured(world, "probes", |text| text, &file)
}

#[test]
fn a_profile_for_sessions_judges_the_hosts_paths_though_the_containers_own_does_not() {
    for world in worlds() {
        let folder = world.folder("volumes", &world.name("shared"));
        std::os::unix::fs::symlink("/etc", folder.join("link")).expect("our own folder");
        for (source, refused) in [(folder.join("link"), true), (folder.clone(), false)] {
            let bundle = Bundle::new(world, "mantlet-baseline")
                .profile("ops", "version: 1\nname: ops\nextends: [baseline]\nprocess: {refuse: [{host-path: [/etc/**]}]}\n")
                .profile("site", "version: 1\nname: site\nextends: [baseline]\nexec: {profile: ops}\n")
                .edit(|config| {
                    let mount = json!({"destination": "/host", "type": "bind", "source": source,
                                       "options": ["rbind", "ro"]});
                    config["mounts"].as_array_mut().expect("mounts").push(mount);
                })
                .up();
            let done = bundle.exec(["harmless", "work"]);
            if refused {
                assert_eq!(done.code, 255, "{}: {}", world.runtime(), done.stderr);
                let words = "profile ops refuses containers by `host-path: /etc/**`";
                let errors = bundle.errors();
                assert!(errors[0].contains(words), "{errors:?}");
            } else {
                done.ok();
            }
        }
    }
}

#[test]
fn the_kubelets_probes_pass_and_kubectl_shows_why_a_session_does_not() {
    let containerd = containerd();
    let pod = containerd.pod("mantlet-restricted").run();
    let container = pod.container("main").run();
    container.exec(["harmless", "work"]).ok();
    // What a hook of the pod's does, and `kubectl exec POD -- sh -c`.
    container.sh("harmless work").ok();
    let refused = container.try_exec(["hostile", "unshare-user"]);
    let refused = refused.expect_err("it is not listed");
    let words = "exec is refused: profile probes lists no \"hostile\" under `exec.commands`";
    assert!(refused.contains(words), "{refused}");
    let refused = container.exec_tty(["/bin/sh"], "harmless write /tmp/ran x\nexit\n");
    let refused = refused.expect_err("it has a terminal");
    assert!(
        refused.contains("profile probes denies interactive sessions"),
        "{refused}"
    );
    container.sh("test ! -e /tmp/ran").ok();
}

/// Killed and stopped supervisors are in `kills` and `deadlines`; here the way to a living one is lost.
#[test]
fn a_session_without_the_containers_own_supervisor_is_refused() {
    for world in worlds() {
        let bundle = Bundle::new(world, "mantlet-restricted").up();
        bundle.exec(["harmless", "work"]).ok();
        let home = Home::new(&world.state_dir(), &bundle.root(), &bundle.id);
        let home = home.expect("a plain id");
        let socket = home.path.join("control.sock");
        let refused = |what: &str, cause: &str| {
            let ways: [&[&str]; 2] = [&[], &["--detach"]];
            // One deadline is enough.
            for flags in ways.into_iter().take(if what == "silent" { 1 } else { 2 }) {
                let call = bundle.call().arg("exec").args(flags).arg(&bundle.id);
                let done = call.args(RUN).run().expect(255);
                let text = &done.stderr;
                assert!(
                    text.contains("supervisor is gone or does not answer"),
                    "{what}: {text}"
                );
                assert!(text.contains(cause), "{what}: {text}");
                assert!(!bundle.rootfs().join("tmp/ran").exists(), "{what}");
            }
        };
        fs::remove_file(&socket).expect("the supervisor's");
        refused("removed", "No such file");
        // Bound, and its owner has ended.
        drop(home.bind_control().expect("a free name"));
        refused("abandoned", "refused");
        fs::remove_file(&socket).expect("our own");
        fs::write(&socket, "").expect("our own folder");
        refused("a file", "refused");
        fs::remove_file(&socket).expect("our own");
        // Somebody who listens and says nothing: the deadline.
        let _silent = home.bind_control().expect("a free name");
        refused("silent", "no answer within 12 s");
        assert_eq!(bundle.state().expect("it lives")["status"], "running");
        bundle.delete().ok();
    }
}
