//! Files that are moved to where more may be done with them: Landlock lets nothing gain rights by a move.

use std::fs;

use mantlet::access::{Access, Moved};
use mantlet::profile::{FileEntry, Place, Profile};

use super::observed::Recorded;
use super::small;
use crate::node::Node;
use crate::{code, err, out};

/// `cp PROGRAM FROM; mv FROM TO`, each a folder and a name.
fn brought<'a>(run: &'a mut Recorded, from: (&str, &str), to: (&str, &str)) -> &'a mut Recorded {
    let path = format!("{}/{}", from.0, from.1);
    run.entry("make-reg", "/", from.0, from.1)
        .files("write-file", &path);
    moved(run, from, to)
}

fn moved<'a>(run: &'a mut Recorded, from: (&str, &str), to: (&str, &str)) -> &'a mut Recorded {
    let refer = |folder: &str, name: &str, moved| Access::File {
        path: folder.into(),
        right: "refer".into(),
        entry: Some(name.into()),
        mount: "/".into(),
        directory: true,
        moved,
    };
    let came = Moved {
        path: format!("{}/{}", from.0, from.1),
        directory: false,
    };
    run.entry("remove-file", "/", from.0, from.1)
        .see(refer(from.0, from.1, None))
        .entry("make-reg", "/", to.0, to.1)
        .see(refer(to.0, to.1, Some(came)))
}

fn has(entries: &[FileEntry], path: &str) -> bool {
    let place = Place::Path(path.into());
    entries.iter().any(|entry| entry.place == place)
}

#[test]
fn what_is_moved_to_where_it_is_executed_may_be_executed_where_it_comes_from() {
    let node = Node::new();
    let mut run = small("c1");
    brought(&mut run, ("/srv/in", "t"), ("/opt/x", "t"))
        .files("execute", "/opt/x/t")
        .files("read-file", "/opt/x/t")
        .entry("make-reg", "/", "/srv/other", "a")
        .files("write-file", "/srv/other/a");
    node.journal("c1", &run.end());
    for level in ["none", "careful", "wide"] {
        let learned = node.run(&["learn", "--from", "c1", "--level", level]);
        code(&learned, 0);
        let text = out(&learned);
        let files = Profile::parse("app", &text).unwrap().files.unwrap();
        assert!(has(&files.read_write_execute, "/srv/in"), "{text}");
        assert!(has(&files.read_write_execute, "/opt/x"), "{text}");
        // No more than that.
        assert!(has(&files.read_write, "/srv/other"), "{text}");
        assert!(
            text.contains("# as free as /opt/x, where something is moved or linked to from here"),
            "{text}"
        );
    }
}

#[test]
fn what_is_granted_for_one_move_may_be_a_gain_of_another() {
    let node = Node::new();
    let mut run = small("c1");
    brought(&mut run, ("/srv/first", "t"), ("/srv/second", "t"));
    moved(&mut run, ("/srv/second", "t"), ("/opt/x", "t")).files("execute", "/opt/x/t");
    node.journal("c1", &run.end());
    let learned = node.run(&["learn", "--from", "c1"]);
    code(&learned, 0);
    let text = out(&learned);
    let files = Profile::parse("app", &text).unwrap().files.unwrap();
    for place in ["/srv/first", "/srv/second", "/opt/x"] {
        assert!(has(&files.read_write_execute, place), "{place}\n{text}");
    }
}

#[test]
fn a_program_of_the_image_gains_nothing_as_a_file_of_its_own() {
    let node = Node::new();
    let mut run = small("c1");
    moved(&mut run, ("/usr/lib/app", "tool"), ("/opt/x", "tool")).files("execute", "/opt/x/tool");
    node.journal("c1", &run.end());
    let learned = node.run(&["learn", "--from", "c1", "--level", "none"]);
    code(&learned, 0);
    let text = out(&learned);
    let files = Profile::parse("app", &text).unwrap().files.unwrap();
    // It may be removed from its folder, and is the one file there that may be executed.
    assert!(has(&files.read_write, "/usr/lib/app"), "{text}");
    assert!(!has(&files.read_write_execute, "/usr/lib/app"), "{text}");
    assert!(
        has(&files.read_execute, "/usr/lib/app/tool")
            || has(&files.read_write_execute, "/usr/lib/app/tool"),
        "{text}"
    );
}

#[test]
fn what_a_parent_grants_is_gained_too() {
    let node = Node::new();
    node.configure(&format!("profiles_dir: {}\n", node.path.display()));
    let own = "version: 1\nname: site\nsyscalls: {groups: '2026.1', allow: [execve, brk]}\n\
               files: {read_execute: [/opt], read_write: [/srv/in, /opt/x]}\n\
               network: {bind_tcp: [], connect_tcp: []}\ncapabilities: []\n";
    fs::write(node.path.join("site.yaml"), own).unwrap();
    let mut run = small("c1");
    brought(&mut run, ("/srv/in", "t"), ("/opt/x", "t"));
    node.journal("c1", &run.end());
    let learned = node.run(&[
        "learn",
        "--from",
        "c1",
        "--name",
        "app",
        "--extends",
        "site",
    ]);
    code(&learned, 0);
    let text = out(&learned);
    assert!(text.contains("\nextends: [site]\n"), "{text}");
    // It may be written there already.
    let files = text.split("files:").nth(1).unwrap();
    assert!(
        files.contains("read_execute:") && files.contains("    - /srv/in\n"),
        "{text}"
    );
    assert!(!files.contains("/opt/x\n"), "{text}{}", err(&learned));
}
