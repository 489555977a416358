//! The proof of a draft: what was recorded is replayed under the profile as it will be read, and again
//! without each of its allowances.

use super::draft::{Draft, Section};
use super::run::Run;
use super::union::Union;
use super::{calls, files, write};
use crate::access::Access;
use crate::cli::explain::in_words;
use crate::host::{Family, Host, Runtime};
use crate::oci::reference;
use crate::policy::decide::{Answer, AsWritten, Known, Layer};
use crate::policy::mounts::Place;
use crate::policy::{Refusal, Scene};
use crate::profile::{self, Problem, Profile};

/// An ABI that knows every right that a rule may have: a replay must not pass for want of one.
const ABI: u32 = 99;

/// What the replays came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof {
    /// What was recorded and would be denied.
    pub denied: Vec<String>,
    /// Numbers of the allowances without which nothing that was recorded is denied.
    pub unproven: Vec<usize>,
}

/// Why a draft cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no profile.
    #[error(
        "the profile made is none: {0}; this is a bug of mantlet's, please report it with the recording (--save keeps it)"
    )]
    Profile(#[source] Box<profile::Error>),
    /// No container would be created with it.
    #[error(
        "the profile made refuses every container: {0}; this is a bug of mantlet's, please report it with the recording (--save keeps it)"
    )]
    Refused(#[from] Refusal),
    /// An exception of the profile that is to be extended.
    #[error(
        "the profile made cannot extend {name}, which leaves out what lies among the files that were used: {cause}; \
         change {name}, or learn without --extends"
    )]
    Except {
        /// Its name.
        name: String,
        /// Which exception.
        cause: String,
    },
    /// The profile that is to be extended.
    #[error(
        "the profile made cannot extend {name}: {cause}; put {name}.yaml into profiles_dir and see what \
         `mantlet lint {name}` says"
    )]
    Parent {
        /// Its name.
        name: String,
        /// Why not.
        cause: String,
    },
}

/// Finds a parent's text by its name, as [`Profile::resolve`] asks for it.
pub type Load<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<Option<String>>;

/// Replays what `union` holds under `draft`, and under what remains of it without each allowance; `at` hears
/// how many of these are done.
///
/// # Errors
///
/// [`Error`].
pub fn prove(
    draft: &Draft,
    union: &Union,
    runs: &[Run],
    load: Load<'_>,
    at: &mut dyn FnMut(usize),
) -> Result<Proof, Error> {
    // In mode audit nothing is denied, and the question is what would be.
    let draft = &Draft {
        audit: None,
        ..draft.clone()
    };
    let stage = Stage::of(runs);
    let wanted = wanted(union, draft);
    let whole = stage.layer(&read(draft, None, load)?)?;
    let denied: Vec<&Access> = wanted
        .iter()
        .filter(|access| is_denied(&whole, access))
        .collect();
    let mut proof = Proof {
        denied: denied
            .iter()
            .map(|access| match whole.fix(access) {
                why if why.starts_with("none") => format!("{}: {why}", in_words(access)),
                _ => in_words(access),
            })
            .collect(),
        unproven: Vec::new(),
    };
    for (number, one) in draft.allowances.iter().enumerate() {
        at(number);
        let Ok(less) = read(draft, Some(number), load) else {
            // Nothing starts without it: execve.
            continue;
        };
        let less = stage.layer(&less)?;
        let mut concerned = wanted
            .iter()
            .filter(|access| is_about(one.section, access) && !denied.contains(access));
        if !concerned.any(|access| is_denied(&less, access)) {
            proof.unproven.push(number);
        }
    }
    Ok(proof)
}

/// Whether a profile called `name`, or anything where it has no name yet, can extend `parent`.
///
/// # Errors
///
/// [`super::Error::OwnParent`], and [`Error::Parent`]: it is missing or wrong, nobody's parent, or extends what is to
/// be made.
pub fn parent(name: Option<&str>, parent: &str, load: Load<'_>) -> Result<(), super::Error> {
    if name == Some(parent) {
        return Err(super::Error::OwnParent {
            name: parent.to_owned(),
        });
    }
    let name = name.map_or_else(|| format!("{parent}-more"), str::to_owned);
    let draft = Draft {
        name,
        extends: Some(parent.to_owned()),
        ..Draft::default()
    };
    match read(&draft, None, load) {
        Ok(_) => Ok(()),
        Err(Error::Profile(cause)) => Err(Error::Parent {
            name: parent.to_owned(),
            cause: cause.to_string(),
        })?,
        Err(other) => Err(other)?,
    }
}

/// A move or link by which something would gain rights under a profile, and which: Landlock refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gain<'a> {
    /// It.
    pub access: &'a Access,
    /// Landlock's words for what the new directory grants and the old place does not.
    pub rights: Vec<&'static str>,
}

/// All of `union` that would gain something under `draft`.
///
/// # Errors
///
/// [`Error`].
pub fn gains<'a>(
    draft: &Draft,
    union: &'a Union,
    runs: &[Run],
    load: Load<'_>,
) -> Result<Vec<Gain<'a>>, Error> {
    let moves = |access: &&Access| matches!(access, Access::File { moved: Some(_), .. });
    let mut moves = union.seen.keys().filter(moves).peekable();
    if moves.peek().is_none() {
        return Ok(Vec::new());
    }
    let layer = layer(draft, runs, load)?;
    let all = moves.map(|access| Gain {
        access,
        rights: layer
            .domain
            .as_ref()
            .map(|domain| domain.gains(access))
            .unwrap_or_default(),
    });
    Ok(all.filter(|gain| !gain.rights.is_empty()).collect())
}

/// A profile as a layer over the recorded mounts.
///
/// # Errors
///
/// [`Error`].
pub fn layer(draft: &Draft, runs: &[Run], load: Load<'_>) -> Result<Layer, Error> {
    Ok(Stage::of(runs).layer(&read(draft, None, load)?)?)
}

/// The profile `name` as a layer over the recorded mounts.
///
/// # Errors
///
/// [`Error`].
pub fn base(name: &str, runs: &[Run], load: Load<'_>) -> Result<Layer, Error> {
    let profile = Profile::resolve(name, load).map_err(|cause| Error::Parent {
        name: name.to_owned(),
        cause: cause.to_string(),
    })?;
    Ok(Stage::of(runs).layer(&profile)?)
}

/// What of `runs` a layer does not grant for certain, as if it had audited them.
#[must_use]
pub fn lacking(layer: &Layer, runs: &[Run]) -> Vec<Run> {
    let mut left = runs.to_vec();
    for run in &mut left {
        run.seen.retain(|seen| match &seen.access {
            // That it was used is said whoever permits it.
            Access::Syscall { name, .. } if name.starts_with("io_uring_") => true,
            Access::Container { .. } => true,
            // It answers ENOSYS, and C libraries take the other.
            Access::Syscall { name, .. } if name == "clone3" => {
                said(layer, &calls::plain_clone()) != Some(Answer::Allowed)
            }
            // Whether it may go there; what it would gain is asked of the profile that is made.
            Access::File { moved: Some(_), .. } => {
                said(layer, &unmoved(&seen.access)) != Some(Answer::Allowed)
            }
            access => said(layer, access) != Some(Answer::Allowed),
        });
    }
    left
}

/// The same, whatever comes there.
fn unmoved(access: &Access) -> Access {
    let mut access = access.clone();
    if let Access::File { moved, .. } = &mut access {
        *moved = None;
    }
    access
}

fn read(draft: &Draft, without: Option<usize>, load: Load<'_>) -> Result<Profile, Error> {
    let text = write::profile(draft, without);
    let resolved = Profile::resolve(&draft.name, &mut |name| {
        if name == draft.name {
            return Ok(Some(text.clone()));
        }
        load(name)
    });
    resolved.map_err(|cause| match &draft.extends {
        Some(parent)
            if load(parent).ok().flatten().is_none() && profile::embedded(parent).is_none() =>
        {
            Error::Parent {
                name: parent.clone(),
                cause: cause.to_string(),
            }
        }
        Some(parent) if matches!(&cause.problem, Problem::ExceptLost { .. }) => Error::Except {
            name: parent.clone(),
            cause: cause.to_string(),
        },
        _ => Error::Profile(Box::new(cause)),
    })
}

/// A container with the recorded mounts, on a node that can do everything.
struct Stage {
    spec: oci_spec::runtime::Spec,
    mounts: Vec<Place>,
    host: Host,
}

impl Stage {
    fn of(runs: &[Run]) -> Stage {
        let mut mounts = Vec::new();
        for mount in runs.iter().flat_map(Run::mounts) {
            if !mounts.contains(&mount) {
                mounts.push(mount);
            }
        }
        let spec = serde_json::from_value(reference::config());
        Stage {
            spec: spec.expect("the reference is a config.json, says its own test"),
            mounts,
            host: Host {
                landlock_abi: ABI,
                user_notif: true,
                listener_taken: false,
                may_go_on: true,
                wait_killable: true,
                runtime: Runtime {
                    path: "runc".into(),
                    family: Family::Runc,
                    version: "1.1.5".into(),
                    number: Some((1, 1, 5)),
                },
            },
        }
    }

    fn layer(&self, profile: &Profile) -> Result<Layer, Refusal> {
        let scene = Scene {
            spec: &self.spec,
            mounts: &self.mounts,
            host: &self.host,
            supervised: true,
        };
        Layer::of(profile, &scene, &AsWritten)
    }
}

/// What the profile is meant to allow: all that was recorded but for what no profile can have, in the
/// form that it takes under it.
fn wanted(union: &Union, draft: &Draft) -> Vec<Access> {
    let absent = |name: &str| draft.absent.iter().any(|(absent, _)| absent == name);
    let clone3 = draft
        .of(Section::Calls, None)
        .any(|one| one.item == "clone3");
    let wanted = union.seen.keys().filter(|access| match access {
        Access::Syscall { name, .. } if name == "clone3" => clone3,
        Access::Syscall { name, .. } => calls::never(name).is_none() && !absent(name),
        Access::File { path, .. } => files::is_path(path),
        Access::Capability { name } => profile::capability::canonical(name).is_some(),
        Access::Tcp { .. } => true,
        Access::Container { .. } => false,
    });
    let mut wanted: Vec<Access> = wanted.cloned().collect();
    let made = |name: &str| {
        let mut seen = union.seen.keys();
        seen.any(|access| matches!(access, Access::Syscall { name: seen, .. } if seen == name))
    };
    if !clone3 && made("clone3") {
        wanted.push(calls::plain_clone());
    }
    wanted
}

fn is_about(section: Section, access: &Access) -> bool {
    match access {
        // An empty list of ports denies listen(2), and a list what goes round it.
        Access::Syscall { .. } => {
            matches!(section, Section::Calls | Section::Bind | Section::Connect)
        }
        Access::File { .. } => Section::FILES.contains(&section),
        Access::Tcp { .. } => matches!(section, Section::Bind | Section::Connect),
        Access::Capability { .. } => section == Section::Capabilities,
        Access::Container { .. } => false,
    }
}

/// Refused for certain. What depends on an argument that nobody recorded is not: the lines that depend
/// on one were made from recorded ones.
fn is_denied(layer: &Layer, access: &Access) -> bool {
    said(layer, access) == Some(Answer::Denied)
}

/// What a layer says to one access; none to what no profile decides about.
pub fn said(layer: &Layer, access: &Access) -> Option<Answer> {
    let said = match access {
        Access::Syscall { name, args } => layer.call(name, &Known::of(name, args)),
        Access::File { .. } => layer.file(access),
        Access::Tcp { right, port } => layer.port(right, *port),
        Access::Capability { name } => layer.capability(name),
        Access::Container { .. } => return None,
    };
    Some(said.answer)
}
