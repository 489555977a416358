//! `linux.seccomp` of the runtime-spec, and the form in which Docker and containers-common ship it: rules
//! that depend on capabilities, architecture and kernel (`includes`, `excludes`), names one by one.
//!
//! Two stages: a [`Filter`] is the file as written; [`Filter::resolve`] is what an engine hands to the
//! runtime for one container on one machine.

use std::collections::BTreeSet;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompOperator as Operator,
};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::yaml::plain;
use super::{Error, json_error};
use crate::profile::capability;

/// A filter as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Filter {
    pub(super) default_action: Action,
    #[serde(default)]
    default_errno_ret: Option<Errno>,
    /// The name of `defaultErrnoRet`, for people.
    #[serde(default, rename = "defaultErrno")]
    _default_errno: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<Architecture>>,
    /// How the filter is loaded; nothing of it is a decision.
    #[serde(default, rename = "flags")]
    _flags: Option<Vec<String>>,
    #[serde(default)]
    listener_path: Option<String>,
    #[serde(default, rename = "listenerMetadata")]
    _listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
    /// Of the Security Profiles Operator.
    #[serde(default)]
    base_profile_name: Option<String>,
    #[serde(default, rename = "state")]
    _state: Option<String>,
    #[serde(default, rename = "disabled")]
    _disabled: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default, rename = "subArchitectures")]
    _sub: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    name: Option<String>,
    action: Action,
    #[serde(default)]
    errno_ret: Option<Errno>,
    #[serde(default, rename = "errno")]
    _errno: Option<String>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default, rename = "comment")]
    _comment: Option<String>,
    #[serde(default)]
    includes: Option<When>,
    #[serde(default)]
    excludes: Option<When>,
}

/// What a runtime passes on as SECCOMP_RET_DATA: 16 bits.
#[derive(Debug, Clone, Copy, Serialize)]
struct Errno(u32);

impl<'de> Deserialize<'de> for Errno {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let errno = u32::deserialize(deserializer)?;
        if errno > 4095 {
            return Err(de::Error::custom(format!(
                "errno {errno} is above 4095, the kernel's last"
            )));
        }
        Ok(Errno(errno))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Argument {
    index: Index,
    #[serde(default)]
    value: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_two: Option<u64>,
    op: Operator,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Index(u32);

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        if index > 5 {
            return Err(de::Error::custom(format!(
                "argument index {index} is above 5, the last"
            )));
        }
        Ok(Index(index))
    }
}

/// Where a rule is for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct When {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<Kernel>,
}

/// `4.8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kernel(
    /// 4.
    pub u32,
    /// 8.
    pub u32,
);

impl Kernel {
    /// Reads `MAJOR.MINOR` and passes over what follows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Kernel> {
        let mut parts = text.split(['.', '-']);
        let major = parts.next()?.parse().ok()?;
        Some(Kernel(major, parts.next()?.parse().ok()?))
    }
}

impl<'de> Deserialize<'de> for Kernel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Kernel::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "`{}` is no kernel version such as 4.8",
                plain(&text)
            ))
        })
    }
}

/// For whom the file's own conditions are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// `CAP_` names that the container holds.
    pub capabilities: BTreeSet<&'static str>,
    /// The least kernel: rules for younger ones are left out.
    pub kernel: Kernel,
}

impl Default for Scene {
    /// A container without capabilities, on the first kernel that has Landlock.
    fn default() -> Scene {
        Scene {
            capabilities: BTreeSet::new(),
            kernel: Kernel(5, 13),
        }
    }
}

/// What an engine would hand to the runtime.
#[derive(Debug)]
pub(super) struct Resolved {
    pub filter: LinuxSeccomp,
    pub notes: Vec<String>,
}

/// Any document that holds a filter.
#[derive(Deserialize)]
struct Shape {
    linux: Option<Linux>,
    kind: Option<String>,
    #[serde(rename = "defaultAction")]
    action: Option<de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Linux {
    seccomp: Option<Filter>,
}

#[derive(Deserialize)]
struct Manifest {
    spec: Filter,
}

impl Filter {
    /// Reads `linux.seccomp`, a whole config.json, Docker's or containers-common's `seccomp.json`, or a
    /// `SeccompProfile` manifest; `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`Error::Text`], [`Error::Meaning`].
    pub fn read(file: &str, text: &str) -> Result<Filter, Error> {
        if !text.trim_start().starts_with('{') {
            return yaml(file, text);
        }
        let shape: Shape = serde_json::from_str(text).map_err(|error| json_error(file, &error))?;
        if shape.action.is_none() {
            if let Some(linux) = shape.linux {
                return linux.seccomp.ok_or_else(|| Error::Meaning {
                    file: file.into(),
                    message: "this config.json has no `linux.seccomp`: the engine gave no filter"
                        .into(),
                });
            }
            if shape.kind.as_deref() == Some("SeccompProfile") {
                let manifest: Result<Manifest, _> = serde_json::from_str(text);
                return Ok(manifest.map_err(|error| json_error(file, &error))?.spec);
            }
        }
        serde_json::from_str(text).map_err(|error| json_error(file, &error))
    }

    /// The rules that hold in `scene`, on this machine's architecture.
    pub(super) fn resolve(&self, file: &str, scene: &Scene) -> Result<Resolved, Error> {
        let meaning = |message: String| Error::Meaning {
            file: file.into(),
            message,
        };
        if let Some(base) = &self.base_profile_name {
            return Err(meaning(format!(
                "it adds to `baseProfileName: {}`, which is not here: import the profile that the operator \
                 wrote to the node",
                plain(base)
            )));
        }
        let mut notes = Vec::new();
        self.architecture(&mut notes);
        if self.listener_path.is_some() {
            notes.push(
                "listenerPath: a foreign agent's; mantlet's supervisor answers tripwires itself"
                    .into(),
            );
        }
        let mut rules = Vec::new();
        for rule in self.syscalls.iter().flatten() {
            let names = rule.names.iter().flatten().chain(&rule.name);
            let names: Vec<&String> = names.collect();
            if names.is_empty() {
                return Err(meaning(
                    "a rule of `syscalls` names no call: give it `names`".into(),
                ));
            }
            if let Some(why) = rule.left_out(scene).map_err(&meaning)? {
                let shown: Vec<String> = names.iter().map(|name| plain(name)).collect();
                if let Some(why) = why {
                    notes.push(format!("left out, {why}: {}", shown.join(" ")));
                }
                continue;
            }
            let mut value = json!({"names": names, "action": rule.action, "args": rule.args});
            if let Some(errno) = rule.errno_ret {
                value["errnoRet"] = json!(errno);
            }
            rules.push(value);
        }
        let mut whole = json!({"defaultAction": self.default_action, "syscalls": rules});
        if let Some(errno) = self.default_errno_ret {
            whole["defaultErrnoRet"] = json!(errno);
        }
        let filter = serde_json::from_value(whole).map_err(|error| meaning(error.to_string()))?;
        Ok(Resolved { filter, notes })
    }

    fn architecture(&self, notes: &mut Vec<String>) {
        let maps = self.arch_map.iter().flatten().map(|map| &map.architecture);
        let mut all = self.architectures.iter().flatten().chain(maps).peekable();
        if all.peek().is_some() && !all.any(|arch| arch == NATIVE || arch == "SCMP_ARCH_NATIVE") {
            notes.push(format!(
                "{NATIVE} is not among its architectures: imported by name all the same"
            ));
        }
    }
}

impl Rule {
    /// Why it does not hold: for what other machines only there is nothing to say.
    fn left_out(&self, scene: &Scene) -> Result<Option<Option<String>>, String> {
        let (includes, excludes) = (self.includes.clone(), self.excludes.clone());
        let (includes, excludes) = (includes.unwrap_or_default(), excludes.unwrap_or_default());
        let arch = |when: &When| {
            when.arches
                .iter()
                .flatten()
                .any(|arch| ARCHITECTURE.contains(&arch.as_str()))
        };
        if includes
            .arches
            .as_ref()
            .is_some_and(|list| !list.is_empty())
            && !arch(&includes)
            || arch(&excludes)
        {
            return Ok(Some(None));
        }
        for name in includes.caps.iter().flatten() {
            if !scene.capabilities.contains(known(name)?) {
                return Ok(Some(Some(format!(
                    "it is for containers with {}",
                    plain(name)
                ))));
            }
        }
        for name in excludes.caps.iter().flatten() {
            if scene.capabilities.contains(known(name)?) {
                return Ok(Some(Some(format!(
                    "it is for containers without {}",
                    plain(name)
                ))));
            }
        }
        let permits = matches!(self.action, Action::ScmpActAllow | Action::ScmpActLog);
        let Kernel(major, minor) = scene.kernel;
        match (includes.min_kernel, excludes.min_kernel) {
            // A refusal that only newer kernels get holds for all: narrower.
            (Some(least), _) if permits && least > scene.kernel => Ok(Some(Some(format!(
                "it is for kernels from {}.{} on, and {major}.{minor} is the least here (--kernel)",
                least.0, least.1
            )))),
            // What is allowed on older kernels only is not allowed at all; a refusal stays.
            (_, Some(most)) if permits => Ok(Some(Some(format!(
                "it is for kernels before {}.{}",
                most.0, most.1
            )))),
            _ => Ok(None),
        }
    }
}

fn known(name: &str) -> Result<&'static str, String> {
    capability::canonical(name).ok_or_else(|| format!("unknown capability `{}`", plain(name)))
}

fn yaml(file: &str, text: &str) -> Result<Filter, Error> {
    let wrong = |error: serde_saphyr::Error| {
        let place = error.location();
        Error::Text {
            file: file.into(),
            line: place.map_or(0, |at| usize::try_from(at.line()).unwrap_or(0)),
            column: place.map_or(0, |at| usize::try_from(at.column()).unwrap_or(0)),
            message: in_words(&error.without_snippet().to_string()),
        }
    };
    #[derive(Deserialize)]
    struct Kind {
        kind: Option<String>,
    }
    let kind: Kind = serde_saphyr::from_str(text).map_err(wrong)?;
    if kind.kind.is_some() {
        Ok(serde_saphyr::from_str::<Manifest>(text)
            .map_err(wrong)?
            .spec)
    } else {
        serde_saphyr::from_str(text).map_err(wrong)
    }
}

/// The YAML reader's message, without the place that is told before it and without its own functions.
fn in_words(message: &str) -> String {
    if message.contains("multiple YAML documents") {
        return "a second document begins here; import a file of one".into();
    }
    let first = message.lines().next().unwrap_or_default();
    let is_place = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_digit() || ", column".contains(c))
    };
    let said = match first.rsplit_once(" at line ") {
        Some((said, place)) if is_place(place) => said,
        _ => first,
    };
    plain(said)
}

#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: &str = "SCMP_ARCH_AARCH64";
/// Go's and the kernel's words for this machine.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: [&str; 2] = ["amd64", "x86_64"];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: [&str; 2] = ["arm64", "aarch64"];
