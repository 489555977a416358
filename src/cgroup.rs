//! The control groups of one container (cgroups(7)), v1, v2 and hybrid: who is in them, what went
//! wrong in them, and the two things that are done to all of it at once.
//!
//! Membership is by group and never by a list of pids, because a container forks. A group that
//! holds this process too is not the container's: a runtime that knows one hierarchy only leaves
//! the container where its service is in the others, and killing that would kill the engine. Such
//! groups, and the root, are never looked at and never acted on.
//!
//! Hierarchies are where every distribution mounts them, below `/sys/fs/cgroup`.

mod watch;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::pidfd;
pub use watch::{Watch, number};

/// Where hierarchies are mounted.
const MOUNTS: &str = "/sys/fs/cgroup";

/// How long [`Cgroup::kill_all`] goes on where the kernel has no one call for it.
const KILLING: Duration = Duration::from_secs(1);

/// Hierarchies that tell who is in the container, best first: those that can freeze, then those
/// that runtimes have always made. v2 has no name.
const TELLING: [&str; 4] = ["", "freezer", "pids", "name=systemd"];

/// The groups that are one container's own, one for each hierarchy that has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Never empty; the one that tells who is in the container comes first.
    groups: Vec<Group>,
}

/// One group of one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    /// Second field of /proc/PID/cgroup; empty for v2.
    controllers: String,
    /// Third field.
    path: String,
    directory: PathBuf,
}

impl Group {
    fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }

    /// Whether a process with that text in /proc/PID/cgroup is in it or below it.
    fn holds(&self, text: &str) -> bool {
        lines(text).any(|(controllers, path)| {
            controllers == self.controllers
                && path
                    .strip_prefix(&self.path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Processes of this very group; none where it is gone.
    fn processes(directory: &Path) -> Vec<i32> {
        let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn open(&self, file: &str) -> io::Result<File> {
        let path = self.directory.join(file);
        File::open(&path).map_err(|cause| named("open", &path, &cause))
    }

    fn watch(&self, file: &str, key: &'static str) -> io::Result<Watch> {
        Watch::of_file(self.open(file)?, key)
    }

    fn read(&self, file: &str) -> io::Result<String> {
        let path = self.directory.join(file);
        fs::read_to_string(&path).map_err(|cause| named("read", &path, &cause))
    }

    /// Writes to a file that is there: none is ever made.
    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.directory.join(file);
        let mut options = OpenOptions::new();
        let opened = options.write(true).open(&path);
        opened
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|cause| named("write", &path, &cause))
    }
}

fn named(step: &str, path: &Path, cause: &io::Error) -> io::Error {
    io::Error::new(
        cause.kind(),
        format!("cannot {step} {}: {cause}", path.display()),
    )
}

/// Controllers and path of each line of /proc/PID/cgroup (cgroups(7)).
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    })
}

impl Cgroup {
    /// The groups of process `pid` that do not hold this process. Ask while the process is still
    /// the runtime's word and not the container's: one that may write to the hierarchy moves itself.
    ///
    /// # Errors
    /// ENOENT or ESRCH where the process is gone; [`io::ErrorKind::Unsupported`] where no group is
    /// the process's own.
    pub fn of(pid: i32) -> io::Result<Cgroup> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mounts = Path::new(MOUNTS);
        // Only a pure v2 hierarchy has this file there.
        let unified = if mounts.join("cgroup.controllers").exists() {
            mounts.to_owned()
        } else {
            mounts.join("unified")
        };
        Cgroup::read(&text, &own, mounts, &unified).ok_or_else(|| {
            let text = format!("process {pid} has no cgroup of its own");
            io::Error::new(io::ErrorKind::Unsupported, text)
        })
    }

    /// From the texts of the container's and of this process's /proc/PID/cgroup.
    fn read(text: &str, own: &str, mounts: &Path, unified: &Path) -> Option<Cgroup> {
        let mut groups: Vec<Group> = lines(text)
            .filter(|(_, path)| is_inside(path))
            .map(|(controllers, path)| {
                let hierarchy = if controllers.is_empty() {
                    unified.to_owned()
                } else {
                    mounts.join(controllers.trim_start_matches("name="))
                };
                Group {
                    controllers: controllers.to_owned(),
                    path: path.to_owned(),
                    directory: hierarchy.join(path.trim_start_matches('/')),
                }
            })
            .filter(|group| !group.holds(own) && group.directory.is_dir())
            .collect();
        // A stable sort: hierarchies that are not listed keep their order behind those that are.
        groups.sort_by_key(|group| {
            let place = TELLING.iter().position(|name| group.has(name));
            place.unwrap_or(TELLING.len())
        });
        (!groups.is_empty()).then_some(Cgroup { groups })
    }

    fn telling(&self) -> &Group {
        &self.groups[0]
    }

    /// The group that `controller` accounts to: where v1 has it, v2 has not.
    fn accounting(&self, controller: &str) -> Option<&Group> {
        let with = |group: &&Group| group.has(controller);
        self.groups
            .iter()
            .find(with)
            .or_else(|| self.groups.iter().find(|group| group.is_v2()))
    }

    /// The directory that tells who is in the container.
    pub fn directory(&self) -> &Path {
        &self.telling().directory
    }

    /// Host pids of the processes in it and in the groups that it made below.
    pub fn members(&self) -> Vec<i32> {
        let mut ahead = vec![self.telling().directory.clone()];
        let mut found = Vec::new();
        while let Some(directory) = ahead.pop() {
            found.extend(Group::processes(&directory));
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            ahead.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        found
    }

    /// Whether process `pid` is in it or below it. One that has ended is not, nor one of which it
    /// cannot be told.
    pub fn holds(&self, pid: i32) -> bool {
        is_member(pid, |text| self.telling().holds(text)).unwrap_or(false)
    }

    /// What tells a process of it in the text of /proc/PID/cgroup: `CONTROLLERS:PATH`, for
    /// [`is_told_by`] in a process that cannot reach the hierarchy.
    pub fn line(&self) -> String {
        let group = self.telling();
        format!("{}:{}", group.controllers, group.path)
    }

    /// The files that have [`Cgroup::tasks`] and [`Cgroup::refused_tasks`], open, for a process that
    /// cannot reach the hierarchy.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where nobody counts; those of open(2).
    pub fn task_files(&self) -> io::Result<[File; 2]> {
        let group = self.accounting("pids").ok_or(io::ErrorKind::Unsupported)?;
        let open = |name: &str| File::open(group.directory.join(name));
        Ok([open("pids.current")?, open("pids.events")?])
    }

    /// Processes and threads in it now (`pids.current`); `None` where nobody counts.
    pub fn tasks(&self) -> Option<u64> {
        let text = self.accounting("pids")?.read("pids.current").ok()?;
        text.trim().parse().ok()
    }

    /// How often fork(2) failed because of the limit (`pids.events`).
    pub fn refused_tasks(&self) -> Option<u64> {
        number(&self.accounting("pids")?.read("pids.events").ok()?, "max")
    }

    /// How many processes the kernel has killed because memory ran out here (4.13).
    pub fn oom_kills(&self) -> Option<u64> {
        let group = self.accounting("memory")?;
        number(&group.read(oom_file(group)).ok()?, "oom_kill")
    }

    /// Tells of changes of [`Cgroup::refused_tasks`]. With v2 only: with v1 the kernel counts, and
    /// from 6.11 on wakes nobody (it notifies a file that v1 does not have; seen with 6.18).
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] with v1, or where nobody counts; those of open(2).
    pub fn watch_tasks(&self) -> io::Result<Watch> {
        let group = self.accounting("pids").filter(|group| group.is_v2());
        group
            .ok_or(io::ErrorKind::Unsupported)?
            .watch("pids.events", "max")
    }

    /// Tells of changes of [`Cgroup::is_frozen`], as 0 and 1. With v2 only.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] with v1; those of open(2).
    pub fn watch_frozen(&self) -> io::Result<Watch> {
        let group = Some(self.freezer()?).filter(|group| group.is_v2());
        group
            .ok_or(io::ErrorKind::Unsupported)?
            .watch("cgroup.events", "frozen")
    }

    /// Tells of changes of [`Cgroup::oom_kills`].
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where nobody counts; those of open(2) and, with v1, of
    /// eventfd(2) and of writing `cgroup.event_control`.
    pub fn watch_oom(&self) -> io::Result<Watch> {
        let group = self.accounting("memory");
        let group = group.ok_or(io::ErrorKind::Unsupported)?;
        if group.is_v2() {
            return group.watch(oom_file(group), "oom_kill");
        }
        let (counter, file) = (Watch::counter()?, group.open(oom_file(group))?);
        let (to, of) = (counter.as_raw_fd(), file.as_raw_fd());
        group.write("cgroup.event_control", &format!("{to} {of}"))?;
        Ok(Watch::of_counter(counter, file, "oom_kill"))
    }

    /// Asks the kernel to stop every process in it, which takes a moment: see
    /// [`Cgroup::is_frozen`]. With v1, ask again where that moment is long: a process in vfork(2)
    /// may keep the others waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where nothing can freeze it; those of write(2).
    pub fn freeze(&self) -> io::Result<()> {
        self.set_frozen(true)
    }

    /// Whether every process in it has stopped.
    ///
    /// # Errors
    /// As for [`Cgroup::freeze`].
    pub fn is_frozen(&self) -> io::Result<bool> {
        let group = self.freezer()?;
        if group.is_v2() {
            let text = group.read("cgroup.events")?;
            return Ok(number(&text, "frozen") == Some(1));
        }
        Ok(group.read("freezer.state")?.trim() == "FROZEN")
    }

    /// Lets the processes go on.
    ///
    /// # Errors
    /// As for [`Cgroup::freeze`].
    pub fn thaw(&self) -> io::Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        let group = self.freezer()?;
        match (group.is_v2(), frozen) {
            (true, true) => group.write("cgroup.freeze", "1"),
            (true, false) => group.write("cgroup.freeze", "0"),
            (false, true) => group.write("freezer.state", "FROZEN"),
            (false, false) => group.write("freezer.state", "THAWED"),
        }
    }

    fn freezer(&self) -> io::Result<&Group> {
        let group = self.telling();
        let can = group.is_v2() || group.has("freezer");
        let text = "nothing can freeze this cgroup";
        can.then_some(group)
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// Sends SIGKILL to every process in it and below, frozen or not: in one call where the kernel
    /// has it (`cgroup.kill`, 5.14), then one by one until none is left. The one call passes over a
    /// process whose first thread has ended (it signals that thread; seen with 6.18).
    ///
    /// # Errors
    /// Those of write(2); [`io::ErrorKind::TimedOut`] where processes are left after a second.
    pub fn kill_all(&self) -> io::Result<()> {
        let group = self.telling();
        if group.is_v2() {
            match group.write("cgroup.kill", "1") {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.kill_each()
    }

    fn kill_each(&self) -> io::Result<()> {
        let deadline = Instant::now() + KILLING;
        loop {
            // What is frozen does not fork. Where nothing freezes, the passes are a race, which the
            // one that only kills wins in the end.
            let _ = self.freeze();
            let killed: Vec<OwnedFd> = self
                .members()
                .into_iter()
                .filter_map(|pid| self.kill(pid))
                .collect();
            // Frozen by v1, a process does not even die.
            let _ = self.thaw();
            if killed.is_empty() && self.members().is_empty() {
                return Ok(());
            }
            if killed.is_empty() {
                // Somebody is on the way in or out.
                std::thread::sleep(Duration::from_millis(1));
            }
            for pidfd in &killed {
                let left = deadline.saturating_duration_since(Instant::now());
                let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                poll(&mut polled, timeout)?;
            }
            if Instant::now() >= deadline {
                let text = "processes are left in the cgroup";
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
        }
    }

    /// Kills one member. The pid may be another process's by now, so it is held first and looked at
    /// then: what is held and is a member is meant.
    fn kill(&self, pid: i32) -> Option<OwnedFd> {
        let held = pidfd::open(pid).ok()?;
        if !self.holds(pid) || pidfd::has_ended(&held) {
            return None;
        }
        pidfd::send_signal(&held, nix::libc::SIGKILL).ok()?;
        Some(held)
    }
}

/// Whether a path leads to a group that this process can reach and that is not the root. With a
/// cgroup namespace of one's own (cgroup_namespaces(7)) what lies outside begins with `/..`.
fn is_inside(path: &str) -> bool {
    path.starts_with('/') && path != "/" && path.split('/').all(|part| part != "..")
}

fn oom_file(group: &Group) -> &'static str {
    if group.is_v2() {
        "memory.events"
    } else {
        "memory.oom_control"
    }
}

/// Whether any thread of process `pid` has a text in its /proc/PID/cgroup that `belongs`; `None` where
/// that cannot be told, as for want of descriptors: whoever refuses by it takes that for a yes.
///
/// The first thread does not speak for all: where it has ended and others go on, v1 tells the root of
/// each hierarchy as its group (kernel/cgroup/cgroup.c, proc_cgroup_show), and any program can arrange
/// for that.
pub fn is_member(pid: i32, belongs: impl Fn(&str) -> bool) -> Option<bool> {
    // A process may call its groups anything.
    let told = |path: &str| match fs::read(path) {
        Ok(text) => Some(belongs(&String::from_utf8_lossy(&text))),
        Err(error) if is_gone(&error) => Some(false),
        Err(_) => None,
    };
    if told(&format!("/proc/{pid}/cgroup"))? {
        return Some(true);
    }
    let threads = match fs::read_dir(format!("/proc/{pid}/task")) {
        Ok(threads) => threads,
        Err(error) if is_gone(&error) => return Some(false),
        Err(_) => return None,
    };
    let mut untold = false;
    for thread in threads {
        let name = match thread {
            Ok(thread) => thread.file_name(),
            Err(error) if is_gone(&error) => continue,
            Err(_) => return None,
        };
        match told(&format!("/proc/{pid}/task/{}/cgroup", name.display())) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => untold = true,
        }
    }
    (!untold).then_some(false)
}

/// What files of /proc answer for a process that has ended.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(nix::libc::ENOENT | nix::libc::ESRCH)
    )
}

/// Whether a process with that text in /proc/PID/cgroup is in the group of [`Cgroup::line`], or below.
#[must_use]
pub fn is_told_by(line: &str, text: &str) -> bool {
    let own = |rest: &str| rest.is_empty() || rest.starts_with('/');
    !line.is_empty()
        && text.lines().any(|found| {
            let rest = found
                .split_once(':')
                .and_then(|(_, rest)| rest.strip_prefix(line));
            rest.is_some_and(own)
        })
}

#[cfg(test)]
mod tests;
