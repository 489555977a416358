//! `mantlet export`: a profile for who has no mantlet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use oci_spec::runtime::Spec;

use super::super::completions::PROFILE;
use super::super::{CliError, output, profiles};
use super::{ExchangeError, Target, give};
use crate::config::Config;
use crate::policy::decide::Rootfs;
use crate::policy::exchange::{Folder, Form, export_files, export_seccomp, manifest};
use crate::profile::Profile;

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The profile: a name, or a file
    #[arg(value_name = "PROFILE", value_parser = PROFILE, hide_possible_values = true)]
    profile: String,
    /// What to make of it
    #[arg(long, value_name = "FORM", value_enum)]
    to: Kind,
    #[command(flatten)]
    target: Target,
    /// landlockconfig: the container that symbols (`@volumes`) and exceptions are about
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// landlockconfig: TOML instead of JSON, as for an OUT that ends in .toml
    #[arg(long)]
    toml: bool,
    /// seccomp: also allow what runc itself calls before the workload starts
    #[arg(long)]
    with_runtime: bool,
    /// Print one JSON object: the text, or the file that got it, and the notes
    #[arg(long)]
    json: bool,
}

/// What can be made of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// linux.seccomp, for config.json, Docker, Podman and the kubelet's Localhost profiles
    OciSeccomp,
    /// A SeccompProfile of the Security Profiles Operator
    Spo,
    /// A Landlock ruleset
    Landlockconfig,
}

/// Exports one profile.
pub fn export(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    output::free(&[&args.target.output], args.target.force)?;
    let profile = profiles::find(&args.profile, config)?;
    let (text, notes) = made(args, &profile)?;
    give(&text, &notes, &args.target, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn made(args: &Args, profile: &Profile) -> Result<(String, Vec<String>), ExchangeError> {
    match args.to {
        Kind::OciSeccomp => {
            let seccomp = export_seccomp(profile, args.with_runtime)?;
            Ok((format!("{:#}\n", seccomp.filter), seccomp.notes))
        }
        Kind::Spo => {
            let seccomp = export_seccomp(profile, args.with_runtime)?;
            let text = manifest(&profile.name, &profile.description, &seccomp)?;
            Ok((text, seccomp.notes))
        }
        Kind::Landlockconfig => {
            let named = args
                .target
                .output
                .as_ref()
                .and_then(|path| path.extension());
            let form = if args.toml || named.is_some_and(|ending| ending == "toml") {
                Form::Toml
            } else {
                Form::Json
            };
            let bundle = args.bundle.as_deref().map(Bundle::read).transpose()?;
            let container = bundle
                .as_ref()
                .map(|bundle| (&bundle.spec, bundle as &dyn Folder));
            let exported = export_files(profile, container)?;
            Ok((exported.config.write(form), exported.notes))
        }
    }
}

/// A container that does not run.
struct Bundle {
    spec: Spec,
    root: PathBuf,
}

impl Bundle {
    fn read(folder: &Path) -> Result<Bundle, ExchangeError> {
        let path = folder.join("config.json");
        let wrong = |cause: String| ExchangeError::Bundle {
            path: path.clone(),
            cause,
        };
        let text = fs::read(&path).map_err(|error| wrong(error.to_string()))?;
        let spec: Spec = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let root = spec
            .root()
            .as_ref()
            .map_or(Path::new("rootfs"), |root| root.path());
        let root = folder.join(root);
        let root = root
            .canonicalize()
            .map_err(|error| wrong(format!("its root {}: {error}", root.display())))?;
        Ok(Bundle { spec, root })
    }
}

impl Folder for Bundle {
    fn entries(&self, path: &str) -> io::Result<Vec<(String, bool)>> {
        // Whoever asks goes down by names from here, and never by a link: see `beside`.
        let folder = self.root.join(path.trim_start_matches('/'));
        let mut all = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name().into_string();
            // What has no name in UTF-8 cannot be written, so it is not granted.
            if let (false, Ok(name)) = (kind.is_symlink(), name) {
                all.push((name, kind.is_dir()));
            }
        }
        all.sort();
        Ok(all)
    }

    fn real(&self, path: &str) -> String {
        let rootfs = Rootfs::open(&self.root, Vec::new()).ok();
        let found = rootfs.and_then(|rootfs| rootfs.name(path, true));
        found.unwrap_or_else(|| path.to_owned())
    }
}
