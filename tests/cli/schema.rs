//! `schema event`: the committed schema is the one that is printed (bless with `MANTLET_BLESS=1 cargo
//! test --test cli schema`), and it takes exactly what a reader takes.

use std::fs;
use std::path::{Path, PathBuf};

use mantlet::event::{Event, What};
use serde_json::{Value, json};

use super::node::{Node, event, start, tripwire};
use super::{code, out};

fn top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn schema() -> Value {
    let printed = Node::new().run(&["schema", "event"]);
    code(&printed, 0);
    serde_json::from_slice(&printed.stdout).unwrap()
}

/// The examples of the documentation, one for each kind (tests/docs.rs sees to that).
fn documented() -> Vec<Value> {
    let page = fs::read_to_string(top("src/cli/README.md")).unwrap();
    let (_, block) = page.split_once("\n```json event\n").unwrap();
    let (block, _) = block.split_once("\n```").unwrap();
    let lines = block.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[test]
fn the_committed_schema_is_the_one_that_is_printed() {
    let printed = out(&Node::new().run(&["schema", "event"]));
    let path = top("src/cli/event.schema.json");
    if std::env::var_os("MANTLET_BLESS").is_some() {
        fs::write(&path, &printed).unwrap();
    }
    let committed = fs::read_to_string(&path).expect("bless with MANTLET_BLESS=1");
    assert!(
        printed == committed,
        "the schema has changed; see `MANTLET_BLESS=1 cargo test --test cli schema` and git diff"
    );
}

#[test]
fn the_committed_schema_of_profiles_is_the_one_that_is_printed() {
    let printed = out(&Node::new().run(&["schema", "profile"]));
    let path = top("src/cli/profile.schema.json");
    if std::env::var_os("MANTLET_BLESS").is_some() {
        fs::write(&path, &printed).unwrap();
    }
    let committed = fs::read_to_string(&path).expect("bless with MANTLET_BLESS=1");
    assert!(
        printed == committed,
        "the schema has changed; see `MANTLET_BLESS=1 cargo test --test cli schema` and git diff"
    );
}

#[test]
fn events_of_every_kind_are_valid_and_older_ones_too() {
    let schema = schema();
    let mut all = documented();
    assert!(all.len() > 10);
    let made = [
        start(),
        tripwire("/tmp/\u{1b}[2J\n\u{202e}"),
        What::End {
            tripwires: u64::MAX,
            observed: None,
        },
    ];
    all.extend(made.map(|what| json!(event("c1", 1, what))));
    // Version 1 had neither `policy` nor `ancestors`.
    let mut older = json!(event("c1", 1, tripwire("/a")));
    older["version"] = json!(1);
    all.push(older);
    for value in all {
        if let Err(problem) = check(&schema, &schema, &value) {
            panic!("{problem}\n{value}");
        }
    }
}

#[test]
fn schema_and_reader_take_and_refuse_the_same() {
    let schema = schema();
    let mut refused = 0;
    for example in documented() {
        for broken in mutations(&example) {
            let read = serde_json::from_value::<Event>(broken.clone()).map(drop);
            let valid = check(&schema, &schema, &broken);
            refused += usize::from(valid.is_err());
            assert_eq!(
                read.is_ok(),
                valid.is_ok(),
                "reader: {read:?}; schema: {valid:?}\n{broken}"
            );
        }
    }
    assert!(refused > 500, "only {refused} were refused");
}

/// The value with one thing taken away or replaced, at every place.
fn mutations(value: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = [json!(null), json!({}), json!("x"), json!(-1), json!(1.5)].into();
    match value {
        Value::Object(map) => {
            for (key, inside) in map {
                let with = |change: Option<Value>| {
                    let mut map = map.clone();
                    match change {
                        Some(change) => map.insert(key.clone(), change),
                        None => map.shift_remove(key),
                    };
                    Value::Object(map)
                };
                all.push(with(None));
                all.extend(
                    mutations(inside)
                        .into_iter()
                        .map(|change| with(Some(change))),
                );
            }
        }
        Value::Array(list) => {
            for place in 0..list.len() {
                for change in mutations(&list[place]) {
                    let mut list = list.clone();
                    list[place] = change;
                    all.push(Value::Array(list));
                }
            }
        }
        _ => {}
    }
    all
}

/// Validates by those keywords of JSON Schema that schemars uses for our types. One that it does not
/// know ends the test, so that no condition is passed over.
fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{value} is not {what}: {schema}"));
    for (keyword, wants) in schema.as_object().expect("a schema") {
        let list = || wants.as_array().expect("a list").iter();
        let good = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "$defs" => true,
            "type" if wants.is_array() => list().any(|one| is_a(one, value)),
            "type" => is_a(wants, value),
            "const" => value == wants,
            "minimum" => value
                .as_i64()
                .is_none_or(|number| number >= wants.as_i64().unwrap()),
            "maximum" => value
                .as_i64()
                .is_none_or(|number| number <= wants.as_i64().unwrap()),
            "format" => fits(wants.as_str().unwrap(), value),
            "required" => list().all(|key| {
                let object = value.as_object();
                object.is_none_or(|object| object.contains_key(key.as_str().unwrap()))
            }),
            "properties" => {
                for (key, inside) in value.as_object().into_iter().flatten() {
                    if let Some(part) = wants.get(key) {
                        check(root, part, inside)?;
                    }
                }
                true
            }
            "items" => {
                for inside in value.as_array().into_iter().flatten() {
                    check(root, wants, inside)?;
                }
                true
            }
            "$ref" => {
                let name = wants.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                check(root, &root["$defs"][name], value)?;
                true
            }
            "anyOf" => list().any(|one| check(root, one, value).is_ok()),
            "oneOf" => list().filter(|one| check(root, one, value).is_ok()).count() == 1,
            other => panic!("the schema uses `{other}`, which this test does not know"),
        };
        if !good {
            return fail(keyword);
        }
    }
    Ok(())
}

fn is_a(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("no type of JSON that we write: {other}"),
    }
}

/// Rust's integers, as schemars notes them; other readers may pass this keyword over.
fn fits(format: &str, value: &Value) -> bool {
    let Some(number) = value.as_i64() else {
        return true;
    };
    match format {
        "uint8" => u8::try_from(number).is_ok(),
        "uint16" => u16::try_from(number).is_ok(),
        "uint32" => u32::try_from(number).is_ok(),
        "int32" => i32::try_from(number).is_ok(),
        "uint64" => number >= 0,
        "int64" => true,
        other => panic!("the schema uses the format {other}, which this test does not know"),
    }
}
