//! What people read who have written something wrong: each profile of tests/wrong-profiles with what it
//! comes to, first as a person at a terminal sees it, then as an engine does. `MANTLET_BLESS=1` writes
//! the texts anew; then read them.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::profile::{Look, parse_all};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong-profiles")
}

/// Names and texts, in order.
pub fn wrong_profiles() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            all.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    all.sort();
    all
}

fn errors(name: &str, text: &str) -> Vec<Error> {
    if let Err(errors) = parse_all(&format!("{name}.yaml"), text) {
        return errors;
    }
    let found = Profile::resolve(name, &mut |wanted| {
        if wanted == name {
            return Ok(Some(text.to_owned()));
        }
        Ok(fs::read_to_string(folder().join(format!("parents/{wanted}.yaml"))).ok())
    });
    found.err().into_iter().collect()
}

#[test]
fn a_wrong_profile_is_told_what_is_wrong_where_and_what_to_write() {
    let bless = std::env::var_os("MANTLET_BLESS").is_some();
    let mut different = Vec::new();
    let all = wrong_profiles();
    assert!(all.len() >= 40);
    for (name, text) in all {
        let errors = errors(&name, &text);
        assert!(!errors.is_empty(), "{name} is right");
        let mut shown: String = errors
            .iter()
            .map(|error| error.finding().show(Look::PLAIN) + "\n")
            .collect();
        shown.push_str(&format!("in one line: {}\n", errors[0]));
        assert!(!errors[0].to_string().contains('\n'), "{name}");
        let golden = folder().join(format!("{name}.txt"));
        if bless {
            fs::write(&golden, &shown).unwrap();
        } else if fs::read_to_string(&golden).ok().as_deref() != Some(&shown) {
            different.push(format!("{name}:\n{shown}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
