//! What tells a mounted program from a forged one, and lets SELinux tell it too.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::check;

/// Whether the file is the root of a mount, so that nobody in that mount namespace can rename or
/// remove it (EBUSY). Kernel 5.8; before, nothing is.
///
/// # Errors
/// Those of statx(2).
pub fn is_mount_root(fd: impl AsFd) -> io::Result<bool> {
    let bit = libc::STATX_ATTR_MOUNT_ROOT as u64;
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut out: libc::statx = unsafe { std::mem::zeroed() };
    let (raw, flags) = (fd.as_fd().as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: statx(2) takes an open descriptor, a NUL-terminated path, which is empty, and writes
    // one `struct statx`, which `out` is.
    let done = unsafe { libc::statx(raw, c"".as_ptr(), flags, libc::STATX_TYPE, &raw mut out) };
    check(done.into())?;
    Ok(out.stx_attributes_mask & out.stx_attributes & bit != 0)
}

/// Gives a file its SELinux label, as selinux(8) keeps it.
///
/// # Errors
/// Those of fsetxattr(2).
pub fn set_label(fd: impl AsFd, label: &CStr) -> io::Result<()> {
    let (raw, value) = (fd.as_fd().as_raw_fd(), label.to_bytes_with_nul());
    let (name, data) = (c"security.selinux", value.as_ptr().cast());
    // SAFETY: fsetxattr(2) takes an open descriptor, a NUL-terminated name, and `value.len()` bytes
    // that outlive the call.
    let done = unsafe { libc::fsetxattr(raw, name.as_ptr(), data, value.len(), 0) };
    check(done.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn proc_is_a_mount_and_what_lies_in_it_is_none() {
        assert!(is_mount_root(File::open("/proc").unwrap()).unwrap());
        assert!(!is_mount_root(File::open("/proc/self").unwrap()).unwrap());
    }
}
