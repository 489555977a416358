//! The codes. One that was given out keeps its meaning for good.

use super::super::diagnose::Level;

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `M` and three digits; the first says the family.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is found.
    pub title: &'static str,
}

const fn rule(id: &'static str, level: Level, title: &'static str) -> Code {
    Code { id, level, title }
}

use Level::{Error, Note, Warning};

/// All, in order.
pub const CODES: [Code; 43] = [
    rule("M001", Error, "the profile cannot be used"),
    rule("M101", Warning, "a dangerous capability without `why`"),
    rule("M102", Warning, "a dangerous system call without `why`"),
    rule(
        "M103",
        Warning,
        "a place that is writable and executable without `why`",
    ),
    rule(
        "M104",
        Warning,
        "a place that should not be writable, without `why`",
    ),
    rule(
        "M105",
        Warning,
        "device files may be created, without `why`",
    ),
    rule(
        "M201",
        Error,
        "an allowed call that a container is refused for",
    ),
    rule("M202", Warning, "a denial that an `allow` comes before"),
    rule(
        "M203",
        Warning,
        "a condition that an unconditional entry makes meaningless",
    ),
    rule("M204", Warning, "conditions that never hold"),
    rule(
        "M205",
        Warning,
        "a silent denial that a tripwire comes before",
    ),
    rule("M206", Warning, "an `errno` on what is allowed"),
    rule(
        "M207",
        Warning,
        "a conditional tripwire that a `deny` comes before",
    ),
    rule(
        "M208",
        Warning,
        "conditions within wider ones of the same list",
    ),
    rule("M209", Note, "a denial of what nobody allows"),
    rule("M210", Warning, "an allowed call that Landlock denies"),
    rule(
        "M301",
        Warning,
        "a call that is listed twice, or by a group too",
    ),
    rule("M302", Warning, "a path beneath one with the same rights"),
    rule("M303", Note, "what a parent grants already"),
    rule("M304", Warning, "what is listed twice"),
    rule("M401", Warning, "an unknown system call"),
    rule("M402", Note, "a call younger than the groups' data version"),
    rule("M501", Warning, "a word of `degrade` without use"),
    rule(
        "M502",
        Note,
        "a least Landlock ABI below what the profile needs",
    ),
    rule("M503", Warning, "what the chosen Landlock ABI leaves free"),
    rule(
        "M504",
        Warning,
        "a profile that the chosen Landlock ABI is refused for",
    ),
    rule(
        "M601",
        Note,
        "a program that needs its setuid bit or file capabilities",
    ),
    rule("M602", Warning, "sessions that cannot signal the workload"),
    rule("M603", Warning, "a permitted command that runs any other"),
    rule(
        "M604",
        Warning,
        "parts of a sessions' profile without effect",
    ),
    rule(
        "M605",
        Warning,
        "a permitted command that the workload can replace",
    ),
    rule(
        "M606",
        Note,
        "a capability that is of no use under no_new_privs",
    ),
    rule(
        "M607",
        Warning,
        "a permitted command that another pattern covers",
    ),
    rule("M701", Warning, "an exception where the workload may write"),
    rule(
        "M702",
        Warning,
        "a path that is a symbolic link in most images",
    ),
    rule("M703", Warning, "an exception outside of every grant"),
    rule("M801", Warning, "detection in the host's pid namespace"),
    rule(
        "M802",
        Note,
        "drift is watched for, executions of memory are not",
    ),
    rule(
        "M803",
        Note,
        "an allowed memfd_create that a rule takes away",
    ),
    rule("M804", Note, "a rule that tells what another one tells"),
    rule("M901", Note, "a profile of which nothing is expected"),
    rule("M902", Warning, "a profile that does not enforce"),
    rule("M903", Warning, "an `ignore` that hides nothing"),
];

/// The rule of that id.
#[must_use]
pub fn code(id: &str) -> Option<&'static Code> {
    CODES.iter().find(|code| code.id == id)
}
