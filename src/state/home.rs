//! The directory of one container.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Record, StateError, Status, Texts, VERSION, digest, files, write_atomic};

const RECORD: &str = "record.json";
const STATUS: &str = "status.json";
const TEXTS: &str = "profiles.json";
/// Longest id, bytes, that a journal is named by; archives of evidence have a longer ending.
pub(super) const LONGEST_ID: usize = 200;

/// The directory of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// `STATE/containers/ROOT/ID`.
    pub path: PathBuf,
}

/// Tells a directory from a later one of the same name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomeId(u64, u64);

impl Home {
    /// The directory for container `id` of the runtime root `root` under the state directory.
    /// Nothing is created or looked up in the state directory. Different spellings of one root
    /// (`/var/run` and `/run`, a trailing slash) give the same directory, or a session could be
    /// called past its container's record.
    ///
    /// # Errors
    /// [`StateError::Id`]: the id cannot be the name of a folder.
    pub fn new(state_dir: &Path, root: &Path, id: &str) -> Result<Home, StateError> {
        if !is_name(id) {
            return Err(StateError::Id {
                id: id.chars().take(300).collect(),
            });
        }
        Ok(Home {
            path: containers(state_dir).join(root_key(root)).join(id),
        })
    }

    /// The directory at `path`, which the front door made.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(path: &Path) -> Result<(Home, HomeId), StateError> {
        let meta = fs::symlink_metadata(path).map_err(StateError::io("examine", path))?;
        let home = Home {
            path: path.to_owned(),
        };
        Ok((home, HomeId(meta.dev(), meta.ino())))
    }

    /// The state directory that it lies in.
    pub fn state_dir(&self) -> &Path {
        self.path.ancestors().nth(3).unwrap_or(&self.path)
    }

    /// Removes the directory if it is still the one of that identity: ids are reused, and a new
    /// container of the same id may have its home here by now.
    ///
    /// # Errors
    /// flock(2), rmdir(2) or unlink(2) failed.
    pub fn remove_own(&self, own: HomeId) -> Result<(), StateError> {
        let _lock = self.lock()?;
        match Home::open(&self.path) {
            Ok((_, found)) if found == own => self.remove(),
            _ => Ok(()),
        }
    }

    /// Keeps others from creating or removing homes of this root while it is held.
    fn lock(&self) -> Result<Flock<fs::File>, StateError> {
        let root = self.path.parent().unwrap_or(&self.path);
        let folder = fs::File::open(root).map_err(StateError::io("open", root))?;
        Flock::lock(folder, FlockArg::LockExclusive)
            .map_err(|(_, errno)| StateError::io("lock", root)(errno.into()))
    }

    /// The container's id.
    pub fn id(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The digest that stands for the runtime's root.
    pub fn root_key(&self) -> String {
        let folder = self
            .path
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default();
        folder.to_string_lossy().into_owned()
    }

    /// Whether there is such a directory.
    pub fn exists(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.is_dir())
    }

    /// Creates the directory and those above it, mode 0700.
    ///
    /// # Errors
    /// [`StateError::Exists`] where the container has one (the caller decides whether that
    /// container still lives), [`StateError::Untrusted`] where others can write to a folder above.
    pub fn create(&self) -> Result<(), StateError> {
        let root = self.path.parent().unwrap_or(&self.path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(StateError::io("create", root))?;
        self.check_above()?;
        let _lock = self.lock()?;
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(StateError::Exists {
                id: self.id(),
                path: self.path.clone(),
            }),
            created => created.map_err(StateError::io("create", &self.path)),
        }
    }

    /// Refuses to believe what others than the caller could have put there: the three folders above
    /// decide which runtime is called and which policy a session gets.
    fn check_above(&self) -> Result<(), StateError> {
        let mut above = self.path.ancestors().skip(1);
        for folder in above.by_ref().take(2) {
            check_private(folder, fs::symlink_metadata(folder))?;
        }
        // The state directory itself may be a link of the admin's; what it leads to counts.
        above
            .next()
            .map_or(Ok(()), |state| check_private(state, fs::metadata(state)))
    }

    /// Removes the directory and what is in it; it is no error if it is gone. The root's folder stays,
    /// even if empty: another container may be about to be created in it.
    ///
    /// # Errors
    /// rmdir(2) or unlink(2) failed.
    pub fn remove(&self) -> Result<(), StateError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateError::io("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes the front door's decision.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_record(&self, record: &Record) -> Result<(), StateError> {
        self.write_json(RECORD, record)
    }

    /// Reads the front door's decision.
    ///
    /// # Errors
    /// It is not there, cannot be understood, or has another version.
    pub fn read_record(&self) -> Result<Record, StateError> {
        self.read_json(RECORD)
    }

    /// Writes the texts of the profiles in force.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_texts(&self, texts: &Texts) -> Result<(), StateError> {
        self.write_json(TEXTS, texts)
    }

    /// Reads the texts of the profiles in force; none of a container of an older front door.
    ///
    /// # Errors
    /// The file is there and cannot be read, understood, or has another version.
    pub fn read_texts(&self) -> Result<Option<Texts>, StateError> {
        self.read_if_there(TEXTS)
    }

    /// Writes what the supervisor saw.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_status(&self, status: &Status) -> Result<(), StateError> {
        self.write_json(STATUS, status)
    }

    /// Reads what the supervisor saw; none before it wrote for the first time.
    ///
    /// # Errors
    /// The file is there and cannot be read, understood, or has another version.
    pub fn read_status(&self) -> Result<Option<Status>, StateError> {
        self.read_if_there(STATUS)
    }

    fn read_if_there<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        match self.read_json(name) {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_json<T: serde::Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(value).map_err(|source| StateError::Content {
            path: self.path.join(name),
            source,
        })?;
        write_atomic(&self.path, name, &bytes)
    }

    /// The version is judged before the rest, so that a newer form says so instead of naming a
    /// field that is unknown or missing.
    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, StateError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        self.check_above()?;
        let path = self.path.join(name);
        let bytes = files::read(&path)?;
        let content = |source| StateError::Content {
            path: path.clone(),
            source,
        };
        let found = serde_json::from_slice::<Versioned>(&bytes)
            .map_err(content)?
            .version;
        if found != u64::from(VERSION) {
            return Err(StateError::Version {
                path,
                found,
                known: VERSION,
            });
        }
        serde_json::from_slice(&bytes).map_err(content)
    }
}

/// Where the journal of container `id` of the runtime root `root` is: `LOG/ROOT-ID.jsonl`. An id
/// that is no file name, or too long for one with its prefix, is replaced by its digest.
pub fn journal_path(log_dir: &Path, root: &Path, id: &str) -> PathBuf {
    let name = if is_name(id) && id.len() <= LONGEST_ID {
        id.to_owned()
    } else {
        digest(id.as_bytes())
    };
    log_dir.join(format!("{}-{name}.jsonl", root_key(root)))
}

/// The real runtime that owns a container, where mantlet made it: for calls that are forwarded
/// whatever state our configuration is in. Reads one small file and nothing else.
pub fn runtime_of(state_dir: &Path, root: &Path, id: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Hint {
        runtime: PathBuf,
    }
    let home = Home::new(state_dir, root, id).ok()?;
    home.check_above().ok()?;
    let bytes = files::read(&home.path.join(RECORD)).ok()?;
    let hint: Hint = serde_json::from_slice(&bytes).ok()?;
    hint.runtime.is_absolute().then_some(hint.runtime)
}

/// `STATE/containers`.
pub(super) fn containers(state_dir: &Path) -> PathBuf {
    state_dir.join("containers")
}

/// First 16 hexadecimal digits of the SHA-256 of the root's canonical path.
fn root_key(root: &Path) -> String {
    let mut key = digest(canonical(root).as_os_str().as_bytes());
    key.truncate(16);
    key
}

/// The path without links as far as it exists: at `create` the root itself often does not yet, and
/// its name has to be the same before and after.
fn canonical(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        if let Ok(found) = fs::canonicalize(existing) {
            return missing
                .iter()
                .rev()
                .fold(found, |path: PathBuf, part| path.join(part));
        }
        match (existing.parent(), existing.components().next_back()) {
            (Some(parent), Some(Component::Normal(part))) => {
                missing.push(part.to_owned());
                existing = parent;
            }
            // Relative or with `..` below a missing folder: taken as it is written.
            _ => return path.components().collect(),
        }
    }
}

/// Whether an id can be the name of a folder.
fn is_name(id: &str) -> bool {
    !id.is_empty() && id.len() <= 255 && !id.contains(['/', '\0']) && id != "." && id != ".."
}

/// Refuses a folder that does not belong to the caller or that others can write to.
pub(super) fn check_private(folder: &Path, meta: io::Result<Metadata>) -> Result<(), StateError> {
    let meta = meta.map_err(StateError::io("examine", folder))?;
    let own = meta.uid() == nix::unistd::geteuid().as_raw();
    if !own || !meta.is_dir() || meta.mode() & 0o022 != 0 {
        return Err(StateError::Untrusted {
            path: folder.to_owned(),
        });
    }
    Ok(())
}
