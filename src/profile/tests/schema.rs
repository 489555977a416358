//! The schema and the reader agree, in both directions: what is right is right for both, what the schema
//! lets through can be read, and what is wrong and can be said in a schema is wrong there too.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::wrong::wrong_profiles;
use crate::profile::{Document, schema};

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

fn value(text: &str) -> Option<Value> {
    serde_saphyr::from_str(text).ok()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Profiles that ship, and those of the documentation.
pub(super) fn right_profiles() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(top().join("profiles")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            all.push((
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    for page in ["README.md", "profiles/README.md"] {
        let text = fs::read_to_string(top().join(page)).unwrap();
        let blocks = text.split("```yaml profile\n").skip(1);
        let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
        all.extend(blocks.map(|block| (page.to_owned(), block)));
    }
    assert!(all.len() > 6);
    all
}

#[test]
fn a_profile_that_can_be_read_is_valid_under_the_schema() {
    let validator = validator();
    for (name, text) in right_profiles() {
        Document::parse(&name, &text).unwrap();
        let value = value(&text).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

/// Wrong profiles that a schema cannot tell, and why.
const BEYOND: [(&str, &str); 2] = [
    ("condition-that-never-holds", "two numbers that do not fit"),
    ("rlimit-soft-above-hard", "two numbers that do not fit"),
];

#[test]
fn a_profile_that_the_reader_refuses_is_refused_by_the_schema_as_far_as_it_can_tell() {
    let validator = validator();
    let mut refused = 0;
    for (name, text) in wrong_profiles() {
        let beyond = BEYOND.iter().any(|(known, _)| *known == name);
        let Some(value) = value(&text) else { continue };
        // What is wrong with several files together, no schema of one can tell.
        let alone = Document::parse(&name, &text).is_err();
        assert_eq!(
            validator.is_valid(&value) && alone,
            beyond,
            "{name}: schema and reader differ"
        );
        refused += usize::from(!validator.is_valid(&value));
    }
    assert!(
        refused > 50,
        "only {refused} wrong profiles are told by the schema"
    );
}

/// Makes documents out of the schema.
struct Maker {
    root: Value,
    seed: u64,
    definitions: Map<String, Value>,
}

impl Maker {
    fn new(seed: u64) -> Maker {
        let root = schema();
        let definitions = root["$defs"].as_object().unwrap().clone();
        Maker {
            root,
            seed,
            definitions,
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        usize::try_from(self.seed % limit as u64).unwrap()
    }

    fn pick(&mut self, list: &Value) -> Value {
        let list = list.as_array().unwrap();
        list[self.below(list.len())].clone()
    }

    fn make(&mut self, schema: &Value) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.strip_prefix("#/$defs/").unwrap();
            let definition = self.definitions[name].clone();
            let whole = json!({"$ref": format!("#/$defs/{name}"), "$defs": self.definitions});
            let validator = jsonschema::validator_for(&whole).unwrap();
            // Keys that depend on each other come out right by luck.
            for _ in 0..1000 {
                let made = self.make(&definition);
                if validator.is_valid(&made) {
                    return fitting(made);
                }
            }
            panic!("nothing fits {name}");
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        for list in ["enum", "examples"] {
            if schema.get(list).is_some() {
                return self.pick(&schema[list]);
            }
        }
        for list in ["anyOf", "oneOf"] {
            if schema.get(list).is_some() {
                let one = self.pick(&schema[list]);
                return self.make(&one);
            }
        }
        let kind = match &schema["type"] {
            Value::Array(_) => self.pick(&schema["type"]),
            one => one.clone(),
        };
        match kind.as_str() {
            Some("null") => Value::Null,
            Some("boolean") => Value::Bool(self.below(2) == 0),
            Some("string") => Value::String("text".into()),
            Some("integer") => {
                let least = schema["minimum"].as_i64().unwrap_or(0).max(-5);
                json!(least + i64::try_from(self.below(9)).unwrap())
            }
            Some("array") => {
                let least = schema["minItems"].as_u64().unwrap_or(0);
                let many = usize::try_from(least).unwrap() + self.below(3);
                let items = schema["items"].clone();
                Value::Array((0..many).map(|_| self.make(&items)).collect())
            }
            Some("object") => self.object(schema),
            other => panic!("{other:?} in {schema}"),
        }
    }

    fn object(&mut self, schema: &Value) -> Value {
        let required: Vec<&str> = match &schema["required"] {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut object = Map::new();
        for (key, part) in schema["properties"].as_object().unwrap() {
            if required.contains(&key.as_str()) || self.below(4) == 0 {
                object.insert(key.clone(), self.make(part));
            }
        }
        Value::Object(object)
    }
}

/// What no schema can say: `value` within `mask`, `soft` up to `hard`.
fn fitting(mut made: Value) -> Value {
    if let (Some(value), Some(mask)) = (made["value"].as_u64(), made["mask"].as_u64()) {
        made["value"] = json!(value & mask);
    }
    if let (Some(soft), Some(hard)) = (made["soft"].as_u64(), made["hard"].as_u64()) {
        made["soft"] = json!(soft.min(hard));
    }
    made
}

#[test]
fn what_the_schema_lets_through_can_be_read() {
    let validator = validator();
    let mut maker = Maker::new(0x6d61_6e74_6c65_7421);
    let root = maker.root.clone();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..150 {
        let mut made = maker.object(&root);
        // Most of what records would list something to enforce too.
        while !validator.is_valid(&made) {
            assert_eq!(made["mode"], "learn", "{made}");
            made = maker.object(&root);
        }
        let text = serde_json::to_string(&made).unwrap();
        if let Err(error) = Document::parse("made.yaml", &text) {
            panic!("round {round}: {error}\n{text}");
        }
        seen.extend(made.as_object().unwrap().keys().cloned());
        // And what it lets through is no accident: an unknown key is refused by both.
        let mut wrong = made;
        wrong["filse"] = json!({});
        assert!(!validator.is_valid(&wrong));
        assert!(Document::parse("made.yaml", &wrong.to_string()).is_err());
    }
    let keys = root["properties"].as_object().unwrap().keys();
    for key in keys {
        assert!(seen.contains(key), "no document had `{key}`");
    }
}

#[test]
fn every_key_of_the_schema_is_described_and_strict() {
    fn look(path: &str, schema: &Value) {
        let Some(object) = schema.as_object() else {
            return;
        };
        if let Some(Value::Object(properties)) = object.get("properties") {
            // Conditions of `if` and `then` name properties too, and describe none.
            if object.get("type") == Some(&json!("object")) {
                assert_eq!(
                    object.get("additionalProperties"),
                    Some(&json!(false)),
                    "{path}"
                );
                for (key, part) in properties {
                    let said = part.get("description").is_some() || part.get("$ref").is_some();
                    let plain = ["name", "path", "port", "profile"].contains(&key.as_str())
                        || path.contains("Expectation");
                    assert!(said || plain, "{path}.{key} has no description");
                }
            }
        }
        for (key, part) in object {
            look(&format!("{path}/{key}"), part);
        }
    }
    look("", &schema());
}
