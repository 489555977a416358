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
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{OFlag, ResolveFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::init::paths::Root;
use crate::sys::{octal, statx};

/// As many as the kernel follows (MAXSYMLINKS of linux/namei.h).
const MOST_LINKS: u32 = 40;
/// PATH_MAX.
pub(super) const LONGEST: usize = 4096;
/// Inode of the root of every procfs (PROC_ROOT_INO).
const PROC_ROOT: u64 = 1;
/// Mounts remembered at a time.
const MOST_MOUNTS: usize = 4096;
/// What the kernel calls memory that has no name (memfd_create(2)); no domain is about it.
const MEMORY: &[u8] = b"/memfd:";

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

    /// A file with several names, or none any more: no rule on this one would last.
    pub(super) fn is_linked(&self) -> bool {
        !self.is_directory() && self.links != 1
    }

    /// The same directory, by the same mount.
    pub(super) fn is(&self, other: &Node) -> bool {
        (self.device, self.inode, self.mount) == (other.device, other.inode, other.mount)
    }

    /// Its path below the root of its mount namespace, of a file that was removed or never had a name the one
    /// that the kernel looks at all the same; none for what has none: a pipe, a socket, memory.
    pub(super) fn path(&self) -> Option<Vec<u8>> {
        let link = fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).ok()?;
        let text = link.into_os_string().into_encoded_bytes();
        let gone = statx::cached(&self.fd, c"").is_ok_and(|stat| stat.links == 0);
        let text = match text.strip_suffix(b" (deleted)").filter(|_| gone) {
            Some(text) if !text.starts_with(MEMORY) => text,
            Some(_) => return None,
            None => &text,
        };
        let named = text.starts_with(b"/") && text.len() <= LONGEST;
        named.then(|| text.to_vec())
    }

    /// Whether both lie on one mount, as far as the kernel tells.
    pub(super) fn shares_mount(&self, other: &Node) -> bool {
        self.mount == other.mount
    }
}

/// A directory, a name in it, and what has that name.
pub(super) type Entry = (Node, Vec<u8>, Option<Node>);

/// Where a path leads.
pub(super) enum Led {
    There(Node),
    /// There is nothing of that name in that directory.
    Missing(Node, Vec<u8>),
    /// There is no such directory, or too many links, or it may not be gone there: the call fails too.
    Nowhere,
    /// A link stands in it, and none is to be followed.
    Link,
}

/// One thread's view of the file system.
pub(super) struct View {
    tid: i32,
    /// In how many pid namespaces the container's processes have numbers, where that is known.
    depth: Option<usize>,
    root: Node,
}

impl View {
    /// # Errors
    /// Those of open(2): the thread has ended, or may not be looked at.
    pub(super) fn of(tid: i32, depth: Option<usize>) -> io::Result<View> {
        Ok(View {
            tid,
            depth,
            root: Node::new(handle(&format!("/proc/{tid}/root"))?)?,
        })
    }

    /// Where `path` leads from `dir`, the working directory where there is none. A link at its end is
    /// followed where `follow` says so.
    ///
    /// # Errors
    /// What a walk does not fail with for the container: nobody can tell where it leads.
    pub(super) fn walk(&self, dir: Option<i32>, path: &[u8], follow: bool) -> io::Result<Led> {
        self.resolve(dir, path, follow, ResolveFlag::empty())
    }

    /// The same as openat2(2) goes.
    ///
    /// # Errors
    /// As [`View::walk`].
    pub(super) fn resolve(
        &self,
        dir: Option<i32>,
        path: &[u8],
        follow: bool,
        how: ResolveFlag,
    ) -> io::Result<Led> {
        let absolute = path.starts_with(b"/");
        if how.contains(ResolveFlag::RESOLVE_IN_ROOT) {
            let (top, start) = (self.base(dir)?, self.base(dir)?);
            return self.walk_from(start, &top, path, follow, how);
        }
        if how.contains(ResolveFlag::RESOLVE_BENEATH) {
            if absolute {
                return Ok(Led::Nowhere);
            }
            let (top, start) = (self.base(dir)?, self.base(dir)?);
            return self.walk_from(start, &top, path, follow, how);
        }
        let start = if absolute {
            again(&self.root)?
        } else {
            self.base(dir)?
        };
        self.walk_from(start, &self.root, path, follow, how)
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

    /// What has that name in a directory; none where nothing has.
    fn step(&self, folder: &Node, name: &[u8]) -> io::Result<Option<Node>> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&folder.fd, OsStr::from_bytes(name), flags, Mode::empty()) {
            Ok(fd) => Node::new(fd).map(Some),
            Err(nix::Error::ENOENT | nix::Error::ENAMETOOLONG | nix::Error::ENOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// `top` is the root of this walk, which nothing leads above.
    fn walk_from(
        &self,
        start: Node,
        top: &Node,
        path: &[u8],
        follow: bool,
        how: ResolveFlag,
    ) -> io::Result<Led> {
        let names = |path: &[u8]| -> VecDeque<Vec<u8>> {
            let all = path.split(|byte| *byte == b'/');
            all.filter(|name| !name.is_empty() && *name != b".")
                .map(<[u8]>::to_vec)
                .collect()
        };
        let has = |flag| how.contains(flag);
        let beneath = has(ResolveFlag::RESOLVE_BENEATH);
        let bound = beneath || has(ResolveFlag::RESOLVE_IN_ROOT);
        // `link/` is what the link leads to, whatever the flags (path_resolution(7)).
        let folder = path.ends_with(b"/") || path.ends_with(b"/.");
        let follow = follow || folder;
        let home = start.mount;
        let (mut at, mut left, mut links) = (start, names(path), 0);
        while let Some(name) = left.pop_front() {
            if has(ResolveFlag::RESOLVE_NO_XDEV) && at.mount != home {
                return Ok(Led::Nowhere);
            }
            if !at.is_directory() {
                return Ok(Led::Nowhere);
            }
            if name == b".." {
                if !at.is(top) {
                    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
                    at = Node::new(openat(&at.fd, "..", flags, Mode::empty())?)?;
                } else if beneath {
                    return Ok(Led::Nowhere);
                }
                continue;
            }
            let Some(next) = self.step(&at, &name)? else {
                return Ok(match left.is_empty() && !folder {
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
            if has(ResolveFlag::RESOLVE_NO_SYMLINKS) {
                return Ok(Led::Link);
            }
            if links > MOST_LINKS {
                return Ok(Led::Nowhere);
            }
            let on_proc = fstatfs(&next.fd)?.filesystem_type() == PROC_SUPER_MAGIC;
            let target = if on_proc && at.inode != PROC_ROOT {
                if bound || has(ResolveFlag::RESOLVE_NO_MAGICLINKS) {
                    return Ok(Led::Nowhere);
                }
                // Not a text: the kernel goes there itself.
                let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
                match openat(&at.fd, OsStr::from_bytes(&name), flags, Mode::empty()) {
                    Ok(fd) => at = Node::new(fd)?,
                    Err(nix::Error::ENOENT) => return Ok(Led::Nowhere),
                    Err(error) => return Err(error.into()),
                }
                continue;
            } else if on_proc && name == b"self" {
                self.own_number("NStgid")?.into_bytes()
            } else if on_proc && name == b"thread-self" {
                let (process, thread) = (self.own_number("NStgid")?, self.own_number("NSpid")?);
                format!("{process}/task/{thread}").into_bytes()
            } else {
                readlinkat(&next.fd, "")?.into_encoded_bytes()
            };
            if target.starts_with(b"/") {
                if beneath {
                    return Ok(Led::Nowhere);
                }
                at = again(top)?;
            }
            for name in names(&target).into_iter().rev() {
                left.push_front(name);
            }
            if left.len() > LONGEST {
                return Ok(Led::Nowhere);
            }
        }
        let strays = has(ResolveFlag::RESOLVE_NO_XDEV) && at.mount != home;
        Ok(match strays || folder && !at.is_directory() {
            true => Led::Nowhere,
            false => Led::There(at),
        })
    }

    /// Its number in its own pid namespace (proc_pid_status(5)), which a procfs shows as `self`.
    ///
    /// # Errors
    /// It lies deeper than the container's first process: which of its namespaces a procfs is of, nobody
    /// tells.
    fn own_number(&self, field: &str) -> io::Result<String> {
        let text = fs::read(format!("/proc/{}/status", self.tid))?;
        let numbers = numbers(&String::from_utf8_lossy(&text), field);
        let deeper = self.depth.is_some_and(|depth| depth != numbers.len());
        let own = numbers.into_iter().last().filter(|_| !deeper);
        own.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// The container's files, as its init sees them: a rule's path is no thread's.
impl Root for View {
    fn open(&self, path: &Path, follow: bool) -> nix::Result<OwnedFd> {
        let how = match follow {
            true => ResolveFlag::empty(),
            false => ResolveFlag::RESOLVE_NO_SYMLINKS,
        };
        let led = self.resolve(None, path.as_os_str().as_bytes(), true, how);
        match led.map_err(errno)? {
            Led::There(node) => Ok(node.fd),
            Led::Link => Err(nix::Error::ELOOP),
            Led::Missing(..) | Led::Nowhere => Err(nix::Error::ENOENT),
        }
    }

    fn child(&self, folder: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let node = Node::new(openat(folder, name, flags, Mode::empty())?).map_err(errno)?;
        match node.mode & libc::S_IFMT {
            libc::S_IFLNK => Err(nix::Error::ELOOP),
            _ => Ok(node.fd),
        }
    }

    fn mountinfo(&self) -> io::Result<Vec<u8>> {
        fs::read(format!("/proc/{}/mountinfo", self.tid))
    }
}

fn errno(error: io::Error) -> nix::Error {
    nix::Error::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn again(node: &Node) -> io::Result<Node> {
    Node::new(node.fd.try_clone()?)
}

/// What a thread has open under that number, in its own table of descriptors; none where it has nothing.
///
/// # Errors
/// Nobody can tell.
pub(super) fn descriptor(tid: i32, number: i32) -> io::Result<Option<Node>> {
    match handle(&format!("/proc/{tid}/fd/{number}")) {
        Ok(fd) => Node::new(fd).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn handle(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// A name as a line of the journal has it, and whether it is that: a byte that belongs to no UTF-8 is told as
/// `\xe9`. What begins with a name begins with that of it too, so a place's name and its files' still fit.
pub(super) fn in_text(name: &[u8]) -> (String, bool) {
    let (mut text, mut whole) = (String::with_capacity(name.len()), true);
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text += &format!("\\x{byte:02x}");
            whole = false;
        }
    }
    (text, whole)
}

/// The numbers of a line of /proc/PID/status, the outermost namespace's first.
fn numbers(status: &str, field: &str) -> Vec<String> {
    let mut lines = status.lines().rev();
    let line = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let words = line.into_iter().flat_map(str::split_whitespace);
    words.map(str::to_owned).collect()
}

/// In how many pid namespaces a process has a number.
///
/// # Errors
/// It has ended.
pub(super) fn depth(pid: i32) -> io::Result<usize> {
    let text = fs::read(format!("/proc/{pid}/status"))?;
    Ok(numbers(&String::from_utf8_lossy(&text), "NStgid").len())
}

/// Number of a thread's mount namespace.
///
/// # Errors
/// It has ended.
pub(super) fn namespace(tid: i32) -> io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{tid}/ns/mnt"))?.ino())
}

/// Where each mount begins, as the container sees it: told when its first process waited for its word, and
/// what has come since. The list of a thread that has changed its root, or has mounts of its own, is not the
/// container's: it is asked only about mounts of its own, and forgotten with the call.
#[derive(Default)]
pub(super) struct Mounts {
    known: HashMap<u64, String>,
    /// The namespace of those, and the container's first process.
    scene: Option<(u64, i32)>,
    /// Found for the call in hand, whose thread may have ended: whether they are the container's.
    fresh: HashMap<u64, (String, bool)>,
}

impl Mounts {
    /// Takes those that a session's init sees.
    pub(super) fn take(&mut self, namespace: u64, pid: i32, mounts: &[(u64, String)]) {
        let (own, _) = *self.scene.get_or_insert((namespace, pid));
        if own == namespace {
            for (number, place) in mounts {
                self.know(*number, place.clone());
            }
        }
    }

    fn know(&mut self, number: u64, place: String) {
        if self.known.len() < MOST_MOUNTS {
            self.known.entry(number).or_insert(place);
        }
    }

    /// Where the mount begins that something lies on, `/` where the kernel does not tell (before 5.8); none
    /// for a mount that the container does not have: a descriptor of the host's leads there.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(super) fn of(&mut self, tid: i32, node: &Node) -> io::Result<Option<String>> {
        let Some(number) = node.mount else {
            return Ok(Some("/".into()));
        };
        if let Some(place) = self.known.get(&number) {
            return Ok(Some(place.clone()));
        }
        if !self.fresh.contains_key(&number) {
            let own = namespace(tid)?;
            let first = self.scene.filter(|(scene, pid)| {
                *scene == own && namespace(*pid).is_ok_and(|first| first == own)
            });
            let whose = first.map_or(tid, |(_, pid)| pid);
            let text = fs::read(format!("/proc/{whose}/mountinfo"))?;
            for (number, place) in mounts(&text) {
                self.fresh.insert(number, (place, first.is_some()));
            }
        }
        Ok(self.fresh.get(&number).map(|(place, _)| place.clone()))
    }

    /// The call in hand is done with. Only if its thread still waited, what was found was the container's.
    pub(super) fn settle(&mut self, waited: bool) {
        for (number, (place, of_scene)) in std::mem::take(&mut self.fresh) {
            if waited && of_scene {
                self.know(number, place);
            }
        }
    }
}

/// Number and place of each mount in a list of them.
pub(super) fn mounts(text: &[u8]) -> Vec<(u64, String)> {
    let of = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == b' ');
        let number = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let place = words.nth(3)?;
        let place = octal::undone(place).unwrap_or_else(|| place.to_vec());
        Some((number, in_text(&place).0))
    };
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(of).take(MOST_MOUNTS).collect()
}

#[cfg(test)]
mod tests;
