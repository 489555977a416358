//! Rules: what a container must not be, what is watched for, what an author expects.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::super::admission::{self, Held, HostPath, WORDS};
use super::super::detection;
use super::super::expectation::Expectation;
use super::super::lint::CODES;
use super::super::programs::Program;
use super::super::remarks::Ignored;
use super::{lists, words};
use crate::detect::{MOST_AFTER, Sensor};

/// Numbers with their units, as humantime reads them; weeks and more are out of range.
const TIME: &str = r"^\s*([0-9][0-9\s]*(\.[0-9]+\s*)?(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d)\s*)+$";

impl schemars::JsonSchema for admission::Entry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Refusal".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let single: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
        let list = |items: Value, description: &str| json!({"description": description, "type": "array", "items": items, "minItems": 1});
        let held = generator.subschema_for::<Held>().to_value();
        let path = generator.subschema_for::<HostPath>().to_value();
        json_schema!({
            "description": "A kind of container that is not created.",
            "anyOf": [
                {"enum": single},
                {
                    "type": "object",
                    "properties": {
                        "missing-limit": list(
                            json!({"enum": ["memory", "cpu", "pids"]}),
                            "Containers without such a limit of their own.",
                        ),
                        "capability": list(held, "Containers that hold one of them."),
                        "host-path": list(path, "Containers with a mount of what a glob names."),
                    },
                    "minProperties": 1,
                    "additionalProperties": false,
                },
            ],
        })
    }
}

/// `then`, unless `on` is one of `sensors`.
fn only(sensors: &[&str], then: &Value) -> Value {
    json!({"if": {"properties": {"on": {"enum": sensors}}}, "else": then})
}

/// A key that must not be there.
fn without(key: &str) -> Value {
    json!({"not": {"required": [key]}})
}

impl schemars::JsonSchema for detection::Entry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Detection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = Sensor::ALL.iter().map(|sensor| sensor.word()).collect();
        let that = |fits: fn(&Sensor) -> bool| -> Vec<&str> {
            let fitting = Sensor::ALL.iter().filter(|sensor| fits(sensor));
            fitting.map(|sensor| sensor.word()).collect()
        };
        let program = generator.subschema_for::<Program>().to_value();
        let list = |items: &Value, description: &str| {
            json!({
                "description": description, "type": "array", "items": items,
                "minItems": 1, "maxItems": detection::MOST_ENTRIES,
            })
        };
        let names = [words::call_groups(), owned(words::calls())].concat();
        let calls = json!({"enum": names});
        let time = |description: &str| {
            json!({
                "description": description, "type": "string", "pattern": TIME,
                "examples": ["10s", "5m", "1h"],
            })
        };
        json_schema!({
            "description": "What is watched for, and what is done about it.",
            "type": "object",
            "properties": {
                "name": {
                    "description": "What events call the rule.",
                    "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$", "examples": ["shells"],
                },
                "on": {"description": "The sensor.", "enum": words},
                "calls": list(&calls, "`tripwire` only: which calls; absent: all tripwires."),
                "programs": list(&program, "`exec` and `reverse-shell` only: which programs."),
                "above": {
                    "description": "`process-count` only: more tasks than this.",
                    "type": "integer", "minimum": 1, "maximum": detection::MOST_TASKS - 1,
                },
                "unless": list(&program, "Programs that are excepted."),
                "respond": {
                    "description": "What is done, each with the event.",
                    "enum": ["log", "deny", "kill-process", "kill-container", "freeze"],
                },
                "after": {
                    "description": "From how many times on `respond` is due.",
                    "type": "integer", "minimum": 1, "maximum": MOST_AFTER,
                },
                "within": time("The time in which they count, 24h at most."),
                "for": time("`respond: freeze` only: how long, 24h at most."),
                "then": {"description": "`respond: freeze` only: what then.", "enum": ["kill", "thaw"]},
                "severity": {
                    "description": "For whoever reads the events.",
                    "enum": ["info", "notice", "warning", "critical"],
                },
                "tags": {
                    "description": "For whoever reads the events; ids of MITRE ATT&CK by default.",
                    "type": "array", "maxItems": detection::MOST_TAGS,
                    "items": {
                        "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$",
                        "examples": ["T1611"],
                    },
                },
                "why": words::why(),
            },
            "required": ["on"],
            "additionalProperties": false,
            "allOf": [
                only(&["tripwire"], &without("calls")),
                only(&["exec", "reverse-shell"], &without("programs")),
                only(&["process-count"], &without("above")),
                only(&that(|sensor| sensor.has_process()), &without("unless")),
                only(
                    &that(|sensor| sensor.can_deny()),
                    &json!({"properties": {"respond": {"not": {"const": "deny"}}}}),
                ),
                only(
                    &that(|sensor| sensor.has_process() && *sensor != Sensor::Exit),
                    &json!({"properties": {"respond": {"not": {"const": "kill-process"}}}}),
                ),
                {
                    "if": {"required": ["within"]},
                    "then": {"required": ["after"], "properties": {"after": {"minimum": 2}}},
                },
                {
                    "if": {"anyOf": [{"required": ["for"]}, {"required": ["then"]}]},
                    "then": {
                        "required": ["respond"], "properties": {"respond": {"const": "freeze"}},
                    },
                },
            ],
        })
    }
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

impl schemars::JsonSchema for Expectation {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expectation".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let accesses = json!({"enum": ["read", "write", "execute", "create", "delete"]});
        let path = json!({
            "type": "string", "pattern": r"^(?!(.*/)?\.\.?(/|$))/[^*\u0000]*$",
            "examples": ["/etc/shadow", "/bin/sh"],
        });
        let deed = |keys: Value, required: &[&str]| {
            let mut properties = keys.as_object().cloned().unwrap_or_default();
            let outcome =
                json!({"description": "How it should come out.", "enum": ["allowed", "denied"]});
            properties.insert("expect".into(), outcome);
            properties.insert("why".into(), words::why().to_value());
            let required = [&["expect"], required].concat();
            json!({
                "type": "object", "properties": properties,
                "required": required, "additionalProperties": false,
            })
        };
        let args = json!({
            "description": "From the first on; absent: whatever they are.", "type": "array",
            "items": {"type": "integer", "minimum": i64::MIN, "maximum": u64::MAX}, "maxItems": 6,
        });
        json_schema!({
            "description": "What the author expects of the profile, one thing.",
            "anyOf": [
                deed(json!({"syscall": {"enum": words::calls()}, "args": args}), &["syscall"]),
                deed(
                    json!({
                        "path": path,
                        "access": {"anyOf": [
                            accesses,
                            {"type": "array", "items": accesses, "minItems": 1},
                        ]},
                    }),
                    &["path", "access"],
                ),
                deed(json!({"exec": path}), &["exec"]),
                deed(json!({"bind": lists::port()}), &["bind"]),
                deed(json!({"connect": lists::port()}), &["connect"]),
                deed(json!({"capability": {"enum": words::capabilities()}}), &["capability"]),
            ],
        })
    }
}

impl schemars::JsonSchema for Ignored {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ignored".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes = CODES.iter().skip(1);
        let codes: Vec<Value> = codes
            .map(|code| json!({"const": code.id, "description": code.title}))
            .collect();
        json_schema!({
            "type": "object",
            "properties": {
                "code": {"description": "The code of the finding.", "oneOf": codes},
                "why": words::why(),
            },
            "required": ["code", "why"],
            "additionalProperties": false,
        })
    }
}
