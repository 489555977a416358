//! Names that are another each time: numbers, random suffixes, hashes, dates. A rule on such a name
//! would hold until the next run, so its directory is named instead.

/// Directories whose entries come and go, whatever they are called.
const PASSING: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Whether `path` is a directory for passing files or lies in one.
#[must_use]
pub fn is_passing(path: &str) -> bool {
    PASSING
        .iter()
        .any(|top| crate::policy::mounts::beneath(path, top))
}

/// The first component of `path` that looks like another each time, with the directory it lies in.
#[must_use]
pub fn changing(path: &str) -> Option<(&str, &str)> {
    let mut from = 1;
    while from < path.len() {
        let end = path[from..].find('/').map_or(path.len(), |at| from + at);
        let name = &path[from..end];
        let folder = if from == 1 { "/" } else { &path[..from - 1] };
        if is_changing(name) {
            return Some((folder, name));
        }
        from = end + 1;
    }
    None
}

/// Whether a name looks like another each time: a number, a UUID, a hash, a date, or a name with
/// such a part (`upload-3f9a1c77b2d04e55`, `hsperfdata.4711`).
#[must_use]
pub fn is_changing(name: &str) -> bool {
    let stem = name.trim_start_matches('.');
    is_number(stem)
        || is_uuid(stem)
        || stem
            .split(['.', '-', '_', ':'])
            .any(|part| is_hash(part) || is_date(part))
        || is_numbered(stem)
        || is_random(stem)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// Twelve hexadecimal digits or more, letters and figures among them.
fn is_hash(text: &str) -> bool {
    text.len() >= 12
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Eight figures or more, such as 20261125 or a time in seconds.
fn is_date(text: &str) -> bool {
    text.len() >= 8 && is_number(text)
}

/// A number of four figures or more behind a dot or a dash: a pid, as in `PostgreSQL.1804289383`.
fn is_numbered(text: &str) -> bool {
    let (_, last) = match text.rsplit_once(['.', '-', '_']) {
        Some(parts) => parts,
        None => return false,
    };
    last.len() >= 4 && is_number(last)
}

/// What mkstemp(3), Python's tempfile and their like make: letters of both cases mixed with figures
/// after a mark of their own.
fn is_random(text: &str) -> bool {
    let marked = ["tmp", "temp", "temp-", "tmp.", "tmp-", "tmp_"]
        .iter()
        .filter_map(|mark| text.strip_prefix(mark))
        .any(|rest| {
            rest.len() >= 6 && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
    let last = text.rsplit(['.', '-', '_']).next().unwrap_or_default();
    let mixed = last.len() >= 6
        && last.len() < text.len()
        && last.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && last.bytes().any(|byte| byte.is_ascii_uppercase())
        && last.bytes().any(|byte| byte.is_ascii_lowercase())
        && last.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
    marked || mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_hashes_dates_and_random_names_are_told_from_plain_ones() {
        for name in [
            "16384",
            "3f9a1c77b2d04e55",
            "7a1f0c9e-12ab-4cde-8f01-23456789abcd",
            "upload-3f9a1c77b2d0",
            "log-20261125",
            "PostgreSQL.1804289383",
            "hsperfdata.4711",
            "tmpab12cd34",
            "sess_aZ9kQx",
            ".7a1f0c9e12ab",
        ] {
            assert!(is_changing(name), "{name}");
        }
        for name in [
            "libc.so.6",
            "libz.so.1.2.13",
            "python3.11",
            "x86_64-linux-gnu",
            "ld-linux-x86-64.so.2",
            "nginx.conf",
            "ttyS0",
            "access.log",
            "libcrypto.so.3",
            "redis_7.0",
            "README",
            "C.UTF-8",
            "en_US.UTF-8",
            "defaced",
            "PG_VERSION",
            "PG_15_202209061",
            "template",
            "tmpfiles.d",
            "pg_internal.init",
            "libLLVM-14.so.1",
        ] {
            let dated = name == "PG_15_202209061";
            assert_eq!(is_changing(name), dated, "{name}");
        }
    }

    #[test]
    fn the_first_changing_name_and_its_directory_are_found() {
        assert_eq!(
            changing("/var/lib/postgresql/base/16384/2619"),
            Some(("/var/lib/postgresql/base", "16384"))
        );
        assert_eq!(changing("/1234/x"), Some(("/", "1234")));
        assert_eq!(changing("/usr/lib/x86_64-linux-gnu/libc.so.6"), None);
        assert_eq!(changing("/"), None);
    }
}
