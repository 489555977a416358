//! Right profiles with one thing taken away or written otherwise: whatever that does to them, schema and reader say
//! the same of it.

use jsonschema::Validator;
use serde_json::{Value, json};

use super::schema::right_profiles;
use crate::profile::{Document, Profile, schema};

/// Something of every key, in its several forms.
const WHOLE: &str = r#"
version: 1
name: web
description: everything that may be said
mode: enforce
requires: {landlock: 4, degrade: [network, exec-capture]}
capabilities: [CHOWN, {name: CAP_FOWNER, why: it installs}]
syscalls:
  groups: "2026.1"
  allow: ["@default", openat, {name: clone, args: [{index: 0, op: masked, mask: 16, value: 0}]}]
  tripwire: ["@debug", {name: socket, args: [{index: 0, op: eq, value: 16}], why: none}]
  deny: [{name: bpf, errno: ENOSYS}]
files:
  read: ["@image", /etc, {path: /srv, optional: true, follow: true, why: links}]
  read_execute: [/usr]
  read_write: ["@volumes", "@tmpfs"]
  read_write_execute: [/opt]
  execute: [/bin/true]
  device_ioctl: ["@devices"]
  make_device: [/dev]
  except: [/etc/shadow]
network: {bind_tcp: [80, {port: 443, why: TLS}], connect_tcp: []}
scope: [signal, abstract-unix-socket]
masked_paths: [/proc/keys]
readonly_paths: [/proc/sys]
process:
  max: 100
  refuse: [privileged, {missing-limit: [memory, cpu]}, {capability: ["@added", NET_RAW]}, {host-path: ["@host-root", /srv/**]}]
rlimits: {NOFILE: 1024, CORE: {soft: 0, hard: 0}}
devices: ["@standard", /dev/fuse, {path: /dev/net/tun, access: r}, {type: c, major: 10, minor: 200, access: rw}]
exec: {interactive: {profile: sessions}, profile: sessions, commands: [pg_isready, /opt/*]}
checkpoint: allow
restore: unprotected
on_supervisor_loss: kill
detect:
  - {name: tools, on: exec, programs: ["@shells", nc, /opt/tool/*], unless: [/opt/tool/check], severity: critical, tags: [T1611]}
  - {on: tripwire, calls: [socket], after: 3, within: 10s, respond: freeze, for: 10m, then: kill}
  - {on: process-count, above: 100, why: it forks}
tests:
  - {syscall: socket, args: [16], expect: denied, why: no netlink}
  - {path: /etc/shadow, access: [read, write], expect: denied}
  - {exec: /bin/true, expect: allowed}
  - {bind: 80, expect: allowed}
  - {connect: 80, expect: denied}
  - {capability: CHOWN, expect: allowed}
lint: {ignore: [{code: M901, why: it is tested elsewhere}]}
"#;

/// The value with one thing taken away or replaced, and where, at every place.
fn mutations(path: &str, value: &Value, all: &mut Vec<(String, Value)>) {
    for to in others(value) {
        all.push((format!("{path} = {to}"), to));
    }
    match value {
        Value::Array(list) => {
            // What a list's fourth word may be, its first may be too.
            let plain = |place: &usize| *place > 2 && list[*place].is_string();
            for place in (0..list.len()).filter(|place| !plain(place)) {
                let mut inner = Vec::new();
                mutations(&format!("{path}[{place}]"), &list[place], &mut inner);
                for (told, changed) in inner {
                    let mut list = list.clone();
                    list[place] = changed;
                    all.push((told, Value::Array(list)));
                }
            }
        }
        Value::Object(map) => {
            for (key, inside) in map {
                let mut dropped = map.clone();
                dropped.shift_remove(key);
                all.push((
                    format!("{path} without {key}"),
                    Value::Object(dropped.clone()),
                ));
                dropped.insert(format!("{key}s"), inside.clone());
                all.push((format!("{path} with {key}s"), Value::Object(dropped)));
                let mut inner = Vec::new();
                mutations(&format!("{path}.{key}"), inside, &mut inner);
                for (told, changed) in inner {
                    let mut map = map.clone();
                    map.insert(key.clone(), changed);
                    all.push((told, Value::Object(map)));
                }
            }
        }
        _ => {}
    }
}

/// What may stand in the place of a value.
fn others(value: &Value) -> Vec<Value> {
    let mut all = vec![
        json!(null),
        json!({}),
        json!([]),
        json!("x"),
        json!("@x"),
        json!(true),
        json!(-1),
        json!(70_000),
        json!([value]),
    ];
    match value {
        Value::String(text) => all.extend([
            json!(text.to_uppercase()),
            json!(text.to_lowercase()),
            json!(format!("{text}x")),
            json!(format!("/{text}")),
            json!(format!(" {text}")),
        ]),
        Value::Number(number) => all.push(json!(number.to_string())),
        Value::Array(list) => all.extend(list.first().cloned()),
        _ => {}
    }
    all
}

/// What no schema can tell: numbers that have to fit each other, and times out of range.
fn beyond(told: &str) -> bool {
    let numbers = ["value", "mask", "soft", "hard"];
    let place = told.split(' ').next().unwrap_or_default();
    numbers
        .iter()
        .any(|key| place.ends_with(&format!(".{key}")))
}

/// What the reader takes and a schema's types do not: of YAML, null where nothing need be, a plain word that is no text
/// for one, and a number in quotes.
fn loose(told: &str) -> bool {
    let to = told.split_once(" = ").map_or("", |(_, to)| to);
    let to: Value = serde_json::from_str(to).unwrap_or_default();
    match to {
        Value::String(text) => text.parse::<f64>().is_ok(),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// The file as the programs use it: names and groups are judged when it is resolved.
fn resolves(name: &str, text: &str) -> bool {
    let sessions =
        "{version: 1, name: sessions, syscalls: {groups: '2026.1', allow: ['@default']}}";
    let mut load = |wanted: &str| {
        let own = (wanted == name).then_some(text);
        let found = own.or((wanted == "sessions").then_some(sessions));
        Ok(found.map(str::to_owned))
    };
    Profile::resolve(name, &mut load).is_ok()
}

/// What schema and reader say differently.
fn differences(validator: &Validator, text: &str, refused: &mut usize) -> Vec<String> {
    let value: Value = serde_saphyr::from_str(text).unwrap();
    let name = value["name"].as_str().unwrap();
    assert!(resolves(name, text), "{text}");
    let mut all = Vec::new();
    mutations("", &value, &mut all);
    let mut wrong = Vec::new();
    for (told, mutant) in all {
        let valid = validator.is_valid(&mutant);
        *refused += usize::from(!valid);
        let mutant = mutant.to_string();
        match Document::parse("web.yaml", &mutant) {
            Err(error) if valid && !beyond(&told) => {
                wrong.push(format!("{told}: right for the schema alone: {error}"));
            }
            Ok(_) if !valid && !loose(&told) && resolves(name, &mutant) => {
                wrong.push(format!("{told}: right for the reader alone"));
            }
            _ => {}
        }
    }
    wrong
}

#[test]
fn what_is_written_otherwise_is_right_or_wrong_for_both() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut refused = 0;
    let mut wrong = differences(&validator, WHOLE, &mut refused);
    let right = right_profiles().into_iter();
    // Those that ship are long, and say nothing that these do not.
    for (_, text) in right.filter(|(_, text)| text.lines().count() < 40) {
        wrong.extend(differences(&validator, &text, &mut refused));
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(refused > 1000, "only {refused} were refused");
}
