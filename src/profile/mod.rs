//! What an author wrote: the profile language (YAML, strict), its named system call sets, and the
//! resolution of `extends`. Nothing here knows a container or a node; that is [`crate::policy`].
//!
//! Two stages, two types: a [`Document`] is one file as written, a [`Profile`] is what remains
//! once its parents are folded in and its sets are expanded.

mod admission;
pub mod capability;
mod detection;
mod diagnose;
mod entry;
mod exec;
mod expectation;
pub mod glob;
pub mod groups;
pub mod host_paths;
mod limits;
pub mod lint;
mod model;
mod origin;
mod places;
pub mod programs;
mod remarks;
mod resolve;
mod schema;
pub mod table;

#[cfg(test)]
mod tests;

pub use admission::{Held, HostPath, Limited, Refuse};
pub use detection::{Entry as Detection, implied as implied_tripwire};
pub use diagnose::{Error, Finding, Level, Look, Problem, parse_all};
pub use entry::{
    Call, Condition, FileEntry, Op, Place, PlainPath, Symbol, errno_name, normal_glob, normal_path,
};
pub use exec::{Interactive, Sessions, covers as covers_command};
pub use expectation::{Deed, Expectation, FileAccess, Outcome};
pub use limits::{Access, Bound, Device, Kind as DeviceKind, Resource, Tasks};
pub use model::{Checkpoint, Degrade, Document, Files, Mode, Network, Requires, Restore, Scope};
pub use origin::{At, Origin, Origins, Part, Source};
pub use programs::covers_program;
pub use resolve::{Profile, Rule, Syscalls, is_name};
pub use schema::schema;

/// Names of the profiles that are built into the programs and that people use.
pub const BUILT_IN: [&str; 11] = [
    "baseline",
    "restricted",
    "watched",
    "nginx",
    "redis",
    "postgresql",
    "python-web",
    "static-go",
    "jvm",
    "node",
    "batch-job",
];

/// Names of all capabilities, with their prefix.
pub fn capability_names() -> impl Iterator<Item = &'static str> {
    capability::ALL.iter().copied()
}

/// The text of a profile that is built into the programs: [`BUILT_IN`], `learn`, and `pause`, which [`crate::policy::plan_pause`] uses.
#[must_use]
pub fn embedded(name: &str) -> Option<&'static str> {
    match name {
        "baseline" => Some(include_str!("../../profiles/baseline.yaml")),
        "restricted" => Some(include_str!("../../profiles/restricted.yaml")),
        "watched" => Some(include_str!("../../profiles/watched.yaml")),
        "nginx" => Some(include_str!("../../profiles/nginx.yaml")),
        "redis" => Some(include_str!("../../profiles/redis.yaml")),
        "postgresql" => Some(include_str!("../../profiles/postgresql.yaml")),
        "python-web" => Some(include_str!("../../profiles/python-web.yaml")),
        "static-go" => Some(include_str!("../../profiles/static-go.yaml")),
        "jvm" => Some(include_str!("../../profiles/jvm.yaml")),
        "node" => Some(include_str!("../../profiles/node.yaml")),
        "batch-job" => Some(include_str!("../../profiles/batch-job.yaml")),
        "learn" => Some(include_str!("../../profiles/learn.yaml")),
        "pause" => Some(include_str!("../../profiles/pause.yaml")),
        _ => None,
    }
}
