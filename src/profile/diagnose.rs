//! What is wrong with a profile, said as a compiler would: where, what, and the likely remedy.
//!
//! One error has two forms. [`Error`] itself is displayed as one line, for the runtime's log, of which an
//! engine shows the last line only; [`Error::finding`] is what a person at a terminal gets, with the
//! line of the file and a mark under the word.

mod all;
mod finding;
mod problem;
mod words;
mod yaml;

pub use all::parse_all;
pub use finding::{Finding, Level, Look};
pub use problem::Problem;
pub(super) use words::{closest, closest_group, nearest};

use std::fmt;

use super::origin::Origin;
use crate::escape::escape;

/// Why a profile cannot be used, and where that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Where; of unknown place where no file says it, such as a name on the command line.
    pub origin: Box<Origin>,
    /// What.
    pub problem: Problem,
}

impl Error {
    pub(super) fn at(origin: &Origin, problem: Problem) -> Error {
        Error {
            origin: Box::new(origin.clone()),
            problem,
        }
    }

    /// What is wrong, and what to do about it.
    #[must_use]
    pub fn parts(&self) -> (String, Option<String>) {
        split(&self.problem.to_string())
    }

    /// The form for people.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let (message, help) = self.parts();
        Finding {
            level: Level::Error,
            code: None,
            message,
            origin: (*self.origin).clone(),
            help,
        }
    }
}

/// A text's two lines.
fn split(text: &str) -> (String, Option<String>) {
    match text.split_once('\n') {
        Some((what, help)) => (what.to_owned(), Some(help.replace('\n', " "))),
        None => (text.to_owned(), None),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin.source().is_some() {
            write!(f, "{}: ", self.origin)?;
        }
        let (what, help) = self.parts();
        // A log's reader may be a terminal, and a profile come from anywhere.
        let (what, help) = (escape(&what), help.map(|help| escape(&help)));
        f.write_str(&what)?;
        match help {
            Some(help) if help.starts_with("did you mean") || help.starts_with("one of") => {
                write!(f, "; {help}")
            }
            Some(help) if what.contains(": ") => write!(f, "; {help}"),
            Some(help) => write!(f, ": {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
