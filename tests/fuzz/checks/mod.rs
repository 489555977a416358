//! What must hold for any bytes, one file for each kind of them: shared by the fuzz targets
//! (`tests/fuzz/targets`) and the replay of their seeds (`tests/fuzz.rs`).
//!
//! Each check takes bytes as they come from outside and panics where a promise is broken. Bytes that
//! are refused are a good answer; the promises are about what is accepted.
// Each program uses some of it.
#![allow(dead_code)]

pub mod channel;
pub mod config;
pub mod control;
pub mod event;
pub mod exchange;
pub mod filters;
pub mod invocation;
pub mod mountinfo;
pub mod node;
pub mod policy;
pub mod process;
pub mod profile;

mod change;
#[path = "../../../src/policy/seccomp/interpreter.rs"]
mod interpreter;

// What the interpreter expects beside it.
use mantlet::policy::seccomp::{bpf, verdict};

/// A check, as the table has it.
pub type Check = fn(&[u8]);

/// Every check by the name of its target and of its folder in `tests/fuzz/seeds`.
pub const ALL: [(&str, Check); 12] = [
    ("channel", channel::check),
    ("config", config::check),
    ("control", control::check),
    ("event", event::check),
    ("exchange", exchange::check),
    ("filters", filters::check),
    ("invocation", invocation::check),
    ("mountinfo", mountinfo::check),
    ("node", node::check),
    ("policy", policy::check),
    ("process", process::check),
    ("profile", profile::check),
];
