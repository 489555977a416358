//! The YAML reader's errors, in this language's words.

use std::sync::Arc;

use serde_saphyr::Error as Yaml;

use super::super::origin::{Origin, Source};
use super::{Error, Problem, closest};

impl Error {
    /// Turns the YAML reader's error into ours.
    pub(in crate::profile) fn from_yaml(source: &Arc<Source>, error: &Yaml) -> Error {
        let mut origin = error.location().map_or_else(Origin::default, Origin::new);
        origin.set_source(source);
        let error = error.without_snippet();
        let message = message(error);
        if is_syntax(error) {
            return Error::at(&origin, Problem::Syntax(message));
        }
        if let Some(word) = named(&message) {
            origin.narrow(word);
        }
        Error::at(&origin, Problem::Text(message))
    }
}

fn message(error: &Yaml) -> String {
    match error {
        Yaml::SerdeUnknownField {
            field, expected, ..
        } => {
            let hint = closest(field, expected.iter().copied());
            format!("unknown key `{field}`{hint}")
        }
        Yaml::SerdeUnknownVariant {
            variant, expected, ..
        } => {
            let hint = closest(variant, expected.iter().copied());
            format!("unknown value `{variant}`{hint}")
        }
        Yaml::SerdeMissingField { field, .. } => format!("`{field}` is missing\nadd it here"),
        Yaml::SerdeInvalidType {
            unexpected,
            expected,
            ..
        } => {
            format!("found {unexpected} where {expected} belongs")
        }
        Yaml::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            format!("key `{key}` appears twice\nkeep one")
        }
        Yaml::Message { msg, .. } => msg.clone(),
        Yaml::Eof { .. } => "the file ends before it has said anything\nwrite `version: 1` and `name`".into(),
        Yaml::Unexpected { expected, .. } => match *expected {
            "sequence start" => {
                "a list belongs here\nwrite [one, two], or each entry on a line that begins with `- `".into()
            }
            "mapping start" => "keys belong here, each with its value\nwrite {key: value}, or lines below".into(),
            "string scalar" => "text belongs here".into(),
            other => format!("{other} belongs here"),
        },
        Yaml::InvalidScalar { ty, .. } => match *ty {
            "u16" | "u32" | "u64" => "a whole number from 0 on belongs here".into(),
            "boolean" | "bool" => "true or false belongs here".into(),
            other => format!("{other} belongs here"),
        },
        other => without_place(&other.to_string()),
    }
}

/// The first line, without the place that [`Origin`] has.
fn without_place(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let what = match line.rsplit_once(" at line ") {
        Some((what, place)) if place.contains(", column ") => what,
        _ => line,
    };
    let help =
        if what.contains("illegal placement of ':'") || what.contains("did not find expected") {
            "\nlook for a bracket, a brace or a quote before it that is not closed"
        } else if what.contains("tab") {
            "\nindent by spaces"
        } else {
            ""
        };
    format!("{what}{help}")
}

/// Whether the text is no YAML at all: nothing behind the error means what it says.
fn is_syntax(error: &Yaml) -> bool {
    !matches!(
        error,
        Yaml::Message { .. }
            | Yaml::Unexpected { .. }
            | Yaml::SerdeUnknownField { .. }
            | Yaml::SerdeUnknownVariant { .. }
            | Yaml::SerdeMissingField { .. }
            | Yaml::SerdeInvalidType { .. }
            | Yaml::SerdeInvalidValue { .. }
            | Yaml::InvalidScalar { .. }
    )
}

/// The first word between backticks of what is wrong, which is mostly the very word of the file.
fn named(message: &str) -> Option<&str> {
    let what = message.lines().next()?;
    let between = |mark| {
        let (_, rest) = what.split_once(mark)?;
        Some(rest.split_once(mark)?.0)
    };
    between('`').or_else(|| between('"'))
}
