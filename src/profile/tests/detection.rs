//! `detect` and `on_supervisor_loss`: what may be written, and what it comes to.

use super::*;
use crate::detect::{Freeze, MOST_RULES, OnLoss, Response, Rule, Sensor, Severity, Then};

const TRIPS: &str = "syscalls: {groups: '2026.1', allow: ['@default', '@memfd'], \
    tripwire: ['@mount', bpf], deny: [keyctl]}\n";

fn text(rules: &str) -> String {
    format!("version: 1\nname: web\n{TRIPS}detect: {rules}\n")
}

fn rules(rules: &str) -> Vec<Rule> {
    Profile::parse("web", &text(rules))
        .unwrap_or_else(|error| panic!("{rules}: {error}"))
        .detect
}

fn one(rule: &str) -> Rule {
    rules(&format!("[{rule}]")).remove(0)
}

/// A library of profiles, each `version` and `name` apart.
fn resolved(texts: &[(&str, &str)], name: &str) -> Result<Profile, Error> {
    Profile::resolve(name, &mut |wanted| {
        let found = texts.iter().find(|(own, _)| *own == wanted);
        Ok(found.map(|(own, text)| format!("version: 1\nname: {own}\n{text}\n")))
    })
}

fn names(profile: &Profile) -> Vec<(&str, Response)> {
    let rules = profile.detect.iter();
    rules.map(|rule| (&*rule.name, rule.respond)).collect()
}

#[test]
fn wrong_rules_are_errors_on_their_line_that_say_what_to_write() {
    for (rule, want) in [
        (
            "exit",
            "a rule is a mapping: write {on: exit, respond: log}",
        ),
        ("7", "found integer `7` where a rule such as {on: drift"),
        ("{respond: log}", "`on` is missing"),
        (
            "{on: drfit}",
            "unknown value `drfit`; did you mean `drift`?",
        ),
        ("{on: drift, respnd: log}", "did you mean `respond`?"),
        ("{on: drift, respond: kill}", "unknown value `kill`"),
        ("{on: drift, severity: high}", "unknown value `high`"),
        ("{on: drift, name: a/b}", "`a/b` is no rule's name"),
        ("{on: drift, name: ''}", "is no rule's name"),
        ("{on: drift, name: 'a:b'}", "is no rule's name"),
        ("{on: drift, tags: ['a b']}", "`a b` is no tag"),
        ("{on: drift, tags: [\"\\e[2J\"]}", "`\\u{1b}[2J` is no tag"),
        (
            "{on: drift, calls: [bpf]}",
            "`calls` goes with `on: tripwire` only",
        ),
        (
            "{on: tripwire, calls: []}",
            "an empty `calls` means nothing",
        ),
        ("{on: tripwire, calls: [bfp]}", "did you mean `bpf`?"),
        ("{on: tripwire, calls: [{name: bpf}]}", "web.yaml:4:"),
        (
            "{on: drift, programs: [sh]}",
            "`on: exec` or `on: reverse-shell` only, and this rule is `on: drift`",
        ),
        ("{on: exec, programs: []}", "an empty `programs`"),
        (
            "{on: exec, programs: ['@shell']}",
            "did you mean `@shells`?",
        ),
        ("{on: exec, programs: [bin/sh]}", "write it from `/`"),
        ("{on: exec, programs: [/bin/../sh]}", "without `.`, `..`"),
        ("{on: exec, programs: [/opt/]}", "a slash at its end"),
        ("{on: exec, programs: ['/opt/a**']}", "whole components"),
        ("{on: exec, programs: ['']}", "a program is a name"),
        (
            "{on: exec, above: 3}",
            "`above` goes with `on: process-count`",
        ),
        (
            "{on: process-count, above: 0}",
            "`above: 0` is never or always so",
        ),
        ("{on: process-count, above: 4194304}", "write 1 to 4194303"),
        ("{on: process-count, above: -1}", "web.yaml:4:"),
        ("{on: drift, unless: []}", "an empty `unless`"),
        ("{on: oom-kill, unless: [sh]}", "is about no process"),
        ("{on: process-count, unless: [sh]}", "is about no process"),
        (
            "{on: exit, respond: deny}",
            "what it sees has happened already; write one of log, kill-container, freeze",
        ),
        ("{on: process-count, respond: deny}", "has happened already"),
        ("{on: oom-kill, respond: deny}", "has happened already"),
        (
            "{on: oom-kill, respond: kill-process}",
            "is about no process",
        ),
        (
            "{on: process-count, respond: kill-process}",
            "is about no process",
        ),
        ("{on: exit, respond: kill-process}", "the process has ended"),
        ("{on: drift, after: 0}", "write 1 (the first time) to 1000"),
        ("{on: drift, after: 1001}", "`after: 1001` is out of range"),
        ("{on: drift, after: 4294967298}", "is out of range"),
        ("{on: drift, within: 10s}", "write `after: 2` or more"),
        (
            "{on: drift, after: 1, within: 10s}",
            "write `after: 2` or more",
        ),
        ("{on: drift, after: 2, within: 10}", "`10` is no time"),
        ("{on: drift, after: 2, within: soon}", "`soon` is no time"),
        ("{on: drift, after: 2, within: 0s}", "write 1ms to 24h"),
        ("{on: drift, after: 2, within: 25h}", "write 1ms to 24h"),
        ("{on: drift, after: 2, within: -1s}", "is no time"),
        (
            "{on: drift, for: 10m}",
            "`for` goes with `respond: freeze` only",
        ),
        (
            "{on: drift, respond: kill-container, then: kill}",
            "`then` goes with `respond: freeze`",
        ),
        ("{on: drift, respond: freeze, for: 2d}", "write 1ms to 24h"),
        (
            "{on: drift, respond: freeze, then: log}",
            "unknown value `log`",
        ),
        ("{on: drift, on: exec}", "appears twice"),
    ] {
        let found = error(&text(&format!("[{rule}]")));
        assert!(
            found.contains(want) && found.starts_with("web.yaml:4:"),
            "{rule}: {found}"
        );
    }
    let many = |key: &str, many: usize| format!("[{{on: exec, {key}: [{}]}}]", "a, ".repeat(many));
    assert!(error(&text(&many("tags", 17))).contains("17 tags, at most 16"));
    assert!(error(&text(&many("programs", 257))).contains("at most 256"));
    assert!(
        error(&text(&format!(
            "[{{on: exec, tags: [{}]}}]",
            "a".repeat(65)
        )))
        .contains("no tag")
    );
    assert!(error(&text("{on: exec}")).starts_with("web.yaml:4:"));
    let found = error(&format!(
        "version: 1\nname: web\n{CALLS}on_supervisor_loss: kil\n"
    ));
    assert_eq!(
        found,
        "web.yaml:4:21: unknown value `kil`; did you mean `kill`?"
    );
}

#[test]
fn an_error_of_a_rule_that_takes_several_lines_points_at_the_rule() {
    let found = error(&text(
        "\n  - on: exec\n    programs: [sh]\n  - on: exit\n    respond: deny\n    after: 2\n  - on: drift",
    ));
    assert!(
        found.starts_with("web.yaml:7:5: `on: exit` cannot be"),
        "{found}"
    );
}

#[test]
fn what_is_not_written_is_as_documented() {
    let drift = one("{on: drift}");
    assert_eq!(
        drift,
        Rule {
            name: "drift".into(),
            profile: "web".into(),
            on: Sensor::Drift,
            calls: Vec::new(),
            programs: Vec::new(),
            above: None,
            unless: Vec::new(),
            respond: Response::Log,
            would: None,
            after: 1,
            within_ms: 0,
            freeze: None,
            severity: Severity::Critical,
            tags: vec!["T1105".into()],
        }
    );
    for sensor in Sensor::ALL {
        let rule = one(&format!("{{on: {}}}", sensor.word()));
        assert_eq!((rule.on, &*rule.name), (sensor, sensor.word()));
    }
    let usual = |rule: &str| {
        let rule = one(rule);
        (rule.severity, rule.tags)
    };
    let tagged = |tag: &str| vec![tag.to_owned()];
    assert_eq!(usual("{on: exec}"), (Severity::Info, Vec::new()));
    assert_eq!(
        usual("{on: exec, programs: [nc]}"),
        (Severity::Notice, tagged("TA0002"))
    );
    assert_eq!(
        usual("{on: tripwire}"),
        (Severity::Warning, tagged("T1611"))
    );
    assert_eq!(usual("{on: oom-kill}"), (Severity::Notice, Vec::new()));
    let own = usual("{on: drift, severity: info, tags: []}");
    assert_eq!(own, (Severity::Info, Vec::new()));
    assert_eq!(usual("{on: exit, tags: ['team:web_1']}").1, ["team:web_1"]);
}

#[test]
fn times_and_freezes_are_read() {
    let freeze = |rule: &str| one(rule).freeze;
    let usual = freeze("{on: drift, respond: freeze}");
    assert_eq!(
        usual,
        Some(Freeze {
            for_ms: 600_000,
            then: Then::Kill
        })
    );
    let own = freeze("{on: drift, respond: freeze, for: 1h 30s, then: thaw}");
    assert_eq!(
        own,
        Some(Freeze {
            for_ms: 3_630_000,
            then: Then::Thaw
        })
    );
    let rule = one("{on: tripwire, after: 3, within: 10s, respond: kill-container}");
    assert_eq!((rule.after, rule.within_ms, rule.freeze), (3, 10_000, None));
    assert_eq!(
        one("{on: drift, after: 1000, within: 24h}").within_ms,
        86_400_000
    );
    assert_eq!(one("{on: drift, after: 5}").within(), None, "ever");
    assert_eq!(one("{on: tripwire, respond: deny}").respond, Response::Deny);
}

#[test]
fn groups_are_those_of_the_profiles_own_data_version() {
    let rule = one("{on: tripwire, calls: ['@mount', bpf, mount]}");
    let mount = groups::members("2026.1", "mount").unwrap();
    assert_eq!(rule.calls, [mount, vec!["bpf"]].concat());
    let rule =
        one("{on: exec, programs: ['@shells', bash, '/opt/tool/*'], unless: ['@download-tools']}");
    let shells = programs::members("2026.1", "shells").unwrap();
    assert_eq!(
        rule.programs,
        [shells.clone(), vec!["/opt/tool/*"]].concat()
    );
    assert_eq!(
        rule.unless,
        programs::members("2026.1", "download-tools").unwrap()
    );
    assert_eq!(one("{on: reverse-shell}").programs, shells);
    assert_eq!(one("{on: reverse-shell, programs: [nc]}").programs, ["nc"]);
    let found = error(&text("[{on: tripwire, calls: ['@mont']}]"));
    assert!(
        found.contains("has no @mont; did you mean `@mount`?"),
        "{found}"
    );
}

#[test]
fn a_rule_on_a_call_that_is_no_tripwire_is_an_error() {
    for (calls, want) in [
        (
            "[execve]",
            "about execve, and would see none: the profile allows it",
        ),
        (
            "[bpf, keyctl]",
            "about keyctl, and would see none: the profile denies it in silence",
        ),
        (
            "['@swap']",
            "about @swap, and would see none: none of them is a tripwire",
        ),
    ] {
        let found = error(&text(&format!("[{{on: tripwire, calls: {calls}}}]")));
        assert!(found.contains(want), "{calls}: {found}");
    }
    let none = error(&format!(
        "version: 1\nname: web\n{CALLS}detect: [{{on: tripwire}}]\n"
    ));
    assert!(none.contains("the profile has no tripwire"), "{none}");
    // Parts of a profile are judged as the whole that they come to.
    let library = [
        (
            "alarms",
            "detect: [{name: a, on: tripwire, calls: ['@debug', bpf]}]",
        ),
        ("web", "extends: [restricted, alarms]"),
        (
            "dev",
            "extends: [web]\nsyscalls: {groups: '2026.1', allow: [ptrace]}",
        ),
        (
            "trace",
            "extends: [web]\nsyscalls: {groups: '2026.1', allow: [bpf]}",
        ),
        (
            "mended",
            "extends: [trace]\ndetect: [{name: a, on: tripwire, calls: ['@debug']}]",
        ),
    ];
    let calls = |name: &str| resolved(&library, name).map(|mut p| p.detect.remove(0).calls);
    assert!(calls("web").unwrap().iter().any(|call| call == "ptrace"));
    assert!(calls("dev").unwrap().iter().all(|call| call != "ptrace"));
    let found = calls("trace").unwrap_err().to_string();
    assert!(
        found.contains("profile trace: rule `a`")
            && found.contains("write a rule named `a` without it"),
        "{found}"
    );
    assert!(calls("mended").unwrap().iter().all(|call| call != "bpf"));
}

#[test]
fn rules_without_a_name_are_called_by_their_sensor_and_counted() {
    let profile = Profile::parse(
        "web",
        &text("[{on: drift}, {on: drift, respond: deny}, {name: drift-2, on: exit}, {on: exit}]"),
    )
    .unwrap();
    let named: Vec<(&str, Sensor)> = profile.detect.iter().map(|r| (&*r.name, r.on)).collect();
    assert_eq!(
        named,
        [
            ("drift", Sensor::Drift),
            ("drift-3", Sensor::Drift),
            ("drift-2", Sensor::Exit),
            ("exit", Sensor::Exit),
        ]
    );
    let twice = error(&text("[{name: a, on: drift}, {name: a, on: exit}]"));
    assert!(
        twice.contains("profile web has two rules named `a`"),
        "{twice}"
    );
}

#[test]
fn a_childs_rule_replaces_its_parents_of_that_name_and_all_others_add_up() {
    let library = [
        (
            "one",
            "extends: [restricted]\ndetect: [{on: drift}, {name: a, on: exit}]",
        ),
        (
            "two",
            "extends: [one]\ndetect: [{on: drift, respond: deny}]",
        ),
        (
            "three",
            "extends: [one]\ndetect: [{name: drift, on: drift, respond: freeze}]",
        ),
        ("both", "extends: [two, three]"),
        (
            "other",
            "extends: [restricted]\ndetect: [{name: a, on: exit, respond: freeze}]",
        ),
        ("mixed", "extends: [one, other]"),
        (
            "mended",
            "extends: [one, other]\ndetect: [{name: a, on: oom-kill}]",
        ),
    ];
    use Response::{Deny, Freeze, Log};
    let is = |name: &str, want: &[(&str, Response)]| {
        let profile = resolved(&library, name).unwrap();
        assert_eq!(names(&profile), want, "{name}");
        assert!(profile.detect.iter().all(|rule| rule.profile == name));
    };
    is("two", &[("drift", Log), ("a", Log), ("drift-2", Deny)]);
    is("three", &[("a", Log), ("drift", Freeze)]);
    is(
        "both",
        &[
            ("drift", Log),
            ("a", Log),
            ("drift-2", Deny),
            ("drift-3", Freeze),
        ],
    );
    is("mixed", &[("drift", Log), ("a", Log), ("a-2", Freeze)]);
    is("mended", &[("drift", Log), ("a", Log)]);
}

#[test]
fn a_parent_that_ends_what_nobody_supervises_cannot_be_overruled() {
    let library = [
        ("kills", "extends: [restricted]\non_supervisor_loss: kill"),
        ("keeps", "extends: [kills]\non_supervisor_loss: keep"),
        ("silent", "extends: [restricted, kills]"),
        ("plain", "extends: [restricted]\non_supervisor_loss: keep"),
    ];
    let loss = |name: &str| resolved(&library, name).unwrap().on_supervisor_loss;
    assert_eq!(loss("keeps"), OnLoss::Kill);
    assert_eq!(loss("silent"), OnLoss::Kill);
    assert_eq!(loss("plain"), OnLoss::Keep);
    assert_eq!(
        Profile::builtin("restricted").unwrap().on_supervisor_loss,
        OnLoss::Keep
    );
}

#[test]
fn a_profile_for_sessions_has_nothing_watched() {
    let library = [
        ("eyes", "extends: [restricted]\ndetect: [{on: drift}]"),
        ("child", "extends: [eyes]"),
        ("loss", "extends: [restricted]\non_supervisor_loss: kill"),
        (
            "none",
            "extends: [restricted]\ndetect: []\non_supervisor_loss: keep",
        ),
        ("a", "extends: [baseline]\nexec: {profile: eyes}"),
        (
            "b",
            "extends: [baseline]\nexec: {interactive: {profile: child}}",
        ),
        ("c", "extends: [baseline]\nexec: {profile: loss}"),
        (
            "d",
            "extends: [baseline]\nexec: {profile: none}\ndetect: [{on: drift}]",
        ),
    ];
    let why = |name: &str| resolved(&library, name).unwrap_err().to_string();
    for name in ["a", "b"] {
        let found = why(name);
        assert!(
            found.contains("profile eyes has `detect`, so no `exec`"),
            "{found}"
        );
    }
    assert!(why("c").contains("profile loss has `on_supervisor_loss: kill`"));
    assert_eq!(resolved(&library, "d").unwrap().detect.len(), 1);
}

#[test]
fn a_rule_on_fileless_executions_makes_executable_memory_a_tripwire() {
    let wires = |own: &str| -> Vec<Vec<Condition>> {
        let found = resolved(&[("web", own)], "web").unwrap();
        let rules = found.syscalls.tripwire.into_iter();
        let of = rules.filter(|rule| rule.name == "memfd_create");
        of.map(|rule| rule.args).collect()
    };
    let implied = vec![implied_tripwire()];
    let lone = std::slice::from_ref(&implied);
    let asks = "detect: [{on: fileless-exec}]";
    assert_eq!(wires(&format!("extends: [baseline]\n{asks}")), lone);
    assert_eq!(
        wires("extends: [baseline]\ndetect: [{on: drift}]"),
        Vec::<Vec<_>>::new()
    );
    // Reported as a whole already, and told by its own rule why; denied in silence, it stays so.
    assert_eq!(
        wires(&format!("extends: [restricted]\n{asks}")),
        [vec![], implied.clone()]
    );
    assert_eq!(wires(&format!("{CALLS}{asks}")), Vec::<Vec<_>>::new());
    // Not even the very same allowance takes it back.
    let allow = "{name: memfd_create, args: [{index: 1, op: masked, mask: 8, value: 0}]}";
    let allow = format!("syscalls: {{groups: '2026.1', allow: [{allow}]}}");
    assert_eq!(
        wires(&format!("extends: [baseline]\n{allow}\n{asks}")),
        lone
    );
    let library = [
        ("eyes", "detect: [{on: fileless-exec}]"),
        ("web", "extends: [eyes, baseline]"),
    ];
    let web = resolved(&library, "web").unwrap();
    assert!(
        web.syscalls
            .tripwire
            .iter()
            .any(|rule| rule.args == implied)
    );
}

#[test]
fn the_watched_profile_ends_only_what_no_service_does_by_mistake() {
    let watched = Profile::builtin("watched").unwrap();
    assert!(
        watched.detect.len() < MOST_RULES / 2,
        "room for a site's own"
    );
    let named = |name: &str| {
        watched
            .detect
            .iter()
            .find(|rule| rule.name == name)
            .unwrap()
    };
    let escape = named("escape");
    assert_eq!((escape.after, escape.within_ms), (3, 10_000));
    for innocent in [
        "memfd_create",
        "io_uring_setup",
        "ptrace",
        "keyctl",
        "socket",
        "clone",
        "ioctl",
    ] {
        assert!(
            escape.calls.iter().all(|call| call != innocent),
            "{innocent}"
        );
    }
    let ends: Vec<&str> = watched
        .detect
        .iter()
        .filter(|rule| rule.respond > Response::Deny)
        .map(|rule| &*rule.name)
        .collect();
    assert_eq!(ends, ["escape", "reverse-shell", "drift"]);
    let restricted = Profile::builtin("restricted").unwrap();
    assert!(restricted.detect.is_empty());
    assert_eq!(watched.syscalls.allow, restricted.syscalls.allow);
    assert_eq!(watched.files, restricted.files);
}
