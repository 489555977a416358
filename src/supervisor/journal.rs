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

use serde_json::json;

use crate::event::{VERSION, What};
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
            failed_at: None,
            whose: format!(
                "\"container\":{},\"handler\":{},\"profiles\":{}",
                json!(record.container),
                json!(record.handler),
                json!(record.profiles)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Identity, Process};

    #[test]
    fn a_composed_line_is_the_event_of_the_schema() {
        let container = Identity {
            id: "a\"b".into(),
            pod: Some("web\n".into()),
            ..Identity::default()
        };
        let mut journal = Journal {
            path: PathBuf::from("/nowhere/at/all"),
            file: None,
            failed_at: None,
            whose: format!(
                "\"container\":{},\"handler\":\"h\",\"profiles\":[\"p\"]",
                json!(container)
            ),
            line: Vec::new(),
            seq: 6,
            tokens: BURST,
            filled: Instant::now(),
            suppressed: BTreeMap::new(),
        };
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
}
