//! `mantlet learn`: makes a profile from what containers were recorded to do.
//!
//! `sources.rs` reads journals and recordings, this file writes the profile, and all between is pure:
//! `run.rs` → `union.rs` → `files.rs`, `calls.rs` → `build.rs` → `write.rs` → `check.rs`, and
//! `parent.rs` for what is added to. The same runs make the same bytes. Nothing of it runs with a container.

mod build;
mod calls;
mod check;
mod draft;
mod error;
mod expect;
mod files;
mod fold;
mod head;
mod moves;
mod names;
mod parent;
mod recording;
mod run;
#[cfg(test)]
mod run_tests;
mod sources;
mod spelt;
#[cfg(test)]
mod tests;
mod union;
mod wish;
mod write;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use self::check::{Load, Proof};
use self::draft::Draft;
use self::fold::Folded;
use self::parent::Parent;
use self::run::{Run, Seen};
use self::union::Union;
use self::wish::Wish;
use super::local::How;
use super::output;
use super::progress::Progress;
use super::text::escape;
use super::{CliError, print_json, warn};
use crate::config::{self, Config};
use crate::event::Session;

pub use error::Error;

/// Arguments of `learn`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    /// What to learn from: a container's id, a journal's file, or a recording; several are merged
    #[arg(
        long = "from",
        value_name = "SOURCE",
        required_unless_present_any = ["command", "bundle"]
    )]
    from: Vec<String>,
    #[command(flatten)]
    wish: Wish,
    #[command(flatten)]
    how: How,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make one profile of several runs, each line with how many of them needed it
    Merge {
        /// A container's id, a journal's file, or a recording
        #[arg(value_name = "SOURCE", required = true)]
        from: Vec<String>,
        #[command(flatten)]
        wish: Wish,
    },
}

/// Learns.
pub fn learn(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let (from, wish) = match &args.verb {
        Some(Verb::Merge { from, wish }) => (from, wish),
        None => (&args.from, &args.wish),
    };
    let mut load = |name: &str| config::profile(&config.profiles_dir, name);
    // 1. What cannot be fulfilled is said before a program runs for nothing.
    let ran = args.how.runs();
    wish.check(ran, &mut load)?;
    // 2. The runs.
    let mut runs = read(from, config)?;
    if ran {
        runs.extend(sources::run(&args.how, config)?);
    }
    let runs = run::each_once(runs);
    if runs.is_empty() {
        Err(Error::NoRuns)?;
    }
    // 3. What was recorded is kept before anything is made of it, and the profile.
    let mut kept = false;
    let mut done = || {
        if let Some(path) = &wish.save {
            recording::save(path, &runs, wish.force)?;
            kept = true;
        }
        let runs = usable(runs.clone(), wish.exec_sessions)?;
        profile(&runs, wish, &mut load)
    };
    let done = done();
    // 4. A program may never do the same again.
    let any = runs.iter().any(|run| !run.seen.is_empty());
    if ran && any && !kept && !matches!(done, Ok(ExitCode::SUCCESS)) {
        let output = wish.output.as_deref().unwrap_or(Path::new(""));
        warn(&match recording::rescue(output, &runs) {
            Ok(path) => format!(
                "what was recorded is kept in {0}; `mantlet learn --from {0}` learns from it again",
                escape(&path.display().to_string())
            ),
            Err(error) => format!("what was recorded is lost: {error}"),
        });
    }
    done
}

/// The runs of all sources.
fn read(from: &[String], config: &Config) -> Result<Vec<Run>, CliError> {
    let mut runs = Vec::new();
    let mut progress = Progress::new();
    for (number, source) in from.iter().enumerate() {
        let (done, events) = (
            runs.len(),
            runs.iter().map(|run: &Run| run.seen.len()).sum::<usize>(),
        );
        let all = from.len();
        progress.at(&format!(
            "reading source {} of {all}; {done} runs and {events} accesses so far",
            number + 1
        ));
        runs.extend(sources::read(source, config)?);
    }
    progress.clear();
    Ok(runs)
}

/// Makes the profile, proves it, and puts it where it is wanted.
fn profile(runs: &[Run], wish: &Wish, load: Load<'_>) -> Result<ExitCode, CliError> {
    let mut choice = wish.choice(runs);
    let mut union = Union::of(runs, wish.exec_sessions);
    let (extends, mut left) = match (base(runs, wish.exec_sessions)?, &wish.extends) {
        (Some(audited), Some(parent)) => Err(Error::Audited {
            audited,
            parent: parent.clone(),
        })?,
        (Some(audited), None) => {
            check::parent(Some(&choice.name), &audited, load)?;
            let audited = Parent::find(&audited, runs, load).map_err(Error::from)?;
            (Some(audited), runs.to_vec())
        }
        (None, None) => (None, runs.to_vec()),
        (None, Some(parent)) => {
            check::parent(Some(&choice.name), parent, load)?;
            let parent = Parent::find(parent, runs, load).map_err(Error::from)?;
            let left = parent.lacking(runs);
            // Where it grants nothing of it, to extend it is to widen and nothing else.
            ((left != runs).then_some(parent), left)
        }
    };
    if let Some(parent) = &extends {
        parent.except(&mut union, &mut left);
    }
    // 1. The draft.
    let parts = build::Parts {
        runs: &left,
        union: &union,
        extends: extends.as_ref(),
    };
    let mut draft = moves::draft(&parts, &mut choice, runs, load).map_err(Error::from)?;
    let folded = match draft.extends {
        None => fold::beside(&draft, &union, runs, &choice, load).map_err(Error::from)?,
        Some(_) => None,
    };
    draft.foot.extend(folded.iter().map(Folded::to_string));
    let text = write::profile(&draft, None);
    // 2. The proof.
    let mut progress = Progress::new();
    let all = draft.allowances.len();
    let mut at = |done: usize| {
        progress.at(&format!(
            "replaying without allowance {} of {all}",
            done + 1
        ));
    };
    let proof = check::prove(&draft, &union, runs, load, &mut at).map_err(Error::from)?;
    progress.clear();
    if !proof.denied.is_empty() {
        let denied = proof.denied.iter().map(|text| escape(text)).collect();
        Err(match draft.extends.clone() {
            Some(parent) => Error::ParentDenies { parent, denied },
            None => Error::Denies { denied },
        })?;
    }
    // 3. What becomes of it.
    if let Some(path) = &wish.output {
        output::write(path, &text, wish.force)?;
    }
    let told = told(&draft, &proof, runs, wish, &text);
    match (&wish.json, wish.json_file()) {
        (_, Some(path)) => {
            let mut told = serde_json::to_string(&told).map_err(std::io::Error::from)?;
            told.push('\n');
            output::write(path, &told, wish.force)?;
        }
        (Some(_), None) => print_json(&told)?,
        (None, _) if wish.output.is_none() => output::print(&text)?,
        (None, _) => {}
    }
    tell(&draft, &proof, wish);
    if let Some(why) = &draft.audit {
        warn(why);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What was learned, for programs.
fn told(draft: &Draft, proof: &Proof, runs: &[Run], wish: &Wish, text: &str) -> Value {
    let lost = head::events_lost(runs);
    let of = runs.iter().map(|run| {
        json!({
            "container": run.container, "program": run.program, "began": run.began,
            "ended": run.ended, "complete": run.complete, "cut_off": run.cut_off, "lost": run.lost,
        })
    });
    let unproven = proof.unproven.iter().map(|number| unproven(draft, *number));
    json!({
        "name": draft.name,
        "mode": if draft.audit.is_some() { "audit" } else { "enforce" },
        "extends": draft.extends,
        "runs": of.collect::<Vec<_>>(),
        "events_lost": lost,
        "allowances": draft.allowances.len(),
        "unproven": unproven.collect::<Vec<_>>(),
        "output": wish.output,
        "profile": text,
    })
}

/// An allowance that the replay could do without, as people find it in the profile.
fn unproven(draft: &Draft, number: usize) -> String {
    let one = &draft.allowances[number];
    format!("{}: {}", one.section.path(), one.item)
}

/// How tight the profile is, for a person; on stderr, since the profile may be on stdout.
fn tell(draft: &Draft, proof: &Proof, wish: &Wish) {
    if wish.json.is_some() {
        return;
    }
    let all = draft.allowances.len();
    let proven = all - proof.unproven.len();
    let percent = (proven * 100).checked_div(all).unwrap_or(100);
    warn(&format!(
        "replayed: nothing denied; {proven} of {all} allowances proven necessary ({percent} %)"
    ));
    if let (Some(parent), Some(_)) = (&draft.extends, &wish.extends) {
        warn(&format!(
            "with all that {} grants, whether it was needed or not; without --extends it stands alone",
            escape(parent)
        ));
    }
    for number in &proof.unproven {
        let (text, note) = (unproven(draft, *number), &draft.allowances[*number].note);
        warn(&format!(
            "  not proven: {} ({})",
            escape(&text),
            escape(note)
        ));
    }
}

/// Runs that were looked at, their exec sessions where `sessions` says so; those that were not are said, and
/// it is an error where there is no other. One that lost all that it saw is kept beside others, for what it lost: nobody
/// knows what that was.
fn usable(runs: Vec<Run>, sessions: bool) -> Result<Vec<Run>, CliError> {
    let not_recorded = |run: &Run| {
        let (id, profiles) = (run.container.id.clone(), run.profiles.join(", "));
        if !run.seen.is_empty() {
            return Error::OnlySessions { id };
        }
        let known = run.recording.is_some() || run.report.is_none();
        if known && run.is_incomplete() {
            let lost = run.events_lost();
            return Error::AllLost { id, lost };
        }
        match run.recording.as_ref().map(|of| of.mode.as_str()) {
            Some("learn") => Error::DidNothing { id },
            Some(_) => Error::NothingDenied { id, profiles },
            None => Error::NotRecorded { id, profiles },
        }
    };
    let any = runs.iter().any(|run| run.was_seen(sessions));
    let (mut good, bad): (Vec<Run>, Vec<Run>) = runs
        .into_iter()
        .partition(|run| run.was_seen(sessions) || any && run.is_incomplete());
    match (good.is_empty(), bad.first()) {
        (true, Some(run)) => Err(not_recorded(run))?,
        (true, None) => Err(Error::NoRuns)?,
        (false, _) => bad
            .iter()
            .for_each(|run| warn(&not_recorded(run).to_string())),
    }
    good.iter_mut()
        .for_each(Run::forget_who_audits_what_is_recorded);
    Ok(good)
}

/// The profile of audited runs, to which what is learned adds; none where they were recorded. What exec
/// sessions did says nothing of it where it is left out.
fn base(runs: &[Run], sessions: bool) -> Result<Option<String>, Error> {
    let counts = |seen: &&Seen| sessions || seen.session == Session::Workload;
    let ways: BTreeSet<&str> = runs
        .iter()
        .flat_map(|run| run.seen.iter().filter(counts))
        .map(|seen| seen.profile.as_str())
        .collect();
    let mut all = ways.iter();
    match (all.next(), all.next()) {
        (Some(&""), None) | (None, _) => Ok(None),
        (Some(profile), None) => Ok(Some((*profile).to_owned())),
        _ => {
            let word = |way: &&str| match *way {
                "" => "recorded".to_owned(),
                profile => format!("audited by {}", escape(profile)),
            };
            Err(Error::Mixed {
                found: ways.iter().map(word).collect::<Vec<_>>().join(", "),
            })
        }
    }
}
