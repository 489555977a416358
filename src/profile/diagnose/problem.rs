//! Everything that can be wrong with a profile.

/// What is wrong with a profile. The text is two lines where there is a remedy: what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file's text is no YAML.
    #[error("{0}")]
    Syntax(String),
    /// The file's text is no profile.
    #[error("{0}")]
    Text(String),
    /// A version of the language that this build does not read.
    #[error(
        "profile version {found} is not known: this mantlet reads version 1\nupdate mantlet, or write `version: 1`"
    )]
    Version {
        /// What it says.
        found: u32,
    },
    /// `mode: learn` beside something to enforce.
    #[error(
        "a profile of `mode: learn` allows everything and records it, so `{key}` has no meaning in it\n\
             take it out, or put the profile beside this one as another layer"
    )]
    Learns {
        /// The key.
        key: &'static str,
    },
    /// A parent that records.
    #[error(
        "profile {profile} extends {parent}, which has `mode: learn` and allows nothing to add\ntake it out"
    )]
    ExtendsLearning {
        /// The profile.
        profile: String,
        /// The parent.
        parent: String,
    },
    /// A data version of the groups that this build does not hold.
    #[error(
        "profile {profile}: groups version {found} is not known: this mantlet holds {known}\nupdate mantlet, or write `groups: \"{known}\"`"
    )]
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
        "there is no profile `{name}`{wanted_by}\n{hint}put {name}.yaml into the profiles directory \
             of the node's configuration, or correct the name"
    )]
    Missing {
        /// Its name.
        name: String,
        /// ` (named by X)`, or nothing.
        wanted_by: String,
        /// The name that was meant, or nothing.
        hint: String,
    },
    /// A profile that could not be read.
    #[error("cannot read profile `{name}`: {cause}\nmake it readable for root")]
    Read {
        /// Its name.
        name: String,
        /// The system's words.
        cause: String,
    },
    /// A profile name that could leave the profiles directory.
    #[error(
        "`{name}` is no profile name\nuse letters, digits, `-`, `_` and `.`, and no leading dot"
    )]
    Name {
        /// As written.
        name: String,
    },
    /// The file's name and its `name:` differ.
    #[error("profile file `{file}` says `name: {name}`\nmake both the same")]
    Misnamed {
        /// What was asked for.
        file: String,
        /// What it says.
        name: String,
    },
    /// `extends` leads back to where it began.
    #[error("profiles extend each other in a circle: {chain}\nremove one `extends`")]
    Circle {
        /// Names with arrows.
        chain: String,
    },
    /// Nothing says which calls are allowed.
    #[error("profile {profile} allows no system call\nadd `syscalls:` or extend `baseline`")]
    NoCalls {
        /// The profile.
        profile: String,
    },
    /// An exception that the union of `extends` would lose.
    #[error(
        "profile {profile}: `except: {path}` of {by} would have no effect, because {other} grants \
             files there without that exception, and what one part allows is allowed\nwrite the \
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
        "profile {profile} does not allow execve, which starts the workload itself\nadd execve \
             (it is part of @default) to `syscalls.allow`"
    )]
    NoExec {
        /// The profile.
        profile: String,
    },
    /// Parents that say different things of exec sessions.
    #[error(
        "profile {profile}: the profiles it extends differ about `{key}`, and neither answer is the \
             union of both\nwrite `{key}` in {profile} itself"
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
             extends it: what sessions may be is said in one place\nname a profile without"
    )]
    Nested {
        /// The profile that is named.
        profile: String,
    },
    /// A profile for sessions that has something watched.
    #[error(
        "profile {profile} has `{key}`, so no `exec` of another profile can name it, nor one that \
             extends it: a container is watched as a whole, its sessions included\nwrite `{key}` into \
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
        "profile {profile} has two rules named `{rule}` in `detect`\ngive each a name of its own"
    )]
    SameRule {
        /// The profile.
        profile: String,
        /// The name.
        rule: String,
    },
    /// A rule on a call that is not reported.
    #[error(
        "profile {profile}: rule `{rule}` of `detect` is about {call}, and would see none: {why}\nadd it \
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
        "profile {profile} uses groups {own} but extends {parent}, which uses {theirs}\npin both \
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
