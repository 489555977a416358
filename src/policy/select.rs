//! Which profiles are in force: the handler's, those of the node's rules that match, and what the
//! pod selects from the handler's `selectable`. A selection is one layer more, so the pod's author
//! can only tighten; and what cannot be obeyed is refused, never passed over.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Handler, Rule};
use crate::event::Identity;

/// What annotations of ours begin with.
const OURS: &str = "mantlet.dev/";
/// Selects for the whole pod.
const POD: &str = "mantlet.dev/profile";
/// Selects for one container, whose name follows; it wins over [`POD`].
const CONTAINER: &str = "mantlet.dev/profile.";

/// What a selection is made from.
#[derive(Debug, Clone, Copy)]
pub struct Selecting<'a> {
    /// The handler's name.
    pub name: &'a str,
    /// Its settings.
    pub handler: &'a Handler,
    /// The node's rules, in order.
    pub rules: &'a [Rule],
    /// Who the container is, as the engine tells.
    pub who: &'a Identity,
    /// config.json's annotations.
    pub annotations: &'a BTreeMap<&'a str, &'a str>,
    /// It is a pod's pause container: whatever its pod selects is answered for here, since it is the
    /// first that is created, though the container itself is held to a profile of its own.
    pub pause: bool,
}

/// Why a selection is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A profile that the handler does not offer.
    #[error(
        "annotation {annotation} selects profile {value:?}, which handler {handler} does not offer; it \
         offers: {offered}; select one of these, remove the annotation, or have the node's admin add \
         it to `selectable` of that handler"
    )]
    NotOffered {
        /// The annotation.
        annotation: String,
        /// What it says.
        value: String,
        /// The handler.
        handler: String,
        /// What it lets pods select.
        offered: String,
    },
    /// An annotation of ours that means nothing.
    #[error(
        "annotation {annotation} means nothing to mantlet; the ones it knows are {POD} and \
         {CONTAINER}CONTAINER: correct or remove it"
    )]
    Unknown {
        /// The annotation.
        annotation: String,
    },
    /// A selection for one container where the engine does not say which this is.
    #[error(
        "annotation {annotation} selects for one container, and the engine does not tell this one's \
         name (io.kubernetes.cri.container-name): use {POD}"
    )]
    Nameless {
        /// The annotation.
        annotation: String,
    },
}

/// Names of the profiles in force, outermost first, each once: a profile met with itself is itself.
/// For a pause container the handler's and everything that its pod selects.
///
/// # Errors
///
/// [`SelectError`].
pub fn select(from: &Selecting<'_>) -> Result<Vec<String>, SelectError> {
    let chosen = chosen(from)?;
    let mut names = vec![from.handler.profile.clone()];
    if !from.pause {
        let matching = from.rules.iter().filter(|rule| rule.matches(from.who));
        names.extend(matching.map(|rule| rule.profile.clone()));
    }
    names.extend(chosen);
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

/// What annotations select for this container; every one of ours is answered for.
fn chosen(from: &Selecting<'_>) -> Result<Vec<String>, SelectError> {
    let (mut whole, mut own, mut all) = (None, None, Vec::new());
    let ours = from.annotations.range(OURS..);
    for (annotation, value) in ours.take_while(|(name, _)| name.starts_with(OURS)) {
        let profile = offered(from, annotation, value);
        if *annotation == POD {
            whole = Some(profile?);
        } else if let Some(container) = annotation.strip_prefix(CONTAINER) {
            let profile = profile?;
            match from.who.name.as_deref() {
                Some(name) if name == container => own = Some(profile.clone()),
                None if !from.pause => {
                    let annotation = clipped(annotation);
                    return Err(SelectError::Nameless { annotation });
                }
                _ => {}
            }
            all.push(profile);
        } else {
            let annotation = clipped(annotation);
            return Err(SelectError::Unknown { annotation });
        }
    }
    if from.pause {
        all.extend(whole);
        return Ok(all);
    }
    Ok(own.or(whole).into_iter().collect())
}

fn offered(from: &Selecting<'_>, annotation: &str, value: &str) -> Result<String, SelectError> {
    if from.handler.selectable.contains(value) {
        return Ok(value.to_owned());
    }
    let names = from.handler.selectable.iter().map(String::as_str);
    let offered = names.collect::<Vec<&str>>().join(", ");
    Err(SelectError::NotOffered {
        annotation: clipped(annotation),
        value: value.chars().take(LONGEST).collect(),
        handler: from.name.to_owned(),
        offered: if offered.is_empty() {
            "none".into()
        } else {
            offered
        },
    })
}

/// Characters of a pod's own text that a message repeats.
const LONGEST: usize = 64;

/// A pod's author wrote it: no line of a log is as long or as odd as an annotation may be.
fn clipped(annotation: &str) -> String {
    let plain = annotation.chars().take(OURS.len() + LONGEST);
    plain.flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        serde_saphyr::from_str(text).unwrap()
    }

    fn who(name: &str) -> Identity {
        Identity {
            id: "1".into(),
            name: Some(name.into()),
            pod: Some("pod".into()),
            namespace: Some("payments".into()),
            image: Some("registry.example/team/web:1".into()),
        }
    }

    fn try_select(
        who: &Identity,
        rules: &[Rule],
        annotations: &[(&str, &str)],
        pause: bool,
    ) -> Result<Vec<String>, SelectError> {
        let handler = Handler {
            profile: "restricted".into(),
            runtime: "runc".into(),
            selectable: ["web", "batch"].map(str::to_owned).into(),
        };
        select(&Selecting {
            name: "restricted",
            handler: &handler,
            rules,
            who,
            annotations: &annotations.iter().copied().collect(),
            pause,
        })
    }

    fn selected(annotations: &[(&str, &str)]) -> Result<Vec<String>, SelectError> {
        try_select(&who("main"), &[], annotations, false)
    }

    #[test]
    fn the_handlers_profile_comes_first_then_matching_rules_then_the_selection() {
        let rules = [
            rule("{namespace: payments, profile: pay}"),
            rule("{namespace: other, profile: never}"),
            rule("{image: 'registry.example/**', container: 'm*', profile: registry}"),
            rule("{container: side, profile: never}"),
        ];
        let names = try_select(&who("main"), &rules, &[(POD, "web")], false).unwrap();
        assert_eq!(names, ["restricted", "pay", "registry", "web"]);
    }

    #[test]
    fn a_container_s_own_annotation_wins_over_the_pods() {
        let all = [
            (POD, "web"),
            ("mantlet.dev/profile.main", "batch"),
            ("mantlet.dev/profile.side", "web"),
        ];
        assert_eq!(selected(&all).unwrap(), ["restricted", "batch"]);
        let side = try_select(&who("side"), &[], &all, false).unwrap();
        assert_eq!(side, ["restricted", "web"]);
        let third = try_select(&who("third"), &[], &all[1..], false).unwrap();
        assert_eq!(third, ["restricted"]);
    }

    #[test]
    fn what_the_handler_does_not_offer_is_refused_with_all_that_helps() {
        let error = selected(&[(POD, "baseline")]).unwrap_err().to_string();
        for part in [POD, "\"baseline\"", "handler restricted", "batch, web"] {
            assert!(error.contains(part), "{error}");
        }
        for value in [
            "",
            "web,batch",
            "web ",
            "Web",
            "../web",
            "wеb",
            "restricted",
        ] {
            assert!(selected(&[(POD, value)]).is_err(), "{value:?}");
        }
        // Another container's is answered for too: the pod's author is told at the first.
        assert!(selected(&[("mantlet.dev/profile.side", "x")]).is_err());
    }

    #[test]
    fn an_annotation_of_ours_that_means_nothing_is_refused() {
        for name in [
            "mantlet.dev/profiles",
            "mantlet.dev/Profile",
            "mantlet.dev/",
            "mantlet.dev/profile/main",
        ] {
            let error = selected(&[(name, "web")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(POD), "{error}");
        }
        for name in [
            "mantlet.dev",
            "x.mantlet.dev/profile",
            "mantlet.devil/profile",
        ] {
            assert_eq!(selected(&[(name, "x")]).unwrap(), ["restricted"], "{name}");
        }
    }

    #[test]
    fn no_message_is_long_or_odd_because_a_pod_wants_it() {
        let long = "\u{1b}[2J\n".repeat(40_000);
        let name = format!("{OURS}{long}");
        for annotations in [[(POD, long.as_str())], [(name.as_str(), "web")]] {
            let error = selected(&annotations).unwrap_err().to_string();
            assert!(error.len() < 1000, "{}", error.len());
            assert!(!error.chars().any(char::is_control), "{error}");
        }
    }

    #[test]
    fn a_pause_container_answers_for_every_selection_of_its_pod() {
        let nameless = Identity {
            name: None,
            ..who("main")
        };
        let rules = [rule("{namespace: '*', profile: pay}")];
        let ask = |annotations: &[(&str, &str)]| try_select(&nameless, &rules, annotations, true);
        let all = [(POD, "web"), ("mantlet.dev/profile.main", "batch")];
        assert_eq!(ask(&all).unwrap(), ["restricted", "batch", "web"]);
        assert!(ask(&[("mantlet.dev/profile.main", "none")]).is_err());
        let workload = try_select(&nameless, &[], &all, false).unwrap_err();
        assert!(workload.to_string().contains("does not tell"), "{workload}");
    }

    #[test]
    fn a_rule_holds_where_the_engine_does_not_tell_what_it_asks_for() {
        let rules = [
            rule("{namespace: other, profile: a}"),
            rule("{image: 'other/**', container: other, profile: b}"),
        ];
        let nobody = Identity::default();
        let names = try_select(&nobody, &rules, &[], false).unwrap();
        assert_eq!(names, ["restricted", "a", "b"]);
        let empty = Identity {
            namespace: Some(String::new()),
            ..who("main")
        };
        let names = try_select(&empty, &rules, &[], false).unwrap();
        assert_eq!(names, ["restricted", "a"]);
    }

    #[test]
    fn a_profile_is_in_force_once() {
        let rules = [rule("{namespace: '*', profile: web}")];
        let names = try_select(&who("main"), &rules, &[(POD, "web")], false).unwrap();
        assert_eq!(names, ["restricted", "web"]);
    }
}
