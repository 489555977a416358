//! Archives of evidence beside the journals: `LOG/evidence/ROOT-ID-TIME.tar`, root only.
//!
//! Pods can have the log folder mounted, and put anything in the place of anything. Nothing is
//! followed out of it: the folder is held, and what is in it is made and removed through that.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::StateError;
use super::home::check_private;

/// Folder of the archives, below that of the journals.
pub(super) const FOLDER: &str = "evidence";
/// Most archives of one container.
pub const MOST_ARCHIVES: usize = 5;
/// What follows a container's name: `-20260101T000000.000Z.tar`.
pub(super) const ENDING: usize = 25;

/// The archives of one container.
#[derive(Debug)]
pub struct Archives {
    path: PathBuf,
    folder: OwnedFd,
    /// `ROOT-ID`, as in the journal's name.
    name: String,
}

impl Archives {
    /// Those beside `journal`. Makes their folder, mode 0700, where there is none.
    ///
    /// # Errors
    /// The folder cannot be made or opened, or others can write to it.
    pub fn of(journal: &Path) -> Result<Archives, StateError> {
        let path = journal.with_file_name(FOLDER);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StateError::io("create", &path)(error));
            }
            _ => {}
        }
        let folder = open_folder(&path).map_err(StateError::io("open", &path))?;
        check_private(&path, folder.metadata())?;
        let name = journal.file_stem().unwrap_or_default();
        Ok(Archives {
            path,
            folder: folder.into(),
            name: name.to_string_lossy().into_owned(),
        })
    }

    /// A new, empty archive of mode 0600 and its path, after the oldest ones have made room for it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self, now: SystemTime) -> Result<(File, PathBuf), StateError> {
        self.make_room(MOST_ARCHIVES - 1);
        // Two within one millisecond: the later one is from a little later.
        let times = (0..100).map(|more| now + Duration::from_millis(more));
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for time in times {
            let name = format!("{}-{}.tar", self.name, stamp(time));
            let flags = OFlag::O_WRONLY
                | OFlag::O_CREAT
                | OFlag::O_EXCL
                | OFlag::O_NOFOLLOW
                | OFlag::O_CLOEXEC;
            let mode = Mode::S_IRUSR | Mode::S_IWUSR;
            match openat(&self.folder, name.as_str(), flags, mode) {
                Ok(made) => return Ok((made.into(), self.path.join(name))),
                Err(nix::Error::EEXIST) => {}
                Err(error) => {
                    last = error.into();
                    break;
                }
            }
        }
        Err(StateError::io("create an archive in", &self.path)(last))
    }

    /// Removes the oldest ones but the first until there are at most `most`: the first tells how it began,
    /// and whoever is in the container could have more made. What cannot be removed stays; it is found
    /// again the next time.
    fn make_room(&self, most: usize) {
        let Ok(names) = super::prune::names(&self.folder) else {
            return;
        };
        // Names of one container have one length, and so the order of their times.
        let mut own: Vec<String> = names.into_iter().filter(|name| self.owns(name)).collect();
        own.sort_unstable();
        let surplus = own.len().saturating_sub(most);
        for name in own.iter().skip(1).take(surplus) {
            let _ = unlinkat(&self.folder, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }

    fn owns(&self, file: &str) -> bool {
        let ending = file.strip_prefix(&self.name);
        ending.is_some_and(is_ending)
    }
}

/// A folder, and no link to one.
pub(super) fn open_folder(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    File::options().read(true).custom_flags(flags).open(path)
}

/// `20260101T000000.000Z`: of one length, and in the order of time.
fn stamp(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_millis(time).to_string();
    text.replace(['-', ':'], "")
}

/// Whether it is what [`Archives::create`] writes behind a container's name.
pub(super) fn is_ending(text: &str) -> bool {
    let time = text
        .strip_prefix('-')
        .and_then(|rest| rest.strip_suffix(".tar"));
    let is_time = |time: &str| {
        let form = "ddddddddTdddddd.dddZ";
        let fits = |(letter, form): (char, char)| match form {
            'd' => letter.is_ascii_digit(),
            other => letter == other,
        };
        time.len() == form.len() && time.chars().zip(form.chars()).all(fits)
    };
    text.len() == ENDING && time.is_some_and(is_time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::UNIX_EPOCH;

    const JOURNAL: &str = "0123456789abcdef-web.jsonl";

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_container_has_its_first_archive_and_the_last_four() {
        let scratch = Scratch::new("archives");
        let archives = Archives::of(&scratch.path.join(JOURNAL)).unwrap();
        let folder = scratch.path.join("evidence");
        // One of a container whose name goes on, and something else.
        let others = [
            "0123456789abcdef-web-20260101T000000.000Z-20260101T000000.000Z.tar",
            "0123456789abcdef-web.tar",
        ];
        for name in others {
            fs::write(folder.join(name), "x").unwrap();
        }
        let begin = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for more in 0..8 {
            let (file, path) = archives.create(begin + Duration::from_secs(more)).unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert!(path.exists());
        }
        let mut expected: Vec<String> = [0, 4, 5, 6, 7]
            .into_iter()
            .map(|second| format!("0123456789abcdef-web-20270115T08000{second}.000Z.tar"))
            .chain(others.map(str::to_owned))
            .collect();
        expected.sort();
        assert_eq!(names(&folder), expected);
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn two_of_one_millisecond_are_two() {
        let scratch = Scratch::new("archives-twice");
        let archives = Archives::of(&scratch.path.join(JOURNAL)).unwrap();
        let (_, one) = archives.create(UNIX_EPOCH).unwrap();
        let (_, two) = archives.create(UNIX_EPOCH).unwrap();
        assert!(one < two);
    }

    #[test]
    fn a_link_in_the_folders_place_is_refused() {
        let scratch = Scratch::new("archives-link");
        let elsewhere = scratch.path.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, scratch.path.join("evidence")).unwrap();
        assert!(Archives::of(&scratch.path.join(JOURNAL)).is_err());
        fs::remove_file(scratch.path.join("evidence")).unwrap();
        let open = scratch.path.join("evidence");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = Archives::of(&scratch.path.join(JOURNAL)).unwrap_err();
        assert!(matches!(refused, StateError::Untrusted { .. }));
        assert!(names(&elsewhere).is_empty());
    }
}
