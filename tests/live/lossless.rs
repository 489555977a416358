//! What mantlet does not change reaches the runtime as the engine wrote it, byte for byte, and
//! rewriting twice equals rewriting once.

use serde_json::{Map, Value, json};

use crate::harness::{Bundle, HANDLERS, World, eventually};

/// What the plan decides about: all else is the engine's.
const OURS: [&str; 11] = [
    "/process/args",
    "/process/noNewPrivileges",
    "/process/capabilities/bounding",
    "/process/capabilities/effective",
    "/process/capabilities/inheritable",
    "/process/capabilities/permitted",
    "/process/capabilities/ambient",
    "/process/rlimits",
    "/linux/maskedPaths",
    "/linux/readonlyPaths",
    "/linux/seccomp",
];

/// Objects whose keys are names of things, where an unknown one would mean something.
const NAMES: [&str; 3] = ["annotations", "sysctl", "unified"];

/// Values that a careless reader loses: digits beyond a double's, a negative zero, a trailing zero,
/// an exponent, equal numbers of other forms, text that looks like something else.
const ODD: &str = r#"{"~ tail":1.10,"Ünïcode \u0000x41":"\ud83d\ude00","big":123456789012345678901234567890,
    "tiny":1e-400,"minus":-0,"zero":-0.0,"null":null,"nested":{"b":[[],{},[{"a":18446744073709551616}]],"a":""},
    "":"empty key","true":"false"}"#;

/// Puts an object of odd things into every object, at its beginning, and turns the order of keys.
fn furnish(value: &mut Value, depth: usize) {
    match value {
        Value::Object(object) => {
            let mut turned = Map::new();
            let mut odd: Value = serde_json::from_str(&odd()).expect("JSON");
            odd["depth"] = json!(depth);
            turned.insert(format!("x-nobody-knows-{depth}"), odd);
            let entries = std::mem::take(object).into_iter().collect::<Vec<_>>();
            for (key, mut inner) in entries.into_iter().rev() {
                if !NAMES.contains(&key.as_str()) {
                    furnish(&mut inner, depth + 1);
                }
                turned.insert(key, inner);
            }
            *object = turned;
        }
        Value::Array(array) => array.iter_mut().for_each(|item| furnish(item, depth + 1)),
        _ => {}
    }
}

/// [`ODD`] without what is refused on purpose (NUL inside strings).
fn odd() -> String {
    ODD.replace("\\u0000", "").replace("\n   ", "")
}

/// All but ours, in the order that is there, as compact text: equal text is equal bytes, because
/// numbers keep their digits.
fn theirs(bytes: &[u8]) -> String {
    let mut value: Value = serde_json::from_slice(bytes).expect("JSON");
    for pointer in OURS {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        if let Some(Value::Object(object)) = value.pointer_mut(parent) {
            object.shift_remove(key);
        }
    }
    value.to_string()
}

fn furnished(handler: &str) -> Bundle {
    let mut bundle = Bundle::new(World::runc(), handler);
    bundle.config["annotations"] = json!({"z.example/b": "ü\n\t\u{1f600}", "a.example": "2"});
    bundle.config["process"]["env"] = json!(["PATH=/bin", "QUOTED=\"\\\u{7f}", "EMPTY="]);
    furnish(&mut bundle.config, 0);
    bundle
}

#[test]
fn everything_but_the_plans_own_survives_byte_for_byte() {
    for handler in HANDLERS {
        let bundle = furnished(handler);
        bundle.write();
        let original = bundle.on_disk();
        assert_eq!(bundle.create(), 0, "{:?}", bundle.errors());
        let rewritten = bundle.on_disk();
        assert_ne!(original, rewritten);
        let args: Value = serde_json::from_slice(&rewritten).expect("JSON");
        let first = args["process"]["args"][0].as_str().expect("text");
        assert!(first.starts_with("/proc/self/fd/"), "{first}");
        assert_eq!(theirs(&original), theirs(&rewritten));
        assert!(theirs(&original).contains("123456789012345678901234567890"));
        bundle.start().ok();
        bundle.exec(["harmless", "work"]).ok();
        let env = bundle.exec(["sh", "-c", "echo \"$QUOTED\""]).ok().stdout;
        assert_eq!(env, "\"\\\u{7f}\n");
    }
}

#[test]
fn rewriting_twice_equals_rewriting_once() {
    for handler in HANDLERS {
        let bundle = furnished(handler);
        bundle.write();
        let original = bundle.on_disk();
        let mut rewritten = Vec::new();
        for round in 0..3 {
            assert_eq!(bundle.create(), 0, "round {round}: {:?}", bundle.errors());
            let now = bundle.on_disk();
            assert!(
                rewritten.is_empty() || now == rewritten,
                "round {round} differs"
            );
            rewritten = now;
            bundle.delete().ok();
            eventually("its supervisor leaves", || {
                let homes =
                    crate::remains::homes(bundle.world(), &bundle.world().state_dir(), &bundle.id);
                homes.is_empty().then_some(())
            });
        }
        let kept = std::fs::read_dir(&bundle.path)
            .expect("our own folder")
            .flatten();
        let companions: Vec<_> = kept
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(".config.json")
            })
            .collect();
        assert_eq!(companions.len(), 1, "{companions:?}");
        let bytes = std::fs::read(companions[0].path()).expect("root reads it");
        assert_eq!(bytes, original, "the original is kept byte for byte");
    }
}

#[test]
fn an_edited_bundle_is_read_anew() {
    let bundle = Bundle::new(World::runc(), HANDLERS[0]).args(["harmless", "echo", "first"]);
    assert_eq!(bundle.run().ok().stdout, "first\n");
    // The engine writes the same bundle again for another command.
    let bundle = bundle.args(["harmless", "echo", "second"]);
    assert_eq!(bundle.run().ok().stdout, "second\n");
}
