//! Reading the engine's files, and replacing them whole or not at all.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::MAX_SIZE;
use crate::channel::DEADLINE;

/// Why a file cannot be read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Opening or reading.
    #[error("cannot read {file:?}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        file: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A directory, device or socket.
    #[error("cannot read {file:?}: it is a {kind}; name a regular file or a FIFO")]
    Kind {
        /// The file.
        file: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The size is beyond the limit.
    #[error("cannot read {file:?}: larger than 16 MiB; shorten it")]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A FIFO's writer does not write.
    #[error(
        "cannot read {file:?}: its writer kept silent for 10 s; write the file, then call again"
    )]
    Silent {
        /// The file.
        file: PathBuf,
    },
    /// Replacing.
    #[error(
        "cannot replace {file:?}: {step}: {source}; check the directory's space and permissions"
    )]
    Write {
        /// The file, which is as it was.
        file: PathBuf,
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Reads a regular file or a FIFO to its end, at most [`MAX_SIZE`] bytes.
///
/// `exec --process /dev/fd/63` is a FIFO, which can be read once. It is opened without blocking, so
/// that a writer who never comes costs the deadline and not the shim.
///
/// # Errors
///
/// It cannot be opened or read, is something else, too large, or silent for 10 s.
pub fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read {
        file: file.to_owned(),
        source,
    };
    let mut opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(file)
        .map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    if let Some(kind) = unsuitable(&metadata) {
        return Err(FileError::Kind {
            file: file.to_owned(),
            kind,
        });
    }
    let fifo = metadata.file_type().is_fifo();
    let until = Instant::now() + DEADLINE;
    let mut bytes = Vec::new();
    let mut chunk = [0_u8; 16 * 1024];
    loop {
        if fifo && !readable(&opened, until).map_err(failed)? {
            return Err(FileError::Silent {
                file: file.to_owned(),
            });
        }
        match opened.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(failed(error)),
        }
        if bytes.len() > MAX_SIZE {
            return Err(FileError::TooLarge {
                file: file.to_owned(),
            });
        }
    }
}

/// Waits until a FIFO has bytes or its writer is gone; false once `until` is past.
fn readable(fifo: &File, until: Instant) -> io::Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // Rounded up: a rest below one millisecond must not spin.
        let wait = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(fifo.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(wait)) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn unsuitable(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_file() || kind.is_fifo() {
        None
    } else if kind.is_dir() {
        Some("directory")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("device")
    } else {
        Some("special file")
    }
}

/// Replaces `file` by `bytes`, with its mode and owner: a reader sees the old file or the new one,
/// and after an error the old one stands and nothing else is left.
///
/// No fsync: bundles lie on a tmpfs, and a machine that goes down takes the container with it. Only
/// a SIGKILL in between leaves the temporary file (`.NAME.mantlet-PID-N`), which no runtime reads
/// and which goes with the bundle. Where `file` is a symbolic link, the link is replaced and not
/// its target.
///
/// # Errors
///
/// `file` is absent or no regular file, or its directory refuses.
pub fn write_atomically(file: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |step| {
        move |source| FileError::Write {
            file: file.to_owned(),
            step,
            source,
        }
    };
    let old = std::fs::metadata(file).map_err(failed("looking at it"))?;
    if !old.is_file() {
        let kind = unsuitable(&old).unwrap_or("FIFO");
        return Err(FileError::Kind {
            file: file.to_owned(),
            kind,
        });
    }
    let temporary = Temporary::new(file);
    // create_new: whatever lies there under this name, a link even, is not written through.
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary.path)
        .map_err(failed("creating a temporary file beside it"))?;
    new.write_all(bytes)
        .map_err(failed("writing a temporary file"))?;
    let made = new
        .metadata()
        .map_err(failed("looking at the temporary file"))?;
    if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
        // Before the mode: chown(2) clears set-id bits, and nobody else may read it in between.
        std::os::unix::fs::fchown(&new, Some(old.uid()), Some(old.gid()))
            .map_err(failed("giving the temporary file its owner"))?;
    }
    new.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))
        .map_err(failed("giving the temporary file its mode"))?;
    std::fs::rename(&temporary.path, file).map_err(failed("renaming the temporary file"))?;
    temporary.keep();
    Ok(())
}

/// A temporary file that is removed unless it was renamed.
struct Temporary {
    path: PathBuf,
    kept: bool,
}

impl Temporary {
    fn new(file: &Path) -> Temporary {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut name = std::ffi::OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        name.push(format!(".mantlet-{}-{next}", std::process::id()));
        Temporary {
            path: file.with_file_name(name),
            kept: false,
        }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::testdir::TestDir;

    #[test]
    fn a_temporary_file_goes_unless_it_was_renamed() {
        let dir = TestDir::new("temporary");
        let file = dir.path().join("config.json");
        let dropped = Temporary::new(&file);
        std::fs::write(&dropped.path, "half").unwrap();
        assert_eq!(dropped.path.parent(), Some(dir.path()));
        drop(dropped);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_name_that_leaves_no_room_for_a_temporary_one_keeps_its_file() {
        let dir = TestDir::new("long-name");
        let file = dir.path().join("x".repeat(250));
        std::fs::write(&file, "old").unwrap();
        let error = write_atomically(&file, b"new").unwrap_err().to_string();
        assert!(error.contains("creating a temporary file"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
