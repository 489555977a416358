//! Killing any of our programs at any step never yields a running workload without its sandbox, and
//! never a container that cannot be killed and deleted.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Bundle, World, eventually};
use crate::remains;
use crate::trace::{self, Point};

const HANDLER: &str = "mantlet-restricted";

/// Tries what Landlock refuses, then waits; SIGUSR1 springs a tripwire.
const WORKLOAD: &str = "echo x >/bin/planted && echo UNCONFINED; trap 'hostile keyctl' USR1; \
                        echo begun; while :; do sleep 0.05; done";

pub fn bundle() -> Bundle {
    bundle_in(World::runc())
}

fn bundle_in(world: &'static World) -> Bundle {
    let bundle = Bundle::new(world, HANDLER).args(["sh", "-c", WORKLOAD]);
    bundle.write();
    bundle
}

#[track_caller]
pub fn create(bundle: &Bundle) {
    assert_eq!(
        bundle.create(),
        0,
        "{:?} {}",
        bundle.errors(),
        bundle.output()
    );
}

/// Pids of processes that execute a program of the image.
pub fn workload(bundle: &Bundle) -> Vec<i32> {
    let world = bundle.world();
    let processes = remains::processes(world, &bundle.id).into_iter();
    processes
        .map(|process| process.pid)
        .filter(|pid| {
            let exe = fs::read_link(world.proc(*pid).join("exe"));
            exe.is_ok_and(|exe| exe.starts_with("/bin/"))
        })
        .collect()
}

/// Every process of the image's is under both filters, no_new_privs and Landlock, or there is none.
#[track_caller]
pub fn sound(bundle: &Bundle, when: &str) {
    let world = bundle.world();
    for pid in workload(bundle) {
        // None: it has ended since.
        if let Some(filters) = world.status(pid, "Seccomp_filters") {
            assert!(
                filters.parse::<u32>().expect("a number") >= 2,
                "{when}: {filters} filters"
            );
        }
        if let Some(bit) = world.status(pid, "NoNewPrivs") {
            assert_eq!(bit, "1", "{when}");
        }
    }
    assert!(!bundle.output().contains("UNCONFINED"), "{when}");
    let planted = bundle.path.join("upper/bin/planted");
    assert!(!planted.exists(), "{when}: it wrote to the image");
}

/// It can be killed and deleted, and then nothing of it is left.
#[track_caller]
pub fn buried(bundle: &Bundle, when: &str) {
    let deadline = Duration::from_secs(8);
    let kill = bundle.call().args(["kill", &bundle.id, "KILL"]);
    // Where there is no container, or it has ended, the runtime says so.
    kill.deadline(deadline).run();
    let delete = bundle.call().args(["delete", "--force", &bundle.id]);
    let delete = delete.deadline(deadline).run();
    assert_eq!(delete.code, 0, "{when}: {}", delete.stderr);
    assert!(!remains::runtime_knows(bundle), "{when}: it is still there");
    remains::nothing_runs(bundle.world(), &bundle.id);
}

/// config.json is whole: the engine's, or the rewritten one with the original beside it.
#[track_caller]
fn whole(bundle: &Bundle, original: &[u8], when: &str) {
    let now = bundle.on_disk();
    if now == original {
        return;
    }
    let config: Value = serde_json::from_slice(&now).expect(when);
    let first = config["process"]["args"][0].as_str().expect(when);
    assert!(first.starts_with("/proc/self/fd/"), "{when}: {first}");
    let entries = fs::read_dir(&bundle.path).expect("our own folder");
    let kept = entries
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(".config.json.mantlet-")
        })
        .any(|entry| fs::read(entry.path()).is_ok_and(|bytes| bytes == original));
    assert!(kept, "{when}: the original is lost");
}

/// It lives its whole life, after all.
#[track_caller]
fn lives(bundle: &Bundle) {
    create(bundle);
    bundle.start().ok();
    eventually("the workload runs", || {
        bundle.output().contains("begun").then_some(())
    });
    assert!(!workload(bundle).is_empty());
    sound(bundle, "undisturbed");
    bundle.exec(["harmless", "work"]).ok();
    buried(bundle, "undisturbed");
    assert!(remains::homes(bundle.world(), &bundle.world().state_dir(), &bundle.id).is_empty());
}

fn create_words(bundle: &Bundle) -> Vec<String> {
    let path = |name: &str| bundle.path.join(name).to_string_lossy().into_owned();
    let words = [
        "create",
        "--bundle",
        &path(""),
        "--pid-file",
        &path("init.pid"),
        &bundle.id,
    ];
    words.map(str::to_owned).into()
}

/// Each system call that `verb`'s front door makes before it becomes the runtime.
fn calls_of_front_door(bundle: &Bundle, words: &[String]) -> Vec<Point> {
    let file = bundle.path.join("trace");
    let list = ["-o".to_owned(), file.to_string_lossy().into_owned()];
    let call = trace::front_door(bundle, HANDLER, &list).args(words);
    assert_eq!(
        call.run_into(&bundle.path.join("output")),
        0,
        "{:?}",
        bundle.errors()
    );
    let mut points = trace::points(&file, None);
    let end = points
        .iter()
        .position(|point| point.name == "execve" && point.line.contains("/runc"));
    points.truncate(end.map_or(points.len(), |end| end + 1));
    let _ = fs::remove_file(file);
    points
}

#[test]
fn a_front_door_killed_at_any_call_of_create_leaves_nothing_that_stays() {
    // The front door reads its mounts: where other tests mount, it reads a varying number of times.
    let bundle = bundle_in(World::alone());
    let original = bundle.on_disk();
    // The first create of a node also asks the runtime for its version and keeps the answer: the
    // list is to be that of every later one.
    create(&bundle);
    buried(&bundle, "the first");
    let all = calls_of_front_door(&bundle, &create_words(&bundle));
    buried(&bundle, "traced");
    assert!(all.len() > 50, "{all:?}");
    let always = [
        "rename", "clone", "fork", "vfork", "mkdir", "bind", "wait4", "fchmod", "dup2",
    ];
    for point in trace::spread(&all, &always, 16) {
        let when = format!(
            "killed before {} {}: {}",
            point.name, point.number, point.line
        );
        let call = trace::front_door(&bundle, HANDLER, &point.strike("KILL"));
        let code = call
            .args(create_words(&bundle))
            .run_into(&bundle.path.join("output"));
        assert_ne!(code, 0, "{when}");
        assert!(workload(&bundle).is_empty(), "{when}");
        assert!(
            !remains::runtime_knows(&bundle),
            "{when}: there is a container"
        );
        // The supervisor, if there is one already, sees its channel close.
        remains::nothing_runs(bundle.world(), &bundle.id);
        whole(&bundle, &original, &when);
        buried(&bundle, &when);
    }
    lives(&bundle);
}

#[test]
fn a_front_door_killed_at_any_call_of_start_leaves_a_container_that_can_go() {
    let bundle = bundle_in(World::alone());
    create(&bundle);
    let words = ["start".to_owned(), bundle.id.clone()];
    let all = calls_of_front_door(&bundle, &words);
    buried(&bundle, "traced");
    for point in trace::spread(&all, &["clone3", "vfork", "wait4", "recvmsg"], 8) {
        let when = format!(
            "killed before {} {}: {}",
            point.name, point.number, point.line
        );
        create(&bundle);
        let call = trace::front_door(&bundle, HANDLER, &point.strike("KILL"));
        call.args(&words).run();
        sound(&bundle, &when);
        buried(&bundle, &when);
        sound(&bundle, &when);
    }
    lives(&bundle);
}

/// Numbers that look random and are the same in each run (Knuth's MMIX generator).
fn delays(count: usize, below: Duration) -> impl Iterator<Item = Duration> {
    let mut state = 0x6d61_6e74_6c65_7421_u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        below.mul_f64((state >> 40) as f64 / (1 << 24) as f64)
    })
    .take(count)
}

#[test]
fn a_create_or_run_killed_at_random_leaves_a_container_that_can_go() {
    let bundle = bundle();
    let original = bundle.on_disk();
    for (number, delay) in delays(40, Duration::from_millis(250)).enumerate() {
        let verb = if number % 2 == 0 { "create" } else { "run" };
        let when = format!("{verb} killed after {delay:?}");
        let call = bundle
            .call()
            .args([verb, "--bundle"])
            .arg(&bundle.path)
            .arg(&bundle.id);
        let call = call.spawn();
        std::thread::sleep(delay);
        // The process inside has this one's death as its own.
        drop(call);
        sound(&bundle, &when);
        if verb == "create" {
            assert!(workload(&bundle).is_empty(), "{when}");
        }
        buried(&bundle, &when);
        whole(&bundle, &original, &when);
    }
    lives(&bundle);
}

#[test]
fn a_supervisor_killed_at_any_call_of_start_lets_nothing_run_unconfined() {
    let bundle = bundle();
    let world = bundle.world();
    let file = bundle.path.join("trace");
    create(&bundle);
    let supervisor = remains::supervisor(world, &bundle.id).expect("it serves");
    let list = ["-o".to_owned(), file.to_string_lossy().into_owned()];
    let strace = trace::attach(world, supervisor, &list);
    bundle.start().ok();
    let all = trace::points(&file, None);
    buried(&bundle, "traced");
    trace::finish(strace);
    let mut struck = 0;
    for point in trace::spread(&all, &["sendmsg", "recvmsg", "pidfd_getfd", "pipe2"], 8) {
        let when = format!(
            "killed before {} {}: {}",
            point.name, point.number, point.line
        );
        create(&bundle);
        let supervisor = remains::supervisor(world, &bundle.id).expect("it serves");
        let strace = trace::attach(world, supervisor, &point.strike("KILL"));
        let start = bundle.start();
        sound(&bundle, &when);
        struck += usize::from(start.code != 0);
        if start.code != 0 {
            assert!(
                start.stderr.contains("supervisor is gone"),
                "{when}: {}",
                start.stderr
            );
            eventually(&format!("{when}: nothing of the image runs"), || {
                workload(&bundle).is_empty().then_some(())
            });
        }
        buried(&bundle, &when);
        sound(&bundle, &when);
        trace::finish(strace);
    }
    assert!(struck > 5, "only {struck} starts failed");
    lives(&bundle);
}

#[test]
fn a_supervisor_killed_between_create_and_start_lets_nothing_start() {
    let bundle = bundle();
    let world = bundle.world();
    create(&bundle);
    let supervisor = remains::supervisor(world, &bundle.id).expect("it serves");
    assert!(world.signal(supervisor, Signal::SIGKILL));
    let start = bundle.start().expect(1);
    assert!(
        start.stderr.contains("its supervisor is gone"),
        "{}",
        start.stderr
    );
    assert!(workload(&bundle).is_empty());
    buried(&bundle, "orphaned");
    lives(&bundle);
}

#[test]
fn a_workload_whose_supervisor_is_killed_stays_confined_and_can_go() {
    let bundle = bundle();
    let world = bundle.world();
    create(&bundle);
    bundle.start().ok();
    eventually("the workload runs", || {
        bundle.output().contains("begun").then_some(())
    });
    bundle.kill("USR1").ok();
    eventually("the tripwire answers", || {
        bundle.output().contains("keyctl: errno").then_some(())
    });
    assert!(
        bundle.output().contains("keyctl: errno EPERM"),
        "{}",
        bundle.output()
    );

    let before = workload(&bundle)[0];
    let supervisor = remains::supervisor(world, &bundle.id).expect("it serves");
    assert!(world.signal(supervisor, Signal::SIGKILL));
    eventually("it is gone", || {
        remains::supervisor(world, &bundle.id)
            .is_none()
            .then_some(())
    });

    bundle.kill("USR1").ok();
    eventually("the kernel answers", || {
        bundle
            .output()
            .contains("keyctl: errno ENOSYS")
            .then_some(())
    });
    let session = bundle.exec(["harmless", "work"]).expect(255);
    assert!(
        session.stderr.contains("its supervisor is gone"),
        "{}",
        session.stderr
    );
    assert!(
        session.stderr.contains("delete the container"),
        "{}",
        session.stderr
    );
    assert_eq!(session.stdout, "");
    let detached = bundle
        .call()
        .args(["exec", "--detach", &bundle.id, "harmless", "stay"]);
    detached.run().expect(255);
    assert!(workload(&bundle).contains(&before), "the workload goes on");
    sound(&bundle, "unsupervised");
    let ps = world.mantlet(["ps"]);
    let row = ps.stdout.lines().find(|line| line.contains(&bundle.id));
    assert!(row.is_some_and(|row| row.contains("LOST")), "{}", ps.stdout);
    assert!(ps.stderr.contains("LOST its supervisor"), "{}", ps.stderr);
    buried(&bundle, "unsupervised");
    lives(&bundle);
}

#[test]
fn an_init_killed_at_any_call_never_becomes_a_workload() {
    let bundle = bundle();
    let world = bundle.world();
    let file = bundle.path.join("trace");
    create(&bundle);
    let pid = || -> i32 {
        let text = fs::read_to_string(bundle.path.join("init.pid")).expect("runc writes it");
        text.trim().parse().expect("a pid")
    };
    let init = pid();
    let list = [
        "-f".to_owned(),
        "-o".to_owned(),
        file.to_string_lossy().into_owned(),
    ];
    let strace = trace::attach(world, init, &list);
    bundle.start().ok();
    let mut all = trace::points(&file, Some(init));
    buried(&bundle, "traced");
    trace::finish(strace);
    let begin = all
        .iter()
        .position(|point| point.name == "execve")
        .expect("runc executes init");
    all.drain(..begin);
    let end = all
        .iter()
        .rposition(|point| point.name == "execve")
        .expect("init executes");
    all.truncate(end + 1);
    assert!(all.len() > 30, "{all:?}");

    let always = [
        "execve",
        "seccomp",
        "landlock_restrict_self",
        "sendmsg",
        "recvmsg",
    ];
    let mut struck = 0;
    for point in trace::spread(&all, &always, 16) {
        let when = format!(
            "killed before {} {}: {}",
            point.name, point.number, point.line
        );
        create(&bundle);
        let words = [vec!["-f".to_owned()], point.strike("KILL")].concat();
        let strace = trace::attach(world, pid(), &words);
        let before = bundle.output().matches("begun").count();
        let start = bundle.start();
        struck += usize::from(start.code != 0);
        sound(&bundle, &when);
        if start.code != 0 {
            assert!(workload(&bundle).is_empty(), "{when}");
            assert_eq!(bundle.output().matches("begun").count(), before, "{when}");
            assert!(
                start.stderr.contains("mantlet-init"),
                "{when}: {}",
                start.stderr
            );
        }
        buried(&bundle, &when);
        sound(&bundle, &when);
        trace::finish(strace);
    }
    assert!(struck > 10, "only {struck} starts failed");
    lives(&bundle);
}
