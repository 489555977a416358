//! Starting a process that outlives its parent and holds nothing of it.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::fds::raise;
use super::{check, retry};

/// Starts `argv[0]` as a daemon: own session, re-parented, standard streams on /dev/null, cwd `/`,
/// default signals, and of all descriptors only `fds`, from number 3 on in their order. Returns
/// once the program has been executed.
///
/// The daemon is a grandchild and its parent is reaped here, so the caller may become another
/// program without leaving it a child it does not know.
///
/// # Errors
/// Those of fork(2), pipe2(2) and, reported from the grandchild, execve(2).
///
/// # Panics
/// Where `argv` is empty.
pub fn daemon(argv: &[CString], env: &[CString], fds: Vec<OwnedFd>) -> io::Result<()> {
    let mut words: Vec<_> = argv.iter().map(|word| word.as_ptr()).collect();
    assert!(!words.is_empty(), "a program has a name");
    words.push(std::ptr::null());
    let mut vars: Vec<_> = env.iter().map(|var| var.as_ptr()).collect();
    vars.push(std::ptr::null());
    let null = OwnedFd::from(
        std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")?,
    );
    let (result, end) = pipe()?;
    // Copies are made above every number that the daemon will use; see `become_daemon`.
    let floor = 4 + fds.len() as RawFd;
    let report = raise(end, floor)?;
    let null = raise(null, floor)?;
    let high = fds
        .into_iter()
        .map(|fd| raise(fd, floor))
        .collect::<io::Result<Vec<_>>>()?;
    let high_raw: Vec<RawFd> = high.iter().map(|fd| fd.as_raw_fd()).collect();

    // SAFETY: this process is single-threaded (front door) or the child makes only async-signal-safe
    // calls (tests): `become_daemon` allocates nothing and calls nothing but system calls.
    let child = check(unsafe { libc::fork() }.into())? as libc::pid_t;
    if child == 0 {
        // SAFETY: as above; all arrays outlive the call and end with null pointers.
        unsafe {
            become_daemon(
                &words,
                &vars,
                null.as_raw_fd(),
                report.as_raw_fd(),
                &high_raw,
            )
        }
    }
    drop(report);
    let mut status = 0;
    // SAFETY: waitpid(2) writes one int; the child is ours and ends at once after its own fork.
    retry(|| check(unsafe { libc::waitpid(child, &raw mut status, 0) }.into()))?;
    let mut errno = [0; 4];
    match std::fs::File::from(result).read_exact(&mut errno) {
        Ok(()) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
        // Closed by execve: the program runs.
        Err(_) if status == 0 => Ok(()),
        Err(_) => Err(io::Error::other("the intermediate process was killed")),
    }
}

/// Which of the two a process is after [`fork`].
#[derive(Debug)]
pub enum Fork {
    /// The one that called.
    Parent {
        /// The child, close-on-exec.
        pidfd: OwnedFd,
        /// Its pid, which is nobody else's until it is reaped.
        pid: i32,
    },
    /// The new one, with a copy of everything.
    Child,
}

/// Makes a copy of this process (fork(2)), held by descriptor.
///
/// # Errors
/// Those of fork(2) and pidfd_open(2), and then there is no child; an error where this process has
/// more than one thread, whose locks the child would inherit and nobody open.
pub fn fork() -> io::Result<Fork> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a process with threads does not fork"));
    }
    // SAFETY: this process has one thread, as was just counted, and only a thread of its own can
    // make another; so nothing is in a state that the child could not go on from.
    let pid = check(unsafe { libc::fork() }.into())? as libc::pid_t;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    match super::pidfd::open(pid) {
        Ok(pidfd) => Ok(Fork::Parent { pidfd, pid }),
        Err(error) => {
            let mut status = 0;
            // SAFETY: the child is ours and unreaped, so the pid is its own; waitpid(2) writes one
            // int.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, &raw mut status, 0);
            }
            Err(error)
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: pipe2(2) writes two ints, which `ends` has.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: the kernel just made both descriptors.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// The child's side. Never returns.
///
/// # Safety
/// Only async-signal-safe calls; the pointer arrays end with null and outlive it.
unsafe fn become_daemon(
    argv: &[*const libc::c_char],
    env: &[*const libc::c_char],
    null: RawFd,
    report: RawFd,
    fds: &[RawFd],
) -> ! {
    // SAFETY: system calls with integers and the caller's arrays; the last execve or _exit ends it.
    unsafe {
        let fail = || -> ! {
            let errno = (*libc::__errno_location()).to_ne_bytes();
            libc::write(report, errno.as_ptr().cast(), errno.len());
            libc::_exit(1)
        };
        if libc::setsid() == -1 {
            fail();
        }
        match libc::fork() {
            -1 => fail(),
            0 => {}
            _ => libc::_exit(0),
        }
        for number in 0..3 {
            if libc::dup2(null, number) == -1 {
                fail();
            }
        }
        for (number, fd) in (3..).zip(fds) {
            if libc::dup2(*fd, number) == -1 {
                fail();
            }
        }
        let first = 3 + fds.len() as RawFd;
        if libc::dup3(report, first, libc::O_CLOEXEC) == -1 {
            fail();
        }
        let rest = (first + 1) as libc::c_uint;
        libc::syscall(libc::SYS_close_range, rest, libc::c_uint::MAX, 0);
        let fail = || -> ! {
            let errno = (*libc::__errno_location()).to_ne_bytes();
            libc::write(first, errno.as_ptr().cast(), errno.len());
            libc::_exit(1)
        };
        if libc::chdir(c"/".as_ptr()) == -1 {
            fail();
        }
        libc::umask(0o077);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::execve(argv[0], argv.as_ptr(), env.as_ptr());
        fail()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked;
    use crate::sys::pidfd::Ended;
    use std::time::Duration;

    #[test]
    fn a_forked_child_is_held_by_descriptor() {
        forked::run(|| {
            match fork()? {
                Fork::Child => crate::sys::process::exit_now(7),
                Fork::Parent { pidfd, pid } => {
                    assert!(pid > 1);
                    assert_eq!(forked::end(&pidfd), Ended::Exited(7));
                }
            }
            Ok(())
        });
    }

    #[test]
    fn a_process_with_threads_is_not_forked() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || ended.recv().is_err());
        assert!(fork().is_err());
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn a_daemon_holds_only_what_it_was_given() {
        let (near, far) = super::super::socket::pair().unwrap();
        // No pipe and no redirection of ls alone: the shell would hold copies while ls looks.
        let script = "exec >&3; ls /proc/$$/fd; pwd; readlink /proc/$$/fd/0";
        let argv = ["/bin/sh", "-c", script].map(|word| CString::new(word).unwrap());
        let env = [c"PATH=/usr/bin:/bin".to_owned()];
        daemon(&argv, &env, vec![far]).unwrap();
        super::super::socket::set_timeout(&near, Duration::from_secs(10)).unwrap();
        let mut text = String::new();
        loop {
            let packet = super::super::socket::receive(&near, 4096).unwrap();
            if packet.bytes.is_empty() {
                break;
            }
            text.push_str(std::str::from_utf8(&packet.bytes).unwrap());
        }
        assert_eq!(text, "0\n1\n2\n3\n/\n/dev/null\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_of_the_caller() {
        let argv = [c"/no/such/program".to_owned()];
        let error = daemon(&argv, &[], Vec::new()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
