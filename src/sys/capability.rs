//! Which capabilities the kernel asked for and found in one container: a program of a few instructions
//! (bpf(2)) on the tracepoint `cap_capable` (6.14), by the container's pid namespace.
//!
//! It writes each user of a capability into a table, once, with the time of the first use, and rings for each.
//! Capabilities that are settled it passes over. What the table has no room for is counted. It ends with its
//! descriptors: nothing is left behind, whatever becomes of this process. It changes nothing in the kernel's answer.
//!
//! It looks at processes of one pid namespace and of none beneath it, and does not tell whose user namespace a
//! capability was asked for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::check;

/// Capabilities that fit into the kernel's sets (linux/capability.h).
const MOST: u32 = 64;

/// linux/bpf.h: commands, types of maps and programs, helpers, flags.
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BPF_MAP_TYPE_HASH: u32 = 1;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_RINGBUF: u32 = 27;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const MAP_LOOKUP_ELEM: i32 = 1;
const MAP_UPDATE_ELEM: i32 = 2;
const KTIME_GET_NS: i32 = 5;
const GET_CURRENT_PID_TGID: i32 = 14;
const GET_NS_CURRENT_PID_TGID: i32 = 120;
const RINGBUF_OUTPUT: i32 = 130;
const BPF_RB_FORCE_WAKEUP: i32 = 2;
const BPF_NOEXIST: i32 = 1;

/// Users that are noted at a time.
const MOST_USERS: u32 = 4096;
/// Where the settled capabilities' array has the number of users that had no room.
const MISSED: u32 = MOST;

/// Somebody who used a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct User {
    /// The capability's number.
    pub capability: u32,
    /// The process, as the host counts.
    pub pid: i32,
    /// When it did first, nanoseconds of CLOCK_MONOTONIC.
    pub at: u64,
}

/// The program and its memory; it runs for as long as this lives.
#[derive(Debug)]
pub struct Seen {
    /// By capability and process, the time.
    users: OwnedFd,
    /// By capability, whether it is passed over; and how many users had no room.
    settled: OwnedFd,
    bell: OwnedFd,
    /// How far the bell was rung and heard.
    rung: Page,
    heard: Page,
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Seen {
    /// Begins to look at the processes of the pid namespace of that device and inode (stat(2) of
    /// `/proc/PID/ns/pid`), and of no namespace beneath it.
    ///
    /// # Errors
    /// ENOENT where the kernel has no such tracepoint, EPERM without CAP_BPF and CAP_PERFMON, EINVAL
    /// where bpf(2) does not know what is used (before 5.12), ENOSYS where there is none.
    pub fn begin(device: u64, inode: u64) -> io::Result<Seen> {
        let users = map(BPF_MAP_TYPE_HASH, 8, 8, MOST_USERS)?;
        let settled = map(BPF_MAP_TYPE_ARRAY, 4, 8, MOST + 1)?;
        // A page at the least; 16 bytes for each ring.
        let size = Page::size();
        let bell = map(BPF_MAP_TYPE_RINGBUF, 0, 0, size as u32)?;
        let (heard, rung) = (Page::of(&bell, 0, true)?, Page::of(&bell, size, false)?);
        let program = load(&code(&users, &settled, &bell, device, inode))?;
        let name = c"cap_capable";
        let mut attributes = [0_u8; 16];
        put(&mut attributes, 0, &(name.as_ptr() as u64).to_ne_bytes());
        put(&mut attributes, 8, &number(&program).to_ne_bytes());
        let link = bpf(BPF_RAW_TRACEPOINT_OPEN, &mut attributes)?;
        Ok(Seen {
            users,
            settled,
            bell,
            rung,
            heard,
            _program: program,
            _link: made(link),
        })
    }

    /// Readable (edge-triggered, epoll(7)) whenever somebody is noted.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Those who are noted. Whoever rings from now on is heard again.
    pub fn users(&self) -> Vec<User> {
        self.heard.store(self.rung.load());
        let mut users = Vec::new();
        let mut last: Option<u64> = None;
        // More than there can be only where they come and go meanwhile.
        while users.len() <= MOST_USERS as usize {
            let mut key = 0_u64;
            let from = last
                .as_ref()
                .map_or(0, |last| std::ptr::from_ref(last) as u64);
            let next = element(&self.users, BPF_MAP_GET_NEXT_KEY, from, &raw mut key as u64);
            if next.is_err() {
                break;
            }
            let mut at = 0_u64;
            let (of, into) = (&raw const key as u64, &raw mut at as u64);
            if element(&self.users, BPF_MAP_LOOKUP_ELEM, of, into).is_ok() {
                let [capability, pid] = words(key);
                users.push(User {
                    capability,
                    pid: pid.cast_signed(),
                    at,
                });
            }
            last = Some(key);
        }
        users
    }

    /// Users that there was no room for, so far.
    pub fn missed(&self) -> u64 {
        let (key, mut count) = (MISSED, 0_u64);
        let (of, into) = (&raw const key as u64, &raw mut count as u64);
        // An array has each of its places.
        let _ = element(&self.settled, BPF_MAP_LOOKUP_ELEM, of, into);
        count
    }

    /// Passes over a capability, or no longer.
    ///
    /// # Errors
    /// Those of bpf(2), which has none for a number below 64.
    pub fn settle(&self, capability: u32, settled: bool) -> io::Result<()> {
        let value = u64::from(settled);
        let (key, from) = (&raw const capability as u64, &raw const value as u64);
        element(&self.settled, BPF_MAP_UPDATE_ELEM, key, from)
    }

    /// Forgets a user: its next use is noted anew.
    pub fn forget(&self, user: &User) {
        let key = [user.capability, user.pid.cast_unsigned()];
        // ENOENT: it is forgotten.
        let _ = element(&self.users, BPF_MAP_DELETE_ELEM, key.as_ptr() as u64, 0);
    }
}

/// The two halves of a key, as the program writes them one behind the other.
fn words(key: u64) -> [u32; 2] {
    let bytes = key.to_ne_bytes();
    let half = |at: usize| {
        let mut half = [0; 4];
        half.copy_from_slice(&bytes[at..at + 4]);
        u32::from_ne_bytes(half)
    };
    [half(0), half(4)]
}

/// One element of a map: `key` and `value` are addresses of as many bytes as the map's have; 0 for none.
fn element(map: &OwnedFd, command: libc::c_int, key: u64, value: u64) -> io::Result<()> {
    let mut attributes = [0_u8; 32];
    put(&mut attributes, 0, &number(map).to_ne_bytes());
    put(&mut attributes, 8, &key.to_ne_bytes());
    put(&mut attributes, 16, &value.to_ne_bytes());
    bpf(command, &mut attributes).map(drop)
}

/// A page of a ring buffer, of which the first word is a position.
#[derive(Debug)]
struct Page {
    start: NonNull<AtomicU64>,
    size: usize,
}

impl Page {
    fn size() -> usize {
        // SAFETY: a number only.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size).unwrap_or(4096)
    }

    fn of(ring: &OwnedFd, offset: usize, writes: bool) -> io::Result<Page> {
        let size = Page::size();
        let protection = libc::PROT_READ | if writes { libc::PROT_WRITE } else { 0 };
        let (flags, raw) = (libc::MAP_SHARED, ring.as_raw_fd());
        let none = std::ptr::null_mut();
        // SAFETY: mmap(2) with a null hint makes a mapping where nothing is; it outlives the descriptor.
        let start =
            unsafe { libc::mmap(none, size, protection, flags, raw, offset as libc::off_t) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Page { start, size })
    }

    fn load(&self) -> u64 {
        // SAFETY: the mapping lives as long as this, is readable and aligned; the kernel writes it atomically.
        unsafe { self.start.as_ref() }.load(Ordering::Acquire)
    }

    /// Only of the page that may be written.
    fn store(&self, position: u64) {
        // SAFETY: as for `load`, and its caller's page is mapped for writing.
        unsafe { self.start.as_ref() }.store(position, Ordering::Release);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: what was mapped, once, and nobody has a reference into it beyond a call.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
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

fn code(users: &OwnedFd, settled: &OwnedFd, bell: &OwnedFd, device: u64, inode: u64) -> Vec<u64> {
    let mut code = vec![
        // r6 = context; r7 = (int) answer; anything but 0 is a refusal.
        step(0xbf, 6, 1, 0, 0),
        step(0x79, 7, 6, ANSWER, 0),
        step(0x67, 7, 0, 0, 32),
        step(0x77, 7, 0, 0, 32),
        step(0x55, 7, 0, LEAVE, 0),
        // The capability, as the first half of the key, at r10 - 8.
        step(0x79, 8, 6, CAPABILITY, 0),
        step(0x63, 10, 8, -8, 0),
    ];
    // Is it passed over? Not a capability that there is room for; one that is settled.
    code.extend(wide(1, 1, number(settled).into()));
    code.extend([
        step(0xbf, 2, 10, 0, 0),
        step(0x07, 2, 0, 0, -8),
        call(MAP_LOOKUP_ELEM),
        step(0x15, 0, 0, LEAVE, 0),
        step(0x79, 1, 0, 0, 0),
        step(0x55, 1, 0, LEAVE, 0),
        step(0x35, 8, 0, LEAVE, MOST as i32),
    ]);
    // Is it a process of that namespace? Its numbers there go to r10 - 24.
    code.extend(wide(1, 0, device));
    code.extend(wide(2, 0, inode));
    code.extend([
        step(0xbf, 3, 10, 0, 0),
        step(0x07, 3, 0, 0, -24),
        step(0xb7, 4, 0, 0, 8),
        call(GET_NS_CURRENT_PID_TGID),
        step(0x55, 0, 0, LEAVE, 0),
        // The process is the upper half (bpf-helpers(7)), and the second half of the key.
        call(GET_CURRENT_PID_TGID),
        step(0x77, 0, 0, 0, 32),
        step(0x63, 10, 0, -4, 0),
    ]);
    // Somebody who is noted; else the time, at r10 - 16.
    code.extend(wide(1, 1, number(users).into()));
    code.extend([
        step(0xbf, 2, 10, 0, 0),
        step(0x07, 2, 0, 0, -8),
        call(MAP_LOOKUP_ELEM),
        step(0x55, 0, 0, LEAVE, 0),
        call(KTIME_GET_NS),
        step(0x7b, 10, 0, -16, 0),
    ]);
    code.extend(wide(1, 1, number(users).into()));
    code.extend([
        step(0xbf, 2, 10, 0, 0),
        step(0x07, 2, 0, 0, -8),
        step(0xbf, 3, 10, 0, 0),
        step(0x07, 3, 0, 0, -16),
        step(0xb7, 4, 0, 0, BPF_NOEXIST),
        call(MAP_UPDATE_ELEM),
        // Another thread of it noted it this moment.
        step(0x15, 0, 0, LEAVE, -libc::EEXIST),
        // No room: over the count where there was.
        step(0x15, 0, 0, 9, 0),
        step(0x62, 10, 0, -28, MISSED as i32),
    ]);
    code.extend(wide(1, 1, number(settled).into()));
    code.extend([
        step(0xbf, 2, 10, 0, 0),
        step(0x07, 2, 0, 0, -28),
        call(MAP_LOOKUP_ELEM),
        step(0x15, 0, 0, LEAVE, 0),
        step(0xb7, 1, 0, 0, 1),
        // Atomically.
        step(0xdb, 0, 1, 0, 0),
    ]);
    code.extend(wide(1, 1, number(bell).into()));
    code.extend([
        step(0xbf, 2, 10, 0, 0),
        step(0x07, 2, 0, 0, -8),
        step(0xb7, 3, 0, 0, 8),
        step(0xb7, 4, 0, 0, BPF_RB_FORCE_WAKEUP),
        call(RINGBUF_OUTPUT),
        step(0xb7, 0, 0, 0, 0),
        step(0x95, 0, 0, 0, 0),
    ]);
    // Both jumps over the rest lead to the last two.
    let end = code.len() as i16 - 2;
    for (at, step) in code.iter_mut().enumerate() {
        let jumps = matches!(*step as u8, 0x55 | 0x15 | 0x35);
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
    use std::sync::Mutex;

    /// Both tests use the same capability by the same process.
    static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn a_capability_that_is_used_is_told_with_its_user_and_a_refusal_is_not() {
        let _alone = ALONE.lock();
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
        // CAP_SYS_NICE is 23.
        let own = std::process::id() as i32;
        let nice = || {
            // SAFETY: numbers only.
            let changed = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -1) };
            assert_eq!(changed, 0);
            // SAFETY: numbers only.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
        };
        let noted = || {
            let users = seen.users().into_iter();
            users
                .filter(|user| user.capability == 23)
                .collect::<Vec<_>>()
        };
        let rings = || {
            let mut polled = [nix::poll::PollFd::new(
                seen.bell(),
                nix::poll::PollFlags::POLLIN,
            )];
            nix::poll::poll(&mut polled, 0_u8).unwrap() == 1
        };
        nice();
        assert!(rings());
        let first = noted();
        // Other tests of this program use it too, as other processes of this namespace.
        let mine = |users: &[User]| users.iter().find(|user| global(user.pid, own)).copied();
        let me = mine(&first).unwrap();
        // Again is no news; forgotten, it is, as often as one likes: more than the bell has room for.
        nice();
        assert_eq!(mine(&noted()), Some(me));
        for _ in 0..600 {
            seen.forget(&me);
            nice();
            assert!(rings(), "it is heard each time");
            let again = mine(&noted()).unwrap();
            assert!(again.at > me.at);
        }
        seen.settle(23, true).unwrap();
        seen.forget(&me);
        nice();
        assert_eq!(mine(&noted()), None);
        seen.settle(23, false).unwrap();
        nice();
        assert!(mine(&noted()).is_some());
        assert_eq!(seen.missed(), 0);
        // Nobody of another namespace.
        let other = Seen::begin(namespace.dev(), namespace.ino() + 1).unwrap();
        nice();
        assert_eq!(other.users(), []);
    }

    /// Whether a number of the host's is this process, of which only the own namespace's number is known here.
    fn global(pid: i32, own: i32) -> bool {
        let host = std::fs::read_link("/proc/self/ns/pid").unwrap();
        host.as_os_str() != "pid:[4026531836]" || pid == own
    }

    #[test]
    fn users_that_have_no_room_are_counted() {
        let _alone = ALONE.lock();
        let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap();
        let Ok(seen) = Seen::begin(namespace.dev(), namespace.ino()) else {
            println!("not seen here");
            return;
        };
        for pid in 0..MOST_USERS {
            let (key, value) = ([63_u32, 1 << 30 | pid], 1_u64);
            let (key, value) = (key.as_ptr() as u64, &raw const value as u64);
            // Those that came by themselves have some of the room.
            let _ = element(&seen.users, BPF_MAP_UPDATE_ELEM, key, value);
        }
        // SAFETY: numbers only.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -1) };
        // SAFETY: numbers only.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
        assert!(seen.missed() > 0);
    }
}
