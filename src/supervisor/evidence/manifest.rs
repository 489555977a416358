//! `manifest.json`: what the archive says in words, and what it lacks.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::Identity;

/// Version of the manifest and of the archive's layout.
pub(super) const VERSION: u32 = 1;
/// Bytes that all texts of the container's may take in the manifest, as JSON writes them.
const INK: usize = 2 << 20;
/// Longest single text, bytes.
const LONGEST: usize = 4096;
/// Most entries of [`Manifest::lacks`].
const MOST_LACKS: usize = 1000;

/// What one collection found. Texts are the container's own and untrusted, with what is no UTF-8
/// replaced; the raw bytes are in the files beside it.
#[derive(Debug, Clone, Serialize)]
pub(in crate::supervisor) struct Manifest {
    pub(super) version: u32,
    /// Version of the program that collected.
    pub(super) mantlet: &'static str,
    /// RFC 3339, UTC: when it began.
    pub(super) time: String,
    /// `PROFILE/RULE`, or `mantlet` for a person's.
    pub(super) by: String,
    /// Whether the container was frozen meanwhile. Where not, each fact is of another moment.
    pub(super) frozen: bool,
    /// False where the time was over before everything was looked at, and in `manifest-early.json`.
    pub(in crate::supervisor) complete: bool,
    pub(super) container: Identity,
    pub(super) profiles: Vec<String>,
    /// SHA-256 of the sealed policy.
    pub(super) policy: String,
    /// RFC 3339, UTC: when the container started; drift is judged by it.
    pub(super) started: String,
    pub(in crate::supervisor) processes: Vec<Process>,
    pub(in crate::supervisor) binaries: Vec<Binary>,
    /// What could not be read, or not wholly, and why.
    pub(in crate::supervisor) lacks: Vec<Lack>,
    /// How many more of those there are.
    pub(super) lacks_untold: u64,
    /// Texts that are shortened here.
    pub(super) shortened: u64,
    #[serde(skip)]
    pub(super) ink: Ink,
}

/// One process.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::supervisor) struct Process {
    pub(in crate::supervisor) pid: i32,
    pub(super) ppid: i32,
    /// Its pid in each pid namespace, the host's first.
    pub(super) ns_pids: Vec<i32>,
    /// Real, effective, saved and file-system user id, in the host's namespace.
    pub(super) uid: Vec<u32>,
    pub(super) gid: Vec<u32>,
    /// As /proc/PID/status says it: `S (sleeping)`.
    pub(super) state: String,
    pub(super) threads: u64,
    /// `starttime` of proc_pid_stat(5).
    pub(super) start_time: u64,
    pub(super) comm: String,
    /// Targets of the links of these names.
    pub(super) exe: Option<String>,
    pub(super) cwd: Option<String>,
    pub(super) root: Option<String>,
    /// As it stood in memory when it was looked at.
    pub(super) argv: Vec<String>,
    /// Names of its variables; values are never taken.
    pub(super) environment: Vec<String>,
    pub(super) cgroups: Vec<String>,
    /// Inode of each namespace.
    pub(super) namespaces: BTreeMap<&'static str, u64>,
    /// Lines of /proc/PID/status on seccomp, no_new_privs and capabilities.
    pub(super) security: BTreeMap<&'static str, String>,
    /// Soft and hard limit by name.
    pub(super) limits: BTreeMap<String, [String; 2]>,
    pub(super) descriptors: Vec<Descriptor>,
    /// The executable; absent where it was not looked at.
    pub(in crate::supervisor) program: Option<Program>,
    /// `mountinfo` is the same as this process's, and so not kept twice.
    pub(super) mountinfo_of: Option<i32>,
}

/// An open descriptor.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::supervisor) struct Descriptor {
    pub(super) number: i32,
    /// Target of /proc/PID/fd/NUMBER.
    pub(super) target: String,
    /// `file`, `directory`, `fifo`, `socket`, `character-device`, `block-device`, `anonymous`.
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inode: Option<u64>,
    /// `pos` of its fdinfo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<u64>,
    /// `flags` of its fdinfo, octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flags: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) socket: Option<Socket>,
}

/// A socket, by its line in a table of the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::supervisor) struct Socket {
    /// `tcp`, `udp6`, `unix`, …
    pub(super) table: &'static str,
    /// Address and port, or path; abstract ones begin with `@`.
    pub(super) local: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote: Option<String>,
    pub(super) state: String,
    /// More than one line claims the inode: a path with line breaks can look like lines.
    pub(super) ambiguous: bool,
}

/// An executable, seen through /proc/PID/exe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(in crate::supervisor) struct Program {
    /// `MAJOR:MINOR`.
    pub(super) device: String,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// File type and permission bits, octal.
    pub(super) mode: String,
    pub(super) uid: u32,
    pub(super) links: u32,
    /// Last change of the inode, RFC 3339, UTC.
    pub(super) changed: String,
    /// Where its mount is, and the file system's type; absent where it is in no mount of its process's.
    pub(super) mount: Option<String>,
    pub(super) filesystem: Option<String>,
    pub(super) sha256: Option<String>,
    /// It is mantlet's own init, by its digest.
    pub(super) init: bool,
    /// Why it counts as none of the image's: `changed-after-start`, `writable-mount`, `deleted`, `memfd`.
    pub(in crate::supervisor) drift: Vec<&'static str>,
}

/// A copy of an executable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::supervisor) struct Binary {
    /// The entry's name: `binaries/SHA256`, with `.part` where only its beginning is there.
    pub(in crate::supervisor) entry: String,
    pub(super) size: u64,
    pub(super) copied: u64,
    /// The copy's bytes have another digest: it was written to meanwhile.
    pub(super) changed_meanwhile: bool,
    /// It was about to be executed, and refused.
    pub(super) refused: bool,
}

/// Something that is not in the archive, or not wholly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::supervisor) struct Lack {
    /// In the words of the archive's names: `processes/12/maps`.
    pub(in crate::supervisor) what: String,
    pub(in crate::supervisor) why: String,
}

impl Manifest {
    /// Notes that something is missing.
    pub(super) fn lacks(&mut self, what: impl Into<String>, why: impl Into<String>) {
        if self.lacks.len() < MOST_LACKS {
            let (what, why) = (what.into(), why.into());
            self.lacks.push(Lack { what, why });
        } else {
            self.lacks_untold += 1;
        }
    }

    /// The bytes of its entry. Bounded by what bounds its parts, at less than half of what an archive
    /// keeps free for the two of them.
    pub(super) fn encode(&mut self) -> std::io::Result<Vec<u8>> {
        self.shortened = self.ink.shortened;
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// What texts of the container's may still take: it chooses them, and could choose long ones for each
/// of thousands of descriptors.
#[derive(Debug, Clone)]
pub(super) struct Ink {
    left: usize,
    shortened: u64,
}

impl Default for Ink {
    fn default() -> Ink {
        Ink {
            left: INK,
            shortened: 0,
        }
    }
}

impl Ink {
    /// The text as the manifest takes it.
    pub(super) fn text(&mut self, bytes: &[u8]) -> String {
        let whole = bytes.len() <= LONGEST;
        let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]).into_owned();
        let mut cost: usize = text.chars().map(cost).sum();
        if cost > self.left {
            text.clear();
            cost = 0;
        }
        self.left -= cost;
        if !whole || (text.is_empty() && !bytes.is_empty()) {
            self.shortened += 1;
        }
        text
    }
}

/// Bytes of a letter in JSON.
fn cost(letter: char) -> usize {
    match letter {
        '"' | '\\' => 2,
        '\0'..='\x1f' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shortened_once_they_would_fill_the_archive() {
        let mut ink = Ink::default();
        let long = vec![1; LONGEST];
        assert_eq!(ink.text(b"a\"\xff"), "a\"\u{fffd}");
        assert_eq!(ink.shortened, 0);
        let mut written = 0;
        for _ in 0..10_000 {
            written += serde_json::to_string(&ink.text(&long)).unwrap().len() - 2;
        }
        assert!(written <= INK && written > INK / 2, "{written}");
        assert!(ink.shortened > 9000);
        // Short ones still fit where long ones do not.
        assert_eq!(ink.text(b"sh"), "sh");
    }
}
