//! Whether one plan allows something that another does not: on what the kernel would be told, read by
//! interpreters of its rules, not on the plans' own words.

use std::collections::BTreeSet;

use super::*;
use crate::policy::seccomp::bpf;
use crate::policy::seccomp::interpreter::{Call, action, parse, run};
use crate::policy::seccomp::tests::generate::{Random, arguments};
use crate::policy::seccomp::verdict::Action;
use crate::profile::table::{Lookup, lookup};
use crate::seal::Layer;

/// A plan, and config.json as the runtime gets it.
pub struct Planned {
    pub plan: Plan,
    pub config: Value,
}

impl Planned {
    pub fn new(plan: Plan, engine: &Value) -> Planned {
        let mut config = engine.clone();
        patch::apply(&mut config, &plan.edits).unwrap();
        Planned { plan, config }
    }

    fn strings(&self, pointer: &str) -> BTreeSet<String> {
        let list = self.config.pointer(pointer).and_then(Value::as_array);
        let strings = list.into_iter().flatten().filter_map(Value::as_str);
        strings.map(str::to_owned).collect()
    }

    /// Mounts as written, and what they are.
    fn mounts(&self) -> Vec<(Value, mounts::Place)> {
        let spec: Spec = serde_json::from_value(self.config.clone()).unwrap();
        let written = self.config["mounts"].as_array().unwrap().iter().cloned();
        written.zip(mounts::read(&spec).unwrap()).collect()
    }

    /// Destinations of mounts that are the pod's own.
    fn volumes(&self) -> BTreeSet<String> {
        let own = self.mounts().into_iter();
        let own = own.filter(|(_, place)| place.kind != mounts::Kind::Engine);
        own.map(|(_, place)| place.destination).collect()
    }
}

/// Whether `layer` lets `right` through at `path`; `volumes` are mount points.
fn grants(layer: &Layer, path: &str, right: u64, volumes: &BTreeSet<String>) -> bool {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    layer.handled_fs & right == 0
        || layer.paths.iter().any(|rule| {
            let top = text(&rule.path);
            let out = |except: &Vec<u8>| mounts::beneath(path, &text(except));
            let elsewhere = |mount: &String| {
                mount != &top && mounts::beneath(mount, &top) && mounts::beneath(path, mount)
            };
            rule.access & right != 0
                && mounts::beneath(path, &top)
                && !rule.except.iter().any(out)
                && !(rule.within_mount && volumes.iter().any(elsewhere))
        })
}

fn reaches(layers: &[Layer], path: &str, right: u64, volumes: &BTreeSet<String>) -> bool {
    layers
        .iter()
        .all(|layer| grants(layer, path, right, volumes))
}

/// Every place that a rule of either side names, and one in and beside each.
fn places(sides: [&Planned; 2]) -> BTreeSet<String> {
    let layers = sides.iter().flat_map(|side| &side.plan.policy.layers);
    let rules = layers.flat_map(|layer| &layer.paths);
    let named = rules.flat_map(|rule| rule.except.iter().chain([&rule.path]));
    let mut all: BTreeSet<String> = named
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect();
    all.extend(["/etc/passwd", "/usr/bin/sh", "/home/x", "/dev/sda"].map(str::to_owned));
    for path in all.clone() {
        let path = path.trim_end_matches('/');
        all.insert(format!("{path}/x"));
        all.insert(format!("{path}x"));
    }
    all
}

/// Checks that `now` allows nothing that `before` does not. Left out are places on volumes that only
/// `now` has, which a profile grants on any volume. `engine`: both have the same filter of the engine;
/// else calls are compared with `bound`, which is `before`'s layers alone.
#[track_caller]
pub fn no_weaker(
    now: &Planned,
    before: &Planned,
    bound: &[bpf::Instruction],
    engine: bool,
    random: &mut Random,
) {
    // 1. Capabilities, privileges, paths, annotations: as the runtime is told.
    let may: BTreeSet<String> = before.plan.exec.capabilities.iter().cloned().collect();
    let exec: BTreeSet<String> = now.plan.exec.capabilities.iter().cloned().collect();
    assert!(exec.is_subset(&may), "{exec:?} {may:?}");
    for set in [
        "bounding",
        "effective",
        "permitted",
        "inheritable",
        "ambient",
    ] {
        let held = now.strings(&format!("/process/capabilities/{set}"));
        assert!(held.is_subset(&may), "{set}: {held:?}");
    }
    assert_eq!(now.config["process"]["noNewPrivileges"], true);
    for list in ["masked_paths", "readonly_paths", "refuse"] {
        let lists = |plan: &Plan| -> BTreeSet<String> {
            let all = plan.effective[list].as_array().unwrap();
            all.iter().map(Value::to_string).collect()
        };
        assert!(lists(&now.plan).is_superset(&lists(&before.plan)), "{list}");
    }
    for bound in &before.plan.policy.bounds {
        let mut mine = now.plan.policy.bounds.iter();
        let mine = mine.find(|own| own.resource == bound.resource);
        let within = mine.is_some_and(|own| own.soft <= bound.soft && own.hard <= bound.hard);
        assert!(within, "{bound:?}: {mine:?}");
    }
    let annotations = now.config["annotations"].as_object();
    let switch = annotations.into_iter().flatten().find(|(name, _)| {
        let switches = ["run.oci.", "module.wasm.image/", "krun.", "com.krun."];
        switches.iter().any(|prefix| name.starts_with(prefix))
    });
    assert_eq!(switch, None);
    // 2. Sessions and reports.
    assert!(now.plan.exec.refuse_root || !before.plan.exec.refuse_root);
    assert!(now.plan.exec.refused.is_some() || before.plan.exec.refused.is_none());
    assert!(now.plan.policy.supervised || !before.plan.policy.supervised);
    assert_eq!(now.plan.exec.proc_mounts, before.plan.exec.proc_mounts);
    let wires = |plan: &Plan| -> BTreeSet<(String, String)> {
        // Absent (ENOSYS) in silence wherever one layer filters clone: libraries fall back.
        let all = plan.tripwires.iter();
        let all = all.filter(|wire| wire.syscall != "clone3");
        all.map(|w| (w.syscall.clone(), w.profile.clone()))
            .collect()
    };
    assert!(now.plan.policy.filter.listener || wires(&before.plan).is_empty());
    if engine {
        // Calls whose tripwires could never hold are reported on paper only, and by one layer alone.
        let notified = now.plan.effective["syscalls"]["tripwires"].as_array();
        let notified = notified.unwrap();
        let mut lost = wires(&before.plan);
        lost.retain(|wire| !wires(&now.plan).contains(wire) && notified.contains(&json!(wire.0)));
        assert!(lost.is_empty(), "no longer reported: {lost:?}");
    }
    let watched = |rule| now.plan.detect.contains(rule);
    assert!(before.plan.detect.iter().all(watched), "no longer watched");
    assert!(now.plan.on_supervisor_loss >= before.plan.on_supervisor_loss);
    // 3. Landlock.
    let (inner, outer) = (&now.plan.policy.layers, &before.plan.policy.layers);
    assert!(inner.len() >= outer.len());
    let all =
        |layers: &[Layer], get: fn(&Layer) -> u64| layers.iter().map(get).fold(0, |a, b| a | b);
    for get in [
        |l: &Layer| l.handled_fs,
        |l: &Layer| l.handled_net,
        |l: &Layer| l.scoped,
    ] {
        assert_eq!(all(inner, get) & all(outer, get), all(outer, get));
    }
    let (volumes, before_volumes) = (now.volumes(), before.volumes());
    let added = |path: &str| {
        let mut fresh = volumes.difference(&before_volumes);
        fresh.any(|mount| mounts::beneath(path, mount) || mounts::beneath(mount, path))
    };
    for path in places([now, before]).iter().filter(|path| !added(path)) {
        for right in (0..17).map(|bit| 1 << bit) {
            if reaches(inner, path, right, &volumes) {
                let had = reaches(outer, path, right, &before_volumes);
                assert!(had, "right {right:#x} at {path}");
            }
        }
    }
    for port in [0, 22, 80, 443, 5432, 8080, 65535] {
        for right in [1, 2] {
            let open = |layers: &[Layer]| {
                layers.iter().all(|layer| {
                    let rule = layer.ports.iter().find(|rule| rule.port == port);
                    layer.handled_net & right == 0
                        || rule.is_some_and(|rule| rule.access & right != 0)
                })
            };
            assert!(!open(inner) || open(outer), "port {port}");
        }
    }
    // 4. What was written is not run.
    for (mount, place) in now.mounts() {
        let there = place.destination.as_str();
        let own = place.kind != mounts::Kind::Engine && !mounts::beneath(there, "/dev");
        if own && !reaches(outer, there, 1, &volumes) {
            let options = mount["options"].as_array().unwrap();
            assert!(options.contains(&json!("noexec")), "{mount}");
            assert!(!options.contains(&json!("exec")), "{mount}");
        }
    }
    // 5. System calls, by number: those of no name too.
    let mine = parse(&now.plan.policy.filter.program);
    let theirs = parse(&before.plan.policy.filter.program);
    let theirs = if engine { &theirs } else { bound };
    let clone3 = match lookup("clone3") {
        Lookup::Number(number) => Some(number),
        _ => None,
    };
    for number in 0..470 {
        for _ in 0..3 {
            let call = Call {
                number,
                arch: bpf::NATIVE,
                args: arguments(random),
            };
            let answer = |program| action(run(program, &call));
            let (mine, theirs) = (answer(&mine), answer(theirs));
            assert!(!mine.permits() || theirs.permits(), "{call:x?}");
            if engine && theirs == Action::Notify && Some(number) != clone3 {
                assert_eq!(mine, Action::Notify, "{call:x?}");
            }
        }
    }
}
