use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("config.yaml"))
}

fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The yaml block of the module's own documentation.
fn documented() -> String {
    let source = include_str!("../config.rs");
    let block = source
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("//! ```")
        .next()
        .unwrap();
    block
        .lines()
        .map(|l| l.strip_prefix("//! ").unwrap().to_owned() + "\n")
        .collect()
}

#[test]
fn the_documented_file_is_the_embedded_default() {
    assert!(documented().contains("handlers:"));
    assert_eq!(parse(&documented()).unwrap(), Config::embedded());
}

#[test]
fn an_empty_file_is_the_embedded_default() {
    for text in ["", "# nothing\n", "---\n", "{}"] {
        assert_eq!(parse(text).unwrap(), Config::embedded(), "{text:?}");
    }
}

#[test]
fn handlers_add_to_the_embedded_three_and_replace_by_name() {
    let config =
        parse("handlers:\n  web: {runtime: crun}\n  baseline: {profile: house}\n").unwrap();
    let names: Vec<_> = config.handlers.keys().map(String::as_str).collect();
    assert_eq!(names, ["baseline", "learn", "restricted", "web"]);
    assert_eq!(
        config.handlers["web"],
        Handler {
            profile: "web".into(),
            runtime: "crun".into(),
            selectable: Default::default(),
        }
    );
    assert_eq!(config.handlers["baseline"].profile, "house");
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_a_suggestion() {
    let text = complaint("version: 1\nstat_dir: /x\n");
    assert!(text.starts_with("config.yaml:2:1: "), "{text}");
    assert!(text.contains("did you mean \"state_dir\"?"), "{text}");
    let text = complaint("handlers:\n  web:\n    profil: web\n");
    assert!(text.starts_with("config.yaml:3:5: "), "{text}");
    assert!(text.contains("did you mean \"profile\"?"), "{text}");
}

#[test]
fn a_wrong_type_and_a_repeated_key_are_refused_with_their_line() {
    let text = complaint("version: 1\nstart_container_hooks: [1]\n");
    assert!(text.starts_with("config.yaml:2:"), "{text}");
    let text = complaint("state_dir: /a\nstate_dir: /b\n");
    assert!(text.starts_with("config.yaml:2:"), "{text}");
}

#[test]
fn values_that_cannot_be_meant_are_refused_by_key() {
    for (text, key) in [
        ("version: 2", "version"),
        ("state_dir: run", "state_dir"),
        ("libexec_dir: ./x", "libexec_dir"),
        ("default_handler: baselin", "default_handler"),
        ("handlers: {init: {}}", "handlers.init"),
        ("handlers: {'a/b': {}}", "handlers.a/b"),
        ("handlers: {web: {profile: ../x}}", "handlers.web"),
        ("handlers: {web: {runtime: bin/runc}}", "handlers.web"),
        ("handlers: {web: {selectable: [a/b]}}", "handlers.web"),
        ("rules: [{profile: a}]", "rules[0]"),
        (
            "rules: [{container: a, profile: a}, {namespace: b, profile: ../x}]",
            "rules[1]",
        ),
        ("rules: [{image: '', profile: a}]", "rules[0]"),
        ("proc_mounts: [/sys]", "proc_mounts"),
        ("proc_mounts: [/proc]", "proc_mounts"),
        ("proc_mounts: [/proc/../etc]", "proc_mounts"),
    ] {
        let message = complaint(text);
        assert!(
            message.starts_with(&format!("config.yaml: {key}: ")),
            "{text}: {message}"
        );
    }
}

#[test]
fn the_programs_name_selects_the_handler() {
    let config = parse("handlers: {web: {}}\ndefault_handler: web").unwrap();
    assert_eq!(
        config.handler_for("mantlet-restricted").unwrap().0,
        "restricted"
    );
    assert_eq!(config.handler_for("mantlet-runtime").unwrap().0, "web");
    let refused = config
        .handler_for("mantlet-restrictd")
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("did you mean \"restricted\"?"),
        "{refused}"
    );
    assert!(config.handler_for("mantlet-").is_err());
}

#[test]
fn a_name_that_names_no_handler_is_not_the_default_one() {
    let config = Config::embedded();
    for program in [
        "my-restricted",
        "restricted",
        "baseline",
        "mantlet_restricted",
        "mantlet",
        "mantlet-runtime2",
        "Mantlet-runtime",
        "mantlet-runtime ",
        "runc",
        "crun",
        "",
    ] {
        let refused = config.handler_for(program).unwrap_err().to_string();
        assert!(refused.contains("baseline, learn, restricted"), "{refused}");
    }
}

#[test]
fn a_file_that_exists_is_never_passed_over() {
    let folder = std::env::temp_dir().join(format!("mantlet-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.yaml");
    let missing = Config::load_from(&file);
    std::fs::write(&file, "version: [").unwrap();
    let broken = Config::load_from(&file);
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(&file, "version: 1").unwrap();
    let fine = Config::load_from(&file);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let open = Config::load_from(&file);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(matches!(missing, Err(ConfigError::Read { .. })));
    assert!(matches!(broken, Err(ConfigError::Parse { .. })));
    assert_eq!(fine.unwrap(), Config::embedded());
    assert!(matches!(open, Err(ConfigError::Untrusted { .. })));
}
