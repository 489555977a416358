//! `mantlet ps`: containers, and what is enforced on each.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::select::{self, Known, Watch};
use super::text::{escape, name, short, table};
use super::{CliError, alarm, print_json, warn};
use crate::config::Config;
use crate::event::Report;

/// Arguments of `ps`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

const HEAD: [&str; 9] = [
    "CONTAINER",
    "NAME",
    "PROFILE",
    "LANDLOCK",
    "SECCOMP",
    "EVENTS",
    "TRIPWIRES",
    "DETECTIONS",
    "STATE",
];

/// Lists containers. What needs somebody's attention (a lost supervisor, a freeze, a journal that
/// cannot be written) is said on stderr too, and so is an unreadable record, which makes the exit
/// code 1, because the list is then not the whole truth.
pub fn ps(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let all = select::all(&config.state_dir)?;
    if args.json {
        print_json(&Value::Array(all.iter().map(row_json).collect()))?;
    } else if all.is_empty() {
        warn(&format!(
            "no containers; none has state in {}",
            config.state_dir.display()
        ));
    } else {
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        io::stdout()
            .lock()
            .write_all(table(&HEAD, &rows).as_bytes())?;
    }
    let alarms = all.iter().flat_map(alarm::alarms);
    alarms.for_each(|alarm| warn(&alarm));
    let whole = all
        .iter()
        .all(|known| known.record.is_ok() && known.status.is_ok());
    Ok(if whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn row(known: &Known) -> Vec<String> {
    let dash = || "-".to_owned();
    let status = known.seen();
    let report = status.and_then(|status| status.report.as_ref());
    let (names, profiles) = known.record.as_ref().map_or_else(
        |_| (dash(), dash()),
        |record| (name(&record.container), escape(&record.profiles.join("+"))),
    );
    vec![
        short(&known.home.id()),
        names,
        profiles,
        report.map_or_else(dash, landlock),
        report.map_or_else(dash, seccomp),
        status.map_or_else(dash, |status| status.events.to_string()),
        status.map_or_else(dash, |status| status.tripwires.to_string()),
        status.map_or_else(dash, |status| status.detections.to_string()),
        state(known),
    ]
}

/// How it stands with the supervisor, and what its container is in besides.
pub fn state(known: &Known) -> String {
    let watch = known.watch();
    let mut parts = vec![watch.word().to_owned()];
    // One that is only looked at must never look like one that is protected.
    let mode = known
        .record
        .as_ref()
        .ok()
        .and_then(|record| record.looks_only());
    parts.extend(mode.map(str::to_uppercase));
    let status = known.seen().filter(|_| watch.has_container());
    if let Some(status) = status {
        if status.frozen.is_some() {
            // Running is what it is not.
            parts.retain(|_| watch != Watch::Running);
            parts.push("FROZEN".into());
        }
        match status.watcher_restarts {
            0 => {}
            1 => parts.push("1 watcher restart".into()),
            some => parts.push(format!("{some} watcher restarts")),
        }
        if status.lost > 0 || status.journal_error.is_some() {
            parts.push(format!("{} events LOST", status.lost));
        }
    }
    parts.join(", ")
}

/// Landlock in one cell, from what init attested.
pub fn landlock(report: &Report) -> String {
    match (report.landlock_abi, report.landlock_layers) {
        (0, _) => "none in kernel".into(),
        (abi, 0) => format!("ABI {abi}, not entered"),
        (abi, 1) => format!("ABI {abi}, 1 layer"),
        (abi, layers) => format!("ABI {abi}, {layers} layers"),
    }
}

/// Seccomp in one cell, from what init attested.
pub fn seccomp(report: &Report) -> String {
    if report.filter_instructions == 0 {
        return format!("no exact filter, {} in all", report.seccomp_filters);
    }
    let listener = if report.listener { "+listener" } else { "" };
    format!("exact{listener}, {} in all", report.seccomp_filters)
}

fn row_json(known: &Known) -> Value {
    let status = known.seen();
    let mut row = json!({
        "id": known.home.id(),
        "supervisor": { "state": known.watch(), "pid": status.map(|status| status.supervisor) },
        "watcher": status.map(|status| json!({
            "pid": status.watcher,
            "restarts": status.watcher_restarts,
        })),
        "pid": status.map(|status| status.pid),
        "enforced": status.and_then(|status| status.report.as_ref()),
        "events": status.map(|status| status.events),
        "tripwires": status.map(|status| status.tripwires),
        "detections": status.map(|status| status.detections),
        "suppressed": status.map(|status| status.suppressed),
        "lost": status.map(|status| status.lost),
        "journal_error": status.and_then(|status| status.journal_error.as_ref()),
        "sessions": status.map(|status| status.sessions),
        "journal": status.map(|status| &status.journal),
        "frozen": status.and_then(|status| status.frozen.as_ref()),
        "evidence": status.and_then(|status| status.evidence.as_ref()),
        "alarms": alarm::alarms(known),
    });
    match &known.record {
        Ok(record) => {
            row["container"] = json!(record.container);
            row["handler"] = json!(record.handler);
            row["profiles"] = json!(record.profiles);
            row["mode"] = json!(record.looks_only().unwrap_or("enforce"));
            row["root"] = json!(record.root);
            row["runtime"] = json!(record.runtime);
            row["supervised"] = json!(record.supervised);
            row["on_supervisor_loss"] = json!(record.on_supervisor_loss);
            row["created"] = json!(record.created);
        }
        Err(error) => row["error"] = json!(error.to_string()),
    }
    if let Err(error) = &known.status {
        row["error"] = json!(error.to_string());
    }
    row
}
