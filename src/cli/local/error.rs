//! Why a program could not be run here.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::text::escape;
use crate::config::ConfigError;
use crate::host::HostError;
use crate::profile;

/// Why there was no run. Each ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// An ordinary user.
    #[error(
        "running a program under a profile needs root, as an engine has it: namespaces, the real runtime and \
         the sandbox are made by it; use sudo (`--user` then says whom the program runs as). Rootless \
         runtimes are not supported"
    )]
    NotRoot,
    /// The runtime.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A profile is wrong, or missing.
    #[error(transparent)]
    Profile(#[from] profile::Error),
    /// A profile's file is the site's and cannot be trusted.
    #[error(transparent)]
    Trust(#[from] ConfigError),
    /// A profile's file.
    #[error(
        "cannot read {}: {cause}; name a profile's file, or a profile by its bare name",
        escape(&path.display().to_string())
    )]
    ProfileFile {
        /// As given.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// It cannot be in mode `audit`.
    #[error(
        "cannot have profile {name} in mode audit: {cause}; write `mode: audit` into a copy of it"
    )]
    Audit {
        /// The profile.
        name: String,
        /// Why not.
        cause: String,
    },
    /// Two layers of one name that are not the same file.
    #[error("two different profiles are called {name:?}; rename one of them")]
    SameName {
        /// The name.
        name: String,
    },
    /// One of mantlet's programs is missing.
    #[error(
        "there is no {} beside this program{}; install mantlet's programs in one folder, or set libexec_dir \
         in the configuration",
        name,
        searched(folders)
    )]
    Program {
        /// Its name.
        name: &'static str,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// A file, folder, or system call.
    #[error("cannot {operation} {}: {cause}", escape(object))]
    System {
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// No layer in memory can be laid over it.
    #[error(
        "cannot lay a layer in memory over {}: {cause}; its file system may not take an overlay: copy what is \
         needed to another one and name that with --rootfs", path.display()
    )]
    Overlay {
        /// The tree.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A tree that is none.
    #[error("{} is no folder with a root filesystem: {cause}", escape(&path.display().to_string()))]
    NoTree {
        /// As given.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A bundle's config.json.
    #[error("{cause}; `runc spec --bundle DIR` writes an example of one")]
    Bundle {
        /// What is wrong.
        cause: String,
    },
    /// JSON has no other strings.
    #[error("cannot run it: {what} is not UTF-8, and config.json can hold nothing else")]
    NotText {
        /// What.
        what: &'static str,
    },
    /// Nothing to run.
    #[error("there is no command to run; write it after `--`")]
    NoCommand,
    /// A user that the tree does not know.
    #[error("there is no user \"{}\" in {}; give numbers, UID or UID:GID", escape(user), file.display())]
    NoUser {
        /// As given.
        user: String,
        /// The tree's /etc/passwd.
        file: PathBuf,
    },
    /// A volume's source that is not there.
    #[error("there is no {} to bring in as a volume: {cause}; make it first", path.display())]
    NoVolume {
        /// The source.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A name for a place inside the container that is no absolute path.
    #[error("{} is no absolute path of the container's", escape(&path.display().to_string()))]
    NotAbsolute {
        /// As given.
        path: PathBuf,
    },
}

impl LocalError {
    /// For `map_err`, with what was tried on which path.
    pub(super) fn system(
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> LocalError {
        let object = path.display().to_string();
        move |cause| LocalError::System {
            operation,
            object,
            cause,
        }
    }
}

fn searched(folders: &[PathBuf]) -> String {
    let names: Vec<String> = folders
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    match &names[..] {
        [] => String::new(),
        names => format!(" (looked in {})", names.join(", ")),
    }
}
