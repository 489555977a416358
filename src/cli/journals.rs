//! Which journal a person means by a word, for every verb that reads one as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::CliError;
use super::events::journals_in;
use super::journal::Journal;
use super::select::{self, Known, Watch};
use crate::config::Config;

/// Longer than any line of a journal's.
const LONGEST_LINE: u64 = 1 << 20;

/// The journal that `word` means: a file where it is one, else that of the container with this id, or of the one
/// whose id begins with it. Containers that have ended count as those that live.
///
/// # Errors
///
/// [`CliError::NoEvents`], [`CliError::SeveralJournals`], and a folder that cannot be read.
pub fn find(word: &str, config: &Config) -> Result<PathBuf, CliError> {
    let path = Path::new(word);
    if word.contains('/') || word.ends_with(".jsonl") || path.is_file() {
        return Ok(path.to_owned());
    }
    let mut found: BTreeMap<PathBuf, String> = BTreeMap::new();
    for path in journals_in(&config.log_dir)? {
        let id = container_of(&path);
        found.insert(canonical(path), id);
    }
    // The folder may be another one since a container was created.
    for known in select::all(&config.state_dir).unwrap_or_default() {
        if let Ok(record) = &known.record
            && record.journal.is_file()
        {
            found.insert(canonical(record.journal.clone()), known.home.id());
        }
    }
    found.retain(|_, id| !word.is_empty() && id.starts_with(word));
    // A whole id wins over ids that merely begin with it.
    if found.values().any(|id| id == word) {
        found.retain(|_, id| id == word);
    }
    let candidates = found.keys().map(|path| path.display().to_string());
    let candidates: Vec<String> = candidates.collect();
    match found.pop_first() {
        Some((path, _)) if found.is_empty() => Ok(path),
        Some(_) => Err(CliError::SeveralJournals {
            id: word.to_owned(),
            candidates,
        }),
        None => Err(CliError::NoEvents {
            id: word.to_owned(),
            folder: config.log_dir.clone(),
        }),
    }
}

/// The container that mantlet still knows, and whose journal this is.
pub fn owner(path: &Path, state_dir: &Path) -> Option<Known> {
    let path = path.canonicalize().ok()?;
    // Where that cannot be told, nobody is known to write it.
    let all = select::all(state_dir).unwrap_or_default();
    all.into_iter().find(|known| {
        let own = known.record.as_ref().ok();
        own.and_then(|record| record.journal.canonicalize().ok())
            .is_some_and(|own| own == path)
    })
}

/// Whether a supervisor of this node lives that writes this journal.
pub fn is_written(path: &Path, state_dir: &Path) -> bool {
    owner(path, state_dir).is_some_and(|known| known.watch() == Watch::Running)
}

/// That there is something to read: a reader of journals takes one that is not there for one that is not there yet,
/// and a device has no end.
///
/// # Errors
///
/// [`CliError::Source`].
pub fn check(path: &Path) -> Result<(), CliError> {
    let failed = |cause| CliError::Source {
        path: path.to_owned(),
        cause,
    };
    let meta = match fs::metadata(path) {
        // All of it may have been put aside.
        Err(error) => fs::metadata(aside(path)).map_err(|_| error),
        meta => meta,
    };
    match meta.map_err(failed)?.is_file() {
        true => Ok(()),
        false => Err(failed(io::Error::other("it is no plain file"))),
    }
}

/// The same for every way to a file; as it is where it was put aside.
fn canonical(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// The id of a journal's container: what its first line says, for a long or odd id is not in the file's name.
fn container_of(path: &Path) -> String {
    let said = first_line(path).or_else(|| first_line(&aside(path)));
    said.unwrap_or_else(|| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        name.split_once('-').map_or("", |(_, id)| id).to_owned()
    })
}

fn first_line(path: &Path) -> Option<String> {
    // Neither a link nor a device of somebody else's making is read.
    if !path.symlink_metadata().ok()?.is_file() {
        return None;
    }
    let mut line = Vec::new();
    let file = File::open(path).ok()?.take(LONGEST_LINE);
    BufReader::new(file).read_until(b'\n', &mut line).ok()?;
    let line = Journal::lines_of(&line).pop()?;
    Some(line.event.ok()?.container.id)
}
