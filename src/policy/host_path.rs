//! `host-path` of `process.refuse`: which of the host's files a container's mounts would bring in.
//!
//! A path has many names (links, binds of binds, `..`), and whoever writes a pod chooses among them.
//! This module compares names only. The front door finds them: at `create` those of every source
//! that config.json asks for, and at `start`, where the container is parked and its mounts are
//! made, those of what was really mounted. A link that is turned round in between is seen there.
//!
//! A pattern refuses what it matches, and also every folder in which a match may lie, because
//! mounting the folder brings the match in.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use oci_spec::runtime::{Mount, Spec};

use super::{Layers, mounts};
use crate::profile::{HostPath, Profile, Refuse, glob, host_paths};
use crate::state::{HostPathRule, HostPathRules};

/// Something of the host's that a container gets, with its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it becomes: `the mount at "/data"`.
    pub what: String,
    /// As config.json calls it, made absolute; empty where only its names are known.
    pub asked: String,
    /// Its real names on the host.
    pub names: Vec<String>,
    /// The root filesystem, which is no volume: patterns that end in `/**` match it only where it
    /// holds what they begin with.
    pub root: bool,
}

/// What an entry of the list refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence<'a> {
    /// The rule.
    pub rule: &'a HostPathRule,
    /// The offending value.
    pub found: String,
}

/// What to do about it.
pub const REMEDY: &str = "remove that volume, or mount a folder that holds nothing of it";

/// Annotations of containerd's CRI plugin, which a pod cannot write.
const POD_UID: &str = "io.kubernetes.cri.sandbox-uid";
const SANDBOX: &str = "io.kubernetes.cri.sandbox-id";

/// The rules of every layer; none where no layer has such an entry.
#[must_use]
pub fn rules(
    layers: Layers<'_>,
    spec: &Spec,
    links: &BTreeMap<String, String>,
) -> Option<HostPathRules> {
    let all = layers.enforcing();
    let all = all.flat_map(|profile| written(profile).map(move |path| (profile, path)));
    let rules: Vec<HostPathRule> = all
        .map(|(profile, path)| HostPathRule {
            profile: profile.name.clone(),
            written: path.0.clone(),
            patterns: patterns(profile, path)
                .into_iter()
                .flat_map(|pattern| real(&pattern, links))
                .collect(),
        })
        .collect();
    let own = own(spec);
    let own = own
        .iter()
        .flat_map(|pattern| real(pattern, links))
        .collect();
    let kernels = spec.mounts().iter().flatten();
    let kernels = kernels
        .filter(|mount| !mounts::is_bind(mount) && mounts::is_kernels(mount))
        .filter_map(|mount| mounts::normal(mount.destination()).ok())
        .collect();
    (!rules.is_empty()).then_some(HostPathRules {
        rules,
        own,
        kernels,
    })
}

fn written(profile: &Profile) -> impl Iterator<Item = &HostPath> {
    profile.refuse.iter().filter_map(|rule| match rule {
        Refuse::HostPath(path) => Some(path),
        _ => None,
    })
}

fn patterns(profile: &Profile, path: &HostPath) -> Vec<String> {
    let Some(group) = path.0.strip_prefix('@') else {
        return vec![lexical(Path::new(&path.0))];
    };
    let members = host_paths::members(&profile.syscalls.groups, group);
    // A group that the version lacks refuses everything rather than nothing.
    let members = members.unwrap_or(&["/**"]);
    members.iter().map(|member| (*member).to_owned()).collect()
}

/// Folders without wildcards in which the patterns of `profile`, and the pods' own files, begin.
#[must_use]
pub fn prefixes(profile: &Profile) -> Vec<String> {
    let all = written(profile).flat_map(|path| patterns(profile, path));
    let plain = all.map(|pattern| {
        let parts = pattern.split('/');
        let plain: Vec<&str> = parts
            .take_while(|part| !part.contains(['*', '?']))
            .collect();
        plain.join("/")
    });
    let kubelets = host_paths::KUBELETS.map(str::to_owned);
    plain
        .chain(kubelets)
        .filter(|path| !path.is_empty())
        .collect()
}

/// The pattern, and what it is where a folder that it begins with is a link.
fn real(pattern: &str, links: &BTreeMap<String, String>) -> Vec<String> {
    let mut all = vec![pattern.to_owned()];
    for (from, to) in links {
        let rest = pattern.strip_prefix(from.as_str());
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            let to = to.trim_end_matches('/');
            all.push(format!("{to}{rest}"));
        }
    }
    all
}

/// What the kubelet and containerd made for this pod alone, as patterns. Never refused: the pod's
/// author has no other pod's, and cannot put a name of the host's there. (`volume-subpaths` is not
/// among them: a part of a hostPath volume is bound there, and has the names of what it is.)
fn own(spec: &Spec) -> Vec<String> {
    let annotation = |name: &str| {
        let value = spec.annotations().as_ref()?.get(name)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (!value.is_empty() && value.chars().all(plain)).then_some(value)
    };
    let mut own = Vec::new();
    if let Some(uid) = annotation(POD_UID) {
        for kubelet in host_paths::KUBELETS {
            for part in ["volumes/**", "containers/**", "etc-hosts"] {
                own.push(format!("{kubelet}/pods/{uid}/{part}"));
            }
        }
    }
    if let Some(id) = annotation(SANDBOX) {
        // Below containerd's root and state, wherever the admin has put them; nobody can guess `id`.
        own.push(format!("/**/io.containerd.grpc.v1.cri/sandboxes/{id}/*"));
    }
    own
}

/// What `spec` asks for, of the host: `(what it becomes, the path as written)`, the root filesystem
/// last.
#[must_use]
pub fn asked(spec: &Spec) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for mount in spec.mounts().iter().flatten() {
        let what = format!(
            "the mount at {:?}",
            short(&mount.destination().to_string_lossy())
        );
        all.extend(sources(mount).into_iter().map(|path| (what.clone(), path)));
    }
    let root = spec.root().as_ref().map(|root| root.path());
    all.extend(root.map(|path| (ROOT.to_owned(), path.to_string_lossy().into_owned())));
    all
}

/// What messages call the root filesystem.
pub const ROOT: &str = "the root filesystem";

/// Paths of the host that a mount brings in: the source of a bind, whether its type or an option
/// says so; the disk or the folders of another filesystem.
fn sources(mount: &Mount) -> Vec<String> {
    let source = mount
        .source()
        .iter()
        .map(|path| path.to_string_lossy().into_owned());
    if mounts::is_bind(mount) {
        return source.collect();
    }
    if mounts::is_kernels(mount) {
        return Vec::new();
    }
    let options = mount.options().iter().flatten();
    // The runtimes join the options by commas, so one may hold several.
    let folders = options
        .flat_map(|options| options.split(','))
        .filter_map(|option| option.split_once('='))
        .filter(|(key, _)| key.trim_end_matches('+').ends_with("dir"))
        .flat_map(|(_, paths)| paths.split(':').map(str::to_owned));
    let all = source.chain(folders);
    all.filter(|path| path.starts_with('/')).collect()
}

/// Sources as far as config.json alone tells, for whoever does not look at the host.
#[must_use]
pub fn unseen(spec: &Spec) -> Vec<Source> {
    let all = asked(spec)
        .into_iter()
        .filter(|(_, path)| path.starts_with('/'));
    all.map(|(what, path)| {
        let name = lexical(Path::new(&path));
        Source {
            root: what == ROOT,
            what,
            asked: name.clone(),
            names: vec![name],
        }
    })
    .collect()
}

/// Without `.`, `..` and doubled slashes, and with the one link that every system has: /var/run.
#[must_use]
pub fn lexical(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let plain = format!("/{}", parts.join("/"));
    match plain.strip_prefix("/var") {
        Some(rest) if mounts::beneath(rest, "/run") => rest.to_owned(),
        _ => plain,
    }
}

/// The first rule that refuses `source`.
#[must_use]
pub fn offence<'a>(rules: &'a HostPathRules, source: &Source) -> Option<Offence<'a>> {
    let is_own = |name: &String| rules.own.iter().any(|own| glob::covers(own, name));
    if source.names.iter().any(is_own) {
        return None;
    }
    // What is named exactly says more than what may lie somewhere beneath.
    let ways: [fn(&str, &str) -> bool; 2] = [is, may_hold];
    for reaches in ways {
        for rule in &rules.rules {
            for pattern in &rule.patterns {
                let pattern = match pattern.strip_suffix("/**") {
                    Some("") if source.root => continue,
                    Some(folder) if source.root => folder,
                    _ => pattern,
                };
                let names = source.names.iter().chain([&source.asked]);
                let mut names = names.filter(|name| !name.is_empty());
                if let Some(name) = names.find(|name| reaches(pattern, name)) {
                    let found = tell(source, name, pattern);
                    return Some(Offence { rule, found });
                }
            }
        }
    }
    None
}

fn tell(source: &Source, name: &str, pattern: &str) -> String {
    let mut found = format!("{} is ", source.what);
    if source.asked != name && !source.asked.is_empty() {
        found += &format!("{:?}, another name of ", short(&source.asked));
    }
    found += &format!("{:?}", short(name));
    if !glob::covers(pattern, name) {
        found += &format!(", which may hold {pattern}");
    }
    found
}

/// Paths are as long as their author likes; a message is not.
fn short(path: &str) -> String {
    const MOST: usize = 120;
    if path.chars().count() <= MOST {
        return path.to_owned();
    }
    let head: String = path.chars().take(MOST).collect();
    format!("{head}…")
}

/// Whether `name` is what the pattern names; the folder of `FOLDER/**` is.
fn is(pattern: &str, name: &str) -> bool {
    glob::covers(pattern, name) || pattern.strip_suffix("/**") == Some(name)
}

/// Whether a path beneath `folder` may match. Components are compared one by one; from `**` on,
/// anything may follow.
fn may_hold(pattern: &str, folder: &str) -> bool {
    let parts = |path: &'_ str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let (pattern, folder) = (parts(pattern), parts(folder));
    for (at, wanted) in pattern.iter().enumerate() {
        let Some(have) = folder.get(at) else {
            return true;
        };
        if wanted == "**" {
            return true;
        }
        if !glob::covers(wanted, have) {
            return false;
        }
    }
    false
}
