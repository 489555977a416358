//! Finding the real runtime, and never ourselves in its place.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::HostError;

/// Searched after PATH: an engine's service often has a short one.
const STANDARD: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The absolute path of the runtime: `runtime` itself where it is absolute, else the first
/// executable of that name on PATH, then in the standard folders. A program that is mantlet itself
/// (a node where `runc` is a link to the front door) is passed over on PATH and refused by path.
///
/// # Errors
/// Nothing executable is there, or only mantlet itself.
pub fn resolve(runtime: &Path) -> Result<PathBuf, HostError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(STANDARD.iter().map(PathBuf::from))
        .collect();
    search(runtime, &folders, &ourselves())
}

/// As [`resolve`], with everything it depends on given.
fn search(runtime: &Path, folders: &[PathBuf], own: &[Inode]) -> Result<PathBuf, HostError> {
    if runtime.is_absolute() {
        let meta = executable(runtime).map_err(|source| HostError::Runtime {
            path: runtime.to_owned(),
            source,
        })?;
        if own.contains(&Inode::of(&meta)) {
            return Err(HostError::Itself {
                path: runtime.to_owned(),
            });
        }
        return Ok(runtime.to_owned());
    }
    let mut itself = None;
    // A relative entry of PATH means the working directory, which is the bundle: never searched.
    for folder in folders.iter().filter(|folder| folder.is_absolute()) {
        let candidate = folder.join(runtime);
        match executable(&candidate) {
            Ok(meta) if own.contains(&Inode::of(&meta)) => itself = Some(candidate),
            Ok(_) => return Ok(candidate),
            Err(_) => {}
        }
    }
    Err(match itself {
        Some(path) => HostError::Itself { path },
        None => HostError::NoRuntime {
            name: runtime.to_string_lossy().into_owned(),
        },
    })
}

/// Device and inode: which file, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inode(u64, u64);

impl Inode {
    fn of(meta: &Metadata) -> Inode {
        Inode(meta.dev(), meta.ino())
    }
}

/// This program and, as the command may ask for the front door, the front door beside it.
fn ourselves() -> Vec<Inode> {
    let own = std::env::current_exe().ok();
    let beside = own
        .as_deref()
        .and_then(Path::parent)
        .map(|dir| dir.join("mantlet-runtime"));
    [Some(PathBuf::from("/proc/self/exe")), beside]
        .into_iter()
        .flatten()
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|meta| Inode::of(&meta))
        .collect()
}

/// A regular file with some execute bit, behind any links.
fn executable(path: &Path) -> io::Result<Metadata> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() || meta.mode() & 0o111 == 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "not an executable file",
        ));
    }
    Ok(meta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_on_path_and_a_relative_entry_is_never_searched() {
        let folders = [PathBuf::from("bin"), "/usr/bin".into()];
        let found = search(Path::new("env"), &folders, &[]).unwrap();
        assert_eq!(found, Path::new("/usr/bin/env"));
        let none = search(Path::new("env"), &folders[..1], &[]);
        assert!(matches!(none, Err(HostError::NoRuntime { .. })));
    }

    #[test]
    fn mantlet_itself_is_passed_over_on_path_and_refused_by_path() {
        let own = [Inode::of(&std::fs::metadata("/usr/bin/env").unwrap())];
        let refused = search(Path::new("/usr/bin/env"), &[], &own);
        assert!(matches!(refused, Err(HostError::Itself { .. })));
        let only = search(Path::new("env"), &["/usr/bin".into()], &own);
        assert!(matches!(only, Err(HostError::Itself { .. })));
        assert!(matches!(
            resolve(Path::new("/proc/self/exe")),
            Err(HostError::Itself { .. })
        ));
    }

    #[test]
    fn what_cannot_be_executed_is_no_runtime() {
        assert!(matches!(
            resolve(Path::new("/etc/passwd")),
            Err(HostError::Runtime { .. })
        ));
        assert!(matches!(
            resolve(Path::new("/no/such")),
            Err(HostError::Runtime { .. })
        ));
        assert!(matches!(
            resolve(Path::new("/usr/bin")),
            Err(HostError::Runtime { .. })
        ));
    }
}
