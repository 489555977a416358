//! One container's life as a journal tells it: what was seen, when, and what was not.
//!
//! Pure: events in, runs out. A run whose journal has holes is kept, and says how many events are
//! missing and why: that number decides whether a profile made from it may deny anything.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::access::{Access, Phase};
use crate::cli::explain::in_words;
use crate::cli::lives::Lives;
use crate::event::{self, Event, Identity, Process, Report, Session, What};
use crate::policy::mounts::{Kind, Place};

/// Names of programs that are kept for one observation; more say nothing to a person.
const MOST_PROGRAMS: usize = 4;

/// Things that no profile can say, as many of a run as are named.
const MOST_UNSAID: usize = 16;

/// Letters of one.
const LONGEST_UNSAID: usize = 200;

/// A container's life, from the first line of it that there is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Run {
    /// Which container.
    pub container: Identity,
    /// Name of its handler.
    pub handler: String,
    /// Profiles in force, outermost first.
    pub profiles: Vec<String>,
    /// Time of the first line, RFC 3339.
    pub began: String,
    /// Time of the last line.
    pub ended: String,
    /// Its last line is the container's end.
    pub complete: bool,
    /// It has no such line, and nobody writes one any more: the supervisor ended before the container, and what
    /// came after is not recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
    /// The workload's program, as the kernel named it when it was let go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What took effect at the start; none where that line is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// What was recorded of the container beside what it did; none in journals of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Box<event::Recording>>,
    /// Exec sessions that began.
    #[serde(default)]
    pub sessions: u64,
    /// Events that are missing, by cause.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, u64>,
    /// What was done to names that no profile can hold, the first few, in words; a lost event stands for each.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unsaid: BTreeSet<String>,
    /// What was seen.
    pub seen: Vec<Seen>,
}

/// One thing that was done, told once for its session and phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What.
    #[serde(flatten)]
    pub access: Access,
    /// Before or after the workload listened.
    pub phase: Phase,
    /// By the workload or by a session.
    pub session: Session,
    /// Programs that did it, the first few.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub by: BTreeSet<String>,
    /// The file has several names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub linked: bool,
    /// The profile that would have denied it; empty where it was recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub profile: String,
    /// A layer that enforces denied it: it was tried and never done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub denied: bool,
}

impl Run {
    /// How many events are missing.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        let all = self.lost.values();
        all.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether something of it is missing, and nobody knows what.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.cut_off || self.events_lost() > 0
    }

    /// Its mounts as the policy sees them; none where the journal does not tell.
    #[must_use]
    pub fn mounts(&self) -> Vec<Place> {
        let all = self
            .recording
            .iter()
            .flat_map(|recording| &recording.mounts);
        let place = |mount: &event::Mounted| Place {
            destination: mount.destination.clone(),
            kind: match mount.kind.as_str() {
                "volume" => Kind::Volume,
                "tmpfs" => Kind::Tmpfs,
                _ => Kind::Engine,
            },
            writable: mount.writable,
        };
        all.map(place).collect()
    }

    /// Whether nobody could see which capabilities it used.
    #[must_use]
    pub fn blind_to_capabilities(&self) -> bool {
        let told = self.recording.as_ref().map(|recording| &recording.blind);
        told.is_none_or(|blind| blind.iter().any(|what| what.starts_with("capabilities")))
    }

    /// The capabilities that the workload held at its start, as bits of their numbers.
    #[must_use]
    pub fn held_capabilities(&self) -> u64 {
        let bits = self
            .report
            .as_ref()
            .map(|report| report.effective_capabilities.as_str());
        bits.and_then(|bits| u64::from_str_radix(bits, 16).ok())
            .unwrap_or(0)
    }

    /// Whether anything was seen of the workload, or, with `sessions`, of an exec session.
    #[must_use]
    pub fn was_seen(&self, sessions: bool) -> bool {
        let mut all = self.seen.iter();
        all.any(|seen| sessions || seen.session == Session::Workload)
    }

    /// Takes what was recorded for that alone. Where a layer audits beside the one that records, each access is
    /// told once all the same, with that layer's name where it would have denied it. Of whom nothing is told
    /// without a name, not even the execution that every profile allows, no layer recorded.
    pub fn forget_who_audits_what_is_recorded(&mut self) {
        for session in [Session::Workload, Session::Exec] {
            let own = |seen: &&mut Seen| seen.session == session;
            let mut all = self.seen.iter().filter(|seen| seen.session == session);
            if all.any(|seen| seen.profile.is_empty()) {
                let all = self.seen.iter_mut().filter(own);
                all.for_each(|seen| seen.profile.clear());
            }
        }
    }

    /// Whether the workload ever listened.
    #[must_use]
    pub fn served(&self) -> bool {
        self.seen.iter().any(|seen| seen.phase == Phase::Serving)
    }

    fn leave_unsaid(&mut self, access: &Access) {
        if self.unsaid.len() < MOST_UNSAID {
            let words = in_words(access);
            let some = words.chars().take(LONGEST_UNSAID).collect();
            self.unsaid.insert(some);
        }
    }
}

/// What people call a process: its program's last component, else `comm`; nothing for our own init, which
/// executes the workload.
fn program(process: &Process) -> String {
    if process.exe.contains("memfd:mantlet-init") {
        return String::new();
    }
    let file = process.exe.trim_end_matches(" (deleted)");
    let name = file.rsplit('/').next().unwrap_or_default();
    let name = if name.is_empty() { &process.comm } else { name };
    name.to_owned()
}

/// One line of a journal, or the news that a line is none.
#[derive(Debug, Clone, Copy)]
pub enum Line<'a> {
    /// An event.
    Event(&'a Event),
    /// A line that could not be understood.
    Broken,
}

/// The runs of one journal, in its order. Numbers begin with 1 again where an id is used again. `goes_on`: its
/// supervisor lives, and has not written the last line yet.
#[must_use]
pub fn runs<'a>(lines: impl IntoIterator<Item = Line<'a>>, goes_on: bool) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut seen = Observations::new();
    let mut lives = Lives::default();
    for line in lines {
        let Line::Event(event) = line else {
            lives.broken();
            continue;
        };
        if lives.take(event) {
            finish(&mut runs, &mut seen);
            runs.push(begin(event));
        }
        take(runs.last_mut().expect("one was begun"), &mut seen, event);
    }
    finish(&mut runs, &mut seen);
    for (run, life) in runs.iter_mut().zip(lives.finish(goes_on)) {
        (run.complete, run.cut_off, run.lost) = (life.complete, life.cut_off, life.lost);
    }
    runs
}

/// One run for each life of a container, in the order of time whatever that of the sources was. A journal and
/// what was kept of it before (`--save`) tell of one life: what was read last holds all of the other.
#[must_use]
pub fn each_once(mut runs: Vec<Run>) -> Vec<Run> {
    let last = |run: &Run| (run.ended.clone(), run.complete, run.cut_off, run.seen.len());
    runs.sort_by(|a, b| {
        let life = (&a.began, &a.container.id).cmp(&(&b.began, &b.container.id));
        life.then_with(|| last(b).cmp(&last(a)))
    });
    runs.dedup_by(|a, b| (&a.began, &a.container.id) == (&b.began, &b.container.id));
    runs
}

/// What was seen so far, each once, with the programs that did it.
type Observations = BTreeMap<Told, Sight>;

/// What, when, whether by an exec session, who would have denied it, and whether somebody did.
type Told = (Access, Phase, bool, String, bool);

/// Whether the file has several names, and programs that did it.
type Sight = (bool, BTreeSet<String>);

/// Gives what was seen to the run that it belongs to.
fn finish(runs: &mut [Run], seen: &mut Observations) {
    let Some(run) = runs.last_mut() else { return };
    let all = std::mem::take(seen).into_iter();
    run.seen = all
        .map(
            |((access, phase, exec, profile, denied), (linked, by))| Seen {
                access,
                phase,
                session: if exec {
                    Session::Exec
                } else {
                    Session::Workload
                },
                by,
                linked,
                profile,
                denied,
            },
        )
        .collect();
}

fn begin(event: &Event) -> Run {
    Run {
        container: event.container.clone(),
        handler: event.handler.clone(),
        profiles: event.profiles.clone(),
        began: event.time.clone(),
        ..Run::default()
    }
}

fn take(run: &mut Run, seen: &mut Observations, event: &Event) {
    run.ended = event.time.clone();
    match &event.what {
        What::Start {
            process,
            session: Session::Workload,
            report,
            recording,
            ..
        } => {
            run.recording.clone_from(recording);
            run.program = Some(match process.exe.is_empty() {
                true => process.comm.clone(),
                false => process.exe.clone(),
            });
            run.report = Some(report.clone());
        }
        What::Start { .. } => run.sessions += 1,
        // Not what was seen; a `lost` line counts it.
        What::Observed {
            clipped: true,
            access,
            ..
        } => {
            run.leave_unsaid(access);
        }
        What::Observed {
            process,
            session,
            phase,
            access,
            linked,
            profile,
            denied,
            ..
        } => {
            let exec = *session == Session::Exec;
            let key = (access.clone(), *phase, exec, profile.clone(), *denied);
            let (several, by) = seen.entry(key).or_default();
            *several |= linked;
            let name = program(process);
            if !name.is_empty() && by.len() < MOST_PROGRAMS {
                by.insert(name);
            }
        }
        _ => {}
    }
}
