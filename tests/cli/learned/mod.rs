//! `learn`: from journals to profiles. Golden profiles are blessed with `MANTLET_BLESS=1 cargo test
//! --test cli learned`.

use std::fs;
use std::path::{Path, PathBuf};

use mantlet::event::What;
use mantlet::profile::Profile;
use serde_json::Value;

use crate::node::Node;
use crate::{code, err, out};

mod beside;
mod kept;
mod moved;
mod observed;
mod together;

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

/// A small program that is recorded whole.
fn small(id: &str) -> Recorded {
    let mut run = Recorded::new(id, "/bin/app");
    run.calls("brk mmap openat close fstat")
        .files("execute", "/bin/app")
        .files("read-file", "/bin/app /etc/app.conf");
    run
}

#[test]
fn the_same_runs_make_the_same_profile_in_any_order_and_from_a_recording() {
    let node = Node::new();
    node.journal("a1", &small("a1").end());
    let mut other = small("b2");
    other
        .by("/bin/sh")
        .calls("fsync")
        .serving()
        .calls("brk")
        .port("bind", 80);
    node.journal("b2", &other.end());
    let learn = |sources: &[&str]| {
        let mut args = vec!["learn", "--name", "web"];
        sources
            .iter()
            .for_each(|source| args.extend(["--from", source]));
        let learned = node.run(&args);
        code(&learned, 0);
        out(&learned)
    };
    let saved = node.path.join("nginx.json");
    let saved = saved.to_str().unwrap();
    let keep = ["learn", "--from", "b2", "--save", saved, "--json"];
    code(&node.run(&keep), 0);
    let first = learn(&["a1", "b2"]);
    assert_eq!(first, learn(&["b2", "a1"]));
    assert_eq!(first, learn(&["a1", saved]));
    // The same run twice is one.
    assert_eq!(first, learn(&["a1", saved, "b2"]));
    let journal = node.log().join(
        fs::read_dir(node.log())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .file_name(),
    );
    assert!(learn(&[journal.to_str().unwrap()]).contains("# runs         1\n"));
}

#[test]
fn events_that_are_lost_make_a_profile_that_denies_nothing() {
    let node = Node::new();
    let mut run = small("c1");
    run.push(What::Overflow { count: 12 });
    let mut events = run.end();
    for event in events.iter_mut().skip(4) {
        event.seq += 3;
    }
    node.journal("c1", &events);
    let learned = node.run(&["learn", "--from", "c1", "--name", "app"]);
    code(&learned, 1);
    let text = out(&learned);
    for part in [
        "# events lost  15\n",
        "# 3: holes in the journal's numbers\n",
        "# 12: the kernel's queue was full\n",
        "\nmode: audit\n",
    ] {
        assert!(
            text.contains(part) || text.contains(&part.replacen("# ", "#              ", 1)),
            "{part}\n{text}"
        );
    }
    assert!(
        err(&learned).contains("15 events of the recording are lost"),
        "{}",
        err(&learned)
    );
    let accepted = node.run(&["learn", "--from", "c1", "--name", "app", "--accept-loss"]);
    code(&accepted, 0);
    assert!(!out(&accepted).contains("mode:") && out(&accepted).contains("# events lost  15\n"));
    let json = node.run(&["learn", "--from", "c1", "--json"]);
    code(&json, 1);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["events_lost"], &json["mode"]),
        (&15.into(), &"audit".into())
    );
}

#[test]
fn a_file_that_is_there_stays_unless_asked_and_names_the_profile() {
    let node = Node::new();
    node.journal("c1", &small("c1").end());
    let path = node.path.join("shop.yaml");
    let path = path.to_str().unwrap();
    let learned = node.run(&["learn", "--from", "c1", "-o", path]);
    code(&learned, 0);
    assert!(out(&learned).is_empty());
    assert!(
        err(&learned).contains("nothing denied"),
        "{}",
        err(&learned)
    );
    assert!(err(&learned).contains("not proven: syscalls.allow: restart_syscall"));
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("\nname: shop\n"));
    fs::write(path, "mine").unwrap();
    let again = node.run(&["learn", "--from", "c1", "-o", path]);
    code(&again, 1);
    assert!(err(&again).contains("exists") && err(&again).contains("--force"));
    assert_eq!(fs::read_to_string(path).unwrap(), "mine");
    code(
        &node.run(&["learn", "--from", "c1", "-o", path, "--force"]),
        0,
    );
    assert_eq!(fs::read_to_string(path).unwrap(), text);
    let nowhere = node.path.join("no/such/folder.yaml");
    let nowhere = node.run(&["learn", "--from", "c1", "-o", nowhere.to_str().unwrap()]);
    code(&nowhere, 1);
    assert!(err(&nowhere).contains("cannot write"));
    // To replace what is no plain file would be to remove it.
    let folder = node.path.join("folder.yaml");
    fs::create_dir(&folder).unwrap();
    let folder = node.run(&[
        "learn",
        "--from",
        "c1",
        "-o",
        folder.to_str().unwrap(),
        "--force",
    ]);
    code(&folder, 1);
    assert!(err(&folder).contains("no plain file"), "{}", err(&folder));
}

#[test]
fn exec_sessions_count_only_where_asked() {
    let node = Node::new();
    let mut run = small("c1");
    run.session()
        .by("/bin/sh")
        .calls("brk ptrace")
        .files("execute", "/bin/sh");
    node.journal("c1", &run.end());
    let text = out(&node.run(&["learn", "--from", "c1"]));
    assert!(!text.contains("- ptrace") && !text.contains("- /bin/sh"));
    assert!(
        text.contains("# sessions     1; 2 things that they alone did are left out"),
        "{text}"
    );
    let text = out(&node.run(&["learn", "--from", "c1", "--exec-sessions"]));
    assert!(text.contains("- ptrace") && text.contains("- /bin/sh"));
    assert!(text.contains("# exec sessions; sh\n"), "{text}");
}

#[test]
fn a_container_that_was_not_recorded_teaches_nothing() {
    let node = Node::new();
    let mut silent = Recorded::new("c1", "/bin/app").end();
    if let What::Start { recording, .. } = &mut silent[0].what {
        *recording = None;
    }
    node.journal("c1", &silent);
    let learned = node.run(&["learn", "--from", "c1"]);
    code(&learned, 1);
    assert!(err(&learned).contains("was not recorded") && err(&learned).contains("mode `learn`"));
    // Beside one that was, it is only said.
    node.journal("d1", &small("d1").end());
    let learned = node.run(&["learn", "--from", "c1", "--from", "d1"]);
    code(&learned, 0);
    assert!(
        err(&learned).contains("\"c1\" was not recorded")
            && out(&learned).contains("# runs         1\n")
    );
}

#[test]
fn what_an_audit_found_becomes_an_addition_to_the_audited_profile() {
    let node = Node::new();
    let mut run = Recorded::new("c1", "/bin/app");
    run.audited("restricted")
        .calls("chroot")
        .entry("make-reg", "/", "/opt/app/cache", "x");
    node.journal("c1", &run.end());
    let learned = node.run(&["learn", "--from", "c1", "--name", "app"]);
    code(&learned, 0);
    let text = out(&learned);
    assert!(text.contains("\nextends: [restricted]\n"), "{text}");
    assert!(
        text.contains("    - chroot\n") && text.contains("    - /opt/app/cache "),
        "{text}"
    );
    assert!(!text.contains("tripwire:") && !text.contains("requires:") && !text.contains("execve"));
    let profile = Profile::parse("app", &text).unwrap();
    assert!(
        profile
            .syscalls
            .allow
            .iter()
            .any(|rule| rule.name == "accept4")
    );
    // Both kinds at once say nothing together.
    node.journal("d1", &small("d1").end());
    let mixed = node.run(&["learn", "--from", "c1", "--from", "d1"]);
    code(&mixed, 1);
    assert!(err(&mixed).contains("audited by restricted") && err(&mixed).contains("recorded"));
    // A profile that is nowhere.
    let mut run = Recorded::new("e1", "/bin/app");
    run.audited("gone").calls("chroot");
    node.journal("e1", &run.end());
    let gone = node.run(&["learn", "--from", "e1"]);
    code(&gone, 1);
    assert!(err(&gone).contains("profiles_dir"), "{}", err(&gone));
}

#[test]
fn hostile_names_reach_neither_the_language_nor_the_terminal() {
    let node = Node::new();
    let evil = "/srv/x: y\n#\u{1b}[2J\u{202e} \"'{[";
    let mut run = Recorded::new("c1", "/bin/a\nname: other\u{1b}[2J");
    run.calls("brk").see(mantlet::access::Access::File {
        path: evil.into(),
        right: "read-file".into(),
        entry: None,
        mount: "/".into(),
        directory: false,
        moved: None,
    });
    run.entry("make-reg", "/", "/srv/d", "a\n- /etc/shadow");
    node.journal("c1", &run.end());
    let learned = node.run(&["learn", "--from", "c1", "--name", "app"]);
    code(&learned, 0);
    for text in [out(&learned), err(&learned)] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }
    let profile = Profile::parse("app", &out(&learned)).unwrap();
    let files = profile.files.unwrap();
    let all = format!("{files:?}");
    assert!(!all.contains("/etc/shadow"), "{all}");
    let place = mantlet::profile::Place::Path(evil.into());
    assert!(files.read.iter().any(|entry| entry.place == place), "{all}");
}

#[test]
fn wrong_words_are_said_before_anything_is_read() {
    let node = Node::new();
    node.journal("c1", &small("c1").end());
    for args in [
        &["learn"][..],
        &["learn", "--from"],
        &["learn", "--from", "c1", "--level", "most"],
        &["learn", "--from", "c1", "--exact", "relative"],
        &["learn", "--from", "c1", "--generalise", "/a/**"],
        &["learn", "--from", "c1", "--generalise", "/a/x**=/a"],
    ] {
        code(&node.run(args), 2);
    }
    for (args, said) in [
        (
            &["--from", "c1", "--name", "a/b"][..],
            "cannot be a profile's name",
        ),
        (&["--from", "nosuch"], "no events of a container \"nosuch\""),
        (&["--from", "/no/such/file"], "No such file"),
        (&["--from", ""], "no events of a container"),
        (&["--", "true"], "name a file for the profile with -o"),
    ] {
        let learned = node.run(&[&["learn"], args].concat());
        code(&learned, 1);
        assert!(err(&learned).contains(said), "{args:?}: {}", err(&learned));
    }
}

#[test]
fn sources_that_are_not_what_they_should_be_are_refused() {
    let node = Node::new();
    node.journal("c1", &small("c1").end());
    node.journal("c2", &small("c2").end());
    let several = node.run(&["learn", "--from", "c"]);
    code(&several, 1);
    assert!(
        err(&several).contains("several containers' ids"),
        "{}",
        err(&several)
    );
    for (text, said) in [
        (
            r#"{"recording": 2, "mantlet": "9", "runs": []}"#,
            "it has version 2",
        ),
        (r#"{"recording": 1, "runs": 7}"#, "recording"),
        (r#"{"version": 1}"#, "holds no event"),
        ("", "holds no event"),
    ] {
        let path = node.path.join("source.json");
        fs::write(&path, text).unwrap();
        let learned = node.run(&["learn", "--from", path.to_str().unwrap()]);
        code(&learned, 1);
        assert!(err(&learned).contains(said), "{text}: {}", err(&learned));
    }
}

#[test]
fn levels_and_choices_change_what_is_taken_together() {
    let node = Node::new();
    node.journal("a1", &nginx("a1", false).end());
    let learn = |more: &[&str]| {
        let learned = node.run(&[&["learn", "--from", "a1"], more].concat());
        code(&learned, 0);
        out(&learned)
    };
    let none = learn(&["--level", "none"]);
    assert!(
        none.contains("- /usr/lib/x86_64-linux-gnu/libz.so.1.2.13 "),
        "{none}"
    );
    assert!(none.contains("- {path: /srv/nginx.conf, optional: true}"));
    let kept = learn(&[
        "--exact",
        "/srv",
        "--generalise",
        "/etc/nginx/**=/etc/nginx",
    ]);
    assert!(
        kept.contains("- {path: /srv/index.html, optional: true}"),
        "{kept}"
    );
    assert!(kept.contains("- /etc/nginx\n") || kept.contains("- /etc/nginx "));
    let folded = learn(&["--fold"]);
    assert!(
        folded.contains("\"@io-event\"")
            || folded.contains("\"@setuid\"")
            || folded.contains("not seen, and allowed by it"),
        "{folded}"
    );
}

/// The commands of the walk-through, in their order, as a person would who stops at the first error.
#[test]
fn the_walk_through_can_be_walked() {
    let node = Node::new();
    node.journal("a1", &nginx("a1", false).end());
    node.journal("b2", &nginx("b2", true).end());
    let mut audited = Recorded::new("c3", "/usr/sbin/nginx");
    audited.audited("web").calls("fsync");
    node.journal("c3", &audited.end());
    node.configure(&format!("profiles_dir: {}\n", node.path.display()));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/LEARNING.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = page.split("\n```sh learn\n").skip(1).collect();
    assert_eq!(blocks.len(), 4);
    let mantlet = Path::new(env!("CARGO_BIN_EXE_mantlet")).parent().unwrap();
    for block in blocks {
        let (block, _) = block.split_once("```").unwrap();
        let walked = std::process::Command::new("sh")
            .args(["-euc", block])
            .current_dir(&node.path)
            .env("PATH", format!("{}:/usr/bin:/bin", mantlet.display()))
            .env("MANTLET_CONFIG", node.path.join("config.yaml"))
            .output()
            .unwrap();
        code(&walked, 0);
    }
    let text = fs::read_to_string(node.path.join("web.yaml")).unwrap();
    // What the page shows is what comes out.
    let (_, shown) = page.split_once("```yaml\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    for line in shown.lines().filter(|line| !line.contains("socket")) {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let more = fs::read_to_string(node.path.join("more.yaml")).unwrap();
    assert!(
        more.contains("extends: [web]") && more.contains("- fsync"),
        "{more}"
    );
}

#[test]
fn a_file_with_several_names_is_granted_by_its_directory() {
    let node = Node::new();
    let mut run = small("c1");
    run.linked(true).files("execute", "/usr/local/bin/busybox");
    node.journal("c1", &run.end());
    let text = out(&node.run(&["learn", "--from", "c1", "--level", "none"]));
    assert!(
        text.contains(
            "    # from /usr/local/bin/busybox (hard links, whose rules do not last)\n    - /usr/local/bin\n"
        ),
        "{text}"
    );
}

#[test]
fn capabilities_that_nobody_looked_at_are_those_that_were_held() {
    let node = Node::new();
    // The report of these journals holds NET_BIND_SERVICE.
    let blind = "capabilities cannot be seen: this kernel tells of none (before 6.14)";
    let mut run = Recorded::seen("c1", "/bin/app", vec![blind.into()]);
    node.journal("c1", &run.calls("brk").end());
    let text = out(&node.run(&["learn", "--from", "c1"]));
    assert!(
        text.contains(&format!("# not seen     {blind}\n")),
        "{text}"
    );
    assert!(
        text.contains("# Which capabilities are used was not recorded."),
        "{text}"
    );
    assert!(
        text.contains("- NET_BIND_SERVICE                          # held"),
        "{text}"
    );
    node.journal("d1", &nginx("d1", false).end());
    let text = out(&node.run(&["learn", "--from", "d1"]));
    assert!(
        !text.contains("# held") && text.contains("- SETUID "),
        "{text}"
    );
}

#[test]
fn what_io_uring_did_is_not_in_a_recording_and_that_is_said() {
    let node = Node::new();
    node.journal(
        "c1",
        &small("c1").calls("io_uring_setup io_uring_enter").end(),
    );
    let learned = node.run(&["learn", "--from", "c1"]);
    code(&learned, 1);
    let text = out(&learned);
    assert!(text.contains("\nmode: audit\n"), "{text}");
    assert!(
        text.contains("- {name: io_uring_enter, errno: ENOSYS}"),
        "{text}"
    );
    assert!(
        err(&learned).contains("What io_uring did"),
        "{}",
        err(&learned)
    );
}

#[test]
fn what_takes_long_is_shown_on_a_terminal_and_nowhere_else() {
    let node = Node::new();
    node.journal("a1", &nginx("a1", false).end());
    node.journal("b2", &nginx("b2", true).end());
    let words = ["learn", "--from", "a1", "--from", "b2", "--name", "nginx"];
    let plain = node.run(&words);
    code(&plain, 0);
    assert!(!err(&plain).contains('\r'), "{}", err(&plain));
    let shown = node.on_terminal(100, &words);
    for part in [
        "\r\u{1b}[Kmantlet: reading source 1 of 2; 0 runs and 0 accesses so far",
        "\r\u{1b}[Kmantlet: replaying without allowance 1 of ",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown:?}");
    }
    // It is gone before anything else is said.
    let (_, after) = shown.rsplit_once("\u{1b}[K").expect("lines were drawn");
    assert!(
        after.starts_with("# ") || after.starts_with("mantlet: replayed"),
        "{after:?}"
    );
}

#[test]
fn a_library_that_is_mapped_of_a_volume_is_granted_execution_and_replayed() {
    let node = Node::new();
    let mut run = small("c1");
    run.volume("/plug")
        .files("read-file", "/plug:/plug/one.so /plug:/plug/list")
        .files("map-execute", "/plug:/plug/one.so");
    let journal = node.journal("c1", &run.end());
    let learned = node.run(&["learn", "--from", "c1", "--name", "app"]);
    code(&learned, 0);
    let text = out(&learned);
    let line = "- {path: /plug/one.so, optional: true}";
    let list = text.split("  read_execute:\n").nth(1).expect(&text);
    assert!(
        list.lines().any(|own| own.trim_start().starts_with(line)),
        "{text}"
    );
    assert!(
        !err(&learned).contains("not proven: files"),
        "{}",
        err(&learned)
    );
    // Without it the mount is `noexec`, and the replay says so.
    let replay = |name: &str, text: &str| {
        let path = node.path.join(name);
        fs::write(&path, text).unwrap();
        let (path, journal) = (path.to_str().unwrap(), journal.to_str().unwrap());
        out(&node.run(&["test", path, "--replay", journal]))
    };
    let whole = replay("app.yaml", &text);
    assert!(!whole.contains("map-execute"), "{whole}");
    let less = text.lines().filter(|own| !own.contains(line));
    let less: String = less.map(|own| format!("{own}\n")).collect();
    let said = replay("less.yaml", &less.replace("name: app\n", "name: less\n"));
    assert!(
        said.contains("map-execute /plug/one.so") && said.contains("`noexec`"),
        "{said}"
    );
}
