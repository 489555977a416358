//! `/proc/PID`, held: a pid that is given to another process meanwhile reads as gone.
//!
//! Nothing of the container's is opened here. Links are read, and files of procfs itself; what a
//! descriptor leads to is examined from what the kernel has of it.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use crate::sys::statx::{self, Stat};

/// Threads among which a living one is looked for.
const MOST_THREADS: usize = 4096;

/// `/proc/PID` of one process.
pub(super) struct Folder {
    pub(super) pid: i32,
    dir: OwnedFd,
}

/// What was read, up to a limit.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    /// There is more.
    pub(super) cut: bool,
}

impl Text {
    pub(super) fn lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

impl Folder {
    /// Where the process's first thread has ended and others go on, a folder of one of those: they have
    /// what it had, and it has nothing any more.
    ///
    /// # Errors
    /// There is no such process.
    pub(super) fn open(pid: i32) -> io::Result<Folder> {
        let first = Folder::of_first(pid)?;
        if !first.is_zombie() {
            return Ok(first);
        }
        let (threads, _) = first.numbers("task", MOST_THREADS).unwrap_or_default();
        let living = threads.into_iter().find_map(|thread| {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let name = format!("task/{thread}");
            let dir = openat(&first.dir, name.as_str(), flags, Mode::empty()).ok()?;
            let folder = Folder { pid, dir };
            (!folder.is_zombie()).then_some(folder)
        });
        Ok(living.unwrap_or(first))
    }

    /// What cannot be read counts as one.
    fn is_zombie(&self) -> bool {
        let Ok(stat) = self.read("stat", 4096) else {
            return true;
        };
        // Field 3, behind a name that may hold any byte.
        let end = stat.bytes.iter().rposition(|byte| *byte == b')');
        let state = end.and_then(|end| stat.bytes.get(end + 2));
        matches!(state, None | Some(b'Z' | b'X'))
    }

    fn of_first(pid: i32) -> io::Result<Folder> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let dir = std::os::unix::fs::OpenOptionsExt::custom_flags(
            std::fs::OpenOptions::new().read(true),
            flags,
        )
        .open(format!("/proc/{pid}"))?;
        Ok(Folder {
            pid,
            dir: dir.into(),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// A file of procfs, its first `most` bytes.
    ///
    /// # Errors
    /// It is not there, may not be read, or the process has ended.
    pub(super) fn read(&self, name: &str, most: usize) -> io::Result<Text> {
        let flags = OFlag::O_RDONLY
            | OFlag::O_CLOEXEC
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY;
        let file = File::from(openat(&self.dir, name, flags, Mode::empty())?);
        read_bounded(file, most)
    }

    /// Where a link leads, in the kernel's words. It is not followed.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub(super) fn link(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.dir, name)?.into_vec())
    }

    /// What a link of the kernel's leads to, as far as the kernel knows without asking a server.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub(super) fn examine(&self, name: &str) -> io::Result<Stat> {
        let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        statx::cached(&self.dir, &name)
    }

    /// The numbers that entries of a folder are named by, the first `most` of them, and whether there
    /// are more.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub(super) fn numbers(&self, name: &str, most: usize) -> io::Result<(Vec<i32>, bool)> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY;
        let mut folder = Dir::openat(&self.dir, name, flags, Mode::empty())?;
        let mut found = Vec::new();
        for entry in folder.iter() {
            let entry = entry?;
            let Some(number) = number(entry.file_name().to_bytes()) else {
                continue;
            };
            if found.len() == most {
                return Ok((found, true));
            }
            found.push(number);
        }
        Ok((found, false))
    }
}

fn number(name: &[u8]) -> Option<i32> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// At most `most` bytes from where the file stands.
///
/// # Errors
/// Those of read(2) on the first bytes; an error behind them is an end.
pub(super) fn read_bounded(mut from: impl Read, most: usize) -> io::Result<Text> {
    let mut bytes = vec![0; most.min(8 << 10)];
    let mut length = 0;
    loop {
        if length == bytes.len() {
            if length == most {
                let more = matches!(from.read(&mut [0; 1]), Ok(1));
                return Ok(Text { bytes, cut: more });
            }
            bytes.resize((length * 4).min(most), 0);
        }
        match from.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if length == 0 => return Err(error),
            Err(_) => break,
        }
    }
    bytes.truncate(length);
    Ok(Text { bytes, cut: false })
}

/// `[INODE]` of a link such as `net:[4026531840]`.
pub(super) fn bracketed(link: &[u8], word: &str) -> Option<u64> {
    let text = std::str::from_utf8(link).ok()?;
    let rest = text.strip_prefix(word)?.strip_prefix(":[")?;
    rest.strip_suffix(']')?.parse().ok()
}

/// Whether a link of the kernel's names one of its own objects (`pipe:[5]`) rather than a file.
pub(super) fn is_kernels(link: &[u8]) -> bool {
    !Path::new(OsStr::from_bytes(link)).has_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_was_asked_for() {
        let all: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        for most in [1, 8 << 10, 99_999, 100_000, 100_001] {
            let text = read_bounded(&all[..], most).unwrap();
            assert_eq!(text.bytes, all[..most.min(all.len())]);
            assert_eq!(text.cut, most < all.len(), "{most}");
        }
    }

    #[test]
    fn a_process_that_has_ended_reads_as_gone() {
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let folder = Folder::open(child.id() as i32).unwrap();
        assert!(folder.read("status", 4096).is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(folder.read("status", 4096).is_err());
        assert!(folder.numbers("fd", 10).is_err());
        assert!(folder.link("exe").is_err());
    }

    #[test]
    fn the_kernels_own_objects_are_told_from_files() {
        assert_eq!(bracketed(b"net:[7]", "net"), Some(7));
        assert_eq!(bracketed(b"/net:[7]", "net"), None);
        assert!(is_kernels(b"socket:[1]") && !is_kernels(b"/socket:[1]"));
    }
}
