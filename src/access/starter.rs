//! What the kernel executes with a program's file: the interpreter that a script's first line names, the loader
//! that an ELF file asks for.
//!
//! The bytes are somebody else's: whatever they say is a path, no more, and no file makes more be read than the
//! kernel reads of it.

use std::io;

/// A program, and what is opened to be executed with it, at most. A script's interpreter may be a script again, five times over
/// (`exec_binprm` of fs/exec.c, since Linux 5.8); one further is opened and then refused with ELOOP, and the last
/// may be a program that has a loader.
pub const MOST_PROGRAMS: usize = 7;

/// So many bytes of a file decide what it is (`BINPRM_BUF_SIZE`, since Linux 5.1).
const START: usize = 256;
/// Program headers of a 64-bit file, each, and all of them (`load_elf_phdrs` of fs/binfmt_elf.c).
const HEADER: usize = 56;
const MOST_HEADERS: usize = 65536;
/// `PT_INTERP` of elf(5).
const PT_INTERP: u32 = 3;
/// A loader's name with its NUL (`PATH_MAX`).
const LONGEST: usize = 4096;

/// What another file is started by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Starter {
    /// A script's interpreter: a path, relative to the caller's working directory where it has no slash at its
    /// beginning. It is started by something itself, as any program is.
    Interpreter(Vec<u8>),
    /// A program's loader, by which nothing else comes: the kernel maps it and does not ask what it needs.
    Loader(Vec<u8>),
}

impl Starter {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match self {
            Starter::Interpreter(path) | Starter::Loader(path) => path,
        }
    }
}

/// What the file is started by; none for a static program, for what is none, and for what the kernel would not
/// execute. `read` reads at an offset, as pread(2). Of ELF files those of 64 bits and little endian.
pub fn of(read: impl Fn(u64, &mut [u8]) -> io::Result<usize>) -> Option<Starter> {
    let mut start = [0; START];
    let length = filled(&read, 0, &mut start)?;
    let start = &start[..length];
    if start.starts_with(b"#!") {
        return Some(Starter::Interpreter(interpreter(start)?.to_vec()));
    }
    let (table, size) = headers(start)?;
    let mut all = vec![0; size];
    whole(&read, table, &mut all)?;
    let loader = all
        .chunks_exact(HEADER)
        .find(|header| number(header, 0).map(u32::from_le_bytes) == Some(PT_INTERP))?;
    let offset = number(loader, 8).map(u64::from_le_bytes)?;
    let length = usize::try_from(number(loader, 32).map(u64::from_le_bytes)?).ok()?;
    let mut name = vec![0; (2..=LONGEST).contains(&length).then_some(length)?];
    whole(&read, offset, &mut name)?;
    let name = name.strip_suffix(b"\0")?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some(Starter::Loader(name.to_vec()))
}

/// The interpreter behind `#!`, as `load_script` of fs/binfmt_script.c reads it: up to a blank, tab, line end or NUL,
/// with a carriage return for a letter like any other. A name that may go on behind what is read is none.
fn interpreter(start: &[u8]) -> Option<&[u8]> {
    let rest = start.strip_prefix(b"#!")?;
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    let rest = &rest[blanks.count()..];
    let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | 0);
    let name = match rest.iter().position(ends) {
        Some(end) => &rest[..end],
        // The kernel's buffer is zero behind a short file.
        None if start.len() < START => rest,
        None => return None,
    };
    (!name.is_empty()).then_some(name)
}

/// Offset and size of an ELF file's program headers (elf(5)).
fn headers(start: &[u8]) -> Option<(u64, usize)> {
    const ET_EXEC: u16 = 2;
    const ET_DYN: u16 = 3;
    start.strip_prefix(b"\x7fELF\x02\x01")?;
    let kind = u16::from_le_bytes(number(start, 16)?);
    if !matches!(kind, ET_EXEC | ET_DYN) {
        return None;
    }
    let table = u64::from_le_bytes(number(start, 32)?);
    let size = usize::from(u16::from_le_bytes(number(start, 54)?));
    let count = usize::from(u16::from_le_bytes(number(start, 56)?));
    let all = size * count;
    (size == HEADER && (1..=MOST_HEADERS).contains(&all)).then_some((table, all))
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Fills `into` as far as the file goes, and says how far.
fn filled(
    read: impl Fn(u64, &mut [u8]) -> io::Result<usize>,
    from: u64,
    into: &mut [u8],
) -> Option<usize> {
    let mut at = 0;
    while at < into.len() {
        match read(from.checked_add(at as u64)?, &mut into[at..]) {
            Ok(0) => break,
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(at)
}

fn whole(
    read: impl Fn(u64, &mut [u8]) -> io::Result<usize>,
    from: u64,
    into: &mut [u8],
) -> Option<()> {
    (filled(read, from, into)? == into.len()).then_some(())
}

#[cfg(test)]
mod tests;
