//! Waiting for a number of a group to change without asking again and again.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd;

/// A descriptor that becomes ready when a number of the kernel's may have changed, and the number.
/// Works in a process that can no longer reach the hierarchy.
#[derive(Debug)]
pub struct Watch {
    /// For epoll_ctl(2).
    pub fd: OwnedFd,
    /// What to ask epoll for: EPOLLPRI of a file, which is always readable, or EPOLLIN of an
    /// eventfd(2).
    pub flags: EpollFlags,
    /// The file that has the number, where it is not `fd` itself.
    file: Option<File>,
    /// The number's name in the file.
    key: &'static str,
}

impl Watch {
    /// On a file that the kernel wakes the readers of. It compares with what was last read through
    /// this very descriptor, so it is read once.
    pub(super) fn of_file(file: File, key: &'static str) -> io::Result<Watch> {
        let watch = Watch {
            fd: file.into(),
            flags: EpollFlags::EPOLLPRI,
            file: None,
            key,
        };
        watch.take()?;
        Ok(watch)
    }

    /// What v1 counts events in.
    pub(super) fn counter() -> io::Result<OwnedFd> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(EventFd::from_flags(flags)?.into())
    }

    /// On such a counter, for a number of `file`.
    pub(super) fn of_counter(counter: OwnedFd, file: File, key: &'static str) -> Watch {
        Watch {
            fd: counter,
            flags: EpollFlags::EPOLLIN,
            file: Some(file),
            key,
        }
    }

    /// The number now; from here on the descriptor waits for the next change.
    ///
    /// With v1 the kernel tells of memory that ran out *before* it kills for it, so the number may
    /// be the old one; and it tells, once, of a group that is removed.
    ///
    /// # Errors
    /// ENODEV where the group is gone; [`io::ErrorKind::InvalidData`] where the number is not there.
    pub fn take(&self) -> io::Result<u64> {
        let text = match &self.file {
            None => contents(&File::from(self.fd.try_clone()?))?,
            Some(file) => {
                let mut count = [0; 8];
                match unistd::read(&self.fd, &mut count) {
                    Ok(_) | Err(Errno::EAGAIN) => contents(file)?,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        number(&text, self.key).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// A small file of the hierarchy, from its start: only that makes the kernel look anew.
fn contents(file: &File) -> io::Result<String> {
    let mut bytes = [0; 1024];
    let count = file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

/// The number of that name in a file of `name number` lines.
pub fn number(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .and_then(|rest| rest.trim().parse().ok())
}
