//! Decisions to classic BPF.
//!
//! Why not libseccomp's compiler: its rules cannot say "otherwise" for one call (allow under a
//! condition, notify the rest, errno for the unknown), where rules of one call overlap its order is
//! its own, and it takes milliseconds where the front door has one. What is here is a binary search
//! over number ranges with decision lists as leaves, and the tests compare every answer with the
//! algebra it was compiled from. Numbers still come from libseccomp's table.
//!
//! Only loads of `nr` and `arch`, jumps on constants and returns lie on the way to an
//! unconditional answer, so that the kernel's own cache of always-allowed calls (5.11) holds them.

use std::collections::BTreeMap;

use super::verdict::{Action, Compare, Condition, Decision};

/// An instruction: `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions skipped where a comparison is true.
    pub jt: u8,
    /// Instructions skipped where it is false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// BPF_LD | BPF_W | BPF_ABS.
pub const LOAD: u16 = 0x20;
/// BPF_ALU | BPF_AND | BPF_K.
pub const AND: u16 = 0x54;
/// BPF_JMP | BPF_JA.
pub const JUMP: u16 = 0x05;
/// BPF_JMP | BPF_JEQ | BPF_K.
pub const EQUAL: u16 = 0x15;
/// BPF_JMP | BPF_JGT | BPF_K.
pub const GREATER: u16 = 0x25;
/// BPF_JMP | BPF_JGE | BPF_K.
pub const AT_LEAST: u16 = 0x35;
/// BPF_RET | BPF_K.
pub const RETURN: u16 = 0x06;

/// BPF_MAXINSNS.
const MOST: usize = 4096;
/// Offset of `nr` in struct seccomp_data.
const NUMBER: u32 = 0;
/// Offset of `arch`.
const ARCH: u32 = 4;
/// Offset of the first argument, low half first on little-endian machines.
const ARGUMENTS: u32 = 16;
/// Numbers from here on belong to the x32 ABI on x86_64 (`__X32_SYSCALL_BIT`).
const X32: u32 = 0x4000_0000;

#[cfg(target_arch = "x86_64")]
/// AUDIT_ARCH_X86_64.
pub const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
/// AUDIT_ARCH_AARCH64.
pub const NATIVE: u32 = 0xc000_00b7;

/// A filter that does not fit into what the kernel takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// More than 4096 instructions.
    #[error("the filter has {0} instructions, the kernel takes 4096: use fewer conditions")]
    Program(usize),
    /// One entry's conditions exceed what a jump can cross.
    #[error("a system call entry has too many conditions: at most twelve")]
    Entry,
    /// The conditions of two layers on one call, each with each.
    #[error(
        "the conditions of two layers on {call} make {pairs} pairs, more than {most}: use fewer in \
             one of the profiles"
    )]
    Pairs {
        /// The call.
        call: String,
        /// Pairs.
        pairs: usize,
        /// What is taken.
        most: usize,
    },
}

/// Compiles: other architectures and x32 get `foreign`, numbers without a decision `unknown`.
///
/// # Errors
///
/// [`TooLarge`].
pub fn compile(
    decisions: &BTreeMap<u32, Decision>,
    unknown: Action,
    foreign: Action,
) -> Result<Vec<Instruction>, TooLarge> {
    let ranges = ranges(decisions, unknown);
    let mut program = vec![
        load(ARCH),
        jump(EQUAL, NATIVE, 1, 0),
        give(foreign),
        load(NUMBER),
        // Above all real numbers lie x32's. -1 is what syscall(-1) sends: unknown, not an attack.
        jump(AT_LEAST, X32, 0, 3),
        jump(EQUAL, u32::MAX, 1, 0),
        give(foreign),
        give(unknown),
    ];
    program.extend(search(&ranges)?);
    if program.len() > MOST {
        return Err(TooLarge::Program(program.len()));
    }
    Ok(program)
}

/// The bytes the kernel takes: `struct sock_filter` in native order.
#[must_use]
pub fn bytes(program: &[Instruction]) -> Vec<u8> {
    let mut out = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        out.extend(instruction.code.to_ne_bytes());
        out.extend([instruction.jt, instruction.jf]);
        out.extend(instruction.k.to_ne_bytes());
    }
    out
}

/// Each range begins at its number and ends where the next begins; neighbours differ.
fn ranges(decisions: &BTreeMap<u32, Decision>, unknown: Action) -> Vec<(u32, Decision)> {
    let mut ranges: Vec<(u32, Decision)> = vec![(0, Decision::always(unknown))];
    let mut push = |start: u32, decision: &Decision| {
        match ranges.last_mut() {
            Some((at, last)) if *at == start => *last = decision.clone(),
            Some((_, last)) if last == decision => return,
            _ => ranges.push((start, decision.clone())),
        }
        // Overwriting a first range may have made it equal to its neighbour.
        if let [.., (_, before), (_, last)] = ranges.as_slice()
            && before == last
        {
            ranges.pop();
        }
    };
    for (number, decision) in decisions {
        push(*number, decision);
        push(number + 1, &Decision::always(unknown));
    }
    ranges
}

fn search(ranges: &[(u32, Decision)]) -> Result<Vec<Instruction>, TooLarge> {
    let (first, rest) = match ranges {
        [] => return Ok(vec![give(Action::KillProcess)]),
        [(_, only)] => return leaf(only),
        more => more.split_at(more.len() / 2),
    };
    let (below, above) = (search(first)?, search(rest)?);
    let mut program = Vec::with_capacity(below.len() + above.len() + 2);
    match u8::try_from(below.len()) {
        Ok(skip) => program.push(jump(AT_LEAST, rest[0].0, skip, 0)),
        Err(_) => {
            let skip = u32::try_from(below.len()).map_err(|_| TooLarge::Entry)?;
            program.push(jump(AT_LEAST, rest[0].0, 0, 1));
            program.push(jump(JUMP, skip, 0, 0));
        }
    }
    program.extend(below);
    program.extend(above);
    Ok(program)
}

fn leaf(decision: &Decision) -> Result<Vec<Instruction>, TooLarge> {
    let mut program = Vec::new();
    for (conditions, action) in decision.all() {
        let mut entry = Vec::new();
        for condition in conditions {
            entry.extend(test(condition));
        }
        entry.push(give(action));
        let length = entry.len();
        for (at, instruction) in entry.iter_mut().enumerate() {
            let miss = u8::try_from(length - at - 1);
            for target in [&mut instruction.jt, &mut instruction.jf] {
                if *target == MISS && instruction.code != RETURN {
                    *target = *miss.as_ref().map_err(|_| TooLarge::Entry)?;
                }
            }
        }
        program.extend(entry);
    }
    Ok(program)
}

/// Stands for "the condition does not hold" until the entry's length is known. No jump within a
/// condition is that far.
const MISS: u8 = u8::MAX;

/// Falls through where the condition holds, jumps to [`MISS`] where it does not.
fn test(condition: &Condition) -> Vec<Instruction> {
    let half = |shift: u32, word: u64| u32::try_from(word >> shift & 0xffff_ffff).unwrap_or(0);
    let offset = ARGUMENTS + 8 * u32::from(condition.index);
    let (low, high) = if cfg!(target_endian = "little") {
        (offset, offset + 4)
    } else {
        (offset + 4, offset)
    };
    let (mask, value) = (condition.mask, condition.value);
    let upper = word(high, half(32, mask));
    let lower = word(low, half(0, mask));
    let (upper_value, lower_value) = (half(32, value), half(0, value));
    let tail = |code, jt, jf| jump(code, lower_value, jt, jf);
    let lower_length = u8::try_from(lower.len() + 1).unwrap_or(MISS);
    let mut out = upper;
    if mask >> 32 == 0 && value >> 32 == 0 {
        let (code, jt, jf) = match condition.compare {
            Compare::Eq => (EQUAL, 0, MISS),
            Compare::Ne => (EQUAL, MISS, 0),
            Compare::Gt => (GREATER, 0, MISS),
            Compare::Ge => (AT_LEAST, 0, MISS),
            Compare::Lt => (AT_LEAST, MISS, 0),
            Compare::Le => (GREATER, MISS, 0),
        };
        out = lower;
        out.push(tail(code, jt, jf));
        return out;
    }
    match condition.compare {
        Compare::Eq => {
            out.push(jump(EQUAL, upper_value, 0, MISS));
            out.extend(lower);
            out.push(tail(EQUAL, 0, MISS));
        }
        Compare::Ne => {
            out.push(jump(EQUAL, upper_value, 0, lower_length));
            out.extend(lower);
            out.push(tail(EQUAL, MISS, 0));
        }
        // Greater: an upper half above decides for, one below decides against, else the lower half.
        Compare::Gt | Compare::Ge => {
            out.push(jump(GREATER, upper_value, lower_length + 1, 0));
            out.push(jump(EQUAL, upper_value, 0, MISS));
            out.extend(lower);
            out.push(tail(
                if condition.compare == Compare::Gt {
                    GREATER
                } else {
                    AT_LEAST
                },
                0,
                MISS,
            ));
        }
        Compare::Lt | Compare::Le => {
            out.push(jump(GREATER, upper_value, MISS, 0));
            out.push(jump(EQUAL, upper_value, 0, lower_length));
            out.extend(lower);
            out.push(tail(
                if condition.compare == Compare::Lt {
                    AT_LEAST
                } else {
                    GREATER
                },
                MISS,
                0,
            ));
        }
    }
    out
}

fn word(offset: u32, mask: u32) -> Vec<Instruction> {
    let mut out = vec![load(offset)];
    if mask != u32::MAX {
        out.push(Instruction {
            code: AND,
            jt: 0,
            jf: 0,
            k: mask,
        });
    }
    out
}

fn load(offset: u32) -> Instruction {
    Instruction {
        code: LOAD,
        jt: 0,
        jf: 0,
        k: offset,
    }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn give(action: Action) -> Instruction {
    Instruction {
        code: RETURN,
        jt: 0,
        jf: 0,
        k: action.value(),
    }
}
