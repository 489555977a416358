//! Changes to a JSON value by RFC 6901 pointer: keys keep their order, everything else its bytes.

use serde_json::{Map, Value};

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Puts `value` at `pointer`. Objects that are absent on the way (or `null`) are made; `-` or
    /// the length as the last step appends to an array.
    Set {
        /// RFC 6901 pointer.
        pointer: String,
        /// What to put there.
        value: Value,
    },
    /// Takes away what is at `pointer`; nothing there is no error, so that twice equals once.
    Remove {
        /// RFC 6901 pointer; not the whole document.
        pointer: String,
    },
}

/// Why an edit cannot be applied. The value is then left half edited: drop it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// Not empty and not starting with `/`, a `~` that is no escape, or the whole document to
    /// remove.
    #[error(
        "cannot edit JSON at {pointer:?}: no such form of pointer; write RFC 6901, such as /process/args/0"
    )]
    Pointer {
        /// The pointer.
        pointer: String,
    },
    /// A step leads into a value that is neither object nor array.
    #[error(
        "cannot edit JSON at {pointer:?}: {step:?} leads into {found}; the file has another form than its schema says, correct it"
    )]
    NotAContainer {
        /// The pointer.
        pointer: String,
        /// The step that failed.
        step: String,
        /// What is there.
        found: &'static str,
    },
    /// A step into an array is no index, or lies behind its end.
    #[error(
        "cannot edit JSON at {pointer:?}: the array has no element {step:?}; correct the index"
    )]
    Index {
        /// The pointer.
        pointer: String,
        /// The step that failed.
        step: String,
    },
}

/// Applies `edits` in order.
///
/// # Errors
///
/// The first edit that cannot be applied; see [`PatchError`].
pub fn apply(value: &mut Value, edits: &[Edit]) -> Result<(), PatchError> {
    for edit in edits {
        match edit {
            Edit::Set {
                pointer,
                value: new,
            } => set(value, pointer, new.clone())?,
            Edit::Remove { pointer } => remove(value, pointer)?,
        }
    }
    Ok(())
}

/// The steps of a pointer, unescaped.
fn steps(pointer: &str) -> Result<Vec<String>, PatchError> {
    let malformed = || PatchError::Pointer {
        pointer: pointer.to_owned(),
    };
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest = pointer.strip_prefix('/').ok_or_else(malformed)?;
    rest.split('/')
        .map(|step| unescape(step).ok_or_else(malformed))
        .collect()
}

fn unescape(step: &str) -> Option<String> {
    let mut plain = String::with_capacity(step.len());
    let mut chars = step.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

fn set(mut at: &mut Value, pointer: &str, new: Value) -> Result<(), PatchError> {
    for step in steps(pointer)? {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        at = match at {
            Value::Object(map) => map.entry(step).or_insert(Value::Null),
            Value::Array(list) => {
                if step == "-" || index(&step) == Some(list.len()) {
                    list.push(Value::Null);
                }
                let last = list.len().wrapping_sub(1);
                let index = if step == "-" {
                    Some(last)
                } else {
                    index(&step)
                };
                index
                    .and_then(|index| list.get_mut(index))
                    .ok_or_else(|| PatchError::Index {
                        pointer: pointer.to_owned(),
                        step: step.clone(),
                    })?
            }
            other => return Err(not_a_container(pointer, step, other)),
        };
    }
    *at = new;
    Ok(())
}

fn remove(mut at: &mut Value, pointer: &str) -> Result<(), PatchError> {
    let mut steps = steps(pointer)?;
    let last = steps.pop().ok_or_else(|| PatchError::Pointer {
        pointer: pointer.to_owned(),
    })?;
    for step in steps {
        let next = match at {
            Value::Object(map) => map.get_mut(&step),
            Value::Array(list) => index(&step).and_then(|index| list.get_mut(index)),
            Value::Null => None,
            other => return Err(not_a_container(pointer, step, other)),
        };
        let Some(next) = next else { return Ok(()) };
        at = next;
    }
    match at {
        Value::Object(map) => {
            map.shift_remove(&last);
        }
        Value::Array(list) => {
            if let Some(index) = index(&last).filter(|index| *index < list.len()) {
                list.remove(index);
            }
        }
        Value::Null => {}
        other => return Err(not_a_container(pointer, last, other)),
    }
    Ok(())
}

/// An array index as RFC 6901 writes it: decimal, no leading zero.
fn index(step: &str) -> Option<usize> {
    let plain =
        step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { step.parse().ok() } else { None }
}

fn not_a_container(pointer: &str, step: String, found: &Value) -> PatchError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    PatchError::NotAContainer {
        pointer: pointer.to_owned(),
        step,
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set_edit(pointer: &str, value: Value) -> Edit {
        Edit::Set {
            pointer: pointer.into(),
            value,
        }
    }

    fn remove_edit(pointer: &str) -> Edit {
        Edit::Remove {
            pointer: pointer.into(),
        }
    }

    #[test]
    fn setting_keeps_the_order_of_keys() {
        let mut value = json!({"z": 1, "process": {"y": 1, "args": ["a"], "b": 2}, "a": 3});
        let edits = [
            set_edit("/process/args/0", json!("x")),
            set_edit("/process/new/deep", json!(true)),
        ];
        apply(&mut value, &edits).unwrap();
        let want = r#"{"z":1,"process":{"y":1,"args":["x"],"b":2,"new":{"deep":true}},"a":3}"#;
        assert_eq!(value.to_string(), want);
    }

    #[test]
    fn removing_keeps_the_order_of_the_rest() {
        let mut value = json!({"a": 1, "b": 2, "c": 3, "d": [1, 2, 3]});
        apply(
            &mut value,
            &[
                remove_edit("/a"),
                remove_edit("/d/1"),
                remove_edit("/nothing/here"),
            ],
        )
        .unwrap();
        assert_eq!(value.to_string(), r#"{"b":2,"c":3,"d":[1,3]}"#);
    }

    #[test]
    fn twice_equals_once_for_objects() {
        let edits = [set_edit("/a/b", json!([1])), remove_edit("/c")];
        let mut once = json!({"c": 1, "a": null});
        apply(&mut once, &edits).unwrap();
        let mut twice = once.clone();
        apply(&mut twice, &edits).unwrap();
        assert_eq!(once, twice);
    }

    #[test]
    fn arrays_grow_at_their_end_only() {
        let mut value = json!({"l": []});
        apply(
            &mut value,
            &[set_edit("/l/-", json!(1)), set_edit("/l/1", json!(2))],
        )
        .unwrap();
        assert_eq!(value, json!({"l": [1, 2]}));
        let error = apply(&mut value, &[set_edit("/l/7", json!(1))]).unwrap_err();
        assert_eq!(
            error,
            PatchError::Index {
                pointer: "/l/7".into(),
                step: "7".into()
            }
        );
        assert!(apply(&mut value, &[set_edit("/l/01", json!(1))]).is_err());
    }

    #[test]
    fn escapes_and_the_whole_document() {
        let mut value = json!({"a/b": {"c~d": 1}});
        apply(&mut value, &[set_edit("/a~1b/c~0d", json!(2))]).unwrap();
        assert_eq!(value, json!({"a/b": {"c~d": 2}}));
        apply(&mut value, &[set_edit("", json!(7))]).unwrap();
        assert_eq!(value, json!(7));
        for pointer in ["a", "/~2", "/~"] {
            assert!(matches!(
                apply(&mut json!({}), &[set_edit(pointer, json!(1))]),
                Err(PatchError::Pointer { .. })
            ));
        }
        assert!(apply(&mut value, &[remove_edit("")]).is_err());
    }

    #[test]
    fn a_step_into_a_scalar_is_told() {
        let mut value = json!({"process": "no"});
        let error = apply(&mut value, &[set_edit("/process/args", json!([]))]).unwrap_err();
        assert!(
            error.to_string().contains("\"args\" leads into a string"),
            "{error}"
        );
        assert!(apply(&mut value, &[remove_edit("/process/args/0")]).is_err());
    }
}
