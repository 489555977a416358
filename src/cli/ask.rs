//! What a person asks of a container's supervisor, and why it was not done: each reason with what
//! to do instead, by the runtime itself where that helps.

use std::time::Duration;

use serde_json::{Value, json};

use super::select::{Known, Watch};
use super::text::{escape, name};
use super::{CliError, version};
use crate::channel::PATIENCE;
use crate::control::client::{self, Silence};
use crate::control::{Answer, Ask};
use crate::state::Record;

/// How long evidence is waited for. The supervisor gives its collector 60 s, after a freeze where that
/// was asked for too; its word on what was late arrives before this.
const EVIDENCE_PATIENCE: Duration = Duration::from_secs(70);

/// Why a supervisor did not do it. Each completes "cannot freeze container "x": …".
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    /// The container has none, by design.
    #[error("it is a pause container, which has no supervisor; name one of its pod's containers")]
    Unsupervised,
    /// The supervisor is gone and the container is not.
    #[error("its supervisor is gone; {instead}restart the container")]
    Lost {
        /// The runtime's own way, with `, or ` behind it; empty where there is none.
        instead: String,
    },
    /// The container is gone.
    #[error("it has ended; `mantlet ps` lists those that run")]
    Over,
    /// The supervisor is of before it could do this.
    #[error(
        "its supervisor is mantlet {made}, which cannot do this; {instead}restart the container \
         to have it under mantlet {}",
        version::VERSION
    )]
    Older {
        /// Version of the front door that made the container.
        made: String,
        /// The runtime's own way, with `, or ` behind it; empty where there is none.
        instead: String,
    },
    /// It said no.
    #[error("{}", escape(.0))]
    Refused(String),
    /// It did not answer, or not in time.
    #[error("its supervisor does not answer: {0}; `mantlet ps` shows how it stands")]
    Silent(Silence),
    /// It answered another question.
    #[error("its supervisor answered something else; `mantlet ps` shows how it stands")]
    Beside,
}

/// Something that a supervisor can be asked to do.
#[derive(Debug, Clone, Copy)]
pub struct Deed {
    /// Completes "cannot … container".
    pub verb: &'static str,
    /// The command of the real runtime that comes nearest; empty where there is none.
    pub runtimes: &'static [&'static str],
}

impl Deed {
    /// Asks, and gives the answer, which is no refusal.
    ///
    /// # Errors
    /// [`CliError::Undone`]; [`CliError::Unreadable`] where record or status cannot be read.
    pub fn ask(self, known: &Known, ask: &Ask) -> Result<Answer, CliError> {
        let record = match (&known.record, &known.status) {
            (Ok(record), Ok(_)) => record,
            (Err(error), _) | (_, Err(error)) => {
                let reason = error.to_string();
                return Err(CliError::Unreadable { reason });
            }
        };
        self.put(known, record, ask)
            .map_err(|cause| CliError::undone(self.verb, known, cause))
    }

    fn put(self, known: &Known, record: &Record, ask: &Ask) -> Result<Answer, Undone> {
        match known.watch() {
            Watch::None => return Err(Undone::Unsupervised),
            Watch::Ended => return Err(Undone::Over),
            Watch::Lost => {
                let instead = self.instead(known, record);
                return Err(Undone::Lost { instead });
            }
            Watch::Running | Watch::Starting | Watch::Unknown => {}
        }
        let supervisor = client::connect(&known.home, patience(ask)).map_err(Undone::Silent)?;
        client::say(&supervisor, ask, &[]).map_err(Undone::Silent)?;
        match client::hear(&supervisor).map_err(Undone::Silent)?.0 {
            Answer::Refused { message } if is_foreign(&message) => Err(Undone::Older {
                made: escape(&record.mantlet),
                instead: self.instead(known, record),
            }),
            Answer::Refused { message } => Err(Undone::Refused(message)),
            answer => Ok(answer),
        }
    }

    /// The real runtime's own way. It goes past the supervisor, which is what is wanted here.
    fn instead(self, known: &Known, record: &Record) -> String {
        let Some((verb, rest)) = self.runtimes.split_first() else {
            return String::new();
        };
        let mut words = vec![
            escape(&record.runtime.display().to_string()),
            "--root".into(),
            escape(&record.root.display().to_string()),
            (*verb).to_owned(),
            escape(&known.home.id()),
        ];
        words.extend(rest.iter().map(|&word| word.to_owned()));
        format!("use `{}`, or ", words.join(" "))
    }
}

/// What a supervisor says to a request that it has never heard of.
fn is_foreign(message: &str) -> bool {
    message.starts_with("the request cannot be read: ")
        || message.starts_with("the request has version ")
}

fn patience(ask: &Ask) -> Duration {
    match ask {
        Ask::Evidence | Ask::Freeze { evidence: true, .. } => EVIDENCE_PATIENCE,
        _ => PATIENCE,
    }
}

/// A container in one line: who it is, and its id.
pub fn title(known: &Known) -> String {
    let id = escape(&known.home.id());
    match known.record.as_ref().map(|record| name(&record.container)) {
        Ok(name) if name != id => format!("{name} ({id})"),
        _ => id,
    }
}

/// What every verb that does something says in JSON.
pub fn done(known: &Known, verb: &str) -> Value {
    json!({
        "id": known.home.id(),
        "container": known.record.as_ref().ok().map(|record| &record.container),
        "done": verb,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_not_known_is_told_from_one_that_is_refused() {
        let older =
            serde_json::from_str::<crate::control::Request>(r#"{"version":1,"ask":{"dance":{}}}"#);
        let said = format!("the request cannot be read: {}", older.unwrap_err());
        assert!(is_foreign(&said));
        assert!(is_foreign(
            "the request has version 2, this supervisor speaks 1"
        ));
        assert!(!is_foreign("the container is frozen already"));
    }
}
