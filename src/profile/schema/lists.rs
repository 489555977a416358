//! Entries of lists: calls, files, ports, devices, limits.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::super::entry::{Call, Capability, Condition, Denied, FileEntry, Port};
use super::super::exec::Interactive;
use super::super::limits::{Bound, Device, Tasks};
use super::super::model::Abi;
use super::{described, words};

described!(
    Capability,
    "Capability",
    json_schema!({
        "description": "A capability, with or without CAP_.",
        "anyOf": [
            {"enum": words::capabilities()},
            {
                "type": "object",
                "properties": {"name": {"enum": words::capabilities()}, "why": words::why()},
                "required": ["name"],
                "additionalProperties": false,
            },
        ],
    })
);

described!(
    Condition,
    "Condition",
    json_schema!({
        "description": "A condition on one argument, unsigned.",
        "type": "object",
        "properties": {
            "index": {"description": "Which argument.", "type": "integer", "minimum": 0, "maximum": 5},
            "op": {
                "description": "How it is compared; `masked`: the bits of `mask` equal `value`.",
                "enum": ["eq", "ne", "lt", "le", "gt", "ge", "masked", "masked-ne"],
            },
            "value": number("With what."),
            "mask": number("Which bits."),
        },
        "required": ["index", "op", "value"],
        "additionalProperties": false,
        "if": {"properties": {"op": {"enum": ["masked", "masked-ne"]}}},
        "then": {"required": ["mask"]},
        "else": {"not": {"required": ["mask"]}},
    })
);

/// What fits a register.
fn number(description: &str) -> Schema {
    json_schema!({
        "description": description,
        "type": "integer",
        "minimum": 0,
        "maximum": u64::MAX,
    })
}

/// A call's two forms. `names` is the schema of a single call's.
fn call(description: &str, names: &Schema) -> Schema {
    let groups = words::call_groups();
    let conditions = json_schema!({
        "description": "All must hold; 12 at most.",
        "type": "array",
        "items": {"$ref": "#/$defs/Condition"},
        "maxItems": 12,
    });
    json_schema!({
        "description": description,
        "anyOf": [
            {"enum": groups},
            names,
            {
                "type": "object",
                "properties": {
                    "name": {"anyOf": [{"enum": groups}, names]},
                    "args": conditions,
                    "errno": words::errno(),
                    "why": words::why(),
                },
                "required": ["name"],
                "additionalProperties": false,
                "if": {"properties": {"name": {"pattern": "^@"}}},
                "then": {"properties": {"args": {"maxItems": 0}}},
            },
        ],
    })
}

impl schemars::JsonSchema for Call {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AllowedCall".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Condition>();
        let any = json_schema!({
            "type": "string",
            "pattern": "^[a-z0-9_]+$",
            "examples": ["openat", "epoll_pwait2", "execve"],
        });
        call(
            "A system call, a group of them, or a call under conditions.",
            &any,
        )
    }
}

impl schemars::JsonSchema for Denied {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DeniedCall".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Condition>();
        let known = json_schema!({"enum": words::calls()});
        call(
            "A system call that exists, a group, or a call under conditions.",
            &known,
        )
    }
}

described!(
    FileEntry,
    "FileEntry",
    json_schema!({
        "description": "A file or directory with everything beneath it, or a symbol that depends on the container.",
        "anyOf": [
            words::place(),
            {
                "type": "object",
                "properties": {
                    "path": words::place(),
                    "optional": {"description": "A missing path is passed over.", "type": "boolean"},
                    "follow": {"description": "Symbolic links in it are followed.", "type": "boolean"},
                    "why": words::why(),
                },
                "required": ["path"],
                "additionalProperties": false,
            },
        ],
    })
);

pub(super) fn port() -> Schema {
    json_schema!({"type": "integer", "minimum": 0, "maximum": 65535})
}

described!(
    Port,
    "Port",
    json_schema!({
        "description": "A TCP port.",
        "anyOf": [
            port(),
            {
                "type": "object",
                "properties": {"port": port(), "why": words::why()},
                "required": ["port"],
                "additionalProperties": false,
            },
        ],
    })
);

described!(
    Device,
    "Device",
    json_schema!({
        "description": "Devices that the engine may give: `@standard`, a path in /dev, or numbers.",
        "anyOf": [
            {"const": "@standard"},
            words::device_path(),
            {
                "type": "object",
                "properties": {"path": {"const": "@standard"}},
                "required": ["path"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": {"path": words::device_path(), "access": words::device_access()},
                "required": ["path"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": {
                    "type": {"description": "c(haracter) or b(lock).", "enum": ["c", "b"]},
                    "major": device_number("Major number; absent: every one."),
                    "minor": device_number("Minor number; absent: every one."),
                    "access": words::device_access(),
                },
                "required": ["type"],
                "dependentRequired": {"minor": ["major"]},
                "additionalProperties": false,
            },
        ],
    })
);

fn device_number(description: &str) -> Schema {
    json_schema!({
        "description": description,
        "type": "integer",
        "minimum": 0,
        "maximum": u32::MAX,
    })
}

described!(
    Bound,
    "Bound",
    json_schema!({
        "description": "An upper bound, in the kernel's units: a number for both limits, or each.",
        "anyOf": [
            number("Of both limits."),
            {
                "type": "object",
                "properties": {
                    "soft": number("Of the soft limit; at most `hard`."),
                    "hard": number("Of the hard limit."),
                },
                "required": ["hard"],
                "additionalProperties": false,
            },
        ],
    })
);

described!(
    Tasks,
    "Tasks",
    json_schema!({"type": "integer", "minimum": 16, "maximum": 1 << 22})
);

described!(
    Abi,
    "Abi",
    json_schema!({"type": "integer", "minimum": 1, "maximum": u32::MAX})
);

described!(
    Interactive,
    "Interactive",
    json_schema!({
        "anyOf": [
            {"enum": ["allow", "deny"]},
            {
                "type": "object",
                "properties": {"profile": words::profile_name()},
                "required": ["profile"],
                "additionalProperties": false,
            },
        ],
    })
);

/// `rlimits`.
pub(in crate::profile) fn rlimits(generator: &mut SchemaGenerator) -> Schema {
    let bound = generator.subschema_for::<Bound>();
    let keys: serde_json::Map<String, serde_json::Value> = words::resources()
        .into_iter()
        .map(|name| (name.to_owned(), bound.clone().to_value()))
        .collect();
    json_schema!({"type": "object", "properties": keys, "additionalProperties": false})
}
