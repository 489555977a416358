//! Layers × Spec × Host → [`Plan`]: pure, no I/O. `create`, `explain` and the golden tests run
//! this very code.

mod admission;
pub mod annotations;
mod compose;
mod controls;
pub mod decide;
pub mod delivery;
pub mod devices;
mod effective;
pub mod exchange;
mod expressible;
mod fix;
pub mod host_path;
pub mod landlock;
mod layers;
pub mod limits;
pub mod mounts;
pub mod noexec;
pub mod observe;
pub mod process;
mod refuse;
pub mod seccomp;
mod select;
pub mod session;

#[cfg(test)]
pub(crate) mod tests;

pub use compose::{Composed, Scene, compose};
pub use effective::domains;
pub use fix::fix_for;
pub use layers::{Layers, MOST};
pub use seccomp::exact::speaking;

use std::collections::BTreeSet;

use oci_spec::runtime::{Process, Spec};

use crate::config::Config;
use crate::detect;
use crate::event::Recording;
use crate::host::Host;
use crate::oci::patch::Edit;
use crate::profile::{Checkpoint, Profile, Restore};
use crate::seal;
use crate::state::{ExecRules, HostPathRules, Tripwire};

pub use admission::{Found, mounted};
pub use refuse::{MOUNTING, Refusal};
pub use select::{SelectError, Selecting, select};
pub use session::Streams;

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
    /// Rules of detection, all layers together.
    pub detect: Vec<detect::Rule>,
    /// What becomes of the container without its supervisor: `kill` where any layer says so.
    pub on_supervisor_loss: detect::OnLoss,
    /// What layers in mode `audit` and `learn` would say, for the supervisor: one for each policy, none
    /// where all of its layers enforce; empty where all of all do.
    pub observing: Vec<Option<observe::Observing>>,
    /// What a recording begins with.
    pub recording: Option<Box<Recording>>,
    /// What exec sessions are held to.
    pub exec: ExecRules,
    /// What `start` judges the mounts by that were made.
    pub host_paths: Option<HostPathRules>,
    /// The same of layers in mode `audit`, whose offences are told.
    pub observed_host_paths: Vec<HostPathRules>,
    /// SELinux label of init's program, where it is mounted (`exec.delivery`).
    pub init_label: Option<String>,
    /// The policies of `exec`, from number 1 on.
    pub session_policies: Vec<seal::Policy>,
    /// Whether every layer permits `checkpoint`.
    pub checkpoint: bool,
    /// The outermost layer that does not permit `restore`.
    pub restore_denied_by: Option<String>,
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
    /// Number of the sealed policy that the session is held to.
    pub policy: u32,
    /// What profiles in mode `audit` would have refused it for: the profile, and why.
    pub observed: Vec<(String, String)>,
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

/// Plans one exec session of a process file; `streams` is what is known beside it.
///
/// The engine's capabilities for the session are cut to the layers'; sets it leaves out become
/// empty. Filter and Landlock policy are the container's own, sealed at `create`.
///
/// # Errors
///
/// As [`session::admit`], and [`Refusal::Selinux`].
pub fn plan_exec(
    process: &Process,
    streams: Streams,
    rules: &ExecRules,
) -> Result<ExecPlan, Refusal> {
    let argv0 = process.args().iter().flatten().next();
    let streams = Streams {
        terminal: streams.terminal || process.terminal().unwrap_or(false),
        ..streams
    };
    let argv0 = argv0.map(|word| word.as_bytes());
    let held = session::admit(argv0, streams, rules)?;
    refuse::selinux(process, rules.delivery)?;
    if held.refuse_root && process.user().uid() == 0 {
        return Err(Refusal::Exec(
            "a profile that the session is held to refuses root-user and its uid is 0; use another user"
                .into(),
        ));
    }
    let own = |&(resource, soft, hard): &(u32, u64, u64)| seal::Rlimit {
        resource,
        soft,
        hard,
    };
    let bounds: Vec<seal::Rlimit> = rules.rlimits.iter().map(own).collect();
    let (edits, rlimits) = process::edits(process, "", held.capabilities, &bounds);
    Ok(ExecPlan {
        edits,
        rlimits,
        policy: held.policy,
        observed: session::observed(argv0, streams, process.user().uid() == 0, rules),
    })
}

/// The plan proper; what must be refused has been.
fn build(input: &Input<'_>, supervised: bool) -> Result<Plan, Refusal> {
    let (layers, spec, host) = (input.profiles, input.spec, input.host);
    let process = spec.process().as_ref().ok_or(Refusal::Missing("process"))?;
    let linux = spec.linux().as_ref().ok_or(Refusal::Missing("linux"))?;
    let mounts = mounts::read(spec)?;
    let (delivery, init_label) = delivery::choose(spec, input.config, input.run)?;

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
    edits.extend(limits::edits(spec, host, layers.max_tasks()));
    edits.extend(devices::edits(spec, &layers.devices()));
    let masked = layers.union(|profile| &profile.masked_paths);
    let readonly = layers.union(|profile| &profile.readonly_paths);
    edits.extend(paths("maskedPaths", linux.masked_paths(), &masked));
    edits.extend(paths("readonlyPaths", linux.readonly_paths(), &readonly));
    let annotations = annotations::switches(spec, &input.config.runtime_annotations);
    edits.extend(annotations.iter().map(|name| annotations::removal(name)));
    let runnable: Vec<Vec<seal::PathRule>> = layers
        .enforcing()
        .filter_map(|profile| landlock::runnable(profile, spec, &mounts))
        .collect();
    edits.extend(noexec::edits(spec, host, &mounts, &runnable));
    edits.extend(composed.filters.edits.iter().cloned());

    // 3. What exec sessions are held to, and what people see.
    // In any set: uid 0 keeps what it inherits, whatever bounds it (capabilities(7)).
    let held: Vec<String> = process::held(Some(process))
        .into_iter()
        .filter(|name| composed.capabilities.contains(name))
        .collect();
    let mut sessions = session::plan(input, &scene, &held, &composed, &rlimits)?;
    sessions.rules.delivery = delivery;
    let (detect, on_supervisor_loss) = match supervised {
        true => (layers.detect()?, layers.on_supervisor_loss()),
        false => (Vec::new(), detect::OnLoss::Keep),
    };
    let effective = effective::summary(&effective::Parts {
        layers,
        composed: &composed,
        capabilities: &held,
        abi: host.landlock_abi,
        engine_seccomp: linux.seccomp().is_some(),
        supervised,
        annotations: &annotations,
        sessions: &sessions,
        detect: &detect,
        on_supervisor_loss,
    });
    let mut tripwires = composed.filters.tripwires.clone();
    for wire in &sessions.tripwires {
        // Who reports a call is found by the layers' order, which is alike in all policies.
        if !tripwires.contains(wire) {
            tripwires.push(wire.clone());
        }
    }
    let (at_start, observed_host_paths) = observe::at_start(input);
    Ok(Plan {
        edits,
        policy: composed.policy(supervised, rlimits),
        recording: observe::recording(input, &mounts, &held, &sessions),
        observing: observing(at_start, &composed, &sessions),
        tripwires,
        detect,
        on_supervisor_loss,
        host_paths: None,
        observed_host_paths,
        exec: sessions.rules,
        init_label,
        checkpoint: layers.iter().all(|p| p.checkpoint == Checkpoint::Allow),
        restore_denied_by: layers
            .iter()
            .find(|p| p.restore != Restore::Unprotected)
            .map(|p| p.name.clone()),
        session_policies: sessions.policies,
        effective,
        degraded: composed.degraded,
    })
}

/// What the container's layers would say, then those of its sessions.
fn observing(
    at_start: Vec<observe::AtStart>,
    composed: &Composed,
    sessions: &session::Planned,
) -> Vec<Option<observe::Observing>> {
    let mut own = composed.observing.clone();
    if let Some(own) = &mut own {
        own.at_start.extend(at_start);
    }
    let all: Vec<_> = [own]
        .into_iter()
        .chain(sessions.observing.clone())
        .collect();
    if all.iter().all(Option::is_none) {
        return Vec::new();
    }
    all
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
