//! What can go wrong with the state directory.

use std::io;
use std::path::PathBuf;

/// Why state cannot be written, read or believed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The id cannot be the name of a folder.
    #[error(
        "refusing the container id {id:?}: it has to be 1 to 255 bytes, without `/` or NUL, and \
         neither `.` nor `..`; choose another id"
    )]
    Id {
        /// The id as given.
        id: String,
    },
    /// A container of that id and root is known already.
    #[error(
        "container {id:?} has state in {} already; delete the container (`delete --force`), or \
         remove the folder if no runtime knows it", path.display()
    )]
    Exists {
        /// The id.
        id: String,
        /// Its folder.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {operation} {}: {source}; `mantlet doctor` checks the state directory", path.display())]
    Io {
        /// What was tried: `create`, `read`, …
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Somebody else could have written there.
    #[error(
        "refusing the folder {}: it is not owned by the caller or others can write to it; \
         chown root and chmod 0700 it", path.display()
    )]
    Untrusted {
        /// The folder.
        path: PathBuf,
    },
    /// The content is not what it should be.
    #[error("cannot understand {}: {source}; it was not written by mantlet as it is", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The content is of another version.
    #[error(
        "{} has version {found}, and this mantlet ({}) understands {known}; use the mantlet that \
         made it, or recreate the container", path.display(), env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The version understood here.
        known: u32,
    },
}

impl StateError {
    /// For `map_err`: names the operation and its object.
    pub(super) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> StateError {
        let path = path.into();
        move |source| StateError::Io {
            operation,
            path,
            source,
        }
    }

    /// Whether it only says that a file or folder is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, StateError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
