//! The event journal of one container: JSON lines, appended, never a reason to stall.
//!
//! Events that the container can cause at will are admitted by a token bucket and the rest counted;
//! a line that cannot be written keeps its number, so a reader sees the loss as a gap.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::event::{VERSION, What};
use crate::state::Record;

/// Tripwires reported at once before the bucket is empty, and how fast it fills again.
const BURST: f64 = 200.0;
const PER_SECOND: f64 = 20.0;
/// A journal of this size is put aside as `….jsonl.1`, over the one before: a container has twice as
/// much at the most. Bytes.
const LARGEST: u64 = 16 << 20;
/// How long a failed open is not repeated.
const RETRY: Duration = Duration::from_secs(5);

pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// Bytes in the file.
    size: u64,
    failed_at: Option<Instant>,
    /// What every line says of the container, ready made.
    whose: String,
    /// The line under way; kept for its memory.
    line: Vec<u8>,
    seq: u64,
    tokens: f64,
    filled: Instant,
    suppressed: BTreeMap<String, u64>,
}

impl Journal {
    pub(super) fn new(record: &Record) -> Journal {
        Journal {
            path: record.journal.clone(),
            file: None,
            size: 0,
            failed_at: None,
            whose: format!(
                "\"container\":{},\"handler\":{},\"profiles\":{},\"policy\":{}",
                json!(record.container),
                json!(record.handler),
                json!(record.profiles),
                json!(record.policy_digest)
            ),
            line: Vec::new(),
            seq: 0,
            tokens: BURST,
            filled: Instant::now(),
            suppressed: BTreeMap::new(),
        }
    }

    /// Events so far, those that could not be written included.
    pub(super) fn written(&self) -> u64 {
        self.seq
    }

    /// Whether a tripwire of this call may be reported now; counts it where not.
    pub(super) fn admits(&mut self, syscall: &str) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f64() * PER_SECOND;
        self.filled = now;
        self.tokens = (self.tokens + gained).min(BURST);
        if self.tokens < 1.0 {
            *self.suppressed.entry(syscall.to_owned()).or_default() += 1;
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// Tells of what was not admitted, if anything.
    pub(super) fn flush_suppressed(&mut self) {
        for (syscall, count) in std::mem::take(&mut self.suppressed) {
            self.write(&What::Suppressed {
                count,
                of: format!("tripwire {syscall}"),
            });
        }
    }

    /// Writes the last line.
    pub(super) fn end(&mut self, tripwires: u64) {
        self.flush_suppressed();
        self.write(&What::End { tripwires });
    }

    pub(super) fn write(&mut self, what: &What) {
        self.seq += 1;
        if self.compose(what).is_err() {
            return;
        }
        let line = std::mem::take(&mut self.line);
        if self.size > 0 && self.size + line.len() as u64 > LARGEST {
            self.put_aside();
        }
        self.size += line.len() as u64;
        if let Some(file) = self.open() {
            // One write(2) a line, so that readers and other writers never see half of one. What
            // could not be written shows as a hole in the numbers.
            if file.write_all(&line).is_err() {
                self.file = None;
                self.failed_at = Some(Instant::now());
            }
        }
        self.line = line;
    }

    /// The line of an [`Event`](crate::event::Event), without making one: a tripwire's caller may
    /// be waiting for this very processor.
    fn compose(&mut self, what: &What) -> std::io::Result<()> {
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        self.line.clear();
        write!(
            self.line,
            "{{\"version\":{VERSION},\"seq\":{},\"time\":\"{time}\",{}",
            self.seq, self.whose
        )?;
        // Its keys stand beside the others: `what` is never empty, because it is tagged.
        let brace = self.line.len();
        serde_json::to_writer(&mut self.line, what)?;
        self.line[brace] = b',';
        self.line.push(b'\n');
        Ok(())
    }

    fn put_aside(&mut self) {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        // Where it cannot be renamed, it grows on: a line more matters less than a line lost.
        let _ = std::fs::rename(&self.path, aside);
        self.file = None;
        self.size = 0;
    }

    fn open(&mut self) -> Option<&mut File> {
        let resting = self.failed_at.is_some_and(|at| at.elapsed() < RETRY);
        if self.file.is_none() && !resting {
            let made = open_own(&self.path);
            self.failed_at = made.is_err().then(Instant::now);
            if let Ok((file, size)) = made {
                self.size = self.size.max(size);
                self.file = Some(file);
            }
        }
        self.file.as_mut()
    }
}

/// The journal's own file and its size. A pod that mounts the log folder could have put a link or a
/// fifo in its place: those are not written to.
fn open_own(path: &Path) -> std::io::Result<(File, u64)> {
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
    Ok((file, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Identity, Process};

    fn empty(path: PathBuf) -> Journal {
        Journal {
            path,
            file: None,
            size: 0,
            failed_at: None,
            whose: "\"container\":{}".into(),
            line: Vec::new(),
            seq: 0,
            tokens: BURST,
            filled: Instant::now(),
            suppressed: BTreeMap::new(),
        }
    }

    #[test]
    fn a_composed_line_is_the_event_of_the_schema() {
        let container = Identity {
            id: "a\"b".into(),
            pod: Some("web\n".into()),
            ..Identity::default()
        };
        let mut journal = empty(PathBuf::from("/nowhere/at/all"));
        journal.whose = format!(
            "\"container\":{},\"handler\":\"h\",\"profiles\":[\"p\"]",
            json!(container)
        );
        journal.seq = 6;
        let what = What::Exit {
            process: Process {
                comm: "x\"\u{7}".into(),
                ..Process::default()
            },
            code: Some(3),
        };
        journal.write(&what);
        let event: Event = serde_json::from_slice(&journal.line).unwrap();
        assert_eq!(event.container, container);
        assert_eq!((event.seq, &event.what), (7, &what));
        assert_eq!(event.profiles, ["p"]);
        assert_eq!(
            journal.line.iter().filter(|byte| **byte == b'\n').count(),
            1
        );
        assert_eq!(event.time.len(), "2026-01-01T00:00:00.000000Z".len());
        // The very bytes that serde would have written.
        let mut whole = serde_json::to_vec(&event).unwrap();
        whole.push(b'\n');
        assert_eq!(journal.line, whole);
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("mantlet-journal-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_journal_is_never_written_through_a_link() {
        let folder = Folder::new("link");
        let victim = folder.0.join("victim");
        std::fs::write(&victim, "original").unwrap();
        let path = folder.0.join("a.jsonl");
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(open_own(&path).is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&victim, &path).unwrap();
        assert!(open_own(&path).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"original");
    }

    #[test]
    fn a_journal_that_has_grown_is_put_aside() {
        let folder = Folder::new("grown");
        let mut journal = empty(folder.0.join("a.jsonl"));
        journal.write(&What::End { tripwires: 1 });
        journal.size = LARGEST;
        journal.write(&What::End { tripwires: 2 });
        let lines = |name: &str| std::fs::read_to_string(folder.0.join(name)).unwrap();
        assert!(lines("a.jsonl.1").contains("\"tripwires\":1"));
        assert!(lines("a.jsonl").contains("\"tripwires\":2"));
    }
}
