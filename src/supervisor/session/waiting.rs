//! Sessions that are checked and wait: for a watcher, and for what it says their rules are about.

use super::super::keeper::{Keeper, Source};
use super::Stage;

pub(super) fn unwatched(why: &str) -> String {
    format!("the container's watcher is not there: {why}; nothing starts without one")
}

impl Keeper {
    /// There is a watcher, and it has told what rules are about.
    pub(in crate::supervisor) fn release_those_who_wait(&mut self) {
        if !self.attendant.ready {
            return;
        }
        let mut failed = Vec::new();
        for (token, source) in &mut self.sources {
            if let Source::Session(session) = source
                && matches!(session.stage, Stage::Checked(..))
                && session.unsettled.is_none()
                && let Err(message) = session.let_go()
            {
                failed.push((*token, message));
            }
        }
        for (token, message) in failed {
            self.fail(token, message);
        }
    }

    /// Why no session can be added now, where there is no watcher and was none the last time.
    pub(in crate::supervisor) fn unwatched_because(&self) -> Option<String> {
        let why = self.attendant.failed.as_ref();
        why.filter(|_| !self.attendant.ready)
            .map(|why| unwatched(why))
    }

    /// There can be no watcher for now: nothing starts without one.
    pub(in crate::supervisor) fn fail_those_who_wait(&mut self) {
        let why = self.attendant.failed.clone().unwrap_or_default();
        let waits = |source: &Source| matches!(source, Source::Session(session) if matches!(session.stage, Stage::Checked(..)));
        let waiting: Vec<u64> = self
            .sources
            .iter()
            .filter(|(_, source)| waits(source))
            .map(|(token, _)| *token)
            .collect();
        for token in waiting {
            self.fail(token, unwatched(&why));
        }
    }
}
