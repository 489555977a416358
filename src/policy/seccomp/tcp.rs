//! What keeps `network:` whole: Landlock's TCP rights cover bind(2) and connect(2) of plain TCP
//! sockets and nothing else, and the kernel has other ways to a TCP peer. They all show in registers,
//! so the exact filter closes them, for profiles with TCP rules only: the hot calls of all others
//! stay without a condition.

use super::verdict::{Action, Compare, Condition, Decision};
use crate::profile::Network;

/// An answer to one call: where the conditions hold, or always where there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The call.
    pub name: &'static str,
    /// What holds of its arguments.
    pub conditions: Vec<Condition>,
    /// An errno.
    pub action: Action,
}

/// Falls back to plain TCP with any peer; Landlock's hooks ask for a TCP socket and see another.
const IPPROTO_MPTCP: u64 = 262;
/// The same by way of shared memory (linux/smc.h, kernel 6.10; before it the family alone).
const IPPROTO_SMC: u64 = 256;
const AF_SMC: u64 = 43;
/// Connects inside the send path, where connect(2)'s hook is not called.
const MSG_FASTOPEN: u64 = 0x2000_0000;

/// What `decision`, of a profile with TCP rules, refuses of a call because `network` implies so; `holds`
/// tells of a condition whether it is known to hold. No line beside `network` can allow that.
#[must_use]
pub fn implied(
    name: &str,
    decision: &Decision,
    holds: impl Fn(&Condition) -> bool,
) -> Option<Closed> {
    let all = closed(&Network {
        bind_tcp: Some(Default::default()),
        connect_tcp: Some(Default::default()),
    });
    let is_in_force = |closed: &Closed| match closed.conditions.is_empty() {
        true => *decision == Decision::always(closed.action),
        false => decision
            .branches
            .contains(&(closed.conditions.clone(), closed.action)),
    };
    all.into_iter().find(|closed| {
        closed.name == name && closed.conditions.iter().all(&holds) && is_in_force(closed)
    })
}

impl Closed {
    /// Which argument decides, and what it would go round.
    #[must_use]
    pub fn reason(&self) -> String {
        let name = self.name;
        let first = self.conditions.first();
        match (name, first.map(|c| (c.index, c.value))) {
            ("listen", _) => {
                "`network.bind_tcp` lists no port, and without bind(2) listen takes one of the kernel's choice"
                    .into()
            }
            ("socket", Some((2, IPPROTO_MPTCP))) => {
                "`network` implies it where arg2 is 0x106 (IPPROTO_MPTCP): such a socket goes round TCP ports".into()
            }
            ("socket", Some((2, _))) => {
                "`network` implies it where arg2 is 0x100 (IPPROTO_SMC): such a socket goes round TCP ports".into()
            }
            ("socket", _) => {
                "`network` implies it where arg0 is 0x2b (AF_SMC): such a socket goes round TCP ports".into()
            }
            (_, Some((index, _))) => format!(
                "`network.connect_tcp` implies it where arg{index} has 0x20000000 (MSG_FASTOPEN): {name} then connects to any port"
            ),
            (_, None) => format!(
                "`network` implies it: requests to {name}'s rings make sockets and connect them unseen"
            ),
        }
    }

    /// An event's `fix`.
    #[must_use]
    pub fn fix(&self) -> String {
        let reason = self.reason();
        match self.name {
            "listen" => format!(
                "none in `syscalls`: {reason}; list the port that it is to listen at in `network.bind_tcp`"
            ),
            _ => format!(
                "none beside `network`: {reason}; let the program use plain TCP, or take `network` out of the profile"
            ),
        }
    }
}

/// What `network` closes beside Landlock's own rights.
pub(super) fn closed(network: &Network) -> Vec<Closed> {
    let mut all = Vec::new();
    if !network.restricts() {
        return all;
    }
    // Libraries that try MPTCP first (Go among them) take plain TCP on these errnos.
    for (argument, value, errno) in [
        (2, IPPROTO_MPTCP, libc::EPROTONOSUPPORT),
        (2, IPPROTO_SMC, libc::EPROTONOSUPPORT),
        (0, AF_SMC, libc::EAFNOSUPPORT),
    ] {
        all.push(closes("socket", argument, 0xffff_ffff, value, errno));
    }
    if network.connect_tcp.is_some() {
        for (name, flags) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] {
            // Callers connect in the ordinary way then.
            let errno = libc::EOPNOTSUPP;
            all.push(closes(name, flags, MSG_FASTOPEN, MSG_FASTOPEN, errno));
        }
    }
    if network
        .bind_tcp
        .as_ref()
        .is_some_and(|ports| ports.is_empty())
    {
        // Without bind(2), listen(2) takes a port of the kernel's choice. What bind(2) answers.
        all.push(always("listen", libc::EACCES));
    }
    // Its requests make sockets and send with flags that no filter sees.
    all.push(always("io_uring_setup", libc::ENOSYS));
    all
}

fn closes(name: &'static str, index: u8, mask: u64, value: u64, errno: i32) -> Closed {
    let condition = Condition {
        index,
        compare: Compare::Eq,
        value,
        mask,
    };
    Closed {
        conditions: vec![condition],
        ..always(name, errno)
    }
}

fn always(name: &'static str, errno: i32) -> Closed {
    let errno = u16::try_from(errno).expect("errnos are below 4096");
    Closed {
        name,
        conditions: Vec::new(),
        action: Action::Errno(errno),
    }
}
