//! The policy as init reads it: a flat, versioned byte string, decoded without an allocator's help
//! from serde so that init stays small.
//!
//! The front door encodes it once per container and keeps the bytes in the state directory; an
//! exec session decodes them, sets its own [`Policy::rlimits`], and encodes them again. What cannot
//! be decoded whole is refused: there is no partial policy.

/// Everything that init applies, in the order in which it applies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether a supervisor holds the other end of the channel and gives the word.
    pub supervised: bool,
    /// Landlock domains, outermost first. Empty only where the profile accepts a kernel without
    /// Landlock; elsewhere the first one is at least the anchor. At most 16 (landlock(7)).
    pub layers: Vec<Layer>,
    /// Lowered last before the filter. Only limits too low for the runtime or init to live under.
    pub rlimits: Vec<Rlimit>,
    /// The workload-exact seccomp filter.
    pub filter: Filter,
}

/// One Landlock domain. Rights are the kernel's bits (linux/landlock.h); a bit that is not handled
/// is allowed, so the plan handles every bit that the running kernel knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layer {
    /// `LANDLOCK_ACCESS_FS_*` handled by this domain.
    pub handled_fs: u64,
    /// `LANDLOCK_ACCESS_NET_*` handled by this domain.
    pub handled_net: u64,
    /// `LANDLOCK_SCOPE_*` of this domain.
    pub scoped: u64,
    /// Rules below which file hierarchies are reachable.
    pub paths: Vec<PathRule>,
    /// TCP ports, 0..=65535, with `LANDLOCK_ACCESS_NET_*`.
    pub ports: Vec<PortRule>,
}

/// Grants `access` beneath `path`, as the container sees it, except beneath `except`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// Absolute path inside the container.
    pub path: Vec<u8>,
    /// `LANDLOCK_ACCESS_FS_*` granted.
    pub access: u64,
    /// Absolute paths beneath `path` that stay ungranted: init grants the siblings instead.
    pub except: Vec<Vec<u8>>,
    /// A path that does not exist is skipped rather than refused.
    pub optional: bool,
    /// Symbolic links in `path` are followed. Without it, only the links of the alias table are.
    pub follow: bool,
}

/// Grants `access` on one TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRule {
    /// Port number, 0..=65535.
    pub port: u16,
    /// `LANDLOCK_ACCESS_NET_*` granted.
    pub access: u64,
}

/// One resource limit (getrlimit(2)); `u64::MAX` is RLIM_INFINITY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// A compiled seccomp filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// `struct sock_filter` array in native byte order, 8 bytes an instruction, 1..=4096 of them.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*` taken over from the engine's filter (SPEC_ALLOW, LOG).
    pub flags: u32,
    /// The program answers some calls with USER_NOTIF, so init installs a listener.
    pub listener: bool,
}
