//! Programs: all of them, or those of a list such as shells, package managers and download tools.

use super::{Seen, listed};
use crate::detect::Rule;

pub(super) fn sees(rule: &Rule, seen: &Seen<'_>) -> Option<String> {
    let Seen::Execution(execution) = seen else {
        return None;
    };
    let path = &execution.file.path;
    let about = rule.programs.is_empty() || listed(&rule.programs, path);
    about.then(|| format!("executes {path}"))
}
