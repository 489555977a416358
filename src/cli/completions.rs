//! `mantlet completions`: what a shell needs to complete this command, made from its own definition.

use std::io::{self, Write};
use std::process::ExitCode;

use clap_complete::Shell;

use super::{CliError, pages};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the shell's own script.
pub fn completions(args: &Args) -> Result<ExitCode, CliError> {
    // Into memory first: the generator does not survive a reader that goes away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut pages::command(), "mantlet", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    Ok(out.flush().map(|()| ExitCode::SUCCESS)?)
}
