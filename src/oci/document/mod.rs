//! config.json and the `--process` file: raw JSON that survives, and typed read-only views of it.
//!
//! A [`Document`] keeps key order, unknown fields at any depth and every digit of every number
//! (only exponents are spelled anew, `1E5` as `1e+5`), so that what we do not understand reaches
//! the runtime as the engine wrote it. What two runtimes would understand differently is refused:
//! equal keys (Go merges, others keep one), keys that differ from a known one in letter case (only
//! Go reads them), NUL inside strings (C ends there), bytes behind the end.

mod file;
mod scan;
mod shape;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::runtime::{Process, Spec};
use serde_json::Value;

pub use file::{FileError, read, write_atomically};
pub use scan::Oddity;

use super::patch::{self, Edit, PatchError};

/// Largest file that is read: 16 MiB. Engines write some 10 KiB.
pub const MAX_SIZE: usize = 16 << 20;

/// Deepest nesting of objects and arrays that is read. The schema needs 8.
pub const MAX_DEPTH: usize = 127;

/// Which of the two files it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bundle's config.json.
    Config,
    /// A bare OCI process object, the file of `exec --process`.
    Process,
}

/// One JSON file, parsed without loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    file: PathBuf,
    kind: Kind,
    value: Value,
    /// As read, to name the place of a wrong type.
    text: Arc<str>,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// More than [`MAX_SIZE`].
    #[error("cannot read {file:?}: larger than 16 MiB; shorten it")]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// Not UTF-8.
    #[error("cannot read {file:?}: byte {offset} is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The file.
        file: PathBuf,
        /// From 0.
        offset: usize,
    },
    /// More than [`MAX_DEPTH`].
    #[error("cannot read {file:?}: nested {depth} deep, at most 127 is read; flatten it")]
    TooDeep {
        /// The file.
        file: PathBuf,
        /// How deep.
        depth: usize,
    },
    /// No JSON, or more than one value.
    #[error("cannot read {file:?}: {source}; correct the JSON there")]
    Syntax {
        /// The file.
        file: PathBuf,
        /// serde_json's message, with line and column.
        source: serde_json::Error,
    },
    /// JSON that runtimes read differently.
    #[error("cannot read {file:?}, line {line} column {column}: {what}")]
    Odd {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
        /// What is odd, and what to do.
        what: Oddity,
    },
    /// The top is no object.
    #[error("cannot read {file:?}: the file holds no JSON object; write one")]
    NotAnObject {
        /// The file.
        file: PathBuf,
    },
    /// The JSON is no OCI configuration.
    #[error(
        "cannot read {file:?} as an OCI {what}: {source}; correct that field (runtime-spec config.md)"
    )]
    Typed {
        /// The file.
        file: PathBuf,
        /// `spec` or `process`.
        what: &'static str,
        /// Which field, as far as serde tells.
        source: serde_json::Error,
    },
    /// config.json has no `process`, or a process file was asked for a spec.
    #[error("cannot read {file:?}: there is no {what} in it; add one")]
    Absent {
        /// The file.
        file: PathBuf,
        /// What was asked for.
        what: &'static str,
    },
}

impl Document {
    /// Reads and parses `file`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or [`Document::parse`] refuses it.
    pub fn load(file: &Path, kind: Kind) -> Result<Document, DocumentError> {
        Document::parse(file, kind, &read(file)?)
    }

    /// Parses `bytes`; `file` names them in errors.
    ///
    /// # Errors
    ///
    /// Whatever is no JSON object, exceeds a limit, or would be read differently by different
    /// runtimes.
    pub fn parse(file: &Path, kind: Kind, bytes: &[u8]) -> Result<Document, DocumentError> {
        let file = file.to_owned();
        // 1. Limits, before anything is built.
        if bytes.len() > MAX_SIZE {
            return Err(DocumentError::TooLarge { file });
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                return Err(DocumentError::NotUtf8 {
                    file,
                    offset: error.valid_up_to(),
                });
            }
        };
        let depth = scan::depth(bytes);
        if depth > MAX_DEPTH {
            return Err(DocumentError::TooDeep { file, depth });
        }
        // 2. The grammar.
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(source) => return Err(DocumentError::Syntax { file, source }),
        };
        if !value.is_object() {
            return Err(DocumentError::NotAnObject { file });
        }
        // 3. What the grammar allows and readers disagree about.
        let shape = match kind {
            Kind::Config => &shape::SPEC,
            Kind::Process => &shape::PROCESS,
        };
        if let Err(finding) = scan::scan(text, shape) {
            let scan::Finding { what, line, column } = finding;
            return Err(DocumentError::Odd {
                file,
                line,
                column,
                what,
            });
        }
        Ok(Document {
            file,
            kind,
            value,
            text: text.into(),
        })
    }

    /// The raw JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Which file it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A changed copy.
    ///
    /// # Errors
    ///
    /// An edit cannot be applied; `self` stays as it is.
    pub fn edited(&self, edits: &[Edit]) -> Result<Document, PatchError> {
        let mut value = self.value.clone();
        patch::apply(&mut value, edits)?;
        Ok(Document {
            value,
            ..self.clone()
        })
    }

    /// The typed view of a config.json.
    ///
    /// # Errors
    ///
    /// A field has another type than runtime-spec says, or this is a process file.
    pub fn spec(&self) -> Result<Spec, DocumentError> {
        match self.kind {
            Kind::Config => self.typed(&self.value, "spec", |text| {
                serde_json::from_str::<Spec>(text).err()
            }),
            Kind::Process => Err(DocumentError::Absent {
                file: self.file.clone(),
                what: "spec",
            }),
        }
    }

    /// The typed view of the process object: of a config.json its `process`, else the whole file.
    ///
    /// # Errors
    ///
    /// A field has another type than runtime-spec says, or there is no process.
    pub fn process(&self) -> Result<Process, DocumentError> {
        let process = match self.kind {
            Kind::Config => self
                .value
                .get("process")
                .filter(|process| !process.is_null()),
            Kind::Process => Some(&self.value),
        };
        match process {
            Some(process) => self.typed(process, "process", self.kind.process_error()),
            None => Err(DocumentError::Absent {
                file: self.file.clone(),
                what: "process",
            }),
        }
    }

    /// Compact JSON, without a line break at the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A Value always serialises: its keys are strings. Display of a Value is compact JSON.
        self.value.to_string().into_bytes()
    }

    /// `place` reads the text itself: its error has a line and a column, which that of a value lacks.
    fn typed<T: serde::de::DeserializeOwned>(
        &self,
        value: &Value,
        what: &'static str,
        place: fn(&str) -> Option<serde_json::Error>,
    ) -> Result<T, DocumentError> {
        serde_json::from_value(value.clone()).map_err(|error| DocumentError::Typed {
            file: self.file.clone(),
            what,
            source: place(&self.text).unwrap_or(error),
        })
    }
}

impl Kind {
    /// What is wrong with the process object in a text of this kind.
    fn process_error(self) -> fn(&str) -> Option<serde_json::Error> {
        #[derive(serde::Deserialize)]
        struct Config {
            #[serde(rename = "process")]
            _process: Process,
        }
        match self {
            Kind::Config => |text| serde_json::from_str::<Config>(text).err(),
            Kind::Process => |text| serde_json::from_str::<Process>(text).err(),
        }
    }
}
