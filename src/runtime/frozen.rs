//! Ending a container that mantlet froze, as an engine does it: by the runtime's `kill` and `delete`.
//!
//! On cgroup v1 a process that stands still does not even die of SIGKILL. runc lets it go on to die;
//! crun does not, and the engine would wait until the freeze is over. So the supervisor, who froze it,
//! is asked to end it. Without an answer nothing changes: the runtime is called all the same.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::{Failure, forward, root, start};
use crate::config::Config;
use crate::control::{Ask, client};
use crate::oci::invocation::{Invocation, Verb};
use crate::state::Home;

/// How long the supervisor may take to end all of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a call ends a container.
enum Ending {
    /// `kill ID KILL`.
    Kill,
    /// `delete --force`.
    Delete,
}

fn ending(name: &str, words: &[OsString]) -> Option<Ending> {
    let said = |word: &OsString, among: &[&str]| among.iter().any(|one| word == one);
    let kills = words
        .last()
        .is_some_and(|word| said(word, &["KILL", "SIGKILL", "9"]));
    let forces = words
        .iter()
        .any(|word| said(word, &["--force", "-f", "--force=true"]));
    match name {
        "kill" if kills => Some(Ending::Kill),
        "delete" if forces => Some(Ending::Delete),
        _ => None,
    }
}

/// Calls the runtime where the call ends a container that is frozen, and has the supervisor see to it;
/// none for any other call.
pub(super) fn end(invocation: &Invocation, config: &Config) -> Option<Result<i32, Failure>> {
    let Verb::Other { name, id: Some(id) } = &invocation.verb else {
        return None;
    };
    let path = forward::runtime(invocation, Some(config)).ok()?;
    let words = invocation.forward(&path);
    let ending = ending(name, &words)?;
    let home = Home::new(&config.state_dir, &root(invocation, &path).ok()?, id).ok()?;
    home.read_status().ok()??.frozen?;
    Some(match ending {
        Ending::Kill => {
            let done = called(&path, words);
            if let Ok(0) = done {
                ask(&home);
            }
            done
        }
        Ending::Delete => {
            ask(&home);
            called(&path, words)
        }
    })
}

fn called(path: &Path, words: Vec<OsString>) -> Result<i32, Failure> {
    start::runtime(path, words).map(start::code_of)
}

fn ask(home: &Home) {
    // Silent, it has ended; refused, it will say so in its journal.
    let _ = client::connect(home, PATIENCE).and_then(|supervisor| {
        client::say(&supervisor, &Ask::Kill, &[])?;
        client::hear(&supervisor)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_a_container_is_an_ending() {
        let is = |name: &str, line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            ending(name, &words).is_some()
        };
        assert!(is("kill", "runc kill c1 KILL"));
        assert!(is("kill", "runc --root /r kill --all c1 9"));
        assert!(!is("kill", "runc kill c1 TERM"));
        assert!(!is("kill", "runc kill c1"));
        assert!(is("delete", "crun delete --force c1"));
        assert!(!is("delete", "crun delete c1"));
        assert!(!is("state", "crun state 9"));
    }
}
