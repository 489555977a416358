//! `mantlet import` and `mantlet export`: profiles of other tools ([`crate::policy::exchange`]).
//!
//! The result is what stdout or the file gets, and nothing else; what could not be said is a note on stderr.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{CliError, output, print_json, warn};
use crate::policy::exchange::Error as Exchange;

mod export;
mod import;

pub use export::{Args as ExportArgs, export};
pub use import::{Args as ImportArgs, import};

/// No file of this kind comes near; a larger one is a mistake such as a device.
const MAX_SIZE: u64 = 4 << 20;

/// Why nothing was exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// A file that was named.
    #[error("cannot read {}: {source}; name a file that can be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file of text that is none.
    #[error("{} is no UTF-8 text: nothing that can be imported", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
    },
    /// Foreign text, or what it says.
    #[error(transparent)]
    Exchange(#[from] Exchange),
    /// An argument.
    #[error("unknown capability `{0}`: write it as in capabilities(7)")]
    Capability(String),
    /// An argument.
    #[error("`{0}` is no kernel version: write it like 5.15")]
    Kernel(String),
    /// The bundle's config.json.
    #[error("cannot read {}: {cause}; --bundle names a folder with config.json and the root file system", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
}

impl ExchangeError {
    /// Whether a word of the command line is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            ExchangeError::Capability(_)
                | ExchangeError::Kernel(_)
                | ExchangeError::Exchange(Exchange::Name { .. })
        )
    }
}

/// Where the result goes.
#[derive(Debug, clap::Args)]
struct Target {
    /// Write to this file, and not to standard output
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Replace OUT where it exists
    #[arg(long, requires = "output")]
    force: bool,
}

/// Reads a file, or stdin where it is `-`.
fn read(path: &Path) -> Result<String, ExchangeError> {
    let failed = |source| ExchangeError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let mut take = |from: &mut dyn Read| from.take(MAX_SIZE + 1).read_to_end(&mut bytes);
    if path == Path::new("-") {
        take(&mut io::stdin().lock()).map_err(failed)?;
    } else {
        take(&mut fs::File::open(path).map_err(failed)?).map_err(failed)?;
    }
    if bytes.len() as u64 > MAX_SIZE {
        return Err(failed(io::Error::other("it is larger than 4 MiB")));
    }
    String::from_utf8(bytes).map_err(|_| ExchangeError::NoText {
        path: path.to_owned(),
    })
}

/// Prints the result, or writes it to a file, and the notes to stderr.
fn give(text: &str, notes: &[String], to: &Target, as_json: bool) -> Result<(), CliError> {
    let file = &to.output;
    match file {
        Some(path) => output::write(path, text, to.force)?,
        None if as_json => {}
        None => output::print(text)?,
    }
    if as_json {
        let text = file.is_none().then_some(text);
        return print_json(&json!({"file": file, "text": text, "notes": notes}));
    }
    for note in notes {
        warn(&format!("note: {note}"));
    }
    Ok(())
}
