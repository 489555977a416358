//! The real runtimes, and mantlet's own programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::version;
use super::{Check, elf};
use crate::config::Config;
use crate::host::{Family, HostError, Runtime};

/// Each runtime that a handler names, and those that are merely installed.
pub fn runtimes(config: &Config) -> Vec<Check> {
    let used: BTreeSet<&Path> = config
        .handlers
        .values()
        .map(|h| h.runtime.as_path())
        .collect();
    let mut checks: Vec<Check> = used
        .iter()
        .map(|runtime| used_runtime(config, runtime))
        .collect();
    for family in [Family::Runc, Family::Crun, Family::Youki] {
        let name = Path::new(family.name());
        if used.contains(name) {
            continue;
        }
        if let Ok(found) = Runtime::ask(name) {
            checks.push(Check::ok(
                "runtime",
                format!("{}, not used by any handler", describe(&found)),
            ));
        }
    }
    checks
}

fn used_runtime(config: &Config, runtime: &Path) -> Check {
    let handlers: Vec<&str> = config
        .handlers
        .iter()
        .filter(|(_, handler)| handler.runtime == runtime)
        .map(|(name, _)| name.as_str())
        .collect();
    let handlers = handlers.join(", ");
    match Runtime::ask(runtime).and_then(|found| found.check().map(|()| found)) {
        Ok(found) if found.family == Family::Youki => Check::warn(
            "runtime",
            format!("{}, experimental, for {handlers}", describe(&found)),
            "use runc or crun in production",
        ),
        Ok(found) => Check::ok("runtime", format!("{}, for {handlers}", describe(&found))),
        Err(error) => Check::fail(
            "runtime",
            format!("for {handlers}: {error}"),
            remedy(&error),
        ),
    }
}

fn remedy(error: &HostError) -> &'static str {
    match error {
        HostError::TooOld { .. } => "install runc 1.1.5 or later",
        HostError::Version { .. } => "run it with --version to see why it fails",
        _ => "install it, or name another runtime under `handlers:`",
    }
}

fn describe(runtime: &Runtime) -> String {
    format!(
        "{} {} ({})",
        runtime.family.name(),
        runtime.version,
        runtime.path.display()
    )
}

/// The programs of ours that a container needs.
pub fn own(config: &Config) -> Vec<Check> {
    let folder = config
        .libexec_dir
        .clone()
        .or_else(|| Some(std::env::current_exe().ok()?.parent()?.to_owned()));
    let place = |name: &str| {
        folder
            .as_ref()
            .map_or_else(|| PathBuf::from(name), |f| f.join(name))
    };
    ["mantlet-init", "mantlet-supervisor"]
        .map(|name| own_program(name, &place(name)))
        .into()
}

fn own_program(name: &'static str, path: &Path) -> Check {
    let shown = path.display();
    let reinstall =
        "install all programs of one mantlet version into one folder (or set libexec_dir)";
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return Check::fail(name, format!("cannot read {shown}: {error}"), reinstall),
    };
    match elf::is_static(&bytes) {
        None => {
            return Check::fail(
                name,
                format!("{shown} is no program for this machine"),
                reinstall,
            );
        }
        Some(false) => {
            return Check::fail(
                name,
                format!("{shown} is not static: it would need the image's libraries"),
                reinstall,
            );
        }
        Some(true) => {}
    }
    match told_version(name, &bytes) {
        Some(told) if told == version::VERSION => {
            Check::ok(name, format!("{shown}, static, version {told}"))
        }
        Some(told) => {
            let own = version::VERSION;
            Check::fail(
                name,
                format!("{shown} is of version {told}, this is {own}"),
                reinstall,
            )
        }
        None => Check::warn(
            name,
            format!("{shown}, static, does not tell its version"),
            reinstall,
        ),
    }
}

/// The version in the text `NAME version X` that each program of ours carries. It is looked for in
/// the file and not asked for: mantlet-init takes its arguments for the workload's.
fn told_version(name: &str, bytes: &[u8]) -> Option<String> {
    let mark = format!("{name} version ");
    let at = bytes
        .windows(mark.len())
        .position(|window| window == mark.as_bytes())?;
    let is_version = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-+".contains(byte);
    let told = bytes[at + mark.len()..]
        .iter()
        .take_while(is_version)
        .take(64)
        .copied();
    String::from_utf8(told.collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_file() {
        let bytes = b"\0x\xffmantlet-init version 0.1.0-rc.1\0mantlet-init version 9";
        assert_eq!(
            told_version("mantlet-init", bytes).as_deref(),
            Some("0.1.0-rc.1")
        );
        assert_eq!(told_version("mantlet-supervisor", bytes), None);
    }
}
