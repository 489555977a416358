mod fuse;
mod processes;
mod programs;
mod secrets;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::state::tests::Scratch;

/// A child of the test's own; killed and reaped when dropped.
struct Own(Child);

impl Own {
    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Starts `script` in a shell and waits until it says a line.
    fn shell(script: &str, change: impl FnOnce(&mut Command)) -> Own {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("{script}; echo; read line")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.as_mut().unwrap());
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "\n");
        Own(child)
    }

    /// Starts a program and waits until it sleeps: until then it has another name and command line.
    fn program(command: &mut Command) -> Own {
        let own = Own(command.spawn().unwrap());
        let asleep = || {
            let stat = fs::read(format!("/proc/{}/stat", own.pid())).unwrap();
            String::from_utf8_lossy(&stat).contains(") S ")
        };
        while !asleep() {
            std::thread::yield_now();
        }
        own
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An archive that was made of some processes.
struct Made {
    _scratch: Scratch,
    path: PathBuf,
    manifest: Value,
    bytes: Vec<u8>,
}

/// The clock that files' times come from is behind by up to a tick.
fn a_moment_ago() -> SystemTime {
    SystemTime::now() - Duration::from_millis(20)
}

fn scene<'a>(identity: &'a Identity, journal: &'a Path, pids: &[i32]) -> Scene<'a> {
    Scene {
        pids: pids.to_vec(),
        cgroup: None,
        refused: None,
        frozen: false,
        container: identity,
        policy: "0123",
        profiles: &[],
        init: "none",
        by: "web/drift",
        journal,
        drifted: None,
        started: SystemTime::now() + Duration::from_secs(3600),
        until: Instant::now() + Duration::from_secs(60),
    }
}

fn made_of<'a>(name: &str, pids: &[i32], change: impl FnOnce(&mut Scene<'a>)) -> Made {
    let scratch = Scratch::new(&format!("made-{name}"));
    let path = scratch.path.join("evidence.tar");
    let journal = scratch.path.join("journal.jsonl");
    fs::write(&journal, "{\"seq\":1}\n{\"seq\":2}\n").unwrap();
    let identity = Identity {
        id: "c1".into(),
        ..Identity::default()
    };
    // `change` may put in what lives shorter than these would have to.
    let (identity, journal) = (Box::leak(Box::new(identity)), journal.leak());
    let mut scene = scene(identity, journal, pids);
    change(&mut scene);
    collect(&scene, fs::File::create(&path).unwrap()).unwrap();
    let manifest = serde_json::from_slice(&extract(&path, "manifest.json")).unwrap();
    Made {
        bytes: fs::read(&path).unwrap(),
        _scratch: scratch,
        path,
        manifest,
    }
}

/// One entry, as tar(1) reads it.
fn extract(path: &Path, entry: &str) -> Vec<u8> {
    let done = Command::new("tar")
        .args(["--extract", "--to-stdout", "--file"])
        .arg(path)
        .arg(entry)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{entry}: {errors}");
    assert!(errors.is_empty(), "{entry}: {errors}");
    done.stdout
}

impl Made {
    fn entries(&self) -> Vec<String> {
        let mut read = tar::Archive::new(fs::File::open(&self.path).unwrap());
        let entries = read.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            assert!(entry.header().entry_type().is_file());
            entry.path().unwrap().display().to_string()
        });
        entries.collect()
    }

    fn entry(&self, name: &str) -> Vec<u8> {
        extract(&self.path, name)
    }

    fn process(&self, pid: i32) -> &Value {
        let mut all = self.manifest["processes"].as_array().unwrap().iter();
        all.find(|process| process["pid"] == pid).unwrap()
    }

    fn lacks(&self, what: &str) -> Option<&str> {
        let mut all = self.manifest["lacks"].as_array().unwrap().iter();
        all.find(|lack| lack["what"] == what)?["why"].as_str()
    }

    fn holds(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.bytes.windows(text.len()).any(|part| part == text)
    }
}
