//! What /proc and the cgroup hierarchy tell of the container's processes, seen from the host.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use crate::event::{self, Ancestor, Process};
use crate::sys::process::stat;
use crate::sys::statx;

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
    let own = stat(program)?;
    Ok(executable(pid)? == (own.st_dev, own.st_ino))
}

/// Device and inode of what a process executes, as far as the kernel knows them: whoever serves its file
/// system (FUSE) may be somebody who never answers.
pub(super) fn executable(pid: i32) -> io::Result<(u64, u64)> {
    let path = CString::new(format!("/proc/{pid}/exe"))?;
    let stat = statx::cached_path(&path)?;
    let (major, minor) = stat.device;
    Ok((libc::makedev(major, minor), stat.inode))
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

/// A parent as it is told, and its own parent.
pub(super) fn ancestor(pid: i32) -> (Ancestor, i32) {
    let process = process(pid);
    let ancestor = Ancestor {
        pid,
        comm: process.comm,
        exe: process.exe,
    };
    (ancestor, process.ppid)
}

/// Capabilities that a process and its children can ever hold (`CapBnd:`).
pub(super) fn bounding(pid: i32) -> Option<u64> {
    let status = text(&format!("/proc/{pid}/status")).ok()?;
    u64::from_str_radix(field(&status, "CapBnd")?, 16).ok()
}

/// Whether it is the first process of a pid namespace of its own.
pub(super) fn begins_namespace(pid: i32) -> bool {
    let status = text(&format!("/proc/{pid}/status")).unwrap_or_default();
    let mut numbers = field(&status, "NSpid")
        .unwrap_or_default()
        .split_whitespace();
    numbers.clone().count() > 1 && numbers.next_back() == Some("1")
}

/// `Uid:` of /proc/PID/status, the second number.
pub(super) fn effective_uid(pid: i32) -> Option<u32> {
    let status = text(&format!("/proc/{pid}/status")).ok()?;
    field(&status, "Uid")?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// Its controlling terminal (proc_pid_stat(5), field 7), `MAJOR:MINOR`; none where it has none.
pub(super) fn terminal(pid: i32) -> Option<String> {
    let number: i64 = stat_fields(pid)?.get(4)?.parse().ok()?;
    let number = number as u32 as u64;
    (number != 0).then(|| format!("{}:{}", libc::major(number), libc::minor(number)))
}

/// What runs in a process, as far as that tells one execution from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Image {
    device: u64,
    inode: u64,
    /// Where the arguments lie (proc_pid_stat(5), field 48): somewhere else after each execution.
    pub(super) arguments: u64,
}

impl Image {
    /// Whether it is this file that runs.
    pub(super) fn is_of(&self, file: &event::File) -> bool {
        self.inode == file.inode && device(self.device) == file.device
    }
}

/// What runs in a process now; none where it has ended, or where the kernel has not yet laid down its
/// arguments (fields 48 and 49).
pub(super) fn image(pid: i32) -> Option<Image> {
    let (device, inode) = executable(pid).ok()?;
    let fields = stat_fields(pid)?;
    let number = |at: usize| fields.get(at)?.parse().ok();
    let (arguments, end): (u64, u64) = (number(45)?, number(46)?);
    (end > arguments).then_some(Image {
        device,
        inode,
        arguments,
    })
}

/// Bytes of arguments that are told.
const LONGEST_ARGUMENTS: usize = 4096;

/// A process's arguments: what its memory holds, cut after 4 KiB and less where it would not fit into
/// an event as JSON. None where it has ended, or has none.
pub(super) fn arguments(pid: i32) -> Option<Vec<String>> {
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    let mut bytes = vec![0; LONGEST_ARGUMENTS];
    let length = file
        .read_at(&mut bytes, 0)
        .ok()
        .filter(|length| *length > 0)?;
    bytes.truncate(length);
    let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    let mut room = LONGEST_ARGUMENTS;
    let mut told = Vec::new();
    for word in words.split(|byte| *byte == 0) {
        // A control character takes six bytes.
        let mut text = String::new();
        for letter in String::from_utf8_lossy(word).chars() {
            let size = if letter.is_control() {
                6
            } else {
                letter.len_utf8()
            };
            let Some(rest) = room.checked_sub(size) else {
                told.push(text + "…");
                return Some(told);
            };
            room = rest;
            text.push(letter);
        }
        told.push(text);
    }
    Some(told)
}

/// Longest path that is told, characters.
const LONGEST_PATH: usize = 512;

/// The path of an open file, below the root of its own mount namespace.
pub(super) fn path_of(number: std::os::fd::RawFd) -> String {
    let link = fs::read_link(format!("/proc/self/fd/{number}"));
    link.map(|path| path.to_string_lossy().chars().take(LONGEST_PATH).collect())
        .unwrap_or_default()
}

fn device(number: u64) -> String {
    format!("{}:{}", libc::major(number), libc::minor(number))
}

/// A file as it is told.
pub(super) fn file(path: String, stat: &libc::stat) -> event::File {
    let changed = std::time::UNIX_EPOCH + std::time::Duration::new(stat.st_ctime.max(0) as u64, 0);
    event::File {
        path,
        device: device(stat.st_dev),
        inode: stat.st_ino,
        mode: format!("{:o}", stat.st_mode),
        uid: stat.st_uid,
        changed: humantime::format_rfc3339_seconds(changed).to_string(),
        argv: None,
        tty: None,
    }
}

/// PF_EXITING of linux/sched.h.
const EXITING: u64 = 4;

/// Whether the process, or its first thread, has ended or is at it (proc_pid_stat(5), field 9).
pub(super) fn is_ending(pid: i32) -> bool {
    let flags = stat_fields(pid).and_then(|fields| fields.get(6)?.parse::<u64>().ok());
    flags.is_none_or(|flags| flags & EXITING != 0)
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
    fn another_execution_is_another_image_and_has_other_arguments() {
        let own = std::process::id() as i32;
        let image = image(own).unwrap();
        assert_eq!(Some(image), super::image(own));
        assert!(!arguments(own).unwrap().is_empty());
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "read line", "a\u{1b}b", ""])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let other = settled(pid);
        assert_ne!(other, image);
        let words = arguments(pid).unwrap();
        assert_eq!(words, ["/bin/sh", "-c", "read line", "a\u{1b}b", ""]);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(arguments(pid), None);
    }

    /// A parent goes on before the kernel has laid down the arguments of its child.
    fn settled(pid: i32) -> Image {
        loop {
            if let Some(image) = image(pid) {
                return image;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn hostile_arguments_are_cut_to_what_fits() {
        let words = "\u{1}".repeat(3000);
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "read line", &words])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        settled(child.id() as i32);
        let told = arguments(child.id() as i32).unwrap();
        assert!(serde_json::to_vec(&told).unwrap().len() < LONGEST_ARGUMENTS + 100);
        assert!(told.last().unwrap().ends_with('…'));
        drop(child.stdin.take());
        child.wait().unwrap();
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
        assert!(!is_ending(pid));
        assert_eq!(thread_group(pid), Some(pid));
        assert_eq!(process(pid).ppid, std::process::id() as i32);
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn an_ended_process_tells_its_code_until_it_is_reaped() {
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
        assert!(is_ending(pid));
        assert_eq!(zombie_code(pid), Some(3));
        child.wait().unwrap();
        assert_eq!(zombie_code(pid), None);
        assert!(is_ending(pid));
    }
}
