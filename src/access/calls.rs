//! Which arguments of a call profiles tell apart: those that the shipped profiles and `mantlet lint` look
//! at. Of all others an access holds the name alone.

use super::{Access, Argument};

/// CLONE_NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWNS (clone(2)): what makes a clone more
/// than a process or a thread.
pub const NAMESPACES: u64 = 0x7e02_0000;
/// MFD_NOEXEC_SEAL and MFD_EXEC (memfd_create(2)).
const EXECUTABLE: u64 = 0x18;

/// Call, argument, and the bits of it, of which the kernel reads 32.
const CLASSES: [(&str, u8, Option<u64>); 10] = [
    ("socket", 0, None),
    ("socketpair", 0, None),
    ("clone", 0, Some(NAMESPACES)),
    ("unshare", 0, None),
    ("setns", 1, None),
    ("ioctl", 1, None),
    ("prctl", 0, None),
    ("personality", 0, None),
    ("keyctl", 0, None),
    ("memfd_create", 1, Some(EXECUTABLE)),
];

/// The access that a call is, from its registers.
#[must_use]
pub fn access(name: &str, args: &[u64; 6]) -> Access {
    let of = CLASSES.iter().filter(|(call, ..)| *call == name);
    let args = of.map(|(_, index, mask)| Argument {
        index: *index,
        value: args[usize::from(*index)] & mask.unwrap_or(0xffff_ffff),
        mask: *mask,
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
        assert_eq!(told("read", [1; 6]), []);
    }
}
