//! Programs by name or by path, for the rules of `detect`: how a pattern is written, what it covers,
//! and named groups of them. Like the system call groups these belong to a data version, and a
//! version never changes.
//!
//! A name is no proof: whoever can write a file can call it what they like. So a list of names finds
//! the careless, and an exception is only worth its path.

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::diagnose::{Error, Problem, closest_group};
use super::exec::is_plain_path;
use super::origin::Origin;
use super::{glob, groups};

/// `(name, names of files)`, version 2026.1. The file is the one that the kernel opens, links
/// followed: `/bin/sh` is mostly dash, bash or busybox.
const V2026_1: [(&str, &str); 3] = [
    (
        "shells",
        // busybox and toybox are many programs in one file, and where they are the shell nothing
        // else tells its executions from those of their `ls`.
        "ash bash busybox csh dash elvish fish ksh ksh2020 ksh93 loksh mksh nu oksh osh pdksh posh \
         pwsh rbash rksh rzsh sash sh static-sh tcsh toybox xonsh yash zsh",
    ),
    (
        "package-managers",
        // Without npm, yarn, pnpm, bundle, poetry, uv and the like: images start their services with
        // them.
        "apk apk.static apt apt-cache apt-get aptitude conda cpan cpanm dnf dnf-3 dnf5 dpkg dpkg-deb \
         easy_install emerge equery flatpak gem guix ipkg luarocks mamba microdnf micromamba nix \
         nix-channel nix-env nix-store opkg pacman pecl pip pip2 pip3 pipx pkg_add rpm rpm-ostree \
         rpm2cpio slackpkg snap swupd tdnf urpmi xbps-install yum zypper",
    ),
    (
        "download-tools",
        "aria2c axel curl fetch ftp http httpie https lftp lftpget lwp-download lwp-request nc \
         nc.openbsd nc.traditional ncat ncftp ncftpget netcat rsync scp sftp socat ssl_client tftp \
         wget wget2 xh xhs",
    ),
];

/// Longest pattern; no path is longer (PATH_MAX).
const LONGEST: usize = 4096;

/// Names of the groups of the newest version.
pub fn names() -> impl Iterator<Item = &'static str> {
    V2026_1.iter().map(|(name, _)| *name)
}

/// Names of the files of group `name`, without its `@`, in a data version.
#[must_use]
pub fn members(version: &str, name: &str) -> Option<Vec<&'static str>> {
    let table = groups::VERSIONS.contains(&version).then_some(&V2026_1)?;
    let (_, text) = table.iter().find(|(own, _)| *own == name)?;
    Some(text.split_ascii_whitespace().collect())
}

/// Whether `pattern` covers a program at `path`, as the kernel tells it: the file that it opened,
/// links followed, as seen in the container.
///
/// A pattern without a slash is compared with what comes after the path's last slash, one with a
/// slash with the whole ([`super::glob`]). The ` (deleted)` that the kernel appends where a file has
/// no name any more is no part of the name. Patterns have no `@group` here; [`super::Profile`] has
/// them expanded.
#[must_use]
pub fn covers_program(pattern: &str, path: &str) -> bool {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    if pattern.contains('/') {
        return glob::covers(pattern, path);
    }
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    glob::covers(pattern, name)
}

/// A pattern as written: a name, an absolute path, either with wildcards, or an `@group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program(pub String);

impl<'de> Deserialize<'de> for Program {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        match problem(&written) {
            None => Ok(Program(written)),
            Some(problem) => Err(de::Error::custom(problem)),
        }
    }
}

fn problem(written: &str) -> Option<String> {
    if let Some(group) = written.strip_prefix('@') {
        let known = names().any(|name| name == group);
        return (!known)
            .then(|| format!("unknown group `{written}`{}", closest_group(group, names())));
    }
    if written.is_empty() || written.contains('\0') || written.len() > LONGEST {
        return Some(
            "a program is a name such as nc, an absolute path such as /opt/tool/*, or an @group"
                .into(),
        );
    }
    if !written.contains('/') {
        return None;
    }
    if !is_plain_path(written) {
        return Some(format!(
            "`{written}` is neither a bare name nor a plain absolute path\nwrite it from `/`, without \
             `.`, `..` and a slash at its end"
        ));
    }
    let glued = |part: &&str| part.contains("**") && *part != "**";
    written.split('/').find(glued).map(|part| {
        format!(
            "`{part}` in `{written}`: `**` stands for whole components, so write it between slashes"
        )
    })
}

/// Patterns with their groups expanded, each once.
pub(super) fn expand(
    (profile, origin): (&str, &Origin),
    version: &str,
    written: &[String],
) -> Result<Vec<String>, Error> {
    let mut all: Vec<String> = Vec::new();
    for pattern in written {
        let own = [pattern.as_str()];
        let listed = match pattern.strip_prefix('@') {
            None => own.to_vec(),
            Some(group) => members(version, group).ok_or_else(|| {
                let problem = Problem::Group {
                    profile: profile.into(),
                    version: version.into(),
                    group: group.into(),
                    hint: closest_group(group, names()),
                };
                Error::at(origin, problem)
            })?,
        };
        for pattern in listed {
            if !all.iter().any(|have| have == pattern) {
                all.push(pattern.to_owned());
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_compared_with_the_files_name_and_a_path_with_the_whole() {
        for (pattern, path) in [
            ("bash", "/usr/bin/bash"),
            ("bash", "/tmp/bash (deleted)"),
            ("bash", "bash"),
            ("python3*", "/usr/bin/python3.11"),
            ("*", "/anything/at/all"),
            ("memfd:*", "/memfd:x (deleted)"),
            ("/opt/tool/*", "/opt/tool/run"),
            ("/opt/**", "/opt/a/b"),
            ("/usr/bin/curl", "/usr/bin/curl"),
        ] {
            assert!(covers_program(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("bash", "/usr/bin/rbash"),
            ("bash", "/bash/x"),
            ("sh", "/usr/bin/dash"),
            ("/opt/tool/*", "/opt/tool/deep/run"),
            ("/usr/bin/curl", "/srv/usr/bin/curl"),
            ("/usr/bin/curl", "curl"),
            ("/usr/bin/curl", ""),
            ("?", ""),
        ] {
            assert!(!covers_program(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn groups_hold_plain_names_each_once_and_in_order() {
        for group in names() {
            let members = members(groups::CURRENT, group).unwrap();
            let mut sorted = members.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(members, sorted, "@{group}");
            for name in members {
                assert_eq!(problem(name), None);
                assert!(!name.contains(['*', '?', '/', '@']), "{name}");
            }
        }
        assert_eq!(members("2031.1", "shells"), None);
    }
}
