//! System call names and numbers: libseccomp's table of this very build, never the node's.

use libseccomp::{ScmpArch, ScmpSyscall};

/// What the table says about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// Its number on the architecture mantlet was built for.
    Number(u32),
    /// A call of other architectures only: nothing to filter here.
    Elsewhere,
    /// No such call in the table: misspelt, or younger than this build.
    Unknown,
}

/// Looks a name up.
#[must_use]
pub fn lookup(name: &str) -> Lookup {
    match ScmpSyscall::from_name_by_arch(name, ScmpArch::native()) {
        Ok(call) => match u32::try_from(call.as_raw_syscall()) {
            Ok(number) => Lookup::Number(number),
            Err(_) => Lookup::Elsewhere,
        },
        Err(_) => Lookup::Unknown,
    }
}

/// The name of a number on the architecture mantlet was built for.
#[must_use]
pub fn name_of(number: u32) -> Option<String> {
    let number = i32::try_from(number).ok()?;
    ScmpSyscall::from(number)
        .get_name_by_arch(ScmpArch::native())
        .ok()
}

/// Whether the kernel reads argument `index` of `name` as 32 bits, so that a comparison has to
/// ignore the register's upper half: a caller fills it as it likes (CVE-2019-10063).
#[must_use]
pub fn is_int(name: &str, index: u32) -> bool {
    let ints: &[u32] = match name {
        "clone" | "personality" | "unshare" | "keyctl" | "bpf" | "prctl" | "io_uring_setup"
        | "fsopen" | "userfaultfd" => &[0],
        "ioctl" | "fcntl" | "kill" | "seccomp" | "setns" | "fcntl64" => &[0, 1],
        "socket" | "socketpair" | "getsockopt" | "setsockopt" => &[0, 1, 2],
        "bind" | "connect" | "sendmsg" | "recvmsg" => &[0, 2],
        "listen" | "shutdown" => &[0, 1],
        "accept4" | "recvfrom" => &[0, 3],
        "sendto" => &[0, 3, 5],
        "sendmmsg" | "recvmmsg" => &[0, 2, 3],
        "memfd_create" => &[1],
        "open" => &[1, 2],
        "openat" => &[0, 2, 3],
        "mknod" => &[1, 2],
        "mknodat" => &[0, 2, 3],
        "chmod" | "fchmod" => &[1],
        "fchmodat" => &[0, 2],
        "execveat" => &[0, 4],
        _ => &[],
    };
    ints.contains(&index)
}
