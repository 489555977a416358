//! What the fanotify group looks at: set once, while init waits for its word and nothing of the image
//! has run.
//!
//! * The root's file system, where it is an overlay that is there as a whole and not this process's own
//!   root: made for this container alone, so all of it may be marked, and whatever path or mount leads
//!   there is seen. (Part of an overlay is a folder of the host's: nodes in containers such as kind have
//!   one for their root, and engines without snapshots bind a folder of it.)
//! * Every other mount that can execute: the mount only. Its file system may be the host's, and a mark
//!   on that would see the host's own executions. Another mount of the same files is not seen. mount(2)
//!   is denied in every Landlock domain, but unshare(2) and clone(2) with CLONE_NEWNS copy all mounts and
//!   open_tree(2) copies one, and Landlock denies none of them: that is seccomp's business. Nor is what
//!   is mounted later and propagates into the container.
//! * A service account's token mount, for openings.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::keeper::Keeper;
use super::link::{Order, Scene};
use crate::cgroup::Cgroup;
use crate::detect::{OnLoss, Response, Rule, Sensor};
use crate::oci::mountinfo;
use crate::sys::{fanotify, process};

/// File systems that hold no programs.
const WITHOUT_PROGRAMS: [&str; 7] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "mqueue",
    "securityfs",
];

/// Where the kubelet mounts a service account's token.
pub(super) const TOKENS: [&str; 2] = [
    "/var/run/secrets/kubernetes.io/serviceaccount",
    "/run/secrets/kubernetes.io/serviceaccount",
];

impl Keeper {
    /// Learns what the container is, and begins to watch what its rules ask for. Its first process is
    /// init, which waits.
    ///
    /// # Errors
    /// In words: the container is not to run without what its profile asks for.
    pub(super) fn meet(&mut self, pid: i32) -> Result<(), String> {
        let watched = !self.rules.is_empty();
        let cgroup = Cgroup::of(pid);
        let ended = self.on_loss == OnLoss::Kill;
        if let (true, Err(error)) = (watched || ended, &cgroup) {
            return Err(format!(
                "its processes cannot be told from others: {error}; give it a cgroupsPath, or a profile without `detect` and `on_supervisor_loss: kill`"
            ));
        }
        self.cgroup = cgroup.ok();
        let root = open_root(pid).map_err(|error| format!("cannot open its root: {error}"))?;
        self.scene = Some(Scene {
            cgroup: self.cgroup.as_ref().map(Cgroup::line).unwrap_or_default(),
            root_mount: process::mount_of(&root)
                .map_err(|error| format!("cannot tell its root's mount: {error}"))?,
            since: super::clock::stamp(),
            pid,
            entrypoint: (0, 0),
        });
        if watched {
            self.mark(pid, &root)?;
            self.watch_counts()?;
            self.watch_clock()?;
        }
        self.post_sentinel()?;
        self.tell_scene();
        Ok(())
    }

    pub(super) fn tell_scene(&mut self) {
        if let Some(scene) = self.scene.clone() {
            let tasks = self.tasks.iter().flatten();
            let tasks: Vec<_> = tasks.map(AsRawFd::as_raw_fd).collect();
            self.order(&Order::Scene(scene), &tasks);
        }
    }

    fn mark(&self, pid: i32, root: &OwnedFd) -> Result<(), String> {
        let Some(group) = &self.files else {
            return Ok(());
        };
        if shares_mounts(pid)
            .map_err(|error| format!("cannot tell its mounts from the host's: {error}"))?
        {
            return Err("it has no mounts of its own, and the host's are not watched; use a profile without `detect`".into());
        }
        let text = std::fs::read_to_string(format!("/proc/{pid}/mountinfo"))
            .map_err(|error| format!("cannot read its mounts: {error}"))?;
        let own = own_root().map_err(|error| format!("cannot tell the host's root: {error}"))?;
        let mounts = mountinfo::read(&text)
            .map_err(|line| format!("cannot understand line {line} of its mounts"))?;
        let failed = |path: &Path, error: std::io::Error| {
            format!(
                "cannot watch {} for executions: {error}; see fs.fanotify.max_user_marks, or remove the rules that need it",
                path.display()
            )
        };
        if let Some(mask) = executions(&self.rules) {
            for mount in &mounts {
                if WITHOUT_PROGRAMS.contains(&mount.fstype.as_str()) || mount.no_exec {
                    continue;
                }
                let overlay = mount.point == Path::new("/")
                    && mount.fstype == "overlay"
                    && mount.root == Path::new("/")
                    && mount.device != own;
                let what = if overlay {
                    fanotify::Mark::Filesystem
                } else {
                    fanotify::Mark::Mount
                };
                let done = match place(root, &mount.point) {
                    // Something is mounted over it, and cannot be reached: nor can it.
                    Err(error) if is_hidden(&error) => continue,
                    placed => {
                        placed.and_then(|place| fanotify::mark(group, what, mask, &place.path()))
                    }
                };
                done.map_err(|error| failed(&mount.point, error))?;
            }
        }
        if let Some(mask) = openings(&self.rules) {
            let tokens = mounts
                .iter()
                .filter(|mount| TOKENS.iter().any(|token| mount.point == Path::new(token)));
            for mount in tokens {
                place(root, &mount.point)
                    .and_then(|place| {
                        fanotify::mark(group, fanotify::Mark::Mount, mask, &place.path())
                    })
                    .map_err(|error| failed(&mount.point, error))?;
            }
        }
        Ok(())
    }
}

/// The mask for executions that the rules ask for: with a word before each where any rule does more
/// than tell, and where ends are told, because a process that has gone on may have ended before
/// anybody could wait for it.
fn executions(rules: &[Rule]) -> Option<u64> {
    let about = |rule: &&Rule| rule.on.needs_fanotify() && rule.on != Sensor::TokenAccess;
    let waits = |rule: &Rule| refuses(rule) || rule.on == Sensor::Exit;
    let about = rules.iter().filter(about);
    let waits = about.map(waits).reduce(|any, this| any || this)?;
    Some(if waits {
        fanotify::OPEN_EXEC_PERM
    } else {
        fanotify::OPEN_EXEC
    })
}

/// Whether the process is where this one is: its mounts are then the host's.
fn shares_mounts(pid: i32) -> std::io::Result<bool> {
    let space = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/mnt"));
    Ok(space(&pid.to_string())? == space("self")?)
}

/// Device of the file system that this process has at `/`, as mountinfo spells it.
fn own_root() -> std::io::Result<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mounts = mountinfo::read(&text).map_err(|_| std::io::ErrorKind::InvalidData)?;
    let root = mounts.iter().rfind(|mount| mount.point == Path::new("/"));
    Ok(root.map(|mount| mount.device.clone()).unwrap_or_default())
}

/// The mask for openings. Each waits: who opens is told by its program, which may be another one, or
/// none, a moment later.
fn openings(rules: &[Rule]) -> Option<u64> {
    let wanted = rules.iter().any(|rule| rule.on == Sensor::TokenAccess);
    wanted.then_some(fanotify::OPEN_PERM)
}

/// Whether a rule may say no to an execution or an opening.
pub(super) fn refuses(rule: &Rule) -> bool {
    rule.on.needs_fanotify() && rule.on.can_deny() && rule.respond != Response::Log
}

fn open_root(pid: i32) -> std::io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let path = format!("/proc/{pid}/root");
    Ok(nix::fcntl::open(
        path.as_str(),
        flags,
        nix::sys::stat::Mode::empty(),
    )?)
}

/// A place in the container, held.
struct Place(OwnedFd);

impl Place {
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// What the kernel tells of mounts are paths without links; none is followed.
fn place(root: &OwnedFd, point: &Path) -> std::io::Result<Place> {
    let inside = point.strip_prefix("/").unwrap_or(point);
    let inside = if inside.as_os_str().is_empty() {
        Path::new(".")
    } else {
        inside
    };
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
    Ok(Place(openat2(root.as_fd(), inside, how)?))
}

fn is_hidden(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}
