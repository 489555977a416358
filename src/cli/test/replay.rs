//! Recorded journals decided once more: what another profile would have denied of what was seen.
//!
//! A journal tells what was looked for, and no more: all of it where a layer was in mode `learn`, what a
//! profile would have denied in mode `audit`, tripwires and detections else. What was lost on the way is
//! counted and said, because a replay of half a journal is half an answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::recorded::{Journals, Losses};
use crate::access::{Access, Argument};
use crate::cli::explain::{Fix, ask, in_words};
use crate::cli::progress::Progress;
use crate::cli::subject::Subject;
use crate::cli::text::{Ink, escape, ink};
use crate::detect::Sensor;
use crate::event::What;
use crate::policy::decide::{Answer, Decider};

/// One thing that was seen, however often.
#[derive(Debug, Serialize)]
pub struct Group {
    /// In words.
    what: String,
    /// As a journal has it.
    access: Access,
    /// How often.
    count: u64,
    /// It was refused then, too, by the profile that was in force.
    was_refused: bool,
    /// What is said now.
    answer: Answer,
    /// Why, by each that refuses it.
    reasons: Vec<String>,
    /// Lines that would allow it.
    fixes: Vec<Fix>,
    /// Programs that did it.
    programs: BTreeSet<String>,
}

/// What a replay comes to.
#[derive(Debug, Serialize)]
pub struct Replayed {
    /// Events that were read.
    events: usize,
    /// Accesses among them.
    decided: u64,
    /// Of those, what would be allowed.
    allowed: u64,
    /// What would be denied, or may be.
    denied: Vec<Group>,
    /// What cannot be decided from a journal.
    undecided: Vec<Group>,
    /// What is not in the journals.
    lost: Losses,
}

/// Decides everything once more.
pub fn decide(decider: &Decider, journals: &Journals) -> Replayed {
    let mut progress = Progress::new();
    let mut seen: BTreeMap<(Access, bool), (u64, BTreeSet<String>)> = BTreeMap::new();
    for event in &journals.events {
        for (access, refused) in accesses(decider, &event.what) {
            let entry = seen.entry((access, refused)).or_default();
            entry.0 += 1;
            entry.1.extend(program(&event.what));
        }
    }
    let mut replayed = Replayed {
        events: journals.events.len(),
        decided: 0,
        allowed: 0,
        denied: Vec::new(),
        undecided: Vec::new(),
        lost: journals.losses(),
    };
    let all = seen.len();
    for (at, ((access, was_refused), (count, programs))) in seen.into_iter().enumerate() {
        progress.at(&format!("deciding access {} of {all}", at + 1));
        let asked = ask(decider, access);
        replayed.decided += count;
        if asked.verdict.allowed() {
            replayed.allowed += count;
            continue;
        }
        let reasons = asked.verdict.against();
        let reasons = reasons
            .map(|one| format!("{}: {}", one.layer, one.reason))
            .collect();
        let group = Group {
            what: in_words(&asked.access),
            answer: asked.verdict.answer,
            access: asked.access,
            count,
            was_refused,
            reasons,
            fixes: asked.fixes,
            programs,
        };
        match group.answer {
            Answer::Denied => replayed.denied.push(group),
            _ => replayed.undecided.push(group),
        }
    }
    // What worked and would not any more comes first, the most frequent of it at the top.
    replayed
        .denied
        .sort_by_key(|group| (group.was_refused, std::cmp::Reverse(group.count)));
    replayed
}

/// The accesses that an event tells of, and whether they were refused then.
fn accesses(decider: &Decider, what: &What) -> Vec<(Access, bool)> {
    match what {
        // Not what was seen; a `lost` line counts it.
        What::Observed { clipped: true, .. } => Vec::new(),
        // A layer that enforces may have denied what another one only looked at.
        What::Observed { access, denied, .. } => vec![(access.clone(), *denied)],
        What::Tripwire { syscall, args, .. } => {
            let args = args.iter().enumerate().filter_map(|(at, text)| {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                Some(Argument {
                    index: u8::try_from(at).ok()?,
                    value: u64::from_str_radix(digits, 16).ok()?,
                    mask: None,
                })
            });
            let name = syscall.clone();
            let args = args.collect();
            vec![(Access::Syscall { name, args }, true)]
        }
        What::Detection {
            on,
            file: Some(file),
            respond,
            due,
            ..
        } => {
            let rights: &[&str] = match on {
                Sensor::Exec | Sensor::Drift | Sensor::PrivilegeChange | Sensor::ReverseShell => {
                    &["execute", "read-file"]
                }
                Sensor::TokenAccess => &["read-file"],
                _ => &[],
            };
            if file.path.ends_with(" (deleted)") || !file.path.starts_with('/') {
                return Vec::new();
            }
            let refused = *due && respond.word() == "deny";
            let access = |right: &&str| Access::File {
                path: file.path.clone(),
                right: (*right).to_owned(),
                entry: None,
                mount: decider.mount_of(&file.path).to_owned(),
                directory: false,
                moved: None,
            };
            rights
                .iter()
                .map(|right| (access(right), refused))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn program(what: &What) -> Option<String> {
    let process = match what {
        What::Observed { process, .. } | What::Tripwire { process, .. } => process,
        What::Detection { process, .. } => process.as_ref()?,
        _ => return None,
    };
    let name = if process.exe.is_empty() {
        &process.comm
    } else {
        &process.exe
    };
    (!name.is_empty()).then(|| name.clone())
}

impl Replayed {
    /// Whether anything would be denied.
    pub fn denies(&self) -> bool {
        !self.denied.is_empty()
    }

    /// Whether something of the journals is missing.
    pub fn lacks(&self) -> bool {
        !self.lost.none()
    }

    /// For people.
    pub fn page(&self, subject: &Subject) -> String {
        let mut page = format!(
            "replaying {} events under {}, over {}, Landlock ABI {}\n",
            self.events,
            escape(&subject.title()),
            escape(&subject.about),
            subject.host.landlock_abi
        );
        for group in self.denied.iter().chain(&self.undecided) {
            page += &group.page();
        }
        let denied: u64 = self.denied.iter().map(|group| group.count).sum();
        let undecided: u64 = self.undecided.iter().map(|group| group.count).sum();
        let outcome = match self.denied.is_empty() {
            true => ink("nothing would be denied", Ink::Good),
            false => ink(
                &format!("{denied} would be denied ({} kinds)", self.denied.len()),
                Ink::Bad,
            ),
        };
        page += &format!(
            "\nreplay result: {outcome}; {} decided, {} allowed",
            self.decided, self.allowed
        );
        if undecided > 0 {
            page += &format!(", {undecided} cannot be decided from a journal");
        }
        page += "\n";
        page += &self.lost.page();
        if self.decided == 0 {
            page += "note: no event of these journals tells of anything that a profile decides: record in mode learn \
                     or audit\n";
        }
        page
    }
}

impl Group {
    fn page(&self) -> String {
        let word = match (self.answer, self.was_refused) {
            (Answer::Denied, false) => ink("would be denied", Ink::Bad),
            (Answer::Denied, true) => "denied, as it was".to_owned(),
            _ => ink("depends", Ink::Odd),
        };
        let mut page = format!("\n{word}: {} ({} times", escape(&self.what), self.count);
        if !self.programs.is_empty() {
            let some: Vec<String> = self
                .programs
                .iter()
                .take(3)
                .map(|name| escape(name))
                .collect();
            page += &format!(", by {}", some.join(", "));
            if self.programs.len() > 3 {
                page += &format!(" and {} more", self.programs.len() - 3);
            }
        }
        page += ")\n";
        for reason in &self.reasons {
            page += &format!("  {}\n", escape(reason));
        }
        for fix in &self.fixes {
            page += &format!("  fix for {}: {}\n", escape(&fix.layer), escape(&fix.line));
        }
        page
    }
}
