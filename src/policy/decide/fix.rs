//! The line that would allow what a layer refuses, in a profile that extends its own.

use super::{Known, Layer};
use crate::access::Access;
use crate::policy::fix_for;
use crate::policy::mounts::beneath;
use crate::profile::capability;

impl Layer {
    /// A line that, in a profile which extends this layer's, would allow `access`; `none: …` with the
    /// reason where no line can.
    #[must_use]
    pub fn fix(&self, access: &Access) -> String {
        match access {
            Access::Syscall { name, args } => self.fix_call(name, &Known::of(name, args)),
            Access::File { path, right, .. } => self.fix_file(access, path, right),
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

    fn fix_file(&self, access: &Access, path: &str, right: &str) -> String {
        if path != "/proc" && beneath(path, "/proc") {
            return "none: Landlock rules below /proc do not last; grant /proc itself".into();
        }
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
        let readable = || {
            let Access::File { mount, .. } = access else {
                return false;
            };
            let domain = self.domain.as_ref();
            domain.is_some_and(|domain| domain.granted(path, mount) & READ_FILE != 0)
        };
        let list = match right {
            "read-file" | "read-dir" | "resolve-unix" => "read",
            "execute" if readable() => "execute",
            "execute" => "read_execute",
            "ioctl-dev" => "device_ioctl",
            "make-char" | "make-block" => "make_device",
            _ => "read_write",
        };
        format!("files: {{{list}: [{}]}}", quoted(path))
    }
}

/// `LANDLOCK_ACCESS_FS_READ_FILE`.
const READ_FILE: u64 = 1 << 2;

/// A path as a YAML scalar within brackets.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match path.chars().all(plain) {
        true => path.to_owned(),
        // JSON's strings are YAML's.
        false => serde_json::Value::from(path).to_string(),
    }
}

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
