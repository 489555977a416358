//! The kernel's reading of a filter (seccomp(2), bpf(4)), for tests.

use super::bpf::{AND, AT_LEAST, EQUAL, GREATER, Instruction, JUMP, LOAD, RETURN};
use super::verdict::Action;

/// BPF_JMP | BPF_JSET | BPF_K, which runc uses and nothing here does.
pub const ANY_SET: u16 = 0x45;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub number: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

impl Call {
    fn load(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 => {
                let argument = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) {
                    argument as u32
                } else {
                    (argument >> 32) as u32
                }
            }
            other => panic!("the filter loads offset {other}"),
        }
    }
}

/// Runs `program`; panics where the kernel would have refused it.
pub fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let i = program[at];
        at += 1;
        let hit = match i.code {
            LOAD => {
                accumulator = call.load(i.k);
                continue;
            }
            AND => {
                accumulator &= i.k;
                continue;
            }
            JUMP => {
                at += i.k as usize;
                continue;
            }
            RETURN => return i.k,
            EQUAL => accumulator == i.k,
            GREATER => accumulator > i.k,
            AT_LEAST => accumulator >= i.k,
            ANY_SET => accumulator & i.k != 0,
            other => panic!("instruction {other:#x}"),
        };
        at += usize::from(if hit { i.jt } else { i.jf });
    }
}

/// Parses what [`super::bpf::bytes`] wrote, or what libseccomp exports.
pub fn parse(bytes: &[u8]) -> Vec<Instruction> {
    assert_eq!(bytes.len() % 8, 0);
    bytes
        .chunks_exact(8)
        .map(|b| Instruction {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect()
}

/// The action of a filter's answer.
pub fn action(answer: u32) -> Action {
    let data = (answer & 0xffff) as u16;
    match answer & 0xffff_0000 {
        0x8000_0000 => Action::KillProcess,
        0 => Action::KillThread,
        0x0003_0000 => Action::Trap,
        0x0005_0000 => Action::Errno(data),
        0x7fc0_0000 => Action::Notify,
        0x7ff0_0000 => Action::Trace,
        0x7ffc_0000 => Action::Log,
        0x7fff_0000 => Action::Allow,
        other => panic!("answer {other:#x}"),
    }
}
