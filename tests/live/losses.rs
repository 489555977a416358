//! What a recording loses, by each cause: never the container's first lines nor one of its calls, and the number
//! that `mantlet learn` tells is the number of things that are not in the journal.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::detect::{ended, to_the_end};
use crate::faults::{self, child, configure, keeper, serving, signal};
use crate::harness::{Bundle, World, eventually};
use crate::remains;

const SENTINEL: &str = "mantlet-sentine";

fn recorded(image: &str) -> Bundle {
    Bundle::of(World::runc(), "mantlet-baseline", image)
        .profile("site", "version: 1\nname: site\nmode: learn\n")
}

/// What `mantlet learn` makes of a journal: the exit code, and what it prints as JSON.
#[track_caller]
fn learned(journal: PathBuf, more: &[&str]) -> (i32, Value) {
    let journal = journal.display().to_string();
    let words = ["learn", "--json", "--name", "site", "--from", &journal];
    let said = World::runc().mantlet([&words[..], more].concat());
    let learned = serde_json::from_str(&said.stdout);
    let learned = learned.unwrap_or_else(|error| panic!("{error}: {}", said.stderr));
    (said.code, learned)
}

/// A recording with holes teaches nothing that denies, and says how many there are.
#[track_caller]
fn teaches_an_audit(journal: PathBuf, lost: u64) {
    let (code, told) = learned(journal.clone(), &[]);
    assert_eq!((code, &told["mode"]), (1, &"audit".into()), "{told:#}");
    assert_eq!(told["events_lost"], lost, "{told:#}");
    let text = told["profile"].as_str().expect("text");
    let row = |line: &&str| line.contains("events lost");
    let head = text.lines().find(row).expect("a row of the head");
    assert!(head.trim_end().ends_with(&format!(" {lost}")), "{head}");
    let (code, told) = learned(journal, &["--accept-loss"]);
    assert_eq!((code, &told["mode"]), (0, &"enforce".into()), "{told:#}");
}

/// Numbers that `lost` lines hold.
fn lost(events: &[Value]) -> u64 {
    let all = events.iter().filter(|event| event["type"] == "lost");
    all.filter_map(|event| event["count"].as_u64()).sum()
}

/// Every number of the journal is there, or among those that are told as lost.
#[track_caller]
fn adds_up(events: &[Value]) {
    let last = events.last().and_then(|event| event["seq"].as_u64());
    assert_eq!(last, Some(events.len() as u64 + lost(events)));
    assert_eq!(events[0]["seq"], 1);
    // What init itself does may come before its word that it did.
    let mut first = events.iter().take(8);
    assert!(first.any(|event| event["type"] == "start"), "{first:?}");
}

#[test]
fn a_flood_of_different_paths_takes_its_share_and_the_rest_is_counted() {
    // Lines of about 8 KiB: three times what a journal holds for them.
    let files = 4000;
    let script = format!(
        "n=$(printf 'x%.0s' $(seq 240)); d=/tmp; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do d=$d/$n; mkdir $d; done; \
         unshare -m true; cd $d; i=0; while [ $i -lt {files} ]; do : > file$i; i=$((i+1)); done; cd /; \
         unshare -m true; echo done"
    );
    let bundle = recorded("static-rootfs").ruled("{namespace: any, profile: strict}");
    let strict = "version: 1\nname: strict\nextends: [baseline]\nsyscalls: {groups: 2026.1, tripwire: [unshare]}\n";
    std::fs::write(bundle.path.join("profiles/strict.yaml"), strict).expect("our own folder");
    let bundle = bundle.args(["sh", "-c", &script]).up();
    let events = eventually("the container is gone", || {
        let events = faults::journal(&bundle);
        (events.last()?["type"] == "end").then_some(events)
    });
    let output = bundle.output();
    assert!(output.ends_with("done\n"), "{output}");
    adds_up(&events);
    // What came last is there, too.
    let trips = events.iter().filter(|event| event["type"] == "tripwire");
    assert_eq!(trips.count(), 2);
    // Making a file and writing it: two things for each.
    let name = |event: &Value| {
        let access = &event["access"];
        let path = access["path"].as_str()?;
        let name = access["entry"].as_str().or(path.rsplit('/').next())?;
        name.starts_with("file").then(|| name.to_owned())
    };
    let told = events.iter().filter_map(name).count() as u64;
    let unseen = events.last().expect("the end")["observed"]["unseen"]
        .as_u64()
        .expect("a number");
    // A disk that is slow for a moment may have lost some more.
    let lost = lost(&events);
    assert!(unseen <= lost, "{unseen} {lost}");
    assert_eq!(told + lost, 2 * files, "{told} told, {lost} lost");
    assert!(unseen > files, "{unseen}");
    // That it is lost is told a few times and not for each.
    let lines = events.iter().filter(|event| event["type"] == "lost");
    assert!(lines.count() < 16);
    let observed = events.iter().filter(|event| event["type"] == "observed");
    let size: usize = observed.map(|event| event.to_string().len()).sum();
    assert!((6 << 20..=8 << 20).contains(&size), "{size}");
    teaches_an_audit(bundle.journal_path(), lost);
}

#[test]
fn a_path_that_no_line_holds_is_told_cut_and_once_and_counted() {
    // Six bytes for each in JSON.
    let script = "n=$(printf '\\001%.0s' $(seq 250)); d=/tmp; \
                  for i in 1 2 3 4 5 6 7 8 9 10 11 12; do d=$d/$n; mkdir $d; done; \
                  for i in 1 2 3; do : > $d/f; cat $d/f; done; echo done";
    let bundle = recorded("static-rootfs");
    let journal = bundle.journal_path();
    let lived = to_the_end(bundle, script);
    lived.printed("done");
    adds_up(&lived.events);
    let cut: Vec<&Value> = lived
        .of_type("observed")
        .into_iter()
        .filter(|event| event["clipped"] == true)
        .collect();
    assert!(cut.len() > 5, "{}", cut.len());
    for event in &cut {
        let access = &event["access"];
        let marked = |key: &str| access[key].as_str().is_some_and(|text| text.ends_with('…'));
        assert!(marked("path"), "{access}");
    }
    let end = &lived.of_type("end")[0]["observed"];
    assert_eq!(end["unseen"], cut.len(), "{end}");
    assert_eq!(end["told"], lived.of_type("observed").len(), "{end}");
    teaches_an_audit(journal, cut.len() as u64);
}

#[test]
fn memory_that_cannot_be_read_is_counted_call_by_call() {
    let script = "import ctypes\nlibc = ctypes.CDLL(None)\nfor i in range(7):\n    libc.open(ctypes.c_void_p(1), 0)\nprint('done', flush=True)";
    let bundle = recorded("debian-rootfs")
        .args(["python3", "-c", script])
        .up();
    let events = eventually("the container is gone", || ended(&bundle));
    assert_eq!(bundle.output().trim_end(), "done");
    adds_up(&events);
    assert_eq!(lost(&events), 7);
    teaches_an_audit(bundle.journal_path(), 7);
}

#[test]
fn a_full_disk_loses_what_was_seen_meanwhile_and_no_more() {
    let script = "n=0; echo ready; while [ ! -e /tmp/stop ]; do sleep 0.01; \
                  if [ -e /tmp/go ]; then rm /tmp/go; mkdir /tmp/made$n; n=$((n+1)); echo did $n; fi; done";
    let bundle = recorded("static-rootfs");
    let world = bundle.world();
    let folder = world.folder("logs", &bundle.id);
    let disk = ["-t", "tmpfs", "-o", "size=512k", "tmpfs"];
    world.command("mount").args(disk).arg(&folder).run().ok();
    let own = world.log_dir().display().to_string();
    configure(&bundle, |text| {
        text.replace(&own, &folder.display().to_string())
    });
    let bundle = bundle.args(["sh", "-c", script]).up();
    let said = |word: &str| bundle.output().lines().any(|line| line == word);
    eventually("it is ready", || said("ready").then_some(()));
    let journal = mantlet::state::journal_path(&folder, &bundle.root(), &bundle.id);
    let events = || -> Vec<Value> {
        let text = std::fs::read_to_string(world.inside(&journal)).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("whole lines")
    };
    let pid = bundle.pid().and_then(|pid| world.host_pid(pid));
    let inside = PathBuf::from(format!("/proc/{}/root/tmp", pid.expect("it runs")));
    let mut count = 0;
    let mut make = || {
        count += 1;
        let word = format!("did {count}");
        std::fs::write(inside.join("go"), "").expect("root writes it");
        eventually(&word, || said(&word).then_some(()));
    };
    make();
    eventually("what it always does is told", || {
        let all = events();
        all.iter()
            .any(|event| event["access"]["entry"] == "made0")
            .then_some(())
    });
    let filler = world.inside(&folder).join("filler");
    let _ = std::fs::write(&filler, vec![0; 1 << 20]);
    for _ in 0..20 {
        make();
    }
    std::fs::remove_file(filler).expect("root removes it");
    // A journal that failed is tried again after a while.
    eventually("it is written again", || {
        make();
        events()
            .iter()
            .any(|event| event["type"] == "lost")
            .then_some(())
    });
    std::fs::write(inside.join("stop"), "").expect("root writes it");
    eventually("the container is gone", || {
        (events().last()?["type"] == "end").then_some(())
    });
    let all = events();
    adds_up(&all);
    let told = |is: fn(&Value) -> bool| all.iter().filter(|event| is(event)).count() as u64;
    let made = told(|event| event["access"]["right"] == "make-dir");
    // The end of whoever did something new has a line, too.
    let ends = told(|event| event["type"] == "exit" && event["process"]["comm"] == "mkdir");
    let missing = 2 * count - made - ends;
    assert!(missing >= 20, "{missing} of {count}");
    assert_eq!(lost(&all), missing, "{all:#?}");
    teaches_an_audit(journal.clone(), missing);
    let unmount = world.command("umount").arg("-l").arg(&folder);
    unmount.run().ok();
}

#[test]
fn with_the_keeper_killed_calls_go_on_and_the_recording_is_known_to_be_cut_off() {
    let script = "trap 'exit 0' TERM; i=0; while [ $i -lt 300 ]; do mkdir /tmp/d$i || echo failed; i=$((i+1)); \
                  [ $i = 20 ] && echo going; done; unshare -m true || echo refused; echo done; \
                  while :; do sleep 0.05; done";
    let bundle = recorded("static-rootfs").ruled("{namespace: any, profile: strict}");
    let strict = "version: 1\nname: strict\nextends: [baseline]\nsyscalls: {groups: 2026.1, tripwire: [unshare]}\n";
    std::fs::write(bundle.path.join("profiles/strict.yaml"), strict).expect("our own folder");
    let bundle = bundle.args(["sh", "-c", script]).up();
    let said = |word: &str| bundle.output().lines().any(|line| line == word);
    let keeper = keeper(&bundle);
    eventually("it is at work", || said("going").then_some(()));
    assert!(child(keeper, SENTINEL).is_some());
    serving(keeper);
    signal(keeper, Signal::SIGKILL);
    eventually("it goes on", || said("done").then_some(()));
    let output = bundle.output();
    assert!(!output.contains("failed"), "{output}");
    assert!(output.contains("refused"), "the layer that enforces does");
    let ps = bundle.world().mantlet(["ps"]);
    for word in ["LOST", "only looks at goes on"] {
        let said = format!("{}{}", ps.stdout, ps.stderr);
        assert!(said.contains(word), "{said}");
    }
    // Nothing of it is kept to the container's end, and nothing beyond.
    bundle.kill("TERM").ok();
    remains::nothing_runs(bundle.world(), &bundle.id);
    let events = faults::journal(&bundle);
    adds_up(&events);
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("end"), count("tripwire")), (0, 1));
    let made = events
        .iter()
        .filter(|event| event["access"]["right"] == "make-dir");
    let (made, lost) = (made.count() as u64, lost(&events));
    assert!(made >= 19 && made + lost >= 300, "{made} told, {lost} lost");
    let (code, told) = learned(bundle.journal_path(), &[]);
    assert_eq!((code, &told["mode"]), (1, &"audit".into()), "{told:#}");
    assert_eq!(told["events_lost"], lost);
    assert_eq!(told["runs"][0]["cut_off"], true);
    let text = told["profile"].as_str().expect("text");
    assert!(text.contains("CUT OFF"), "{text}");
}

#[test]
fn a_sentinel_that_takes_over_has_the_listeners_that_came_before_it_and_after_it() {
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let bundle = recorded("static-rootfs").args(["sh", "-c", script]).up();
    let said = |word: &str| bundle.output().lines().any(|line| line == word);
    eventually("it is ready", || said("ready").then_some(()));
    let keeper = keeper(&bundle);
    faults::end(child(keeper, SENTINEL).expect("it stands guard"));
    eventually("another one does", || child(keeper, SENTINEL).map(drop));
    // Its listener comes afterwards.
    let session = "echo began > /tmp/began; while [ ! -e /tmp/go ]; do sleep 0.05; done; mkdir /tmp/by-session && \
                   echo made > /tmp/made; sleep 0.2";
    let (code, ..) = bundle.exec_detached(&[], &["sh", "-c", session]);
    assert_eq!(code, 0);
    signal(keeper, Signal::SIGKILL);
    let root = bundle.pid().expect("it runs");
    let root = PathBuf::from(format!(
        "/proc/{}/root/tmp",
        bundle.world().host_pid(root).expect("it runs")
    ));
    eventually("the session has begun", || {
        root.join("began").exists().then_some(())
    });
    std::fs::write(root.join("go"), "").expect("root writes it");
    eventually("its calls go on", || {
        root.join("made").exists().then_some(())
    });
    bundle.kill("TERM").ok();
    remains::nothing_runs(bundle.world(), &bundle.id);
}
