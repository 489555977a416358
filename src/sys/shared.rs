//! Memory that a process and its children share (mmap(2), MAP_SHARED | MAP_ANONYMOUS).
//!
//! What lies here may be written at any moment by a peer that has been taken over, and by the
//! kernel on behalf of either. So there is no reference into it but to atomics, and everything else
//! is copied out before it is looked at. Nobody can shrink it: it has no descriptor.
//!
//! Offsets are the program's own constants. One that came out of the region itself is a bug, and a
//! wrong one a panic.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// The region, zeroed and resident from the start; unmapped when dropped, by each process for
/// itself.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to no thread, and it is only reached through atomics.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// `bytes` of shared memory, which children made from now on share.
    ///
    /// # Errors
    /// EINVAL for 0, ENOMEM.
    pub fn new(bytes: usize) -> io::Result<Region> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
        );
        // SAFETY: mmap(2) with a null hint and no descriptor makes a mapping where nothing is.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Region {
            start,
            length: bytes,
        })
    }

    /// Where it is mapped, alike in every process that has it by fork(2).
    pub fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Its size, bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.length
    }

    /// The number at `offset`.
    ///
    /// # Panics
    /// Where it is not inside, or `offset` is no multiple of 4.
    pub fn u32_at(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "an offset that is not aligned");
        let place = self.slot_ptr(offset, 4).cast();
        // SAFETY: `slot_ptr` found the bytes inside the mapping, which lives as long as the borrow
        // of `self`; the mapping begins at a page and the offset is a multiple of 4. Others reach
        // these bytes from other processes or by atomics only.
        unsafe { AtomicU32::from_ptr(place) }
    }

    /// The number at `offset`.
    ///
    /// # Panics
    /// Where it is not inside, or `offset` is no multiple of 8.
    pub fn u64_at(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "an offset that is not aligned");
        let place = self.slot_ptr(offset, 8).cast();
        // SAFETY: as in `u32_at`, for 8.
        unsafe { AtomicU64::from_ptr(place) }
    }

    /// Copies out what lies at `offset`, torn where somebody writes meanwhile.
    ///
    /// # Panics
    /// Where it is not inside.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let (head, words) = self.split(offset, into.len());
        let (first, rest) = into.split_at_mut(head);
        for (at, byte) in (offset..).zip(first) {
            *byte = self.u8_at(at).load(Ordering::Relaxed);
        }
        let (middle, last) = rest.split_at_mut(words * 8);
        let mut at = offset + head;
        for chunk in middle.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.u64_at(at).load(Ordering::Relaxed).to_ne_bytes());
            at += 8;
        }
        for (at, byte) in (at..).zip(last) {
            *byte = self.u8_at(at).load(Ordering::Relaxed);
        }
    }

    /// Copies `bytes` to `offset`. Publishes nothing: store to [`Region::u32_at`] with
    /// [`Ordering::Release`] behind it.
    ///
    /// # Panics
    /// Where they do not fit inside.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let (head, words) = self.split(offset, bytes.len());
        let (first, rest) = bytes.split_at(head);
        for (at, byte) in (offset..).zip(first) {
            self.u8_at(at).store(*byte, Ordering::Relaxed);
        }
        let (middle, last) = rest.split_at(words * 8);
        let mut at = offset + head;
        for chunk in middle.chunks_exact(8) {
            let word = u64::from_ne_bytes(chunk.try_into().expect("a chunk is 8 bytes"));
            self.u64_at(at).store(word, Ordering::Relaxed);
            at += 8;
        }
        for (at, byte) in (at..).zip(last) {
            self.u8_at(at).store(*byte, Ordering::Relaxed);
        }
    }

    /// Writes zeros.
    ///
    /// # Panics
    /// Where the range is not inside.
    pub fn clear(&self, offset: usize, length: usize) {
        const ZEROS: [u8; 256] = [0; 256];
        self.slot_ptr(offset, length);
        for at in (0..length).step_by(ZEROS.len()) {
            let count = ZEROS.len().min(length - at);
            self.write(offset + at, &ZEROS[..count]);
        }
    }

    /// How a range divides: bytes before the first multiple of 8, and whole words from there.
    fn split(&self, offset: usize, length: usize) -> (usize, usize) {
        self.slot_ptr(offset, length);
        let head = (offset.next_multiple_of(8) - offset).min(length);
        (head, (length - head) / 8)
    }

    fn u8_at(&self, offset: usize) -> &AtomicU8 {
        // SAFETY: as in `u32_at`; a byte is always aligned.
        unsafe { AtomicU8::from_ptr(self.slot_ptr(offset, 1)) }
    }

    /// Where the kernel may write `length` bytes.
    ///
    /// # Panics
    /// Where they are not inside.
    pub(super) fn slot_ptr(&self, offset: usize, length: usize) -> *mut u8 {
        let end = offset.checked_add(length);
        assert!(
            end.is_some_and(|end| end <= self.length),
            "a place outside the region"
        );
        // SAFETY: the offset is inside the mapping, or one past its end where `length` is 0.
        unsafe { self.start.as_ptr().add(offset) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked;
    use crate::sys::pidfd::Ended;
    use crate::sys::spawn::{Fork, fork};
    use std::panic::catch_unwind;

    #[test]
    fn what_a_child_wrote_is_there_after_it_was_killed() {
        forked::run(|| {
            let region = Region::new(4096)?;
            let flag = region.u32_at(4);
            let child = match fork()? {
                Fork::Parent { pidfd, .. } => pidfd,
                Fork::Child => {
                    region.write(100, b"the last words");
                    flag.store(1, Ordering::Release);
                    loop {
                        std::thread::yield_now();
                    }
                }
            };
            while flag.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            crate::sys::pidfd::send_signal(&child, libc::SIGKILL)?;
            assert_eq!(forked::end(&child), Ended::Signaled(libc::SIGKILL));
            let mut words = [0; 14];
            region.read(100, &mut words);
            assert_eq!(&words, b"the last words");
            Ok(())
        });
    }

    #[test]
    fn any_range_is_copied_whole_and_nothing_beside_it() {
        let region = Region::new(64).unwrap();
        let bytes: Vec<u8> = (1..=64).collect();
        for offset in 0..=64 {
            for length in 0..=64 - offset {
                region.write(0, &[0xee; 64]);
                region.write(offset, &bytes[..length]);
                let mut all = [0; 64];
                region.read(0, &mut all);
                assert!(all[..offset].iter().all(|byte| *byte == 0xee));
                assert_eq!(all[offset..offset + length], bytes[..length]);
                assert!(all[offset + length..].iter().all(|byte| *byte == 0xee));
                let mut part = vec![0; length];
                region.read(offset, &mut part);
                assert_eq!(part, bytes[..length]);
                region.clear(offset, length);
                region.read(offset, &mut part);
                assert!(part.iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn a_number_and_its_bytes_are_the_same_memory() {
        let region = Region::new(16).unwrap();
        region.u64_at(8).store(0x0102_0304, Ordering::Relaxed);
        let mut bytes = [0; 8];
        region.read(8, &mut bytes);
        assert_eq!(u64::from_ne_bytes(bytes), 0x0102_0304);
        assert_eq!(region.len(), 16);
    }

    #[test]
    fn nothing_outside_is_ever_reached() {
        let region = Region::new(16).unwrap();
        assert!(catch_unwind(|| region.read(9, &mut [0; 8])).is_err());
        assert!(catch_unwind(|| region.write(usize::MAX, &[0; 8])).is_err());
        assert!(catch_unwind(|| region.clear(0, 17)).is_err());
        assert!(catch_unwind(|| region.u32_at(16).load(Ordering::Relaxed)).is_err());
        assert!(catch_unwind(|| region.u32_at(2).load(Ordering::Relaxed)).is_err());
        assert!(catch_unwind(|| region.u64_at(4).load(Ordering::Relaxed)).is_err());
        region.read(16, &mut []);
    }
}
