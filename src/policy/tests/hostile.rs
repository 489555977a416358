//! Nothing that a pod's author controls makes the effective policy allow more: hostile pods, made at
//! random, against the plain one under the same handler and rules.

use std::collections::BTreeMap;

use super::layers::{layered, narrow};
use super::weaker::{Planned, no_weaker};
use super::*;
use crate::config::{Handler, Rule};
use crate::event::Identity;
use crate::policy::seccomp::interpreter::parse;
use crate::policy::seccomp::tests::generate::{Random, random_engine, random_profile};
use crate::policy::seccomp::tests::rounds;
use crate::policy::seccomp::{self, bpf};
use crate::profile::Profile;

/// What containerd's CRI plugin writes, after what the pod passes on.
const ENGINES: [(&str, &str); 6] = [
    ("io.kubernetes.cri.container-type", "container"),
    ("io.kubernetes.cri.container-name", "main"),
    ("io.kubernetes.cri.sandbox-name", "pod"),
    ("io.kubernetes.cri.sandbox-namespace", "payments"),
    ("io.kubernetes.cri.image-name", "registry.example/web:1"),
    ("io.kubernetes.cri.sandbox-id", "0123"),
];

/// Names of annotations: ours, the runtimes', the engine's, and what looks like them.
const NAMES: [&str; 30] = [
    "mantlet.dev/profile",
    "mantlet.dev/profile.main",
    "mantlet.dev/profile.other",
    "mantlet.dev/profile.",
    "mantlet.dev/рrofile",
    "mantlet.dev/selectable",
    "mantlet.dev/handler",
    "mantlet.dev/",
    "Mantlet.dev/profile",
    "mantlet\u{2024}dev/profile",
    "mantlet.dev\u{2215}profile",
    "x.mantlet.dev/profile",
    "run.oci.handler",
    "run.oci.seccomp_bpf_data",
    "run.oci.seccomp_fail_unknown_syscall",
    "run.oci.hooks.stdout",
    "run.oci.pidfd_receiver",
    "run\u{2024}oci.handler",
    "module.wasm.image/variant",
    "krun.cpus",
    "com.krun.x",
    "io.kubernetes.cri.container-type",
    "io.kubernetes.cri.container-name",
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri.sandbox-namespaсe",
    "io.kubernetes.cri-o.ContainerType",
    "io.kubernetes.cri-o.Annotations",
    "org.systemd.property.Delegate",
    "a~1b/~0",
];

const VALUES: [&str; 14] = [
    "narrow",
    "baseline",
    "restricted",
    "pause",
    "",
    "narrow,baseline",
    "../baseline",
    "sandbox",
    "default",
    "other",
    "bаseline",
    "wasm",
    "AAAA",
    "\u{1b}[2J",
];

const ENV: [&str; 9] = [
    "LD_PRELOAD=/data/x.so",
    "LD_LIBRARY_PATH=/data",
    "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=1",
    "MANTLET_CONFIG=/data/config.yaml",
    "MANTLET_PROFILE=none",
    "LISTEN_FDS=9",
    "LISTEN_PID=1",
    "PATH=/data",
    "RUST_LOG=trace",
];

const DESTINATIONS: [&str; 18] = [
    "/vol",
    "/etc",
    "/usr/bin",
    "/bin",
    "/lib",
    "/tmp/a",
    "/dev/shm",
    "/dev/x",
    "/sys/fs/x",
    "/home",
    "/etc/hosts",
    "/var/run/x",
    "/data/deep",
    "//odd/./x/",
    "/proc/self",
    "/proc",
    "/a/../proc",
    "/",
];

const OPTIONS: [&str; 10] = [
    "rw",
    "ro",
    "rbind",
    "bind",
    "exec",
    "rexec",
    "suid",
    "dev",
    "nosuid",
    "mode=1777",
];

struct Node {
    handler: Handler,
    rules: Vec<Rule>,
    config: Config,
}

impl Node {
    fn new(profile: &str, ruled: bool) -> Node {
        let rule = "{namespace: payments, image: 'registry.example/*', profile: narrow}";
        let rules = ruled.then(|| serde_saphyr::from_str(rule).unwrap());
        Node {
            handler: Handler {
                profile: profile.into(),
                runtime: "runc".into(),
                selectable: ["narrow", "baseline"].map(str::to_owned).into(),
            },
            rules: rules.into_iter().collect(),
            config: config(),
        }
    }

    /// As the front door goes about it; the layers' exact filter alone too.
    fn plan(&self, pod: &Value) -> Option<(Planned, Vec<bpf::Instruction>)> {
        let spec: Spec = serde_json::from_value(pod.clone()).unwrap();
        let annotations = spec.annotations().iter().flatten();
        let annotations: BTreeMap<&str, &str> = annotations
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let said = |name: &str| annotations.get(name).map(|value| (*value).to_owned());
        let who = Identity {
            id: "1".into(),
            name: said("io.kubernetes.cri.container-name"),
            pod: said("io.kubernetes.cri.sandbox-name"),
            namespace: said("io.kubernetes.cri.sandbox-namespace"),
            image: said("io.kubernetes.cri.image-name"),
        };
        let names = select(&Selecting {
            name: "h",
            handler: &self.handler,
            rules: &self.rules,
            who: &who,
            annotations: &annotations,
            pause: false,
        });
        let find = |name: String| match name.as_str() {
            "narrow" => narrow(),
            other => Profile::builtin(other).unwrap(),
        };
        let profiles: Vec<Profile> = names.ok()?.into_iter().map(find).collect();
        let profiles: Vec<&Profile> = profiles.iter().collect();
        let layers = Layers::new(&profiles).unwrap();
        let plan = plan(Input {
            profiles: layers,
            spec: &spec,
            host: &host(7),
            config: &self.config,
            run: false,
            found: None,
        });
        let alone = seccomp::plan(layers, None, true).unwrap().filter.program;
        Some((Planned::new(plan.ok()?, pod), parse(&alone)))
    }
}

/// The plain pod with what its author may write into it; whether the engine's filter is still the same.
fn hostile(random: &mut Random) -> (Value, bool) {
    let mut pod = plain();
    let one_of_three = |random: &mut Random| random.below(3) == 0;
    for _ in 0..random.below(3) {
        let (name, value) = (*random.pick(&NAMES), *random.pick(&VALUES));
        pod["annotations"][name] = json!(value);
    }
    if one_of_three(random) {
        let name = *random.pick(&["mantlet.dev/profile", "mantlet.dev/profile.main"]);
        pod["annotations"][name] = json!(random.pick(&["narrow", "baseline"]));
    }
    sign(&mut pod);
    let env: Vec<&str> = (0..random.below(4)).map(|_| *random.pick(&ENV)).collect();
    pod["process"]["env"] = json!(env);
    for _ in 0..random.below(3) {
        let options: Vec<&str> = (0..random.below(4))
            .map(|_| *random.pick(&OPTIONS))
            .collect();
        let mount = json!({"destination": random.pick(&DESTINATIONS), "source": "/host/x",
            "type": random.pick(&["bind", "bind", "tmpfs", "proc"]), "options": options});
        pod["mounts"].as_array_mut().unwrap().push(mount);
    }
    if one_of_three(random) {
        let names = [
            "SYS_ADMIN",
            "SYS_PTRACE",
            "NET_ADMIN",
            "NET_BIND_SERVICE",
            "BPF",
            "CHOWN",
        ];
        for set in [
            "bounding",
            "effective",
            "permitted",
            "inheritable",
            "ambient",
        ] {
            let added = format!("CAP_{}", random.pick(&names));
            let sets = &mut pod["process"]["capabilities"];
            match sets[set].as_array_mut() {
                Some(list) => list.push(json!(added)),
                None => sets[set] = json!([added]),
            }
        }
    }
    if one_of_three(random) {
        let (kind, limit) = (
            *random.pick(&["NOFILE", "AS", "STACK", "CPU"]),
            random.below(99),
        );
        let rlimits = pod["process"]["rlimits"].as_array_mut().unwrap();
        rlimits.retain(|had| had["type"] != format!("RLIMIT_{kind}"));
        rlimits.push(json!({"type": format!("RLIMIT_{kind}"), "hard": limit, "soft": limit}));
    }
    pod["process"]["user"] = json!({"uid": random.below(2) * 1000, "gid": 0});
    pod["process"]["noNewPrivileges"] = json!(random.below(2) == 0);
    pod["process"]["cwd"] = json!(random.pick(&["/", "/proc/self/fd/7", "/data"]));
    pod["hostname"] = json!(random.pick(&["web", "mantlet.dev/profile", "../x"]));
    pod["root"]["readonly"] = json!(random.below(2) == 0);
    let engine = match random.below(6) {
        0 => {
            pod["linux"].as_object_mut().unwrap().remove("seccomp");
            false
        }
        1 => {
            pod["linux"]["seccomp"] = serde_json::to_value(random_engine(random)).unwrap();
            false
        }
        _ => true,
    };
    if random.below(8) == 0 {
        // privileged: true takes the engine's lists away.
        for list in ["maskedPaths", "readonlyPaths"] {
            pod["linux"].as_object_mut().unwrap().remove(list);
        }
        pod["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
        pod["linux"]["devices"] =
            json!([{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}]);
    }
    (pod, engine)
}

fn plain() -> Value {
    let mut pod = cri();
    sign(&mut pod);
    pod
}

fn sign(pod: &mut Value) {
    for (name, value) in ENGINES {
        pod["annotations"][name] = json!(value);
    }
}

#[test]
fn nothing_that_a_pods_author_controls_makes_the_policy_allow_more() {
    let mut random = Random::new(21);
    let (mut planned, mut selected, budget) = (0, 0, rounds(100));
    for round in 0..budget {
        let profile = ["baseline", "restricted"][round as usize % 2];
        let node = Node::new(profile, round % 4 < 2);
        let (before, bound) = node.plan(&plain()).unwrap();
        let (pod, engine) = hostile(&mut random);
        // A refusal allows nothing.
        let Some((now, _)) = node.plan(&pod) else {
            continue;
        };
        planned += 1;
        selected += u32::from(now.plan.policy.layers.len() > before.plan.policy.layers.len());
        no_weaker(&now, &before, &bound, engine, &mut random);
    }
    assert!(
        planned > budget / 5,
        "only {planned} of {budget} were planned"
    );
    assert!(selected > 0, "no pod selected anything");
}

#[test]
fn adding_a_layer_never_allows_more() {
    let mut random = Random::new(22);
    let fixed = [
        narrow(),
        Profile::builtin("baseline").unwrap(),
        Profile::builtin("restricted").unwrap(),
    ];
    for round in 0..rounds(30) {
        let any = |random: &mut Random| match random.below(2) {
            0 => random.pick(&fixed).clone(),
            _ => random_profile(random),
        };
        let (a, b) = (any(&mut random), any(&mut random));
        let Ok(before) = layered(&plain(), &[&a], &host(7)) else {
            continue;
        };
        let order: [&Profile; 2] = if round % 2 == 0 { [&a, &b] } else { [&b, &a] };
        // A profile that allows mount(2) is refused, in whatever layer.
        let Ok(now) = layered(&plain(), &order, &host(7)) else {
            continue;
        };
        let (now, before) = (Planned::new(now, &plain()), Planned::new(before, &plain()));
        no_weaker(&now, &before, &[], true, &mut random);
    }
}

/// The comparison itself can tell: each of these is weaker in one thing.
#[test]
fn a_weaker_policy_is_seen_as_one() {
    let node = Node::new("restricted", true);
    let (strict, bound) = node.plan(&plain()).unwrap();
    let weaker: [fn(&mut Planned); 9] = [
        |p| p.config["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"]),
        |p| p.config["process"]["noNewPrivileges"] = json!(false),
        |p| p.config["annotations"]["run.oci.handler"] = json!("wasm"),
        |p| p.plan.exec.capabilities.push("CAP_BPF".into()),
        |p| drop(p.plan.tripwires.pop()),
        |p| drop(p.plan.policy.layers.pop()),
        |p| {
            let rules = p
                .plan
                .policy
                .layers
                .iter_mut()
                .flat_map(|layer| &mut layer.paths);
            rules.for_each(|rule| rule.access |= 2);
        },
        |p| p.plan.policy.filter.program = vec![6, 0, 0, 0, 0, 0, 0xff, 0x7f],
        |p| {
            let mounts = p.config["mounts"].as_array_mut().unwrap();
            let data = mounts.iter_mut().find(|m| m["destination"] == "/data");
            data.unwrap()["options"] = json!(["rbind", "rw"]);
        },
    ];
    for (at, weaken) in weaker.into_iter().enumerate() {
        let mut now = node.plan(&plain()).unwrap().0;
        weaken(&mut now);
        let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            no_weaker(&now, &strict, &bound, true, &mut Random::new(1));
        }));
        assert!(compared.is_err(), "case {at} was not seen");
    }
}
