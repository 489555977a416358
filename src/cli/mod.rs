//! `mantlet`, the command for people: what runs, what was refused, what this node can do.
//!
//! It only looks: it changes no container and no policy, and nothing that is enforced depends on
//! it. Text that comes from containers (names, paths, arguments) is escaped wherever a person
//! reads it, and passed through unchanged in JSON.
//!
//! Exit codes: 0 success; 1 failure, or something found that needs attention; 2 wrong usage.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::state::StateError;

mod alarm;
mod doctor;
mod events;
mod inspect;
mod journal;
mod ps;
mod select;
mod text;
mod version;

/// Sandboxed containers: what runs, what was refused, what this node can enforce.
#[derive(Debug, Parser)]
#[command(
    name = "mantlet",
    disable_version_flag = true,
    after_help = "Exit codes: 0 success, 1 failure or a finding, 2 wrong usage.\n\
                  The node's configuration is /etc/mantlet/config.yaml; MANTLET_CONFIG names another."
)]
struct Cli {
    /// Print version, commit and the digest of mantlet-init
    #[arg(short = 'V', long)]
    version: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What to do; each has its own file.
#[derive(Debug, Subcommand)]
enum Verb {
    /// List containers and what is enforced on each
    Ps(ps::Args),
    /// Show what containers were refused, with the profile line that would allow it
    Events(events::Args),
    /// Show one container: record, effective policy, what took effect, config.json's changes
    Inspect(inspect::Args),
    /// Check what this node can enforce and what is missing, each with its remedy
    Doctor(doctor::Args),
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The node's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// Standard output; a closed pipe ends the program quietly.
    #[error("cannot write the output: {0}; check the disk or the pipe behind it")]
    Output(#[from] io::Error),
    /// A journal or the folder of journals.
    #[error("cannot {operation} {}: {source}; run as root, or mend log_dir in the configuration", path.display())]
    Journal {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: std::path::PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No container has that id or prefix.
    #[error(
        "no container {:?}; `mantlet ps` lists those that mantlet knows",
        text::escape(id)
    )]
    NoContainer {
        /// As given.
        id: String,
    },
    /// No journal tells of that id or prefix.
    #[error(
        "no events of a container {:?} in {}; `mantlet events` shows those of all",
        text::escape(id), folder.display()
    )]
    NoEvents {
        /// As given.
        id: String,
        /// The folder of journals.
        folder: std::path::PathBuf,
    },
    /// Several have it.
    #[error("{:?} is the beginning of several ids; give more of one:\n  {}", text::escape(id), candidates.join("\n  "))]
    Ambiguous {
        /// As given.
        id: String,
        /// Whole ids with their roots.
        candidates: Vec<String>,
    },
}

/// Runs one command line and gives the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // clap knows by itself that help goes to stdout with code 0, misuse to stderr with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match perform(cli) {
        Ok(code) => code,
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "mantlet: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(cli: Cli) -> Result<ExitCode, CliError> {
    if cli.version {
        return version::print();
    }
    match cli.verb {
        // The only verb that has something to say about a broken configuration.
        Some(Verb::Doctor(args)) => doctor::doctor(&args),
        Some(Verb::Ps(args)) => ps::ps(&args, &Config::load()?),
        Some(Verb::Events(args)) => events::events(&args, &Config::load()?),
        Some(Verb::Inspect(args)) => inspect::inspect(&args, &Config::load()?),
        None => {
            let help = <Cli as clap::CommandFactory>::command().render_help();
            writeln!(io::stderr(), "{help}")?;
            Ok(ExitCode::from(2))
        }
    }
}

/// A note for the person that is no part of the output, such as a lost supervisor.
fn warn(message: &str) {
    // Nothing can be done where stderr is gone.
    let _ = writeln!(io::stderr(), "mantlet: {message}");
}

/// One JSON value, indented, with a newline.
fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
