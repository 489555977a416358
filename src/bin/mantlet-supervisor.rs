//! `mantlet-supervisor`: see [`mantlet::supervisor`].

use std::path::PathBuf;
use std::process::ExitCode;

/// `mantlet doctor` looks for this text in the file.
/// The line end belongs to it: the linker may put any other text right behind.
const VERSION: &str = concat!(
    "mantlet-supervisor version ",
    env!("CARGO_PKG_VERSION"),
    "\n"
);

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    match (words.next(), words.next()) {
        (Some(home), None) if PathBuf::from(&home).is_absolute() => {
            match mantlet::supervisor::run(&PathBuf::from(home)) {
                Ok(()) => ExitCode::SUCCESS,
                // Started as a daemon, its standard error is /dev/null; by hand, it is a person's.
                Err(error) => {
                    eprintln!("mantlet-supervisor: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        _ => {
            print!("{VERSION}");
            println!("Started by mantlet-runtime, once for each container; not by hand.");
            ExitCode::SUCCESS
        }
    }
}
