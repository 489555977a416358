//! What the paths of a profile lead to in a container's root file system that lies in a folder.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::{AsWritten, Places};
use crate::policy::mounts::beneath;
use crate::seal::aliased;

/// A root file system, not entered.
#[derive(Debug)]
pub struct Rootfs {
    root: File,
    path: PathBuf,
    /// Where something will be mounted over it: what lies there is not what the folder holds.
    mounts: Vec<String>,
}

impl Rootfs {
    /// Opens the folder; `mounts` are the destinations of config.json.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path, mounts: Vec<String>) -> io::Result<Rootfs> {
        let path = path.canonicalize()?;
        let root = File::open(&path)?;
        Ok(Rootfs { root, path, mounts })
    }

    /// The real name of `path` in it; none where it is not there. Nothing leads out of the folder.
    #[must_use]
    pub fn name(&self, path: &str, links: bool) -> Option<String> {
        let mut resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        if !links {
            resolve |= ResolveFlag::RESOLVE_NO_SYMLINKS;
        }
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(resolve);
        let found: OwnedFd = openat2(&self.root, path, how).ok()?;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
        let inside = real.strip_prefix(&self.path).ok()?;
        Some(format!("/{}", inside.to_str()?))
    }
}

impl Rootfs {
    /// A regular file in it, opened for reading. Nothing else is opened: an image may hold device files, and to
    /// open one is to do something (watchdog(4)).
    ///
    /// # Errors
    /// It is not there, is no regular file, or cannot be read.
    pub fn read(&self, path: &str) -> io::Result<File> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let node = File::from(openat2(&self.root, path, how)?);
        if !node.metadata()?.is_file() {
            return Err(io::Error::other("no regular file"));
        }
        let again = format!("/proc/self/fd/{}", node.as_raw_fd());
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let mut how = File::options();
        how.read(true).custom_flags(flags.bits()).open(again)
    }

    /// Whether a directory lies there.
    #[must_use]
    pub fn is_folder(&self, path: &str) -> bool {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.root, path, how).is_ok()
    }

    /// Whether something is mounted over it, so that the folder does not tell.
    #[must_use]
    pub fn is_covered(&self, path: &str) -> bool {
        self.mounts.iter().any(|mount| beneath(path, mount))
    }
}

impl Places for Rootfs {
    fn real(&self, path: &str, follow: bool) -> Vec<String> {
        if let Some(name) = self.name(path, follow) {
            return vec![name];
        }
        let other = aliased(Path::new(path)).filter(|_| !follow);
        let other = other.and_then(|other| self.name(other.to_str()?, false));
        if let Some(name) = other {
            return vec![name];
        }
        match self.is_covered(path) {
            true => AsWritten.real(path, follow),
            false => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    use nix::sys::stat::Mode;

    use super::*;
    use crate::state::tests::Scratch;

    /// As with a device file, whose opening does something.
    #[test]
    fn what_is_no_regular_file_is_not_even_opened() {
        let scratch = Scratch::new("rootfs");
        std::fs::write(scratch.path.join("file"), "text").unwrap();
        nix::unistd::mkfifo(&scratch.path.join("pipe"), Mode::S_IRWXU).unwrap();
        let rootfs = Rootfs::open(&scratch.path, Vec::new()).unwrap();
        let watch = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        for name in ["file", "pipe"] {
            let path = scratch.path.join(name);
            watch.add_watch(&path, AddWatchFlags::IN_OPEN).unwrap();
        }
        assert!(rootfs.read("/pipe").is_err());
        assert!(watch.read_events().is_err(), "nobody opened it");
        rootfs.read("/file").unwrap();
        assert_eq!(watch.read_events().unwrap().len(), 1);
    }
}
