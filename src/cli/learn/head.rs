//! The comments at a learned profile's top: what it was made from, and what that leaves open.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::build::{Choice, count};
use super::run::Run;
use super::union::Union;
use crate::access::Access;
use crate::cli::explain::in_words;

/// Things of one kind that are named; of more it is said how many there are.
const MOST_NAMED: usize = 16;

/// The profile's description: of what program it was learned.
#[must_use]
pub fn description(runs: &[Run]) -> String {
    let of = images(runs).into_iter().next();
    let of = of.or_else(|| runs.iter().find_map(|run| run.program.clone()));
    let of = of.unwrap_or_else(|| "a recording".into());
    format!("Learned from {} of {of}", count(runs.len(), "run"))
}

fn images(runs: &[Run]) -> BTreeSet<String> {
    let images = runs.iter().filter_map(|run| run.container.image.clone());
    images.collect()
}

/// Events that are missing from all runs, by cause.
#[must_use]
pub fn lost(runs: &[Run]) -> BTreeMap<&str, u64> {
    let mut all = BTreeMap::new();
    for (cause, count) in runs.iter().flat_map(|run| &run.lost) {
        let sum: &mut u64 = all.entry(cause.as_str()).or_default();
        *sum = sum.saturating_add(*count);
    }
    all
}

/// How many that are, whatever the cause.
#[must_use]
pub fn events_lost(runs: &[Run]) -> u64 {
    let all = runs.iter().map(Run::events_lost);
    all.fold(0, u64::saturating_add)
}

/// Why the profile must not deny anything yet; none: it may.
#[must_use]
pub fn reason_to_audit(runs: &[Run], union: &Union, choice: &Choice) -> Option<String> {
    if choice.accept_loss {
        return None;
    }
    let lost = events_lost(runs);
    let what = match lost {
        0 if cut_off(runs) > 0 => {
            "A recording is cut off: its supervisor ended before the container, or its \
             journal was taken from another node before the end"
                .to_owned()
        }
        0 if unseen(union) => "What io_uring did is not in the recording".to_owned(),
        0 => return excepted(union).or_else(|| denied_whatever_is_written(union)),
        1 => "1 event of the recording is lost".to_owned(),
        _ => format!("{lost} events of the recording are lost"),
    };
    Some(format!(
        "{what}, so something that the program needs may be missing: this profile only reports what it \
         would deny. Record again, or write it with --accept-loss."
    ))
}

/// What the profile that is extended leaves out, and nothing that adds to it can grant.
fn excepted(union: &Union) -> Option<String> {
    let paths: BTreeSet<&str> = union.excepted.values().map(String::as_str).collect();
    (!paths.is_empty()).then(|| {
        format!(
            "The program used files that the profile which this one adds to leaves out (`files.except`: {}), and no \
             addition can grant them: this profile only reports what it would deny. Change that exception and learn \
             again, or write the profile with --accept-loss.",
            paths.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
}

/// What was seen that no line of a profile allows, so that a profile which denies does not let the program do again
/// what it did.
fn denied_whatever_is_written(union: &Union) -> Option<String> {
    let all = union.seen.keys().filter_map(|access| match access {
        Access::Container { what } => Some(what.as_str()),
        _ => None,
    });
    let all: Vec<&str> = all.collect();
    (!all.is_empty()).then(|| {
        format!(
            "No profile allows what was seen beside calls and files: {}. The program did it and could not do it \
             under a profile that denies, so this one only reports. Record it without that, or write the profile \
             with --accept-loss.",
            all.join("; ")
        )
    })
}

/// How many runs nobody recorded to the end.
fn cut_off(runs: &[Run]) -> usize {
    runs.iter().filter(|run| run.cut_off).count()
}

/// Whether work was handed to the kernel that no filter sees. A ring that a kernel thread polls
/// (IORING_SETUP_SQPOLL, io_uring_setup(2)) is filled without another call.
fn unseen(union: &Union) -> bool {
    let mut all = union.seen.keys();
    all.any(
        |access| matches!(access, Access::Syscall { name, .. } if name.starts_with("io_uring_")),
    )
}

/// The comments.
#[must_use]
pub fn lines(runs: &[Run], union: &Union, extends: Option<&str>, choice: &Choice) -> Vec<String> {
    let list = |all: BTreeSet<String>| all.into_iter().collect::<Vec<_>>().join(", ");
    let mut lines = vec![match extends {
        None => format!(
            "{}: learned by {}. What is not listed is denied and reported.",
            choice.name, choice.writer
        ),
        Some(parent) => format!(
            "{}: what {parent} would have denied and the program did, by {}. It adds to {parent}.",
            choice.name, choice.writer
        ),
    }];
    lines.push("Comments say where a line comes from. Read it before you enforce it.".into());
    lines.push(String::new());
    lines.push(row("image", &or(list(images(runs)), "not known")));
    let recorded = || runs.iter().filter_map(|run| run.recording.as_ref());
    let digests: BTreeSet<String> = recorded()
        .filter_map(|of| of.image_digest.clone())
        .collect();
    for digest in digests {
        lines.push(row("", &digest));
    }
    let commands: BTreeSet<String> = recorded().map(|of| of.command.clone()).collect();
    if !commands.is_empty() {
        lines.push(row("command", &list(commands)));
    }
    let programs = runs.iter().filter_map(|run| run.program.clone()).collect();
    lines.push(row("program", &or(list(programs), "not known")));
    lines.push(row("runs", &told(runs)));
    let first = runs
        .iter()
        .map(|run| run.began.as_str())
        .min()
        .unwrap_or_default();
    let last = runs
        .iter()
        .map(|run| run.ended.as_str())
        .max()
        .unwrap_or_default();
    lines.push(row("recorded", &format!("{first} to {last}{}", long(runs))));
    let abis: BTreeSet<String> = runs
        .iter()
        .filter_map(|run| run.report.as_ref())
        .map(|report| report.landlock_abi.to_string())
        .collect();
    lines.push(row(
        "landlock",
        &format!("ABI {}", or(list(abis), "not known")),
    ));
    let kernels: BTreeSet<String> = recorded().map(|of| of.kernel.clone()).collect();
    if !kernels.is_empty() {
        lines.push(row("kernel", &list(kernels)));
    }
    let blind: BTreeSet<&String> = recorded().flat_map(|of| &of.blind).collect();
    for what in blind {
        lines.push(row("not seen", what));
    }
    lines.push(row("events lost", &events_lost(runs).to_string()));
    for (cause, count) in lost(runs) {
        lines.push(row("", &format!("{count}: {cause}")));
    }
    let unsaid: BTreeSet<&String> = runs.iter().flat_map(|run| &run.unsaid).collect();
    let unsaid = unsaid.into_iter().cloned().collect();
    let why = "no profile can say: a name is no UTF-8, or too long";
    lines.extend(named("not written", unsaid, why));
    let refused = union.refused.iter().map(in_words).collect();
    let why = "was tried, and denied by a layer that enforces: not allowed here";
    lines.extend(named("refused", refused, why));
    let excepted = union.excepted.iter();
    let excepted = excepted.map(|(access, out)| format!("{} (except: {out})", in_words(access)));
    let why = "the profile it adds to leaves out (`files.except`): not allowed here";
    lines.extend(named("left out", excepted.collect(), why));
    let sessions: u64 = runs.iter().map(|run| run.sessions).sum();
    if sessions > 0 {
        let what = match choice.exec_sessions {
            true => "what they did is in it (--exec-sessions)".to_owned(),
            false => format!(
                "{} that they alone did {} left out (--exec-sessions adds {})",
                count(union.left_out, "thing"),
                if union.left_out == 1 { "is" } else { "are" },
                if union.left_out == 1 { "it" } else { "them" },
            ),
        };
        lines.push(row("sessions", &format!("{sessions}; {what}")));
    }
    for access in union.seen.keys() {
        if let Access::Container { what } = access {
            lines.push(row("beside", what));
        }
    }
    lines.push(String::new());
    lines
}

fn row(key: &str, value: &str) -> String {
    format!(" {key:<12} {value}")
}

/// How many there are of what is not in the profile, with the reason, and which.
fn named(key: &str, all: Vec<String>, why: &str) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![row(
        key,
        &format!("{} that {why}", count(all.len(), "thing")),
    )];
    lines.extend(all.iter().take(MOST_NAMED).map(|text| row("", text)));
    if let Some(more) = all.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        lines.push(row("", &format!("and {more} more")));
    }
    lines
}

fn or(text: String, else_: &str) -> String {
    if text.is_empty() { else_.into() } else { text }
}

/// How many runs, and how many of them have no end.
fn told(runs: &[Run]) -> String {
    let open = runs.iter().filter(|run| !run.complete).count();
    let cut = match cut_off(runs) {
        0 => String::new(),
        cut => format!("; {cut} CUT OFF, the supervisor ended before the container"),
    };
    match open {
        0 => runs.len().to_string(),
        _ => format!("{}, of which {open} not to the end{cut}", runs.len()),
    }
}

/// How long all runs took together, where their clocks say.
fn long(runs: &[Run]) -> String {
    let mut all = Duration::ZERO;
    for run in runs {
        let times = [&run.began, &run.ended].map(|time| humantime::parse_rfc3339(time).ok());
        let [Some(began), Some(ended)] = times else {
            return String::new();
        };
        all += ended.duration_since(began).unwrap_or_default();
    }
    format!(
        ", {} in all",
        humantime::format_duration(Duration::from_secs(all.as_secs()))
    )
}
