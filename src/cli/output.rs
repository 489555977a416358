//! Files that a person asks for: never over one that is there, unless they say so, and whole or not at
//! all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::CliError;

/// Refuses files that exist before anything is done in vain, those of folders that do not, and whatever is no
/// plain file: to replace a device would be to remove it.
///
/// # Errors
///
/// [`CliError::OutputExists`], [`CliError::Written`].
pub fn free(files: &[&Option<PathBuf>], force: bool) -> Result<(), CliError> {
    for path in files.iter().filter_map(|file| file.as_ref()) {
        match fs::symlink_metadata(path) {
            Ok(_) if !force => return Err(CliError::OutputExists { path: path.clone() }),
            Ok(meta) if !meta.is_file() => {
                return Err(CliError::Written {
                    path: path.clone(),
                    source: io::Error::other("it is no plain file"),
                });
            }
            _ => {}
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = fs::metadata(folder.unwrap_or(Path::new(".")));
        let no_folder = || io::Error::from(io::ErrorKind::NotADirectory);
        let folder = folder.and_then(|meta| meta.is_dir().then_some(()).ok_or_else(no_folder));
        folder.map_err(|source| CliError::Written {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Writes a file through a temporary name beside it.
///
/// # Errors
///
/// [`CliError::OutputExists`], [`CliError::Written`].
pub fn write(path: &Path, text: &str, force: bool) -> Result<(), CliError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => CliError::OutputExists {
            path: path.to_owned(),
        },
        _ => CliError::Written {
            path: path.to_owned(),
            source,
        },
    };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let target = if force { Path::new(&temporary) } else { path };
    let mut new = OpenOptions::new();
    let mut file = new
        .write(true)
        .create_new(true)
        .open(target)
        .map_err(failed)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    let named = written.and_then(|()| match force {
        true => fs::rename(target, path),
        false => Ok(()),
    });
    named.map_err(|error| {
        // We made it, and the error to report is the first one.
        let _ = fs::remove_file(target);
        failed(error)
    })
}

/// Opens a file that is written bit by bit. A pipe or a device that is there takes what it is given, and nothing of
/// it is lost.
///
/// # Errors
///
/// [`CliError::OutputExists`], [`CliError::EventFile`].
pub fn stream(path: &Path, force: bool) -> Result<File, CliError> {
    let failed = |source| CliError::EventFile {
        path: path.to_owned(),
        source,
    };
    let mut how = OpenOptions::new();
    how.write(true);
    match how.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map_err(failed),
    }
    let file = how.open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() {
        if !force {
            return Err(CliError::OutputExists {
                path: path.to_owned(),
            });
        }
        file.set_len(0).map_err(failed)?;
    }
    Ok(file)
}

/// Prints a text to standard output.
///
/// # Errors
///
/// [`CliError::Output`].
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn a_stream_is_not_written_over_what_is_there_unless_that_is_said() {
        let scratch = Scratch::new("output-stream");
        let path = scratch.path.join("events.jsonl");
        stream(&path, false).unwrap().write_all(b"one").unwrap();
        let refused = stream(&path, false);
        assert!(matches!(refused, Err(CliError::OutputExists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        stream(&path, true).unwrap().write_all(b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        // Neither needs a word for what keeps nothing.
        stream(Path::new("/dev/null"), false).unwrap();
        // A link to nothing would make a file somewhere else.
        let link = scratch.path.join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(stream(&link, false).is_err());
        assert!(!scratch.path.join("nowhere").exists());
    }
}
