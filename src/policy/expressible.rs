//! What Landlock rules cannot express, refused before anything is made (DESIGN §5).

use std::path::Path;

use oci_spec::runtime::{Mount, Spec};

use super::Layers;
use super::mounts::{self, beneath};
use super::refuse::Refusal;
use crate::profile::Profile;
use crate::seal::Layer;

/// Most rules of one policy, ports and exceptions included. Each costs init 5 to 10 µs, at every exec session too,
/// and the record of the container a few hundred bytes.
pub const MOST_RULES: usize = 10_000;

/// Volumes that the kubelet fills: an update is a new directory and a link that changes over to it.
const REPLACED: [&str; 4] = [
    "kubernetes.io~configmap",
    "kubernetes.io~secret",
    "kubernetes.io~projected",
    "kubernetes.io~downward-api",
];

/// Refuses more rules than init should add.
///
/// # Errors
/// [`Refusal::TooManyRules`].
pub(super) fn size(layers: Layers<'_>, domains: &[Layer]) -> Result<(), Refusal> {
    let rules = |domain: &Layer| -> usize {
        let paths = domain.paths.iter().map(|rule| 1 + rule.except.len());
        paths.sum::<usize>() + domain.ports.len()
    };
    let found = domains.iter().map(rules).sum();
    if found > MOST_RULES {
        return Err(Refusal::TooManyRules {
            profile: layers.title(),
            found,
            most: MOST_RULES,
        });
    }
    Ok(())
}

/// Refuses exceptions that would hold only until a volume's next update.
///
/// # Errors
/// [`Refusal::ExceptReplaced`], [`Refusal::Destination`].
pub(super) fn exceptions(profile: &Profile, spec: &Spec, domain: &Layer) -> Result<(), Refusal> {
    for mount in spec.mounts().iter().flatten().filter(|m| is_replaced(m)) {
        let destination = mounts::normal(mount.destination())?;
        let within = |path: &str| path != destination && beneath(path, &destination);
        let mut excepts = domain.paths.iter().flat_map(|rule| &rule.except);
        let lost = excepts.find_map(|path| {
            let path = String::from_utf8_lossy(path);
            within(&path).then(|| path.into_owned())
        });
        if let Some(path) = lost {
            return Err(Refusal::ExceptReplaced {
                profile: profile.name.clone(),
                path,
                destination,
            });
        }
    }
    Ok(())
}

fn is_replaced(mount: &Mount) -> bool {
    let source = mount.source().as_deref().unwrap_or(Path::new(""));
    source
        .iter()
        .any(|part| REPLACED.iter().any(|name| part == *name))
}
