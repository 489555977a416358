//! What runtimes answered, one small file each in `STATE/runtimes`, and digests of mantlet's own
//! programs in `STATE/programs`.
//!
//! Believed only where nobody but the caller (root, in service) could have written it, and only
//! for the very file that was asked. Anything odd, from a missing folder to torn content, is a
//! miss: the runtime is asked again. Nothing here can fail a create.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Family, Runtime};
use crate::state;

/// Version of the form of these files.
const VERSION: u32 = 2;
/// Much more than a written entry.
const MAX_SIZE: u64 = 64 * 1024;

/// The file that was asked, at the moment it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    path: PathBuf,
    dev: u64,
    ino: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// One file of the cache.
#[derive(Debug, Serialize, Deserialize)]
struct Entry<T> {
    version: u32,
    key: Key,
    value: T,
}

/// What a runtime answered.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    family: Family,
    text: String,
    number: Option<(u32, u32, u32)>,
}

const RUNTIMES: &str = "runtimes";
const PROGRAMS: &str = "programs";

impl Key {
    /// The key of the file at `path` now, behind any links.
    ///
    /// # Errors
    /// stat(2) failed.
    pub fn of(path: &Path) -> io::Result<Key> {
        Ok(Key::from(path, &fs::metadata(path)?))
    }

    /// The key of a file that is open, and known as `path`.
    fn from(path: &Path, meta: &Metadata) -> Key {
        Key {
            path: path.to_owned(),
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// One name per runtime path, so that an upgrade overwrites and nothing piles up.
    fn file_name(&self) -> String {
        use std::os::unix::ffi::OsStrExt;
        format!(
            "{}.json",
            &state::digest(self.path.as_os_str().as_bytes())[..16]
        )
    }
}

/// What is known about that very file, if anything trustworthy is.
pub fn read(state_dir: &Path, key: &Key) -> Option<Runtime> {
    let answer: Answer = value(&state_dir.join(RUNTIMES), key)?;
    Some(Runtime {
        path: key.path.clone(),
        family: answer.family,
        version: answer.text,
        number: answer.number,
    })
}

/// Keeps an answer, where that is possible.
pub fn write(state_dir: &Path, key: &Key, runtime: &Runtime) {
    let answer = Answer {
        family: runtime.family,
        text: runtime.version.clone(),
        number: runtime.number,
    };
    keep(&state_dir.join(RUNTIMES), key, answer);
}

/// SHA-256 of `program`, which was opened as `path`, in lower-case hexadecimal: read from the file
/// only where it is not the one that was read before. A megabyte costs a millisecond with the
/// processor's own instructions and twenty without.
///
/// # Errors
/// The file cannot be examined or read.
pub fn digest_of(program: &File, path: &Path, state_dir: &Path) -> io::Result<String> {
    let folder = state_dir.join(PROGRAMS);
    let key = Key::from(path, &program.metadata()?);
    if let Some(known) = value(&folder, &key) {
        return Ok(known);
    }
    let mut bytes = vec![0; usize::try_from(key.size).unwrap_or(0)];
    program.read_exact_at(&mut bytes, 0)?;
    let digest = state::digest(&bytes);
    keep(&folder, &key, digest.clone());
    Ok(digest)
}

fn value<T: DeserializeOwned>(folder: &Path, key: &Key) -> Option<T> {
    let opened = open(folder, O_DIRECTORY)?;
    if !private(&opened.metadata().ok()?) {
        return None;
    }
    let file = open(&folder.join(key.file_name()), O_NONBLOCK)?;
    let meta = file.metadata().ok()?;
    if !private(&meta) || !meta.is_file() || meta.len() > MAX_SIZE {
        return None;
    }
    let mut text = String::with_capacity(1024);
    file.take(MAX_SIZE).read_to_string(&mut text).ok()?;
    let entry: Entry<T> = serde_json::from_str(&text).ok()?;
    (entry.version == VERSION && entry.key == *key).then_some(entry.value)
}

fn keep(folder: &Path, key: &Key, value: impl Serialize) {
    let entry = Entry {
        version: VERSION,
        key: key.clone(),
        value,
    };
    if DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .is_err()
    {
        return;
    }
    let Ok(bytes) = serde_json::to_vec(&entry) else {
        return;
    };
    // What is not kept is asked again; there is nobody to tell.
    let _ = state::write_atomic(folder, &key.file_name(), &bytes);
}

fn open(path: &Path, flags: i32) -> Option<File> {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags | O_NOFOLLOW)
        .open(path)
        .ok()
}

/// Owned by the caller and writable by nobody else.
fn private(meta: &Metadata) -> bool {
    meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::state::tests::Scratch;

    fn known() -> (Key, Runtime) {
        let key = Key::of(Path::new("/bin/true")).unwrap();
        let runtime = Runtime {
            path: "/bin/true".into(),
            family: Family::Crun,
            version: "1.8.1".into(),
            number: Some((1, 8, 1)),
        };
        (key, runtime)
    }

    #[test]
    fn an_answer_is_kept_for_that_very_file_only() {
        let scratch = Scratch::new("cache");
        let (key, runtime) = known();
        assert_eq!(read(&scratch.path, &key), None);
        write(&scratch.path, &key, &runtime);
        assert_eq!(read(&scratch.path, &key), Some(runtime));
        let upgraded = Key {
            ino: key.ino + 1,
            ..key.clone()
        };
        assert_eq!(read(&scratch.path, &upgraded), None);
        let touched = Key {
            modified: (0, 0),
            ..key
        };
        assert_eq!(read(&scratch.path, &touched), None);
    }

    #[test]
    fn a_digest_is_read_again_once_the_program_has_changed() {
        let scratch = Scratch::new("cache-digest");
        let path = scratch.path.join("program");
        let digest = || digest_of(&File::open(&path).unwrap(), &path, &scratch.path).unwrap();
        for content in ["one", "another", "third"] {
            fs::write(&path, content).unwrap();
            for _ in 0..2 {
                assert_eq!(digest(), state::digest(content.as_bytes()));
            }
        }
    }

    #[test]
    fn odd_content_is_a_miss_and_is_written_over() {
        let scratch = Scratch::new("cache-odd");
        let (key, runtime) = known();
        write(&scratch.path, &key, &runtime);
        let file = scratch.path.join("runtimes").join(key.file_name());
        for content in ["", "{", "null", "{\"version\":1}", "\u{0}\u{1}"] {
            fs::write(&file, content).unwrap();
            assert_eq!(read(&scratch.path, &key), None, "{content:?}");
        }
        write(&scratch.path, &key, &runtime);
        assert_eq!(read(&scratch.path, &key), Some(runtime));
    }

    #[test]
    fn a_cache_that_others_can_write_is_not_believed() {
        let scratch = Scratch::new("cache-open");
        let (key, runtime) = known();
        write(&scratch.path, &key, &runtime);
        let folder = scratch.path.join("runtimes");
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&folder, 0o777);
        assert_eq!(read(&scratch.path, &key), None);
        mode(&folder, 0o700);
        assert!(read(&scratch.path, &key).is_some());
        mode(&folder.join(key.file_name()), 0o622);
        assert_eq!(read(&scratch.path, &key), None);
    }

    #[test]
    fn a_folder_behind_a_link_is_not_believed() {
        let scratch = Scratch::new("cache-link");
        let (key, runtime) = known();
        write(&scratch.path.join("real"), &key, &runtime);
        let link = scratch.path.join("runtimes");
        std::os::unix::fs::symlink(scratch.path.join("real/runtimes"), link).unwrap();
        assert_eq!(read(&scratch.path, &key), None);
    }
}
