//! `mantlet --version`: what exactly is installed.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::CliError;
use crate::state;

/// The package's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, `unknown` for a tarball.
pub const COMMIT: &str = env!("MANTLET_BUILD_COMMIT");

/// Prints version, commit, and the digest of the init beside this program.
pub fn print() -> Result<ExitCode, CliError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "mantlet version {VERSION}")?;
    writeln!(out, "commit: {COMMIT}")?;
    writeln!(out, "init: {}", init_digest())?;
    Ok(ExitCode::SUCCESS)
}

/// A program of ours in the same folder as this one.
pub fn beside(program: &str) -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join(program))
}

fn init_digest() -> String {
    let digest = beside("mantlet-init").and_then(|path| state::digest_file(&path).ok());
    digest.map_or_else(|| "missing".to_owned(), |digest| format!("sha256:{digest}"))
}
