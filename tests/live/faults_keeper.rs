//! What holds when nobody supervises, and when nobody can be started: the kernel's part always does.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::detect::site;
use crate::faults::{self, child, have, keeper, serving, signal, strained, waiting};
use crate::harness::{Bundle, World, eventually};
use crate::kills::{buried, sound};
use crate::remains;

const DRIFT: &str = "detect: [{on: drift, respond: deny}]";
const SENTINEL: &str = "mantlet-sentine";

fn up(keys: &str) -> Bundle {
    waiting(site(World::runc(), keys))
}

#[test]
fn with_keeper_and_watcher_killed_at_once_the_kernel_s_part_holds_and_the_loss_is_told() {
    for both in [true, false] {
        let bundle = up(DRIFT);
        let world = bundle.world();
        let keeper = keeper(&bundle);
        let watcher = serving(keeper);
        assert_eq!(have(&bundle, "USR1"), "errno EPERM");
        if both {
            signal(watcher, Signal::SIGKILL);
        }
        signal(keeper, Signal::SIGKILL);
        remains::nothing_but_the_container(world, &bundle.id);
        assert_eq!(have(&bundle, "USR1"), "errno ENOSYS");
        assert_eq!(have(&bundle, "USR2"), "ran");
        sound(&bundle, "unsupervised");
        let session = bundle.exec(["harmless", "work"]).expect(255);
        for word in ["its supervisor is gone", "delete the container"] {
            assert!(session.stderr.contains(word), "{}", session.stderr);
        }
        let ps = world.mantlet(["ps"]);
        let row = ps.stdout.lines().find(|line| line.contains(&bundle.id));
        assert!(row.is_some_and(|row| row.contains("LOST")), "{}", ps.stdout);
        let doctor = world.mantlet(["doctor"]);
        let lost = |line: &str| line.contains(&bundle.id) && line.contains("LOST");
        assert!(doctor.stdout.lines().any(lost), "{}", doctor.stdout);
        buried(&bundle, "unsupervised");
    }
}

#[test]
fn a_container_that_must_not_outlive_its_supervisor_ends_with_it_and_that_is_told_last() {
    let bundle = up("on_supervisor_loss: kill");
    let keeper = keeper(&bundle);
    assert!(child(keeper, SENTINEL).is_some());
    let watcher = serving(keeper);
    signal(watcher, Signal::SIGSTOP);
    signal(keeper, Signal::SIGKILL);
    let begin = Instant::now();
    remains::nothing_runs(bundle.world(), &bundle.id);
    let took = begin.elapsed();
    println!("ended after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let events = faults::journal(&bundle);
    faults::no_hole(&events);
    let last = events.last().expect("a journal");
    assert_eq!(last["type"], "response", "{last}");
    assert_eq!(last["action"], "kill-container", "{last}");
    assert_eq!(last["by"], "on_supervisor_loss", "{last}");
    buried(&bundle, "ended");
}

#[test]
fn a_sentinel_that_is_killed_harms_nobody_and_none_is_left_at_the_end() {
    let bundle = up("on_supervisor_loss: kill");
    let keeper = keeper(&bundle);
    let sentinel = child(keeper, SENTINEL).expect("it stands guard");
    signal(sentinel, Signal::SIGKILL);
    assert_eq!(have(&bundle, "USR1"), "errno EPERM");
    bundle.exec(["harmless", "work"]).ok();
    buried(&bundle, "without a sentinel");

    let bundle = up("on_supervisor_loss: kill");
    bundle.kill("TERM").ok();
    faults::ended(&bundle);
    buried(&bundle, "in good order");
}

/// A group of the pids controller for the keeper, removed with it.
struct Narrow(PathBuf);

impl Narrow {
    /// None, and says so, where the controller is elsewhere.
    fn new(bundle: &Bundle, keeper: i32) -> Option<Narrow> {
        let pids = PathBuf::from("/sys/fs/cgroup/pids");
        let top = [pids, PathBuf::from("/sys/fs/cgroup")];
        let top = top
            .into_iter()
            .find(|top| top.join("cgroup.procs").exists())?;
        let name = format!("{}/{}-keeper", bundle.world().cgroup(), bundle.id);
        let path = top.join(name.trim_start_matches('/'));
        fs::create_dir_all(&path).expect("root makes groups");
        if !path.join("pids.max").exists() {
            println!("skipped: no controller of pids at {}", path.display());
            return None;
        }
        fs::write(path.join("cgroup.procs"), keeper.to_string()).expect("root moves it");
        Some(Narrow(path))
    }

    fn most(&self, most: &str) {
        fs::write(self.0.join("pids.max"), most).expect("root limits it");
    }
}

#[test]
fn a_keeper_that_can_start_no_watcher_refuses_by_itself_and_recovers() {
    let bundle = up(DRIFT);
    let keeper = keeper(&bundle);
    let Some(narrow) = Narrow::new(&bundle, keeper) else {
        return;
    };
    narrow.most("1");
    signal(serving(keeper), Signal::SIGKILL);
    eventually("it is alone", || {
        child(keeper, "mantlet-watcher").is_none().then_some(())
    });
    for _ in 0..3 {
        assert_eq!(have(&bundle, "USR1"), "errno EPERM");
        assert_eq!(have(&bundle, "USR2"), "refused");
    }
    let session = bundle.exec(["harmless", "work"]).expect(255);
    for word in ["cannot be started", "Resource temporarily unavailable"] {
        assert!(session.stderr.contains(word), "{}", session.stderr);
    }
    narrow.most("max");
    serving(keeper);
    assert_eq!(have(&bundle, "USR1"), "errno EPERM");
    eventually("programs run again", || {
        (have(&bundle, "USR2") == "ran").then_some(())
    });
    bundle.exec(["harmless", "work"]).ok();
    bundle.kill("TERM").ok();
    let did = strained(&bundle);
    faults::ended(&bundle);
    faults::adds_up(&bundle, &did);
}

/// A memory group of v1 with nothing left in it, and the supervisor in it. Removed with the value.
struct Full(PathBuf);

impl Full {
    /// None, and says so, where the controller is elsewhere.
    fn new(bundle: &Bundle, pids: &[i32]) -> Option<Full> {
        let top = PathBuf::from("/sys/fs/cgroup/memory");
        if !top.join("memory.limit_in_bytes").exists() {
            println!("skipped: no controller of memory at {}", top.display());
            return None;
        }
        let name = format!("{}/{}-full", bundle.world().cgroup(), bundle.id);
        let folder = top.join(name.trim_start_matches('/'));
        fs::create_dir_all(&folder).expect("root makes groups");
        let full = Full(folder);
        for pid in pids {
            // What they have stays with their former group: here they begin with nothing.
            fs::write(full.0.join("cgroup.procs"), pid.to_string()).expect("root moves processes");
        }
        full.most("65536");
        Some(full)
    }

    fn most(&self, bytes: &str) {
        fs::write(self.0.join("memory.limit_in_bytes"), bytes).expect("root limits it");
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let procs = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            let _ = fs::write("/sys/fs/cgroup/memory/cgroup.procs", pid);
        }
        eventually("the group is gone", || fs::remove_dir(&self.0).ok());
    }
}

/// No memory for another watcher, and the kernel may well end the keeper for want of it: whatever it
/// does, each call is denied, what is allowed goes on, and who is lost is told.
#[test]
fn with_no_memory_left_for_the_supervisor_every_call_is_denied_and_the_rest_goes_on() {
    let bundle = up("");
    let keeper = keeper(&bundle);
    let watcher = serving(keeper);
    let Some(full) = Full::new(&bundle, &[keeper, watcher]) else {
        return;
    };
    signal(watcher, Signal::SIGKILL);
    eventually("it has ended", || {
        (child(keeper, "mantlet-watcher") != Some(watcher)).then_some(())
    });
    for _ in 0..20 {
        let answer = have(&bundle, "USR1");
        assert!(
            ["errno EPERM", "errno ENOSYS"].contains(&answer.as_str()),
            "{answer}"
        );
        assert_eq!(have(&bundle, "USR2"), "ran");
    }
    sound(&bundle, "without memory");
    full.most("-1");
    drop(full);
    let lost = remains::supervisor(bundle.world(), &bundle.id).is_none();
    let ps = bundle.world().mantlet(["ps"]);
    let row = ps.stdout.lines().find(|line| line.contains(&bundle.id));
    let row = row.unwrap_or_else(|| panic!("{}", ps.stdout));
    assert_eq!(row.contains("LOST"), lost, "{row}");
    if !lost {
        serving(keeper);
        assert_eq!(have(&bundle, "USR1"), "errno EPERM");
        bundle.exec(["harmless", "work"]).ok();
    }
    buried(&bundle, "without memory");
}
