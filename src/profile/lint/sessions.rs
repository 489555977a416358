//! M6xx: exec sessions, and what no_new_privs takes from programs.

use std::path::Path;

use super::super::diagnose::Finding;
use super::super::entry::{FileEntry, Place};
use super::super::exec::{Command, covers};
use super::super::expectation::{Deed, Outcome};
use super::super::model::Scope;
use super::super::origin::{At, Origin, Part};
use super::{Subject, finding};

/// Programs that do what their arguments say, or read it: whoever may run one may run anything.
const ANYTHING: [&str; 20] = [
    "sh", "bash", "dash", "ash", "zsh", "ksh", "busybox", "toybox", "env", "find", "xargs", "tar",
    "awk", "python3", "python", "perl", "ruby", "node", "nsenter", "ld.so",
];

/// Programs that are nothing without their setuid bit or file capabilities.
const SETUID: [&str; 10] = [
    "su",
    "sudo",
    "doas",
    "passwd",
    "chsh",
    "newgrp",
    "mount",
    "umount",
    "ping",
    "newuidmap",
];

/// Capabilities by which programs are given others, which no_new_privs takes from them (capabilities(7)).
const USELESS: [(&str, &str); 1] = [(
    "CAP_SETFCAP",
    "the capabilities that it gives to files count for nothing under no_new_privs, which every profile sets",
)];

pub(super) fn look(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    signals(subject, all);
    commands(subject, all);
    without_effect(subject, all);
    for capability in &subject.own.capabilities {
        let answered = capability.origin.why().is_some();
        if let Some((_, why)) = USELESS
            .iter()
            .find(|(name, _)| *name == capability.name && !answered)
        {
            let message = format!("{} is of no use: {why}", &capability.name["CAP_".len()..]);
            let help = "remove it, or give the reason: write it as a mapping with `why`";
            all.push(finding("M606", &capability.origin, message, help));
        }
    }
    if let Some(files) = &subject.own.files {
        let lists = [
            &files.execute,
            &files.read_execute,
            &files.read_write_execute,
        ];
        for entry in lists.into_iter().flatten() {
            granted(entry, all);
        }
    }
    for test in &subject.own.tests {
        if let (Deed::Exec { path }, Outcome::Allowed) = (&test.deed, test.expect) {
            setuid(path, &test.origin, all);
        }
    }
}

/// A program that is granted by its own name, and not with the folder that it lies in.
fn granted(entry: &FileEntry, all: &mut Vec<Finding>) {
    if let (Place::Path(path), None) = (&entry.place, entry.origin.why()) {
        setuid(path, &entry.origin, all);
    }
}

fn setuid(command: &str, origin: &super::Origin, all: &mut Vec<Finding>) {
    let file = command.rsplit('/').next().unwrap_or_default();
    if SETUID.contains(&file) {
        let message = format!("`{command}` runs without its setuid bit and file capabilities");
        let help =
            "every profile sets no_new_privs: give the workload's user what it needs instead";
        all.push(finding("M601", origin, message, help));
    }
}

fn signals(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let exec = subject.whole.exec.as_ref();
    let none = exec.is_some_and(|exec| exec.commands.as_ref().is_some_and(|list| list.is_empty()));
    let own = subject.own.scope.iter().flatten();
    let signal = own.into_iter().find(|word| word.value == Scope::Signal);
    if let Some(word) = signal.filter(|_| !none) {
        let message = "an exec session cannot signal the workload: a preStop hook such as `nginx -s quit` fails";
        let help = "remove `signal`, or permit no session: `exec: {commands: []}`";
        all.push(finding("M602", &word.origin, message.into(), help));
    }
}

fn commands(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let Some(exec) = subject.own.exec.as_ref().map(|exec| &exec.value) else {
        return;
    };
    covered(exec.commands.iter().flat_map(|list| &list.value), all);
    let files = subject.whole.files.as_ref();
    for command in exec.commands.iter().flat_map(|list| &list.value) {
        let pattern = command.value.0.as_str();
        let places = ["", "/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/"];
        let covered = ANYTHING.iter().find(|name| {
            places
                .iter()
                .any(|place| covers(pattern, &format!("{place}{name}")))
        });
        if let Some(name) = covered {
            let message = format!("`{pattern}` permits {name}, which runs any other command");
            let help = "permit the commands themselves, by absolute paths";
            all.push(finding("M603", &command.origin, message, help));
        }
        setuid(pattern, &command.origin, all);
        let writable = files
            .into_iter()
            .flat_map(|f| f.read_write.iter().chain(&f.read_write_execute));
        let inside = writable.into_iter().find_map(|entry| match &entry.place {
            Place::Path(path) if pattern.starts_with('/') => {
                Path::new(pattern).starts_with(path).then_some(path)
            }
            _ => None,
        });
        if let Some(path) = inside {
            let message = format!(
                "`{pattern}` lies in `{path}`, where the workload may write: it decides what a session runs"
            );
            all.push(finding(
                "M605",
                &command.origin,
                message,
                "permit commands that the workload cannot replace",
            ));
        }
    }
}

/// Patterns that permit nothing beside what another one of the list does.
fn covered<'a>(commands: impl Iterator<Item = &'a At<Command>>, all: &mut Vec<Finding>) {
    let list: Vec<(&str, &Origin)> = commands
        .map(|command| (command.value.0.as_str(), &command.origin))
        .collect();
    for (i, (pattern, origin)) in list.iter().enumerate() {
        let wider = list.iter().enumerate().find(|(j, (other, _))| {
            // Of two that permit the same, the later one is too much.
            let alike = || *j < i || !permits(pattern, other);
            *j != i && permits(other, pattern) && alike()
        });
        if let Some((_, (other, line))) = wider {
            let message = format!(
                "`{pattern}` is covered by `{other}` on line {}",
                line.line()
            );
            all.push(finding("M607", origin, message, "remove it"));
        }
    }
}

/// Whether `outer` permits what `inner` does, tried with what its wildcards may stand for.
fn permits(outer: &str, inner: &str) -> bool {
    // No command is called so: only a wildcard of `outer` covers them.
    let samples = [
        ("", "", "\u{1}"),
        ("\u{1}\u{1}", "\u{1}", "\u{1}"),
        ("\u{1}/\u{2}/\u{1}", "\u{1}\u{2}\u{1}", "\u{2}"),
    ];
    let wild = inner.contains(['*', '?']);
    let samples = samples.iter().take(if wild { samples.len() } else { 1 });
    let mut texts = samples.map(|(many, some, one)| {
        let text = inner.replace("**", many);
        text.replace('*', some).replace('?', one)
    });
    // An empty text between two slashes is no path: nothing is said by it.
    texts.all(|text| covers(outer, &text) || text.contains("//") || text.ends_with('/'))
}

/// Parts of a sessions' profile that sessions share with the container.
fn without_effect(subject: &Subject<'_>, all: &mut Vec<Finding>) {
    let (Some(own), Some(exec)) = (&subject.own.exec, &subject.whole.exec) else {
        return;
    };
    for (name, profile) in &exec.profiles {
        let whole = subject.whole;
        let mut lost = Vec::new();
        if !profile.masked_paths.is_subset(&whole.masked_paths) {
            lost.push("masked_paths");
        }
        if !profile.readonly_paths.is_subset(&whole.readonly_paths) {
            lost.push("readonly_paths");
        }
        if profile
            .max_tasks
            .is_some_and(|max| whole.max_tasks.is_none_or(|own| max < own))
        {
            lost.push("process.max");
        }
        if lost.is_empty() {
            continue;
        }
        let message = format!(
            "of {name}, `{}` has no effect on sessions, which share the container's mounts and cgroup",
            lost.join("`, `")
        );
        let key = subject.whole.origins.of(&Part::Key("exec.profile"));
        let origin = key.or(subject.whole.origins.of(&Part::Key("exec.interactive")));
        let help = "write it in the container's own profile";
        all.push(finding(
            "M604",
            origin.unwrap_or(&own.origin),
            message,
            help,
        ));
    }
}
