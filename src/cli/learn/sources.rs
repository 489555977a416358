//! Where runs come from: journals of the node by their container's id, journal files, recordings, and
//! programs that are run for it.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Error;
use super::recording::{Read, Recording};
use super::run::{Line, Run, runs};
use crate::cli::events::journals_in;
use crate::cli::journal::Journal;
use crate::cli::local::{self, Ending, How, Layer};
use crate::cli::select::{self, Watch};
use crate::cli::{CliError, warn};
use crate::config::Config;

/// The runs that `source` names: a file where it is one, else a container's id or the beginning of one.
///
/// # Errors
///
/// [`Error`], and a journal that cannot be read.
pub fn read(source: &str, config: &Config) -> Result<Vec<Run>, CliError> {
    let (path, log_dir) = (Path::new(source), &config.log_dir);
    let goes_on = |path: &Path| is_written(path, &config.state_dir);
    if source.contains('/') || source.ends_with(".jsonl") || path.is_file() {
        return file(path, goes_on);
    }
    if source.is_empty() {
        return Err(CliError::NoEvents {
            id: String::new(),
            folder: log_dir.to_owned(),
        });
    }
    let mut found: Vec<(String, PathBuf, Vec<Run>)> = Vec::new();
    for path in journals_in(log_dir)? {
        let runs = journal(&path, goes_on)?;
        let id = runs.first().map(|run| run.container.id.clone());
        if let Some(id) = id.filter(|id| id.starts_with(source)) {
            found.push((id, path, runs));
        }
    }
    // A whole id wins over ids that merely begin with it.
    if found.iter().any(|(id, ..)| id == source) {
        found.retain(|(id, ..)| id == source);
    }
    let candidates = found.iter().map(|(_, path, _)| path.display().to_string());
    let candidates: Vec<String> = candidates.collect();
    match found.pop() {
        Some((_, _, runs)) if found.is_empty() => Ok(runs),
        Some(_) => Err(Error::Several {
            id: source.into(),
            candidates,
        })?,
        None => Err(CliError::NoEvents {
            id: source.into(),
            folder: log_dir.to_owned(),
        }),
    }
}

fn file(path: &Path, goes_on: impl Fn(&Path) -> bool) -> Result<Vec<Run>, CliError> {
    let unreadable = |cause: io::Error| CliError::Source {
        path: path.to_owned(),
        cause,
    };
    // Before it is read: a device has no end.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is no plain file")));
    }
    if path.extension().is_none_or(|ending| ending != "jsonl") {
        match Recording::read(&fs::read(path).map_err(unreadable)?) {
            Read::Recording(recording) => return Ok(recording.runs),
            Read::Broken(why) => Err(Error::Recording {
                path: path.to_owned(),
                why,
            })?,
            Read::Other => {}
        }
    }
    let runs = journal(path, goes_on)?;
    match runs.is_empty() {
        true => Err(Error::NoJournal {
            path: path.to_owned(),
        })?,
        false => Ok(runs),
    }
}

/// Runs a program here under the built-in profile that records, to its end.
///
/// # Errors
///
/// [`CliError::Local`], [`Error::NotStarted`]: it did not run.
pub fn run(how: &How, config: &Config) -> Result<Vec<Run>, CliError> {
    let job = how.job(vec![Layer::Named("learn".into())])?;
    if io::stderr().is_terminal() {
        // The program has the terminal from here on.
        warn("recording: let it do all that it ever does, and end it");
    }
    let (begun, mut events) = (Instant::now(), 0_u64);
    let outcome = local::run(&job, config, &mut |_| {
        events += 1;
        None
    })?;
    if let Ending::NotStarted(_) = outcome.ending {
        // Nothing of it is the program's own, even where there is a journal.
        Err(Error::NotStarted {
            code: outcome.ending.code(),
        })?;
    }
    let seconds = begun.elapsed().as_secs();
    warn(&format!("recorded {events} events in {seconds} s"));
    let code = outcome.ending.code();
    if code != 0 {
        warn(&format!(
            "the program ended with code {code}; what it did until then is learned"
        ));
    }
    // Before its place goes.
    journal(&outcome.journal, |_| false)
}

/// Whether a supervisor of this node lives that writes this journal.
fn is_written(path: &Path, state_dir: &Path) -> bool {
    let same = |own: &Path| match (own.canonicalize(), path.canonicalize()) {
        (Ok(own), Ok(path)) => own == path,
        _ => false,
    };
    // Where that cannot be told, nobody is known to write it.
    let all = select::all(state_dir).unwrap_or_else(|_| Vec::new());
    all.iter().any(|known| {
        let record = known.record.as_ref();
        record.is_ok_and(|record| same(&record.journal)) && known.watch() == Watch::Running
    })
}

/// A journal with what was put aside of it. `goes_on` says whether somebody still writes it.
fn journal(path: &Path, goes_on: impl Fn(&Path) -> bool) -> Result<Vec<Run>, CliError> {
    // Asked before: an end that is written meanwhile is read.
    let goes_on = goes_on(path);
    let lines = Journal::new(path.to_owned()).read_on();
    let lines = lines.map_err(|source| CliError::Journal {
        operation: "read",
        path: path.to_owned(),
        source,
    })?;
    let lines = lines.iter().map(|line| match &line.event {
        Ok(event) => Line::Event(event),
        Err(_) => Line::Broken,
    });
    Ok(runs(lines, goes_on))
}
