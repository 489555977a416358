//! The asking side of the control socket, the same for the front door and for `mantlet`. It knows
//! packets and deadlines; what an answer means is its caller's business.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};

use super::{Answer, Ask, LARGEST, Request};
use crate::state::{Home, StateError};
use crate::sys::socket::{self, Packet};

/// Why a supervisor's answer is not there. Each completes "its supervisor is gone or silent: …".
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// Nobody listens, or the socket is not there.
    #[error(transparent)]
    Connect(#[from] StateError),
    /// The request could not be sent, or the answer not received.
    #[error("{0}")]
    Socket(#[from] io::Error),
    /// It did not answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// It closed the connection instead of answering.
    #[error("it ended meanwhile")]
    Ended,
    /// It is of another version than anybody thought of.
    #[error("its answer cannot be read: {0}")]
    Unreadable(serde_json::Error),
}

/// A connection on which every wait ends after `patience`.
///
/// # Errors
/// [`Silence::Connect`], [`Silence::Socket`].
pub fn connect(home: &Home, patience: Duration) -> Result<OwnedFd, Silence> {
    let supervisor = home.connect_control()?;
    socket::set_timeout(&supervisor, patience)?;
    Ok(supervisor)
}

/// Asks, and lends these descriptors.
///
/// # Errors
/// [`Silence::Socket`].
pub fn say(supervisor: &OwnedFd, ask: &Ask, fds: &[RawFd]) -> Result<(), Silence> {
    let request = serde_json::to_vec(&Request::new(ask.clone())).map_err(io::Error::from)?;
    Ok(socket::send(supervisor, &request, fds)?)
}

/// The next answer, with the packet whose descriptors it came with.
///
/// # Errors
/// [`Silence`], all but `Connect`.
pub fn hear(supervisor: &OwnedFd) -> Result<(Answer, Packet), Silence> {
    let packet = match socket::receive(supervisor, LARGEST) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(Silence::Late(patience_of(supervisor)));
        }
        received => received?,
    };
    if packet.bytes.is_empty() {
        return Err(Silence::Ended);
    }
    let answer = serde_json::from_slice(&packet.bytes).map_err(Silence::Unreadable)?;
    Ok((answer, packet))
}

/// As the kernel has it: only it knows what was set.
fn patience_of(supervisor: &OwnedFd) -> Duration {
    let set = getsockopt(supervisor, sockopt::ReceiveTimeout);
    set.map_or(Duration::ZERO, |value| {
        Duration::from_secs(u64::try_from(value.tv_sec()).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let (near, far) = socket::pair().unwrap();
        socket::set_timeout(&near, Duration::from_secs(5)).unwrap();
        (near, far)
    }

    #[test]
    fn what_is_asked_and_answered_arrives_whole() {
        let (near, far) = pair();
        say(&near, &Ask::Processes, &[]).unwrap();
        let packet = socket::receive(&far, LARGEST).unwrap();
        let request: Request = serde_json::from_slice(&packet.bytes).unwrap();
        assert_eq!(request.ask, Ask::Processes);
        let answer = Answer::Processes { pids: vec![1, 2] };
        socket::send(&far, &serde_json::to_vec(&answer).unwrap(), &[]).unwrap();
        assert_eq!(hear(&near).unwrap().0, answer);
    }

    #[test]
    fn every_silence_says_which_it_is() {
        let (near, far) = pair();
        socket::send(&far, br#"{"sings":{}}"#, &[]).unwrap();
        let unreadable = hear(&near).unwrap_err().to_string();
        assert!(unreadable.contains("cannot be read: unknown variant `sings`"));
        drop(far);
        assert!(matches!(hear(&near), Err(Silence::Ended)));
        let (near, _far) = pair();
        socket::set_timeout(&near, Duration::from_secs(1)).unwrap();
        let late = hear(&near).unwrap_err().to_string();
        assert_eq!(late, "no answer within 1 s");
    }
}
