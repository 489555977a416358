//! The pids limit of the container's cgroup, which exec sessions share.

use oci_spec::runtime::{LinuxResources, Spec};
use serde_json::json;

use crate::host::{Family, Host, Runtime};
use crate::oci::patch::Edit;
use crate::profile::Tasks;

const UNIFIED: &str = "pids.max";

/// Edits of `/linux/resources` that leave the container no more than `max` tasks; the engine's own
/// limit stays where it is lower.
#[must_use]
pub fn edits(spec: &Spec, host: &Host, max: Option<Tasks>) -> Vec<Edit> {
    let Some(Tasks(max)) = max else {
        return Vec::new();
    };
    let resources = spec.linux().as_ref();
    let resources = resources.and_then(|linux| linux.resources().as_ref());
    let set = |pointer: &str, value| Edit::Set {
        pointer: format!("/linux/resources/{pointer}"),
        value,
    };
    let mut edits = Vec::new();
    let written = resources
        .and_then(|all| all.pids().as_ref())
        .map(|pids| pids.limit());
    let stays = written.is_some_and(|own| limits(own, &host.runtime) && own.unsigned_abs() <= max);
    if !stays {
        edits.push(set("pids/limit", json!(max)));
    }
    // The runtimes write this map last, over what the line above says (cgroup v2).
    let over = resources.and_then(|all| unified(all, UNIFIED));
    if over.is_some_and(|text| !text.trim().parse::<u64>().is_ok_and(|own| own <= max)) {
        edits.push(set(&format!("unified/{UNIFIED}"), json!(max.to_string())));
    }
    edits
}

/// Whether a number as the engine wrote it is a limit. Negative is none; 0 is none to crun (`max`) and
/// to runc before 1.4 (left as it was), and a limit of no task at all to later ones.
fn limits(written: i64, runtime: &Runtime) -> bool {
    let literal = runtime.family == Family::Runc && runtime.number.is_none_or(|n| n >= (1, 4, 0));
    written > 0 || (written == 0 && literal)
}

/// The engine's limit, where it sets one.
#[must_use]
pub fn tasks(resources: &LinuxResources) -> Option<u64> {
    if let Some(text) = unified(resources, UNIFIED) {
        return text.trim().parse().ok();
    }
    let own = resources.pids().as_ref()?.limit();
    u64::try_from(own).ok().filter(|own| *own > 0)
}

/// A file of the unified hierarchy as config.json sets it.
#[must_use]
pub fn unified<'a>(resources: &'a LinuxResources, file: &str) -> Option<&'a str> {
    resources.unified().as_ref()?.get(file).map(String::as_str)
}
