//! `mantlet inspect`: everything about one container.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use similar::TextDiff;

use super::select::{self, Known};
use super::text::{Ink, escape, ink, name, table};
use super::{CliError, alarm, print_json, ps, warn};
use crate::config::Config;
use crate::detect::{Freeze, OnLoss, Rule};
use crate::event::{Domain, Report};
use crate::state::{ExecRules, Record, SessionRule, Status, SubPolicy};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's id, or its beginning where no other id begins so
    #[arg(value_name = "ID")]
    id: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows one container. Exit code 1 where its record cannot be read.
pub fn inspect(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let known = select::one(&config.state_dir, &args.id)?;
    alarm::alarms(&known).iter().for_each(|alarm| warn(alarm));
    let Ok(record) = &known.record else {
        return Ok(ExitCode::FAILURE);
    };
    if args.json {
        print_json(&whole(&known, record))?;
    } else {
        io::stdout()
            .lock()
            .write_all(page(&known, record).as_bytes())?;
    }
    Ok(if known.status.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// config.json as the engine wrote it and as the runtime got it, or why not.
struct Documents {
    before: Result<Value, String>,
    after: Result<Value, String>,
}

impl Documents {
    fn of(record: &Record) -> Documents {
        Documents {
            before: document(&record.original),
            after: document(&record.bundle.join("config.json")),
        }
    }

    /// A line diff of both, indented alike, so that only meaning differs; or what is missing.
    fn diff(&self) -> Result<String, String> {
        let (before, after) = (self.before.as_ref()?, self.after.as_ref()?);
        let pretty = |value| serde_json::to_string_pretty(value).map_err(|error| error.to_string());
        let (before, after) = (pretty(before)? + "\n", pretty(after)? + "\n");
        let diff = TextDiff::from_lines(&before, &after);
        let mut unified = diff.unified_diff();
        Ok(unified
            .context_radius(3)
            .header("config.json (engine)", "config.json (mantlet)")
            .to_string())
    }
}

fn document(path: &Path) -> Result<Value, String> {
    let failed = |problem: String| format!("cannot read {}: {problem}", path.display());
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
}

fn whole(known: &Known, record: &Record) -> Value {
    let documents = Documents::of(record);
    let or_error = |result: &Result<Value, String>| match result {
        Ok(value) => value.clone(),
        Err(problem) => json!({ "error": problem }),
    };
    json!({
        "id": known.home.id(),
        "home": known.home.path,
        "record": record,
        "status": known.status.as_ref().ok(),
        "supervisor": known.watch(),
        "config": {
            "before": or_error(&documents.before),
            "after": or_error(&documents.after),
            "diff": documents.diff().ok(),
        },
    })
}

fn page(known: &Known, record: &Record) -> String {
    let effective = serde_json::to_string_pretty(&record.effective).unwrap_or_default();
    let diff = match Documents::of(record).diff() {
        Ok(diff) if diff.is_empty() => "(unchanged)\n".to_owned(),
        Ok(diff) => diff.lines().map(|line| coloured(line) + "\n").collect(),
        Err(problem) => format!(
            "(no comparison: {}; a deleted container has no bundle)\n",
            escape(&problem)
        ),
    };
    let mut page = pairs("Container", &identity(known, record));
    page += &pairs("Took effect", &attested(known));
    page += &format!("\nDetection\n{}", rules(&record.detect));
    page += &format!("\nEffective policy\n{}", indented(&effective));
    page += &format!("\nconfig.json\n{diff}");
    page
}

fn identity(known: &Known, record: &Record) -> Vec<(&'static str, String)> {
    let path = |path: &Path| escape(&path.display().to_string());
    vec![
        ("id", escape(&known.home.id())),
        ("name", name(&record.container)),
        (
            "image",
            escape(record.container.image.as_deref().unwrap_or("-")),
        ),
        ("handler", escape(&record.handler)),
        ("profiles", escape(&record.profiles.join(" + "))),
        ("mode", mode(record)),
        ("runtime", path(&record.runtime)),
        ("root", path(&record.root)),
        ("bundle", path(&record.bundle)),
        (
            "created",
            format!(
                "{} by mantlet {}",
                escape(&record.created),
                escape(&record.mantlet)
            ),
        ),
        (
            "policy",
            format!("sha256:{}", escape(&record.policy_digest)),
        ),
        ("init", format!("sha256:{}", escape(&record.init_digest))),
        ("exec", sessions(&record.exec)),
        ("supervisor", ps::state(known)),
        (
            "without it",
            match record.on_supervisor_loss {
                OnLoss::Keep => "goes on, without reports (on_supervisor_loss: keep)".into(),
                OnLoss::Kill => "is ended (on_supervisor_loss: kill)".into(),
            },
        ),
        ("state", path(&known.home.path)),
    ]
}

/// What exec sessions are held to, and which there may be.
/// What becomes of what the profiles do not allow.
fn mode(record: &Record) -> String {
    match record.looks_only() {
        None => "enforce".into(),
        Some(mode) => format!("{} (layers of that mode deny nothing)", mode.to_uppercase()),
    }
}

fn sessions(rules: &ExecRules) -> String {
    if let Some(reason) = &rules.refused {
        return format!("refused: {}", escape(reason));
    }
    let held = |sub: Option<&SubPolicy>, whom: &str| {
        let sub = sub?;
        let refused = sub.refused.as_ref();
        let refused = refused.map_or(String::new(), |reason| {
            format!(", refused: {}", escape(reason))
        });
        Some(format!(
            "{whom} held to {} too{refused}",
            escape(&sub.profiles.join(" + "))
        ))
    };
    let stricter = held(rules.stricter.as_ref(), "sessions");
    let same = || Some("same policy as the workload".to_owned());
    let mut parts: Vec<String> = stricter.or_else(same).into_iter().collect();
    parts.extend(held(
        rules.stricter_interactive.as_ref(),
        "interactive ones",
    ));
    parts.extend(rules.sessions.iter().flat_map(said));
    parts.join("; ")
}

fn said(rule: &SessionRule) -> Vec<String> {
    let by = |what: String| format!("{} ({})", escape(&what), escape(&rule.profile));
    let interactive = rule
        .deny_interactive
        .then(|| by("interactive: deny".into()));
    let commands = rule.commands.as_ref().map(|commands| match &commands[..] {
        [] => by("commands: none".into()),
        some => by(format!("commands: {}", some.join(", "))),
    });
    interactive.into_iter().chain(commands).collect()
}

/// What init attested and the supervisor checked; never what was merely planned.
fn attested(known: &Known) -> Vec<(&'static str, String)> {
    let Some(status) = known.seen() else {
        return vec![(
            "",
            "nothing attested: no supervisor wrote a status".to_owned(),
        )];
    };
    let mut rows = vec![
        (
            "events",
            format!(
                "{}, {} denials, {} detections, {} exec sessions; {} left out, {} lost",
                status.events,
                status.tripwires,
                status.detections,
                status.sessions,
                status.suppressed,
                status.lost
            ),
        ),
        ("journal", journal(status)),
        ("evidence", evidence(status)),
        ("watcher", watcher(status)),
        ("pid", status.pid.to_string()),
    ];
    let frozen = status.frozen.as_ref();
    rows.extend(frozen.map(|frozen| ("FROZEN", alarm::freeze(frozen))));
    let Some(report) = &status.report else {
        rows.push((
            "",
            "nothing attested yet: the workload was not started".to_owned(),
        ));
        return rows;
    };
    let fixed: Vec<String> = report.landlock_errata.iter().map(u32::to_string).collect();
    rows.push((
        "landlock",
        format!("{}, {} rules", ps::landlock(report), report.landlock_rules),
    ));
    rows.extend(report.landlock_domains.iter().flat_map(domain));
    rows.extend([
        ("errata fixed", or_dash(fixed.join(", "))),
        ("skipped", skipped(report)),
        (
            "seccomp",
            format!(
                "{}, {} instructions",
                ps::seccomp(report),
                report.filter_instructions
            ),
        ),
        ("no new privs", report.no_new_privs.to_string()),
        ("capabilities", escape(&report.effective_capabilities)),
    ]);
    let degraded = report
        .degraded
        .iter()
        .map(|text| ("goes without", escape(text)));
    rows.extend(degraded);
    rows
}

fn journal(status: &Status) -> String {
    let path = escape(&status.journal.display().to_string());
    match &status.journal_error {
        None => path,
        Some(cause) => format!("{path}, which CANNOT be written: {}", escape(cause)),
    }
}

fn evidence(status: &Status) -> String {
    let last = status.evidence.as_ref();
    last.map_or("-".into(), |path| escape(&path.display().to_string()))
}

fn watcher(status: &Status) -> String {
    let restarts = status.watcher_restarts;
    match status.watcher {
        // Of before there were watchers, or not there yet.
        0 if restarts == 0 => "-".into(),
        0 => format!("none, {restarts} ended"),
        pid => format!("pid {pid}, {restarts} ended before it"),
    }
}

/// The rules in force, one a line, with what each looks at beneath its response.
fn rules(rules: &[Rule]) -> String {
    if rules.is_empty() {
        return "  no rules: tripwires are denied and reported, nothing else is looked for\n"
            .into();
    }
    let head = [
        "RULE", "ON", "ABOUT", "SEVERITY", "AFTER", "RESPONSE", "TAGS",
    ];
    let rows: Vec<Vec<String>> = rules.iter().map(rule).collect();
    indented(&table(&head, &rows))
}

/// The first of many names: a group has dozens, and `--json` has them all.
fn some(mut names: Vec<String>) -> Vec<String> {
    const MOST: usize = 4;
    if names.len() > MOST + 1 {
        let more = names.len() - MOST;
        names.truncate(MOST);
        names.push(format!("{more} more"));
    }
    names
}

fn rule(rule: &Rule) -> Vec<String> {
    let mut about = some([&rule.calls[..], &rule.programs].concat());
    about.extend(rule.above.map(|tasks| format!("above {tasks} tasks")));
    let unless = rule.unless.iter().map(|glob| format!("not {glob}"));
    about.extend(some(unless.collect()));
    let after = match rule.within() {
        _ if rule.after == 1 => "-".into(),
        None => format!("{} times", rule.after),
        Some(window) => format!("{} in {}", rule.after, humantime::format_duration(window)),
    };
    let response = match rule.freeze {
        Some(Freeze { for_ms, then }) => {
            let time = humantime::format_duration(Duration::from_millis(for_ms));
            format!("{} {time}, then {}", rule.respond.word(), then.word())
        }
        None => rule.respond.word().to_owned(),
    };
    let response = match rule.would {
        Some(would) => format!("{response} (mode audit; enforced: {})", would.word()),
        None => response,
    };
    let cells = [
        format!("{}/{}", rule.profile, rule.name),
        rule.on.word().to_owned(),
        or_dash(about.join(", ")),
        rule.severity.word().to_owned(),
        after,
        response,
        or_dash(rule.tags.join(", ")),
    ];
    cells.iter().map(|cell| escape(cell)).collect()
}

/// What one domain denies unless a rule allows it, and its rules.
fn domain(domain: &Domain) -> Vec<(&'static str, String)> {
    let handled = [
        ("files", &domain.files, Some(domain.path_rules)),
        ("tcp", &domain.tcp, Some(domain.port_rules)),
        ("scope", &domain.scope, None),
    ];
    let rows = handled
        .into_iter()
        .filter(|(_, names, _)| !names.is_empty());
    rows.map(|(key, names, rules)| {
        let rules = rules.map_or_else(String::new, |rules| format!(" ({rules} rules)"));
        (key, escape(&names.join(" ")) + &rules)
    })
    .collect()
}

fn skipped(report: &Report) -> String {
    let listed = report.skipped_paths.len();
    let more = (report.skipped_count as usize).saturating_sub(listed);
    let listed = escape(&report.skipped_paths.join(", "));
    match more {
        0 => or_dash(listed),
        more => format!("{listed} and {more} more"),
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

fn pairs(title: &str, rows: &[(&str, String)]) -> String {
    let lines: String = rows
        .iter()
        .map(|(key, value)| format!("  {key:<13} {value}\n"))
        .collect();
    let gap = if title == "Container" { "" } else { "\n" };
    format!("{gap}{title}\n{lines}")
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {}\n", escape(line)))
        .collect()
}

fn coloured(line: &str) -> String {
    let safe = escape(line);
    match line.as_bytes().first() {
        Some(b'+') => ink(&safe, Ink::Good),
        Some(b'-') => ink(&safe, Ink::Bad),
        _ => safe,
    }
}
