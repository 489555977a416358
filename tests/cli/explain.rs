//! `explain`: questions right and wrong, layers, bundles, containers, groups.

use std::fs;
use std::os::unix::fs::symlink;

use mantlet::config::Config;
use mantlet::host::{Family, Host, Kernel, Runtime};
use mantlet::oci::reference;
use mantlet::policy::{self, Input, Layers, Plan};
use mantlet::profile::Profile;
use mantlet::state;
use serde_json::{Value, json};

use crate::node::Node;
use crate::{code, err, out};

/// A profile of the site's, with a reason and an exception.
pub const SITE: &str = "\
version: 1
name: site
extends: [baseline]
syscalls:
  groups: \"2026.1\"
  tripwire:
    - {name: ptrace, args: [{index: 0, op: eq, value: 16}]}
network:
  bind_tcp: [8080]
  connect_tcp: [443]
";

pub fn node() -> Node {
    let node = Node::new();
    let folder = node.path.join("profiles");
    fs::create_dir(&folder).unwrap();
    node.configure(&format!("profiles_dir: {}\n", folder.display()));
    fs::write(folder.join("site.yaml"), SITE).unwrap();
    node
}

fn asked(node: &Node, words: &[&str]) -> String {
    let done = node.run(&[&["explain"], words].concat());
    code(&done, 0);
    out(&done)
}

#[test]
fn a_profile_that_only_audits_is_asked_what_it_would_deny_and_that_is_said() {
    let node = node();
    let text = "version: 1\nname: looks\nextends: [restricted]\nmode: audit\n\
                tests:\n  - {syscall: ptrace, expect: denied}\n";
    fs::write(node.path.join("profiles/looks.yaml"), text).unwrap();
    let note =
        "looks says `mode: audit` and denies nothing: this is what it would deny if it enforced";
    let told = node.run(&["explain", "looks", "path", "/etc/shadow", "write"]);
    code(&told, 0);
    assert!(out(&told).contains("DENIED"), "{}", out(&told));
    assert!(err(&told).contains(note), "{}", err(&told));
    let told = node.run(&["explain", "restricted", "path", "/etc/shadow", "write"]);
    assert_eq!(err(&told), "");
    let tested = node.run(&["test", "looks"]);
    code(&tested, 0);
    assert!(out(&tested).contains("1 passed"), "{}", out(&tested));
    assert!(err(&tested).contains(note), "{}", err(&tested));
}

#[test]
fn each_question_has_a_verdict_a_layer_a_line_and_what_would_change_it() {
    let node = node();
    for (words, parts) in [
        (
            &["restricted", "path", "/etc/shadow", "write"][..],
            &[
                "DENIED",
                "nothing grants write-file",
                "files: {read_write: [/etc/shadow]}",
            ][..],
        ),
        (
            &["restricted", "path", "/etc/shadow", "read"],
            &["ALLOWED", "restricted.yaml:", "files.read: /"],
        ),
        (
            &["restricted", "syscall", "mount"],
            &[
                "DENIED",
                "tripwire",
                "syscalls.tripwire: @mount",
                "none: mount is denied in every Landlock domain",
            ],
        ),
        (
            &["baseline", "syscall", "clone"],
            &["DEPENDS", "arg0 & 0x7e020000"],
        ),
        (
            &["baseline", "syscall", "clone", "0x11"],
            &["ALLOWED", "@process"],
        ),
        (
            &["baseline", "syscall", "clone", "0x10000000"],
            &["DENIED", "syscalls.tripwire: clone where"],
        ),
        (
            &["site", "port", "443"],
            &[
                "DENIED",
                "bind port 443: DENIED",
                "connect port 443: ALLOWED",
                "site.yaml:10",
                "bind_tcp: [443]",
            ],
        ),
        (
            &["site", "port", "8080", "bind"],
            &["ALLOWED", "site.yaml:9"],
        ),
        (
            &["restricted", "capability", "NET_RAW"],
            &["DENIED", "does not list it", "capabilities: [NET_RAW]"],
        ),
        (
            &["baseline", "capability", "SYS_ADMIN"],
            &["engine: config.json does not give it", "securityContext"],
        ),
        (
            &["restricted", "exec", "/tmp/x"],
            &["ALLOWED", "execute /tmp/x", "execve: ALLOWED"],
        ),
        (
            &["restricted", "exec", "/dev/shm/x"],
            &["DENIED", "files.execute: @image` leaves out /dev"],
        ),
    ] {
        let page = asked(&node, words);
        for part in parts {
            assert!(page.contains(part), "{part:?} in\n{page}");
        }
        assert!(
            page.contains("over: a pod that asks for nothing special"),
            "{page}"
        );
    }
}

#[test]
fn what_is_no_question_and_no_profile_is_said() {
    let node = node();
    for (words, told) in [
        (&["restrictd"][..], "no profile `restrictd`"),
        (&["restricted", "file", "/x"], "is no question"),
        (&["restricted", "syscall", "opnat"], "no system call"),
        (&["restricted", "path", "etc"], "not absolute"),
        (&["./none.yaml"], "cannot read ./none.yaml"),
        (&["@nothing"], "no group @nothing"),
        (&["restricted", "--landlock-abi", "2"], "--landlock-abi"),
        (&["restricted", "--container", "zz"], "no container"),
        (&["restricted", "--bundle", "/none"], "config.json"),
    ] {
        let done = node.run(&[&["explain"], words].concat());
        code(&done, 1);
        assert!(err(&done).contains(told), "{told:?} in\n{}", err(&done));
        assert!(out(&done).is_empty());
    }
    code(&node.run(&["explain"]), 2);
}

#[test]
fn the_exit_code_is_the_answer_only_where_that_is_asked_for() {
    let node = node();
    let run = |words: &[&str]| node.run(&[&["explain", "--exit-code"], words].concat());
    code(&run(&["restricted", "syscall", "openat"]), 0);
    code(&run(&["restricted", "syscall", "mount"]), 1);
    code(&run(&["restricted", "syscall", "clone"]), 1);
    code(&run(&["nobody", "syscall", "mount"]), 2);
}

#[test]
fn layers_are_said_one_by_one() {
    let node = node();
    for words in [
        &["baseline+restricted", "capability", "NET_RAW", "--json"][..],
        &[
            "baseline",
            "--layer",
            "restricted",
            "capability",
            "NET_RAW",
            "--json",
        ],
    ] {
        let value: Value = serde_json::from_str(&asked(&node, words)).unwrap();
        assert_eq!(value["answer"], "denied");
        assert_eq!(value["profiles"], json!(["baseline", "restricted"]));
        let said = value["parts"][0]["contributions"].as_array().unwrap();
        let answers: Vec<&str> = said
            .iter()
            .map(|one| one["answer"].as_str().unwrap())
            .collect();
        assert_eq!(
            answers,
            ["allowed", "allowed", "denied"],
            "engine, then both"
        );
        assert_eq!(said[1]["written"]["file"], "baseline.yaml");
        assert_eq!(value["parts"][0]["fixes"][0]["layer"], "restricted");
    }
}

#[test]
fn a_page_has_every_section_for_people_and_for_programs() {
    let node = node();
    let page = asked(&node, &["watched"]);
    for part in [
        "Calls that are performed",
        "(tripwires)",
        "@mount",
        "Files (Landlock)",
        "execute: @image",
        "TCP ports",
        "any port",
        "CAP_NET_BIND_SERVICE",
        "Detection",
        "Always on",
        "no_new_privs",
        "watched.yaml:",
    ] {
        assert!(page.contains(part), "{part:?} in\n{page}");
    }
    let value: Value = serde_json::from_str(&asked(&node, &["site", "--json"])).unwrap();
    let sections = &value["sections"];
    for key in [
        "allowed",
        "conditional",
        "tripwires",
        "files",
        "network",
        "capabilities",
        "always",
    ] {
        assert!(sections[key].is_array(), "{key}");
    }
    assert_eq!(sections["network"][0]["written"]["line"], 9);
    // An older kernel goes without, and says so.
    let old = asked(&node, &["baseline", "--landlock-abi", "1"]);
    assert!(old.contains("Landlock ABI 1 (below"), "{old}");
}

#[test]
fn groups_of_all_kinds_are_explained() {
    let node = node();
    for (group, part) in [
        ("@namespaces", "setns unshare"),
        ("@shells", "bash"),
        ("@runtime-sockets", "/run/docker.sock"),
        ("@image", "every writable mount"),
        ("@added", "CAP_SYS_ADMIN"),
    ] {
        assert!(asked(&node, &[group]).contains(part), "{group}");
    }
    let value: Value = serde_json::from_str(&asked(&node, &["@mount", "--json"])).unwrap();
    assert_eq!(value[0]["version"], "2026.1");
    assert!(
        value[0]["members"]
            .as_array()
            .unwrap()
            .contains(&json!("move_mount"))
    );
}

/// A folder with a bundle: a script, its interpreter, links, a read-only volume.
fn bundle(node: &Node) -> String {
    let folder = node.path.join("bundle");
    let root = folder.join("rootfs");
    for inside in ["usr/bin", "opt", "data"] {
        fs::create_dir_all(root.join(inside)).unwrap();
    }
    symlink("usr/bin", root.join("bin")).unwrap();
    fs::write(root.join("usr/bin/python"), "\x7fELF").unwrap();
    fs::write(root.join("opt/app"), "#!/bin/python -u\n").unwrap();
    let mut config = reference::config();
    config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/data", "type": "bind", "source": "/v", "options": ["rbind", "rw"],
    }));
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder.display().to_string()
}

#[test]
fn a_bundle_tells_what_links_lead_to_what_starts_a_program_and_what_is_a_volume() {
    let node = node();
    let folder = bundle(&node);
    let ask = |words: &[&str]| asked(&node, &[words, &["--bundle", &folder]].concat());
    let page = ask(&["restricted", "exec", "/opt/app"]);
    assert!(page.contains("started by /bin/python"), "{page}");
    assert!(page.contains("execute /usr/bin/python: ALLOWED"), "{page}");
    let page = ask(&["restricted", "path", "/bin/python", "write"]);
    assert!(
        page.contains("/bin/python is /usr/bin/python here"),
        "{page}"
    );
    assert!(ask(&["restricted", "path", "/data/x", "write"]).contains("@volumes"));
    let page = ask(&["restricted", "exec", "/data/x"]);
    assert!(page.contains("DENIED") && page.contains("noexec"), "{page}");
    let page = ask(&["restricted", "path", "/none", "read"]);
    assert!(page.contains("not in the root file system"), "{page}");
    assert!(ask(&["restricted", "path", "/proc/kcore", "read"]).contains("masked"));
}

#[test]
fn a_container_is_explained_by_its_own_config_and_a_changed_profile_is_said() {
    let node = node();
    let home = node.container("abc", None);
    fs::write(
        home.path.join("config.json"),
        reference::config().to_string(),
    )
    .unwrap();
    let done = node.run(&["explain", "--container", "abc", "syscall", "mount"]);
    code(&done, 0);
    assert!(
        out(&done).contains("restricted: system call mount: DENIED"),
        "{}",
        out(&done)
    );
    assert!(out(&done).contains("over: container abc"));
    // The record's digest is of another policy.
    assert!(err(&done).contains("have changed since"), "{}", err(&done));
    let other = node.run(&[
        "explain",
        "baseline",
        "--container",
        "abc",
        "capability",
        "NET_RAW",
    ]);
    code(&other, 0);
    assert!(out(&other).contains("baseline: capability CAP_NET_RAW: ALLOWED"));
    assert!(
        err(&other).is_empty(),
        "a profile of one's own has not changed"
    );
}

/// What this mantlet makes of a profile for a container of the reference.
fn planned(profile: &Profile) -> Plan {
    let kernel = Kernel::probe().unwrap();
    let host = Host {
        landlock_abi: kernel.landlock_abi,
        user_notif: kernel.user_notif,
        listener_taken: kernel.listener_taken,
        may_go_on: kernel.may_go_on,
        wait_killable: kernel.wait_killable,
        runtime: Runtime {
            path: "/usr/sbin/runc".into(),
            family: Family::Runc,
            version: "1.1.5".into(),
            number: Some((1, 1, 5)),
        },
    };
    let spec = serde_json::from_value(reference::config()).unwrap();
    let plan = policy::plan(Input {
        profiles: Layers::from(&profile),
        spec: &spec,
        host: &host,
        config: &Config::embedded(),
        found: None,
        run: false,
    });
    plan.unwrap()
}

#[test]
fn a_container_whose_profile_is_as_it_was_is_told_from_one_whose_profile_has_changed() {
    let node = node();
    let home = node.container("abc", None);
    fs::write(
        home.path.join("config.json"),
        reference::config().to_string(),
    )
    .unwrap();
    let profile = Profile::parse("site", SITE).unwrap();
    let plan = planned(&profile);
    let mut record = home.read_record().unwrap();
    record.profiles = vec!["site".into()];
    record.policy_digest = state::digest(&plan.policy.encode());
    record.effective = plan.effective;
    home.write_record(&record).unwrap();
    let ask = || node.run(&["explain", "--container", "abc", "port", "8080", "bind"]);
    assert_eq!(err(&ask()), "");
    assert!(out(&ask()).contains("ALLOWED"));
    code(&node.run(&["diff", "container:abc", "site"]), 0);

    // What was entered holds, whatever the file says by now.
    let file = node.path.join("profiles/site.yaml");
    fs::write(&file, SITE.replace("8080", "9090")).unwrap();
    let done = ask();
    assert!(err(&done).contains("have changed since"), "{}", err(&done));
    assert!(out(&done).contains("ALLOWED"), "{}", out(&done));
    let done = node.run(&[
        "explain",
        "site",
        "--container",
        "abc",
        "port",
        "8080",
        "bind",
    ]);
    assert!(out(&done).contains("DENIED"), "{}", out(&done));

    // With the texts that it was created from, nothing has changed of what it was given.
    let texts = [("site", Some(SITE)), ("baseline", None)];
    let texts = texts.map(|(name, text)| (name.to_owned(), text.map(str::to_owned)));
    home.write_texts(&state::Texts {
        version: state::VERSION,
        profiles: texts.into(),
    })
    .unwrap();
    fs::write(&file, SITE.replace("value: 16", "value: 17")).unwrap();
    let done = node.run(&["explain", "--container", "abc", "syscall", "ptrace", "16"]);
    assert_eq!(err(&done), "");
    assert!(out(&done).contains("DENIED"), "{}", out(&done));
    let done = node.run(&["diff", "container:abc", "site"]);
    code(&done, 1);
    assert_eq!(err(&done), "");
    assert!(
        out(&done).contains("+ ptrace where arg0 == 0x10"),
        "{}",
        out(&done)
    );
}

#[test]
fn a_wrong_profile_is_shown_with_its_line_as_wide_and_coloured_as_standard_error_takes_it() {
    let node = Node::new();
    let path = node.path.join("wrong.yaml");
    let long = "x".repeat(100);
    let text =
        format!("version: 1\nname: wrong\nscope: [signals, abstract-unix-socket]  # {long}\n");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let ran = node.run(&["explain", path]);
    code(&ran, 1);
    let said = err(&ran);
    assert!(said.starts_with("error: "), "{said}");
    assert!(said.contains(&format!("--> {path}:3:9\n")), "{said}");
    assert!(said.contains("  |         ^^^^^^^\n"), "{said}");
    assert!(said.contains("= help: "), "{said}");
    // Standard output is a file here, and has neither colours nor columns.
    let shown = node.on_terminal(60, &["explain", path, ">/dev/null"]);
    assert!(shown.contains("\u{1b}[1;31merror"), "{shown:?}");
    let line = shown.lines().find(|line| line.contains("scope: ["));
    let line = line.expect("the line is shown").trim_end();
    assert!(line.ends_with('…') && line.chars().count() < 90, "{line:?}");
    let shown = node.on_terminal(60, &["explain", path, "2>&1 >/dev/null | cat"]);
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn a_program_that_may_lie_on_an_unknown_volume_is_explained_with_its_noexec() {
    let node = node();
    let text = "version: 1\nname: plug\nextends: [restricted]\nfiles: {execute: [/plug]}\n";
    fs::write(node.path.join("profiles/plug.yaml"), text).unwrap();
    let note = "on a volume or tmpfs the mount would get `noexec`";
    let ask = |words: &[&str]| {
        let done = node.run(&[&["explain"], words].concat());
        out(&done)
    };
    let said = ask(&["restricted", "exec", "/plug/libp.so"]);
    assert!(said.contains(note), "{said}");
    // Granted there by name, or no profile of files at all.
    for profile in ["plug", "baseline"] {
        let said = ask(&[profile, "exec", "/plug/libp.so"]);
        assert!(!said.contains(note), "{profile}: {said}");
    }
    // Its mounts are known: /dev/shm is one.
    let said = ask(&["restricted", "exec", "/dev/shm/x"]);
    assert!(!said.contains(note), "{said}");
}
