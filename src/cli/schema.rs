//! `mantlet schema`: JSON Schemas of what other programs read, made from the types that write it.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::Value;

use super::{CliError, print_json};
use crate::event::Event;
use crate::profile;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of what
    #[arg(value_name = "OF", value_enum)]
    of: Of,
}

/// What there is a schema of.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Of {
    /// One line of a journal, as `mantlet events --json` prints it
    Event,
    /// A profile file
    Profile,
}

/// Prints one schema (draft 2020-12).
pub fn schema(args: &Args) -> Result<ExitCode, CliError> {
    match args.of {
        Of::Event => print_json(&event())?,
        Of::Profile => print_json(&profile::schema())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What a reader looks for first, then the rest in the order of the type.
fn event() -> Value {
    let made = schemars::schema_for!(Event).to_value();
    let mut schema = serde_json::Map::new();
    for key in ["$schema", "title", "description"] {
        schema.extend(made.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    for (key, value) in made.as_object().into_iter().flatten() {
        schema.entry(key).or_insert_with(|| value.clone());
    }
    Value::Object(schema)
}
