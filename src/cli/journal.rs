//! Reading journals: JSON lines that a supervisor may be writing at this moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use crate::event::{Event, VERSION};

/// One whole line of a journal.
#[derive(Debug)]
pub struct Line {
    /// As written, without the line end.
    pub raw: Vec<u8>,
    /// What it says, or why it cannot be understood.
    pub event: Result<Event, String>,
    /// What the sequence numbers tell about the lines before it.
    pub gap: Option<Gap>,
}

/// Events that are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Number that should have come.
    pub expected: u64,
    /// Number that came.
    pub found: u64,
}

/// One journal, read as far as it is written.
#[derive(Debug)]
pub struct Journal {
    /// The file.
    pub path: PathBuf,
    /// Device and inode of the file that `offset` counts in.
    identity: Option<(u64, u64)>,
    offset: u64,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
    /// Sequence number of the last event.
    last: u64,
}

impl Journal {
    /// A journal that nothing was read of.
    pub fn new(path: PathBuf) -> Journal {
        Journal {
            path,
            identity: None,
            offset: 0,
            partial: Vec::new(),
            last: 0,
        }
    }

    /// The whole lines since the last call. A file that was replaced or cut short is read from its
    /// beginning.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn read_on(&mut self) -> io::Result<Vec<Line>> {
        let mut file = self.open()?;
        file.seek(SeekFrom::Start(self.offset))?;
        let read = file.read_to_end(&mut self.partial)?;
        self.offset += read as u64;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        let lines = whole[..end].split(|byte| *byte == b'\n');
        Ok(lines
            .filter(|raw| !raw.is_empty())
            .map(|raw| self.line(raw))
            .collect())
    }

    fn open(&mut self) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(O_NOFOLLOW | O_NONBLOCK)
            .open(&self.path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let identity = Some((meta.dev(), meta.ino()));
        if self.identity != identity || meta.len() < self.offset {
            (self.identity, self.offset) = (identity, 0);
            self.partial.clear();
        }
        Ok(file)
    }

    /// Numbers begin with 1 again where an id is used again, so 1 is never a gap.
    fn line(&mut self, raw: &[u8]) -> Line {
        let event = parse(raw);
        let gap = event.as_ref().ok().and_then(|event| {
            let expected = self.last + 1;
            self.last = event.seq;
            (event.seq != expected && event.seq != 1).then_some(Gap {
                expected,
                found: event.seq,
            })
        });
        Line {
            raw: raw.to_owned(),
            event,
            gap,
        }
    }
}

/// Understands one line. The version is judged first, so that a newer schema says so instead of
/// naming a field that is unknown or missing.
fn parse(raw: &[u8]) -> Result<Event, String> {
    let value: serde_json::Value =
        serde_json::from_slice(raw).map_err(|error| error.to_string())?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version > u64::from(VERSION) => {
            return Err(format!(
                "it has version {version}, this mantlet knows {VERSION}"
            ));
        }
        _ => {}
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::event::{Identity, What};
    use crate::state::tests::Scratch;

    fn line(seq: u64) -> String {
        let event = Event {
            version: VERSION,
            seq,
            time: "2026-01-01T00:00:00.000000Z".into(),
            container: Identity {
                id: "c".into(),
                ..Identity::default()
            },
            handler: "h".into(),
            profiles: vec![],
            policy: String::new(),
            what: What::End { tripwires: 3 },
        };
        serde_json::to_string(&event).unwrap() + "\n"
    }

    fn gaps(lines: &[Line]) -> Vec<Option<Gap>> {
        lines.iter().map(|line| line.gap.clone()).collect()
    }

    #[test]
    fn an_event_survives_the_journal() {
        let event = parse(line(7).trim().as_bytes()).unwrap();
        assert_eq!((event.seq, event.what), (7, What::End { tripwires: 3 }));
    }

    #[test]
    fn a_half_written_line_waits_for_its_end() {
        let scratch = Scratch::new("journal-half");
        let path = scratch.path.join("a.jsonl");
        let mut file = File::create(&path).unwrap();
        let (first, second) = (line(1), line(2));
        let (head, tail) = second.split_at(20);
        write!(file, "{first}{head}").unwrap();
        let mut journal = Journal::new(path);
        assert_eq!(journal.read_on().unwrap().len(), 1);
        assert_eq!(journal.read_on().unwrap().len(), 0);
        write!(file, "{tail}").unwrap();
        let lines = journal.read_on().unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].event.as_ref().unwrap().seq, 2);
    }

    #[test]
    fn a_hole_in_the_numbers_is_a_gap_and_a_new_life_is_not() {
        let scratch = Scratch::new("journal-gap");
        let path = scratch.path.join("a.jsonl");
        std::fs::write(&path, [1, 2, 5, 1, 2].map(line).concat()).unwrap();
        let lines = Journal::new(path).read_on().unwrap();
        let gap = Some(Gap {
            expected: 3,
            found: 5,
        });
        assert_eq!(gaps(&lines), [None, None, gap, None, None]);
    }

    #[test]
    fn a_file_cut_short_is_read_from_its_beginning() {
        let scratch = Scratch::new("journal-cut");
        let path = scratch.path.join("a.jsonl");
        std::fs::write(&path, [1, 2].map(line).concat()).unwrap();
        let mut journal = Journal::new(path.clone());
        assert_eq!(journal.read_on().unwrap().len(), 2);
        std::fs::write(&path, line(1)).unwrap();
        assert_eq!(journal.read_on().unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_event_is_told_and_not_skipped() {
        assert!(parse(b"{").is_err());
        assert!(parse(b"{\"version\":2}").is_err());
        let newer = line(1).replace("\"version\":2", "\"version\":3");
        assert!(
            parse(newer.trim().as_bytes())
                .unwrap_err()
                .contains("version 3")
        );
    }
}
