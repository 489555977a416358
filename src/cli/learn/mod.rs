//! `mantlet learn`: makes a profile from what containers were recorded to do.
//!
//! `sources.rs` reads journals and recordings, this file writes the profile, and all between is pure:
//! `run.rs` → `union.rs` → `files.rs`, `calls.rs` → `build.rs` → `write.rs` → `check.rs`. The same runs
//! make the same bytes. Nothing of it runs with a container.

mod build;
mod calls;
mod check;
mod draft;
mod expect;
mod files;
mod head;
mod names;
mod recording;
mod run;
#[cfg(test)]
mod run_tests;
mod sources;
mod spelt;
#[cfg(test)]
mod tests;
mod union;
mod write;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use self::build::Choice;
use self::check::Proof;
use self::draft::Draft;
use self::files::{Level, Options};
use self::recording::Recording;
use self::run::Run;
use self::union::Union;
use super::local::How;
use super::output;
use super::progress::Progress;
use super::text::escape;
use super::{CliError, print_json, warn};
use crate::config::{self, Config};
use crate::profile::{normal_glob, normal_path};

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

/// What is to be made of the runs.
#[derive(Debug, clap::Args)]
struct Wish {
    /// Write the profile to this file, which names it, and not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE where it exists
    #[arg(long)]
    force: bool,
    /// Keep what was recorded in this file, to be learned from again
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// The profile's name where no FILE gives it one
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Take in what exec sessions did
    #[arg(long)]
    exec_sessions: bool,
    /// How far files are taken together
    #[arg(long, value_name = "LEVEL", value_enum, default_value = "careful")]
    level: Level,
    /// Leave files at or below this path as they were seen
    #[arg(long, value_name = "PATH", value_parser = normal_path)]
    exact: Vec<String>,
    /// Let DIR stand for every file that GLOB covers
    #[arg(long = "generalise", value_name = "GLOB=DIR", value_parser = into)]
    into: Vec<(String, String)>,
    /// Write only what PROFILE lacks, where that is less: the result grants all that PROFILE does
    #[arg(long, value_name = "PROFILE", value_parser = super::completions::PROFILE, hide_possible_values = true)]
    extends: Option<String>,
    /// Write a group of calls where half of it was seen
    #[arg(long)]
    fold: bool,
    /// Write a profile that denies, though events were lost
    #[arg(long)]
    accept_loss: bool,
    /// Print what was learned as JSON, the profile in it
    #[arg(long)]
    json: bool,
}

fn into(written: &str) -> Result<(String, String), String> {
    let Some((glob, folder)) = written.split_once('=') else {
        return Err("write GLOB=DIR, such as /srv/cache/**=/srv/cache".into());
    };
    Ok((normal_glob(glob)?, normal_path(folder)?))
}

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Several journals are of containers with such an id.
    #[error("{:?} is the beginning of several containers' ids; name one journal:\n  {}", escape(id), candidates.join("\n  "))]
    Several {
        /// As given.
        id: String,
        /// Their journals.
        candidates: Vec<String>,
    },
    /// A file is a recording that cannot be used.
    #[error("recording {}: {}; write it anew with --save", path.display(), escape(why))]
    Recording {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file is neither a journal nor a recording.
    #[error(
        "{} holds no event of a container; name a journal (see log_dir in the configuration) or a recording",
        path.display()
    )]
    NoJournal {
        /// The file.
        path: PathBuf,
    },
    /// Nothing was observed.
    #[error(
        "container {:?} was not recorded: its profiles are {}, and only mode `learn` or `audit` tells what a \
         container does; let its handler name the profile `learn`, or run it by `mantlet learn -- COMMAND`",
        escape(id),
        escape(profiles)
    )]
    NotRecorded {
        /// The container.
        id: String,
        /// What was in force.
        profiles: String,
    },
    /// Some runs were recorded, others audited, or by several profiles.
    #[error(
        "the runs were looked at in different ways ({found}), and no one profile says what they need; learn \
         from each kind alone"
    )]
    Mixed {
        /// The ways.
        found: String,
    },
    /// An addition to one profile is to be one to another.
    #[error(
        "the runs were audited by {}, and what that denied says nothing of what {} would; leave out --extends, or \
         record in mode `learn`",
        escape(audited),
        escape(parent)
    )]
    Audited {
        /// In force.
        audited: String,
        /// Wanted.
        parent: String,
    },
    /// A name that no profile may have.
    #[error(
        "{:?} cannot be a profile's name: use letters, digits, `-`, `_` and `.`; give one with --name or -o",
        escape(name)
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The program has standard output.
    #[error(
        "a program that is recorded has standard output for itself; name a file for the profile with -o"
    )]
    NoFile,
    /// The profile cannot be judged.
    #[error(transparent)]
    Check(#[from] check::Error),
    /// It would deny what it was made from.
    #[error(
        "the profile made would deny what was recorded, which is a bug of mantlet's; please report it with the \
         recording (--save):\n  {}",
        denied.join("\n  ")
    )]
    Denies {
        /// What.
        denied: Vec<String>,
    },
}

/// Learns.
pub fn learn(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let (from, wish) = match &args.verb {
        Some(Verb::Merge { from, wish }) => (from, wish),
        None => (&args.from, &args.wish),
    };
    // 1. The runs.
    if args.how.runs() && wish.output.is_none() {
        Err(Error::NoFile)?;
    }
    output::free(&[&wish.output, &wish.save], wish.force)?;
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
    if args.how.runs() {
        runs.extend(sources::run(&args.how, config)?);
    }
    let runs = usable(runs)?;
    let mut load = |name: &str| config::profile(&config.profiles_dir, name);
    let (extends, left) = match (base(&runs)?, &wish.extends) {
        (Some(audited), Some(parent)) => Err(Error::Audited {
            audited,
            parent: parent.clone(),
        })?,
        (base, None) => (base, runs.clone()),
        (None, Some(parent)) => {
            let left = check::lacking(parent, &runs, &mut load).map_err(Error::from)?;
            // Where it grants nothing of it, to extend it is to widen and nothing else.
            ((left != runs).then(|| parent.clone()), left)
        }
    };
    // 2. The profile.
    let choice = choice(wish, &runs)?;
    let draft = build::draft(&left, extends.as_deref(), &choice);
    let union = Union::of(&runs, wish.exec_sessions);
    let text = write::profile(&draft, None);
    // What was recorded is worth something even if the rest fails.
    if let Some(path) = &wish.save {
        let recording = Recording {
            recording: recording::VERSION,
            mantlet: env!("CARGO_PKG_VERSION").into(),
            runs: runs.clone(),
        };
        let mut text = serde_json::to_string_pretty(&recording).map_err(io::Error::from)?;
        text.push('\n');
        output::write(path, &text, wish.force)?;
    }
    // 3. The proof.
    let all = draft.allowances.len();
    let mut at = |done: usize| {
        progress.at(&format!(
            "replaying without allowance {} of {all}",
            done + 1
        ));
    };
    let proof = check::prove(&draft, &union, &runs, &mut load, &mut at).map_err(Error::from)?;
    progress.clear();
    if !proof.denied.is_empty() {
        let denied = proof.denied.iter().map(|text| escape(text)).collect();
        Err(Error::Denies { denied })?;
    }
    // 4. What becomes of it.
    if let Some(path) = &wish.output {
        output::write(path, &text, wish.force)?;
    }
    let lost: u64 = runs.iter().map(Run::events_lost).sum();
    if wish.json {
        let told = runs.iter().map(|run| {
            json!({
                "container": run.container, "program": run.program, "began": run.began,
                "ended": run.ended, "complete": run.complete, "cut_off": run.cut_off, "lost": run.lost,
            })
        });
        print_json(&json!({
            "name": draft.name,
            "mode": if draft.audit.is_some() { "audit" } else { "enforce" },
            "extends": draft.extends,
            "runs": told.collect::<Vec<_>>(),
            "events_lost": lost,
            "allowances": draft.allowances.len(),
            "unproven": proof.unproven.iter().map(|number| unproven(&draft, *number)).collect::<Vec<_>>(),
            "output": wish.output,
            "profile": text,
        }))?;
    } else if wish.output.is_none() {
        output::print(&text)?;
    }
    tell(&draft, &proof, wish);
    if let Some(why) = &draft.audit {
        warn(why);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// An allowance that the replay could do without, as people find it in the profile.
fn unproven(draft: &Draft, number: usize) -> String {
    let one = &draft.allowances[number];
    format!("{}: {}", one.section.path(), one.item)
}

/// How tight the profile is, for a person; on stderr, since the profile may be on stdout.
fn tell(draft: &Draft, proof: &Proof, wish: &Wish) {
    if wish.json {
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

/// Runs that were looked at; those that were not are said, and it is an error where there is no other.
fn usable(runs: Vec<Run>) -> Result<Vec<Run>, CliError> {
    let not_recorded = |run: &Run| Error::NotRecorded {
        id: run.container.id.clone(),
        profiles: run.profiles.join(", "),
    };
    let (mut good, bad): (Vec<Run>, Vec<Run>) =
        runs.into_iter().partition(|run| !run.seen.is_empty());
    match (good.is_empty(), bad.first()) {
        (true, Some(run)) => Err(not_recorded(run))?,
        _ => bad
            .iter()
            .for_each(|run| warn(&not_recorded(run).to_string())),
    }
    // The order of sources must not matter; the same run twice is one.
    good.sort_by(|a, b| (&a.began, &a.container.id).cmp(&(&b.began, &b.container.id)));
    good.dedup();
    for run in &mut good {
        // A container that is recorded may be audited too, and the recording has all of it.
        if run.seen.iter().any(|seen| seen.profile.is_empty()) {
            run.seen.retain(|seen| seen.profile.is_empty());
        }
    }
    Ok(good)
}

/// The profile of audited runs, to which what is learned adds; none where they were recorded.
fn base(runs: &[Run]) -> Result<Option<String>, Error> {
    let ways: BTreeSet<&str> = runs
        .iter()
        .flat_map(|run| run.seen.iter().map(|seen| seen.profile.as_str()))
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

fn choice(wish: &Wish, runs: &[Run]) -> Result<Choice, Error> {
    let stem = wish.output.as_ref().and_then(|path| path.file_stem());
    let named = stem.map(|stem| stem.to_string_lossy().into_owned());
    let name = wish.name.clone().or(named);
    let name = name.unwrap_or_else(|| likely_name(runs));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Error::Name { name });
    }
    Ok(Choice {
        name,
        files: Options {
            level: wish.level,
            exact: wish.exact.clone(),
            into: wish.into.clone(),
        },
        exec_sessions: wish.exec_sessions,
        fold: wish.fold,
        accept_loss: wish.accept_loss,
        writer: format!("mantlet {}", env!("CARGO_PKG_VERSION")),
    })
}

/// The container's name in its pod, else its program's.
fn likely_name(runs: &[Run]) -> String {
    let named = runs.iter().find_map(|run| run.container.name.clone());
    let program = runs.iter().find_map(|run| run.program.clone());
    let name = named.or(program).unwrap_or_default();
    let name = name
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let name: String = name.chars().filter(|c| plain(*c)).collect();
    if name.is_empty() {
        "learned".into()
    } else {
        name
    }
}
