//! Layers × Spec × Host → [`Plan`]: pure, no I/O. `create`, `explain` and the golden tests run
//! this very code.

mod admission;
pub mod annotations;
mod compose;
mod controls;
pub mod devices;
mod effective;
mod fix;
pub mod host_path;
pub mod landlock;
mod layers;
mod limits;
pub mod mounts;
pub mod noexec;
pub mod process;
mod refuse;
pub mod seccomp;
mod select;
pub mod tasks;

#[cfg(test)]
mod tests;

pub use compose::{Composed, Scene, compose};
pub use fix::fix_for;
pub use layers::{Layers, MOST};
pub use seccomp::exact::speaking;

use std::collections::BTreeSet;

use oci_spec::runtime::{Process, Spec};

use crate::config::Config;
use crate::host::Host;
use crate::oci::patch::Edit;
use crate::profile::{Degrade, Profile, Refuse};
use crate::seal;
use crate::state::{ExecRules, HostPathRules, Tripwire};

pub use admission::{Found, mounted};
pub use refuse::Refusal;
pub use select::{SelectError, Selecting, select};

/// What a plan is made from. The command line's own parts (descriptor numbers, argv[0]) are the
/// front door's business and not here.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The profiles in force, each resolved (`extends` folded in).
    pub profiles: Layers<'a>,
    /// Typed view of config.json as the engine wrote it.
    pub spec: &'a Spec,
    /// The node.
    pub host: &'a Host,
    /// The admin's own settings (`proc_mounts`, `start_container_hooks`, `runtime_annotations`).
    pub config: &'a Config,
    /// What the front door found on the host; none: judge by config.json alone.
    pub found: Option<&'a Found>,
    /// `run` was called, which never parks the container (DESIGN §5).
    pub run: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Changes to config.json, args and descriptors excepted.
    pub edits: Vec<Edit>,
    /// What init applies.
    pub policy: seal::Policy,
    /// What the supervisor answers.
    pub tripwires: Vec<Tripwire>,
    /// What exec sessions are held to.
    pub exec: ExecRules,
    /// What `start` judges the mounts by that were made.
    pub host_paths: Option<HostPathRules>,
    /// The effective policy for people: plain JSON, stable keys.
    pub effective: serde_json::Value,
    /// What the kernel cannot do and the profile allows to go without.
    pub degraded: Vec<String>,
}

/// What an exec session's process object becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecPlan {
    /// Changes; pointers are relative to the process object.
    pub edits: Vec<Edit>,
    /// Limits too low for the runtime and init, which init lowers instead.
    pub rlimits: Vec<seal::Rlimit>,
}

/// Plans one workload container.
///
/// # Errors
///
/// [`Refusal`]: the container must not be created.
pub fn plan(input: Input<'_>) -> Result<Plan, Refusal> {
    refuse::structure(input.spec, input.config, input.host, input.run)?;
    let host_paths = admission::rules(&input)?;
    let plan = build(&input, true)?;
    Ok(Plan { host_paths, ..plan })
}

/// Plans a pause container: the built-in profile, whatever `input.profiles` are, and no supervisor.
///
/// # Errors
///
/// [`Refusal`].
pub fn plan_pause(input: Input<'_>) -> Result<Plan, Refusal> {
    refuse::structure(input.spec, input.config, input.host, input.run)?;
    let pause = Profile::builtin("pause").expect("the built-in profiles are tested to resolve");
    build(
        &Input {
            profiles: Layers::from(&&pause),
            ..input
        },
        false,
    )
}

/// Plans one exec session.
///
/// The engine's capabilities for the session are cut to the layers'; sets it leaves out become
/// empty. Filter and Landlock policy are the container's own, sealed at `create`.
///
/// # Errors
///
/// [`Refusal::Exec`], [`Refusal::Selinux`], [`Refusal::Rule`].
pub fn plan_exec(process: &Process, rules: &ExecRules) -> Result<ExecPlan, Refusal> {
    if let Some(reason) = &rules.refused {
        return Err(Refusal::Exec(reason.clone()));
    }
    refuse::selinux(process)?;
    if rules.refuse_root && process.user().uid() == 0 {
        return Err(Refusal::Exec(
            "the container's profile refuses root-user and the session's uid is 0; use another user"
                .into(),
        ));
    }
    let own = |&(resource, soft, hard): &(u32, u64, u64)| seal::Rlimit {
        resource,
        soft,
        hard,
    };
    let bounds: Vec<seal::Rlimit> = rules.rlimits.iter().map(own).collect();
    let (edits, rlimits) = process::edits(process, "", &rules.capabilities, &bounds);
    Ok(ExecPlan { edits, rlimits })
}

/// The plan proper; what must be refused has been.
fn build(input: &Input<'_>, supervised: bool) -> Result<Plan, Refusal> {
    let (layers, spec, host) = (input.profiles, input.spec, input.host);
    let process = spec.process().as_ref().ok_or(Refusal::Missing("process"))?;
    let linux = spec.linux().as_ref().ok_or(Refusal::Missing("linux"))?;
    let mounts = mounts::read(spec)?;

    // 1. What init applies: files, ports and processes it may reach, calls it may make.
    let scene = Scene {
        spec,
        mounts: &mounts,
        host,
        supervised,
    };
    let composed = compose(layers, &scene)?;

    // 2. What config.json says of the process, its paths and mounts, and of the runtime.
    let (allowed, bounds) = (&composed.capabilities, &composed.bounds);
    let (mut edits, rlimits) = process::edits(process, "/process", allowed, bounds);
    edits.extend(tasks::edits(spec, host, layers.max_tasks()));
    edits.extend(devices::edits(spec, &layers.devices()));
    let masked = layers.union(|profile| &profile.masked_paths);
    let readonly = layers.union(|profile| &profile.readonly_paths);
    edits.extend(paths("maskedPaths", linux.masked_paths(), &masked));
    edits.extend(paths("readonlyPaths", linux.readonly_paths(), &readonly));
    let annotations = annotations::switches(spec, &input.config.runtime_annotations);
    edits.extend(annotations.iter().map(|name| annotations::removal(name)));
    let runnable: Vec<Vec<seal::PathRule>> = layers
        .iter()
        .filter_map(|profile| landlock::runnable(profile, spec, &mounts))
        .collect();
    edits.extend(noexec::edits(spec, host, &mounts, &runnable));
    edits.extend(composed.filters.edits.iter().cloned());

    // 3. What exec sessions are held to, and what people see.
    let held: Vec<String> = process::bounding(Some(process))
        .into_iter()
        .filter(|name| composed.capabilities.contains(name))
        .collect();
    let exec = exec_rules(input, &composed, &held);
    let effective = effective::summary(&effective::Parts {
        layers,
        composed: &composed,
        capabilities: &held,
        abi: host.landlock_abi,
        engine_seccomp: linux.seccomp().is_some(),
        supervised,
        annotations: &annotations,
    });
    Ok(Plan {
        edits,
        policy: composed.policy(supervised, rlimits),
        tripwires: composed.filters.tripwires,
        exec,
        host_paths: None,
        effective,
        degraded: composed.degraded,
    })
}

/// Capabilities with which a process could write into an exec'd init that no Landlock domain
/// protects (DESIGN §5).
const CAPTURING: [&str; 3] = ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"];

fn exec_rules(input: &Input<'_>, composed: &Composed, held: &[String]) -> ExecRules {
    let captor = CAPTURING
        .into_iter()
        .find(|name| held.iter().any(|have| have == name));
    let accepts = |profile: &&Profile| profile.requires.degrade.contains(&Degrade::ExecCapture);
    let mut layers = input.profiles.iter();
    let insisting = layers.find(|profile| !accepts(profile));
    let landlock = !composed.domains.is_empty();
    let refused = captor
        .zip(insisting)
        .filter(|_| !landlock)
        .map(|(name, profile)| {
            format!(
                "without Landlock a process of this container, which holds {name}, could capture the \
                 session; drop the capability, use a kernel with Landlock, or let profile {} go without \
                 by `requires: {{degrade: [exec-capture]}}`",
                profile.name
            )
        });
    let refuses_root = |profile: &Profile| profile.refuse.contains(&Refuse::RootUser);
    ExecRules {
        capabilities: composed.capabilities.clone(),
        landlock,
        refused,
        refuse_root: input.profiles.iter().any(refuses_root)
            && !admission::has_user_namespace(input),
        rlimits: composed
            .bounds
            .iter()
            .map(|bound| (bound.resource, bound.soft, bound.hard))
            .collect(),
        proc_mounts: input.config.proc_mounts.clone(),
    }
}

/// The engine's list with what the layers add to it.
fn paths(key: &str, engine: &Option<Vec<String>>, layers: &BTreeSet<String>) -> Option<Edit> {
    let engine = engine.as_deref().unwrap_or_default();
    let more: Vec<&String> = layers
        .iter()
        .filter(|path| !engine.contains(path))
        .collect();
    if more.is_empty() {
        return None;
    }
    let all: Vec<&String> = engine.iter().chain(more).collect();
    Some(Edit::Set {
        pointer: format!("/linux/{key}"),
        value: serde_json::json!(all),
    })
}
