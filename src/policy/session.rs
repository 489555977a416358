//! Which exec sessions there may be: a profile's `exec`, judged on the texts of the request alone,
//! before anybody is asked for anything.
//!
//! argv[0] is compared as it was written. Whoever may only call `exec` can choose nothing else, so
//! for them the list is what it says. It promises nothing about the file that init then finds by
//! the container's PATH: a workload that may write there decides what runs, under the session's
//! sandbox all the same.

use super::refuse::Refusal;
use crate::profile::{Interactive, Profile, covers_command};
use crate::state::{ExecRules, SessionRule};

/// Most entries of a list that a refusal names.
const TOLD: usize = 8;

/// What makes a session interactive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// It gets a terminal.
    pub terminal: bool,
    /// Its standard input is another thing than /dev/null.
    pub input: bool,
}

/// What the profiles say, for the record.
#[must_use]
pub(super) fn rules<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Vec<SessionRule> {
    let said = profiles
        .into_iter()
        .filter_map(|profile| Some((profile, profile.exec.as_ref()?)));
    let rule = |(profile, exec): (&Profile, &crate::profile::Sessions)| SessionRule {
        profile: profile.name.clone(),
        deny_interactive: exec.interactive == Some(Interactive::Deny),
        commands: exec
            .commands
            .as_ref()
            .map(|commands| commands.iter().cloned().collect()),
    };
    said.map(rule).collect()
}

/// Whether every profile permits the session; `argv0` is absent where there is no command, which is
/// refused elsewhere.
///
/// # Errors
///
/// [`Refusal::Exec`], [`Refusal::Interactive`], [`Refusal::Command`].
pub fn admit(argv0: Option<&[u8]>, streams: Streams, rules: &ExecRules) -> Result<(), Refusal> {
    if let Some(reason) = &rules.refused {
        return Err(Refusal::Exec(reason.clone()));
    }
    let mut rules = rules.sessions.iter();
    rules.try_for_each(|rule| one(argv0, streams, rule))
}

fn one(argv0: Option<&[u8]>, streams: Streams, rule: &SessionRule) -> Result<(), Refusal> {
    let what = match (streams.terminal, streams.input) {
        (true, _) => Some("a terminal"),
        (false, true) => Some("its standard input attached"),
        (false, false) => None,
    };
    if let Some(what) = what.filter(|_| rule.deny_interactive) {
        return Err(Refusal::Interactive {
            profile: rule.profile.clone(),
            what,
        });
    }
    let (Some(commands), Some(argv0)) = (&rule.commands, argv0) else {
        return Ok(());
    };
    let text = std::str::from_utf8(argv0);
    if text.is_ok_and(|text| commands.iter().any(|pattern| covers_command(pattern, text))) {
        return Ok(());
    }
    Err(Refusal::Command {
        profile: rule.profile.clone(),
        argv0: String::from_utf8_lossy(argv0).into_owned(),
        listed: told(commands),
    })
}

fn told(commands: &[String]) -> String {
    let more = commands.len().saturating_sub(TOLD);
    let first = commands.iter().take(TOLD).cloned().collect::<Vec<_>>();
    match (first.join(", "), more) {
        (none, _) if none.is_empty() => "nothing, so that there are no sessions at all".into(),
        (all, 0) => all,
        (some, more) => format!("{some} and {more} more"),
    }
}
