//! A container's mountinfo: what is believed stays believable only while nothing is mounted where a
//! process finds itself, in whatever order the lines come.

use std::path::{Path, PathBuf};

use mantlet::oci::procmounts::check as judge;

pub fn check(data: &[u8]) {
    // The first line, where it is no mount, lists what the admin allows.
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (allowed, text) = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with('/') => {
            (first.split(' ').map(PathBuf::from).collect(), rest)
        }
        _ => (Vec::new(), text),
    };
    if judge(text, &allowed).is_err() {
        return;
    }
    let lines: Vec<Vec<String>> = text.lines().map(fields).collect();
    let at = |point: &str| {
        let there = |line: &&Vec<String>| Path::new(&line[4]) == Path::new(point);
        lines.iter().filter(there).collect::<Vec<_>>()
    };
    // 1. What every believed text has, read here in another way than there.
    let roots = at("/");
    assert_eq!(roots.len(), 1);
    let proc = at("/proc");
    assert!(
        proc.iter()
            .any(|line| Path::new(&line[3]) == Path::new("/") && line.contains(&"proc".to_owned()))
    );
    for hidden in ["/proc/self", "/proc/thread-self", "/proc/1"] {
        assert!(
            !lines
                .iter()
                .any(|line| Path::new(&line[4]).starts_with(hidden))
        );
    }
    // 2. The order of lines means nothing.
    let turned: Vec<&str> = text.lines().rev().collect();
    assert_eq!(judge(&turned.join("\n"), &allowed), Ok(()));
    // 3. More allowed is no less believed.
    let mut more = allowed.clone();
    more.push("/proc/meminfo".into());
    assert_eq!(judge(text, &more), Ok(()));
    // 4. One mount more in the wrong place, and it is refused, whatever is allowed.
    let base = text.trim_end_matches('\n');
    for proc in &proc {
        let (id, device) = (&proc[0], &proc[2]);
        for point in [
            "/proc/self",
            "/proc/self/fd",
            "/proc/thread-self/fd",
            "/proc/1/fd",
        ] {
            more.push(point.into());
            let inside = point.trim_start_matches("/proc");
            let line = format!("4294967295 {id} {device} {inside} {point} rw - proc proc rw");
            assert!(judge(&format!("{base}\n{line}"), &more).is_err(), "{line}");
        }
        let over = format!("4294967295 {id} 9:9 / /proc rw - tmpfs tmpfs rw");
        assert!(judge(&format!("{base}\n{over}"), &more).is_err(), "{over}");
    }
    let second = format!("4294967295 {} 9:9 / / rw - tmpfs tmpfs rw", roots[0][0]);
    assert!(judge(&format!("{base}\n{second}"), &more).is_err());
}

/// A line's fields, the kernel's octal escapes undone in both paths.
fn fields(line: &str) -> Vec<String> {
    let plain = |field: &str| {
        let mut parts = field.split('\\');
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (digits, rest) = part.split_at_checked(3).unwrap_or((part, ""));
            plain.push(u8::from_str_radix(digits, 8).map_or('\u{fffd}', char::from));
            plain.push_str(rest);
        }
        plain
    };
    let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for path in [3, 4] {
        fields[path] = plain(&fields[path]);
    }
    fields
}
