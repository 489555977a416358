//! What the front door and the command ask of a running supervisor, over `control.sock`
//! (SOCK_SEQPACKET, root only): one JSON message a packet.
//!
//! `Exec` is asked with the supervisor's end of the session's channel as SCM_RIGHTS, and
//! `Accepted` answers with init's program and a policy, both sealed memfds that the supervisor
//! keeps for the container's life: a session is held to the very bytes the workload is, or to those
//! that were sealed for sessions beside them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::detect::Freeze;
use crate::state::Status;

pub mod client;

/// Version of these messages; a message with another one is refused.
pub const VERSION: u32 = 1;

/// Largest packet, bytes.
pub const LARGEST: usize = 64 * 1024;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What is asked.
    pub ask: Ask,
}

impl Request {
    /// A request of this version.
    pub fn new(ask: Ask) -> Request {
        Request {
            version: VERSION,
            ask,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// Answered when the workload has been executed, or could not be. The runtime is about to let
    /// the container go: from now on the deadline holds.
    Started {
        /// The parked process, host pid; ended where the deadline passes before init speaks.
        pid: i32,
        /// What profiles in mode `audit` would have refused it for, by what was really mounted.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        observed: Vec<(String, String)>,
    },
    /// A new exec session; answered at once with `Accepted`, and again with the outcome once the
    /// session has been executed or could not be.
    Exec {
        /// Nobody waits for the outcome, so init prints its own failure.
        print_errors: bool,
        /// The session's own low limits, (resource, soft, hard); the workload's where absent.
        rlimits: Option<Vec<(u32, u64, u64)>>,
        /// Which of the container's sealed policies it is held to; 0 is the workload's.
        #[serde(default, skip_serializing_if = "is_workloads")]
        policy: u32,
        /// What profiles in mode `audit` would have refused it for: the profile, and why.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        observed: Vec<(String, String)>,
    },
    /// What the supervisor counts and knows.
    Status,
    /// Processes of the container now, by cgroup.
    Processes,
    /// Stops every process of the container; answered once they are, or could not be.
    Freeze {
        /// How long, milliseconds; then `then`. Absent: until somebody asks for `Thaw` or `Kill`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        freeze: Option<Freeze>,
        /// Collect evidence once they are stopped.
        #[serde(default)]
        evidence: bool,
    },
    /// Lets them go on.
    Thaw,
    /// Ends every process of the container, frozen or not.
    Kill,
    /// Collects evidence as the container is, frozen or not; answered with the archive's path.
    Evidence,
}

/// Left out of the packet, so that a supervisor of before there were others understands it; one that
/// does not know the field refuses the rest.
fn is_workloads(policy: &u32) -> bool {
    *policy == 0
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The channel of an exec session was taken.
    Accepted,
    /// The workload or session runs, with its sandbox.
    Running {
        /// Host pid.
        pid: i32,
    },
    /// It does not run, and never did.
    Failed {
        /// The runtime error people know, in the runtime's wording.
        message: String,
    },
    /// The supervisor's own view.
    Status(Box<Status>),
    /// Pids of the container.
    Processes {
        /// Host pids.
        pids: Vec<i32>,
    },
    /// What was asked for was done.
    Done {
        /// The archive of evidence, where one was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<PathBuf>,
    },
    /// The request could not be read, or what it asks could not be done.
    Refused {
        /// Why.
        message: String,
    },
}
