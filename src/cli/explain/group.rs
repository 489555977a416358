//! `mantlet explain @GROUP`: what a group or a symbol stands for.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::text::{self, escape};
use crate::cli::{CliError, print_json};
use crate::profile::table::{Lookup, lookup};
use crate::profile::{groups, host_paths, programs};
use std::io::Write as _;

/// Groups of calls in one line each; in the order of their names.
const CALLS: [(&str, &str); 37] = [
    ("aio", "asynchronous I/O of before io_uring"),
    ("basic-io", "reading, writing and closing descriptors"),
    ("bpf", "loading programs into the kernel"),
    ("chown", "changing who owns files"),
    ("clock", "setting the clock; reading it is in @default"),
    ("cpu-emulation", "entering odd modes of the processor"),
    (
        "debug",
        "looking into and changing other processes; profiling",
    ),
    (
        "default",
        "what every program needs to start, to allocate, to know itself and to end",
    ),
    (
        "file-system",
        "opening, listing, making, removing and describing files",
    ),
    (
        "handles",
        "opening files by number, past directories' permissions",
    ),
    ("io-event", "waiting for descriptors"),
    ("io-uring", "requests that pass every filter of calls"),
    ("ipc", "pipes, queues, semaphores and shared memory"),
    ("keyring", "the kernel's keys, which no namespace divides"),
    (
        "known",
        "every call that this data version knows: others answer ENOSYS",
    ),
    ("memfd", "files that have no name and lie in memory"),
    ("memlock", "keeping memory from being swapped out"),
    ("module", "loading and unloading kernel modules"),
    (
        "mount",
        "mounting and unmounting; denied in every Landlock domain",
    ),
    (
        "namespaces",
        "making and joining namespaces; clone's flags need a condition of their own",
    ),
    ("network-io", "sockets"),
    ("obsolete", "what no program of this century calls"),
    ("pkey", "protection keys of memory"),
    (
        "privileged",
        "what asks for more than a container's root should have",
    ),
    (
        "process",
        "making, ending and waiting for processes; no namespaces",
    ),
    ("raw-io", "the ports of devices"),
    (
        "reboot",
        "restarting, and another kernel in this one's place",
    ),
    ("resources", "priorities, scheduling and where memory lies"),
    ("sandbox", "restricting oneself further"),
    ("setuid", "changing one's own user and groups"),
    ("signal", "handling signals; sending them is in @process"),
    ("swap", "turning swap on and off"),
    ("sync", "having the disk follow"),
    (
        "system-service",
        "what services usually call, as in systemd.exec(5), less the calls of @debug and @handles, keys, namespaces and io_uring",
    ),
    ("timer", "timers"),
    (
        "userfault",
        "stopping another thread in the middle of a kernel copy",
    ),
    ("zero-copy", "moving data without copying it"),
];

const PROGRAMS: &str = "programs, for `exec` and `reverse-shell` rules of `detect`";
const HOST: &str = "paths of the host, for `host-path` of `process.refuse`";

/// Symbols of `files`.
const SYMBOLS: [(&str, &str); 4] = [
    (
        "image",
        "`/` without /dev, /proc, /sys, every writable mount and every path that the profile makes writable; for \
         execution, without any mount at all",
    ),
    (
        "volumes",
        "writable mounts that the pod asked for, /dev/shm and the termination log among them",
    ),
    ("tmpfs", "writable mounts of type tmpfs, but /dev"),
    (
        "devices",
        "null, zero, full, random, urandom, tty, console, pts, and devices of the pod",
    ),
];

/// Shows a group.
pub fn group(name: &str, json: bool) -> Result<ExitCode, CliError> {
    let found = of(name);
    if found.is_empty() {
        return Err(CliError::Question {
            reason: format!(
                "no group @{}; there are, of system calls: {}; of programs: {}; of host paths: {}; symbols of files: \
                 {}; of capabilities: added",
                escape(name),
                groups::names(groups::CURRENT).join(", "),
                programs::names().collect::<Vec<_>>().join(", "),
                host_paths::names().collect::<Vec<_>>().join(", "),
                SYMBOLS.map(|(name, _)| name).join(", "),
            ),
        });
    }
    if json {
        print_json(&json!(found))?;
    } else {
        let width = text::width().unwrap_or(100).clamp(60, 120);
        let mut page = String::new();
        for one in &found {
            let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            page += &format!("@{name}: {}\n", text("description"));
            page += &format!("{}, data version {}\n", text("of"), text("version"));
            let list = |key: &str| -> Vec<String> {
                let list = one[key].as_array().into_iter().flatten();
                list.filter_map(|word| word.as_str())
                    .map(str::to_owned)
                    .collect()
            };
            page += &text::wrap(&list("members").join(" "), 2, width);
            let elsewhere = list("elsewhere");
            if !elsewhere.is_empty() {
                page += "not on this architecture:\n";
                page += &text::wrap(&elsewhere.join(" "), 2, width);
            }
        }
        std::io::stdout().lock().write_all(page.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything of that name, in every version.
fn of(name: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut add = |of: &str,
                   version: &str,
                   description: &str,
                   members: Vec<String>,
                   elsewhere: Vec<String>| {
        found.push(json!({
            "name": name, "of": of, "version": version, "description": description,
            "members": members, "elsewhere": elsewhere,
        }));
    };
    for version in groups::VERSIONS {
        if let Some(members) = groups::members(version, name) {
            let here = |name: &&str| matches!(lookup(name), Lookup::Number(_));
            let (own, others): (Vec<&str>, Vec<&str>) = members.into_iter().partition(here);
            let words = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
            let about = CALLS
                .iter()
                .find(|(own, _)| *own == name)
                .map_or("", |(_, about)| about);
            add("system calls", version, about, words(own), words(others));
        }
        let words = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
        if let Some(members) = programs::members(version, name) {
            add("programs", version, PROGRAMS, words(members), Vec::new());
        }
        if let Some(members) = host_paths::members(version, name) {
            add(
                "host paths",
                version,
                HOST,
                words(members.to_vec()),
                Vec::new(),
            );
        }
        if name == "added" {
            let engines = crate::profile::capability::ENGINES;
            let all = crate::profile::capability::ALL.iter();
            let added = all
                .filter(|name| !engines.contains(name))
                .map(|name| (*name).to_owned());
            let about = "capabilities that engines do not grant by default, for `capability` of `process.refuse`";
            add("capabilities", version, about, added.collect(), Vec::new());
        }
    }
    if let Some((_, about)) = SYMBOLS.iter().find(|(own, _)| *own == name) {
        add("a symbol of `files`", "-", about, Vec::new(), Vec::new());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_of_calls_has_a_line_and_no_line_is_without_one() {
        for name in groups::names(groups::CURRENT) {
            let about = CALLS.iter().find(|(own, _)| *own == name);
            assert!(about.is_some_and(|(_, about)| !about.is_empty()), "@{name}");
        }
        for (name, _) in CALLS.iter().filter(|(name, _)| !name.is_empty()) {
            assert!(!of(name).is_empty(), "@{name}");
        }
    }
}
