//! Real processes on real runtimes: nothing here is a mock. See tests/README.md.
#![allow(
    dead_code,
    unused_imports,
    reason = "the harness offers more than the tests use today"
)]

mod admission;
mod asked;
mod attacks;
mod bound;
mod broken;
mod broken_node;
mod broken_sessions;
mod bundles;
mod catalogue;
mod checkpoints;
mod ctr;
mod deadlines;
mod detect;
mod detect_cri;
mod detect_drift;
mod detect_exec;
mod detect_freeze;
mod detect_responses;
mod detect_sensors;
mod dropin;
mod exported;
mod failures;
mod faults;
mod faults_calls;
mod faults_control;
mod faults_engine;
mod faults_journal;
mod faults_keeper;
mod faults_load;
mod faults_watcher;
mod filters;
mod harness;
#[path = "../hostile/mod.rs"]
mod hostile;
mod hygiene;
mod kills;
mod landlock_abis;
mod landlock_mounts;
mod landlock_paths;
mod landlock_rights;
mod landlock_site;
mod layers;
mod learn_cri;
mod learned;
mod lifecycle;
mod limits;
mod listeners;
mod losses;
mod lossless;
mod observe;
mod observe_files;
mod observe_rules;
mod programs;
mod remains;
mod scene;
mod sessions;
mod special;
mod table;
mod trace;
mod try_life;
mod try_programs;
mod try_trees;
mod upgrade;
mod workloads;
