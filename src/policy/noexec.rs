//! Volumes lose execution as mounts too.
//!
//! Landlock judges execve(2) alone: the image's dynamic loader would run a program from a volume
//! (`ld.so /data/prog`), because mmap(2) with PROT_EXEC is no execution to it. A `noexec` mount refuses
//! both, so every volume and tmpfs on which the profile grants no execution gets it.

use std::collections::BTreeSet;

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

use super::admission;
use super::mounts::{self, Place, beneath};
use crate::host::{Family, Host};
use crate::oci::patch::Edit;
use crate::seal::PathRule;

/// Edits of `/mounts/N/options`. `places` are `spec`'s mounts in order, `runnable` the rules that
/// grant execution, of each layer that restricts files: a mount stays executable where all do.
#[must_use]
pub fn edits(spec: &Spec, host: &Host, places: &[Place], runnable: &[Vec<PathRule>]) -> Vec<Edit> {
    // runc remounts for `noexec` with the flags of the options alone. In a user namespace that would
    // clear flags which the source's mount has locked (nosuid, nodev of a tmpfs), and is refused;
    // `rnoexec` adds its flag to what is there. mount_namespaces(7), mount_setattr(2).
    let locked = host.runtime.family == Family::Runc
        && admission::namespace(spec, LinuxNamespaceType::User).is_some();
    // crun opens the target of a recursive option as a directory: a bound file fails with ENOTDIR
    // (1.8.1, containerd's /etc/hostname).
    let deep = host.runtime.family != Family::Crun;
    let all = spec.mounts().iter().flatten().zip(places);
    all.enumerate()
        .filter(|(_, (mount, place))| is_ours(mount, &place.destination))
        .filter(|(_, (_, place))| {
            let granted = |rules: &Vec<PathRule>| {
                let on = |rule: &PathRule| grants(rule, &place.destination);
                rules.iter().any(on)
            };
            !runnable.iter().all(granted)
        })
        .filter_map(|(at, (mount, _))| {
            let options = options(mount, locked, deep)?;
            Some(Edit::Set {
                pointer: format!("/mounts/{at}/options"),
                value: serde_json::json!(options),
            })
        })
        .collect()
}

/// Binds and what the pod mounts, the files that engines bind included, since a pod may mount a volume
/// there. Not /dev, whose devices are mapped (/dev/zero), and not the kernel's own filesystems.
fn is_ours(mount: &Mount, destination: &str) -> bool {
    let kernel = !mounts::is_bind(mount) && mounts::is_kernels(mount);
    destination != "/dev"
        && !kernel
        && !beneath(destination, "/proc")
        && !beneath(destination, "/sys")
}

/// Whether `rule` grants something on the mount: around it, at it, or in a place within it.
fn grants(rule: &PathRule, destination: &str) -> bool {
    let path = String::from_utf8_lossy(&rule.path);
    let excepted = |out: &Vec<u8>| beneath(destination, &String::from_utf8_lossy(out));
    if beneath(destination, &path) {
        let elsewhere = rule.within_mount && path != destination;
        return !elsewhere && !rule.except.iter().any(excepted);
    }
    beneath(&path, destination)
}

/// The options with `noexec` as the last word on execution; none where it is already. `locked`: a
/// bind must not be remounted. `deep`: the runtime can reach the mounts beneath a file's bind.
fn options(mount: &Mount, locked: bool, deep: bool) -> Option<Vec<String>> {
    let old = mount.options().as_deref().unwrap_or_default();
    // A remount reaches the top mount of an `rbind` only; this word reaches those beneath
    // (mount_setattr(2), kernel 5.12). runc knows it since 1.1; a runtime that does not passes it to
    // mount(2) as data, which a bind ignores.
    let recursive = deep && old.iter().any(|option| option == "rbind");
    let words: &[&str] = match (mounts::is_bind(mount) && locked, recursive) {
        (true, _) => &["rnoexec"],
        (false, true) => &["noexec", "rnoexec"],
        (false, false) => &["noexec"],
    };
    let contrary: BTreeSet<&str> = ["exec", "rexec"].into();
    let kept = old.iter().filter(|o| !contrary.contains(o.as_str()));
    let mut new: Vec<String> = kept.cloned().collect();
    for word in words {
        if !new.iter().any(|option| option == word) {
            new.push((*word).to_owned());
        }
    }
    (new != old).then_some(new)
}
