//! Which arguments of a call profiles tell apart: the one that decides what such a call is. A recording has it,
//! and `mantlet learn` writes it as a condition. Of all other calls an access holds the name alone.

use super::{Access, Argument};

/// CLONE_NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWNS (clone(2)): what makes a clone more
/// than a process or a thread.
pub const NAMESPACES: u64 = 0x7e02_0000;
/// MFD_NOEXEC_SEAL and MFD_EXEC (memfd_create(2)).
const EXECUTABLE: u64 = 0x18;

/// What of an argument is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// All that the kernel reads: the lower 32.
    Int,
    /// All that the kernel reads: 64.
    Long,
    /// These.
    Of(u64),
}

/// Call, argument, and what of it is looked at. None that a busy program makes all the time: a condition takes a
/// call out of the kernel's cache of answers.
pub const CLASSES: [(&str, u8, Bits); 13] = [
    ("bpf", 0, Bits::Int),
    ("clone", 0, Bits::Of(NAMESPACES)),
    ("ioctl", 1, Bits::Int),
    ("keyctl", 0, Bits::Int),
    ("memfd_create", 1, Bits::Of(EXECUTABLE)),
    ("personality", 0, Bits::Int),
    ("prctl", 0, Bits::Int),
    ("ptrace", 0, Bits::Long),
    ("seccomp", 0, Bits::Int),
    ("setns", 1, Bits::Int),
    ("socket", 0, Bits::Int),
    ("socketpair", 0, Bits::Int),
    ("unshare", 0, Bits::Int),
];

/// The argument that decides what a call of that name is; none where the name says all that profiles know.
#[must_use]
pub fn deciding(name: &str) -> Option<u8> {
    let mut all = CLASSES.iter();
    all.find(|(call, ..)| *call == name)
        .map(|(_, index, _)| *index)
}

/// The access that a call is, from its registers.
#[must_use]
pub fn access(name: &str, args: &[u64; 6]) -> Access {
    let of = CLASSES.iter().filter(|(call, ..)| *call == name);
    let args = of.map(|(_, index, bits)| {
        let (looked, mask) = match bits {
            Bits::Int => (0xffff_ffff, None),
            Bits::Long => (u64::MAX, None),
            Bits::Of(mask) => (*mask, Some(*mask)),
        };
        Argument {
            index: *index,
            value: args[usize::from(*index)] & looked,
            mask,
        }
    });
    Access::Syscall {
        name: name.into(),
        args: args.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, args: [u64; 6]) -> Vec<(u8, u64, Option<u64>)> {
        match access(name, &args) {
            Access::Syscall { args, .. } => {
                args.iter().map(|a| (a.index, a.value, a.mask)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_are_cut_to_what_the_kernel_reads_and_profiles_tell_apart() {
        let wide = 0xdead_beef_0000_0000;
        assert_eq!(told("socket", [wide | 16, 3, 0, 0, 0, 0]), [(0, 16, None)]);
        assert_eq!(
            told("ioctl", [9, wide | 0x5412, 0, 0, 0, 0]),
            [(1, 0x5412, None)]
        );
        let thread = 0x003d_0f00;
        assert_eq!(told("clone", [thread; 6]), [(0, 0, Some(NAMESPACES))]);
        let contained = 0x1000_0000 | 17;
        let namespace = [(0, 0x1000_0000, Some(NAMESPACES))];
        assert_eq!(told("clone", [contained; 6]), namespace);
        assert_eq!(
            told("memfd_create", [0, 3 | 8, 0, 0, 0, 0]),
            [(1, 8, Some(24))]
        );
        assert_eq!(
            told("setns", [3, wide | 0x4000_0000, 0, 0, 0, 0]),
            [(1, 0x4000_0000, None)]
        );
        // A `long`: what is no request by its upper half is none.
        assert_eq!(told("ptrace", [wide | 16; 6]), [(0, wide | 16, None)]);
        assert_eq!(told("bpf", [wide | 5; 6]), [(0, 5, None)]);
        assert_eq!(told("seccomp", [wide | 1; 6]), [(0, 1, None)]);
        assert_eq!(told("read", [1; 6]), []);
    }
}
