//! What keeper and watcher say to each other over one SOCK_SEQPACKET pair, one message a packet.
//!
//! The keeper never waits for the watcher. The watcher waits for a reply, and not for long. Both take
//! the other for a stranger: a message that does not decode ends the watcher.

use std::time::Duration;

use crate::event::Action;
use crate::seal::{DecodeError, Decoder, Encoder};

/// Largest packet, bytes.
pub(super) const LARGEST: usize = 4096;

/// Of what takes several packets, bytes in each.
pub(super) const PIECE: usize = LARGEST - 64;

/// How long the watcher waits for a reply.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// To the watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Another listener; its descriptor comes along.
    Listener { token: u64, whose: Whose },
    /// What the container is, as soon as that is known. The files that tell its number of tasks, and of
    /// those that its limit refused, come along where a rule is about them.
    Scene(Scene),
    /// The keeper itself waits for the end of this process.
    Began { pid: i32 },
    /// Answers a request.
    Reply { serial: u64, value: u64 },
    /// Report what there is, and end.
    Finish,
    /// Look at the number of tasks.
    Count,
    /// Find out what a listener's layers that only look are about, in the files of the init that waits.
    Settle { token: u64, pid: i32 },
}

/// Whose calls a listener brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Whose {
    /// Number of the policy that they are held to.
    pub(super) policy: u32,
    /// An exec session's, and not the workload's.
    pub(super) exec: bool,
}

/// What the watcher compares with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scene {
    /// The line of /proc/PID/cgroup that tells the container's processes.
    pub(super) cgroup: String,
    /// The mount of the container's root (STATX_MNT_ID).
    pub(super) root_mount: u64,
    /// What is changed from here on was not in the image: seconds and nanoseconds of CLOCK_REALTIME.
    pub(super) since: (u64, u32),
    /// Its first process.
    pub(super) pid: i32,
    /// Device and inode of that one's program; zero before it is known.
    pub(super) entrypoint: (u64, u64),
}

/// To the keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// It is confined and serves.
    Ready,
    /// It could not be.
    Failed { why: String },
    /// A rule's response is due.
    Act {
        serial: u64,
        action: Action,
        rule: u32,
        pid: i32,
    },
    /// Which of a process's standard streams are network sockets: bits 0, 1 and 2.
    Streams { serial: u64, pid: i32 },
    /// Whether a thread's descriptor is a TCP socket: 1, or 0; 2 where nobody can tell.
    Socket {
        serial: u64,
        pid: i32,
        thread: i32,
        number: i32,
    },
    /// The next piece of what [`Order::Settle`] asks for.
    Settled {
        token: u64,
        piece: Vec<u8>,
        last: bool,
    },
}

impl Order {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        match self {
            Order::Listener { token, whose } => {
                out.u32(1);
                out.u64(*token);
                out.u32(whose.policy);
                out.flag(whose.exec);
            }
            Order::Scene(scene) => {
                out.u32(2);
                out.bytes(scene.cgroup.as_bytes());
                out.u64(scene.root_mount);
                out.u64(scene.since.0);
                out.u32(scene.since.1);
                out.u32(scene.pid as u32);
                out.u64(scene.entrypoint.0);
                out.u64(scene.entrypoint.1);
            }
            Order::Began { pid } => {
                out.u32(3);
                out.u32(*pid as u32);
            }
            Order::Reply { serial, value } => {
                out.u32(4);
                out.u64(*serial);
                out.u64(*value);
            }
            Order::Finish => out.u32(5),
            Order::Count => out.u32(6),
            Order::Settle { token, pid } => {
                out.u32(7);
                out.u64(*token);
                out.u32(*pid as u32);
            }
        }
        out.finish()
    }

    pub(super) fn decode(packet: &[u8]) -> Result<Order, DecodeError> {
        let mut input = Decoder::new(packet);
        let order = match input.u32()? {
            1 => Order::Listener {
                token: input.u64()?,
                whose: Whose {
                    policy: input.u32()?,
                    exec: input.flag()?,
                },
            },
            2 => Order::Scene(Scene {
                cgroup: String::from_utf8_lossy(input.bytes()?).into_owned(),
                root_mount: input.u64()?,
                since: (input.u64()?, input.u32()?),
                pid: input.u32()? as i32,
                entrypoint: (input.u64()?, input.u64()?),
            }),
            3 => Order::Began {
                pid: input.u32()? as i32,
            },
            4 => Order::Reply {
                serial: input.u64()?,
                value: input.u64()?,
            },
            5 => Order::Finish,
            6 => Order::Count,
            7 => Order::Settle {
                token: input.u64()?,
                pid: input.u32()? as i32,
            },
            _ => return Err(DecodeError::Range("order")),
        };
        input.end()?;
        Ok(order)
    }
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        match self {
            Request::Ready => out.u32(1),
            Request::Failed { why } => {
                out.u32(2);
                out.bytes(why.as_bytes());
            }
            Request::Act {
                serial,
                action,
                rule,
                pid,
            } => {
                out.u32(3);
                out.u64(*serial);
                out.u32(match action {
                    Action::KillProcess => 1,
                    Action::KillContainer => 2,
                    Action::Freeze => 3,
                    Action::Thaw | Action::Evidence => 0,
                });
                out.u32(*rule);
                out.u32(*pid as u32);
            }
            Request::Streams { serial, pid } => {
                out.u32(4);
                out.u64(*serial);
                out.u32(*pid as u32);
            }
            Request::Socket {
                serial,
                pid,
                thread,
                number,
            } => {
                out.u32(5);
                out.u64(*serial);
                for value in [pid, thread, number] {
                    out.u32(*value as u32);
                }
            }
            Request::Settled { token, piece, last } => {
                out.u32(6);
                out.u64(*token);
                out.bytes(piece);
                out.flag(*last);
            }
        }
        out.finish()
    }

    pub(super) fn decode(packet: &[u8]) -> Result<Request, DecodeError> {
        let mut input = Decoder::new(packet);
        let request = match input.u32()? {
            1 => Request::Ready,
            2 => Request::Failed {
                why: String::from_utf8_lossy(input.bytes()?).into_owned(),
            },
            3 => Request::Act {
                serial: input.u64()?,
                action: match input.u32()? {
                    1 => Action::KillProcess,
                    2 => Action::KillContainer,
                    3 => Action::Freeze,
                    _ => return Err(DecodeError::Range("action")),
                },
                rule: input.u32()?,
                pid: input.u32()? as i32,
            },
            4 => Request::Streams {
                serial: input.u64()?,
                pid: input.u32()? as i32,
            },
            5 => Request::Socket {
                serial: input.u64()?,
                pid: input.u32()? as i32,
                thread: input.u32()? as i32,
                number: input.u32()? as i32,
            },
            6 => Request::Settled {
                token: input.u64()?,
                piece: input.bytes()?.to_vec(),
                last: input.flag()?,
            },
            _ => return Err(DecodeError::Range("request")),
        };
        input.end()?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_round_trip_and_no_prefix_of_it_is_a_message() {
        let scene = Scene {
            cgroup: "5:pids:/x".into(),
            root_mount: 7,
            since: (8, 9),
            pid: 10,
            entrypoint: (11, 12),
        };
        let orders = [
            Order::Listener {
                token: 3,
                whose: Whose {
                    policy: 2,
                    exec: true,
                },
            },
            Order::Scene(scene),
            Order::Began { pid: 4 },
            Order::Reply {
                serial: 5,
                value: 6,
            },
            Order::Finish,
            Order::Count,
            Order::Settle { token: 7, pid: 8 },
        ];
        for order in orders {
            let packet = order.encode();
            assert_eq!(Order::decode(&packet), Ok(order));
            for end in 0..packet.len() {
                assert!(Order::decode(&packet[..end]).is_err());
            }
        }
        let act = |action| Request::Act {
            serial: 1,
            action,
            rule: 2,
            pid: 3,
        };
        let requests = [
            Request::Ready,
            Request::Failed { why: "no".into() },
            act(Action::KillProcess),
            act(Action::KillContainer),
            act(Action::Freeze),
            Request::Streams { serial: 1, pid: 2 },
            Request::Socket {
                serial: 1,
                pid: 2,
                thread: 3,
                number: -4,
            },
            Request::Settled {
                token: 5,
                piece: b"{}".to_vec(),
                last: true,
            },
        ];
        for request in requests {
            let packet = request.encode();
            assert_eq!(Request::decode(&packet), Ok(request));
            for end in 0..packet.len() {
                assert!(Request::decode(&packet[..end]).is_err());
            }
        }
        assert!(Request::decode(&act(Action::Thaw).encode()).is_err());
        let longest = Request::Settled {
            token: u64::MAX,
            piece: vec![0; PIECE],
            last: false,
        };
        assert!(longest.encode().len() <= LARGEST);
    }
}
