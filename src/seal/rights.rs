//! Landlock's bits by the names that people read (linux/landlock.h).

use super::Layer;

/// Names of `LANDLOCK_ACCESS_FS_*`, in the order of their bits.
const FILES: [&str; 17] = [
    "execute",
    "write-file",
    "read-file",
    "read-dir",
    "remove-dir",
    "remove-file",
    "make-char",
    "make-dir",
    "make-reg",
    "make-sock",
    "make-fifo",
    "make-block",
    "make-sym",
    "refer",
    "truncate",
    "ioctl-dev",
    "resolve-unix",
];
/// Those that what is no directory has: `execute`, `write-file`, `read-file`, `truncate`, `ioctl-dev` and
/// `resolve-unix` (ACCESS_FILE of security/landlock/fs.c).
pub const ON_FILES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15 | 1 << 16;
const TCP: [&str; 2] = ["bind", "connect"];
const SCOPES: [&str; 2] = ["abstract-unix-socket", "signal"];

/// `LANDLOCK_ACCESS_FS_*`.
#[must_use]
pub fn files(bits: u64) -> Vec<&'static str> {
    names(bits, &FILES)
}

/// `LANDLOCK_ACCESS_NET_*`.
#[must_use]
pub fn tcp(bits: u64) -> Vec<&'static str> {
    names(bits, &TCP)
}

/// `LANDLOCK_SCOPE_*`.
#[must_use]
pub fn scopes(bits: u64) -> Vec<&'static str> {
    names(bits, &SCOPES)
}

/// The bit of `LANDLOCK_ACCESS_FS_*` with this name.
#[must_use]
pub fn file(name: &str) -> Option<u64> {
    bit(name, &FILES)
}

/// The bit of `LANDLOCK_ACCESS_NET_*` with this name.
#[must_use]
pub fn port(name: &str) -> Option<u64> {
    bit(name, &TCP)
}

/// The bit of `LANDLOCK_SCOPE_*` with this name.
#[must_use]
pub fn scope(name: &str) -> Option<u64> {
    bit(name, &SCOPES)
}

/// Every right on files that has a name here, in the order of the bits.
#[must_use]
pub fn all_files() -> &'static [&'static str] {
    &FILES
}

fn bit(name: &str, all: &[&str]) -> Option<u64> {
    let at = all.iter().position(|other| *other == name)?;
    Some(1 << at)
}

fn names(bits: u64, all: &[&'static str]) -> Vec<&'static str> {
    all.iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect()
}

/// What one domain denies unless a rule allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handled {
    /// `LANDLOCK_ACCESS_FS_*`.
    pub files: u64,
    /// `LANDLOCK_ACCESS_NET_*`.
    pub tcp: u64,
    /// `LANDLOCK_SCOPE_*`.
    pub scopes: u64,
}

impl From<&Layer> for Handled {
    fn from(layer: &Layer) -> Handled {
        Handled {
            files: layer.handled_fs,
            tcp: layer.handled_net,
            scopes: layer.scoped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_the_names_of_the_header() {
        assert_eq!(
            files(1 | 1 << 13 | 1 << 16),
            ["execute", "refer", "resolve-unix"]
        );
        assert_eq!(
            files(ON_FILES),
            [
                "execute",
                "write-file",
                "read-file",
                "truncate",
                "ioctl-dev",
                "resolve-unix"
            ]
        );
        let known = landlock::AccessFs::from_file(landlock::ABI::V10);
        assert_eq!(ON_FILES, known.bits());
        assert_eq!(tcp(2), ["connect"]);
        assert_eq!((file("refer"), file("read")), (Some(1 << 13), None));
        assert_eq!((port("connect"), port("listen")), (Some(2), None));
        assert_eq!(scopes(3), ["abstract-unix-socket", "signal"]);
    }
}
