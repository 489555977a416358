//! Reading another process's memory (process_vm_readv(2)): bytes of somebody who may change them at any
//! moment, so nothing is ever granted on them.

use std::io;

use super::check;

/// Smallest page of any machine: a read that does not cross its border fails or succeeds as a whole.
const PAGE: usize = 4096;

/// Reads from `address` of thread `tid`; how many bytes could be read, which is fewer where its memory
/// ends.
///
/// # Errors
/// EFAULT where nothing is there, EPERM without CAP_SYS_PTRACE, ESRCH.
pub fn read(tid: i32, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let start = usize::try_from(address).map_err(|_| io::ErrorKind::InvalidInput)?;
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(start),
        iov_len: into.len(),
    };
    // SAFETY: the kernel writes at most `iov_len` bytes to `into`, which is borrowed mutably; the remote
    // address is the other process's and only read there.
    let count =
        check(
            unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) }
                as _,
        )?;
    Ok(count as usize)
}

/// The text at `address` up to its NUL, page by page; none where it is longer than `most`.
///
/// # Errors
/// Those of [`read`].
pub fn text(tid: i32, address: u64, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    let mut at = address;
    while text.len() < most {
        let left = PAGE - (at as usize) % PAGE;
        let mut piece = [0; PAGE];
        // Most paths are short: a quarter of a page first.
        let wanted = left.min(if text.is_empty() { 256 } else { PAGE });
        let count = read(tid, at, &mut piece[..wanted])?;
        let piece = &piece[..count];
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            text.extend(&piece[..end]);
            return Ok((text.len() <= most).then_some(text));
        }
        text.extend(piece);
        at = at.saturating_add(count as u64);
        if count == 0 {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> i32 {
        // SAFETY: gettid has no preconditions.
        unsafe { libc::gettid() }
    }

    #[test]
    fn a_text_is_read_to_its_end_and_no_further() {
        let long = [vec![b'a'; 9000], vec![0, b'x']].concat();
        let address = long.as_ptr() as u64;
        let read = text(own(), address, 10_000).unwrap().unwrap();
        assert_eq!(read, long[..9000]);
        assert_eq!(text(own(), address, 8999).unwrap(), None);
        assert_eq!(text(own(), address + 9000, 10).unwrap(), Some(Vec::new()));
        assert!(text(own(), 0, 10).is_err());
        assert!(text(own(), u64::MAX - 8, 10).is_err());
    }
}
