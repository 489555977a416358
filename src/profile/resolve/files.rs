//! The union of file lists, and the exceptions that it must not lose.

use std::path::Path;

use super::super::diagnose::{Error, Problem};
use super::super::entry::{FileEntry, Place, PlainPath};
use super::super::model::Files;
use super::Profile;

/// One part of a union of file lists, and what errors call it.
struct Part {
    of: String,
    files: Files,
}

/// A file's own lists and its parents'.
pub(super) fn merge(
    name: &str,
    own: Option<Files>,
    parents: &[Profile],
) -> Result<Option<Files>, Error> {
    let part = |of: &str, files: Files| Part {
        of: of.to_owned(),
        files,
    };
    let mut parts =
        own.map(|files| part(name, files))
            .into_iter()
            .chain(parents.iter().filter_map(|parent| {
                let files = parent.files.clone()?;
                Some(part(&parent.name, files))
            }));
    let Some(mut all) = parts.next() else {
        return Ok(None);
    };
    for more in parts {
        all = unite(name, all, more)?;
    }
    Ok(Some(all.files))
}

/// The union of two parts. An exception narrows its own part's entries only; where the other part
/// grants nothing near it, it narrows the union just as well. Elsewhere it would be lost, and the
/// union would grant there what neither part does, such as one's execution of the other's reading.
fn unite(name: &str, mut all: Part, more: Part) -> Result<Part, Error> {
    for (one, other) in [(&all, &more), (&more, &all)] {
        let lost = |path: &&PlainPath| {
            !other.files.except.contains(path)
                && entries(&other.files).any(|entry| touches(entry, &path.path))
        };
        if let Some(path) = one.files.except.iter().find(lost) {
            let problem = Problem::ExceptLost {
                profile: name.to_owned(),
                path: path.path.clone(),
                by: one.of.clone(),
                other: other.of.clone(),
            };
            return Err(Error::at(&path.origin, problem));
        }
    }
    let more_files = more.files;
    let pairs = [
        (&mut all.files.read, more_files.read),
        (&mut all.files.read_execute, more_files.read_execute),
        (&mut all.files.read_write, more_files.read_write),
        (
            &mut all.files.read_write_execute,
            more_files.read_write_execute,
        ),
        (&mut all.files.execute, more_files.execute),
        (&mut all.files.device_ioctl, more_files.device_ioctl),
        (&mut all.files.make_device, more_files.make_device),
    ];
    for (list, more) in pairs {
        for entry in more {
            if !list.contains(&entry) {
                list.push(entry);
            }
        }
    }
    for path in more_files.except {
        if !all.files.except.contains(&path) {
            all.files.except.push(path);
        }
    }
    all.of = format!("{} and {}", all.of, more.of);
    Ok(all)
}

fn entries(files: &Files) -> impl Iterator<Item = &FileEntry> {
    [
        &files.read,
        &files.read_execute,
        &files.read_write,
        &files.read_write_execute,
        &files.execute,
        &files.device_ioctl,
        &files.make_device,
    ]
    .into_iter()
    .flatten()
}

/// Whether `entry` may grant something at, above or beneath `path`. A symbol stands for places that
/// only a container tells, and a followed link leads anywhere.
fn touches(entry: &FileEntry, path: &str) -> bool {
    match &entry.place {
        Place::Symbol(_) => true,
        Place::Path(_) if entry.follow => true,
        Place::Path(own) => {
            let (own, path) = (Path::new(own), Path::new(path));
            own.starts_with(path) || path.starts_with(own)
        }
    }
}
