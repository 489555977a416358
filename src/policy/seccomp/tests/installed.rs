//! The engine's filter as runc installs it: what libseccomp makes of the rules, behind runc's own
//! answer to calls that are younger than the filter. That this is what runc really installs,
//! `tests/live/filters.rs` shows.

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Oci, LinuxSeccompArg, LinuxSeccompOperator as Cmp,
};

use super::bpf::{self, EQUAL, GREATER, Instruction, LOAD, RETURN};
use super::calls::{AARCH64, I386};
use super::engine;
use super::interpreter::{self, ANY_SET, Call, parse};
use super::verdict::Action;

/// A filter as the kernel gets it.
pub struct Installed {
    pub program: Vec<Instruction>,
}

const X32: u32 = 0x4000_0000;
const ENOSYS: Action = Action::Errno(libc::ENOSYS as u16);

impl Installed {
    pub fn new(filter: &LinuxSeccomp) -> Installed {
        let mut program = Vec::new();
        if dates(filter) {
            for arch in filter.architectures().iter().flatten() {
                program.extend(younger(filter, *arch));
            }
        }
        program.extend(parse(&compile(filter)));
        Installed { program }
    }

    /// What it answers.
    pub fn answer(&self, call: &Call) -> Action {
        interpreter::action(interpreter::run(&self.program, call))
    }
}

/// A filter that denies what it does not list was written before calls with larger numbers existed,
/// so runc answers those as a kernel without them would (runc 1.0.0-rc93 and later).
fn dates(filter: &LinuxSeccomp) -> bool {
    let default = engine::default(filter);
    !default.permits() && default != ENOSYS
}

/// ENOSYS for the numbers of one architecture above the largest listed one; all else goes on.
fn younger(filter: &LinuxSeccomp, arch: Arch) -> Vec<Instruction> {
    let step = |code, jt, jf, k| Instruction { code, jt, jf, k };
    let rules = || filter.syscalls().iter().flatten();
    let most = |arch: Arch| {
        let names = rules().flat_map(|rule| rule.names());
        let numbers = names.filter_map(|name| number(name, architecture(arch)));
        numbers.max().unwrap_or(0)
    };
    let audit = match arch {
        Arch::ScmpArchX86_64 => bpf::NATIVE,
        Arch::ScmpArchX86 => I386,
        Arch::ScmpArchAarch64 => AARCH64,
        // Its numbers are x86_64's: they are looked at there.
        _ => return Vec::new(),
    };
    let deny = step(RETURN, 0, 0, ENOSYS.value());
    if audit != bpf::NATIVE {
        return vec![
            step(LOAD, 0, 0, 4),
            step(EQUAL, 0, 3, audit),
            step(LOAD, 0, 0, 0),
            step(GREATER, 0, 1, most(arch)),
            deny,
        ];
    }
    let listed = |arch| filter.architectures().iter().flatten().any(|a| *a == arch);
    // Without x32 in the list libseccomp's own answer to its numbers stands.
    let x32 = if listed(Arch::ScmpArchX32) {
        most(Arch::ScmpArchX32)
    } else {
        u32::MAX
    };
    vec![
        step(LOAD, 0, 0, 4),
        step(EQUAL, 0, 5, audit),
        step(LOAD, 0, 0, 0),
        step(ANY_SET, 0, 1, X32),
        step(GREATER, 1, 2, x32),
        step(GREATER, 0, 1, most(arch)),
        deny,
    ]
}

/// The number of a call, where the architecture has it.
pub fn number(name: &str, arch: ScmpArch) -> Option<u32> {
    let call = ScmpSyscall::from_name_by_arch(name, arch).ok()?;
    u32::try_from(i32::from(call)).ok()
}

fn action(action: Oci, errno: Option<u32>) -> ScmpAction {
    match action {
        Oci::ScmpActKill | Oci::ScmpActKillThread => ScmpAction::KillThread,
        Oci::ScmpActKillProcess => ScmpAction::KillProcess,
        Oci::ScmpActTrap => ScmpAction::Trap,
        Oci::ScmpActErrno => ScmpAction::Errno(errno.unwrap_or(1) as i32),
        Oci::ScmpActNotify => ScmpAction::Notify,
        Oci::ScmpActTrace => ScmpAction::Trace(errno.unwrap_or(1) as u16),
        Oci::ScmpActLog => ScmpAction::Log,
        Oci::ScmpActAllow => ScmpAction::Allow,
    }
}

fn architecture(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        other => panic!("the generator makes no {other:?}"),
    }
}

fn comparison(arg: &LinuxSeccompArg) -> ScmpArgCompare {
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
}

/// libseccomp's own compiler, fed as runc feeds it.
pub fn compile(filter: &LinuxSeccomp) -> Vec<u8> {
    let default = action(filter.default_action(), filter.default_errno_ret());
    let mut context =
        ScmpFilterContext::new(default).unwrap_or_else(|e| panic!("{default:?}: {e}"));
    for arch in filter.architectures().iter().flatten() {
        context.add_arch(architecture(*arch)).unwrap();
    }
    for rule in filter.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret());
        if action == default {
            continue;
        }
        let args = || rule.args().iter().flatten();
        let all: Vec<_> = args().map(comparison).collect();
        let twice = args().any(|a| args().filter(|b| a.index() == b.index()).count() > 1);
        // runc: an argument named twice makes each condition a rule of its own.
        let sets: Vec<Vec<_>> = if twice {
            all.into_iter().map(|one| vec![one]).collect()
        } else {
            vec![all]
        };
        for name in rule.names() {
            let Ok(call) = ScmpSyscall::from_name(name) else {
                continue;
            };
            for set in &sets {
                let _ = context.add_rule_conditional(action, call, set);
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
    bytes
}
