//! A node made of temporary folders, written by the library's own types.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use mantlet::event::{self, Event, Identity, Process, Report, Session, What};
use mantlet::state::{self, ExecRules, Home, Record, Status};
use serde_json::json;

const MANTLET: &str = env!("CARGO_BIN_EXE_mantlet");
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A node's folders, removed at the end of the test.
pub struct Node {
    pub path: PathBuf,
}

impl Node {
    pub fn new() -> Node {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("mantlet-cli-{}-{serial}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let node = Node { path };
        node.configure("");
        node
    }

    pub fn configure(&self, more: &str) {
        let (state, log) = (self.state(), self.log());
        let text = format!(
            "state_dir: {}\nlog_dir: {}\n{more}",
            state.display(),
            log.display()
        );
        fs::write(self.path.join("config.yaml"), text).unwrap();
    }

    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub fn root(&self) -> PathBuf {
        self.path.join("runc")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(MANTLET);
        command
            .args(args)
            .env("MANTLET_CONFIG", self.path.join("config.yaml"));
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a person at a terminal sees: script(1) gives all three streams one of `columns`.
    pub fn on_terminal(&self, columns: u32, args: &[&str]) -> String {
        let line = format!("stty rows 24 cols {columns}; {MANTLET} {}", args.join(" "));
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]);
        script.env("MANTLET_CONFIG", self.path.join("config.yaml"));
        script
            .env_remove("NO_COLOR")
            .stdin(std::process::Stdio::null());
        let shown = script.output().expect("script(1) of util-linux");
        String::from_utf8(shown.stdout).unwrap()
    }

    /// A container with a bundle, a record, and a status if `supervisor` names a process.
    pub fn container(&self, id: &str, supervisor: Option<u32>) -> Home {
        let bundle = self.path.join(format!("bundle-{id}"));
        fs::create_dir_all(&bundle).unwrap();
        let home = Home::new(&self.state(), &self.root(), id).unwrap();
        home.create().unwrap();
        let original = home.path.join("config.json");
        fs::write(
            &original,
            r#"{"process":{"args":["sh"],"noNewPrivileges":false}}"#,
        )
        .unwrap();
        let patched = r#"{"process":{"args":["sh"],"noNewPrivileges":true}}"#;
        fs::write(bundle.join("config.json"), patched).unwrap();
        home.write_record(&record(id, self.root(), bundle, original))
            .unwrap();
        if let Some(pid) = supervisor {
            home.write_status(&status(
                pid,
                &state::journal_path(&self.log(), &self.root(), id),
            ))
            .unwrap();
        }
        home
    }

    pub fn journal(&self, id: &str, events: &[Event]) -> PathBuf {
        fs::create_dir_all(self.log()).unwrap();
        let path = state::journal_path(&self.log(), &self.root(), id);
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        for event in events {
            writeln!(file, "{}", serde_json::to_string(event).unwrap()).unwrap();
        }
        path
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

pub fn identity(id: &str) -> Identity {
    Identity {
        id: id.into(),
        name: Some("web".into()),
        pod: Some("shop-0".into()),
        namespace: Some("prod".into()),
        image: Some("nginx:1".into()),
    }
}

pub fn record(id: &str, root: PathBuf, bundle: PathBuf, original: PathBuf) -> Record {
    Record {
        version: state::VERSION,
        mantlet: "0.1.0".into(),
        container: identity(id),
        handler: "restricted".into(),
        profiles: vec!["restricted".into()],
        root,
        bundle,
        original,
        journal: "/nowhere/journal.jsonl".into(),
        parked: true,
        pid_file: None,
        runtime: "/usr/sbin/runc".into(),
        supervised: true,
        policy_digest: state::digest(b"policy"),
        init_digest: state::digest(b"init"),
        exec: ExecRules::default(),
        host_paths: None,
        observed_host_paths: Vec::new(),
        checkpoint: false,
        tripwires: vec![],
        detect: Vec::new(),
        observing: Vec::new(),
        recording: None,
        on_supervisor_loss: mantlet::detect::OnLoss::Keep,
        fanotify: false,
        log_total: 0,
        effective: json!({"files": {"read": ["/"]}}),
        created: "2026-01-01T00:00:00Z".into(),
    }
}

pub fn report() -> Report {
    Report {
        landlock_abi: 7,
        landlock_layers: 1,
        landlock_rules: 12,
        filter_instructions: 300,
        seccomp_filters: 2,
        listener: true,
        no_new_privs: true,
        effective_capabilities: "0000000000000400".into(),
        ..Report::default()
    }
}

pub fn status(pid: u32, journal: &Path) -> Status {
    let supervisor = i32::try_from(pid).unwrap();
    let own = i32::try_from(std::process::id()).unwrap();
    Status {
        version: state::VERSION,
        supervisor,
        supervisor_start_time: state::start_time(supervisor).unwrap_or(1),
        pid: own,
        start_time: state::start_time(own).unwrap(),
        report: Some(report()),
        journal: journal.into(),
        events: 4,
        tripwires: 2,
        sessions: 1,
        ..Status::default()
    }
}

pub fn event(id: &str, seq: u64, what: What) -> Event {
    Event {
        version: event::VERSION,
        seq,
        time: format!("2026-01-01T00:00:0{seq}.000000Z"),
        container: identity(id),
        handler: "restricted".into(),
        profiles: vec!["restricted".into()],
        policy: String::new(),
        what,
    }
}

pub fn start() -> What {
    let process = Process {
        pid: 7,
        comm: "nginx".into(),
        ..Process::default()
    };
    What::Start {
        recording: None,
        stricter: Vec::new(),
        process,
        session: Session::Workload,
        report: report(),
    }
}

pub fn tripwire(exe: &str) -> What {
    What::Tripwire {
        process: Process {
            pid: 9,
            ppid: 7,
            uid: 0,
            comm: "x".into(),
            exe: exe.into(),
        },
        ancestors: Vec::new(),
        syscall: "mount".into(),
        number: 165,
        arch: "x86_64".into(),
        args: vec!["0x0".into(), "0x1".into()],
        errno: "EPERM".into(),
        profile: "baseline".into(),
        fix: "syscalls: {allow: [mount]}".into(),
    }
}
