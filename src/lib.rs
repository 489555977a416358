//! mantlet: an OCI runtime wrapper that stands between containerd's runc shim and runc.
//!
//! One `create`, top to bottom: [`runtime`] (the front door) reads the command line
//! ([`oci::invocation`]) and config.json ([`oci::document`]), asks [`policy`] for a plan, starts
//! [`supervisor`], writes the patched config.json and becomes the real runtime. Inside the
//! container the runtime's last act is to run [`init`], which applies what only the process
//! itself can apply, reports to the supervisor, waits for its word, and becomes the workload.
//!
//! # Floors
//!
//! A module imports only from lower floors, and modules of floor 3 do not import each other;
//! `tests/floors.rs` keeps it so.
//!
//! | floor | modules |
//! |---|---|
//! | 0 | [`sys`]: raw kernel interfaces; the only `unsafe`; [`escape`] |
//! | 1 | [`oci`], [`profile`], [`access`], [`event`], [`detect`], [`cgroup`], [`seal`], [`channel`], [`control`], [`state`], [`config`], [`host`], [`yaml`] |
//! | 2 | [`policy`] (pure, but for `decide::Rootfs`, which looks into a folder), [`init`] (imports `sys`, `seal` and `channel` only) |
//! | 3 | [`supervisor`], [`runtime`], [`cli`] |
//! | top | `src/bin`: one thin `main` per program |
#![deny(unsafe_code)]

pub mod access;
pub mod cgroup;
pub mod channel;
pub mod cli;
pub mod config;
pub mod control;
pub mod detect;
pub mod escape;
pub mod event;
pub mod host;
pub mod init;
pub mod oci;
pub mod policy;
pub mod profile;
pub mod runtime;
pub mod seal;
pub mod state;
pub mod supervisor;
#[allow(unsafe_code)]
pub mod sys;
#[cfg(test)]
mod tests;
pub mod yaml;
