//! Calls that are only looked at: what a layer in mode `audit` would have denied, and whatever is done
//! where one is in mode `learn`. Each goes on whatever is found, unless a layer that enforces denies it in
//! silence.
//!
//! What is told once is remembered in shared memory, by a hash of its own; what cannot be told is counted.

use super::super::clip;
use super::super::link::Whose;
use super::super::observer::{Observer, phase, session};
use super::super::rules;
use super::super::sensors::Seen;
use super::super::shared::{Kind, Room};
use super::Watcher;
use crate::access::{Access, files};
use crate::detect::Rule;
use crate::event::{Ancestor, Process, What};
use crate::policy::observe::{Observing, Word};
use crate::sys::seccomp::{self, Notification};

/// What was found, and the layer that would have denied it with the line that would allow it.
struct Sight {
    access: Access,
    profile: String,
    fix: String,
    hash: u64,
}

impl Watcher<'_> {
    /// Looks at a call, answers it as the layers say that enforce, and tells what is new.
    pub(super) fn observe(&mut self, token: u64, whose: Whose, call: &Notification, word: Word) {
        let (number, access) = self.observer.by_registers(call);
        let name = match &access {
            Access::Syscall { name, .. } => name.clone(),
            _ => String::new(),
        };
        // 1. What it is, by its registers and by what they point to, which a call that is denied never reads.
        let performed = word == Word::Free;
        let (mut found, mut unread) = (Vec::new(), false);
        self.linked.clear();
        self.unsaid.clear();
        let tid = call.tid as i32;
        if performed && self.observer.reads_memory() {
            // A page of the caller's may be somebody's to bring (userfaultfd, FUSE), and a path too.
            self.wind_watchdog();
        }
        if name == "clone3" && performed && self.observer.reads_memory() {
            match self.clone_flags(tid, &call.args) {
                Ok(access) => found.push(access),
                Err(_) => unread = true,
            }
        } else {
            found.push(access);
        }
        if performed && self.observer.of(whose).is_some_and(Observing::reads_names) {
            let file = files::of(&name, &call.args);
            let socket = files::socket(&name, &call.args);
            for more in [
                file.map(|file| self.file_accesses(tid, whose, file)),
                socket.map(|socket| self.socket_accesses(tid, whose, socket)),
            ]
            .into_iter()
            .flatten()
            {
                match more {
                    Ok(more) => found.extend(more),
                    Err(_) => unread = true,
                }
            }
        }
        // 2. What of it is to be told and was not.
        let sights = self.sights((token, whose), number, call, found, !performed);
        let tripping = self.tripping(whose, number, call);
        let who = (!sights.is_empty() || !tripping.is_empty()).then(|| self.who(tid));
        // 3. It is answered. What was read of a caller that has ended meanwhile may be another one's.
        let Some((listener, _)) = self.listeners.get(&token) else {
            self.mounts.settle(false);
            return self.shared.call_done();
        };
        let waits = seccomp::id_valid(listener, call.id);
        Observer::answer(listener, call.id, word);
        self.shared.call_answered();
        self.mounts.settle(waits);
        if !waits {
            return self.shared.call_done();
        }
        // 4. It is told.
        let mut unseen = u64::from(unread);
        if let Some((process, ancestors)) = who {
            self.detect(&tripping, &name, call, &process, &ancestors);
            for sight in sights {
                unseen += u64::from(!self.tell_sight(sight, &process, whose, !performed));
            }
        }
        if name == "listen" && performed {
            self.shared.begins_to_serve();
        }
        self.due |= self.shared.call_looked_at(unseen);
        self.shared.call_done();
    }

    /// Tells one; false where it is not in the journal as it was, which is then counted, once where it can be
    /// remembered.
    fn tell_sight(&mut self, sight: Sight, process: &Process, whose: Whose, denied: bool) -> bool {
        match self.shared.room() {
            Room::Some => {}
            Room::Spent => {
                self.shared.remember(sight.hash);
                return false;
            }
            Room::None => return false,
        }
        let linked = match &sight.access {
            Access::File { path, entry, .. } => entry.is_none() && self.linked.contains(path),
            _ => false,
        };
        let unsaid = clip::holds(&sight.access, &self.unsaid);
        let (access, cut) = clip::access(sight.access);
        let clipped = cut || unsaid;
        let what = What::Observed {
            process: process.clone(),
            session: session(whose),
            phase: phase(self.shared),
            linked,
            clipped,
            access,
            profile: sight.profile,
            denied,
            // It would name something else.
            fix: if clipped { String::new() } else { sight.fix },
        };
        if self.tell_all(0, &[(Kind::Observed, &what)]) {
            self.shared.remember(sight.hash);
            return !clipped;
        }
        // Counted as dropped.
        true
    }

    /// Profiles that only look and whose rules of detection are about the call.
    fn tripping(&self, whose: Whose, number: Option<u32>, call: &Notification) -> Vec<String> {
        let looks = |rule: &Rule| rule.would.is_some() && rule.on.sees_calls();
        let (Some(observing), Some(number)) = (self.observer.of(whose), number) else {
            return Vec::new();
        };
        if self.shared.is_call_judged() || !self.rules.iter().any(looks) {
            return Vec::new();
        }
        let tripping = observing.trips(number, &call.args);
        tripping.map(str::to_owned).collect()
    }

    /// Tells what their rules make of it; nobody responds.
    fn detect(
        &mut self,
        tripping: &[String],
        name: &str,
        call: &Notification,
        process: &Process,
        ancestors: &[Ancestor],
    ) {
        if tripping.is_empty() {
            return;
        }
        let args = &call.args;
        let seen = Seen::Call { name, args };
        let about = |rule: &Rule| rule.would.is_some() && tripping.contains(&rule.profile);
        let findings = rules::findings(self.rules, self.shared, &seen, &process.exe, about);
        self.shared.call_judged();
        self.tell_findings(&findings, process, ancestors, None);
    }

    /// Whether it is to be told, as far as it is known what it is: nobody is asked about it else.
    pub(super) fn is_news(&self, whose: Whose, access: &Access) -> bool {
        let Some(observing) = self.observer.of(whose) else {
            return false;
        };
        let denial = observing.tcp(access);
        let hash = (self.observer).hash(access, whose, phase(self.shared), denial.as_ref(), false);
        (observing.learns || denial.is_some()) && !self.shared.is_told(hash)
    }

    /// Whether a file is mapped to be executed that no rule on its name would last for: its directory can be
    /// granted.
    fn is_mapped_unnamed(&self, access: &Access) -> bool {
        let linked = |path| self.linked.contains(path);
        matches!(access, Access::File { path, .. } if access.maps() && linked(path))
    }

    fn sights(
        &mut self,
        (token, whose): (u64, Whose),
        number: Option<u32>,
        call: &Notification,
        found: Vec<Access>,
        denied: bool,
    ) -> Vec<Sight> {
        let Some(observing) = self.observer.of(whose) else {
            return Vec::new();
        };
        let phase = phase(self.shared);
        let made: Vec<String> = found.iter().filter_map(made_by).collect();
        let mut sights: Vec<Sight> = Vec::new();
        for access in found {
            let domains = self.domains_of(token);
            // Files that are mapped to be executed are often made for that, and removed at once.
            // And no rule can be bound to a file before the call that makes it.
            let is_made = matches!(&access, Access::File { path, .. } if made.contains(path));
            let above = is_made || self.is_mapped_unnamed(&access);
            let above = above.then(|| access.of_directory());
            let asked = above.as_ref().unwrap_or(&access);
            let denial = (self.observer).denial(whose, number, &call.args, asked, domains);
            if !observing.learns && denial.is_none() {
                continue;
            }
            let hash = (self.observer).hash(&access, whose, phase, denial.as_ref(), denied);
            if self.shared.is_told(hash) || sights.iter().any(|sight| sight.hash == hash) {
                continue;
            }
            let denial = denial.map(|denial| (denial.profile.to_owned(), denial.fix));
            let (profile, fix) = denial.unwrap_or_default();
            sights.push(Sight {
                access,
                profile,
                fix,
                hash,
            });
        }
        sights
    }
}

/// The file that the access makes.
fn made_by(access: &Access) -> Option<String> {
    match access {
        Access::File {
            path,
            right,
            entry: Some(name),
            ..
        } if right == "make-reg" => Some(format!("{}/{name}", path.trim_end_matches('/'))),
        _ => None,
    }
}
