//! Which container a person means, and how it stands with its supervisor.

use std::path::Path;

use serde::Serialize;

use super::CliError;
use super::text::escape;
use crate::state::{self, Home, Record, StateError, Status};

/// A container as mantlet knows it.
#[derive(Debug)]
pub struct Known {
    /// Its folder.
    pub home: Home,
    /// What the front door decided.
    pub record: Result<Record, StateError>,
    /// What the supervisor saw; none before it wrote.
    pub status: Result<Option<Status>, StateError>,
}

/// How it stands with a container's supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    /// It runs.
    Running,
    /// It has not written yet, and the container is not started yet.
    Starting,
    /// It is gone while the container is not: denials hold, but nobody reports them.
    Lost,
    /// The container has ended; the rest awaits `delete` or a sweep.
    Ended,
    /// The container has none, by design: a pause container.
    None,
    /// The files that would tell cannot be read.
    Unknown,
}

impl Watch {
    /// The word for a column.
    pub fn word(self) -> &'static str {
        match self {
            Watch::Running => "running",
            Watch::Starting => "starting",
            Watch::Lost => "LOST",
            Watch::Ended => "ended",
            Watch::None => "none (pause)",
            Watch::Unknown => "UNKNOWN",
        }
    }

    /// Whether there may be processes: what the status says of an ended container is history.
    pub fn has_container(self) -> bool {
        !matches!(self, Watch::Ended | Watch::None)
    }
}

impl Known {
    /// How it stands with the supervisor now.
    pub fn watch(&self) -> Watch {
        let (Ok(record), Ok(status)) = (&self.record, &self.status) else {
            return Watch::Unknown;
        };
        if !record.supervised {
            return Watch::None;
        }
        match status {
            Some(status) if status.supervisor_alive() => Watch::Running,
            Some(status) if status.container_alive() => Watch::Lost,
            // No process of its own any more, or none yet: then a created container is parked in
            // the runtime, and a supervisor that is gone before `start` is lost all the same.
            Some(status) if status.pid == 0 && record.runtime_knows(&self.home.id()) => Watch::Lost,
            Some(_) => Watch::Ended,
            // The control socket answers from the moment the supervisor's life begins.
            None if self.home.connect_control().is_ok() => Watch::Starting,
            None if record.runtime_knows(&self.home.id()) => Watch::Lost,
            None => Watch::Ended,
        }
    }

    /// What the supervisor saw, where there is something that can be read.
    pub fn seen(&self) -> Option<&Status> {
        self.status.as_ref().ok().and_then(Option::as_ref)
    }
}

/// Every container of the node.
pub fn all(state_dir: &Path) -> Result<Vec<Known>, CliError> {
    let known = |(home, record): (Home, _)| Known {
        status: home.read_status(),
        home,
        record,
    };
    Ok(state::list(state_dir)?.into_iter().map(known).collect())
}

/// Those that these ids or beginnings of ids mean, each once; all where there is none.
pub fn some(state_dir: &Path, ids: &[String]) -> Result<Vec<Known>, CliError> {
    if ids.is_empty() {
        return all(state_dir);
    }
    let mut found: Vec<Known> = Vec::new();
    for id in ids {
        let known = one(state_dir, id)?;
        if found.iter().all(|other| other.home != known.home) {
            found.push(known);
        }
    }
    Ok(found)
}

/// The one container whose id is `id`, or begins with it where no other does.
pub fn one(state_dir: &Path, id: &str) -> Result<Known, CliError> {
    let mut all = all(state_dir)?;
    all.retain(|known| known.home.id().starts_with(id));
    // A whole id wins over ids that merely begin with it; two roots may each have one.
    if all.iter().any(|known| known.home.id() == id) {
        all.retain(|known| known.home.id() == id);
    }
    let candidates = all.iter().map(describe).collect();
    match all.pop() {
        Some(known) if all.is_empty() && !id.is_empty() => Ok(known),
        Some(_) => Err(CliError::Ambiguous {
            id: id.to_owned(),
            candidates,
        }),
        None => Err(CliError::NoContainer { id: id.to_owned() }),
    }
}

fn describe(known: &Known) -> String {
    let root = known.record.as_ref().map_or_else(
        |_| known.home.root_key(),
        |record| record.root.display().to_string(),
    );
    format!("{} (root {})", escape(&known.home.id()), escape(&root))
}
