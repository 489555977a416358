//! strace as a means to strike a process at a chosen system call: with SIGKILL just before it, with
//! SIGSTOP just after.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use crate::harness::{Bundle, Run, Spawned, World};

/// The `number`-th call, from 1, of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub name: String,
    pub number: usize,
    /// Its line in the trace.
    pub line: String,
}

impl Point {
    pub fn new(name: &str, number: usize) -> Point {
        Point {
            name: name.to_owned(),
            number,
            line: String::new(),
        }
    }

    /// strace's words that send `signal` there.
    pub fn strike(&self, signal: &str) -> Vec<String> {
        let (name, number) = (&self.name, self.number);
        let inject = format!("inject={name}:signal={signal}:when={number}");
        let trace = format!("trace={name}");
        ["-o", "/dev/null", "-e", &trace, "-e", &inject]
            .map(str::to_owned)
            .into()
    }
}

/// All calls of a trace in their order; with `-f`, only those of process `pid`.
pub fn points(trace: &Path, pid: Option<i32>) -> Vec<Point> {
    let text = fs::read_to_string(trace).expect("strace has written it");
    let mut seen = BTreeMap::new();
    let lines = text.lines().filter_map(|line| match pid {
        Some(pid) => line.strip_prefix(&pid.to_string())?.strip_prefix(' '),
        None => Some(line),
    });
    lines
        .filter_map(|line| {
            let (name, _) = line.trim_start().split_once('(')?;
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(plain) {
                return None;
            }
            let number = seen.entry(name.to_owned()).or_insert(0_usize);
            *number += 1;
            Some(Point {
                name: name.to_owned(),
                number: *number,
                line: line.to_owned(),
            })
        })
        .collect()
}

/// All points of these names, and about `count` others, evenly spread.
pub fn spread(all: &[Point], always: &[&str], count: usize) -> Vec<Point> {
    let step = all.len().div_ceil(count.max(1)).max(1);
    all.iter()
        .enumerate()
        .filter(|(index, point)| index % step == 0 || always.contains(&point.name.as_str()))
        .map(|(_, point)| point.clone())
        .collect()
}

/// The front door of `bundle` with containerd's flags, under strace with `words`.
pub fn front_door(bundle: &Bundle, program: &str, words: &[String]) -> Run {
    let call = bundle.world().command("strace").args(words).arg("--");
    let call = call.arg(bundle.world().bin(program));
    let call = call.arg("--root").arg(bundle.root()).arg("--log");
    call.arg(bundle.path.join("log.json"))
        .args(["--log-format", "json"])
}

/// strace on a living process, with `words`. Returns once it is attached to every thread.
pub fn attach(world: &World, pid: i32, words: &[String]) -> Spawned {
    let call = world
        .command("strace")
        .args(words)
        .arg("-p")
        .arg(pid.to_string());
    attached(call)
}

/// The same by the host's number, for a process that the world's numbers are too slow to find.
pub fn attach_host(pid: i32, words: &[String]) -> Spawned {
    let mut command = std::process::Command::new("strace");
    command.args(words).arg("-p").arg(pid.to_string());
    attached(Run::new(command, "strace".to_owned()))
}

fn attached(call: Run) -> Spawned {
    let mut strace = call.spawn();
    let mut errors = BufReader::new(strace.child.stderr.take().expect("piped"));
    let mut line = String::new();
    errors.read_line(&mut line).expect("a pipe");
    assert!(line.contains("attached"), "strace: {line}");
    // What it says later must not fill the pipe, nor break it.
    std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
    strace
}

/// Ends an strace that was attached by the host's number; its processes go on.
pub fn detach(mut strace: Spawned) {
    let pid = nix::unistd::Pid::from_raw(strace.child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("our own child");
    strace.wait(Duration::from_secs(20));
}

/// Waits for the end of an attached strace, whose process has ended.
pub fn finish(mut strace: Spawned) {
    strace.wait(Duration::from_secs(20));
}
