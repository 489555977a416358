//! Recorded journals decided once more: what another profile would have denied of what was seen.
//!
//! A journal tells what was looked for, and no more: all of it where a layer was in mode `learn`, what a
//! profile would have denied in mode `audit`, tripwires and detections else. What was lost on the way is
//! counted and said, because a replay of half a journal is half an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::PathBuf;

use serde::Serialize;

use crate::access::{Access, Argument};
use crate::cli::explain::{Fix, ask, in_words};
use crate::cli::journal::{Journal, Line};
use crate::cli::subject::Subject;
use crate::cli::text::{Ink, escape, ink};
use crate::cli::{CliError, select};
use crate::config::Config;
use crate::detect::Sensor;
use crate::event::{Event, What};
use crate::policy::decide::{Answer, Decider};
use crate::policy::mounts::beneath;
use crate::state;

/// What journals hold.
#[derive(Debug, Default)]
pub struct Journals {
    /// Events, in the order in which they were read.
    events: Vec<Event>,
    /// Lines that are no event.
    broken: u64,
    /// Numbers that are missing.
    missing: u64,
    /// The one container that they are of, where it is still there.
    pub container: Option<String>,
}

/// Reads journals: `-`, files, or containers' own.
///
/// # Errors
/// One cannot be found or read.
pub fn read(words: &[String], config: &Config) -> Result<Journals, CliError> {
    let mut all = Journals::default();
    for word in words {
        let lines = match word.as_str() {
            "-" => {
                let mut text = Vec::new();
                io::stdin().lock().read_to_end(&mut text)?;
                Journal::lines_of(&text)
            }
            word => {
                let path = path_of(word, config, &mut all)?;
                let failed = |source| CliError::Journal {
                    operation: "read",
                    path: path.clone(),
                    source,
                };
                // A reader of journals takes one that is not there for one that is not there yet.
                std::fs::metadata(&path).map_err(failed)?;
                Journal::new(path.clone()).read_on().map_err(failed)?
            }
        };
        all.take(lines);
    }
    if words.len() > 1 {
        all.container = None;
    }
    Ok(all)
}

fn path_of(word: &str, config: &Config, all: &mut Journals) -> Result<PathBuf, CliError> {
    let path = PathBuf::from(word);
    if word.contains('/') || path.exists() {
        return Ok(path);
    }
    if let Ok(known) = select::one(&config.state_dir, word)
        && let Ok(record) = &known.record
    {
        all.container = Some(known.home.id());
        return Ok(state::journal_path(
            &config.log_dir,
            &record.root,
            &known.home.id(),
        ));
    }
    // It has ended: its journal is what is left.
    let unreadable = |source| CliError::Journal {
        operation: "list",
        path: config.log_dir.clone(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&config.log_dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let id = name
            .strip_suffix(".jsonl")
            .and_then(|name| name.split_once('-'));
        if id.is_some_and(|(_, id)| id.starts_with(word)) {
            found.push(path);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(CliError::NoEvents {
            id: word.to_owned(),
            folder: config.log_dir.clone(),
        }),
        _ => Err(CliError::Ambiguous {
            id: word.to_owned(),
            candidates: found
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        }),
    }
}

impl Journals {
    fn take(&mut self, lines: Vec<Line>) {
        for line in lines {
            if let Some(gap) = &line.gap {
                self.missing += gap.found.saturating_sub(gap.expected);
            }
            match line.event {
                Ok(event) => self.events.push(event),
                Err(_) => self.broken += 1,
            }
        }
    }

    /// Mounts that accesses were seen on, but the kernel's own and the root.
    pub fn mounts(&self) -> BTreeSet<String> {
        let seen = self.events.iter().filter_map(|event| match &event.what {
            What::Observed {
                access: Access::File { mount, .. },
                ..
            } => Some(mount),
            _ => None,
        });
        let kernels = |mount: &&String| {
            let device = beneath(mount, "/dev") && *mount != "/dev/shm";
            *mount == "/" || device || beneath(mount, "/proc") || beneath(mount, "/sys")
        };
        seen.filter(|mount| mount.starts_with('/') && !kernels(mount))
            .cloned()
            .collect()
    }

    fn losses(&self) -> Losses {
        let mut losses = Losses {
            missing: self.missing,
            broken: self.broken,
            ..Losses::default()
        };
        for event in &self.events {
            match &event.what {
                // Their numbers are missing, and counted there.
                What::Lost { count, .. } => losses.unwritten += count,
                What::Suppressed { count, .. } => losses.suppressed += count,
                What::Overflow { count } => losses.overflows += count,
                What::Watcher { .. } => losses.watchers += 1,
                _ => {}
            }
        }
        losses
    }
}

/// What is not in the journals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Losses {
    /// Numbers that are missing.
    missing: u64,
    /// Lines that are no event.
    broken: u64,
    /// Lines that the supervisor could not write; mostly among the missing numbers.
    unwritten: u64,
    /// Events left out because the container caused them too fast.
    suppressed: u64,
    /// Times that the kernel's queue was full.
    overflows: u64,
    /// Watchers that ended before their time.
    watchers: u64,
}

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
    for ((access, was_refused), (count, programs)) in seen {
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
        What::Observed { access, .. } => vec![(access.clone(), false)],
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

impl Losses {
    fn page(&self) -> String {
        let all = [
            (self.missing, "numbers of events are missing"),
            (self.broken, "lines are no events"),
            (self.unwritten, "lines could not be written"),
            (self.suppressed, "events were left out, caused too fast"),
            (
                self.overflows,
                "times the kernel's queue was full: executions and openings passed unseen",
            ),
            (self.watchers, "watchers ended before their time"),
        ];
        let said: Vec<String> = all
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        match said.is_empty() {
            true => "the journals are whole\n".into(),
            false => format!(
                "{}: {}; what they held is not in this answer\n",
                ink("the journals are NOT whole", Ink::Odd),
                said.join("; ")
            ),
        }
    }
}
