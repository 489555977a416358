//! Random engines, profiles and arguments, and the engine's filter as libseccomp compiles it.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Oci, LinuxSeccompOperator as Cmp};
use serde_json::{Value, json};

use super::bpf;
use super::parse;
use crate::profile::Profile;

/// A small generator with a fixed seed (splitmix64), so that a failure repeats.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
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
pub const NAMES: [&str; 18] = [
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
];

/// Verdict of a filter as the runtime installs it: libseccomp's own compiler, fed as runc feeds it.
pub fn runtime_program(filter: &LinuxSeccomp) -> Vec<bpf::Instruction> {
    use libseccomp::{
        ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
    };
    let convert = |action: Oci, errno: Option<u32>| match action {
        Oci::ScmpActKill | Oci::ScmpActKillThread => ScmpAction::KillThread,
        Oci::ScmpActKillProcess => ScmpAction::KillProcess,
        Oci::ScmpActTrap => ScmpAction::Trap,
        Oci::ScmpActErrno => ScmpAction::Errno(errno.unwrap_or(1) as i32),
        Oci::ScmpActNotify => ScmpAction::Notify,
        Oci::ScmpActTrace => ScmpAction::Trace(errno.unwrap_or(1) as u16),
        Oci::ScmpActLog => ScmpAction::Log,
        Oci::ScmpActAllow => ScmpAction::Allow,
    };
    let default = convert(filter.default_action(), filter.default_errno_ret());
    let mut context = ScmpFilterContext::new(default).unwrap();
    context.add_arch(ScmpArch::X8664).unwrap();
    context.set_ctl_optimize(2).unwrap();
    for rule in filter.syscalls().iter().flatten() {
        let action = convert(rule.action(), rule.errno_ret());
        if action == default {
            continue;
        }
        let compare = |arg: &oci_spec::runtime::LinuxSeccompArg| {
            let (op, value) = match arg.op() {
                Cmp::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
                Cmp::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
                Cmp::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
                Cmp::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
                Cmp::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
                Cmp::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
                Cmp::ScmpCmpMaskedEq => (
                    ScmpCompareOp::MaskedEqual(arg.value()),
                    arg.value_two().unwrap_or(0),
                ),
            };
            ScmpArgCompare::new(arg.index() as u32, op, value)
        };
        let args: Vec<_> = rule.args().iter().flatten().map(compare).collect();
        let twice = rule.args().iter().flatten().any(|a| {
            rule.args()
                .iter()
                .flatten()
                .filter(|b| a.index() == b.index())
                .count()
                > 1
        });
        for name in rule.names() {
            let Ok(call) = ScmpSyscall::from_name(name) else {
                continue;
            };
            // runc: an argument named twice makes each condition a rule of its own.
            let sets: Vec<Vec<_>> = if twice {
                args.iter().map(|a| vec![*a]).collect()
            } else {
                vec![args.clone()]
            };
            for set in sets {
                let _ = context.add_rule_conditional(action, call, &set);
            }
        }
    }
    // libseccomp 2.5 exports to a descriptor only.
    let name = c"filter";
    let memory = nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::empty()).unwrap();
    context.export_bpf(&memory).unwrap();
    let mut file = std::fs::File::from(memory);
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    parse(&bytes)
}

pub fn arguments(random: &mut Random) -> [u64; 6] {
    std::array::from_fn(|_| {
        let value = *random.pick(&VALUES);
        // The boundary's neighbours as often as itself.
        value.wrapping_add(random.below(3)).wrapping_sub(1)
    })
}

pub fn random_engine(random: &mut Random) -> LinuxSeccomp {
    let actions = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_LOG",
    ];
    let ops = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let mut rules = Vec::new();
    for _ in 0..random.below(12) {
        let names: Vec<&str> = (0..1 + random.below(5))
            .map(|_| *random.pick(&NAMES))
            .collect();
        let mut rule = json!({"names": names, "action": random.pick(&actions)});
        if random.below(3) == 0 {
            rule["errnoRet"] = json!(38);
        }
        let args: Vec<Value> = (0..random.below(3))
            .map(|_| {
                json!({"index": random.below(3), "value": random.pick(&VALUES),
                       "valueTwo": random.pick(&VALUES), "op": format!("SCMP_CMP_{}", random.pick(&ops))})
            })
            .collect();
        rule["args"] = json!(args);
        rules.push(rule);
    }
    let default = random.pick(&[
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_ALLOW",
    ]);
    serde_json::from_value(json!({"defaultAction": default, "syscalls": rules})).unwrap()
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
