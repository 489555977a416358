//! Exec sessions as a subject of their own: `exec:` of a profile.

use serde_json::json;

use crate::harness::{Bundle, Console, Containerd, Finished, World};

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

/// The handler `mantlet-probes` of the harness: `restricted` with
/// `exec: {interactive: deny, commands: [harmless, /bin/sh]}`.
#[test]
fn the_kubelets_probes_pass_and_kubectl_shows_why_a_session_does_not() {
    let containerd = Containerd::shared();
    let pod = containerd.pod("mantlet-probes").run();
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
