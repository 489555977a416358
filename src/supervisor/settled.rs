//! What the rules of layers that only look were bound to, in the container, before a session had its word:
//! init's own code ([`crate::init::paths`]), run by the watcher over the root of the init that waits.
//!
//! A domain that is enforced is made at that moment and knows nothing that is made later. So are these: the
//! keeper keeps what the first watcher found, in that one's own words, for those that come after it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::clip;
use super::keeper::{Keeper, Source};
use super::link::{Order, Whose};
use super::observer::{phase, session};
use super::session::Session;
use crate::access::Access;
use crate::event::{Process, What};
use crate::policy::observe::{AtStart, Denial, Observing};

/// Longest that a watcher may tell of one session, and of all that live, bytes: names that the container
/// chose. What is beyond is as if it could not be looked at.
pub(super) const LONGEST: usize = 8 << 20;
pub(super) const LONGEST_ALL: usize = 32 << 20;
/// How often a watcher is asked about one session, each after the end of the one before.
const TRIES: u8 = 2;

/// Of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settled {
    /// By layer and rule ([`Observing::rules`]): real names of what init would have granted.
    pub(super) places: Vec<Vec<BTreeSet<String>>>,
    /// What init would have refused the session for.
    pub(super) refused: Vec<AtStart>,
    /// Number and place of each mount (proc_pid_mountinfo(5)).
    pub(super) mounts: Vec<(u64, String)>,
    /// Number of its mount namespace.
    pub(super) namespace: u64,
    /// In how many pid namespaces it has a number.
    pub(super) depth: usize,
}

/// Of one listener, as far as it was told.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The init that waited.
    pub(super) pid: i32,
    /// [`Settled`] as JSON.
    pub(super) bytes: Vec<u8>,
    /// That is all.
    pub(super) whole: bool,
    /// How often a watcher was asked.
    pub(super) tries: u8,
}

impl Settled {
    /// Nothing is granted, and each layer says why: init would not have started.
    pub(super) fn refused(observing: &Observing, why: &str) -> Settled {
        let layers = observing.rules();
        Settled {
            refused: layers
                .map(|(profile, _)| AtStart::new(profile, &why))
                .collect(),
            ..Settled::default()
        }
    }
}

impl Keeper {
    /// Has the watcher look, before init has its word. True where there is anything to wait for.
    pub(super) fn begin_to_settle(&mut self, token: u64, policy: usize, pid: i32) -> bool {
        let observing = self.observer.of_policy(policy);
        if !observing.is_some_and(Observing::reads_memory) {
            return false;
        }
        let told = Told {
            pid,
            bytes: Vec::new(),
            whole: false,
            tries: u8::from(self.attendant.ready),
        };
        self.settled.insert(token, told);
        if self.attendant.ready {
            self.order(&Order::Settle { token, pid }, &[]);
        }
        true
    }

    /// A new watcher is ready: what none has told yet it is asked for.
    pub(super) fn settle_the_rest(&mut self) {
        self.give_up_settling(|told| told.tries >= TRIES);
        let open = self.settled.iter_mut().filter(|(_, told)| !told.whole);
        let mut orders = Vec::new();
        for (token, told) in open {
            // The half of a watcher that has ended.
            told.bytes.clear();
            told.tries += 1;
            orders.push(Order::Settle {
                token: *token,
                pid: told.pid,
            });
        }
        for order in orders {
            self.order(&order, &[]);
        }
    }

    /// A watcher that looked for too long has ended: the next one would do as much.
    pub(super) fn settling_took_too_long(&mut self) {
        self.give_up_settling(|told| told.tries > 0);
    }

    /// Sessions that no watcher comes to the end of begin all the same: a layer that only looks keeps nobody.
    fn give_up_settling(&mut self, is_one: impl Fn(&Told) -> bool) {
        let open = self.settled.iter();
        let open = open.filter(|(_, told)| !told.whole && is_one(told));
        let tokens: Vec<u64> = open.map(|(token, _)| *token).collect();
        for token in tokens {
            let whose = match self.sources.get(&token) {
                Some(Source::Listener(_, whose)) => *whose,
                _ => continue,
            };
            let Some(observing) = self.observer.of(whose) else {
                continue;
            };
            let why =
                "the container's files cannot be looked at: each watcher that tried has ended";
            let settled = Settled::refused(observing, why);
            let Ok(bytes) = serde_json::to_vec(&settled) else {
                continue;
            };
            if let Some(told) = self.settled.get_mut(&token) {
                told.bytes = bytes;
                told.whole = true;
            }
            self.settle_session(token, settled.refused);
        }
    }

    /// A piece of what a watcher has found; false where nothing of ours speaks so.
    pub(super) fn hear_settled(&mut self, token: u64, piece: &[u8], last: bool) -> bool {
        let all: usize = self.settled.values().map(|told| told.bytes.len()).sum();
        let Some(told) = self.settled.get_mut(&token).filter(|told| !told.whole) else {
            // Its session has ended meanwhile.
            return true;
        };
        // It counts as we do.
        if told.bytes.len() + piece.len() > LONGEST || all + piece.len() > LONGEST_ALL + LONGEST {
            return false;
        }
        told.bytes.extend(piece);
        if !last {
            return true;
        }
        let Ok(settled) = serde_json::from_slice::<Settled>(&told.bytes) else {
            return false;
        };
        told.bytes.shrink_to_fit();
        told.whole = true;
        self.settle_session(token, settled.refused);
        true
    }

    fn settle_session(&mut self, token: u64, refused: Vec<AtStart>) {
        for source in self.sources.values_mut() {
            if let Source::Session(session) = source
                && session.unsettled == Some(token)
            {
                session.settle(refused);
                break;
            }
        }
        self.release_those_who_wait();
    }

    /// What layers in mode `audit` would have refused as a whole: the container, or a session.
    pub(super) fn tell_refusals(
        &mut self,
        whose: Whose,
        process: &Process,
        refused: Vec<(String, String)>,
    ) {
        for (profile, what) in refused {
            let access = Access::Container { what };
            let phase = phase(&self.shared);
            let denial = Denial {
                profile: &profile,
                fix: "none: the pod or the session must be another one, or the profile".into(),
            };
            let hash = (self.observer).hash(&access, whose, phase, Some(&denial), false);
            if self.shared.is_told(hash) {
                continue;
            }
            // In words that hold what the container's author chose.
            let (access, clipped) = clip::access(access);
            self.shared.remember(hash);
            self.tell_observed(&What::Observed {
                process: process.clone(),
                session: session(whose),
                phase,
                access,
                linked: false,
                clipped,
                fix: denial.fix,
                profile,
                denied: false,
            });
        }
    }
}

impl Session {
    /// It is known what its rules were bound to, and what would have kept it from starting.
    fn settle(&mut self, refused: Vec<AtStart>) {
        self.unsettled = None;
        let refused = refused.into_iter().map(|own| (own.profile, own.what));
        self.wanted.observed.extend(refused);
    }
}
