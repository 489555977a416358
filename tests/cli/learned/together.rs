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

/// A parent of one's own, and a run that is learned on top of it.
fn on_top(own: &str, run: &mut Recorded, more: &[&str]) -> std::process::Output {
    let node = Node::new();
    std::fs::write(node.path.join("other.yaml"), own).unwrap();
    node.configure(&format!("profiles_dir: {}\n", node.path.display()));
    node.journal("c1", &run.end());
    let learn = ["learn", "--from", "c1", "--name", "app"];
    node.run(&[&learn[..], more].concat())
}

#[test]
fn what_nobody_saw_is_left_out_only_where_the_parent_has_it() {
    let own = "version: 1\nname: other\nsyscalls: {groups: '2026.1', allow: [execve, brk, mmap, futex]}\n";
    let learned = on_top(own, &mut small("c1"), &["--extends", "other"]);
    code(&learned, 0);
    let text = out(&learned);
    assert!(text.contains("extends: [other]"), "{text}");
    for name in ["rt_sigreturn", "exit", "restart_syscall"] {
        assert!(text.contains(&format!("    - {name} ")), "{name}\n{text}");
    }
    assert!(
        !text.contains("- futex") && !text.contains("- brk"),
        "{text}"
    );
}

#[test]
fn a_rule_of_the_parent_is_lifted_under_its_own_conditions() {
    let mut run = small("c1");
    run.call("socket", 0, 40, None)
        .call("socket", 0, 2, None)
        .call("clone", 0, 0x1000_0000, Some(0x7e02_0000));
    let learned = on_top("", &mut run, &["--extends", "baseline"]);
    code(&learned, 0);
    let text = out(&learned);
    for rule in [
        "- {name: socket, args: [{index: 0, op: ne, value: 0x1}, ",
        "- {name: clone, args: [{index: 0, op: masked-ne, ",
        "# in the place of the rule of baseline with these conditions, and as wide",
    ] {
        assert!(text.contains(rule), "{rule}\n{text}");
    }
    assert!(!text.contains("0x28") && !text.contains("op: eq"), "{text}");
    // A rule that no line of a profile takes back.
    let own = "version: 1\nname: other\nextends: [baseline]\ndetect: [{on: fileless-exec}]\n";
    let mut run = small("c1");
    run.call("memfd_create", 1, 0, Some(0x18)).calls("chroot");
    let learned = on_top(own, &mut run, &["--extends", "other"]);
    code(&learned, 1);
    let told = err(&learned);
    assert!(
        told.contains("other denies some of what was recorded"),
        "{told}"
    );
    assert!(!told.contains("a bug of mantlet's"), "{told}");
}

#[test]
fn a_unix_socket_may_be_listened_on_though_the_parent_binds_no_port() {
    let own = "version: 1\nname: other\nextends: [baseline]\nnetwork: {bind_tcp: []}\n";
    let mut run = small("c1");
    run.calls("bind listen");
    let learned = on_top(own, &mut run, &["--extends", "other"]);
    code(&learned, 0);
    let text = out(&learned);
    assert!(text.contains("  bind_tcp:\n    - 0 "), "{text}");
    // One that says nothing of ports closes none by that.
    let mut run = small("c1");
    run.calls("bind listen");
    let own = "version: 1\nname: other\nsyscalls: {groups: '2026.1', allow: [execve, brk, mmap]}\n";
    let learned = on_top(own, &mut run, &["--extends", "other"]);
    code(&learned, 0);
    assert!(!out(&learned).contains("bind_tcp"), "{}", out(&learned));
}

#[test]
fn what_the_parent_leaves_out_is_said_and_not_granted() {
    let own = "version: 1\nname: other\nextends: [baseline]\nfiles: {read_write_execute: [/], except: [/root]}\n";
    let own = own.replace(
        "extends: [baseline]\n",
        "syscalls: {groups: '2026.1', allow: [execve, brk, mmap]}\n",
    );
    let mut run = small("c1");
    run.files("read-file", "/root/key").files("read-dir", "/");
    let learned = on_top(&own, &mut run, &["--extends", "other"]);
    code(&learned, 1);
    let text = out(&learned);
    assert!(
        text.contains("# left out     2 things that the profile it adds to leaves out")
            && text.contains("# read-file /root/key (except: /root)")
            && text.contains("\nmode: audit\n")
            && !text.contains("\nfiles:"),
        "{text}\n{}",
        err(&learned)
    );
    let accepted = ["--extends", "other", "--accept-loss"];
    let mut run = small("c1");
    run.files("read-file", "/root/key");
    code(&on_top(&own, &mut run, &accepted), 0);
    // A place that would stand for it too: whose line is in the way is said.
    let own = own.replace(
        "read_write_execute: [/], except: [/root]",
        "read: [/], except: [/opt/app/key]",
    );
    let mut run = small("c1");
    run.files(
        "write-file",
        "/opt/app/a /opt/app/b /opt/app/c /opt/app/d /opt/app/e /opt/app/f",
    );
    let learned = on_top(&own, &mut run, &["--extends", "other"]);
    code(&learned, 1);
    let told = err(&learned);
    assert!(
        told.contains("cannot extend other, which leaves out"),
        "{told}"
    );
    assert!(
        told.contains("/opt/app/key") && !told.contains("a bug of mantlet's"),
        "{told}"
    );
}
