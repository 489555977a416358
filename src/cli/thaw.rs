//! `mantlet thaw`: lets a frozen container go on.

use std::io::{self, Write};
use std::process::ExitCode;

use super::ask::{Deed, Undone, done, title};
use super::{CliError, print_json, select};
use crate::config::Config;
use crate::control::{Answer, Ask};

/// Arguments of `thaw`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's id, or its beginning where no other id begins so
    #[arg(value_name = "ID")]
    id: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const DEED: Deed = Deed {
    verb: "thaw",
    runtimes: &["resume"],
};

/// Ends a freeze, whoever began it.
pub fn thaw(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let known = select::one(&config.state_dir, &args.id)?;
    match DEED.ask(&known, &Ask::Thaw)? {
        Answer::Done { .. } if args.json => print_json(&done(&known, DEED.verb))?,
        Answer::Done { .. } => writeln!(io::stdout(), "{} goes on.", title(&known))?,
        _ => return Err(CliError::undone(DEED.verb, &known, Undone::Beside)),
    }
    Ok(ExitCode::SUCCESS)
}
