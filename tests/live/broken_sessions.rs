//! Broken process files of `exec`: no session starts, and the container goes on.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Bundle, World};
use crate::remains;
use crate::scene::one_clear_line;

/// A broken process file of `exec`.
struct Session {
    name: &'static str,
    /// Makes the file at this path.
    file: fn(&Path),
    says: &'static [&'static str],
}

const SESSIONS: &[Session] = &[
    Session {
        name: "missing",
        file: |_| {},
        says: &["process", "No such file", "check the path"],
    },
    Session {
        name: "a directory",
        file: |path| fs::create_dir(path).expect("our own folder"),
        says: &["process", "directory", "name a regular file"],
    },
    Session {
        name: "empty",
        file: |path| fs::write(path, "").expect("our own folder"),
        says: &["process", "EOF", "correct the JSON"],
    },
    Session {
        name: "truncated",
        file: |path| fs::write(path, r#"{"args": ["sh"], "cwd": "#).expect("our own folder"),
        says: &["process", "EOF", "correct the JSON"],
    },
    Session {
        name: "no JSON",
        file: |path| fs::write(path, "args: [sh]").expect("our own folder"),
        says: &["process", "line 1", "correct the JSON"],
    },
    Session {
        name: "args is a string",
        file: |path| {
            fs::write(
                path,
                r#"{"args": "sh", "user": {"uid": 0, "gid": 0}, "cwd": "/"}"#,
            )
            .expect("our own folder")
        },
        says: &["process", "string \"sh\"", "line", "correct that field"],
    },
    Session {
        name: "args is empty",
        file: |path| {
            fs::write(
                path,
                r#"{"args": [], "user": {"uid": 0, "gid": 0}, "cwd": "/"}"#,
            )
            .expect("our own folder")
        },
        says: &["args"],
    },
    Session {
        name: "capabilities is a number",
        file: |path| {
            let text =
                r#"{"args": ["sh"], "user": {"uid": 0, "gid": 0}, "cwd": "/", "capabilities": 7}"#;
            fs::write(path, text).expect("our own folder");
        },
        says: &["process", "line", "correct that field"],
    },
    Session {
        name: "a key twice",
        file: |path| {
            let text =
                r#"{"args": ["true"], "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]}"#;
            fs::write(path, text).expect("our own folder");
        },
        says: &["process", "\"args\"", "keep one"],
    },
    Session {
        name: "a key in other letters",
        file: |path| {
            let text = r#"{"args": ["true"], "user": {"uid": 0, "gid": 0}, "cwd": "/", "noNewPrivilegeS": false}"#;
            fs::write(path, text).expect("our own folder");
        },
        says: &["process", "noNewPrivilegeS", "noNewPrivileges"],
    },
    Session {
        name: "NUL inside an argument",
        file: |path| {
            let text = r#"{"args": ["true\u0000sh"], "user": {"uid": 0, "gid": 0}, "cwd": "/"}"#;
            fs::write(path, text).expect("our own folder");
        },
        says: &["process", "u0000", "remove it"],
    },
    Session {
        name: "a whole config.json",
        file: |path| {
            let text = r#"{"ociVersion": "1.0.2", "process": {"args": ["sh"], "user": {"uid": 0, "gid": 0}, "cwd": "/"}}"#;
            fs::write(path, text).expect("our own folder");
        },
        says: &["process"],
    },
    Session {
        name: "larger than 16 MiB",
        file: |path| fs::write(path, vec![b' '; 17 << 20]).expect("our own folder"),
        says: &["process", "larger than 16 MiB", "shorten it"],
    },
    Session {
        name: "nested deeply",
        file: |path| fs::write(path, "[".repeat(100_000)).expect("our own folder"),
        says: &["process", "nested", "flatten it"],
    },
    Session {
        name: "a FIFO that never speaks",
        file: |path| {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("our own folder");
        },
        says: &["process", "kept silent for 10 s", "write the file"],
    },
];

#[test]
fn a_broken_process_file_starts_no_session_and_leaves_the_container_alone() {
    let bundle = Bundle::new(World::runc(), "mantlet-restricted").up();
    let world = bundle.world();
    let settled = |bundle: &Bundle| {
        let processes = remains::processes(world, &bundle.id);
        let mut pids: Vec<i32> = processes.iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        pids
    };
    let before = (settled(&bundle), remains::snapshot(&bundle.path));
    for session in SESSIONS {
        for detach in [false, true] {
            // The silent one costs its deadline; once is enough.
            if detach && session.name.contains("FIFO") {
                continue;
            }
            let file = world.folder("process", &world.name("file")).join("process");
            (session.file)(&file);
            let log = bundle.path.join("log.json");
            let _ = fs::remove_file(&log);
            let call = bundle.call().args(["exec", "--process"]).arg(&file);
            let call = if detach { call.arg("--detach") } else { call };
            let begin = Instant::now();
            let done = call.arg(&bundle.id).run();
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "{}",
                session.name
            );
            assert_eq!(done.code, 255, "{}: {}", session.name, done.stderr);
            one_clear_line(session.name, &log, &done, session.says);
        }
    }
    assert_eq!(before, (settled(&bundle), remains::snapshot(&bundle.path)));
    bundle.exec(["harmless", "work"]).ok();
}
