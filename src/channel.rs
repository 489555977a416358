//! What init and the supervisor say to each other over one SOCK_SEQPACKET pair: one message a
//! packet, in this order and no other.
//!
//! | from | message | meaning |
//! |---|---|---|
//! | init | [`Hello`] | running inside the container; the kernel adds its pid |
//! | supervisor | [`Welcome`] | with the write end of a CLOEXEC pipe, whose end without a byte means *executed* |
//! | init | [`Attest`] | what took effect, and where the listener will be |
//! | init | [`INSTALLED`] | the exact filter is on |
//! | supervisor | [`GO`] | the listener is held, the process is as it should be: execute |
//!
//! Instead of `Attest`, init may send [`Failure`]; afterwards it writes the same text into the pipe.
//! A closed channel means *refused* to either side. Every wait has [`DEADLINE`].

use std::time::Duration;

use crate::seal::rights::Handled;
use crate::seal::{DecodeError, Decoder, Encoder, Rlimit, decode_rlimits, encode_rlimits};

/// The one deadline of every wait in front door, init and supervisor: containerd cannot kill a
/// container while its `start` hangs.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long the front door waits for the supervisor, which keeps the deadline itself: a little longer,
/// so that its word on what was late arrives before the front door gives up.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// Largest packet, bytes.
pub const LARGEST: usize = 64 * 1024;

/// Sent by init once its exact filter is on, when it may only read, write, execve and exit.
pub const INSTALLED: &[u8] = b"installed";

/// The supervisor's word.
pub const GO: &[u8] = b"go";

const HELLO: [u8; 4] = *b"hi\x00\x01";
const WELCOME: [u8; 4] = *b"wc\x00\x01";
const ATTEST: [u8; 4] = *b"at\x00\x01";
const FAILURE: [u8; 4] = *b"no\x00\x01";

/// Init's first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello;

impl Hello {
    /// The packet.
    pub fn encode(self) -> Vec<u8> {
        HELLO.to_vec()
    }

    /// # Errors
    /// [`DecodeError`] for any other packet.
    pub fn decode(packet: &[u8]) -> Result<Hello, DecodeError> {
        let mut input = Decoder::new(packet);
        input.expect(&HELLO)?;
        input.end()?;
        Ok(Hello)
    }
}

/// The supervisor's answer; it carries one descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Nobody waits for the outcome, so init prints its own failure to standard error.
    pub print_errors: bool,
    /// An exec session's own limits; absent for the workload, whose limits are in the policy.
    pub rlimits: Option<Vec<Rlimit>>,
}

impl Welcome {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.raw(&WELCOME);
        out.flag(self.print_errors);
        out.flag(self.rlimits.is_some());
        encode_rlimits(self.rlimits.as_deref().unwrap_or_default(), &mut out);
        out.finish()
    }

    /// # Errors
    /// [`DecodeError`] for any other packet.
    pub fn decode(packet: &[u8]) -> Result<Welcome, DecodeError> {
        let mut input = Decoder::new(packet);
        input.expect(&WELCOME)?;
        let print_errors = input.flag()?;
        let own = input.flag()?;
        let rlimits = decode_rlimits(&mut input)?;
        input.end()?;
        if !own && !rlimits.is_empty() {
            return Err(DecodeError::Range("limits"));
        }
        Ok(Welcome {
            print_errors,
            rlimits: own.then_some(rlimits),
        })
    }
}

/// One Landlock domain as the kernel took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Domain {
    /// What it denies unless a rule allows it.
    pub handled: Handled,
    /// Rules on files and directories; one of the policy may have become several.
    pub paths: u32,
    /// Rules on ports.
    pub ports: u32,
}

/// What init applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attest {
    /// Landlock ABI of the kernel, 0 where it has none.
    pub landlock_abi: u32,
    /// Landlock's fixes in this kernel, one bit an erratum; 0 where it does not tell.
    pub landlock_errata: u32,
    /// Domains entered, outermost first.
    pub domains: Vec<Domain>,
    /// Optional paths that did not exist; the first ones, [`SKIPPED_BYTES`] of them.
    pub skipped: Vec<Vec<u8>>,
    /// How many did not exist.
    pub skipped_count: u32,
    /// Descriptor number that the listener will have; the kernel gives the lowest free one.
    pub slot: Option<u32>,
}

/// Bytes of skipped paths that an attestation carries: a packet has an end, and so has a line of the
/// journal.
pub const SKIPPED_BYTES: usize = 8 * 1024;

impl Attest {
    /// Takes as many of `paths` as fit, and counts all.
    pub fn skip(&mut self, paths: Vec<Vec<u8>>) {
        self.skipped_count = u32::try_from(paths.len()).unwrap_or(u32::MAX);
        let mut room = SKIPPED_BYTES;
        let fits = |path: &Vec<u8>| {
            let rest = room.checked_sub(path.len());
            room = rest.unwrap_or(0);
            rest.is_some()
        };
        self.skipped = paths.into_iter().take_while(fits).collect();
    }
}

/// What init has to say in place of the workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One line, for people.
    pub message: String,
}

/// Init's second message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It went well so far.
    Attest(Attest),
    /// It did not.
    Failure(Failure),
}

impl Outcome {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        match self {
            Outcome::Attest(attest) => {
                out.raw(&ATTEST);
                out.u32(attest.landlock_abi);
                out.u32(attest.landlock_errata);
                out.list(&attest.domains, |out, domain| {
                    out.u64(domain.handled.files);
                    out.u64(domain.handled.tcp);
                    out.u64(domain.handled.scopes);
                    out.u32(domain.paths);
                    out.u32(domain.ports);
                });
                out.list(&attest.skipped, |out, path| out.bytes(path));
                out.u32(attest.skipped_count);
                out.flag(attest.slot.is_some());
                out.u32(attest.slot.unwrap_or_default());
            }
            Outcome::Failure(failure) => {
                out.raw(&FAILURE);
                out.bytes(failure.message.as_bytes());
            }
        }
        out.finish()
    }

    /// # Errors
    /// [`DecodeError`] for any other packet.
    pub fn decode(packet: &[u8]) -> Result<Outcome, DecodeError> {
        let mut input = Decoder::new(packet);
        if packet.starts_with(&FAILURE) {
            input.expect(&FAILURE)?;
            let message = String::from_utf8_lossy(input.bytes()?).into_owned();
            input.end()?;
            return Ok(Outcome::Failure(Failure { message }));
        }
        input.expect(&ATTEST)?;
        let (landlock_abi, landlock_errata) = (input.u32()?, input.u32()?);
        let domains = input.list(|input| {
            let handled = Handled {
                files: input.u64()?,
                tcp: input.u64()?,
                scopes: input.u64()?,
            };
            let (paths, ports) = (input.u32()?, input.u32()?);
            Ok(Domain {
                handled,
                paths,
                ports,
            })
        })?;
        let skipped = input.list(|input| Ok(input.bytes()?.to_vec()))?;
        let skipped_count = input.u32()?;
        let (has_slot, slot) = (input.flag()?, input.u32()?);
        input.end()?;
        if !has_slot && slot != 0 {
            return Err(DecodeError::Range("slot"));
        }
        Ok(Outcome::Attest(Attest {
            landlock_abi,
            landlock_errata,
            domains,
            skipped,
            skipped_count,
            slot: has_slot.then_some(slot),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_round_trip_and_no_prefix_of_it_is_a_message() {
        let welcome = Welcome {
            print_errors: true,
            rlimits: Some(vec![Rlimit {
                resource: 7,
                soft: 1,
                hard: 2,
            }]),
        };
        assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome.clone()));
        let outcome = Outcome::Attest(Attest {
            landlock_abi: 7,
            landlock_errata: 7,
            domains: vec![Domain {
                handled: Handled {
                    files: 0xffff,
                    tcp: 3,
                    scopes: 1,
                },
                paths: 12,
                ports: 2,
            }],
            skipped: vec![b"/srv".to_vec()],
            skipped_count: 1,
            slot: Some(3),
        });
        assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome.clone()));
        assert_eq!(Hello::decode(&Hello.encode()), Ok(Hello));
        for packet in [welcome.encode(), outcome.encode(), Hello.encode()] {
            for end in 0..packet.len() {
                assert!(Welcome::decode(&packet[..end]).is_err());
                assert!(Outcome::decode(&packet[..end]).is_err());
                assert!(Hello::decode(&packet[..end]).is_err());
            }
        }
    }

    #[test]
    fn thousands_of_skipped_paths_are_counted_and_fit_into_a_packet() {
        let mut attest = Attest {
            landlock_abi: 7,
            landlock_errata: 0,
            domains: vec![Domain::default(); 16],
            skipped: Vec::new(),
            skipped_count: 0,
            slot: None,
        };
        attest.skip(vec![vec![b'x'; 100]; 10_000]);
        assert_eq!(
            (attest.skipped.len(), attest.skipped_count),
            (SKIPPED_BYTES / 100, 10_000)
        );
        assert!(Outcome::Attest(attest.clone()).encode().len() < LARGEST);
        attest.skip(vec![vec![b'x'; 100_000]]);
        assert_eq!((attest.skipped.len(), attest.skipped_count), (0, 1));
    }

    #[test]
    fn a_value_that_is_said_to_be_absent_and_is_there_is_no_message() {
        let outcome = Outcome::Attest(Attest {
            landlock_abi: 7,
            landlock_errata: 0,
            domains: vec![Domain::default()],
            skipped: Vec::new(),
            skipped_count: 0,
            slot: None,
        });
        let mut packet = outcome.encode();
        *packet.last_mut().unwrap() = 3;
        assert_eq!(Outcome::decode(&packet), Err(DecodeError::Range("slot")));
        let welcome = Welcome {
            print_errors: true,
            rlimits: Some(vec![Rlimit {
                resource: 7,
                soft: 1,
                hard: 2,
            }]),
        };
        let mut packet = welcome.encode();
        packet[5] = 0;
        assert_eq!(Welcome::decode(&packet), Err(DecodeError::Range("limits")));
    }

    #[test]
    fn a_failure_with_broken_utf8_is_still_a_failure() {
        let mut packet = Outcome::Failure(Failure {
            message: "ab".into(),
        })
        .encode();
        let last = packet.len() - 1;
        packet[last] = 0xff;
        assert!(matches!(Outcome::decode(&packet), Ok(Outcome::Failure(_))));
    }
}
