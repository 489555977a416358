//! Executions and openings, as the fanotify group tells them: the file that the kernel really opens.
//!
//! Where a rule refuses or ends, the open waits for the answer, and the rule is judged at once. What
//! is merely told waits until the new program runs, a fraction of a millisecond later, so that its
//! arguments can be told too. Whether it does is asked of /proc: another image than before.
//!
//! Where no open waits, a process may be somewhere else by the time its event is read: the kernel then
//! tells of one file that it executes twice once; its parent and arguments may be gone; and of one that
//! has ended nobody can say which of the files that were opened for it ran, so each is told.
//!
//! A last descriptor that is closed lets everything through: what must never run is Landlock's
//! business (`execute`), not this one's.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::super::look;
use super::super::rules::{self, Finding};
use super::super::sensors::{Execution, Seen, is_shell};
use super::Watcher;
use crate::detect::{Response, Rule, Sensor};
use crate::event::{Ancestor, File, Process};
use crate::sys::{fanotify, fds, pidfd, process};

/// Executions whose end is looked for at a time.
const MOST_PENDING: usize = 256;
/// Events taken before anything else is looked at.
const AT_ONCE: usize = 16;
/// When an execution is looked at again, after its open; microseconds. A container that has used up its
/// share of the processor stands still for long in the midst of one (cpu.max, cpu.cfs_quota_us).
const LOOKS: [u64; 11] = [
    150, 400, 900, 2_000, 5_000, 15_000, 50_000, 150_000, 600_000, 2_500_000, 10_000_000,
];
/// Files that are kept for one execution. The kernel opens fewer: five interpreters in a row, a loader.
const MOST_OPENED: usize = 16;

/// An execution that is told once its program runs.
pub(super) struct Pending {
    pid: i32,
    pidfd: Option<OwnedFd>,
    /// What ran in the process until then.
    before: Option<look::Image>,
    process: Process,
    ancestors: Vec<Ancestor>,
    /// What was opened for it, in order: a script, its interpreter, the dynamic loader.
    opened: Vec<(Execution, Vec<Finding>)>,
    begun: Instant,
    looks: usize,
}

/// What runs in a process that was about to execute something.
#[derive(Clone, Copy)]
pub(super) enum Runs {
    /// Another program than before.
    Program(look::Image),
    /// What ran before: the kernel did not take the file, or had taken it already, with its loader.
    Former,
    /// It has ended, or nobody can tell.
    Unknown,
}

/// Which rules wait until the program runs.
fn waits(rule: &Rule) -> bool {
    rule.respond == Response::Log
}

/// Which rules want the program alone, not every file that was opened on its way.
fn is_about_whole(rule: &Rule) -> bool {
    waits(rule) && rule.on == Sensor::Exec && rule.programs.is_empty()
}

impl Watcher<'_> {
    /// Takes what the group has to tell; whether there may be more.
    pub(super) fn file_event(&mut self) -> bool {
        self.wind_watchdog();
        for _ in 0..AT_ONCE {
            let Some(group) = &self.files else {
                return false;
            };
            // An event that could not be made (its file cannot be opened any more, no descriptor is
            // free) was refused by the kernel.
            let Ok(Some(event)) = self.shared.read_file(group) else {
                return false;
            };
            if event.is_overflow() {
                self.due |= self.shared.overflowed();
            }
            let held = event.pidfd.and_then(|fd| fds::inherited(fd).ok());
            let Ok(file) = fds::inherited(event.fd) else {
                self.shared.file_done();
                continue;
            };
            let executes = event.mask & (fanotify::OPEN_EXEC | fanotify::OPEN_EXEC_PERM) != 0;
            let refused = if self.is_foreign(event.pid, held.as_ref()) {
                false
            } else if executes {
                let before = stamp(&file);
                // Whoever writes to it while it is judged would run what nobody judged: between the
                // word and the kernel's own lock on writers lie microseconds then, not the judging.
                self.executes(&event, held, &file)
                    || (stamp(&file) != before && self.changes(event.pid, &file))
            } else {
                self.opens(event.pid, &file)
            };
            if event.is_permission()
                && let Some(group) = &self.files
            {
                // ENOENT: whoever waited was killed meanwhile.
                let _ = fanotify::answer(group, event.fd, !refused);
            }
            self.count_in_hand();
            self.shared.file_done();
        }
        true
    }

    /// Whether somebody of the host's opens a file of the container's. Where the process has ended
    /// meanwhile, and nobody can tell whose it was, it was the container's: only its mounts are looked at.
    fn is_foreign(&self, pid: i32, held: Option<&OwnedFd>) -> bool {
        let ended =
            || held.is_some_and(|held| pidfd::has_ended(held.as_fd())) || look::is_ending(pid);
        self.scene.is_none() || !self.holds(pid) && !ended()
    }

    /// A program changed while it was judged; whether that is refused. Judged by the rules that refuse
    /// what has changed, and by those alone: the others have had their turn.
    fn changes(&mut self, pid: i32, file: &OwnedFd) -> bool {
        let cares = |rule: &Rule| rule.on == Sensor::Drift && !waits(rule);
        if !self.rules.iter().any(cares) {
            return false;
        }
        let Some(execution) = self.examine(file) else {
            return true;
        };
        let process = look::process(pid);
        let ancestors = self.ancestors(&process);
        let (seen, path) = (Seen::Execution(&execution), &execution.file.path);
        let due = rules::findings(self.rules, self.shared, &seen, path, cares);
        self.tell_findings(&due, &process, &ancestors, Some(&execution.file));
        self.respond(&due, pid, Some(file.as_raw_fd()));
        rules::denies(self.rules, &due)
    }

    /// An execution begins; whether it is refused.
    fn executes(&mut self, event: &fanotify::Event, held: Option<OwnedFd>, file: &OwnedFd) -> bool {
        let pid = event.pid;
        let Some(mut execution) = self.examine(file) else {
            // Not even its owner can be told, which no file of a container's hides: refused, where
            // somebody waits for the answer.
            return true;
        };
        let process = look::process(pid);
        let ancestors = self.ancestors(&process);
        let path = execution.file.path.clone();
        if self
            .rules
            .iter()
            .any(|rule| rule.on == Sensor::PrivilegeChange)
        {
            execution.uid = look::effective_uid(pid);
            execution.parent_uid = look::effective_uid(process.ppid);
        }
        execution.file.tty = look::terminal(pid);
        let shell = |rule: &Rule| rule.on == Sensor::ReverseShell && is_shell(rule, &path);
        if self.rules.iter().any(shell) {
            execution.network_streams = self.streams(pid);
        }
        let seen = Seen::Execution(&execution);
        // 1. What refuses or ends, at once.
        let due = rules::findings(self.rules, self.shared, &seen, &path, |rule| !waits(rule));
        self.tell_findings(&due, &process, &ancestors, Some(&execution.file));
        self.respond(&due, pid, Some(file.as_raw_fd()));
        self.count_tasks();
        let refused = rules::denies(self.rules, &due);
        if refused && self.rules.iter().all(|rule| !waits(rule)) {
            return true;
        }
        // 2. What is told, later.
        let told = rules::findings(self.rules, self.shared, &seen, &path, |rule| {
            waits(rule) && !is_about_whole(rule)
        });
        if refused {
            self.tell_findings(&told, &process, &ancestors, Some(&execution.file));
        } else {
            let waits = event.is_permission();
            self.await_program(pid, held, waits, (process, ancestors), (execution, told));
        }
        refused
    }

    /// `waits`: the process has not gone on.
    fn await_program(
        &mut self,
        pid: i32,
        held: Option<OwnedFd>,
        waits: bool,
        (process, ancestors): (Process, Vec<Ancestor>),
        opened: (Execution, Vec<Finding>),
    ) {
        let now = look::image(pid);
        let under_way = self.pending.iter_mut().find(|pending| {
            pending.pid == pid && pending.before.is_some() && pending.before == now
        });
        if let Some(pending) = under_way
            && pending.opened.len() < MOST_OPENED
        {
            // One that failed does not make the looks at the next one rarer.
            (pending.begun, pending.looks) = (Instant::now(), 0);
            pending.opened.push(opened);
            return;
        }
        // The one before it has been replaced, or never came about.
        if let Some(at) = self.pending.iter().position(|pending| pending.pid == pid) {
            let former = self.pending.remove(at);
            let runs = match now {
                Some(image) if former.before == Some(image) => Runs::Former,
                Some(image) => Runs::Program(image),
                None => Runs::Unknown,
            };
            self.tell_execution(former, runs);
        }
        let is_old = |image: &look::Image| {
            waits
                || self.images.has(pid, *image)
                || !runs_already(image, &opened.0.file, process.ppid)
        };
        let pending = Pending {
            pid,
            pidfd: held,
            before: now.filter(is_old),
            process,
            ancestors,
            opened: vec![opened],
            begun: Instant::now(),
            looks: 0,
        };
        if self.pending.len() >= MOST_PENDING {
            return self.tell_execution(pending, Runs::Unknown);
        }
        self.pending.push(pending);
        self.look_again();
    }

    /// How long until the next look at an execution; none where none is under way.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let next = self.pending.iter().map(Pending::next).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Tells of the executions that have come about, or have had their time.
    pub(super) fn look_again(&mut self) {
        if !self.pending.is_empty() {
            self.wind_watchdog();
        }
        let now = Instant::now();
        let mut at = 0;
        while at < self.pending.len() {
            let pending = &mut self.pending[at];
            // Asked first: the number of one that has ended may be another's by now.
            let ended = match &pending.pidfd {
                Some(held) => pidfd::has_ended(held.as_fd()),
                None => look::is_ending(pending.pid),
            };
            let image = look::image(pending.pid);
            let runs = !ended && image.is_some() && image != pending.before;
            if pending.next() <= now {
                pending.looks += 1;
            }
            let too_late = pending.looks >= LOOKS.len();
            if runs || ended || too_late {
                let pending = self.pending.remove(at);
                let runs = match image {
                    Some(image) if runs => Runs::Program(image),
                    Some(_) if !ended && image == pending.before => Runs::Former,
                    _ => Runs::Unknown,
                };
                self.tell_execution(pending, runs);
            } else {
                at += 1;
            }
        }
    }

    /// The process has ended: what it was about to execute is told as it is.
    pub(super) fn executed_no_more(&mut self, pid: i32) {
        if let Some(at) = self.pending.iter().position(|pending| pending.pid == pid) {
            let pending = self.pending.remove(at);
            self.tell_execution(pending, Runs::Unknown);
        }
    }

    /// Puts down how many executions are still to be told, for the keeper: what is in hand is lost with a
    /// watcher, and must not be lost unseen.
    fn count_in_hand(&self) {
        let all = self.rules.iter().any(is_about_whole);
        let tells =
            |pending: &&Pending| all || pending.opened.iter().any(|(_, found)| !found.is_empty());
        self.shared
            .set_in_hand(self.pending.iter().filter(tells).count());
    }

    pub(super) fn tell_execution(&mut self, pending: Pending, runs: Runs) {
        let Pending {
            pid,
            pidfd: held,
            mut process,
            mut ancestors,
            opened,
            ..
        } = pending;
        let image = match runs {
            Runs::Program(image) => Some(image),
            Runs::Former | Runs::Unknown => None,
        };
        let program = image.and_then(|image| {
            opened
                .iter()
                .rposition(|(execution, _)| image.is_of(&execution.file))
        });
        let mut argv = None;
        if let (Some(image), Some(_)) = (image, program) {
            self.images.keep(pid, image);
            let (words, of) = (look::arguments(pid), look::process(pid));
            // Asked again: it may have become another program meanwhile, which has its own line.
            if look::image(pid) == Some(image) {
                ancestors = self.ancestors(&of);
                (argv, process) = (words, of);
            }
        }
        for (number, (mut execution, findings)) in opened.into_iter().enumerate() {
            execution.file.argv = argv.clone();
            self.tell_findings(&findings, &process, &ancestors, Some(&execution.file));
            // Where nobody can tell which of them ran, none is passed over: the first may be one that
            // the kernel did not take.
            let ran = program.is_none_or(|program| program == number);
            if ran && !matches!(runs, Runs::Former) {
                let seen = Seen::Execution(&execution);
                let path = &execution.file.path;
                let whole = rules::findings(self.rules, self.shared, &seen, path, is_about_whole);
                self.tell_findings(&whole, &process, &ancestors, Some(&execution.file));
            }
        }
        self.count_in_hand();
        let ends = self.rules.iter().any(|rule| rule.on == Sensor::Exit);
        if let Some(held) = held.filter(|_| ends) {
            self.wait_for(held, process, ancestors);
        }
    }

    /// A token is opened; whether that is refused.
    fn opens(&mut self, pid: i32, file: &OwnedFd) -> bool {
        let Some(execution) = self.examine(file) else {
            return true;
        };
        let program = |pid: i32| look::executable(pid).ok();
        let scene = self.scene.as_ref();
        let wanted = scene.and_then(|scene| match scene.entrypoint {
            // The keeper is about to tell.
            (0, 0) => program(scene.pid),
            known => Some(known),
        });
        let entrypoint = wanted.is_some() && wanted == program(pid);
        let seen = Seen::Opening {
            file: &execution.file,
            entrypoint,
        };
        if entrypoint {
            return false;
        }
        let process = look::process(pid);
        let ancestors = self.ancestors(&process);
        let program = process.exe.clone();
        let findings = rules::findings(self.rules, self.shared, &seen, &program, |_| true);
        self.tell_findings(&findings, &process, &ancestors, Some(&execution.file));
        self.respond(&findings, pid, None);
        rules::denies(self.rules, &findings)
    }

    fn examine(&self, file: &OwnedFd) -> Option<Execution> {
        let stat = process::stat(file).ok()?;
        let path = look::path_of(file.as_raw_fd());
        let scene = self.scene.as_ref()?;
        let mount = process::mount_of(file).ok();
        let flags = nix::sys::statvfs::fstatvfs(file).ok();
        let writable = flags.is_none_or(|flags| {
            !flags
                .flags()
                .contains(nix::sys::statvfs::FsFlags::ST_RDONLY)
        });
        let changed = (stat.st_ctime as u64, stat.st_ctime_nsec as u32);
        let gains = if stat.st_mode & libc::S_ISUID != 0 {
            Some("set-user-id")
        } else if stat.st_mode & libc::S_ISGID != 0 && stat.st_mode & libc::S_IXGRP != 0 {
            Some("set-group-id")
        } else if process::has_capabilities(file) {
            Some("capabilities")
        } else {
            None
        };
        Some(Execution {
            gains,
            deleted: stat.st_nlink == 0,
            shared_memory: path.starts_with("/dev/shm/"),
            changed: changed >= scene.since,
            writable_mount: mount != Some(scene.root_mount) && writable,
            file: look::file(path, &stat),
            ..Execution::default()
        })
    }
}

impl Pending {
    fn next(&self) -> Instant {
        let wait = LOOKS.get(self.looks).copied().unwrap_or(0);
        self.begun + Duration::from_micros(wait)
    }
}

/// When a file last changed; none where that cannot be told.
fn stamp(file: &OwnedFd) -> Option<(i64, i64)> {
    let stat = process::stat(file).ok()?;
    Some((stat.st_ctime, stat.st_ctime_nsec))
}

/// What was last told to run in processes.
#[derive(Default)]
pub(super) struct Images(VecDeque<(i32, look::Image)>);

impl Images {
    fn has(&self, pid: i32, image: look::Image) -> bool {
        self.0.contains(&(pid, image))
    }

    fn keep(&mut self, pid: i32, image: look::Image) {
        self.0.retain(|(of, _)| *of != pid);
        self.0.push_front((pid, image));
        self.0.truncate(MOST_PENDING);
    }
}

/// Whether `image` is the new program already. Where the same file is executed again it is told by its
/// place in memory, which a child shares with its parent until it executes something.
fn runs_already(image: &look::Image, file: &File, parent: i32) -> bool {
    image.is_of(file) && look::image(parent).is_none_or(|above| above.arguments != image.arguments)
}
