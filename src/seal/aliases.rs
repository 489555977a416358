//! Links of ordinary images, known by heart: a rule's path is resolved without following links, and
//! tried once more by this table. Whoever foretells what init does reads the same one.

use std::path::{Path, PathBuf};

/// What stands first is tried as what stands second.
const ALIASES: [(&str, &str); 8] = [
    ("/bin", "/usr/bin"),
    ("/sbin", "/usr/sbin"),
    ("/lib", "/usr/lib"),
    ("/lib32", "/usr/lib32"),
    ("/lib64", "/usr/lib64"),
    ("/libx32", "/usr/libx32"),
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
];

/// The other name of `path`, where one of these links would stand in it.
#[must_use]
pub fn aliased(path: &Path) -> Option<PathBuf> {
    let (from, to) = ALIASES.iter().find(|(from, _)| path.starts_with(from))?;
    let rest = path.strip_prefix(from).ok()?;
    Some(if rest.as_os_str().is_empty() {
        PathBuf::from(to)
    } else {
        Path::new(to).join(rest)
    })
}
