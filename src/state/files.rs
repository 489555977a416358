//! Whole files: written by rename, read with a limit and never through a link.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use sha2::{Digest, Sha256};

use super::StateError;

/// Larger than any policy or record; what is larger was not written by us.
const MAX_SIZE: u64 = 64 << 20;
/// Tells apart the temporary files of one process.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// SHA-256 in lower-case hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// SHA-256 of a file's content, in lower-case hexadecimal.
///
/// # Errors
/// The file cannot be opened or read.
pub fn digest_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(hexadecimal(&hash.finalize())),
            Ok(count) => hash.update(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes `folder/name` so that a reader sees the old content or the new one, never a part: a
/// temporary file of mode 0600 beside it, then rename(2). The temporary file is removed again
/// where that fails (a full disk).
///
/// # Errors
/// Any step failed; the old content, if any, is as it was.
pub fn write_atomic(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StateError> {
    let path = folder.join(name);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    // Not derived from `name`, which may already be as long as a file name can be.
    let temporary = folder.join(format!(".{}.{serial}.tmp", std::process::id()));
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, &path));
    written.map_err(|source| {
        // Best effort: the error to report is the first one.
        let _ = fs::remove_file(&temporary);
        StateError::Io {
            operation: "write",
            path,
            source,
        }
    })
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One left behind by a process that died and whose pid came again.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}

/// The whole content of a regular file, no link and no fifo.
///
/// # Errors
/// It is not there, is no regular file, is too large, or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, StateError> {
    read_bounded(path).map_err(StateError::io("read", path))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > MAX_SIZE {
        return Err(io::Error::other("not a regular file of at most 64 MiB"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.take(MAX_SIZE).read_to_end(&mut bytes)?;
    Ok(bytes)
}
