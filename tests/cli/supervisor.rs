//! A supervisor that answers what a test says, on a real control socket.

use std::os::fd::{AsFd, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mantlet::control::{Answer, Ask, LARGEST, Request};
use mantlet::state::Home;
use mantlet::sys::socket;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// No test takes that long; one that asks too little must not hang.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Supervisor(JoinHandle<Vec<Ask>>);

impl Supervisor {
    /// Answers one request after another, each on a connection of its own.
    pub fn answering(home: &Home, answers: Vec<Answer>) -> Supervisor {
        let listener = home.bind_control().unwrap();
        socket::set_timeout(&listener, PATIENCE).unwrap();
        Supervisor(thread::spawn(move || {
            let serve = |answer| serve(&listener, &answer);
            answers.into_iter().map(serve).collect()
        }))
    }

    /// What was asked.
    pub fn heard(self) -> Vec<Ask> {
        self.0.join().unwrap()
    }
}

fn serve(listener: &OwnedFd, answer: &Answer) -> Ask {
    let client = socket::accept(listener).expect("a client");
    // It does not block.
    let mut ready = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::try_from(PATIENCE).unwrap()).unwrap();
    let packet = socket::receive(&client, LARGEST).unwrap();
    let request: Request = serde_json::from_slice(&packet.bytes).unwrap();
    let bytes = serde_json::to_vec(answer).unwrap();
    socket::send(&client, &bytes, &[]).unwrap();
    request.ask
}

/// Did it, without evidence.
pub fn done() -> Answer {
    Answer::Done { evidence: None }
}

pub fn refused(message: &str) -> Answer {
    Answer::Refused {
        message: message.into(),
    }
}
