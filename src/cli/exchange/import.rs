//! `mantlet import`: another tool's file as a profile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::{CliError, output};
use super::{ExchangeError, Target, give, read};
use crate::policy::exchange::{
    Defaults, Form, Imported, Kernel, LandlockConfig, SeccompFile, SeccompScene, import_files,
    import_seccomp,
};
use crate::profile::capability;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to import; `-` for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the file is, where it does not tell
    #[arg(long = "as", value_name = "FORM", value_enum)]
    form: Option<Kind>,
    #[command(flatten)]
    target: Target,
    /// The profile's name; of OUT or FILE where it is not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// seccomp: a capability that the container holds, for rules that depend on it
    #[arg(long, value_name = "CAP")]
    capability: Vec<String>,
    /// seccomp: the least kernel of the nodes, for rules that depend on it
    #[arg(long, value_name = "VERSION", default_value = "5.13")]
    kernel: String,
    /// seccomp: take a list of what is forbidden as one of what is allowed
    #[arg(long)]
    expand: bool,
    /// Print one JSON object: the text, or the file that got it, and the notes
    #[arg(long)]
    json: bool,
}

/// What can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// linux.seccomp, config.json, Docker's and Podman's seccomp.json, a SeccompProfile
    Seccomp,
    /// A Landlock ruleset, JSON or TOML
    Landlockconfig,
}

/// Imports one file.
pub fn import(args: &Args) -> Result<ExitCode, CliError> {
    output::free(&[&args.target.output], args.target.force)?;
    let text = read(&args.file)?;
    let shown = if args.file == Path::new("-") {
        "stdin".into()
    } else {
        args.file.display().to_string()
    };
    let name = name(args);
    let imported = match args.form.unwrap_or_else(|| guess(&args.file, &text)) {
        Kind::Seccomp => seccomp(args, &shown, &name, &text)?,
        Kind::Landlockconfig => {
            let config = LandlockConfig::read(&shown, &text, notation(&text))
                .map_err(ExchangeError::from)?;
            import_files(&shown, &name, &config).map_err(ExchangeError::from)?
        }
    };
    give(&imported.text, &imported.notes, &args.target, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn seccomp(args: &Args, shown: &str, name: &str, text: &str) -> Result<Imported, ExchangeError> {
    let kernel =
        Kernel::parse(&args.kernel).ok_or_else(|| ExchangeError::Kernel(args.kernel.clone()))?;
    let known = |written: &String| {
        capability::canonical(&written.to_ascii_uppercase())
            .ok_or_else(|| ExchangeError::Capability(written.clone()))
    };
    let capabilities = args
        .capability
        .iter()
        .map(known)
        .collect::<Result<BTreeSet<_>, _>>()?;
    let scene = SeccompScene {
        capabilities,
        kernel,
    };
    let defaults = if args.expand {
        Defaults::Expand
    } else {
        Defaults::Refuse
    };
    let filter = SeccompFile::read(shown, text)?;
    Ok(import_seccomp(shown, name, &filter, &scene, defaults)?)
}

/// A profile's file has its name, so the output's comes first.
fn name(args: &Args) -> String {
    if let Some(name) = &args.name {
        return name.clone();
    }
    let path = args.target.output.as_ref().unwrap_or(&args.file);
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            c
        } else {
            '-'
        }
    };
    let name: String = stem.chars().map(plain).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() {
        "imported".into()
    } else {
        name.to_owned()
    }
}

fn notation(text: &str) -> Form {
    if text.trim_start().starts_with('{') {
        Form::Json
    } else {
        Form::Toml
    }
}

/// A ruleset is known by its own keys, and only it is ever TOML.
fn guess(path: &Path, text: &str) -> Kind {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Keys {
        variable: Option<IgnoredAny>,
        ruleset: Option<IgnoredAny>,
        path_beneath: Option<IgnoredAny>,
        net_port: Option<IgnoredAny>,
    }
    let toml = path.extension().is_some_and(|ending| ending == "toml");
    let keys = serde_json::from_str::<Keys>(text);
    let ruleset = keys.is_ok_and(|k| {
        k.variable.is_some()
            || k.ruleset.is_some()
            || k.path_beneath.is_some()
            || k.net_port.is_some()
    });
    if toml || ruleset {
        Kind::Landlockconfig
    } else {
        Kind::Seccomp
    }
}
