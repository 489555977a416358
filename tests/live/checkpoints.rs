//! `checkpoint` and `restore` where a profile permits them. That the real runtime does it is not
//! tested: it takes a CRIU that knows the kernel, and Debian 12's does not know the newer ones. So a
//! stand-in takes those two verbs, writes down what it was called with, and leaves the rest to the
//! real runtime.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use crate::harness::{Bundle, World};

fn worlds() -> [&'static World; 2] {
    [World::runc(), World::crun()]
}

/// A bundle under `restricted` with `extra` lines, and the file that the stand-in writes to.
fn bundle(world: &'static World, extra: &str) -> (Bundle, PathBuf) {
    let name = world.runtime();
    let folder = world.folder("runtimes", &world.name("criu"));
    let (stand_in, called) = (folder.join(name), folder.join("called"));
    let script = format!(
        "#!/bin/sh\nfor word; do case $word in checkpoint|restore)\n\
         printf '%s\\n' \"$@\" >{}; exit 0;; esac; done\nexec $(PATH=/usr/sbin:/usr/bin which {name}) \"$@\"\n",
        called.display()
    );
    fs::write(&stand_in, script).expect("a folder of our own");
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).expect("our own file");
    let site = format!("version: 1\nname: site\nextends: [restricted]\n{extra}\n");
    let bundle = Bundle::new(world, "mantlet-restricted").profile("site", &site);
    let path = bundle.path.join("mantlet.yaml");
    let text = fs::read_to_string(&path).expect("the bundle has one");
    let runtime = format!("runtime: {name}}}");
    assert!(text.contains(&runtime), "{text}");
    let text = text.replace(&runtime, &format!("runtime: {}}}", stand_in.display()));
    fs::write(&path, text).expect("our own file");
    (bundle, called)
}

const CHECKPOINT: [&str; 4] = ["checkpoint", "--image-path", "/tmp/x", "--leave-running"];
const RESTORE: [&str; 4] = ["restore", "--image-path", "/tmp/x", "--bundle"];

#[test]
fn a_checkpoint_is_passed_on_untouched_where_the_profile_allows_it() {
    for world in worlds() {
        let (bundle, called) = bundle(world, "checkpoint: allow");
        let bundle = bundle.up();
        bundle.call().args(CHECKPOINT).arg(&bundle.id).run().ok();
        let words = fs::read_to_string(&called).expect("it was called");
        let words: Vec<&str> = words.lines().collect();
        let tail = [&CHECKPOINT[..], &[&bundle.id]].concat();
        assert!(words.ends_with(&tail), "{words:?}");
        bundle.exec(["harmless", "work"]).ok();

        // One that permits only the other.
        let (bundle, called) = self::bundle(world, "restore: unprotected");
        let bundle = bundle.up();
        let done = bundle
            .call()
            .args(CHECKPOINT)
            .arg(&bundle.id)
            .run()
            .expect(1);
        assert!(done.stderr.contains("checkpoint: allow"), "{}", done.stderr);
        assert!(!called.exists());
    }
}

#[test]
fn a_restore_is_passed_on_where_the_profile_says_unprotected_and_says_so_loudly() {
    for world in worlds() {
        let restore = |bundle: &Bundle| {
            bundle.write();
            let call = bundle.call().args(RESTORE).arg(&bundle.path);
            call.arg(&bundle.id).run()
        };
        let (permitted, called) = bundle(world, "restore: unprotected");
        restore(&permitted).ok();
        let words = fs::read_to_string(&called).expect("it was called");
        assert!(words.contains("restore\n--image-path\n"), "{words}");
        let log = fs::read_to_string(permitted.path.join("log.json")).expect("it has a line");
        assert!(log.contains("restored WITHOUT its sandbox"), "{log}");
        assert!(log.contains("\"warning\""), "{log}");
        let session = permitted.exec(["harmless", "work"]).expect(255);
        assert!(
            session.stderr.contains("no record of it"),
            "{}",
            session.stderr
        );

        // What the profile refuses besides is refused for a restored container too.
        let (privileged, called) = bundle(world, "restore: unprotected");
        let privileged = privileged.edit(|config| {
            config["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"]);
        });
        let done = restore(&privileged).expect(1);
        assert!(
            done.stderr.contains("refuses privileged"),
            "{}",
            done.stderr
        );
        assert!(!called.exists());

        let (other, called) = bundle(world, "checkpoint: allow");
        let done = restore(&other).expect(1);
        let words = "less than profile site says";
        assert!(done.stderr.contains(words), "{}", done.stderr);
        assert!(!called.exists());
    }
}
