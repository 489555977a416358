//! Recordings as files: runs taken out of journals, which are pruned, and kept to be learned from
//! later, together with others.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::run::Run;
use crate::cli::{CliError, output};

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

/// Writes runs to a file.
///
/// # Errors
///
/// As [`output::write`].
pub fn save(path: &Path, runs: &[Run], force: bool) -> Result<(), CliError> {
    let recording = Recording {
        recording: VERSION,
        mantlet: env!("CARGO_PKG_VERSION").into(),
        runs: runs.to_vec(),
    };
    let mut text = serde_json::to_string_pretty(&recording).map_err(io::Error::from)?;
    text.push('\n');
    output::write(path, &text, force)
}

/// Writes runs that nobody asked to keep beside `output`, the profile that did not come of them, and where that
/// cannot be written either, among temporary files. No file is replaced.
///
/// # Errors
///
/// As [`output::write`] of the last place.
pub fn rescue(output: &Path, runs: &[Run]) -> Result<PathBuf, CliError> {
    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
    let plain = format!("{stem}.recording.json");
    let own = format!("{stem}.recording.{}.json", std::process::id());
    let beside = |name: &str| output.with_file_name(name);
    for path in [beside(&plain), beside(&own)] {
        if save(&path, runs, false).is_ok() {
            return Ok(path);
        }
    }
    let path = std::env::temp_dir().join(own);
    save(&path, runs, false).map(|()| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rescued_recording_is_beside_the_profile_and_replaces_nothing() {
        let folder = std::env::temp_dir().join(format!("mantlet-rescue-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let output = folder.join("web.yaml");
        let first = rescue(&output, &[Run::default()]).unwrap();
        assert_eq!(first, folder.join("web.recording.json"));
        let text = std::fs::read(&first).unwrap();
        assert!(matches!(Recording::read(&text), Read::Recording(kept) if kept.runs.len() == 1));
        let second = rescue(&output, &[]).unwrap();
        assert!(
            second != first && second.parent() == Some(&folder),
            "{second:?}"
        );
        assert_eq!(std::fs::read(&first).unwrap(), text);
        std::fs::remove_dir_all(&folder).unwrap();
        // The folder has gone meanwhile.
        let elsewhere = rescue(&output, &[]).unwrap();
        assert_eq!(elsewhere.parent(), Some(std::env::temp_dir().as_path()));
        std::fs::remove_file(elsewhere).unwrap();
    }
}
