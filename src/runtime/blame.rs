//! Whose line a rule is that init could not make: init has the rules alone, without profiles and lines.

use super::{Door, Failure};
use crate::config;
use crate::oci::document::{Document, Kind};
use crate::policy::{landlock, mounts};
use crate::profile::Profile;
use crate::state::{Home, Record};

/// The failure, with the profile and the line that name the path, where they still do.
pub(super) fn blamed(door: &Door<'_>, home: &Home, record: &Record, failure: Failure) -> Failure {
    let Failure::Said(message) = &failure else {
        return failure;
    };
    match line(door, home, record, message) {
        Some(line) => Failure::Said(format!("{line}: {message}")),
        None => failure,
    }
}

fn line(door: &Door<'_>, home: &Home, record: &Record, message: &str) -> Option<String> {
    // What it says of the program has words of the pod's in it.
    if message.starts_with("exec ") || !message.contains("for a landlock rule") {
        return None;
    }
    let spec = Document::load(&record.original, Kind::Config)
        .ok()?
        .spec()
        .ok()?;
    let mounts = mounts::read(&spec).ok()?;
    // As it was made; the site's files may be others by now.
    let kept = home.read_texts().ok().flatten();
    let mut load = |name: &str| match &kept {
        Some(kept) => Ok(kept.text(name)),
        None => config::profile(&door.config.profiles_dir, name),
    };
    for name in &record.profiles {
        let profile = Profile::resolve(name, &mut load).ok()?;
        // The youngest ABI, under which no rule is left out.
        let sources = landlock::sources(&profile, &spec, &mounts, u32::MAX);
        let named = sources.iter().find(|source| {
            let path = String::from_utf8_lossy(&source.rule.path);
            message.contains(&format!("{path:?} for a landlock rule"))
        });
        if let Some(source) = named {
            let origin = &source.entry.origin;
            let place = match origin.is_known() {
                true => format!(" ({}:{})", origin.file(), origin.line()),
                false => String::new(),
            };
            return Some(format!("profile {name}{place}, `files.{}`", source.list));
        }
    }
    None
}
