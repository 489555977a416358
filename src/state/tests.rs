use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

/// A folder of one test, removed at its end.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let name = format!("mantlet-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Scratch {
            path: fs::canonicalize(&path).unwrap(),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Of a container whose runtime keeps it at `root`.
pub(crate) fn record(root: &Path) -> Record {
    Record {
        version: VERSION,
        mantlet: "0.1.0".into(),
        container: Identity {
            id: "c1".into(),
            ..Identity::default()
        },
        handler: "baseline".into(),
        profiles: vec!["baseline".into()],
        root: root.into(),
        bundle: "/b".into(),
        original: "/b/config.json".into(),
        journal: "/nowhere/journal.jsonl".into(),
        parked: true,
        pid_file: None,
        runtime: "/usr/sbin/runc".into(),
        supervised: true,
        policy_digest: digest(b""),
        init_digest: digest(b""),
        exec: ExecRules::default(),
        host_paths: None,
        observed_host_paths: Vec::new(),
        checkpoint: false,
        tripwires: vec![Tripwire {
            syscall: "mount".into(),
            number: Some(165),
            errno: 1,
            profile: "baseline".into(),
            rules: Vec::new(),
            unless: Vec::new(),
        }],
        detect: Vec::new(),
        observing: Vec::new(),
        recording: None,
        on_supervisor_loss: crate::detect::OnLoss::Keep,
        fanotify: false,
        log_total: 0,
        effective: serde_json::json!({"z": 18446744073709551615u64, "a": 1}),
        created: "2026-01-01T00:00:00Z".into(),
    }
}

fn age(path: &Path) {
    let past = SystemTime::now() - Duration::from_secs(3600);
    fs::File::open(path).unwrap().set_modified(past).unwrap();
}

#[test]
fn what_is_written_is_read_again() {
    let scratch = Scratch::new("state-roundtrip");
    let home = Home::new(&scratch.path, Path::new("/run/r"), "c1").unwrap();
    home.create().unwrap();
    let written = record(Path::new("/run/r"));
    home.write_record(&written).unwrap();
    assert_eq!(home.read_record().unwrap(), written);
    assert_eq!(home.read_status().unwrap(), None);
    let status = Status {
        supervisor: 7,
        journal: "/j".into(),
        ..empty_status()
    };
    home.write_status(&status).unwrap();
    assert_eq!(home.read_status().unwrap(), Some(status));
    assert_eq!(
        runtime_of(&scratch.path, Path::new("/run/r"), "c1"),
        Some("/usr/sbin/runc".into())
    );
    assert_eq!(
        runtime_of(&scratch.path, Path::new("/run/other"), "c1"),
        None
    );
    let names: Vec<_> = fs::read_dir(&home.path)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "temporary files left: {names:?}");
}

pub(crate) fn empty_status() -> Status {
    Status {
        version: VERSION,
        supervisor: 0,
        supervisor_start_time: 0,
        pid: 0,
        start_time: 0,
        report: None,
        journal: PathBuf::new(),
        events: 0,
        tripwires: 0,
        sessions: 0,
        ..Status::default()
    }
}

#[test]
fn ids_that_leave_the_folder_are_refused() {
    let new = |id: &str| Home::new(Path::new("/run/m"), Path::new("/r"), id);
    for id in ["", ".", "..", "a/b", "/", "../x", "a\0", &"x".repeat(256)] {
        assert!(matches!(new(id), Err(StateError::Id { .. })), "{id:?}");
    }
    for id in ["a", "a..b", "...", "a b", &"x".repeat(255)] {
        assert!(new(id).is_ok(), "{id:?}");
    }
}

#[test]
fn one_root_has_one_folder_however_it_is_spelt() {
    let scratch = Scratch::new("state-roots");
    let real = scratch.path.join("real");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, scratch.path.join("link")).unwrap();
    let path = |root: &Path| Home::new(Path::new("/s"), root, "c").unwrap().path;
    let expected = path(&real.join("k8s.io"));
    assert_eq!(path(&scratch.path.join("link/k8s.io")), expected);
    assert_eq!(path(&real.join("k8s.io/")), expected);
    assert_eq!(path(&real.join(".//k8s.io")), expected);
    assert_ne!(path(&real.join("moby")), expected);
    fs::create_dir(real.join("k8s.io")).unwrap();
    assert_eq!(
        path(&real.join("k8s.io")),
        expected,
        "creating the root changed its key"
    );
}

#[test]
fn folders_are_private_and_an_open_one_is_refused() {
    let scratch = Scratch::new("state-modes");
    let state = scratch.path.join("run");
    let home = Home::new(&state, Path::new("/r"), "c").unwrap();
    home.create().unwrap();
    let mut folder = home.path.as_path();
    while folder != scratch.path {
        assert_eq!(
            fs::metadata(folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        folder = folder.parent().unwrap();
    }
    assert!(matches!(home.create(), Err(StateError::Exists { .. })));
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    let other = Home::new(&state, Path::new("/r"), "d").unwrap();
    assert!(matches!(other.create(), Err(StateError::Untrusted { .. })));
    assert!(!other.exists());
    home.write_record(&record(Path::new("/r"))).unwrap();
    assert!(matches!(
        home.read_record(),
        Err(StateError::Untrusted { .. })
    ));
    assert_eq!(runtime_of(&state, Path::new("/r"), "c"), None);
}

#[test]
fn another_version_and_torn_content_say_so() {
    let scratch = Scratch::new("state-version");
    let home = Home::new(&scratch.path, Path::new("/r"), "c").unwrap();
    home.create().unwrap();
    let file = home.path.join("record.json");
    fs::write(&file, r#"{"version": 2, "unheard": "of"}"#).unwrap();
    assert!(matches!(
        home.read_record(),
        Err(StateError::Version { found: 2, .. })
    ));
    fs::write(&file, r#"{"version": 1, "#).unwrap();
    assert!(matches!(
        home.read_record(),
        Err(StateError::Content { .. })
    ));
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert!(matches!(home.read_record(), Err(StateError::Io { .. })));
}

#[test]
fn the_control_socket_works_beyond_the_length_of_an_address() {
    let scratch = Scratch::new("state-socket");
    let home = Home::new(&scratch.path, Path::new("/r"), &"i".repeat(200)).unwrap();
    assert!(home.connect_control().unwrap_err().is_missing());
    home.create().unwrap();
    let listener = home.bind_control().unwrap();
    let client = home.connect_control().unwrap();
    let peer = nix::sys::socket::accept(listener.as_raw_fd()).unwrap();
    assert_eq!(nix::unistd::write(&client, b"hello").unwrap(), 5);
    let mut buffer = [0; 16];
    let flags = nix::sys::socket::MsgFlags::empty();
    assert_eq!(nix::sys::socket::recv(peer, &mut buffer, flags).unwrap(), 5);
    nix::unistd::close(peer).unwrap();
    assert!(home.bind_control().is_err());
    drop(listener);
    assert!(home.connect_control().is_err());
}

#[test]
fn only_what_is_gone_is_swept() {
    let scratch = Scratch::new("state-sweep");
    let root = scratch.path.join("runc");
    let home = |id: &str| {
        let home = Home::new(&scratch.path, &root, id).unwrap();
        home.create().unwrap();
        home.write_record(&record(&root)).unwrap();
        home
    };
    let (gone, young, known, watched) =
        (home("gone"), home("young"), home("known"), home("watched"));
    fs::create_dir_all(root.join("known")).unwrap();
    let pid = i32::try_from(std::process::id()).unwrap();
    let supervisor_start_time = start_time(pid).unwrap();
    let status = Status {
        supervisor: pid,
        supervisor_start_time,
        ..empty_status()
    };
    watched.write_status(&status).unwrap();
    let torn = home("torn");
    fs::write(torn.path.join("record.json"), "{").unwrap();
    for old in [&gone, &known, &watched, &torn] {
        age(&old.path);
    }
    assert_eq!(sweep(&scratch.path).unwrap(), [gone]);
    assert_eq!(list(&scratch.path).unwrap().len(), 4);
    assert!(young.exists());
}

#[test]
fn no_state_is_an_empty_list() {
    let nowhere = Path::new("/nonexistent/mantlet");
    assert!(list(nowhere).unwrap().is_empty());
    assert!(sweep(nowhere).unwrap().is_empty());
}

#[test]
fn a_journals_name_never_leaves_the_log_folder() {
    let log = Path::new("/var/log/mantlet");
    let name = |id: &str| journal_path(log, Path::new("/r"), id);
    assert!(name("c1").to_str().unwrap().ends_with("-c1.jsonl"));
    for id in ["../../etc/x", "", &"x".repeat(255)] {
        assert_eq!(name(id).parent(), Some(log));
        assert!(name(id).file_name().unwrap().len() <= 255);
    }
}

#[test]
fn the_digest_is_sha_256() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(digest(b""), empty);
    assert_eq!(digest_file(Path::new("/dev/null")).unwrap(), empty);
}
