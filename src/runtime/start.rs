//! `start`: lets the parked container go, and tells what plain runc would have told at `create`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::{Door, Failure, blame, bound, forward, sources};
use crate::channel::PATIENCE;
use crate::control::client::{self, Silence};
use crate::control::{Answer, Ask};
use crate::oci::procmounts;
use crate::state::{Delivery, Home, Record};
use crate::sys::probe;
use crate::sys::socket::Packet;

/// Starts container `id`; its exit status where the runtime has one.
pub(super) fn container(door: &Door<'_>, id: &str) -> Result<i32, Failure> {
    let home = door.home(id)?;
    let record = record(&home, id, "start")?;
    // 1. Nothing of the image has run yet: what is mounted at /proc now is what init will see.
    let pid = parked_pid(&record, id)?;
    let mounts = check_inside("start", id, pid, &home, &record)?;
    if let Err(failure) = sources::check(pid, &mounts, record.host_paths.as_ref()) {
        kill(&record, id);
        return Err(failure);
    }
    let words = door.invocation.forward(&record.runtime);
    if !record.supervised {
        return Err(forward::execute(&record.runtime, words));
    }
    // 2. Ask before the runtime is called, so that the answer cannot be missed.
    let observed = sources::observed(pid, &mounts, &record.observed_host_paths);
    let supervisor = ask(&home, &Ask::Started { pid, observed }, &[], id, "start")?;
    // 3. The runtime's own start, on our standard streams.
    let status = runtime(&record.runtime, words)?;
    if !status.success() {
        return Ok(code_of(status));
    }
    // 4. What init made of it. A `start` that fails leaves nothing running: engines do not kill
    //    what was never started.
    let outcome = hear_outcome(&supervisor, id, "start");
    if outcome.is_err() {
        kill(&record, id);
    }
    outcome.map_err(|failure| blame::blamed(door, &home, &record, failure))
}

/// By the runtime's own `kill`: it knows its process by more than a pid. Mostly the process has
/// ended already, which the runtime says in words that nobody wants to read here.
fn kill(record: &Record, id: &str) {
    let mut kill = Command::new(&record.runtime);
    kill.arg("--root")
        .arg(&record.root)
        .args(["kill", id, "KILL"]);
    kill.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // The failure to tell is that of `start`; the container can still be killed and deleted.
    let _ = probe::end_with_parent(&mut kill).status();
}

/// The record of a container that mantlet created.
pub(super) fn record(home: &Home, id: &str, verb: &'static str) -> Result<Record, Failure> {
    match home.read_record() {
        Ok(record) => Ok(record),
        Err(error) if error.is_missing() => Err(Failure::Unknown {
            verb,
            id: id.to_owned(),
        }),
        Err(error) => Err(error.into()),
    }
}

fn parked_pid(record: &Record, id: &str) -> Result<i32, Failure> {
    let written = record
        .pid_file
        .as_deref()
        .and_then(|path| std::fs::read_to_string(path).ok());
    if let Some(pid) = written.and_then(|text| text.trim().parse().ok()) {
        return Ok(pid);
    }
    let absent = |cause: String| Failure::NotThere {
        verb: "start",
        id: id.to_owned(),
        cause,
    };
    let output = Command::new(&record.runtime)
        .arg("--root")
        .arg(&record.root)
        .args(["state", id])
        .output()
        .map_err(|error| absent(format!("its runtime cannot be asked: {error}")))?;
    let state: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match state.get("pid").and_then(serde_json::Value::as_i64) {
        Some(pid) if pid > 0 => Ok(pid as i32),
        _ => Err(absent(
            "its runtime does not know it; create it first".into(),
        )),
    }
}

/// Refuses a container in which something stands in for init's program (DESIGN §5): the runtime would
/// execute that. Answers the text that tells the container's mounts.
pub(super) fn check_inside(
    verb: &'static str,
    id: &str,
    pid: i32,
    home: &Home,
    record: &Record,
) -> Result<String, Failure> {
    let mounts = check_proc(verb, id, pid, record)?;
    match record.exec.delivery {
        Delivery::Memfd => {}
        Delivery::Bind => bound::check(verb, id, pid, home)?,
    }
    Ok(mounts)
}

/// Init's rules are made from what /proc tells, however it got there.
fn check_proc(verb: &'static str, id: &str, pid: i32, record: &Record) -> Result<String, Failure> {
    let path = format!("/proc/{pid}/mountinfo");
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::NotThere {
        verb,
        id: id.to_owned(),
        cause: format!("its first process {pid} has ended ({path}: {error}); delete it"),
    })?;
    procmounts::check(&text, &record.exec.proc_mounts).map_err(|cause| Failure::Proc {
        verb,
        id: id.to_owned(),
        cause,
    })?;
    Ok(text)
}

/// How often a supervisor is asked that hangs up unheard: it does on the oldest of very many that have
/// said nothing yet, which on a busy machine may be this one.
const TRIES: usize = 8;

/// A connection on which `ask` has been said.
pub(super) fn ask(
    home: &Home,
    ask: &Ask,
    fds: &[std::os::fd::RawFd],
    id: &str,
    verb: &'static str,
) -> Result<OwnedFd, Failure> {
    let once = || {
        let supervisor = client::connect(home, PATIENCE)?;
        client::say(&supervisor, ask, fds)?;
        Ok(supervisor)
    };
    let unheard = |asked: &Result<OwnedFd, Silence>| matches!(asked, Err(Silence::Socket(error)) if error.kind() == io::ErrorKind::BrokenPipe);
    let mut asked = once();
    for _ in 1..TRIES {
        if !unheard(&asked) {
            break;
        }
        asked = once();
    }
    asked.map_err(|silence| unsupervised(&silence, id, verb))
}

pub(super) fn hear(
    supervisor: &OwnedFd,
    id: &str,
    verb: &'static str,
) -> Result<(Answer, Packet), Failure> {
    client::hear(supervisor).map_err(|silence| unsupervised(&silence, id, verb))
}

fn unsupervised(silence: &Silence, id: &str, verb: &'static str) -> Failure {
    Failure::Unsupervised {
        verb,
        id: id.to_owned(),
        cause: silence.to_string(),
    }
}

/// Waits until init has become the workload, or said why not.
pub(super) fn hear_outcome(
    supervisor: &OwnedFd,
    id: &str,
    verb: &'static str,
) -> Result<i32, Failure> {
    match hear(supervisor, id, verb)?.0 {
        Answer::Running { .. } => Ok(0),
        Answer::Failed { message } | Answer::Refused { message } => Err(Failure::Said(message)),
        _ => Err(Failure::Unsupervised {
            verb,
            id: id.to_owned(),
            cause: "it answered something else".into(),
        }),
    }
}

/// Runs the runtime as a child that ends with this process, on the same standard streams.
pub(super) fn runtime(path: &Path, words: Vec<std::ffi::OsString>) -> Result<ExitStatus, Failure> {
    let fail = |error| Failure::system("execute", path.display().to_string(), error);
    let mut command = Command::new(path);
    command.args(&words[1..]);
    probe::end_with_parent(&mut command).status().map_err(fail)
}

/// An exit status as a shell would tell it.
pub(super) fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
