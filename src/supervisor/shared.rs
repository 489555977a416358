//! What keeper and watcher share: memory that outlives a watcher, so that nothing it had in hand is
//! lost with it.
//!
//! | part | writer | holds |
//! |---|---|---|
//! | the call in hand | the kernel (RECV), the watcher | a notification that was taken and not yet reported |
//! | the file event in hand | the kernel (read), the watcher | a fanotify event that was taken and not yet answered |
//! | left out | the watcher | counts, which only grow, of events that the container caused too fast, by call and by rule |
//! | allowance | the watcher | how many events of a kind are still admitted |
//! | windows | the watcher | times of each rule's last hits |
//! | the ring | the watcher in front, the keeper behind | events, whole ones only |
//! | observed ([`observed`]) | the watcher, the keeper where it is alone | which accesses were told, by hash, and counts; where layers only look |
//!
//! The keeper believes nothing of it: each number is checked before use, and what does not fit is
//! counted as lost. Counts of calls are written twice, first beside the call in hand, so that one that was
//! in hand when its watcher ended is counted once and not twice.

mod observed;

use std::cell::RefCell;
use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crate::detect::Rule;
use crate::sys::seccomp::Notification;
use crate::sys::shared::Region;
use crate::sys::{fanotify, seccomp};

pub(super) use observed::Room;

const HEAD: usize = 0;
const TAIL: usize = 8;
const ASLEEP: usize = 16;
const OVERFLOWS: usize = 24;
const DROPPED: usize = 32;
/// Of the call in hand: which listener, and whether it has had its answer.
const CALL_OF: usize = 40;
const CALL_ANSWERED: usize = 48;
const LEFT_ENDS: usize = 56;
const LEFT_ANY: usize = 144;
const SEQ: usize = 152;
/// Of the call in hand: the count that it went into, that count with it, and what else became of it.
const COUNTED_AT: usize = 160;
const COUNTED: usize = 168;
const CALL_TOLD: usize = 176;
const CALL_JUDGED: usize = 184;
const CALL: usize = 64;
const FILE: usize = 192;
/// Executions that the watcher has taken and not yet told.
const IN_HAND: usize = 224;
/// Of each allowance: what is left of it, and when that was reckoned. Those by rule lie behind the counts.
const ALLOWANCES: usize = 232;
const LEFT_CALLS: usize = 272;
/// System calls counted one by one: all of every architecture have lower numbers.
const MOST_CALLS: usize = 512;
const LEFT_RULES: usize = LEFT_CALLS + MOST_CALLS * 8;

/// Bytes of the ring; a burst of the journal's own bucket fits while the keeper is at work.
const RING: usize = 48 * 1024;
/// Largest event, bytes.
pub(super) const LARGEST: usize = 16 * 1024;
/// Before each event: its length, its kind, the notification that it reports.
const ENTRY: usize = 16;
/// Most events that lie in the ring at a time. Who takes more in one go takes what was put in
/// meanwhile, and a watcher that is not ours any more puts in without end.
pub(super) const MOST_ENTRIES: usize = RING / ENTRY;

const _: () = assert!(CALL + seccomp::SLOT <= LEFT_ANY && FILE + fanotify::SLOT <= IN_HAND);

/// How far the call in hand is. It is reported where the ring has its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waits,
    Answered,
    /// The next watcher is to report it.
    Left,
}

/// What an entry of the ring is, for the keeper's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tripwire,
    Detection,
    Other,
    Observed,
}

/// Lines of one kind. Neither kinds nor rules take from each other: a flood of one must not hide another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    Calls,
    Ends,
    /// Detections of the rule of this number.
    Of(usize),
}

impl Lines {
    /// How many a container may cause at once, and how fast that fills again.
    fn rate(self) -> (f64, f64) {
        match self {
            Lines::Calls => (200.0, 20.0),
            Lines::Ends => (500.0, 100.0),
            Lines::Of(_) => (200.0, 40.0),
        }
    }
}

/// An event that the watcher has committed.
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// The notification that it reports; 0: none.
    pub(super) call: u64,
    /// JSON of a [`crate::event::What`], believed to be one line and no more.
    pub(super) body: Vec<u8>,
}

/// The memory.
pub(super) struct Shared {
    region: Region,
    /// Of each rule, where its window begins.
    windows: Vec<usize>,
    ring: usize,
    /// Where what was observed is remembered; none where every layer enforces.
    observed: Option<usize>,
    /// What this process has taken of the counts that only grow: those by call, and the dropped.
    taken: RefCell<Vec<u64>>,
}

impl Shared {
    /// Room for these rules.
    pub(super) fn new(rules: &[Rule], observes: bool) -> io::Result<Shared> {
        let mut at = LEFT_RULES + rules.len() * 24;
        let mut windows = Vec::with_capacity(rules.len());
        for rule in rules {
            windows.push(at);
            at += 8 + rule.after as usize * 8;
        }
        Ok(Shared {
            region: Region::new(at + RING + if observes { observed::SIZE } else { 0 })?,
            windows,
            ring: at,
            observed: observes.then_some(at + RING),
            taken: RefCell::new(vec![0; MOST_CALLS + 1]),
        })
    }

    fn get(&self, at: usize) -> u64 {
        self.region.u64_at(at).load(Acquire)
    }

    fn set(&self, at: usize, value: u64) {
        self.region.u64_at(at).store(value, Release);
    }

    /// Takes the next call of a listener into the shared slot.
    pub(super) fn receive(
        &self,
        listener: &impl std::os::fd::AsFd,
        token: u64,
    ) -> io::Result<Notification> {
        self.set(CALL_OF, token);
        for word in [CALL_ANSWERED, COUNTED, CALL_TOLD, CALL_JUDGED] {
            self.set(word, 0);
        }
        seccomp::receive_into(listener, &self.region, CALL)
    }

    /// The call in hand, which listener it came by, and how far it is.
    pub(super) fn call(&self) -> Option<(Notification, u64, Stage)> {
        let call = seccomp::notification_at(&self.region, CALL).filter(|call| call.id != 0)?;
        Some((call, self.get(CALL_OF), self.stage()))
    }

    fn stage(&self) -> Stage {
        match self.get(CALL_ANSWERED) {
            0 => Stage::Waits,
            1 => Stage::Answered,
            _ => Stage::Left,
        }
    }

    pub(super) fn call_answered(&self) {
        self.set(CALL_ANSWERED, 1);
    }

    /// It was answered, and a watcher that ended left its report to the next one.
    pub(super) fn call_left(&self) {
        self.set(CALL_ANSWERED, 2);
    }

    /// It was answered and reported.
    pub(super) fn call_done(&self) {
        self.region.u64_at(CALL).store(0, Release);
    }

    /// Takes the next file event; none where there is none.
    pub(super) fn read_file(
        &self,
        group: &impl std::os::fd::AsFd,
    ) -> io::Result<Option<fanotify::Event>> {
        fanotify::read_one(group, &self.region, FILE)
    }

    /// The file event in hand.
    pub(super) fn file(&self) -> Option<fanotify::Event> {
        fanotify::event_at(&self.region, FILE)
    }

    /// It was answered.
    pub(super) fn file_done(&self) {
        self.region.clear(FILE, fanotify::SLOT);
    }

    /// Whether the keeper is to hear of what is left out: once until it has asked.
    fn leaves_out(&self) -> bool {
        self.region.u64_at(LEFT_ANY).swap(1, SeqCst) == 0
    }

    /// The event of the call in hand is in the ring.
    pub(super) fn call_told(&self) {
        self.set(CALL_TOLD, 1);
    }

    pub(super) fn is_call_told(&self) -> bool {
        self.get(CALL_TOLD) != 0
    }

    /// Its rules were judged and what they ask for was done.
    pub(super) fn call_judged(&self) {
        self.set(CALL_JUDGED, 1);
    }

    pub(super) fn is_call_judged(&self) -> bool {
        self.get(CALL_JUDGED) != 0
    }

    /// Whether the call in hand is among those left out or dropped. Whoever asks has taken over from a
    /// watcher that may have ended between the two words; the second is made up for here.
    pub(super) fn is_call_counted(&self) -> bool {
        let (at, count) = (self.get(COUNTED_AT) as usize, self.get(COUNTED));
        let counts =
            at == DROPPED || (LEFT_CALLS..LEFT_RULES).contains(&at) && at.is_multiple_of(8);
        if count == 0 || !counts {
            return false;
        }
        self.set(at, count);
        self.leaves_out();
        true
    }

    /// Counts one more, the call in hand where there is one.
    fn count(&self, at: usize) -> bool {
        let count = self.get(at).wrapping_add(1);
        self.set(COUNTED_AT, at as u64);
        self.set(COUNTED, count);
        self.set(at, count);
        self.leaves_out()
    }

    /// What was counted since this was asked the last time.
    fn take_count(&self, at: usize, place: usize) -> u64 {
        let now = self.get(at);
        let before = std::mem::replace(&mut self.taken.borrow_mut()[place], now);
        now.wrapping_sub(before)
    }

    /// Leaves what was counted until now to who told of it, in a process that goes on after that one.
    pub(super) fn begin_counting_anew(&self) {
        self.take_left_calls();
        self.take_dropped();
    }

    /// Counts a call whose event is left out. True: the keeper does not know yet that there is anything.
    pub(super) fn leave_out_call(&self, number: i32) -> bool {
        let number = usize::try_from(number)
            .unwrap_or(MOST_CALLS)
            .min(MOST_CALLS - 1);
        self.count(LEFT_CALLS + number * 8)
    }

    /// Whether one more line may be told, at `now` milliseconds of any steady clock; it is taken then. It
    /// outlives a watcher: whoever could end one must not get a full allowance for it.
    pub(super) fn admits(&self, lines: Lines, now: u64) -> bool {
        let at = match lines {
            Lines::Calls => ALLOWANCES,
            Lines::Ends => ALLOWANCES + 16,
            Lines::Of(rule) => LEFT_RULES + self.windows.len() * 8 + rule * 16,
        };
        let (burst, per_second) = lines.rate();
        let gained = now.saturating_sub(self.get(at + 8)) as f64 / 1000.0 * per_second;
        let tokens = (f64::from_bits(self.get(at)) + gained).min(burst);
        let admitted = tokens >= 1.0;
        self.set(at, (tokens - f64::from(u8::from(admitted))).to_bits());
        self.set(at + 8, now);
        admitted
    }

    /// How many executions the watcher has in hand now.
    pub(super) fn set_in_hand(&self, count: usize) {
        self.set(IN_HAND, count as u64);
    }

    /// How many it had, when it ended.
    pub(super) fn take_in_hand(&self) -> u64 {
        let count = self.region.u64_at(IN_HAND).swap(0, Relaxed);
        count.min(u64::from(u16::MAX))
    }

    /// The same for a rule.
    pub(super) fn leave_out_rule(&self, rule: usize) -> bool {
        self.region
            .u64_at(LEFT_RULES + rule * 8)
            .fetch_add(1, Relaxed);
        self.leaves_out()
    }

    /// The same for the end of a process.
    pub(super) fn leave_out_end(&self) -> bool {
        self.region.u64_at(LEFT_ENDS).fetch_add(1, Relaxed);
        self.leaves_out()
    }

    /// Whether anything was left out since the last time that this was asked.
    pub(super) fn left_out(&self) -> bool {
        self.get(LEFT_ANY) != 0 && self.region.u64_at(LEFT_ANY).swap(0, SeqCst) != 0
    }

    /// The journal's number, for whoever writes its last line.
    pub(super) fn seq(&self) -> u64 {
        self.get(SEQ)
    }

    pub(super) fn set_seq(&self, seq: u64) {
        self.set(SEQ, seq);
    }

    pub(super) fn take_left_ends(&self) -> u64 {
        self.region.u64_at(LEFT_ENDS).swap(0, Relaxed)
    }

    /// What was left out since the last time, by call number.
    pub(super) fn take_left_calls(&self) -> Vec<(i32, u64)> {
        (0..MOST_CALLS)
            .filter_map(|number| {
                let count = self.take_count(LEFT_CALLS + number * 8, number);
                (count > 0).then_some((number as i32, count))
            })
            .collect()
    }

    /// The same, by rule.
    pub(super) fn take_left_rules(&self) -> Vec<(usize, u64)> {
        (0..self.windows.len())
            .filter_map(|rule| {
                let count = self.region.u64_at(LEFT_RULES + rule * 8).swap(0, Relaxed);
                (count > 0).then_some((rule, count))
            })
            .collect()
    }

    pub(super) fn overflowed(&self) -> bool {
        self.region.u64_at(OVERFLOWS).fetch_add(1, Relaxed);
        self.leaves_out()
    }

    pub(super) fn take_overflows(&self) -> u64 {
        self.region.u64_at(OVERFLOWS).swap(0, Relaxed)
    }

    /// Counts one more time that rule number `rule` was met, at `now` milliseconds of any steady
    /// clock, and answers how often it was within its window, at most `after` where it has one.
    pub(super) fn hit(&self, rule: usize, wanted: &Rule, now: u64) -> u32 {
        let Some(at) = self.windows.get(rule) else {
            return 1;
        };
        // The keeper judges too, and the count is anybody's: it wraps like the kernel's own.
        let total = self
            .region
            .u64_at(*at)
            .fetch_add(1, Relaxed)
            .wrapping_add(1);
        if wanted.within_ms == 0 {
            return u32::try_from(total).unwrap_or(u32::MAX);
        }
        let room = u64::from(wanted.after);
        let stamp = |number: u64| at + 8 + (number % room) as usize * 8;
        self.set(stamp(total.wrapping_sub(1)), now);
        let since = now.saturating_sub(wanted.within_ms);
        let kept = total.min(room);
        let within =
            (0..kept).filter(|back| self.get(stamp(total.wrapping_sub(1 + back))) >= since);
        within.count() as u32
    }

    /// Puts events into the ring, which report the notification `call`, 0 for none. They are there all
    /// of them, whole, or not at all; false where there is no room.
    pub(super) fn commit(&self, call: u64, events: &[(Kind, Vec<u8>)]) -> bool {
        let (head, tail) = (self.get(HEAD), self.get(TAIL));
        let size = |body: &Vec<u8>| ENTRY + body.len().next_multiple_of(8);
        let total: usize = events.iter().map(|(_, body)| size(body)).sum();
        let used = head.wrapping_sub(tail) as usize;
        let fits = events.iter().all(|(_, body)| body.len() <= LARGEST);
        if !fits || used > RING || RING - used < total {
            return false;
        }
        let mut at = head;
        for (kind, body) in events {
            let mut entry = [0; ENTRY];
            entry[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
            entry[4..8].copy_from_slice(&(*kind as u32).to_le_bytes());
            entry[8..].copy_from_slice(&call.to_le_bytes());
            self.put(at, &entry);
            self.put(at.wrapping_add(ENTRY as u64), body);
            at = at.wrapping_add(size(body) as u64);
        }
        self.set(HEAD, at);
        true
    }

    /// Whether the keeper had better come soon.
    pub(super) fn fills(&self) -> bool {
        self.get(HEAD).wrapping_sub(self.get(TAIL)) as usize > RING / 2
    }

    pub(super) fn dropped(&self) {
        self.count(DROPPED);
    }

    pub(super) fn take_dropped(&self) -> u64 {
        self.take_count(DROPPED, MOST_CALLS)
    }

    /// The oldest event that was not taken yet. What cannot be one empties the ring and counts as one
    /// dropped: only a watcher that is not ours any more writes so.
    pub(super) fn take(&self) -> Option<Entry> {
        let (head, tail) = (self.get(HEAD), self.get(TAIL));
        let used = head.wrapping_sub(tail);
        if used == 0 {
            return None;
        }
        let broken = || {
            self.set(TAIL, head);
            self.dropped();
        };
        if used as usize > RING || (used as usize) < ENTRY {
            broken();
            return None;
        }
        let mut entry = [0; ENTRY];
        self.take_from(tail, &mut entry);
        let word = |from: usize| {
            u32::from_le_bytes([
                entry[from],
                entry[from + 1],
                entry[from + 2],
                entry[from + 3],
            ])
        };
        let length = word(0) as usize;
        let size = ENTRY + length.next_multiple_of(8);
        if length > LARGEST || size > used as usize {
            broken();
            return None;
        }
        let kind = match word(4) {
            0 => Kind::Tripwire,
            1 => Kind::Detection,
            3 => Kind::Observed,
            _ => Kind::Other,
        };
        let mut call = [0; 8];
        call.copy_from_slice(&entry[8..]);
        let mut body = vec![0; length];
        self.take_from(tail.wrapping_add(ENTRY as u64), &mut body);
        self.set(TAIL, tail.wrapping_add(size as u64));
        Some(Entry {
            kind,
            call: u64::from_le_bytes(call),
            body,
        })
    }

    fn put(&self, position: u64, bytes: &[u8]) {
        let at = (position % RING as u64) as usize;
        let first = bytes.len().min(RING - at);
        self.region.write(self.ring + at, &bytes[..first]);
        self.region.write(self.ring, &bytes[first..]);
    }

    fn take_from(&self, position: u64, bytes: &mut [u8]) {
        let at = (position % RING as u64) as usize;
        let (first, rest) = {
            let middle = bytes.len().min(RING - at);
            bytes.split_at_mut(middle)
        };
        self.region.read(self.ring + at, first);
        self.region.read(self.ring, rest);
    }

    /// Says that the keeper is about to sleep; false where something has come meanwhile. `knows`: it has
    /// heard that something is left out.
    pub(super) fn may_sleep(&self, knows: bool) -> bool {
        self.region.u64_at(ASLEEP).store(1, SeqCst);
        let more = self.region.u64_at(HEAD).load(SeqCst) != self.get(TAIL);
        !more && (knows || self.region.u64_at(LEFT_ANY).load(SeqCst) == 0)
    }

    /// Whether the keeper sleeps and is to be woken; it is asked once a sleep.
    pub(super) fn wakes(&self) -> bool {
        self.region.u64_at(ASLEEP).swap(0, SeqCst) != 0
    }
}

#[cfg(test)]
mod tests;
