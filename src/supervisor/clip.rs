//! Texts that a container chose, cut to what fits into a line of the journal: visibly, with `…` at the end.

use crate::access::Access;

/// Bytes that a path, an entry of a directory and a description take as JSON. The kernel takes paths of 4096
/// bytes and entries of 255; a control character of them is six bytes here.
const PATH: usize = 6 << 10;
const ENTRY: usize = 2 << 10;
const WHAT: usize = 2 << 10;
/// The same of what was moved.
const MOVED: usize = 3 << 10;

/// The text and whether it was cut.
fn text(text: &mut String, room: usize) -> bool {
    let mut left = room;
    let size = |letter: char| match letter {
        '"' | '\\' => 2,
        letter if letter.is_control() => 6,
        letter => letter.len_utf8(),
    };
    let end = text.char_indices().find_map(|(at, letter)| {
        match left.checked_sub(size(letter)) {
            Some(rest) => left = rest,
            None => return Some(at),
        }
        None
    });
    let Some(end) = end else { return false };
    text.truncate(end);
    text.push('…');
    true
}

/// The access with its texts cut, and whether any was: then it is about something else than was seen, and a
/// reader must not take it for that.
pub(super) fn access(mut access: Access) -> (Access, bool) {
    let cut = match &mut access {
        Access::File {
            path,
            entry,
            mount,
            moved,
            ..
        } => {
            let cut = [
                text(path, PATH),
                text(mount, ENTRY),
                entry.as_mut().is_some_and(|entry| text(entry, ENTRY)),
                moved.as_mut().is_some_and(|own| text(&mut own.path, MOVED)),
            ];
            cut.contains(&true)
        }
        Access::Container { what } => text(what, WHAT),
        Access::Syscall { .. } | Access::Tcp { .. } | Access::Capability { .. } => false,
    };
    (access, cut)
}

/// Whether an access names one of these.
pub(super) fn holds(access: &Access, names: &[String]) -> bool {
    let Access::File {
        path,
        entry,
        mount,
        moved,
        ..
    } = access
    else {
        return false;
    };
    let moved = moved.as_ref().map(|own| &own.path);
    let texts = [Some(path), Some(mount), entry.as_ref(), moved];
    let mut texts = texts.into_iter().flatten();
    texts.any(|text| names.iter().any(|name| text.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::shared::LARGEST;

    fn file(path: &str, entry: &str, mount: &str) -> Access {
        Access::File {
            path: path.into(),
            right: "make-reg".into(),
            entry: Some(entry.into()),
            mount: mount.into(),
            directory: true,
            moved: None,
        }
    }

    #[test]
    fn an_access_is_told_by_any_of_its_names() {
        let mut access = file("/srv/a", "b", "/srv");
        let names = |text: &str| [text.to_owned()];
        for (name, found) in [("/srv/a", true), ("b", true), ("c", false)] {
            assert_eq!(holds(&access, &names(name)), found, "{name}");
        }
        if let Access::File { moved, .. } = &mut access {
            *moved = Some(crate::access::Moved {
                path: "/tmp/c".into(),
                directory: false,
            });
        }
        assert!(holds(&access, &names("/tmp/c")) && !holds(&access, &[]));
    }

    #[test]
    fn what_the_kernel_takes_as_a_path_is_told_whole() {
        let long = file(&"/abcdefg".repeat(512), &"é".repeat(127), "/");
        assert_eq!(access(long.clone()), (long, false));
    }

    #[test]
    fn what_does_not_fit_is_cut_with_a_mark_and_fits_then() {
        for hostile in ["\u{1}", "\u{9b}", "\"", "\\", "é", "漢"] {
            let whole = hostile.repeat(5000);
            let (cut, is_cut) = access(file(&whole, &whole, &whole));
            assert!(is_cut);
            let Access::File { path, entry, .. } = &cut else {
                panic!("{cut:?}");
            };
            assert!(path.ends_with('…') && path.len() > 1000, "{}", path.len());
            assert!(entry.as_ref().is_some_and(|entry| entry.ends_with('…')));
            // Beside it: a name of 256 characters, which may all be control characters, and the rest.
            let size = serde_json::to_vec(&cut).unwrap().len();
            assert!(size + 256 * 6 + 1024 < LARGEST, "{size}");
        }
        let what = "x".repeat(5000);
        let (cut, is_cut) = access(Access::Container { what });
        assert!(is_cut && serde_json::to_vec(&cut).unwrap().len() < 3000);
    }
}
