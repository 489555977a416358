//! What a call that names files or ports comes to: its memory read, its paths followed, and the rights
//! that Landlock would ask for ([`crate::access::files`]).
//!
//! Memory and names may change before the kernel looks at them itself: what is told is what was there a
//! moment before.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::super::link::Request;
use super::super::look;
use super::super::marks::TOKENS;
use super::Watcher;
use super::walk::{LONGEST, Led, Node, View};
use crate::access::files::{self, Address, Addressed, Asked, At, FileCall, Place};
use crate::access::{Access, Argument, calls};
use crate::detect::{Rule, Sensor};
use crate::sys::memory;

/// Interpreters of interpreters that the kernel takes (BINPRM_MAX_RECURSION), and a loader.
const MOST_PROGRAMS: usize = 6;
/// Bytes of a program's file that the kernel looks at first (BINPRM_BUF_SIZE).
const START: usize = 256;
/// `struct sockaddr_storage`.
const LONGEST_ADDRESS: usize = 128;

/// What is told of a file that no rule of a profile could name.
const OUTSIDE: &str = "a file that is not the container's, opened again by a descriptor that it was given (/proc/self/fd)";

/// Two places of one call.
#[derive(Default)]
struct Found {
    itself: Option<(String, String, bool)>,
    /// What was named lies on a mount that the container does not have.
    outside: bool,
    first: Option<(String, String, String)>,
    second: Option<(String, String, String)>,
}

impl Found {
    fn access(&self, asked: Asked) -> Option<Access> {
        let right = asked.right.to_owned();
        let entry = match asked.place {
            Place::Itself => {
                let (path, mount, directory) = self.itself.clone()?;
                return Some(Access::File {
                    path,
                    right,
                    entry: None,
                    mount,
                    directory,
                });
            }
            Place::FirstEntry => &self.first,
            Place::SecondEntry => &self.second,
        };
        let (path, mount, name) = entry.clone()?;
        Some(Access::File {
            path,
            right,
            entry: Some(name),
            mount,
            directory: true,
        })
    }

    fn all(&self, asked: &[Asked]) -> Vec<Access> {
        if self.outside && !asked.is_empty() {
            return vec![Access::Container {
                what: OUTSIDE.into(),
            }];
        }
        asked
            .iter()
            .filter_map(|asked| self.access(*asked))
            .collect()
    }
}

impl Watcher<'_> {
    /// The flags of clone3(2), as the call that a filter can look at: clone(2).
    pub(super) fn clone_flags(&self, tid: i32, args: &[u64; 6]) -> io::Result<Access> {
        let mut flags = [0; 8];
        memory::read(tid, args[0], &mut flags)?;
        Ok(Access::Syscall {
            name: "clone".into(),
            args: vec![Argument {
                index: 0,
                value: u64::from_ne_bytes(flags) & calls::NAMESPACES,
                mask: Some(calls::NAMESPACES),
            }],
        })
    }

    /// What a call does to files.
    ///
    /// # Errors
    /// Its memory or its paths cannot be looked at.
    pub(super) fn file_accesses(&mut self, tid: i32, call: FileCall) -> io::Result<Vec<Access>> {
        let view = View::of(tid)?;
        let mut found = Found::default();
        let asked = match call {
            FileCall::Open { at, flags } => {
                let Some(text) = text(tid, at)? else {
                    return Ok(Vec::new());
                };
                self.opened(&view, tid, at, &text, flags, &mut found)?
            }
            FileCall::OpenHow { at, how } => {
                let (Some(text), mut flags) = (text(tid, at)?, [0; 8]) else {
                    return Ok(Vec::new());
                };
                memory::read(tid, how, &mut flags)?;
                let flags = u64::from_ne_bytes(flags);
                self.opened(&view, tid, at, &text, flags, &mut found)?
            }
            FileCall::Execute { at, follow } => return self.executed(&view, tid, at, follow),
            FileCall::Make { at, right } => {
                match self.entry(&view, tid, at, &mut found.first)? {
                    // What is there already is not made.
                    Some(None) => vec![Asked {
                        place: Place::FirstEntry,
                        right,
                    }],
                    _ => Vec::new(),
                }
            }
            FileCall::Remove { at, right } => {
                let there = self.entry(&view, tid, at, &mut found.first)?.flatten();
                let fits = there.is_some_and(|mode| {
                    (mode & libc::S_IFMT == libc::S_IFDIR) == (right == "remove-dir")
                });
                let asked = Asked {
                    place: Place::FirstEntry,
                    right,
                };
                if fits { vec![asked] } else { Vec::new() }
            }
            FileCall::Truncate { at } => {
                let Some(text) = text(tid, at)? else {
                    return Ok(Vec::new());
                };
                match view.walk(None, &text, true)? {
                    Led::There(node) if node.mode & libc::S_IFMT == libc::S_IFREG => {
                        found.itself = self.named(tid, &node, &mut found.outside);
                        vec![Asked {
                            place: Place::Itself,
                            right: "truncate",
                        }]
                    }
                    _ => Vec::new(),
                }
            }
            FileCall::Link { from, to, follow } => {
                let source = match self.entry(&view, tid, from, &mut found.first)? {
                    Some(Some(mode)) => mode,
                    _ if !from.empty && !follow => return Ok(Vec::new()),
                    _ => 0,
                };
                let mode = if follow || from.empty {
                    let Some(node) = self.target(&view, tid, from)? else {
                        return Ok(Vec::new());
                    };
                    node.mode
                } else {
                    source
                };
                match self.entry(&view, tid, to, &mut found.second)? {
                    Some(None) => files::link(mode, found.same_directory()),
                    _ => Vec::new(),
                }
            }
            FileCall::Rename { from, to, exchange } => {
                let Some(Some(mode)) = self.entry(&view, tid, from, &mut found.first)? else {
                    return Ok(Vec::new());
                };
                let Some(replaced) = self.entry(&view, tid, to, &mut found.second)? else {
                    return Ok(Vec::new());
                };
                files::rename(mode, replaced, exchange, found.same_directory())
            }
        };
        Ok(found.all(&asked))
    }

    fn opened(
        &mut self,
        view: &View,
        tid: i32,
        at: At,
        text: &[u8],
        flags: u64,
        found: &mut Found,
    ) -> io::Result<Vec<Asked>> {
        let has = |flag: i32| flags & flag as u64 == flag as u64;
        let exclusive = has(libc::O_CREAT | libc::O_EXCL) && !has(libc::O_TMPFILE);
        let follow = !has(libc::O_NOFOLLOW) && !exclusive;
        Ok(match view.walk(at.dir, text, follow)? {
            Led::There(node) if node.mode & libc::S_IFMT == libc::S_IFLNK => Vec::new(),
            Led::There(node) => {
                found.itself = self.named(tid, &node, &mut found.outside);
                files::open(flags, Some(node.mode))
            }
            Led::Missing(folder, name) => {
                let name = String::from_utf8_lossy(&name).into_owned();
                if let Some((path, mount, _)) = self.named(tid, &folder, &mut found.outside) {
                    let whole = format!("{}/{name}", path.trim_end_matches('/'));
                    found.itself = Some((whole, mount.clone(), false));
                    found.first = Some((path, mount, name));
                }
                files::open(flags, None)
            }
            Led::Nowhere => Vec::new(),
        })
    }

    /// A program, and what the kernel executes with it.
    fn executed(&mut self, view: &View, tid: i32, at: At, follow: bool) -> io::Result<Vec<Access>> {
        let node = if at.empty && text(tid, at)?.is_some_and(|text| text.is_empty()) {
            Some(view.base(at.dir)?)
        } else {
            let Some(text) = text(tid, at)? else {
                return Ok(Vec::new());
            };
            match view.walk(at.dir, &text, follow)? {
                Led::There(node) => Some(node),
                _ => None,
            }
        };
        let (mut all, mut next) = (Vec::new(), node);
        for _ in 0..MOST_PROGRAMS {
            let Some(node) = next.take() else {
                break;
            };
            if node.mode & libc::S_IFMT != libc::S_IFREG {
                break;
            }
            let mut found = Found::default();
            found.itself = self.named(tid, &node, &mut found.outside);
            all.extend(found.all(&files::execute()));
            if self.answers_for(&found) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if let Some(path) = needs(&node)?
                && let Led::There(more) = view.walk(None, &path, true)?
            {
                next = Some(more);
            }
        }
        Ok(all)
    }

    /// Whether the kernel would ask this very watcher for its word on an opening of the file, which it would
    /// wait for for ever (`on: token-access`).
    fn answers_for(&self, found: &Found) -> bool {
        let asks = |rule: &Rule| rule.on == Sensor::TokenAccess;
        let mount = found.itself.as_ref().map(|(_, mount, _)| mount.as_str());
        mount.is_some_and(|mount| TOKENS.contains(&mount)) && self.rules.iter().any(asks)
    }

    fn target(&mut self, view: &View, tid: i32, at: At) -> io::Result<Option<Node>> {
        let Some(text) = text(tid, at)? else {
            return Ok(None);
        };
        if at.empty && text.is_empty() {
            return view.base(at.dir).map(Some);
        }
        Ok(match view.walk(at.dir, &text, true)? {
            Led::There(node) => Some(node),
            _ => None,
        })
    }

    /// The directory and name of a path, into `place`; the mode of what has the name. None where there is
    /// no such directory.
    fn entry(
        &mut self,
        view: &View,
        tid: i32,
        at: At,
        place: &mut Option<(String, String, String)>,
    ) -> io::Result<Option<Option<u32>>> {
        let Some(text) = text(tid, at)? else {
            return Ok(None);
        };
        let Some((folder, name, there)) = view.entry(at.dir, &text)? else {
            return Ok(None);
        };
        let name = String::from_utf8_lossy(&name).into_owned();
        let named = self.named(tid, &folder, &mut false);
        *place = named.map(|(path, mount, _)| (path, mount, name));
        Ok(Some(there.map(|node| node.mode)))
    }

    /// Path, mount, and whether it is a directory; none for what has no path.
    fn named(&mut self, tid: i32, node: &Node, found: &mut bool) -> Option<(String, String, bool)> {
        let path = node.path()?;
        if node.is_linked() {
            self.linked.push(path.clone());
        }
        match self.mounts.of(tid, node) {
            Some(mount) => Some((path, mount, node.is_directory())),
            None => {
                *found = true;
                None
            }
        }
    }

    /// What the address of a call names, and, of a port, whether the socket is TCP's.
    ///
    /// # Errors
    /// Its memory cannot be read.
    pub(super) fn socket_accesses(&mut self, tid: i32, call: Addressed) -> io::Result<Vec<Access>> {
        let length = (call.length as usize).min(LONGEST_ADDRESS);
        let mut bytes = [0; LONGEST_ADDRESS];
        let count = memory::read(tid, call.address, &mut bytes[..length])?;
        match files::address(&bytes[..count]) {
            Some(Address::Port(port)) if call.fast_open != Some(false) => {
                let right = if call.binds { "bind" } else { "connect" };
                let access = Access::Tcp {
                    right: right.into(),
                    port,
                };
                let is_tcp = self.is_tcp(tid, call.socket);
                Ok(if is_tcp { vec![access] } else { Vec::new() })
            }
            Some(Address::Path(path)) => self.socket_file(tid, &path, call.binds),
            _ => Ok(Vec::new()),
        }
    }

    fn socket_file(&mut self, tid: i32, path: &[u8], binds: bool) -> io::Result<Vec<Access>> {
        let view = View::of(tid)?;
        let mut found = Found::default();
        let (place, right) = if binds {
            let Some((folder, name, None)) = view.entry(None, path)? else {
                return Ok(Vec::new());
            };
            let name = String::from_utf8_lossy(&name).into_owned();
            let named = self.named(tid, &folder, &mut found.outside);
            found.first = named.map(|(path, mount, _)| (path, mount, name));
            (Place::FirstEntry, "make-sock")
        } else {
            match view.walk(None, path, true)? {
                Led::There(node) if node.mode & libc::S_IFMT == libc::S_IFSOCK => {
                    found.itself = self.named(tid, &node, &mut found.outside);
                }
                _ => return Ok(Vec::new()),
            }
            (Place::Itself, "resolve-unix")
        };
        Ok(found.all(&[Asked { place, right }]))
    }

    fn is_tcp(&mut self, tid: i32, number: i32) -> bool {
        let pid = look::thread_group(tid).unwrap_or(tid);
        let serial = self.next_serial();
        let request = Request::Socket {
            serial,
            pid,
            thread: tid,
            number,
        };
        self.ask(&request, &[]) == Some(1)
    }
}

impl Found {
    fn same_directory(&self) -> bool {
        let folder = |entry: &Option<(String, String, String)>| {
            entry
                .as_ref()
                .map(|(path, mount, _)| (path.clone(), mount.clone()))
        };
        folder(&self.first) == folder(&self.second)
    }
}

/// The text of a path; none where it is empty and means nothing, or is longer than the kernel takes.
fn text(tid: i32, at: At) -> io::Result<Option<Vec<u8>>> {
    let text = memory::text(tid, at.path, LONGEST)?;
    Ok(text.filter(|text| at.empty || !text.is_empty()))
}

/// The path of what the kernel executes with a program; none where it needs nothing, or is not executed at
/// all for want of a bit in its mode.
///
/// Its owner may hold a lease on it, or have it asked about by somebody (fanotify): nobody waits for them.
/// So nothing is opened that is no program, and what cannot be had at once is an error.
fn needs(node: &Node) -> io::Result<Option<Vec<u8>>> {
    if node.mode & libc::S_IFMT != libc::S_IFREG || node.mode & 0o111 == 0 {
        return Ok(None);
    }
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", node.fd.as_raw_fd()))?;
    Ok(needs_of(&file))
}

fn needs_of(file: &File) -> Option<Vec<u8>> {
    let mut start = [0; START];
    let length = file.read_at(&mut start, 0).ok()?;
    let start = &start[..length];
    if let Some(path) = files::script_interpreter(start) {
        return Some(path.to_vec());
    }
    let (table, size, count) = files::program_headers(start)?;
    for number in 0..u64::from(count) {
        let mut header = [0; 56];
        let at = table.checked_add(number * u64::from(size))?;
        file.read_exact_at(&mut header, at).ok()?;
        if let Some((at, length)) = files::loader_in(&header) {
            let mut path = vec![0; (length as usize).min(LONGEST)];
            file.read_exact_at(&mut path, at).ok()?;
            let end = path.iter().position(|byte| *byte == 0);
            path.truncate(end.unwrap_or(path.len()));
            return Some(path);
        }
    }
    None
}
