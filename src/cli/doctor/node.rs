//! The node's files: configuration, state, journals.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::Check;
use crate::cli::subject::Subject;
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
    checks.extend(profiles(config));
    checks.extend(modes(config));
    checks
}

/// What containers would be refused for, whatever they are: a profile that is not there, is wrong, or asks for
/// more than this node has.
fn profiles(config: &Config) -> Vec<Check> {
    let name = "profiles";
    let mut wanted: Vec<(String, Vec<&str>)> = Vec::new();
    for (handler, own) in &config.handlers {
        wanted.push((format!("handler {handler}"), vec![&own.profile]));
        for more in &own.selectable {
            let who = format!("handler {handler} with {more}, which pods may select");
            wanted.push((who, vec![&own.profile, more]));
        }
    }
    for (at, rule) in config.rules.iter().enumerate() {
        wanted.push((format!("rules[{at}]"), vec![&rule.profile]));
    }
    let all = wanted.len();
    let found = wanted.into_iter().filter_map(|(who, layers)| {
        let (why, is_kernels) = refused(&layers, config)?;
        let finding = format!("{who}: {why}");
        // Of the handlers that nobody wrote, a node may well use some alone.
        let unasked = is_kernels && is_embedded(&who, config);
        Some(match unasked {
            true => Check::warn(name, finding, "use another handler on this node"),
            false => Check::fail(
                name,
                finding,
                "mend the profile (`mantlet lint`), or name another: every such container is refused",
            ),
        })
    });
    let found: Vec<Check> = found.collect();
    match found.is_empty() {
        true => vec![Check::ok(
            name,
            format!("all {all} that handlers and rules name can be in force here"),
        )],
        false => found,
    }
}

/// Why these layers refuse a container, and whether it is the node that lacks something.
fn refused(layers: &[&str], config: &Config) -> Option<(String, bool)> {
    let mut read = |name: &str| config::profile(&config.profiles_dir, name);
    let resolved = layers
        .iter()
        .map(|name| Profile::resolve(name, &mut read))
        .collect::<Result<Vec<Profile>, _>>();
    let refusal = match resolved {
        Err(error) => return Some((error.to_string(), false)),
        Ok(profiles) => Subject::refusal(profiles, config),
    };
    match refusal {
        Ok(refusal) => Some((refusal?.to_string(), true)),
        Err(error) => Some((error.to_string(), true)),
    }
}

/// Whether `who` is a handler as it is where no file names any, and not the default one.
fn is_embedded(who: &str, config: &Config) -> bool {
    let embedded = Config::embedded();
    who.strip_prefix("handler ").is_some_and(|name| {
        let own = config.handlers.get(name);
        own.is_some() && own == embedded.handlers.get(name) && name != config.default_handler
    })
}

/// Handlers whose profile denies nothing. The one that ships for learning is meant to; any other is told as
/// what it may have been forgotten as.
fn modes(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, handler) in &config.handlers {
        let mut read = |profile: &str| config::profile(&config.profiles_dir, profile);
        // One that does not resolve has failed already.
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
