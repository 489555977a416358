//! Executables, through /proc/PID/exe: what they are, whether they drifted, and copies of those that
//! did. The link of the kernel's leads to the very file that runs, whatever has become of its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Instant, SystemTime};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use sha2::{Digest, Sha256};

use super::archive::{Archive, Part};
use super::facts::entry;
use super::folder::Folder;
use super::manifest::{Binary, Manifest, Program};
use super::mounts::{Known, Mounts};
use crate::sys::statx::{self, Stat};

/// Largest file whose digest is taken, bytes.
const LARGEST_HASHED: u64 = 256 << 20;
/// Bytes of a copy, where it is not the one that was asked for.
const LARGEST_COPY: u64 = 16 << 20;
/// The clock is looked at once for each of these.
const STEP: usize = 1 << 20;

const OUT_OF_TIME: &str = "the time was over";

/// What is the same for all executables, and what was seen of them so far.
pub(super) struct Programs<'a> {
    known: Known,
    /// Digest of mantlet's own init.
    init: &'a str,
    started: SystemTime,
    until: Instant,
    digests: BTreeMap<((u32, u32), u64), Result<String, String>>,
    copied: BTreeSet<String>,
}

impl<'a> Programs<'a> {
    pub(super) fn new(
        known: Known,
        init: &'a str,
        started: SystemTime,
        until: Instant,
    ) -> Programs<'a> {
        Programs {
            known,
            init,
            started,
            until,
            digests: BTreeMap::new(),
            copied: BTreeSet::new(),
        }
    }

    /// What one process executes; none where that cannot be told. A drifted one is copied, the first
    /// time it is seen; `whole`: as far as there is room.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub(super) fn look(
        &mut self,
        folder: &Folder,
        mounts: &Mounts,
        whole: bool,
        archive: &mut Archive,
        manifest: &mut Manifest,
    ) -> io::Result<Option<Program>> {
        let name = entry(folder, "exe");
        // 1. What is it, without a look into it?
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let held = openat(folder.fd(), "exe", flags, Mode::empty()).map_err(io::Error::from);
        let examined = held.and_then(|held| Ok((statx::cached(&held, c"")?, held)));
        let (stat, held) = match examined {
            Ok(found) => found,
            Err(error) => {
                manifest.lacks(name, error.to_string());
                return Ok(None);
            }
        };
        let mut program = describe(&stat, mounts, manifest);
        program.drift = self.drift(&stat, mounts);
        // 2. Its digest, once for each file.
        let mut file = None;
        let key = (stat.device, stat.inode);
        if !self.digests.contains_key(&key) {
            let digest = self.digest(&held, &stat, mounts, &mut file);
            self.digests.insert(key, digest);
        }
        match &self.digests[&key] {
            Ok(digest) => program.sha256 = Some(digest.clone()),
            Err(why) => manifest.lacks(&name, why),
        }
        // 3. A copy, where it is not the image's.
        let Some(digest) = program.sha256.clone() else {
            return Ok(Some(program));
        };
        program.init = digest == self.init;
        if program.init {
            program.drift.clear();
        }
        if program.drift.is_empty() || self.copied.contains(&digest) {
            return Ok(Some(program));
        }
        let file = match file.map_or_else(|| reopen(&held), Ok) {
            Ok(file) => file,
            Err(error) => {
                manifest.lacks(name, error.to_string());
                return Ok(Some(program));
            }
        };
        self.copied.insert(digest.clone());
        let most = if whole { u64::MAX } else { LARGEST_COPY };
        match copy(file, &stat, &digest, most, archive)? {
            Some(binary) => {
                if binary.copied < binary.size {
                    let (copied, size) = (binary.copied, binary.size);
                    let why = format!("the first {copied} of {size} bytes");
                    manifest.lacks(&binary.entry, why);
                }
                manifest.binaries.push(binary);
            }
            None => manifest.lacks(format!("binaries/{digest}"), "the archive is full"),
        }
        Ok(Some(program))
    }

    /// Copies the file that was not executed because of what this is about. It may have no name and no
    /// process any more. The watcher names it, who can name any file of the host: it has to be executable
    /// and to lie where some process of the container's sees a mount.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub(super) fn keep_refused(
        &mut self,
        held: &OwnedFd,
        spaces: &BTreeMap<u64, Mounts>,
        archive: &mut Archive,
        manifest: &mut Manifest,
    ) -> io::Result<()> {
        let name = "the refused executable";
        let stat = match statx::cached(held, c"") {
            Ok(stat) => stat,
            Err(error) => {
                manifest.lacks(name, error.to_string());
                return Ok(());
            }
        };
        let seen = spaces.values().find(|mounts| mounts.of(&stat).is_some());
        let Some(mounts) = seen.filter(|_| stat.mode & 0o111 != 0) else {
            manifest.lacks(
                name,
                "it is not read: it is no executable of the container's",
            );
            return Ok(());
        };
        let mut file = None;
        let digest = self.digest(held, &stat, mounts, &mut file);
        let (digest, file) = match (digest, file) {
            (Ok(digest), Some(file)) => (digest, file),
            (Err(why), _) => {
                manifest.lacks(name, why);
                return Ok(());
            }
            (Ok(_), None) => return Ok(()),
        };
        self.digests
            .insert((stat.device, stat.inode), Ok(digest.clone()));
        self.copied.insert(digest.clone());
        match copy(file, &stat, &digest, u64::MAX, archive)? {
            Some(binary) => manifest.binaries.push(Binary {
                refused: true,
                ..binary
            }),
            None => manifest.lacks(name, "the archive is full"),
        }
        Ok(())
    }

    fn drift(&self, stat: &Stat, mounts: &Mounts) -> Vec<&'static str> {
        let memfd = self.known.is_memfd(stat);
        let reasons = [
            (memfd, "memfd"),
            (stat.links == 0 && !memfd, "deleted"),
            (stat.changed >= self.started, "changed-after-start"),
            (mounts.is_writable(stat), "writable-mount"),
        ];
        let reasons = reasons.into_iter().filter(|(holds, _)| *holds);
        reasons.map(|(_, word)| word).collect()
    }

    /// The digest, or why there is none. The file stays open for a copy, read to its end.
    fn digest(
        &self,
        held: &OwnedFd,
        stat: &Stat,
        mounts: &Mounts,
        opened: &mut Option<File>,
    ) -> Result<String, String> {
        if let Some(why) = self.known.unread(mounts, stat) {
            return Err(format!("it is not read: {why}"));
        }
        if stat.mode & libc::S_IFMT != libc::S_IFREG {
            return Err("it is not read: it is no file".into());
        }
        if stat.size > LARGEST_HASHED {
            let (size, most) = (stat.size, LARGEST_HASHED);
            return Err(format!("it is not read: {size} bytes, more than {most}"));
        }
        let mut file = reopen(held).map_err(|error| format!("it cannot be opened: {error}"))?;
        let mut hash = Sha256::new();
        let mut left = LARGEST_HASHED;
        let mut block = vec![0; STEP];
        loop {
            if Instant::now() >= self.until {
                return Err(OUT_OF_TIME.into());
            }
            let count = read_some(&mut file, &mut block)
                .map_err(|error| format!("it cannot be read: {error}"))?;
            let Some(rest) = left.checked_sub(count as u64) else {
                return Err("it grows while it is read".into());
            };
            left = rest;
            if count == 0 {
                break;
            }
            hash.update(&block[..count]);
        }
        *opened = Some(file);
        Ok(hexadecimal(hash))
    }
}

fn describe(stat: &Stat, mounts: &Mounts, manifest: &mut Manifest) -> Program {
    let (major, minor) = stat.device;
    let mount = mounts.of(stat);
    Program {
        device: format!("{major}:{minor}"),
        inode: stat.inode,
        size: stat.size,
        mode: format!("{:o}", stat.mode),
        uid: stat.uid,
        links: stat.links,
        changed: humantime::format_rfc3339_millis(stat.changed).to_string(),
        mount: mount.map(|mount| {
            let point = mount.point.as_os_str().as_encoded_bytes();
            manifest.ink.text(point)
        }),
        filesystem: mount.map(|mount| mount.fstype.clone()),
        ..Program::default()
    }
}

/// The same file for reading. It is known to be a regular one, so that nothing waits.
fn reopen(held: &OwnedFd) -> io::Result<File> {
    let link = format!("/proc/self/fd/{}", held.as_raw_fd());
    let open = |more| {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | more;
        File::options().read(true).custom_flags(flags).open(&link)
    };
    // Its time of access is evidence too; only owners and CAP_FOWNER can spare it.
    open(libc::O_NOATIME).or_else(|_| open(0))
}

/// The beginning of the file as an entry named by the digest of the whole; none where there is no
/// room at all.
fn copy(
    mut file: File,
    stat: &Stat,
    digest: &str,
    most: u64,
    archive: &mut Archive,
) -> io::Result<Option<Binary>> {
    let copied = stat.size.min(most).min(archive.room(Part::Program));
    if copied == 0 || file.rewind().is_err() {
        return Ok(None);
    }
    let whole = copied == stat.size;
    let entry = format!("binaries/{digest}{}", if whole { "" } else { ".part" });
    let mut reader = Hashed(file, Sha256::new());
    archive.add_from(Part::Program, &entry, copied, &mut reader)?;
    Ok(Some(Binary {
        entry,
        size: stat.size,
        copied,
        changed_meanwhile: whole && hexadecimal(reader.1) != digest,
        refused: false,
    }))
}

/// A file whose digest is taken as it is read.
struct Hashed(File, Sha256);

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.update(&buffer[..count]);
        Ok(count)
    }
}

fn read_some(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn hexadecimal(hash: Sha256) -> String {
    let bytes = hash.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
