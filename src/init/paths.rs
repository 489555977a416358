//! From a path of the policy to the descriptors that rules are made of.
//!
//! Paths resolve without following symbolic links, because exec sessions resolve them again on a
//! filesystem that the workload may have changed since; the few links that every merged-/usr image
//! has are known by heart. `except` becomes rules for the siblings.

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

/// Where `rule` leads: `None` for an optional path that does not exist.
///
/// # Errors
/// [`PathError`].
pub fn resolve(rule: &PathRule) -> Result<Option<Vec<Grant>>, PathError> {
    let path = plain(&rule.path)?;
    let mut grants = Vec::new();
    let fd = match open(&path, rule.follow) {
        Ok(fd) => fd,
        Err(PathError::Open(_, error)) if rule.optional && is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let real = if rule.follow {
        target(&fd).map_err(|error| PathError::Open(path, error))?
    } else {
        path
    };
    let excepts = rule
        .except
        .iter()
        .map(|except| plain(except).and_then(|path| actual(&path)))
        .collect::<Result<Vec<_>, _>>()?;
    let inside: Vec<_> = excepts
        .into_iter()
        .filter(|except| except.starts_with(&real))
        .collect();
    if inside.contains(&real) {
        return Ok(Some(grants));
    }
    if inside.is_empty() {
        grants.push(grant(fd, &real)?);
    } else {
        siblings(&real, &inside, &mut grants)?;
    }
    Ok(Some(grants))
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

/// Opens without following links; falls back to the alias table where a link stands in the way.
fn open(path: &Path, follow: bool) -> Result<OwnedFd, PathError> {
    let resolve = if follow {
        ResolveFlag::empty()
    } else {
        ResolveFlag::RESOLVE_NO_SYMLINKS
    };
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(resolve);
    let root = nix::fcntl::AT_FDCWD;
    match openat2(root, path, how) {
        Ok(fd) => Ok(fd),
        Err(nix::Error::ELOOP) => match aliased(path) {
            Some(other) => openat2(root, &other, how).map_err(|error| refused(path, error)),
            None => Err(PathError::Link(path.to_owned())),
        },
        Err(error) => Err(refused(path, error)),
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

/// Grants every child of `folder` but the excepted ones, descending only towards those.
fn siblings(folder: &Path, excepts: &[PathBuf], grants: &mut Vec<Grant>) -> Result<(), PathError> {
    let list = |error| PathError::List(folder.to_owned(), error);
    for entry in std::fs::read_dir(folder).map_err(list)? {
        let entry = entry.map_err(list)?;
        let child = folder.join(entry.file_name());
        if excepts.contains(&child) {
            continue;
        }
        let inside: Vec<_> = excepts
            .iter()
            .filter(|path| path.starts_with(&child))
            .cloned()
            .collect();
        if !inside.is_empty() {
            siblings(&child, &inside, grants)?;
            continue;
        }
        // A link grants nothing by itself: what it names is granted where it lies, or is not.
        let fd = match open(&child, false) {
            Ok(fd) => fd,
            Err(PathError::Link(_)) => continue,
            Err(PathError::Open(_, error)) if is_absent(&error) => continue,
            Err(error) => return Err(error),
        };
        let stat = process::stat(&fd).map_err(|error| PathError::Open(child.clone(), error))?;
        let directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        if !directory && stat.st_nlink > 1 {
            if stat.st_mode & 0o111 != 0 {
                return Err(PathError::HardLink(child));
            }
            continue;
        }
        grants.push(Grant { fd, directory });
    }
    Ok(())
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
        }
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
            let grants = resolve(rule).unwrap().unwrap();
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
        assert!(matches!(resolve(&wanted), Err(PathError::Link(_))));
        wanted.follow = true;
        assert_eq!(tree.names(&wanted), ["a/b"]);
    }

    #[test]
    fn an_absent_path_is_skipped_only_where_it_is_optional() {
        let mut wanted = rule(Path::new("/no/such/path"), &[]);
        assert!(matches!(resolve(&wanted), Err(PathError::Open(..))));
        wanted.optional = true;
        assert!(resolve(&wanted).unwrap().is_none());
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
        assert!(matches!(resolve(&wanted), Err(PathError::HardLink(_))));
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        assert!(matches!(
            resolve(&rule(Path::new("/usr/../etc"), &[])),
            Err(PathError::Form(_))
        ));
        assert!(matches!(
            resolve(&rule(Path::new("usr"), &[])),
            Err(PathError::Form(_))
        ));
    }
}
