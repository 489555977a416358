//! What the keeper does itself where there is no watcher: it refuses each call and each execution
//! without a look at who asks, and accounts for what the last watcher had in hand, so that each call is
//! answered once and told once, whenever that one ended.

use super::keeper::{Keeper, Source};
use super::link::Whose;
use super::marks;
use super::observer::Observer;
use super::shared::Stage;
use crate::event::Process;
use crate::policy::observe::Word;
use crate::sys::seccomp::{self, Notification};
use crate::sys::{fanotify, fds};
use nix::sys::epoll::EpollFlags;

/// The kernel holds no more of them by default (fs.fanotify.max_queued_events).
const MOST_UNSEEN: u64 = 1 << 16;

impl Keeper {
    /// Executions that a watcher had seen and did not come to tell.
    pub(super) fn count_untold(&mut self) {
        let untold = self.shared.take_in_hand();
        if untold > 0 {
            let cause = "the watcher ended before it could tell of executions that it had seen";
            self.journal.lose(untold, cause);
        }
    }

    /// Answers what the watcher had in hand with its denial. A call is reported by the next watcher,
    /// who knows how; one that ended two of them by the keeper, who says less.
    pub(super) fn settle(&mut self) -> Option<String> {
        self.drop_nobodys_call();
        if let Some((call, token, stage)) = self.shared.call()
            && let word @ (Word::Free | Word::Silent(_)) = self.word(token, &call)
        {
            // It was looked at, and is nobody's to report.
            if stage == Stage::Waits
                && let Some(Source::Listener(listener, _)) = self.sources.get(&token)
            {
                Observer::answer(listener, call.id, word);
            }
            self.finish_call();
        }
        if let Some((call, token, stage)) = self.shared.call() {
            if stage == Stage::Waits
                && let Some(Source::Listener(listener, _)) = self.sources.get(&token)
            {
                // ENOENT: it was answered a moment before the watcher could say so.
                let _ = seccomp::deny(listener, call.id, self.wires.wire(&call).errno);
            }
            if self.reported == call.id {
                self.shared.call_told();
            }
            let told = self.shared.is_call_told() || self.shared.is_call_counted();
            let judged = self.rules.is_empty() || self.shared.is_call_judged();
            match stage {
                _ if told && judged => self.shared.call_done(),
                Stage::Waits | Stage::Answered => self.shared.call_left(),
                Stage::Left => {
                    if !told {
                        self.report_blindly(&call);
                    }
                    self.shared.call_done();
                }
            }
        }
        self.count_untold();
        let file = self.shared.file()?;
        if !file.is_permission() {
            // Nobody waits for it, and nobody has told of it.
            self.shared.file_done();
            let cause = "the watcher ended while it looked at an execution or an opening";
            self.journal.lose(u64::from(!file.is_overflow()), cause);
            return None;
        }
        // ENOENT: it had its answer already.
        let answered = self
            .files
            .as_ref()
            .map(|group| fanotify::answer(group, file.fd, !self.refuses_files()));
        self.shared.file_done();
        (self.refuses_files() && matches!(answered, Some(Ok(()))))
            .then(|| format!("an execution or opening of process {}", file.pid))
    }

    /// Whether any rule refuses executions or openings. Where all only tell, none is refused for want of
    /// somebody who looks.
    fn refuses_files(&self) -> bool {
        self.rules.iter().any(marks::refuses)
    }

    /// There is nobody to look closer at what the last watcher had in hand.
    pub(super) fn finish_call(&mut self) {
        self.drop_nobodys_call();
        if let Some((call, token, _)) = self.shared.call() {
            if self.word(token, &call) != Word::Tripwire {
                if self.shared.is_call_told() {
                    self.shared.count_call_looked_at();
                } else {
                    self.went_on_unseen(self.whose(token), &call);
                }
                return self.shared.call_done();
            }
            let told = self.reported == call.id || self.shared.is_call_told();
            if !told && !self.shared.is_call_counted() {
                self.report_blindly(&call);
            }
            self.shared.call_done();
        }
    }

    /// A call whose listener is gone, and with it everybody under its filter: whether it was one to report
    /// or one to look at, nobody knows any more where there are both.
    fn drop_nobodys_call(&mut self) {
        let Some((_, token, _)) = self.shared.call() else {
            return;
        };
        if self.sources.contains_key(&token) || !self.observer.observes() {
            return;
        }
        if !self.shared.is_call_told() && !self.shared.is_call_counted() {
            self.shared.keeper_lost_one();
            self.tell_later();
        }
        self.shared.call_done();
    }

    /// Whose calls a listener brings; of one that is gone, the workload's.
    fn whose(&self, token: u64) -> Whose {
        match self.sources.get(&token) {
            Some(Source::Listener(_, whose)) => *whose,
            _ => Whose::default(),
        }
    }

    fn word(&self, token: u64, call: &Notification) -> Word {
        self.observer.word(self.whose(token), call)
    }

    /// A call was answered that nobody looked at. Where its registers say all of it and that was told before,
    /// nothing is lost.
    fn went_on_unseen(&mut self, whose: Whose, call: &Notification) {
        self.shared.count_call_alone();
        let known = self.observer.knows(&self.shared, whose, call);
        if self.observer.listens(call) {
            self.shared.begins_to_serve();
        }
        if !known {
            self.shared.keeper_lost_one();
            self.tell_later();
        }
    }

    /// Reports a call by what its registers say.
    fn report_blindly(&mut self, call: &Notification) {
        self.status.tripwires += 1;
        let process = Process {
            pid: call.tid as i32,
            ..Process::default()
        };
        let what = self.wires.event(call, process, Vec::new());
        self.tell(&what);
    }

    /// A call where there is no watcher, or the end of the last process under a filter.
    pub(super) fn listener_spoke(&mut self, token: u64, flags: EpollFlags) {
        let Some(Source::Listener(listener, whose)) = self.sources.get(&token) else {
            return;
        };
        if !flags.contains(EpollFlags::EPOLLIN) {
            self.remove(token);
            return;
        }
        let Ok(call) = seccomp::receive(listener) else {
            return;
        };
        let whose = *whose;
        let word = self.observer.word(whose, &call);
        if word != Word::Tripwire {
            Observer::answer(listener, call.id, word);
            return self.went_on_unseen(whose, &call);
        }
        let _ = seccomp::deny(listener, call.id, self.wires.wire(&call).errno);
        if self.counts.admits() {
            self.report_blindly(&call);
        } else {
            self.shared.leave_out_call(call.number);
            self.tell_later();
        }
    }

    /// Executions and openings that no watcher came to look at before the container's end.
    pub(super) fn count_files(&mut self) {
        let mut unseen = 0;
        while unseen < MOST_UNSEEN && self.refuse_files() {
            unseen += 1;
        }
        if unseen > 0 {
            let cause = "executions and openings came faster than they could be looked at";
            self.journal.lose(unseen, cause);
        }
    }

    /// Executions and openings where there is no watcher: nobody can tell what they are, so they are
    /// refused where any rule refuses. False where there is none.
    pub(super) fn refuse_files(&mut self) -> bool {
        let Some(group) = &self.files else {
            return false;
        };
        let Ok(Some(event)) = self.shared.read_file(group) else {
            return false;
        };
        for number in [Some(event.fd), event.pidfd].into_iter().flatten() {
            // Closed with the value.
            let _ = fds::inherited(number);
        }
        if event.is_permission() {
            let _ = fanotify::answer(group, event.fd, !self.refuses_files());
        }
        self.shared.file_done();
        true
    }
}
