//! The seeds of the fuzz targets, and the inputs they once failed on, through the very checks that
//! are fuzzed (`tests/fuzz/README.md`): every run of the tests repeats them, without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "fuzz/checks/mod.rs"]
mod checks;

fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/seeds")
        .join(target);
    let found = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut found: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn every_seed_passes_its_check_and_so_does_what_is_left_of_it_when_it_is_cut() {
    for (target, check) in checks::ALL {
        let files = inputs(target);
        assert!(!files.is_empty(), "{target} has no seeds");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            eprintln!("{}", file.display());
            check(&bytes);
            for part in 1..8 {
                check(&bytes[..bytes.len() * part / 8]);
            }
        }
    }
}

#[test]
fn each_target_is_built_fuzzed_and_documented() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let manifest = fs::read_to_string(top.join("Cargo.toml")).unwrap();
    let readme = fs::read_to_string(top.join("README.md")).unwrap();
    for (target, _) in checks::ALL {
        assert!(
            top.join(format!("targets/{target}.rs")).exists(),
            "{target}"
        );
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target}"
        );
        assert!(readme.contains(&format!("| `{target}` |")), "{target}");
    }
    let targets = fs::read_dir(top.join("targets")).unwrap().count();
    assert_eq!(targets, checks::ALL.len());
}
