//! Profile × Spec × Host → [`Plan`]: pure, no I/O. `create`, `explain` and the golden tests run
//! this very code.

pub mod annotations;
mod effective;
mod fix;
pub mod landlock;
pub mod mounts;
pub mod noexec;
pub mod process;
mod refuse;
pub mod seccomp;
pub mod session;

#[cfg(test)]
mod tests;

pub use fix::fix_for;

use std::collections::BTreeSet;

use oci_spec::runtime::{Process, Spec};

use crate::config::Config;
use crate::host::Host;
use crate::oci::patch::Edit;
use crate::profile::{Degrade, Profile, Refuse};
use crate::seal;
use crate::state::{ExecRules, Tripwire};

pub use refuse::Refusal;
pub use session::Streams;

/// What a plan is made from. The command line's own parts (descriptor numbers, argv[0]) are the
/// front door's business and not here.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The profile, resolved (`extends` folded in).
    pub profile: &'a Profile,
    /// Typed view of config.json as the engine wrote it.
    pub spec: &'a Spec,
    /// The node.
    pub host: &'a Host,
    /// The admin's own settings (`proc_mounts`, `start_container_hooks`, `runtime_annotations`).
    pub config: &'a Config,
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
    refuse::rules(&input)?;
    build(&input, true)
}

/// Plans a pause container: the built-in profile, whatever `input.profile` is, and no supervisor.
///
/// # Errors
///
/// [`Refusal`].
pub fn plan_pause(input: Input<'_>) -> Result<Plan, Refusal> {
    refuse::structure(input.spec, input.config, input.host, input.run)?;
    let pause = Profile::builtin("pause").expect("the built-in profiles are tested to resolve");
    build(
        &Input {
            profile: &pause,
            ..input
        },
        false,
    )
}

/// Plans one exec session of a process file; `streams` is what is known beside it.
///
/// The engine's capabilities for the session are cut to the profile's; sets it leaves out become
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
    session::admit(argv0.map(|word| word.as_bytes()), streams, rules)?;
    refuse::selinux(process)?;
    if rules.refuse_root && process.user().uid() == 0 {
        return Err(Refusal::Exec(
            "the container's profile refuses root-user and the session's uid is 0; use another user"
                .into(),
        ));
    }
    let (edits, rlimits) = process::edits(process, "", &rules.capabilities);
    Ok(ExecPlan { edits, rlimits })
}

/// The plan proper; what must be refused has been.
fn build(input: &Input<'_>, supervised: bool) -> Result<Plan, Refusal> {
    let (profile, host) = (input.profile, input.host);
    refuse::abilities(profile, host)?;
    let process = input
        .spec
        .process()
        .as_ref()
        .ok_or(Refusal::Missing("process"))?;
    let linux = input
        .spec
        .linux()
        .as_ref()
        .ok_or(Refusal::Missing("linux"))?;

    // 1. What the process may be.
    let allowed: Vec<String> = profile
        .capabilities
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let (mut edits, rlimits) = process::edits(process, "/process", &allowed);
    edits.extend(paths(
        "maskedPaths",
        linux.masked_paths().as_deref(),
        &profile.masked_paths,
    ));
    edits.extend(paths(
        "readonlyPaths",
        linux.readonly_paths().as_deref(),
        &profile.readonly_paths,
    ));

    let annotations = annotations::switches(input.spec, &input.config.runtime_annotations);
    edits.extend(annotations.iter().map(|name| annotations::removal(name)));

    // 2. What files, ports and processes it may reach.
    let mounts = mounts::read(input.spec)?;
    if let Some(runnable) = landlock::runnable(profile, input.spec, &mounts) {
        edits.extend(noexec::edits(input.spec, host, &mounts, &runnable));
    }
    let (layers, mut degraded) = landlock::plan(profile, input.spec, &mounts, host.landlock_abi);

    // 3. What it may call.
    let notify = supervised && host.user_notif && !host.listener_taken;
    let filters = seccomp::plan(profile, linux.seccomp().as_ref(), notify).map_err(|cause| {
        Refusal::Filter {
            profile: profile.name.clone(),
            cause,
        }
    })?;
    if !notify && !profile.syscalls.tripwire.is_empty() {
        degraded.push("no seccomp notification: tripwires deny in silence".into());
    }
    for name in &filters.exact.unknown {
        degraded.push(format!(
            "system call {name} is unknown to this build: it answers ENOSYS"
        ));
    }

    // 4. What exec sessions are held to, and what people see.
    let held: Vec<String> = process::bounding(Some(process))
        .into_iter()
        .filter(|name| allowed.contains(name))
        .collect();
    let exec = exec_rules(input, allowed, &held, &layers);
    let effective = effective::summary(&effective::Parts {
        profile,
        capabilities: &held,
        abi: host.landlock_abi,
        layers: &layers,
        filters: &filters,
        engine_seccomp: linux.seccomp().is_some(),
        supervised,
        degraded: &degraded,
        annotations: &annotations,
    });
    edits.extend(filters.edits);
    let policy = seal::Policy {
        supervised,
        layers,
        rlimits,
        filter: filters.filter,
    };
    Ok(Plan {
        edits,
        policy,
        tripwires: filters.tripwires,
        exec,
        effective,
        degraded,
    })
}

/// Capabilities with which a process could write into an exec'd init that no Landlock domain
/// protects (DESIGN §5).
const CAPTURING: [&str; 3] = ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"];

fn exec_rules(
    input: &Input<'_>,
    capabilities: Vec<String>,
    held: &[String],
    layers: &[seal::Layer],
) -> ExecRules {
    let profile = input.profile;
    let captor = CAPTURING
        .into_iter()
        .find(|name| held.iter().any(|have| have == name));
    let accepted = profile.requires.degrade.contains(&Degrade::ExecCapture);
    let refused = captor.filter(|_| layers.is_empty() && !accepted).map(|name| {
        format!(
            "without Landlock a process of this container, which holds {name}, could capture the \
             session; drop the capability, use a kernel with Landlock, or let profile {} go without \
             by `requires: {{degrade: [exec-capture]}}`",
            profile.name
        )
    });
    let held_to_more = profile
        .exec
        .as_ref()
        .is_some_and(|exec| !exec.profiles.is_empty());
    let refused = refused.or_else(|| {
        held_to_more.then(|| {
            format!(
                "profile {} holds sessions to another profile, which is not available yet",
                profile.name
            )
        })
    });
    ExecRules {
        capabilities,
        landlock: !layers.is_empty(),
        refused,
        refuse_root: profile.refuse.contains(&Refuse::RootUser)
            && !refuse::has_user_namespace(input.spec),
        proc_mounts: input.config.proc_mounts.clone(),
        sessions: session::rules([profile]),
    }
}

/// The engine's list with what the profile adds to it.
fn paths(key: &str, engine: Option<&[String]>, profile: &BTreeSet<String>) -> Option<Edit> {
    let engine = engine.unwrap_or_default();
    let more: Vec<&String> = profile
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
