//! What is wrong with a profile, said as a compiler would: where, what, and the likely remedy.

use serde_saphyr::Error as Yaml;

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file's text.
    #[error("{source_name}:{line}:{column}: {message}")]
    Text {
        /// The file.
        source_name: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What and what to do.
        message: String,
    },
    /// A version of the language that this build does not read.
    #[error(
        "{source_name}: profile version {found} is not known: this mantlet reads version 1; \
             update mantlet or write `version: 1`"
    )]
    Version {
        /// The file.
        source_name: String,
        /// What it says.
        found: u32,
    },
    /// `mode: learn` beside something to enforce.
    #[error(
        "{source_name}: a profile of `mode: learn` allows everything and records it, so `{key}` has no meaning \
         in it: take it out, or put the profile beside this one as another layer"
    )]
    Learns {
        /// The file.
        source_name: String,
        /// The key.
        key: &'static str,
    },
    /// A parent that records.
    #[error(
        "profile {profile} extends {parent}, which has `mode: learn` and allows nothing to add: take it out"
    )]
    ExtendsLearning {
        /// The profile.
        profile: String,
        /// The parent.
        parent: String,
    },
    /// A data version of the groups that this build does not hold.
    #[error("profile {profile}: groups version {found} is not known: this mantlet holds {known}")]
    Groups {
        /// The profile.
        profile: String,
        /// What it says.
        found: String,
        /// What there is.
        known: String,
    },
    /// A group that the data version does not hold.
    #[error("profile {profile}: groups version {version} has no @{group}{hint}")]
    Group {
        /// The profile.
        profile: String,
        /// The data version.
        version: String,
        /// The group.
        group: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// A profile that does not exist.
    #[error(
        "there is no profile `{name}`{wanted_by}: put {name}.yaml into the profiles directory \
             of the node's configuration, or correct the name"
    )]
    Missing {
        /// Its name.
        name: String,
        /// ` (named by X)`, or nothing.
        wanted_by: String,
    },
    /// A profile that could not be read.
    #[error("cannot read profile `{name}`: {cause}; make it readable for root")]
    Read {
        /// Its name.
        name: String,
        /// The system's words.
        cause: String,
    },
    /// A profile name that could leave the profiles directory.
    #[error(
        "`{name}` is no profile name: use letters, digits, `-`, `_` and `.`, and no leading dot"
    )]
    Name {
        /// As written.
        name: String,
    },
    /// The file's name and its `name:` differ.
    #[error("profile file `{file}` says `name: {name}`: make both the same")]
    Misnamed {
        /// What was asked for.
        file: String,
        /// What it says.
        name: String,
    },
    /// `extends` leads back to where it began.
    #[error("profiles extend each other in a circle: {chain}; remove one `extends`")]
    Circle {
        /// Names with arrows.
        chain: String,
    },
    /// Nothing says which calls are allowed.
    #[error("profile {profile} allows no system call: add `syscalls:` or extend `baseline`")]
    NoCalls {
        /// The profile.
        profile: String,
    },
    /// An exception that the union of `extends` would lose.
    #[error(
        "profile {profile}: `except: {path}` of {by} would have no effect, because {other} grants \
             files there without that exception, and what one part allows is allowed: write the \
             exception in both, or do not combine them"
    )]
    ExceptLost {
        /// The profile that combines.
        profile: String,
        /// The path.
        path: String,
        /// Whose exception it is.
        by: String,
        /// Who grants around it.
        other: String,
    },
    /// Without execve nothing starts.
    #[error(
        "profile {profile} does not allow execve, which starts the workload itself: add execve \
             (it is part of @default) to `syscalls.allow`"
    )]
    NoExec {
        /// The profile.
        profile: String,
    },
    /// Parents that say different things of exec sessions.
    #[error(
        "profile {profile}: the profiles it extends differ about `{key}`, and neither answer is the \
             union of both: write `{key}` in {profile} itself"
    )]
    Disagree {
        /// The profile that combines.
        profile: String,
        /// The key.
        key: &'static str,
    },
    /// A profile for sessions that has rules on sessions.
    #[error(
        "profile {profile} has `exec`, so no `exec` of another profile can name it, nor one that \
             extends it: what sessions may be is said in one place, name a profile without"
    )]
    Nested {
        /// The profile that is named.
        profile: String,
    },
    /// A profile for sessions that has something watched.
    #[error(
        "profile {profile} has `{key}`, so no `exec` of another profile can name it, nor one that \
             extends it: a container is watched as a whole, its sessions included. Write `{key}` into \
             the container's own profile, and name one without it for sessions"
    )]
    Watches {
        /// The profile that is named.
        profile: String,
        /// What it has.
        key: &'static str,
    },
    /// Two rules of one file with one name.
    #[error(
        "profile {profile} has two rules named `{rule}` in `detect`: give each a name of its own"
    )]
    SameRule {
        /// The profile.
        profile: String,
        /// The name.
        rule: String,
    },
    /// A rule on a call that is not reported.
    #[error(
        "profile {profile}: rule `{rule}` of `detect` is about {call}, and would see none: {why}. Add it \
             to `syscalls.tripwire` and no `allow`, or write a rule named `{rule}` without it"
    )]
    NeverTrips {
        /// The profile, whole.
        profile: String,
        /// The rule.
        rule: String,
        /// A call, an `@group`, or all.
        call: String,
        /// What the profile does with it.
        why: &'static str,
    },
    /// Two profiles pin different data versions of the groups.
    #[error(
        "profile {profile} uses groups {own} but extends {parent}, which uses {theirs}: pin both \
             to the same version"
    )]
    MixedGroups {
        /// The profile.
        profile: String,
        /// Its version.
        own: String,
        /// The parent.
        parent: String,
        /// The parent's version.
        theirs: String,
    },
}

impl Error {
    /// Turns the YAML reader's error into ours.
    pub(super) fn from_yaml(source: &str, error: &Yaml) -> Error {
        let location = error.location();
        let message = match error.without_snippet() {
            Yaml::SerdeUnknownField {
                field, expected, ..
            } => {
                format!(
                    "unknown key `{field}`{}",
                    closest(field, expected.iter().copied())
                )
            }
            Yaml::SerdeUnknownVariant {
                variant, expected, ..
            } => {
                format!(
                    "unknown value `{variant}`{}",
                    closest(variant, expected.iter().copied())
                )
            }
            Yaml::SerdeMissingField { field, .. } => format!("`{field}` is missing: add it here"),
            Yaml::SerdeInvalidType {
                unexpected,
                expected,
                ..
            } => {
                format!("found {unexpected} where {expected} belongs")
            }
            Yaml::DuplicateMappingKey { key, .. } => {
                format!(
                    "key `{}` appears twice: keep one",
                    key.as_deref().unwrap_or("?")
                )
            }
            Yaml::Message { msg, .. } => msg.clone(),
            other => first_line(&other.to_string()),
        };
        Error::Text {
            source_name: source.into(),
            line: location.map_or(0, |l| l.line()),
            column: location.map_or(0, |l| l.column()),
            message,
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// `: did you mean …?` for the candidate nearest to `word`, else a list of the few that exist.
pub(super) fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.collect();
    let best = candidates.iter().map(|c| (distance(word, c), *c)).min();
    match best {
        Some((far, name)) if far <= 1 + word.len().max(name.len()) / 4 => {
            format!("; did you mean `{name}`?")
        }
        _ if (1..=20).contains(&candidates.len()) => {
            format!("; one of {}", candidates.join(", "))
        }
        _ => String::new(),
    }
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    // A hostile word must not cost a quadratic table.
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}
