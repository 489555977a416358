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
        "clone" | "unshare" if value == 0 => "no new namespaces".into(),
        "clone" | "unshare" => "new namespaces".into(),
        "personality" if value == 0 => "PER_LINUX".into(),
        "personality" if value == 0xffff_ffff => "asks which it is".into(),
        _ => String::new(),
    }
}
