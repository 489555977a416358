//! What a file is, without asking whoever serves it.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::check;

/// What statx(2) tells of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// File type and permission bits.
    pub mode: u32,
    /// Names; 0 for a file that was deleted or never had one.
    pub links: u32,
    /// Owner, in the caller's user namespace.
    pub uid: u32,
    /// Major and minor number of the device.
    pub device: (u32, u32),
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the inode.
    pub changed: SystemTime,
    /// The mount it was found through, as mountinfo numbers it; absent before 5.8.
    pub mount: Option<u64>,
}

/// Examines `path` below `dir`, or `dir` itself where it is empty. Links are followed. A file system
/// that has a server answers from what it has (AT_STATX_DONT_SYNC): FUSE does not ask its daemon,
/// which may be stopped.
///
/// # Errors
/// Those of statx(2) (4.11).
pub fn cached(dir: impl AsFd, path: &CStr) -> io::Result<Stat> {
    ask(dir.as_fd().as_raw_fd(), path)
}

/// The same of an absolute path.
///
/// # Errors
/// Those of statx(2).
pub fn cached_path(path: &CStr) -> io::Result<Stat> {
    ask(libc::AT_FDCWD, path)
}

fn ask(dir: std::os::fd::RawFd, path: &CStr) -> io::Result<Stat> {
    let flags = libc::AT_STATX_DONT_SYNC | libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT;
    let mask = libc::STATX_BASIC_STATS | libc::STATX_MNT_ID;
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut out: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: statx(2) reads the NUL-terminated path and writes one `struct statx`, which `out` is.
    check(unsafe { libc::statx(dir, path.as_ptr(), flags, mask, &raw mut out) }.into())?;
    let (seconds, nanos) = (out.stx_ctime.tv_sec, out.stx_ctime.tv_nsec);
    let after = Duration::new(seconds.unsigned_abs(), 0);
    let changed = if seconds < 0 {
        UNIX_EPOCH.checked_sub(after)
    } else {
        UNIX_EPOCH.checked_add(after)
    };
    Ok(Stat {
        mode: u32::from(out.stx_mode),
        links: out.stx_nlink,
        uid: out.stx_uid,
        device: (out.stx_dev_major, out.stx_dev_minor),
        inode: out.stx_ino,
        size: out.stx_size,
        changed: changed.unwrap_or(UNIX_EPOCH) + Duration::from_nanos(nanos.into()),
        mount: (out.stx_mask & libc::STATX_MNT_ID != 0).then_some(out.stx_mnt_id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_tells_what_fstat_tells() {
        let file = File::open("/proc/self/exe").unwrap();
        let (seen, meta) = (cached(&file, c"").unwrap(), file.metadata().unwrap());
        assert_eq!((seen.inode, seen.size), (meta.ino(), meta.len()));
        assert_eq!((seen.mode, seen.uid), (meta.mode(), meta.uid()));
        let (major, minor) = seen.device;
        assert_eq!(libc::makedev(major, minor), meta.dev());
        let since = seen.changed.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(since.as_secs() as i64, meta.ctime());
        let folder = File::open("/").unwrap();
        assert_eq!(cached(&folder, c"proc/self/exe").unwrap(), seen);
    }
}
