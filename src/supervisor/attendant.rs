//! The keeper's side of the watcher: starting it, hearing it, and what is done where it ends.
//!
//! Nothing waits for a watcher that is not there longer than it takes to start one. Where none can
//! be started (no memory, no process), the keeper goes on alone ([`super::alone`]) until one can.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::keeper::{Keeper, Source, Timer};
use super::link::{self, Order, Request, Whose};
use super::watcher::{self, Tools};
use crate::event::What;
use crate::sys::{fds, pidfd, process, socket, spawn};

/// A watcher that crashed is followed by another one after this long.
const CRASHED: Duration = Duration::from_millis(10);
/// After so many watchers in a row that ended without a word and did not get ready, nobody waits for one.
const GIVES_UP: u32 = 3;
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
            self.attendant.failures += 1;
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
        // A crash is told by its own signal, not by that of the filter that stops the handler.
        process::default_faults();
        // Checked against the keeper's number: it may have ended before this line.
        if process::die_with_parent(parent as i32).is_err() {
            process::exit_now(watcher::BROKEN);
        }
        let listeners = self
            .sources
            .iter()
            .filter_map(|(token, source)| match source {
                Source::Listener(fd, whose) => Some((*token, fd.as_raw_fd(), *whose)),
                _ => None,
            });
        let listeners: Vec<(u64, RawFd, Whose)> = listeners.collect();
        let files = self.files.as_ref().map(AsRawFd::as_raw_fd);
        let tasks = self
            .tasks
            .as_ref()
            .map(|files| files.each_ref().map(AsRawFd::as_raw_fd));
        let bell = self.bell.as_fd().as_raw_fd();
        let watchdog = self.watchdog.as_fd().as_raw_fd();
        let mut kept = vec![link.as_raw_fd(), bell, watchdog];
        kept.extend(listeners.iter().map(|(_, number, _)| *number));
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
                .map(|(token, number, whose)| (token, own(number), whose))
                .collect(),
            files: files.map(own),
            tasks: tasks.map(|numbers| numbers.map(own)),
            scene: self.scene.clone(),
            settled: self.settled.clone(),
            began: began.collect(),
            keeper: parent as i32,
        };
        watcher::run(
            tools,
            &self.shared,
            &self.rules,
            &self.wires,
            &self.observer,
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

    /// Ends the watcher, as far as there is one, and counts what it has not come to.
    pub(super) fn bury_attendant(&mut self) {
        self.end_attendant();
        if let Some(Source::Attendant(end)) = self
            .attendant
            .end
            .and_then(|token| self.sources.get(&token))
        {
            let mut polled = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut polled, PollTimeout::from(1000_u16));
            let _ = pidfd::wait(end);
        }
        self.drain();
        self.finish_call();
        self.count_untold();
        self.count_files();
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
            self.settling_took_too_long();
            self.end_attendant();
        }
    }

    /// Serves one request; false where there is none.
    pub(super) fn attendant_asks(&mut self, token: u64) -> bool {
        let Some(Source::Link(link)) = self.sources.get(&token) else {
            return false;
        };
        let packet = match socket::receive(link, link::LARGEST) {
            Ok(packet) if !packet.bytes.is_empty() => packet,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
            // Its end is told by the other descriptor. One that lives all the same can be given no more
            // listeners, and nothing would answer their calls.
            _ => {
                self.end_attendant();
                self.remove(token);
                return false;
            }
        };
        if !packet.fds.iter().all(fds::is_path_only) {
            // Nothing of ours passes an open file. To close it may mean to wait for the container.
            packet.fds.into_iter().for_each(std::mem::forget);
            self.end_attendant();
            return false;
        }
        match Request::decode(&packet.bytes) {
            Ok(Request::Ready) => {
                self.attendant.ready = true;
                self.attendant.failures = 0;
                self.attendant.failed = None;
                self.write_status();
                self.settle_the_rest();
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
            Ok(Request::Socket {
                serial,
                pid,
                thread,
                number,
            }) => {
                let value = self.is_tcp(pid, thread, number).map_or(2, u64::from);
                self.order(&Order::Reply { serial, value }, &[]);
            }
            Ok(Request::Settled { token, piece, last }) => {
                if !self.hear_settled(token, &piece, last) {
                    self.end_attendant();
                }
            }
            // Nothing of ours speaks so.
            Err(_) => self.end_attendant(),
        }
        true
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
                // One of a thread that is there, and that nobody can tell of, counts.
                let there = || std::path::Path::new(&format!("/proc/{pid}/task/{thread}")).exists();
                if bits >> number & 1 == 0
                    && is_socket(&held, pid, thread, number, |fd| socket::is_network(fd))
                        .unwrap_or_else(there)
                {
                    bits |= 1 << number;
                }
            }
        }
        bits
    }

    /// Whether a thread's descriptor is a TCP socket; only of the container's. None: nobody can tell.
    fn is_tcp(&self, pid: i32, thread: i32, number: RawFd) -> Option<bool> {
        let held = pidfd::open(pid).ok().filter(|_| self.is_ours(pid))?;
        is_socket(&held, pid, thread, number, |fd| socket::is_tcp(fd))
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
            // Its last words: why it could not begin, or a response that is due.
            while self.attendant_asks(link) {}
            self.remove(link);
        }
        let (was_ready, late) = (self.attendant.ready, self.attendant.late);
        let how = match ended {
            Some(_) if late => "took too long over one thing".into(),
            Some(how) => how.to_string(),
            None => "ended".into(),
        };
        let failures = self.attendant.failures + u32::from(!was_ready);
        let mut failed = self.attendant.failed.take();
        if failures >= GIVES_UP {
            failed = failed.or_else(|| Some(format!("it {how} before it was ready")));
        }
        self.attendant = Attendant {
            failures,
            failed,
            ..Attendant::default()
        };
        self.status.watcher = 0;
        // Wound up for that watcher, not for the next one.
        watcher::disarm(&self.watchdog);
        self.drain();
        if self.is_leaving() {
            self.finished = true;
            return;
        }
        let denied = self.settle();
        self.status.watcher_restarts += 1;
        let restarts = self.status.watcher_restarts;
        self.tell(&What::Watcher {
            ended: how,
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

    fn attend_later(&mut self) {
        let doubled = CRASHED * 2_u32.saturating_pow(self.attendant.failures.min(8));
        self.at(Instant::now() + doubled.min(MOST_WAIT), Timer::Attend);
        self.set_alone(true);
        self.finish_call();
        if self.attendant.failed.is_some() {
            self.fail_those_who_wait();
        }
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
            if let Source::Listener(listener, _) = source {
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
    pub(super) fn add_listener(&mut self, listener: OwnedFd, whose: Whose) -> u64 {
        let number = listener.as_raw_fd();
        let flags = if self.attendant.alone {
            EpollFlags::EPOLLIN
        } else {
            EpollFlags::empty()
        };
        let token = self.add(Source::Listener(listener, whose), flags);
        let order = Order::Listener { token, whose };
        self.order(&order, &[number]);
        self.share_listener(&order, number);
        token
    }
}

/// Whether a thread's descriptor is a socket that `test` is true of. None: nobody can tell, because it has
/// ended, or because the kernel holds no threads but first ones (before 6.9) and this one has descriptors of
/// its own.
///
/// Only a socket is ever taken: to close a copy of a file may mean to wait for whoever serves it, who
/// may be the container (FUSE asks its server at each close). And it is not waited for at its close,
/// which is the last one where the container closes its own meanwhile.
fn is_socket(
    process: &OwnedFd,
    pid: i32,
    thread: i32,
    number: RawFd,
    test: impl Fn(&OwnedFd) -> bool,
) -> Option<bool> {
    let place = format!("/proc/{pid}/task/{thread}");
    let there = || !pidfd::has_ended(process) && std::path::Path::new(&place).exists();
    let link = match std::fs::read_link(format!("{place}/fd/{number}")) {
        Ok(link) => link,
        // No such descriptor, or no such thread any more.
        Err(_) => return there().then_some(false),
    };
    if !link.as_os_str().as_encoded_bytes().starts_with(b"socket:[") {
        return Some(false);
    }
    let fd = match pidfd::open_thread(thread) {
        // Still that process's thread, now that it is held.
        Ok(held) => pidfd::get_fd(&held, number).ok().filter(|_| there()),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let first = std::fs::read_link(format!("/proc/{pid}/fd/{number}"));
            let shared = first.is_ok_and(|first| first == link);
            shared
                .then(|| pidfd::get_fd(process, number).ok())
                .flatten()
        }
        Err(_) => None,
    };
    fd.map(|fd| {
        let is = test(&fd);
        let _ = socket::forget_linger(&fd);
        is
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn a_socket_is_tcp_or_not_and_of_one_that_cannot_be_asked_neither() {
        let pid = std::process::id() as i32;
        let thread = nix::unistd::gettid().as_raw();
        let own = pidfd::open(pid).unwrap();
        let ask = |thread, number| is_socket(&own, pid, thread, number, |fd| socket::is_tcp(fd));
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/proc/version").unwrap();
        assert_eq!(ask(thread, tcp.as_raw_fd()), Some(true));
        assert_eq!(ask(thread, udp.as_raw_fd()), Some(false));
        assert_eq!(ask(thread, file.as_raw_fd()), Some(false));
        assert_eq!(ask(thread, RawFd::MAX), Some(false), "no such descriptor");
        assert_eq!(ask(i32::MAX, tcp.as_raw_fd()), None, "no such thread");
    }
}
