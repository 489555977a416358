//! Processes held by descriptor, so that a reused pid is never mistaken for the one meant.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

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

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code, 0 to 255.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl fmt::Display for Ended {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Exited(code) => write!(to, "exited with code {code}"),
            Ended::Signaled(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(to, "was killed by {signal}"),
                Err(_) => write!(to, "was killed by signal {number}"),
            },
        }
    }
}

/// Reaps a child of this process that has ended (waitid(2), P_PIDFD, 5.4), without waiting. `None`
/// while it lives, and for what is no child or was reaped before.
pub fn wait(pidfd: impl AsFd) -> Option<Ended> {
    let id = pidfd.as_fd().as_raw_fd().cast_unsigned();
    // SAFETY: the structure is plain numbers, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG;
    // SAFETY: waitid(2) takes an open descriptor and writes one `siginfo_t`.
    check(unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, flags) }.into()).ok()?;
    // SAFETY: waitid(2) fills the fields of SIGCHLD, or leaves zeros.
    let status = unsafe { info.si_status() };
    match info.si_code {
        libc::CLD_EXITED => Some(Ended::Exited(status)),
        libc::CLD_KILLED | libc::CLD_DUMPED => Some(Ended::Signaled(status)),
        _ => None,
    }
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
pub(super) const PIDFD_GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl;

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
    fn a_child_is_reaped_once_it_has_ended_and_once() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read line; kill -9 $$"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pidfd = open(child.id() as i32).unwrap();
        assert_eq!(wait(&pidfd), None, "it lives");
        drop(child.stdin.take());
        let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::NONE).unwrap();
        let ended = wait(&pidfd).unwrap();
        assert_eq!(ended, Ended::Signaled(libc::SIGKILL));
        assert_eq!(ended.to_string(), "was killed by SIGKILL");
        assert_eq!(wait(&pidfd), None, "it is gone");
        assert!(child.wait().is_err(), "for others too");
        assert_eq!(wait(open(1).unwrap()), None, "no child of ours");
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
