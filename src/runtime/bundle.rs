//! Rewriting config.json: atomic, and doing it twice equals doing it once.
//!
//! The original is kept beside the rewritten file, under a name that holds the digest of what it
//! was rewritten to: `.config.json.mantlet-DIGEST`. A config.json that has such a companion is read
//! as its original; one that was edited since has none, and is read as it is. The companion lies in
//! the bundle because a bundle made by hand outlives both its container and /run.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::init::ARGV0_PREFIX;
use crate::oci::document::{self, Document, FileError, Kind};
use crate::seal::BOUND_INIT;
use crate::state::{StateError, digest, write_atomic};

const CONFIG: &str = "config.json";
const COMPANION: &str = ".config.json.mantlet-";
/// Hexadecimal digits of the digest in the name.
const DIGITS: usize = 32;

/// A bundle and the configuration that its engine wrote.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) path: PathBuf,
    pub(super) original: Document,
    original_bytes: Vec<u8>,
}

impl Bundle {
    /// Reads the bundle at `path`, absolute.
    pub(super) fn open(path: &Path) -> Result<Bundle, Failure> {
        let config = path.join(CONFIG);
        let current = document::read(&config)?;
        let companion = companion(path, &current);
        let rewritten = companion.exists();
        let bytes = if rewritten {
            document::read(&companion)?
        } else {
            current
        };
        let original = Document::parse(&config, Kind::Config, &bytes)?;
        if !rewritten && is_rewritten(&original) {
            return Err(Failure::OriginalLost { path: config });
        }
        Ok(Bundle {
            path: path.to_owned(),
            original,
            original_bytes: bytes,
        })
    }

    /// Where the original will be kept for `rewritten`.
    pub(super) fn companion_for(&self, rewritten: &[u8]) -> PathBuf {
        companion(&self.path, rewritten)
    }

    /// Replaces config.json. The original is safe before the first byte of it changes.
    pub(super) fn rewrite(&self, rewritten: &[u8]) -> Result<(), Failure> {
        let companion = self.companion_for(rewritten);
        let name = companion
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        write_atomic(&self.path, &name, &self.original_bytes)
            .map_err(|error| self.not_kept(error))?;
        // Readable by root alone: it holds the same environment as config.json, and nobody but the
        // front door and `mantlet inspect` asks for it.
        let private = fs::set_permissions(&companion, Permissions::from_mode(0o600));
        let written = private
            .map_err(|error| Failure::system("protect", companion.display().to_string(), error))
            .and_then(|()| {
                Ok(document::write_atomically(
                    &self.path.join(CONFIG),
                    rewritten,
                )?)
            });
        match &written {
            Ok(()) => self.drop_companions(Some(&name)),
            Err(_) => self.drop_companions(None),
        }
        written
    }

    /// The disk is the bundle's here, not the state directory's, and so is the remedy.
    fn not_kept(&self, error: StateError) -> Failure {
        match error {
            StateError::Io { source, .. } => Failure::File(FileError::Write {
                file: self.path.join(CONFIG),
                step: "keeping its original beside it",
                source,
            }),
            other => other.into(),
        }
    }

    /// Removes companions of earlier rewritings, all but `keep`.
    fn drop_companions(&self, keep: Option<&str>) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(COMPANION) && Some(name.as_ref()) != keep {
                // A companion that stays is never read: its digest fits nothing.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn companion(bundle: &Path, rewritten: &[u8]) -> PathBuf {
    let digest = digest(rewritten);
    bundle.join(format!("{COMPANION}{}", &digest[..DIGITS]))
}

/// Whether init stands in front of the command already.
fn is_rewritten(document: &Document) -> bool {
    let first = document
        .value()
        .pointer("/process/args/0")
        .and_then(|word| word.as_str());
    first.is_some_and(|word| word.starts_with(ARGV0_PREFIX) || word == BOUND_INIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, config: &str) -> Folder {
            let path =
                std::env::temp_dir().join(format!("mantlet-bundle-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join(CONFIG), config).unwrap();
            Folder(path)
        }

        fn names(&self) -> usize {
            fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const ORIGINAL: &str = r#"{"ociVersion": "1.0.2", "process": {"args": ["sh"]}}"#;
    const REWRITTEN: &[u8] = br#"{"process":{"args":["/proc/self/fd/3","sh"]}}"#;

    #[test]
    fn a_rewritten_bundle_is_read_as_its_original() {
        let folder = Folder::new("twice", ORIGINAL);
        for _ in 0..3 {
            let bundle = Bundle::open(&folder.0).unwrap();
            assert_eq!(bundle.original_bytes, ORIGINAL.as_bytes());
            bundle.rewrite(REWRITTEN).unwrap();
            assert_eq!(fs::read(folder.0.join(CONFIG)).unwrap(), REWRITTEN);
            assert_eq!(folder.names(), 2);
        }
    }

    #[test]
    fn an_edited_config_is_read_as_it_is_and_the_old_original_goes() {
        let folder = Folder::new("edited", ORIGINAL);
        Bundle::open(&folder.0).unwrap().rewrite(REWRITTEN).unwrap();
        let edited = ORIGINAL.replace("sh", "ls");
        fs::write(folder.0.join(CONFIG), &edited).unwrap();
        let bundle = Bundle::open(&folder.0).unwrap();
        assert_eq!(bundle.original_bytes, edited.as_bytes());
        bundle
            .rewrite(br#"{"process":{"args":["/proc/self/fd/3","ls"]}}"#)
            .unwrap();
        assert_eq!(folder.names(), 2);
    }

    #[test]
    fn a_rewritten_config_without_its_original_is_refused() {
        let folder = Folder::new("lost", std::str::from_utf8(REWRITTEN).unwrap());
        assert!(matches!(
            Bundle::open(&folder.0),
            Err(Failure::OriginalLost { .. })
        ));
    }

    #[test]
    fn a_rewriting_that_fails_leaves_the_bundle_as_it_was() {
        let folder = Folder::new("fails", ORIGINAL);
        let bundle = Bundle::open(&folder.0).unwrap();
        fs::remove_file(folder.0.join(CONFIG)).unwrap();
        fs::create_dir(folder.0.join(CONFIG)).unwrap();
        assert!(bundle.rewrite(REWRITTEN).is_err());
        assert_eq!(folder.names(), 1);
    }
}
