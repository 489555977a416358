//! What /proc tells of a process. Everything a process chooses (name, path, arguments) is untrusted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::state;

/// `USER_HZ`, in which proc_pid_stat(5) counts; part of the ABI of x86_64.
const TICKS_PER_SECOND: u64 = 100;
/// As much of the arguments as events have.
const MOST_ARGUMENTS: u64 = 4096;
/// How long all arguments together are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// One process.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub pid: i32,
    pub ppid: i32,
    /// Its pid in each namespace, from the reader's own down to its innermost.
    pub pids: Vec<i32>,
    /// Real, in the host's namespace.
    pub uid: u32,
    pub state: &'static str,
    pub comm: String,
    /// Path inside the container; empty for one that has ended and is not reaped.
    pub exe: String,
    pub started: SystemTime,
    /// The same as the kernel has it, which tells a pid from the same pid later.
    ticks: u64,
}

/// None where it has ended.
pub fn read(pid: i32) -> Option<Seen> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let mut seen = parse(pid, &stat, &String::from_utf8_lossy(&status))?;
    seen.exe = exe.to_string_lossy().into_owned();
    Some(seen)
}

/// `comm` stands in parentheses and may hold any byte, so fields are counted after the *last* one; in
/// `status` the kernel escapes it.
fn parse(pid: i32, stat: &[u8], status: &str) -> Option<Seen> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |name: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
    };
    // Field 3 is the state, 4 the parent, 22 the start.
    let ticks = fields.get(19)?.parse().ok()?;
    let pids = field("NSpid").unwrap_or_default();
    Some(Seen {
        pid,
        ppid: fields.get(1)?.parse().ok()?,
        pids: pids
            .split('\t')
            .filter_map(|pid| pid.parse().ok())
            .collect(),
        uid: field("Uid")?.split('\t').next()?.parse().ok()?,
        state: word(fields.first()?),
        comm: String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned(),
        exe: String::new(),
        started: boot() + Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
        ticks,
    })
}

fn word(state: &str) -> &'static str {
    match state {
        "R" => "running",
        "S" => "sleeping",
        "D" => "waiting",
        "T" => "stopped",
        "t" => "traced",
        "Z" => "zombie",
        "I" => "idle",
        "X" | "x" => "dead",
        _ => "unknown",
    }
}

/// When the clock of `starttime` was zero, by the clock that events are written by.
fn boot() -> SystemTime {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|word| word.parse().ok());
    let up = Duration::from_secs_f64(seconds.unwrap_or(0.0));
    SystemTime::now()
        .checked_sub(up)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The arguments of these processes, as far as they can be had in time: they lie in memory that a
/// process may have arranged to hang whoever reads it (userfaultfd(2), FUSE). Then those not read
/// yet are missing, and the thread that hangs ends with this program.
pub fn arguments(of: &[Seen]) -> BTreeMap<i32, Vec<String>> {
    let (give, take) = mpsc::channel();
    let wanted: Vec<(i32, u64)> = of.iter().map(|seen| (seen.pid, seen.ticks)).collect();
    thread::spawn(move || {
        for (pid, ticks) in wanted {
            let Some(found) = arguments_of(pid) else {
                continue;
            };
            // Else it may be another one's by now.
            let same = state::is_alive(pid, ticks);
            if same && give.send((pid, found)).is_err() {
                return;
            }
        }
    });
    let mut all = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while let Ok((pid, found)) = take.recv_timeout(deadline - Instant::now()) {
        all.insert(pid, found);
    }
    all
}

fn arguments_of(pid: i32) -> Option<Vec<String>> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(MOST_ARGUMENTS).read_to_end(&mut bytes).ok()?;
    let text = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    let words = text.split(|byte| *byte == 0);
    let words = words.map(|word| String::from_utf8_lossy(word).into_owned());
    Some(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "S 7 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 777 0";

    #[test]
    fn a_hostile_name_shifts_no_field() {
        let stat = format!("42 (a) Z 1 (\n) {REST}");
        let status = "Name:\tUid:\\t0\nUid:\t1000\t0\t0\t0\nNSpid:\t42\t5\t1\n";
        let seen = parse(42, stat.as_bytes(), status).unwrap();
        assert_eq!(
            (seen.pid, seen.ppid, seen.uid, seen.ticks),
            (42, 7, 1000, 777)
        );
        assert_eq!((seen.state, seen.comm.as_str()), ("sleeping", "a) Z 1 (\n"));
        assert_eq!(seen.pids, [42, 5, 1]);
        assert_eq!(parse(42, b"42 (a", status), None);
        assert_eq!(parse(42, stat.as_bytes(), ""), None);
    }

    #[test]
    fn this_process_is_seen_with_its_arguments_and_start() {
        let own = read(std::process::id() as i32).unwrap();
        assert_eq!(own.exe, std::env::current_exe().unwrap().to_string_lossy());
        assert!(own.started <= SystemTime::now() + Duration::from_secs(1));
        let words: Vec<String> = std::env::args().collect();
        assert_eq!(arguments(&[own]).into_values().next(), Some(words));
    }

    #[test]
    fn a_process_that_has_ended_is_none() {
        assert_eq!(read(i32::MAX), None);
    }
}
