//! What stands beside a recording and is not what it says itself: layers that audit or enforce, sessions held to
//! other profiles, an earlier copy of it, and names that it cannot hold.

use mantlet::event::What;
use mantlet::profile::Profile;

use super::observed::Recorded;
use super::small;
use crate::node::Node;
use crate::{code, err, out};

#[test]
fn a_session_held_to_another_profile_says_nothing_of_an_audited_workload() {
    let node = Node::new();
    let mut run = Recorded::new("c1", "/bin/app");
    run.audited("restricted").calls("chroot");
    run.session().audited("baseline").calls("ptrace");
    node.journal("c1", &run.end());
    let learned = node.run(&["learn", "--from", "c1", "--name", "app"]);
    code(&learned, 0);
    assert!(out(&learned).contains("\nextends: [restricted]\n"));
    // Where they are taken in, no one profile says what both need.
    let both = node.run(&["learn", "--from", "c1", "--exec-sessions"]);
    code(&both, 1);
    assert!(err(&both).contains("audited by baseline, audited by restricted"));
    // Of sessions alone nothing is learned without them.
    let mut run = Recorded::new("d1", "/bin/app");
    run.session().calls("ptrace");
    node.journal("d1", &run.end());
    let learned = node.run(&["learn", "--from", "d1"]);
    code(&learned, 1);
    assert!(err(&learned).contains("was not recorded"));
}

#[test]
fn a_layer_that_audits_beside_a_recording_takes_nothing_from_it() {
    let node = Node::new();
    let mut run = small("c1");
    run.audited("restricted")
        .calls("chroot")
        .files("write-file", "/opt/app/state");
    node.journal("c1", &run.end());
    let learned = node.run(&["learn", "--from", "c1"]);
    code(&learned, 0);
    let text = out(&learned);
    assert!(!text.contains("extends:"), "{text}");
    for line in ["    - chroot\n", "    - /opt/app/state ", "    - brk\n"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn what_a_layer_that_enforces_denied_is_said_and_not_allowed() {
    let node = Node::new();
    let mut run = small("c1");
    run.denied(true)
        .call("ptrace", 0, 16, None)
        .calls("brk chroot");
    run.denied(false).calls("chroot");
    node.journal("c1", &run.end());
    let learned = node.run(&["learn", "--from", "c1", "--name", "app"]);
    code(&learned, 0);
    let text = out(&learned);
    assert!(
        text.contains("# refused      1 thing that was tried, and denied by a layer that enforces: not allowed here\n")
            && text.contains("\n# ptrace arg0=0x10\n"),
        "{text}"
    );
    assert!(text.contains("    - chroot\n") && !text.contains("name: ptrace, args"));
    let profile = Profile::parse("app", &text).unwrap();
    let mut allowed = profile.syscalls.allow.iter();
    assert!(!allowed.any(|rule| rule.name == "ptrace"));
    // A replay takes it for what it was: nothing that worked.
    std::fs::write(node.path.join("app.yaml"), &text).unwrap();
    let app = node.path.join("app.yaml");
    let replayed = node.run(&["test", app.to_str().unwrap(), "--replay", "c1"]);
    let said = out(&replayed);
    assert!(
        said.contains("denied, as it was: ptrace arg0=0x10"),
        "{said}"
    );
    assert!(!said.contains("would be denied: "), "{said}");
}

#[test]
fn a_run_that_was_kept_before_its_end_is_not_another_one() {
    let node = Node::new();
    let mut run = small("c1");
    let early = run.events.clone();
    node.journal("c1", &early);
    let saved = node.path.join("early.json");
    let saved = saved.to_str().unwrap();
    let keep = ["learn", "--from", "c1", "--save", saved, "--accept-loss"];
    code(&node.run(&keep), 0);
    run.serving().calls("accept4");
    node.journal("c1", &run.end());
    for sources in [[saved, "c1"], ["c1", saved]] {
        let learned = node.run(&[&["learn", "merge"], &sources[..]].concat());
        code(&learned, 0);
        let text = out(&learned);
        assert!(text.contains("# runs         1\n"), "{text}");
        assert!(text.contains("- accept4 "), "{text}");
    }
}

#[test]
fn a_name_that_no_profile_can_hold_is_lost_and_said() {
    let node = Node::new();
    let mut run = small("c1");
    run.files("read-file", r"/srv/caf\xe9");
    if let Some(What::Observed { clipped, .. }) = run.events.last_mut().map(|event| &mut event.what)
    {
        *clipped = true;
    }
    run.push(What::Lost {
        count: 1,
        cause: "no UTF-8".into(),
    });
    node.journal("c1", &run.end());
    let learned = node.run(&["learn", "--from", "c1"]);
    code(&learned, 1);
    let text = out(&learned);
    assert!(
        text.contains(
            "# not written  1 thing that no profile can say: a name is no UTF-8, or too long\n"
        ) && text.contains("\n# read-file /srv/caf\\xe9\n"),
        "{text}"
    );
    assert!(text.contains("\nmode: audit\n") && !text.contains("- /srv"));
}
