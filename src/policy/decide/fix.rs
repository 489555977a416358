//! The line that would allow what a layer refuses, in a profile that extends its own.

use std::collections::BTreeSet;

use super::{Domain, Known, Layer};
use crate::access::Access;
use crate::access::files::MAP_EXECUTE;
use crate::policy::fix_for;
use crate::policy::mounts::beneath;
use crate::profile::capability;
use crate::yaml::scalar;

impl Layer {
    /// A line that, in a profile which extends this layer's, would allow `access`; `none: …` with the
    /// reason where no line can.
    #[must_use]
    pub fn fix(&self, access: &Access) -> String {
        match access {
            Access::Syscall { name, args } => self.fix_call(name, &Known::of(name, args)),
            Access::File { .. } => self.fix_file(access),
            Access::Tcp { right, port } => format!("network: {{{right}_tcp: [{port}]}}"),
            Access::Capability { name } => {
                let bare = name.strip_prefix("CAP_").unwrap_or(name);
                format!("capabilities: [{bare}]")
            }
            Access::Container { what } => format!("none: {what}"),
        }
    }

    fn fix_call(&self, name: &str, known: &Known) -> String {
        let Some(profile) = &self.profile else {
            return format!("syscalls: {{allow: [{name}]}}");
        };
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
        fix_for(name, &rules, &known.values)
    }

    fn fix_file(&self, access: &Access) -> String {
        let said = self.file(access);
        let out = said
            .written
            .filter(|by| by.text.starts_with("files.except: "));
        if let Some(by) = out {
            return format!(
                "none in a child: take {} out of `files.except`",
                &by.text[14..]
            );
        }
        file(access, self.domain.as_ref())
    }
}

/// The line that grants `access` to a file beside what `domain` grants; `none: …` with the reason where
/// none can.
#[must_use]
pub fn file(access: &Access, domain: Option<&Domain>) -> String {
    let Access::File {
        path,
        right,
        mount,
        moved,
        ..
    } = access
    else {
        return "none: it is no file".into();
    };
    if path != "/proc" && beneath(path, "/proc") {
        return "none: Landlock rules below /proc do not last; grant /proc itself".into();
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
        let from = match moved.path.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((folder, _)) => folder,
        };
        let lists: Vec<String> = lists
            .iter()
            .map(|list| format!("{list}: [{}]", scalar(from)))
            .collect();
        return format!("files: {{{}}}", lists.join(", "));
    }
    format!(
        "files: {{{}: [{}]}}",
        list_of(right, holds(READ_FILE)),
        scalar(path)
    )
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

/// `LANDLOCK_ACCESS_FS_REFER`.
const REFER: u64 = 1 << 13;
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
