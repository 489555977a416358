//! Why the front door did not become the runtime: each says the object, the cause and what to do.

use std::path::PathBuf;

use crate::config::ConfigError;
use crate::host::HostError;
use crate::oci::document::{DocumentError, FileError};
use crate::oci::patch::PatchError;
use crate::oci::procmounts::ForgedProc;
use crate::policy::{Refusal, SelectError};
use crate::profile;
use crate::seal::BOUND_INIT;
use crate::state::StateError;

/// One line for the runtime's log.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The node's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The kernel or the runtime.
    #[error(transparent)]
    Host(#[from] HostError),
    /// config.json or the process file.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// config.json cannot be replaced.
    #[error(transparent)]
    File(#[from] FileError),
    /// A planned change does not fit the document.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The profile.
    #[error(transparent)]
    Profile(#[from] profile::Error),
    /// The plan says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What layers that only look would say cannot be put down for the supervisor.
    #[error(
        "cannot write down what the profiles in mode `audit` or `learn` look at: {cause}; this is a bug of mantlet's, report it with the profiles"
    )]
    Observing {
        /// The writer's word.
        cause: serde_json::Error,
    },
    /// What the pod selects.
    #[error(transparent)]
    Selection(#[from] SelectError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The container's /proc is not the kernel's own.
    #[error("cannot {verb} container {id:?}: {cause}")]
    Proc {
        /// `start` or `exec in`.
        verb: &'static str,
        /// The container.
        id: String,
        /// What is wrong.
        cause: ForgedProc,
    },
    /// Mounts cannot be told apart.
    #[error(
        "cannot compare the container's mounts with `host-path` of its profile: line {line} of mountinfo has another form than the kernel's; report this kernel"
    )]
    Mountinfo {
        /// From 1.
        line: usize,
    },
    /// What would be executed in place of init.
    #[error(
        "cannot {verb} container {id:?}: refusing to trust its {BOUND_INIT}: {cause}; remove what the image or a volume has at /dev, and create it anew"
    )]
    Bound {
        /// `start` or `exec in`.
        verb: &'static str,
        /// The container.
        id: String,
        /// What is wrong.
        cause: String,
    },
    /// A system call or a file of ours.
    #[error("cannot {operation} {object}: {cause}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// The kernel's answer.
        cause: std::io::Error,
    },
    /// `mantlet-init` or `mantlet-supervisor` is not where it should be.
    #[error(
        "cannot use {path:?}: {cause}; install it beside the front door or set `libexec_dir` in the configuration"
    )]
    Missing {
        /// The program.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// The kernel gives no fanotify group, and the profile's rules need one.
    #[error(
        "cannot watch executions, which the rules of {profiles} need: {}",
        group(cause)
    )]
    Fanotify {
        /// The profiles with such rules.
        profiles: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// The runtime has a container of that id.
    #[error("container with given ID already exists: {id:?} lives in {root:?}; delete it first")]
    Exists {
        /// The container.
        id: String,
        /// The runtime's root.
        root: PathBuf,
    },
    /// The bundle was rewritten and its original is lost.
    #[error(
        "cannot use {path:?}: mantlet rewrote it before and its original is gone; write the bundle's config.json anew"
    )]
    OriginalLost {
        /// config.json.
        path: PathBuf,
    },
    /// crun's `--config`.
    #[error(
        "cannot use --config {path:?}: mantlet rewrites the bundle's config.json only; name the file so"
    )]
    OtherConfig {
        /// The file named.
        path: PathBuf,
    },
    /// `args` of the process is absent or empty.
    #[error(
        "cannot {verb} container {id:?}: process.args is empty; name the command to execute there"
    )]
    NoCommand {
        /// `create` or `exec in`.
        verb: &'static str,
        /// The container.
        id: String,
    },
    /// No record of the container.
    #[error(
        "cannot {verb} container {id:?}: mantlet has no record of it: it has ended, or was not created through mantlet; create it with this handler"
    )]
    Unknown {
        /// `start` or `exec in`.
        verb: &'static str,
        /// The container.
        id: String,
    },
    /// Nobody would answer init.
    #[error(
        "cannot {verb} container {id:?}: its supervisor is gone or does not answer ({cause}), so no process can be given its sandbox; delete the container and create it again"
    )]
    Unsupervised {
        /// `start` or `exec in`.
        verb: &'static str,
        /// The container.
        id: String,
        /// The kernel's answer.
        cause: String,
    },
    /// The container has no parked or running first process.
    #[error("cannot {verb} container {id:?}: {cause}")]
    NotThere {
        /// `start` or `exec in`.
        verb: &'static str,
        /// The container.
        id: String,
        /// What was looked for.
        cause: String,
    },
    /// Init's or the supervisor's own words; the runtime error people know comes first.
    #[error("{0}")]
    Said(String),
    /// A session in a pause container.
    #[error(
        "cannot exec in container {id:?}: it is a pod's pause container, which runs nothing else; exec in one of the pod's own containers"
    )]
    Pause {
        /// The container.
        id: String,
    },
    /// A profile refuses root and the session would be root.
    #[error(
        "cannot exec in container {id:?} as user {user:?}: a profile that the session is held to refuses root-user; name another user by a plain uid such as 1000"
    )]
    RootSession {
        /// The container.
        id: String,
        /// `--user`; empty for the workload's own.
        user: String,
    },
    /// A session that would keep the workload's capabilities.
    #[error(
        "cannot exec in container {id:?} without --process: the runtime would give it the workload's capabilities, and profile {profiles}, which it is held to, leaves it fewer; name them in a process file"
    )]
    CommandLine {
        /// The container.
        id: String,
        /// What holds it.
        profiles: String,
    },
    /// `restore`.
    #[error(
        "cannot restore container {id:?}: a checkpoint holds no Landlock domain and CRIU suspends seccomp, so it would run with less than profile {profile} says; create it anew, or let the profile say `restore: unprotected`"
    )]
    Restore {
        /// The container.
        id: String,
        /// Who does not permit it.
        profile: String,
    },
    /// `checkpoint`.
    #[error(
        "cannot checkpoint container {id:?}: CRIU suspends its seccomp filter meanwhile, and what is written could not be restored with its sandbox; back up its volumes instead, or let its profile say `checkpoint: allow`"
    )]
    Checkpoint {
        /// The container.
        id: String,
    },
}

impl Failure {
    /// For `map_err` on system calls.
    pub(super) fn system(
        operation: &'static str,
        object: String,
        cause: std::io::Error,
    ) -> Failure {
        Failure::System {
            operation,
            object,
            cause,
        }
    }
}

/// Why there is no fanotify group, and what to do.
fn group(cause: &std::io::Error) -> String {
    match cause.raw_os_error() {
        Some(libc::EMFILE) => "this node's fanotify groups are used up, one for each such container; raise fs.fanotify.max_user_groups (`mantlet doctor` tells how many are in use)".into(),
        Some(libc::EPERM) => "the front door lacks CAP_SYS_ADMIN; let containerd run as root of the host, or use a profile without `detect`".into(),
        Some(libc::ENOSYS | libc::EINVAL) => format!("this kernel has no fanotify permission events ({cause}); use a profile without `detect`"),
        _ => format!("{cause}; use a profile without `detect`"),
    }
}
