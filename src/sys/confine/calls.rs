//! The system calls that are left to the watcher: a list written as the program that the kernel runs
//! (seccomp(2)), by hand, so that it can be read here and needs no library.

use std::io;

use crate::sys::pidfd::PIDFD_GET_INFO;
use crate::sys::seccomp;

/// Calls that are allowed whatever their arguments: on descriptors that are open, on memory, on
/// time, and to look at files.
const CALLS: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_getdents64,
    libc::SYS_fgetxattr,
    libc::SYS_pidfd_open,
    libc::SYS_timerfd_settime,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    // The seed of a HashMap.
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What a watcher calls besides that looks at what the container's memory names.
const LOOKING: &[libc::c_long] = &[libc::SYS_process_vm_readv];

/// Calls that are allowed where the argument of that place has none of these bits.
const WITHOUT: &[(libc::c_long, u32, libc::c_int)] = &[
    (libc::SYS_openat, 2, WRITING),
    (libc::SYS_mmap, 2, libc::PROT_EXEC),
    (libc::SYS_mprotect, 2, libc::PROT_EXEC),
];

/// What makes an open(2) more than a look. O_TMPFILE shares a bit with O_DIRECTORY, which is fine.
const WRITING: libc::c_int =
    libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY);

/// Calls that are allowed where their second argument is one of these. Not F_SETFL: the group, the bell
/// and the listeners are the keeper's too, and one that blocks would hang it.
const ONE_OF: &[(libc::c_long, &[u32])] = &[
    (
        libc::SYS_ioctl,
        &[
            seccomp::IOCTL_RECV as u32,
            seccomp::IOCTL_SEND as u32,
            seccomp::IOCTL_ID_VALID as u32,
            seccomp::IOCTL_SET_FLAGS as u32,
            PIDFD_GET_INFO as u32,
        ],
    ),
    (
        libc::SYS_fcntl,
        &[
            libc::F_GETFD as u32,
            libc::F_SETFD as u32,
            libc::F_GETFL as u32,
            libc::F_DUPFD_CLOEXEC as u32,
        ],
    ),
];

/// linux/audit.h: the one architecture that this program is built for.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;

/// asm/unistd.h `__X32_SYSCALL_BIT`: numbers from here on are another table under the same
/// architecture. No other architecture has as many calls.
const X32: u32 = 0x4000_0000;

/// Ends this process (SIGSYS, seccomp(2)) at the first system call that is not in the lists above:
/// no new process, thread or program, no socket, no signal, no file for writing.
///
/// Needs no_new_privs. Threads that are there already stay as they are, so there must be none.
///
/// With `memory`, that of other processes may be read.
///
/// # Errors
/// Those of seccomp(2).
pub fn allow_only(memory: bool) -> io::Result<()> {
    let more = if memory { LOOKING } else { &[] };
    seccomp::install(&program(more), 0, false).map(drop)
}

/// The program, hot calls first. The kernel has calls without conditions in a table by number
/// (5.11) and does not run it for them.
fn program(more: &[libc::c_long]) -> Vec<libc::sock_filter> {
    let mut steps = vec![
        load(std::mem::offset_of!(libc::seccomp_data, arch)),
        jump(libc::BPF_JEQ, ARCH, 1, 0),
        KILL,
        load(std::mem::offset_of!(libc::seccomp_data, nr)),
        jump(libc::BPF_JGE, X32, 0, 1),
        KILL,
    ];
    for number in CALLS.iter().chain(more) {
        steps.extend([jump(libc::BPF_JEQ, *number as u32, 0, 1), ALLOW]);
    }
    for (number, place, bits) in WITHOUT {
        steps.extend([
            jump(libc::BPF_JEQ, *number as u32, 0, 4),
            load(argument(*place)),
            jump(libc::BPF_JSET, bits.cast_unsigned(), 1, 0),
            ALLOW,
            KILL,
        ]);
    }
    for (number, values) in ONE_OF {
        // Load, two steps for each value, kill.
        let length = u8::try_from(2 + 2 * values.len()).expect("the lists are short");
        steps.extend([
            jump(libc::BPF_JEQ, *number as u32, 0, length),
            load(argument(1)),
        ]);
        for value in *values {
            steps.extend([jump(libc::BPF_JEQ, *value, 0, 1), ALLOW]);
        }
        steps.push(KILL);
    }
    steps.push(KILL);
    steps
}

/// Where the low half of an argument lies: all that the kernel looks at in an `int`, and all of
/// the bits that mean anything in `prot`.
const fn argument(place: u32) -> usize {
    let low = if cfg!(target_endian = "big") { 4 } else { 0 };
    std::mem::offset_of!(libc::seccomp_data, args) + 8 * place as usize + low
}

const ALLOW: libc::sock_filter = step(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW);
const KILL: libc::sock_filter = step(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_KILL_PROCESS);

const fn load(offset: usize) -> libc::sock_filter {
    let code = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    step(code, 0, 0, offset as u32)
}

const fn jump(test: u32, value: u32, then: u8, or: u8) -> libc::sock_filter {
    step(libc::BPF_JMP | test | libc::BPF_K, then, or, value)
}

const fn step(code: u32, then: u8, or: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: then,
        jf: or,
        k: value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked;
    use crate::sys::pidfd::{self, Ended};
    use crate::sys::spawn::fork;
    use crate::sys::{process, socket};

    /// In a forked child under the filter, and not confined otherwise: how `call` ends it.
    fn killed(what: &str, call: impl FnOnce() -> bool) {
        let (ended, words) = forked::outcome(|| {
            process::set_no_new_privs()?;
            allow_only(false)?;
            Err(format!("it went on, {}", call()))?
        });
        assert_eq!(ended, Ended::Signaled(libc::SIGSYS), "{what}: {words}");
    }

    #[test]
    fn a_call_that_reaches_beyond_the_process_ends_it() {
        killed("kill", || {
            nix::sys::signal::kill(nix::unistd::Pid::this(), None).is_ok()
        });
        killed("socket", || socket::pair().is_ok());
        killed("fork", || fork().is_ok());
        killed("a thread", || {
            std::thread::Builder::new().spawn(|| {}).is_ok()
        });
        killed("pidfd_getfd", || {
            pidfd::get_fd(pidfd::open(1).unwrap(), 0).is_ok()
        });
        killed("a signal by pidfd", || {
            pidfd::send_signal(pidfd::open(1).unwrap(), 0).is_ok()
        });
        killed("execve", || {
            let own = process::Command::new(c"/proc/self/exe".into(), Vec::new());
            own.become_it().raw_os_error().is_some()
        });
        #[cfg(target_arch = "x86_64")]
        killed("x32", || {
            // SAFETY: getpid, in the other table.
            unsafe { libc::syscall(libc::SYS_getpid | libc::c_long::from(X32)) > 0 }
        });
    }

    #[test]
    fn an_argument_that_is_not_for_looking_ends_it() {
        for flags in [
            libc::O_WRONLY,
            libc::O_RDWR,
            libc::O_CREAT,
            libc::O_TRUNC,
            libc::O_TMPFILE | libc::O_RDWR,
            libc::O_ACCMODE,
        ] {
            killed(&format!("open with {flags:#o}"), || {
                let path = c"/no/such/file".as_ptr();
                // SAFETY: openat(2) reads a NUL-terminated path.
                unsafe { libc::openat(libc::AT_FDCWD, path, flags, 0) != -1 }
            });
        }
        killed("an ioctl", || {
            // SAFETY: TIOCSTI reads nothing through a null pointer.
            unsafe { libc::ioctl(0, libc::TIOCSTI, std::ptr::null::<u8>()) == 0 }
        });
        killed("an owner of a descriptor", || {
            // SAFETY: F_SETOWN takes a number.
            unsafe { libc::fcntl(0, libc::F_SETOWN, 1) == 0 }
        });
        killed("a shared descriptor that blocks", || {
            // SAFETY: F_SETFL takes a number.
            unsafe { libc::fcntl(0, libc::F_SETFL, 0) == 0 }
        });
        let (null, flags) = (
            std::ptr::null_mut(),
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        killed("executable memory", || {
            // SAFETY: a new mapping where nothing is.
            unsafe { libc::mmap(null, 4096, libc::PROT_EXEC, flags, -1, 0) != libc::MAP_FAILED }
        });
        killed("memory made executable", || {
            // SAFETY: a range of no pages.
            unsafe { libc::mprotect(null, 0, libc::PROT_EXEC) == 0 }
        });
    }

    #[test]
    fn every_jump_lands_inside() {
        let steps = program(LOOKING);
        for (at, step) in steps.iter().enumerate() {
            let farthest = at + 1 + usize::from(step.jt.max(step.jf));
            assert!(step.code & 7 != libc::BPF_JMP as u16 || farthest < steps.len());
        }
        assert_eq!(
            steps.last().map(|step| step.k),
            Some(libc::SECCOMP_RET_KILL_PROCESS)
        );
        let mut calls: Vec<_> = CALLS.to_vec();
        calls.extend(LOOKING);
        calls.extend(WITHOUT.iter().map(|row| row.0));
        calls.extend(ONE_OF.iter().map(|row| row.0));
        let count = calls.len();
        calls.sort_unstable();
        calls.dedup();
        assert_eq!(calls.len(), count, "a call stands in the lists twice");
    }
}
