//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)), read whole or not at all.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::sys::octal;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Unique within the mount namespace.
    pub id: u64,
    /// The mount it lies on.
    pub parent: u64,
    /// `MAJOR:MINOR` of the file system.
    pub device: String,
    /// What of the file system is mounted.
    pub root: PathBuf,
    /// Where, below the process's root.
    pub point: PathBuf,
    /// Mounted read-only, whatever the file system itself is.
    pub read_only: bool,
    /// Nothing is executed from it (MS_NOEXEC).
    pub no_exec: bool,
    /// Type of the file system.
    pub fstype: String,
}

/// Every line.
///
/// # Errors
///
/// The number, from 1, of the first line that has another form.
pub fn read(text: &str) -> Result<Vec<Mount>, usize> {
    let lines = text.lines().enumerate();
    lines.map(|(at, line)| parse(line).ok_or(at + 1)).collect()
}

/// Every path below which `mounts` show `inner` of file system `device`.
#[must_use]
pub fn names(mounts: &[Mount], device: &str, inner: &Path) -> BTreeSet<PathBuf> {
    let same = mounts.iter().filter(|mount| mount.device == device);
    same.filter_map(|mount| Some(below(&mount.point, inner.strip_prefix(&mount.root).ok()?)))
        .collect()
}

/// `rest` below `top`; `top` itself where there is none (`Path::join` would add a slash).
#[must_use]
pub fn below(top: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        top.to_owned()
    } else {
        top.join(rest)
    }
}

/// `ID PARENT DEVICE ROOT POINT OPTIONS [OPTIONAL…] - FSTYPE SOURCE SUPER`
fn parse(line: &str) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let mut fields = head.split(' ');
    let id = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    let device = fields.next()?.to_owned();
    let root = unescape(fields.next()?)?;
    let point = unescape(fields.next()?)?;
    let options = fields.next()?;
    let has = |word: &str| options.split(',').any(|option| option == word);
    let (read_only, no_exec) = (has("ro"), has("noexec"));
    let fstype = tail
        .split(' ')
        .next()
        .filter(|fstype| !fstype.is_empty())?
        .to_owned();
    (point.is_absolute() && device.contains(':')).then_some(Mount {
        id,
        parent,
        device,
        root,
        point,
        read_only,
        no_exec,
        fstype,
    })
}

fn unescape(field: &str) -> Option<PathBuf> {
    let bytes = octal::undone(field.as_bytes())?;
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 8:1 / / rw - ext4 /dev/sda1 rw
30 21 8:1 /etc /srv/config rw shared:1 - ext4 /dev/sda1 rw
31 21 8:2 / /data rw - ext4 /dev/sdb rw
";

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape("/a\\040b\\134"), Some(PathBuf::from("/a b\\")));
        assert_eq!(unescape("/a\\04"), None);
    }

    #[test]
    fn a_file_has_a_name_for_each_mount_that_shows_it() {
        let mounts = read(TABLE).unwrap();
        let names = |device, inner: &str| -> Vec<String> {
            let all = names(&mounts, device, Path::new(inner));
            all.into_iter()
                .map(|path| path.display().to_string())
                .collect()
        };
        assert_eq!(names("8:1", "/etc"), ["/etc", "/srv/config"]);
        assert_eq!(names("8:1", "/etc/ssl"), ["/etc/ssl", "/srv/config/ssl"]);
        assert_eq!(names("8:1", "/usr"), ["/usr"]);
        assert_eq!(names("8:2", "/x"), ["/data/x"]);
        assert!(names("8:3", "/").is_empty());
    }

    #[test]
    fn a_line_of_another_form_is_told_by_its_number() {
        assert_eq!(read(&format!("{TABLE}garbage\n")), Err(4));
    }
}
