//! The shipped containerd configuration, by the ways its README names.

use std::fs;
use std::path::Path;

use crate::harness::{HANDLERS, World};

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("containerd-config");
    fs::read_to_string(folder.join(name)).expect("a shipped file")
}

/// What containerd makes of `config`.
fn dump(config: &str) -> String {
    let world = World::runc();
    let path = world
        .folder("dropin", &world.name("config"))
        .join("config.toml");
    fs::write(&path, config).expect("our own folder");
    world
        .command("containerd")
        .arg("--config")
        .arg(path)
        .args(["config", "dump"])
        .run()
        .ok()
        .stdout
}

#[test]
fn imported_into_a_config_without_a_cri_section_both_handlers_are_there() {
    let world = World::runc();
    let dropin = world.folder("dropin", "imported").join("mantlet.toml");
    fs::write(&dropin, shipped("containerd-1.x.toml")).expect("our own folder");
    let dumped = dump(&format!("version = 2\nimports = [{dropin:?}]\n"));
    for handler in HANDLERS {
        assert!(
            dumped.contains(&format!("BinaryName = \"/usr/local/bin/{handler}\"")),
            "{dumped}"
        );
    }
}

#[test]
fn appended_to_a_config_with_a_cri_section_nothing_of_it_is_lost() {
    let own = "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"example/pause:9\"\n";
    let dumped = dump(&format!("{}{own}", shipped("containerd-1.x.toml")));
    assert!(
        dumped.contains("sandbox_image = \"example/pause:9\""),
        "{dumped}"
    );
    assert!(
        dumped.contains("runtimes.mantlet-restricted.options"),
        "{dumped}"
    );
}

#[test]
fn the_two_versions_say_the_same() {
    let first: Vec<String> = shipped("containerd-1.x.toml")
        .lines()
        .skip(2)
        .map(str::to_owned)
        .collect();
    let second: Vec<String> = shipped("containerd-2.x.toml")
        .lines()
        .skip(2)
        .map(|line| {
            line.replace(
                "'io.containerd.cri.v1.runtime'",
                "\"io.containerd.grpc.v1.cri\"",
            )
        })
        .collect();
    assert_eq!(first, second);
}

/// The trap that the README warns of. Should a later 1.x merge, this fails and the page changes.
#[test]
fn imported_beside_a_cri_section_containerd_1_loses_that_section() {
    let world = World::runc();
    let dropin = world.folder("dropin", "replacing").join("mantlet.toml");
    fs::write(&dropin, shipped("containerd-1.x.toml")).expect("our own folder");
    let own = "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"example/pause:9\"\n";
    let dumped = dump(&format!("version = 2\nimports = [{dropin:?}]\n{own}"));
    assert!(!dumped.contains("example/pause:9"), "{dumped}");
}
