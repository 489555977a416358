//! What `detect:` promises is in `detect_*.rs`, sensor by sensor and response by response, each with
//! what it is about and what it is not about. Here is what they share, and the watcher's end.

use serde_json::{Value, json};

use crate::faults;
use crate::harness::{Bundle, World, eventually};

/// A bundle under a profile with these keys, beside `baseline`.
pub fn site(world: &'static World, keys: &str) -> Bundle {
    under(world, "baseline", keys)
}

/// The same beside another profile.
pub fn under(world: &'static World, parent: &str, keys: &str) -> Bundle {
    let text = format!("version: 1\nname: site\nextends: [{parent}]\n{keys}\n");
    Bundle::new(world, "mantlet-baseline").profile("site", &text)
}

/// Both, where a test is cheap.
pub fn worlds() -> [&'static World; 2] {
    [World::runc(), World::crun()]
}

/// Runs `script` to its end, and answers what it printed and all events.
#[track_caller]
pub fn to_the_end(bundle: Bundle, script: &str) -> Lived {
    let bundle = bundle.args(["sh", "-c", script]).up();
    let events = eventually("the container is gone", || ended(&bundle));
    let output = bundle.output();
    Lived { output, events }
}

/// All events, once the last one is there.
pub fn ended(bundle: &Bundle) -> Option<Vec<Value>> {
    let events = bundle.journal();
    let last = events.last()?["type"] == "end";
    last.then_some(events)
}

/// A container's life.
pub struct Lived {
    pub output: String,
    pub events: Vec<Value>,
}

impl Lived {
    /// Panics unless it printed this line.
    #[track_caller]
    pub fn printed(&self, line: &str) -> &Lived {
        let found = self.output.lines().any(|found| found == line);
        assert!(found, "no {line:?} in\n{}\n{:#?}", self.output, self.events);
        self
    }

    /// Events of a type.
    pub fn of_type(&self, kind: &str) -> Vec<&Value> {
        let all = self.events.iter();
        all.filter(|event| event["type"] == kind).collect()
    }

    /// Paths of the files that a rule saw.
    pub fn files(&self, rule: &str) -> Vec<&str> {
        let seen = self.detections(rule).into_iter();
        seen.filter_map(|event| event["file"]["path"].as_str())
            .collect()
    }

    pub fn detections(&self, rule: &str) -> Vec<&Value> {
        let all = self.of_type("detection").into_iter();
        all.filter(|event| event["rule"] == rule).collect()
    }

    /// The only detection of a rule.
    #[track_caller]
    pub fn one(&self, rule: &str) -> &Value {
        match self.detections(rule)[..] {
            [event] => event,
            _ => panic!("{rule}: {:#?}\n{}", self.detections(rule), self.output),
        }
    }
}

/// Adds a mount to config.json.
pub fn mounted(bundle: Bundle, mount: Value) -> Bundle {
    bundle.edit(|config| config["mounts"].as_array_mut().expect("mounts").push(mount))
}

/// A bind mount of a folder of the host, that programs run from.
pub fn bind(source: &std::path::Path, to: &str, access: &str) -> Value {
    json!({"destination": to, "type": "bind", "source": source,
           "options": ["rbind", access, "nosuid"]})
}

/// Events of a type.
pub fn of_type(bundle: &Bundle, kind: &str) -> Vec<Value> {
    let all = bundle.journal().into_iter();
    all.filter(|event| event["type"] == kind).collect()
}

/// Waits for a detection of this rule.
#[track_caller]
pub fn detected(bundle: &Bundle, rule: &str) -> Value {
    eventually(&format!("{rule} is detected"), || {
        of_type(bundle, "detection")
            .into_iter()
            .find(|event| event["rule"] == rule)
    })
}

/// Waits for a response of this kind.
#[track_caller]
pub fn responded(bundle: &Bundle, action: &str) -> Value {
    eventually(&format!("{action} is told"), || {
        of_type(bundle, "response")
            .into_iter()
            .find(|event| event["action"] == action)
    })
}

/// Waits until the container has printed `word`.
#[track_caller]
pub fn prints(bundle: &Bundle, word: &str) {
    eventually(&format!("it prints {word}"), || {
        bundle.output().contains(word).then_some(())
    });
}

/// Of such a process cgroup v1 (the world of crun) says that it is nobody's.
#[test]
fn a_process_whose_first_thread_has_ended_is_the_containers_all_the_same() {
    for world in [World::runc(), World::crun()] {
        for (respond, code) in [("deny", "code 1\n"), ("kill-process", "code 137\n")] {
            let script = "cp /bin/harmless /tmp/new; hostile leaderless /tmp/new work; echo code $?; \
                          exec harmless stay";
            let bundle = site(
                world,
                &format!("detect: [{{on: drift, respond: {respond}}}]"),
            )
            .args(["sh", "-c", script])
            .up();
            prints(&bundle, "code");
            let output = bundle.output();
            assert!(output.contains(code), "{respond}: {output}");
            let event = detected(&bundle, "drift");
            assert_eq!(event["file"]["path"], "/tmp/new", "{event}");
            for response in of_type(&bundle, "response") {
                assert!(response.get("failed").is_none(), "{response}");
            }
        }
    }
}

#[test]
fn a_watcher_that_is_killed_is_followed_by_another() {
    let bundle = site(World::runc(), "")
        .args(["sh", "-c", "echo begun; while :; do hostile keyctl; done"])
        .up();
    prints(&bundle, "begun");
    // Its own alone: others have tests of their own to come through.
    let keeper = faults::keeper(&bundle);
    let mut killed = 0;
    for _ in 0..50 {
        if let Some(pid) = faults::child(keeper, "mantlet-watcher") {
            killed += usize::from(faults::signal(pid, nix::sys::signal::Signal::SIGKILL));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(killed > 1, "{killed} were killed");
    let output = bundle.output();
    assert!(!output.contains("ENOSYS"), "{output}");
    let seqs: Vec<u64> = bundle
        .journal()
        .iter()
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
}

/// A tracer takes the kernel's place for that one call: to use the groups up would fail every other
/// test of this machine.
#[test]
fn a_node_without_a_fanotify_group_left_refuses_at_create_and_says_why() {
    let bundle =
        site(World::runc(), "detect: [{on: drift, respond: deny}]").args(["harmless", "stay"]);
    bundle.write();
    let words = [
        "-o",
        "/dev/null",
        "-e",
        "trace=fanotify_init",
        "-e",
        "inject=fanotify_init:error=EMFILE",
    ];
    let create = crate::trace::front_door(&bundle, "mantlet-baseline", &words.map(str::to_owned))
        .env("MANTLET_CONFIG", bundle.path.join("mantlet.yaml"))
        .arg("create")
        .arg("--bundle")
        .arg(&bundle.path)
        .arg(&bundle.id);
    assert_ne!(create.run_into(&bundle.path.join("output")), 0);
    let errors = bundle.errors().join("\n");
    for word in [
        "the rules of site",
        "fs.fanotify.max_user_groups",
        "mantlet doctor",
    ] {
        assert!(errors.contains(word), "{word}: {errors}");
    }
    assert!(
        !crate::remains::runtime_knows(&bundle),
        "nothing was created"
    );
    crate::remains::nothing_runs(bundle.world(), &bundle.id);
}
