//! Journals read as a whole, and what they have lost.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::PathBuf;

use serde::Serialize;

use crate::access::Access;
use crate::cli::journal::{Journal, Line};
use crate::cli::text::{Ink, ink};
use crate::cli::{CliError, select};
use crate::config::Config;
use crate::event::{Event, What};
use crate::policy::mounts::beneath;
use crate::state;

/// What journals hold.
#[derive(Debug, Default)]
pub struct Journals {
    /// Events, in the order in which they were read.
    pub(super) events: Vec<Event>,
    /// Lines that are no event.
    broken: u64,
    /// Numbers that are missing.
    missing: u64,
    /// Numbers before the first lines.
    beginning: u64,
    /// The one container that they are of, where it is still there.
    pub container: Option<String>,
}

/// Reads journals: `-`, files, or containers' own.
///
/// # Errors
/// One cannot be found or read.
pub fn read(words: &[String], config: &Config) -> Result<Journals, CliError> {
    let mut all = Journals::default();
    for word in words {
        let lines = match word.as_str() {
            "-" => {
                let mut text = Vec::new();
                io::stdin().lock().read_to_end(&mut text)?;
                Journal::lines_of(&text)
            }
            word => {
                let path = path_of(word, config, &mut all)?;
                let failed = |cause| CliError::Source {
                    path: path.clone(),
                    cause,
                };
                // A reader of journals takes one that is not there for one that is not there yet.
                std::fs::metadata(&path).map_err(failed)?;
                Journal::new(path.clone()).read_on().map_err(failed)?
            }
        };
        // To replay nothing would be to find nothing wrong.
        if lines.iter().all(|line| line.event.is_err()) {
            return Err(CliError::NoEvent { name: word.clone() });
        }
        all.take(lines);
    }
    if words.len() > 1 {
        all.container = None;
    }
    Ok(all)
}

fn path_of(word: &str, config: &Config, all: &mut Journals) -> Result<PathBuf, CliError> {
    let path = PathBuf::from(word);
    if word.contains('/') || word.ends_with(".jsonl") || path.exists() {
        return Ok(path);
    }
    if let Ok(known) = select::one(&config.state_dir, word)
        && let Ok(record) = &known.record
    {
        all.container = Some(known.home.id());
        return Ok(state::journal_path(
            &config.log_dir,
            &record.root,
            &known.home.id(),
        ));
    }
    // It has ended: its journal is what is left.
    let unreadable = |source| CliError::Journal {
        operation: "list",
        path: config.log_dir.clone(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&config.log_dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let id = name
            .strip_suffix(".jsonl")
            .and_then(|name| name.split_once('-'));
        if id.is_some_and(|(_, id)| id.starts_with(word)) {
            found.push(path);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(CliError::NoEvents {
            id: word.to_owned(),
            folder: config.log_dir.clone(),
        }),
        _ => Err(CliError::Ambiguous {
            id: word.to_owned(),
            candidates: found
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        }),
    }
}

impl Journals {
    fn take(&mut self, lines: Vec<Line>) {
        for line in lines {
            if let Some(gap) = &line.gap {
                let count = gap.found.saturating_sub(gap.expected);
                match gap.is_beginning() {
                    true => self.beginning += count,
                    false => self.missing += count,
                }
            }
            match line.event {
                Ok(event) => self.events.push(event),
                Err(_) => self.broken += 1,
            }
        }
    }

    /// Mounts that accesses were seen on, but the kernel's own and the root.
    pub fn mounts(&self) -> BTreeSet<String> {
        let seen = self.events.iter().filter_map(|event| match &event.what {
            What::Observed {
                access: Access::File { mount, .. },
                ..
            } => Some(mount),
            _ => None,
        });
        let kernels = |mount: &&String| {
            let device = beneath(mount, "/dev") && *mount != "/dev/shm";
            *mount == "/" || device || beneath(mount, "/proc") || beneath(mount, "/sys")
        };
        seen.filter(|mount| mount.starts_with('/') && !kernels(mount))
            .cloned()
            .collect()
    }

    /// What is not in them.
    pub(super) fn losses(&self) -> Losses {
        let mut losses = Losses {
            beginning: self.beginning,
            missing: self.missing,
            broken: self.broken,
            ..Losses::default()
        };
        for event in &self.events {
            match &event.what {
                // Their numbers are missing, and counted there.
                What::Lost { count, .. } => losses.unwritten += count,
                What::Suppressed { count, .. } => losses.suppressed += count,
                What::Overflow { count } => losses.overflows += count,
                What::Watcher { .. } => losses.watchers += 1,
                _ => {}
            }
        }
        losses
    }
}

/// What is not in the journals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Losses {
    /// Events before the first line that is left.
    beginning: u64,
    /// Numbers that are missing.
    missing: u64,
    /// Lines that are no event.
    broken: u64,
    /// Lines that the supervisor could not write; mostly among the missing numbers.
    unwritten: u64,
    /// Events left out because the container caused them too fast.
    suppressed: u64,
    /// Times that the kernel's queue was full.
    overflows: u64,
    /// Watchers that ended before their time.
    watchers: u64,
}

impl Losses {
    /// For people.
    pub(super) fn page(&self) -> String {
        let all = [
            (
                self.beginning,
                "events at the beginning are not kept any more",
            ),
            (self.missing, "numbers of events are missing"),
            (self.broken, "lines are no events"),
            (self.unwritten, "lines could not be written"),
            (self.suppressed, "events were left out, caused too fast"),
            (
                self.overflows,
                "times the kernel's queue was full: executions and openings passed unseen",
            ),
            (self.watchers, "watchers ended before their time"),
        ];
        let said: Vec<String> = all
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        match said.is_empty() {
            true => "the journals are whole\n".into(),
            false => format!(
                "{}: {}; what they held is not in this answer\n",
                ink("the journals are NOT whole", Ink::Odd),
                said.join("; ")
            ),
        }
    }
}
