//! The event journal of one container: JSON lines, appended, never a reason to stall.
//!
//! The keeper alone writes it: its own events, and those that the watcher has composed. A line that
//! cannot be written keeps its number, so a reader sees the loss as a gap, and the first line that can
//! be written again says how many there were and why. A line is in the file whole or not at all: what a
//! full disk left of one is taken away again, and so is what a killed writer left.

use std::fs::{DirBuilder, File, Metadata};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::event::{Identity, VERSION, What};
use crate::state::{self, Record};

/// A journal of this size is put aside as `….jsonl.1`, over the one before: a container has twice as
/// much at the most. Bytes.
const LARGEST: u64 = 16 << 20;
/// How long a failed open is not repeated.
const RETRY: Duration = Duration::from_secs(5);
/// What `observed` lines of a container may take of that, bytes, so that no number of different ones puts its
/// first line, its tripwires and its detections out of both files; less where all journals have less than
/// [`PART`] times as much together.
const OBSERVED: u64 = LARGEST / 2;
const PART: u64 = 4;
/// What stands in a line beside who the container is and the event, bytes at the most.
const FRAME: usize = 96;
/// No line is longer: the largest event, and who the container is. Bytes.
const LONGEST: u64 = 256 << 10;

pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// Device and inode of the file.
    place: (u64, u64),
    /// Bytes in the file.
    size: u64,
    failed_at: Option<Instant>,
    /// Lines that were not written since the last `lost` event, and in all; why the last one was not.
    unwritten: u64,
    lost: u64,
    error: Option<String>,
    last_cause: String,
    /// What all journals together may take, bytes; 0: no bound.
    total: u64,
    /// What is left for `observed` lines, bytes.
    observed: u64,
    /// Who the container is, for evidence.
    identity: Identity,
    policy: String,
    init: String,
    /// Where living containers are known.
    state_dir: PathBuf,
    profiles: Vec<String>,
    /// What every line says of the container, ready made.
    whose: String,
    /// The line under way; kept for its memory.
    line: Vec<u8>,
    seq: u64,
}

impl Journal {
    pub(super) fn new(record: &Record, state_dir: &Path) -> Journal {
        Journal {
            path: record.journal.clone(),
            file: None,
            place: (0, 0),
            size: 0,
            failed_at: None,
            unwritten: 0,
            lost: 0,
            error: None,
            last_cause: String::new(),
            total: record.log_total,
            observed: share(record.log_total),
            identity: record.container.clone(),
            policy: record.policy_digest.clone(),
            init: record.init_digest.clone(),
            state_dir: state_dir.to_owned(),
            profiles: record.profiles.clone(),
            whose: format!(
                "\"container\":{},\"handler\":{},\"profiles\":{},\"policy\":{}",
                json!(record.container),
                json!(record.handler),
                json!(record.profiles),
                json!(record.policy_digest)
            ),
            line: Vec::new(),
            seq: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn policy(&self) -> &str {
        &self.policy
    }

    pub(super) fn init(&self) -> &str {
        &self.init
    }

    pub(super) fn profiles(&self) -> &[String] {
        &self.profiles
    }

    /// Lines that could not be written so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Why the last line could not be written; none where it could.
    pub(super) fn error(&self) -> Option<String> {
        self.error.clone()
    }

    /// Leaves the file alone, in a process that does not write.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Goes on behind another process's last number.
    pub(super) fn take_over(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// Events so far, those that could not be written included.
    pub(super) fn written(&self) -> u64 {
        self.seq
    }

    /// Writes one event.
    pub(super) fn write(&mut self, what: &What) {
        match serde_json::to_vec(what) {
            Ok(body) => self.write_body(&body),
            Err(error) => self.lose(1, &error.to_string()),
        }
    }

    /// Whether an `observed` event of so many bytes may be written; its room is taken then. Once one had none, no
    /// other has: what is told is then what was seen first.
    pub(super) fn takes_observed(&mut self, length: usize) -> bool {
        let line = (length + self.whose.len() + FRAME) as u64;
        let left = self.observed.checked_sub(line);
        self.observed = left.unwrap_or(0);
        left.is_some()
    }

    /// Writes one event whose [`What`] was composed elsewhere. It is not parsed, but must not become two
    /// lines, or none.
    pub(super) fn write_body(&mut self, body: &[u8]) {
        if !super::body::is_event(body) {
            return self.lose(1, "the watcher wrote something else than an event");
        }
        self.seq += 1;
        self.compose(body);
        let line = std::mem::take(&mut self.line);
        match self.append(&line) {
            Ok(()) => {
                self.error = None;
                self.tell_lost();
            }
            Err(error) => {
                self.unwritten += 1;
                self.lost += 1;
                self.error = Some(error);
            }
        }
        self.line = line;
    }

    /// Counts lines that there are numbers for and nothing else.
    pub(super) fn lose(&mut self, count: u64, cause: &str) {
        self.seq += count;
        self.unwritten += count;
        self.lost += count;
        let error = self.error.replace(cause.to_owned());
        self.tell_lost();
        self.error = error;
    }

    /// Says what is missing, as soon as that can be said.
    fn tell_lost(&mut self) {
        if self.unwritten == 0 {
            return;
        }
        let what = What::Lost {
            count: self.unwritten,
            cause: self
                .error
                .clone()
                .unwrap_or_else(|| self.last_cause.clone()),
        };
        let Ok(body) = serde_json::to_vec(&what) else {
            return;
        };
        self.seq += 1;
        self.compose(&body);
        let line = std::mem::take(&mut self.line);
        match self.append(&line) {
            Ok(()) => self.unwritten = 0,
            // Its own number is not missed: the next one that can be written takes it.
            Err(_) => self.seq -= 1,
        }
        self.line = line;
    }

    fn append(&mut self, line: &[u8]) -> Result<(), String> {
        if self.size > 0 && self.size + line.len() as u64 > LARGEST {
            self.put_aside();
        }
        let done = self.open().and_then(|file| {
            // One write(2) a line: no other writer gets into it. A reader can see it come in pieces, and
            // waits for its end.
            write_whole(file, line)
        });
        if let Err(error) = done {
            self.file = None;
            let error = error.to_string();
            if self.failed_at.is_none() {
                self.failed_at = Some(Instant::now());
                self.last_cause.clone_from(&error);
            }
            return Err(self.last_cause.clone());
        }
        self.size += line.len() as u64;
        Ok(())
    }

    /// The line of an [`Event`](crate::event::Event), without making one.
    fn compose(&mut self, body: &[u8]) {
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        self.line.clear();
        let head = format!(
            "{{\"version\":{VERSION},\"seq\":{},\"time\":\"{time}\",{},",
            self.seq, self.whose
        );
        self.line.extend_from_slice(head.as_bytes());
        // Its keys stand beside the others: it is never empty, because it is tagged.
        self.line.extend_from_slice(&body[1..]);
        self.line.push(b'\n');
    }

    fn put_aside(&mut self) {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        // Where it cannot be renamed, it grows on: a line more matters less than a line lost.
        let _ = std::fs::rename(&self.path, aside);
        self.file = None;
        self.size = 0;
        self.make_room();
    }

    /// Removes what is oldest of other containers' journals and of evidence, where all together take too
    /// much.
    pub(super) fn make_room(&self) {
        if let (Some(folder), 1..) = (self.path.parent(), self.total) {
            // A journal may be the one of a container that has just begun to live.
            let living = |name: &str| state::has_home(&self.state_dir, name);
            // What cannot be removed is tried again with the next journal that is full.
            let _ = state::prune(folder, self.total, living);
        }
    }

    fn open(&mut self) -> std::io::Result<&mut File> {
        // One that was removed or moved takes lines all the same, and nobody looks for them there.
        let there = std::fs::symlink_metadata(&self.path);
        let there = there.map(|meta| (meta.dev(), meta.ino()));
        if self.file.is_some() && there.ok() != Some(self.place) {
            self.file = None;
            self.size = 0;
        }
        if self.file.is_none() {
            if self.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
                return Err(std::io::Error::other("it failed a moment ago"));
            }
            if let Some(folder) = self.path.parent() {
                // It exists but where somebody removed it; the next line tells where it cannot be.
                let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            }
            self.failed_at = None;
            let (file, meta) = open_own(&self.path)?;
            self.size = tidy(&file, meta.len());
            self.place = (meta.dev(), meta.ino());
            self.file = Some(file);
        }
        self.file
            .as_mut()
            .ok_or_else(|| std::io::Error::other("no file"))
    }
}

/// Bytes that `observed` lines of one container may take, where all journals may take `total`.
fn share(total: u64) -> u64 {
    match total {
        0 => OBSERVED,
        total => OBSERVED.min(total / PART),
    }
}

/// Writes the line, or nothing of it.
fn write_whole(file: &mut File, line: &[u8]) -> std::io::Result<()> {
    let mut written = 0;
    while written < line.len() {
        match file.write(&line[written..]) {
            Ok(length) => written += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if written == 0 => return Err(error),
            // A full disk takes what it has room for, up to the end of a block.
            Err(error) => {
                let end = file.metadata()?.len();
                file.set_len(end.saturating_sub(written as u64))?;
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Cuts off what is no whole line at the end of the file; its size then.
fn tidy(file: &File, size: u64) -> u64 {
    // Opened for appending alone: what somebody may have put in its place is not to be read.
    let reader = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let from = size.saturating_sub(LONGEST);
    let mut tail = vec![0; (size - from) as usize];
    if size == 0
        || reader
            .and_then(|reader| reader.read_exact_at(&mut tail, from))
            .is_err()
    {
        return size;
    }
    let end = tail.iter().rposition(|byte| *byte == b'\n');
    let whole = end.map_or(from, |end| from + end as u64 + 1);
    if whole == size || file.set_len(whole).is_err() {
        return size;
    }
    whole
}

/// The journal's own file and what it is. A pod that mounts the log folder could have put a link or a
/// fifo in its place: those are not written to.
fn open_own(path: &Path) -> std::io::Result<(File, Metadata)> {
    let file = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let meta = file.metadata()?;
    let own = meta.uid() == nix::unistd::geteuid().as_raw();
    if !meta.is_file() || meta.nlink() != 1 || !own {
        return Err(std::io::Error::other(
            "the journal is not a file of its own",
        ));
    }
    Ok((file, meta))
}

#[cfg(test)]
mod tests;
