//! Evidence about one container, in one tar archive: what its processes are, what they hold open, what
//! they execute, and what was reported of them before.
//!
//! Made by a short-lived process of the keeper's, mostly while the container is frozen. Nothing is
//! waited for: no descriptor of the container's is opened, no link of its is followed but the kernel's
//! own in /proc/PID, and no file is read that some process of the container might have to answer for
//! (FUSE). What is left (a server of a network file system that never answers, behind an executable)
//! comes last, after `manifest-early.json`: whoever calls [`collect`] keeps a deadline of its own, ends
//! the process then, and has an archive all the same.
//!
//! Processes end meanwhile, lie about themselves and call themselves anything. Each piece is bounded
//! and the archive is ([`archive::LARGEST`]); what is missing is said, with the reason.
//!
//! | entry | holds |
//! |---|---|
//! | `processes/PID/…` | files of /proc/PID as they are; PID is the host's. Those named in [`SMALL`] and [`LARGE`] |
//! | `sockets/NS/…` | tables of each network namespace, by its inode |
//! | `events.jsonl` | the last lines of the container's journal |
//! | `manifest-early.json` | the manifest before the executables were looked at |
//! | `binaries/SHA256` | executables that drifted; `.part` where only the beginning is there |
//! | `manifest.json` | the manifest |
//!
//! Values of environment variables are never taken. Command lines are, and may hold secrets, as may
//! copies of executables and the journal: archives are for root.
//!
//! Needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; CAP_SYS_ADMIN for `stack`, which is left out without.

mod archive;
mod facts;
mod folder;
mod manifest;
mod mounts;
mod programs;
mod sockets;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Instant, SystemTime};

use archive::{Archive, Part};
use facts::{Sources, entry};
use folder::{Folder, Text};
use manifest::{Manifest, Process};
use mounts::{Known, Mounts};
use programs::Programs;

use crate::cgroup::{any_thread, is_told_by};
use crate::event::Identity;
use crate::state;
use crate::sys::{memfd, statx};

/// Most processes that are looked at.
const MOST_PROCESSES: usize = 512;
/// Most descriptors of all processes together.
const MOST_DESCRIPTORS: usize = 8192;
/// Bytes that are kept of one text.
const LARGEST_TEXT: usize = 1 << 20;

/// Files that the kernel keeps short; they come first.
const SMALL: [&str; 5] = ["status", "stat", "limits", "wchan", "stack"];
/// Files that a process can make long.
const LARGE: [&str; 3] = ["cmdline", "maps", "mountinfo"];
/// Not there on every kernel, or not for everybody; nothing is missing without.
const OPTIONAL: [&str; 2] = ["wchan", "stack"];

/// What evidence is collected about, and why.
pub(super) struct Scene<'a> {
    /// Processes of the container, host pids. The first ones count where there are too many.
    pub(super) pids: Vec<i32>,
    /// The container's cgroup, as [`crate::cgroup::Cgroup::line`] tells it: a pid that is not in it any more belongs to somebody else. Absent: all
    /// pids are taken as they are.
    pub(super) cgroup: Option<&'a str>,
    /// Whether they are frozen.
    pub(super) frozen: bool,
    /// The container.
    pub(super) container: &'a Identity,
    /// SHA-256 of the sealed policy, hexadecimal.
    pub(super) policy: &'a str,
    /// Names of the profiles in force.
    pub(super) profiles: &'a [String],
    /// SHA-256 of init's program, hexadecimal: a session on its way executes that, and it is no drift.
    pub(super) init: &'a str,
    /// `PROFILE/RULE`, or `mantlet` where a person asked for it.
    pub(super) by: &'a str,
    /// The container's journal.
    pub(super) journal: &'a Path,
    /// The process that it is about; its executable is copied as far as there is room.
    pub(super) drifted: Option<i32>,
    /// The file that it was about to execute when that was refused, where that is the cause.
    pub(super) refused: Option<OwnedFd>,
    /// When the container started: what changed since has drifted.
    pub(super) started: SystemTime,
    /// No further step begins after this moment.
    pub(super) until: Instant,
}

/// Collects evidence into `out`, an empty file, and tells what was found.
///
/// # Errors
/// The archive cannot be written. What cannot be read is no error: [`Manifest`] says it.
pub(super) fn collect(scene: &Scene, out: File) -> io::Result<Manifest> {
    let now = SystemTime::now();
    let mut work = Collection {
        scene,
        archive: Archive::begin(out, now),
        manifest: begin(scene, now),
        folders: Vec::new(),
        mounts: BTreeMap::new(),
    };
    // 1. The small texts of every process, and what they say.
    work.processes()?;
    // 2. What all of them hold open, and which sockets those are.
    work.descriptors();
    work.sockets()?;
    // 3. What was reported before.
    work.journal()?;
    // 4. The long texts, as far as there is room.
    work.long_texts()?;
    // 5. So much is safe. Executables can be large, and on file systems that are slow to answer.
    work.early_manifest()?;
    work.programs()?;
    // 6. The last word.
    work.finish()
}

fn begin(scene: &Scene, now: SystemTime) -> Manifest {
    Manifest {
        version: manifest::VERSION,
        mantlet: env!("CARGO_PKG_VERSION"),
        time: humantime::format_rfc3339_millis(now).to_string(),
        by: scene.by.to_owned(),
        frozen: scene.frozen,
        complete: false,
        container: scene.container.clone(),
        profiles: scene.profiles.to_vec(),
        policy: scene.policy.to_owned(),
        started: humantime::format_rfc3339_millis(scene.started).to_string(),
        processes: Vec::new(),
        binaries: Vec::new(),
        lacks: Vec::new(),
        lacks_untold: 0,
        shortened: 0,
        ink: manifest::Ink::default(),
    }
}

struct Collection<'a> {
    scene: &'a Scene<'a>,
    archive: Archive,
    manifest: Manifest,
    /// In the order of the manifest's processes.
    folders: Vec<Folder>,
    /// By mount namespace.
    mounts: BTreeMap<u64, Mounts>,
}

impl Collection<'_> {
    /// Whether no further step may begin; says which one it was.
    fn late(&mut self, step: &str) -> bool {
        let late = Instant::now() >= self.scene.until;
        if late {
            self.manifest.lacks(step, "the time was over");
        }
        late
    }

    /// The process that it is about first, then in the order that was given.
    fn pids(&mut self) -> Vec<i32> {
        let drifted = self.scene.drifted.into_iter();
        let others = self.scene.pids.iter().copied();
        let mut seen = BTreeSet::new();
        let mut pids: Vec<i32> = drifted.chain(others).filter(|pid| *pid > 0).collect();
        pids.retain(|pid| seen.insert(*pid));
        if pids.len() > MOST_PROCESSES {
            let (count, most) = (pids.len(), MOST_PROCESSES);
            let why = format!("{count} processes; the first {most} were looked at");
            self.manifest.lacks("processes", why);
            pids.truncate(most);
        }
        pids
    }

    fn processes(&mut self) -> io::Result<()> {
        for pid in self.pids() {
            if self.late("processes") {
                break;
            }
            let folder = match Folder::open(pid) {
                Ok(folder) => folder,
                Err(error) => {
                    let what = format!("processes/{pid}");
                    self.manifest.lacks(what, error.to_string());
                    continue;
                }
            };
            // Asked while it is held: the pid cannot be given to another process between the two.
            let foreign = |line| !any_thread(pid, |text| is_told_by(line, text));
            if self.scene.cgroup.is_some_and(foreign) {
                let what = format!("processes/{pid}");
                self.manifest
                    .lacks(what, "it is not in the container's cgroup");
                continue;
            }
            let sources = self.small_texts(&folder)?;
            let process = facts::of(&folder, &sources, &mut self.manifest);
            self.see_mounts(&folder, &process);
            self.manifest.processes.push(process);
            self.folders.push(folder);
        }
        Ok(())
    }

    fn small_texts(&mut self, folder: &Folder) -> io::Result<Sources> {
        let mut sources = Sources::default();
        for name in SMALL {
            let text = self.text(folder, name, folder.read(name, LARGEST_TEXT))?;
            match name {
                "status" => sources.status = text,
                "stat" => sources.stat = text,
                "limits" => sources.limits = text,
                _ => {}
            }
        }
        Ok(sources)
    }

    /// Adds what was read as `processes/PID/NAME`, or the reason why it is missing.
    fn text(&mut self, folder: &Folder, name: &str, read: io::Result<Text>) -> io::Result<Text> {
        let what = entry(folder, name);
        let text = match read {
            Ok(text) => text,
            Err(_) if OPTIONAL.contains(&name) => return Ok(Text::default()),
            Err(error) => {
                self.manifest.lacks(what, error.to_string());
                return Ok(Text::default());
            }
        };
        self.keep(Part::Text, what, &text)?;
        Ok(text)
    }

    fn keep(&mut self, part: Part, what: String, text: &Text) -> io::Result<()> {
        let added = self.archive.add(part, &what, &text.bytes)?;
        if !added {
            self.manifest
                .lacks(what, "the archive has no room for more of these");
        } else if text.cut {
            let why = format!("the first {} bytes", text.bytes.len());
            self.manifest.lacks(what, why);
        }
        Ok(())
    }

    /// Remembers what is mounted where the process is.
    fn see_mounts(&mut self, folder: &Folder, process: &Process) {
        let space = process.namespaces.get("mnt").copied().unwrap_or(0);
        let mounts = self.mounts.entry(space).or_default();
        let understood = match folder.read("mountinfo", LARGEST_TEXT) {
            Ok(text) => mounts.add(&text.bytes),
            // The file itself is missing later on, and said to be.
            Err(_) => true,
        };
        if !understood {
            let why = "it has another form than the kernel's; file systems are unknown";
            self.manifest.lacks(entry(folder, "mountinfo"), why);
        }
    }

    fn descriptors(&mut self) {
        let mut left = MOST_DESCRIPTORS;
        for (at, folder) in self.folders.iter().enumerate() {
            if facts::has_ended(&self.manifest.processes[at]) {
                continue;
            }
            if Instant::now() >= self.scene.until {
                self.manifest.lacks("descriptors", "the time was over");
                return;
            }
            let space = self.manifest.processes[at].namespaces.get("mnt");
            let Some(mounts) = self.mounts.get(&space.copied().unwrap_or(0)) else {
                continue;
            };
            let most = left.min(facts::MOST_DESCRIPTORS);
            let found = facts::descriptors(folder, mounts, most, &mut self.manifest);
            left -= found.len();
            self.manifest.processes[at].descriptors = found;
        }
    }

    /// Tables of each network namespace, through its first process, and which descriptors they tell of.
    fn sockets(&mut self) -> io::Result<()> {
        let sockets = self.manifest.processes.iter();
        let sockets = sockets.flat_map(|process| &process.descriptors);
        let sockets = sockets.filter(|descriptor| descriptor.kind == Some("socket"));
        let wanted: BTreeSet<u64> = sockets.filter_map(|descriptor| descriptor.inode).collect();
        let mut found = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for at in 0..self.folders.len() {
            let space = self.manifest.processes[at].namespaces.get("net");
            let Some(space) = space.copied() else {
                continue;
            };
            let ended = facts::has_ended(&self.manifest.processes[at]);
            if ended || !seen.insert(space) || self.late("sockets") {
                continue;
            }
            for table in sockets::TABLES {
                let what = format!("sockets/{space}/{table}");
                match self.folders[at].read(&format!("net/{table}"), LARGEST_TEXT) {
                    Ok(text) => {
                        let ink = &mut self.manifest.ink;
                        sockets::match_lines(table, &text.bytes, &wanted, &mut found, ink);
                        self.keep(Part::Sockets, what, &text)?;
                    }
                    // A kernel without IPv6.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => self.manifest.lacks(what, error.to_string()),
                }
            }
        }
        for process in &mut self.manifest.processes {
            for descriptor in &mut process.descriptors {
                let inode = descriptor
                    .inode
                    .filter(|_| descriptor.kind == Some("socket"));
                descriptor.socket = inode.and_then(|inode| found.get(&inode).cloned());
            }
        }
        Ok(())
    }

    fn journal(&mut self) -> io::Result<()> {
        match tail::of(self.scene.journal) {
            Ok(lines) => {
                if !self.archive.add(Part::Journal, "events.jsonl", &lines)? {
                    self.manifest.lacks("events.jsonl", "the archive is full");
                }
            }
            Err(error) => self.manifest.lacks("events.jsonl", error.to_string()),
        }
        Ok(())
    }

    fn long_texts(&mut self) -> io::Result<()> {
        let mut tables: BTreeMap<String, i32> = BTreeMap::new();
        let folders = std::mem::take(&mut self.folders);
        for name in LARGE {
            for (at, folder) in folders.iter().enumerate() {
                if facts::has_ended(&self.manifest.processes[at]) {
                    continue;
                }
                if self.late(name) {
                    break;
                }
                let read = match name {
                    "cmdline" => self.command_line(folder),
                    _ => folder.read(name, LARGEST_TEXT),
                };
                if name == "mountinfo"
                    && let Ok(text) = &read
                {
                    let pid = folder.pid;
                    let first = *tables.entry(state::digest(&text.bytes)).or_insert(pid);
                    if first != pid {
                        self.manifest.processes[at].mountinfo_of = Some(first);
                        continue;
                    }
                }
                self.text(folder, name, read)?;
            }
        }
        self.folders = folders;
        Ok(())
    }

    fn command_line(&self, folder: &Folder) -> io::Result<Text> {
        let stat = folder.read("stat", LARGEST_TEXT)?;
        let stat = facts::Stat::parse(&stat.bytes);
        facts::command_line(folder, &stat, LARGEST_TEXT).map_err(io::Error::other)
    }

    fn early_manifest(&mut self) -> io::Result<()> {
        let bytes = self.manifest.encode()?;
        self.archive
            .add(Part::Manifest, "manifest-early.json", &bytes)?;
        self.archive.flush()
    }

    fn programs(&mut self) -> io::Result<()> {
        let scene = self.scene;
        let mut programs = Programs::new(known(), scene.init, scene.started, scene.until);
        let none = Mounts::default();
        if let Some(file) = &scene.refused {
            programs.keep_refused(file, &mut self.archive, &mut self.manifest)?;
        }
        for at in 0..self.folders.len() {
            if facts::has_ended(&self.manifest.processes[at]) {
                continue;
            }
            if self.late("executables") {
                break;
            }
            let process = &self.manifest.processes[at];
            let space = process.namespaces.get("mnt").copied().unwrap_or(0);
            let mounts = self.mounts.get(&space).unwrap_or(&none);
            let whole = self.scene.drifted == Some(process.pid);
            let folder = &self.folders[at];
            let (archive, manifest) = (&mut self.archive, &mut self.manifest);
            let found = programs.look(folder, mounts, whole, archive, manifest)?;
            self.manifest.processes[at].program = found;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Manifest> {
        self.manifest.complete = Instant::now() < self.scene.until;
        let bytes = self.manifest.encode()?;
        if !self.archive.add(Part::Manifest, "manifest.json", &bytes)? {
            return Err(io::Error::other("the manifest is larger than it can be"));
        }
        self.archive.finish()?;
        Ok(self.manifest)
    }
}

/// What this process can tell of file systems.
fn known() -> Known {
    let own = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let memory = memfd::sealed(c"evidence", memfd::Use::Bytes, io::empty());
    let memory = memory.and_then(|memory| statx::cached(&memory, c""));
    Known::new(&own, memory.ok().as_ref())
}
