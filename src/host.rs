//! What this node can enforce: asked of the kernel and the runtime, never inferred from a version
//! number of the kernel.

use std::path::PathBuf;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// opencontainers/runc.
    Runc,
    /// containers/crun.
    Crun,
    /// youki-dev/youki; experimental.
    Youki,
}
