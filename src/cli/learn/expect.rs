//! Expectations for the profile's own `tests`: a handful of what was seen, and of what was never seen
//! and nobody should be able to do. They stay behind when a person edits the profile.

use std::path::Path;

use super::draft::{Draft, Section};
use super::files::{Grant, Need};
use super::union::Union;
use crate::access::Access;
use crate::policy::mounts::beneath;
use crate::seal::aliased;
use crate::yaml::scalar;

/// Of each kind of thing that was seen.
const MOST: usize = 2;

/// Calls that escapes are made of; those that were never made are expected to be denied.
const DANGEROUS: [&str; 8] = [
    "mount",
    "ptrace",
    "bpf",
    "unshare",
    "init_module",
    "keyctl",
    "process_vm_writev",
    "kexec_load",
];

/// Files and programs of the same kind, with what is tried on them.
const FOREIGN: [(&str, &str, Need); 3] = [
    ("/etc/shadow", "read", Need::READ),
    ("/usr/bin/mantlet-was-here", "create", Need::WRITE),
    ("/usr/bin/mantlet-was-here", "execute", Need::EXECUTE),
];

/// Items of `tests`, as YAML.
#[must_use]
pub fn expectations(union: &Union, grants: &[Grant], draft: &Draft) -> Vec<String> {
    // An addition to another profile is judged with it, and nobody knows here what that denies.
    let mut tests = seen(union, grants);
    if draft.extends.is_some() {
        return tests;
    }
    let made = |name: &str| {
        union
            .seen
            .keys()
            .any(|access| matches!(access, Access::Syscall { name: seen, .. } if seen == name))
    };
    let denied = DANGEROUS.into_iter().filter(|name| !made(name)).take(4);
    tests.extend(denied.map(|name| format!("{{syscall: {name}, expect: denied}}")));
    for (path, access, need) in FOREIGN {
        // Every list grants reading beside what it is for.
        let granted = |grant: &Grant| {
            (grant.need.has(need) || need == Need::READ) && holds(&grant.place, path)
        };
        if !grants.iter().any(granted) {
            tests.push(format!(
                "{{path: {path}, access: {access}, expect: denied}}"
            ));
        }
    }
    if draft
        .of(Section::Capabilities, None)
        .all(|one| one.item != "SYS_ADMIN")
    {
        tests.push("{capability: SYS_ADMIN, expect: denied}".into());
    }
    tests
}

/// Whether `path` lies in `place`, or in what `place` is another name of where `/bin` is a link.
fn holds(place: &str, path: &str) -> bool {
    let other = aliased(Path::new(place));
    beneath(path, place) || other.is_some_and(|other| Path::new(path).starts_with(other))
}

fn seen(union: &Union, grants: &[Grant]) -> Vec<String> {
    // What a symbol grants depends on the pod, and a test is made over one without volumes.
    let by_path = |path: &str, need: Need| {
        let mut all = grants.iter();
        all.any(|grant| grant.need.has(need) && beneath(path, &grant.place))
    };
    let mut tests = Vec::new();
    let mut take = |wanted: &dyn Fn(&Access) -> Option<String>| {
        let mut found: Vec<String> = union.seen.keys().filter_map(wanted).collect();
        found.dedup();
        tests.extend(found.into_iter().take(MOST));
    };
    let file = |access: &Access, wanted: &str| match access {
        Access::File {
            path, right, entry, ..
        } if right == wanted && path.starts_with('/') && !path.contains(['*', ' ']) => {
            let whole = match entry {
                Some(entry) if !entry.contains('/') => {
                    format!("{}/{entry}", path.trim_end_matches('/'))
                }
                Some(_) => return None,
                None => path.clone(),
            };
            let odd = whole.contains('*') || whole.split('/').any(|part| part == "..");
            (!odd).then_some(whole)
        }
        _ => None,
    };
    take(&|access| {
        let path = file(access, "execute")?;
        Some(format!("{{exec: {}, expect: allowed}}", scalar(&path)))
    });
    for (right, word, need) in [
        ("read-file", "read", Need::READ | Need::WRITE),
        ("make-reg", "create", Need::WRITE),
    ] {
        take(&|access| {
            let path = file(access, right).filter(|path| by_path(path, need))?;
            Some(format!(
                "{{path: {}, access: {word}, expect: allowed}}",
                scalar(&path)
            ))
        });
    }
    for right in ["bind", "connect"] {
        take(&|access| match access {
            Access::Tcp { right: seen, port } if seen == right && *port != 0 => {
                Some(format!("{{{right}: {port}, expect: allowed}}"))
            }
            _ => None,
        });
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_what_it_is_another_name_of() {
        for place in ["/bin", "/usr/bin", "/usr", "/"] {
            assert!(holds(place, "/usr/bin/mantlet-was-here"), "{place}");
        }
        for place in ["/sbin", "/bin/app", "@devices", "/usr/b"] {
            assert!(!holds(place, "/usr/bin/mantlet-was-here"), "{place}");
        }
    }
}
