//! Real processes on real runtimes: nothing here is a mock. See tests/README.md.
#![allow(
    dead_code,
    unused_imports,
    reason = "the harness offers more than the tests use today"
)]

mod attacks;
mod bundles;
mod ctr;
mod dropin;
mod failures;
mod harness;
mod hygiene;
mod lifecycle;
mod programs;
mod table;
mod workloads;
