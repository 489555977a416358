//! The keeper's loop: one epoll instance, what each of its descriptors stands for, and the timers.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

use super::attendant::Attendant;
use super::capabilities;
use super::journal::Journal;
use super::link::{Scene, Whose};
use super::observer::Observer;
use super::respond::{Collector, Freezing};
use super::sentinel::Sentinel;
use super::session::{self, Session};
use super::settled::Told;
use super::shared::Shared;
use super::tripwire::Tripwires;
use super::{Passed, Sealed, StartError, look};
use crate::cgroup::{Cgroup, Watch};
use crate::control::Answer;
use crate::detect::{OnLoss, Rule};
use crate::event::{Observed, Process, Recording, What};
use crate::state::{self, Home, HomeId, Record, Status};
use crate::sys::{pidfd, process};

/// How long after a start its last clients have gone.
const SETTLES: Duration = Duration::from_millis(500);
/// How long a watcher may take to report the last of it.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// What an epoll token stands for.
pub(super) enum Source {
    Control(OwnedFd),
    Client(OwnedFd),
    Session(Box<Session>),
    /// The pipe whose silent end means *executed*, and its session.
    Pipe(OwnedFd, u64),
    /// A listener that the watcher answers; the keeper waits for its end, and for calls where there
    /// is no watcher.
    Listener(OwnedFd, Whose),
    Watched(Watched),
    /// What the watcher asks.
    Link(OwnedFd),
    /// The watcher's end.
    Attendant(OwnedFd),
    /// The watcher rings it.
    Bell(OwnedFd),
    /// The fanotify group, where there is no watcher.
    Files(OwnedFd),
    /// Tasks that the container's limit refused.
    Tasks(Watch),
    Oom(Watch),
    /// The watcher takes too long over one thing.
    Watchdog(Rc<TimerFd>),
    /// The host's clock was set.
    Clock(TimerFd),
    /// Evidence is being collected.
    Collector(Collector),
    /// The sentinel's end.
    Sentinel(OwnedFd),
    /// A capability was used that none was noted for.
    Capabilities(OwnedFd),
}

/// A process whose end is waited for.
pub(super) struct Watched {
    pub(super) pidfd: OwnedFd,
    pub(super) process: Process,
    /// The container ends with it.
    pub(super) first: bool,
    /// Its end is worth a line in the journal.
    pub(super) told: bool,
}

/// How the workload came out, for those who ask `Started`.
pub(super) enum Workload {
    Awaited { clients: Vec<u64> },
    Known(Answer),
}

/// What is due at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// Tell what was left out.
    LeftOut,
    /// Look whether the kernel has ended a process by now.
    Oom,
    /// Start a watcher.
    Attend,
    /// Look whether the container is frozen.
    Freezing,
    /// The freeze is over.
    Thaw,
    /// Evidence takes too long.
    Evidence,
    /// The watcher does not finish.
    LastWords,
    /// Whatever started has started: now begins the long sleep.
    Rest,
    /// Post a sentinel: the one before has ended.
    Sentinel,
}

/// The whole of it.
pub(super) struct Keeper {
    pub(super) home: Home,
    identity: HomeId,
    pub(super) program: OwnedFd,
    /// The workload's, then those of exec sessions.
    pub(super) policies: Vec<Sealed>,
    pub(super) epoll: Epoll,
    pub(super) sources: BTreeMap<u64, Source>,
    next_token: u64,
    timers: Vec<(Instant, Timer)>,
    pub(super) journal: Journal,
    pub(super) status: Status,
    pub(super) rules: Vec<Rule>,
    pub(super) wires: Tripwires,
    pub(super) observer: Observer,
    /// What the rules of layers that only look are about, by listener.
    pub(super) settled: BTreeMap<u64, Told>,
    /// What a recording begins with.
    pub(super) recording: Option<Box<Recording>>,
    /// Capabilities that the container uses.
    pub(super) capabilities: Option<capabilities::Using>,
    pub(super) shared: Shared,
    pub(super) bell: EventFd,
    /// The watcher winds it up before what may take long, and stops it afterwards.
    pub(super) watchdog: Rc<TimerFd>,
    /// The fanotify group; the watcher reads it.
    pub(super) files: Option<OwnedFd>,
    pub(super) attendant: Attendant,
    pub(super) on_loss: OnLoss,
    pub(super) sentinel: Option<Sentinel>,
    pub(super) workload: Workload,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) scene: Option<Scene>,
    /// The container's number of tasks, and of those that its limit refused, for the watcher.
    pub(super) tasks: Option<[OwnedFd; 2]>,
    pub(super) counts: super::counts::Seen,
    pub(super) freezing: Option<Freezing>,
    /// When evidence was collected last.
    pub(super) collected_at: Option<Instant>,
    /// Notification of the last event taken from the ring.
    pub(super) reported: u64,
    /// There is no workload and there will be none: what was asked before is answered, then it ends.
    pub(super) ending: bool,
    /// The container is gone: the watcher has its last words.
    leaving: bool,
    pub(super) finished: bool,
    /// It is about to sleep for long.
    rests: bool,
}

impl Keeper {
    pub(super) fn begin(
        home: Home,
        identity: HomeId,
        record: &Record,
        passed: Passed,
    ) -> Result<Keeper, StartError> {
        let system = |what| move |error: std::io::Error| StartError::System(what, error);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| StartError::System("make an epoll instance", errno.into()))?;
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| StartError::System("make an eventfd", errno.into()))?;
        let watchdog = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )
        .map_err(|errno| StartError::System("make a timer", errno.into()))?;
        let watchdog = Rc::new(watchdog);
        let status = empty_status(record);
        let observer = Observer::new(record)?;
        home.write_status(&status)?;
        let mut keeper = Keeper {
            wires: Tripwires::new(record),
            journal: Journal::new(record, home.state_dir()),
            shared: Shared::new(&record.detect, observer.observes())
                .map_err(system("make shared memory"))?,
            observer,
            settled: BTreeMap::new(),
            recording: record.recording.clone(),
            capabilities: None,
            rules: record.detect.clone(),
            on_loss: record.on_supervisor_loss,
            home,
            identity,
            program: passed.program,
            policies: passed.policies,
            epoll,
            sources: BTreeMap::new(),
            next_token: 16,
            timers: Vec::new(),
            status,
            bell,
            watchdog,
            files: passed.files,
            attendant: Attendant::default(),
            sentinel: None,
            workload: Workload::Awaited {
                clients: Vec::new(),
            },
            cgroup: None,
            scene: None,
            tasks: None,
            counts: Default::default(),
            freezing: None,
            collected_at: None,
            reported: 0,
            ending: false,
            leaving: false,
            finished: false,
            rests: false,
        };
        session::prepare(&passed.channel).map_err(system("prepare the channel"))?;
        let bell = keeper.bell.as_fd().try_clone_to_owned();
        keeper.add(
            Source::Bell(bell.map_err(system("copy an eventfd"))?),
            EpollFlags::EPOLLIN,
        );
        let watchdog = Source::Watchdog(Rc::clone(&keeper.watchdog));
        keeper.add(watchdog, EpollFlags::EPOLLIN);
        keeper.add(Source::Control(passed.control), EpollFlags::EPOLLIN);
        let session = Session::workload(passed.channel, !record.parked);
        keeper.add(Source::Session(Box::new(session)), EpollFlags::EPOLLIN);
        keeper.journal.make_room();
        Ok(keeper)
    }

    /// Serves until the container is gone.
    pub(super) fn serve(&mut self) {
        // Before there are two of them: what is free now is copied for the watcher otherwise.
        process::give_back_memory();
        self.attend();
        self.drain();
        while !self.finished {
            self.turn();
        }
        self.leave();
    }

    /// Waits for something to happen, and answers it.
    fn turn(&mut self) {
        let mut events = [EpollEvent::empty(); 16];
        let deadline = self.next_deadline();
        let patience = if self.ending || !self.shared.may_sleep(self.waits_for(Timer::LeftOut)) {
            EpollTimeout::ZERO
        } else {
            patience(deadline)
        };
        // Last of all: what is given back before is used again on the way here.
        if std::mem::take(&mut self.rests) {
            process::give_back_memory();
        }
        let count = match self.epoll.wait(&mut events, patience) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            // epoll_wait fails otherwise only for a broken descriptor; without it nothing can be
            // answered, and leaving closes the listeners, which keeps every denial a denial.
            Err(_) => {
                self.finished = true;
                return;
            }
        };
        if self.ending && count == 0 {
            self.depart();
        }
        for event in &events[..count] {
            self.answer(event.data(), event.events());
        }
        // After what the watcher asked for: an end does not wait for the disk.
        self.drain();
        if deadline.is_some() {
            self.expire(Instant::now());
        }
    }

    fn answer(&mut self, token: u64, flags: EpollFlags) {
        match self.sources.get(&token) {
            Some(Source::Listener(..)) => self.listener_spoke(token, flags),
            Some(Source::Session(_)) => self.session_spoke(token),
            Some(Source::Pipe(..)) => self.pipe_spoke(token),
            Some(Source::Watched(_)) => self.process_ended(token),
            Some(Source::Control(_)) => self.accept(token),
            Some(Source::Client(_)) => self.client_asked(token),
            Some(Source::Link(_)) => {
                self.attendant_asks(token);
            }
            Some(Source::Attendant(_)) => self.attendant_ended(token),
            Some(Source::Bell(bell)) => {
                let mut count = [0; 8];
                // EAGAIN: somebody has read it.
                let _ = nix::unistd::read(bell, &mut count);
            }
            Some(Source::Files(_)) => {
                self.refuse_files();
            }
            Some(Source::Tasks(_)) => self.tasks_refused(token),
            Some(Source::Oom(_)) => self.out_of_memory(token),
            Some(Source::Watchdog(timer)) => {
                let expired = nix::unistd::read(timer.as_fd(), &mut [0; 8]);
                self.watchdog_barked(expired.is_ok());
            }
            Some(Source::Clock(_)) => self.clock_was_set(token),
            Some(Source::Collector(_)) => self.collected(token),
            Some(Source::Sentinel(_)) => self.sentinel_ended(token),
            Some(Source::Capabilities(_)) => self.see_capabilities(),
            // Removed earlier in the same batch of events.
            None => {}
        }
    }

    pub(super) fn add(&mut self, source: Source, flags: EpollFlags) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        // A source that cannot be watched is dropped, and so closed: its peer sees the end.
        if self
            .epoll
            .add(source.fd(), EpollEvent::new(flags, token))
            .is_ok()
        {
            self.sources.insert(token, source);
        }
        token
    }

    pub(super) fn remove(&mut self, token: u64) -> Option<Source> {
        let source = self.sources.remove(&token)?;
        self.settled.remove(&token);
        // Closing would do, but a copy of the open file may live in another process.
        let _ = self.epoll.delete(source.fd());
        Some(source)
    }

    pub(super) fn at(&mut self, when: Instant, timer: Timer) {
        self.timers.push((when, timer));
    }

    pub(super) fn after(&mut self, wait: Duration, timer: Timer) {
        self.at(Instant::now() + wait, timer);
    }

    pub(super) fn forget(&mut self, timer: Timer) {
        self.timers.retain(|(_, held)| *held != timer);
    }

    /// What was needed to start something is soon not needed any more.
    pub(super) fn rest_soon(&mut self) {
        self.forget(Timer::Rest);
        self.after(SETTLES, Timer::Rest);
    }

    pub(super) fn waits_for(&self, timer: Timer) -> bool {
        self.timers.iter().any(|(_, held)| *held == timer)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.sources.values().filter_map(|source| match source {
            Source::Session(session) => session.deadline,
            _ => None,
        });
        sessions.chain(self.timers.iter().map(|(at, _)| *at)).min()
    }

    /// Ends what has had its time, and does what is due.
    fn expire(&mut self, now: Instant) {
        self.expire_sessions(now);
        let due: Vec<Timer> = self
            .timers
            .iter()
            .filter(|(at, _)| *at <= now)
            .map(|(_, timer)| *timer)
            .collect();
        self.timers.retain(|(at, _)| *at > now);
        for timer in due {
            match timer {
                Timer::LeftOut => self.tell_left_out(),
                Timer::Oom => self.look_for_oom(),
                Timer::Attend => self.attend(),
                Timer::Freezing => self.look_whether_frozen(),
                Timer::Thaw => self.freeze_is_over(),
                Timer::Evidence => self.evidence_is_late(),
                Timer::LastWords => self.finished = true,
                Timer::Rest => self.rests = true,
                Timer::Sentinel => self.post_sentinel_again(),
            }
        }
    }

    pub(super) fn watch(&mut self, pidfd: OwnedFd, process: Process, first: bool, told: bool) {
        let watched = Watched {
            pidfd,
            process,
            first,
            told,
        };
        self.add(Source::Watched(watched), EpollFlags::EPOLLIN);
    }

    fn process_ended(&mut self, token: u64) {
        let Some(Source::Watched(ended)) = self.remove(token) else {
            return;
        };
        if ended.told {
            // Reaped, a zombie, or reaped between the two questions.
            let code = pidfd::exit_code(&ended.pidfd)
                .or_else(|| look::zombie_code(ended.process.pid))
                .or_else(|| pidfd::exit_code(&ended.pidfd));
            self.tell(&What::Exit {
                process: ended.process.clone(),
                code,
            });
        }
        if ended.first {
            self.status.pid = 0;
        }
        let sessions_wait = self
            .sources
            .values()
            .any(|source| matches!(source, Source::Session(session) if session.is_talking()));
        if self.status.pid == 0
            && !sessions_wait
            && !matches!(self.workload, Workload::Awaited { .. })
        {
            self.wait_for_the_rest();
        }
    }

    /// The first process has ended. With a pid namespace of its own all others have too; with a
    /// shared one, the container lasts until its cgroup is empty.
    pub(super) fn wait_for_the_rest(&mut self) {
        let members = self.cgroup.as_ref().map(Cgroup::members);
        for pid in members.unwrap_or_default() {
            let Ok(pidfd) = pidfd::open(pid) else {
                continue;
            };
            // Asked of the whole process: its first thread may have ended before the others.
            if self.is_watched(pid) || pidfd::has_ended(&pidfd) {
                continue;
            }
            let process = Process {
                pid,
                ..Process::default()
            };
            self.watch(pidfd, process, false, false);
        }
        let any = self
            .sources
            .values()
            .any(|source| matches!(source, Source::Watched(_)));
        if !any {
            self.depart();
        }
    }

    pub(super) fn is_watched(&self, pid: i32) -> bool {
        self.sources
            .values()
            .any(|source| matches!(source, Source::Watched(watched) if watched.process.pid == pid))
    }

    /// There is nothing more to wait for but the watcher's last words.
    fn depart(&mut self) {
        if self.leaving {
            return;
        }
        self.leaving = true;
        self.ending = false;
        if self.dismiss_attendant() {
            self.after(LAST_WORDS, Timer::LastWords);
        } else {
            self.finished = true;
        }
    }

    /// Whether the watcher was told to finish.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    fn leave(&mut self) {
        self.bury_attendant();
        self.see_capabilities();
        self.end_sentinel();
        self.tell_left_out();
        if self.status.report.is_some() {
            self.tell(&What::End {
                tripwires: self.status.tripwires,
                observed: self.observer.observes().then(|| Observed {
                    told: self.status.observed,
                    calls: self.shared.calls_observed(),
                    unseen: self.status.unseen,
                }),
            });
        }
        // What cannot be removed is swept by the next supervisor; there is nobody to tell.
        let _ = self.home.remove_own(self.identity);
        let _ = state::sweep(self.home.state_dir());
    }
}

impl Source {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Source::Control(fd)
            | Source::Client(fd)
            | Source::Listener(fd, _)
            | Source::Link(fd)
            | Source::Attendant(fd)
            | Source::Bell(fd)
            | Source::Files(fd)
            | Source::Sentinel(fd)
            | Source::Capabilities(fd)
            | Source::Pipe(fd, _) => fd.as_fd(),
            Source::Watchdog(timer) => timer.as_fd(),
            Source::Clock(timer) => timer.as_fd(),
            Source::Session(session) => session.channel.as_fd(),
            Source::Watched(watched) => watched.pidfd.as_fd(),
            Source::Tasks(watch) | Source::Oom(watch) => watch.fd.as_fd(),
            Source::Collector(collector) => collector.pidfd.as_fd(),
        }
    }
}

fn empty_status(record: &Record) -> Status {
    let own = std::process::id() as i32;
    Status {
        version: state::VERSION,
        supervisor: own,
        supervisor_start_time: look::start_time(own).unwrap_or(0),
        journal: record.journal.clone(),
        ..Status::default()
    }
}

/// How long epoll_wait may sleep: for ever where nothing has a deadline.
fn patience(deadline: Option<Instant>) -> EpollTimeout {
    let Some(deadline) = deadline else {
        return EpollTimeout::NONE;
    };
    let left = deadline
        .saturating_duration_since(Instant::now())
        .as_millis()
        + 1;
    EpollTimeout::try_from(left.min(60_000) as i32).unwrap_or(EpollTimeout::ZERO)
}

/// Whether the descriptor is a seccomp listener: what init left in the agreed slot.
pub(super) fn is_listener(fd: &OwnedFd) -> bool {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(link).is_ok_and(|name| name.as_os_str() == "anon_inode:seccomp notify")
}
