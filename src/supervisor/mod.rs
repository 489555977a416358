//! One per workload container, outside it: gives init its word, answers tripwires, keeps the
//! journal, and leaves when the container is gone.
//!
//! It was started by the front door before the runtime was called, holds nothing of the shim's, and
//! sleeps in one epoll_wait: nothing is polled, and nothing that is allowed waits for it. If it
//! dies, the kernel-enforced parts hold, tripwires answer ENOSYS (still a denial), and a session
//! that has not had its word never runs.
//!
//! Descriptors, by number (see [`FIRST_FD`]): the control listener, the workload's channel, init's
//! program, the sealed policy, and one more for each of the record's sub-policies.

mod control;
mod evidence;
mod journal;
mod look;
mod session;
mod tripwire;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::control::Answer;
use crate::event::{Process, What};
use crate::seal::Policy;
use crate::seal::rights::Handled;
use crate::state::{self, Home, Record, Status, SubPolicy};
use crate::sys::{fds, pidfd, process};
use journal::Journal;
use session::Session;
use tripwire::Tripwires;

/// Number of the first descriptor that the front door passes; the others follow it.
pub const FIRST_FD: RawFd = 3;

/// Place of the workload's policy behind it.
const FIRST_POLICY: RawFd = 3;

/// Why a supervisor could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A descriptor, the policy's bytes or epoll.
    #[error("cannot {0}: {1}")]
    System(&'static str, #[source] std::io::Error),
    /// The record or the home.
    #[error(transparent)]
    State(#[from] state::StateError),
    /// The policy does not decode.
    #[error("the sealed policy {0}")]
    Policy(#[from] crate::seal::DecodeError),
}

/// What an epoll token stands for.
enum Source {
    Control(OwnedFd),
    Client(OwnedFd),
    Session(Box<Session>),
    /// The pipe whose silent end means *executed*, and its session.
    Pipe(OwnedFd, u64),
    Listener(OwnedFd),
    Watched(Watched),
}

/// A process whose end is waited for.
struct Watched {
    pidfd: OwnedFd,
    process: Process,
    /// The container ends with it.
    first: bool,
    /// Its end is worth a line in the journal.
    told: bool,
}

/// How the workload came out, for those who ask `Started`.
enum Workload {
    Awaited { clients: Vec<u64> },
    Known(Answer),
}

/// A sealed policy, and what is compared with the attestation of an init that was given it.
struct Sealed {
    fd: OwnedFd,
    /// Profiles that it has besides the container's.
    profiles: Vec<String>,
    domains: Vec<Handled>,
    instructions: u32,
    listener: bool,
    /// What the plan says that the container goes without.
    degraded: Vec<String>,
}

/// The whole of it.
pub struct Supervisor {
    home: Home,
    identity: state::HomeId,
    program: OwnedFd,
    /// The workload's, then those of exec sessions.
    policies: Vec<Sealed>,
    epoll: Epoll,
    sources: BTreeMap<u64, Source>,
    next_token: u64,
    journal: Journal,
    status: Status,
    tripwires: Tripwires,
    workload: Workload,
    cgroup: Option<std::path::PathBuf>,
    /// There is no workload and there will be none: what was asked before is answered, then it ends.
    ending: bool,
    finished: bool,
}

/// Supervises the container whose home is `path` until it is gone.
///
/// # Errors
/// [`StartError`] where it could not begin; the container then never gets its word.
pub fn run(path: &Path) -> Result<(), StartError> {
    let mut supervisor = Supervisor::begin(path)?;
    while !supervisor.finished {
        supervisor.turn();
    }
    supervisor.leave();
    Ok(())
}

impl Sealed {
    /// The workload's, or `held`'s.
    fn read(fd: OwnedFd, record: &Record, held: Option<&SubPolicy>) -> Result<Sealed, StartError> {
        let bytes =
            look::read_all(&fd).map_err(|error| StartError::System("read the policy", error))?;
        let policy = Policy::decode(&bytes)?;
        Ok(Sealed {
            fd,
            profiles: held.map_or_else(Vec::new, |sub| sub.profiles.clone()),
            domains: policy.layers.iter().map(Handled::from).collect(),
            instructions: (policy.filter.program.len() / 8) as u32,
            listener: policy.filter.listener,
            degraded: held.map_or_else(|| record.degraded(), |sub| sub.degraded.clone()),
        })
    }
}

impl Supervisor {
    fn begin(path: &Path) -> Result<Supervisor, StartError> {
        let take = |offset| {
            fds::inherited(FIRST_FD + offset)
                .map_err(|error| StartError::System("find a descriptor", error))
        };
        let (control, channel, program) = (take(0)?, take(1)?, take(2)?);
        fds::cloexec_from(FIRST_FD)
            .map_err(|error| StartError::System("keep descriptors", error))?;
        let (home, identity) = Home::open(path)?;
        let record = home.read_record()?;
        let more = record.exec.sub_policies().map(Some);
        let policies = (FIRST_POLICY..)
            .zip(std::iter::once(None).chain(more))
            .map(|(offset, held)| Sealed::read(take(offset)?, &record, held))
            .collect::<Result<Vec<Sealed>, StartError>>()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|error| StartError::System("make an epoll instance", error.into()))?;
        let status = Status {
            version: state::VERSION,
            supervisor: std::process::id() as i32,
            supervisor_start_time: look::start_time(std::process::id() as i32).unwrap_or(0),
            pid: 0,
            start_time: 0,
            report: None,
            journal: record.journal.clone(),
            events: 0,
            tripwires: 0,
            sessions: 0,
            watcher: 0,
            watcher_restarts: 0,
            detections: 0,
            suppressed: 0,
            lost: 0,
            journal_error: None,
            frozen: None,
            evidence: None,
        };
        home.write_status(&status)?;
        let mut supervisor = Supervisor {
            tripwires: Tripwires::new(&record),
            journal: Journal::new(&record),
            home,
            identity,
            program,
            policies,
            epoll,
            sources: BTreeMap::new(),
            next_token: 1,
            status,
            workload: Workload::Awaited {
                clients: Vec::new(),
            },
            cgroup: None,
            ending: false,
            finished: false,
        };
        session::prepare(&channel)
            .map_err(|error| StartError::System("prepare the channel", error))?;
        supervisor.add(Source::Control(control), EpollFlags::EPOLLIN);
        let session = Session::workload(channel, !record.parked);
        supervisor.add(Source::Session(Box::new(session)), EpollFlags::EPOLLIN);
        drop(record);
        process::give_back_memory();
        Ok(supervisor)
    }

    /// Waits for something to happen, and answers it.
    fn turn(&mut self) {
        let mut events = [EpollEvent::empty(); 16];
        let deadline = self.next_deadline();
        let patience = if self.ending {
            EpollTimeout::ZERO
        } else {
            patience(deadline)
        };
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
        self.finished |= self.ending && count == 0;
        for event in &events[..count] {
            self.answer(event.data(), event.events());
        }
        if deadline.is_some() {
            self.expire(Instant::now());
        }
    }

    fn answer(&mut self, token: u64, flags: EpollFlags) {
        match self.sources.get(&token) {
            Some(Source::Listener(_)) => self.notified(token, flags),
            Some(Source::Session(_)) => self.session_spoke(token),
            Some(Source::Pipe(..)) => self.pipe_spoke(token),
            Some(Source::Watched(_)) => self.process_ended(token),
            Some(Source::Control(_)) => self.accept(token),
            Some(Source::Client(_)) => self.client_asked(token),
            // Removed earlier in the same batch of events.
            None => {}
        }
    }

    fn add(&mut self, source: Source, flags: EpollFlags) -> u64 {
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

    fn remove(&mut self, token: u64) -> Option<Source> {
        let source = self.sources.remove(&token)?;
        // Closing would do, but a copy of the open file may live in another process.
        let _ = self.epoll.delete(source.fd());
        Some(source)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.sources.values().filter_map(|source| match source {
            Source::Session(session) => session.deadline,
            _ => None,
        });
        deadlines.min()
    }

    fn tell(&mut self, what: What) {
        self.journal.write(&what);
        self.status.events = self.journal.written();
    }

    fn watch(&mut self, pidfd: OwnedFd, process: Process, first: bool, told: bool) {
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
        self.tripwires.forget(ended.process.pid);
        if ended.told {
            // Reaped, a zombie, or reaped between the two questions.
            let code = pidfd::exit_code(&ended.pidfd)
                .or_else(|| look::zombie_code(ended.process.pid))
                .or_else(|| pidfd::exit_code(&ended.pidfd));
            self.tell(What::Exit {
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
    fn wait_for_the_rest(&mut self) {
        for pid in look::members(self.cgroup.as_deref()) {
            let Ok(pidfd) = pidfd::open(pid) else {
                continue;
            };
            if self.is_watched(pid) || look::has_ended(pid) {
                continue;
            }
            self.watch(
                pidfd,
                Process {
                    pid,
                    ..Process::default()
                },
                false,
                false,
            );
        }
        let any = self
            .sources
            .values()
            .any(|source| matches!(source, Source::Watched(_)));
        self.finished = !any;
    }

    fn leave(&mut self) {
        if self.status.report.is_some() {
            self.journal.end(self.status.tripwires);
        }
        // What cannot be removed is swept by the next supervisor; there is nobody to tell.
        let _ = self.home.remove_own(self.identity);
        let _ = state::sweep(self.home.state_dir());
    }
}

impl Source {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Source::Control(fd)
            | Source::Client(fd)
            | Source::Listener(fd)
            | Source::Pipe(fd, _) => fd.as_fd(),
            Source::Session(session) => session.channel.as_fd(),
            Source::Watched(watched) => watched.pidfd.as_fd(),
        }
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
fn is_listener(fd: &OwnedFd) -> bool {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(link).is_ok_and(|name| name.as_os_str() == "anon_inode:seccomp notify")
}
