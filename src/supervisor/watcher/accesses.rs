//! What a call that names files or ports comes to: its memory read, its paths followed, and the rights
//! that Landlock would ask for ([`crate::access::files`]).
//!
//! Memory and names may change before the kernel looks at them itself: what is told is what was there a
//! moment before.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::fcntl::ResolveFlag;

use super::super::link::{Request, Whose};
use super::super::look;
use super::super::marks::TOKENS;
use super::Watcher;
use super::walk::{self, LONGEST, Led, Node, View};
use crate::access::files::{self, Address, Addressed, Asked, At, FileCall, Place, Renaming};
use crate::access::starter::{self, MOST_PROGRAMS, Starter};
use crate::access::{Access, Argument, Moved, calls};
use crate::detect::{Rule, Sensor};
use crate::policy::noexec;
use crate::sys::memory;

/// `struct sockaddr_storage`.
const LONGEST_ADDRESS: usize = 128;

/// What is told of a file that no rule of a profile could name.
const OUTSIDE: &str = "a file that is not the container's, opened again by a descriptor that it was given (/proc/self/fd)";

/// What a path came to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    path: String,
    mount: String,
    directory: bool,
}

/// A name in a directory, of something that is there or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    folder: Named,
    name: String,
    /// It is a directory, as far as it is there.
    directory: bool,
}

impl Entry {
    fn path(&self) -> String {
        format!("{}/{}", self.folder.path.trim_end_matches('/'), self.name)
    }
}

/// The places of one call.
#[derive(Default)]
struct Found {
    itself: Option<Named>,
    /// What was named lies on a mount that the container does not have.
    outside: bool,
    first: Option<Entry>,
    second: Option<Entry>,
    /// Both change places.
    exchange: bool,
}

impl Found {
    fn access(&self, asked: Asked) -> Option<Access> {
        let right = asked.right.to_owned();
        let (entry, other) = match asked.place {
            Place::Itself => {
                let own = self.itself.clone()?;
                return Some(Access::File {
                    path: own.path,
                    right,
                    entry: None,
                    mount: own.mount,
                    directory: own.directory,
                    moved: None,
                });
            }
            Place::FirstEntry => (&self.first, self.second.as_ref().filter(|_| self.exchange)),
            Place::SecondEntry => (&self.second, self.first.as_ref()),
        };
        let entry = entry.clone()?;
        let moved = other.filter(|_| right == "refer").map(|other| Moved {
            path: other.path(),
            directory: other.directory,
        });
        Some(Access::File {
            path: entry.folder.path,
            right,
            entry: Some(entry.name),
            mount: entry.folder.mount,
            directory: true,
            moved,
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

    fn same_directory(&self) -> bool {
        let folder = |entry: &Option<Entry>| entry.as_ref().map(|own| own.folder.clone());
        folder(&self.first) == folder(&self.second)
    }
}

/// Which of the two names of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Second,
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
    pub(super) fn file_accesses(
        &mut self,
        tid: i32,
        whose: Whose,
        call: FileCall,
    ) -> io::Result<Vec<Access>> {
        let view = self.view(tid)?;
        let mut found = Found::default();
        let asked = match call {
            FileCall::Open { at, flags } => {
                let Some(text) = text(tid, at)? else {
                    return Ok(Vec::new());
                };
                let how = ResolveFlag::empty();
                self.opened(&view, (tid, at, &text), flags, how, &mut found)?
            }
            FileCall::OpenHow { at, how } => {
                let (Some(text), mut words) = (text(tid, at)?, [0; 24]) else {
                    return Ok(Vec::new());
                };
                if memory::read(tid, how, &mut words)? < words.len() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let word = |at: usize| u64::from_ne_bytes(words[at..at + 8].try_into().expect("8"));
                let (flags, how) = (word(0), ResolveFlag::from_bits_retain(word(16)));
                self.opened(&view, (tid, at, &text), flags, how, &mut found)?
            }
            FileCall::Execute { at, follow } => return self.executed(&view, tid, at, follow),
            FileCall::Map { fd } => return self.mapped(tid, whose, fd),
            FileCall::Make { at, right } => {
                match self.entry(&view, tid, at, Which::First, &mut found)? {
                    // What is there already is not made.
                    Some((_, None)) => vec![Asked {
                        place: Place::FirstEntry,
                        right,
                    }],
                    _ => Vec::new(),
                }
            }
            FileCall::Remove { at, right } => {
                let there = self.entry(&view, tid, at, Which::First, &mut found)?;
                let there = there.and_then(|(_, there)| there);
                let fits = there.is_some_and(|node| node.is_directory() == (right == "remove-dir"));
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
                        found.itself = self.named(tid, &node, &mut found.outside)?;
                        vec![Asked {
                            place: Place::Itself,
                            right: "truncate",
                        }]
                    }
                    _ => Vec::new(),
                }
            }
            FileCall::Link { from, to, follow } => {
                let source = if follow || from.empty {
                    self.target(&view, tid, from, follow, &mut found)?
                } else {
                    let there = self.entry(&view, tid, from, Which::First, &mut found)?;
                    there.and_then(|(_, there)| there)
                };
                let (Some(source), Some((folder, None))) = (
                    source,
                    self.entry(&view, tid, to, Which::Second, &mut found)?,
                ) else {
                    return Ok(Vec::new());
                };
                // Neither links of directories nor between mounts are made.
                if source.is_directory() || !source.shares_mount(&folder) {
                    return Ok(Vec::new());
                }
                files::link(source.mode, found.same_directory())
            }
            FileCall::Rename {
                from,
                to,
                exchange,
                keeps,
            } => {
                let (Some((old, Some(moved))), Some((new, replaced))) = (
                    self.entry(&view, tid, from, Which::First, &mut found)?,
                    self.entry(&view, tid, to, Which::Second, &mut found)?,
                ) else {
                    return Ok(Vec::new());
                };
                if !old.shares_mount(&new) {
                    return Ok(Vec::new());
                }
                found.exchange = exchange;
                files::rename(Renaming {
                    mode: moved.mode,
                    replaced: replaced.map(|node| node.mode),
                    exchange,
                    keeps,
                    same_directory: old.is(&new),
                })
            }
        };
        Ok(found.all(&asked))
    }

    /// A file that is mapped to be executed, where a profile may make its mount `noexec`. Every program maps
    /// libraries of its image, which no profile has a word on.
    fn mapped(&mut self, tid: i32, whose: Whose, fd: i32) -> io::Result<Vec<Access>> {
        let Some(node) = walk::descriptor(tid, fd)? else {
            // EBADF.
            return Ok(Vec::new());
        };
        let itself = self.named(tid, &node, &mut false)?;
        let looking = self.observer.of(whose);
        let mounts = looking.map_or(&[][..], |own| &own.mounts);
        let found = Found {
            itself: itself.filter(|own| noexec::closes(mounts, &own.mount).is_some()),
            ..Found::default()
        };
        Ok(found.all(&[Asked {
            place: Place::Itself,
            right: files::MAP_EXECUTE,
        }]))
    }

    fn opened(
        &mut self,
        view: &View,
        (tid, at, text): (i32, At, &[u8]),
        flags: u64,
        how: ResolveFlag,
        found: &mut Found,
    ) -> io::Result<Vec<Asked>> {
        let has = |flag: i32| flags & flag as u64 == flag as u64;
        let exclusive = has(libc::O_CREAT | libc::O_EXCL) && !has(libc::O_TMPFILE);
        let follow = !has(libc::O_NOFOLLOW) && !exclusive;
        Ok(match view.resolve(at.dir, text, follow, how)? {
            Led::There(node) if node.mode & libc::S_IFMT == libc::S_IFLNK => Vec::new(),
            Led::There(node) => {
                found.itself = self.named(tid, &node, &mut found.outside)?;
                files::open(flags, Some(node.mode))
            }
            Led::Missing(folder, name) => {
                let folder = self.named(tid, &folder, &mut found.outside)?;
                let name = self.in_text(&name);
                found.first = folder.map(|folder| Entry {
                    folder,
                    name,
                    directory: false,
                });
                found.itself = found.first.as_ref().map(|entry| Named {
                    path: entry.path(),
                    mount: entry.folder.mount.clone(),
                    directory: false,
                });
                files::open(flags, None)
            }
            Led::Nowhere | Led::Link => Vec::new(),
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
        let (mut all, mut next, mut is_loader) = (Vec::new(), node, false);
        for _ in 0..MOST_PROGRAMS {
            let Some(node) = next.take() else {
                break;
            };
            if node.mode & libc::S_IFMT != libc::S_IFREG {
                break;
            }
            let mut found = Found::default();
            found.itself = self.named(tid, &node, &mut found.outside)?;
            all.extend(found.all(&files::execute()));
            if self.answers_for(&found) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // A loader is mapped; what it says that it needs is nobody's business.
            if is_loader {
                break;
            }
            if let Some(starter) = needs(&node)?
                && let Led::There(more) = view.walk(None, starter.path(), true)?
            {
                is_loader = matches!(starter, Starter::Loader(_));
                next = Some(more);
            }
        }
        Ok(all)
    }

    /// Whether the kernel would ask this very watcher for its word on an opening of the file, which it would
    /// wait for for ever (`on: token-access`).
    fn answers_for(&self, found: &Found) -> bool {
        let asks = |rule: &Rule| rule.on == Sensor::TokenAccess;
        let mount = found.itself.as_ref().map(|named| named.mount.as_str());
        mount.is_some_and(|mount| TOKENS.contains(&mount)) && self.rules.iter().any(asks)
    }

    /// The file that a link is made of, and its own name: what a path is followed to, or a descriptor.
    fn target(
        &mut self,
        view: &View,
        tid: i32,
        at: At,
        follow: bool,
        found: &mut Found,
    ) -> io::Result<Option<Node>> {
        let Some(text) = text(tid, at)? else {
            return Ok(None);
        };
        let node = if at.empty && text.is_empty() {
            view.base(at.dir)?
        } else {
            match view.walk(at.dir, &text, follow)? {
                Led::There(node) => node,
                _ => return Ok(None),
            }
        };
        let whole = self.named(tid, &node, &mut found.outside)?;
        found.first = whole.and_then(|whole| {
            let (folder, name) = whole.path.rsplit_once('/')?;
            let path = if folder.is_empty() { "/" } else { folder };
            Some(Entry {
                folder: Named {
                    path: path.to_owned(),
                    mount: whole.mount,
                    directory: true,
                },
                name: name.to_owned(),
                directory: whole.directory,
            })
        });
        Ok(Some(node))
    }

    /// The directory of a path's last name, and what has the name; both named in `found`. None where there is
    /// no such directory.
    fn entry(
        &mut self,
        view: &View,
        tid: i32,
        at: At,
        which: Which,
        found: &mut Found,
    ) -> io::Result<Option<(Node, Option<Node>)>> {
        let Some(text) = text(tid, at)? else {
            return Ok(None);
        };
        let Some((folder, name, there)) = view.entry(at.dir, &text)? else {
            return Ok(None);
        };
        let is_directory = there.as_ref().is_some_and(Node::is_directory);
        if text.ends_with(b"/") && there.is_some() && !is_directory {
            // ENOTDIR.
            return Ok(None);
        }
        let named = self.named(tid, &folder, &mut found.outside)?;
        let name = self.in_text(&name);
        let entry = named.map(|folder| Entry {
            folder,
            name,
            directory: is_directory,
        });
        match which {
            Which::First => found.first = entry,
            Which::Second => found.second = entry,
        }
        Ok(Some((folder, there)))
    }

    /// What something is called; none for what has no path, or lies `outside`.
    ///
    /// # Errors
    /// Nobody can tell which mount it lies on.
    fn named(&mut self, tid: i32, node: &Node, outside: &mut bool) -> io::Result<Option<Named>> {
        let Some(path) = node.path() else {
            return Ok(None);
        };
        let Some(mount) = self.mounts.of(tid, node)? else {
            *outside = true;
            return Ok(None);
        };
        let path = self.in_text(&path);
        if node.is_linked() {
            self.linked.push(path.clone());
        }
        let directory = node.is_directory();
        Ok(Some(Named {
            path,
            mount,
            directory,
        }))
    }

    /// A name for the journal. One that it cannot hold as it is is no rule's either, and put down: the walk
    /// itself goes by bytes.
    fn in_text(&mut self, name: &[u8]) -> String {
        for part in name.split(|byte| *byte == b'/') {
            let (text, whole) = walk::in_text(part);
            if !whole {
                self.unsaid.push(text);
            }
        }
        walk::in_text(name).0
    }

    /// What the address of a call names, and, of a port, whether the socket is TCP's.
    ///
    /// # Errors
    /// Its memory cannot be read, or nobody can tell what the socket is.
    pub(super) fn socket_accesses(
        &mut self,
        tid: i32,
        whose: Whose,
        call: Addressed,
    ) -> io::Result<Vec<Access>> {
        let length = (call.length as usize).min(LONGEST_ADDRESS);
        let mut bytes = [0; LONGEST_ADDRESS];
        let count = memory::read(tid, call.address, &mut bytes[..length])?;
        match files::address(&bytes[..count], call.binds) {
            Some(Address::Port(port)) if call.fast_open != Some(false) => {
                let right = if call.binds { "bind" } else { "connect" };
                let access = Access::Tcp {
                    right: right.into(),
                    port,
                };
                let is_tcp = self.is_news(whose, &access) && self.is_tcp(tid, call.socket)?;
                Ok(if is_tcp { vec![access] } else { Vec::new() })
            }
            Some(Address::Path(path)) => self.socket_file(tid, &path, call.binds),
            _ => Ok(Vec::new()),
        }
    }

    fn socket_file(&mut self, tid: i32, path: &[u8], binds: bool) -> io::Result<Vec<Access>> {
        let view = self.view(tid)?;
        let mut found = Found::default();
        let (place, right) = if binds {
            let Some((folder, name, None)) = view.entry(None, path)? else {
                return Ok(Vec::new());
            };
            let folder = self.named(tid, &folder, &mut found.outside)?;
            let name = self.in_text(&name);
            found.first = folder.map(|folder| Entry {
                folder,
                name,
                directory: false,
            });
            (Place::FirstEntry, "make-sock")
        } else {
            match view.walk(None, path, true)? {
                Led::There(node) if node.mode & libc::S_IFMT == libc::S_IFSOCK => {
                    found.itself = self.named(tid, &node, &mut found.outside)?;
                }
                _ => return Ok(Vec::new()),
            }
            (Place::Itself, "resolve-unix")
        };
        Ok(found.all(&[Asked { place, right }]))
    }

    fn is_tcp(&mut self, tid: i32, number: i32) -> io::Result<bool> {
        let pid = look::thread_group(tid).unwrap_or(tid);
        let serial = self.next_serial();
        let request = Request::Socket {
            serial,
            pid,
            thread: tid,
            number,
        };
        match self.ask(&request, &[]) {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(io::Error::other("nobody can tell what the socket is")),
        }
    }

    fn view(&self, tid: i32) -> io::Result<View> {
        View::of(tid, self.depth)
    }
}

/// The text of a path; none where it is empty and means nothing, or is longer than the kernel takes.
fn text(tid: i32, at: At) -> io::Result<Option<Vec<u8>>> {
    let text = memory::text(tid, at.path, LONGEST)?;
    Ok(text.filter(|text| at.empty || !text.is_empty()))
}

/// What the kernel executes with a program; none where it needs nothing, or is not executed at
/// all for want of a bit in its mode.
///
/// Its owner may hold a lease on it, or have it asked about by somebody (fanotify): nobody waits for them.
/// So nothing is opened that is no program, and what cannot be had at once is an error.
fn needs(node: &Node) -> io::Result<Option<Starter>> {
    if node.mode & libc::S_IFMT != libc::S_IFREG || node.mode & 0o111 == 0 {
        return Ok(None);
    }
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", node.fd.as_raw_fd()))?;
    Ok(starter::of(|from, into| file.read_at(into, from)))
}
