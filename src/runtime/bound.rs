//! The fallback delivery of init (DESIGN §5): where SELinux judges what a container executes, a sealed
//! file in memory has no label that the policy knows. There, a private copy of the program lies in
//! the container's home and is mounted read-only at [`BOUND_INIT`], in the tmpfs at /dev.
//!
//! Never the installed program itself: what leads a container's root to the file behind
//! /proc/PID/exe must end at a copy that nobody else executes, on a mount that cannot be written.
//!
//! Whoever could put something else at that path would be executed with init's descriptors. So
//! before `start` and each `exec` the path is walked as execve(2) will walk it, and both its steps have
//! to be mounts, which cannot be renamed or removed from inside.

use std::ffi::CString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::Failure;
use crate::seal::BOUND_INIT;
use crate::state::Home;
use crate::sys::{bound, process};

/// Where the copy lies.
pub(super) fn path(home: &Home) -> PathBuf {
    home.path.join("init")
}

/// Copies init's program into the home and gives it `label`; a descriptor that only names it.
pub(super) fn copy(
    mut program: File,
    home: &Home,
    label: Option<&str>,
) -> Result<OwnedFd, Failure> {
    let path = path(home);
    let fail = |operation, error| Failure::system(operation, path.display().to_string(), error);
    let mut written = || -> Result<(), Error> {
        let mut options = OpenOptions::new();
        let mut copy = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        std::io::copy(&mut program, &mut copy)?;
        if let Some(label) = label {
            bound::set_label(&copy, &CString::new(label)?)?;
        }
        // As the sealed one: executed by all, read by nobody.
        copy.set_permissions(Permissions::from_mode(0o111))
    };
    written().map_err(|error| fail("copy mantlet-init to", error))?;
    let mut options = OpenOptions::new();
    let named = options.read(true).custom_flags(libc::O_PATH).open(&path);
    Ok(named.map_err(|error| fail("open", error))?.into())
}

/// Refuses a container in which [`BOUND_INIT`] leads to another file than the copy, or could be made
/// to. `pid` is the container's first process, whose root the caller has checked.
pub(super) fn check(verb: &'static str, id: &str, pid: i32, home: &Home) -> Result<(), Failure> {
    match found(pid, home) {
        Ok(None) => Ok(()),
        Ok(Some(cause)) => Err(Failure::Bound {
            verb,
            id: id.to_owned(),
            cause: cause.into(),
        }),
        Err(error) => Err(Failure::Bound {
            verb,
            id: id.to_owned(),
            cause: error.to_string(),
        }),
    }
}

/// What is wrong there, if anything.
fn found(pid: i32, home: &Home) -> Result<Option<&'static str>, Error> {
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_PATH);
    let root = options.open(format!("/proc/{pid}/root"))?;
    let dev = inside(&root, Path::new("dev"))?;
    let init = inside(&root, Path::new(&BOUND_INIT[1..]))?;
    if !bound::is_mount_root(&dev)? || fstatfs(&dev)?.filesystem_type() != TMPFS_MAGIC {
        return Ok(Some("/dev is not the tmpfs that the runtime mounted"));
    }
    if !bound::is_mount_root(&init)? {
        return Ok(Some("nothing is mounted there"));
    }
    let (own, there) = (
        process::stat(options.open(path(home))?)?,
        process::stat(&init)?,
    );
    if (own.st_dev, own.st_ino) != (there.st_dev, there.st_ino) {
        return Ok(Some(
            "another file than this container's copy of mantlet-init is mounted there",
        ));
    }
    let flags = fstatvfs(&init)?.flags();
    Ok((!flags.contains(FsFlags::ST_RDONLY)).then_some("its mount is not read-only"))
}

/// A path in the container, links and all that leads out of it refused.
fn inside(root: &File, path: &Path) -> Result<OwnedFd, Error> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(resolve);
    openat2(root.as_fd(), path, how).map_err(Error::from)
}
