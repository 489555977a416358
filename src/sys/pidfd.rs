//! Processes held by descriptor, so that a reused pid is never mistaken for the one meant.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::check;

/// A descriptor for process `pid` (pidfd_open(2), 5.3); readable once the process has ended.
///
/// # Errors
/// ESRCH where there is no such process.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes a pid and flags, 0 here.
    let raw = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// linux/pidfd.h, 6.9: the descriptor is for one thread.
const PIDFD_THREAD: libc::c_int = libc::O_EXCL;

/// A descriptor for thread `tid`; readable once the thread has ended, and until then the number is
/// nobody else's. Before 6.9 only for a process's first thread.
///
/// # Errors
/// ESRCH where there is no such thread; EINVAL where the kernel has none for this one.
pub fn open_thread(tid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes a number and flags.
    let raw = match check(unsafe { libc::syscall(libc::SYS_pidfd_open, tid, PIDFD_THREAD) }) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return open(tid),
        other => other,
    }?;
    // SAFETY: the kernel just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Whether the process or thread has ended. What cannot be told counts as ended.
pub fn has_ended(pidfd: impl AsFd) -> bool {
    let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    !matches!(poll(&mut polled, PollTimeout::ZERO), Ok(0))
}

/// A copy of the process's own descriptor `number` (pidfd_getfd(2), 5.6). Close-on-exec.
///
/// # Errors
/// EBADF where nothing is open there, EPERM without the right to trace the process.
pub fn get_fd(pidfd: impl AsFd, number: RawFd) -> io::Result<OwnedFd> {
    let pidfd = pidfd.as_fd().as_raw_fd();
    // SAFETY: pidfd_getfd(2) takes two descriptor numbers and flags, 0 here.
    let raw = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, number, 0) })?;
    // SAFETY: the kernel just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Sends `signal` (pidfd_send_signal(2), 5.1).
///
/// # Errors
/// ESRCH where the process has ended.
pub fn send_signal(pidfd: impl AsFd, signal: libc::c_int) -> io::Result<()> {
    let pidfd = pidfd.as_fd().as_raw_fd();
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: pidfd_send_signal(2) accepts a null siginfo and flags 0: as kill(2) would.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, info, 0) })?;
    Ok(())
}

/// linux/pidfd.h `struct pidfd_info`, first published form (6.13), 64 bytes.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<Info>() == 64);

/// `PIDFD_INFO_EXIT` (6.15).
const INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl;

/// Exit code of an ended and reaped process: its own code, or 128 + signal. `None` where the kernel
/// (before 6.15) or the moment (not yet reaped) does not tell.
pub fn exit_code(pidfd: impl AsFd) -> Option<i32> {
    let mut info = Info {
        mask: INFO_EXIT,
        ..Info::default()
    };
    // SAFETY: PIDFD_GET_INFO writes at most the 64 bytes that its number encodes, and `info` has
    // them; other kernels answer ENOTTY or EINVAL and write nothing.
    let result = unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if result != 0 || info.mask & INFO_EXIT == 0 {
        return None;
    }
    let status = info.exit_code;
    Some(match libc::WTERMSIG(status) {
        0 => libc::WEXITSTATUS(status),
        signal => 128 + signal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_thread_is_held_until_it_ends() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            let _ = ended.recv();
        });
        let tid = told.recv().unwrap();
        // Before 6.9 the kernel has no descriptor for it.
        if let Ok(held) = open_thread(tid) {
            assert!(!has_ended(&held));
            drop(end);
            thread.join().unwrap();
            while !has_ended(&held) {
                std::thread::yield_now();
            }
        }
        let own = std::process::id() as i32;
        assert!(!has_ended(open_thread(own).unwrap()));
    }

    #[test]
    fn an_ended_child_tells_its_code_where_the_kernel_can() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exit 7"])
            .spawn()
            .unwrap();
        let pidfd = open(child.id() as i32).unwrap();
        child.wait().unwrap();
        assert!(matches!(exit_code(&pidfd), Some(7) | None));
        let error = send_signal(&pidfd, 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }
}
