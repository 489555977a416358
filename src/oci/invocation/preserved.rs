//! Which descriptor numbers are the engine's, and which are ours.
//!
//! All three runtimes hand over descriptors 3, 4, … in one row: first those of socket activation
//! (sd_listen_fds(3)), then `--preserve-fds` more. Ours come last, so the engine's keep their
//! numbers. They differ in when they count `LISTEN_FDS`: runc only if `LISTEN_PID` is its own pid
//! (and execve keeps the front door's), crun and youki always.

use std::ffi::OsStr;

use crate::host::Family;

/// The engine's descriptors, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preserved {
    /// First descriptor number behind the engine's own: ours is this one and up.
    pub first_free: u32,
    /// Descriptors of socket activation that the runtime will count.
    pub listen: u32,
    /// The engine's `--preserve-fds`.
    pub preserve: u32,
    /// `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` are not meant for the runtime: remove them
    /// from its environment, or it would count descriptors that nobody passed.
    pub strip_listen: bool,
}

impl Preserved {
    /// The new value of `--preserve-fds` with `ours` more descriptors.
    pub fn with(&self, ours: u32) -> u32 {
        self.preserve.saturating_add(ours)
    }
}

/// Counts the engine's descriptors: `preserve` from the command line, the rest from the environment
/// of the front door, whose pid `own_pid` the runtime will keep.
///
/// `LISTEN_PID=1` or its absence is how Podman hands sockets to crun and youki, so for them it
/// counts.
pub fn preserved(
    preserve: u32,
    listen_fds: Option<&OsStr>,
    listen_pid: Option<&OsStr>,
    own_pid: u32,
    family: Family,
) -> Preserved {
    let pid = listen_pid.and_then(OsStr::to_str);
    let addressed = match family {
        Family::Runc => pid == Some(own_pid.to_string().as_str()),
        Family::Crun | Family::Youki => {
            listen_pid.is_none() || pid == Some("1") || pid == Some(own_pid.to_string().as_str())
        }
    };
    let count = listen_fds
        .and_then(OsStr::to_str)
        .and_then(plain_number)
        .filter(|_| addressed);
    let listen = count.unwrap_or(0);
    Preserved {
        first_free: 3_u32.saturating_add(listen).saturating_add(preserve),
        listen,
        preserve,
        strip_listen: count.is_none() && (listen_fds.is_some() || listen_pid.is_some()),
    }
}

/// A decimal number that Go, C and Rust read alike: digits, no sign, no leading zero, at most
/// 1048576 (the usual `fs.nr_open`).
pub(super) fn plain_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if !digits || leading_zero {
        return None;
    }
    text.parse().ok().filter(|number| *number <= 1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_descriptors_come_first() {
        let os = |text: &'static str| Some(OsStr::new(text));
        let count = |preserve, fds, pid, family| preserved(preserve, fds, pid, 42, family);
        use Family::{Crun, Runc, Youki};
        for (preserve, fds, pid, family, first_free, with_two, strip) in [
            (0, None, None, Runc, 3, 2, false),
            (2, None, None, Runc, 5, 4, false),
            (0, os("2"), os("42"), Runc, 5, 2, false),
            (1, os("2"), os("42"), Runc, 6, 3, false),
            (1, os("2"), os("7"), Runc, 4, 3, true),
            (1, os("2"), os("1"), Runc, 4, 3, true),
            (1, os("2"), None, Runc, 4, 3, true),
            (1, os("2"), os("42"), Crun, 6, 3, false),
            (1, os("2"), os("1"), Crun, 6, 3, false),
            (1, os("2"), None, Crun, 6, 3, false),
            (1, os("2"), os("7"), Crun, 4, 3, true),
            (1, os("2"), None, Youki, 6, 3, false),
            (0, os("x"), os("42"), Runc, 3, 2, true),
            (0, os("-2"), None, Crun, 3, 2, true),
            (0, None, os("42"), Runc, 3, 2, true),
        ] {
            let got = count(preserve, fds, pid, family);
            let row = (preserve, fds, pid, family);
            assert_eq!(
                (got.first_free, got.with(2), got.strip_listen),
                (first_free, with_two, strip),
                "{row:?}"
            );
        }
    }
}
