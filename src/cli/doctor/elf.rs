//! Whether a program is static: read from its ELF program headers (elf(5)), without running it.

/// `PT_INTERP`: the program asks for a dynamic loader.
const INTERPRETER: u32 = 3;

/// Whether these bytes are a 64-bit little-endian ELF program without a loader; none where they
/// are no such program.
pub fn is_static(bytes: &[u8]) -> Option<bool> {
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let offset = usize::try_from(u64::from_le_bytes(field(bytes, 32)?)).ok()?;
    let size = usize::from(u16::from_le_bytes(field(bytes, 54)?));
    let count = usize::from(u16::from_le_bytes(field(bytes, 56)?));
    for index in 0..count {
        let header = offset.checked_add(index.checked_mul(size)?)?;
        if u32::from_le_bytes(field(bytes, header)?) == INTERPRETER {
            return Some(false);
        }
    }
    Some(true)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_is_recognised_and_odd_bytes_are_no_program() {
        let bash = std::fs::read("/bin/bash").unwrap();
        assert_eq!(is_static(&bash), Some(false));
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(is_static(&own), Some(true));
        assert_eq!(is_static(b"#!/bin/sh"), None);
        assert_eq!(is_static(&bash[..60]), None);
        assert_eq!(is_static(b""), None);
    }
}
