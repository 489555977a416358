//! Init's talk with the supervisor, from hello to execve: the workload's, and one for each exec
//! session (see [`crate::channel`] for the messages).
//!
//! A step out of order, a peer that is not the program that was handed over, an attestation that
//! /proc contradicts, a deadline: each ends the process with SIGKILL and the session as failed.

mod waiting;

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::EpollFlags;

use super::keeper::{Keeper, Source, Workload, is_listener};
use super::link::{Order, Whose};
use super::{Sealed, look, unstarted};
use crate::channel::{Attest, DEADLINE, Domain, GO, Hello, INSTALLED, LARGEST, Outcome, Welcome};
use crate::control::Answer;
use crate::event::{self, Report, What};
use crate::seal::{Rlimit, rights};
use crate::sys::{pidfd, seccomp, socket};
use waiting::unwatched;

/// Bytes kept of init's reason; a path in it can be as long as the kernel takes.
const LONGEST_REASON: usize = 8192;

const ENDED: &str = "mantlet-init ended before the workload could be executed";

/// One talk.
pub(super) struct Session {
    pub(super) channel: OwnedFd,
    pub(super) kind: event::Session,
    /// Absent while the container is parked, which may be for ever.
    pub(super) deadline: Option<Instant>,
    /// The process that will become init, once `start` has named it.
    parked: Option<OwnedFd>,
    /// Who asked for this exec session and waits for the outcome.
    pub(super) client: Option<u64>,
    pub(super) wanted: Wanted,
    /// Its listener, while it is not known what the layers that only look are about.
    pub(super) unsettled: Option<u64>,
    /// Somebody has said something on the channel: the program, or what stands in for it.
    spoke: bool,
    /// What init wrote into the pipe, which comes in pieces.
    last_words: Vec<u8>,
    stage: Stage,
}

/// What whoever opened the session asked for.
pub(super) struct Wanted {
    /// Nobody waits for the outcome.
    pub(super) print_errors: bool,
    /// The session's own; the policy's where absent.
    pub(super) rlimits: Option<Vec<Rlimit>>,
    /// Place of its policy.
    pub(super) policy: usize,
    /// What profiles in mode `audit` would have refused it for, by profile.
    pub(super) observed: Vec<(String, String)>,
}

enum Stage {
    /// Not a word yet.
    Silent,
    /// Said hello; applies the sandbox.
    Applying(Peer),
    /// Attested; installs the filter.
    Attested(Peer, Attest),
    /// Checked; waits until there is a watcher.
    Checked(Peer, Report),
    /// Has the word; the pipe tells what becomes of it.
    Released(Peer, Report),
}

struct Peer {
    pid: i32,
    pidfd: OwnedFd,
}

impl Session {
    pub(super) fn workload(channel: OwnedFd, print_errors: bool) -> Session {
        Session {
            channel,
            kind: event::Session::Workload,
            deadline: None,
            parked: None,
            client: None,
            wanted: Wanted {
                print_errors,
                rlimits: None,
                policy: 0,
                observed: Vec::new(),
            },
            unsettled: None,
            spoke: false,
            last_words: Vec::new(),
            stage: Stage::Silent,
        }
    }

    pub(super) fn exec(channel: OwnedFd, client: u64, wanted: Wanted) -> Session {
        Session {
            channel,
            kind: event::Session::Exec,
            deadline: Some(Instant::now() + DEADLINE),
            parked: None,
            client: Some(client),
            wanted,
            unsettled: None,
            spoke: false,
            last_words: Vec::new(),
            stage: Stage::Silent,
        }
    }

    /// Whether init has begun and not yet been executed or failed.
    pub(super) fn is_talking(&self) -> bool {
        self.spoke
    }

    /// Whether it is an exec session on its way.
    pub(super) fn is_exec(&self) -> bool {
        self.kind == event::Session::Exec
    }

    /// Gives init its word.
    fn let_go(&mut self) -> Result<(), String> {
        if let Stage::Checked(peer, report) = std::mem::replace(&mut self.stage, Stage::Silent) {
            self.stage = Stage::Released(peer, report);
        }
        socket::send(&self.channel, GO, &[])
            .map_err(|error| format!("cannot give mantlet-init its word: {error}"))
    }

    fn peer(&self) -> Option<&Peer> {
        match &self.stage {
            Stage::Silent => None,
            Stage::Applying(peer)
            | Stage::Attested(peer, _)
            | Stage::Checked(peer, _)
            | Stage::Released(peer, _) => Some(peer),
        }
    }
}

/// Why init cannot be seen in /proc: mostly because it was killed meanwhile.
fn unseen(pid: i32, error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => ENDED.into(),
        _ => format!("cannot look at mantlet-init, process {pid}: {error}"),
    }
}

fn domain(domain: &Domain) -> event::Domain {
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    event::Domain {
        files: owned(rights::files(domain.handled.files)),
        tcp: owned(rights::tcp(domain.handled.tcp)),
        scope: owned(rights::scopes(domain.handled.scopes)),
        path_rules: domain.paths,
        port_rules: domain.ports,
    }
}

/// The supervisor's end never blocks the loop, and the kernel tells who speaks.
pub(super) fn prepare(channel: &OwnedFd) -> std::io::Result<()> {
    socket::pass_credentials(channel)?;
    fcntl(channel, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

impl Keeper {
    /// A packet, or the end, on a session's channel.
    pub(super) fn session_spoke(&mut self, token: u64) {
        // What the runtime used until now is this session's, as long as it is known to be under way.
        self.see_capabilities();
        let Some(Source::Session(mut session)) = self.sources.remove(&token) else {
            return;
        };
        let packet = match socket::receive(&session.channel, LARGEST) {
            Ok(packet) => packet,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.sources.insert(token, Source::Session(session));
                return;
            }
            Err(error) => {
                self.sources.insert(token, Source::Session(session));
                return self.fail(
                    token,
                    format!("mantlet-init's message cannot be read: {error}"),
                );
            }
        };
        let ended = packet.bytes.is_empty();
        session.spoke |= !ended;
        let step = match (ended, &session.stage) {
            (true, Stage::Silent) => {
                Err("mantlet-init did not run: the runtime ended before it".into())
            }
            // The channel ends with execve and with init alike. The pipe, which init alone holds,
            // tells the two apart and carries init's reason; its own end is about to come.
            (true, _) => Ok(()),
            (false, _) => self.step(token, &mut session, &packet),
        };
        self.sources.insert(token, Source::Session(session));
        match step {
            Err(message) => self.fail(token, message),
            Ok(()) if ended => self.silence(token),
            Ok(()) => {}
        }
    }

    /// Stops watching a channel that has ended, so that its hang-up is not reported for ever.
    fn silence(&mut self, token: u64) {
        if let Some(Source::Session(session)) = self.sources.get(&token) {
            let _ = self.epoll.delete(&session.channel);
        }
    }

    fn step(
        &mut self,
        token: u64,
        session: &mut Session,
        packet: &socket::Packet,
    ) -> Result<(), String> {
        match std::mem::replace(&mut session.stage, Stage::Silent) {
            Stage::Silent => {
                // Who it is comes first: nothing is read of a stranger.
                let peer = self.recognise(packet.pid)?;
                Hello::decode(&packet.bytes)
                    .map_err(|error| format!("mantlet-init's hello {error}"))?;
                if session.kind == event::Session::Workload {
                    session.deadline = Some(Instant::now() + DEADLINE);
                    self.meet(peer.pid)?;
                }
                session.stage = Stage::Applying(peer);
                self.welcome(token, session)
            }
            Stage::Applying(peer) => {
                let failed = match Outcome::decode(&packet.bytes) {
                    Ok(Outcome::Attest(attest)) => {
                        session.stage = Stage::Attested(peer, attest);
                        return Ok(());
                    }
                    Ok(Outcome::Failure(failure)) => failure.message,
                    Err(error) => format!("mantlet-init's report {error}"),
                };
                session.stage = Stage::Applying(peer);
                Err(failed)
            }
            Stage::Attested(peer, attest) if packet.bytes == INSTALLED => {
                let checked = self.attested(&self.policies[session.wanted.policy], &peer, &attest);
                session.stage = Stage::Attested(peer, attest);
                let (report, listener) = checked?;
                self.release(session, report, listener)
            }
            stage => {
                session.stage = stage;
                Err("mantlet-init spoke out of turn".into())
            }
        }
    }

    /// The peer by the kernel's word, and only if it runs the program that was handed over.
    fn recognise(&self, pid: Option<i32>) -> Result<Peer, String> {
        let pid = pid
            .filter(|pid| *pid > 0)
            .ok_or("the kernel does not tell who speaks on the channel")?;
        let pidfd = pidfd::open(pid).map_err(|error| unseen(pid, &error))?;
        match look::runs(pid, &self.program) {
            Ok(true) => Ok(Peer { pid, pidfd }),
            Ok(false) => {
                // Not ours: whatever got hold of the channel is not spoken with, and does not run on.
                let _ = pidfd::send_signal(&pidfd, libc::SIGKILL);
                Err(format!(
                    "process {pid} speaks on mantlet-init's channel but is another program: something in the container stands in for /proc"
                ))
            }
            Err(error) => Err(unseen(pid, &error)),
        }
    }

    fn welcome(&mut self, token: u64, session: &Session) -> Result<(), String> {
        let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let (read, write) =
            nix::unistd::pipe2(flags).map_err(|error| format!("cannot make a pipe: {error}"))?;
        // Only the supervisor's end may not block: init's one write has to arrive whole.
        let _ = fcntl(&write, FcntlArg::F_SETFL(OFlag::empty()));
        let welcome = Welcome {
            print_errors: session.wanted.print_errors,
            rlimits: session.wanted.rlimits.clone(),
        };
        let end: [RawFd; 1] = [write.as_raw_fd()];
        socket::send(&session.channel, &welcome.encode(), &end)
            .map_err(|error| format!("cannot answer mantlet-init: {error}"))?;
        self.add(Source::Pipe(read, token), EpollFlags::EPOLLIN);
        Ok(())
    }

    /// Compares what init says with what the policy asks and what /proc shows.
    fn attested(
        &self,
        policy: &Sealed,
        peer: &Peer,
        attest: &Attest,
    ) -> Result<(Report, Option<OwnedFd>), String> {
        let wanted = &policy.domains;
        if attest.domains.len() != wanted.len() {
            let (entered, wanted) = (attest.domains.len(), wanted.len());
            return Err(format!(
                "mantlet-init entered {entered} of {wanted} landlock domains"
            ));
        }
        let handled = attest.domains.iter().map(|domain| domain.handled);
        if !handled.eq(wanted.iter().copied()) {
            return Err("mantlet-init's landlock domains are not those of the policy".into());
        }
        let seen = look::status(peer.pid).map_err(|error| unseen(peer.pid, &error))?;
        if !seen.no_new_privs || seen.seccomp_mode != 2 || seen.seccomp_filters == Some(0) {
            return Err("mantlet-init attested a sandbox that /proc does not show".into());
        }
        let listener = match (policy.listener, attest.slot) {
            (false, None) => None,
            (true, Some(slot)) => {
                let fd = pidfd::get_fd(&peer.pidfd, slot as RawFd).map_err(|error| {
                    format!("cannot take mantlet-init's seccomp listener: {error}")
                })?;
                if !is_listener(&fd) {
                    return Err("mantlet-init left something else than its seccomp listener".into());
                }
                Some(fd)
            }
            _ => {
                return Err("mantlet-init and the policy differ about the seccomp listener".into());
            }
        };
        let report = Report {
            landlock_abi: attest.landlock_abi,
            landlock_layers: attest.domains.len() as u32,
            landlock_rules: attest.domains.iter().map(|d| d.paths + d.ports).sum(),
            landlock_domains: attest.domains.iter().map(domain).collect(),
            landlock_errata: (1..=32)
                .filter(|number| attest.landlock_errata >> (number - 1) & 1 == 1)
                .collect(),
            skipped_paths: attest
                .skipped
                .iter()
                .map(|path| String::from_utf8_lossy(path).into_owned())
                .collect(),
            skipped_count: attest.skipped_count,
            degraded: policy.degraded.clone(),
            filter_instructions: policy.instructions,
            seccomp_filters: seen.seccomp_filters.unwrap_or(0),
            listener: listener.is_some(),
            no_new_privs: seen.no_new_privs,
            effective_capabilities: seen.effective_capabilities,
        };
        Ok((report, listener))
    }

    fn release(
        &mut self,
        session: &mut Session,
        report: Report,
        listener: Option<OwnedFd>,
    ) -> Result<(), String> {
        if let (event::Session::Workload, Some(peer)) = (session.kind, session.peer()) {
            self.look_for_capabilities(peer.pid);
        }
        if let Some(listener) = listener {
            // Kernels before 6.6 refuse, and answer a little later.
            let _ = seccomp::wake_synchronously(&listener);
            let whose = Whose {
                policy: session.wanted.policy as u32,
                exec: session.kind == event::Session::Exec,
            };
            let token = self.add_listener(listener, whose);
            let pid = session.peer().map(|peer| peer.pid);
            let waits =
                pid.is_some_and(|pid| self.begin_to_settle(token, whose.policy as usize, pid));
            session.unsettled = waits.then_some(token);
        }
        let stage = std::mem::replace(&mut session.stage, Stage::Silent);
        if let Stage::Attested(peer, _) = stage {
            session.stage = Stage::Checked(peer, report);
        }
        if self.attendant.ready && session.unsettled.is_none() {
            return session.let_go();
        }
        match &self.attendant.failed {
            Some(why) => Err(unwatched(why)),
            // It has just begun, or another one has just ended, or it looks at what rules are about.
            None => Ok(()),
        }
    }

    /// Hears what became of those that have their word.
    pub(super) fn hear_pipes(&mut self) {
        let released = |source: &Source| matches!(source, Source::Session(session) if matches!(session.stage, Stage::Released(..)));
        if !self.sources.values().any(released) {
            return;
        }
        let pipes: Vec<u64> = self
            .sources
            .iter()
            .filter(|(_, source)| matches!(source, Source::Pipe(..)))
            .map(|(token, _)| *token)
            .collect();
        for token in pipes {
            self.pipe_spoke(token);
        }
    }

    /// `start` lets the container go now. A process that something stopped meanwhile would keep the
    /// runtime, and with it the engine, waiting for ever.
    pub(super) fn expect_workload(&mut self, pid: i32, observed: Vec<(String, String)>) {
        for source in self.sources.values_mut() {
            if let Source::Session(session) = source
                && session.kind == event::Session::Workload
                && !session.is_talking()
            {
                session.deadline = Some(Instant::now() + DEADLINE);
                session.parked = pidfd::open(pid).ok();
                session.wanted.observed = observed.clone();
            }
        }
    }

    /// Something on the pipe: its end without a byte means executed.
    ///
    /// A reason is waited for to its end, which is init's own: ended any sooner, init could not say
    /// it on the terminal nor exit with its code. The session's deadline bounds the wait.
    pub(super) fn pipe_spoke(&mut self, token: u64) {
        self.see_capabilities();
        let Some(Source::Pipe(pipe, session)) = self.sources.get(&token) else {
            return;
        };
        let owner = *session;
        let mut text = [0; LONGEST_REASON];
        let length = match nix::unistd::read(pipe, &mut text) {
            Ok(length) => length,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return,
            Err(_) => {
                self.remove(token);
                return self.fail(owner, "mantlet-init's pipe cannot be read".into());
            }
        };
        if length > 0 {
            if let Some(Source::Session(session)) = self.sources.get_mut(&owner) {
                let room = LONGEST_REASON - session.last_words.len();
                session.last_words.extend(&text[..length.min(room)]);
            }
            return;
        }
        self.remove(token);
        let Some(Source::Session(mut session)) = self.sources.remove(&owner) else {
            return;
        };
        if session.last_words.is_empty() && matches!(session.stage, Stage::Released(..)) {
            let _ = self.epoll.delete(&session.channel);
            if let Stage::Released(peer, report) = session.stage {
                self.executed(session.kind, session.client, session.wanted, peer, report);
            }
            return;
        }
        let message = if session.last_words.is_empty() {
            ENDED.into()
        } else {
            String::from_utf8_lossy(&std::mem::take(&mut session.last_words)).into_owned()
        };
        self.sources.insert(owner, Source::Session(session));
        self.fail(owner, message);
    }

    fn executed(
        &mut self,
        kind: event::Session,
        client: Option<u64>,
        wanted: Wanted,
        peer: Peer,
        report: Report,
    ) {
        let workload = look::process(peer.pid);
        let first = kind == event::Session::Workload;
        if first {
            self.status.pid = peer.pid;
            self.status.start_time = look::start_time(peer.pid).unwrap_or(0);
            self.status.report = Some(report.clone());
            self.meet_entrypoint(peer.pid);
        } else {
            self.status.sessions += 1;
        }
        self.order(&Order::Began { pid: peer.pid }, &[]);
        let stricter = self.policies[wanted.policy].profiles.clone();
        let recording = self.recording.clone().filter(|_| first);
        self.journal.write(&What::Start {
            process: workload.clone(),
            session: kind,
            stricter,
            report,
            recording,
        });
        self.count();
        let refused = if first {
            [self.observer.at_start(), wanted.observed].concat()
        } else {
            wanted.observed
        };
        let whose = Whose {
            policy: wanted.policy as u32,
            exec: !first,
        };
        self.tell_refusals(whose, &workload, refused);
        self.watch(peer.pidfd, workload, first, true);
        self.see_capabilities();
        self.write_status();
        self.conclude(kind, client, Answer::Running { pid: peer.pid });
        self.rest_soon();
    }

    /// What runs in the container's first process now is what may use its token.
    fn meet_entrypoint(&mut self, pid: i32) {
        if let (Some(scene), Ok(exe)) = (&mut self.scene, look::executable(pid)) {
            scene.entrypoint = exe;
            self.tell_scene();
        }
    }

    /// Ends a session that must not go on.
    pub(super) fn fail(&mut self, token: u64, message: String) {
        let Some(Source::Session(session)) = self.remove(token) else {
            return;
        };
        let message = self.told_why(&session, message);
        if let Some(peer) = session.peer() {
            // ESRCH: it has ended already.
            let _ = pidfd::send_signal(&peer.pidfd, libc::SIGKILL);
        } else if let Some(parked) = &session.parked {
            let _ = pidfd::send_signal(parked, libc::SIGKILL);
        }
        let started = session.is_talking();
        if started || session.kind == event::Session::Exec {
            self.tell(&What::Failed {
                session: session.kind,
                message: message.clone(),
            });
        }
        self.conclude(session.kind, session.client, Answer::Failed { message });
    }

    /// The message, with what of a layer's denied the first program, which is told too.
    fn told_why(&mut self, session: &Session, message: String) -> String {
        let first = session.kind == event::Session::Workload;
        let record = || self.home.read_record().ok();
        let denied = first
            .then(record)
            .flatten()
            .and_then(|record| unstarted::denied(&record, &message));
        let (Some(denied), Some(peer)) = (denied, session.peer()) else {
            return message;
        };
        let message = denied.message(&message);
        let process = look::process(peer.pid);
        self.tell(&denied.event(process));
        message
    }

    /// Tells those who wait, and leaves where there is no container to wait for.
    fn conclude(&mut self, kind: event::Session, client: Option<u64>, answer: Answer) {
        if kind == event::Session::Exec {
            if let Some(client) = client {
                self.send(client, &answer, &[]);
            }
            return;
        }
        let failed = matches!(answer, Answer::Failed { .. });
        let waiting = std::mem::replace(&mut self.workload, Workload::Known(answer.clone()));
        if let Workload::Awaited { clients } = waiting {
            for client in clients {
                self.send(client, &answer, &[]);
            }
        }
        // `start` asked before it let the runtime go, so nobody comes later; but its question may
        // still lie unread on the control socket.
        self.ending |= failed;
    }

    /// Ends the sessions that have had their time.
    pub(super) fn expire_sessions(&mut self, now: Instant) {
        let late: Vec<u64> = self
            .sources
            .iter()
            .filter(|(_, source)| {
                matches!(source, Source::Session(session) if session.deadline.is_some_and(|at| at <= now))
            })
            .map(|(token, _)| *token)
            .collect();
        for token in late {
            self.fail(
                token,
                format!(
                    "mantlet-init did not get the workload executed within {} s",
                    DEADLINE.as_secs()
                ),
            );
        }
    }
}
