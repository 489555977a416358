//! An older kernel, as far as Landlock can tell: a program and all that it starts see another ABI
//! than this kernel's. mantlet has no switch for that, so the kernel's answers are changed on their
//! way to it.
//!
//! A seccomp filter on the program hands the calls of Landlock to a tracer, a process of its own
//! that lives as long as anything it traces (containers and supervisors too). It answers the
//! question for the version with the older number, refuses rights, scopes, sizes and flags that are
//! younger as that kernel does, and lets the rest through: what is enforced is enforced by this
//! kernel. For ABI 0 there is no tracer; all three calls answer ENOSYS.
//!
//! What the tracer does not see: calls whose filter hands them to a tracer for another reason
//! (mantlet's tripwires before init) answer ENOSYS, as they do where there is no tracer.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

const ADD_RULE: i64 = libc::SYS_landlock_add_rule;
const CREATE: i64 = libc::SYS_landlock_create_ruleset;
const RESTRICT: i64 = libc::SYS_landlock_restrict_self;

/// Tells our filter's calls from those of others.
const OURS: u16 = 0x11ac;

/// What a kernel of an ABI knows (linux/landlock.h).
#[derive(Clone, Copy)]
struct Kernel {
    abi: u32,
    files: u64,
    tcp: u64,
    scopes: u64,
}

impl Kernel {
    fn of(abi: u32) -> Kernel {
        let files = match abi {
            1 => 0x1fff,
            2 => 0x3fff,
            3 | 4 => 0x7fff,
            5..=8 => 0xffff,
            _ => 0x1_ffff,
        };
        Kernel {
            abi,
            files,
            tcp: if abi < 4 { 0 } else { 3 },
            scopes: if abi < 6 { 0 } else { 3 },
        }
    }
}

/// Makes `command` and its descendants see Landlock's ABI `abi`, which this kernel must have.
pub fn emulate(command: &mut Command, abi: u32) {
    // SAFETY: the closure runs in the forked child and makes system calls only; it neither allocates
    // nor takes locks.
    unsafe { command.pre_exec(move || enter(abi)) };
}

fn enter(abi: u32) -> io::Result<()> {
    if abi > 0 {
        attach(Kernel::of(abi))?;
    }
    let action = match abi {
        0 => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        _ => libc::SECCOMP_RET_TRACE | u32::from(OURS),
    };
    install(action)
}

fn checked(result: i64) -> io::Result<i64> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Landlock's calls answer `action`, all others are allowed.
fn install(action: u32) -> io::Result<()> {
    let one = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let same = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let mut program = [
        // Offset 0 of struct seccomp_data: the call's number.
        one(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        one(same, 3, 0, CREATE as u32),
        one(same, 2, 0, ADD_RULE as u32),
        one(same, 1, 0, RESTRICT as u32),
        one(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        one(libc::BPF_RET | libc::BPF_K, 0, 0, action),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program and its instructions live until the call returns; the kernel copies them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &program,
        )
    };
    checked(done).map(drop)
}

/// Has a process of its own trace this one from now on.
fn attach(kernel: Kernel) -> io::Result<()> {
    // SAFETY: system calls on numbers and on memory of this frame; both forks happen in a process
    // with one thread, and the inner children end by _exit.
    unsafe {
        let target = libc::getpid();
        let mut pipe = [0; 2];
        checked(libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC).into())?;
        let between = libc::fork();
        if between == 0 {
            // A grandchild is nobody's child to wait for.
            if libc::fork() == 0 {
                trace(target, kernel, pipe[1]);
            }
            libc::_exit(0);
        }
        checked(between.into())?;
        libc::waitpid(between, std::ptr::null_mut(), 0);
        libc::close(pipe[1]);
        let mut word = 0_u8;
        let came = libc::read(pipe[0], std::ptr::from_mut(&mut word).cast(), 1);
        libc::close(pipe[0]);
        if came != 1 {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
    }
    Ok(())
}

/// The tracer's whole life. It holds no descriptor of anybody's.
unsafe fn trace(target: i32, kernel: Kernel, ready: i32) -> ! {
    // SAFETY: system calls on numbers and on memory of this frame.
    unsafe {
        libc::setsid();
        let ready = libc::dup2(ready, 0);
        libc::syscall(libc::SYS_close_range, 1, u32::MAX, 0);
        let follow = libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACESECCOMP;
        if libc::ptrace(libc::PTRACE_SEIZE, target, 0, i64::from(follow)) != 0 {
            libc::_exit(1);
        }
        libc::write(ready, b"!".as_ptr().cast(), 1);
        libc::close(ready);
        loop {
            let mut status = 0;
            let pid = libc::waitpid(-1, &mut status, libc::__WALL);
            if pid < 0 {
                if *libc::__errno_location() == libc::EINTR {
                    continue;
                }
                libc::_exit(0);
            }
            if !libc::WIFSTOPPED(status) {
                continue;
            }
            let signal = libc::WSTOPSIG(status);
            let (request, signal) = match status >> 16 {
                0 => (libc::PTRACE_CONT, signal),
                libc::PTRACE_EVENT_SECCOMP => {
                    answer(pid, kernel);
                    (libc::PTRACE_CONT, 0)
                }
                libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => (libc::PTRACE_LISTEN, 0),
                _ => (libc::PTRACE_CONT, 0),
            };
            libc::ptrace(request, pid, 0, i64::from(signal));
        }
    }
}

/// One call of Landlock.
unsafe fn answer(pid: i32, kernel: Kernel) {
    // SAFETY: the process is stopped and traced by this one; all pointers lead into this frame.
    unsafe {
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        let mut whose = 0_u64;
        libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &mut registers);
        libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &mut whose);
        let number = registers.orig_rax as i64;
        let verdict = if whose != u64::from(OURS) {
            Some(-i64::from(libc::ENOSYS))
        } else if number == CREATE {
            let (attributes, size) = (registers.rdi, registers.rsi);
            match registers.rdx as u32 {
                0 => ruleset(pid, attributes, size, kernel),
                1 => Some(i64::from(kernel.abi)),
                // The question for errata came with ABI 7, backports aside.
                _ if kernel.abi < 7 => Some(-i64::from(libc::EINVAL)),
                _ => None,
            }
        } else if number == RESTRICT && kernel.abi < 7 && registers.rsi as u32 != 0 {
            Some(-i64::from(libc::EINVAL))
        } else {
            None
        };
        if let Some(result) = verdict {
            registers.orig_rax = u64::MAX;
            registers.rax = result as u64;
            libc::ptrace(libc::PTRACE_SETREGS, pid, 0, &registers);
        }
    }
}

/// What an older kernel says of younger attributes: a field that it has no place for must be zero
/// (E2BIG), a bit that it does not know too (EINVAL).
unsafe fn ruleset(pid: i32, attributes: u64, size: u64, kernel: Kernel) -> Option<i64> {
    let field = |index: u64| {
        if size < (index + 1) * 8 {
            return 0;
        }
        // SAFETY: reads a word of the stopped process; a bad address there reads as -1.
        let word = unsafe { libc::ptrace(libc::PTRACE_PEEKDATA, pid, attributes + index * 8, 0) };
        word as u64
    };
    let (files, tcp, scopes) = (field(0), field(1), field(2));
    if (kernel.tcp == 0 && tcp != 0) || (kernel.scopes == 0 && scopes != 0) {
        return Some(-i64::from(libc::E2BIG));
    }
    let unknown = files & !kernel.files | tcp & !kernel.tcp | scopes & !kernel.scopes;
    (unknown != 0).then_some(-i64::from(libc::EINVAL))
}
