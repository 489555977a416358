//! Installing a compiled filter and answering its notifications (seccomp(2), seccomp_unotify(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::check;
use super::shared::Region;

/// seccomp(2), 5.19: a notified call waits in a state that only a fatal signal ends.
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;
/// linux/seccomp.h, 6.6: the answer wakes the caller on this very CPU.
const FD_SYNC_WAKE_UP: libc::c_ulong = 1;

pub(super) const IOCTL_RECV: libc::Ioctl = 0xC050_2100_u32 as libc::Ioctl;
pub(super) const IOCTL_SEND: libc::Ioctl = 0xC018_2101_u32 as libc::Ioctl;
/// As numbered since 5.8; the kernels before had the direction wrong.
pub(super) const IOCTL_ID_VALID: libc::Ioctl = 0x4008_2102_u32 as libc::Ioctl;
pub(super) const IOCTL_SET_FLAGS: libc::Ioctl = 0x4008_2104_u32 as libc::Ioctl;

/// Bytes of a notification as [`receive_into`] leaves it.
pub const SLOT: usize = 0x50;

const _: () = assert!(size_of::<libc::seccomp_notif>() == SLOT);
const _: () = assert!(size_of::<libc::seccomp_notif_resp>() == 0x18);

/// Installs `program` for this thread and, where asked, returns its listener, which has the lowest
/// free number and is close-on-exec.
///
/// # Errors
/// EINVAL for a program that the kernel's checker refuses, EACCES without no_new_privs, EBUSY where
/// a listener is already in the chain, EMFILE where no number is free.
pub fn install(
    program: &[libc::sock_filter],
    flags: u32,
    listener: bool,
) -> io::Result<Option<OwnedFd>> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let fprog = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    let mut flags = libc::c_ulong::from(flags);
    if listener {
        flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    }
    // SAFETY: seccomp(2) reads `fprog` and the instructions it points to, both alive here, and
    // writes neither.
    let raw = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const fprog,
        )
    })?;
    // SAFETY: with NEW_LISTENER the result is a descriptor the kernel just made.
    Ok(listener.then(|| unsafe { OwnedFd::from_raw_fd(raw as RawFd) }))
}

/// A call that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Names the call in the answer.
    pub id: u64,
    /// The caller's thread id, in this process's pid namespace; 0 where it cannot be seen from here.
    pub tid: u32,
    /// System call number.
    pub number: i32,
    /// AUDIT_ARCH_* value.
    pub arch: u32,
    /// Argument registers.
    pub args: [u64; 6],
}

/// Takes the next notification. Blocks where there is none, O_NONBLOCK or not: poll first.
///
/// # Errors
/// ENOENT where the caller was killed meanwhile, which is normal; EINTR.
pub fn receive(listener: impl AsFd) -> io::Result<Notification> {
    // SAFETY: the structure is plain integers, for which zero is a value, and must be zero (5.5).
    let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the ioctl writes the 80 bytes its number encodes, which `raw` has.
    check(unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), IOCTL_RECV, &raw mut raw) }.into())?;
    Ok(Notification {
        id: raw.id,
        tid: raw.pid,
        number: raw.data.nr,
        arch: raw.data.arch,
        args: raw.data.args,
    })
}

/// As [`receive`], straight into the [`SLOT`] bytes of `region` at `offset`, cleared first: the
/// kernel offers a notification once, and whoever survives this process answers it by the id that
/// lies there. A process that is killed meanwhile has either left the notification in the queue or
/// all of it in the slot. Answer first, then clear the slot.
///
/// # Errors
/// Those of [`receive`]; nothing lies in the slot then.
///
/// # Panics
/// Where the slot is not inside the region.
pub fn receive_into(
    listener: impl AsFd,
    region: &Region,
    offset: usize,
) -> io::Result<Notification> {
    region.clear(offset, SLOT);
    let (fd, slot) = (listener.as_fd().as_raw_fd(), region.slot_ptr(offset, SLOT));
    // SAFETY: the ioctl reads and writes the 80 bytes its number encodes, which `slot_ptr` has found
    // inside the region; it is mapped for writing, the kernel asks for no alignment, and nothing of
    // Rust's refers to the bytes but atomics.
    check(unsafe { libc::ioctl(fd, IOCTL_RECV, slot) }.into())?;
    notification_at(region, offset).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What the slot at `offset` holds; `None` where it was cleared. Anybody may have written it.
///
/// # Panics
/// Where the slot is not inside the region.
pub fn notification_at(region: &Region, offset: usize) -> Option<Notification> {
    let mut slot = [0; SLOT];
    region.read(offset, &mut slot);
    let (words, _) = slot.as_chunks::<8>();
    let word = |at: usize| u64::from_ne_bytes(words[at]);
    let half = |at: usize| {
        let (halves, _) = slot.as_chunks::<4>();
        u32::from_ne_bytes(halves[at])
    };
    let found = Notification {
        id: word(0),
        tid: half(2),
        number: half(4).cast_signed(),
        arch: half(5),
        args: std::array::from_fn(|at| word(4 + at)),
    };
    // An id may be any number; an architecture is never 0.
    (found.arch != 0).then_some(found)
}

/// The id in the slot at `offset`, for its answer; `None` where it was cleared.
///
/// # Panics
/// Where the slot is not inside the region.
pub fn notification_id_at(region: &Region, offset: usize) -> Option<u64> {
    notification_at(region, offset).map(|found| found.id)
}

/// Whether the call of that id still waits, so that what was read of its thread meanwhile was
/// really the caller's (SECCOMP_IOCTL_NOTIF_ID_VALID).
pub fn id_valid(listener: impl AsFd, id: u64) -> bool {
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the ioctl reads the 8 bytes its number encodes.
    unsafe { libc::ioctl(fd, IOCTL_ID_VALID, &raw const id) == 0 }
}

/// Answers a notification with an errno (positive, as in errno(3)).
///
/// # Errors
/// ENOENT where the caller was killed meanwhile, which is normal.
pub fn deny(listener: impl AsFd, id: u64, errno: i32) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: -errno,
        flags: 0,
    };
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the ioctl reads the 24 bytes its number encodes, which `answer` has.
    check(unsafe { libc::ioctl(fd, IOCTL_SEND, &raw mut answer) }.into())?;
    Ok(())
}

/// Has a notified call go on as if nobody had been asked (5.5). Whatever its memory held when it was
/// looked at, it may hold something else now: this authorises nothing.
///
/// # Errors
/// ENOENT where the caller was killed meanwhile, which is normal.
pub fn go_on(listener: impl AsFd, id: u64) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: 0,
        flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    };
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the ioctl reads the 24 bytes its number encodes, which `answer` has.
    check(unsafe { libc::ioctl(fd, IOCTL_SEND, &raw mut answer) }.into())?;
    Ok(())
}

/// Asks for synchronous wake-ups; kernels before 6.6 refuse, which costs only time.
///
/// # Errors
/// EINVAL on those kernels.
pub fn wake_synchronously(listener: impl AsFd) -> io::Result<()> {
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the ioctl takes its flags by value.
    check(unsafe { libc::ioctl(fd, IOCTL_SET_FLAGS, FD_SYNC_WAKE_UP) }.into())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pidfd::{self, Ended};
    use crate::sys::spawn::{Fork, fork};
    use crate::sys::{forked, process, socket};
    use std::sync::atomic::Ordering;

    /// A filter that notifies one call and allows all others.
    fn notifying(number: libc::c_long) -> [libc::sock_filter; 4] {
        let step = |code: u32, jf, k| libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf,
            k,
        };
        [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            step(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                1,
                number as u32,
            ),
            step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_USER_NOTIF),
            step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ]
    }

    /// What the two processes of the supervisor stand on.
    #[test]
    fn a_notification_that_a_killed_reader_left_is_answered_from_its_slot() {
        forked::run(|| {
            let region = Region::new(256)?;
            // The listener's process, its caller and its reader are three, the first with both.
            let (near, far) = socket::pair()?;
            let caller = match fork()? {
                Fork::Parent { pidfd, .. } => pidfd,
                Fork::Child => {
                    process::set_no_new_privs().unwrap();
                    let listener = install(&notifying(libc::SYS_getppid), 0, true).unwrap();
                    let listener = listener.expect("it was asked for");
                    socket::send(&far, b"l", &[listener.as_raw_fd()]).unwrap();
                    drop(listener);
                    // SAFETY: getppid has no preconditions.
                    let answered = check(unsafe { libc::syscall(libc::SYS_getppid) });
                    let errno = answered.err().and_then(|error| error.raw_os_error());
                    process::exit_now(errno.unwrap_or(0))
                }
            };
            let listener = socket::receive(&near, 8)?.fds.remove(0);
            let reader = match fork()? {
                Fork::Parent { pidfd, .. } => pidfd,
                Fork::Child => {
                    let call = receive_into(&listener, &region, 100).unwrap();
                    assert!(id_valid(&listener, call.id));
                    region.u32_at(0).store(1, Ordering::Release);
                    loop {
                        std::thread::sleep(std::time::Duration::from_secs(1));
                    }
                }
            };
            while region.u32_at(0).load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            pidfd::send_signal(&reader, libc::SIGKILL)?;
            assert_eq!(forked::end(&reader), Ended::Signaled(libc::SIGKILL));
            assert!(!pidfd::has_ended(&caller), "it waits");
            let flags = nix::poll::PollFlags::POLLIN;
            let mut polled = [nix::poll::PollFd::new(listener.as_fd(), flags)];
            let offered = nix::poll::poll(&mut polled, 100_u16)?;
            assert_eq!(offered, 0, "it is not offered again");
            let found = notification_at(&region, 100).ok_or("an empty slot")?;
            assert_eq!(i64::from(found.number), libc::SYS_getppid);
            let id = notification_id_at(&region, 100).ok_or("an empty slot")?;
            assert!(id_valid(&listener, id));
            deny(&listener, id, libc::EACCES)?;
            assert_eq!(forked::end(&caller), Ended::Exited(libc::EACCES));
            assert!(!id_valid(&listener, id), "it was answered");
            assert!(deny(&listener, id, libc::EPERM).is_err());
            region.clear(100, SLOT);
            assert_eq!(notification_id_at(&region, 100), None);
            Ok(())
        });
    }

    /// Why the exact filter refuses a listener of the workload's: nobody else does, once the
    /// supervisor's is closed, and the newer one alone is asked.
    #[test]
    fn a_listener_that_was_closed_makes_room_for_one_that_lets_calls_continue() {
        let program = notifying(libc::SYS_getppid);
        let (tell, told) = std::sync::mpsc::channel();
        // Filters belong to a thread; this one ends with its own.
        let caller = std::thread::spawn(move || {
            // SAFETY: prctl takes numbers.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            let first = match install(&program, 0, true) {
                Ok(first) => first,
                Err(error) => {
                    eprintln!("skipped: no listener can be installed here ({error})");
                    return None;
                }
            };
            let busy = install(&program, 0, true).unwrap_err();
            assert_eq!(busy.raw_os_error(), Some(libc::EBUSY), "while it is held");
            drop(first);
            // SAFETY: getppid has no preconditions.
            let ask = || check(unsafe { libc::syscall(libc::SYS_getppid) });
            let orphaned = ask().unwrap_err();
            assert_eq!(
                orphaned.raw_os_error(),
                Some(libc::ENOSYS),
                "still a denial"
            );
            let second = install(&program, 0, true).expect("the place is free");
            tell.send(second.expect("it was asked for")).unwrap();
            Some(ask())
        });
        if let Ok(listener) = told.recv() {
            let call = receive(&listener).unwrap();
            let mut answer = libc::seccomp_notif_resp {
                id: call.id,
                val: 0,
                error: 0,
                flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            };
            // SAFETY: the ioctl reads the 24 bytes its number encodes, which `answer` has.
            let sent = unsafe { libc::ioctl(listener.as_raw_fd(), IOCTL_SEND, &raw mut answer) };
            assert_eq!(sent, 0);
            let answered = caller.join().unwrap().expect("it sent a listener");
            assert!(
                answered.is_ok_and(|parent| parent > 0),
                "the older filter is not asked"
            );
        } else {
            assert!(caller.join().unwrap().is_none());
        }
    }
}
