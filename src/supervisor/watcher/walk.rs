//! Where a path of the container's leads, followed as its kernel would: from the thread's own root,
//! working directory or descriptor, link by link, name by name.
//!
//! Everything is opened as a handle (O_PATH): nothing is read by it, no device and no pipe notices, and
//! the names are the container's while the walk goes on: what is found may be replaced a moment later. The
//! links of procfs that are no text (`/proc/self/fd/1`) are taken by the kernel, those that mean the
//! caller (`/proc/self`) by its number.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::sys::statx;

/// As many as the kernel follows (MAXSYMLINKS of linux/namei.h).
const MOST_LINKS: u32 = 40;
/// PATH_MAX.
pub(super) const LONGEST: usize = 4096;
/// Inode of the root of every procfs (PROC_ROOT_INO).
const PROC_ROOT: u64 = 1;
/// Mounts remembered at a time.
const MOST_MOUNTS: usize = 4096;

/// Something that a path led to.
pub(super) struct Node {
    pub(super) fd: OwnedFd,
    /// File type and permission bits.
    pub(super) mode: u32,
    device: (u32, u32),
    inode: u64,
    mount: Option<u64>,
    links: u32,
}

impl Node {
    fn new(fd: OwnedFd) -> io::Result<Node> {
        let stat = statx::cached(&fd, c"")?;
        Ok(Node {
            fd,
            mode: stat.mode,
            device: stat.device,
            inode: stat.inode,
            mount: stat.mount,
            links: stat.links,
        })
    }

    pub(super) fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// A file with several names.
    pub(super) fn is_linked(&self) -> bool {
        !self.is_directory() && self.links > 1
    }

    /// The same directory, by the same mount.
    pub(super) fn is(&self, other: &Node) -> bool {
        (self.device, self.inode, self.mount) == (other.device, other.inode, other.mount)
    }

    /// Its path below the root of its mount namespace; none for what has none: a pipe, a socket, memory,
    /// a file that was removed.
    pub(super) fn path(&self) -> Option<String> {
        let link = fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).ok()?;
        let text = link.into_os_string().into_encoded_bytes();
        let gone = statx::cached(&self.fd, c"").is_ok_and(|stat| stat.links == 0);
        let named = text.starts_with(b"/") && text.len() <= LONGEST && !gone;
        named.then(|| String::from_utf8_lossy(&text).into_owned())
    }
}

/// A directory, a name in it, and what has that name.
pub(super) type Entry = (Node, Vec<u8>, Option<Node>);

/// Where a path leads.
pub(super) enum Led {
    There(Node),
    /// There is nothing of that name in that directory.
    Missing(Node, Vec<u8>),
    /// There is no such directory, or too many links: the call fails too.
    Nowhere,
}

/// One thread's view of the file system.
pub(super) struct View {
    tid: i32,
    root: Node,
}

impl View {
    /// # Errors
    /// Those of open(2): the thread has ended, or may not be looked at.
    pub(super) fn of(tid: i32) -> io::Result<View> {
        Ok(View {
            tid,
            root: Node::new(handle(&format!("/proc/{tid}/root"))?)?,
        })
    }

    /// Where `path` leads from `dir`, the working directory where there is none. A link at its end is
    /// followed where `follow` says so.
    ///
    /// # Errors
    /// What a walk does not fail with for the container: nobody can tell where it leads.
    pub(super) fn walk(&self, dir: Option<i32>, path: &[u8], follow: bool) -> io::Result<Led> {
        let start = if path.starts_with(b"/") {
            self.again()?
        } else {
            self.base(dir)?
        };
        self.walk_from(start, path, follow)
    }

    /// The descriptor itself, or the working directory.
    ///
    /// # Errors
    /// As [`View::walk`].
    pub(super) fn base(&self, dir: Option<i32>) -> io::Result<Node> {
        let tid = self.tid;
        Node::new(match dir {
            Some(number) => handle(&format!("/proc/{tid}/fd/{number}"))?,
            None => handle(&format!("/proc/{tid}/cwd"))?,
        })
    }

    /// The directory that holds the last name of `path`, that name, and what has it, not followed.
    ///
    /// # Errors
    /// As [`View::walk`].
    pub(super) fn entry(&self, dir: Option<i32>, path: &[u8]) -> io::Result<Option<Entry>> {
        let end = path.iter().rposition(|byte| *byte != b'/');
        let whole = &path[..end.map_or(0, |end| end + 1)];
        let cut = whole.iter().rposition(|byte| *byte == b'/');
        let (above, name) = whole.split_at(cut.map_or(0, |cut| cut + 1));
        if matches!(name, b"" | b"." | b"..") {
            return Ok(None);
        }
        match self.walk(dir, above, true)? {
            Led::There(folder) if folder.is_directory() => {
                let found = self.step(&folder, name)?;
                Ok(Some((folder, name.to_vec(), found)))
            }
            _ => Ok(None),
        }
    }

    fn again(&self) -> io::Result<Node> {
        Node::new(self.root.fd.try_clone()?)
    }

    /// What has that name in a directory; none where nothing has.
    fn step(&self, folder: &Node, name: &[u8]) -> io::Result<Option<Node>> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&folder.fd, OsStr::from_bytes(name), flags, Mode::empty()) {
            Ok(fd) => Node::new(fd).map(Some),
            Err(nix::Error::ENOENT | nix::Error::ENAMETOOLONG | nix::Error::ENOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn walk_from(&self, start: Node, path: &[u8], follow: bool) -> io::Result<Led> {
        let names = |path: &[u8]| -> VecDeque<Vec<u8>> {
            let all = path.split(|byte| *byte == b'/');
            all.filter(|name| !name.is_empty() && *name != b".")
                .map(<[u8]>::to_vec)
                .collect()
        };
        let (mut at, mut left, mut links) = (start, names(path), 0);
        while let Some(name) = left.pop_front() {
            if !at.is_directory() {
                return Ok(Led::Nowhere);
            }
            if name == b".." {
                if !at.is(&self.root) {
                    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
                    at = Node::new(openat(&at.fd, "..", flags, Mode::empty())?)?;
                }
                continue;
            }
            let Some(next) = self.step(&at, &name)? else {
                return Ok(match left.is_empty() {
                    true => Led::Missing(at, name),
                    false => Led::Nowhere,
                });
            };
            let is_link = next.mode & libc::S_IFMT == libc::S_IFLNK;
            if !is_link || left.is_empty() && !follow {
                at = next;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Ok(Led::Nowhere);
            }
            let on_proc = fstatfs(&next.fd)?.filesystem_type() == PROC_SUPER_MAGIC;
            let target = if on_proc && at.inode != PROC_ROOT {
                // Not a text: the kernel goes there itself.
                let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
                match openat(&at.fd, OsStr::from_bytes(&name), flags, Mode::empty()) {
                    Ok(fd) => at = Node::new(fd)?,
                    Err(nix::Error::ENOENT) => return Ok(Led::Nowhere),
                    Err(error) => return Err(error.into()),
                }
                continue;
            } else if on_proc && name == b"self" {
                own_number(self.tid, "NStgid")?.into_bytes()
            } else if on_proc && name == b"thread-self" {
                let (process, thread) = (
                    own_number(self.tid, "NStgid")?,
                    own_number(self.tid, "NSpid")?,
                );
                format!("{process}/task/{thread}").into_bytes()
            } else {
                readlinkat(&next.fd, "")?.into_encoded_bytes()
            };
            if target.starts_with(b"/") {
                at = self.again()?;
            }
            for name in names(&target).into_iter().rev() {
                left.push_front(name);
            }
            if left.len() > LONGEST {
                return Ok(Led::Nowhere);
            }
        }
        Ok(Led::There(at))
    }
}

fn handle(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Its number in its own pid namespace (proc_pid_status(5)).
fn own_number(tid: i32, field: &str) -> io::Result<String> {
    let text = fs::read(format!("/proc/{tid}/status"))?;
    let text = String::from_utf8_lossy(&text);
    let line = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().last());
    number
        .map(str::to_owned)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Where each mount begins, as the container sees it.
#[derive(Default)]
pub(super) struct Mounts(HashMap<u64, String>);

impl Mounts {
    /// Where the mount begins that something lies on, `/` where the kernel does not tell (before 5.8); none
    /// for a mount that the container does not have: a descriptor of the host's leads there.
    pub(super) fn of(&mut self, tid: i32, node: &Node) -> Option<String> {
        let Some(number) = node.mount else {
            return Some("/".into());
        };
        if let Some(place) = self.0.get(&number) {
            return Some(place.clone());
        }
        if self.0.len() > MOST_MOUNTS {
            self.0.clear();
        }
        let text = fs::read(format!("/proc/{tid}/mountinfo")).unwrap_or_default();
        for line in text.split(|byte| *byte == b'\n') {
            let mut words = line.split(|byte| *byte == b' ');
            let number = words
                .next()
                .and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
            if let (Some(number), Some(place)) = (number, words.nth(3)) {
                let place = unescaped(place);
                self.0
                    .insert(number, String::from_utf8_lossy(&place).into_owned());
            }
        }
        self.0.get(&number).cloned()
    }
}

/// Without the octal escapes of mountinfo (proc_pid_mountinfo(5)).
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let digits = text.get(at + 1..at + 4).filter(|_| *byte == b'\\');
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(value.unwrap_or(*byte));
        at += if value.is_some() { 4 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests;
