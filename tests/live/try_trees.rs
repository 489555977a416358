//! `mantlet try` on a folder and on a bundle.

use std::fs;

use serde_json::json;

use super::harness::{Bundle, World, image};
use super::try_programs::nothing_is_left;

#[test]
fn a_folder_becomes_the_root_and_is_not_written() {
    for world in [World::runc(), World::crun()] {
        let rootfs = image("static-rootfs");
        let before = fs::read_dir(&rootfs).expect("a folder").count();
        let words = [
            "try",
            "baseline",
            "--rootfs",
            rootfs.to_str().expect("ASCII"),
            "--",
            "/bin/harmless",
        ];
        world.mantlet(words.iter().chain(&["exit", "9"])).expect(9);
        assert_eq!(fs::read_dir(&rootfs).expect("a folder").count(), before);
        nothing_is_left(world);
    }
}

#[test]
fn a_bundle_is_run_as_it_says_and_stays_as_it_is() {
    for world in [World::runc(), World::crun()] {
        let bundle = Bundle::new(world, world.runtime()).args(["/bin/harmless", "exit", "9"]);
        let bundle = bundle.edit(|config| config["process"]["terminal"] = json!(true));
        bundle.write();
        let before = bundle.on_disk();
        let path = bundle.path.display().to_string();
        world
            .mantlet(["try", "baseline", "--bundle", &path])
            .expect(9);
        assert_eq!(bundle.on_disk(), before);
        let names = fs::read_dir(&bundle.path).expect("a folder");
        let names: Vec<_> = names.flatten().map(|entry| entry.file_name()).collect();
        assert!(
            !names
                .iter()
                .any(|name| name.to_string_lossy().contains("mantlet-")),
            "{names:?}"
        );
        nothing_is_left(world);
        // Another command on the same tree.
        let other = ["try", "baseline", "--bundle", &path, "--", "/bin/no-such"];
        world.mantlet(other).expect(127);
    }
}
