//! `mantlet import` and `mantlet export`: profiles of other tools ([`crate::policy::exchange`]).
//!
//! The result is what stdout or the file gets, and nothing else; what could not be said is a note on stderr.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{CliError, print_json, warn};
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
    /// The file that gets the result.
    #[error("cannot write {}: {source}; name a file in a folder that you may write to", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
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
fn give(text: &str, notes: &[String], to: Option<&Path>, as_json: bool) -> Result<(), CliError> {
    match to {
        Some(path) => fs::write(path, text).map_err(|source| ExchangeError::Write {
            path: path.to_owned(),
            source,
        })?,
        None if as_json => {}
        None => {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
    }
    if as_json {
        let text = to.is_none().then_some(text);
        return print_json(&json!({"file": to, "text": text, "notes": notes}));
    }
    for note in notes {
        warn(&format!("note: {note}"));
    }
    Ok(())
}
