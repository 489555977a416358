//! Profiles of other tools, read and written: OCI's `linux.seccomp` (and the form of it that Docker and
//! Podman ship), the `SeccompProfile` of the Security Profiles Operator, and landlockconfig.
//!
//! Pure: texts in, texts out, with notes on what got lost. What is imported never performs a call, and
//! never grants a right, that its source refuses: what the language here cannot say is said narrower,
//! with a comment in the place, or refused. What is exported performs the same calls, or names what it
//! could not say. Nothing here reads a container or a node, but a bundle that it is handed.

mod files_in;
mod files_out;
mod landlockconfig;
mod manifest;
mod oci;
mod regions;
mod seccomp_in;
mod seccomp_out;
mod yaml;

#[cfg(test)]
mod tests;

pub use files_in::import_files;
pub use files_out::{Export as FilesExport, Folder, export_files};
pub use landlockconfig::{Config as LandlockConfig, Form};
pub use manifest::manifest;
pub use oci::{Filter as SeccompFile, Kernel, Scene as SeccompScene};
pub use seccomp_in::{Defaults, import_seccomp};
pub use seccomp_out::{Seccomp, export_seccomp};

/// A profile made from another tool's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The profile: YAML with comments, which [`crate::profile::Profile::parse`] takes.
    pub text: String,
    /// What could not be said as it was, for the person who asked; each is a comment in `text` too.
    pub notes: Vec<String>,
}

/// Why a file cannot be imported, or a profile not exported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not what it should be.
    #[error("{file}:{line}:{column}: {message}")]
    Text {
        /// As given.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong with it.
        message: String,
    },
    /// It reads well, and something in it makes no sense.
    #[error("{file}: {message}")]
    Meaning {
        /// As given.
        file: String,
        /// What, where, and what to do.
        message: String,
    },
    /// What this build would perform whatever a profile says.
    #[error(
        "{file}: it does not allow every {call}, and mantlet's init needs it under every profile: the result \
         would be wider than its source; allow {call} in the source first"
    )]
    Needed {
        /// As given.
        file: String,
        /// One of read, write, execve, exit_group.
        call: &'static str,
    },
    /// A list of what is forbidden.
    #[error(
        "{file}: `defaultAction` {action} performs whatever is not listed, calls of tomorrow's kernels \
         included; a profile lists what is allowed. `--expand` allows every call that mantlet knows today \
         less what the file refuses"
    )]
    DenyList {
        /// As given.
        file: String,
        /// The action's word.
        action: &'static str,
    },
    /// A name that no profile can have.
    #[error(
        "`{name}` is no profile name: use letters, digits, `-`, `_` and `.`, and no leading dot"
    )]
    Name {
        /// As given.
        name: String,
    },
    /// Conditions that make no list of rules that anybody would load.
    #[error(
        "the conditions on {call} make more than {most} rules of the other form: allow it whole, deny it, \
         or use fewer conditions"
    )]
    TooManyRules {
        /// The call.
        call: String,
        /// Most rules for one call.
        most: usize,
    },
    /// A file entry that only a container can resolve.
    #[error("`{entry}` in `files` {why}; give the container it is for: --bundle DIR")]
    NeedsContainer {
        /// As written.
        entry: String,
        /// Why.
        why: &'static str,
    },
    /// The bundle's own fault.
    #[error("{0}")]
    Bundle(String),
    /// A profile that restricts nothing of what the other form can say.
    #[error("profile {profile} has no `{keys}`: there is nothing to export as {form}")]
    Nothing {
        /// The profile.
        profile: String,
        /// Keys.
        keys: &'static str,
        /// The other form.
        form: &'static str,
    },
    /// Both filters' rules together.
    #[error(transparent)]
    TooLarge(#[from] crate::policy::seccomp::bpf::TooLarge),
    /// Our own fault: what was written is no profile.
    #[error(
        "what was imported from {file} is no valid profile ({cause}); please report it with the file"
    )]
    Broken {
        /// As given.
        file: String,
        /// The parser's words.
        cause: String,
    },
}

/// Checks a name for a new profile.
///
/// # Errors
///
/// [`Error::Name`].
pub fn name(name: &str) -> Result<&str, Error> {
    if !crate::profile::is_name(name) {
        return Err(Error::Name { name: name.into() });
    }
    Ok(name)
}

/// Says where a JSON text is wrong.
fn json_error(file: &str, error: &serde_json::Error) -> Error {
    let whole = error.to_string();
    let end = format!(" at line {} column {}", error.line(), error.column());
    Error::Text {
        file: file.into(),
        line: error.line(),
        column: error.column(),
        message: whole.strip_suffix(&end).unwrap_or(&whole).to_owned(),
    }
}
