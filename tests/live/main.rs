//! Real processes on real runtimes: nothing here is a mock. See tests/README.md.
#![allow(
    dead_code,
    unused_imports,
    reason = "the harness offers more than the tests use today"
)]

mod broken;
mod broken_node;
mod broken_sessions;
mod bundles;
mod ctr;
mod deadlines;
mod dropin;
mod harness;
mod kills;
mod lifecycle;
mod lossless;
mod programs;
mod remains;
mod scene;
mod trace;
mod workloads;
