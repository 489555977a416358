//! `process.max`, `rlimits`, `devices` and capabilities: what is in force is never more than the
//! engine's and never more than the profile's.

use std::collections::BTreeSet;

use super::*;
use crate::policy::seccomp::tests::generate::Random;
use crate::profile::{Device, capability};

fn profile(keys: &str) -> Profile {
    let text = format!("{{version: 1, name: site, extends: [baseline], {keys}}}");
    Profile::parse("site", &text).unwrap_or_else(|error| panic!("{keys}: {error}"))
}

/// config.json as it becomes, and the plan.
fn become_(spec: &Value, profile: &Profile, host: &Host) -> (Value, Plan) {
    let plan = attempt(spec, profile, host, &config()).unwrap();
    let mut after = spec.clone();
    patch::apply(&mut after, &plan.edits).unwrap();
    (after, plan)
}

#[test]
fn the_pids_limit_is_the_lower_one_in_every_runtimes_numbers() {
    let mut new = host(7);
    new.runtime.number = Some((1, 5, 1));
    let mut crun = host(7);
    crun.runtime.family = Family::Crun;
    let max = profile("process: {max: 100}");
    for (engine, host, want) in [
        (json!(null), &host(7), 100),
        (json!({"limit": 50}), &host(7), 50),
        (json!({"limit": 100}), &host(7), 100),
        (json!({"limit": 500}), &host(7), 100),
        (json!({"limit": -1}), &host(7), 100),
        (json!({"limit": 0}), &host(7), 100),
        (json!({"limit": 0}), &crun, 100),
        // No task at all, since runc 1.4.
        (json!({"limit": 0}), &new, 0),
        (json!({}), &crun, 100),
    ] {
        let spec = with(|spec| spec["linux"]["resources"]["pids"] = engine.clone());
        let (after, _) = become_(&spec, &max, host);
        assert_eq!(
            after["linux"]["resources"]["pids"]["limit"], want,
            "{engine}"
        );
    }
    let none = with(|spec| {
        spec["linux"].as_object_mut().unwrap().remove("resources");
    });
    assert_eq!(
        become_(&none, &max, &host(7)).0["linux"]["resources"]["pids"]["limit"],
        100
    );
    for (over, want) in [("max", "100"), ("7", "7"), ("500", "100"), ("-1", "100")] {
        let spec = with(|spec| {
            spec["linux"]["resources"] =
                json!({"pids": {"limit": 5}, "unified": {"pids.max": over}});
        });
        let (after, _) = become_(&spec, &max, &host(7));
        assert_eq!(after["linux"]["resources"]["unified"]["pids.max"], want);
        assert_eq!(after["linux"]["resources"]["pids"]["limit"], 5);
    }
}

#[test]
fn limits_are_the_lower_ones_and_reach_init_for_what_the_engine_leaves_out() {
    let bounds =
        profile("rlimits: {NOFILE: 512, CORE: 100, NPROC: {soft: 64, hard: 70}, FSIZE: 1000}");
    let (after, plan) = become_(&cri(), &bounds, &host(7));
    // NOFILE 1024/1024, CORE 0/0, FSIZE 4096/4096, which is init's to set.
    assert_eq!(
        after["process"]["rlimits"],
        json!([{"type": "RLIMIT_NOFILE", "hard": 512, "soft": 512},
               {"type": "RLIMIT_CORE", "hard": 0, "soft": 0}])
    );
    let numbers = |all: &[seal::Rlimit]| -> Vec<(u32, u64, u64)> {
        all.iter().map(|l| (l.resource, l.soft, l.hard)).collect()
    };
    assert_eq!(numbers(&plan.policy.rlimits), [(1, 1000, 1000)]);
    let all = [(1, 1000, 1000), (4, 100, 100), (6, 64, 70), (7, 512, 512)];
    assert_eq!(numbers(&plan.policy.bounds), all);
    assert_eq!(plan.exec.rlimits, all);
    let decoded = seal::Policy::decode(&plan.policy.encode()).unwrap();
    assert_eq!(decoded.bounds, plan.policy.bounds);
}

#[test]
fn of_two_profiles_that_limit_the_wider_one_holds_and_silence_takes_no_part() {
    let a = "{version: 1, name: a, extends: [baseline], process: {max: 50, refuse: \
             [host-pid, {capability: [BPF]}]}, rlimits: {NOFILE: 100, CORE: 0}, \
             devices: ['@standard']}";
    let b = "{version: 1, name: b, extends: [a], process: {max: 60, refuse: \
             [{capability: [PERFMON]}]}, rlimits: {NOFILE: {soft: 10, hard: 200}}, \
             devices: [/dev/fuse]}";
    let b = of_node(&[("b", b), ("a", a)]);
    assert_eq!(b.max_tasks.unwrap().0, 60);
    let rlimits: Vec<_> = b
        .rlimits
        .iter()
        .map(|(r, b)| (r.name(), b.soft, b.hard))
        .collect();
    assert_eq!(rlimits, [("CORE", 0, 0), ("NOFILE", 100, 200)]);
    assert_eq!(b.devices.unwrap().len(), 2);
    assert_eq!(b.refuse.len(), 3);
}

fn device(typ: &str, major: Option<i64>, minor: Option<i64>, access: &str, allow: bool) -> Value {
    let mut rule = json!({"allow": allow, "access": access});
    if typ != "a" {
        rule["type"] = json!(typ);
    }
    for (key, number) in [("major", major), ("minor", minor)] {
        if let Some(number) = number {
            rule[key] = json!(number);
        }
    }
    rule
}

/// Whether rules of config.json, read one after the other, allow one access.
fn permits(rules: &Value, typ: &str, major: i64, minor: i64, access: char) -> bool {
    let mut allowed = false;
    for rule in rules.as_array().into_iter().flatten() {
        let same = |key: &str, have: i64| rule[key].as_i64().is_none_or(|n| n < 0 || n == have);
        let every = rule["type"].is_null();
        let letter = rule["access"].as_str().unwrap().contains(access);
        let hit = if every {
            letter || rule["allow"] == false
        } else {
            rule["type"] == typ && same("major", major) && same("minor", minor) && letter
        };
        if hit {
            allowed = rule["allow"] == true;
        }
    }
    allowed
}

#[test]
fn devices_are_cut_to_the_list() {
    let privileged = with(|spec| {
        spec["linux"]["resources"]["devices"] = json!([device("a", None, None, "rwm", true)]);
        spec["linux"]["devices"] = json!([
            {"path": "/dev/sda", "type": "b", "major": 8, "minor": 0},
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
            {"path": "/dev/zero", "type": "b", "major": 8, "minor": 1},
        ]);
    });
    let cut = profile("devices: ['@standard', /dev/f*, {type: c, major: 195}]");
    let (after, _) = become_(&privileged, &cut, &host(7));
    let paths: Vec<&str> = after["linux"]["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["path"].as_str().unwrap())
        .collect();
    // A name of a standard device with other numbers is another device.
    assert_eq!(paths, ["/dev/null", "/dev/fuse"]);
    let rules = &after["linux"]["resources"]["devices"];
    for (typ, major, minor, access, want) in [
        ("c", 1, 3, 'r', true),
        ("c", 10, 229, 'w', true),
        ("c", 10, 229, 'm', false),
        ("c", 195, 7, 'w', true),
        ("b", 195, 7, 'w', false),
        ("b", 8, 0, 'r', false),
        ("c", 1, 1, 'r', false),
    ] {
        assert_eq!(
            permits(rules, typ, major, minor, access),
            want,
            "{typ} {major}:{minor} {access}"
        );
    }
    let silent = profile("description: x");
    assert_eq!(
        become_(&privileged, &silent, &host(7)).0["linux"]["resources"],
        privileged["linux"]["resources"]
    );
}

/// config.json with its devices cut to `listed`.
fn cut(spec: &Value, listed: &[Device]) -> Value {
    let typed: Spec = serde_json::from_value(spec.clone()).unwrap();
    let mut after = spec.clone();
    patch::apply(&mut after, &devices::edits(&typed, &[listed])).unwrap();
    after
}

#[test]
fn no_engine_and_no_profile_ever_gives_a_device_that_either_withholds() {
    let mut random = Random::new(7);
    let number = |random: &mut Random| match random.below(4) {
        0 => None,
        1 => Some(-1),
        n => Some(n as i64),
    };
    for round in 0..400 {
        let rules: Vec<Value> = (0..random.below(6))
            .map(|_| {
                let typ = *random.pick(&["a", "b", "c"]);
                let (major, minor) = (number(&mut random), number(&mut random));
                let (major, minor) = if typ == "a" {
                    (None, None)
                } else {
                    (major, minor)
                };
                let access = if typ == "a" {
                    "rwm"
                } else {
                    random.pick(&["r", "rw", "rwm", "m"])
                };
                device(typ, major, minor, access, random.below(3) > 0)
            })
            .collect();
        let listed: Vec<String> = (0..random.below(4))
            .map(|_| {
                let (major, kind) = (random.below(4), random.pick(&["b", "c"]));
                match random.below(3) {
                    0 => format!("{{type: {kind}, major: {major}}}"),
                    1 => format!("{{type: {kind}, access: r}}"),
                    _ => format!(
                        "{{type: {kind}, major: {major}, minor: {}, access: rwm}}",
                        random.below(4)
                    ),
                }
            })
            .collect();
        let spec = with(|spec| spec["linux"]["resources"]["devices"] = json!(rules));
        let own: Vec<Device> = serde_saphyr::from_str(&format!("[{}]", listed.join(", "))).unwrap();
        let after = cut(&spec, &own);
        let after_rules = &after["linux"]["resources"]["devices"];
        let ideal = with(|spec| {
            spec["linux"]["resources"]["devices"] = json!([device("a", None, None, "rwm", true)])
        });
        let bound = cut(&ideal, &own);
        for typ in ["b", "c"] {
            for (major, minor) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
                for access in ['r', 'w', 'm'] {
                    if !permits(after_rules, typ, major, minor, access) {
                        continue;
                    }
                    let engine = permits(&json!(rules), typ, major, minor, access);
                    let theirs = permits(
                        &bound["linux"]["resources"]["devices"],
                        typ,
                        major,
                        minor,
                        access,
                    );
                    assert!(
                        engine && theirs,
                        "round {round}: {typ} {major}:{minor} {access}: {rules:?} {listed:?}"
                    );
                }
            }
        }
        let again = cut(&after, &own);
        assert_eq!(
            again["linux"]["resources"]["devices"], *after_rules,
            "round {round}: twice"
        );
    }
}

const SETS: [&str; 5] = [
    "bounding",
    "effective",
    "permitted",
    "inheritable",
    "ambient",
];

fn set(process: &Value, name: &str) -> BTreeSet<String> {
    let names = process["capabilities"][name]
        .as_array()
        .into_iter()
        .flatten();
    names
        .map(|name| format!("CAP_{}", name.as_str().unwrap().trim_start_matches("CAP_")))
        .collect()
}

/// A process object with random capabilities and limits.
fn process(random: &mut Random) -> Value {
    let mut capabilities = serde_json::Map::new();
    for name in SETS {
        let mut own: BTreeSet<&str> = BTreeSet::new();
        for _ in 0..random.below(12) {
            own.insert(*random.pick(&capability::ALL));
        }
        if random.below(5) > 0 {
            capabilities.insert(name.into(), json!(own));
        }
    }
    let mut rlimits = Vec::new();
    for typ in [
        "RLIMIT_NOFILE",
        "RLIMIT_CORE",
        "RLIMIT_NPROC",
        "RLIMIT_FSIZE",
        "RLIMIT_AS",
    ] {
        if random.below(3) > 0 {
            let hard = *random.pick(&[0, 1, 63, 64, 100, 5000, 1 << 40, u64::MAX]);
            rlimits.push(json!({"type": typ, "soft": random.below(hard.saturating_add(1).max(1)), "hard": hard}));
        }
    }
    json!({"cwd": "/", "args": ["sh"], "user": {"uid": 1000, "gid": 0}, "capabilities": capabilities,
           "rlimits": rlimits, "noNewPrivileges": random.below(2) == 0})
}

/// What is in force for one resource: the runtime sets what is left in the JSON, init what moved.
fn in_force(
    process: &Value,
    moved: &[seal::Rlimit],
    bounds: &[seal::Rlimit],
    inherited: (u64, u64),
    typ: &str,
    resource: u32,
) -> (u64, u64) {
    let left = process["rlimits"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|l| l["type"] == typ);
    let set = left.map(|l| (l["soft"].as_u64().unwrap(), l["hard"].as_u64().unwrap()));
    let set = moved
        .iter()
        .find(|l| l.resource == resource)
        .map(|l| (l.soft, l.hard))
        .or(set);
    let start = set.unwrap_or(inherited);
    bounds
        .iter()
        .filter(|b| b.resource == resource)
        .fold(start, |(soft, hard), b| {
            (soft.min(b.soft).min(hard.min(b.hard)), hard.min(b.hard))
        })
}

#[test]
fn a_process_never_holds_more_than_engine_and_profile_allow() {
    let mut random = Random::new(11);
    for round in 0..60 {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for _ in 0..random.below(10) {
            names.insert(&random.pick(&capability::ALL)[4..]);
        }
        let bounds: Vec<String> = ["NOFILE", "CORE", "NPROC", "FSIZE"]
            .iter()
            .filter(|_| random.below(2) == 0)
            .map(|name| format!("{name}: {}", name.len() as u64 * 40))
            .collect();
        let text = format!(
            "{{version: 1, name: site, syscalls: {{groups: '2026.1', allow: ['@default']}}, \
             capabilities: [{}], rlimits: {{{}}}}}",
            names.iter().copied().collect::<Vec<_>>().join(", "),
            bounds.join(", ")
        );
        let own = Profile::parse("site", &text).unwrap();
        let allowed: BTreeSet<String> = own.capabilities.iter().map(|n| (*n).to_owned()).collect();
        let container = process(&mut random);
        let spec = with(|spec| spec["process"] = container.clone());
        let (after, plan) = become_(&spec, &own, &host(7));
        let session = process(&mut random);
        let typed: Process = serde_json::from_value(session.clone()).unwrap();
        let exec = plan_exec(&typed, super::exec::PROBE, &plan.exec).unwrap();
        let mut after_session = session.clone();
        patch::apply(&mut after_session, &exec.edits).unwrap();
        for (before, after, moved) in [
            (&container, &after["process"], &plan.policy.rlimits),
            (&session, &after_session, &exec.rlimits),
        ] {
            for name in SETS {
                let have = set(after, name);
                assert!(
                    have.is_subset(&set(before, name)),
                    "round {round}: {name} of the engine"
                );
                assert!(
                    have.is_subset(&allowed),
                    "round {round}: {name} of the profile"
                );
            }
            let both = &set(after, "permitted") & &set(after, "inheritable");
            assert!(set(after, "ambient").is_subset(&both), "round {round}");
            assert_eq!(after["noNewPrivileges"], true);
            for (typ, resource) in [
                ("RLIMIT_FSIZE", 1),
                ("RLIMIT_CORE", 4),
                ("RLIMIT_NPROC", 6),
                ("RLIMIT_NOFILE", 7),
                ("RLIMIT_AS", 9),
            ] {
                for inherited in [(10, 20), (u64::MAX, u64::MAX)] {
                    let engine = in_force(before, &[], &[], inherited, typ, resource);
                    let held =
                        in_force(after, moved, &plan.policy.bounds, inherited, typ, resource);
                    assert!(
                        held.0 <= engine.0 && held.1 <= engine.1,
                        "round {round}: {typ}: {held:?} above {engine:?}"
                    );
                    for bound in plan.policy.bounds.iter().filter(|b| b.resource == resource) {
                        assert!(
                            held.0 <= bound.soft && held.1 <= bound.hard,
                            "round {round}: {typ}"
                        );
                    }
                }
            }
        }
        let once = attempt(&after, &own, &host(7), &config()).unwrap();
        let mut twice = after.clone();
        patch::apply(&mut twice, &once.edits).unwrap();
        assert_eq!(twice["process"], after["process"], "round {round}: twice");
    }
}
