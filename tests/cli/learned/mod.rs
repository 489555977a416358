//! `learn`: from journals to profiles. Golden profiles are blessed with `MANTLET_BLESS=1 cargo test
//! --test cli learned`.

use std::fs;
use std::path::{Path, PathBuf};

use mantlet::event::What;
use mantlet::profile::Profile;
use serde_json::Value;

use crate::node::Node;
use crate::{code, err, out};

mod observed;

use observed::{Recorded, nginx};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/learned/{name}.yaml"))
}

/// Compares with the golden file; the writer's version apart.
#[track_caller]
fn is_golden(name: &str, text: &str) {
    let path = golden(name);
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if std::env::var_os("MANTLET_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).expect("bless with MANTLET_BLESS=1");
    assert!(
        kept == text,
        "{name} has changed; see MANTLET_BLESS=1 and git diff\n{text}"
    );
    Profile::parse(name, &text).expect("what was learned is a profile");
}

#[test]
fn nginx_is_learned_from_two_runs() {
    let node = Node::new();
    node.journal("a1", &nginx("a1", false).end());
    node.journal("b2", &nginx("b2", true).end());
    let learned = node.run(&["learn", "--from", "a1", "--from", "b2", "--name", "nginx"]);
    code(&learned, 0);
    is_golden("nginx", &out(&learned));
}
