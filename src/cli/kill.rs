//! `mantlet kill`: ends every process of one container at once, frozen or not.

use std::io::{self, Write};
use std::process::ExitCode;

use super::ask::{Deed, Undone, done, title};
use super::{CliError, print_json, select};
use crate::config::Config;
use crate::control::{Answer, Ask};

/// Arguments of `kill`.
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
    verb: "kill",
    runtimes: &["kill", "KILL"],
};

/// SIGKILL to all of them. Whoever started the container decides what comes next, and that is said.
pub fn kill(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let known = select::one(&config.state_dir, &args.id)?;
    match DEED.ask(&known, &Ask::Kill)? {
        Answer::Done { .. } if args.json => print_json(&done(&known, DEED.verb))?,
        Answer::Done { .. } => writeln!(
            io::stdout(),
            "{}: every process is ended.\n\
             The kubelet starts it anew where its pod's restartPolicy says so (Always, unless the \
             pod names another); delete the pod to stop it for good.",
            title(&known)
        )?,
        _ => return Err(CliError::undone(DEED.verb, &known, Undone::Beside)),
    }
    Ok(ExitCode::SUCCESS)
}
