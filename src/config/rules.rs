//! The node's rules: more profiles for containers that match. A rule is a further layer, so it can
//! only take away; what cannot be known of a container therefore counts as a match.

use serde::Deserialize;

use crate::event::Identity;
use crate::profile::glob;

/// One entry of `rules`. The patterns are those of [`glob`]; a container matches where all that are
/// written cover it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The profile that becomes a layer.
    pub profile: String,
    /// Of the pod's namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Of the image's name as the engine has it, `docker.io/library/nginx:1`.
    #[serde(default)]
    pub image: Option<String>,
    /// Of the container's name in its pod.
    #[serde(default)]
    pub container: Option<String>,
}

impl Rule {
    /// Whether the container is one that this rule is for. An engine that does not tell (`ctr`, podman)
    /// leaves a value unknown, and a rule that asks for it holds: it could be such a container.
    #[must_use]
    pub fn matches(&self, who: &Identity) -> bool {
        [
            (&self.namespace, &who.namespace),
            (&self.image, &who.image),
            (&self.container, &who.name),
        ]
        .into_iter()
        .all(|(pattern, value)| {
            let (Some(pattern), Some(value)) = (pattern, value) else {
                return true;
            };
            value.is_empty() || glob::covers(pattern, value)
        })
    }

    /// What cannot be meant.
    pub(super) fn problem(&self) -> Option<String> {
        let patterns = [&self.namespace, &self.image, &self.container];
        if patterns.iter().all(|pattern| pattern.is_none()) {
            return Some(
                "write at least one of namespace, image and container; a profile for all \
                 containers is the handler's own"
                    .into(),
            );
        }
        if patterns.into_iter().flatten().any(String::is_empty) {
            return Some(
                "an empty pattern covers nothing; leave the key out or write \"*\"".into(),
            );
        }
        super::misnamed(&self.profile)
    }
}
