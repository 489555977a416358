//! A call that a profile lists as a tripwire: attempts on namespaces, mounts, modules and the rest.

use super::Seen;
use crate::detect::Rule;

pub(super) fn sees(rule: &Rule, seen: &Seen<'_>) -> Option<String> {
    let Seen::Call { name, .. } = seen else {
        return None;
    };
    let about = rule.calls.is_empty() || rule.calls.iter().any(|call| call == name);
    let refuses = if rule.would.is_some() {
        "would refuse"
    } else {
        "refuses"
    };
    about.then(|| format!("called {name}, which its profile {refuses}"))
}
