//! Single words: names, paths, patterns.

use schemars::{Schema, json_schema};

use super::super::admission::{Held, HostPath};
use super::super::entry::{ERRNOS, PlainPath, SYMBOLS};
use super::super::exec::Command;
use super::super::limits::RESOURCES;
use super::super::programs::Program;
use super::super::table::{Lookup, lookup};
use super::super::{capability, groups, host_paths, programs};
use super::described;

/// No component `.` or `..`.
const NO_DOTS: &str = r"(?!(.*/)?\.\.?(/|$))";
/// `**` stands for whole components.
const WHOLE_STARS: &str = r"(?!.*(\*\*[^/]|[^/]\*\*))";
/// A path that means one place only as far as its text can tell.
const PLAIN: &str = r"(/(?!\.\.?(/|$))[^/\u0000]+)+";

pub(super) fn why() -> Schema {
    json_schema!({
        "type": "string",
        "description": "The author's reason; it changes nothing about what is enforced.",
        "pattern": r"\S",
        "maxLength": 1000,
        "examples": ["its workers drop root"],
    })
}

pub(super) fn profile_name() -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]*$",
        "examples": ["baseline", "restricted"],
    })
}

/// Names of capabilities, with and without their prefix.
pub(super) fn capabilities() -> Vec<&'static str> {
    let bare = capability::ALL.iter().map(|name| &name["CAP_".len()..]);
    bare.chain(capability::ALL).collect()
}

fn at(names: impl Iterator<Item = &'static str>) -> Vec<String> {
    names.map(|name| format!("@{name}")).collect()
}

/// The groups of calls of the newest data version.
pub(super) fn call_groups() -> Vec<String> {
    at(groups::names(groups::CURRENT).into_iter())
}

/// Every call that the groups know and this build too.
pub(super) fn calls() -> Vec<&'static str> {
    let names = groups::names(groups::CURRENT).into_iter();
    let members = names.filter_map(|name| groups::members(groups::CURRENT, name));
    let mut all: Vec<&str> = members.flatten().collect();
    all.retain(|name| lookup(name) != Lookup::Unknown);
    all.sort_unstable();
    all.dedup();
    all
}

pub(super) fn errno() -> Schema {
    let names: Vec<&str> = ERRNOS.iter().map(|(name, _)| *name).collect();
    json_schema!({"description": "What a refusal answers; EPERM by default.", "enum": names})
}

/// What `files` may name.
pub(super) fn place() -> Schema {
    let symbols: Vec<&str> = SYMBOLS.iter().map(|(name, _)| *name).collect();
    json_schema!({
        "anyOf": [
            {"enum": symbols},
            {
                "type": "string",
                "pattern": format!(r"^{NO_DOTS}(?!/+proc/+[^/])/[^*\u0000]*$"),
                "examples": ["/usr", "/etc/ssl/certs", "/"],
            },
        ],
    })
}

described!(
    PlainPath,
    "Path",
    json_schema!({
        "description": "An absolute path.",
        "type": "string",
        "pattern": format!(r"^{NO_DOTS}/[^*\u0000]*$"),
        "examples": ["/etc/shadow", "/srv/key"],
    })
);

described!(
    HostPath,
    "HostPath",
    json_schema!({
        "description": "An absolute glob of the host's paths, or a group of them.",
        "anyOf": [
            {"enum": at(host_paths::names())},
            {
                "type": "string",
                "pattern": format!(r"^{NO_DOTS}{WHOLE_STARS}/[^\u0000]*$"),
                "examples": ["/srv/keys/**", "/var/lib/etcd"],
            },
        ],
    })
);

described!(Held, "HeldCapability", {
    let names = [vec!["ALL", "@added"], capabilities()].concat();
    json_schema!({
        "description": "A capability, `@added` for any that engines do not grant by default, or `ALL` for any at all.",
        "enum": names,
    })
});

described!(
    Command,
    "Command",
    json_schema!({
        "description": "A bare name or an absolute path, either with wildcards.",
        "type": "string",
        "pattern": format!(r"^([^/\u0000]+|{PLAIN})$"),
        "examples": ["pg_isready", "/opt/health/*"],
    })
);

described!(
    Program,
    "Program",
    json_schema!({
        "description": "A name, an absolute path, either with wildcards, or a group.",
        "anyOf": [
            {"enum": at(programs::names())},
            {
                "type": "string",
                "pattern": format!(r"^(?!@)([^/\u0000]+|{WHOLE_STARS}{PLAIN})$"),
                "maxLength": 4096,
                "examples": ["nc", "/opt/tool/*"],
            },
        ],
    })
);

pub(super) fn device_access() -> Schema {
    json_schema!({
        "description": "Letters of r(ead), w(rite) and m(knod).",
        "type": "string",
        "pattern": "^[rwm]+$",
        "examples": ["r", "rw"],
    })
}

/// A glob in /dev.
pub(super) fn device_path() -> Schema {
    json_schema!({
        "type": "string",
        "pattern": format!(r"^{NO_DOTS}{WHOLE_STARS}/+dev/+[^/\u0000][^\u0000]*$"),
        "examples": ["/dev/fuse", "/dev/dri/*"],
    })
}

/// `rlimits`: one key for each resource.
pub(super) fn resources() -> [&'static str; 16] {
    RESOURCES
}
