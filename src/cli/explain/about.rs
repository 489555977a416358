//! Questions about paths and programs: the accesses that they come to, and what else refuses them.

use std::os::unix::fs::FileExt as _;

use super::question;
use crate::access::Access;
use crate::access::starter::{self, MOST_PROGRAMS, Starter};
use crate::cli::subject::Subject;
use crate::policy::decide::Decider;
use crate::policy::mounts::beneath;
use crate::policy::noexec;
use crate::seal::aliased;

/// What is asked in words, accesses of which all are needed, and notes.
pub(super) type Asking = (String, Vec<Access>, Vec<String>);

/// `path`.
pub(super) fn path(subject: &Subject, decider: &Decider, path: &str, doings: &[String]) -> Asking {
    let mut notes = Vec::new();
    let mut folder = path.ends_with('/') || path == "/";
    let bare = match path.trim_end_matches('/') {
        "" => "/",
        bare => bare,
    };
    let real = real(subject, bare, &mut notes);
    if let Some(rootfs) = &subject.rootfs {
        folder |= rootfs.is_folder(&real);
    }
    let accesses = doings
        .iter()
        .flat_map(|doing| question::accesses(decider, &real, doing, folder));
    let accesses: Vec<Access> = accesses.collect();
    let changes = doings.iter().any(|doing| {
        !matches!(
            doing.as_str(),
            "read" | "execute" | "read-file" | "read-dir"
        )
    });
    notes.extend(beside(subject, &real, changes));
    (format!("{} {path}", doings.join(", ")), accesses, notes)
}

/// The real name of a path where the root file system is at hand, else as it is.
fn real(subject: &Subject, path: &str, notes: &mut Vec<String>) -> String {
    if let Some(rootfs) = &subject.rootfs {
        return match rootfs.name(path, true) {
            Some(name) => {
                if name != path {
                    notes.push(format!("{path} is {name} here"));
                }
                name
            }
            None => {
                if !rootfs.is_covered(path) {
                    notes.push(format!("{path} is not in the root file system"));
                }
                path.to_owned()
            }
        };
    }
    if let Some(other) = aliased(std::path::Path::new(path)) {
        notes.push(format!(
            "where the image has a link there, the kernel looks at {0}: ask for {0}",
            other.display()
        ));
    }
    path.to_owned()
}

/// What refuses or hides a path though no layer does.
fn beside(subject: &Subject, path: &str, changes: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let linux = subject.spec.linux().as_ref();
    let under = |engine: Option<&Vec<String>>, own: Vec<&String>| {
        let engine = engine
            .into_iter()
            .flatten()
            .map(|path| (path, "the engine"));
        let own = own.into_iter().map(|path| (path, "a profile"));
        let mut all = engine.chain(own);
        all.find(|(top, _)| beneath(path, top))
            .map(|(top, who)| (top.clone(), who))
    };
    let masked = subject
        .profiles
        .iter()
        .flat_map(|p| &p.masked_paths)
        .collect();
    if let Some((top, who)) = under(linux.and_then(|l| l.masked_paths().as_ref()), masked) {
        notes.push(format!(
            "{top} is masked by {who}: it looks empty, whatever is said above"
        ));
    }
    if !changes {
        return notes;
    }
    let readonly = subject
        .profiles
        .iter()
        .flat_map(|p| &p.readonly_paths)
        .collect();
    if let Some((top, who)) = under(linux.and_then(|l| l.readonly_paths().as_ref()), readonly) {
        notes.push(format!(
            "{top} is read-only by {who}: EROFS, whatever is said above"
        ));
    }
    let mut mounts: Vec<_> = subject
        .mounts
        .iter()
        .filter(|m| beneath(path, &m.destination))
        .collect();
    mounts.sort_by_key(|mount| mount.destination.len());
    let root = subject
        .spec
        .root()
        .as_ref()
        .and_then(|root| root.readonly());
    match mounts.last() {
        Some(mount) if !mount.writable => {
            notes.push(format!(
                "the mount at {} is read-only: EROFS",
                mount.destination
            ));
        }
        None if root == Some(true) => {
            notes.push("the root file system is read-only: EROFS".into());
        }
        _ => {}
    }
    notes
}

/// How a note begins that says no to an execution.
pub(super) const NOEXEC: &str = "noexec: ";

/// `exec`.
pub(super) fn program(subject: &Subject, decider: &Decider, path: &str) -> Asking {
    let mut notes = Vec::new();
    let mut accesses = vec![question::call("execve", &[])];
    let (mut next, mut is_loader) = (Some(real(subject, path, &mut notes)), false);
    for number in 1..=MOST_PROGRAMS {
        let Some(file) = next.take() else { break };
        accesses.extend(question::accesses(decider, &file, "execute", false));
        notes.extend(noexec_at(subject, &file));
        // A loader is mapped; what it says that it needs is nobody's business.
        let started = subject.rootfs.as_ref().filter(|_| !is_loader);
        let started = started.and_then(|rootfs| {
            let opened = rootfs.read(&file).ok()?;
            starter::of(|from, into| opened.read_at(into, from))
        });
        if let Some(by) = started {
            let path = String::from_utf8_lossy(by.path()).into_owned();
            is_loader = matches!(by, Starter::Loader(_));
            let what = match is_loader {
                true => "its dynamic loader",
                false => "the interpreter that its first line names",
            };
            notes.push(format!("{file} is started by {path}: {what}"));
            if number + 1 == MOST_PROGRAMS && !is_loader {
                notes.push("that is one interpreter more than the kernel takes: ELOOP".into());
            }
            if path.starts_with('/') {
                next = Some(real(subject, &path, &mut notes));
            } else {
                notes.push(format!(
                    "{path} is looked for in the working directory of whoever executes it, which is not known here; \
                     ask for it there"
                ));
            }
        }
    }
    if subject.rootfs.is_none() {
        notes.push(
            "what the file asks for (the interpreter of a script, the dynamic loader of a program) needs the \
             same: `--bundle` or `--container` looks into it"
                .into(),
        );
    }
    notes.push(
        "libraries are mapped, which is reading to Landlock, but not possible on a `noexec` mount; execveat(2) is a \
         call of its own"
            .into(),
    );
    (format!("execute {path}"), accesses, notes)
}

/// Whether the mount that a file lies on loses execution; or would, where the file may lie on a volume that is
/// not known here.
fn noexec_at(subject: &Subject, file: &str) -> Option<String> {
    let (spec, mounts) = (&subject.spec, &subject.mounts);
    let on = mounts.iter().filter(|m| beneath(file, &m.destination));
    let on = on.max_by_key(|mount| mount.destination.len());
    let mut profiles = subject.profiles.iter();
    let Some(on) = on else {
        let open = |profile| noexec::leaves_open(profile, spec, mounts, file);
        let closed = subject.is_reference() && !profiles.all(open);
        return closed.then(|| {
            "on a volume or tmpfs the mount would get `noexec`, unless a list of `files` grants execution by path \
             on, in or around it: without that no program there is executed, and no library mapped"
                .into()
        });
    };
    let made = profiles.any(|own| noexec::closed_by(own, spec, mounts).contains(&on.destination));
    made.then(|| {
        format!(
            "{NOEXEC}the mount at {} gets it, because no list of `files` grants execution there",
            on.destination
        )
    })
}
