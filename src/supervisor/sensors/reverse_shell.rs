//! A shell that somebody talks to over the network: one of its standard streams is an IPv4 or IPv6
//! socket. `kubectl exec` gives pipes and terminals.

use super::{Seen, listed};
use crate::detect::Rule;

/// Whether the rule takes it for a shell.
pub(in crate::supervisor) fn is_shell(rule: &Rule, path: &str) -> bool {
    listed(&rule.programs, path)
}

pub(super) fn sees(rule: &Rule, seen: &Seen<'_>) -> Option<String> {
    let Seen::Execution(execution) = seen else {
        return None;
    };
    let (path, bits) = (&execution.file.path, execution.network_streams);
    if bits == 0 || !is_shell(rule, path) {
        return None;
    }
    let names = ["standard input", "standard output", "standard error"];
    let which = (0..3)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| names[bit]);
    let which: Vec<&str> = which.collect();
    Some(format!(
        "executes {path} with a network socket as {}",
        which.join(" and ")
    ))
}
