//! Notified calls: each is a denial, or one that is only looked at ([`super::observe`]). Which of them is
//! decided on registers alone; it is answered whatever else happens.
//!
//! What was received lies in shared memory until it has been answered and reported, so a watcher that
//! ends in between loses neither. Known threads cost one poll(2), one statx(2) and one read(2).

use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;
use std::os::fd::AsFd;

use super::super::rules;
use super::super::sensors::Seen;
use super::super::shared::{Kind, Lines};
use super::Watcher;
use crate::event::What;
use crate::policy::observe::Word;
use crate::sys::seccomp::{self, Notification};

/// A caller whose calls are no longer worth a line is answered so many times in a row, and then waits.
const HAMMERED: u32 = 32;
const REST: Duration = Duration::from_millis(2);

impl Watcher<'_> {
    /// Answers one call that waits on a listener; epoll tells of the next one. RECV would block
    /// where there is none, but a call that was killed meanwhile still counts for it (ENOENT).
    pub(super) fn notified(&mut self, token: u64, flags: EpollFlags) {
        let Some((listener, whose)) = self.listeners.get(&token) else {
            return;
        };
        let whose = *whose;
        if !flags.contains(EpollFlags::EPOLLIN) {
            // The last process under this filter has ended.
            let _ = self.epoll.delete(listener);
            self.listeners.remove(&token);
            self.domains.remove(&token);
            self.settled.remove(&token);
            return;
        }
        let Ok(call) = self.shared.receive(listener, token) else {
            return;
        };
        let word = self.observer.word(whose, &call);
        if word != Word::Tripwire {
            return self.observe(token, whose, &call, word);
        }
        let errno = self.wires.wire(&call).errno;
        let answer = |watcher: &mut Self| {
            if let Some((listener, _)) = watcher.listeners.get(&token) {
                // ENOENT: the caller was killed meanwhile, perhaps by us.
                let _ = seccomp::deny(listener, call.id, errno);
            }
            watcher.shared.call_answered();
        };
        self.report(&call, Some(answer));
        self.shared.call_done();
        self.slow_down();
    }

    /// Tells of a call, and has done what its rules ask for. `answer` comes as soon as nothing asks for
    /// more than a denial: a process that is to be ended does not hear it, and one that is not does not
    /// wait for the journal. Who it was is looked up before, because it may end at once. What an earlier
    /// watcher has done of it is not done again.
    pub(super) fn report(&mut self, call: &Notification, answer: Option<impl FnOnce(&mut Self)>) {
        let wire = self.wires.wire(call);
        let (told, counted) = (self.shared.is_call_told(), self.shared.is_call_counted());
        let tells = !told && !counted && self.admits(Lines::Calls);
        let judges = !self.rules.is_empty() && !self.shared.is_call_judged();
        if !told && !counted && !tells {
            self.hammered += 1;
            self.due |= self.shared.leave_out_call(call.number);
        }
        let known = (tells || judges).then(|| self.who(call.tid as i32));
        let mut answer = answer;
        if !judges && let Some(answer) = answer.take() {
            answer(self);
        }
        let Some((process, ancestors)) = known else {
            return;
        };
        let tripwire = tells.then(|| self.wires.event(call, process.clone(), ancestors.clone()));
        let seen = Seen::Call {
            name: &wire.syscall,
            args: &call.args,
        };
        let findings = if judges {
            rules::findings(self.rules, self.shared, &seen, &process.exe, |_| true)
        } else {
            Vec::new()
        };
        let detections = if told {
            // They went into the ring with it.
            Vec::new()
        } else {
            self.events_of(&findings, &process, &ancestors, None)
        };
        let mut events: Vec<(Kind, &What)> = Vec::new();
        events.extend(tripwire.iter().map(|what| (Kind::Tripwire, what)));
        events.extend(detections.iter().map(|what| (Kind::Detection, what)));
        if tells {
            self.hammered = 0;
        }
        if !events.is_empty() && self.tell_all(call.id, &events) {
            self.shared.call_told();
        }
        if judges {
            self.respond(&findings, process.pid, None);
            self.shared.call_judged();
            if let Some(answer) = answer {
                answer(self);
            }
            self.count_tasks();
        }
    }

    /// Whoever hammers a tripwire waits, rather than the machine: 32 answers in 2 ms at the most.
    /// Executions that wait for their word, and the keeper, are served all the same.
    fn slow_down(&mut self) {
        if self.hammered < HAMMERED {
            return;
        }
        self.hammered = 0;
        let mut polled = vec![PollFd::new(self.link.as_fd(), PollFlags::POLLIN)];
        polled.extend(
            self.files
                .as_ref()
                .map(|files| PollFd::new(files.as_fd(), PollFlags::POLLIN)),
        );
        let _ = poll(&mut polled, PollTimeout::from(REST.as_millis() as u8));
    }
}
