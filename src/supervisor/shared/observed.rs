//! What was told of calls that are only looked at, and how many there were: the part of the memory that is
//! there where a layer is in mode `audit` or `learn`.
//!
//! The watcher writes it, and the keeper while there is no watcher. Counts only grow; what the call in hand adds
//! to them is written beside them first, so that a call whose watcher ended is counted once and not twice.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::Shared;

/// Most accesses that one container is told of.
const MOST_OBSERVED: u64 = 1 << 16;
/// Places for them: half of them stay free, so that a search is short.
const PLACES: usize = 1 << 17;
/// Since when the workload serves, how many accesses are remembered, how many calls were looked at, how many
/// accesses were not told, whether the journal takes no more, both counts with the call in hand, how many
/// accesses the keeper did not tell, how many of all those the journal says are lost.
const SERVES: usize = 0;
const ACCESSES: usize = 8;
const CALLS: usize = 16;
const UNSEEN: usize = 24;
const SPENT: usize = 32;
const NEXT_CALLS: usize = 40;
const NEXT_UNSEEN: usize = 48;
const KEEPERS: usize = 56;
const SAID: usize = 64;
const TABLE: usize = 72;
/// Bytes of all that.
pub(super) const SIZE: usize = TABLE + PLACES * 8;

/// Whether one more access can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Room {
    Some,
    /// Its line has none in the journal, but that it was met can be remembered.
    Spent,
    /// There are too many to remember.
    None,
}

impl Shared {
    /// A word of it; none where every layer enforces.
    fn word(&self, at: usize) -> Option<&AtomicU64> {
        self.observed.map(|base| self.region.u64_at(base + at))
    }

    fn read(&self, at: usize) -> u64 {
        self.word(at).map_or(0, |word| word.load(Acquire))
    }

    fn write(&self, at: usize, value: u64) {
        if let Some(word) = self.word(at) {
            word.store(value, Release);
        }
    }

    /// Whether the workload has listened.
    pub(in crate::supervisor) fn serves(&self) -> bool {
        self.read(SERVES) != 0
    }

    /// Since when, nanoseconds of CLOCK_MONOTONIC; 0: it does not.
    pub(in crate::supervisor) fn serves_since(&self) -> u64 {
        self.read(SERVES)
    }

    pub(in crate::supervisor) fn begins_to_serve(&self) {
        if !self.serves() {
            self.write(SERVES, now());
        }
    }

    /// The call in hand was looked at, and is told but for so many accesses. True: the keeper does not know
    /// yet that anything is missing.
    pub(in crate::supervisor) fn call_looked_at(&self, unseen: u64) -> bool {
        self.write(NEXT_CALLS, self.read(CALLS).wrapping_add(1));
        self.write(NEXT_UNSEEN, self.read(UNSEEN).wrapping_add(unseen));
        self.call_told();
        self.count_call_looked_at();
        unseen > 0 && self.leaves_out()
    }

    /// The same counts once more, of a call that was told and whose watcher may have ended before it counted.
    pub(in crate::supervisor) fn count_call_looked_at(&self) {
        self.write(CALLS, self.read(NEXT_CALLS));
        self.write(UNSEEN, self.read(NEXT_UNSEEN));
    }

    /// One more call was notified that goes on, where there is no watcher.
    pub(in crate::supervisor) fn count_call_alone(&self) {
        self.write(CALLS, self.read(CALLS).wrapping_add(1));
    }

    /// Calls that went on so far.
    pub(in crate::supervisor) fn calls_observed(&self) -> u64 {
        self.read(CALLS)
    }

    /// One more access that the keeper does not tell.
    pub(in crate::supervisor) fn keeper_lost_one(&self) {
        self.write(KEEPERS, self.read(KEEPERS).wrapping_add(1));
    }

    /// Accesses that were not told so far.
    pub(in crate::supervisor) fn unseen(&self) -> u64 {
        self.read(UNSEEN).saturating_add(self.read(KEEPERS))
    }

    /// How many of them the journal says are lost, for whoever writes its last lines.
    pub(in crate::supervisor) fn unseen_said(&self) -> u64 {
        self.read(SAID)
    }

    pub(in crate::supervisor) fn set_unseen_said(&self, count: u64) {
        self.write(SAID, count);
    }

    /// The place of a hash among those remembered: where it is, or where it would go.
    fn place(&self, hash: u64) -> Option<(&AtomicU64, bool)> {
        let hash = hash.max(1);
        (0..PLACES).find_map(|step| {
            let at = (hash as usize).wrapping_add(step) % PLACES;
            let slot = self.word(TABLE + at * 8)?;
            match slot.load(Acquire) {
                0 => Some((slot, false)),
                own if own == hash => Some((slot, true)),
                _ => None,
            }
        })
    }

    /// Whether an access of that hash was told, or counted as one that is not.
    pub(in crate::supervisor) fn is_told(&self, hash: u64) -> bool {
        self.observed.is_some() && self.place(hash).is_some_and(|(_, told)| told)
    }

    /// Whether one more can be told.
    pub(in crate::supervisor) fn room(&self) -> Room {
        if self.observed.is_none() || self.read(ACCESSES) >= MOST_OBSERVED {
            Room::None
        } else if self.read(SPENT) != 0 {
            Room::Spent
        } else {
            Room::Some
        }
    }

    /// The journal takes no more of them.
    pub(in crate::supervisor) fn spend_room(&self) {
        self.write(SPENT, 1);
    }

    /// It is in the ring, or counted.
    pub(in crate::supervisor) fn remember(&self, hash: u64) {
        // The keeper and the watcher both may.
        while let Some((slot, false)) = self.place(hash) {
            if slot
                .compare_exchange(0, hash.max(1), SeqCst, Acquire)
                .is_ok()
            {
                if let Some(count) = self.word(ACCESSES) {
                    count.fetch_add(1, Relaxed);
                }
                return;
            }
        }
    }
}

/// The clock by which the kernel tells when a capability was used.
fn now() -> u64 {
    // There is always one.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(shared: &Shared) -> (u64, u64) {
        (shared.calls_observed(), shared.unseen())
    }

    #[test]
    fn a_call_is_counted_once_whenever_its_watcher_ends() {
        let shared = Shared::new(&[], true).unwrap();
        assert!(shared.call_looked_at(2), "the keeper is to hear of it");
        assert_eq!(counts(&shared), (1, 2));
        // It ended right afterwards, and the keeper counts what was told.
        shared.count_call_looked_at();
        assert_eq!(counts(&shared), (1, 2));
        // It ended with only one of the two counted.
        shared.write(NEXT_CALLS, 2);
        shared.write(NEXT_UNSEEN, 3);
        shared.write(CALLS, 2);
        shared.count_call_looked_at();
        assert_eq!(counts(&shared), (2, 3));
        shared.count_call_alone();
        shared.keeper_lost_one();
        shared.call_looked_at(0);
        assert_eq!(counts(&shared), (4, 4));
    }

    #[test]
    fn what_has_no_room_in_the_journal_is_remembered_and_more_than_a_table_holds_is_not() {
        let shared = Shared::new(&[], true).unwrap();
        assert_eq!(shared.room(), Room::Some);
        shared.spend_room();
        assert_eq!(shared.room(), Room::Spent);
        for hash in 0..MOST_OBSERVED {
            assert!(!shared.is_told(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 2));
            shared.remember(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 2);
        }
        assert!(shared.is_told(2));
        assert_eq!(shared.room(), Room::None);
    }

    #[test]
    fn where_every_layer_enforces_there_is_nothing_of_it() {
        let shared = Shared::new(&[], false).unwrap();
        assert_eq!(shared.room(), Room::None);
        shared.begins_to_serve();
        shared.call_looked_at(1);
        assert!(!shared.serves() && !shared.is_told(0) && counts(&shared) == (0, 0));
        assert!(shared.take().is_none());
    }
}
