//! Profiles as a person names them: by the name that a handler would use, or by a file.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::CliError;
use crate::config::{self, Config};
use crate::profile::{self, Origin, Profile};

/// No profile comes near; a larger file is a mistake such as a device.
const MAX_SIZE: u64 = 1 << 20;

/// A profile's file that a person named: whoever may write it, that is the one meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// As it was typed.
    path: PathBuf,
    /// The profile's name, which is the file's.
    pub name: String,
    text: String,
}

impl Written {
    /// Reads it.
    ///
    /// # Errors
    /// It is not there, cannot be read, has no name that a profile could have, is no text, or is larger than
    /// 1 MiB.
    pub fn read(path: &Path) -> io::Result<Written> {
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let name = name.ok_or_else(|| {
            io::Error::other("it is no profile's file, whose name would be NAME.yaml")
        })?;
        Ok(Written {
            path: path.to_owned(),
            name: name.to_owned(),
            text: text(path)?,
        })
    }

    /// The text of a profile, for [`Profile::resolve`]: this one's own, one's that lies beside it, else what
    /// `site` has.
    ///
    /// # Errors
    /// A file that is there cannot be read, or `site` fails.
    pub fn load(
        &self,
        wanted: &str,
        site: impl FnOnce() -> io::Result<Option<String>>,
    ) -> io::Result<Option<String>> {
        if wanted == self.name {
            return Ok(Some(self.text.clone()));
        }
        match text(&self.path.with_file_name(format!("{wanted}.yaml"))) {
            Err(error) if error.kind() == ErrorKind::NotFound => site(),
            read => read.map(Some),
        }
    }

    /// The place with the path that was typed, where it is in this file.
    pub fn place(&self, origin: &Origin) -> Origin {
        match origin.file() == format!("{}.yaml", self.name) {
            true => origin.in_file(&self.path.display().to_string()),
            false => origin.clone(),
        }
    }

    /// The same of an error.
    pub fn blame(&self, error: profile::Error) -> profile::Error {
        let origin = Box::new(self.place(&error.origin));
        profile::Error { origin, ..error }
    }
}

/// A file's text.
///
/// # Errors
/// It is not there, cannot be read, is no text, or is larger than 1 MiB.
pub fn text(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is no UTF-8 text"))
}

/// The profile's file that a word names; none where it is a name.
///
/// # Errors
/// [`CliError::ProfileFile`].
pub fn written(word: &str) -> Result<Option<Written>, CliError> {
    let Some(path) = as_file(word) else {
        return Ok(None);
    };
    match Written::read(&path) {
        Ok(written) => Ok(Some(written)),
        Err(cause) => Err(CliError::ProfileFile { path, cause }),
    }
}

/// One profile. A word with a slash, or with an ending of YAML, is a file, and its parents are
/// looked for beside it first; any other is a name, and is found as `create` finds it: in the node's
/// `profiles_dir`, then among those that are built in.
///
/// # Errors
/// [`CliError::Profile`], [`CliError::ProfileFile`].
pub fn find(word: &str, config: &Config) -> Result<Profile, CliError> {
    let site = |name: &str| config::profile(&config.profiles_dir, name);
    let Some(written) = written(word)? else {
        return Ok(Profile::resolve(word, &mut |name| site(name))?);
    };
    let mut load = |wanted: &str| written.load(wanted, || site(wanted));
    Profile::resolve(&written.name, &mut load).map_err(|error| written.blame(error).into())
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
