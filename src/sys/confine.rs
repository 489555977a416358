//! What the watcher does to itself before it reads anything that a container has written.
//!
//! In this order, each once, in a process with one thread:
//!
//! 1. [`empty_root`]: a root with nothing in it but procfs, in a mount namespace of its own.
//! 2. [`drop_privileges`]: a user that owns nothing, and only the capabilities named.
//! 3. [`die_with_parent`](super::process::die_with_parent): later, it would be forbidden; earlier,
//!    the change of user would undo it.
//! 4. [`allow_only`]: a list of system calls; any other ends the process.
//!
//! No Landlock: a process in a domain may not look at one outside of it, whatever capabilities it
//! has (landlock(7), ptrace restrictions), and looking is what the watcher is for.
//!
//! What stays possible, and is known: with CAP_SYS_PTRACE, `/proc/PID/root` leads into the files of
//! any process that everybody may read, the host's too. Not to what is protected by a mode, and to
//! nothing for writing. And whoever holds a seccomp listener can let a call go on (the flag
//! SECCOMP_USER_NOTIF_FLAG_CONTINUE lies in memory, where no filter sees it) and can answer the container
//! in words: a watcher that was taken over lifts tripwires, and nothing else of a policy.
//!
//! Where a container is audited or recorded ([`KEPT_LOOKING`]), its watcher may besides read the memory of
//! any process and any file of the host, because the paths of a call lie there: one that was taken over
//! could tell the container what is in them. It can write no more than others. That is a price of looking.

mod calls;

use std::io;
use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet, securebits};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{self, Gid, Uid};

use super::{check, process};
pub use calls::allow_only;

/// The watcher's user and group: no file's, no process's. Above every block of 65536 that a user
/// namespace can be given (the last whole one ends before), and above what Kubernetes accepts as
/// `runAsUser` (2^31 - 1). Not the overflow user 65534, which others have too.
pub const UID: u32 = 4_294_967_200;

/// What the watcher keeps: to look at processes of any user (ptrace(2), PTRACE_MODE_READ).
pub const KEPT: [Capability; 1] = [Capability::CAP_SYS_PTRACE];

/// What it keeps besides where it follows the paths that the container's memory names: through folders of
/// any mode (path_resolution(7)).
pub const KEPT_LOOKING: [Capability; 2] =
    [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];

/// Options of the root: room for its one directory and no file.
const ROOT: &str = "size=4k,nr_inodes=2,mode=0555";

/// Leaves this process with an empty root, read-only, whose one directory is a `/proc` of its own
/// pid namespace, read-only too. `at` is any existing directory; in the namespace that is left,
/// nothing changes. Descriptors that are open stay so.
///
/// # Errors
/// Those of unshare(2), mount(2) and pivot_root(2), named: the last EINVAL where the root is the
/// initial ramfs, which cannot be exchanged. The process may be anywhere between by then and is to
/// end.
pub fn empty_root(at: &Path) -> io::Result<()> {
    let none = None::<&str>;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let still = quiet | MsFlags::MS_RDONLY;
    named("unshare the mounts", unshare(CloneFlags::CLONE_NEWNS))?;
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    named("make / private", mount(none, "/", none, private, none))?;
    let tmpfs = mount(Some("root"), at, Some("tmpfs"), quiet, Some(ROOT));
    named("mount the root", tmpfs)?;
    named("enter the root", unistd::chdir(at))?;
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o555);
    named("make /proc", unistd::mkdir("proc", mode))?;
    let proc = mount(Some("proc"), "proc", Some("proc"), still, none);
    named("mount /proc", proc)?;
    // pivot_root(2), NOTES: with "." twice the old root comes to lie over the new one, and is what
    // umount2 then means by ".".
    named("change the root", unistd::pivot_root(".", "."))?;
    named("let go of the old root", umount2(".", MntFlags::MNT_DETACH))?;
    let again = MsFlags::MS_REMOUNT | still;
    named(
        "make the root read-only",
        mount(none, "/", none, again, none),
    )?;
    named("enter /", unistd::chdir("/"))
}

/// The step that failed, in front of the cause.
fn named<T>(step: &str, result: Result<T, impl Into<io::Error>>) -> io::Result<T> {
    result.map_err(|cause| {
        let cause = cause.into();
        io::Error::new(cause.kind(), format!("cannot {step}: {cause}"))
    })
}

/// Becomes user `uid` and group `gid`, with no other group, and with exactly the capabilities
/// `keep`, for good: they are permitted and effective, nothing is inheritable, ambient or in the
/// bounding set, no execve gives more (no_new_privs), and nobody without CAP_SYS_PTRACE reads this
/// process's memory.
///
/// # Errors
/// Those of setgroups(2), setresuid(2), capset(2) and prctl(2), named. The process may be anywhere
/// between by then and is to end.
pub fn drop_privileges(uid: u32, gid: u32, keep: &[Capability]) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    named("leave the groups", unistd::setgroups(&[]))?;
    // While CAP_SETPCAP is effective.
    named("clear the bounding set", clear_bounding_set())?;
    named("keep capabilities", told(securebits::set_keepcaps(true)))?;
    named("change the group", unistd::setresgid(group, group, group))?;
    named("change the user", unistd::setresuid(user, user, user))?;
    named(
        "forget to keep capabilities",
        told(securebits::set_keepcaps(false)),
    )?;
    // Effective first: what is no more permitted cannot be effective.
    let keep: CapsHashSet = keep.iter().copied().collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        named("set the capabilities", told(caps::set(None, set, &keep)))?;
    }
    for set in [CapSet::Inheritable, CapSet::Ambient] {
        named("clear capabilities", told(caps::clear(None, set)))?;
    }
    named("give up gaining privileges", process::set_no_new_privs())?;
    named("hide the memory", process::set_undumpable())
}

/// The errors of `caps` are texts that hold the cause.
fn told<T>(result: Result<T, caps::errors::CapsError>) -> io::Result<T> {
    result.map_err(io::Error::other)
}

/// Every capability that the kernel knows, which may be more than `caps` does.
fn clear_bounding_set() -> io::Result<()> {
    for number in 0..=63 as libc::c_ulong {
        // SAFETY: prctl(2) PR_CAPBSET_DROP takes a number.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) }.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => drop(other?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::{self, Outcome};
    use crate::sys::spawn::{Fork, fork};
    use crate::sys::{fanotify, pidfd, shared::Region};
    use std::collections::HashMap;
    use std::fs;
    use std::io::ErrorKind;
    use std::sync::atomic::Ordering;

    /// In a forked child: everything but the filter.
    fn confined(folder: &Path) -> Outcome<()> {
        empty_root(folder)?;
        drop_privileges(UID, UID, &KEPT)?;
        Ok(())
    }

    #[test]
    fn the_root_holds_a_proc_that_cannot_be_written_and_nothing_else() {
        let folder = forked::folder();
        forked::run(|| {
            let outside = fs::read_link("/proc/self/ns/mnt")?;
            empty_root(folder.path())?;
            let names: Vec<_> = fs::read_dir("/")?
                .flatten()
                .map(|e| e.file_name())
                .collect();
            assert_eq!(names, ["proc"]);
            let mounts = fs::read_to_string("/proc/self/mountinfo")?;
            assert_eq!(mounts.lines().count(), 2, "{mounts}");
            for line in mounts.lines() {
                assert!(line.contains(" ro,nosuid,nodev,noexec"), "{line}");
            }
            assert_ne!(fs::read_link("/proc/self/ns/mnt")?, outside);
            // As root still.
            assert_eq!(
                fs::write("/a", "").unwrap_err().kind(),
                ErrorKind::ReadOnlyFilesystem
            );
            let comm = fs::write("/proc/self/comm", "a").unwrap_err();
            assert_eq!(comm.kind(), ErrorKind::ReadOnlyFilesystem);
            assert!(!Path::new("/proc/self/cwd/../etc").exists());
            Ok(())
        });
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing outside"
        );
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        forked::run(|| {
            let error = empty_root(Path::new("/no/such/place")).unwrap_err();
            assert!(error.to_string().starts_with("cannot mount the root: "));
            Ok(())
        });
    }

    #[test]
    fn privileges_are_dropped_for_good_but_for_those_named() {
        forked::run(|| {
            drop_privileges(UID, UID, &KEPT)?;
            let status = fs::read_to_string("/proc/self/status")?;
            let ptrace = format!("{:016x}", 1 << 19);
            let (none, all) = ("0000000000000000", format!("\t{UID}").repeat(4));
            for line in [
                format!("Uid:{all}"),
                format!("Gid:{all}"),
                "Groups:\t ".to_owned(),
                format!("CapInh:\t{none}"),
                format!("CapPrm:\t{ptrace}"),
                format!("CapEff:\t{ptrace}"),
                format!("CapBnd:\t{none}"),
                format!("CapAmb:\t{none}"),
                "NoNewPrivs:\t1".to_owned(),
            ] {
                assert!(
                    status.lines().any(|found| found == line),
                    "{line}\n{status}"
                );
            }
            let root = Uid::from_raw(0);
            assert!(unistd::setresuid(root, root, root).is_err());
            assert!(unshare(CloneFlags::CLONE_NEWNS).is_err());
            assert!(!nix::sys::prctl::get_dumpable()?);
            Ok(())
        });
    }

    #[test]
    fn the_wish_to_die_with_the_parent_is_kept_only_if_it_comes_after() {
        let own = std::process::id() as i32;
        forked::run(|| {
            process::die_with_parent(own)?;
            drop_privileges(UID, UID, &KEPT)?;
            assert_eq!(nix::sys::prctl::get_pdeathsig()?, None);
            process::die_with_parent(own)?;
            let kill = nix::sys::signal::Signal::SIGKILL;
            assert_eq!(nix::sys::prctl::get_pdeathsig()?, Some(kill));
            Ok(())
        });
    }

    #[test]
    fn it_may_look_at_any_process_and_touch_nothing() {
        let folder = forked::folder();
        let other = std::process::id();
        forked::run(|| {
            let exe = fs::read_link(format!("/proc/{other}/exe"))?;
            confined(folder.path())?;
            allow_only(false)?;
            // Root's process, in the host's root.
            assert_eq!(fs::read_link(format!("/proc/{other}/exe"))?, exe);
            for name in ["status", "stat", "comm", "cgroup", "maps", "mountinfo"] {
                assert!(
                    !fs::read(format!("/proc/{other}/{name}"))?.is_empty(),
                    "{name}"
                );
            }
            fs::metadata(format!("/proc/{other}/exe"))?;
            let held = pidfd::open(other as i32)?;
            assert!(!pidfd::has_ended(&held));
            assert_eq!(pidfd::exit_code(&held), None);
            // Not what a mode protects, not even by the way through its root.
            for name in ["root/etc/shadow", "environ", "mem", "fd"] {
                let error = fs::File::open(format!("/proc/{other}/{name}")).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{name}");
            }
            // What Rust's own library needs.
            let map: HashMap<_, _> = (0..100_000).map(|at| (at, vec![at; 8])).collect();
            assert_eq!(map.len(), 100_000);
            std::thread::sleep(std::time::Duration::from_millis(1));
            let null = fs::read_dir("/proc/self/fd")?.count();
            assert!(null > 0);
            Ok(())
        });
    }

    fn await_readable(fd: impl std::os::fd::AsFd) -> Outcome<()> {
        let flags = nix::poll::PollFlags::POLLIN;
        let mut polled = [nix::poll::PollFd::new(fd.as_fd(), flags)];
        nix::poll::poll(&mut polled, nix::poll::PollTimeout::NONE)?;
        Ok(())
    }

    #[test]
    fn it_reads_an_event_and_answers_it() {
        let (folder, root) = (forked::folder(), forked::folder());
        forked::run(|| {
            forked::private_tmpfs(folder.path())?;
            let program = folder.path().join("program");
            fs::write(&program, "#!/bin/true")?;
            let (group, region) = (fanotify::init()?, Region::new(64)?);
            let (mark, mask) = (fanotify::Mark::Filesystem, fanotify::OPEN_PERM);
            fanotify::mark(&group, mark, mask, folder.path())?;
            let errno = region.u32_at(fanotify::SLOT);
            let opener = match fork()? {
                Fork::Parent { pidfd, .. } => pidfd,
                Fork::Child => {
                    let denied = fs::File::open(&program).err();
                    let number = denied.and_then(|error| error.raw_os_error());
                    errno.store(number.unwrap_or(0).cast_unsigned(), Ordering::Release);
                    process::exit_now(0)
                }
            };
            confined(root.path())?;
            allow_only(false)?;
            await_readable(&group)?;
            let event = fanotify::read_one(&group, &region, 0)?.ok_or("no event")?;
            let name = fs::read_link(format!("/proc/self/fd/{}", event.fd))?;
            assert!(name.ends_with("program"), "{name:?}");
            fanotify::answer(&group, event.fd, false)?;
            await_readable(&opener)?;
            assert_eq!(errno.load(Ordering::Acquire).cast_signed(), libc::EPERM);
            Ok(())
        });
    }
}
