//! What is told, and counted: the keeper's own events, those that the watcher has put into the ring, and
//! what was left out because the container caused it too fast.

use std::time::Duration;

use super::keeper::{Keeper, Timer};
use super::rules;
use super::shared::{Kind, MOST_ENTRIES};
use crate::event::What;

/// How long events that were left out are gathered before they are told.
const GATHER: Duration = Duration::from_secs(1);

/// Why an access may not have been told.
const UNSEEN: &str = "calls went on without being looked at: the watcher ended over them or was not there, \
     what they name could not be read, is too long or no UTF-8, or there were more different ones than a journal takes";

impl Keeper {
    pub(super) fn tell(&mut self, what: &What) {
        // What the watcher reported before comes before.
        self.drain();
        self.journal.write(what);
        self.count();
    }

    /// Takes what the watcher has put into the ring, and not without end what it goes on to put there.
    pub(super) fn drain(&mut self) {
        for _ in 0..MOST_ENTRIES {
            let Some(entry) = self.shared.take() else {
                break;
            };
            // Its process may have been let go, and not yet told of.
            self.hear_pipes();
            if entry.kind == Kind::Observed && !self.has_share(entry.body.len()) {
                continue;
            }
            match entry.kind {
                Kind::Tripwire => self.status.tripwires += 1,
                Kind::Detection => self.status.detections += 1,
                Kind::Observed => self.status.observed += 1,
                Kind::Other => {}
            }
            if entry.call != 0 {
                self.reported = entry.call;
            }
            self.journal.write_body(&entry.body);
            self.count();
        }
        if !self.waits_for(Timer::LeftOut) && self.shared.left_out() {
            self.after(GATHER, Timer::LeftOut);
        }
    }

    /// Tells of an access, as far as there is room.
    pub(super) fn tell_observed(&mut self, what: &What) {
        self.drain();
        match serde_json::to_vec(what) {
            Ok(body) if self.has_share(body.len()) => {
                self.status.observed += 1;
                self.journal.write_body(&body);
            }
            Ok(_) => {}
            Err(error) => self.journal.lose(1, &error.to_string()),
        }
        self.count();
    }

    /// Whether an `observed` line has room in what the journal has for them; counted as unseen where not, and
    /// the watcher composes no more of them.
    fn has_share(&mut self, length: usize) -> bool {
        let has = self.journal.takes_observed(length);
        if !has {
            self.shared.spend_room();
            self.shared.keeper_lost_one();
            self.tell_later();
        }
        has
    }

    /// Tells how many accesses are missing: the first of them, and then whenever there are twice as many. Who
    /// causes them without end must not fill the journal with that.
    pub(super) fn tell_unseen(&mut self, last: bool) {
        self.status.unseen = self.shared.unseen();
        let said = self.counts.unseen_said;
        let untold = self.status.unseen.saturating_sub(said);
        if untold > 0 && (last || untold >= said) {
            self.counts.unseen_said = self.status.unseen;
            self.shared.set_unseen_said(self.status.unseen);
            self.journal.lose(untold, UNSEEN);
        }
    }

    /// Something was left out by the keeper itself.
    pub(super) fn tell_later(&mut self) {
        if !self.waits_for(Timer::LeftOut) {
            self.after(GATHER, Timer::LeftOut);
        }
    }

    pub(super) fn count(&mut self) {
        self.status.events = self.journal.written();
        self.shared.set_seq(self.status.events);
        let had = self.status.journal_error.is_some();
        self.status.lost = self.journal.lost();
        self.status.journal_error = self.journal.error();
        if had != self.status.journal_error.is_some() {
            self.write_status();
        }
    }

    /// What cannot be written is told by `mantlet ps`, which asks the supervisor itself.
    pub(super) fn write_status(&self) {
        let _ = self.home.write_status(&self.status);
    }

    /// Tells what was left out, if anything.
    pub(super) fn tell_left_out(&mut self) {
        self.forget(Timer::LeftOut);
        let _ = self.shared.left_out();
        let mut told = Vec::new();
        for (number, count) in self.shared.take_left_calls() {
            self.status.tripwires = self.status.tripwires.saturating_add(count);
            told.push((count, format!("tripwire {}", self.wires.name(number))));
        }
        for (number, count) in self.shared.take_left_rules() {
            self.status.detections = self.status.detections.saturating_add(count);
            let rule = self.rules.get(number).map(rules::title);
            told.push((count, format!("detection {}", rule.unwrap_or_default())));
        }
        told.push((self.shared.take_left_ends(), "exit".to_owned()));
        told.push((
            std::mem::take(&mut self.counts.responses_left_out),
            "response".to_owned(),
        ));
        for (count, of) in told.into_iter().filter(|(count, _)| *count > 0) {
            self.status.suppressed = self.status.suppressed.saturating_add(count);
            self.tell(&What::Suppressed { count, of });
        }
        match self.shared.take_overflows() {
            0 => {}
            count => self.tell(&What::Overflow { count }),
        }
        match self.shared.take_dropped() {
            0 => {}
            count => self
                .journal
                .lose(count, "the journal was not written as fast as events came"),
        }
        self.tell_unseen(self.finished);
        self.count();
    }
}
