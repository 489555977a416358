//! Journals read as a whole, and what they have lost.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use serde::Serialize;

use crate::access::Access;
use crate::cli::journal::{Journal, Line};
use crate::cli::lives::{Life, Lives};
use crate::cli::progress::Waiting;
use crate::cli::select::{self, Watch};
use crate::cli::subject::Volume;
use crate::cli::text::{Ink, escape, ink};
use crate::cli::{CliError, journals};
use crate::config::Config;
use crate::event::{Event, Mounted, What};
use crate::policy::mounts::beneath;

/// What journals hold.
#[derive(Debug, Default)]
pub struct Journals {
    /// Events, in the order in which they were read.
    pub(super) events: Vec<Event>,
    /// Lives that they tell of.
    lives: Vec<Life>,
    /// The one container that they are of, where it is still there.
    pub container: Option<String>,
}

/// Reads journals: `-`, files, or containers' own.
///
/// # Errors
/// One cannot be found or read.
pub fn read(words: &[String], config: &Config) -> Result<Journals, CliError> {
    let mut all = Journals::default();
    for (at, word) in words.iter().enumerate() {
        let lives = |id: &str| lives(id, config);
        if word == "-" {
            let mut text = Vec::new();
            io::stdin().lock().read_to_end(&mut text)?;
            all.take(Journal::lines_of(&text), word, lives)?;
            continue;
        }
        let path = journals::find(word, config)?;
        journals::check(&path)?;
        let _waiting = Waiting::on(format!("reading journal {} of {}", at + 1, words.len()));
        // Asked before: an end that is written meanwhile is read.
        let owner = journals::owner(&path, &config.state_dir);
        let goes_on = owner
            .as_ref()
            .is_some_and(|known| known.watch() == Watch::Running);
        let lines = Journal::new(path.clone()).read_on();
        let lines = lines.map_err(|cause| CliError::Source { path, cause })?;
        all.take(lines, word, |_| goes_on)?;
        all.container = owner.map(|known| known.home.id());
    }
    if words.len() > 1 {
        all.container = None;
    }
    Ok(all)
}

/// Whether a supervisor of this node lives that tells of this container.
fn lives(id: &str, config: &Config) -> bool {
    let all = select::all(&config.state_dir).unwrap_or_default();
    all.iter()
        .any(|known| known.home.id() == id && known.watch() == Watch::Running)
}

impl Journals {
    /// Lines of one journal; what `mantlet events --json` prints may be of several containers.
    fn take(
        &mut self,
        lines: Vec<Line>,
        word: &str,
        goes_on: impl Fn(&str) -> bool,
    ) -> Result<(), CliError> {
        // To replay nothing would be to find nothing wrong.
        let Some(first) = lines.iter().find_map(|line| line.event.as_ref().ok()) else {
            return Err(CliError::NoEvent {
                name: word.to_owned(),
            });
        };
        let mut current = first.container.id.clone();
        let mut all: BTreeMap<String, Lives> = BTreeMap::new();
        for line in lines {
            match line.event {
                Ok(event) => {
                    current.clone_from(&event.container.id);
                    all.entry(current.clone()).or_default().take(&event);
                    self.events.push(event);
                }
                Err(_) => all.entry(current.clone()).or_default().broken(),
            }
        }
        for (id, lives) in all {
            self.lives.extend(lives.finish(goes_on(&id)));
        }
        Ok(())
    }

    /// Their containers' mounts, but the kernel's own and the root: as they were recorded, and where accesses were
    /// seen on another one, that as a writable volume.
    pub fn mounts(&self) -> Vec<Volume> {
        let mut all: BTreeMap<String, Volume> = BTreeMap::new();
        for event in &self.events {
            let What::Start {
                recording: Some(recording),
                ..
            } = &event.what
            else {
                continue;
            };
            for mount in &recording.mounts {
                all.entry(mount.destination.clone())
                    .and_modify(|known| known.mount.writable |= mount.writable)
                    .or_insert_with(|| Volume {
                        mount: mount.clone(),
                        recorded: true,
                    });
            }
        }
        for event in &self.events {
            let What::Observed {
                access: Access::File { mount, .. },
                ..
            } = &event.what
            else {
                continue;
            };
            if mount.starts_with('/') && !is_kernels(mount) && !all.contains_key(mount) {
                let guessed = Volume {
                    mount: Mounted {
                        destination: mount.clone(),
                        kind: "volume".into(),
                        writable: true,
                    },
                    recorded: false,
                };
                all.insert(mount.clone(), guessed);
            }
        }
        all.into_values().collect()
    }

    /// What is not in them.
    pub(super) fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        for life in &self.lives {
            for (cause, count) in &life.lost {
                let all = losses.causes.entry(cause.clone()).or_default();
                *all = all.saturating_add(*count);
                losses.events = losses.events.saturating_add(*count);
            }
            losses.cut_off += u64::from(life.cut_off);
            losses.suppressed = losses.suppressed.saturating_add(life.suppressed);
        }
        losses
    }
}

fn is_kernels(mount: &str) -> bool {
    let device = beneath(mount, "/dev") && mount != "/dev/shm";
    mount == "/" || device || beneath(mount, "/proc") || beneath(mount, "/sys")
}

/// What is not in the journals.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Losses {
    /// Events that are missing.
    events: u64,
    /// Those, by cause.
    causes: BTreeMap<String, u64>,
    /// Lives whose end is not there, though nobody writes on.
    cut_off: u64,
    /// Refusals and detections left out because the container caused them too fast.
    suppressed: u64,
}

impl Losses {
    /// Whether there are none.
    pub(super) fn none(&self) -> bool {
        *self == Losses::default()
    }

    /// For people.
    pub(super) fn page(&self) -> String {
        if self.none() {
            return "the journals are whole\n".into();
        }
        let causes = self.causes.iter();
        let mut said: Vec<String> = causes
            .map(|(cause, count)| format!("{count} events are lost: {}", escape(cause)))
            .collect();
        if self.cut_off > 0 {
            let cut = match self.cut_off {
                1 => "a recording is cut off".to_owned(),
                count => format!("{count} recordings are cut off"),
            };
            said.push(format!(
                "{cut}: the supervisor ended before the container, or the journal was cut"
            ));
        }
        if self.suppressed > 0 {
            said.push(format!(
                "{} refusals and detections were left out, caused too fast",
                self.suppressed
            ));
        }
        format!(
            "{}: {}; what they held is not in this answer\n",
            ink("the journals are NOT whole", Ink::Odd),
            said.join("; ")
        )
    }
}
