//! Exec sessions: which there may be, and what they are held to (`exec` of a profile).
//!
//! At `create`, the container's layers and the profiles that `exec` names are composed into policies
//! of their own. At `exec`, a session is judged on the texts of its request alone, before anybody is
//! asked for anything, and held to one of them.
//!
//! argv[0] is compared as it was written. Whoever may only call `exec` can choose nothing else, so
//! for them the list is what it says. It promises nothing about the file that init then finds by
//! the container's PATH: a workload that may write there decides what runs, under the session's
//! sandbox all the same.

use std::borrow::Cow;
use std::collections::BTreeSet;

use oci_spec::runtime::Spec;

use super::compose::{Composed, Scene, compose};
use super::observe::Observing;
use super::refuse::{self, Refusal};
use super::{Input, Layers, admission};
use crate::profile::{Degrade, Interactive, Mode, Profile, Refuse, Sessions, covers_command};
use crate::seal;
use crate::state::{
    ExecRules, HostPathRules, SessionRule, SubPolicy, Tripwire, WouldRefuse, digest,
};

/// Most entries of a list that a refusal names.
const TOLD: usize = 8;

/// What makes a session interactive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// It gets a terminal.
    pub terminal: bool,
    /// Its standard input is another thing than /dev/null.
    pub input: bool,
}

/// What the layers make of sessions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub rules: ExecRules,
    /// Sealed for sessions, from number 1 on.
    pub policies: Vec<seal::Policy>,
    /// What those report.
    pub tripwires: Vec<Tripwire>,
    /// What those of their layers would say that only look, by policy.
    pub observing: Vec<Option<Observing>>,
}

/// Plans the sessions of a container whose processes hold the capabilities `held`, and whose own
/// layers come to `workload`.
///
/// # Errors
///
/// [`Refusal`]: a profile for sessions cannot be had on this node.
pub(super) fn plan(
    input: &Input<'_>,
    scene: &Scene<'_>,
    held: &[String],
    workload: &Composed,
    rlimits: &[seal::Rlimit],
) -> Result<Planned, Refusal> {
    let layers = input.profiles;
    let refuses_root = |profile: &Profile| profile.refuse.contains(&Refuse::RootUser);
    let mapped = admission::has_user_namespace(input);
    let process = input.spec.process().as_ref();
    let mut planned = Planned {
        rules: ExecRules {
            capabilities: workload.capabilities.clone(),
            landlock: !workload.domains.is_empty(),
            refused: capture(layers, workload, held),
            refuse_root: layers.enforcing().any(refuses_root) && !mapped,
            workload_is_root: process.is_none_or(|process| process.user().uid() == 0),
            delivery: Default::default(),
            rlimits: workload
                .bounds
                .iter()
                .map(|bound| (bound.resource, bound.soft, bound.hard))
                .collect(),
            proc_mounts: input.config.proc_mounts.clone(),
            sessions: rules(layers.enforcing()),
            observed: rules(layers.audited()),
            observed_root: root_refusing(layers.audited(), mapped),
            stricter: None,
            stricter_interactive: None,
        },
        policies: Vec::new(),
        tripwires: Vec::new(),
        observing: Vec::new(),
    };
    if !scene.supervised {
        return Ok(planned);
    }
    let (every, interactive) = (extra(layers, false), extra(layers, true));
    let mut make = |more: &[Cow<'_, Profile>]| -> Result<Option<SubPolicy>, Refusal> {
        if more.is_empty() {
            return Ok(None);
        }
        let more = || more.iter().map(Cow::as_ref);
        let all: Vec<&Profile> = layers.iter().chain(more()).collect();
        let all = Layers::new(&all)?;
        let composed = compose(all, scene)?;
        let policy = composed.policy(true, rlimits.to_vec());
        let enforcing: Vec<&Profile> = more().filter(|own| own.mode == Mode::Enforce).collect();
        let judged = enforcing.iter().map(|own| judge(own, input));
        let judged: Result<Vec<_>, String> = judged.collect();
        let (host_paths, offends) = match judged {
            Ok(rules) => (rules.into_iter().flatten().collect(), None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        let mut degraded = composed.degraded.clone();
        let own = enforcing.iter();
        degraded.extend(own.clone().flat_map(|p| shared(p, layers, input.spec)));
        let sub = SubPolicy {
            degraded,
            number: planned.policies.len() as u32 + 1,
            fewer_capabilities: held
                .iter()
                .any(|name| !composed.capabilities.contains(name)),
            profiles: own.clone().map(|profile| profile.name.clone()).collect(),
            refuse_root: own.clone().any(|profile| refuses_root(profile)) && !mapped,
            digest: digest(&policy.encode()),
            refused: capture(all, &composed, held).or(offends),
            host_paths,
            observed: would_refuse(more().filter(|own| own.mode == Mode::Audit), input, mapped),
            capabilities: composed.capabilities.clone(),
        };
        let mut observing = composed.observing;
        if let Some(observing) = &mut observing {
            observing.share_mounts(layers);
        }
        planned.observing.push(observing);
        planned.tripwires.extend(composed.filters.tripwires);
        planned.policies.push(policy);
        Ok(Some(sub))
    };
    let stricter = make(&every)?;
    // The same profiles are the same policy.
    let own = interactive != every;
    let stricter_interactive = if own { make(&interactive)? } else { None };
    planned.rules.stricter = stricter;
    planned.rules.stricter_interactive = stricter_interactive;
    Ok(planned)
}

/// Profiles of sessions, each once, those that are layers of the container left out. What a layer names
/// that denies nothing denies nothing either.
fn extra(layers: Layers<'_>, interactive: bool) -> Vec<Cow<'_, Profile>> {
    let mut all: Vec<Cow<'_, Profile>> = Vec::new();
    for layer in layers.iter() {
        let said = layer.exec.iter();
        for profile in said.flat_map(|exec| exec.stricter(interactive)) {
            let mut own = Cow::Borrowed(profile);
            if (layer.mode, profile.mode) == (Mode::Audit, Mode::Enforce) {
                own.to_mut().mode = Mode::Audit;
            }
            // One that is enforced need not be looked at.
            let has = |other: &Profile| other == &*own || other == profile;
            if !all.iter().any(|other| has(other)) && !layers.iter().any(has) {
                all.push(own);
            }
        }
    }
    all
}

/// Those of them that refuse uid 0, where that is root's.
fn root_refusing<'a>(profiles: impl Iterator<Item = &'a Profile>, mapped: bool) -> Vec<String> {
    profiles
        .filter(|profile| profile.refuse.contains(&Refuse::RootUser) && !mapped)
        .map(|profile| profile.name.clone())
        .collect()
}

/// What profiles of sessions would refuse that only look.
fn would_refuse<'a>(
    profiles: impl Iterator<Item = &'a Profile> + Clone,
    input: &Input<'_>,
    mapped: bool,
) -> WouldRefuse {
    let mut found = WouldRefuse {
        root: root_refusing(profiles.clone(), mapped),
        ..WouldRefuse::default()
    };
    for profile in profiles {
        let unable = refuse::abilities(profile, input.host).err();
        let judged = judge(profile, input);
        let reasons = unable.map(|refusal| refusal.to_string()).into_iter();
        for reason in reasons.chain(judged.as_ref().err().cloned()) {
            found.container.push((profile.name.clone(), reason));
        }
        found.host_paths.extend(judged.ok().flatten());
    }
    found
}

/// `process.refuse` of a profile that is none of the container's: its rules on what was mounted, or why it
/// refuses. uid 0 is judged by each session's own.
fn judge(profile: &Profile, input: &Input<'_>) -> Result<Option<HostPathRules>, String> {
    let mut judged = profile.clone();
    judged.mode = Mode::Enforce;
    judged.refuse.remove(&Refuse::RootUser);
    // Sessions count in the container's cgroup, which the layers limit.
    judged.max_tasks = input.profiles.max_tasks();
    let only = &judged;
    let input = Input {
        profiles: Layers::from(&only),
        ..*input
    };
    admission::rules(&input).map_err(|refusal| refusal.to_string())
}

/// A session shares the container's mounts and its cgroup: what only its own profile says of them has no
/// effect.
fn shared(profile: &Profile, layers: Layers<'_>, spec: &Spec) -> Vec<String> {
    let linux = spec.linux().as_ref();
    let engine = |list: Option<&Option<Vec<String>>>| -> BTreeSet<String> {
        list.into_iter().flatten().flatten().cloned().collect()
    };
    let masked = engine(linux.map(|l| l.masked_paths()));
    let readonly = engine(linux.map(|l| l.readonly_paths()));
    let masked = &masked | &layers.union(|p| &p.masked_paths);
    let readonly = &(&readonly | &layers.union(|p| &p.readonly_paths)) | &masked;
    let tell = |path: &String, what| {
        format!(
            "{path} is not {what} for exec sessions, as profile {} says: they share the container's mounts",
            profile.name
        )
    };
    let fewer = profile.max_tasks.filter(|max| {
        let mut own = layers.iter().filter_map(|layer| layer.max_tasks);
        own.all(|own| own > *max)
    });
    let counted = fewer.map(|_| {
        format!(
            "process.max of profile {} does not hold exec sessions: they count in the container's cgroup",
            profile.name
        )
    });
    let shown = profile.masked_paths.difference(&masked);
    let written = profile.readonly_paths.difference(&readonly);
    shown
        .map(|path| tell(path, "hidden"))
        .chain(written.map(|path| tell(path, "read-only")))
        .chain(counted)
        .collect()
}

/// Capabilities with which a process could write into an exec'd init that no Landlock domain
/// protects (DESIGN §5).
const CAPTURING: [&str; 3] = ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"];

/// Why sessions could be captured by processes that hold `held`.
fn capture(layers: Layers<'_>, composed: &Composed, held: &[String]) -> Option<String> {
    if !composed.domains.is_empty() {
        return None;
    }
    let name = CAPTURING
        .into_iter()
        .find(|name| held.iter().any(|have| have == name))?;
    let accepts = |profile: &Profile| profile.requires.degrade.contains(&Degrade::ExecCapture);
    let profile = layers.enforcing().find(|profile| !accepts(profile))?;
    Some(format!(
        "without Landlock a process of this container, which holds {name}, could capture the \
         session; drop the capability, use a kernel with Landlock, or let profile {} go without \
         by `requires: {{degrade: [exec-capture]}}`",
        profile.name
    ))
}

/// What the profiles say, for the record.
fn rules<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Vec<SessionRule> {
    let said = profiles
        .into_iter()
        .filter_map(|profile| Some((profile, profile.exec.as_ref()?)));
    let rule = |(profile, exec): (&Profile, &Sessions)| SessionRule {
        profile: profile.name.clone(),
        deny_interactive: exec.interactive == Some(Interactive::Deny),
        commands: exec
            .commands
            .as_ref()
            .map(|commands| commands.iter().cloned().collect()),
    };
    said.map(rule).collect()
}

/// What one session is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held<'a> {
    /// Number of the sealed policy.
    pub policy: u32,
    /// Capabilities it may keep.
    pub capabilities: &'a [String],
    /// Whether it may not be uid 0.
    pub refuse_root: bool,
    /// Names of profiles that leave it less than the workload's capabilities.
    pub fewer_capabilities: Option<&'a [String]>,
}

/// Whether every profile permits the session, and what holds it; `argv0` is absent where there is no
/// command, which is refused elsewhere.
///
/// # Errors
///
/// [`Refusal::Exec`], [`Refusal::Interactive`], [`Refusal::Command`].
pub fn admit<'a>(
    argv0: Option<&[u8]>,
    streams: Streams,
    rules: &'a ExecRules,
) -> Result<Held<'a>, Refusal> {
    if let Some(reason) = &rules.refused {
        return Err(Refusal::Exec(reason.clone()));
    }
    for rule in &rules.sessions {
        one(argv0, streams, rule)?;
    }
    match rules.held_to(streams.terminal || streams.input) {
        None => Ok(Held {
            policy: 0,
            capabilities: &rules.capabilities,
            refuse_root: rules.refuse_root,
            fewer_capabilities: None,
        }),
        Some(SubPolicy {
            refused: Some(reason),
            ..
        }) => Err(Refusal::Exec(reason.clone())),
        Some(sub) => Ok(Held {
            policy: sub.number,
            capabilities: &sub.capabilities,
            refuse_root: rules.refuse_root || sub.refuse_root,
            fewer_capabilities: sub.fewer_capabilities.then_some(&sub.profiles),
        }),
    }
}

/// What profiles in mode `audit` would have refused the session for: the profile, and why. `root`: it may
/// be uid 0.
#[must_use]
pub fn observed(
    argv0: Option<&[u8]>,
    streams: Streams,
    root: bool,
    rules: &ExecRules,
) -> Vec<(String, String)> {
    let told = |rule: &SessionRule| {
        let refusal = one(argv0, streams, rule).err()?;
        Some((rule.profile.clone(), refusal.to_string()))
    };
    let mut all: Vec<_> = rules.observed.iter().filter_map(told).collect();
    let more = rules.held_to(streams.terminal || streams.input);
    let more = more.map(|sub| &sub.observed);
    let roots = rules.observed_root.iter();
    let roots = roots.chain(more.iter().flat_map(|own| &own.root));
    all.extend(roots.filter(|_| root).map(|profile| {
        let refusal = Refusal::Exec(format!(
            "profile {profile} refuses root-user and the session's uid is 0"
        ));
        (profile.clone(), refusal.to_string())
    }));
    all.extend(more.into_iter().flat_map(|own| own.container.clone()));
    all
}

fn one(argv0: Option<&[u8]>, streams: Streams, rule: &SessionRule) -> Result<(), Refusal> {
    let what = match (streams.terminal, streams.input) {
        (true, _) => Some("a terminal"),
        (false, true) => Some("its standard input attached"),
        (false, false) => None,
    };
    if let Some(what) = what.filter(|_| rule.deny_interactive) {
        return Err(Refusal::Interactive {
            profile: rule.profile.clone(),
            what,
        });
    }
    let (Some(commands), Some(argv0)) = (&rule.commands, argv0) else {
        return Ok(());
    };
    let text = std::str::from_utf8(argv0);
    if text.is_ok_and(|text| commands.iter().any(|pattern| covers_command(pattern, text))) {
        return Ok(());
    }
    Err(Refusal::Command {
        profile: rule.profile.clone(),
        argv0: String::from_utf8_lossy(argv0).into_owned(),
        listed: told(commands),
    })
}

fn told(commands: &[String]) -> String {
    let more = commands.len().saturating_sub(TOLD);
    let first = commands.iter().take(TOLD).cloned().collect::<Vec<_>>();
    match (first.join(", "), more) {
        (none, _) if none.is_empty() => "nothing, so that there are no sessions at all".into(),
        (all, 0) => all,
        (some, more) => format!("{some} and {more} more"),
    }
}
