//! What this node can enforce: asked of the kernel and the runtime, never inferred from a version
//! number of the kernel.
//!
//! The runtime is asked for its `--version`. As that costs a fork and an exec of a Go program
//! (15 ms for runc 1.1.5), the answer is kept in `STATE/runtimes` and believed as long as the file
//! at that path is the same one (device, inode, size, times).

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::sys::probe;

mod cache;
mod find;
mod version;

pub use cache::digest_of;
pub use find::resolve;
pub use version::first_output as output_of;

/// One node's abilities, as seen at one moment. Plain values, so that `policy` stays pure and
/// tests describe older kernels by writing them down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Landlock ABI (landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION), 0 where
    /// the kernel has none or it is not enabled.
    pub landlock_abi: u32,
    /// Whether `user_notif` is in /proc/sys/kernel/seccomp/actions_avail.
    pub user_notif: bool,
    /// Whether this very process is already under a filter that has a listener, so that init could
    /// not add its own (EBUSY; a nested node).
    pub listener_taken: bool,
    /// Whether a notified call can be let go on (SECCOMP_USER_NOTIF_FLAG_CONTINUE, kernel 5.5), which every
    /// layer that only looks rests on; false where no listener can be had.
    pub may_go_on: bool,
    /// Whether SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is known (kernel 5.19).
    pub wait_killable: bool,
    /// The real runtime.
    pub runtime: Runtime,
}

/// Which OCI runtime the front door hands over to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Resolved absolute path.
    pub path: PathBuf,
    /// Family, by the first word of its `--version`.
    pub family: Family,
    /// Version as printed, such as `1.1.5+ds1`.
    pub version: String,
    /// (major, minor, patch) of `version`, where it has that form.
    pub number: Option<(u32, u32, u32)>,
}

/// Families of runtimes that mantlet knows how to stand in front of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// opencontainers/runc.
    Runc,
    /// containers/crun.
    Crun,
    /// youki-dev/youki; experimental.
    Youki,
}

/// Why the node cannot be described, or its runtime not be used.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No such program.
    #[error(
        "cannot find the runtime {name:?} on PATH or in the system's sbin and bin folders; \
         install it or name it by an absolute path in `handlers:`"
    )]
    NoRuntime {
        /// The name as configured.
        name: String,
    },
    /// The path names nothing that can be executed.
    #[error("cannot use the runtime {}: {source}; install it or mend `handlers:`", path.display())]
    Runtime {
        /// The path as configured.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The front door would call itself for ever.
    #[error(
        "the runtime {} is mantlet itself; name the real one by an absolute path in `handlers:`",
        path.display()
    )]
    Itself {
        /// The path as configured or found.
        path: PathBuf,
    },
    /// The runtime did not tell its version.
    #[error(
        "cannot ask {} for its version: {source}; run `{} --version` to see why",
        path.display(), path.display()
    )]
    Version {
        /// The runtime.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It answered, but is none of those that mantlet knows.
    #[error(
        "{} calls itself {answer:?}, which is none of runc, crun, youki; configure one of these",
        path.display()
    )]
    UnknownRuntime {
        /// The runtime.
        path: PathBuf,
        /// Its first line.
        answer: String,
    },
    /// It is known to be unsafe under mantlet.
    #[error(
        "{} is runc {version}, which does not verify /proc before it executes mantlet-init; \
         install runc 1.1.5 or later", path.display()
    )]
    TooOld {
        /// The runtime.
        path: PathBuf,
        /// Its version as printed.
        version: String,
    },
    /// The kernel's answer could not be had.
    #[error("cannot ask the kernel about {what}: {source}; run `mantlet doctor` on this node")]
    Kernel {
        /// Which question.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// The kernel's half of a [`Host`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// As [`Host::landlock_abi`].
    pub landlock_abi: u32,
    /// As [`Host::user_notif`].
    pub user_notif: bool,
    /// As [`Host::listener_taken`].
    pub listener_taken: bool,
    /// As [`Host::may_go_on`].
    pub may_go_on: bool,
    /// As [`Host::wait_killable`].
    pub wait_killable: bool,
}

impl Kernel {
    /// Asks the running kernel.
    ///
    /// # Errors
    /// /proc cannot be read, or an outer filter forbids to install another one.
    pub fn probe() -> Result<Kernel, HostError> {
        let user_notif = user_notif()?;
        let listener_taken = filtered()? && listener_taken()?;
        Ok(Kernel {
            landlock_abi: probe::landlock_abi(),
            user_notif,
            listener_taken,
            // Where nobody can tell, nothing may rest on it.
            may_go_on: user_notif && !listener_taken && probe::may_go_on().unwrap_or(false),
            wait_killable: probe::wait_killable(),
        })
    }
}

impl Host {
    /// Asks the kernel and the runtime. `runtime` is a name or an absolute path, as in
    /// [`crate::config::Handler::runtime`]; `state_dir` is where answers about it are kept.
    ///
    /// # Errors
    /// The kernel's answer cannot be had, or there is no usable runtime. An old runtime is not an
    /// error here: see [`Runtime::check`].
    pub fn probe(runtime: &Path, state_dir: &Path) -> Result<Host, HostError> {
        let kernel = Kernel::probe()?;
        Ok(Host {
            landlock_abi: kernel.landlock_abi,
            user_notif: kernel.user_notif,
            listener_taken: kernel.listener_taken,
            may_go_on: kernel.may_go_on,
            wait_killable: kernel.wait_killable,
            runtime: Runtime::probe(runtime, state_dir)?,
        })
    }
}

impl Runtime {
    /// Finds the runtime and what it is. The answer comes from `STATE/runtimes` where that is to
    /// be trusted and the file is still the same; a cache that cannot be written is no error.
    ///
    /// # Errors
    /// There is no usable runtime of that name or path.
    pub fn probe(runtime: &Path, state_dir: &Path) -> Result<Runtime, HostError> {
        let path = resolve(runtime)?;
        let key = cache::Key::of(&path).map_err(|source| HostError::Runtime {
            path: path.clone(),
            source,
        })?;
        if let Some(known) = cache::read(state_dir, &key) {
            return Ok(known);
        }
        let asked = version::ask(&path)?;
        cache::write(state_dir, &key, &asked);
        Ok(asked)
    }

    /// As [`Runtime::probe`], asking the runtime itself and keeping nothing.
    ///
    /// # Errors
    /// There is no usable runtime of that name or path.
    pub fn ask(runtime: &Path) -> Result<Runtime, HostError> {
        version::ask(&resolve(runtime)?)
    }

    /// Refuses versions known to be unsafe under mantlet: runc before 1.1.5 (DESIGN §5).
    ///
    /// # Errors
    /// [`HostError::TooOld`], also where runc's version has no numbers to compare.
    pub fn check(&self) -> Result<(), HostError> {
        match (self.family, self.number) {
            (Family::Runc, Some(number)) if number >= (1, 1, 5) => Ok(()),
            (Family::Runc, _) => Err(HostError::TooOld {
                path: self.path.clone(),
                version: self.version.clone(),
            }),
            _ => Ok(()),
        }
    }
}

impl Family {
    /// The name that `--version` begins with.
    pub fn name(self) -> &'static str {
        match self {
            Family::Runc => "runc",
            Family::Crun => "crun",
            Family::Youki => "youki",
        }
    }
}

/// Whether the kernel knows SECCOMP_RET_USER_NOTIF. Without the file (kernel before 4.14) it does
/// not.
fn user_notif() -> Result<bool, HostError> {
    let what = "seccomp actions (/proc/sys/kernel/seccomp/actions_avail)";
    match read_proc("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) => Ok(actions
            .split_ascii_whitespace()
            .any(|action| action == "user_notif")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(HostError::Kernel { what, source }),
    }
}

/// Whether this thread (filters are per thread) is under a seccomp filter already; without one there
/// is no listener, and the question by fork is spared.
fn filtered() -> Result<bool, HostError> {
    let status = read_proc("/proc/thread-self/status").map_err(|source| HostError::Kernel {
        what: "this process (/proc/thread-self/status)",
        source,
    })?;
    Ok(status.lines().any(|line| {
        line.strip_prefix("Seccomp:")
            .is_some_and(|mode| mode.trim() == "2")
    }))
}

/// A file of /proc, whose size nobody tells beforehand: in one read rather than in eight.
fn read_proc(path: &str) -> io::Result<String> {
    let mut text = String::with_capacity(4096);
    std::fs::File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether a filter above has a listener.
fn listener_taken() -> Result<bool, HostError> {
    probe::listener_taken().map_err(|source| HostError::Kernel {
        what: "a nested seccomp listener",
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(family: Family, number: Option<(u32, u32, u32)>) -> Runtime {
        Runtime {
            path: "/sbin/x".into(),
            family,
            version: "x".into(),
            number,
        }
    }

    #[test]
    fn runc_before_1_1_5_is_refused_and_others_are_not() {
        assert!(runtime(Family::Runc, Some((1, 1, 5))).check().is_ok());
        assert!(runtime(Family::Runc, Some((1, 5, 0))).check().is_ok());
        assert!(runtime(Family::Runc, Some((1, 1, 4))).check().is_err());
        assert!(runtime(Family::Runc, None).check().is_err());
        assert!(runtime(Family::Crun, Some((0, 1, 0))).check().is_ok());
    }

    #[test]
    fn the_kernel_answers_as_proc_says() {
        let kernel = Kernel::probe().unwrap();
        let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap();
        assert_eq!(kernel.user_notif, actions.contains("user_notif"));
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        if status.contains("Seccomp:\t0") {
            assert!(!kernel.listener_taken);
        }
    }
}
