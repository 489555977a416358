//! What a process does to itself on the way to being another program.

use std::ffi::{CStr, CString};
use std::io;

use super::check;

/// Keeps other processes of the same user from reading this one's memory (PR_SET_DUMPABLE).
///
/// # Errors
/// Those of prctl(2).
pub fn set_undumpable() -> io::Result<()> {
    // SAFETY: prctl(2) PR_SET_DUMPABLE takes an integer.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into())?;
    Ok(())
}

/// Takes off the handlers that Rust's runtime has for SIGSEGV and SIGBUS: under a filter that knows
/// little, all they do is to end the process by another signal.
pub fn default_faults() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: signal(2) takes two numbers; the default action runs no code of this process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Gives up gaining privileges by execve, for good (PR_SET_NO_NEW_PRIVS).
///
/// # Errors
/// Those of prctl(2).
pub fn set_no_new_privs() -> io::Result<()> {
    // SAFETY: prctl(2) PR_SET_NO_NEW_PRIVS takes an integer, the other arguments must be 0.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
    Ok(())
}

/// What ps(1) and /proc/PID/comm call this thread: the first 15 bytes of `name` (PR_SET_NAME).
///
/// # Errors
/// Those of prctl(2).
pub fn set_name(name: &CStr) -> io::Result<()> {
    // SAFETY: prctl(2) PR_SET_NAME reads at most 16 bytes of a NUL-terminated string.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) }.into())?;
    Ok(())
}

/// Asks for SIGKILL when the thread that made this process ends (PR_SET_PDEATHSIG), and makes sure
/// that its process `parent` was still there. The kernel forgets the wish whenever the user or the
/// capabilities change for more: ask after dropping privileges.
///
/// # Errors
/// ESRCH where the parent has ended already; those of prctl(2).
pub fn die_with_parent(parent: i32) -> io::Result<()> {
    let signal = libc::SIGKILL as libc::c_ulong;
    // SAFETY: prctl(2) PR_SET_PDEATHSIG takes a number.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) }.into())?;
    // SAFETY: getppid(2) has no preconditions.
    if unsafe { libc::getppid() } != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

/// Gives SIGPIPE its default action back, which Rust's start-up code set to ignore.
pub fn restore_sigpipe() {
    // SAFETY: signal(2) with SIG_DFL installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Sets one resource limit of this process.
///
/// # Errors
/// EPERM where the hard limit would rise without CAP_SYS_RESOURCE, EINVAL for an unknown one.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    let old = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: prlimit64(2) reads `limit` and, with a null pointer, writes nothing.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, old) })?;
    Ok(())
}

/// Lowers one resource limit of this process to at most `soft` and `hard`, and raises neither.
///
/// # Errors
/// EINVAL for an unknown resource.
pub fn lower_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let mut old = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let new = std::ptr::null::<libc::rlimit64>();
    // SAFETY: prlimit64(2) with a null pointer for the new limit only writes `old`.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, new, &raw mut old) })?;
    let (least_soft, least_hard) = (old.rlim_cur.min(soft).min(hard), old.rlim_max.min(hard));
    if (least_soft, least_hard) == (old.rlim_cur, old.rlim_max) {
        return Ok(());
    }
    set_rlimit(resource, least_soft, least_hard)
}

/// A program, its arguments, and pointers to them, made ready while memory may still be asked for.
#[derive(Debug)]
pub struct Command {
    path: CString,
    _words: Vec<CString>,
    argv: Vec<*const libc::c_char>,
}

impl Command {
    /// Prepares `path` with the argument vector `words`, `words[0]` included.
    pub fn new(path: CString, words: Vec<CString>) -> Command {
        let mut argv: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
        argv.push(std::ptr::null());
        Command {
            path,
            _words: words,
            argv,
        }
    }

    /// Becomes that program, with this process's own environment. Makes one system call and asks
    /// for no memory. Returns only the error.
    pub fn become_it(&self) -> io::Error {
        unsafe extern "C" {
            static environ: *const *const libc::c_char;
        }
        // SAFETY: execve(2) reads the three arrays: `path` and the words are NUL-terminated strings
        // owned by `self`, `argv` ends with a null pointer, and `environ` is the C library's own
        // array, which no other thread of this single-threaded process changes.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), environ) };
        io::Error::last_os_error()
    }
}

/// Ends this process at once: no destructors, no buffers, one system call.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Whether a file is a directory, and its hard-link count and mode, without following the path
/// again.
///
/// # Errors
/// Those of fstat(2).
pub fn stat(fd: impl std::os::fd::AsFd) -> io::Result<libc::stat> {
    use std::os::fd::AsRawFd;
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut out: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: fstat(2) writes one `struct stat`, which `out` is.
    check(unsafe { libc::fstat(fd.as_fd().as_raw_fd(), &raw mut out) }.into())?;
    Ok(out)
}

/// The mount that an open file was reached through (statx(2), STATX_MNT_ID, 5.8): the number that
/// /proc/PID/mountinfo has for it.
///
/// # Errors
/// Those of statx(2); ENOSYS where the kernel does not tell.
pub fn mount_of(fd: impl std::os::fd::AsFd) -> io::Result<u64> {
    use std::os::fd::AsRawFd;
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut out: libc::statx = unsafe { std::mem::zeroed() };
    let (raw, empty) = (fd.as_fd().as_raw_fd(), c"".as_ptr());
    let (flags, mask) = (libc::AT_EMPTY_PATH, libc::STATX_MNT_ID);
    // SAFETY: statx(2) reads an empty string and writes one `struct statx`, which `out` is.
    check(unsafe { libc::statx(raw, empty, flags, mask, &raw mut out) }.into())?;
    if out.stx_mask & mask == 0 {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    Ok(out.stx_mnt_id)
}

/// Whether a file has capabilities of its own (xattr(7), security.capability).
pub fn has_capabilities(fd: impl std::os::fd::AsFd) -> bool {
    use std::os::fd::AsRawFd;
    let (raw, name) = (fd.as_fd().as_raw_fd(), c"security.capability".as_ptr());
    // SAFETY: fgetxattr(2) with size 0 reads the name and writes nothing.
    unsafe { libc::fgetxattr(raw, name, std::ptr::null_mut(), 0) > 0 }
}

/// Gives back what a program that will sleep for long does not need: freed memory, which the C
/// library would keep, and the pages of its own code and constants, which come back from the page
/// cache as they are used.
pub fn give_back_memory() {
    // SAFETY: malloc_trim(3) takes a number, is thread-safe, and touches only free memory.
    unsafe { libc::malloc_trim(0) };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, end) in maps.lines().filter_map(pristine) {
        let address = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range is a file mapping without write permission, as the kernel just told;
        // dropped pages of it are read again from the very same file (madvise(2), MADV_DONTNEED).
        // Nothing patched it before: the programs are static and have no text relocations, and what
        // is relocated once and then read-only (relro) does not lie at the file's beginning.
        unsafe { libc::madvise(address, end - start, libc::MADV_DONTNEED) };
    }
}

/// The range of a line of /proc/PID/maps (proc_pid_maps(5)) that is as the program's file has it: its
/// code, or the constants at the file's beginning. Backed by a file, which the vdso is not.
fn pristine(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (mode, offset, inode) = (fields.next()?, fields.next()?, fields.nth(1)?);
    let constants = mode == "r--p" && offset.bytes().all(|digit| digit == b'0');
    if !(mode == "r-xp" || constants) || inode == "0" {
        return None;
    }
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(start)?, number(end)?))
}

/// One read(2) into `buffer`: the bytes read, 0 at the end, on an error or after the timeout.
/// Makes no other system call.
pub fn read_some(fd: std::os::fd::BorrowedFd<'_>, buffer: &mut [u8]) -> usize {
    use std::os::fd::AsRawFd;
    loop {
        // SAFETY: read(2) writes at most `buffer.len()` bytes into `buffer`.
        let count = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(count) {
            Ok(count) => return count,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return 0,
        }
    }
}

/// Writes all of `bytes` with write(2) alone; whether it worked.
pub fn write_all(fd: std::os::fd::RawFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // SAFETY: write(2) reads at most `bytes.len()` bytes; a closed number answers EBADF.
        let count = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

/// Removes a variable from this process's environment.
pub fn forget_variable(name: &str) {
    // SAFETY: the programs that call this are single-threaded, so nobody reads the environment
    // meanwhile.
    unsafe { std::env::remove_var(name) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pidfd::{self, Ended};
    use crate::sys::spawn::{Fork, fork};
    use crate::sys::{forked, shared::Region};
    use std::sync::atomic::Ordering;

    #[test]
    fn a_process_that_asked_for_it_dies_with_its_parent() {
        forked::run(|| {
            // The grandchild comes to this process, which is then its parent.
            nix::sys::prctl::set_child_subreaper(true)?;
            let region = Region::new(8)?;
            let own = std::process::id() as i32;
            let parent = match fork()? {
                Fork::Parent { pidfd, .. } => pidfd,
                Fork::Child => {
                    let parent = std::process::id() as i32;
                    if matches!(fork(), Ok(Fork::Child)) {
                        assert!(die_with_parent(own).is_err(), "that is its grandparent");
                        die_with_parent(parent).unwrap();
                        region
                            .u32_at(0)
                            .store(std::process::id(), Ordering::Release);
                    }
                    loop {
                        std::thread::sleep(std::time::Duration::from_secs(1));
                    }
                }
            };
            while region.u32_at(0).load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            let grandchild = pidfd::open(region.u32_at(0).load(Ordering::Relaxed) as i32)?;
            pidfd::send_signal(&parent, libc::SIGKILL)?;
            assert_eq!(forked::end(&parent), Ended::Signaled(libc::SIGKILL));
            assert_eq!(forked::end(&grandchild), Ended::Signaled(libc::SIGKILL));
            Ok(())
        });
    }

    #[test]
    fn a_name_is_what_proc_tells() {
        forked::run(|| {
            set_name(c"mantlet-a-name-that-is-long")?;
            assert_eq!(std::fs::read("/proc/self/comm")?, b"mantlet-a-name-\n");
            Ok(())
        });
    }

    #[test]
    fn only_what_was_never_written_is_pristine() {
        let line = "00257000-00360000 r-xp 00056000 fe:00 917 /usr/bin/program";
        assert_eq!(pristine(line), Some((0x25_7000, 0x36_0000)));
        let constants = "00200000-00257000 r--p 00000000 fe:00 917 /usr/bin/program";
        assert_eq!(pristine(constants), Some((0x20_0000, 0x25_7000)));
        for other in [
            "00360000-00365000 r--p 0015f000 fe:00 917 /usr/bin/program",
            "00360000-00365000 rwxp 0015f000 fe:00 917 /usr/bin/program",
            "7fba0000-7fbb0000 r-xp 00000000 00:00 0 [vdso]",
            "",
        ] {
            assert_eq!(pristine(other), None, "{other}");
        }
    }

    #[test]
    fn a_program_runs_on_after_it_gave_back_its_memory() {
        let kept = vec![7_u8; 100_000];
        give_back_memory();
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}
