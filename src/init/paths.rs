//! From a path of the policy to the descriptors that rules are made of.
//!
//! Paths resolve without following symbolic links, because exec sessions resolve them again on a
//! filesystem that the workload may have changed since; the few links that every merged-/usr image
//! has are known by heart. `except` becomes rules for the siblings, and so does every mount point
//! where a rule is to stay within its mount: rules bind inodes, and a volume that is granted under
//! one name is granted under all its names.
//!
//! A rule is added on the very descriptor that was looked at, opened with O_PATH: nothing is read or
//! waited for (fifos, devices), and what a name leads to a moment later does not matter.
//!
//! The supervisor asks the same of a container from outside ([`Root`]), for layers that only look.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, PROC_SUPER_MAGIC, fstatfs};

use crate::seal::{PathRule, aliased};
use crate::sys::{octal, process};

/// Why a path cannot carry a rule.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// It cannot be opened.
    #[error("cannot open {0:?} for a landlock rule: {1}{remedy}", remedy = remedy(.0, .1))]
    Open(PathBuf, #[source] io::Error),
    /// A symbolic link stands in it.
    #[error(
        "{0:?} has a symbolic link in it, which could be changed before the next exec: name its target, or say `follow: true`"
    )]
    Link(PathBuf),
    /// It is not absolute or not in its plain form.
    #[error("{0:?} is not an absolute path without `.` and `..`")]
    Form(PathBuf),
    /// A directory beside an excepted path cannot be listed.
    #[error("cannot list {0:?} to grant what stands beside an excepted path: {1}")]
    List(PathBuf, #[source] io::Error),
    /// The list of mounts is needed and cannot be read.
    #[error("cannot read /proc/self/mountinfo to keep {0:?} within its mount: {1}")]
    Mounts(PathBuf, #[source] io::Error),
    /// A program beside an excepted path has other names.
    #[error(
        "{0:?} is a hard-linked program beside an excepted or writable path; a rule on it would vanish or reach its other names: mount the volume deeper, or grant its directory"
    )]
    HardLink(PathBuf),
    /// A path of the policy is a file with other names.
    #[error(
        "{0:?} is a file with {1} names; a rule on it would vanish with the inode cache or reach its other names: grant its directory, or mount a file of its own there"
    )]
    Names(PathBuf, u64),
    /// It lies below procfs's root.
    #[error(
        "{0:?} leads below procfs, where a rule vanishes with the inode cache and /proc/self means mantlet-init: name /proc itself"
    )]
    Procfs(PathBuf),
}

/// What to do about a path that cannot be opened.
fn remedy(path: &Path, error: &io::Error) -> String {
    if !is_absent(error) {
        return String::new();
    }
    format!(
        "; where it need not be there, write {{path: {}, optional: true}} in the profile, and where the program \
         makes it itself, its directory",
        path.display()
    )
}

/// One object that a rule grants.
#[derive(Debug)]
pub struct Grant {
    /// O_PATH descriptor.
    pub fd: OwnedFd,
    /// Whether rights for directories make sense.
    pub directory: bool,
}

/// Whose files a rule is about, and how they are opened: always with O_PATH.
pub trait Root {
    /// What an absolute path leads to; ELOOP where a link stands in it and none is followed.
    ///
    /// # Errors
    /// Those of open(2).
    fn open(&self, path: &Path, follow: bool) -> nix::Result<OwnedFd>;

    /// What has a name in a directory; ELOOP where it is a link.
    ///
    /// # Errors
    /// Those of openat(2).
    fn child(&self, folder: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd>;

    /// Its mounts (proc_pid_mountinfo(5)).
    ///
    /// # Errors
    /// Those of read(2).
    fn mountinfo(&self) -> io::Result<Vec<u8>>;
}

/// This process's own root.
#[derive(Debug, Clone, Copy)]
pub struct Own;

impl Root for Own {
    fn open(&self, path: &Path, follow: bool) -> nix::Result<OwnedFd> {
        if follow {
            let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
            return nix::fcntl::open(path, flags, Mode::empty());
        }
        open_at(AT_FDCWD, path)
    }

    fn child(&self, folder: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
        open_at(folder, Path::new(name))
    }

    fn mountinfo(&self) -> io::Result<Vec<u8>> {
        std::fs::read("/proc/self/mountinfo")
    }
}

/// Opens without following links.
fn open_at(folder: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(folder, path, how)
}

/// Hands every object that `rule` grants in `root` to `each`, one at a time, so that a large directory does
/// not need a descriptor an entry. Whether the path was there; an optional one may not be.
///
/// # Errors
/// [`PathError`], or what `each` returns.
pub fn resolve<E: From<PathError>>(
    rule: &PathRule,
    root: &dyn Root,
    each: &mut dyn FnMut(Grant) -> Result<(), E>,
) -> Result<bool, E> {
    let path = plain(&rule.path)?;
    let fd = match open(root, &path, rule.follow) {
        Ok(fd) => fd,
        Err(PathError::Open(_, error)) if rule.optional && is_absent(&error) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let real = match rule.follow {
        true => target(&fd).map_err(|error| PathError::Open(path, error))?,
        false => path,
    };
    let mut excepts = BTreeSet::new();
    for except in &rule.except {
        excepts.insert(actual(root, &plain(except)?)?);
    }
    if rule.within_mount {
        excepts.extend(mount_points(root, &real)?);
    }
    if excepts.iter().any(|except| real.starts_with(except)) {
        return Ok(true);
    }
    excepts.retain(|except| except.starts_with(&real));
    if excepts.is_empty() {
        each(grant(root, fd, &real)?)?;
    } else {
        let walk = Walk {
            root,
            programs_only: rule.access == EXECUTE,
            excepts: &excepts,
        };
        walk.siblings(fd.as_fd(), &real, each)?;
    }
    Ok(true)
}

/// `LANDLOCK_ACCESS_FS_EXECUTE`.
const EXECUTE: u64 = 1;

/// Every mount point strictly beneath `path`, by its real name.
fn mount_points(root: &dyn Root, path: &Path) -> Result<BTreeSet<PathBuf>, PathError> {
    let text = root
        .mountinfo()
        .map_err(|error| PathError::Mounts(path.to_owned(), error))?;
    let points = text.split(|byte| *byte == b'\n').filter_map(mount_point);
    Ok(points
        .filter(|point| point != path && point.starts_with(path))
        .collect())
}

/// The fifth field of a line (proc_pid_mountinfo(5)), with its octal escapes undone.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    // A mount point that cannot be read is one all the same.
    let name = octal::undone(field).unwrap_or_else(|| field.to_vec());
    Some(PathBuf::from(OsStr::from_bytes(&name)))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

fn plain(path: &[u8]) -> Result<PathBuf, PathError> {
    let path = PathBuf::from(OsStr::from_bytes(path));
    let tidy: PathBuf = path.components().collect();
    let climbs = path.components().any(|part| part.as_os_str() == "..");
    if !path.is_absolute() || climbs {
        return Err(PathError::Form(path));
    }
    Ok(tidy)
}

/// Opens without following links.
fn open_plain(root: &dyn Root, path: &Path) -> Result<OwnedFd, PathError> {
    root.open(path, false).map_err(|error| refused(path, error))
}

/// Opens without following links; falls back to the alias table where a link stands in the way.
fn open(root: &dyn Root, path: &Path, follow: bool) -> Result<OwnedFd, PathError> {
    if follow {
        return root.open(path, true).map_err(|error| refused(path, error));
    }
    match open_plain(root, path) {
        Err(PathError::Link(_)) => match aliased(path) {
            Some(other) => open_plain(root, &other).map_err(|error| error.about(path)),
            None => Err(PathError::Link(path.to_owned())),
        },
        opened => opened,
    }
}

impl PathError {
    /// The same, of the path that the policy names.
    fn about(self, path: &Path) -> PathError {
        match self {
            PathError::Link(_) => PathError::Link(path.to_owned()),
            PathError::Open(_, error) => PathError::Open(path.to_owned(), error),
            other => other,
        }
    }
}

fn refused(path: &Path, error: nix::Error) -> PathError {
    match error {
        nix::Error::ELOOP => PathError::Link(path.to_owned()),
        error => PathError::Open(path.to_owned(), error.into()),
    }
}

/// What an excepted path really names: a mount point given as `/var/run/x` lies at `/run/x`, and
/// leaving out only the name would grant the place. A path that does not exist names itself; one
/// that cannot be looked at might lead anywhere, and is refused.
fn actual(root: &dyn Root, path: &Path) -> Result<PathBuf, PathError> {
    match open(root, path, true) {
        Ok(fd) => target(&fd).map_err(|error| PathError::Open(path.to_owned(), error)),
        Err(PathError::Open(_, error)) if is_absent(&error) => Ok(path.to_owned()),
        Err(error) => Err(error),
    }
}

/// Where the descriptor lies, beneath the root of its mount namespace. A process may always read its own
/// links, dumpable or not.
///
/// # Errors
/// Those of readlink(2).
pub fn target(fd: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// What a path of the policy itself names.
fn grant(root: &dyn Root, fd: OwnedFd, path: &Path) -> Result<Grant, PathError> {
    let object = Object::of(&fd, path)?;
    if object.regular && object.names > 1 {
        // A file that is a mount of its own was chosen as this very inode, whatever else it is
        // called where it comes from; only an overlay forgets it.
        let chosen = !object.forgets && mount_points(root, Path::new("/"))?.contains(path);
        if !chosen {
            return Err(PathError::Names(path.to_owned(), object.names));
        }
    }
    let directory = object.directory;
    Ok(Grant { fd, directory })
}

/// What an open descriptor is.
struct Object {
    directory: bool,
    regular: bool,
    /// A regular file with an execute bit.
    program: bool,
    names: u64,
    /// It lies on an overlay, where a file with several names is another inode at every lookup.
    forgets: bool,
}

impl Object {
    /// Looks at it, and refuses what no rule can last on.
    fn of(fd: &OwnedFd, path: &Path) -> Result<Object, PathError> {
        let failed = |error| PathError::Open(path.to_owned(), error);
        let stat = process::stat(fd).map_err(failed)?;
        let system = fstatfs(fd).map_err(|error| failed(error.into()))?;
        if system.filesystem_type() == PROC_SUPER_MAGIC && stat.st_ino != PROC_ROOT {
            return Err(PathError::Procfs(path.to_owned()));
        }
        let kind = stat.st_mode & libc::S_IFMT;
        let regular = kind == libc::S_IFREG;
        Ok(Object {
            directory: kind == libc::S_IFDIR,
            regular,
            program: regular && stat.st_mode & 0o111 != 0,
            names: stat.st_nlink as u64,
            forgets: system.filesystem_type() == OVERLAYFS_SUPER_MAGIC,
        })
    }
}

/// PROC_ROOT_INO: every procfs's root has it, and nothing below.
const PROC_ROOT: u64 = 1;

/// Granting what stands beside excepted paths.
struct Walk<'a> {
    root: &'a dyn Root,
    /// The right is worth nothing on a file that is no program, and there are many of those.
    programs_only: bool,
    /// Real paths, so that a directory comes right before what lies in it.
    excepts: &'a BTreeSet<PathBuf>,
}

impl Walk<'_> {
    /// Grants every child of `folder` but the excepted ones, descending only towards those.
    fn siblings<E: From<PathError>>(
        &self,
        folder: BorrowedFd<'_>,
        path: &Path,
        each: &mut dyn FnMut(Grant) -> Result<(), E>,
    ) -> Result<(), E> {
        // One after the other: there can be millions.
        let failed = |error: nix::Error| PathError::List(path.to_owned(), error.into());
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut listed = Dir::openat(folder, ".", flags, Mode::empty()).map_err(failed)?;
        for entry in listed.iter() {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let child = path.join(name);
            if self.excepts.contains(&child) {
                continue;
            }
            let fd = match self.root.child(folder, name) {
                Ok(fd) => fd,
                // A link grants nothing by itself: what it names is granted where it lies, or is
                // not. A name that is gone meanwhile grants nothing either.
                Err(nix::Error::ELOOP | nix::Error::ENOENT) => continue,
                Err(error) => return Err(refused(&child, error).into()),
            };
            let next = self.excepts.range(child.clone()..).next();
            if next.is_some_and(|except| except.starts_with(&child)) {
                self.siblings(fd.as_fd(), &child, each)?;
            } else if let Some(grant) = self.sibling(fd, child)? {
                each(grant)?;
            }
        }
        Ok(())
    }

    fn sibling(&self, fd: OwnedFd, path: PathBuf) -> Result<Option<Grant>, PathError> {
        let object = Object::of(&fd, &path)?;
        let Object {
            directory, program, ..
        } = object;
        if directory {
            return Ok(Some(Grant { fd, directory }));
        }
        if object.names > 1 && program {
            return Err(PathError::HardLink(path));
        }
        let worth = object.names == 1 && (program || !self.programs_only);
        Ok(worth.then_some(Grant { fd, directory }))
    }
}

#[cfg(test)]
mod tests;
