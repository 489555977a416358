//! `mantlet ps`: containers, and what is enforced on each.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::select::{self, Known};
use super::text::{escape, name, short, table};
use super::{CliError, print_json, warn};
use crate::config::Config;
use crate::event::Report;

/// Arguments of `ps`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

const HEAD: [&str; 8] = [
    "CONTAINER",
    "NAME",
    "PROFILE",
    "LANDLOCK",
    "SECCOMP",
    "EVENTS",
    "TRIPWIRES",
    "SUPERVISOR",
];

/// Lists containers. A lost supervisor or an unreadable record is said on stderr too; the latter
/// makes the exit code 1, because the list is then not the whole truth.
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
    all.iter()
        .filter_map(Known::alarm)
        .for_each(|alarm| warn(&alarm));
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
    let status = known.status.as_ref().ok().and_then(Option::as_ref);
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
        known.watch().word().to_owned(),
    ]
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
    let status = known.status.as_ref().ok().and_then(Option::as_ref);
    let mut row = json!({
        "id": known.home.id(),
        "supervisor": { "state": known.watch(), "pid": status.map(|status| status.supervisor) },
        "pid": status.map(|status| status.pid),
        "enforced": status.and_then(|status| status.report.as_ref()),
        "events": status.map(|status| status.events),
        "tripwires": status.map(|status| status.tripwires),
        "sessions": status.map(|status| status.sessions),
        "journal": status.map(|status| &status.journal),
    });
    match &known.record {
        Ok(record) => {
            row["container"] = json!(record.container);
            row["handler"] = json!(record.handler);
            row["profiles"] = json!(record.profiles);
            row["root"] = json!(record.root);
            row["runtime"] = json!(record.runtime);
            row["supervised"] = json!(record.supervised);
            row["created"] = json!(record.created);
        }
        Err(error) => row["error"] = json!(error.to_string()),
    }
    if let Err(error) = &known.status {
        row["error"] = json!(error.to_string());
    }
    row
}
