//! Descriptor numbers: who keeps which across an execve.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::check;

/// Takes over descriptor `number`, which this process was handed under that number.
///
/// # Errors
/// EBADF where nothing is open there.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) F_GETFD takes no argument and only looks.
    check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    // SAFETY: the descriptor is open, and was handed to this process for this purpose: the caller
    // asks for each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A handle on the file that is open under `number` (O_PATH, open(2)): nobody reads or writes by it, and
/// to close it asks nobody. Needs /proc.
///
/// # Errors
/// Those of open(2).
pub fn path_only(number: RawFd) -> io::Result<OwnedFd> {
    use nix::fcntl::{OFlag, open};
    let link = format!("/proc/self/fd/{number}");
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    Ok(open(link.as_str(), flags, nix::sys::stat::Mode::empty())?)
}

/// Whether it is such a handle.
pub fn is_path_only(fd: impl AsFd) -> bool {
    // SAFETY: fcntl(2) F_GETFL takes no argument and only looks.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_PATH != 0
}

/// Closes every descriptor from `first` on.
///
/// # Errors
/// Those of close_range(2) (5.9).
pub fn close_from(first: RawFd) -> io::Result<()> {
    let first = libc::c_uint::try_from(first).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: close_range(2) takes numbers only. Callers hold no owned descriptor in that range.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) })?;
    Ok(())
}

/// Closes every descriptor from `first` on but those in `kept`, which is sorted meanwhile.
///
/// # Errors
/// Those of close_range(2) (5.9).
pub fn close_all_but(first: RawFd, kept: &mut [RawFd]) -> io::Result<()> {
    kept.sort_unstable();
    let mut next = first;
    for &number in kept.iter().filter(|number| **number >= first) {
        if number > next {
            let (from, to) = (next as libc::c_uint, (number - 1) as libc::c_uint);
            // SAFETY: close_range(2) takes numbers only. Callers own nothing in that range any more:
            // a forked child leaves its parent's values behind for good.
            check(unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) })?;
        }
        next = number + 1;
    }
    close_from(next)
}

/// Makes every descriptor from `first` on close at the next execve(2).
///
/// # Errors
/// Those of close_range(2) with CLOSE_RANGE_CLOEXEC (5.11).
pub fn cloexec_from(first: RawFd) -> io::Result<()> {
    let first = libc::c_uint::try_from(first).map_err(|_| io::ErrorKind::InvalidInput)?;
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: close_range(2) takes numbers only; with this flag it closes nothing now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flag) })?;
    Ok(())
}

/// Sets or clears close-on-exec.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_cloexec(fd: impl AsFd, on: bool) -> io::Result<()> {
    let flags = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: fcntl(2) F_SETFD takes an int; the descriptor is open for this borrow.
    check(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFD, flags) }.into())?;
    Ok(())
}

/// The lowest descriptor number that is free now: what the next call that makes one will get.
///
/// # Errors
/// EMFILE where RLIMIT_NOFILE leaves none.
pub fn lowest_free(any_open: impl AsFd) -> io::Result<RawFd> {
    let source = any_open.as_fd().as_raw_fd();
    // SAFETY: fcntl(2) F_DUPFD_CLOEXEC takes an int; the result is closed below.
    let number = check(unsafe { libc::fcntl(source, libc::F_DUPFD_CLOEXEC, 0) }.into())? as RawFd;
    // SAFETY: the descriptor was made on the line above and belongs to nobody else.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(number)
}

/// Moves descriptors to consecutive numbers from `first` on, open across execve(2). Whatever was
/// open at those numbers is closed: a number beyond the engine's own preserved ones is a leak.
///
/// # Errors
/// Those of fcntl(2) and dup3(2). Some numbers may have been replaced by then.
pub fn place(fds: Vec<OwnedFd>, first: RawFd) -> io::Result<()> {
    let end = first + fds.len() as RawFd;
    // All sources go above the targets first, so that no target overwrites a source still needed.
    let high = fds
        .into_iter()
        .map(|fd| raise(fd, end))
        .collect::<io::Result<Vec<_>>>()?;
    for (target, fd) in (first..end).zip(&high) {
        // SAFETY: dup3(2) takes numbers; no owned descriptor of ours has the number `target`: the
        // sources were consumed above and their copies lie at `end` or beyond.
        check(unsafe { libc::dup3(fd.as_raw_fd(), target, 0) }.into())?;
    }
    Ok(())
}

/// The same open file under a number of at least `floor`, close-on-exec; the old number is closed.
///
/// # Errors
/// Those of fcntl(2).
pub fn raise(fd: OwnedFd, floor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) F_DUPFD_CLOEXEC takes an int; `fd` is open.
    let raw = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, floor) }.into())?;
    // SAFETY: the kernel just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Closes the numbers `first..end`, which [`place`] filled: a parent that stays keeps no copy.
///
/// # Errors
/// Those of close_range(2).
pub fn unplace(first: RawFd, end: RawFd) -> io::Result<()> {
    if end > first {
        // SAFETY: close_range(2) takes numbers; no owned descriptor of ours lies there, because
        // `place` consumed its sources and gave out no owner for the targets.
        check(unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_told_from_an_open_file_and_leads_to_it() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let handle = path_only(file.as_raw_fd()).unwrap();
        assert!(!is_path_only(&file) && is_path_only(&handle));
        let mut byte = 0_u8;
        // SAFETY: read(2) writes at most one byte.
        let count = unsafe { libc::read(handle.as_raw_fd(), (&raw mut byte).cast(), 1) };
        assert_eq!(count, -1);
    }
}
