//! What the OCI world hands us and expects back: the command line, the JSON files, the error log,
//! and the mounts that a runtime made.
//!
//! Everything here is about reading *exactly* what the real runtime will read. Where two runtimes,
//! or two versions of one, would read the same bytes or words differently, this floor refuses
//! rather than guesses: a sandbox computed from another reading than the runtime's is none.

pub mod document;
pub mod errorlog;
pub mod invocation;
pub mod mountinfo;
pub mod patch;
pub mod procmounts;
pub mod reference;
#[cfg(test)]
pub(crate) mod testdir;
