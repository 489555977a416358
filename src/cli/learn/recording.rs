//! Recordings as files: runs taken out of journals, which are pruned, and kept to be learned from
//! later, together with others.

use serde::{Deserialize, Serialize};

use super::run::Run;

/// Version of this format. A reader refuses a larger one.
pub const VERSION: u32 = 1;

/// One file: JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Version of this format.
    pub recording: u32,
    /// The mantlet that wrote it.
    pub mantlet: String,
    /// Its runs, in the order of time.
    pub runs: Vec<Run>,
}

/// What a file is, as far as its beginning tells.
#[derive(Debug)]
pub enum Read {
    /// A recording.
    Recording(Recording),
    /// None; a journal perhaps.
    Other,
    /// One that cannot be used, and why.
    Broken(String),
}

impl Recording {
    /// Understands a file's text. The version is judged first.
    #[must_use]
    pub fn read(text: &[u8]) -> Read {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(text) else {
            return Read::Other;
        };
        let Some(version) = value.get("recording") else {
            return Read::Other;
        };
        if version
            .as_u64()
            .is_none_or(|version| version > u64::from(VERSION))
        {
            return Read::Broken(format!(
                "it has version {version}, this mantlet knows {VERSION}"
            ));
        }
        match serde_json::from_value(value) {
            Ok(recording) => Read::Recording(recording),
            Err(error) => Read::Broken(error.to_string()),
        }
    }
}
