//! Random engines and profiles: every operator, every action, several rules of one call, errnos,
//! architectures.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::Profile;

/// A small generator with a fixed seed (splitmix64), so that a failure repeats. Bytes that a fuzzer
/// chose come first.
pub struct Random {
    state: u64,
    chosen: std::vec::IntoIter<u8>,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        let chosen = Vec::new().into_iter();
        Random {
            state: seed,
            chosen,
        }
    }
    #[allow(dead_code, reason = "for the fuzz target")]
    pub fn chosen(bytes: &[u8]) -> Random {
        Random {
            state: 1,
            chosen: Vec::from(bytes).into_iter(),
        }
    }
    fn next(&mut self) -> u64 {
        if let Some(byte) = self.chosen.next() {
            return byte.into();
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

pub const VALUES: [u64; 8] = [
    0,
    1,
    8,
    0x2_0000,
    0x7e02_0000,
    0xffff_ffff,
    0x1_0000_0001,
    u64::MAX,
];

/// Names that matter: init's needs, tripwires, conditional ones, and bystanders.
pub const NAMES: [&str; 20] = [
    "read",
    "write",
    "openat",
    "close",
    "clone",
    "clone3",
    "execve",
    "mount",
    "unshare",
    "ptrace",
    "socket",
    "ioctl",
    "personality",
    "seccomp",
    "landlock_add_rule",
    "getdents64",
    "bpf",
    "getuid",
    "process_mrelease",
    "futex_waitv",
];

const ACTIONS: [&str; 10] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_LOG",
];

const DEFAULTS: [&str; 8] = [
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_LOG",
    "SCMP_ACT_ALLOW",
];

const ERRNOS: [u32; 4] = [0, 1, 38, 4094];

/// Conditions for one name, over all its rules. libseccomp 2.5.4 needs minutes and more for three rules
/// of two 64-bit inequalities (runc would hang on such a filter, with mantlet or without).
const MOST_CONDITIONS: usize = 4;

/// Registers with the values that conditions compare with, and their neighbours.
pub fn arguments(random: &mut Random) -> [u64; 6] {
    std::array::from_fn(|_| {
        let value = *random.pick(&VALUES);
        value.wrapping_add(random.below(3)).wrapping_sub(1)
    })
}

pub fn random_engine(random: &mut Random) -> LinuxSeccomp {
    let ops = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let mut rules = Vec::new();
    let mut conditional = BTreeMap::new();
    for _ in 0..random.below(12) {
        let mut names: Vec<&str> = (0..1 + random.below(5))
            .map(|_| *random.pick(&NAMES))
            .collect();
        let mut rule = json!({"names": names, "action": random.pick(&ACTIONS)});
        if random.below(3) == 0 {
            rule["errnoRet"] = json!(random.pick(&ERRNOS));
        }
        let args: Vec<Value> = (0..random.below(3))
            .map(|_| {
                json!({"index": random.below(3), "value": random.pick(&VALUES),
                       "valueTwo": random.pick(&VALUES), "op": format!("SCMP_CMP_{}", random.pick(&ops))})
            })
            .collect();
        if !args.is_empty() {
            names.retain(|name| {
                let count = conditional.entry(*name).or_insert(0);
                *count += args.len();
                *count <= MOST_CONDITIONS
            });
            rule["names"] = json!(names);
        }
        rule["args"] = json!(args);
        rules.push(rule);
    }
    let mut filter = json!({"defaultAction": random.pick(&DEFAULTS), "syscalls": rules});
    if random.below(3) == 0 {
        filter["defaultErrnoRet"] = json!(random.pick(&ERRNOS));
    }
    let (native, more) = ("SCMP_ARCH_X86_64", ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    match random.below(5) {
        0 => {}
        1 => filter["architectures"] = json!([native]),
        2 => filter["architectures"] = json!([native, random.pick(&more)]),
        3 => filter["architectures"] = json!([native, more[0], more[1], "SCMP_ARCH_AARCH64"]),
        _ => filter["architectures"] = json!([native, more[0], more[1]]),
    }
    serde_json::from_value(filter).unwrap()
}

pub fn random_profile(random: &mut Random) -> Profile {
    let ops = ["eq", "ne", "lt", "le", "gt", "ge", "masked", "masked-ne"];
    let entry = |random: &mut Random| {
        let name = random.pick(&NAMES);
        if random.below(2) == 0 {
            return json!(name);
        }
        let args: Vec<Value> = (0..1 + random.below(3))
            .map(|_| {
                let op = *random.pick(&ops);
                let value = *random.pick(&VALUES);
                let mut arg = json!({"index": random.below(3), "op": op, "value": value});
                if op.starts_with("masked") {
                    arg["mask"] = json!(value | random.pick(&VALUES));
                }
                arg
            })
            .collect();
        json!({"name": name, "args": args})
    };
    let list = |random: &mut Random, most| {
        (0..random.below(most))
            .map(|_| entry(random))
            .collect::<Vec<_>>()
    };
    let mut allow = list(random, 20);
    allow.push(json!("execve"));
    let text = json!({"version": 1, "name": "random", "syscalls": {"groups": "2026.1",
        "allow": allow, "tripwire": list(random, 8), "deny": list(random, 4)}});
    Profile::parse("random", &text.to_string()).unwrap()
}
