//! The control socket of a container. Its path may be longer than the 108 bytes of `sun_path`
//! (unix(7); ids have 64 characters), so it is reached through a descriptor of its folder.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc::{O_DIRECTORY, O_NOFOLLOW, O_PATH};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, setsockopt,
    socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::{Home, StateError};
use crate::channel::DEADLINE;

const NAME: &str = "control.sock";

impl Home {
    /// Where the control socket is, for people; use [`Home::connect_control`] to reach it.
    pub fn control_path(&self) -> PathBuf {
        self.path.join(NAME)
    }

    /// Makes the control socket (SOCK_SEQPACKET, CLOEXEC) and listens on it, so that nobody waits
    /// for the supervisor to boot.
    ///
    /// # Errors
    /// The folder is not there, or the socket exists already.
    pub fn bind_control(&self) -> Result<OwnedFd, StateError> {
        let bound = || -> Result<OwnedFd, Errno> {
            let (folder, address) = self.address()?;
            let socket = new_socket()?;
            bind(socket.as_raw_fd(), &address)?;
            listen(&socket, Backlog::MAXCONN)?;
            drop(folder);
            Ok(socket)
        };
        bound().map_err(|errno| self.failed("bind", errno))
    }

    /// Connects to the supervisor's control socket (SOCK_SEQPACKET, CLOEXEC).
    ///
    /// # Errors
    /// There is no socket (ENOENT), nobody listens (ECONNREFUSED), or nobody accepts within the
    /// deadline (EAGAIN).
    pub fn connect_control(&self) -> Result<OwnedFd, StateError> {
        let connected = || -> Result<OwnedFd, Errno> {
            let (folder, address) = self.address()?;
            let socket = new_socket()?;
            setsockopt(
                &socket,
                sockopt::SendTimeout,
                // A full backlog.
                &TimeVal::new(DEADLINE.as_secs() as i64, 0),
            )?;
            connect(socket.as_raw_fd(), &address)?;
            drop(folder);
            Ok(socket)
        };
        connected().map_err(|errno| self.failed("connect to", errno))
    }

    /// A descriptor of the folder and the short address through it, valid while the descriptor is
    /// open.
    fn address(&self) -> Result<(File, UnixAddr), Errno> {
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(O_PATH | O_DIRECTORY | O_NOFOLLOW)
            .open(&self.path)
            .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        let path = format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd());
        Ok((folder, UnixAddr::new(path.as_str())?))
    }

    fn failed(&self, operation: &'static str, errno: Errno) -> StateError {
        StateError::io(operation, self.control_path())(errno.into())
    }
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
}
