//! Whether a container's /proc is the kernel's own: a pure check of `/proc/PID/mountinfo`
//! (proc_pid_mountinfo(5)).
//!
//! The runtime executes init as `/proc/self/fd/N`, so whoever forges that path chooses what is
//! executed with our descriptors. The check is made while the container is parked (nothing of the
//! image has run) and before each exec.
//!
//! # What makes it strict
//!
//! * The order of lines is no order of stacking: since Linux 6.8 lines come in the order of
//!   creation, and move_mount(2) attaches later. So the top of a stack is found by parents: the
//!   mount that no other mount at the same place has for its parent.
//! * setns(2) into a mount namespace starts at the *topmost* mount of `/`. A second mount there
//!   would hide the /proc seen here from the next exec; it is refused, whatever it is.
//! * The text shows only what is below PID's root. A process that called chroot(2) shows no mount
//!   at `/`; it is refused rather than trusted.
//! * Mounts elsewhere below /proc may be what runtimes make (masks from tmpfs or /dev/null,
//!   read-only binds of the same procfs on itself) or what the admin lists. No list opens
//!   `/proc/self`, `/proc/thread-self` or `/proc/PID`.

use std::path::{Path, PathBuf};

use super::mountinfo::{self, Mount};

/// Why a container's /proc is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgedProc {
    /// The text is not mountinfo.
    #[error(
        "cannot check the container's /proc: line {line} of mountinfo has another form than the kernel's; report this kernel"
    )]
    Malformed {
        /// From 1.
        line: usize,
    },
    /// No mount, or more than one, at `/`.
    #[error(
        "refusing to trust the container's /proc: {count} mounts at /, expected one; remove mounts over / and do not chroot the container's first process"
    )]
    Root {
        /// How many.
        count: usize,
    },
    /// Nothing at /proc.
    #[error(
        "refusing to trust the container's /proc: nothing is mounted there; add a mount of type proc at /proc"
    )]
    NoProc,
    /// Mounts at /proc that are no stack on the root mount.
    #[error(
        "refusing to trust the container's /proc: the mounts at /proc do not lie on each other; mount it once"
    )]
    Unstacked,
    /// The mount on top is no procfs, or a part of one.
    #[error(
        "refusing to trust the container's /proc: on top lies {root:?} of a {fstype:?}; remove the mount over /proc"
    )]
    NotProcfs {
        /// File system type, escaped as the kernel shows it.
        fstype: String,
        /// Root of the mount inside its file system.
        root: PathBuf,
    },
    /// A mount where the process finds itself.
    #[error(
        "refusing to trust the container's /proc: something is mounted at {path:?}; remove that mount"
    )]
    OverSelf {
        /// Where.
        path: PathBuf,
    },
    /// A mount elsewhere below /proc that no runtime makes.
    #[error(
        "refusing to trust the container's /proc: a {fstype:?} is mounted at {path:?}; remove that mount, or let the node's admin list it in proc_mounts"
    )]
    Unexpected {
        /// Where.
        path: PathBuf,
        /// File system type.
        fstype: String,
    },
}

/// Checks the whole text; `allowed` are the admin's mount points below /proc, compared as they are.
///
/// # Errors
///
/// The first reason not to trust it.
pub fn check(text: &str, allowed: &[PathBuf]) -> Result<(), ForgedProc> {
    // 1. Read all of it, or nothing.
    let mounts = mountinfo::read(text).map_err(|line| ForgedProc::Malformed { line })?;
    // 2. One root.
    let roots: Vec<&Mount> = mounts
        .iter()
        .filter(|mount| mount.point == Path::new("/"))
        .collect();
    let [root] = roots[..] else {
        return Err(ForgedProc::Root { count: roots.len() });
    };
    // 3. A whole procfs on top of /proc.
    let proc = top_of_proc(&mounts, root)?;
    if proc.fstype != "proc" || proc.root != Path::new("/") {
        return Err(ForgedProc::NotProcfs {
            fstype: proc.fstype.clone(),
            root: proc.root.clone(),
        });
    }
    // 4. Nothing inside that could be another self.
    mounts
        .iter()
        .try_for_each(|mount| below_proc(mount, proc, allowed))
}

/// The mount at /proc that path lookup ends on.
fn top_of_proc<'a>(mounts: &'a [Mount], root: &Mount) -> Result<&'a Mount, ForgedProc> {
    let mut stack: Vec<&Mount> = mounts
        .iter()
        .filter(|mount| mount.point == Path::new("/proc"))
        .collect();
    if stack.is_empty() {
        return Err(ForgedProc::NoProc);
    }
    let mut below = root.id;
    let mut top = None;
    while !stack.is_empty() {
        let on_it: Vec<usize> = (0..stack.len())
            .filter(|at| stack[*at].parent == below)
            .collect();
        let [at] = on_it[..] else {
            return Err(ForgedProc::Unstacked);
        };
        let mount = stack.remove(at);
        below = mount.id;
        top = Some(mount);
    }
    top.ok_or(ForgedProc::NoProc)
}

/// Judges one mount, if it lies below /proc.
fn below_proc(mount: &Mount, proc: &Mount, allowed: &[PathBuf]) -> Result<(), ForgedProc> {
    let Ok(inside) = mount.point.strip_prefix("/proc") else {
        return Ok(());
    };
    let Some(first) = inside.iter().next() else {
        return Ok(());
    };
    let digits = first
        .to_str()
        .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    if digits || first == "self" || first == "thread-self" {
        return Err(ForgedProc::OverSelf {
            path: mount.point.clone(),
        });
    }
    let mask = mount.fstype == "tmpfs" || mount.fstype == "devtmpfs";
    let same_place = mount.fstype == "proc"
        && mount.device == proc.device
        && mount
            .root
            .strip_prefix("/")
            .is_ok_and(|root| root == inside);
    if mask || same_place || allowed.contains(&mount.point) {
        return Ok(());
    }
    Err(ForgedProc::Unexpected {
        path: mount.point.clone(),
        fstype: mount.fstype.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// runc 1.1.5, `runc spec`, kernel 6.18.
    const RUNC: &str = "\
65 43 254:0 /bundle/rootfs / ro,relatime - ext4 /dev/vda rw,discard
66 65 0:40 / /proc rw,relatime - proc proc rw
67 65 0:41 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
68 67 0:42 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666
71 65 0:44 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
44 66 0:40 /bus /proc/bus ro,relatime - proc proc rw
45 66 0:40 /fs /proc/fs ro,relatime - proc proc rw
46 66 0:40 /irq /proc/irq ro,relatime - proc proc rw
47 66 0:40 /sys /proc/sys ro,relatime - proc proc rw
48 66 0:46 / /proc/acpi ro,relatime - tmpfs tmpfs ro
49 66 0:41 /null /proc/keys rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
50 66 0:41 /null /proc/timer_list rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
";

    /// crun 1.8.1, `runc spec`, kernel 6.18.
    const CRUN: &str = "\
82 57 254:0 /bundle/rootfs / ro,relatime - ext4 /dev/vda rw,discard
83 82 0:41 / /proc rw,relatime - proc proc rw
84 82 0:42 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
98 83 0:47 / /proc/acpi ro,relatime - tmpfs tmpfs rw,size=0k
99 83 0:6 /null /proc/keys ro,relatime - devtmpfs devtmpfs rw,size=12334492k,nr_inodes=3083623,mode=755
105 83 0:41 /sys /proc/sys ro,relatime - proc proc rw
";

    fn with(base: &str, line: &str) -> Result<(), ForgedProc> {
        check(&format!("{base}{line}\n"), &[])
    }

    #[test]
    fn what_runc_and_crun_mount_is_believed() {
        assert_eq!(check(RUNC, &[]), Ok(()));
        assert_eq!(check(CRUN, &[]), Ok(()));
        let shared = "1 0 0:1 / / rw shared:1 master:2 - overlay o rw\n2 1 0:2 / /proc rw - proc proc rw,hidepid=2\n";
        assert_eq!(check(shared, &[]), Ok(()));
        assert_eq!(
            with(RUNC, "90 65 8:1 /v /procfs rw - ext4 /dev/sda rw"),
            Ok(())
        );
    }

    #[test]
    fn a_volume_over_proc_is_refused() {
        let over = "200 66 254:0 /evil /proc rw - ext4 /dev/vda rw";
        let want = ForgedProc::NotProcfs {
            fstype: "ext4".into(),
            root: "/evil".into(),
        };
        assert_eq!(with(RUNC, over), Err(want.clone()));
        // Listed first, as the kernel may, it still lies on top.
        assert_eq!(check(&format!("{over}\n{RUNC}"), &[]), Err(want));
        let only = "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 /evil /proc rw - tmpfs t rw\n";
        assert!(matches!(
            check(only, &[]),
            Err(ForgedProc::NotProcfs { .. })
        ));
        let part = "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 /7 /proc rw - proc proc rw\n";
        assert!(matches!(
            check(part, &[]),
            Err(ForgedProc::NotProcfs { .. })
        ));
    }

    #[test]
    fn a_mount_where_a_process_finds_itself_is_refused() {
        for path in [
            "/proc/self",
            "/proc/self/fd",
            "/proc/thread-self/fd",
            "/proc/1",
            "/proc/42/fd",
            "/proc/7//deleted",
        ] {
            for kind in ["tmpfs", "proc", "ext4"] {
                let line = format!("200 66 0:41 / {path} rw - {kind} x rw");
                let allowed = [PathBuf::from(path)];
                let got = check(&format!("{RUNC}{line}\n"), &allowed);
                assert!(
                    matches!(got, Err(ForgedProc::OverSelf { .. })),
                    "{line}: {got:?}"
                );
            }
        }
    }

    #[test]
    fn a_volume_elsewhere_below_proc_needs_the_admin() {
        let line = "200 66 0:50 /proc/meminfo /proc/meminfo rw - fuse.lxcfs lxcfs rw";
        assert!(matches!(
            with(RUNC, line),
            Err(ForgedProc::Unexpected { .. })
        ));
        assert_eq!(
            check(&format!("{RUNC}{line}\n"), &["/proc/meminfo".into()]),
            Ok(())
        );
        // Another place of procfs, or another procfs, is no read-only bind of a runtime.
        assert!(with(RUNC, "200 66 0:40 /1 /proc/tty ro - proc proc rw").is_err());
        assert!(with(RUNC, "200 66 0:99 /tty /proc/tty ro - proc proc rw").is_err());
    }

    #[test]
    fn a_second_root_or_none_is_refused() {
        assert_eq!(
            with(RUNC, "200 65 254:0 /evil / rw - ext4 /dev/vda rw"),
            Err(ForgedProc::Root { count: 2 })
        );
        assert_eq!(check("", &[]), Err(ForgedProc::Root { count: 0 }));
        assert_eq!(
            check("66 65 0:40 / /proc rw - proc proc rw\n", &[]),
            Err(ForgedProc::Root { count: 0 })
        );
    }

    #[test]
    fn no_proc_and_a_torn_stack_are_refused() {
        assert_eq!(
            check("1 0 0:1 / / rw - overlay o rw\n", &[]),
            Err(ForgedProc::NoProc)
        );
        assert_eq!(
            with(RUNC, "200 65 0:40 / /proc rw - proc proc rw"),
            Err(ForgedProc::Unstacked)
        );
        assert_eq!(
            with(RUNC, "200 67 0:40 / /proc rw - proc proc rw"),
            Err(ForgedProc::Unstacked)
        );
        // The same procfs twice, properly stacked, is still the kernel's.
        assert_eq!(with(CRUN, "200 83 0:41 / /proc rw - proc proc rw"), Ok(()));
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(
            with(RUNC, "200 65 8:1 / /my\\040data rw - ext4 /dev/sda rw"),
            Ok(())
        );
        let hidden = "200 66 8:1 / /proc/self\\040 rw - ext4 /dev/sda rw";
        assert!(matches!(
            with(RUNC, hidden),
            Err(ForgedProc::Unexpected { .. })
        ));
    }

    #[test]
    fn a_line_of_another_form_is_refused() {
        let count = RUNC.lines().count() + 1;
        for line in [
            "",
            "garbage",
            "1 2 0:1 / /x rw tmpfs t rw",
            "a b 0:1 / /x rw - tmpfs t rw",
            "1 2 0:1 / x rw - t t rw",
        ] {
            assert_eq!(
                with(RUNC, line),
                Err(ForgedProc::Malformed { line: count }),
                "{line:?}"
            );
        }
    }
}
