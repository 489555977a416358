//! `mantlet try`: a program under a profile here and now, with what is denied told as it happens and summed
//! up at the end.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueHint;

use super::completions::PROFILE;
use super::events::human;
use super::journal::Line;
use super::local::{self, How, Job, Layer, LocalError, Looking};
use super::text::{self, Ink, escape, ink};
use super::{CliError, complain, output, warn};
use crate::config::Config;
use crate::event::What;

mod tally;

use tally::Tally;

/// What mantlet itself could not do, as env(1) and docker(1) say it.
pub const FAILED: u8 = 125;

/// Arguments of `try`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A profile's name, or the path of its file; `A+B` for several as layers
    #[arg(value_name = "PROFILE", value_parser = PROFILE, hide_possible_values = true)]
    profile: String,
    /// One more profile as a layer
    #[arg(long, value_name = "PROFILE", value_parser = PROFILE, hide_possible_values = true)]
    layer: Vec<String>,
    /// Perform what would be denied, and report it
    #[arg(long)]
    audit: bool,
    /// Write the events as JSON lines into this file, and no text about them (`-`: standard error)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,
    /// Write over the file of `--json` where it is there
    #[arg(long, requires = "json")]
    force: bool,
    /// Tell only what was denied, and no summary
    #[arg(short, long)]
    quiet: bool,
    /// Leave journal, bundle and profiles, and tell where
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    how: How,
}

/// Runs it.
pub fn trial(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let job = match job(args) {
        Ok(job) => job,
        Err(error) => return Ok(failed(&error)),
    };
    text::speak_on_stderr();
    let mut told = Told::new(args)?;
    let run = local::run(&job, config, &mut |line| told.line(line));
    let outcome = match run {
        Ok(outcome) => outcome,
        Err(error) => return Ok(failed(&error)),
    };
    if let Some(why) = outcome.untold {
        warn(&format!(
            "only tripwires and detections could be told, and what Landlock denies could not: {why}"
        ));
    }
    if !outcome.journal_is_whole {
        warn("the journal has no end; there may have been more than was told");
    }
    if args.json.is_none() && !args.quiet {
        let _ = io::stderr().write_all(told.tally.summary(args.audit).as_bytes());
    }
    if let Some(path) = outcome.kept() {
        warn(&format!(
            "kept: {} (journal {}); remove it when you have seen it",
            path.display(),
            outcome.journal.display()
        ));
    }
    // Whoever wanted the events has not had them all, so the program's own code would say too much.
    match told.fault {
        Some(source) => Err(CliError::EventFile {
            path: args.json.clone().unwrap_or_default(),
            source,
        }),
        None => Ok(ExitCode::from(outcome.ending.code())),
    }
}

fn failed(error: &LocalError) -> ExitCode {
    match error {
        LocalError::Profile(error) => complain(error),
        error => warn(&error.to_string()),
    }
    ExitCode::from(FAILED)
}

fn job(args: &Args) -> Result<Job, LocalError> {
    let mut layers = Layer::parse_all(&args.profile);
    for more in &args.layer {
        layers.extend(Layer::parse_all(more));
    }
    Ok(Job {
        looking: match args.audit {
            true => Looking::Instead,
            false => Looking::Beside,
        },
        keep: args.keep,
        ..args.how.job(layers)?
    })
}

/// What is told while it runs.
struct Told {
    json: Option<Box<dyn Write>>,
    tally: Tally,
    /// The file of events could not be written.
    fault: Option<io::Error>,
}

impl Told {
    fn new(args: &Args) -> Result<Told, CliError> {
        let open = |path: &Path| -> Result<Box<dyn Write>, CliError> {
            Ok(match path.to_str() {
                Some("-") => Box::new(io::stderr()),
                _ => Box::new(output::stream(path, args.force)?),
            })
        };
        Ok(Told {
            json: args.json.as_deref().map(open).transpose()?,
            tally: Tally::default(),
            fault: None,
        })
    }

    fn line(&mut self, line: &Line) -> Option<String> {
        match &line.event {
            Ok(event) => self.tally.count(event),
            Err(_) => self.tally.broken(),
        }
        if let Some(out) = &mut self.json {
            let written = out.write_all(&line.raw).and_then(|()| out.write_all(b"\n"));
            if let Err(error) = written {
                self.fault.get_or_insert(error);
            }
            return None;
        }
        let event = match &line.event {
            Ok(event) => event,
            Err(problem) => {
                return Some(format!(
                    "mantlet: a line of the journal is no event: {}\n",
                    escape(problem)
                ));
            }
        };
        match &event.what {
            // The person sees those without being told.
            What::Start { .. } | What::Exit { .. } | What::End { .. } | What::Failed { .. } => None,
            _ => Some(format!(
                "{} {}",
                ink("mantlet:", Ink::Good),
                human::brief(event)
            )),
        }
    }
}
