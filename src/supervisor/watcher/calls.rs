//! Notified calls: each is a denial, decided on registers alone, and answered whatever else happens.
//!
//! The event is committed before the answer: a caller that goes on, or is killed, finds its call
//! reported. Known threads cost one poll(2) and one read(2) for that.

use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;
use std::os::fd::AsFd;

use super::super::sensors::Seen;
use super::super::shared::Kind;
use super::super::tripwire::{arch_of, errno_name};
use super::Watcher;
use crate::event::What;
use crate::sys::seccomp::{self, Notification};

/// A caller whose calls are no longer worth a line is answered so many times in a row, and then waits.
const HAMMERED: u32 = 32;
const REST: Duration = Duration::from_millis(2);

impl Watcher<'_> {
    /// Answers one call that waits on a listener; epoll tells of the next one. RECV would block
    /// where there is none, but a call that was killed meanwhile still counts for it (ENOENT).
    pub(super) fn notified(&mut self, token: u64, flags: EpollFlags) {
        let Some(listener) = self.listeners.get(&token) else {
            return;
        };
        if !flags.contains(EpollFlags::EPOLLIN) {
            // The last process under this filter has ended.
            let _ = self.epoll.delete(listener);
            self.listeners.remove(&token);
            return;
        }
        let Ok(call) = self.shared.receive(listener, token) else {
            return;
        };
        self.report(&call);
        let errno = self.wires.wire(&call).errno;
        if let Some(listener) = self.listeners.get(&token) {
            // ENOENT: the caller was killed meanwhile, perhaps by us.
            let _ = seccomp::deny(listener, call.id, errno);
        }
        self.shared.call_answered();
        self.shared.call_done();
        self.slow_down();
    }

    /// Tells of a call, and has done what its rules ask for.
    pub(super) fn report(&mut self, call: &Notification) {
        let wire = self.wires.wire(call);
        let tid = call.tid as i32;
        let seen = Seen::Call {
            name: &wire.syscall,
            args: &call.args,
        };
        let told = self.allowance.calls.admits();
        let judged = !self.rules.is_empty();
        if !told {
            self.shared.leave_out_call(call.number);
            self.hammered += 1;
            self.ring();
            if !judged {
                return;
            }
        }
        let (process, ancestors) = self.who(tid);
        if told {
            self.hammered = 0;
            let (arch, _) = arch_of(call);
            let what = What::Tripwire {
                process: process.clone(),
                ancestors: ancestors.clone(),
                fix: crate::policy::fix_for(&wire.syscall, &wire.rules, &call.args),
                syscall: wire.syscall.clone(),
                profile: wire.profile.clone(),
                number: call.number.into(),
                arch: arch.into(),
                args: call.args.iter().map(|arg| format!("{arg:#x}")).collect(),
                errno: errno_name(wire.errno),
            };
            self.tell(Kind::Tripwire, call.id, &what);
        }
        if judged {
            let findings = self.judge(&seen, &process, &ancestors, None);
            // Before the answer: a process that is to be ended does not see one.
            self.respond(&findings, process.pid, None);
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
