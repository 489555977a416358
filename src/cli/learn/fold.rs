//! What the profile would be on top of `baseline`: shorter, and wider. To extend it grants all that it grants, so nobody
//! gets that without asking; but how it would be is said, for people to choose.

use std::fmt;

use super::build::{Choice, Parts, count};
use super::check::{self, Error, Load};
use super::draft::Draft;
use super::parent::Parent;
use super::run::Run;
use super::union::Union;
use super::{moves, write};

/// What most containers need, by the profile that is built in.
const PARENT: &str = "baseline";

/// The other profile in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// Lines that it has.
    lines: usize,
    /// Lines of the one that stands alone.
    alone: usize,
    /// Calls that it allows and the other does not, or not with every argument.
    calls: usize,
    /// It restricts files.
    files: bool,
    /// It restricts TCP ports.
    ports: bool,
}

/// Compares `draft`, which stands alone, with one that extends `baseline`; none where that is not shorter, or cannot be
/// had.
///
/// # Errors
///
/// [`Error`]: `draft` cannot be judged.
pub fn beside(
    draft: &Draft,
    union: &Union,
    runs: &[Run],
    choice: &Choice,
    load: Load<'_>,
) -> Result<Option<Folded>, Error> {
    // A site may have a `baseline` of its own, and nobody has asked for it.
    if check::parent(Some(&choice.name), PARENT, load).is_err() {
        return Ok(None);
    }
    let Ok(parent) = Parent::find(PARENT, runs, load) else {
        return Ok(None);
    };
    let (mut union, mut left) = (union.clone(), parent.lacking(runs));
    let unlike = left != runs;
    parent.except(&mut union, &mut left);
    let mut choice = choice.clone();
    choice.files.moves.clear();
    let parts = Parts {
        runs: &left,
        union: &union,
        extends: Some(&parent),
    };
    let Ok(other) = moves::draft(&parts, &mut choice, runs, load) else {
        return Ok(None);
    };
    let length = |draft: &Draft| write::profile(draft, None).lines().count();
    let (lines, alone) = (length(&other), length(draft));
    if !unlike || lines >= alone {
        return Ok(None);
    }
    let own = check::layer(draft, runs, load)?;
    let Ok(other) = check::layer(&other, runs, load) else {
        return Ok(None);
    };
    let more = other.calls.iter().filter(|(name, wide)| {
        let narrow = own.calls.get(*name);
        match wide.permits_all() {
            true => narrow.is_none_or(|narrow| !narrow.permits_all()),
            false => !wide.permits_none() && narrow.is_none_or(|narrow| narrow.permits_none()),
        }
    });
    let profile = other.profile.as_ref();
    Ok(Some(Folded {
        lines,
        alone,
        calls: more.count(),
        files: profile.is_some_and(|profile| profile.files.is_some()),
        ports: profile.is_some_and(|profile| profile.network.is_some()),
    }))
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Folded {
            lines,
            alone,
            calls,
            ..
        } = self;
        let files = match self.files {
            true => format!("the files that {PARENT} grants"),
            false => "every file".to_owned(),
        };
        let ports = match self.ports {
            true => "the TCP ports that it grants",
            false => "every TCP port",
        };
        write!(
            f,
            "With --extends {PARENT} this would be {lines} lines instead of {alone}. It would allow \
             {}, {files} and {ports}.",
            count(*calls, "more call")
        )
    }
}
