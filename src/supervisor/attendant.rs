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
use super::marks;
use super::tripwire::{arch_of, errno_name};
use super::watcher::{self, Tools};
use crate::event::{Process, What};
use crate::sys::seccomp::{self, Notification};
use crate::sys::{fanotify, fds, pidfd, process, socket, spawn};

/// A watcher that crashed is followed by another one after this long.
const CRASHED: Duration = Duration::from_millis(10);
/// Longest wait after watchers that did not even get ready.
const MOST_WAIT: Duration = Duration::from_secs(1);

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
        let mut kept = vec![link.as_raw_fd(), bell];
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
            root: self.home.path.clone(),
            keeper: parent as i32,
        };
        watcher::run(tools, &self.shared, &self.rules, &self.wires)
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

    pub(super) fn attendant_asks(&mut self, token: u64) {
        let Some(Source::Link(link)) = self.sources.get(&token) else {
            return;
        };
        let packet = match socket::receive(link, link::LARGEST) {
            Ok(packet) if !packet.bytes.is_empty() => packet,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            // Its end is told by the other descriptor.
            _ => return drop(self.remove(token)),
        };
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
    fn network_streams(&self, pid: i32) -> u64 {
        let Ok(held) = pidfd::open(pid) else {
            return 0;
        };
        if !self.is_ours(pid) {
            return 0;
        }
        (0..3)
            .filter(|number| pidfd::get_fd(&held, *number).is_ok_and(|fd| socket::is_network(&fd)))
            .fold(0, |bits, number| bits | 1 << number)
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
        let was_ready = self.attendant.ready;
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
            ended: ended.map_or_else(|| "ended".into(), |how| how.to_string()),
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
        if let Some((call, token, answered)) = self.shared.call() {
            if !answered {
                if let Some(Source::Listener(listener)) = self.sources.get(&token) {
                    let _ = seccomp::deny(listener, call.id, self.wires.wire(&call).errno);
                }
                self.shared.call_answered();
            }
            if self.reported == call.id {
                self.shared.call_done();
            } else if answered {
                self.report_blindly(&call);
                self.shared.call_done();
            }
        }
        let file = self.shared.file()?;
        let denied = file.is_permission() && self.refuses_files();
        if let Some(group) = &self.files {
            // ENOENT: it was told, and did not wait.
            let _ = fanotify::answer(group, file.fd, !denied);
        }
        self.shared.file_done();
        denied.then(|| format!("an execution or opening of process {}", file.pid))
    }

    /// Whether any rule refuses executions or openings. Where all only tell, none is refused for want
    /// of somebody who looks.
    fn refuses_files(&self) -> bool {
        self.rules.iter().any(marks::refuses)
    }

    /// Reports a call by what its registers say.
    fn report_blindly(&mut self, call: &Notification) {
        let wire = self.wires.wire(call);
        self.status.tripwires += 1;
        self.tell(&What::Tripwire {
            process: Process {
                pid: call.tid as i32,
                ..Process::default()
            },
            ancestors: Vec::new(),
            fix: crate::policy::fix_for(&wire.syscall, &wire.rules, &call.args),
            syscall: wire.syscall.clone(),
            profile: wire.profile.clone(),
            number: call.number.into(),
            arch: arch_of(call).0.into(),
            args: call.args.iter().map(|arg| format!("{arg:#x}")).collect(),
            errno: errno_name(wire.errno),
        });
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
        }
    }

    /// Executions and openings where there is no watcher: nobody can tell what they are, so they are
    /// refused where any rule refuses.
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
            let _ = fanotify::answer(group, event.fd, !self.refuses_files());
        }
        self.shared.file_done();
    }
}
