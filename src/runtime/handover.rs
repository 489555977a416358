//! What is passed to init through the runtime: descriptors behind the engine's own, and the path
//! of init's program among them.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Door, Failure, bound};
use crate::host::{self, Family};
use crate::init::ARGV0_PREFIX;
use crate::oci::invocation::{Preserved, preserved};
use crate::seal::BOUND_INIT;
use crate::state::{Delivery, Home};
use crate::sys::fds;
use crate::sys::memfd::{self, Use};

/// Descriptors that init is given: its program where it is not mounted, the policy, the channel.
#[derive(Debug)]
pub(super) struct Handover {
    engine: Preserved,
    ours: Vec<OwnedFd>,
    delivery: Delivery,
}

impl Handover {
    /// Counts the engine's own descriptors; `preserve` is its `--preserve-fds`.
    pub(super) fn new(
        preserve: u32,
        family: Family,
        delivery: Delivery,
        ours: Vec<OwnedFd>,
    ) -> Handover {
        let var = std::env::var_os;
        let (count, owner) = (var("LISTEN_FDS"), var("LISTEN_PID"));
        let pid = std::process::id();
        let engine = preserved(preserve, count.as_deref(), owner.as_deref(), pid, family);
        Handover {
            engine,
            ours,
            delivery,
        }
    }

    /// Number of the first of ours.
    pub(super) fn first(&self) -> RawFd {
        RawFd::try_from(self.engine.first_free).unwrap_or(RawFd::MAX)
    }

    /// Number of the first one behind ours.
    pub(super) fn end(&self) -> RawFd {
        self.first().saturating_add(self.ours.len() as RawFd)
    }

    /// The new `--preserve-fds`.
    pub(super) fn preserve(&self) -> u32 {
        self.engine.with(self.ours.len() as u32)
    }

    /// What stands before the command: init's path, which tells the number of the first descriptor, or
    /// its fixed path and that number.
    pub(super) fn words(&self) -> Vec<String> {
        match self.delivery {
            Delivery::Memfd => vec![format!("{ARGV0_PREFIX}{}", self.first())],
            Delivery::Bind => vec![BOUND_INIT.to_owned(), self.first().to_string()],
        }
    }

    /// Puts the descriptors in their places, open across execve. Nothing else of ours may be open
    /// at those numbers: see [`clear`].
    ///
    /// Socket activation that was meant for another process is dropped from the environment, because
    /// crun would count it all the same.
    pub(super) fn place(self) -> Result<(), Failure> {
        let first = self.first();
        if self.engine.strip_listen {
            for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
                crate::sys::process::forget_variable(name);
            }
        }
        fds::place(self.ours, first)
            .map_err(|error| Failure::system("pass on", "init's descriptors".into(), error))
    }
}

/// Moves `fd` behind the places of a handover.
pub(super) fn clear(fd: OwnedFd, handover: &Handover) -> Result<OwnedFd, Failure> {
    fds::raise(fd, handover.end())
        .map_err(|error| Failure::system("move", "a descriptor".into(), error))
}

/// `mantlet-init` or `mantlet-supervisor`: in the admin's `libexec_dir`, else beside the front door.
pub(super) fn program(door: &Door<'_>, name: &str) -> Result<PathBuf, Failure> {
    if let Some(folder) = &door.config.libexec_dir {
        return Ok(folder.join(name));
    }
    let own = std::fs::read_link("/proc/self/exe")
        .map_err(|error| Failure::system("find", "the front door's own program".into(), error))?;
    Ok(own.parent().unwrap_or(Path::new("/")).join(name))
}

/// Init's program as a sealed memfd, or as a copy in the home that only has a name; and its digest.
pub(super) fn init(
    door: &Door<'_>,
    delivery: Delivery,
    label: Option<&str>,
    home: &Home,
) -> Result<(OwnedFd, String), Failure> {
    let path = program(door, "mantlet-init")?;
    let missing = |cause| Failure::Missing {
        path: path.clone(),
        cause,
    };
    let file = File::open(&path).map_err(missing)?;
    let mut magic = [0; 4];
    if file.read_exact_at(&mut magic, 0).is_err() || magic != *b"\x7fELF" {
        return Err(missing(std::io::Error::other("it is not a program")));
    }
    let digest = host::digest_of(&file, &path, &door.config.state_dir).map_err(missing)?;
    let fd = match delivery {
        Delivery::Memfd => memfd::sealed(c"mantlet-init", Use::Program, file)
            .map_err(|error| Failure::system("copy", path.display().to_string(), error))?,
        Delivery::Bind => bound::copy(file, home, label)?,
    };
    Ok((fd, digest))
}

/// Bytes as a sealed memfd.
pub(super) fn bytes(name: &'static std::ffi::CStr, bytes: &[u8]) -> Result<OwnedFd, Failure> {
    memfd::sealed(name, Use::Bytes, bytes)
        .map_err(|error| Failure::system("make", "a sealed memory file".into(), error))
}

/// A path that leads to `fd` for as long as it stays open.
pub(super) fn path_to(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("{ARGV0_PREFIX}{}", fd.as_raw_fd()))
}

/// The command with init in front; `None` where there is no command, because runtimes would count
/// init as one.
pub(super) fn with_init(words: Vec<String>, args: &serde_json::Value) -> Option<serde_json::Value> {
    let rest = args.as_array().filter(|words| !words.is_empty())?;
    let init = words.into_iter().map(serde_json::Value::String);
    Some(init.chain(rest.iter().cloned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_stands_before_a_command_and_is_never_one_itself() {
        let with = |args| with_init(vec!["/proc/self/fd/3".into()], &args);
        assert_eq!(with(json!(["sh"])), Some(json!(["/proc/self/fd/3", "sh"])));
        for none in [json!([]), json!(null), json!("sh")] {
            assert_eq!(with(none), None);
        }
    }
}
