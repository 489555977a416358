//! What several runs make together, and what a profile that extends another still has to say.

use mantlet::profile::Profile;

use super::observed::{Recorded, nginx};
use super::small;
use crate::node::Node;
use crate::{code, err, out};

/// Seven runs: each writes under names that no other has, and one does more than the others.
fn seven(node: &Node) -> Vec<String> {
    let runs = (1..=7).map(|number: u64| {
        let id = format!("run{number}");
        let mut run = small(&id);
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        run.files("read-file", &format!("/cache:/cache/{hash:016x}/index"))
            .files("write-file", &format!("/cache:/cache/{:016x}/index", !hash))
            .entry("make-reg", "/", "/tmp", &format!("tmpx{number}k_2v"))
            .files("write-file", &format!("/var/app/worker.{}", 4000 + number))
            .serving()
            .calls("accept4");
        if number == 5 {
            run.calls("fsync");
        }
        node.journal(&id, &run.end());
        id
    });
    runs.collect()
}

#[test]
fn what_seven_runs_did_is_told_from_what_one_did() {
    let node = Node::new();
    let ids = seven(&node);
    let learn = |more: &[&str]| {
        let mut args = vec!["learn", "--name", "app"];
        ids.iter().for_each(|id| args.extend(["--from", id]));
        args.extend(more);
        let learned = node.run(&args);
        code(&learned, 0);
        Profile::parse("app", &out(&learned)).expect("a profile");
        out(&learned)
    };
    let line = |text: &str, item: &str| -> String {
        let mut lines = text.lines().map(str::trim);
        let found = lines.find(|line| line.split('#').next().unwrap().trim() == item);
        found.unwrap_or_else(|| panic!("{item}\n{text}")).to_owned()
    };
    let text = learn(&[]);
    assert!(text.contains("# runs         7\n"), "{text}");
    assert!(line(&text, "- brk").ends_with("# 7 of 7 runs; start-up only"));
    assert!(line(&text, "- accept4").ends_with("# 7 of 7 runs; serving only"));
    assert!(line(&text, "- fsync").ends_with("# 1 of 7 runs; serving only"));
    // Names that are another in each run are their directory's, and that is said.
    for (place, why) in [
        ("- /cache", "names that change"),
        ("- /tmp", "and 4 more"),
        ("- /var/app", "names that change"),
    ] {
        assert!(line(&text, place).contains("7 of 7 runs"), "{text}");
        let above = text.split(&format!("{place} ")).next().unwrap();
        let above = &above[above.rfind("# from").expect("it says from what")..];
        let words: Vec<&str> = above
            .split_whitespace()
            .filter(|word| *word != "#")
            .collect();
        assert!(words.join(" ").contains(why), "{place}: {above}");
    }
    // A person may have it otherwise, for all or for one.
    let none = learn(&["--level", "none"]);
    assert!(
        line(&none, "- /var/app/worker.4003")
            .ends_with("# 1 of 7 runs; start-up only; reading comes with it")
    );
    let exact = learn(&["--exact", "/var/app"]);
    assert!(exact.contains("- /var/app/worker.4003 ") && exact.contains("- /cache "));
    let wider = learn(&["--generalise", "/var/app/**=/var"]);
    assert!(wider.contains("- /var ") && wider.contains("(--generalise)"));
}

#[test]
fn what_a_parent_grants_is_not_said_again_where_that_is_less() {
    let node = Node::new();
    node.journal("a1", &nginx("a1", false).end());
    let learn =
        |more: &[&str]| node.run(&[&["learn", "--from", "a1", "--name", "web"], more].concat());
    let (alone, extending) = (learn(&[]), learn(&["--extends", "baseline"]));
    for learned in [&alone, &extending] {
        code(learned, 0);
        assert!(err(learned).contains("nothing denied"), "{}", err(learned));
    }
    let (alone, text) = (out(&alone), out(&extending));
    assert!(text.contains("\nextends: [baseline]\n"), "{text}");
    assert!(text.lines().count() * 2 < alone.lines().count(), "{text}");
    // Nothing that baseline has, and what depends on an argument that nobody recorded.
    let has = |item: &str| text.lines().any(|line| line.trim().starts_with(item));
    assert!(has("- socketpair"), "{text}");
    for item in [
        "- epoll_wait",
        "- SETUID",
        "files:",
        "network:",
        "- {name: clone",
    ] {
        assert!(!has(item), "{item}\n{text}");
    }
    assert!(
        err(&extending).contains("with all that baseline grants"),
        "{}",
        err(&extending)
    );
    // One that grants nothing of it would only widen.
    let own = "version: 1\nname: other\nsyscalls: {groups: '2026.1', allow: [execve, umask]}\nfiles: {read: [/other]}\n\
               network: {bind_tcp: [], connect_tcp: []}\ncapabilities: []\n";
    std::fs::write(node.path.join("other.yaml"), own).unwrap();
    node.configure(&format!("profiles_dir: {}\n", node.path.display()));
    let mut bare = Recorded::new("b1", "/bin/app");
    bare.calls("brk").files("execute", "/bin/app");
    node.journal("b1", &bare.end());
    let learned = node.run(&["learn", "--from", "b1", "--extends", "other"]);
    code(&learned, 0);
    assert!(!out(&learned).contains("extends:"), "{}", out(&learned));
    // There has to be one, and an audit has its own.
    let gone = learn(&["--extends", "gone"]);
    code(&gone, 1);
    assert!(err(&gone).contains("profiles_dir"), "{}", err(&gone));
    let mut audited = Recorded::new("c1", "/bin/app");
    audited.audited("restricted").calls("chroot");
    node.journal("c1", &audited.end());
    let both = node.run(&["learn", "--from", "c1", "--extends", "baseline"]);
    code(&both, 1);
    assert!(
        err(&both).contains("audited by restricted") && err(&both).contains("--extends"),
        "{}",
        err(&both)
    );
}
