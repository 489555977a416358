//! Files that are about to be opened or executed, and the word on whether they may (fanotify(7)).
//!
//! An event is read into memory that several processes share, because the kernel matches an answer
//! by the *number* of the event's descriptor and asks nobody who read it: whoever survives the
//! reader can still answer. The survivor takes what lies there as anybody's writing and [`parse`]s
//! it strictly.
//!
//! Numbers are the reader's own, so they repeat: answer an event first, then clear its slot, then
//! close its descriptor; and answer all that a dead reader left before another reader begins.
//!
//! The last descriptor of a group allows whatever still waits when it is closed. A process that
//! holds one and opens a marked file waits for itself.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::shared::Region;
use super::{check, retry};

/// A file was opened to be executed: the program, its interpreter, its dynamic linker (5.0).
pub const OPEN_EXEC: u64 = libc::FAN_OPEN_EXEC;
/// The same, before it happens: the caller waits for [`answer`] (5.0).
pub const OPEN_EXEC_PERM: u64 = libc::FAN_OPEN_EXEC_PERM;
/// A file or directory was opened.
pub const OPEN: u64 = libc::FAN_OPEN;
/// The same, before it happens.
pub const OPEN_PERM: u64 = libc::FAN_OPEN_PERM;

/// Every kind of event that waits for an answer. `FAN_PRE_ACCESS` (6.14) is left out: it comes with
/// a range that a slot has no room for, and is never asked for here.
const PERMISSION: u64 = libc::FAN_OPEN_PERM | libc::FAN_ACCESS_PERM | libc::FAN_OPEN_EXEC_PERM;

/// `struct fanotify_event_metadata` and `struct fanotify_event_info_pidfd`.
const METADATA: usize = 24;
const PIDFD: usize = 8;

/// Bytes of one event with its pidfd. Two do not fit, not even without, so read(2) of this size
/// takes exactly one.
pub const SLOT: usize = METADATA + PIDFD;

const _: () = assert!(SLOT < 2 * METADATA);
const _: () = assert!(size_of::<libc::fanotify_event_metadata>() == METADATA);
const _: () = assert!(size_of::<libc::fanotify_event_info_pidfd>() == PIDFD);

/// What a mark is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The whole filesystem that holds the path, through whichever mount (4.20). Only for one that
    /// the container owns.
    Filesystem,
    /// The one mount that holds the path: not its copies in other mount namespaces.
    Mount,
}

/// A group that may deny and sees before content does (FAN_CLASS_CONTENT), non-blocking and
/// close-on-exec. Its events tell the process by pidfd where the kernel can (5.15).
///
/// Descriptors that come with events are for reading, close-on-exec, leave the time of last access
/// alone, and do not wait for the other end of a FIFO.
///
/// # Errors
/// EMFILE where the user has `fs.fanotify.max_user_groups` already; EPERM without CAP_SYS_ADMIN;
/// ENOSYS where the kernel has no permission events.
pub fn init() -> io::Result<OwnedFd> {
    let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
    match group(flags | libc::FAN_REPORT_PIDFD) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => group(flags),
        other => other,
    }
}

fn group(flags: libc::c_uint) -> io::Result<OwnedFd> {
    // O_LARGEFILE is the kernel's own business on 64-bit and 0 in the C library there; on 32-bit a
    // large file would be an EOVERFLOW that denies.
    let event =
        libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE | libc::O_NOATIME | libc::O_NONBLOCK;
    // SAFETY: fanotify_init(2) takes two numbers.
    let raw = check(unsafe { libc::fanotify_init(flags, event as libc::c_uint) }.into())?;
    // SAFETY: the kernel just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Asks `group` to report `mask` for what holds `path`, symbolic and magic links followed.
///
/// # Errors
/// Those of fanotify_mark(2); EXDEV and ENODEV for filesystems that cannot be told apart.
pub fn mark(group: impl AsFd, what: Mark, mask: u64, path: &Path) -> io::Result<()> {
    let kind = match what {
        Mark::Filesystem => libc::FAN_MARK_FILESYSTEM,
        Mark::Mount => libc::FAN_MARK_MOUNT,
    };
    let path = CString::new(path.as_os_str().as_bytes())?;
    let (group, flags) = (group.as_fd().as_raw_fd(), libc::FAN_MARK_ADD | kind);
    // SAFETY: fanotify_mark(2) takes an open descriptor, numbers and a NUL-terminated path.
    let done = unsafe { libc::fanotify_mark(group, flags, mask, libc::AT_FDCWD, path.as_ptr()) };
    check(done.into()).map(drop)
}

/// One event, as far as numbers tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// `FAN_*` bits.
    pub mask: u64,
    /// The file, among the descriptors of the process that read the event: its to close, after the
    /// answer. Negative (FAN_NOFD) where there is none.
    pub fd: RawFd,
    /// The process, in the reader's pid namespace; 0 where it cannot be seen from there.
    pub pid: i32,
    /// The process by descriptor, likewise the reader's to close. `None` before 5.15, or where it had
    /// ended.
    pub pidfd: Option<RawFd>,
}

impl Event {
    /// Whether somebody waits for the [`answer`].
    pub fn is_permission(&self) -> bool {
        self.mask & PERMISSION != 0
    }

    /// Whether events were lost here: the queue was full. Permission events wait outside of that
    /// limit and are never lost.
    pub fn is_overflow(&self) -> bool {
        self.mask & libc::FAN_Q_OVERFLOW != 0
    }
}

/// Reads exactly one event into the [`SLOT`] bytes of `region` at `offset`, cleared first; `None`
/// where there is none. A reader that is killed meanwhile has either left the event in the queue or
/// all of it in the slot.
///
/// # Errors
/// Those of read(2): EMFILE and others where the file could not be opened for the reader, and a
/// permission event is then denied; [`io::ErrorKind::InvalidData`] for an event of another form,
/// whose descriptors nobody closes.
///
/// # Panics
/// Where the slot is not inside the region.
pub fn read_one(group: impl AsFd, region: &Region, offset: usize) -> io::Result<Option<Event>> {
    region.clear(offset, SLOT);
    let (group, slot) = (group.as_fd().as_raw_fd(), region.slot_ptr(offset, SLOT));
    // SAFETY: read(2) writes at most SLOT bytes, which `slot_ptr` has found inside the region; it
    // is mapped for writing and nothing of Rust's refers to its bytes but atomics.
    let read = || check(unsafe { libc::read(group, slot.cast(), SLOT) } as libc::c_long);
    match retry(read) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
        Ok(_) => match event_at(region, offset) {
            None => Err(io::ErrorKind::InvalidData.into()),
            event => Ok(event),
        },
    }
}

/// What the slot at `offset` holds; `None` where it was cleared or is no event.
///
/// # Panics
/// Where the slot is not inside the region.
pub fn event_at(region: &Region, offset: usize) -> Option<Event> {
    let mut slot = [0; SLOT];
    region.read(offset, &mut slot);
    parse(&slot)
}

/// Reads one event that anybody may have written; `None` for what the kernel does not write.
pub fn parse(slot: &[u8; SLOT]) -> Option<Event> {
    let word = |at: usize| Some(u32::from_ne_bytes(slot.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_ne_bytes(slot.get(at..at + 2)?.try_into().ok()?));
    let length = word(0)? as usize;
    let mask = u64::from_ne_bytes(slot.get(8..16)?.try_into().ok()?);
    let (fd, pid) = (word(16)?.cast_signed(), word(20)?.cast_signed());
    if slot[4] != libc::FANOTIFY_METADATA_VERSION || half(6)? as usize != METADATA {
        return None;
    }
    let pidfd = match length {
        METADATA => None,
        SLOT => {
            let known = slot[METADATA] == libc::FAN_EVENT_INFO_TYPE_PIDFD;
            if !known || half(METADATA + 2)? as usize != PIDFD {
                return None;
            }
            // FAN_NOPIDFD is -1, FAN_EPIDFD -2.
            Some(word(METADATA + 4)?.cast_signed()).filter(|fd| *fd >= 0)
        }
        _ => return None,
    };
    let overflow = mask & libc::FAN_Q_OVERFLOW != 0;
    let fits = mask != 0 && pid >= 0 && overflow == (fd < 0);
    fits.then_some(Event {
        mask,
        fd,
        pid,
        pidfd,
    })
}

/// Answers the permission event whose descriptor has the number `fd` in the process that read it,
/// which may be another one and gone. Refused, the caller's open(2) or execve(2) fails with EPERM.
///
/// # Errors
/// ENOENT where no event of that number waits: it was answered, or the caller was killed.
pub fn answer(group: impl AsFd, fd: RawFd, allow: bool) -> io::Result<()> {
    let word = if allow {
        libc::FAN_ALLOW
    } else {
        libc::FAN_DENY
    };
    let answer = libc::fanotify_response { fd, response: word };
    let (group, size) = (
        group.as_fd().as_raw_fd(),
        size_of::<libc::fanotify_response>(),
    );
    // SAFETY: write(2) reads the bytes of `answer`, plain integers without padding.
    let done = unsafe { libc::write(group, (&raw const answer).cast(), size) };
    check(done as libc::c_long).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::{self, Outcome};
    use crate::sys::spawn::{Fork, fork};
    use crate::sys::{fds, pidfd};
    use std::sync::atomic::Ordering;

    /// A region of one slot and one word behind it.
    const WORD: usize = 32;

    fn region() -> Region {
        Region::new(64).unwrap()
    }

    /// In a forked child: a tmpfs of its own, unseen by anybody, with a program in it.
    fn private(folder: &Path) -> Outcome<std::path::PathBuf> {
        forked::private_tmpfs(folder)?;
        let program = folder.join("true");
        std::fs::copy("/bin/true", &program)?;
        Ok(program)
    }

    fn next(group: &OwnedFd, region: &Region) -> Outcome<Event> {
        loop {
            if let Some(event) = read_one(group, region, 0)? {
                return Ok(event);
            }
            std::thread::yield_now();
        }
    }

    /// Starts `program` in a child, whose exit code is 0 or execve's errno.
    fn execute(program: &Path) -> Outcome<OwnedFd> {
        let path = CString::new(program.as_os_str().as_bytes())?;
        let child = fork()?;
        match child {
            Fork::Parent { pidfd, .. } => Ok(pidfd),
            Fork::Child => {
                let argv = [path.as_ptr(), std::ptr::null()];
                // SAFETY: both arrays end with a null pointer, and strings with NUL.
                unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), [std::ptr::null()].as_ptr()) };
                let errno = io::Error::last_os_error().raw_os_error().unwrap_or(255);
                crate::sys::process::exit_now(errno)
            }
        }
    }

    #[test]
    fn an_execution_is_seen_before_it_happens_and_denied_or_allowed() {
        let folder = forked::folder();
        forked::run(|| {
            let program = private(folder.path())?;
            let (group, region) = (init()?, region());
            mark(&group, Mark::Filesystem, OPEN_EXEC_PERM, folder.path())?;
            assert_eq!(read_one(&group, &region, 0)?, None);
            for (allow, code) in [(false, libc::EPERM), (true, 0)] {
                let child = execute(&program)?;
                let event = next(&group, &region)?;
                assert!(event.is_permission() && !event.is_overflow());
                assert_eq!(event.mask, OPEN_EXEC_PERM);
                let file = fds::inherited(event.fd)?;
                let path = std::fs::read_link(format!("/proc/self/fd/{}", event.fd))?;
                assert_eq!(path, program);
                let who = fds::inherited(event.pidfd.ok_or("no pidfd")?)?;
                pidfd::send_signal(&who, 0)?;
                assert!(!pidfd::has_ended(&child), "it waits");
                answer(&group, event.fd, allow)?;
                let again = answer(&group, event.fd, allow).unwrap_err();
                assert_eq!(again.raw_os_error(), Some(libc::ENOENT));
                drop(file);
                assert_eq!(forked::end(&child), pidfd::Ended::Exited(code));
            }
            Ok(())
        });
    }

    /// What the two processes of the supervisor stand on.
    #[test]
    fn what_a_killed_reader_left_is_answered_by_number_from_another_process() {
        let folder = forked::folder();
        forked::run(|| {
            let program = private(folder.path())?;
            let (group, region) = (init()?, region());
            mark(&group, Mark::Filesystem, OPEN_EXEC_PERM, folder.path())?;
            let has_read = region.u32_at(WORD);
            let reader = match fork()? {
                Fork::Parent { pidfd, .. } => pidfd,
                Fork::Child => {
                    // Its numbers differ from the survivor's.
                    let _more = [pidfd::open(1), pidfd::open(1)];
                    let event = next(&group, &region).unwrap();
                    has_read.store(event.fd.cast_unsigned(), Ordering::Release);
                    loop {
                        std::thread::sleep(std::time::Duration::from_secs(1));
                    }
                }
            };
            let child = execute(&program)?;
            while has_read.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            pidfd::send_signal(&reader, libc::SIGKILL)?;
            assert_eq!(forked::end(&reader), pidfd::Ended::Signaled(libc::SIGKILL));
            assert!(!pidfd::has_ended(&child), "the reader's end lets nobody in");
            assert_eq!(
                read_one(&group, &self::region(), 0)?,
                None,
                "nor is it offered again"
            );
            let event = event_at(&region, 0).ok_or("an empty slot")?;
            assert!(event.is_permission());
            let unknown = fds::inherited(event.fd).map(drop);
            assert!(
                unknown.is_err(),
                "{} is no number of the survivor's",
                event.fd
            );
            answer(&group, event.fd, false)?;
            assert_eq!(forked::end(&child), pidfd::Ended::Exited(libc::EPERM));
            Ok(())
        });
    }

    #[test]
    fn the_last_descriptor_that_is_closed_lets_the_execution_pass() {
        let folder = forked::folder();
        forked::run(|| {
            let program = private(folder.path())?;
            let (group, region) = (init()?, region());
            mark(&group, Mark::Filesystem, OPEN_EXEC_PERM, folder.path())?;
            let start = region.u32_at(WORD);
            // It must not hold the group.
            let child = match fork()? {
                Fork::Parent { pidfd, .. } => pidfd,
                Fork::Child => {
                    drop(group);
                    start.store(1, Ordering::Release);
                    let child = execute(&program).unwrap();
                    let ended = forked::end(&child);
                    crate::sys::process::exit_now(i32::from(ended != pidfd::Ended::Exited(0)))
                }
            };
            while start.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            let event = next(&group, &region)?;
            assert!(event.is_permission());
            drop(group);
            assert_eq!(forked::end(&child), pidfd::Ended::Exited(0));
            Ok(())
        });
    }

    #[test]
    fn one_read_takes_one_event_and_a_mark_on_a_mount_sees_what_passes_through_it() {
        let folder = forked::folder();
        forked::run(|| {
            let program = private(folder.path())?;
            let (group, region) = (init()?, region());
            mark(&group, Mark::Mount, OPEN | OPEN_EXEC, folder.path())?;
            let other = folder.path().join("other");
            std::fs::copy("/bin/true", &other)?;
            // Events of the copy.
            while read_one(&group, &region, 0)?.is_some() {}
            for path in [&program, &other] {
                forked::end(&execute(path)?);
            }
            let mut seen = Vec::new();
            while let Some(event) = read_one(&group, &region, 0)? {
                assert!(!event.is_permission());
                let _file = fds::inherited(event.fd)?;
                let path = std::fs::read_link(format!("/proc/self/fd/{}", event.fd))?;
                if event.mask & OPEN_EXEC != 0 {
                    seen.push(path);
                }
            }
            assert_eq!(seen, [program, other]);
            Ok(())
        });
    }

    fn slot(length: u32, mask: u64, fd: i32, pid: i32, kind: u8, pidfd: i32) -> [u8; SLOT] {
        let mut slot = [0; SLOT];
        slot[0..4].copy_from_slice(&length.to_ne_bytes());
        slot[4] = 3;
        slot[6..8].copy_from_slice(&24_u16.to_ne_bytes());
        slot[8..16].copy_from_slice(&mask.to_ne_bytes());
        slot[16..20].copy_from_slice(&fd.to_ne_bytes());
        slot[20..24].copy_from_slice(&pid.to_ne_bytes());
        slot[24] = kind;
        slot[26..28].copy_from_slice(&8_u16.to_ne_bytes());
        slot[28..32].copy_from_slice(&pidfd.to_ne_bytes());
        slot
    }

    #[test]
    fn only_what_the_kernel_writes_is_an_event() {
        let event = |fd, pidfd| Event {
            mask: OPEN_EXEC_PERM,
            fd,
            pid: 9,
            pidfd,
        };
        let perm = OPEN_EXEC_PERM;
        assert_eq!(parse(&slot(32, perm, 5, 9, 4, 6)), Some(event(5, Some(6))));
        assert_eq!(parse(&slot(32, perm, 5, 9, 4, -2)), Some(event(5, None)));
        assert_eq!(parse(&slot(24, perm, 5, 9, 4, 6)), Some(event(5, None)));
        let lost = parse(&slot(32, libc::FAN_Q_OVERFLOW, -1, 0, 4, -1)).unwrap();
        assert!(lost.is_overflow() && !lost.is_permission());
        for other in [
            [0; SLOT],
            [0xff; SLOT],
            slot(56, perm, 5, 9, 4, 6),
            slot(0, perm, 5, 9, 4, 6),
            slot(32, perm, 5, 9, 1, 6),
            slot(32, perm, -1, 9, 4, 6),
            slot(32, perm, 5, -9, 4, 6),
            slot(32, 0, 5, 9, 4, 6),
            slot(32, libc::FAN_Q_OVERFLOW, 5, 0, 4, -1),
        ] {
            assert_eq!(parse(&other), None, "{other:?}");
        }
    }
}
