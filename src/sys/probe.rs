//! Questions to the kernel that no crate asks: which Landlock ABI, which seccomp flags, whether a
//! listener can be added and may let calls go on.
//!
//! Each question is asked in a way that changes nothing for the asker: with a null pointer that
//! the kernel refuses after it has judged the flags, or in a child that ends at once.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use super::process::die_with_parent;
use super::seccomp::IOCTL_SEND;

/// `LANDLOCK_CREATE_RULESET_VERSION` (linux/landlock.h).
const LANDLOCK_VERSION: libc::c_ulong = 1;

/// Landlock ABI by landlock_create_ruleset(2); 0 where the kernel has none, it is not among the
/// boot-time LSMs, or an outer filter forbids the question (then init could not use it either).
pub fn landlock_abi() -> u32 {
    let null = ptr::null::<libc::c_void>();
    // SAFETY: with LANDLOCK_CREATE_RULESET_VERSION the kernel requires a null pointer and size 0,
    // reads nothing, and returns a number instead of a descriptor.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            null,
            0usize,
            LANDLOCK_VERSION,
        )
    };
    u32::try_from(abi).unwrap_or(0)
}

/// Whether `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` is known (kernel 5.19).
///
/// The kernel judges flags before it reads the program: a known set answers EFAULT to a null
/// pointer, an unknown one EINVAL. The flag is only valid together with NEW_LISTENER.
pub fn wait_killable() -> bool {
    let flags =
        libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let null = ptr::null::<libc::sock_fprog>();
    // SAFETY: the program pointer is null, so the call fails with EFAULT or EINVAL (seccomp(2))
    // before anything is installed.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            null,
        )
    };
    rc == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// Whether a filter above this process already has a listener, found by installing one in a child
/// that ends at once.
///
/// # Errors
/// The child could not be made, or the kernel refused the filter for another reason than EBUSY.
pub fn listener_taken() -> io::Result<bool> {
    let answer = in_child(|| match install_listener() {
        Ok(_) => 0,
        Err(errno) => errno,
    })?;
    match answer {
        0 => Ok(false),
        libc::EBUSY => Ok(true),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Whether whoever answers a notified call may let it go on (SECCOMP_USER_NOTIF_FLAG_CONTINUE, 5.5).
///
/// The kernel judges an answer's flags before it looks for the call that is meant: of one that nobody
/// made, a known flag gets ENOENT, an unknown one EINVAL. In a child, which ends with its listener.
///
/// # Errors
/// The child could not be made, or no listener can be installed.
pub fn may_go_on() -> io::Result<bool> {
    let answer = in_child(|| match install_listener() {
        Ok(listener) => answer_nobody(listener, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        Err(errno) => errno,
    })?;
    match answer {
        libc::ENOENT => Ok(true),
        libc::EINVAL => Ok(false),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Runs `ask` in a child, and gives the number that it ends with. It may call nothing but system calls.
fn in_child(ask: impl FnOnce() -> libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: getpid has no preconditions.
    let parent = unsafe { libc::getpid() };
    // SAFETY: the child calls only async-signal-safe functions (system calls and _exit), so it is
    // sound even if other threads held locks at the moment of the fork.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let answer = match die_with_parent(parent) {
                Ok(()) => ask(),
                Err(_) => libc::ESRCH,
            };
            // SAFETY: _exit ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(answer) }
        }
        _ => exit_code(child),
    }
}

/// In the child: answers a call that nobody made; the errno.
fn answer_nobody(listener: libc::c_int, flags: u32) -> libc::c_int {
    let mut answer = libc::seccomp_notif_resp {
        id: 0,
        val: 0,
        error: 0,
        flags,
    };
    // SAFETY: the ioctl reads the 24 bytes its number encodes, which `answer` has.
    let rc = unsafe { libc::ioctl(listener, IOCTL_SEND, &raw mut answer) };
    if rc == 0 { 0 } else { last_errno() }
}

fn last_errno() -> libc::c_int {
    let errno = io::Error::last_os_error().raw_os_error();
    errno.unwrap_or(libc::EIO)
}

/// Makes the command's process die with the thread that starts it, so that a killed front door
/// leaves no orphan behind.
pub fn end_with_parent(command: &mut Command) -> &mut Command {
    // SAFETY: getpid has no preconditions.
    let parent = unsafe { libc::getpid() };
    // SAFETY: the closure runs between fork and exec and makes two system calls; it neither
    // allocates nor takes locks.
    unsafe { command.pre_exec(move || die_with_parent(parent)) }
}

/// In the child: tries to install an allow-all filter with a listener; its number, or the errno.
fn install_listener() -> Result<libc::c_int, libc::c_int> {
    let mut allow = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &mut allow,
    };
    // SAFETY: prctl takes numbers; the program points to one valid instruction that lives until
    // the call returns, and the kernel copies it.
    let rc = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &program as *const libc::sock_fprog,
        )
    };
    if rc >= 0 {
        Ok(rc as libc::c_int)
    } else {
        Err(last_errno())
    }
}

/// Waits for a child that exits by itself and gives its exit code.
fn exit_code(child: libc::pid_t) -> io::Result<libc::c_int> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for the kernel to write, and `child` is ours.
        if unsafe { libc::waitpid(child, &mut status, 0) } == child {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    if libc::WIFEXITED(status) {
        Ok(libc::WEXITSTATUS(status))
    } else {
        Err(io::Error::other("the probing child was killed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_a_listener_leaves_the_asker_unfiltered() {
        let before = seccomp_line();
        let _ = listener_taken();
        assert_eq!(seccomp_line(), before);
    }

    #[test]
    fn asking_for_flags_installs_nothing() {
        let before = seccomp_line();
        let _ = wait_killable();
        assert_eq!(seccomp_line(), before);
    }

    #[test]
    fn a_listener_in_the_chain_is_found() {
        // Filters belong to a thread; this one ends with its own. The listener's descriptor stays
        // open until then, and the filter allows everything.
        let (installed, taken) = std::thread::spawn(|| (install_listener(), listener_taken()))
            .join()
            .unwrap();
        match installed {
            Ok(_) | Err(libc::EBUSY) => assert!(taken.unwrap()),
            Err(errno) => eprintln!("skipped: no listener can be installed here (errno {errno})"),
        }
    }

    #[test]
    fn a_flag_of_an_answer_is_judged_before_the_call_that_it_is_for() {
        // No kernel knows bit 31: what one before 5.5 says to the flag that is asked about.
        let ask = |flags| {
            in_child(|| match install_listener() {
                Ok(listener) => answer_nobody(listener, flags),
                Err(errno) => errno,
            })
        };
        match ask(1 << 31).unwrap() {
            libc::EINVAL => {
                let before = seccomp_line();
                assert!(may_go_on().unwrap(), "every kernel from 5.5 on");
                assert_eq!(seccomp_line(), before);
            }
            errno => eprintln!("skipped: no listener can be installed here (errno {errno})"),
        }
    }

    fn seccomp_line() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status
            .lines()
            .filter(|l| l.starts_with("Seccomp") || l.starts_with("NoNewPrivs"))
            .collect()
    }
}
