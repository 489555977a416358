//! What the journal tells of processes: sessions, executions, ends. Pids come again, so a process
//! is a pid *and* a time.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::detect::Sensor;
use crate::event::{Ancestor, Event, Process, Session, What};

/// The clock of events may be set while the clock of process starts runs on. No pid comes again
/// that soon.
const SLACK: Duration = Duration::from_secs(1);

/// One execution that a rule on `exec` told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Execution {
    /// As in the event.
    pub time: String,
    /// Path inside the container, untrusted.
    pub path: String,
    /// Untrusted; absent where the process ended or was refused before they could be read.
    pub argv: Option<Vec<String>>,
    /// The rules that told, `PROFILE/RULE`.
    pub rules: Vec<String>,
}

/// One process as the journal knows it.
#[derive(Debug)]
pub struct Past {
    /// As last told.
    pub process: Process,
    /// When the journal first tells of it, and when it last does.
    pub first: SystemTime,
    last: SystemTime,
    pub session: Option<Session>,
    pub executions: Vec<Execution>,
    pub code: Option<i32>,
}

/// Every process that these events tell of, in the order of their first words.
pub fn of(events: &[Event]) -> Vec<Past> {
    let mut told = Told::default();
    for event in events {
        if let Ok(time) = humantime::parse_rfc3339(&event.time) {
            told.hear(event, time);
        }
    }
    told.all
}

/// Takes out the one that is the living process `pid`, which started at `started`.
pub fn take(all: &mut Vec<Past>, pid: i32, started: SystemTime) -> Option<Past> {
    let since = started - SLACK;
    let is = |past: &Past| past.process.pid == pid && past.last >= since;
    let mut found = all.remove(all.iter().rposition(is)?);
    // Where an end was not told, one entry may hold two processes of the same pid.
    found.executions.retain(|execution| {
        humantime::parse_rfc3339(&execution.time).is_ok_and(|time| time >= since)
    });
    Some(found)
}

#[derive(Default)]
struct Told {
    all: Vec<Past>,
    /// Those whose end was not told, by pid.
    open: BTreeMap<i32, usize>,
}

impl Told {
    fn hear(&mut self, event: &Event, time: SystemTime) {
        match &event.what {
            What::Start {
                process, session, ..
            } => self.process(process, time).session = Some(*session),
            What::Tripwire {
                process, ancestors, ..
            } => {
                self.process(process, time);
                self.above(ancestors, time);
            }
            What::Detection {
                process: Some(process),
                ancestors,
                on,
                ..
            } => {
                self.process(process, time);
                self.above(ancestors, time);
                match on {
                    Sensor::Exec => self.executed(process.pid, event),
                    Sensor::Exit => drop(self.open.remove(&process.pid)),
                    _ => {}
                }
            }
            What::Exit { process, code } => {
                let past = self.process(process, time);
                past.code = *code;
                self.open.remove(&process.pid);
            }
            _ => {}
        }
    }

    /// The entry for a process that is told of now. An event may know no more than its pid.
    fn process(&mut self, process: &Process, time: SystemTime) -> &mut Past {
        let place = *self.open.entry(process.pid).or_insert_with(|| {
            self.all.push(Past {
                process: process.clone(),
                first: time,
                last: time,
                session: None,
                executions: Vec::new(),
                code: None,
            });
            self.all.len() - 1
        });
        let past = &mut self.all[place];
        past.last = past.last.max(time);
        if process.ppid != 0 {
            past.process = process.clone();
        }
        past
    }

    /// Parents are processes too; of the last one the parent is not told.
    fn above(&mut self, ancestors: &[Ancestor], time: SystemTime) {
        for (place, above) in ancestors.iter().enumerate() {
            let parent = ancestors.get(place + 1);
            if let Some(&known) = self.open.get(&above.pid) {
                let past = &mut self.all[known];
                past.last = past.last.max(time);
                continue;
            }
            self.process(
                &Process {
                    pid: above.pid,
                    ppid: parent.map_or(0, |parent| parent.pid),
                    comm: above.comm.clone(),
                    exe: above.exe.clone(),
                    ..Process::default()
                },
                time,
            );
        }
    }

    /// Rules of several layers may tell of one execution.
    fn executed(&mut self, pid: i32, event: &Event) {
        let What::Detection {
            file: Some(file),
            profile,
            rule,
            ..
        } = &event.what
        else {
            return;
        };
        let Some(past) = self.open.get(&pid).map(|&place| &mut self.all[place]) else {
            return;
        };
        let rule = format!("{profile}/{rule}");
        let same = past.executions.last_mut().filter(|last| {
            last.path == file.path && last.argv == file.argv && !last.rules.contains(&rule)
        });
        match same {
            Some(last) => last.rules.push(rule),
            None => past.executions.push(Execution {
                time: event.time.clone(),
                path: file.path.clone(),
                argv: file.argv.clone(),
                rules: vec![rule],
            }),
        }
    }
}
