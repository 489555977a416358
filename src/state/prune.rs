//! What the log folder may take: journals and archives of evidence, the oldest removed first.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::archives::{ENDING, FOLDER, is_ending, open_folder};
use super::home::{LONGEST_ID, containers};
use super::{StateError, digest};

const JOURNAL: &str = ".jsonl";
const ASIDE: &str = ".jsonl.1";
/// Digits of a root's digest in front of each name.
const ROOT: usize = 16;

/// What [`prune`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Files removed.
    pub removed: usize,
    /// Bytes that journals and archives take now.
    pub left: u64,
}

/// One file, in the order in which it would be removed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Aged {
    /// Put aside by a container that still writes: only after all others.
    last_resort: bool,
    changed: SystemTime,
    archive: bool,
    name: String,
    size: u64,
}

/// Removes journals and archives until all together take at most `total` bytes; 0: no bound. Oldest
/// first: archives, and journals of containers for which `is_living`, asked with the journal's file
/// name, says no. Where that is not enough, what living containers have put aside. Never a living
/// container's current journal: together those can take more than `total`.
///
/// Others may do the same at the same time. What is no file of ours is neither counted nor touched.
///
/// # Errors
/// The log folder cannot be read. A file that cannot be removed is counted on.
pub fn prune(
    log_dir: &Path,
    total: u64,
    is_living: impl Fn(&str) -> bool,
) -> Result<Pruned, StateError> {
    // 1. What is there? The log folder itself may be a link of the admin's.
    let journals = match fs::File::open(log_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Pruned::default()),
        opened => opened.map_err(StateError::io("open", log_dir))?,
    };
    let found = names(&journals).map_err(StateError::io("list", log_dir))?;
    let found = found.into_iter().filter(|name| is_journal(name));
    let mut files: Vec<Aged> = found
        .filter_map(|name| aged(&journals, name, false))
        .collect();
    let archives = open_folder(&log_dir.join(FOLDER)).ok();
    if let Some(folder) = &archives {
        let found = names(folder).unwrap_or_default().into_iter();
        let found = found.filter(|name| is_archive(name));
        files.extend(found.filter_map(|name| aged(folder, name, true)));
    }
    let mut pruned = Pruned {
        removed: 0,
        left: files.iter().map(|file| file.size).sum(),
    };
    if total == 0 || pruned.left <= total {
        return Ok(pruned);
    }
    // 2. In which order?
    for file in &mut files {
        let aside = file.name.strip_suffix(ASIDE);
        file.last_resort = aside.is_some_and(|name| is_living(&format!("{name}{JOURNAL}")));
    }
    files.sort_unstable();
    // 3. As far as it takes.
    for file in files {
        if pruned.left <= total {
            break;
        }
        // Asked only now: a container of the same id may have been created meanwhile.
        if file.name.ends_with(JOURNAL) && is_living(&file.name) {
            continue;
        }
        let folder = archives.as_ref().filter(|_| file.archive);
        let folder = folder.unwrap_or(&journals);
        match unlinkat(folder, file.name.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) => pruned.removed += 1,
            // Somebody else has.
            Err(nix::Error::ENOENT) => {}
            Err(_) => continue,
        }
        pruned.left -= file.size;
    }
    Ok(pruned)
}

/// A regular file with its size and age; none for anything else.
fn aged(folder: &fs::File, name: String, archive: bool) -> Option<Aged> {
    let stat = fstatat(folder, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return None;
    }
    let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
    let nanos = Duration::from_nanos(u64::try_from(stat.st_mtime_nsec).unwrap_or(0));
    Some(Aged {
        last_resort: false,
        changed: UNIX_EPOCH + seconds + nanos,
        archive,
        name,
        size: u64::try_from(stat.st_size).unwrap_or(0),
    })
}

/// `ROOT-ID.jsonl` or `ROOT-ID.jsonl.1`, as [`super::journal_path`] names them.
fn is_journal(name: &str) -> bool {
    let ends = name.ends_with(JOURNAL) || name.ends_with(ASIDE);
    ends && container_of(name).is_some()
}

/// `ROOT-ID-TIME.tar`
fn is_archive(name: &str) -> bool {
    let start = name.len().checked_sub(ENDING);
    let ending = start.and_then(|start| name.get(start..));
    ending.is_some_and(is_ending) && container_of(name).is_some()
}

/// The root's digest and the rest of a name that begins with one.
fn container_of(name: &str) -> Option<(&str, &str)> {
    let (root, rest) = name.split_at_checked(ROOT)?;
    let digits = root.bytes().all(|byte| byte.is_ascii_hexdigit());
    rest.strip_prefix('-')
        .filter(|_| digits)
        .map(|rest| (root, rest))
}

/// Whether the container that a journal's file name (`ROOT-ID.jsonl`) stands for has a home: it lives,
/// or died and was not swept yet. What cannot be told counts as living.
#[must_use]
pub fn has_home(state_dir: &Path, journal: &str) -> bool {
    let name = journal.strip_suffix(JOURNAL).unwrap_or(journal);
    let Some((root, id)) = container_of(name) else {
        return false;
    };
    let root = containers(state_dir).join(root);
    let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match fs::symlink_metadata(root.join(id)) {
        Ok(_) => return true,
        Err(error) if absent(&error) => {}
        Err(_) => return true,
    }
    match fs::read_dir(&root) {
        Err(error) => !absent(&error),
        Ok(entries) => {
            let names = entries.flatten().map(|entry| entry.file_name());
            // The journal of an id too long for a file name is named by its digest.
            let mut long = names.filter(|name| name.len() > LONGEST_ID);
            long.any(|name| digest(name.as_bytes()) == id)
        }
    }
}

/// Names in a folder, those that are no UTF-8 excepted: none of ours is.
pub(super) fn names(folder: impl AsFd) -> io::Result<Vec<String>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY;
    let mut dir = Dir::openat(folder, ".", flags, Mode::empty())?;
    let mut found = Vec::new();
    for entry in dir.iter() {
        if let Ok(name) = entry?.file_name().to_str() {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;
    use crate::state::{Home, journal_path};
    use std::fs::File;
    use std::os::unix::fs::symlink;

    const ROOT: &str = "0123456789abcdef";

    fn write(folder: &Path, name: &str, size: usize, hours_old: u64) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'x'; size]).unwrap();
        let changed = SystemTime::now() - Duration::from_secs(3600 * hours_old);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(changed)
            .unwrap();
    }

    /// All files there are, those of the evidence folder as `evidence/NAME`, without the root's digest.
    fn files(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for (prefix, folder) in [("", folder.to_owned()), ("evidence/", folder.join(FOLDER))] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name().into_string().unwrap();
                let short = name.strip_prefix(ROOT).unwrap_or(&name);
                found.push(format!("{prefix}{short}"));
            }
        }
        found.retain(|name| name != FOLDER);
        found.sort();
        found
    }

    const ARCHIVE: &str = "-20260101T000000.000Z.tar";

    fn filled(name: &str) -> Scratch {
        let scratch = Scratch::new(name);
        let at = |name: &str, size, hours| write(&scratch.path, name, size, hours);
        at(&format!("{ROOT}-gone.jsonl"), 100, 5);
        at(&format!("{ROOT}-gone.jsonl.1"), 100, 6);
        at(&format!("{ROOT}-lives.jsonl"), 100, 9);
        at(&format!("{ROOT}-lives.jsonl.1"), 100, 10);
        at(&format!("evidence/{ROOT}-lives{ARCHIVE}"), 100, 4);
        at(&format!("evidence/{ROOT}-gone{ARCHIVE}"), 100, 7);
        scratch
    }

    fn lives(journal: &str) -> bool {
        journal == format!("{ROOT}-lives.jsonl")
    }

    #[test]
    fn the_oldest_go_first_and_a_living_containers_journal_never() {
        let all = [
            "-gone.jsonl",
            "-gone.jsonl.1",
            "-lives.jsonl",
            "-lives.jsonl.1",
            "evidence/-gone-20260101T000000.000Z.tar",
            "evidence/-lives-20260101T000000.000Z.tar",
        ];
        // In the order in which they go.
        let order = [all[4], all[1], all[0], all[5], all[3]];
        for (removed, total) in [(0, 600), (1, 599), (1, 500), (3, 300), (4, 299), (5, 1)] {
            let scratch = filled("prune-order");
            let pruned = prune(&scratch.path, total, lives).unwrap();
            let left = 600 - removed as u64 * 100;
            assert_eq!(pruned, Pruned { removed, left }, "{total}");
            let mut expected = all.to_vec();
            expected.retain(|name| !order[..removed].contains(name));
            assert_eq!(files(&scratch.path), expected, "{total}");
            // Once more does nothing more.
            let again = prune(&scratch.path, total, lives).unwrap();
            assert_eq!(again.removed, 0);
        }
    }

    #[test]
    fn without_a_bound_or_a_folder_nothing_goes() {
        let scratch = filled("prune-unbound");
        let pruned = prune(&scratch.path, 0, |_| false).unwrap();
        assert_eq!((pruned.removed, pruned.left), (0, 600));
        let none = prune(Path::new("/nowhere/at/all"), 1, |_| false).unwrap();
        assert_eq!(none, Pruned::default());
    }

    #[test]
    fn what_is_not_ours_is_neither_counted_nor_touched() {
        let scratch = Scratch::new("prune-foreign");
        let foreign = [
            "notes.jsonl",
            "0123456789abcdeg-x.jsonl",
            "0123456789abcdef-x.json",
            "evidence/other.tar",
            "evidence/0123456789abcdef-x.tar",
        ];
        for name in foreign {
            write(&scratch.path, name, 100, 9);
        }
        let victim = scratch.path.join("victim");
        fs::write(&victim, "kept").unwrap();
        symlink(&victim, scratch.path.join(format!("{ROOT}-link.jsonl"))).unwrap();
        fs::create_dir(scratch.path.join(format!("{ROOT}-folder.jsonl"))).unwrap();
        let before = files(&scratch.path);
        let pruned = prune(&scratch.path, 1, |_| false).unwrap();
        assert_eq!(pruned, Pruned::default());
        assert_eq!(files(&scratch.path), before);
        assert_eq!(fs::read(victim).unwrap(), b"kept");
    }

    #[test]
    fn a_link_to_another_evidence_folder_is_not_followed() {
        let scratch = Scratch::new("prune-link");
        let name = format!("{ROOT}-gone{ARCHIVE}");
        write(&scratch.path.join("other"), &name, 100, 9);
        let log = scratch.path.join("log");
        fs::create_dir(&log).unwrap();
        symlink(scratch.path.join("other"), log.join(FOLDER)).unwrap();
        write(&log, &format!("{ROOT}-gone.jsonl"), 100, 1);
        let pruned = prune(&log, 1, |_| false).unwrap();
        assert_eq!((pruned.removed, pruned.left), (1, 0));
        assert!(scratch.path.join("other").join(name).exists());
    }

    #[test]
    fn a_journal_is_known_by_its_containers_home() {
        let scratch = Scratch::new("prune-home");
        let (state, root) = (scratch.path.join("state"), Path::new("/run/r"));
        let journal = |id: &str| {
            let path = journal_path(Path::new("/log"), root, id);
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        let (long, digits) = ("l".repeat(230), "a".repeat(64));
        for id in ["web", &long, &digits] {
            let journal = journal(id);
            assert!(!has_home(&state, &journal), "{id}");
            let home = Home::new(&state, root, id).unwrap();
            home.create().unwrap();
            assert!(has_home(&state, &journal), "{id}");
            home.remove().unwrap();
            assert!(!has_home(&state, &journal), "{id}");
        }
        assert!(!has_home(&state, "notes.jsonl"));
    }
}
