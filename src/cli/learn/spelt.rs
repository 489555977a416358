//! What a number means, for comments: names from the kernel's headers.

use crate::access::Argument;

/// socket(2), argument 0.
const FAMILIES: [(u64, &str); 6] = [
    (1, "AF_UNIX"),
    (2, "AF_INET"),
    (10, "AF_INET6"),
    (16, "AF_NETLINK"),
    (17, "AF_PACKET"),
    (40, "AF_VSOCK"),
];

/// ioctl(2), argument 1.
const COMMANDS: [(u64, &str); 24] = [
    (0x5401, "TCGETS"),
    (0x5402, "TCSETS"),
    (0x5403, "TCSETSW"),
    (0x5404, "TCSETSF"),
    (0x540b, "TCFLSH"),
    (0x540e, "TIOCSCTTY"),
    (0x540f, "TIOCGPGRP"),
    (0x5410, "TIOCSPGRP"),
    (0x5411, "TIOCOUTQ"),
    (0x5412, "TIOCSTI"),
    (0x5413, "TIOCGWINSZ"),
    (0x5414, "TIOCSWINSZ"),
    (0x541b, "FIONREAD"),
    (0x541c, "TIOCLINUX"),
    (0x5421, "FIONBIO"),
    (0x5450, "FIONCLEX"),
    (0x5451, "FIOCLEX"),
    (0x5452, "FIOASYNC"),
    (0x8910, "SIOCGIFNAME"),
    (0x8912, "SIOCGIFCONF"),
    (0x8913, "SIOCGIFFLAGS"),
    (0x8915, "SIOCGIFADDR"),
    (0x8933, "SIOCGIFINDEX"),
    (0x4004_9409, "FICLONE"),
];

/// prctl(2), argument 0.
const OPTIONS: [(u64, &str); 16] = [
    (1, "PR_SET_PDEATHSIG"),
    (2, "PR_GET_PDEATHSIG"),
    (3, "PR_GET_DUMPABLE"),
    (4, "PR_SET_DUMPABLE"),
    (7, "PR_GET_KEEPCAPS"),
    (8, "PR_SET_KEEPCAPS"),
    (15, "PR_SET_NAME"),
    (16, "PR_GET_NAME"),
    (22, "PR_SET_SECCOMP"),
    (23, "PR_CAPBSET_READ"),
    (35, "PR_SET_MM"),
    (36, "PR_SET_CHILD_SUBREAPER"),
    (38, "PR_SET_NO_NEW_PRIVS"),
    (41, "PR_SET_THP_DISABLE"),
    (47, "PR_CAP_AMBIENT"),
    (0x5356_4d41, "PR_SET_VMA"),
];

/// ptrace(2), argument 0.
const REQUESTS: [(u64, &str); 14] = [
    (0, "PTRACE_TRACEME"),
    (1, "PTRACE_PEEKTEXT"),
    (2, "PTRACE_PEEKDATA"),
    (4, "PTRACE_POKETEXT"),
    (5, "PTRACE_POKEDATA"),
    (7, "PTRACE_CONT"),
    (16, "PTRACE_ATTACH"),
    (17, "PTRACE_DETACH"),
    (24, "PTRACE_SYSCALL"),
    (0x4200, "PTRACE_SETOPTIONS"),
    (0x4201, "PTRACE_GETEVENTMSG"),
    (0x4204, "PTRACE_GETREGSET"),
    (0x4205, "PTRACE_SETREGSET"),
    (0x4206, "PTRACE_SEIZE"),
];

/// bpf(2), argument 0.
const BPF_COMMANDS: [(u64, &str); 8] = [
    (0, "BPF_MAP_CREATE"),
    (1, "BPF_MAP_LOOKUP_ELEM"),
    (2, "BPF_MAP_UPDATE_ELEM"),
    (3, "BPF_MAP_DELETE_ELEM"),
    (4, "BPF_MAP_GET_NEXT_KEY"),
    (5, "BPF_PROG_LOAD"),
    (8, "BPF_PROG_ATTACH"),
    (28, "BPF_LINK_CREATE"),
];

/// seccomp(2), argument 0.
const OPERATIONS: [(u64, &str); 4] = [
    (0, "SECCOMP_SET_MODE_STRICT"),
    (1, "SECCOMP_SET_MODE_FILTER"),
    (2, "SECCOMP_GET_ACTION_AVAIL"),
    (3, "SECCOMP_GET_NOTIF_SIZES"),
];

/// setns(2), argument 1.
const KINDS: [(u64, &str); 9] = [
    (0, "any kind of namespace"),
    (0x80, "CLONE_NEWTIME"),
    (0x0002_0000, "CLONE_NEWNS"),
    (0x0200_0000, "CLONE_NEWCGROUP"),
    (0x0400_0000, "CLONE_NEWUTS"),
    (0x0800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];

/// What `argument` of the call `name` means; empty where that is not known here.
#[must_use]
pub fn argument(name: &str, argument: &Argument) -> String {
    let value = argument.value;
    let named = |table: &[(u64, &str)]| {
        let found = table.iter().find(|(number, _)| *number == value);
        found.map_or_else(String::new, |(_, name)| (*name).to_owned())
    };
    match name {
        "socket" | "socketpair" => named(&FAMILIES),
        "ioctl" => named(&COMMANDS),
        "prctl" => named(&OPTIONS),
        "ptrace" => named(&REQUESTS),
        "bpf" => named(&BPF_COMMANDS),
        "seccomp" => named(&OPERATIONS),
        "setns" => named(&KINDS),
        "clone" | "unshare" if value == 0 => "no new namespaces".into(),
        "clone" | "unshare" => "new namespaces".into(),
        "personality" if value == 0 => "PER_LINUX".into(),
        "personality" if value == 0xffff_ffff => "asks which it is".into(),
        _ => String::new(),
    }
}
