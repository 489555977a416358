//! Where runs come from: journals of the node by their container's id, journal files, recordings, and
//! programs that are run for it.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Instant;

use super::Error;
use super::recording::{Read, Recording};
use super::run::{Line, Run, runs};
use crate::cli::journal::Journal;
use crate::cli::local::{self, Ending, How, Layer};
use crate::cli::{CliError, journals, warn};
use crate::config::Config;

/// The runs that `source` names: a file where it is one, else a container's id or the beginning of one.
///
/// # Errors
///
/// [`Error`], and a journal that cannot be read.
pub fn read(source: &str, config: &Config) -> Result<Vec<Run>, CliError> {
    file(&journals::find(source, config)?, &config.state_dir)
}

fn file(path: &Path, state_dir: &Path) -> Result<Vec<Run>, CliError> {
    journals::check(path)?;
    let unreadable = |cause: io::Error| CliError::Source {
        path: path.to_owned(),
        cause,
    };
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
    // Asked before: an end that is written meanwhile is read.
    let goes_on = journals::is_written(path, state_dir);
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
    journal(&outcome.journal, false)
}

/// A journal with what was put aside of it. `goes_on`: somebody still writes it.
fn journal(path: &Path, goes_on: bool) -> Result<Vec<Run>, CliError> {
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
