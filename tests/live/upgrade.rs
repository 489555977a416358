//! Another version is installed while containers live: those keep the supervisor they were made with,
//! and the front door that is there now serves them.
//!
//! The older version is a real one: a commit of this repository's history, which `hack/old-build`
//! builds. Without it these tests fail; there is no skipping.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use mantlet::control::{Answer, Ask, LARGEST, Request};
use mantlet::state::{Home, Record};
use mantlet::sys::socket;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Bundle, HANDLERS, World, eventually, programs};
use crate::remains;

const RESTRICTED: &str = "mantlet-restricted";
const PROGRAMS: [&str; 4] = [
    "mantlet",
    "mantlet-init",
    "mantlet-runtime",
    "mantlet-supervisor",
];

/// Folder of the older version's programs: `MANTLET_OLD_BIN_DIR`, else built now.
fn older() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        if let Some(folder) = std::env::var_os("MANTLET_OLD_BIN_DIR") {
            return PathBuf::from(folder);
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/old-build");
        let done = Command::new(script).output().expect("bash is installed");
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "hack/old-build: {errors}");
        let folder = String::from_utf8(done.stdout).expect("a path");
        PathBuf::from(folder.trim_end())
    })
}

/// A folder of programs as a node has it, which another version can be installed over.
struct Node {
    world: &'static World,
    folder: PathBuf,
}

impl Node {
    fn new(world: &'static World) -> Node {
        let folder = world.folder("nodes", &world.name("node"));
        for handler in HANDLERS {
            symlink("mantlet-runtime", folder.join(handler)).expect("a fresh folder");
        }
        Node { world, folder }
    }

    /// Replaces each program by the one of `from`, as a package would: what runs goes on with the
    /// file that it was started from.
    fn install(&self, from: &Path) {
        for program in PROGRAMS {
            let new = self.folder.join(".new");
            // Not copied: those of a debug build are large.
            symlink(from.join(program), &new).expect("a folder of our own");
            fs::rename(new, self.folder.join(program)).expect("a folder of our own");
        }
    }

    fn bundle(&self, handler: &str) -> Bundle {
        Bundle::new(self.world, handler).programs_in(&self.folder)
    }

    /// The command that is installed now.
    fn mantlet<const N: usize>(&self, args: [&str; N]) -> crate::harness::Finished {
        let command = self.world.command(self.folder.join("mantlet"));
        command.args(args).run()
    }
}

fn home(bundle: &Bundle) -> Home {
    let state = bundle.world().state_dir();
    Home::new(&state, &bundle.root(), &bundle.id).expect("an ordinary id")
}

fn record(bundle: &Bundle) -> Record {
    home(bundle).read_record().expect("it lives")
}

/// The supervisor, which runs the program of that folder.
#[track_caller]
fn supervisor(bundle: &Bundle, folder: &Path) -> i32 {
    let pids = bundle.supervisors();
    let own: Vec<i32> = pids
        .into_iter()
        .filter(|pid| {
            let exe = fs::read_link(bundle.world().proc(*pid).join("exe"));
            exe.is_ok_and(|exe| exe.starts_with(folder.canonicalize().expect("it was built")))
        })
        .collect();
    *own.first().expect("a supervisor of that version")
}

/// A session gets what the workload has: every field of these in /proc.
#[track_caller]
fn confined(bundle: &Bundle, session: i32) {
    let world = bundle.world();
    let first = bundle.pid().expect("it runs");
    let fields = [
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
        "CapEff",
        "CapBnd",
    ];
    for field in fields {
        let (own, workloads) = (world.status(session, field), world.status(first, field));
        assert_eq!(own, workloads, "{field}");
    }
    assert_eq!(world.status(session, "NoNewPrivs").as_deref(), Some("1"));
    assert_eq!(world.status(session, "Seccomp").as_deref(), Some("2"));
    let filters = world.status(session, "Seccomp_filters");
    let filters = filters.and_then(|count| count.parse().ok());
    assert!(filters >= Some(2), "{filters:?}");
}

/// Sessions in both forms work and are confined.
#[track_caller]
fn sessions(bundle: &Bundle) {
    assert_eq!(bundle.exec(["harmless", "work"]).ok().stdout, "work: ok\n");
    let done = bundle.exec_process(|process| {
        process["args"] = json!(["/bin/harmless", "exit", "9"]);
    });
    done.expect(9);
    let (code, _, session) = bundle.exec_detached(&[], &["harmless", "stay"]);
    assert_eq!(code, 0, "{:?}", bundle.errors());
    confined(bundle, session.expect("a pid file"));
    // A call that the exact filter refuses and the supervisor answers.
    let wire = bundle.exec(["hostile", "keyctl"]).expect(libc::EPERM);
    assert_eq!(wire.stdout, "keyctl: errno EPERM\n");
}

/// It can be ended by a signal and deleted, and nothing of it is left.
#[track_caller]
fn buried(bundle: &Bundle, signal: &str) {
    bundle.kill(signal).ok();
    eventually("the container stops", || {
        (bundle.state()?["status"] == "stopped").then_some(())
    });
    bundle.delete().ok();
    remains::nothing_runs(bundle.world(), &bundle.id);
    let homes = || remains::homes(bundle.world(), &bundle.world().state_dir(), &bundle.id);
    eventually("its home is gone", || homes().is_empty().then_some(()));
}

/// Lines of `mantlet ps` and `mantlet events` about it.
#[track_caller]
fn told(node: &Node, bundle: &Bundle) {
    let ps = node.mantlet(["ps"]);
    let row = ps.stdout.lines().find(|line| line.contains(&bundle.id));
    let row = row.unwrap_or_else(|| panic!("{}{}", ps.stdout, ps.stderr));
    assert!(!row.contains("LOST"), "{row}");
    assert!(!ps.stderr.contains(&bundle.id), "{}", ps.stderr);
    let inspect = node.mantlet(["inspect", &bundle.id]).ok();
    assert_eq!(inspect.stderr, "");
    let events = node.mantlet(["events", &bundle.id]).ok();
    assert_eq!(events.stderr, "");
    assert!(events.stdout.contains("keyctl"), "{}", events.stdout);
}

fn lives_on(world: &'static World, handler: &str) {
    let node = Node::new(world);
    node.install(older());
    let bundle = node.bundle(handler).up();
    assert_eq!(record(&bundle).mantlet, "0.1.0");
    let before = supervisor(&bundle, older());

    node.install(&programs());
    sessions(&bundle);
    told(&node, &bundle);
    assert_eq!(supervisor(&bundle, older()), before, "it is the same one");
    assert_eq!(bundle.supervisors(), [before]);
    let journal = bundle.journal();
    let wire = journal.iter().find(|event| event["type"] == "tripwire");
    assert_eq!(wire.expect("it is reported")["syscall"], "keyctl");
    let numbers: Vec<Value> = journal.iter().map(|event| event["seq"].clone()).collect();
    let expected: Vec<Value> = (1..=journal.len()).map(|number| json!(number)).collect();
    assert_eq!(numbers, expected);
    assert!(journal.iter().all(|event| event["version"] == 1));
    buried(&bundle, "KILL");
}

#[test]
fn a_container_of_an_older_version_lives_on_under_a_newer_front_door() {
    for handler in HANDLERS {
        lives_on(World::runc(), handler);
    }
}

#[test]
fn the_same_holds_over_crun() {
    lives_on(World::crun(), RESTRICTED);
}

#[test]
fn a_container_that_was_created_before_is_started_after() {
    let node = Node::new(World::runc());
    node.install(older());
    let bundle = node.bundle(RESTRICTED);
    bundle.write();
    assert_eq!(bundle.create(), 0, "{:?}", bundle.errors());
    node.install(&programs());
    bundle.start().ok();
    confined(&bundle, bundle.pid().expect("it runs"));
    sessions(&bundle);
    buried(&bundle, "KILL");

    // One whose program is not there fails with the runtime's own words.
    node.install(older());
    let bundle = node.bundle(RESTRICTED).args(["/no/such/program"]);
    bundle.write();
    assert_eq!(bundle.create(), 0, "{:?}", bundle.errors());
    node.install(&programs());
    let start = bundle.start().refused();
    assert!(
        start.stderr.contains("/no/such/program"),
        "{}",
        start.stderr
    );
    bundle.delete().ok();
    remains::nothing_runs(bundle.world(), &bundle.id);
}

#[test]
fn what_an_older_version_decided_about_sessions_holds() {
    let node = Node::new(World::runc());
    node.install(older());
    let quiet = "version: 1\nname: quiet\nextends: [restricted]\n\
                 network: {connect_tcp: [], bind_tcp: []}\n";
    let site = "version: 1\nname: site\nextends: [restricted]\n\
                exec: {profile: quiet, interactive: deny, commands: [harmless, /bin/harmless]}\n";
    let bundle = node.bundle(RESTRICTED).profile("quiet", quiet);
    let bundle = bundle.profile("site", site).up();
    node.install(&programs());
    // Held to the second policy, which the older supervisor keeps.
    bundle.exec(["harmless", "work"]).ok();
    let journal = bundle.journal();
    let session = journal.iter().find(|event| event["session"] == "exec");
    let session = session.expect("it was let go");
    assert_eq!(session["stricter"], json!(["quiet"]));
    assert_eq!(session["report"]["landlock_layers"], 2);
    // And to the rules.
    let refused = bundle.exec(["sh", "-c", "echo ran"]).expect(255);
    let message = &refused.stderr;
    assert!(message.contains("profile site"), "{message}");
    assert_eq!(refused.stdout, "");
    let terminal = bundle.process_file(|process| {
        process["args"] = json!(["/bin/harmless", "work"]);
        process["terminal"] = json!(true);
    });
    let call = bundle.call().args(["exec", "--process"]).arg(terminal);
    let refused = call.arg(&bundle.id).run().expect(255);
    let message = &refused.stderr;
    assert!(message.contains("interactive"), "{message}");
    buried(&bundle, "KILL");
}

/// The answer of the container's supervisor to one request.
fn ask(bundle: &Bundle, ask: Ask) -> Answer {
    let control = home(bundle).connect_control().expect("it listens");
    socket::set_timeout(&control, Duration::from_secs(60)).expect("a socket");
    let request = serde_json::to_vec(&Request::new(ask)).expect("it is JSON");
    socket::send(&control, &request, &[]).expect("it is read");
    let packet = socket::receive(&control, LARGEST).expect("an answer");
    serde_json::from_slice(&packet.bytes).expect("an answer of ours")
}

#[test]
fn what_an_older_supervisor_cannot_do_it_refuses_and_serves_on() {
    let node = Node::new(World::runc());
    node.install(older());
    let bundle = node.bundle(RESTRICTED).up();
    let before = supervisor(&bundle, older());
    let freeze = Ask::Freeze {
        freeze: Some(mantlet::detect::Freeze::default()),
        evidence: true,
    };
    let bare = Ask::Freeze {
        freeze: None,
        evidence: false,
    };
    for verb in [freeze, bare, Ask::Thaw, Ask::Kill, Ask::Evidence] {
        let answer = ask(&bundle, verb.clone());
        let Answer::Refused { message } = answer else {
            panic!("{verb:?}: {answer:?}");
        };
        assert!(message.contains("cannot be read"), "{verb:?}: {message}");
    }
    // It is there, and what it could it still can.
    assert_eq!(supervisor(&bundle, older()), before);
    let Answer::Status(status) = ask(&bundle, Ask::Status) else {
        panic!("it is asked as ever");
    };
    assert_eq!((status.supervisor, status.watcher), (before, 0));
    assert!(status.frozen.is_none());
    let pid = bundle.pid().expect("it runs");
    let state = bundle.world().status(pid, "State").expect("it runs");
    assert!(state.starts_with(['S', 'R']), "{state}");
    node.install(&programs());
    sessions(&bundle);
    buried(&bundle, "KILL");
}

#[test]
fn a_container_whose_older_supervisor_was_killed_is_told_as_such_and_can_go() {
    let node = Node::new(World::runc());
    node.install(older());
    let bundle = node.bundle(RESTRICTED).up();
    node.install(&programs());
    let pid = supervisor(&bundle, older());
    assert!(bundle.world().signal(pid, Signal::SIGKILL));
    eventually("it is gone", || {
        bundle.supervisors().is_empty().then_some(())
    });
    let refused = bundle.exec(["harmless", "work"]).expect(255);
    let message = &refused.stderr;
    assert!(message.contains("its supervisor is gone"), "{message}");
    let ps = node.mantlet(["ps"]);
    let row = ps.stdout.lines().find(|line| line.contains(&bundle.id));
    assert!(row.is_some_and(|row| row.contains("LOST")), "{}", ps.stdout);
    bundle.kill("KILL").ok();
    bundle.delete().ok();
    remains::nothing_runs(bundle.world(), &bundle.id);
}

/// Going back: whoever takes 0.2 away again has to get rid of the containers it made.
#[test]
fn an_older_front_door_sees_and_ends_a_container_of_a_newer_version() {
    let node = Node::new(World::runc());
    node.install(&programs());
    let bundle = node.bundle(RESTRICTED).up();
    assert_eq!(record(&bundle).mantlet, env!("CARGO_PKG_VERSION"));
    node.install(older());
    assert_eq!(bundle.state().expect("it is there")["status"], "running");
    let ps = node.mantlet(["ps"]);
    let row = ps.stdout.lines().find(|line| line.contains(&bundle.id));
    assert!(
        row.is_some_and(|row| !row.contains("LOST")),
        "{}",
        ps.stdout
    );
    node.mantlet(["inspect", &bundle.id]).ok();
    // Its journal is of a later version than this command reads: that is said, not guessed at.
    let events = node.mantlet(["events", &bundle.id]).expect(1);
    assert!(events.stderr.contains("version"), "{}", events.stderr);
    sessions(&bundle);
    buried(&bundle, "TERM");
}
