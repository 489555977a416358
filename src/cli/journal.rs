//! Reading journals: JSON lines that a supervisor may be writing at this moment, and put aside
//! (`JOURNAL.1`) when they have become long.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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

/// Events that are not there: a hole, or all that stood before the first line that is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Number that should have come.
    pub expected: u64,
    /// Number that came.
    pub found: u64,
}

impl Gap {
    /// What is missing is the beginning: a journal keeps two files, and drops the older one for a third.
    pub fn is_beginning(&self) -> bool {
        self.expected == 1
    }
}

/// Which file that is: device and inode.
type Identity = (u64, u64);

/// One journal, read as far as it is written.
#[derive(Debug)]
pub struct Journal {
    /// The file.
    pub path: PathBuf,
    /// The file that `offset` counts in.
    identity: Option<Identity>,
    offset: u64,
    /// The file that was put aside, once it was read.
    aside: Option<Identity>,
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
            aside: None,
            partial: Vec::new(),
            last: 0,
        }
    }

    /// The lines of a journal that is at hand as a whole; a last one without its end counts as well.
    pub fn lines_of(text: &[u8]) -> Vec<Line> {
        let mut journal = Journal::new(PathBuf::new());
        let lines = text
            .split(|byte| *byte == b'\n')
            .filter(|raw| !raw.is_empty());
        lines.map(|raw| journal.line(raw)).collect()
    }

    /// The whole lines since the last call; none where there is no such file. What was put aside
    /// meanwhile is read to its end first, and before the first call from its beginning. A file that
    /// was replaced or cut short is read from its beginning.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn read_on(&mut self) -> io::Result<Vec<Line>> {
        let current = open(&self.path)?;
        let identity = current.as_ref().map(|(_, meta)| (meta.dev(), meta.ino()));
        let mut lines = Vec::new();
        if self.identity != identity || identity.is_none() {
            lines = self.read_aside()?;
            (self.identity, self.offset) = (identity, 0);
            self.partial.clear();
        }
        let Some((mut file, meta)) = current else {
            return Ok(lines);
        };
        if meta.len() < self.offset {
            self.offset = 0;
            self.partial.clear();
        }
        lines.extend(self.read_from(&mut file)?);
        Ok(lines)
    }

    /// What was put aside, unless it was read before. Of the file that this one read last, only the
    /// rest is new.
    fn read_aside(&mut self) -> io::Result<Vec<Line>> {
        let mut path = self.path.clone().into_os_string();
        path.push(".1");
        let Some((mut file, meta)) = open(Path::new(&path))? else {
            return Ok(Vec::new());
        };
        let identity = Some((meta.dev(), meta.ino()));
        if self.aside == identity {
            return Ok(Vec::new());
        }
        self.aside = identity;
        if self.identity != identity {
            self.offset = 0;
            self.partial.clear();
        }
        self.read_from(&mut file)
    }

    fn read_from(&mut self, file: &mut File) -> io::Result<Vec<Line>> {
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

/// A regular file, no link and no fifo; none where there is none.
fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(Some((file, meta)))
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
            what: What::End {
                tripwires: 3,
                observed: None,
            },
        };
        serde_json::to_string(&event).unwrap() + "\n"
    }

    fn gaps(lines: &[Line]) -> Vec<Option<Gap>> {
        lines.iter().map(|line| line.gap.clone()).collect()
    }

    #[test]
    fn an_event_survives_the_journal() {
        let event = parse(line(7).trim().as_bytes()).unwrap();
        assert_eq!(
            (event.seq, event.what),
            (
                7,
                What::End {
                    tripwires: 3,
                    observed: None
                }
            )
        );
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
    fn a_journal_that_is_put_aside_meanwhile_loses_no_line() {
        let scratch = Scratch::new("journal-aside");
        let path = scratch.path.join("a.jsonl");
        let aside = scratch.path.join("a.jsonl.1");
        let numbers = |lines: Vec<Line>| -> Vec<u64> {
            let mut gaps = lines.iter().filter_map(|line| line.gap.as_ref());
            assert!(gaps.all(Gap::is_beginning), "{lines:?}");
            lines
                .iter()
                .map(|l| l.event.as_ref().unwrap().seq)
                .collect()
        };
        std::fs::write(&aside, [4, 5].map(line).concat()).unwrap();
        std::fs::write(&path, line(6)).unwrap();
        let mut journal = Journal::new(path.clone());
        assert_eq!(numbers(journal.read_on().unwrap()), [4, 5, 6]);
        assert!(numbers(journal.read_on().unwrap()).is_empty());
        // A line comes, then the file goes, and the next one is not there yet.
        std::fs::write(&path, [6, 7].map(line).concat()).unwrap();
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(numbers(journal.read_on().unwrap()), [7]);
        std::fs::write(&path, line(8)).unwrap();
        assert_eq!(numbers(journal.read_on().unwrap()), [8]);
        // Both between two looks.
        std::fs::write(&path, [8, 9].map(line).concat()).unwrap();
        std::fs::rename(&path, &aside).unwrap();
        std::fs::write(&path, line(10)).unwrap();
        assert_eq!(numbers(journal.read_on().unwrap()), [9, 10]);
    }

    #[test]
    fn a_beginning_that_is_gone_is_a_gap_of_its_own() {
        let scratch = Scratch::new("journal-beginning");
        let path = scratch.path.join("a.jsonl");
        let text = [4, 5].map(line).concat();
        let of_text = Journal::lines_of(text.as_bytes());
        std::fs::write(scratch.path.join("a.jsonl.1"), line(4)).unwrap();
        std::fs::write(&path, line(5)).unwrap();
        for lines in [Journal::new(path).read_on().unwrap(), of_text] {
            let gap = lines[0].gap.clone().unwrap();
            assert!(gap.is_beginning() && gap.found == 4, "{gap:?}");
            assert_eq!(lines[1].gap, None);
        }
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
