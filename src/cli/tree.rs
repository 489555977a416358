//! `mantlet tree`: the processes of containers as they are now, and what the journal knows of them.
//!
//! The supervisor says who belongs to a container (by cgroup); everything else is read in /proc here.
//! A process may end while it is looked at: it is then left out, which is no error.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value, json};

use super::ask::{Deed, Undone, title};
use super::journal::Journal;
use super::select::{self, Known, Watch};
use super::text::{self, escape};
use super::{CliError, alarm, print_json, warn};
use crate::config::Config;
use crate::control::{Answer, Ask};
use crate::event::{Event, Session};

mod draw;
mod history;
mod process;

use history::{Execution, Past};
use process::Seen;

/// Arguments of `tree`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these containers, by id or its beginning
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// With processes that have ended, as far as the journal tells of them
    #[arg(long)]
    history: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

const DEED: Deed = Deed {
    verb: "list the processes of",
    runtimes: &["ps"],
};

/// One process, living or ended.
#[derive(Debug, Serialize)]
struct Node {
    /// In the host's namespace.
    pid: i32,
    /// In the container's.
    inside: Option<i32>,
    ppid: i32,
    /// In the host's namespace.
    uid: u32,
    /// `sleeping`, …; `ended` where it is history.
    state: &'static str,
    comm: String,
    exe: String,
    argv: Option<Vec<String>>,
    /// Its start; of an ended one, when the journal first tells of it.
    #[serde(serialize_with = "rfc3339")]
    started: SystemTime,
    /// What init became it.
    session: Option<Session>,
    /// What it executed, as far as rules on `exec` tell.
    executions: Vec<Execution>,
    /// Of an ended one, where the kernel told.
    code: Option<i32>,
}

impl Node {
    fn is_history(&self) -> bool {
        self.state == ENDED
    }
}

/// The state of history.
const ENDED: &str = "ended";

fn rfc3339<S: serde::Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_millis(*time))
}

/// Draws a tree for each container. One that cannot be asked makes the exit code 1; the others are
/// shown all the same.
pub fn tree(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let mut all = select::some(&config.state_dir, &args.ids)?;
    if args.ids.is_empty() {
        // Without processes, or without anybody who would know them: by design, and no news.
        all.retain(|known| !matches!(known.watch(), Watch::None | Watch::Ended));
    }
    let (mut faults, mut objects, mut text) = (0, Vec::new(), String::new());
    for known in &all {
        let nodes = match look(known, args.history) {
            Ok(nodes) => nodes,
            Err(error) if all.len() == 1 && !args.ids.is_empty() => return Err(error),
            Err(error) => {
                faults += 1;
                warn(&error.to_string());
                continue;
            }
        };
        if args.json {
            objects.push(object(known, &nodes));
        } else {
            let gap = if text.is_empty() { "" } else { "\n" };
            text += &format!("{gap}{}\n", heading(known, &nodes));
            text += &draw::draw(&nodes, text::width());
        }
    }
    if args.json {
        print_json(&Value::Array(objects))?;
    } else if all.is_empty() {
        warn(&format!(
            "no containers with a supervisor in {}",
            config.state_dir.display()
        ));
    } else {
        io::stdout().lock().write_all(text.as_bytes())?;
    }
    Ok(if faults == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn object(known: &Known, nodes: &[Node]) -> Value {
    json!({
        "id": known.home.id(),
        "container": known.record.as_ref().ok().map(|record| &record.container),
        "frozen": known.seen().and_then(|status| status.frozen.as_ref()),
        "processes": nodes,
    })
}

fn heading(known: &Known, nodes: &[Node]) -> String {
    let profiles = known.record.as_ref();
    let profiles = profiles.map_or(String::new(), |record| record.profiles.join("+"));
    let living = nodes.iter().filter(|node| !node.is_history()).count();
    let frozen = known.seen().and_then(|status| status.frozen.as_ref());
    let frozen = frozen.map_or(String::new(), |frozen| {
        let loud = text::ink("FROZEN", text::Ink::Bad);
        format!("  {loud} {}", alarm::freeze(frozen))
    });
    let many = if living == 1 { "process" } else { "processes" };
    format!(
        "{}  {}  {living} {many}{frozen}",
        title(known),
        escape(&profiles)
    )
}

/// Everything about the processes of one container.
fn look(known: &Known, with_history: bool) -> Result<Vec<Node>, CliError> {
    // 1. Who belongs to it, and what they are.
    let mut living: Vec<Seen> = members(known)?
        .into_iter()
        .filter_map(process::read)
        .collect();
    // 2. Asked again: a pid that ended in between may be somebody else's by the time it was read.
    let still = members(known)?;
    living.retain(|seen| still.contains(&seen.pid));
    // 3. Their arguments, which lie in their own memory.
    let mut arguments = process::arguments(&living);
    // 4. What the journal tells, of these and of others.
    let mut past = history::of(&events(known)?);
    let first = known.seen().map_or(0, |status| status.pid);
    let depth = living.iter().find(|seen| seen.pid == first);
    let depth = depth.map_or(usize::MAX, |seen| seen.pids.len());
    let mut nodes: Vec<Node> = Vec::new();
    for seen in living {
        let known = history::take(&mut past, seen.pid, seen.started);
        let argv = arguments.remove(&seen.pid);
        nodes.push(node(seen, argv, known, depth));
    }
    if with_history {
        nodes.extend(past.into_iter().map(ended));
    }
    nodes.sort_by_key(|node| (node.started, node.pid));
    Ok(nodes)
}

fn members(known: &Known) -> Result<BTreeSet<i32>, CliError> {
    match DEED.ask(known, &Ask::Processes)? {
        Answer::Processes { pids } => Ok(pids.into_iter().collect()),
        _ => Err(CliError::undone(DEED.verb, known, Undone::Beside)),
    }
}

/// The events of the container's present life: an id that is used again writes on in the same journal.
fn events(known: &Known) -> Result<Vec<Event>, CliError> {
    let Some(status) = known.seen() else {
        return Ok(Vec::new());
    };
    let lines = Journal::new(status.journal.clone()).read_on();
    let lines = lines.map_err(|source| CliError::Journal {
        operation: "read",
        path: status.journal.clone(),
        source,
    })?;
    // What cannot be understood is the business of `mantlet events`.
    let mut events: Vec<Event> = lines
        .into_iter()
        .filter_map(|line| line.event.ok())
        .collect();
    let begins = events.iter().rposition(|event| event.seq == 1);
    Ok(events.split_off(begins.unwrap_or(0)))
}

fn node(seen: Seen, argv: Option<Vec<String>>, past: Option<Past>, depth: usize) -> Node {
    let inside = seen.pids.get(depth.wrapping_sub(1)).or(seen.pids.last());
    Node {
        pid: seen.pid,
        inside: inside.copied(),
        ppid: seen.ppid,
        uid: seen.uid,
        state: seen.state,
        comm: seen.comm,
        exe: seen.exe,
        argv,
        started: seen.started,
        session: past.as_ref().and_then(|past| past.session),
        executions: past.map(|past| past.executions).unwrap_or_default(),
        code: None,
    }
}

fn ended(past: Past) -> Node {
    Node {
        pid: past.process.pid,
        inside: None,
        ppid: past.process.ppid,
        uid: past.process.uid,
        state: ENDED,
        comm: past.process.comm,
        exe: past.process.exe,
        argv: None,
        started: past.first,
        session: past.session,
        executions: past.executions,
        code: past.code,
    }
}
