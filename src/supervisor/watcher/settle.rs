//! What the rules of layers that only look are bound to: found out by init's own code, over the files of the
//! init that waits for its word, and told to the keeper, who gives it.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::super::link::{PIECE, Request};
use super::super::settled::{LONGEST, LONGEST_ALL, Settled};
use super::Watcher;
use super::walk::{self, View};
use crate::init::domain::{DomainError, MOST_OBJECTS};
use crate::init::paths::{self, PathError};
use crate::policy::decide::Domain;
use crate::policy::observe::{AtStart, Observing};
use crate::seal::PathRule;
use crate::sys::socket;

/// Why a rule is bound to nothing.
#[derive(Debug, thiserror::Error)]
enum Unbound {
    /// Init would have refused it.
    #[error(transparent)]
    Domain(#[from] DomainError),
    #[error(transparent)]
    Path(#[from] PathError),
    /// More names than are kept.
    #[error(
        "the files that the landlock rule for {0:?} stands for cannot be looked at: their names are too long"
    )]
    Names(PathBuf),
}

impl Watcher<'_> {
    /// Looks at what the rules of a session come to, and says so. Where that cannot be, nothing is granted
    /// and the reason is told: init would not have started.
    pub(super) fn settle(&mut self, token: u64, pid: i32) {
        let Some(&(_, whose)) = self.listeners.get(&token) else {
            return;
        };
        let Some(observing) = self.observer.of(whose) else {
            return;
        };
        // Directories may be somebody's to list (FUSE).
        self.wind_watchdog();
        let mut settled = found(observing, pid).unwrap_or_else(|error| {
            let why = format!("the container's files cannot be looked at: {error}");
            Settled::refused(observing, &why)
        });
        let Ok(mut text) = serde_json::to_vec(&settled) else {
            return;
        };
        let all: usize = self.settled.values().sum();
        if text.len() > LONGEST || all + text.len() > LONGEST_ALL {
            let why =
                "the container's files cannot be looked at: their names are too many or too long";
            settled = Settled::refused(observing, why);
            let Ok(short) = serde_json::to_vec(&settled) else {
                return;
            };
            text = short;
        }
        self.take_settled(token, pid, &settled, text.len());
        let count = text.chunks(PIECE).count();
        for (at, piece) in text.chunks(PIECE).enumerate() {
            let request = Request::Settled {
                token,
                piece: piece.to_vec(),
                last: at + 1 == count,
            };
            // The keeper does not hear: the next watcher begins with everything.
            if socket::send(&self.link, &request.encode(), &[]).is_err() {
                self.finished = true;
                return;
            }
        }
    }

    /// Knows a session's domains from here on.
    pub(super) fn take_settled(&mut self, token: u64, pid: i32, settled: &Settled, length: usize) {
        self.settled.insert(token, length);
        let whose = self.listeners.get(&token).map(|(_, whose)| *whose);
        let observing = whose.and_then(|whose| self.observer.of(whose));
        let domains = observing.map_or_else(Vec::new, |own| own.domains(&settled.places));
        self.domains.insert(token, domains);
        if settled.namespace != 0 {
            self.mounts.take(settled.namespace, pid, &settled.mounts);
            self.depth.get_or_insert(settled.depth);
        }
    }

    /// The domains of the layers that look at what a listener brings.
    pub(super) fn domains_of(&self, token: u64) -> &[Domain] {
        self.domains.get(&token).map_or(&[], Vec::as_slice)
    }
}

fn found(observing: &Observing, pid: i32) -> io::Result<Settled> {
    let view = View::of(pid, None)?;
    let mut settled = Settled {
        mounts: walk::mounts(&paths::Root::mountinfo(&view)?),
        namespace: walk::namespace(pid)?,
        depth: walk::depth(pid)?,
        ..Settled::default()
    };
    let mut room = LONGEST;
    for (profile, rules) in observing.rules() {
        let mut left = MOST_OBJECTS;
        let mut places = Vec::new();
        for rule in rules {
            let bound = bound(rule, &view, &mut left, &mut room);
            if let Err(why) = &bound {
                settled.refused.push(AtStart::new(profile, why));
            }
            places.push(bound.unwrap_or_default());
        }
        settled.places.push(places);
    }
    Ok(settled)
}

/// Real names of what init would bind a rule to.
fn bound(
    rule: &PathRule,
    view: &View,
    left: &mut u32,
    room: &mut usize,
) -> Result<BTreeSet<String>, Unbound> {
    let mut names = BTreeSet::new();
    paths::resolve(rule, view, &mut |grant| {
        *left = left
            .checked_sub(1)
            .ok_or_else(|| DomainError::too_many(rule))?;
        let name = paths::target(&grant.fd);
        let name = name.map_err(|error| PathError::Open(rule.place(), error))?;
        let (name, _) = walk::in_text(name.as_os_str().as_bytes());
        *room = room
            .checked_sub(name.len())
            .ok_or_else(|| Unbound::Names(rule.place()))?;
        names.insert(name);
        Ok::<(), Unbound>(())
    })?;
    Ok(names)
}

/// What a watcher would find of a process, for those who compare it with the kernel's answer.
#[cfg(test)]
pub(crate) fn places_of(observing: &Observing, pid: i32) -> io::Result<Vec<Vec<BTreeSet<String>>>> {
    let settled = found(observing, pid)?;
    match settled.refused.first() {
        None => Ok(settled.places),
        Some(refused) => Err(io::Error::other(refused.what.clone())),
    }
}
