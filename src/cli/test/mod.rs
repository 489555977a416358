//! `mantlet test`: a profile against what its author expects of it, and against what was recorded.

mod expect;
mod recorded;
mod replay;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::completions::PROFILE;
use super::subject::{Over, Subject};
use super::{CliError, print_json, profiles, warn};
use crate::config::Config;
use crate::profile::Expectation;

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A profile's name, or a file; A+B for layers, outermost first
    #[arg(value_name = "PROFILE", value_parser = PROFILE, hide_possible_values = true)]
    profile: String,
    /// Expectations of this file too: `version: 1` and `tests:`
    #[arg(long, value_name = "FILE")]
    tests: Vec<PathBuf>,
    /// Decide what these journals hold: files, ids of containers, or - for standard input
    #[arg(long, value_name = "JOURNAL", num_args = 1..)]
    replay: Vec<String>,
    /// Answer by what is left, though the journals have lost something
    #[arg(long, requires = "replay")]
    accept_loss: bool,
    #[command(flatten)]
    over: Over,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Tests.
pub fn test(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let mut over = args.over.clone();
    let journals = recorded::read(&args.replay, config)?;
    // A container that is still there knows its own volumes.
    if over.container.is_none() && over.bundle.is_none() {
        over.container = journals.container.clone();
    }
    let mut subject = Subject::of(&[&args.profile], &over, config)?;
    subject.ask_for(&subject.capabilities());
    if over.container.is_none() && over.bundle.is_none() {
        subject.add_volumes(&journals.mounts())?;
    }
    subject.warnings.iter().for_each(|warning| warn(warning));
    let mut tests: Vec<Expectation> = Vec::new();
    for profile in &subject.profiles {
        tests.extend(profile.tests.iter().cloned());
    }
    for path in &args.tests {
        let text = profiles::text(path).map_err(|cause| CliError::Tests {
            path: path.clone(),
            cause,
        })?;
        tests.extend(Expectation::parse(&path.display().to_string(), &text)?);
    }
    if tests.is_empty() && args.replay.is_empty() {
        return Err(CliError::NoTests {
            profile: subject.title(),
        });
    }
    let (decider, _) = subject.decider()?;
    let mut results = Vec::new();
    for test in &tests {
        results.push(expect::run(&subject, &decider, test)?);
    }
    let failed = results.iter().filter(|result| !result.passed).count();
    let replayed = (!args.replay.is_empty()).then(|| replay::decide(&decider, &journals));
    if args.json {
        print_json(&json!({
            "profiles": subject.profiles.iter().map(|p| &p.name).collect::<Vec<_>>(),
            "over": subject.about,
            "landlock_abi": subject.host.landlock_abi,
            "warnings": subject.warnings,
            "tests": results,
            "passed": results.len() - failed,
            "failed": failed,
            "replay": replayed,
        }))?;
    } else {
        let mut page = String::new();
        if !results.is_empty() {
            page += &expect::page(&subject, &results);
        }
        if let Some(replayed) = &replayed {
            page += &replayed.page(&subject);
        }
        io::stdout().lock().write_all(page.as_bytes())?;
    }
    let amiss = replayed
        .is_some_and(|replayed| replayed.denies() || (replayed.lacks() && !args.accept_loss));
    Ok(ExitCode::from(u8::from(failed > 0 || amiss)))
}
