//! The line that would allow what a layer refuses, in a profile that extends its own.

use std::collections::BTreeSet;
use std::path::Path;

use super::files::REFER;
use super::{Domain, Known, Layer};
use crate::access::files::MAP_EXECUTE;
use crate::access::{Access, Argument};
use crate::policy::fix_for;
use crate::policy::mounts::beneath;
use crate::policy::seccomp::tcp;
use crate::profile::capability;
use crate::seal::aliased;
use crate::yaml::scalar;

impl Layer {
    /// A line that, in a profile which extends this layer's, would allow `access`; `none: …` with the
    /// reason where no line can.
    #[must_use]
    pub fn fix(&self, access: &Access) -> String {
        match access {
            Access::Syscall { name, args } => self.fix_call(name, args),
            Access::File { .. } => self.fix_file(access),
            Access::Tcp { right, port } => format!("network: {{{right}_tcp: [{port}]}}"),
            Access::Capability { name } => {
                let bare = name.strip_prefix("CAP_").unwrap_or(name);
                format!("capabilities: [{bare}]")
            }
            Access::Container { what } => format!("none: {what}"),
        }
    }

    fn fix_call(&self, name: &str, told: &[Argument]) -> String {
        let known = Known::of(name, told);
        let Some(profile) = &self.profile else {
            return fix_for(name, &[], &known.values, told);
        };
        if let Some(implied) = self.implied(name, &known) {
            return implied.fix();
        }
        if name == "clone3" && self.clone_is_filtered() {
            return "none: a profile that looks at clone's flags has no clone3, whose flags lie in memory; C libraries \
                    take clone instead"
                .into();
        }
        if !self.calls.contains_key(name) {
            return format!(
                "none: {name} is no call that data version {} knows on this architecture",
                profile.syscalls.groups
            );
        }
        let calls = &profile.syscalls;
        let denied = calls.deny.iter().chain(&calls.tripwire);
        let rules: Vec<_> = denied
            .filter(|rule| rule.name == name)
            .map(|rule| rule.args.clone())
            .collect();
        fix_for(name, &rules, &known.values, told)
    }

    /// What `network` implies against a call of which this is known.
    pub(super) fn implied(&self, name: &str, known: &Known) -> Option<tcp::Closed> {
        let network = self.profile.as_ref()?.network.as_ref()?;
        let decision = self.calls.get(name).filter(|_| network.restricts())?;
        tcp::implied(name, decision, |condition| {
            known.holds(condition) == Some(true)
        })
    }

    fn clone_is_filtered(&self) -> bool {
        let clone = self.calls.get("clone");
        clone.is_none_or(|clone| !clone.permits_all())
    }

    fn fix_file(&self, access: &Access) -> String {
        let files = self.profile.as_ref().and_then(|own| own.files.as_ref());
        let excepts: Vec<&str> = files.map_or(Vec::new(), |files| {
            files.except.iter().map(|out| out.path.as_str()).collect()
        });
        let domain = self.domain.as_ref();
        file(access, domain, excepted(access, domain, &excepts))
    }
}

/// The line that grants `access` to a file beside what `domain` grants; `none: …` with the reason where none
/// can. `excepted`: what [`excepted`] says.
#[must_use]
pub fn file(access: &Access, domain: Option<&Domain>, excepted: Option<&str>) -> String {
    let Access::File {
        path,
        right,
        mount,
        moved,
        directory,
        ..
    } = access
    else {
        return "none: it is no file".into();
    };
    if path != "/proc" && beneath(path, "/proc") {
        return "none: Landlock rules below /proc do not last; grant /proc itself".into();
    }
    if let Some(out) = excepted {
        return format!("none in a child: take {out} out of `files.except`");
    }
    let holds = |right: u64| domain.is_some_and(|own| own.granted(path, mount) & right != 0);
    let none_moves = domain.is_some_and(|own| own.handled_fs & REFER == 0);
    if right == "refer" && none_moves {
        return "none: on this kernel (Landlock ABI 1) no domain lets files be moved between directories".into();
    }
    if let (Some(moved), true) = (moved, holds(REFER)) {
        // It may go there, and must not gain by it.
        let gained = domain.map(|own| own.gains(access)).unwrap_or_default();
        let readable = domain.is_some_and(|own| own.granted(&moved.path, mount) & READ_FILE != 0);
        let lists = gained.iter().map(|right| list_of(right, readable));
        let lists: BTreeSet<&str> = lists.collect();
        let lists: Vec<String> = lists
            .iter()
            .map(|list| format!("{list}: [{}]", scalar(folder_of(&moved.path))))
            .collect();
        return format!("files: {{{}}}", lists.join(", "));
    }
    // A file that the workload may have made itself is not there when it starts the next time, and no rule
    // can be bound to it then: its directory is.
    let folder = folder_of(path);
    let makeable = !directory && !["ioctl-dev", MAP_EXECUTE].contains(&right.as_str());
    let made = makeable && domain.is_some_and(|own| makes(own, folder, mount));
    format!(
        "files: {{{}: [{}]}}",
        list_of(right, holds(READ_FILE)),
        scalar(if made { folder } else { path })
    )
}

/// Which of `excepts`, the paths that a profile leaves out, is why `access` to a file is denied: it lies
/// there, or is a directory on the way there. A child can neither grant it nor what lies there.
#[must_use]
pub fn excepted<'a>(
    access: &Access,
    domain: Option<&Domain>,
    excepts: &[&'a str],
) -> Option<&'a str> {
    let Access::File { path, .. } = access else {
        return None;
    };
    let found = domain.and_then(|own| own.file(access).except);
    let names = |out: &str| {
        let other = aliased(Path::new(out)).map(|other| other.to_string_lossy().into_owned());
        [Some(out.to_owned()), other].into_iter().flatten()
    };
    let is_why =
        |out: &&&str| names(out).any(|name| beneath(path, &name) || found.as_ref() == Some(&name));
    excepts.iter().find(is_why).copied()
}

/// Whether files may be made in a directory, as far as the domain says: where it handles that and grants it.
fn makes(domain: &Domain, folder: &str, mount: &str) -> bool {
    domain.handled_fs & MAKE_REG != 0 && domain.granted(folder, mount) & MAKE_REG != 0
}

/// The directory of what has this name.
#[must_use]
pub fn folder_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}

/// The list of `files` that grants a right, to what may be read already or not.
fn list_of(right: &str, readable: bool) -> &'static str {
    match right {
        "read-file" | "read-dir" | "resolve-unix" => "read",
        "execute" | MAP_EXECUTE if readable => "execute",
        "execute" | MAP_EXECUTE => "read_execute",
        "ioctl-dev" => "device_ioctl",
        "make-char" | "make-block" => "make_device",
        _ => "read_write",
    }
}

/// `LANDLOCK_ACCESS_FS_MAKE_REG`.
const MAKE_REG: u64 = 1 << 8;
/// `LANDLOCK_ACCESS_FS_READ_FILE`.
const READ_FILE: u64 = 1 << 2;

/// What a pod's author can do about a refusal of the engine's.
#[must_use]
pub fn engine(access: &Access) -> String {
    match access {
        Access::Capability { name } => {
            let bare = name.strip_prefix("CAP_").unwrap_or(name);
            let known = capability::canonical(name).is_some();
            match known {
                true => format!("securityContext: {{capabilities: {{add: [{bare}]}}}} in the pod"),
                false => format!("none: {bare} is no capability"),
            }
        }
        _ => "the engine's seccomp profile (securityContext.seccompProfile in the pod)".into(),
    }
}
