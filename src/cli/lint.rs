//! `mantlet lint`: what is allowed to write in a profile and most likely not meant.
//!
//! The rules are [`crate::profile::lint`]'s; here files are found, and findings shown to people, to
//! programs (`--format json`) and to whatever annotates changes (`--format sarif`).

mod sarif;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::completions::PROFILE;
use super::{CliError, print_json, profiles, text};
use crate::config::{self, Config};
use crate::profile::{self, Finding, Level, Look};

/// Arguments of `lint`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Profiles: a path, or the name of the site's or of a built-in one
    #[arg(value_name = "FILE|NAME", required = true, value_parser = PROFILE, hide_possible_values = true)]
    profiles: Vec<String>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Fail for these as well
    #[arg(long, value_enum, value_name = "LEVEL")]
    deny: Option<Deny>,
    /// Find what a kernel with this Landlock ABI cannot enforce; 0 for none
    #[arg(long, value_name = "N")]
    landlock_abi: Option<u32>,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: the line with a mark under the word
    Text,
    /// A list of objects
    Json,
    /// SARIF 2.1.0, which code hosts show beside a change
    Sarif,
}

/// What fails beside errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    /// Warnings
    Warnings,
    /// Warnings and notes
    Notes,
}

/// Prints what is found, and fails where that is too much.
pub fn lint(args: &Args) -> Result<ExitCode, CliError> {
    // Whoever writes a profile need not have a node's configuration, nor a right one.
    let site = Config::load().map_or_else(
        |_| PathBuf::from("/etc/mantlet/profiles"),
        |config| config.profiles_dir,
    );
    let mut all = Vec::new();
    // What cannot be read takes nothing from what is found in the others.
    let mut unread = None;
    let mut read = 0;
    for written in &args.profiles {
        match one(written, args.landlock_abi, &site) {
            Ok(found) => {
                read += 1;
                all.extend(found);
            }
            Err(error) => {
                if let Some(former) = unread.replace(error) {
                    super::warn(&former.to_string());
                }
            }
        }
    }
    match args.format {
        _ if read == 0 => {}
        Format::Text => show(&all)?,
        Format::Json => print_json(&Value::Array(all.iter().map(object).collect()))?,
        Format::Sarif => print_json(&sarif::log(&all))?,
    }
    if let Some(error) = unread {
        return Err(error);
    }
    let least = match args.deny {
        None => Level::Error,
        Some(Deny::Warnings) => Level::Warning,
        Some(Deny::Notes) => Level::Note,
    };
    let failed = all.iter().any(|found| found.level >= least);
    Ok(ExitCode::from(u8::from(failed)))
}

/// All findings about one profile. What it extends is looked for beside its file, at the site, then
/// among the built-in ones.
fn one(word: &str, abi: Option<u32>, site: &Path) -> Result<Vec<Finding>, CliError> {
    // As `create` reads it: a file that others may write, say, is none that holds.
    let at_site = |name: &str| config::profile(site, name);
    let Some(written) = profiles::written(word)? else {
        return Ok(profile::lint::lint(word, abi, &mut |name| at_site(name)));
    };
    let mut load = |wanted: &str| written.load(wanted, || at_site(wanted));
    let mut all = profile::lint::lint(&written.name, abi, &mut load);
    for found in &mut all {
        found.origin = written.place(&found.origin);
    }
    Ok(all)
}

fn show(all: &[Finding]) -> Result<(), CliError> {
    let look = Look {
        colour: text::takes_colour(),
        width: text::width().unwrap_or(Look::PLAIN.width),
    };
    let mut out = io::stdout().lock();
    for found in all {
        writeln!(out, "{}", found.show(look))?;
    }
    let count = |level| all.iter().filter(|found| found.level == level).count();
    let levels = [Level::Error, Level::Warning, Level::Note];
    let counted = levels.map(|level| (count(level), level.word()));
    let counted = counted.into_iter().filter(|(many, _)| *many > 0);
    let said: Vec<String> = counted
        .map(|(many, word)| format!("{many} {word}{}", if many == 1 { "" } else { "s" }))
        .collect();
    match said.is_empty() {
        true => writeln!(out, "nothing found")?,
        false => writeln!(out, "{}", said.join(", "))?,
    }
    Ok(())
}

/// One finding, for programs.
fn object(found: &Finding) -> Value {
    json!({
        "code": found.code,
        "level": found.level.word(),
        "message": found.message,
        "help": found.help,
        "file": found.origin.file(),
        "line": found.origin.line(),
        "column": found.origin.column(),
    })
}
