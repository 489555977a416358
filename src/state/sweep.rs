//! All containers that mantlet knows, and the removal of those that are no more.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::home::containers;
use super::{Home, Record, StateError};

/// A home younger than this may belong to a `create` that is still under way (its deadline is
/// 10 s): not everything is in place yet, and nothing of it is removed.
const YOUNG: Duration = Duration::from_secs(60);

/// A container's home, and its record or why that cannot be read.
pub type Listed = (Home, Result<Record, StateError>);

/// Every container's home with its record, ordered by path; none where there is no state yet.
/// A home whose record cannot be read is listed with its error: it may be a living container.
///
/// # Errors
/// The state directory is there but cannot be read.
pub fn list(state_dir: &Path) -> Result<Vec<Listed>, StateError> {
    let homes = homes(state_dir)?.into_iter();
    Ok(homes
        .map(|home| {
            let record = home.read_record();
            (home, record)
        })
        .collect())
}

/// Every container's home, ordered by path.
fn homes(state_dir: &Path) -> Result<Vec<Home>, StateError> {
    let mut homes = Vec::new();
    for root in folders(&containers(state_dir))? {
        homes.extend(folders(&root)?.into_iter().map(|path| Home { path }));
    }
    homes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(homes)
}

/// Removes the homes of containers that are gone: made a while ago, no supervisor alive, and the
/// runtime has forgotten the container too. Where a record cannot be understood nothing is known,
/// so it stays. Gives the homes that were removed.
///
/// # Errors
/// The state directory cannot be read, or a home cannot be removed.
pub fn sweep(state_dir: &Path) -> Result<Vec<Home>, StateError> {
    let mut removed = Vec::new();
    // Every supervisor that leaves comes by here: no record of a living container is read.
    for home in homes(state_dir)? {
        if !young(&home.path) && is_gone(&home) {
            home.remove()?;
            removed.push(home);
        }
    }
    Ok(removed)
}

/// Whether neither a supervisor nor the runtime knows the container any more.
fn is_gone(home: &Home) -> bool {
    match home.read_status() {
        Ok(Some(status)) if status.supervisor_alive() || status.container_alive() => return false,
        Ok(_) => {}
        Err(_) => return false,
    }
    match home.read_record() {
        Ok(record) => !record.runtime_knows(&home.id()),
        // A create that died before it wrote the record never called the runtime.
        Err(error) => error.is_missing(),
    }
}

impl Record {
    /// Whether the runtime still keeps state for the container, in `ROOT/ID`. An error other than
    /// absence counts as yes.
    pub fn runtime_knows(&self, id: &str) -> bool {
        match fs::symlink_metadata(self.root.join(id)) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// Changed a short while ago, or at a time that cannot be told.
fn young(path: &Path) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let age = changed.map(|time| SystemTime::now().duration_since(time));
    !matches!(age, Ok(Ok(age)) if age >= YOUNG)
}

/// The folders in a folder, hidden ones excepted; none where it does not exist.
fn folders(path: &Path) -> Result<Vec<PathBuf>, StateError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StateError::io("list", path))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StateError::io("list", path))?;
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if folder && entry.file_name().as_bytes().first() != Some(&b'.') {
            found.push(entry.path());
        }
    }
    Ok(found)
}
