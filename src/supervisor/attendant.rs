//! The keeper's side of the watcher: starting it, hearing it, and what is done where it ends.
//!
//! Nothing waits for a watcher that is not there longer than it takes to start one. Where none can
//! be started (no memory, no process), the keeper refuses each call and each execution by itself,
//! without a look at who asks, until one can.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::keeper::{Keeper, Source, Timer};
use super::link::{self, Order, Request};
use super::shared::Stage;
use super::watcher::{self, Tools};
use crate::event::{Process, What};
use crate::sys::seccomp::{self, Notification};
use crate::sys::{fanotify, fds, pidfd, process, socket, spawn};

/// A watcher that crashed is followed by another one after this long.
const CRASHED: Duration = Duration::from_millis(10);
/// Longest wait after watchers that did not even get ready.
const MOST_WAIT: Duration = Duration::from_secs(1);

/// Threads that are asked for their streams.
const MOST_THREADS: usize = 1024;

/// The watcher as the keeper knows it.
#[derive(Default)]
pub(super) struct Attendant {
    pub(super) pid: i32,
    link: Option<u64>,
    end: Option<u64>,
    pub(super) ready: bool,
    /// Watchers in a row that did not get ready.
    failures: u32,
    /// Why the last one did not.
    pub(super) failed: Option<String>,
    /// There is none, and the keeper refuses by itself.
    alone: bool,
    /// It took too long over one thing, and is ended for that.
    late: bool,
}

impl Keeper {
    /// Starts a watcher; where that fails, later.
    pub(super) fn attend(&mut self) {
        self.forget(Timer::Attend);
        if self.attendant.pid != 0 || self.is_leaving() {
            return;
        }
        if let Err(error) = self.start_attendant() {
            self.attendant.failed = Some(format!("it cannot be started: {error}"));
            self.attend_later();
        }
    }

    fn start_attendant(&mut self) -> std::io::Result<()> {
        let (near, far) = socket::pair()?;
        fcntl(&near, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let parent = std::process::id();
        match spawn::fork()? {
            spawn::Fork::Child => self.become_watcher(&far, parent),
            spawn::Fork::Parent { pid, pidfd } => {
                drop(far);
                self.attendant.pid = pid;
                self.attendant.ready = false;
                self.attendant.link = Some(self.add(Source::Link(near), EpollFlags::EPOLLIN));
                self.attendant.end = Some(self.add(Source::Attendant(pidfd), EpollFlags::EPOLLIN));
                self.status.watcher = pid;
                self.set_alone(false);
                Ok(())
            }
        }
    }

    /// In the child. Holds nothing afterwards but what a watcher needs.
    fn become_watcher(&self, link: &OwnedFd, parent: u32) -> ! {
        // A name is for people.
        let _ = process::set_name(c"mantlet-watcher");
        // Checked against the keeper's number: it may have ended before this line.
        if process::die_with_parent(parent as i32).is_err() {
            process::exit_now(watcher::BROKEN);
        }
        let listeners = self
            .sources
            .iter()
            .filter_map(|(token, source)| match source {
                Source::Listener(fd) => Some((*token, fd.as_raw_fd())),
                _ => None,
            });
        let listeners: Vec<(u64, RawFd)> = listeners.collect();
        let files = self.files.as_ref().map(AsRawFd::as_raw_fd);
        let tasks = self
            .tasks
            .as_ref()
            .map(|files| files.each_ref().map(AsRawFd::as_raw_fd));
        let bell = std::os::fd::AsFd::as_fd(&self.bell).as_raw_fd();
        let watchdog = std::os::fd::AsFd::as_fd(&*self.watchdog).as_raw_fd();
        let mut kept = vec![link.as_raw_fd(), bell, watchdog];
        kept.extend(listeners.iter().map(|(_, number)| *number));
        kept.extend(files.iter().chain(tasks.iter().flatten()));
        let own = |number: RawFd| match fds::inherited(number) {
            Ok(fd) => fd,
            Err(_) => process::exit_now(watcher::BROKEN),
        };
        if fds::close_all_but(3, &mut kept).is_err() {
            process::exit_now(watcher::BROKEN);
        }
        let began = self.sources.values().filter_map(|source| match source {
            Source::Watched(watched) => Some(watched.process.pid),
            _ => None,
        });
        let tools = Tools {
            link: own(link.as_raw_fd()),
            bell: own(bell),
            listeners: listeners
                .into_iter()
                .map(|(token, number)| (token, own(number)))
                .collect(),
            files: files.map(own),
            tasks: tasks.map(|numbers| numbers.map(own)),
            scene: self.scene.clone(),
            began: began.collect(),
            keeper: parent as i32,
        };
        watcher::run(
            tools,
            &self.shared,
            &self.rules,
            &self.wires,
            &self.watchdog,
        )
    }

    /// Sends an order. A watcher that does not read is ended: another one begins with everything.
    pub(super) fn order(&mut self, order: &Order, passed: &[RawFd]) {
        let Some(Source::Link(link)) = self
            .attendant
            .link
            .and_then(|token| self.sources.get(&token))
        else {
            return;
        };
        if socket::send(link, &order.encode(), passed).is_err() {
            self.end_attendant();
        }
    }

    /// Tells the watcher to finish; false where there is none.
    pub(super) fn dismiss_attendant(&mut self) -> bool {
        self.forget(Timer::Attend);
        let any = self.attendant.pid != 0;
        self.order(&Order::Finish, &[]);
        any
    }

    /// Ends the watcher, as far as there is one.
    pub(super) fn end_attendant(&mut self) {
        if let Some(Source::Attendant(end)) = self
            .attendant
            .end
            .and_then(|token| self.sources.get(&token))
        {
            // ESRCH: it has ended.
            let _ = pidfd::send_signal(end, libc::SIGKILL);
        }
    }

    /// The watcher has had its time for one thing; or, not `expired`, it was done with it meanwhile.
    pub(super) fn watchdog_barked(&mut self, expired: bool) {
        if expired {
            self.attendant.late = true;
            self.end_attendant();
        }
    }

    pub(super) fn attendant_asks(&mut self, token: u64) {
        let Some(Source::Link(link)) = self.sources.get(&token) else {
            return;
        };
        let packet = match socket::receive(link, link::LARGEST) {
            Ok(packet) if !packet.bytes.is_empty() => packet,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            // Its end is told by the other descriptor. One that lives all the same can be given no more
            // listeners, and nothing would answer their calls.
            _ => {
                self.end_attendant();
                return drop(self.remove(token));
            }
        };
        if !packet.fds.iter().all(fds::is_path_only) {
            // Nothing of ours passes an open file. To close it may mean to wait for the container.
            packet.fds.into_iter().for_each(std::mem::forget);
            return self.end_attendant();
        }
        match Request::decode(&packet.bytes) {
            Ok(Request::Ready) => {
                self.attendant.ready = true;
                self.attendant.failures = 0;
                self.attendant.failed = None;
                self.write_status();
                self.release_those_who_wait();
            }
            Ok(Request::Failed { why }) => self.attendant.failed = Some(why),
            Ok(Request::Act {
                serial,
                action,
                rule,
                pid,
            }) => {
                self.act(action, rule as usize, pid, packet.fds);
                self.order(&Order::Reply { serial, value: 1 }, &[]);
            }
            Ok(Request::Streams { serial, pid }) => {
                let value = self.network_streams(pid);
                self.order(&Order::Reply { serial, value }, &[]);
            }
            // Nothing of ours speaks so.
            Err(_) => self.end_attendant(),
        }
    }

    /// Which of a process's standard streams are network sockets; only of the container's.
    ///
    /// Nobody tells which of its threads executes. Each may have descriptors of its own (clone(2)
    /// without CLONE_FILES), and where the first one has ended it has none: so all are asked.
    fn network_streams(&self, pid: i32) -> u64 {
        let Ok(held) = pidfd::open(pid) else {
            return 0;
        };
        if !self.is_ours(pid) {
            return 0;
        }
        let mut bits = 0;
        let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
        let threads = threads.into_iter().flatten().flatten();
        let threads = threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for thread in threads.take(MOST_THREADS) {
            for number in 0..3 {
                if bits >> number & 1 == 0 && is_network(&held, pid, thread, number) {
                    bits |= 1 << number;
                }
            }
        }
        bits
    }

    /// Whether the process is in the container's control group.
    pub(super) fn is_ours(&self, pid: i32) -> bool {
        self.cgroup.as_ref().is_some_and(|cgroup| cgroup.holds(pid))
    }

    pub(super) fn attendant_ended(&mut self, token: u64) {
        let Some(Source::Attendant(end)) = self.remove(token) else {
            return;
        };
        let ended = pidfd::wait(&end);
        if let Some(link) = self.attendant.link.take() {
            // Its last words, such as why it could not begin.
            self.attendant_asks(link);
            self.remove(link);
        }
        let (was_ready, late) = (self.attendant.ready, self.attendant.late);
        self.attendant = Attendant {
            failures: self.attendant.failures + u32::from(!was_ready),
            failed: self.attendant.failed.take(),
            ..Attendant::default()
        };
        self.status.watcher = 0;
        self.drain();
        if self.is_leaving() {
            self.finished = true;
            return;
        }
        let denied = self.settle();
        self.status.watcher_restarts += 1;
        let restarts = self.status.watcher_restarts;
        self.tell(&What::Watcher {
            ended: match ended {
                Some(_) if late => "took too long over one thing".into(),
                Some(how) => how.to_string(),
                None => "ended".into(),
            },
            restarts,
            denied,
        });
        if was_ready && ended == Some(pidfd::Ended::Signaled(libc::SIGKILL)) {
            // By root, or for want of memory; not by what it read.
            self.attend();
        } else if was_ready {
            self.after(CRASHED, Timer::Attend);
        } else {
            self.attend_later();
        }
    }

    /// Answers what the watcher had in hand with its denial. A call is reported by the next watcher,
    /// who knows how; one that ended two of them by the keeper, who says less.
    fn settle(&mut self) -> Option<String> {
        if let Some((call, token, stage)) = self.shared.call() {
            if stage == Stage::Waits
                && let Some(Source::Listener(listener)) = self.sources.get(&token)
            {
                // ENOENT: it was answered a moment before the watcher could say so.
                let _ = seccomp::deny(listener, call.id, self.wires.wire(&call).errno);
            }
            match stage {
                _ if self.reported == call.id => self.shared.call_done(),
                Stage::Waits | Stage::Answered => self.shared.call_left(),
                Stage::Left => {
                    self.report_blindly(&call);
                    self.shared.call_done();
                }
            }
        }
        let file = self.shared.file()?;
        if let Some(group) = &self.files {
            let _ = fanotify::answer(group, file.fd, false);
        }
        self.shared.file_done();
        Some(format!("an execution or opening of process {}", file.pid))
    }

    /// Reports a call by what its registers say.
    fn report_blindly(&mut self, call: &Notification) {
        self.status.tripwires += 1;
        let process = Process {
            pid: call.tid as i32,
            ..Process::default()
        };
        let what = self.wires.event(call, process, Vec::new());
        self.tell(&what);
    }

    fn attend_later(&mut self) {
        let doubled = CRASHED * 2_u32.saturating_pow(self.attendant.failures.min(8));
        self.attendant.failures += 1;
        self.at(Instant::now() + doubled.min(MOST_WAIT), Timer::Attend);
        self.set_alone(true);
        self.fail_those_who_wait();
    }

    /// Takes over from, or hands over to, a watcher: who waits on listeners and the group.
    fn set_alone(&mut self, alone: bool) {
        if self.attendant.alone == alone {
            return;
        }
        self.attendant.alone = alone;
        let flags = if alone {
            EpollFlags::EPOLLIN
        } else {
            EpollFlags::empty()
        };
        for (token, source) in &self.sources {
            if let Source::Listener(listener) = source {
                let _ = self
                    .epoll
                    .modify(listener, &mut EpollEvent::new(flags, *token));
            }
        }
        let former = self
            .sources
            .iter()
            .find(|(_, source)| matches!(source, Source::Files(_)));
        if let Some(token) = former.map(|(token, _)| *token) {
            self.remove(token);
        }
        let group = self.files.as_ref().filter(|_| alone);
        if let Some(Ok(group)) = group.map(OwnedFd::try_clone) {
            self.add(Source::Files(group), EpollFlags::EPOLLIN);
        }
    }

    /// A listener, and how its calls are waited for.
    pub(super) fn add_listener(&mut self, listener: OwnedFd) {
        let number = listener.as_raw_fd();
        let flags = if self.attendant.alone {
            EpollFlags::EPOLLIN
        } else {
            EpollFlags::empty()
        };
        let token = self.add(Source::Listener(listener), flags);
        self.order(&Order::Listener { token }, &[number]);
    }

    /// A call where there is no watcher, or the end of the last process under a filter.
    pub(super) fn listener_spoke(&mut self, token: u64, flags: EpollFlags) {
        let Some(Source::Listener(listener)) = self.sources.get(&token) else {
            return;
        };
        if !flags.contains(EpollFlags::EPOLLIN) {
            self.remove(token);
            return;
        }
        let Ok(call) = seccomp::receive(listener) else {
            return;
        };
        let _ = seccomp::deny(listener, call.id, self.wires.wire(&call).errno);
        if self.counts.admits() {
            self.report_blindly(&call);
        } else {
            self.shared.leave_out_call(call.number);
            self.tell_later();
        }
    }

    /// Executions and openings where there is no watcher: nobody can tell what they are.
    pub(super) fn refuse_files(&mut self) {
        let Some(group) = &self.files else {
            return;
        };
        let Ok(Some(event)) = self.shared.read_file(group) else {
            return;
        };
        for number in [Some(event.fd), event.pidfd].into_iter().flatten() {
            // Closed with the value.
            let _ = fds::inherited(number);
        }
        if event.is_permission() {
            let _ = fanotify::answer(group, event.fd, false);
        }
        self.shared.file_done();
    }
}

/// Whether a thread's descriptor is a network socket. Where the kernel holds no threads but first ones
/// (before 6.9), any socket of another one counts.
///
/// Only a socket is ever taken: to close a copy of a file may mean to wait for whoever serves it, who
/// may be the container (FUSE asks its server at each close). And it is not waited for at its close,
/// which is the last one where the container closes its own meanwhile.
fn is_network(process: &OwnedFd, pid: i32, thread: i32, number: RawFd) -> bool {
    let place = format!("/proc/{pid}/task/{thread}");
    let is_socket = std::fs::read_link(format!("{place}/fd/{number}"))
        .is_ok_and(|link| link.as_os_str().as_encoded_bytes().starts_with(b"socket:["));
    if !is_socket {
        return false;
    }
    let held = match pidfd::open_thread(thread) {
        Ok(held) => held,
        Err(error) => return error.raw_os_error() == Some(libc::EINVAL),
    };
    // Still that process's thread, now that it is held.
    if pidfd::has_ended(process) || !std::path::Path::new(&place).exists() {
        return false;
    }
    pidfd::get_fd(&held, number).is_ok_and(|fd| {
        let network = socket::is_network(&fd);
        let _ = socket::forget_linger(&fd);
        network
    })
}
