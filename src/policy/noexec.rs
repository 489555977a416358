//! Volumes lose execution as mounts too.
//!
//! Landlock judges execve(2) alone: the image's dynamic loader would run a program from a volume
//! (`ld.so /data/prog`), because mmap(2) with PROT_EXEC is no execution to it. A `noexec` mount refuses
//! both, so every volume and tmpfs on which the profile grants no execution gets it.
//!
//! What it denies is told by layers that only look, of mappings too ([`crate::access::files::MAP_EXECUTE`]).

use std::collections::BTreeSet;

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

use super::mounts::{self, Place, beneath};
use super::{admission, landlock};
use crate::access::Access;
use crate::access::files::MAP_EXECUTE;
use crate::host::{Family, Host};
use crate::oci::patch::Edit;
use crate::profile::Profile;
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
        .filter(|(_, (_, place))| {
            let open = |rules: &Vec<PathRule>| grant(rules, &place.destination);
            place.holds_files() && !runnable.iter().all(open)
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

/// Destinations of the mounts that a profile may make `noexec`, and the engine has not.
#[must_use]
pub fn possible(spec: &Spec, places: &[Place]) -> Vec<String> {
    let open = |place: &&Place| place.holds_files() && !is_closed(spec, &place.destination);
    let all = places.iter().filter(open);
    all.map(|place| place.destination.clone()).collect()
}

/// Those that `profile` makes so; none where it does not restrict files.
#[must_use]
pub fn closed_by(profile: &Profile, spec: &Spec, places: &[Place]) -> Vec<String> {
    let Some(rules) = landlock::runnable(profile, spec, places) else {
        return Vec::new();
    };
    let mut all = possible(spec, places);
    all.retain(|destination| !grant(&rules, destination));
    all
}

/// Whether a mount at `path`, of which nothing is known, would stay executable.
#[must_use]
pub fn leaves_open(profile: &Profile, spec: &Spec, places: &[Place], path: &str) -> bool {
    let rules = landlock::runnable(profile, spec, places);
    rules.is_none_or(|rules| grant(&rules, path))
}

/// The mount of `closed` that leaves nothing to be executed on what is mounted at `mount`: the same one, or
/// one around it, whose `noexec` reaches those beneath. A rule that opens a mount opens all around it, so none
/// of those is closed without it.
#[must_use]
pub fn closes<'a>(closed: &'a [String], mount: &str) -> Option<&'a String> {
    let around = closed.iter().filter(|own| beneath(mount, own));
    around.max_by_key(|own| own.len())
}

/// The mount beneath which `access` would be denied to map a file for execution; none for any other access.
#[must_use]
pub fn denies<'a>(closed: &'a [String], access: &Access) -> Option<&'a String> {
    match access {
        Access::File { right, mount, .. } if right == MAP_EXECUTE => closes(closed, mount),
        _ => None,
    }
}

/// Whether it is `noexec` as the engine wrote it. The last word counts, as with mount(8).
fn is_closed(spec: &Spec, destination: &str) -> bool {
    let at = |mount: &&Mount| mounts::normal(mount.destination()).is_ok_and(|at| at == destination);
    let mount = spec.mounts().iter().flatten().rfind(at);
    let words = mount.and_then(|mount| mount.options().as_deref());
    let mut words = words.unwrap_or_default().iter().map(String::as_str);
    words.rfind(|word| matches!(*word, "exec" | "noexec")) == Some("noexec")
}

/// Whether any of `rules` grants something on the mount.
fn grant(rules: &[PathRule], destination: &str) -> bool {
    rules.iter().any(|rule| grants(rule, destination))
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
