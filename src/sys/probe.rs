//! Questions to the kernel that no crate asks: which Landlock ABI, which seccomp flags, whether a
//! listener can be added.
//!
//! Each question is asked in a way that changes nothing for the asker: with a null pointer that
//! the kernel refuses after it has judged the flags, or in a child that ends at once.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use super::process::die_with_parent;

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
    // SAFETY: getpid has no preconditions.
    let parent = unsafe { libc::getpid() };
    // SAFETY: the child calls only async-signal-safe functions (system calls and _exit), so it is
    // sound even if other threads held locks at the moment of the fork.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let answer = match die_with_parent(parent) {
                Ok(()) => install_listener(),
                Err(_) => libc::ESRCH,
            };
            // SAFETY: _exit ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(answer) }
        }
        _ => match exit_code(child)? {
            0 => Ok(false),
            libc::EBUSY => Ok(true),
            errno => Err(io::Error::from_raw_os_error(errno)),
        },
    }
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

/// In the child: tries to install an allow-all filter with a listener; 0 or the errno.
fn install_listener() -> libc::c_int {
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
        0
    } else {
        io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO)
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
            0 | libc::EBUSY => assert!(taken.unwrap()),
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
