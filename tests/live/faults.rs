//! What the tests of the supervisor's faults share: its processes by the host's numbers, and the sums
//! that must come out.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use mantlet::control::{Answer, Ask, Request, VERSION};
use mantlet::state::Status;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::detect::of_type;
use crate::harness::{Bundle, World, eventually};
use crate::remains;

/// The keeper, as the host counts.
pub fn keeper(bundle: &Bundle) -> i32 {
    let world = bundle.world();
    let found = bundle.supervisors().into_iter();
    let found: Vec<i32> = found.filter_map(|pid| world.host_pid(pid)).collect();
    assert_eq!(found.len(), 1, "one keeper");
    found[0]
}

fn comm(pid: i32) -> String {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
    comm.unwrap_or_default().trim_end().to_owned()
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// The keeper's child of that name, as the host counts.
pub fn child(keeper: i32, name: &str) -> Option<i32> {
    let mut found = children(keeper).into_iter();
    found.find(|pid| comm(*pid) == name && !has_ended(*pid))
}

/// A watcher that serves: its filter is the last thing that it does to itself.
pub fn watcher(keeper: i32) -> Option<i32> {
    child(keeper, "mantlet-watcher").filter(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains("Seccomp:\t2\n")
    })
}

/// Waits for one.
#[track_caller]
pub fn serving(keeper: i32) -> i32 {
    serving_after(keeper, 0)
}

/// Waits for another one than that.
#[track_caller]
pub fn serving_after(keeper: i32, former: i32) -> i32 {
    let begin = Instant::now();
    loop {
        if let Some(pid) = watcher(keeper).filter(|pid| *pid != former) {
            return pid;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "no watcher");
        std::thread::yield_now();
    }
}

/// Whether nothing of it runs any more. One that was traced stays a zombie: its parent was told of its
/// end before the tracer had it.
fn has_ended(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    status.map_or(true, |status| {
        status.contains("State:\tZ") || status.contains("State:\tX")
    })
}

/// Kills a process and waits until it has ended.
#[track_caller]
pub fn end(pid: i32) {
    signal(pid, Signal::SIGKILL);
    eventually("it has ended", || has_ended(pid).then_some(()));
}

/// Sends a signal to a process by the host's number; whether it was there.
pub fn signal(pid: i32, signal: Signal) -> bool {
    kill(Pid::from_raw(pid), signal).is_ok()
}

/// What `strain` counted, as it says at its end.
pub fn counted(output: &str) -> Option<BTreeMap<String, u64>> {
    let line = output.lines().find(|line| line.starts_with("strain: "))?;
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let pairs = words.chunks(2).filter_map(|pair| {
        let (name, count) = (pair.first()?, pair.get(1)?);
        Some(((*name).to_owned(), count.parse().ok()?))
    });
    Some(pairs.collect())
}

/// The same, once the container has ended.
pub fn strained(bundle: &Bundle) -> BTreeMap<String, u64> {
    eventually("strain says what it did", || counted(&bundle.output()))
}

/// A container that waits for signals: `strain await`.
pub fn waiting(bundle: Bundle) -> Bundle {
    let bundle = bundle.args(["strain", "await"]).up();
    eventually("it waits", || {
        bundle.output().contains("awaiting").then_some(())
    });
    bundle
}

/// Sends the signal, and answers what came of it: USR1 springs a tripwire, USR2 executes a program.
pub fn have(bundle: &Bundle, signal: &str) -> String {
    let word = if signal == "USR1" {
        "sprung: "
    } else {
        "executed: "
    };
    let told = |output: &str| output.lines().filter(|line| line.starts_with(word)).count();
    let before = told(&bundle.output());
    bundle.kill(signal).ok();
    let output = eventually(word, || {
        let output = bundle.output();
        (told(&output) > before).then_some(output)
    });
    let last = output.lines().rfind(|line| line.starts_with(word));
    last.and_then(|line| line.strip_prefix(word))
        .unwrap_or_default()
        .to_owned()
}

/// A node of this bundle's own: these lines beside what its configuration says.
pub fn configure(bundle: &Bundle, change: impl FnOnce(String) -> String) {
    let path = bundle.path.join("mantlet.yaml");
    let text = fs::read_to_string(&path).expect("it has a profile of its own");
    fs::write(path, change(text)).expect("our own file");
}

/// The whole journal: the part that was put aside, and the rest.
pub fn journal(bundle: &Bundle) -> Vec<Value> {
    let path = journal_path(bundle);
    let aside = fs::read_to_string(format!("{}.1", path.display())).unwrap_or_default();
    let text = aside + &fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

pub fn journal_path(bundle: &Bundle) -> std::path::PathBuf {
    mantlet::state::journal_path(&bundle.world().log_dir(), &bundle.root(), &bundle.id)
}

/// Numbers follow each other without a hole.
#[track_caller]
pub fn no_hole(events: &[Value]) {
    let seqs: Vec<u64> = events
        .iter()
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    let wanted: Vec<u64> = (1..=seqs.len() as u64).collect();
    if let Some(at) = (0..seqs.len()).find(|at| seqs[*at] != wanted[*at]) {
        panic!(
            "after line {at}: {} events, {:?}",
            seqs.len(),
            &events[at.saturating_sub(1)..=at]
        );
    }
}

fn of(events: &[Value], kind: &str) -> Vec<Value> {
    let found = events.iter().filter(|event| event["type"] == kind);
    found.cloned().collect()
}

/// How many events of a type there were, those left out included; `of` is how they are called there.
pub fn told(events: &[Value], kind: &str, left_out: &str) -> u64 {
    let suppressed = of(events, "suppressed").into_iter();
    let suppressed = suppressed.filter(|event| event["of"] == left_out);
    let left: u64 = suppressed.filter_map(|event| event["count"].as_u64()).sum();
    of(events, kind).len() as u64 + left
}

/// Every keyctl of the workload's that was answered is told exactly once.
#[track_caller]
pub fn adds_up(bundle: &Bundle, did: &BTreeMap<String, u64>) {
    let events = journal(bundle);
    no_hole(&events);
    let told = told(&events, "tripwire", "tripwire keyctl");
    assert_eq!((did["enosys"], did["other"]), (0, 0), "{did:?}");
    assert_eq!(did["eperm"] + did["eintr"], did["calls"], "{did:?}");
    assert_eq!(told, did["eperm"], "{did:?}");
}

/// Waits until the supervisor has said its last.
pub fn ended(bundle: &Bundle) {
    eventually("the journal ends", || {
        let events = bundle.journal();
        events
            .last()
            .is_some_and(|event| event["type"] == "end")
            .then_some(())
    });
    remains::nothing_runs(bundle.world(), &bundle.id);
}

/// Resident memory, KiB.
pub fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap_or(0)
}

pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// CPU time used so far.
pub fn cpu(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let first = stat
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok());
    Duration::from_nanos(first.unwrap_or(0))
}

/// Time that it spent ready to run, while others did.
pub fn waited(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let word = stat.split_whitespace().nth(1);
    Duration::from_nanos(word.and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// The control socket, as the world's own path leads there.
pub fn control(bundle: &Bundle) -> std::path::PathBuf {
    let world = bundle.world();
    let homes = remains::homes(world, &world.state_dir(), &bundle.id);
    assert_eq!(homes.len(), 1, "{homes:?}");
    let socket = fs::read_dir(&homes[0]).expect("root reads it").flatten();
    let socket = socket.map(|entry| entry.path()).find(|path| {
        use std::os::unix::fs::FileTypeExt;
        fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
    });
    socket.expect("a socket")
}

/// A connection to it.
pub fn connect(bundle: &Bundle) -> std::os::fd::OwnedFd {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};
    use std::os::fd::AsRawFd;
    let kind = SockType::SeqPacket;
    let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    // The path may be longer than an address: by descriptor.
    let path = control(bundle);
    let folder = fs::File::open(path.parent().expect("a home")).expect("root reads it");
    let name = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let short = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    let address = UnixAddr::new(short.as_str()).expect("short");
    nix::sys::socket::connect(fd.as_raw_fd(), &address).expect("it listens");
    mantlet::sys::socket::set_timeout(&fd, Duration::from_secs(20)).expect("a socket");
    fd
}

/// What the supervisor says of itself.
pub fn status(bundle: &Bundle) -> Status {
    let fd = connect(bundle);
    let ask = Request {
        version: VERSION,
        ask: Ask::Status,
    };
    let bytes = serde_json::to_vec(&ask).expect("plain data");
    mantlet::sys::socket::send(&fd, &bytes, &[]).expect("it reads");
    let answer = mantlet::sys::socket::receive(&fd, 1 << 16).expect("it answers");
    match serde_json::from_slice(&answer.bytes) {
        Ok(Answer::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}
