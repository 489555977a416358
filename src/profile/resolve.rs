//! From documents to one profile: parents folded in (union of what is allowed), groups expanded.
//!
//! Allowances add up, and of two limits the higher one holds. What restricts the container as a whole (`process.refuse`, masked and
//! read-only paths, the least Landlock ABI) adds up too: extending a profile never admits a
//! container that the parent refuses; so do the rules of `detect`, unless a child writes one of the same
//! name. `scope` and `requires.degrade` are the child's own where it
//! writes them, else what all parents agree on; so are `checkpoint` and `restore`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::admission::Refuse;
use super::detection;
use super::diagnose::{Error, closest};
use super::entry::{Call, Condition, FileEntry, Place, PlainPath};
use super::exec::{self, Sessions};
use super::limits::{Bound, Device, Resource, Tasks};
use super::model::{
    CallLists, Checkpoint, Degrade, Document, Files, Mode, Network, Requires, Restore, Scope,
};
use super::{embedded, groups};
use crate::detect::{self, OnLoss};

/// A profile, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Names of the profiles folded in, nearest first.
    pub extends: Vec<String>,
    /// What becomes of what it does not allow: the file's own word, whatever its parents say.
    pub mode: Mode,
    /// What the node must be able to do.
    pub requires: Requires,
    /// Capabilities, `CAP_` names.
    pub capabilities: BTreeSet<&'static str>,
    /// System calls.
    pub syscalls: Syscalls,
    /// File rules; none: only the anchor (DESIGN §5).
    pub files: Option<Files>,
    /// TCP rules; none: TCP is free.
    pub network: Option<Network>,
    /// Landlock scopes.
    pub scope: BTreeSet<Scope>,
    /// Hidden paths.
    pub masked_paths: BTreeSet<String>,
    /// Read-only paths.
    pub readonly_paths: BTreeSet<String>,
    /// Containers that are not created.
    pub refuse: BTreeSet<Refuse>,
    /// Most processes and threads; none: as many as the engine allows.
    pub max_tasks: Option<Tasks>,
    /// Upper bounds of resource limits.
    pub rlimits: BTreeMap<Resource, Bound>,
    /// Devices that the engine may give; none: all that it gives.
    pub devices: Option<Vec<Device>>,
    /// Rules on exec sessions; none: sessions are as free as the workload.
    pub exec: Option<Sessions>,
    /// Whether it may be checkpointed.
    pub checkpoint: Checkpoint,
    /// Whether it may be restored.
    pub restore: Restore,
    /// What is watched for, and what is done about it.
    pub detect: Vec<detect::Rule>,
    /// What becomes of a container whose supervisor is gone.
    pub on_supervisor_loss: OnLoss,
}

/// System calls with groups expanded. A later layer decides: a conditional denial, then allow
/// entries, then unconditional denials, then EPERM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syscalls {
    /// Data version of the groups.
    pub groups: String,
    /// Allowed.
    pub allow: Vec<Rule>,
    /// Denied and reported.
    pub tripwire: Vec<Rule>,
    /// Denied in silence.
    pub deny: Vec<Rule>,
}

/// One call of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// The call's name.
    pub name: String,
    /// All must hold; empty: always.
    pub args: Vec<Condition>,
    /// What a refusal answers; EPERM where absent.
    pub errno: Option<i32>,
}

impl Profile {
    /// Reads a profile whose parents, if any, are built in.
    ///
    /// # Errors
    ///
    /// As [`Profile::resolve`].
    pub fn parse(name: &str, text: &str) -> Result<Profile, Error> {
        let document = Document::parse(name, text)?;
        fold(document, &mut |_| Ok(None), name, For::Container)
    }

    /// Finds profile `name` and its parents: `load` answers a name with a text, or with none, and
    /// then the built-in profiles are searched.
    ///
    /// # Errors
    ///
    /// A profile that is missing, unreadable, ill-formed, or its own ancestor.
    pub fn resolve(
        name: &str,
        load: &mut dyn FnMut(&str) -> std::io::Result<Option<String>>,
    ) -> Result<Profile, Error> {
        let document = find(name, "", load)?;
        fold(document, load, name, For::Container)
    }

    /// A profile that is built in, whole.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`].
    pub fn builtin(name: &str) -> Result<Profile, Error> {
        Profile::resolve(name, &mut |_| Ok(None))
    }
}

type Load<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<Option<String>>;

fn find(name: &str, wanted_by: &str, load: Load<'_>) -> Result<Document, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Error::Name { name: name.into() });
    }
    let read = load(name).map_err(|error| Error::Read {
        name: name.into(),
        cause: error.to_string(),
    })?;
    let text = match (read, embedded(name)) {
        (Some(text), _) => text,
        (None, Some(text)) => text.to_owned(),
        (None, None) => {
            let wanted_by = if wanted_by.is_empty() {
                String::new()
            } else {
                format!(" (named by {wanted_by})")
            };
            return Err(Error::Missing {
                name: name.into(),
                wanted_by,
            });
        }
    };
    let document = Document::parse(&format!("{name}.yaml"), &text)?;
    if document.name != name {
        return Err(Error::Misnamed {
            file: name.into(),
            name: document.name,
        });
    }
    Ok(document)
}

/// What a profile is resolved for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Container,
    /// Another profile's `exec` names it.
    Sessions,
}

fn fold(document: Document, load: Load<'_>, name: &str, whom: For) -> Result<Profile, Error> {
    let mut profile = merge(document, load, &mut vec![name.to_owned()], whom)?;
    let allows = |name: &str| profile.syscalls.allow.iter().any(|rule| rule.name == name);
    if profile.mode == Mode::Learn {
        return Ok(profile);
    }
    if profile.syscalls.allow.is_empty() {
        return Err(Error::NoCalls {
            profile: profile.name,
        });
    }
    if !allows("execve") {
        return Err(Error::NoExec {
            profile: profile.name,
        });
    }
    detection::complete(&mut profile)?;
    Ok(profile)
}

fn merge(
    document: Document,
    load: Load<'_>,
    chain: &mut Vec<String>,
    whom: For,
) -> Result<Profile, Error> {
    // What sessions may be is said in one place; and profiles that name each other have no end.
    if whom == For::Sessions && document.exec.is_some() {
        return Err(Error::Nested {
            profile: document.name,
        });
    }
    if whom == For::Sessions
        && let Some(key) = document.watches()
    {
        return Err(Error::Watches {
            profile: document.name,
            key,
        });
    }
    let mut parents = Vec::new();
    for parent in &document.extends {
        if chain.contains(parent) {
            return Err(Error::Circle {
                chain: format!("{} -> {parent}", chain.join(" -> ")),
            });
        }
        let found = find(parent, &document.name, load)?;
        if found.mode == Mode::Learn {
            return Err(Error::ExtendsLearning {
                profile: document.name,
                parent: parent.clone(),
            });
        }
        chain.push(parent.clone());
        parents.push(merge(found, load, chain, whom)?);
        chain.pop();
    }
    let syscalls = merge_calls(&document, &parents)?;
    let files = merge_files(&document.name, document.files, &parents)?;
    let network = merge_network(document.network, &parents);
    let mut whole = |name: &str| fold(find(name, &document.name, load)?, load, name, For::Sessions);
    let exec = exec::merge(&document.name, document.exec, &parents, &mut whole)?;
    let detect = detection::merge(&document.name, document.detect, &parents)?;
    let losses = parents.iter().map(|p| p.on_supervisor_loss);
    let on_supervisor_loss = losses.chain(document.on_supervisor_loss).max();
    let common = |get: fn(&Profile) -> BTreeSet<Scope>| {
        parents
            .iter()
            .map(get)
            .reduce(|a, b| &a & &b)
            .unwrap_or_default()
    };
    let mut profile = Profile {
        scope: document
            .scope
            .unwrap_or_else(|| common(|p| p.scope.clone())),
        requires: merge_requires(document.requires, &parents),
        name: document.name,
        description: document.description,
        extends: Vec::new(),
        mode: document.mode,
        capabilities: document.capabilities.iter().map(|c| c.0).collect(),
        syscalls,
        files,
        network,
        masked_paths: document.masked_paths.into_iter().map(|p| p.0).collect(),
        readonly_paths: document.readonly_paths.into_iter().map(|p| p.0).collect(),
        refuse: document
            .process
            .refuse
            .into_iter()
            .flat_map(|entry| entry.0)
            .collect(),
        max_tasks: document.process.max,
        rlimits: document.rlimits,
        devices: document.devices,
        exec,
        checkpoint: document
            .checkpoint
            .or_else(|| parents.iter().map(|p| p.checkpoint).min())
            .unwrap_or(Checkpoint::Deny),
        restore: document
            .restore
            .or_else(|| parents.iter().map(|p| p.restore).min())
            .unwrap_or(Restore::Deny),
        detect,
        on_supervisor_loss: on_supervisor_loss.unwrap_or_default(),
    };
    for parent in parents {
        profile.capabilities.extend(parent.capabilities);
        profile.masked_paths.extend(parent.masked_paths);
        profile.readonly_paths.extend(parent.readonly_paths);
        profile.refuse.extend(parent.refuse);
        // A file that says nothing about a limit takes no part; of two that do, the wider one holds.
        profile.max_tasks = profile.max_tasks.max(parent.max_tasks);
        for (resource, more) in parent.rlimits {
            let bound = profile.rlimits.entry(resource).or_insert(more);
            bound.soft = bound.soft.max(more.soft);
            bound.hard = bound.hard.max(more.hard);
        }
        if let Some(more) = parent.devices {
            let all = profile.devices.get_or_insert_default();
            let fresh: Vec<Device> = more.into_iter().filter(|d| !all.contains(d)).collect();
            all.extend(fresh);
        }
        for name in [parent.name].into_iter().chain(parent.extends) {
            if !profile.extends.contains(&name) {
                profile.extends.push(name);
            }
        }
    }
    Ok(profile)
}

fn merge_requires(own: Option<Requires>, parents: &[Profile]) -> Requires {
    let least = parents
        .iter()
        .map(|p| p.requires.landlock)
        .max()
        .unwrap_or(1);
    let agreed = parents
        .iter()
        .map(|p| p.requires.degrade.clone())
        .reduce(|a, b| &a & &b)
        .unwrap_or_else(BTreeSet::<Degrade>::new);
    match own {
        Some(own) => Requires {
            landlock: own.landlock.max(least),
            degrade: own.degrade,
        },
        None => Requires {
            landlock: least,
            degrade: agreed,
        },
    }
}

fn merge_calls(document: &Document, parents: &[Profile]) -> Result<Syscalls, Error> {
    let mut merged = match &document.syscalls {
        Some(lists) => expand(&document.name, lists)?,
        None => Syscalls {
            groups: parents
                .first()
                .map_or(groups::CURRENT.into(), |p| p.syscalls.groups.clone()),
            allow: Vec::new(),
            tripwire: Vec::new(),
            deny: Vec::new(),
        },
    };
    for parent in parents {
        if parent.syscalls.groups != merged.groups {
            return Err(Error::MixedGroups {
                profile: document.name.clone(),
                own: merged.groups,
                parent: parent.name.clone(),
                theirs: parent.syscalls.groups.clone(),
            });
        }
        append(&mut merged.allow, &parent.syscalls.allow);
        append(&mut merged.tripwire, &parent.syscalls.tripwire);
        append(&mut merged.deny, &parent.syscalls.deny);
    }
    // An allow entry takes back a denial of the very same calls.
    let allowed: BTreeSet<(String, Vec<Condition>)> = merged
        .allow
        .iter()
        .map(|rule| (rule.name.clone(), rule.args.clone()))
        .collect();
    let kept = |rule: &Rule| !allowed.contains(&(rule.name.clone(), rule.args.clone()));
    merged.tripwire.retain(kept);
    merged.deny.retain(kept);
    Ok(merged)
}

/// Adds what is not there yet; the nearer profile's errno stays.
fn append(list: &mut Vec<Rule>, more: &[Rule]) {
    for rule in more {
        if !list
            .iter()
            .any(|have| have.name == rule.name && have.args == rule.args)
        {
            list.push(rule.clone());
        }
    }
}

fn expand(profile: &str, lists: &CallLists) -> Result<Syscalls, Error> {
    if !groups::VERSIONS.contains(&lists.groups.as_str()) {
        return Err(Error::Groups {
            profile: profile.into(),
            found: lists.groups.clone(),
            known: groups::VERSIONS.join(", "),
        });
    }
    let expand =
        |calls: &mut dyn Iterator<Item = &Call>| expand_calls(profile, &lists.groups, calls);
    Ok(Syscalls {
        groups: lists.groups.clone(),
        allow: expand(&mut lists.allow.iter())?,
        tripwire: expand(&mut lists.tripwire.iter().map(|d| &d.0))?,
        deny: expand(&mut lists.deny.iter().map(|d| &d.0))?,
    })
}

fn expand_calls(
    profile: &str,
    version: &str,
    calls: &mut dyn Iterator<Item = &Call>,
) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |rule: Rule| {
        if seen.insert((rule.name.clone(), rule.args.clone())) {
            rules.push(rule);
        }
    };
    for call in calls {
        let Some(group) = call.name.strip_prefix('@') else {
            add(Rule {
                name: call.name.clone(),
                args: call.args.clone(),
                errno: call.errno,
            });
            continue;
        };
        let members = groups::members(version, group).ok_or_else(|| Error::Group {
            profile: profile.into(),
            version: version.into(),
            group: group.into(),
            hint: closest(group, groups::names(version).into_iter()),
        })?;
        for name in members {
            add(Rule {
                name: name.into(),
                args: Vec::new(),
                errno: call.errno,
            });
        }
    }
    Ok(rules)
}

/// One part of a union of file lists, and what errors call it.
struct Part {
    of: String,
    files: Files,
}

fn merge_files(
    name: &str,
    own: Option<Files>,
    parents: &[Profile],
) -> Result<Option<Files>, Error> {
    let part = |of: &str, files: Files| Part {
        of: of.to_owned(),
        files,
    };
    let mut parts =
        own.map(|files| part(name, files))
            .into_iter()
            .chain(parents.iter().filter_map(|parent| {
                let files = parent.files.clone()?;
                Some(part(&parent.name, files))
            }));
    let Some(mut all) = parts.next() else {
        return Ok(None);
    };
    for more in parts {
        all = unite(name, all, more)?;
    }
    Ok(Some(all.files))
}

/// The union of two parts. An exception narrows its own part's entries only; where the other part
/// grants nothing near it, it narrows the union just as well. Elsewhere it would be lost, and the
/// union would grant there what neither part does, such as one's execution of the other's reading.
fn unite(name: &str, mut all: Part, more: Part) -> Result<Part, Error> {
    for (one, other) in [(&all, &more), (&more, &all)] {
        let lost = |path: &&PlainPath| {
            !other.files.except.contains(path)
                && entries(&other.files).any(|entry| touches(entry, &path.0))
        };
        if let Some(path) = one.files.except.iter().find(lost) {
            return Err(Error::ExceptLost {
                profile: name.to_owned(),
                path: path.0.clone(),
                by: one.of.clone(),
                other: other.of.clone(),
            });
        }
    }
    let more_files = more.files;
    let pairs = [
        (&mut all.files.read, more_files.read),
        (&mut all.files.read_execute, more_files.read_execute),
        (&mut all.files.read_write, more_files.read_write),
        (
            &mut all.files.read_write_execute,
            more_files.read_write_execute,
        ),
        (&mut all.files.execute, more_files.execute),
        (&mut all.files.device_ioctl, more_files.device_ioctl),
        (&mut all.files.make_device, more_files.make_device),
    ];
    for (list, more) in pairs {
        for entry in more {
            if !list.contains(&entry) {
                list.push(entry);
            }
        }
    }
    for path in more_files.except {
        if !all.files.except.contains(&path) {
            all.files.except.push(path);
        }
    }
    all.of = format!("{} and {}", all.of, more.of);
    Ok(all)
}

fn entries(files: &Files) -> impl Iterator<Item = &FileEntry> {
    [
        &files.read,
        &files.read_execute,
        &files.read_write,
        &files.read_write_execute,
        &files.execute,
        &files.device_ioctl,
        &files.make_device,
    ]
    .into_iter()
    .flatten()
}

/// Whether `entry` may grant something at, above or beneath `path`. A symbol stands for places that
/// only a container tells, and a followed link leads anywhere.
fn touches(entry: &FileEntry, path: &str) -> bool {
    match &entry.place {
        Place::Symbol(_) => true,
        Place::Path(_) if entry.follow => true,
        Place::Path(own) => {
            let (own, path) = (Path::new(own), Path::new(path));
            own.starts_with(path) || path.starts_with(own)
        }
    }
}

fn merge_network(own: Option<Network>, parents: &[Profile]) -> Option<Network> {
    let union = |a: Option<BTreeSet<u16>>, b: Option<BTreeSet<u16>>| match (a, b) {
        (Some(a), Some(b)) => Some(&a | &b),
        (one, other) => one.or(other),
    };
    let all = own
        .into_iter()
        .chain(parents.iter().filter_map(|p| p.network.clone()));
    all.reduce(|a, b| Network {
        bind_tcp: union(a.bind_tcp, b.bind_tcp),
        connect_tcp: union(a.connect_tcp, b.connect_tcp),
    })
}
