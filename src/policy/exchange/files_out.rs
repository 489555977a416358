//! A profile's Landlock domain as a ruleset of landlockconfig, for who has no mantlet.
//!
//! Symbols and exceptions depend on a container: both need a bundle. An exception becomes rules for what
//! stands beside it *now*, as init makes them at every start.

use std::collections::BTreeMap;
use std::io;

use landlock::{ABI, AccessFs, AccessNet, BitFlags, Scope};
use oci_spec::runtime::Spec;

use super::Error;
use super::landlockconfig::Config;
use crate::policy::mounts::{self, beneath};
use crate::policy::{expressible, landlock as domain};
use crate::profile::{Files, Place, Profile};
use crate::seal::PathRule;

/// The youngest ABI that landlockconfig has words for.
const NEWEST: u32 = 6;

/// The tree of a container, as far as exceptions ask about it.
pub trait Folder {
    /// Names in `path`, each with whether it is a directory; symbolic links are left out.
    ///
    /// # Errors
    ///
    /// The system's.
    fn entries(&self, path: &str) -> io::Result<Vec<(String, bool)>>;

    /// What `path` leads to, links followed; itself where it is not there.
    fn real(&self, path: &str) -> String;
}

/// A ruleset with what got lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The ruleset.
    pub config: Config,
    /// For people.
    pub notes: Vec<String>,
}

/// Exports the domain of `profile`, for the container of `spec` with the root `folder`.
///
/// # Errors
///
/// [`Error::NeedsContainer`], [`Error::Nothing`], [`Error::Bundle`].
pub fn export_files(
    profile: &Profile,
    container: Option<(&Spec, &dyn Folder)>,
) -> Result<Export, Error> {
    if profile.files.is_none() && profile.network.is_none() && profile.scope.is_empty() {
        let keys = "files`, `network` or `scope";
        return Err(Error::Nothing {
            profile: profile.name.clone(),
            keys,
            form: "landlockconfig",
        });
    }
    if let (Some(files), None) = (&profile.files, container) {
        concrete(files)?;
    }
    let plain = Spec::default();
    let spec = container.map_or(&plain, |(spec, _)| spec);
    let places = mounts::read(spec).map_err(|refusal| Error::Bundle(refusal.to_string()))?;
    let (layer, mut notes) = domain::plan(profile, spec, &places, NEWEST);
    let layer = layer.unwrap_or_default();
    let mut config = Config {
        handled_fs: BitFlags::EMPTY,
        handled_net: BitFlags::from_bits_truncate(layer.handled_net),
        scoped: BitFlags::<Scope>::from_bits_truncate(layer.scoped),
        paths: BTreeMap::new(),
        ports: BTreeMap::new(),
    };
    if profile.files.is_some() {
        config.handled_fs = BitFlags::from_bits_truncate(layer.handled_fs);
        for rule in &layer.paths {
            let points: Vec<&str> = places
                .iter()
                .map(|place| place.destination.as_str())
                .collect();
            add(
                &mut config.paths,
                rule,
                &points,
                container.map(|(_, folder)| folder),
            )?;
        }
        if config.paths.len() > expressible::MOST_RULES {
            return Err(Error::Bundle(format!(
                "more than {} rules: leave fewer paths out",
                expressible::MOST_RULES
            )));
        }
    }
    for port in &layer.ports {
        config.ports.insert(
            port.port,
            BitFlags::<AccessNet>::from_bits_truncate(port.access),
        );
    }
    notes.push("landlockconfig enforces what the kernel can, and goes on without the rest; mantlet refuses".into());
    if layer.paths.iter().any(|rule| !rule.optional) && profile.files.is_some() {
        notes.push("landlockconfig passes over missing paths and follows symbolic links".into());
    }
    if layer.paths.iter().any(|rule| !rule.except.is_empty()) {
        notes.push("exceptions are rules for what stands beside them in this bundle now".into());
    }
    notes.push(format!(
        "rights younger than Landlock ABI {NEWEST} are not among its words"
    ));
    notes.push("not exported: system calls, capabilities and what else is no Landlock rule".into());
    Ok(Export { config, notes })
}

/// Refuses what only a container tells.
fn concrete(files: &Files) -> Result<(), Error> {
    let lists = [
        &files.read,
        &files.read_execute,
        &files.read_write,
        &files.read_write_execute,
        &files.execute,
        &files.device_ioctl,
        &files.make_device,
    ];
    for entry in lists.into_iter().flatten() {
        if let Place::Symbol(symbol) = &entry.place {
            let entry = symbol.word().to_owned();
            return Err(Error::NeedsContainer {
                entry,
                why: "stands for places that only a container has",
            });
        }
    }
    match files.except.first() {
        Some(path) => Err(Error::NeedsContainer {
            entry: format!("except: {}", path.path),
            why: "is said by rules for all that stands beside it",
        }),
        None => Ok(()),
    }
}

fn add(
    paths: &mut BTreeMap<String, BitFlags<AccessFs>>,
    rule: &PathRule,
    points: &[&str],
    folder: Option<&dyn Folder>,
) -> Result<(), Error> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = text(&rule.path);
    let rights = BitFlags::from_bits_truncate(rule.access);
    let real = |path: String| folder.map_or(path.clone(), |folder| folder.real(&path));
    let out = rule.except.iter().map(|path| real(text(path)));
    let mut out: Vec<String> = out.collect();
    if out.iter().any(|out| beneath(&path, out)) {
        return Ok(());
    }
    if rule.within_mount {
        out.extend(
            points
                .iter()
                .filter(|point| beneath(point, &path) && **point != path)
                .map(|point| (*point).to_owned()),
        );
    }
    match folder {
        Some(folder) if !out.is_empty() => beside(paths, &path, rights, &out, folder),
        _ => {
            *paths.entry(path).or_default() |= rights;
            Ok(())
        }
    }
}

/// Rules for all in `path` that neither is, nor holds, nor lies in an exception.
fn beside(
    paths: &mut BTreeMap<String, BitFlags<AccessFs>>,
    path: &str,
    rights: BitFlags<AccessFs>,
    out: &[String],
    folder: &dyn Folder,
) -> Result<(), Error> {
    if !out.iter().any(|out| beneath(out, path)) {
        *paths.entry(path.to_owned()).or_default() |= rights;
        return Ok(());
    }
    let entries = folder.entries(path);
    let entries = entries
        .map_err(|error| Error::Bundle(format!("cannot list {path} of the bundle: {error}")))?;
    for (name, is_folder) in entries {
        let inner = format!("{}/{name}", path.trim_end_matches('/'));
        if out.contains(&inner) {
            continue;
        }
        if out.iter().any(|out| beneath(out, &inner)) {
            beside(paths, &inner, rights, out, folder)?;
            continue;
        }
        let own = if is_folder {
            rights
        } else {
            rights & AccessFs::from_file(ABI::from(NEWEST.cast_signed()))
        };
        if !own.is_empty() {
            *paths.entry(inner).or_default() |= own;
        }
    }
    Ok(())
}
