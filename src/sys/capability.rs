//! Which capabilities the kernel asked for and found in one container: a program of a few instructions
//! (bpf(2)) on the tracepoint `cap_capable` (6.14), by the container's pid namespace.
//!
//! It writes the first user of each capability into an array of as many places as there are capabilities,
//! so nothing can be lost, and rings once for each. It ends with its descriptors: nothing is left behind,
//! whatever becomes of this process. It changes nothing in the kernel's answer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// Capabilities that fit into the kernel's sets (linux/capability.h).
const MOST: u32 = 64;

/// linux/bpf.h: commands, types of maps and programs, helpers, flags.
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_RINGBUF: u32 = 27;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const MAP_LOOKUP_ELEM: i32 = 1;
const GET_CURRENT_PID_TGID: i32 = 14;
const GET_NS_CURRENT_PID_TGID: i32 = 120;
const RINGBUF_OUTPUT: i32 = 130;
const BPF_RB_FORCE_WAKEUP: i32 = 2;

/// The program and its memory; it runs for as long as this lives.
#[derive(Debug)]
pub struct Seen {
    table: OwnedFd,
    bell: OwnedFd,
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Seen {
    /// Begins to look at the processes of the pid namespace of that device and inode (stat(2) of
    /// `/proc/PID/ns/pid`), and of no namespace beneath it.
    ///
    /// # Errors
    /// ENOENT where the kernel has no such tracepoint, EPERM without CAP_BPF and CAP_PERFMON, EINVAL
    /// where bpf(2) does not know what is used (before 5.8), ENOSYS where there is none.
    pub fn begin(device: u64, inode: u64) -> io::Result<Seen> {
        let table = map(BPF_MAP_TYPE_ARRAY, 4, 8, MOST)?;
        // A page at the least; 16 bytes for each ring, and there are as many as capabilities.
        let bell = map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096)?;
        let program = load(&code(&table, &bell, device, inode))?;
        let name = c"cap_capable";
        let mut attributes = [0_u8; 16];
        put(&mut attributes, 0, &(name.as_ptr() as u64).to_ne_bytes());
        put(&mut attributes, 8, &number(&program).to_ne_bytes());
        let link = bpf(BPF_RAW_TRACEPOINT_OPEN, &mut attributes)?;
        Ok(Seen {
            table,
            bell,
            _program: program,
            _link: made(link),
        })
    }

    /// Readable (edge-triggered, epoll(7)) whenever a capability is used that none was noted for.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The capabilities used so far, each with the process that used it first.
    pub fn users(&self) -> Vec<(u32, i32)> {
        let mut users = Vec::new();
        for capability in 0..MOST {
            let mut value = 0_u64;
            let (key, into) = (&raw const capability as u64, &raw mut value as u64);
            // The process is the upper half (bpf-helpers(7)).
            if self.element(BPF_MAP_LOOKUP_ELEM, key, into).is_ok() && value != 0 {
                users.push((capability, (value >> 32) as i32));
            }
        }
        users
    }

    /// Forgets who used a capability: its next use is told anew.
    ///
    /// # Errors
    /// Those of bpf(2), which has none for a number below 64.
    pub fn forget(&self, capability: u32) -> io::Result<()> {
        let none = 0_u64;
        let (key, from) = (&raw const capability as u64, &raw const none as u64);
        self.element(BPF_MAP_UPDATE_ELEM, key, from)
    }

    fn element(&self, command: libc::c_int, key: u64, value: u64) -> io::Result<()> {
        let mut attributes = [0_u8; 32];
        put(&mut attributes, 0, &number(&self.table).to_ne_bytes());
        put(&mut attributes, 8, &key.to_ne_bytes());
        put(&mut attributes, 16, &value.to_ne_bytes());
        bpf(command, &mut attributes).map(drop)
    }
}

fn put(attributes: &mut [u8], at: usize, bytes: &[u8]) {
    attributes[at..at + bytes.len()].copy_from_slice(bytes);
}

fn number(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn made(raw: i32) -> OwnedFd {
    // SAFETY: the kernel just made this descriptor, close-on-exec, and it is nobody else's.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// bpf(2): `attributes` are those of the command, from its first word on; what follows is zero to it.
fn bpf(command: libc::c_int, attributes: &mut [u8]) -> io::Result<i32> {
    let (start, length) = (attributes.as_mut_ptr(), attributes.len());
    // SAFETY: the kernel reads `length` bytes, which the slice has. The addresses among them are of values
    // that the callers in this file keep alive, as large as the map's keys and values.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, start, length) };
    Ok(check(result)? as i32)
}

fn map(kind: u32, key: u32, value: u32, entries: u32) -> io::Result<OwnedFd> {
    let mut attributes = [0_u8; 16];
    for (at, word) in [kind, key, value, entries].into_iter().enumerate() {
        put(&mut attributes, at * 4, &word.to_ne_bytes());
    }
    bpf(BPF_MAP_CREATE, &mut attributes).map(made)
}

fn load(code: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut attributes = [0_u8; 24];
    put(
        &mut attributes,
        0,
        &BPF_PROG_TYPE_RAW_TRACEPOINT.to_ne_bytes(),
    );
    put(&mut attributes, 4, &(code.len() as u32).to_ne_bytes());
    put(&mut attributes, 8, &(code.as_ptr() as u64).to_ne_bytes());
    put(
        &mut attributes,
        16,
        &(license.as_ptr() as u64).to_ne_bytes(),
    );
    bpf(BPF_PROG_LOAD, &mut attributes).map(made)
}

/// One instruction: operation, registers, offset, value.
const fn step(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64
        | ((from as u64) << 4 | to as u64) << 8
        | (offset as u16 as u64) << 16
        | (value as u32 as u64) << 32
}

const fn call(helper: i32) -> u64 {
    step(0x85, 0, 0, 0, helper)
}

/// A value of 64 bits; `kind` 1: a map's descriptor.
const fn wide(to: u8, kind: u8, value: u64) -> [u64; 2] {
    [
        step(0x18, to, kind, 0, value as u32 as i32),
        step(0, 0, 0, 0, (value >> 32) as u32 as i32),
    ]
}

/// The arguments of the tracepoint: credentials, two namespaces, the capability, the answer.
const CAPABILITY: i16 = 24;
const ANSWER: i16 = 32;

fn code(table: &OwnedFd, bell: &OwnedFd, device: u64, inode: u64) -> Vec<u64> {
    let mut code = vec![
        // r6 = context; r7 = (int) answer; anything but 0 is a refusal.
        step(0xbf, 6, 1, 0, 0),
        step(0x79, 7, 6, ANSWER, 0),
        step(0x67, 7, 0, 0, 32),
        step(0x77, 7, 0, 0, 32),
        step(0x55, 7, 0, LEAVE, 0),
        // The capability, as the key, at r10 - 4.
        step(0x79, 8, 6, CAPABILITY, 0),
        step(0x63, 10, 8, -4, 0),
    ];
    // Is it a process of that namespace? Its numbers there go to r10 - 16.
    code.extend(wide(1, 0, device));
    code.extend(wide(2, 0, inode));
    code.extend([
        step(0xbf, 3, 10, 0, 0),
        step(0x07, 3, 0, 0, -16),
        step(0xb7, 4, 0, 0, 8),
        call(GET_NS_CURRENT_PID_TGID),
        step(0x55, 0, 0, LEAVE, 0),
    ]);
    code.extend(wide(1, 1, number(table).into()));
    code.extend([
        step(0xbf, 2, 10, 0, 0),
        step(0x07, 2, 0, 0, -4),
        call(MAP_LOOKUP_ELEM),
        // Not a capability that there is room for; one that was used before.
        step(0x15, 0, 0, LEAVE, 0),
        step(0xbf, 9, 0, 0, 0),
        step(0x79, 1, 9, 0, 0),
        step(0x55, 1, 0, LEAVE, 0),
        call(GET_CURRENT_PID_TGID),
        step(0x7b, 9, 0, 0, 0),
    ]);
    code.extend(wide(1, 1, number(bell).into()));
    code.extend([
        step(0xbf, 2, 10, 0, 0),
        step(0x07, 2, 0, 0, -4),
        step(0xb7, 3, 0, 0, 4),
        step(0xb7, 4, 0, 0, BPF_RB_FORCE_WAKEUP),
        call(RINGBUF_OUTPUT),
        step(0xb7, 0, 0, 0, 0),
        step(0x95, 0, 0, 0, 0),
    ]);
    // Both jumps over the rest lead to the last two.
    let end = code.len() as i16 - 2;
    for (at, step) in code.iter_mut().enumerate() {
        let jumps = matches!(*step as u8, 0x55 | 0x15);
        if jumps && (*step >> 16) as i16 == LEAVE {
            let over = end - at as i16 - 1;
            *step = *step & !(0xffff << 16) | u64::from(over as u16) << 16;
        }
    }
    code
}

/// Stands for the way out until the program's length is known.
const LEAVE: i16 = i16::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_capability_that_is_used_is_told_with_its_user_and_a_refusal_is_not() {
        let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap();
        let seen = match Seen::begin(namespace.dev(), namespace.ino()) {
            Ok(seen) => seen,
            Err(error) => {
                // Kernels before 6.14 have no such tracepoint.
                assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
                println!("not seen here: {error}");
                return;
            }
        };
        // CAP_SYS_NICE is 23, CAP_SYS_TIME 25.
        // SAFETY: numbers only.
        assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -1) }, 0);
        let nice = seen.users().into_iter().find(|(number, _)| *number == 23);
        assert!(nice.is_some(), "{:?}", seen.users());
        seen.forget(23).unwrap();
        assert!(seen.users().iter().all(|(number, _)| *number != 23));
        let mut polled = [nix::poll::PollFd::new(
            seen.bell(),
            nix::poll::PollFlags::POLLIN,
        )];
        assert_eq!(nix::poll::poll(&mut polled, 0_u8).unwrap(), 1);
        // SAFETY: numbers only.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
        // Nobody of another namespace.
        let other = Seen::begin(namespace.dev(), namespace.ino() + 1).unwrap();
        // SAFETY: numbers only.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -1) };
        // SAFETY: numbers only.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
        assert_eq!(other.users(), []);
    }
}
