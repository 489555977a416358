//! What the kernel can enforce.

use std::fs;
use std::io;

use landlock::{ABI, BitFlags, Erratum};

use super::Check;
use crate::host::Kernel;

/// What each Landlock ABI added (landlock(7)): a kernel below it cannot restrict this.
const ADDED: [(u32, &str, &str); 7] = [
    (2, "5.19", "moving and linking files between folders"),
    (3, "6.2", "truncating files"),
    (4, "6.7", "TCP bind and connect"),
    (5, "6.10", "ioctl on devices"),
    (
        6,
        "6.12",
        "signals and abstract unix sockets across the sandbox",
    ),
    (7, "6.15", "(audit records of denials)"),
    (9, "7.1", "connecting to unix sockets by path"),
];

/// All checks of the kernel.
pub fn checks() -> Vec<Check> {
    let mut checks = match Kernel::probe() {
        Ok(kernel) => {
            vec![
                landlock(kernel.landlock_abi),
                errata(kernel.landlock_abi, Erratum::current()),
                user_notif(&kernel),
                looking(&kernel),
                killable(&kernel),
                nested(&kernel),
            ]
        }
        Err(error) => vec![Check::fail(
            "kernel",
            error.to_string(),
            "run doctor on the node, as root",
        )],
    };
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    checks.extend([yama(scope), cgroup(), lsm()]);
    checks
}

fn landlock(abi: u32) -> Check {
    let name = "landlock";
    if abi == 0 {
        return Check::fail(
            name,
            "the kernel has no Landlock, or it is not enabled",
            "boot with `landlock` in the lsm= parameter (CONFIG_LANDLOCK, kernel 5.13 or later)",
        );
    }
    let lacks: Vec<String> = ADDED
        .iter()
        .filter(|(since, ..)| abi < *since)
        .map(|(since, kernel, what)| format!("{what} (ABI {since}, kernel {kernel})"))
        .collect();
    if lacks.is_empty() {
        return Check::ok(name, format!("ABI {abi}"));
    }
    Check::warn(
        name,
        format!("ABI {abi}; cannot restrict: {}", lacks.join(", ")),
        "a newer kernel; profiles that require more are refused here",
    )
}

/// Bugs of Landlock itself. They change nothing about what a profile handles: a right that is
/// enforced with a hole is more than one that is not.
fn errata(abi: u32, fixed: BitFlags<Erratum>) -> Check {
    let name = "landlock errata";
    let known = ABI::from(i32::try_from(abi).unwrap_or(i32::MAX));
    let open: Vec<String> = (BitFlags::<Erratum>::from(known) & !fixed)
        .iter()
        .map(|erratum| match erratum {
            Erratum::TcpSocketIdentification => "1 (MPTCP, SMC and SCTP taken for TCP)".into(),
            Erratum::ScopedSignalHandling => "2 (signals between threads refused)".into(),
            Erratum::DisconnectedDirectoryHandling => {
                "3 (rights widened by moving directories out of a bind mount)".into()
            }
            other => format!("{}", other as u32),
        })
        .collect();
    if open.is_empty() {
        return Check::ok(name, "all that are known are fixed");
    }
    Check::warn(
        name,
        format!("not known to be fixed: {}", open.join(", ")),
        "the newest release of this kernel's series; kernels before 6.15 do not tell",
    )
}

fn user_notif(kernel: &Kernel) -> Check {
    if kernel.user_notif {
        return Check::ok("seccomp notification", "known (tripwires are reported)");
    }
    Check::fail(
        "seccomp notification",
        "the kernel does not know user_notif",
        "kernel 5.0 or later",
    )
}

fn looking(kernel: &Kernel) -> Check {
    let name = "modes audit and learn";
    if kernel.may_go_on {
        return Check::ok(name, "possible (a call that was looked at goes on)");
    }
    Check::warn(
        name,
        "not possible: calls that were looked at cannot go on (SECCOMP_USER_NOTIF_FLAG_CONTINUE), so \
         such profiles are refused",
        "kernel 5.5 or later, and a node that is not itself under a seccomp listener",
    )
}

/// Yama's word on who may look into whose memory, and take whose descriptors.
fn yama(scope: io::Result<String>) -> Check {
    let name = "ptrace (Yama)";
    match scope.as_deref().map(str::trim) {
        Ok("3") => Check::fail(
            name,
            "kernel.yama.ptrace_scope is 3: nobody takes a seccomp listener from mantlet-init or reads a \
             container's memory, so no container with tripwires, audit or learning starts",
            "set kernel.yama.ptrace_scope to 2 or less in /etc/sysctl.d and boot anew: it cannot be lowered \
             from 3",
        ),
        Ok(scope) => Check::ok(name, format!("kernel.yama.ptrace_scope is {scope}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Check::ok(name, "the kernel has no Yama")
        }
        Err(error) => Check::warn(
            name,
            format!("cannot be read: {error}"),
            "run doctor on the node, as root",
        ),
    }
}

fn killable(kernel: &Kernel) -> Check {
    let name = "seccomp wait-killable";
    if kernel.wait_killable {
        return Check::ok(name, "known");
    }
    Check::warn(
        name,
        "not known: a signal may restart a refused call, which is then reported twice",
        "kernel 5.19 or later",
    )
}

fn nested(kernel: &Kernel) -> Check {
    let name = "seccomp listener";
    if !kernel.listener_taken {
        return Check::ok(name, "free");
    }
    Check::fail(
        name,
        "a filter above this process has a listener already; the kernel allows one in a chain",
        "run the engine outside of the container that notifies (a nested node)",
    )
}

/// Which hierarchy the runtimes find. Both work; crun needs a pure one.
fn cgroup() -> Check {
    let name = "cgroup";
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut kinds = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        place.starts_with("/sys/fs/cgroup").then_some((place, kind))
    });
    let kinds: Vec<_> = kinds.by_ref().collect();
    let pure = kinds
        .iter()
        .any(|&(place, kind)| place == "/sys/fs/cgroup" && kind == "cgroup2");
    let two = kinds.iter().any(|(_, kind)| *kind == "cgroup2");
    let one = kinds.iter().any(|(_, kind)| *kind == "cgroup");
    match (pure, two, one) {
        (true, ..) => Check::ok(name, "version 2"),
        (_, true, true) => Check::warn(
            name,
            "version 1 with version 2 beside it (hybrid); crun refuses to work with it",
            "boot with systemd.unified_cgroup_hierarchy=1, or keep to runc",
        ),
        (_, _, true) => Check::ok(name, "version 1"),
        _ => Check::fail(
            name,
            "none mounted at /sys/fs/cgroup",
            "mount cgroup2 at /sys/fs/cgroup",
        ),
    }
}

/// Other security modules look at the exec of mantlet-init.
fn lsm() -> Check {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let apparmor = read("/sys/module/apparmor/parameters/enabled").trim() == "Y";
    let selinux = read("/sys/fs/selinux/enforce").trim() == "1";
    let name = "AppArmor, SELinux";
    match (apparmor, selinux) {
        (false, false) => Check::ok(name, "not active"),
        (true, _) => Check::warn(
            name,
            "AppArmor is active: a container's profile attaches when mantlet-init is executed",
            "give custom profiles `/ rm,` with flags=(attach_disconnected) if containers fail to start",
        ),
        (_, true) => Check::warn(
            name,
            "SELinux is enforcing: labelled containers get mantlet-init by a bind mount, which is not tested there",
            "look for `avc: denied { execute } … memfd` in the audit log if containers fail to start",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn an_older_kernel_is_told_what_it_cannot_restrict() {
        assert_eq!(landlock(0).level, Level::Fail);
        assert_eq!(landlock(9).level, Level::Ok);
        assert!(landlock(7).finding.contains("unix sockets by path"));
        let three = landlock(3);
        assert_eq!(three.level, Level::Warn);
        assert!(three.finding.contains("TCP bind") && !three.finding.contains("truncating"));
    }

    #[test]
    fn open_errata_are_told_as_far_as_they_concern_the_kernels_abi() {
        let none = BitFlags::empty();
        assert_eq!(errata(7, BitFlags::all()).level, Level::Ok);
        assert_eq!(errata(0, none).level, Level::Ok);
        let three = errata(3, none);
        assert_eq!(three.level, Level::Warn);
        assert!(three.finding.contains("bind mount") && !three.finding.contains("MPTCP"));
    }

    #[test]
    fn a_taken_listener_and_a_missing_notification_fail() {
        let kernel = Kernel {
            landlock_abi: 7,
            user_notif: false,
            listener_taken: true,
            may_go_on: false,
            wait_killable: false,
        };
        assert_eq!(looking(&kernel).level, Level::Warn);
        assert_eq!(nested(&kernel).level, Level::Fail);
        assert_eq!(user_notif(&kernel).level, Level::Fail);
        assert_eq!(killable(&kernel).level, Level::Warn);
    }

    #[test]
    fn a_yama_that_forbids_every_attach_fails_and_all_others_do_not() {
        let level = |scope: &str| yama(Ok(format!("{scope}\n"))).level;
        assert_eq!(
            ["0", "1", "2", "3"].map(level),
            [Level::Ok, Level::Ok, Level::Ok, Level::Fail]
        );
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(yama(Err(missing)).level, Level::Ok);
        assert_eq!(yama(Err(io::Error::other("x"))).level, Level::Warn);
    }
}
