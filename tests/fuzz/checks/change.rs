//! That edits change what they name and nothing else.

use mantlet::oci::patch::Edit;
use serde_json::Value;

/// Compares what was before with what `edits` made of it.
pub fn only(edits: &[Edit], before: &Value, after: &Value) {
    let pointers: Vec<&str> = edits.iter().map(pointer).collect();
    compare(&pointers, "", before, after);
}

fn pointer(edit: &Edit) -> &str {
    match edit {
        Edit::Set { pointer, .. } | Edit::Remove { pointer } => pointer,
    }
}

fn compare(pointers: &[&str], here: &str, before: &Value, after: &Value) {
    if pointers.contains(&here) {
        return;
    }
    let below = format!("{here}/");
    if !pointers.iter().any(|pointer| pointer.starts_with(&below)) {
        assert!(
            before == after,
            "{here:?} was changed: {before} became {after}"
        );
        return;
    }
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let there = format!("{below}{}", key.replace('~', "~0").replace('/', "~1"));
                match after.get(key) {
                    Some(now) => compare(pointers, &there, value, now),
                    None => assert!(pointers.contains(&there.as_str()), "{there:?} is gone"),
                }
            }
            let kept = after.keys().filter(|key| before.contains_key(*key));
            let stays = before.keys().filter(|key| after.contains_key(*key));
            assert!(kept.eq(stays), "the order of keys below {here:?}");
        }
        // Elements may be taken out; those that stay keep their order.
        (Value::Array(before), Value::Array(after)) => {
            let touched = pointers.iter().filter(|p| p.starts_with(&below)).count();
            let lost = before
                .iter()
                .filter(|element| !after.contains(element))
                .count();
            assert!(lost <= touched, "{lost} elements of {here:?} are gone");
        }
        (Value::Null, _) => {}
        (before, after) => assert_eq!(before, after, "{here:?}"),
    }
}
