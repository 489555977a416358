//! Where a container's life begins and ends in a journal, and what the journal has lost of it: one account
//! for all that judge by journals.
//!
//! Pure: events in, lives out.

use std::collections::BTreeMap;

use crate::event::{Event, What};

/// What a journal tells of one life as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Life {
    /// Its last line is the container's end.
    pub complete: bool,
    /// It has no such line, and nobody writes one any more: the supervisor ended before the container, or the file
    /// was cut. What came after is not there.
    pub cut_off: bool,
    /// Events that are missing, by cause.
    pub lost: BTreeMap<String, u64>,
    /// Refusals and detections that were left out because they came too fast. None of them is what a container
    /// needs to work.
    pub suppressed: u64,
}

impl Life {
    fn lose(&mut self, count: u64, cause: &str) {
        if count > 0 {
            let lost = self.lost.entry(cause.to_owned()).or_default();
            *lost = lost.saturating_add(count);
        }
    }
}

/// The lives of one journal, as far as it was read.
#[derive(Debug, Clone, Default)]
pub struct Lives {
    all: Vec<Life>,
    holes: Holes,
    /// Number of the last event.
    last: u64,
    /// Lines that are no events, since then.
    broken: u64,
}

impl Lives {
    /// A line that could not be understood.
    pub fn broken(&mut self) {
        self.broken += 1;
    }

    /// The next event; says whether another life begins with it. Numbers begin with 1 again where an id is used
    /// again.
    pub fn take(&mut self, event: &Event) -> bool {
        let ended = self.all.last().is_some_and(|life| life.complete);
        // Smaller than the last: another life, whose first lines are gone.
        let begins = self.all.is_empty() || ended || event.seq == 1 || event.seq < self.last;
        if begins {
            self.settle();
            self.all.push(Life::default());
            self.last = 0;
        }
        let life = self.all.last_mut().expect("one was begun");
        // A broken line had a number; only what is missing beyond those is a hole.
        let missing = (event.seq.saturating_sub(self.last + 1)).saturating_sub(self.broken);
        life.lose(std::mem::take(&mut self.broken), BROKEN);
        self.holes.take(life, event, self.last, missing);
        self.last = event.seq;
        match &event.what {
            What::Suppressed { count, of } if of.starts_with("observed") => {
                life.lose(*count, "faster than the journal takes them");
            }
            What::Suppressed { count, .. } => life.suppressed += count,
            What::Overflow { count } => life.lose(*count, "the kernel's queue was full"),
            What::End { .. } => life.complete = true,
            _ => {}
        }
        begins
    }

    /// All of them. `goes_on`: the last one's supervisor lives, and has not written its last line yet.
    pub fn finish(mut self, goes_on: bool) -> Vec<Life> {
        self.settle();
        if let Some(life) = self.all.last_mut() {
            life.lose(self.broken, BROKEN);
        }
        let count = self.all.len();
        for (at, life) in self.all.iter_mut().enumerate() {
            life.cut_off = !(life.complete || goes_on && at + 1 == count);
        }
        self.all
    }

    /// Holes that no line has explained are the life's that they are in.
    fn settle(&mut self) {
        let Holes { beginning, between } = std::mem::take(&mut self.holes);
        let Some(life) = self.all.last_mut() else {
            return;
        };
        life.lose(beginning, "the beginning of the journal is gone");
        life.lose(between, "holes in the journal's numbers");
    }
}

const BROKEN: &str = "lines of the journal that are no events";

/// Numbers that are not there, and that no line has explained yet.
#[derive(Debug, Clone, Default)]
struct Holes {
    beginning: u64,
    between: u64,
}

impl Holes {
    /// A `lost` line is about the hole before it, or, where lines could not be written, about those before the one
    /// that could again: that comes first.
    fn take(&mut self, life: &mut Life, event: &Event, last: u64, missing: u64) {
        match &event.what {
            What::Lost { count, cause } => {
                life.lose(missing.max(*count), cause);
                let mut explains = count.saturating_sub(missing);
                for hole in [&mut self.between, &mut self.beginning] {
                    let explained = explains.min(*hole);
                    *hole -= explained;
                    explains -= explained;
                }
            }
            _ if last == 0 => self.beginning += missing,
            _ => self.between += missing,
        }
    }
}
