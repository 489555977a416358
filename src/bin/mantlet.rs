//! The command for people: see [`mantlet::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mantlet::cli::run(std::env::args_os())
}
