//! M302, M303 and M7xx: paths.

use std::path::Path;

use super::super::diagnose::Finding;
use super::super::entry::{FileEntry, Place, PlainPath, Symbol};
use super::super::model::Files;
use super::super::resolve::Profile;
use super::dangerous::name;
use super::{Subject, finding};
use crate::seal::aliased;

/// The lists, each with those that grant at least the same.
const WIDER: [(&str, &[&str]); 7] = [
    (
        "read",
        &["read", "read_execute", "read_write", "read_write_execute"],
    ),
    ("read_execute", &["read_execute", "read_write_execute"]),
    ("read_write", &["read_write", "read_write_execute"]),
    ("read_write_execute", &["read_write_execute"]),
    (
        "execute",
        &["execute", "read_execute", "read_write_execute"],
    ),
    ("device_ioctl", &["device_ioctl"]),
    ("make_device", &["make_device"]),
];

fn list<'a>(files: &'a Files, name: &str) -> &'a [FileEntry] {
    match name {
        "read" => &files.read,
        "read_execute" => &files.read_execute,
        "read_write" => &files.read_write,
        "read_write_execute" => &files.read_write_execute,
        "execute" => &files.execute,
        "device_ioctl" => &files.device_ioctl,
        _ => &files.make_device,
    }
}

pub(super) fn look(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let Some(files) = &subject.own.files else {
        return;
    };
    for (own, wider) in WIDER {
        for (i, entry) in list(files, own).iter().enumerate() {
            redundant(files, (own, i, entry), wider, all);
            inherited(subject.parents, entry, wider, all);
            link(entry, all);
        }
    }
    for except in &files.except {
        outside(subject, except, all);
        let writable = files.read_write.iter().chain(&files.read_write_execute);
        let around = writable.into_iter().find(|entry| match &entry.place {
            Place::Path(path) => Path::new(&except.path).starts_with(path),
            Place::Symbol(_) => false,
        });
        if let Some(entry) = around {
            let message = format!(
                "`{}` is left out of `{}`, where the workload may write",
                except.path,
                name(entry)
            );
            let help = "nothing can be created beside it, and a session may find another thing there: grant what is needed instead";
            all.push(finding("M701", &except.origin, message, help));
        }
    }
}

/// An exception from what nothing grants. What a symbol stands for is the container's to say.
fn outside(subject: &Subject<'_>, except: &PlainPath, all: &mut Vec<Finding>) {
    let Some(whole) = &subject.whole.files else {
        return;
    };
    let path = Path::new(&except.path);
    // A link may lead to either by the other's name.
    let names = |path: &Path| [Some(path.to_owned()), aliased(path)];
    let near = |granted: &Path| {
        let mut all = names(path).into_iter().flatten();
        all.any(|path| {
            let mut granted = names(granted).into_iter().flatten();
            granted.any(|granted| path.starts_with(&granted) || granted.starts_with(&path))
        })
    };
    let mut entries = WIDER.iter().flat_map(|(name, _)| list(whole, name));
    let touched = entries.any(|entry| match &entry.place {
        Place::Path(granted) => entry.follow || near(Path::new(granted)),
        Place::Symbol(Symbol::Devices) => path.starts_with("/dev") || path == Path::new("/"),
        Place::Symbol(_) => true,
    });
    if !touched {
        let message = format!(
            "`{}` is left out of nothing: no list grants it by this name",
            except.path
        );
        let help = "remove it, unless a link of the image's leads from there to what is granted; what no list grants is denied";
        all.push(finding("M703", &except.origin, message, help));
    }
}

/// Whether `outer` covers `inner` for good: what is optional or followed covers only itself.
fn covers(outer: &FileEntry, inner: &FileEntry) -> bool {
    if outer.follow != inner.follow || (outer.optional && !inner.optional) {
        return false;
    }
    match (&outer.place, &inner.place) {
        (Place::Path(outer), Place::Path(inner)) => Path::new(inner).starts_with(outer),
        (Place::Path(outer), Place::Symbol(_)) => outer == "/",
        (Place::Symbol(outer), Place::Symbol(inner)) => outer == inner,
        (Place::Symbol(_), Place::Path(_)) => false,
    }
}

fn redundant(
    files: &Files,
    (own, i, entry): (&str, usize, &FileEntry),
    wider: &[&str],
    all: &mut Vec<Finding>,
) {
    for other_list in wider {
        for (j, other) in list(files, other_list).iter().enumerate() {
            // Of two that say the same, the later one is too much.
            let later = own != *other_list || other.place != entry.place || j < i;
            let itself = own == *other_list && i == j;
            if !itself && later && covers(other, entry) {
                let message = format!(
                    "`{}` is covered by `{}` of `{other_list}` on line {}",
                    name(entry),
                    name(other),
                    other.origin.line()
                );
                all.push(finding("M302", &entry.origin, message, "remove it"));
                return;
            }
        }
    }
}

fn inherited(parents: &[Profile], entry: &FileEntry, wider: &[&str], all: &mut Vec<Finding>) {
    let granting = parents.iter().find(|parent| {
        let files = parent.files.as_ref();
        files.is_some_and(|files| {
            let mut lists = wider.iter().flat_map(|name| list(files, name));
            lists.any(|other| covers(other, entry) && files.except.is_empty())
        })
    });
    if let Some(parent) = granting {
        let message = format!("`{}` is granted by {} already", name(entry), parent.name);
        all.push(finding("M303", &entry.origin, message, "remove it"));
    }
}

/// Links of most images, and where they lead.
const LINKS: [(&str, &str); 7] = [
    ("/dev/fd", "/proc/self/fd, below which no rule lasts"),
    ("/dev/stdin", "/proc/self/fd/0, below which no rule lasts"),
    ("/dev/stdout", "/proc/self/fd/1, below which no rule lasts"),
    ("/dev/stderr", "/proc/self/fd/2, below which no rule lasts"),
    ("/etc/mtab", "/proc/self/mounts, below which no rule lasts"),
    ("/var/mail", "/var/spool/mail"),
    ("/sbin", "/usr/sbin"),
];

fn link(entry: &FileEntry, all: &mut Vec<Finding>) {
    let Place::Path(path) = &entry.place else {
        return;
    };
    let known = LINKS.iter().find(|(link, _)| link == path);
    if let Some((link, target)) = known.filter(|_| !entry.follow) {
        let message = format!("`{link}` is a symbolic link in most images, to {target}");
        let help =
            "name the place itself, or write {path, follow: true}: a link refuses the container";
        all.push(finding("M702", &entry.origin, message, help));
    }
}
