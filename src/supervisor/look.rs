//! What /proc and the cgroup hierarchy tell of the container's processes, seen from the host.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::event::Process;
use crate::sys::process::stat;

pub(super) use crate::state::start_time;

/// The parts of /proc/PID/status that an attestation is compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) no_new_privs: bool,
    pub(super) seccomp_mode: u32,
    /// Absent before 5.9.
    pub(super) seccomp_filters: Option<u32>,
    pub(super) effective_capabilities: String,
}

/// Longest name of a process or program that is told, characters: the container chooses it.
const LONGEST_NAME: usize = 256;

/// A file of /proc. A process may call itself anything, UTF-8 or not, and must not become invisible
/// by it.
fn text(path: &str) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

pub(super) fn read_all(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(fd.try_clone()?);
    let mut bytes = vec![0; stat(fd)?.st_size as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Whether `pid` runs the very file that `program` is.
pub(super) fn runs(pid: i32, program: &OwnedFd) -> io::Result<bool> {
    let exe = fs::metadata(format!("/proc/{pid}/exe"))?;
    let own = stat(program)?;
    Ok(exe.dev() == own.st_dev && exe.ino() == own.st_ino)
}

pub(super) fn status(pid: i32) -> io::Result<Seen> {
    Ok(parse_status(&text(&format!("/proc/{pid}/status"))?))
}

fn parse_status(text: &str) -> Seen {
    Seen {
        no_new_privs: field(text, "NoNewPrivs") == Some("1"),
        seccomp_mode: field(text, "Seccomp")
            .and_then(|value| value.parse().ok())
            .unwrap_or(0),
        seccomp_filters: field(text, "Seccomp_filters").and_then(|value| value.parse().ok()),
        effective_capabilities: field(text, "CapEff").unwrap_or_default().to_owned(),
    }
}

/// The last line of that name: `Name:` comes first and holds what the process calls itself, which
/// the kernel escapes, so it cannot make up a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .rev()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// The process that thread `tid` belongs to.
pub(super) fn thread_group(tid: i32) -> Option<i32> {
    let text = text(&format!("/proc/{tid}/status")).ok()?;
    field(&text, "Tgid")?.parse().ok()
}

pub(super) fn comm(pid: i32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(
        String::from_utf8_lossy(&bytes)
            .trim_end_matches('\n')
            .to_owned(),
    )
}

/// What can be told of a process; of one that has ended, its pid.
pub(super) fn process(pid: i32) -> Process {
    let status = text(&format!("/proc/{pid}/status")).unwrap_or_default();
    let exe = fs::read_link(format!("/proc/{pid}/exe"));
    Process {
        pid,
        ppid: field(&status, "PPid")
            .and_then(|value| value.parse().ok())
            .unwrap_or(0),
        uid: field(&status, "Uid")
            .and_then(|value| value.split_whitespace().next()?.parse().ok())
            .unwrap_or(0),
        comm: comm(pid).unwrap_or_default(),
        exe: exe
            .map(|path| path.to_string_lossy().chars().take(LONGEST_NAME).collect())
            .unwrap_or_default(),
    }
}

/// Whether the process is a zombie or gone.
pub(super) fn has_ended(pid: i32) -> bool {
    match stat_fields(pid) {
        Some(fields) => matches!(fields.first().map(String::as_str), Some("Z" | "X")),
        None => true,
    }
}

/// Exit code of a zombie (proc_pid_stat(5), field 52), as a shell would tell it.
pub(super) fn zombie_code(pid: i32) -> Option<i32> {
    let fields = stat_fields(pid)?;
    if fields.first()? != "Z" {
        return None;
    }
    let status: i32 = fields.get(49)?.parse().ok()?;
    Some(match libc::WTERMSIG(status) {
        0 => libc::WEXITSTATUS(status),
        signal => 128 + signal,
    })
}

/// The fields of /proc/PID/stat from the third on: the second is the name, which may hold anything.
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let text = text(&format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// The directory of the process's cgroup, in whichever hierarchy has one of its own for it.
pub(super) fn cgroup(pid: i32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let own = pid.to_string();
    text.lines().flat_map(candidates).find(|path| {
        fs::read_to_string(path.join("cgroup.procs"))
            .is_ok_and(|pids| pids.lines().any(|line| line == own))
    })
}

fn candidates(line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
        return Vec::new();
    };
    if path == "/" {
        return Vec::new();
    }
    let root = Path::new("/sys/fs/cgroup");
    let inside = path.trim_start_matches('/');
    if controllers.is_empty() {
        vec![root.join(inside), root.join("unified").join(inside)]
    } else {
        vec![
            root.join(controllers.trim_start_matches("name="))
                .join(inside),
        ]
    }
}

/// Host pids of the cgroup's processes.
pub(super) fn members(cgroup: Option<&Path>) -> Vec<i32> {
    let Some(path) = cgroup else {
        return Vec::new();
    };
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_calls_itself_a_status_line_is_not_believed() {
        let text =
            "Name:\tSeccomp:\\t2\nUmask:\t0022\nNoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n";
        let seen = parse_status(text);
        assert_eq!(seen.seccomp_mode, 0);
        assert_eq!(seen.seccomp_filters, Some(0));
        assert!(!seen.no_new_privs);
    }

    #[test]
    fn this_process_runs_its_own_program_and_no_other() {
        let own = OwnedFd::from(File::open("/proc/self/exe").unwrap());
        let other = OwnedFd::from(File::open("/bin/sh").unwrap());
        let pid = std::process::id() as i32;
        assert!(runs(pid, &own).unwrap());
        assert!(!runs(pid, &other).unwrap());
    }

    #[test]
    fn a_cgroup_line_names_its_directory_in_either_hierarchy() {
        assert_eq!(
            candidates("5:pids:/k8s/x"),
            [PathBuf::from("/sys/fs/cgroup/pids/k8s/x")]
        );
        let unified = ["/sys/fs/cgroup/a", "/sys/fs/cgroup/unified/a"].map(PathBuf::from);
        assert_eq!(candidates("0::/a"), unified);
        assert!(candidates("0::/").is_empty());
        assert!(candidates("nonsense").is_empty());
    }

    #[test]
    fn a_process_whose_name_is_no_utf8_is_seen_all_the_same() {
        let script = "printf '\\377\\376' > /proc/$$/comm; read line";
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let named = || fs::read(format!("/proc/{pid}/comm")).unwrap() == b"\xff\xfe\n";
        while !named() {
            std::thread::yield_now();
        }
        assert!(!has_ended(pid));
        assert_eq!(thread_group(pid), Some(pid));
        assert_eq!(process(pid).ppid, std::process::id() as i32);
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn an_ended_process_is_known_as_ended() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "exit 3"])
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let pidfd = crate::sys::pidfd::open(pid).unwrap();
        let mut polled = [nix::poll::PollFd::new(
            std::os::fd::AsFd::as_fd(&pidfd),
            nix::poll::PollFlags::POLLIN,
        )];
        nix::poll::poll(&mut polled, nix::poll::PollTimeout::NONE).unwrap();
        assert!(has_ended(pid));
        assert_eq!(zombie_code(pid), Some(3));
        child.wait().unwrap();
        assert!(has_ended(pid));
    }
}
