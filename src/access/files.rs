//! Which rights of Landlock a call asks for, once it is known what its paths lead to. Pure: the tables of
//! security/landlock/fs.c, by call.
//!
//! Calls that Landlock does not ask about (stat, chmod, chdir, …) have none. ftruncate(2) has none either:
//! its right is the open's, and every list that grants writing grants it.

/// Calls that name files, whatever their arguments; bind, connect and sendto do so where their address is
/// a UNIX socket's ([`socket`]).
pub const CALLS: [&str; 23] = [
    "open",
    "openat",
    "openat2",
    "creat",
    "execve",
    "execveat",
    "truncate",
    "truncate64",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "rename",
    "renameat",
    "renameat2",
    "uselib",
];

/// What mmap(2) with PROT_EXEC asks of the mount that its file lies on. No right of Landlock's, which does not
/// ask about mappings: a mount is `noexec` where the profile's `files` grant no execution on it.
pub const MAP_EXECUTE: &str = "map-execute";

/// Where a path begins and where its text lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// A descriptor of the caller's; none: its working directory.
    pub dir: Option<i32>,
    /// Address of the text.
    pub path: u64,
    /// An empty text means the descriptor itself (AT_EMPTY_PATH).
    pub empty: bool,
}

/// What a call does to what its paths name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileCall {
    /// open(2) and its kin.
    Open {
        /// What.
        at: At,
        /// `O_*`.
        flags: u64,
    },
    /// openat2(2): the flags lie in memory.
    OpenHow {
        /// What.
        at: At,
        /// Address of `struct open_how`: flags, mode and `RESOLVE_*`, 64 bits each.
        how: u64,
    },
    /// A program is executed.
    Execute {
        /// What.
        at: At,
        /// A link at its end is followed.
        follow: bool,
    },
    /// An entry is made.
    Make {
        /// What.
        at: At,
        /// The right.
        right: &'static str,
    },
    /// An entry is removed.
    Remove {
        /// What.
        at: At,
        /// The right.
        right: &'static str,
    },
    /// truncate(2).
    Truncate {
        /// What.
        at: At,
    },
    /// A second name.
    Link {
        /// The file.
        from: At,
        /// Its new name.
        to: At,
        /// A link at the end of `from` is followed.
        follow: bool,
    },
    /// Another name.
    Rename {
        /// The old one.
        from: At,
        /// The new one.
        to: At,
        /// Both change places (RENAME_EXCHANGE).
        exchange: bool,
        /// Nothing is replaced (RENAME_NOREPLACE).
        keeps: bool,
    },
    /// mmap(2) of a file with PROT_EXEC ([`MAP_EXECUTE`]).
    Map {
        /// The file.
        fd: i32,
    },
}

const AT_FDCWD: i32 = -100;
const AT_REMOVEDIR: u64 = 0x200;
const AT_SYMLINK_FOLLOW: u64 = 0x400;
const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
const AT_EMPTY_PATH: u64 = 0x1000;
const RENAME_NOREPLACE: u64 = 1;
const RENAME_EXCHANGE: u64 = 2;

/// Where mmap(2) has its `prot` and its `flags`, the bits of them that make it one of a file to be executed,
/// and what those are then.
pub const MAPPING: [(u8, u64, u64); 2] = [
    (2, libc::PROT_EXEC as u64, libc::PROT_EXEC as u64),
    (3, libc::MAP_ANONYMOUS as u64, 0),
];

/// What the call of that name does, from its registers; none where neither Landlock nor a mount's `noexec` is
/// asked.
#[must_use]
pub fn of(name: &str, args: &[u64; 6]) -> Option<FileCall> {
    let plain = |index: usize| At {
        dir: None,
        path: args[index],
        empty: false,
    };
    let beneath = |index: usize, flags: u64| {
        let dir = args[index] as u32 as i32;
        At {
            dir: (dir != AT_FDCWD).then_some(dir),
            path: args[index + 1],
            empty: flags & AT_EMPTY_PATH != 0,
        }
    };
    let flags = |index: usize| args[index] & 0xffff_ffff;
    let maps = |(index, mask, value): (u8, u64, u64)| args[usize::from(index)] & mask == value;
    Some(match name {
        "mmap" if MAPPING.into_iter().all(maps) => FileCall::Map {
            fd: args[4] as u32 as i32,
        },
        "open" => FileCall::Open {
            at: plain(0),
            flags: flags(1),
        },
        "openat" => FileCall::Open {
            at: beneath(0, 0),
            flags: flags(2),
        },
        "openat2" => FileCall::OpenHow {
            at: beneath(0, 0),
            how: args[2],
        },
        "creat" => FileCall::Open {
            at: plain(0),
            flags: (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u64,
        },
        "execve" | "uselib" => FileCall::Execute {
            at: plain(0),
            follow: true,
        },
        "execveat" => FileCall::Execute {
            at: beneath(0, flags(4)),
            follow: flags(4) & AT_SYMLINK_NOFOLLOW == 0,
        },
        "truncate" | "truncate64" => FileCall::Truncate { at: plain(0) },
        "unlink" => FileCall::Remove {
            at: plain(0),
            right: "remove-file",
        },
        "rmdir" => FileCall::Remove {
            at: plain(0),
            right: "remove-dir",
        },
        "unlinkat" => FileCall::Remove {
            at: beneath(0, 0),
            right: match flags(2) & AT_REMOVEDIR {
                0 => "remove-file",
                _ => "remove-dir",
            },
        },
        "mkdir" => FileCall::Make {
            at: plain(0),
            right: "make-dir",
        },
        "mkdirat" => FileCall::Make {
            at: beneath(0, 0),
            right: "make-dir",
        },
        "mknod" => FileCall::Make {
            at: plain(0),
            right: make(flags(1) as u32),
        },
        "mknodat" => FileCall::Make {
            at: beneath(0, 0),
            right: make(flags(2) as u32),
        },
        "symlink" => FileCall::Make {
            at: plain(1),
            right: "make-sym",
        },
        "symlinkat" => FileCall::Make {
            at: beneath(1, 0),
            right: "make-sym",
        },
        "link" => FileCall::Link {
            from: plain(0),
            to: plain(1),
            follow: false,
        },
        "linkat" => FileCall::Link {
            from: beneath(0, flags(4)),
            to: beneath(2, 0),
            follow: flags(4) & AT_SYMLINK_FOLLOW != 0,
        },
        "rename" => FileCall::Rename {
            from: plain(0),
            to: plain(1),
            exchange: false,
            keeps: false,
        },
        "renameat" => FileCall::Rename {
            from: beneath(0, 0),
            to: beneath(2, 0),
            exchange: false,
            keeps: false,
        },
        "renameat2" => FileCall::Rename {
            from: beneath(0, 0),
            to: beneath(2, 0),
            exchange: flags(4) & RENAME_EXCHANGE != 0,
            keeps: flags(4) & RENAME_NOREPLACE != 0,
        },
        _ => return None,
    })
}

/// The right to make something of that type (get_mode_access of fs.c).
#[must_use]
pub fn make(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFLNK => "make-sym",
        libc::S_IFDIR => "make-dir",
        libc::S_IFCHR => "make-char",
        libc::S_IFBLK => "make-block",
        libc::S_IFIFO => "make-fifo",
        libc::S_IFSOCK => "make-sock",
        _ => "make-reg",
    }
}

fn remove(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFDIR => "remove-dir",
        _ => "remove-file",
    }
}

/// A right, and what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Where.
    pub place: Place,
    /// Its name ([`crate::seal::rights`]).
    pub right: &'static str,
}

/// Of what a call names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file or directory itself; of one that is made, where it will be.
    Itself,
    /// The directory of the first path's last name, and that name.
    FirstEntry,
    /// The same of the second path.
    SecondEntry,
}

fn asks(place: Place, rights: &[&'static str]) -> Vec<Asked> {
    let each = rights.iter();
    each.map(|right| Asked { place, right }).collect()
}

/// What an open asks for. `mode` is the file's, none where it is not there.
#[must_use]
pub fn open(flags: u64, mode: Option<u32>) -> Vec<Asked> {
    let flag = |wanted: i32| flags & wanted as u64 == wanted as u64;
    let creates = flag(libc::O_CREAT);
    if flag(libc::O_PATH) {
        return Vec::new();
    }
    let (reads, writes) = match flags as i32 & libc::O_ACCMODE {
        libc::O_RDONLY => (true, false),
        libc::O_WRONLY => (false, true),
        libc::O_RDWR => (true, true),
        // Neither: for ioctl alone (open(2), NOTES).
        _ => (false, false),
    };
    let mut rights = Vec::new();
    let directory = |mode: u32| mode & libc::S_IFMT == libc::S_IFDIR;
    let unnamed = flag(libc::O_TMPFILE);
    match mode {
        None if !creates => return Vec::new(),
        Some(_) if creates && flag(libc::O_EXCL) && !unnamed => return Vec::new(),
        // A file in it that has no name.
        Some(mode) if unnamed && directory(mode) => {}
        Some(mode) if directory(mode) => {
            let opens = reads && !writes && !creates;
            return asks(Place::Itself, if opens { &["read-dir"] } else { &[] });
        }
        Some(_) if flag(libc::O_DIRECTORY) => return Vec::new(),
        _ => {}
    }
    if reads {
        rights.push("read-file");
    }
    if writes {
        rights.push("write-file");
    }
    let regular = |mode: u32| mode & libc::S_IFMT == libc::S_IFREG;
    // What was just made is not truncated, and only a regular file is.
    if flag(libc::O_TRUNC) && mode.is_some_and(regular) {
        rights.push("truncate");
    }
    let mut all = asks(Place::Itself, &rights);
    if mode.is_none() {
        all.insert(
            0,
            Asked {
                place: Place::FirstEntry,
                right: "make-reg",
            },
        );
    }
    all
}

/// What execution asks for: the kernel reads what it executes.
#[must_use]
pub fn execute() -> Vec<Asked> {
    asks(Place::Itself, &["read-file", "execute"])
}

/// What link(2) asks for, of a file of type `mode`.
#[must_use]
pub fn link(mode: u32, same_directory: bool) -> Vec<Asked> {
    let mut all = asks(Place::SecondEntry, &[make(mode)]);
    if !same_directory {
        all.extend(asks(Place::FirstEntry, &["refer"]));
        all.extend(asks(Place::SecondEntry, &["refer"]));
    }
    all
}

/// What a rename is about: types, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renaming {
    /// What is renamed.
    pub mode: u32,
    /// What stands where it goes.
    pub replaced: Option<u32>,
    /// RENAME_EXCHANGE.
    pub exchange: bool,
    /// RENAME_NOREPLACE.
    pub keeps: bool,
    /// Within one directory.
    pub same_directory: bool,
}

/// What rename(2) asks for.
#[must_use]
pub fn rename(it: Renaming) -> Vec<Asked> {
    let mut all = Vec::new();
    if it.keeps && (it.exchange || it.replaced.is_some()) {
        // EINVAL, EEXIST.
        return all;
    }
    if it.exchange {
        let Some(other) = it.replaced else {
            return all;
        };
        all.extend(asks(Place::FirstEntry, &[make(other)]));
    }
    all.extend(asks(Place::FirstEntry, &[remove(it.mode)]));
    all.extend(asks(Place::SecondEntry, &[make(it.mode)]));
    if let Some(replaced) = it.replaced {
        all.extend(asks(Place::SecondEntry, &[remove(replaced)]));
    }
    if !it.same_directory {
        all.extend(asks(Place::FirstEntry, &["refer"]));
        all.extend(asks(Place::SecondEntry, &["refer"]));
    }
    all
}

/// Whose address a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addressed {
    /// The socket.
    pub socket: i32,
    /// Where the address lies.
    pub address: u64,
    /// Its length, bytes.
    pub length: u64,
    /// It becomes the socket's own, rather than its peer's.
    pub binds: bool,
    /// Only a call with MSG_FASTOPEN connects a stream socket.
    pub fast_open: Option<bool>,
}

const MSG_FASTOPEN: u64 = 0x2000_0000;

/// The address of bind, connect and sendto, from their registers.
#[must_use]
pub fn socket(name: &str, args: &[u64; 6]) -> Option<Addressed> {
    let (address, length) = match name {
        "bind" | "connect" => (args[1], args[2]),
        "sendto" => (args[4], args[5]),
        _ => return None,
    };
    (address != 0).then_some(Addressed {
        socket: args[0] as u32 as i32,
        address,
        length: length & 0xffff_ffff,
        binds: name == "bind",
        fast_open: (name == "sendto").then_some(args[3] & MSG_FASTOPEN != 0),
    })
}

/// What a socket's address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A port, of IPv4 or IPv6.
    Port(u16),
    /// A UNIX socket's path.
    Path(Vec<u8>),
}

/// Reads a `struct sockaddr` (unix(7), ip(7), ipv6(7)); none for what no profile is about. `binds`: it is
/// to become the socket's own.
#[must_use]
pub fn address(bytes: &[u8], binds: bool) -> Option<Address> {
    let family = u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]);
    match i32::from(family) {
        // Taken for AF_INET where it is any address (__inet_bind of net/ipv4/af_inet.c); a connect by it
        // ends a connection.
        libc::AF_UNSPEC if binds && bytes.get(4..8) == Some(&[0; 4]) => {
            Some(Address::Port(u16::from_be_bytes([
                *bytes.get(2)?,
                *bytes.get(3)?,
            ])))
        }
        libc::AF_INET | libc::AF_INET6 => Some(Address::Port(u16::from_be_bytes([
            *bytes.get(2)?,
            *bytes.get(3)?,
        ]))),
        libc::AF_UNIX => {
            let path = bytes.get(2..)?;
            // An abstract name, or none.
            if path.first().is_none_or(|first| *first == 0) {
                return None;
            }
            let end = path.iter().position(|byte| *byte == 0);
            Some(Address::Path(path[..end.unwrap_or(path.len())].to_vec()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
