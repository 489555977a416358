//! Which events a person wants to see.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::journal::Line;
use crate::detect::Severity;
use crate::event::{Event, What};

/// Kinds of events by their `type`. One of the schema that is missing here is an error of the
/// compiler in [`Kind::of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Start,
    Tripwire,
    Detection,
    Observed,
    Response,
    Watcher,
    Lost,
    Overflow,
    Suppressed,
    Failed,
    Exit,
    End,
}

impl Kind {
    fn of(what: &What) -> Kind {
        match what {
            What::Start { .. } => Kind::Start,
            What::Tripwire { .. } => Kind::Tripwire,
            What::Detection { .. } => Kind::Detection,
            What::Observed { .. } => Kind::Observed,
            What::Response { .. } => Kind::Response,
            What::Watcher { .. } => Kind::Watcher,
            What::Lost { .. } => Kind::Lost,
            What::Overflow { .. } => Kind::Overflow,
            What::Suppressed { .. } => Kind::Suppressed,
            What::Failed { .. } => Kind::Failed,
            What::Exit { .. } => Kind::Exit,
            What::End { .. } => Kind::End,
        }
    }
}

const SEVERITIES: [Severity; 4] = [
    Severity::Info,
    Severity::Notice,
    Severity::Warning,
    Severity::Critical,
];

/// `info` … `critical`, as profiles spell them.
pub fn severities() -> impl TypedValueParser<Value = Severity> {
    PossibleValuesParser::new(SEVERITIES.map(Severity::word)).map(|word| {
        let found = SEVERITIES.into_iter().find(|known| known.word() == word);
        found.expect("clap lets only these words through")
    })
}

/// What was asked for; all of it has to hold.
#[derive(Debug)]
pub struct Filter {
    /// Beginnings of ids; empty: all containers.
    pub ids: Vec<String>,
    /// Empty: all.
    pub kinds: Vec<Kind>,
    /// Detections at least so bad; then events that have no severity only where `kinds` names them.
    pub severity: Option<Severity>,
    /// The same as the event's time is written: text of one length, in the order of time.
    pub since: Option<String>,
}

impl Filter {
    /// The moment `ago` before now, as events spell it.
    pub fn moment(ago: Duration) -> String {
        let then = SystemTime::now().checked_sub(ago);
        humantime::format_rfc3339_micros(then.unwrap_or(SystemTime::UNIX_EPOCH)).to_string()
    }

    /// The places in `ids` that a line is for; none at all where `ids` is empty. A line that cannot be
    /// understood belongs to whom the file's name says.
    pub fn meant<'a>(&'a self, path: &'a Path, line: &'a Line) -> impl Iterator<Item = usize> + 'a {
        let id = match &line.event {
            Ok(event) => event.container.id.clone(),
            Err(_) => {
                let name = path.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
                name.split_once('-').map_or("", |(_, id)| id).to_owned()
            }
        };
        let all = self.ids.iter().enumerate();
        all.filter_map(move |(place, wanted)| id.starts_with(wanted.as_str()).then_some(place))
    }

    /// What cannot be understood is never too old, and always wanted: it may be anything.
    pub fn is_recent(&self, line: &Line) -> bool {
        match (&self.since, &line.event) {
            (Some(since), Ok(event)) => event.time >= *since,
            _ => true,
        }
    }

    /// Whether an event is of those kinds, and bad enough.
    pub fn wants(&self, event: &Event) -> bool {
        let named = self.kinds.contains(&Kind::of(&event.what));
        match (self.severity, &event.what) {
            (Some(least), What::Detection { severity, .. }) => {
                *severity >= least && (named || self.kinds.is_empty())
            }
            (Some(_), _) => named,
            (None, _) => named || self.kinds.is_empty(),
        }
    }
}
