//! How a program is run here, in the words of a command line: for every verb that runs one.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;

use super::{Job, Layer, LocalError, Looking, Network, Tree, Volume};
use crate::profile::capability;

/// Longest time that a program can be given. The kernel's clock goes on much further.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Arguments of verbs that run a program.
#[derive(Debug, clap::Args)]
pub struct How {
    /// The root filesystem is this folder, with a layer in memory over it, instead of this machine's
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "bundle")]
    rootfs: Option<PathBuf>,
    /// The config.json and root filesystem of this OCI bundle, with a layer in memory over the latter
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    bundle: Option<PathBuf>,
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
    #[arg(long, value_name = "DURATION", value_parser = time)]
    timeout: Option<Duration>,
    /// The program and its arguments, after `--`; a bundle has its own
    #[arg(value_name = "CMD", last = true, value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

fn capability_name(written: &str) -> Result<&'static str, String> {
    let upper = written.to_ascii_uppercase();
    capability::canonical(&upper)
        .ok_or_else(|| "no such capability; see capabilities(7)".to_owned())
}

/// What the clock can count to: a deadline is looked at after the program has begun.
fn time(written: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(written).map_err(|error| error.to_string())?;
    match time > LONGEST {
        true => Err("it is longer than 100 years; leave it out for no limit".into()),
        false => Ok(time),
    }
}

impl How {
    /// Whether anything is to be run: a command, or a bundle's own.
    pub fn runs(&self) -> bool {
        !self.command.is_empty() || self.bundle.is_some()
    }

    /// The run under these layers, each in its own mode, with nothing told besides.
    ///
    /// # Errors
    /// [`LocalError`]: a volume or the command cannot be understood.
    pub fn job(&self, layers: Vec<Layer>) -> Result<Job, LocalError> {
        let mut volumes = Vec::new();
        for written in self.volume.iter().chain(&self.rw) {
            volumes.push(Volume::parse(written)?);
        }
        for path in &self.tmpfs {
            volumes.push(Volume::memory(path)?);
        }
        let command = self.command.iter().map(|word| {
            let word = word.to_str().map(str::to_owned);
            word.ok_or(LocalError::NotText {
                what: "the command",
            })
        });
        let tree = match (&self.rootfs, &self.bundle) {
            (Some(path), _) => Tree::Folder(path.clone()),
            (None, Some(path)) => Tree::Bundle(path.clone()),
            (None, None) => Tree::Machine,
        };
        let network = self.network.or(match tree {
            Tree::Bundle(_) => None,
            Tree::Machine | Tree::Folder(_) => Some(Network::None),
        });
        let env = self
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
            looking: Looking::No,
            command: command.collect::<Result<_, _>>()?,
            volumes,
            env: env.collect(),
            user: self.user.clone(),
            cwd: self.cwd.clone(),
            network,
            capabilities: self.capability.clone(),
            read_only: self.read_only,
            runtime: self.runtime.clone(),
            terminal: self.tty || (on_terminal && !self.no_tty),
            timeout: self.timeout,
            keep: false,
            tree,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_time_that_the_clock_cannot_count_to_is_refused_before_anything_begins() {
        assert_eq!(time("30s"), Ok(Duration::from_secs(30)));
        assert!(time("").is_err());
        for far in ["101y", "18446744073709551615s", "500000000000y"] {
            assert!(time(far).unwrap_err().contains("100 years"), "{far}");
        }
        assert!(Instant::now().checked_add(LONGEST).is_some());
    }
}
