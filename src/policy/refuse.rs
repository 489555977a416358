//! Containers that are not created, and why. Every refusal names the object, the cause and what to
//! do, because `kubectl describe pod` shows this line and nothing else.

use oci_spec::runtime::{Process, Spec};

use super::seccomp::{bpf, engine};
use super::{controls, mounts};
use crate::config::Config;
use crate::detect::MOST_RULES;
use crate::host::{Family, Host, Runtime};
use crate::profile::{Degrade, Profile};
use crate::seal::BOUND_INIT;
use crate::state::Delivery;

/// Why a container or a session is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// config.json lacks an object that every Linux container has.
    #[error(
        "config.json has no `{0}`: mantlet sandboxes Linux containers only; use another runtime class"
    )]
    Missing(&'static str),
    /// `process.refuse` of the profile.
    #[error("profile {profile} refuses {rule}: {found}; {remedy}")]
    Rule {
        /// The profile.
        profile: String,
        /// What is refused, by the rule as written there.
        rule: String,
        /// The offending value.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A mount destination that the runtimes would resolve in ways unknown here.
    #[error("mount destination {destination:?} {why}: write the absolute, plain path")]
    Destination {
        /// As in config.json.
        destination: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A mount at or below /proc.
    #[error(
        "mount at {destination:?} would let the image forge /proc, through which the sandbox is \
             started: remove it, or have the node's admin list it in `proc_mounts`"
    )]
    ProcMount {
        /// Normal destination.
        destination: String,
    },
    /// No procfs.
    #[error(
        "config.json mounts no procfs at /proc, which the runtime and the sandbox need: add a \
             mount of type proc"
    )]
    NoProc,
    /// More than one procfs, or another filesystem there.
    #[error("the mount at /proc is not one plain procfs ({found}): mount it once, with type proc")]
    OddProc {
        /// What it is.
        found: String,
    },
    /// Hooks that run in the container before init.
    #[error(
        "config.json has startContainer hooks, which would run inside the container without the \
             sandbox: remove them, or have the node's admin set `start_container_hooks: true`"
    )]
    StartContainerHook,
    /// `run` with a runtime whose /proc cannot be checked in time.
    #[error(
        "`run` is refused with {runtime}: it never parks the container, so its /proc cannot be \
             checked; use `create` and `start`, or runc 1.1.5 or later"
    )]
    Run {
        /// Name and version.
        runtime: String,
    },
    /// runc without its own guard of /proc.
    #[error("{runtime} lacks the /proc guard of runc 1.1.5: upgrade it")]
    OldRuntime {
        /// Name and version.
        runtime: String,
    },
    /// The engine's filter has a listener.
    #[error(
        "the container's seccomp profile uses SCMP_ACT_NOTIFY or a listenerPath, and the kernel \
             takes one listener only: use a seccomp profile without notification for this pod, or \
             another runtime class"
    )]
    EngineListener,
    /// mantlet itself runs below a listener.
    #[error(
        "this node's processes are already under a seccomp listener (a nested node?), and the \
             kernel takes one only: run mantlet outside of it, or let profile {profile} go without \
             by `requires: {{degrade: [tripwires]}}`"
    )]
    ListenerTaken {
        /// The profile.
        profile: String,
    },
    /// No user notification.
    #[error(
        "this kernel has no seccomp user notification, which the tripwires of profile {profile} \
             need: use kernel 5.0 or later, or let the profile go without by `requires: {{degrade: \
             [tripwires]}}`"
    )]
    NoNotification {
        /// The profile.
        profile: String,
    },
    /// A layer that only looks, and calls that cannot be looked at and let go on.
    #[error(
        "profile {profile} only looks (`mode: audit` or `learn`), for which seccomp notification has to \
             let calls go on (SECCOMP_USER_NOTIF_FLAG_CONTINUE), and this kernel cannot: use kernel 5.5 \
             or later, or a profile that enforces"
    )]
    CannotLook {
        /// The profile.
        profile: String,
    },
    /// Landlock too old or absent.
    #[error(
        "profile {profile} requires Landlock ABI {required}, this kernel has {found} (0: none or \
             not enabled in `lsm=`): use a newer kernel, or let the profile go without by `requires: \
             {{degrade: [landlock]}}`"
    )]
    Landlock {
        /// The profile.
        profile: String,
        /// At least.
        required: u32,
        /// What there is.
        found: u32,
    },
    /// Landlock without a right that the profile's words need.
    #[error(
        "profile {profile} restricts {what}, which needs Landlock ABI {required}, and this kernel \
             has {found} (0: none or not enabled in `lsm=`): use a newer kernel, or let the profile \
             go without by `requires: {{degrade: [{word}]}}`"
    )]
    Lacks {
        /// The profile.
        profile: String,
        /// What would not be restricted.
        what: &'static str,
        /// At least.
        required: u32,
        /// What there is.
        found: u32,
        /// The word of `degrade`.
        word: &'static str,
    },
    /// An exception inside a volume whose directories the kubelet replaces.
    #[error(
        "profile {profile} excepts {path:?} in the volume at {destination:?}, which the kubelet \
             replaces at every update, and Landlock's rules would not follow: except the whole volume, \
             or mount what shall be hidden elsewhere"
    )]
    ExceptReplaced {
        /// The profile.
        profile: String,
        /// The exception.
        path: String,
        /// Where the volume is mounted.
        destination: String,
    },
    /// More rules than init can add at every start.
    #[error(
        "profile {profile} comes to {found} Landlock rules and exceptions, and at most {most} are taken: name \
             directories in place of what lies in them"
    )]
    TooManyRules {
        /// The profile.
        profile: String,
        /// Rules and exceptions of the plan.
        found: usize,
        /// At most.
        most: usize,
    },
    /// The profile permits mount(2).
    #[error(
        "profile {profile} allows {syscall}, with which a container could forge /proc for exec \
             sessions, and which every Landlock domain denies anyway: remove it from `syscalls.allow`"
    )]
    Mount {
        /// The profile.
        profile: String,
        /// The call.
        syscall: String,
    },
    /// SELinux would have to permit the memfd.
    #[error(
        "{object} is {label:?}: SELinux may deny the sealed memfd that the sandbox is started \
             from: let the node's admin set `init_delivery: auto`, set `enable_selinux = false` in the \
             engine, or use another runtime class"
    )]
    Selinux {
        /// `process.selinuxLabel` or `linux.mountLabel`.
        object: &'static str,
        /// The label.
        label: String,
    },
    /// A process label without one for files.
    #[error(
        "process.selinuxLabel is {label:?} and linux.mountLabel is not set, so nothing tells which \
             file such a process may execute: let the engine set both, or neither"
    )]
    SelinuxHalf {
        /// The process's label.
        label: String,
    },
    /// Init's program cannot be mounted safely.
    #[error("cannot mount mantlet-init at {BOUND_INIT}: {why}")]
    Bound {
        /// The cause, and what to do.
        why: &'static str,
    },
    /// Exec sessions could be captured.
    #[error("exec is refused: {0}")]
    Exec(String),
    /// A session with a terminal or an attached standard input.
    #[error(
        "exec is refused: profile {profile} denies interactive sessions, and this one has {what}: \
             run one command, without -t and -i, or let the profile say `exec: {{interactive: allow}}`"
    )]
    Interactive {
        /// The profile.
        profile: String,
        /// What makes it interactive.
        what: &'static str,
    },
    /// A session for what its profile does not list.
    #[error(
        "exec is refused: profile {profile} lists no {argv0:?} under `exec.commands`, which holds \
             {listed}: call one of these as it is written there, or have the command listed"
    )]
    Command {
        /// The profile.
        profile: String,
        /// As asked for.
        argv0: String,
        /// What there is.
        listed: String,
    },
    /// More profiles than the kernel stacks domains.
    #[error(
        "{found} profiles are in force at once, and the kernel stacks 1 to 16 Landlock domains, one \
             for each: let fewer `rules` of the node's configuration match"
    )]
    Layers {
        /// How many.
        found: usize,
    },
    /// More rules of detection than one supervisor keeps count of.
    #[error(
        "{found} rules of `detect` are in force at once (profiles {profiles}), and a supervisor keeps \
             count of {most} at most: let one rule name several calls or programs",
        most = MOST_RULES
    )]
    Rules {
        /// The profiles.
        profiles: String,
        /// How many.
        found: usize,
    },
    /// The filter is too large.
    #[error("the seccomp filter of profile {profile} cannot be built: {cause}")]
    Filter {
        /// The profile.
        profile: String,
        /// Why.
        cause: bpf::TooLarge,
    },
}

/// What holds for every container, whatever its profile.
pub(super) fn structure(
    spec: &Spec,
    config: &Config,
    host: &Host,
    run: bool,
) -> Result<(), Refusal> {
    spec.process().as_ref().ok_or(Refusal::Missing("process"))?;
    let linux = spec.linux().as_ref().ok_or(Refusal::Missing("linux"))?;
    runtime(&host.runtime, run)?;
    proc_mounts(spec, config)?;
    let hooks = spec
        .hooks()
        .as_ref()
        .and_then(|hooks| hooks.start_container().as_ref());
    if !config.start_container_hooks && hooks.is_some_and(|hooks| !hooks.is_empty()) {
        return Err(Refusal::StartContainerHook);
    }
    if linux.seccomp().as_ref().is_some_and(engine::notifies) {
        return Err(Refusal::EngineListener);
    }
    Ok(())
}

/// A session's label; the runtimes refuse one where SELinux is off, so one that is set is meant. It
/// is the container's own, which init was labelled for.
pub(super) fn selinux(process: &Process, delivery: Delivery) -> Result<(), Refusal> {
    match process.selinux_label().as_deref() {
        Some(label) if !label.is_empty() && delivery == Delivery::Memfd => Err(Refusal::Selinux {
            object: "process.selinuxLabel",
            label: label.into(),
        }),
        _ => Ok(()),
    }
}

fn runtime(runtime: &Runtime, run: bool) -> Result<(), Refusal> {
    let name = match runtime.family {
        Family::Runc => "runc",
        Family::Crun => "crun",
        Family::Youki => "youki",
    };
    let named = || format!("{name} {}", runtime.version);
    // A version that cannot be read is no proof of the guard.
    let guarded = runtime.family == Family::Runc && runtime.number.is_some_and(|n| n >= (1, 1, 5));
    if runtime.family == Family::Runc && !guarded {
        return Err(Refusal::OldRuntime { runtime: named() });
    }
    if run && !guarded {
        return Err(Refusal::Run { runtime: named() });
    }
    Ok(())
}

/// One plain procfs at /proc, and beneath it only what the admin lists; never over the directories
/// that init is started through.
fn proc_mounts(spec: &Spec, config: &Config) -> Result<(), Refusal> {
    let mut seen = false;
    for mount in spec.mounts().iter().flatten() {
        let destination = mounts::normal(mount.destination())?;
        if !mounts::beneath(&destination, "/proc") {
            continue;
        }
        let typ = mount.typ().as_deref().unwrap_or("none");
        if destination != "/proc" {
            let listed = config
                .proc_mounts
                .iter()
                .any(|path| mounts::normal(path).is_ok_and(|path| path == destination));
            if !listed || holds_init(&destination) {
                return Err(Refusal::ProcMount { destination });
            }
        } else if typ != "proc" || mounts::is_bind(mount) {
            return Err(Refusal::OddProc {
                found: format!("type {typ}"),
            });
        } else if std::mem::replace(&mut seen, true) {
            return Err(Refusal::OddProc {
                found: "mounted twice".into(),
            });
        }
    }
    if seen { Ok(()) } else { Err(Refusal::NoProc) }
}

fn holds_init(destination: &str) -> bool {
    let first = destination["/proc".len()..]
        .split('/')
        .nth(1)
        .unwrap_or_default();
    matches!(first, "self" | "thread-self") || first.bytes().all(|b| b.is_ascii_digit())
}

pub use crate::profile::groups::MOUNTING;

/// What the profile itself rules out, and what the node cannot do for it. Answers what it goes
/// without.
pub(super) fn abilities(profile: &Profile, host: &Host) -> Result<(), Refusal> {
    first(disabled(profile, host))
}

/// All that [`abilities`] would say.
pub(super) fn disabled(profile: &Profile, host: &Host) -> Vec<Refusal> {
    let allowed = |name: &&str| {
        profile
            .syscalls
            .allow
            .iter()
            .any(|rule| rule.name == **name)
    };
    let name = || profile.name.clone();
    let mounting = MOUNTING.iter().filter(|name| allowed(name));
    let mut all: Vec<Refusal> = mounting
        .map(|syscall| Refusal::Mount {
            profile: name(),
            syscall: (*syscall).into(),
        })
        .collect();
    all.extend(controls::refusals(profile, host.landlock_abi));
    let reports = !profile.syscalls.tripwire.is_empty()
        && !profile.requires.degrade.contains(&Degrade::Tripwires);
    if reports && !host.user_notif {
        all.push(Refusal::NoNotification { profile: name() });
    } else if reports && host.listener_taken {
        all.push(Refusal::ListenerTaken { profile: name() });
    }
    all
}

/// The first of several refusals, where there is any.
pub(super) fn first(refusals: impl IntoIterator<Item = Refusal>) -> Result<(), Refusal> {
    match refusals.into_iter().next() {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}
