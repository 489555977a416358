//! Requests of the front door and of `mantlet`, on the control socket (see [`crate::control`]).
//!
//! The socket lies in a directory that only root may enter. A request that is not understood is
//! answered and forgotten; it never ends the loop.

use std::os::fd::{AsRawFd, RawFd};

use nix::sys::epoll::EpollFlags;

use super::keeper::{Keeper, Source, Workload};
use super::respond::PersonAsks;
use super::session::{Session, Wanted, prepare};
use crate::cgroup::Cgroup;
use crate::control::{Answer, Ask, LARGEST, Request, VERSION};
use crate::seal::Rlimit;
use crate::sys::socket::{self, Packet};

/// Most processes that are told at once.
const MOST_PIDS: usize = 5000;

/// Most clients at a time; more wait in the kernel's queue.
const MOST_CLIENTS: usize = 64;

impl Keeper {
    pub(super) fn accept(&mut self, token: u64) {
        let Some(Source::Control(listener)) = self.sources.get(&token) else {
            return;
        };
        let Ok(client) = socket::accept(listener) else {
            return;
        };
        // The directory keeps others out; this is for a state directory that somebody opened up.
        if !socket::is_of_root(&client) {
            return;
        }
        let clients = self
            .sources
            .iter()
            .filter(|(_, source)| matches!(source, Source::Client(_)))
            .map(|(token, _)| *token);
        let clients: Vec<u64> = clients.collect();
        if clients.len() >= MOST_CLIENTS {
            // The oldest that nobody answers later. Whoever only connects keeps nobody out.
            let idle = clients.into_iter().find(|token| !self.is_owed(*token));
            match idle {
                Some(token) => self.hang_up(token),
                None => return,
            }
        }
        self.add(Source::Client(client), EpollFlags::EPOLLIN);
    }

    /// Whether the client waits for an answer that comes later.
    fn is_owed(&self, client: u64) -> bool {
        let started =
            matches!(&self.workload, Workload::Awaited { clients } if clients.contains(&client));
        started
            || self.sources.values().any(
                |source| matches!(source, Source::Session(session) if session.client == Some(client)),
            )
    }

    pub(super) fn client_asked(&mut self, token: u64) {
        let Some(Source::Client(client)) = self.sources.get(&token) else {
            return;
        };
        match socket::receive(client, LARGEST) {
            Ok(packet) if !packet.bytes.is_empty() => match read(&packet) {
                Ok(ask) => self.serve_client(token, ask, packet),
                Err(message) => self.send(token, &Answer::Refused { message }, &[]),
            },
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => self.hang_up(token),
        }
    }

    fn hang_up(&mut self, token: u64) {
        self.remove(token);
        if let Workload::Awaited { clients } = &mut self.workload {
            clients.retain(|client| *client != token);
        }
    }

    fn serve_client(&mut self, token: u64, ask: Ask, packet: Packet) {
        match ask {
            Ask::Started { pid, observed } => match &mut self.workload {
                Workload::Awaited { clients } => {
                    clients.push(token);
                    self.expect_workload(pid, observed);
                }
                Workload::Known(answer) => {
                    let answer = answer.clone();
                    self.send(token, &answer, &[]);
                }
            },
            Ask::Status => {
                self.drain();
                self.tell_left_out();
                let status = Box::new(self.status.clone());
                self.send(token, &Answer::Status(status), &[]);
            }
            Ask::Processes => {
                let pids = self.cgroup.as_ref().map(Cgroup::members);
                let mut pids = pids.unwrap_or_default();
                // As many as one packet takes.
                pids.truncate(MOST_PIDS);
                self.send(token, &Answer::Processes { pids }, &[]);
            }
            Ask::Freeze { freeze, evidence } => {
                self.serve_person(token, PersonAsks::Freeze { freeze, evidence });
            }
            Ask::Thaw => self.serve_person(token, PersonAsks::Thaw),
            Ask::Kill => self.serve_person(token, PersonAsks::Kill),
            Ask::Evidence => self.serve_person(token, PersonAsks::Evidence),
            Ask::Exec {
                print_errors,
                rlimits,
                policy,
                observed,
            } => {
                let wanted = Wanted {
                    observed,
                    print_errors,
                    rlimits: rlimits.map(|limits| limits.into_iter().map(own).collect()),
                    policy: policy as usize,
                };
                self.open_session(token, wanted, packet);
            }
        }
    }

    fn open_session(&mut self, token: u64, wanted: Wanted, mut packet: Packet) {
        let refuse = |message: &str| Answer::Refused {
            message: message.into(),
        };
        if let Some(message) = self.frozen_because() {
            return self.send(token, &refuse(&message), &[]);
        }
        if let Some(message) = self.unwatched_because() {
            return self.send(token, &refuse(&message), &[]);
        }
        if self.status.report.is_none() || self.status.pid == 0 {
            return self.send(token, &refuse("the container is not running"), &[]);
        }
        let Some(channel) = packet.fds.pop() else {
            return self.send(token, &refuse("the request carries no channel"), &[]);
        };
        if prepare(&channel).is_err() {
            return self.send(token, &refuse("the channel is not a socket"), &[]);
        }
        let Some(policy) = self.policies.get(wanted.policy) else {
            return self.send(token, &refuse("it holds no policy of that number"), &[]);
        };
        let lent: [RawFd; 2] = [self.program.as_raw_fd(), policy.fd.as_raw_fd()];
        let session = Session::exec(channel, token, wanted);
        self.add(Source::Session(Box::new(session)), EpollFlags::EPOLLIN);
        self.send(token, &Answer::Accepted, &lent);
    }

    /// Sends an answer; a client that has gone or does not read is dropped.
    pub(super) fn send(&mut self, token: u64, answer: &Answer, fds: &[RawFd]) {
        let Some(Source::Client(client)) = self.sources.get(&token) else {
            return;
        };
        let sent = serde_json::to_vec(answer)
            .map_err(std::io::Error::from)
            .and_then(|bytes| socket::send(client, &bytes, fds));
        if sent.is_err() {
            self.hang_up(token);
        }
    }
}

fn own((resource, soft, hard): (u32, u64, u64)) -> Rlimit {
    Rlimit {
        resource,
        soft,
        hard,
    }
}

fn read(packet: &Packet) -> Result<Ask, String> {
    let request: Request = serde_json::from_slice(&packet.bytes)
        .map_err(|error| format!("the request cannot be read: {error}"))?;
    if request.version != VERSION {
        return Err(format!(
            "the request has version {}, this supervisor speaks {VERSION}",
            request.version
        ));
    }
    Ok(request.ask)
}
