//! Questions about paths and programs: the accesses that they come to, and what else refuses them.

use std::io::Read as _;

use super::question;
use crate::access::{self, Access};
use crate::cli::subject::Subject;
use crate::oci::patch::Edit;
use crate::policy::decide::Decider;
use crate::policy::landlock::runnable;
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
    let mut next = Some(real(subject, path, &mut notes));
    let mut files = Vec::new();
    while let Some(file) = next.take().filter(|_| files.len() < 5) {
        accesses.extend(question::accesses(decider, &file, "execute", false));
        notes.extend(noexec_at(subject, &file));
        let started = subject.rootfs.as_ref().and_then(|rootfs| {
            let mut head = Vec::new();
            let opened = rootfs.read(&file).ok()?;
            opened.take(64 * 1024).read_to_end(&mut head).ok()?;
            access::program::started_by(&head)
        });
        files.push(file);
        next = started.map(|by| {
            notes.push(format!(
                "{} is started by {}: {}",
                files[files.len() - 1],
                by.path,
                by.what
            ));
            real(subject, &by.path, &mut notes)
        });
    }
    if subject.rootfs.is_none() {
        notes.push(
            "what the file asks for (the interpreter of a script, the dynamic loader of a program) needs the \
             same: `--bundle` or `--container` looks into it"
                .into(),
        );
    }
    notes.push(
        "libraries are mapped, which is reading to Landlock; execveat(2) is a call of its own"
            .into(),
    );
    (format!("execute {path}"), accesses, notes)
}

/// Whether the mount that a file lies on loses execution.
fn noexec_at(subject: &Subject, file: &str) -> Option<String> {
    let rules: Vec<_> = subject
        .profiles
        .iter()
        .filter_map(|profile| runnable(profile, &subject.spec, &subject.mounts))
        .collect();
    let edits = noexec::edits(&subject.spec, &subject.host, &subject.mounts, &rules);
    let made: Vec<&str> = edits
        .iter()
        .filter_map(|edit| {
            let Edit::Set { pointer, .. } = edit else {
                return None;
            };
            let pointer = pointer.strip_prefix("/mounts/")?;
            let at: usize = pointer.split('/').next()?.parse().ok()?;
            Some(subject.mounts.get(at)?.destination.as_str())
        })
        .collect();
    let mut mounts: Vec<_> = subject
        .mounts
        .iter()
        .filter(|m| beneath(file, &m.destination))
        .collect();
    mounts.sort_by_key(|mount| mount.destination.len());
    let on = mounts.last()?;
    let made = made.contains(&on.destination.as_str());
    made.then(|| {
        format!(
            "{NOEXEC}the mount at {} gets it, because no list of `files` grants execution there",
            on.destination
        )
    })
}
