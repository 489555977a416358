//! What several runs did, together: each thing once, with the runs and phases that it was seen in.

use std::collections::{BTreeMap, BTreeSet};

use super::run::Run;
use crate::access::{Access, Phase};
use crate::event::Session;

/// In how many runs, when, and by whom something was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Numbers of the runs.
    pub runs: BTreeSet<usize>,
    /// Before the workload listened.
    pub start_up: bool,
    /// From then on.
    pub serving: bool,
    /// By an exec session.
    pub exec: bool,
    /// It is a file with several names.
    pub linked: bool,
    /// Programs.
    pub by: BTreeSet<String>,
}

impl Coverage {
    /// Adds what is known of something else, which shares an allowance with this.
    pub fn join(&mut self, other: &Coverage) {
        self.runs.extend(&other.runs);
        self.start_up |= other.start_up;
        self.serving |= other.serving;
        self.exec |= other.exec;
        self.linked |= other.linked;
        self.by.extend(other.by.iter().cloned());
    }
}

/// Several runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Union {
    /// What was done.
    pub seen: BTreeMap<Access, Coverage>,
    /// How many runs there are.
    pub runs: usize,
    /// Whether any of them ever listened.
    pub served: bool,
    /// What exec sessions alone did, and so is left out.
    pub left_out: usize,
    /// What was tried, denied by a layer that enforces, and never done.
    pub refused: BTreeSet<Access>,
    /// What the profile that is to be extended leaves out for all that add to it, each with the path of that exception.
    /// It is not among what was done.
    pub excepted: BTreeMap<Access, String>,
}

impl Union {
    /// Unites `runs`; what exec sessions did counts where `sessions` says so.
    #[must_use]
    pub fn of(runs: &[Run], sessions: bool) -> Union {
        let mut union = Union {
            runs: runs.len(),
            served: runs.iter().any(Run::served),
            ..Union::default()
        };
        let mut out = BTreeSet::new();
        for (number, run) in runs.iter().enumerate() {
            for seen in &run.seen {
                let exec = seen.session == Session::Exec;
                if exec && !sessions {
                    out.insert(&seen.access);
                    continue;
                }
                if seen.denied {
                    union.refused.insert(seen.access.clone());
                    continue;
                }
                let coverage = union.seen.entry(seen.access.clone()).or_default();
                coverage.runs.insert(number);
                coverage.start_up |= seen.phase == Phase::StartUp;
                coverage.serving |= seen.phase == Phase::Serving;
                coverage.exec |= exec;
                coverage.linked |= seen.linked;
                coverage.by.extend(seen.by.iter().cloned());
            }
        }
        union
            .refused
            .retain(|access| !union.seen.contains_key(access));
        union.left_out = out
            .into_iter()
            .filter(|access| !union.seen.contains_key(access))
            .count();
        union
    }

    /// Every program that did anything.
    #[must_use]
    pub fn programs(&self) -> BTreeSet<&str> {
        let all = self.seen.values().flat_map(|coverage| &coverage.by);
        all.map(String::as_str).collect()
    }

    /// A comment on one allowance: how often, when, by whom, as far as that tells anything.
    #[must_use]
    pub fn stamp(&self, coverage: &Coverage) -> String {
        let mut words = vec![match self.runs {
            1 => String::new(),
            all => format!("{} of {all} runs", coverage.runs.len()),
        }];
        match (coverage.start_up, coverage.serving) {
            (true, false) if self.served => words.push("start-up only".into()),
            (false, true) => words.push("serving only".into()),
            _ => {}
        }
        if coverage.exec {
            words.push("exec sessions".into());
        }
        let all = self.programs();
        let names: Vec<&str> = coverage.by.iter().map(String::as_str).collect();
        if all.len() > 1 && names.len() < all.len() && !names.is_empty() {
            let few = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
            let more = if names.len() > 3 { ", …" } else { "" };
            words.push(format!("{few}{more}"));
        }
        words.retain(|word| !word.is_empty());
        words.join("; ")
    }
}
