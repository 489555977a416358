//! The archive as it is written: entries one after the other, and no more of them than there is room.
//!
//! Names of entries are made of numbers and fixed words by the callers, so that nothing of the
//! container's decides where an extracted file lands.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a whole archive, headers included.
pub(super) const LARGEST: u64 = 64 << 20;
/// Of those kept free for the two manifests.
const FOR_MANIFESTS: u64 = 16 << 20;
/// Of those at most for texts of /proc, for tables of sockets, for the journal.
const FOR_TEXTS: u64 = 24 << 20;
const FOR_SOCKETS: u64 = 4 << 20;
const FOR_JOURNAL: u64 = 2 << 20;
/// A tar file's unit; its end is two of them.
const BLOCK: u64 = 512;

/// What an entry is, by which its room is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Files of `processes/`.
    Text,
    /// Files of `sockets/`.
    Sockets,
    /// `events.jsonl`.
    Journal,
    /// Files of `binaries/`: all that is left but what the manifests need.
    Program,
    /// A manifest.
    Manifest,
}

/// An archive under way.
pub(super) struct Archive {
    tar: tar::Builder<BufWriter<File>>,
    time: u64,
    left: u64,
    texts: u64,
    sockets: u64,
    journal: u64,
}

impl Archive {
    /// Begins one in `out`, whose content it becomes; entries carry the time `now`.
    pub(super) fn begin(out: File, now: SystemTime) -> Archive {
        Archive {
            tar: tar::Builder::new(BufWriter::with_capacity(64 << 10, out)),
            time: now
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            left: LARGEST - 2 * BLOCK,
            texts: FOR_TEXTS,
            sockets: FOR_SOCKETS,
            journal: FOR_JOURNAL,
        }
    }

    /// Bytes that an entry of this part can have now.
    pub(super) fn room(&self, part: Part) -> u64 {
        let shared = self.left.saturating_sub(FOR_MANIFESTS);
        let room = match part {
            Part::Text => self.texts.min(shared),
            Part::Sockets => self.sockets.min(shared),
            Part::Journal => self.journal.min(shared),
            Part::Program => shared,
            Part::Manifest => self.left,
        };
        (room / BLOCK * BLOCK).saturating_sub(BLOCK)
    }

    /// Adds an entry; false where there is no room for it.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub(super) fn add(&mut self, part: Part, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let size = bytes.len() as u64;
        if size > self.room(part) {
            return Ok(false);
        }
        self.append(part, name, size, bytes)?;
        Ok(true)
    }

    /// Adds an entry of exactly `size` bytes, for which there has to be [`Archive::room`]. What
    /// `from` does not have any more is zeros: the size stands before the bytes.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub(super) fn add_from(
        &mut self,
        part: Part,
        name: &str,
        size: u64,
        from: impl Read,
    ) -> io::Result<()> {
        assert!(
            size <= self.room(part),
            "the caller has asked for the room of {name}"
        );
        self.append(part, name, size, Padded(from).take(size))
    }

    fn append(&mut self, part: Part, name: &str, size: u64, from: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.time);
        header.set_size(size);
        self.tar.append_data(&mut header, name, from)?;
        let taken = BLOCK + size.div_ceil(BLOCK) * BLOCK;
        self.left = self.left.saturating_sub(taken);
        match part {
            Part::Text => self.texts = self.texts.saturating_sub(taken),
            Part::Sockets => self.sockets = self.sockets.saturating_sub(taken),
            Part::Journal => self.journal = self.journal.saturating_sub(taken),
            Part::Program | Part::Manifest => {}
        }
        Ok(())
    }

    /// Has all that was added so far reach the file: the next step may never end.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.tar.get_mut().flush()
    }

    /// Writes the end.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub(super) fn finish(self) -> io::Result<()> {
        self.tar.into_inner()?.flush()
    }
}

/// A reader that never ends: after its bytes, or an error, come zeros.
struct Padded<R>(R);

impl<R: Read> Read for Padded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(count) if count > 0 => Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            _ => {
                buffer.fill(0);
                Ok(buffer.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn an_archive_full_of_everything_is_no_larger_than_it_may_be() {
        let scratch = Scratch::new("archive-full");
        let path = scratch.path.join("a.tar");
        let mut archive = Archive::begin(File::create(&path).unwrap(), UNIX_EPOCH);
        let megabyte = vec![7; 1 << 20];
        let parts = [Part::Text, Part::Sockets, Part::Journal, Part::Program];
        for part in parts {
            let mut count = 0;
            while archive.add(part, &format!("{count}"), &megabyte).unwrap() {
                count += 1;
            }
            assert!(count >= 1, "{part:?}");
        }
        // Room for both manifests, whatever came before.
        let manifest = vec![b' '; (8 << 20) - 1024];
        assert!(archive.add(Part::Manifest, "first", &manifest).unwrap());
        assert!(archive.add(Part::Manifest, "second", &manifest).unwrap());
        archive.finish().unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size <= LARGEST && size > LARGEST - (4 << 20), "{size}");
    }

    #[test]
    fn a_file_that_has_become_shorter_does_not_shift_what_follows() {
        let scratch = Scratch::new("archive-short");
        let path = scratch.path.join("a.tar");
        let mut archive = Archive::begin(File::create(&path).unwrap(), UNIX_EPOCH);
        let short: &[u8] = b"abc";
        archive.add_from(Part::Program, "one", 5, short).unwrap();
        assert!(archive.add(Part::Program, "two", b"x").unwrap());
        archive.finish().unwrap();
        let mut read = tar::Archive::new(File::open(&path).unwrap());
        let entries = read.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        });
        let entries: Vec<_> = entries.collect();
        assert_eq!(entries[0], ("one".to_owned(), b"abc\0\0".to_vec()));
        assert_eq!(entries[1], ("two".to_owned(), b"x".to_vec()));
    }
}
