//! The event journal of one container: JSON lines, appended, never a reason to stall.
//!
//! Events that the container can cause at will are admitted by a token bucket and the rest counted;
//! a line that cannot be written keeps its number, so a reader sees the loss as a gap.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::event::{Event, Identity, VERSION, What};
use crate::state::Record;

/// Tripwires reported at once before the bucket is empty, and how fast it fills again.
const BURST: f64 = 200.0;
const PER_SECOND: f64 = 20.0;
/// How long a failed open is not repeated.
const RETRY: Duration = Duration::from_secs(5);

pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    failed_at: Option<Instant>,
    container: Identity,
    handler: String,
    profiles: Vec<String>,
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
            failed_at: None,
            container: record.container.clone(),
            handler: record.handler.clone(),
            profiles: record.profiles.clone(),
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
        self.flush_suppressed();
        true
    }

    fn flush_suppressed(&mut self) {
        for (syscall, count) in std::mem::take(&mut self.suppressed) {
            self.write(What::Suppressed {
                count,
                of: format!("tripwire {syscall}"),
            });
        }
    }

    /// Writes the last line.
    pub(super) fn end(&mut self, tripwires: u64) {
        self.flush_suppressed();
        self.write(What::End { tripwires });
    }

    pub(super) fn write(&mut self, what: What) {
        self.seq += 1;
        let event = Event {
            version: VERSION,
            seq: self.seq,
            time: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            container: self.container.clone(),
            handler: self.handler.clone(),
            profiles: self.profiles.clone(),
            what,
        };
        let Ok(mut line) = serde_json::to_vec(&event) else {
            return;
        };
        line.push(b'\n');
        if let Some(file) = self.open() {
            // One write(2) a line, so that readers and other writers never see half of one. What
            // could not be written shows as a hole in the numbers.
            if file.write_all(&line).is_err() {
                self.file = None;
                self.failed_at = Some(Instant::now());
            }
        }
    }

    fn open(&mut self) -> Option<&mut File> {
        let resting = self.failed_at.is_some_and(|at| at.elapsed() < RETRY);
        if self.file.is_none() && !resting {
            let made = File::options()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&self.path);
            self.failed_at = made.is_err().then(Instant::now);
            self.file = made.ok();
        }
        self.file.as_mut()
    }
}
