//! Modes `audit` and `learn` in Kubernetes' terms: the class for learning as its README has it, a profile
//! from one pod's container that holds another pod's, and what an audited pod tells.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Container, Containerd, World, eventually};

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("containerd-config");
    fs::read_to_string(folder.join(name)).expect("a shipped file")
}

/// The handler that pods of the class get.
fn handler_of_the_class() -> String {
    let class = shipped("runtimeclass-learn.yaml");
    let mut lines = class.lines();
    let handler = lines.find_map(|line| line.strip_prefix("handler: "));
    handler.expect("a class names its handler").to_owned()
}

/// Events of a container so far.
fn events(container: &Container<'_>) -> Vec<Value> {
    let root = "/run/containerd/runc/k8s.io";
    let world = container.containerd().world();
    let path = mantlet::state::journal_path(&world.log_dir(), root.as_ref(), &container.id);
    let text = fs::read_to_string(world.inside(path)).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("the journal is JSON lines"))
        .collect()
}

fn of_type(container: &Container<'_>, kind: &str) -> Vec<Value> {
    let all = events(container).into_iter();
    all.filter(|event| event["type"] == kind).collect()
}

/// What the pod is for.
const WORK: &str = "mkdir -p /volume/made && echo kept > /volume/made/file && cat /volume/made/file && \
                    cat /etc/hosts >/dev/null && rm -r /volume/made && echo worked; exec harmless stay";

#[test]
fn a_pod_of_the_class_for_learning_teaches_the_profile_that_holds_the_next() {
    let world = World::runc();
    let handler = handler_of_the_class();
    // The README's opt-in: this very link, and nothing works before there is one.
    let opt_in = format!("ln -s mantlet-runtime /usr/local/bin/{handler} ");
    assert!(shipped("README.md").contains(&opt_in), "{opt_in}");
    let programs = world.folder("containerd", "opt-in");
    let link = programs.join(&handler);
    let ours = world.bin(&handler).to_string_lossy().into_owned();
    let change = |text: String| {
        let changed = text.replace(&ours, &link.to_string_lossy());
        assert_ne!(changed, text);
        changed
    };
    let learning = Containerd::configured(world, "learn", change, &world.config());
    let refused = learning.pod(&handler).try_run();
    assert!(refused.is_err(), "no link, and a pod of the class started");
    symlink(world.bin("mantlet-runtime"), &link).expect("our own folder");

    // 1. It works, and a session of the kubelet's is no part of what it needs.
    let pod = learning.pod(&handler).run();
    let container = pod.container("main").volume("/volume", 0).shell(WORK).run();
    container.await_log("worked");
    let session =
        container.sh("mkdir /volume/by-session && cat /etc/passwd >/dev/null && echo done");
    assert!(session.ok().stdout.contains("done"));
    container.stop(1).expect("the engine ends it");
    eventually("its recording is whole", || {
        of_type(&container, "end").pop()
    });
    assert!(of_type(&container, "lost").is_empty());
    let apart = events(&container);
    let by_session = |event: &&Value| event["access"]["entry"] == "by-session";
    let by_session = apart.iter().find(by_session).expect("it is recorded");
    assert_eq!(by_session["session"], "exec");

    // 2. A profile, from the container by its id.
    let learned = world.mantlet(["learn", "--json", "--name", "site", "--from", &container.id]);
    let learned: Value = serde_json::from_str(&learned.ok().stdout).expect("JSON");
    assert_eq!(
        (&learned["mode"], &learned["events_lost"]),
        (&json!("enforce"), &json!(0))
    );
    let profile = learned["profile"].as_str().expect("a text");
    assert!(!profile.contains("passwd"), "a session's: {profile}");

    // 3. The same work in another pod that it holds, with nothing denied.
    let holding = Containerd::with_profile(world, "learned", profile);
    let pod = holding.pod("mantlet-restricted").run();
    let container = pod.container("main").volume("/volume", 0).shell(WORK).run();
    container.await_log("worked");
    assert!(container.logs().contains("kept"), "{}", container.logs());
    assert!(of_type(&container, "tripwire").is_empty());
    assert_eq!(of_type(&container, "start")[0]["profiles"], json!(["site"]));
    // It holds: what the recorded pod never did is refused.
    container.sh("echo x > /bin/x").expect(1);
    assert!(
        container
            .try_exec(["hostile", "keyctl"])
            .is_err_and(|why| why.contains("hostile"))
            || container.exec(["hostile", "keyctl"]).code != 0
    );
}

#[test]
fn an_audited_pod_does_what_restricted_denies_and_each_is_told_with_its_line() {
    let text = "version: 1\nname: site\nmode: audit\nextends: [restricted]\n";
    let daemon = Containerd::with_profile(World::runc(), "audited", text);
    let pod = daemon.pod("mantlet-restricted").run();
    let container = pod.container("main").volume("/volume", 0).run();
    // Steps of tests/hostile that work under RuntimeDefault, and not under `restricted`.
    for (step, kind, word) in [
        (&["chroot"][..], "name", "chroot"),
        (&["memfd-exec"], "name", "memfd_create"),
        (&["mknod", "/volume/hostile-device"], "right", "make-char"),
        (
            &["write-exec", "/tmp/hostile-dropped"],
            "path",
            "/tmp/hostile-dropped",
        ),
    ] {
        let command = ["hostile"].iter().chain(step).copied();
        let done = container.exec(command);
        assert_eq!(done.code, 0, "{step:?}: {}{}", done.stdout, done.stderr);
        let told = eventually(&format!("{step:?} is told"), || {
            let all = of_type(&container, "observed").into_iter();
            let mut of = all.filter(|event| event["profile"] == "site");
            of.find(|event| event["access"][kind] == word)
        });
        let fix = told["fix"].as_str().expect("a line");
        assert!(
            fix.starts_with("syscalls: {allow: [") || fix.starts_with("files: {"),
            "{told}"
        );
        assert_eq!(told["container"]["name"], "main");
        assert_eq!(told["session"], "exec");
    }
    assert!(of_type(&container, "tripwire").is_empty());
    let listed = World::runc().mantlet(["ps"]).stdout;
    assert!(listed.contains("AUDIT"), "{listed}");
}
