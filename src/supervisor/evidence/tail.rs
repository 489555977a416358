//! The last lines of the container's journal.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Lines, and bytes.
const MOST_LINES: usize = 1000;
const MOST_BYTES: usize = 1 << 20;

/// The last lines, whole ones, oldest first. A journal that was put aside a moment ago is read before
/// the one that took its place.
///
/// # Errors
/// The journal is not there, or no file.
pub(super) fn of(journal: &Path) -> io::Result<Vec<u8>> {
    let lines = last(journal, MOST_LINES, MOST_BYTES)?;
    let mut aside = journal.as_os_str().to_owned();
    aside.push(".1");
    let count = lines.iter().filter(|byte| **byte == b'\n').count();
    let (more, room) = (MOST_LINES - count, MOST_BYTES - lines.len());
    // There mostly is none.
    let mut before = last(Path::new(&aside), more, room).unwrap_or_default();
    before.extend(lines);
    Ok(before)
}

fn last(path: &Path, most: usize, bytes: usize) -> io::Result<Vec<u8>> {
    // A pod that mounts the log folder could have put a link or a fifo in its place.
    let mut file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("the journal is not a file"));
    }
    // One byte more tells whether the first line is a whole one.
    let from = meta.len().saturating_sub(bytes as u64 + 1);
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.take(bytes as u64 + 1).read_to_end(&mut text)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n');
    text.truncate(whole.map_or(0, |end| end + 1));
    let breaks = text.iter().enumerate().rev();
    let mut breaks = breaks.filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let start = match breaks.nth(most) {
        Some(at) => at + 1,
        None if from == 0 => 0,
        None => text
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1),
    };
    text.drain(..start);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn the_last_lines_are_whole_ones() {
        let scratch = Scratch::new("tail");
        let path = scratch.path.join("a");
        std::fs::write(&path, "one\ntwo\nthree\nhal").unwrap();
        let last = |most, bytes| String::from_utf8(last(&path, most, bytes).unwrap()).unwrap();
        assert_eq!(last(9, 99), "one\ntwo\nthree\n");
        assert_eq!(last(2, 99), "two\nthree\n");
        assert_eq!(last(0, 99), "");
        // "two\nthree\nhal" with the line break before it, and without.
        assert_eq!(last(9, 13), "two\nthree\n");
        assert_eq!(last(9, 12), "three\n");
        assert_eq!(last(9, 4), "");
    }

    #[test]
    fn what_was_put_aside_comes_before_the_rest() {
        let scratch = Scratch::new("tail-aside");
        let path = scratch.path.join("a.jsonl");
        assert!(of(&path).is_err());
        let aside: String = (0..2000).map(|number| format!("{number}\n")).collect();
        std::fs::write(scratch.path.join("a.jsonl.1"), aside).unwrap();
        std::fs::write(&path, "last\n").unwrap();
        let text = String::from_utf8(of(&path).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[999]), (1000, "1001", "last"));
    }

    #[test]
    fn a_fifo_in_its_place_is_not_waited_for() {
        let scratch = Scratch::new("tail-fifo");
        let path = scratch.path.join("a.jsonl");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(of(&path).is_err());
    }
}
