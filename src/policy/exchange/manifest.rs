//! A filter as a `SeccompProfile` of the Security Profiles Operator, which has the runtime-spec's words but
//! for the default errno, and signed 64-bit values.

use serde_json::Value;

use super::seccomp_out::Seccomp;
use super::{Error, yaml};

/// The manifest, YAML with comments on what got lost. `title` is the profile's name, of which the resource's
/// is made.
///
/// # Errors
///
/// [`Error::Meaning`] where a value of a condition is beyond what the resource takes.
pub fn manifest(title: &str, description: &str, seccomp: &Seccomp) -> Result<String, Error> {
    let filter = &seccomp.filter;
    let rules = filter["syscalls"].as_array().map_or(&[][..], Vec::as_slice);
    let mut out = yaml::comment(
        0,
        &format!("Made by `mantlet export` from profile {title}. Not exported:"),
    );
    for note in &seccomp.notes {
        out += &yaml::comment(0, &format!("* {note}"));
    }
    out += "apiVersion: security-profiles-operator.x-k8s.io/v1beta1\nkind: SeccompProfile\n";
    out += &format!("metadata:\n  name: {}\n", yaml::quoted(&resource(title)));
    out += &format!(
        "  annotations:\n    mantlet.dev/profile: {}\n    description: {}\n",
        yaml::quoted(title),
        yaml::quoted(description)
    );
    out += &format!(
        "spec:\n  defaultAction: {}\n  architectures:\n",
        text(&filter["defaultAction"])
    );
    for arch in filter["architectures"].as_array().into_iter().flatten() {
        out += &format!("    - {}\n", text(arch));
    }
    out += "  syscalls:\n";
    for rule in rules {
        out += &format!("    - action: {}\n", text(&rule["action"]));
        if let Some(errno) = rule.get("errnoRet") {
            out += &format!("      errnoRet: {errno}\n");
        }
        out += "      names:\n";
        for name in rule["names"].as_array().into_iter().flatten() {
            out += &format!("        - {}\n", text(name));
        }
        let args = rule["args"].as_array().map_or(&[][..], Vec::as_slice);
        if !args.is_empty() {
            out += "      args:\n";
        }
        for arg in args {
            out += &format!("        - {}\n", argument(title, arg)?);
        }
    }
    Ok(out)
}

fn argument(title: &str, arg: &Value) -> Result<String, Error> {
    let mut parts = vec![
        format!("index: {}", arg["index"]),
        format!("op: {}", text(&arg["op"])),
    ];
    for key in ["value", "valueTwo"] {
        let Some(value) = arg.get(key) else { continue };
        if value
            .as_u64()
            .is_none_or(|value| i64::try_from(value).is_err())
        {
            return Err(Error::Meaning {
                file: title.into(),
                message: format!(
                    "a condition compares with {value}, and a SeccompProfile takes values below 2^63 only: \
                     export oci-seccomp instead"
                ),
            });
        }
        parts.push(format!("{key}: {value}"));
    }
    Ok(format!("{{{}}}", parts.join(", ")))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A name that Kubernetes takes (RFC 1123): lower case, no underscores.
fn resource(title: &str) -> String {
    let lower = title.to_ascii_lowercase().replace('_', "-");
    let trimmed = lower.trim_matches(['-', '.']);
    if trimmed.is_empty() {
        "profile".into()
    } else {
        trimmed.to_owned()
    }
}
