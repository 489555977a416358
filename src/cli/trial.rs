//! `mantlet try`: a program under a profile here and now, with what is denied told as it happens and summed
//! up at the end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueHint;

use super::events::human;
use super::journal::Line;
use super::local::{self, Job, Layer, LocalError, Mode, Network, Tree, Volume};
use super::select::ProfileName;
use super::text::{self, Ink, escape, ink};
use super::{CliError, complain, warn};
use crate::config::Config;
use crate::event::What;
use crate::profile::capability;

mod tally;

use tally::Tally;

/// What mantlet itself could not do, as env(1) and docker(1) say it.
const FAILED: u8 = 125;

/// Arguments of `try`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A profile's name, or the path of its file; `A+B` for several as layers
    #[arg(value_name = "PROFILE", value_parser = ProfileName, hide_possible_values = true)]
    profile: String,
    /// One more profile as a layer
    #[arg(long, value_name = "PROFILE", value_parser = ProfileName, hide_possible_values = true)]
    layer: Vec<String>,
    /// The root filesystem is this folder, with a layer in memory over it, instead of this machine's
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "bundle")]
    rootfs: Option<PathBuf>,
    /// The config.json and root filesystem of this OCI bundle, with a layer in memory over the latter
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    bundle: Option<PathBuf>,
    /// Perform what would be denied, and report it
    #[arg(long)]
    audit: bool,
    /// Bring in a folder or file of this machine's, which the program may change unless `:ro` is said
    #[arg(short, long, value_name = "SRC[:DST][:ro]")]
    volume: Vec<String>,
    /// The same as --volume DIR
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    rw: Vec<String>,
    /// A fresh folder in memory there
    #[arg(long, value_name = "PATH")]
    tmpfs: Vec<PathBuf>,
    /// A variable for the program; NAME alone passes this one's on
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Whom it runs as: numbers, or a user of the root filesystem's /etc/passwd [default: root]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Its working directory [default: this one, where the tree is this machine's]
    #[arg(long, value_name = "PATH")]
    cwd: Option<PathBuf>,
    /// Its network [default: none]
    #[arg(long, value_name = "NETWORK")]
    network: Option<Network>,
    /// A capability besides those that engines give; profiles still decide
    #[arg(long, value_name = "NAME", value_parser = capability_name)]
    capability: Vec<&'static str>,
    /// The root filesystem cannot be written, not even in memory
    #[arg(long)]
    read_only: bool,
    /// Give it a terminal of its own [default: where standard input and output are one]
    #[arg(short, long, overrides_with = "no_tty")]
    tty: bool,
    /// Give it this program's standard streams as they are
    #[arg(long)]
    no_tty: bool,
    /// The real runtime, a name or a path [default: that of the node's default handler]
    #[arg(long, value_name = "RUNTIME", value_hint = ValueHint::CommandName)]
    runtime: Option<PathBuf>,
    /// End it after this time, such as `30s`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Write the events as JSON lines into this file, and no text about them (`-`: standard error)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,
    /// Tell only what was denied, and no summary
    #[arg(short, long)]
    quiet: bool,
    /// Leave journal, bundle and profiles, and tell where
    #[arg(long)]
    keep: bool,
    /// The program and its arguments, after `--`; a bundle has its own
    #[arg(value_name = "CMD", last = true, value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

fn capability_name(written: &str) -> Result<&'static str, String> {
    let upper = written.to_ascii_uppercase();
    capability::canonical(&upper)
        .ok_or_else(|| "no such capability; see capabilities(7)".to_owned())
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
    match told.fault {
        Some(error) => Err(CliError::Output(error)),
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
    let mut volumes = Vec::new();
    for written in args.volume.iter().chain(&args.rw) {
        volumes.push(Volume::parse(written)?);
    }
    for path in &args.tmpfs {
        volumes.push(Volume::memory(path)?);
    }
    let command = args.command.iter().map(|word| {
        let word = word.to_str().map(str::to_owned);
        word.ok_or(LocalError::NotText {
            what: "the command",
        })
    });
    let tree = match (&args.rootfs, &args.bundle) {
        (Some(path), _) => Tree::Folder(path.clone()),
        (None, Some(path)) => Tree::Bundle(path.clone()),
        (None, None) => Tree::Machine,
    };
    let network = args.network.or(match tree {
        Tree::Bundle(_) => None,
        Tree::Machine | Tree::Folder(_) => Some(Network::None),
    });
    let env = args
        .env
        .iter()
        .filter_map(|written| match written.contains('=') {
            true => Some(written.clone()),
            false => std::env::var(written)
                .ok()
                .map(|value| format!("{written}={value}")),
        });
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    Ok(Job {
        layers,
        mode: args.audit.then_some(Mode::Audit),
        command: command.collect::<Result<_, _>>()?,
        volumes,
        env: env.collect(),
        user: args.user.clone(),
        cwd: args.cwd.clone(),
        network,
        capabilities: args.capability.clone(),
        read_only: args.read_only,
        runtime: args.runtime.clone(),
        terminal: args.tty || (on_terminal && !args.no_tty),
        timeout: args.timeout,
        keep: args.keep,
        tree,
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
        let open = |path: &Path| -> io::Result<Box<dyn Write>> {
            Ok(match path.to_str() {
                Some("-") => Box::new(io::stderr()),
                _ => Box::new(File::create(path)?),
            })
        };
        let json = args.json.as_deref().map(open).transpose();
        Ok(Told {
            json: json.map_err(|source| CliError::EventFile {
                path: args.json.clone().unwrap_or_default(),
                source,
            })?,
            tally: Tally::default(),
            fault: None,
        })
    }

    fn line(&mut self, line: &Line) -> Option<String> {
        if let Ok(event) = &line.event {
            self.tally.count(event);
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
