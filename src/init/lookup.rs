//! Finding the workload's program by the runtime's rules, with the runtime's words where it is
//! missing (runc: Go's `exec.LookPath` inside the container, PATH and cwd being the container's).

use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why there is nothing to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// The name stands in no directory of PATH.
    NotOnPath(String),
    /// The path does not exist.
    NoSuchFile(String, String),
    /// It exists and is a directory or has no execute bit.
    Denied(String),
}

impl Miss {
    /// Whether the file is missing, rather than not executable.
    pub fn is_missing(&self) -> bool {
        !matches!(self, Miss::Denied(_))
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Miss::NotOnPath(name) => {
                write!(f, "exec: {name:?}: executable file not found in $PATH")
            }
            Miss::NoSuchFile(path, cause) => write!(f, "exec: {path:?}: stat {path}: {cause}"),
            Miss::Denied(path) => write!(f, "exec: {path:?}: permission denied"),
        }
    }
}

/// The path to execute for `name`.
///
/// # Errors
/// [`Miss`], worded as runc words it.
pub fn find(name: &CStr) -> Result<CString, Miss> {
    find_on(name, std::env::var_os("PATH").as_deref())
}

fn find_on(name: &CStr, path: Option<&OsStr>) -> Result<CString, Miss> {
    let plain = OsStr::from_bytes(name.to_bytes());
    let shown = plain.to_string_lossy().into_owned();
    if name.to_bytes().contains(&b'/') {
        return match executable(Path::new(plain)) {
            Ok(true) => Ok(name.to_owned()),
            Ok(false) => Err(Miss::Denied(shown)),
            Err(error) => Err(cause(shown, &error)),
        };
    }
    for folder in std::env::split_paths(path.unwrap_or_default()) {
        // An empty element of PATH is the current directory, as in a shell.
        let candidate = if folder.as_os_str().is_empty() {
            PathBuf::from(".").join(plain)
        } else {
            folder.join(plain)
        };
        if !name.is_empty() && matches!(executable(&candidate), Ok(true)) {
            let bytes = candidate.into_os_string().into_encoded_bytes();
            return CString::new(bytes).map_err(|_| Miss::NotOnPath(shown));
        }
    }
    Err(Miss::NotOnPath(shown))
}

fn executable(path: &Path) -> std::io::Result<bool> {
    let file = std::fs::metadata(path)?;
    Ok(!file.is_dir() && file.permissions().mode() & 0o111 != 0)
}

fn cause(path: String, error: &std::io::Error) -> Miss {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Miss::Denied(path),
        std::io::ErrorKind::NotADirectory => Miss::NoSuchFile(path, "not a directory".into()),
        _ => Miss::NoSuchFile(path, "no such file or directory".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_searched_on_path_and_a_path_is_taken_as_it_is() {
        let path = OsStr::new("/nowhere:/usr/bin:/bin");
        assert_eq!(
            find_on(c"env", Some(path)).unwrap(),
            c"/usr/bin/env".to_owned()
        );
        assert_eq!(
            find_on(c"/usr/bin/env", None).unwrap(),
            c"/usr/bin/env".to_owned()
        );
    }

    #[test]
    fn what_is_missing_is_said_in_the_runtimes_words() {
        let on_path = find_on(c"foo", Some(OsStr::new("/usr/bin"))).unwrap_err();
        assert_eq!(
            on_path.to_string(),
            "exec: \"foo\": executable file not found in $PATH"
        );
        let by_path = find_on(c"/no/such", None).unwrap_err();
        let text = "exec: \"/no/such\": stat /no/such: no such file or directory";
        assert_eq!(by_path.to_string(), text);
        let folder = find_on(c"/usr", None).unwrap_err();
        assert_eq!(folder.to_string(), "exec: \"/usr\": permission denied");
        assert!(by_path.is_missing() && !folder.is_missing());
        assert!(find_on(c"", Some(OsStr::new("/usr/bin"))).is_err());
    }
}
