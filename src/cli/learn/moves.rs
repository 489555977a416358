//! Moves and links into another directory. Landlock refuses one by which a file would be freer than before (EXDEV,
//! landlock(7)): what is downloaded to /tmp and moved to where it is executed would have to be executable in /tmp.
//! So the place that it comes from is granted what the profile grants where it goes, and the profile says so.

use super::build::{self, Choice, Parts};
use super::check::{self, Error, Gain, Load};
use super::draft::Draft;
use super::files;
use super::run::Run;
use super::union::Union;

/// A draft under which no recorded move gains anything. What is granted for one move may be a gain of another, so
/// it is asked again until nothing is added.
///
/// # Errors
///
/// [`Error`].
pub fn draft(
    parts: &Parts<'_>,
    choice: &mut Choice,
    runs: &[Run],
    load: Load<'_>,
) -> Result<Draft, Error> {
    loop {
        let draft = build::draft(parts, choice);
        let gains = check::gains(&draft, parts.union, runs, load)?;
        if !add(choice, parts.union, &gains) {
            return Ok(draft);
        }
    }
}

/// Takes gains among the choices; whether that is anything new.
fn add(choice: &mut Choice, union: &Union, gains: &[Gain<'_>]) -> bool {
    let mut new = false;
    for gain in gains {
        let Some(grant) = files::origin(gain.access, &gain.rights, union, &choice.files) else {
            continue;
        };
        let known = choice.files.moves.entry(gain.access.clone());
        let known = known.or_insert_with(|| {
            new = true;
            grant.clone()
        });
        new |= !known.need.holds(grant.need);
        known.need |= grant.need;
    }
    new
}
