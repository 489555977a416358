//! The watcher: reads what the container says (notifications, executions, /proc), decides, and puts
//! events into the shared ring. Whatever it reads may be hostile, so it can do next to nothing: its
//! root holds procfs alone, read-only; its user is nobody else's; it may trace and has no other
//! capability; its filter permits neither a signal nor a socket nor a file to write
//! ([`crate::sys::confine`]).
//!
//! It kills, freezes and writes nothing: it asks the keeper, which checks that the process is the
//! container's. If it dies, the keeper answers what it had in hand and starts another one.

mod calls;
mod files;
mod known;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::link::{self, Order, Request, Scene};
use super::rules::{self, Finding};
use super::sensors::Seen;
use super::shared::{Kind, Shared};
use super::tripwire::Tripwires;
use crate::cgroup::{any_thread, is_told_by, number};
use crate::detect::{Response, Rule};
use crate::event::{Action, Ancestor, File, Process, What};
use crate::sys::{confine, process, socket};
use files::{Images, Pending, Runs};
use known::{Known, Watched};

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

/// What the watcher begins with; the rest of the keeper's it must not keep.
pub(super) struct Tools {
    pub(super) link: OwnedFd,
    /// Wakes the keeper.
    pub(super) bell: OwnedFd,
    pub(super) listeners: Vec<(u64, OwnedFd)>,
    pub(super) files: Option<OwnedFd>,
    /// The container's number of tasks, and of those that its limit refused.
    pub(super) tasks: Option<[OwnedFd; 2]>,
    pub(super) scene: Option<Scene>,
    /// Processes of whose end the keeper tells.
    pub(super) began: Vec<i32>,
    /// A folder to put the empty root on.
    pub(super) root: PathBuf,
    pub(super) keeper: i32,
}

pub(super) struct Watcher<'a> {
    link: OwnedFd,
    bell: OwnedFd,
    shared: &'a Shared,
    rules: &'a [Rule],
    wires: &'a Tripwires,
    epoll: Epoll,
    listeners: BTreeMap<u64, OwnedFd>,
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
    allowance: Allowance,
    serial: u64,
    /// Calls answered in a row whose events were left out.
    hammered: u32,
    finished: bool,
}

/// How many events of one kind are admitted at once, and how fast that fills again.
struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    filled: Instant,
}

impl Bucket {
    fn new(burst: f64, per_second: f64) -> Bucket {
        Bucket {
            tokens: burst,
            burst,
            per_second,
            filled: Instant::now(),
        }
    }

    fn admits(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f64() * self.per_second;
        self.filled = now;
        self.tokens = (self.tokens + gained).min(self.burst);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// What a container may cause in lines. Tripwires and detections do not take from each other: a flood
/// of one must not hide the other.
struct Allowance {
    calls: Bucket,
    detections: Bucket,
    ends: Bucket,
}

/// Serves until the keeper says otherwise or is gone. Never returns to the keeper's code.
pub(super) fn run(tools: Tools, shared: &Shared, rules: &[Rule], wires: &Tripwires) -> ! {
    let serve = || {
        let mut watcher = match Watcher::begin(tools, shared, rules, wires) {
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

fn confined(root: &std::path::Path, keeper: i32) -> Result<(), String> {
    confine::empty_root(root).map_err(|error| format!("cannot enter an empty root: {error}"))?;
    confine::drop_privileges(confine::UID, confine::UID, &confine::KEPT)
        .map_err(|error| format!("cannot give up its privileges: {error}"))?;
    // Once more: a change of user takes the wish away (PR_SET_PDEATHSIG).
    process::die_with_parent(keeper).map_err(|error| format!("its keeper is gone: {error}"))?;
    confine::allow_only().map_err(|error| format!("cannot install its seccomp filter: {error}"))
}

impl<'a> Watcher<'a> {
    fn begin(
        tools: Tools,
        shared: &'a Shared,
        rules: &'a [Rule],
        wires: &'a Tripwires,
    ) -> Result<Watcher<'a>, i32> {
        let say = |request: &Request| socket::send(&tools.link, &request.encode(), &[]);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|_| BROKEN)?;
        let timeout = socket::set_timeout(&tools.link, link::PATIENCE);
        if let Err(why) = timeout
            .map_err(|error| error.to_string())
            .and_then(|()| confined(&tools.root, tools.keeper))
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
            allowance: Allowance {
                calls: Bucket::new(200.0, 20.0),
                detections: Bucket::new(500.0, 100.0),
                ends: Bucket::new(500.0, 100.0),
            },
            serial: 0,
            hammered: 0,
            finished: false,
        };
        watcher.watch_fd(LINK, watcher.link.as_fd())?;
        if let Some(files) = &watcher.files {
            watcher.watch_fd(FILES, files.as_fd())?;
        }
        for (token, listener) in tools.listeners {
            watcher.add_listener(token, listener);
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

    fn add_listener(&mut self, token: u64, listener: OwnedFd) {
        if self.watch_fd(token, listener.as_fd()).is_ok() {
            self.listeners.insert(token, listener);
        }
    }

    /// Reports what an earlier watcher had in hand; the keeper has answered it.
    fn catch_up(&mut self) {
        if let Some((call, _, _)) = self.shared.call() {
            self.report(&call);
            self.shared.call_done();
        }
    }

    fn turn(&mut self) {
        let mut events = [EpollEvent::empty(); 16];
        let patience = match self.next_look() {
            // Shorter than epoll_wait counts: an execution takes a fraction of a millisecond.
            Some(wait) if self.rest(wait) => EpollTimeout::ZERO,
            Some(_) => EpollTimeout::ZERO,
            None => EpollTimeout::NONE,
        };
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
    }

    /// Sleeps until something is ready or the time is over.
    fn rest(&self, wait: Duration) -> bool {
        let mut polled = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        let wait = nix::sys::time::TimeSpec::from_duration(wait);
        nix::poll::ppoll(&mut polled, Some(wait), None).is_ok_and(|ready| ready > 0)
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
            Order::Listener { token } => {
                if let Some(listener) = fds.pop() {
                    self.add_listener(token, listener);
                }
            }
            Order::Scene(scene) => {
                self.scene = Some(scene);
                if let Ok(tasks) = <[OwnedFd; 2]>::try_from(std::mem::take(&mut fds)) {
                    self.tasks = Some(tasks);
                }
            }
            Order::Began { pid } => self.watch_session(pid),
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
        while self.file_event() {}
        for pending in std::mem::take(&mut self.pending) {
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
            let fds: Vec<RawFd> = file.into_iter().collect();
            // Without a word the keeper is gone or at it; either way nothing is gained by asking again.
            let _ = self.ask(&request, &fds);
        }
    }

    /// Judges what was seen, tells of it and has the response done. Answers whether it is refused.
    fn judge(
        &mut self,
        seen: &Seen<'_>,
        process: &Process,
        ancestors: &[Ancestor],
        file: Option<&File>,
    ) -> Vec<Finding> {
        let program = file.map_or(process.exe.as_str(), |file| file.path.as_str());
        let findings = rules::findings(self.rules, self.shared, seen, program, |_| true);
        self.tell_findings(&findings, process, ancestors, file);
        findings
    }

    fn tell_findings(
        &mut self,
        findings: &[Finding],
        process: &Process,
        ancestors: &[Ancestor],
        file: Option<&File>,
    ) {
        for finding in findings {
            if !self.allowance.detections.admits() {
                self.shared.leave_out_rule(finding.rule);
                self.ring();
                continue;
            }
            let rule = &self.rules[finding.rule];
            let what = rules::event(
                rule,
                finding,
                Some(process.clone()),
                ancestors.to_vec(),
                file.cloned(),
            );
            self.tell(Kind::Detection, 0, &what);
        }
    }

    /// Looks at the number of tasks, where a rule asks. Nobody tells when it changes (not even of the
    /// limit's refusals, on cgroup v1), so it is looked at whenever something else was seen.
    fn count_tasks(&mut self) {
        let Some([tasks, refused]) = &self.tasks else {
            return;
        };
        let total = limit_hits(refused);
        let now = number_in(tasks, |text| text.trim().parse().ok());
        let refused = total.saturating_sub(self.refused);
        self.refused = total;
        let seen = Seen::Tasks { now, refused };
        let findings = rules::findings(self.rules, self.shared, &seen, "", |_| true);
        for finding in &findings {
            if self.allowance.detections.admits() {
                let what = rules::event(&self.rules[finding.rule], finding, None, Vec::new(), None);
                self.tell(Kind::Detection, 0, &what);
            } else {
                self.shared.leave_out_rule(finding.rule);
                self.ring();
            }
        }
        self.respond(&findings, 0, None);
    }

    /// Puts an event into the ring. `call` is the notification that it reports, 0 for none.
    fn tell(&mut self, kind: Kind, call: u64, what: &What) {
        let Some(body) = fitting(what) else {
            return self.shared.dropped();
        };
        let deadline = Instant::now() + ROOM;
        while !self.shared.commit(kind, call, &body) {
            self.ring();
            if Instant::now() > deadline {
                return self.shared.dropped();
            }
            let mut none: [PollFd<'_>; 0] = [];
            let _ = poll(&mut none, PollTimeout::from(1_u8));
        }
        self.ring();
    }

    /// Wakes the keeper where it sleeps.
    fn ring(&self) {
        if self.shared.wakes() {
            // An eventfd that is full has woken it already.
            let _ = nix::unistd::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    /// Whether the process is the container's. Before that is known, nothing is.
    fn holds(&self, pid: i32) -> bool {
        let Some(scene) = &self.scene else {
            return false;
        };
        any_thread(pid, |text| is_told_by(&scene.cgroup, text))
    }
}

/// A number in a file of the kernel's; 0 where it cannot be told.
fn number_in(file: &OwnedFd, find: impl Fn(&str) -> Option<u64>) -> u64 {
    let mut text = [0; 128];
    let length = nix::sys::uio::pread(file, &mut text, 0).unwrap_or(0);
    let text = std::str::from_utf8(&text[..length]).ok();
    text.and_then(find).unwrap_or(0)
}

/// How often a limit has refused a task (`pids.events`).
fn limit_hits(file: &OwnedFd) -> u64 {
    number_in(file, |text| number(text, "max"))
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
            _ => {}
        }
        serde_json::to_vec(&less).ok().filter(fits)
    })
}
