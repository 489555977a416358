//! The JSON Schema of a profile file, for editors and for programs that write profiles. It is made from
//! the types that read one; what they read by hand is described by hand here, and tests hold the
//! schema against the reader in both directions.
//!
//! Stricter than the schema is the reader where a rule is about two numbers (`value` within `mask`, `soft`
//! up to `hard`), about several files (`extends`), or about the profile as a whole.

mod lists;
mod rules;
mod words;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::model::Document;
use super::origin::At;

/// The schema (draft 2020-12), what a reader looks for first in front.
#[must_use]
pub fn schema() -> Value {
    let made = schemars::schema_for!(Document).to_value();
    let mut schema = serde_json::Map::new();
    for key in ["$schema", "title", "description"] {
        schema.extend(made.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    for (key, value) in made.as_object().into_iter().flatten() {
        schema.entry(key).or_insert_with(|| value.clone());
    }
    // What records has nothing to enforce.
    let learns = json!({"required": ["mode"], "properties": {"mode": {"const": "learn"}}});
    let absent: serde_json::Map<String, Value> = Document::ENFORCED
        .into_iter()
        .map(|key| (key.to_owned(), Value::Bool(false)))
        .collect();
    schema.insert("if".into(), learns);
    schema.insert("then".into(), json!({"properties": absent}));
    Value::Object(schema)
}

/// A place changes nothing about a value.
impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Describes a type by hand.
macro_rules! described {
    ($type:ty, $name:literal, $schema:expr) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    };
}
use described;

pub(super) fn version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": super::model::VERSION})
}

pub(super) fn data_version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": super::groups::VERSIONS})
}

pub(super) use lists::rlimits;

pub(super) fn name(_: &mut SchemaGenerator) -> Schema {
    words::profile_name()
}

pub(super) fn names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": words::profile_name()})
}
