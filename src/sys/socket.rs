//! SOCK_SEQPACKET pairs that carry descriptors and the kernel's word on who sent a packet.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    accept4, recvmsg, sendmsg, setsockopt, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

use super::retry;

/// One packet as it came.
#[derive(Debug)]
pub struct Packet {
    /// Its bytes; empty where the other side has closed.
    pub bytes: Vec<u8>,
    /// Descriptors that came with it, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// The sender's pid in this process's pid namespace, from the kernel, where
    /// [`pass_credentials`] was asked for.
    pub pid: Option<i32>,
}

/// A connected pair, both close-on-exec.
///
/// # Errors
/// Those of socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        flags,
    )?)
}

/// The next connection, close-on-exec and non-blocking.
///
/// # Errors
/// Those of accept(2).
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let raw = accept4(listener.as_fd().as_raw_fd(), flags)?;
    // SAFETY: accept4(2) just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Asks the kernel to tell each packet's sender (SCM_CREDENTIALS, unix(7)).
///
/// # Errors
/// Those of setsockopt(2).
pub fn pass_credentials(fd: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&fd, sockopt::PassCred, &true)?)
}

/// Bounds every receive and send on `fd`, read(2) and write(2) included.
///
/// # Errors
/// Those of setsockopt(2).
pub fn set_timeout(fd: impl AsFd, timeout: Duration) -> io::Result<()> {
    let value = TimeVal::new(timeout.as_secs() as i64, i64::from(timeout.subsec_micros()));
    setsockopt(&fd, sockopt::ReceiveTimeout, &value)?;
    Ok(setsockopt(&fd, sockopt::SendTimeout, &value)?)
}

/// Whether the other side was this process's own user, or root, when it connected (SO_PEERCRED,
/// unix(7)).
pub fn is_of_root(fd: &impl AsFd) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    nix::sys::socket::getsockopt(fd, sockopt::PeerCredentials)
        .is_ok_and(|who| who.uid() == 0 || who.uid() == own)
}

/// Whether it is an IPv4 or IPv6 socket (SO_DOMAIN, socket(7)); false for whatever is no socket.
pub fn is_network(fd: impl AsFd) -> bool {
    let mut domain: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    let (raw, value) = (fd.as_fd().as_raw_fd(), (&raw mut domain).cast());
    // SAFETY: getsockopt(2) writes at most `size` bytes, which `domain` has, and the size.
    let told =
        unsafe { libc::getsockopt(raw, libc::SOL_SOCKET, libc::SO_DOMAIN, value, &raw mut size) };
    told == 0 && matches!(domain, libc::AF_INET | libc::AF_INET6)
}

/// Whether it is a TCP socket, of IPv4 or IPv6: those that Landlock's rights are about.
pub fn is_tcp(fd: impl AsFd) -> bool {
    let mut protocol: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    let (raw, value) = (fd.as_fd().as_raw_fd(), (&raw mut protocol).cast());
    // SAFETY: getsockopt(2) writes at most `size` bytes, which `protocol` has, and the size.
    let told = unsafe {
        libc::getsockopt(
            raw,
            libc::SOL_SOCKET,
            libc::SO_PROTOCOL,
            value,
            &raw mut size,
        )
    };
    told == 0 && protocol == libc::IPPROTO_TCP && is_network(fd)
}

/// Has close(2) wait for nobody (SO_LINGER, socket(7)): whoever closes a socket last waits as long as
/// its owner wished, non-blocking or not.
///
/// # Errors
/// Those of setsockopt(2).
pub fn forget_linger(fd: impl AsFd) -> io::Result<()> {
    let off = libc::linger {
        l_onoff: 0,
        l_linger: 0,
    };
    Ok(setsockopt(&fd, sockopt::Linger, &off)?)
}

/// Sends one packet, whole.
///
/// # Errors
/// EPIPE where the other side has closed; EAGAIN after the timeout or on a non-blocking socket.
pub fn send(fd: impl AsFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
    let rights = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    let raw = fd.as_fd().as_raw_fd();
    let slices = [IoSlice::new(bytes)];
    retry(|| {
        let flags = MsgFlags::MSG_NOSIGNAL;
        Ok(sendmsg::<UnixAddr>(raw, &slices, control, flags, None)?)
    })?;
    Ok(())
}

/// Receives one packet of at most `largest` bytes and 4 descriptors.
///
/// # Errors
/// EAGAIN after the timeout or on a non-blocking socket; [`io::ErrorKind::InvalidData`] for a
/// packet that is larger.
pub fn receive(fd: impl AsFd, largest: usize) -> io::Result<Packet> {
    retry(|| receive_once(&fd, largest))
}

fn receive_once(fd: &impl AsFd, largest: usize) -> io::Result<Packet> {
    let mut bytes = vec![0; largest];
    let mut space = nix::cmsg_space!([RawFd; 4], libc::ucred);
    let raw = fd.as_fd().as_raw_fd();
    let mut packet = Packet {
        bytes: Vec::new(),
        fds: Vec::new(),
        pid: None,
    };
    let (length, truncated) = {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<UnixAddr>(raw, &mut slices, Some(&mut space), flags)?;
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::ScmRights(raws) => {
                    // SAFETY: the kernel just installed these descriptors for this process.
                    let own = raws
                        .into_iter()
                        .map(|raw| unsafe { OwnedFd::from_raw_fd(raw) });
                    packet.fds.extend(own);
                }
                ControlMessageOwned::ScmCredentials(who) => packet.pid = Some(who.pid()),
                _ => {}
            }
        }
        let cut = MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC;
        (message.bytes, message.flags.intersects(cut))
    };
    if truncated {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "packet is too large",
        ));
    }
    bytes.truncate(length);
    packet.bytes = bytes;
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_carries_bytes_a_descriptor_and_its_senders_pid() {
        let (near, far) = pair().unwrap();
        pass_credentials(&far).unwrap();
        send(&near, b"hello", &[near.as_raw_fd()]).unwrap();
        let packet = receive(&far, 64).unwrap();
        assert_eq!(packet.bytes, b"hello");
        assert_eq!(packet.fds.len(), 1);
        assert_eq!(packet.pid, Some(std::process::id() as i32));
    }

    #[test]
    fn a_packet_that_does_not_fit_is_an_error_not_a_piece() {
        let (near, far) = pair().unwrap();
        send(&near, &[0; 65], &[]).unwrap();
        let error = receive(&far, 64).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_closed_peer_is_an_empty_packet() {
        let (near, far) = pair().unwrap();
        drop(near);
        assert!(receive(&far, 64).unwrap().bytes.is_empty());
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let (_near, far) = pair().unwrap();
        set_timeout(&far, Duration::from_millis(20)).unwrap();
        let error = receive(&far, 64).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
