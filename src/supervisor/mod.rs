//! One per workload container, outside it: gives init its word, answers tripwires, watches for what
//! the profile's `detect:` lists, responds, keeps the event journal, and leaves when the container is
//! gone.
//!
//! Two processes, of one program:
//!
//! * the **keeper** (this module) holds the descriptors, talks with init, the front door and people,
//!   writes the journal, and alone kills and freezes. It reads nothing that the container wrote but
//!   the names of the processes that it let go itself.
//! * the **watcher** ([`watcher`]) reads notifications, executions and /proc, and decides. It is
//!   confined, and its death costs nothing: what it had in hand lies in memory that both share
//!   ([`shared`]); the keeper answers it with its denial and starts another watcher.
//!
//! Both sleep until something happens: nothing is polled, and nothing that is allowed waits for
//! them, executions excepted where a profile has them refused or ended ([`watcher::files`]). If both
//! die, the kernel-enforced parts hold, tripwires answer ENOSYS (still a denial), and a session that
//! has not had its word never runs; `on_supervisor_loss: kill` has a third process end the container
//! then ([`sentinel`]).
//!
//! Descriptors, by number (see [`FIRST_FD`]): the control listener, the workload's channel, init's
//! program, the fanotify group where the record says that there is one, the sealed policy, and one
//! more for each of the record's sub-policies.

mod alone;
mod attendant;
mod body;
mod bucket;
mod capabilities;
mod clip;
mod clock;
mod control;
mod counts;
mod evidence;
mod journal;
mod keeper;
mod ledger;
mod link;
mod look;
mod marks;
mod observer;
mod respond;
mod rules;
mod sensors;
mod sentinel;
mod session;
mod settled;
mod shared;
mod tripwire;
mod unstarted;
mod watcher;

#[cfg(test)]
pub(crate) use watcher::places_of;

use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use crate::seal::Policy;
use crate::seal::rights::Handled;
use crate::state::{self, Home, Record, SubPolicy};
use crate::sys::fds;
use keeper::Keeper;

/// Number of the first descriptor that the front door passes; the others follow it.
pub const FIRST_FD: RawFd = 3;

/// Why a supervisor could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A descriptor, the policy's bytes, memory or epoll.
    #[error("cannot {0}: {1}")]
    System(&'static str, #[source] std::io::Error),
    /// The record or the home.
    #[error(transparent)]
    State(#[from] state::StateError),
    /// What the record says of layers that only look.
    #[error("cannot read what to observe from record.json: {0}")]
    Observing(#[from] serde_json::Error),
    /// The policy does not decode.
    #[error("the sealed policy {0}")]
    Policy(#[from] crate::seal::DecodeError),
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

/// What the front door passed.
struct Passed {
    control: OwnedFd,
    channel: OwnedFd,
    program: OwnedFd,
    files: Option<OwnedFd>,
    policies: Vec<Sealed>,
}

impl Passed {
    fn take(record: &Record) -> Result<Passed, StartError> {
        let mut number = FIRST_FD;
        let mut next = || {
            number += 1;
            fds::inherited(number - 1)
                .map_err(|error| StartError::System("find a descriptor", error))
        };
        let (control, channel, program) = (next()?, next()?, next()?);
        let files = record.fanotify.then(&mut next).transpose()?;
        let more = record.exec.sub_policies().map(Some);
        let policies = std::iter::once(None)
            .chain(more)
            .map(|held| Sealed::read(next()?, record, held))
            .collect::<Result<Vec<Sealed>, StartError>>()?;
        Ok(Passed {
            control,
            channel,
            program,
            files,
            policies,
        })
    }
}

/// Descriptors that a watcher can have use for: it holds up to 1280 processes and threads, and an
/// execution that it has no descriptor for is refused.
const DESCRIPTORS: u64 = 4096;

/// Raises the soft limit, which engines leave at 1024. Where the hard one is lower, that has to do.
fn enough_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < DESCRIPTORS
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(hard), hard);
    }
}

/// Supervises the container whose home is `path` until it is gone.
///
/// # Errors
/// [`StartError`] where it could not begin; the container then never gets its word.
pub fn run(path: &Path) -> Result<(), StartError> {
    fds::cloexec_from(FIRST_FD).map_err(|error| StartError::System("keep descriptors", error))?;
    enough_descriptors();
    let (home, identity) = Home::open(path)?;
    let record = home.read_record()?;
    let passed = Passed::take(&record)?;
    let mut keeper = Keeper::begin(home, identity, &record, passed)?;
    drop(record);
    keeper.serve();
    Ok(())
}
