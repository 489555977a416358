//! What Landlock rules cannot express, refused before anything is made (DESIGN §5).

use std::path::Path;

use oci_spec::runtime::{Mount, Spec};

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

/// Refuses a policy that Landlock could hold only for a while, or that is too large.
///
/// # Errors
/// [`Refusal::ExceptReplaced`], [`Refusal::TooManyRules`].
pub(super) fn check(profile: &Profile, spec: &Spec, layers: &[Layer]) -> Result<(), Refusal> {
    let rules = |layer: &Layer| -> usize {
        let paths = layer.paths.iter().map(|rule| 1 + rule.except.len());
        paths.sum::<usize>() + layer.ports.len()
    };
    let found = layers.iter().map(rules).sum();
    if found > MOST_RULES {
        return Err(Refusal::TooManyRules {
            profile: profile.name.clone(),
            found,
            most: MOST_RULES,
        });
    }
    for mount in spec.mounts().iter().flatten().filter(|m| is_replaced(m)) {
        let destination = mounts::normal(mount.destination())?;
        let within = |path: &str| path != destination && beneath(path, &destination);
        let rules = layers.iter().flat_map(|layer| &layer.paths);
        let mut excepts = rules.flat_map(|rule| &rule.except);
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
