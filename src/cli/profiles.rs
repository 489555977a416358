//! Profiles as a person names them: by the name that a handler would use, or by a file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::CliError;
use crate::config::{self, Config};
use crate::profile::{Problem, Profile};

/// One profile. A word with a slash, or with an ending of YAML, is a file, and its parents are
/// looked for beside it first; any other is a name, and is found as `create` finds it: in the node's
/// `profiles_dir`, then among those that are built in.
///
/// # Errors
/// [`CliError::Profile`].
pub fn find(word: &str, config: &Config) -> Result<Profile, CliError> {
    let Some(path) = as_file(word) else {
        let mut load = |name: &str| config::profile(&config.profiles_dir, name);
        return Ok(Profile::resolve(word, &mut load)?);
    };
    let name = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut first = true;
    let mut load = |wanted: &str| {
        // The file itself has to be there.
        if std::mem::take(&mut first) {
            return std::fs::read_to_string(&path).map(Some);
        }
        match std::fs::read_to_string(folder.join(format!("{wanted}.yaml"))) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                config::profile(&config.profiles_dir, wanted)
            }
            read => read.map(Some),
        }
    };
    Profile::resolve(&name, &mut load).map_err(|error| match error.problem {
        // With the file's own path, which is what was typed.
        Problem::Read { cause, .. } => CliError::ProfileFile {
            path: PathBuf::from(word),
            cause,
        },
        _ => error.into(),
    })
}

/// The file that a word names; none where it is a profile's name.
pub fn as_file(word: &str) -> Option<PathBuf> {
    let path = PathBuf::from(word);
    let ending = path.extension().and_then(|ending| ending.to_str());
    let yaml = matches!(ending, Some("yaml" | "yml" | "json"));
    (word.contains('/') || yaml).then_some(path)
}

/// Several, as `A+B` or as several words, outermost first.
///
/// # Errors
/// As [`find`].
pub fn layers<'a>(
    words: impl IntoIterator<Item = &'a str>,
    config: &Config,
) -> Result<Vec<Profile>, CliError> {
    let parts = words.into_iter().flat_map(|word| match as_file(word) {
        // A file may have a plus in its name.
        Some(path) if path.exists() => vec![word],
        _ => word.split('+').collect(),
    });
    parts.map(|part| find(part, config)).collect()
}
