//! The node's files: configuration, state, journals.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::Check;
use crate::config::{self, Config};
use crate::profile::{Mode, Profile};

/// The configuration, where there is a usable one.
pub fn configuration() -> (Check, Option<Config>) {
    let (name, path) = ("configuration", Config::path());
    match Config::load() {
        Ok(config) => {
            let handlers = config
                .handlers
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            let origin = if path.exists() {
                path.display().to_string()
            } else {
                format!("embedded default, as {} does not exist", path.display())
            };
            (
                Check::ok(name, format!("{origin}; handlers: {handlers}")),
                Some(config),
            )
        }
        Err(error) => {
            let remedy = "until it is mended, no container is started through mantlet";
            (Check::fail(name, error.to_string(), remedy), None)
        }
    }
}

/// The caller and the folders.
pub fn checks(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        checks.push(Check::warn(
            "caller",
            "not root: some answers are about you, not the node",
            "run doctor as root",
        ));
    }
    checks.push(folder("state folder", &config.state_dir));
    checks.push(folder("journal folder", &config.log_dir));
    checks.extend(modes(config));
    checks
}

/// Handlers whose profile denies nothing. The one that ships for learning is meant to; any other is told as
/// what it may have been forgotten as.
fn modes(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, handler) in &config.handlers {
        let mut read = |profile: &str| config::profile(&config.profiles_dir, profile);
        // One that does not resolve is told where containers are refused for it.
        let Ok(profile) = Profile::resolve(&handler.profile, &mut read) else {
            continue;
        };
        let mode = match profile.mode {
            Mode::Enforce => continue,
            Mode::Audit => "audit",
            Mode::Learn if handler.profile == "learn" => continue,
            Mode::Learn => "learn",
        };
        let found = format!(
            "handler {name}: profile {} has `mode: {mode}` and denies nothing",
            profile.name
        );
        let remedy = "write `mode: enforce` once what it would deny has been looked at";
        checks.push(Check::warn("mode", found, remedy));
    }
    checks
}

/// A folder that only root may look into, or that can be created.
fn folder(name: &'static str, path: &Path) -> Check {
    let shown = path.display();
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return creatable(name, path),
        Err(error) => {
            return Check::fail(
                name,
                format!("cannot examine {shown}: {error}"),
                "mend it, or configure another",
            );
        }
    };
    if !meta.is_dir() {
        return Check::fail(
            name,
            format!("{shown} is no folder"),
            "remove it, or configure another",
        );
    }
    if meta.mode() & 0o022 != 0 || meta.uid() != 0 {
        return Check::fail(
            name,
            format!("{shown} can be written by others than root"),
            format!("chown root {shown} && chmod 0700 {shown}"),
        );
    }
    if let Err(errno) = access(path, AccessFlags::W_OK) {
        return Check::fail(
            name,
            format!("{shown} cannot be written: {errno}"),
            "remount it read-write, or configure another",
        );
    }
    if meta.mode() & 0o077 != 0 {
        return Check::warn(
            name,
            format!("{shown} can be read by others than root"),
            format!("chmod 0700 {shown}"),
        );
    }
    Check::ok(name, format!("{shown}, root only"))
}

/// A folder that is not there yet: its nearest existing parent decides.
fn creatable(name: &'static str, path: &Path) -> Check {
    let parent = path
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    match access(parent, AccessFlags::W_OK) {
        Ok(()) => Check::ok(name, format!("{} will be created", path.display())),
        Err(errno) => Check::fail(
            name,
            format!(
                "{} cannot be created: {}: {errno}",
                path.display(),
                parent.display()
            ),
            "remount it read-write, or configure another",
        ),
    }
}
