//! Seccomp listeners that are not the supervisor's: the engine's own is refused with a clear line, the
//! workload's never comes to be.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Bundle, Containerd, HANDLERS, State, World, eventually};
use crate::remains;
use crate::table::assert_create_refused;

/// How the refusal begins what it says to do.
const WORDS: &str = "use a seccomp profile without notification for this pod";

fn rule(action: &str) -> Value {
    json!({"names": ["mkdir"], "action": action})
}

/// Filters that hand calls to a listener, in every way that a runtime understands.
fn listening() -> Vec<Value> {
    let allow = "SCMP_ACT_ALLOW";
    let notify = "SCMP_ACT_NOTIFY";
    let path = "/run/agent.sock";
    vec![
        json!({"defaultAction": notify}),
        json!({"defaultAction": notify, "listenerPath": path}),
        json!({"defaultAction": allow, "syscalls": [rule(notify)]}),
        json!({"defaultAction": allow, "listenerPath": path, "syscalls": [rule(notify)]}),
        json!({"defaultAction": allow, "listenerPath": path, "listenerMetadata": "pod"}),
        // runc takes no notice of these, crun does.
        json!({"defaultAction": allow, "listenerPath": path}),
        json!({"defaultAction": allow, "listenerPath": ""}),
        json!({"defaultAction": allow, "syscalls": [{"names": [], "action": notify}]}),
    ]
}

/// Spellings that look as if they notified. runc and crun take an action by its exact name alone, and
/// so does mantlet: none of them ever becomes a container.
const MISSPELLED: [&str; 5] = [
    "scmp_act_notify",
    "SCMP_ACT_Notify",
    "SCMP_ACT_NOTIFY ",
    "NOTIFY",
    "",
];

#[test]
fn a_filter_with_a_listener_of_the_engines_is_refused_with_a_clear_line() {
    for world in [World::runc(), World::crun()] {
        for handler in HANDLERS {
            for filter in listening() {
                let bundle = Bundle::new(world, handler);
                let bundle = bundle.edit(|config| config["linux"]["seccomp"] = filter);
                assert_create_refused(&bundle, WORDS);
            }
        }
    }
}

#[test]
fn metadata_for_a_listener_that_is_not_there_changes_nothing() {
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "pod"});
    for runtime in ["runc", "mantlet-restricted"] {
        let bundle = Bundle::new(World::runc(), runtime).args(["harmless", "work"]);
        let bundle = bundle.edit(|config| config["linux"]["seccomp"] = filter.clone());
        bundle.run().ok();
    }
}

#[test]
fn an_action_by_another_spelling_is_none_to_anybody() {
    for world in [World::runc(), World::crun()] {
        for action in MISSPELLED {
            let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(action)]});
            for runtime in [world.runtime(), "mantlet-restricted"] {
                let bundle = Bundle::new(world, runtime).args(["harmless", "work"]);
                let bundle = bundle.edit(|config| config["linux"]["seccomp"] = filter.clone());
                let done = bundle.run();
                assert_ne!(done.code, 0, "{runtime} takes {action:?}");
                assert_eq!(done.stdout, "", "{runtime}, {action:?}");
            }
            let bundle = Bundle::new(world, "mantlet-restricted");
            let bundle = bundle.edit(|config| config["linux"]["seccomp"] = filter);
            assert_create_refused(&bundle, "correct that field");
        }
    }
}

#[test]
fn a_pods_localhost_profile_with_a_listener_is_refused_where_kubernetes_shows_it() {
    let containerd = Containerd::shared();
    let world = containerd.world();
    let pod = containerd.pod("mantlet-restricted").run();
    let folder = world.folder("localhost", &world.name("profile"));
    // containerd leaves an empty path out.
    let listening = listening().into_iter();
    let listening = listening.filter(|filter| filter["listenerPath"] != "");
    for (number, filter) in listening.enumerate() {
        let file = folder.join(format!("{number}.json"));
        fs::write(&file, filter.to_string()).expect("a folder of our own");
        let container = pod.container(&format!("main-{number}")).localhost(&file);
        let container = container.command(["harmless", "stay"]);
        let container = container.try_create().expect("no runtime is called yet");
        let error = container.try_start().expect_err(&filter.to_string());
        assert!(error.contains(WORDS), "{filter}: {error}");
        let status = container.status();
        assert_eq!(status.state, State::Exited as i32, "{status:?}");
        assert!(status.message.contains(WORDS), "{status:?}");
        assert_eq!(container.logs(), "");
        assert!(
            remains::processes(world, &container.id).is_empty(),
            "{filter}"
        );
    }
    // The same way without a listener works, and what the file denies is denied.
    let plain = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getuid"], "action": "SCMP_ACT_LOG"},
                     {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]});
    let file = folder.join("plain.json");
    fs::write(&file, plain.to_string()).expect("a folder of our own");
    let container = pod.container("plain").localhost(&file);
    let container = container.command(["harmless", "stay"]).run();
    let made = container.sh("mkdir /tmp/x");
    assert!(made.stderr.contains("No space left"), "{}", made.stderr);
    assert_eq!(
        world.status(container.pid(), "Seccomp_filters").as_deref(),
        Some("2")
    );
}

/// The kernel says EBUSY for as long as the supervisor holds its own, the exact filter ever after: of
/// two filters that notify, the kernel asks the newer one's listener only, and that one could let a
/// tripwire's call continue.
#[test]
fn a_workload_gets_no_listener_even_when_its_supervisor_is_gone() {
    let workload = "trap 'hostile listener; hostile filter; hostile keyctl' USR1; echo begun; \
                    while :; do sleep 0.05; done";
    for handler in HANDLERS {
        let bundle = Bundle::new(World::runc(), handler).args(["sh", "-c", workload]);
        let bundle = bundle.up();
        let world = bundle.world();
        let said = |what: &str, times: usize| {
            eventually(what, || {
                let found = bundle.output().matches(what).count();
                (found >= times).then_some(())
            });
        };
        said("begun", 1);
        bundle.kill("USR1").ok();
        said("listener: errno EBUSY", 1);
        said("filter: worked", 1);
        said("keyctl: errno EPERM", 1);
        let supervisor = remains::supervisor(world, &bundle.id).expect("it serves");
        assert!(world.signal(supervisor, Signal::SIGKILL));
        eventually("it is gone", || {
            remains::supervisor(world, &bundle.id)
                .is_none()
                .then_some(())
        });
        bundle.kill("USR1").ok();
        said("keyctl: errno ENOSYS", 1);
        said("listener: errno EBUSY", 2);
        said("filter: worked", 2);
        assert!(!bundle.output().contains("listener: worked"));
    }
}
