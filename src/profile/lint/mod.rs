//! What is allowed to write and most likely not meant: rules about one profile, each with a stable code.
//! Pure, and about the profile alone; no container and no node is known here.
//!
//! A rule looks at what a file itself says ([`Subject::own`]): what a parent says is its own file's
//! business. An entry's `why:` answers the rules on what is dangerous, and `lint: {ignore: [...]}` any rule.

mod calls;
mod codes;
mod conditions;
mod dangerous;
mod files;
mod kernel;
mod promises;
mod sessions;
mod watching;

pub use codes::{CODES, Code, code};

use super::diagnose::{Error, Finding, Level};
use super::model::Document;
use super::origin::{Origin, Part};
use super::resolve::Profile;
use super::{embedded, parse_all};

/// What is looked at.
struct Subject<'a> {
    /// The file as written.
    own: &'a Document,
    /// The same with its parents folded in.
    whole: &'a Profile,
    /// What it extends, each whole.
    parents: &'a [Profile],
    /// The Landlock ABI of the kernels that it is meant for, where somebody asks.
    abi: Option<u32>,
}

impl Subject<'_> {
    /// Where a key of the file is written; its name where it is not.
    fn place(&self, key: &'static str) -> Origin {
        let found = self.whole.origins.of(&Part::Key(key));
        found.unwrap_or(&self.own.name.origin).clone()
    }
}

/// A finding of rule `id` at `origin`.
fn finding(id: &'static str, origin: &Origin, message: String, help: &str) -> Finding {
    Finding {
        level: code(id).map_or(Level::Warning, |code| code.level),
        code: Some(id),
        message,
        origin: origin.clone(),
        help: Some(help.to_owned()),
    }
}

/// Where profiles are found, as in [`Profile::resolve`].
pub type Load<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<Option<String>>;

/// All findings about profile `name`, in the order of lines, and with `abi` what a kernel of that Landlock ABI
/// cannot do of it. A profile that cannot be used is found to be so, and nothing else is said of it.
pub fn lint(name: &str, abi: Option<u32>, load: Load<'_>) -> Vec<Finding> {
    match look(name, abi, load) {
        Ok(findings) => findings,
        Err(errors) => errors.iter().map(unusable).collect(),
    }
}

/// The finding that an error is.
#[must_use]
pub fn unusable(error: &Error) -> Finding {
    Finding {
        code: Some("M001"),
        ..error.finding()
    }
}

fn look(name: &str, abi: Option<u32>, load: Load<'_>) -> Result<Vec<Finding>, Vec<Error>> {
    let text = load(name)
        .ok()
        .flatten()
        .or_else(|| embedded(name).map(str::to_owned));
    let own = match text {
        Some(text) => Some(parse_all(&format!("{name}.yaml"), &text)?),
        None => None,
    };
    let one = |error| vec![error];
    let whole = Profile::resolve(name, load).map_err(one)?;
    // What cannot be found has been an error of resolving.
    let Some(own) = own else {
        return Ok(Vec::new());
    };
    let mut parents = Vec::new();
    for parent in &own.extends {
        // A parent that is no profile by itself, such as one of files only, grants nothing twice.
        parents.extend(Profile::resolve(&parent.value, load));
    }
    let subject = Subject {
        own: &own,
        whole: &whole,
        parents: &parents,
        abi,
    };
    let mut all = Vec::new();
    dangerous::look(&subject, &mut all);
    calls::look(&subject, &mut all);
    files::look(&subject, &mut all);
    promises::look(&subject, &mut all);
    kernel::look(&subject, &mut all);
    sessions::look(&subject, &mut all);
    watching::look(&subject, &mut all);
    let mut all = without_ignored(&subject, all);
    all.sort_by_key(|found| (found.origin.line(), found.origin.column(), found.code));
    Ok(all)
}

/// Leaves out what the file has an answer to, and finds answers to nothing.
fn without_ignored(subject: &Subject<'_>, mut all: Vec<Finding>) -> Vec<Finding> {
    for ignored in &subject.own.lint.ignore {
        let before = all.len();
        all.retain(|found| found.code != Some(ignored.code));
        // Whoever does not ask about a kernel is told nothing of it.
        let asked = subject.abi.is_some() || !["M503", "M504"].contains(&ignored.code);
        if all.len() == before && asked {
            let message = format!("`ignore` of {} hides nothing", ignored.code);
            all.push(finding("M903", &ignored.origin, message, "remove it"));
        }
    }
    all
}
