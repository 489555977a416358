//! Copies of a run's layers that only look, each beside its original, which enforces: what Landlock denies,
//! and a filter in silence, is told as well then. Pure.
//!
//! A copy extends its original and is in mode `audit`, so it takes nothing away, and would deny just what the
//! original does deny. Nobody but the journal sees its name: [`Copies::undo`] puts the original's in its
//! place.

use std::collections::BTreeMap;

use serde_json::json;

use crate::cli::journal::Line;
use crate::event::{Event, What};

/// Copies' names by those of their originals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copies {
    names: BTreeMap<String, String>,
}

impl Copies {
    /// One more, of the profile `name`; its own name, which `taken` does not know, and its text.
    pub fn add(&mut self, name: &str, taken: impl Fn(&str) -> bool) -> (String, String) {
        let names = (1_u32..).map(|number| format!("{name}-told-{number}"));
        let mut free = names.filter(|copy| !taken(copy));
        let copy = free.next().expect("there are more numbers than profiles");
        // JSON is YAML.
        let text = json!({"version": 1, "name": copy, "extends": [name], "mode": "audit"});
        self.names.insert(copy.clone(), name.to_owned());
        (copy, text.to_string() + "\n")
    }

    /// The line as it is of the originals: what a copy would have denied is denied.
    pub fn undo(&self, line: Line) -> Line {
        if self.names.is_empty() {
            return line;
        }
        let Line { raw, event, gap } = line;
        let Ok(event) = event else {
            return Line { raw, event, gap };
        };
        let event = self.of_originals(event);
        let raw = serde_json::to_vec(&event).unwrap_or(raw);
        Line {
            raw,
            event: Ok(event),
            gap,
        }
    }

    fn of_originals(&self, mut event: Event) -> Event {
        event.profiles.retain(|name| !self.names.contains_key(name));
        if let What::Observed {
            profile, denied, ..
        } = &mut event.what
            && let Some(original) = self.names.get(profile)
        {
            profile.clone_from(original);
            *denied = true;
        }
        event
    }
}
