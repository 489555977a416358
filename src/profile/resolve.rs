//! From documents to one profile: parents folded in (union of what is allowed), groups expanded.
//!
//! Allowances add up, and of two limits the higher one holds. What restricts the container as a whole (`process.refuse`, masked and
//! read-only paths, the least Landlock ABI) adds up too: extending a profile never admits a
//! container that the parent refuses; so do the rules of `detect`, unless a child writes one of the same
//! name. `scope` and `requires.degrade` are the child's own where it
//! writes them, else what all parents agree on; so are `checkpoint` and `restore`. `mode` is the
//! child's own and nobody else's: neither does a parent in audit mode loosen a child that says
//! nothing, nor is a child that is to be tried held back by parents that enforce.

mod calls;
mod files;
mod origins;

use std::collections::{BTreeMap, BTreeSet};

use super::admission::Refuse;
use super::detection;
use super::diagnose::{Error, Problem, nearest};
use super::entry::{Condition, PlainPath, Port};
use super::exec::{self, Sessions};
use super::expectation::Expectation;
use super::limits::{Bound, Device, Resource, Tasks};
use super::model::{
    Checkpoint, Degrade, Document, Files, Mode, Needs, Network, Ports, Requires, Restore, Scope,
};
use super::origin::{At, Origin, Origins, Part};
use super::{BUILT_IN, embedded};
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
    /// What its author expects of it; not its parents' expectations of themselves.
    pub tests: Vec<Expectation>,
    /// Where everything above that is a plain value was written.
    pub origins: Origins,
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
    /// Where it is written, and why.
    pub origin: Origin,
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
        let asker = Asker {
            profile: None,
            origin: &Origin::default(),
        };
        let document = find(name, &asker, load)?;
        fold(document, load, name, For::Container)
    }

    /// A profile that is built in, whole.
    ///
    /// # Errors
    ///
    /// [`Problem::Missing`].
    pub fn builtin(name: &str) -> Result<Profile, Error> {
        Profile::resolve(name, &mut |_| Ok(None))
    }
}

type Load<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<Option<String>>;

/// Who wants a profile, and where that is written.
struct Asker<'a> {
    /// A profile; nobody: whoever asked for it by name.
    profile: Option<&'a str>,
    origin: &'a Origin,
}

/// Whether a profile may be called so: its file is `NAME.yaml`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

fn find(name: &str, asker: &Asker<'_>, load: Load<'_>) -> Result<Document, Error> {
    let fail = |problem| Err(Error::at(asker.origin, problem));
    if !is_name(name) {
        return fail(Problem::Name { name: name.into() });
    }
    let read = match load(name) {
        Ok(read) => read,
        Err(error) => {
            return fail(Problem::Read {
                name: name.into(),
                cause: error.to_string(),
            });
        }
    };
    let text = match (read, embedded(name)) {
        (Some(text), _) => text,
        (None, Some(text)) => text.to_owned(),
        (None, None) => {
            let by = asker.profile.map(|by| format!(" (named by {by})"));
            return fail(Problem::Missing {
                name: name.into(),
                wanted_by: by.unwrap_or_default(),
                hint: nearest(name, BUILT_IN.into_iter())
                    .map(|near| format!("did you mean `{near}`? Else "))
                    .unwrap_or_default(),
            });
        }
    };
    let document = Document::parse(&format!("{name}.yaml"), &text)?;
    if document.name.value != name {
        let problem = Problem::Misnamed {
            file: name.into(),
            name: document.name.value,
        };
        return Err(Error::at(&document.name.origin, problem));
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
    let named = Part::Key("name");
    let allows = |name: &str| profile.syscalls.allow.iter().any(|rule| rule.name == name);
    if profile.mode == Mode::Learn {
        return Ok(profile);
    }
    let problem = if profile.syscalls.allow.is_empty() {
        Some(Problem::NoCalls {
            profile: profile.name.clone(),
        })
    } else if !allows("execve") {
        Some(Problem::NoExec {
            profile: profile.name.clone(),
        })
    } else {
        None
    };
    if let Some(problem) = problem {
        let calls = profile.origins.of(&Part::Key("syscalls.groups"));
        let origin = calls.or(profile.origins.of(&named)).cloned();
        return Err(Error::at(&origin.unwrap_or_default(), problem));
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
    let mut origins = origins::own(&document);
    let place = |key| origins.of(&Part::Key(key)).cloned().unwrap_or_default();
    // What sessions may be is said in one place; and profiles that name each other have no end.
    if whom == For::Sessions
        && let Some(exec) = &document.exec
    {
        let problem = Problem::Nested {
            profile: document.name.value,
        };
        return Err(Error::at(&exec.origin, problem));
    }
    if whom == For::Sessions
        && let Some(key) = document.watches()
    {
        let rule = document.detect.first().map(|entry| entry.origin.clone());
        let origin = rule.unwrap_or_else(|| place("on_supervisor_loss"));
        let profile = document.name.value;
        return Err(Error::at(&origin, Problem::Watches { profile, key }));
    }
    let mut parents = Vec::new();
    for parent in &document.extends {
        if chain.contains(&parent.value) {
            let chain = format!("{} -> {}", chain.join(" -> "), parent.value);
            return Err(Error::at(&parent.origin, Problem::Circle { chain }));
        }
        let asker = Asker {
            profile: Some(&document.name.value),
            origin: &parent.origin,
        };
        let found = find(&parent.value, &asker, load)?;
        let mode = found.mode.as_ref().map(|mode| mode.value);
        if mode == Some(Mode::Learn) {
            let problem = Problem::ExtendsLearning {
                profile: document.name.value,
                parent: parent.value.clone(),
            };
            return Err(Error::at(&parent.origin, problem));
        }
        chain.push(parent.value.clone());
        parents.push(merge(found, load, chain, whom)?);
        chain.pop();
    }
    let name = &document.name.value;
    let syscalls = calls::merge(&document, &parents)?;
    let files = files::merge(name, document.files, &parents)?;
    let mut whole = |named: &str, origin: &Origin| {
        let asker = Asker {
            profile: Some(name),
            origin,
        };
        fold(find(named, &asker, load)?, load, named, For::Sessions)
    };
    let combined = place("extends");
    let own_exec = document.exec.map(|exec| exec.value);
    let exec = exec::merge((name, &combined), own_exec, &parents, &mut whole)?;
    let mut detect = Vec::new();
    for entry in detection::merge(name, document.detect, &parents)? {
        origins.add(Part::Detection(entry.rule.name.clone()), entry.origin);
        detect.push(entry.rule);
    }
    let losses = parents.iter().map(|p| p.on_supervisor_loss);
    let own_loss = document.on_supervisor_loss.map(|own| own.value);
    let on_supervisor_loss = losses.chain(own_loss).max();
    let common = |get: fn(&Profile) -> BTreeSet<Scope>| {
        parents
            .iter()
            .map(get)
            .reduce(|a, b| &a & &b)
            .unwrap_or_default()
    };
    let scope = document.scope.map(values);
    let needs = document.requires.as_ref();
    let own_landlock = needs.and_then(|needs| Some(needs.landlock.as_ref()?.value.0));
    let path = |path: PlainPath| path.path;
    let mut profile = Profile {
        scope: scope.unwrap_or_else(|| common(|p| p.scope.clone())),
        requires: merge_requires(document.requires, &parents),
        name: document.name.value,
        description: document.description,
        extends: Vec::new(),
        mode: document.mode.map_or(Mode::Enforce, |mode| mode.value),
        capabilities: document.capabilities.iter().map(|c| c.name).collect(),
        syscalls,
        files,
        network: merge_network(document.network, &parents),
        masked_paths: document.masked_paths.into_iter().map(path).collect(),
        readonly_paths: document.readonly_paths.into_iter().map(path).collect(),
        refuse: values(
            document
                .process
                .refuse
                .into_iter()
                .flat_map(|entry| entry.0),
        ),
        max_tasks: document.process.max.map(|max| max.value),
        rlimits: document
            .rlimits
            .into_iter()
            .map(|(resource, bound)| (resource, bound.value))
            .collect(),
        devices: document.devices.map(values),
        exec,
        checkpoint: document
            .checkpoint
            .map(|own| own.value)
            .or_else(|| parents.iter().map(|p| p.checkpoint).min())
            .unwrap_or(Checkpoint::Deny),
        restore: document
            .restore
            .map(|own| own.value)
            .or_else(|| parents.iter().map(|p| p.restore).min())
            .unwrap_or(Restore::Deny),
        detect,
        on_supervisor_loss: on_supervisor_loss.unwrap_or_default(),
        tests: document.tests,
        origins,
    };
    origins::outdone(&mut profile, own_landlock, own_loss);
    for parent in parents {
        origins::inherit(&mut profile, &parent);
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

/// The values of a list, without their places.
fn values<T, L: FromIterator<T>>(list: impl IntoIterator<Item = At<T>>) -> L {
    list.into_iter().map(|entry| entry.value).collect()
}

fn merge_network(own: Option<Ports>, parents: &[Profile]) -> Option<Network> {
    let union = |a: Option<BTreeSet<u16>>, b: Option<BTreeSet<u16>>| match (a, b) {
        (Some(a), Some(b)) => Some(&a | &b),
        (one, other) => one.or(other),
    };
    let plain = |list: At<Vec<Port>>| list.value.into_iter().map(|port| port.port).collect();
    let own = own.map(|own| Network {
        bind_tcp: own.bind_tcp.map(plain),
        connect_tcp: own.connect_tcp.map(plain),
    });
    let all = own
        .into_iter()
        .chain(parents.iter().filter_map(|p| p.network.clone()));
    all.reduce(|a, b| Network {
        bind_tcp: union(a.bind_tcp, b.bind_tcp),
        connect_tcp: union(a.connect_tcp, b.connect_tcp),
    })
}

fn merge_requires(own: Option<Needs>, parents: &[Profile]) -> Requires {
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
            landlock: own.landlock.map_or(1, |own| own.value.0).max(least),
            degrade: values(own.degrade),
        },
        None => Requires {
            landlock: least,
            degrade: agreed,
        },
    }
}
