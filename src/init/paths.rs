//! From a path of the policy to the descriptors that rules are made of.
//!
//! Paths resolve without following symbolic links, because exec sessions resolve them again on a
//! filesystem that the workload may have changed since; the few links that every merged-/usr image
//! has are known by heart. `except` becomes rules for the siblings, and so does every mount point
//! where a rule is to stay within its mount: rules bind inodes, and a volume that is granted under
//! one name is granted under all its names.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::seal::PathRule;
use crate::sys::process;

/// Links of ordinary images: what stands first is tried as what stands second.
const ALIASES: [(&str, &str); 8] = [
    ("/bin", "/usr/bin"),
    ("/sbin", "/usr/sbin"),
    ("/lib", "/usr/lib"),
    ("/lib32", "/usr/lib32"),
    ("/lib64", "/usr/lib64"),
    ("/libx32", "/usr/libx32"),
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
];

/// Why a path cannot carry a rule.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// It cannot be opened.
    #[error("cannot open {0:?} for a landlock rule: {1}")]
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
    /// /proc/self/mountinfo is needed and cannot be read.
    #[error("cannot read /proc/self/mountinfo to keep {0:?} within its mount: {1}")]
    Mounts(PathBuf, #[source] io::Error),
    /// A program beside an excepted path has other names.
    #[error(
        "{0:?} is a hard-linked program beside an excepted or writable path; a rule on it would vanish or reach its other names: mount the volume deeper, or grant its directory"
    )]
    HardLink(PathBuf),
}

/// One object that a rule grants.
#[derive(Debug)]
pub struct Grant {
    /// O_PATH descriptor.
    pub fd: OwnedFd,
    /// Whether rights for directories make sense.
    pub directory: bool,
}

/// Hands every object that `rule` grants to `each`, one at a time, so that a large directory does
/// not need a descriptor an entry. Whether the path was there; an optional one may not be.
///
/// # Errors
/// [`PathError`], or what `each` returns.
pub fn resolve<E: From<PathError>>(
    rule: &PathRule,
    each: &mut dyn FnMut(Grant) -> Result<(), E>,
) -> Result<bool, E> {
    let path = plain(&rule.path)?;
    let fd = match open(&path, rule.follow) {
        Ok(fd) => fd,
        Err(PathError::Open(_, error)) if rule.optional && is_absent(&error) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let real = match rule.follow {
        true => target(&fd).map_err(|error| PathError::Open(path, error))?,
        false => path,
    };
    let mut excepts = Vec::with_capacity(rule.except.len());
    for except in &rule.except {
        excepts.push(actual(&plain(except)?)?);
    }
    if rule.within_mount {
        excepts.extend(mount_points(&real)?);
    }
    excepts.retain(|except| except.starts_with(&real));
    if excepts.contains(&real) {
        return Ok(true);
    }
    let walk = Walk {
        programs_only: rule.access == EXECUTE,
    };
    if excepts.is_empty() {
        each(grant(fd, &real)?)?;
    } else {
        walk.siblings(&real, &excepts, each)?;
    }
    Ok(true)
}

/// `LANDLOCK_ACCESS_FS_EXECUTE`.
const EXECUTE: u64 = 1;

/// Every mount point strictly beneath `path`, by its real name in this process's root.
fn mount_points(path: &Path) -> Result<Vec<PathBuf>, PathError> {
    let text = std::fs::read("/proc/self/mountinfo")
        .map_err(|error| PathError::Mounts(path.to_owned(), error))?;
    let points = text.split(|byte| *byte == b'\n').filter_map(mount_point);
    Ok(points
        .filter(|point| point != path && point.starts_with(path))
        .collect())
}

/// The fifth field of a line (proc_pid_mountinfo(5)), with its octal escapes undone.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut name = Vec::with_capacity(field.len());
    let mut at = 0;
    while let Some(byte) = field.get(at) {
        let escape = field.get(at + 1..at + 4).filter(|_| *byte == b'\\');
        let code =
            escape.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        name.push(code.unwrap_or(*byte));
        at += if code.is_some() { 4 } else { 1 };
    }
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
fn open_plain(path: &Path) -> Result<OwnedFd, PathError> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(nix::fcntl::AT_FDCWD, path, how).map_err(|error| refused(path, error))
}

/// Opens without following links; falls back to the alias table where a link stands in the way.
fn open(path: &Path, follow: bool) -> Result<OwnedFd, PathError> {
    if follow {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let mode = nix::sys::stat::Mode::empty();
        return nix::fcntl::open(path, flags, mode).map_err(|error| refused(path, error));
    }
    match open_plain(path) {
        Err(PathError::Link(_)) => match aliased(path) {
            Some(other) => open_plain(&other).map_err(|error| error.about(path)),
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

fn aliased(path: &Path) -> Option<PathBuf> {
    let (from, to) = ALIASES.iter().find(|(from, _)| path.starts_with(from))?;
    let rest = path.strip_prefix(from).ok()?;
    Some(if rest.as_os_str().is_empty() {
        PathBuf::from(to)
    } else {
        Path::new(to).join(rest)
    })
}

/// What an excepted path really names: a mount point given as `/var/run/x` lies at `/run/x`, and
/// leaving out only the name would grant the place. A path that does not exist names itself; one
/// that cannot be looked at might lead anywhere, and is refused.
fn actual(path: &Path) -> Result<PathBuf, PathError> {
    match open(path, true) {
        Ok(fd) => target(&fd).map_err(|error| PathError::Open(path.to_owned(), error)),
        Err(PathError::Open(_, error)) if is_absent(&error) => Ok(path.to_owned()),
        Err(error) => Err(error),
    }
}

/// Where the descriptor lies. A process may always read its own links, dumpable or not.
fn target(fd: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn grant(fd: OwnedFd, path: &Path) -> Result<Grant, PathError> {
    let stat = process::stat(&fd).map_err(|error| PathError::Open(path.to_owned(), error))?;
    let directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    Ok(Grant { fd, directory })
}

/// Granting what stands beside excepted paths.
struct Walk {
    /// The right is worth nothing on a file that is no program, and there are many of those.
    programs_only: bool,
}

impl Walk {
    /// Grants every child of `folder` but the excepted ones, descending only towards those.
    fn siblings<E: From<PathError>>(
        &self,
        folder: &Path,
        excepts: &[PathBuf],
        each: &mut dyn FnMut(Grant) -> Result<(), E>,
    ) -> Result<(), E> {
        let list = |error| PathError::List(folder.to_owned(), error);
        for entry in std::fs::read_dir(folder).map_err(list)? {
            let child = folder.join(entry.map_err(list)?.file_name());
            if excepts.contains(&child) {
                continue;
            }
            let beneath = excepts.iter().filter(|path| path.starts_with(&child));
            let inside: Vec<_> = beneath.cloned().collect();
            if !inside.is_empty() {
                self.siblings(&child, &inside, each)?;
            } else if let Some(grant) = self.child(child)? {
                each(grant)?;
            }
        }
        Ok(())
    }

    fn child(&self, child: PathBuf) -> Result<Option<Grant>, PathError> {
        // A link grants nothing by itself: what it names is granted where it lies, or is not.
        let fd = match open_plain(&child) {
            Ok(fd) => fd,
            Err(PathError::Link(_)) => return Ok(None),
            Err(PathError::Open(_, error)) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = process::stat(&fd).map_err(|error| PathError::Open(child.clone(), error))?;
        let directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let program = stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_mode & 0o111 != 0;
        if directory {
            return Ok(Some(Grant { fd, directory }));
        }
        if stat.st_nlink > 1 && program {
            return Err(PathError::HardLink(child));
        }
        let worth = stat.st_nlink == 1 && (program || !self.programs_only);
        Ok(worth.then_some(Grant { fd, directory }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &Path, except: &[&Path]) -> PathRule {
        PathRule {
            path: path.as_os_str().as_bytes().to_vec(),
            access: 1,
            except: except
                .iter()
                .map(|path| path.as_os_str().as_bytes().to_vec())
                .collect(),
            optional: false,
            follow: false,
            within_mount: false,
        }
    }

    fn found(rule: &PathRule) -> Result<bool, PathError> {
        resolve(rule, &mut |_| Ok(()))
    }

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let path =
                std::env::temp_dir().join(format!("mantlet-paths-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("a/b/c")).unwrap();
            std::fs::create_dir_all(path.join("a/d")).unwrap();
            std::fs::create_dir_all(path.join("e")).unwrap();
            Tree(std::fs::canonicalize(path).unwrap())
        }

        fn names(&self, rule: &PathRule) -> Vec<String> {
            let mut grants = Vec::new();
            let keep = &mut |grant| {
                grants.push(grant);
                Ok::<(), PathError>(())
            };
            assert!(resolve(rule, keep).unwrap());
            let mut names: Vec<_> = grants
                .iter()
                .map(|grant| target(&grant.fd).unwrap())
                .map(|path| {
                    path.strip_prefix(&self.0)
                        .unwrap()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_except_becomes_its_siblings_on_every_level() {
        let tree = Tree::new("siblings");
        let root = &tree.0;
        assert_eq!(tree.names(&rule(root, &[&root.join("a/b")])), ["a/d", "e"]);
        assert_eq!(
            tree.names(&rule(root, &[&root.join("a/b/c"), &root.join("e")])),
            ["a/d"]
        );
        assert!(tree.names(&rule(root, &[root])).is_empty());
        assert_eq!(tree.names(&rule(root, &[Path::new("/elsewhere")])), [""]);
    }

    #[test]
    fn an_except_named_through_a_link_leaves_the_place_out_not_the_name() {
        let tree = Tree::new("link");
        std::os::unix::fs::symlink("a", tree.0.join("alias")).unwrap();
        let names = tree.names(&rule(&tree.0, &[&tree.0.join("alias/b")]));
        assert_eq!(names, ["a/d", "e"]);
    }

    #[test]
    fn a_link_in_a_path_is_refused_unless_the_author_says_follow() {
        let tree = Tree::new("follow");
        std::os::unix::fs::symlink("a", tree.0.join("alias")).unwrap();
        let mut wanted = rule(&tree.0.join("alias/b"), &[]);
        assert!(matches!(found(&wanted), Err(PathError::Link(_))));
        wanted.follow = true;
        assert_eq!(tree.names(&wanted), ["a/b"]);
    }

    #[test]
    fn an_absent_path_is_skipped_only_where_it_is_optional() {
        let mut wanted = rule(Path::new("/no/such/path"), &[]);
        assert!(matches!(found(&wanted), Err(PathError::Open(..))));
        wanted.optional = true;
        assert!(!found(&wanted).unwrap());
    }

    #[test]
    fn a_hard_linked_program_beside_an_except_is_refused() {
        let tree = Tree::new("hardlink");
        let program = tree.0.join("e/program");
        std::fs::write(&program, "").unwrap();
        std::fs::hard_link(&program, tree.0.join("e/twin")).unwrap();
        let wanted = rule(&tree.0, &[&tree.0.join("e/x")]);
        assert_eq!(tree.names(&wanted), ["a"]);
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(found(&wanted), Err(PathError::HardLink(_))));
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        assert!(matches!(
            found(&rule(Path::new("/usr/../etc"), &[])),
            Err(PathError::Form(_))
        ));
        assert!(matches!(
            found(&rule(Path::new("usr"), &[])),
            Err(PathError::Form(_))
        ));
    }

    #[test]
    fn a_rule_that_stays_within_its_mount_grants_no_mount_point() {
        let mut wanted = rule(Path::new("/"), &[]);
        wanted.within_mount = true;
        let mut names = Vec::new();
        let keep = &mut |grant: Grant| {
            names.push(target(&grant.fd).unwrap());
            Ok::<(), PathError>(())
        };
        assert!(resolve(&wanted, keep).unwrap());
        assert!(names.iter().any(|name| name == Path::new("/usr")));
        let points = mount_points(Path::new("/")).unwrap();
        assert!(points.contains(&PathBuf::from("/proc")));
        for point in points {
            assert!(
                !names.iter().any(|name| point.starts_with(name)),
                "{point:?}"
            );
        }
    }

    #[test]
    fn a_mount_point_is_read_with_its_escapes_undone() {
        let line = br"36 35 98:0 /mnt1 /a\040b\134 rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/a b\")));
        assert_eq!(mount_point(b"36 35"), None);
    }

    #[test]
    fn a_rule_for_execution_passes_over_files_that_are_no_programs() {
        let tree = Tree::new("programs");
        std::fs::write(tree.0.join("e/notes"), "").unwrap();
        let mut wanted = rule(&tree.0, &[&tree.0.join("e/x")]);
        assert_eq!(tree.names(&wanted), ["a"]);
        wanted.access = 5;
        assert_eq!(tree.names(&wanted), ["a", "e/notes"]);
    }
}
