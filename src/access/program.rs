//! What starts a program: the interpreter that a script names, the loader that an ELF file asks for.
//! Read from the first bytes of a file that an image's author chose: whatever they say is a path, no more.

/// What another file is started by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Starter {
    /// Its path.
    pub path: String,
    /// What it is to the file.
    pub what: &'static str,
}

/// `PT_INTERP` of elf(5).
const INTERPRETER: u32 = 3;

/// What the kernel executes in the place of a file that begins so (execve(2)); none for a static program
/// and for what is none.
pub fn started_by(head: &[u8]) -> Option<Starter> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let text = std::str::from_utf8(line)
            .ok()?
            .trim_start_matches([' ', '\t']);
        let path = text.split([' ', '\t', '\r']).next()?;
        return path.starts_with('/').then(|| Starter {
            path: path.to_owned(),
            what: "the interpreter that its first line names",
        });
    }
    let path = loader(head)?;
    Some(Starter {
        path,
        what: "its dynamic loader",
    })
}

/// Of a 64-bit little-endian ELF file.
fn loader(bytes: &[u8]) -> Option<String> {
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let number = |at: usize| usize::try_from(u64::from_le_bytes(field(bytes, at)?)).ok();
    let offset = number(32)?;
    let size = usize::from(u16::from_le_bytes(field(bytes, 54)?));
    let count = usize::from(u16::from_le_bytes(field(bytes, 56)?));
    let headers = (0..count).filter_map(|at| offset.checked_add(at.checked_mul(size)?));
    let mut asking = headers
        .filter(|at| field(bytes, *at).is_some_and(|kind| u32::from_le_bytes(kind) == INTERPRETER));
    let header = asking.next()?;
    let (begin, length) = (
        number(header.checked_add(8)?)?,
        number(header.checked_add(32)?)?,
    );
    let name = bytes.get(begin..begin.checked_add(length)?)?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some(std::str::from_utf8(name).ok()?.to_owned())
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_programs_and_neither() {
        let path = |head: &[u8]| started_by(head).map(|by| by.path);
        assert_eq!(path(b"#!/bin/sh\necho").as_deref(), Some("/bin/sh"));
        assert_eq!(
            path(b"#! /usr/bin/env python3\n").as_deref(),
            Some("/usr/bin/env")
        );
        assert_eq!(path(b"#!sh\n"), None);
        assert_eq!(path(b"#!"), None);
        let bash = std::fs::read("/bin/bash").unwrap();
        assert!(path(&bash).unwrap().contains("ld-linux"));
        assert_eq!(path(&bash[..100]), None);
        assert_eq!(
            path(&std::fs::read("/proc/self/exe").unwrap()),
            None,
            "a static one"
        );
        assert_eq!(path(b""), None);
    }
}
