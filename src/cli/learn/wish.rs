//! What a person asks of the runs, and whether it can be had: judged before anything is read or run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::build::Choice;
use super::check::{self, Load};
use super::error::Error;
use super::files::{Level, Options};
use super::run::Run;
use crate::cli::completions::PROFILE;
use crate::cli::{CliError, output};
use crate::policy::mounts::beneath;
use crate::profile::{is_name, normal_glob, normal_path};

/// What is to be made of the runs.
#[derive(Debug, clap::Args)]
pub struct Wish {
    /// Write the profile to this file, which names it, and not to standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace FILE where it exists
    #[arg(long)]
    pub force: bool,
    /// Keep what was recorded in this file, whatever becomes of the profile, to be learned from again
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// The profile's name where no FILE gives it one
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Take in what exec sessions did
    #[arg(long)]
    pub exec_sessions: bool,
    /// How far files are taken together
    #[arg(long, value_name = "LEVEL", value_enum, default_value = "careful")]
    pub level: Level,
    /// Leave files at or below this path as they were seen
    #[arg(long, value_name = "PATH", value_parser = normal_path)]
    pub exact: Vec<String>,
    /// Let DIR, which holds them, stand for all files that GLOB covers
    #[arg(long = "generalise", value_name = "GLOB=DIR", value_parser = into)]
    pub into: Vec<(String, String)>,
    /// Write only what PROFILE lacks, where that is less: the result grants all that PROFILE does, needed or not
    #[arg(long, value_name = "PROFILE", value_parser = PROFILE, hide_possible_values = true)]
    pub extends: Option<String>,
    /// Write a group of calls where half of it was seen
    #[arg(long)]
    pub fold: bool,
    /// Write a profile that denies, though events were lost or something was done that it cannot allow
    #[arg(long)]
    pub accept_loss: bool,
    /// Tell what was learned as JSON, the profile in it: on standard output, or in FILE
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "-"
    )]
    pub json: Option<PathBuf>,
}

impl Wish {
    /// The name that it gives the profile, if any: a FILE's own, unless there is another.
    pub fn named(&self) -> Option<String> {
        let stem = self.output.as_ref().and_then(|path| path.file_stem());
        let named = stem.map(|stem| stem.to_string_lossy().into_owned());
        self.name.clone().or(named)
    }

    /// Where JSON goes but to standard output.
    pub fn json_file(&self) -> Option<&PathBuf> {
        self.json.as_ref().filter(|path| path.as_os_str() != "-")
    }

    /// Refuses what could not be fulfilled, before anything is read or run in vain. `runs`: a program is to be run.
    ///
    /// # Errors
    ///
    /// [`Error`], and what [`output::free`] says of the files.
    pub fn check(&self, runs: bool, load: Load<'_>) -> Result<(), CliError> {
        if runs && self.output.is_none() {
            Err(Error::NoFile)?;
        }
        if runs && self.json.is_some() && self.json_file().is_none() {
            Err(Error::NoFileForJson)?;
        }
        let named = self.named();
        if let Some(name) = named.as_ref().filter(|name| !is_name(name)) {
            Err(Error::Name { name: name.clone() })?;
        }
        let json = self.json_file().cloned();
        output::free(&[&self.output, &self.save, &json], self.force)?;
        let mut files: Vec<&PathBuf> = Vec::new();
        for path in [&self.output, &self.save, &json].into_iter().flatten() {
            if files.iter().any(|other| is_same(other, path)) {
                Err(Error::SameFile { path: path.clone() })?;
            }
            files.push(path);
        }
        if let Some(parent) = &self.extends {
            check::parent(named.as_deref(), parent, load)?;
        }
        Ok(())
    }

    /// What becomes of the runs.
    pub fn choice(&self, runs: &[Run]) -> Choice {
        Choice {
            name: self.named().unwrap_or_else(|| likely_name(runs)),
            files: Options {
                level: self.level,
                exact: self.exact.clone(),
                into: self.into.clone(),
                moves: BTreeMap::new(),
            },
            exec_sessions: self.exec_sessions,
            fold: self.fold,
            accept_loss: self.accept_loss,
            writer: format!("mantlet {}", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// Whether two paths name one file, there or not.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        (
            folder.canonicalize().ok(),
            path.file_name().map(OsStr::to_owned),
        )
    };
    place(one) == place(other)
}

/// `GLOB=DIR`, where DIR grants at least what was seen of what GLOB covers: a rule elsewhere would take it away.
fn into(written: &str) -> Result<(String, String), String> {
    let Some((glob, folder)) = written.split_once('=') else {
        return Err("write GLOB=DIR, such as /srv/cache/**=/srv/cache".into());
    };
    let (glob, folder) = (normal_glob(glob)?, normal_path(folder)?);
    // The deepest folder that holds all that it covers.
    let plain = glob.split_once('*').map(|(plain, _)| plain);
    let top = match plain.map(|plain| plain.rsplit_once('/').unwrap_or_default().0) {
        Some("") => "/",
        Some(top) => top,
        None => &glob,
    };
    if !beneath(top, &folder) {
        return Err(format!(
            "{folder} does not hold what {glob} covers, which would be denied then; write {top} or a folder above it"
        ));
    }
    if folder != "/proc" && beneath(&folder, "/proc") {
        return Err(format!(
            "rules below /proc do not last, and no profile may have one; write {glob}=/proc"
        ));
    }
    Ok((glob, folder))
}
/// The container's name in its pod, else its program's.
fn likely_name(runs: &[Run]) -> String {
    let named = runs.iter().find_map(|run| run.container.name.clone());
    let program = runs.iter().find_map(|run| run.program.clone());
    let name = named.or(program).unwrap_or_default();
    let name = name
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let name: String = name.chars().filter(|c| plain(*c)).collect();
    if name.is_empty() {
        "learned".into()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_what_it_holds_and_no_rule_is_below_proc() {
        for (written, folder) in [
            ("/usr/share/**=/usr/share", "/usr/share"),
            ("/usr/share/**=/usr", "/usr"),
            ("/srv/cach*/x=/srv", "/srv"),
            ("/srv/one=/srv/one", "/srv/one"),
            ("/proc/**=/proc", "/proc"),
            ("/**=/", "/"),
        ] {
            assert_eq!(
                into(written).map(|(_, into)| into),
                Ok(folder.into()),
                "{written}"
            );
        }
        for (written, said) in [
            ("/usr/share/**=/opt", "write /usr/share or"),
            ("/usr/share/**=/usr/share/doc", "write /usr/share or"),
            ("/srv/cach*/x=/srv/cache", "write /srv or"),
            ("/*=/srv", "write / or"),
            ("/proc/sys/**=/proc/sys", "write /proc/sys/**=/proc"),
            ("/usr/share/**", "write GLOB=DIR"),
        ] {
            let wrong = into(written).expect_err(written);
            assert!(wrong.contains(said), "{written}: {wrong}");
        }
    }
}
