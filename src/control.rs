//! What the front door and the command ask of a running supervisor, over `control.sock`
//! (SOCK_SEQPACKET, root only): one JSON message a packet, versioned.

use serde::{Deserialize, Serialize};

/// A request. `Exec` carries the supervisor's end of the session's channel as SCM_RIGHTS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// Answered when the workload has been executed, or could not be.
    Started,
    /// A new exec session; answered at once with `Accepted`, and again with the outcome once the
    /// session has been executed or could not be.
    Exec,
    /// Processes of the container now, by cgroup.
    Processes,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
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
    /// Pids of the container.
    Processes {
        /// Host pids.
        pids: Vec<i32>,
    },
}
