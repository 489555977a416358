//! Processes held by descriptor, so that a reused pid is never mistaken for the one meant.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

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
