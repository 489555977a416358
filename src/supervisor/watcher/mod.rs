//! The watcher: reads what the container says (notifications, executions, /proc), decides, and puts
//! events into the shared ring. Whatever it reads may be hostile, so it can do next to nothing: its
//! root holds procfs alone, read-only; its user is nobody else's; it may trace and has no other
//! capability; its filter permits neither a signal nor a socket nor a file to write
//! ([`crate::sys::confine`]).
//!
//! It kills, freezes and writes nothing: it asks the keeper, which checks that the process is the
//! container's. If it dies, the keeper answers what it had in hand and starts another one.

mod accesses;
mod calls;
mod files;
mod known;
mod observe;
mod settle;
mod tasks;
mod walk;

#[cfg(test)]
pub(crate) use settle::places_of;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{Expiration, TimerFd, TimerSetTimeFlags};

use super::link::{self, Order, Request, Scene, Whose};
use super::observer::Observer;
use super::rules::{self, Finding};
use super::settled::{Settled, Told};
use super::shared::{Kind, Lines, Shared};
use super::tripwire::Tripwires;
use crate::cgroup::{is_member, is_told_by};
use crate::detect::{Response, Rule};
use crate::event::{Action, Ancestor, File, Process, What};
use crate::policy::decide::Domain;
use crate::sys::{confine, fds, process, socket};
use files::{Images, Pending, Runs};
use known::{Known, Watched};
use tasks::limit_hits;
use walk::Mounts;

/// Exit status of a watcher that could not be confined, and of one that lost its keeper's trust.
pub(super) const UNCONFINED: i32 = 100;
pub(super) const BROKEN: i32 = 101;

const LINK: u64 = 0;
const FILES: u64 = 1;
/// Tokens of ended processes that are waited for; the keeper numbers listeners below.
const WATCHED: u64 = 1 << 63;

/// How long it waits for room in the ring: the keeper takes events within microseconds, and this long
/// only when the disk stalls it.
const ROOM: Duration = Duration::from_millis(50);

/// How long events are gathered for a keeper that has just been woken.
const GATHER: Duration = Duration::from_millis(1);

/// How long one turn of the watcher may take.
const LONGEST: Duration = Duration::from_secs(5);

/// How long it goes on to look at what the fanotify group still holds, once it is told to finish. The
/// keeper counts what is left.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// What the watcher begins with; the rest of the keeper's it must not keep.
pub(super) struct Tools {
    pub(super) link: OwnedFd,
    /// Wakes the keeper.
    pub(super) bell: OwnedFd,
    pub(super) listeners: Vec<(u64, OwnedFd, Whose)>,
    pub(super) files: Option<OwnedFd>,
    /// The container's number of tasks, and of those that its limit refused.
    pub(super) tasks: Option<[OwnedFd; 2]>,
    pub(super) scene: Option<Scene>,
    /// What an earlier watcher has told, by listener.
    pub(super) settled: BTreeMap<u64, Told>,
    /// Processes of whose end the keeper tells.
    pub(super) began: Vec<i32>,
    pub(super) keeper: i32,
}

pub(super) struct Watcher<'a> {
    link: OwnedFd,
    bell: OwnedFd,
    shared: &'a Shared,
    rules: &'a [Rule],
    wires: &'a Tripwires,
    observer: &'a Observer,
    /// Mounts of the container's, by number.
    mounts: Mounts,
    /// Domains of layers that only look, by listener.
    domains: HashMap<u64, Vec<Domain>>,
    /// Bytes of what the keeper keeps of each listener.
    settled: HashMap<u64, usize>,
    /// In how many pid namespaces the container's first process has a number.
    depth: Option<usize>,
    /// Files with several names, of those that the call in hand names.
    linked: Vec<String>,
    /// Names of it that no line can hold as they are, and no profile.
    unsaid: Vec<String>,
    watchdog: &'a TimerFd,
    /// The watchdog runs.
    wound: bool,
    epoll: Epoll,
    listeners: BTreeMap<u64, (OwnedFd, Whose)>,
    files: Option<OwnedFd>,
    tasks: Option<[OwnedFd; 2]>,
    refused: u64,
    scene: Option<Scene>,
    /// Processes of whose end the keeper tells.
    began: BTreeSet<i32>,
    known: Known,
    watched: BTreeMap<u64, Watched>,
    next: u64,
    /// Orders that came while a reply was waited for.
    inbox: VecDeque<(Order, Vec<OwnedFd>)>,
    pending: Vec<Pending>,
    images: Images,
    serial: u64,
    /// Calls answered in a row whose events were left out.
    hammered: u32,
    /// The keeper is to hear of something.
    due: bool,
    /// When it last did.
    rung: Option<Instant>,
    finished: bool,
    /// It is about to sleep for long.
    rests: bool,
}

/// Serves until the keeper says otherwise or is gone. Never returns to the keeper's code.
pub(super) fn run(
    tools: Tools,
    shared: &Shared,
    rules: &[Rule],
    wires: &Tripwires,
    observer: &Observer,
    watchdog: &TimerFd,
) -> ! {
    let serve = || {
        let mut watcher = match Watcher::begin(tools, shared, rules, wires, observer, watchdog) {
            Ok(watcher) => watcher,
            Err(status) => return status,
        };
        watcher.catch_up();
        while !watcher.finished {
            watcher.turn();
        }
        0
    };
    // A debug build unwinds, and behind this frame lies the keeper's loop.
    let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(serve));
    process::exit_now(status.unwrap_or(BROKEN))
}

/// Stops a watchdog: the watcher's own, or that of one which has ended.
pub(super) fn disarm(watchdog: &TimerFd) {
    let never = Expiration::OneShot(TimeSpec::from_duration(Duration::ZERO));
    // It fails for no timer of ours.
    let _ = watchdog.set(never, TimerSetTimeFlags::empty());
}

fn confined(keeper: i32, memory: bool) -> Result<(), String> {
    let kept: &[_] = if memory {
        &confine::KEPT_LOOKING
    } else {
        &confine::KEPT
    };
    // Every node has that folder, and nothing of it is needed any more.
    confine::empty_root(Path::new("/proc"))
        .map_err(|error| format!("cannot enter an empty root: {error}"))?;
    confine::drop_privileges(confine::UID, confine::UID, kept)
        .map_err(|error| format!("cannot give up its privileges: {error}"))?;
    // Once more: a change of user takes the wish away (PR_SET_PDEATHSIG).
    process::die_with_parent(keeper).map_err(|error| format!("its keeper is gone: {error}"))?;
    confine::allow_only(memory)
        .map_err(|error| format!("cannot install its seccomp filter: {error}"))
}

impl<'a> Watcher<'a> {
    fn begin(
        tools: Tools,
        shared: &'a Shared,
        rules: &'a [Rule],
        wires: &'a Tripwires,
        observer: &'a Observer,
        watchdog: &'a TimerFd,
    ) -> Result<Watcher<'a>, i32> {
        let say = |request: &Request| socket::send(&tools.link, &request.encode(), &[]);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|_| BROKEN)?;
        let timeout = socket::set_timeout(&tools.link, link::PATIENCE);
        if let Err(why) = timeout
            .map_err(|error| error.to_string())
            .and_then(|()| confined(tools.keeper, observer.reads_memory()))
        {
            // The keeper tells it to whoever waits for the container.
            let _ = say(&Request::Failed { why });
            return Err(UNCONFINED);
        }
        say(&Request::Ready).map_err(|_| BROKEN)?;
        let mut watcher = Watcher {
            link: tools.link,
            bell: tools.bell,
            shared,
            rules,
            wires,
            observer,
            mounts: Mounts::default(),
            domains: HashMap::new(),
            settled: HashMap::new(),
            depth: None,
            linked: Vec::new(),
            unsaid: Vec::new(),
            watchdog,
            wound: false,
            epoll,
            listeners: BTreeMap::new(),
            files: tools.files,
            refused: tools
                .tasks
                .as_ref()
                .map_or(0, |[_, refused]| limit_hits(refused)),
            tasks: tools.tasks,
            scene: tools.scene,
            began: BTreeSet::new(),
            known: Known::default(),
            watched: BTreeMap::new(),
            next: WATCHED,
            inbox: VecDeque::new(),
            pending: Vec::new(),
            images: Images::default(),
            serial: 0,
            hammered: 0,
            due: false,
            rung: None,
            finished: false,
            rests: false,
        };
        watcher.watch_fd(LINK, watcher.link.as_fd())?;
        if let Some(files) = &watcher.files {
            watcher.watch_fd(FILES, files.as_fd())?;
        }
        for (token, listener, whose) in tools.listeners {
            watcher.add_listener(token, listener, whose);
        }
        for (token, told) in tools.settled.iter().filter(|(_, told)| told.whole) {
            // The keeper has read it before.
            let settled: Settled = serde_json::from_slice(&told.bytes).map_err(|_| BROKEN)?;
            watcher.take_settled(*token, told.pid, &settled, told.bytes.len());
        }
        for pid in tools.began {
            watcher.watch_session(pid);
        }
        Ok(watcher)
    }

    fn watch_fd(&self, token: u64, fd: std::os::fd::BorrowedFd<'_>) -> Result<(), i32> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
        self.epoll.add(fd, event).map_err(|_| BROKEN)
    }

    fn add_listener(&mut self, token: u64, listener: OwnedFd, whose: Whose) {
        if self.watch_fd(token, listener.as_fd()).is_ok() {
            self.listeners.insert(token, (listener, whose));
        }
    }

    /// Reports what an earlier watcher had in hand, as far as that one did not come to it; the keeper has
    /// answered it.
    fn catch_up(&mut self) {
        if let Some((call, _, _)) = self.shared.call() {
            self.report(&call, None::<fn(&mut Self)>);
            self.shared.call_done();
            self.ring_if_due();
        }
    }

    fn turn(&mut self) {
        let mut events = [EpollEvent::empty(); 16];
        let patience = match self.next_look() {
            Some(wait) => {
                // Shorter than epoll_wait counts: an execution takes a fraction of a millisecond.
                self.rest(wait);
                EpollTimeout::ZERO
            }
            None if self.due => EpollTimeout::from(GATHER.as_millis() as u8),
            None => EpollTimeout::NONE,
        };
        // Last of all: what is given back before is used again on the way here.
        if patience == EpollTimeout::NONE && std::mem::take(&mut self.rests) {
            process::give_back_memory();
        }
        let count = match self.epoll.wait(&mut events, patience) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            Err(_) => {
                self.finished = true;
                return;
            }
        };
        // Orders first: a listener must be known before its calls.
        if events[..count].iter().any(|event| event.data() == LINK) {
            self.hear();
        }
        for event in &events[..count] {
            match event.data() {
                LINK => {}
                FILES => drop(self.file_event()),
                token if token >= WATCHED => self.ended(token),
                token => self.notified(token, event.events()),
            }
            while let Some((order, fds)) = self.inbox.pop_front() {
                self.obey(order, fds);
            }
        }
        self.look_again();
        self.ring_if_due();
        self.stop_watchdog();
    }

    /// Before something that others answer: a file's server, a process's memory. Where they never do,
    /// the keeper ends this watcher, refuses what it had in hand, and starts another one.
    fn wind_watchdog(&mut self) {
        if !self.wound {
            let once = Expiration::OneShot(TimeSpec::from_duration(LONGEST));
            let flags = TimerSetTimeFlags::empty();
            self.wound = self.watchdog.set(once, flags).is_ok();
        }
    }

    fn stop_watchdog(&mut self) {
        if std::mem::take(&mut self.wound) {
            disarm(self.watchdog);
        }
    }

    /// Sleeps until something is ready or the time is over.
    fn rest(&self, wait: Duration) {
        let mut polled = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        let wait = TimeSpec::from_duration(wait);
        // Interrupted, it is looked at a little earlier.
        let _ = nix::poll::ppoll(&mut polled, Some(wait), None);
    }

    fn hear(&mut self) {
        match socket::receive(&self.link, link::LARGEST) {
            Ok(packet) if !packet.bytes.is_empty() => match Order::decode(&packet.bytes) {
                Ok(order) => self.obey(order, packet.fds),
                Err(_) => self.finished = true,
            },
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // The keeper is gone, and with it everything that this one is for.
            _ => self.finished = true,
        }
    }

    fn obey(&mut self, order: Order, mut fds: Vec<OwnedFd>) {
        match order {
            Order::Listener { token, whose } => {
                if let Some(listener) = fds.pop() {
                    self.add_listener(token, listener, whose);
                }
            }
            Order::Scene(scene) => {
                self.scene = Some(scene);
                if let Ok(tasks) = <[OwnedFd; 2]>::try_from(std::mem::take(&mut fds)) {
                    self.tasks = Some(tasks);
                }
            }
            Order::Began { pid } => {
                self.watch_session(pid);
                // Now begins the long sleep.
                self.rests = true;
            }
            Order::Count => self.count_tasks(),
            Order::Settle { token, pid } => self.settle(token, pid),
            // One that nobody waits for any more.
            Order::Reply { .. } => {}
            Order::Finish => {
                self.flush();
                self.finished = true;
            }
        }
    }

    /// What is still under way is told as it is. The container is gone: nothing more comes.
    fn flush(&mut self) {
        let deadline = Instant::now() + LAST_LOOK;
        while self.file_event() && Instant::now() < deadline {}
        while !self.pending.is_empty() {
            let pending = self.pending.remove(0);
            self.tell_execution(pending, Runs::Unknown);
        }
        self.all_ended();
    }

    /// Asks the keeper and waits for its word; none where it does not come.
    fn ask(&mut self, request: &Request, fds: &[RawFd]) -> Option<u64> {
        socket::send(&self.link, &request.encode(), fds).ok()?;
        let deadline = Instant::now() + link::PATIENCE;
        while Instant::now() < deadline {
            let packet = socket::receive(&self.link, link::LARGEST).ok()?;
            if packet.bytes.is_empty() {
                self.finished = true;
                return None;
            }
            match Order::decode(&packet.bytes).ok()? {
                Order::Reply { serial, value } if serial == self.serial => return Some(value),
                Order::Reply { .. } => {}
                other => self.inbox.push_back((other, packet.fds)),
            }
        }
        None
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Which of the process's standard streams are network sockets. What cannot be told is none.
    fn streams(&mut self, pid: i32) -> u8 {
        let serial = self.next_serial();
        let bits = self.ask(&Request::Streams { serial, pid }, &[]);
        (bits.unwrap_or(0) & 7) as u8
    }

    /// Has the keeper do what is due. `file` is what a freeze keeps as evidence.
    fn respond(&mut self, findings: &[Finding], pid: i32, file: Option<RawFd>) {
        for finding in findings.iter().filter(|finding| finding.due) {
            let action = match self.rules[finding.rule].respond {
                Response::Log | Response::Deny => continue,
                Response::KillProcess => Action::KillProcess,
                Response::KillContainer => Action::KillContainer,
                Response::Freeze => Action::Freeze,
            };
            let request = Request::Act {
                serial: self.next_serial(),
                action,
                rule: finding.rule as u32,
                pid,
            };
            // A handle on the file and not the open file: the keeper closes it, and must not wait for
            // whoever serves it.
            let held = file.and_then(|number| fds::path_only(number).ok());
            let fds: Vec<RawFd> = held.iter().map(AsRawFd::as_raw_fd).collect();
            // Without a word the keeper is gone or at it; either way nothing is gained by asking again.
            let _ = self.ask(&request, &fds);
        }
    }

    fn tell_findings(
        &mut self,
        findings: &[Finding],
        process: &Process,
        ancestors: &[Ancestor],
        file: Option<&File>,
    ) {
        for what in self.events_of(findings, process, ancestors, file) {
            self.tell(Kind::Detection, &what);
        }
    }

    /// The events of findings, but for those that are left out.
    fn events_of(
        &mut self,
        findings: &[Finding],
        process: &Process,
        ancestors: &[Ancestor],
        file: Option<&File>,
    ) -> Vec<What> {
        let mut events = Vec::new();
        for finding in findings {
            if !self.admits(Lines::Of(finding.rule)) {
                self.due |= self.shared.leave_out_rule(finding.rule);
                continue;
            }
            let (process, ancestors) = (Some(process.clone()), ancestors.to_vec());
            let rule = &self.rules[finding.rule];
            events.push(rules::event(
                rule,
                finding,
                process,
                ancestors,
                file.cloned(),
            ));
        }
        events
    }

    fn admits(&self, lines: Lines) -> bool {
        self.shared.admits(lines, rules::now())
    }

    fn tell(&mut self, kind: Kind, what: &What) {
        self.tell_all(0, &[(kind, what)]);
    }

    /// Puts events into the ring, all of them at once. `call` is the notification that they report, 0 for
    /// none. Answers whether they are there; those that are not are counted.
    fn tell_all(&mut self, call: u64, events: &[(Kind, &What)]) -> bool {
        let fit = |(kind, what): &(Kind, &What)| fitting(what).map(|body| (*kind, body));
        let bodies: Vec<(Kind, Vec<u8>)> = events.iter().filter_map(fit).collect();
        for _ in bodies.len()..events.len() {
            self.shared.dropped();
        }
        self.due = true;
        let deadline = Instant::now() + ROOM;
        while !self.shared.commit(call, &bodies) {
            self.ring();
            if Instant::now() > deadline {
                for _ in &bodies {
                    self.shared.dropped();
                }
                return false;
            }
            let mut none: [PollFd<'_>; 0] = [];
            let _ = poll(&mut none, PollTimeout::from(1_u8));
        }
        true
    }

    /// Wakes the keeper, at once where it was left alone for a while; then once for all that comes
    /// within a millisecond, so that whoever calls a thousand times does not compete with it.
    fn ring_if_due(&mut self) {
        let lately = |at: Instant| at.elapsed() < GATHER;
        if self.due && (self.shared.fills() || !self.rung.is_some_and(lately)) {
            self.due = false;
            self.rung = Some(Instant::now());
            self.ring();
        }
    }

    /// Wakes the keeper where it sleeps.
    fn ring(&self) {
        if self.shared.wakes() {
            // An eventfd that is full has woken it already.
            let _ = nix::unistd::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    /// Whether the process is the container's. Before that is known, nothing is; one of which it cannot
    /// be told is, or a container that uses up this process's descriptors would be past its rules.
    fn holds(&self, pid: i32) -> bool {
        let Some(scene) = &self.scene else {
            return false;
        };
        is_member(pid, |text| is_told_by(&scene.cgroup, text)).unwrap_or(true)
    }
}

/// The event as JSON. One that hostile names make too large goes without what they are in: it must not
/// be possible to hide behind them.
fn fitting(what: &What) -> Option<Vec<u8>> {
    let fits = |body: &Vec<u8>| body.len() <= super::shared::LARGEST;
    let whole = serde_json::to_vec(what).ok().filter(fits);
    whole.or_else(|| {
        let mut less = what.clone();
        match &mut less {
            What::Tripwire { ancestors, .. } => ancestors.clear(),
            What::Detection {
                ancestors, file, ..
            } => {
                ancestors.clear();
                if let Some(file) = file {
                    file.argv = None;
                }
            }
            // Clipped before; what is left to go is what mantlet adds.
            What::Observed { fix, .. } => fix.clear(),
            _ => {}
        }
        serde_json::to_vec(&less).ok().filter(fits)
    })
}
