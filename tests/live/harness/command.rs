//! Running a program with a deadline, without being hung by a descendant that keeps its pipes.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A program that ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code, or 128 + the signal that ended it.
    pub code: i32,
    /// Standard output, lossily.
    pub stdout: String,
    /// Standard error, lossily.
    pub stderr: String,
    /// Somebody else still held the pipes two seconds after the program had ended.
    pub held_open: bool,
    /// What was run, for messages.
    pub what: String,
}

impl Finished {
    /// Panics unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Finished {
        assert_eq!(
            self.code, code,
            "{} answered {}\n--- stdout\n{}\n--- stderr\n{}",
            self.what, self.code, self.stdout, self.stderr
        );
        self
    }

    /// Panics unless it succeeded.
    #[track_caller]
    pub fn ok(self) -> Finished {
        self.expect(0)
    }

    /// Panics if it succeeded.
    #[track_caller]
    pub fn refused(self) -> Finished {
        assert_ne!(
            self.code, 0,
            "{} succeeded\n--- stdout\n{}",
            self.what, self.stdout
        );
        self
    }
}

/// A program to run inside a world.
pub struct Run {
    command: Command,
    stdin: Vec<u8>,
    deadline: Duration,
    what: String,
}

impl Run {
    /// Runs `command`; `what` is shown in messages.
    pub fn new(command: Command, what: String) -> Run {
        Run {
            command,
            stdin: Vec::new(),
            deadline: Duration::from_secs(180),
            what,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Run {
        self.what.push(' ');
        self.what.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Run {
        args.into_iter().fold(self, Run::arg)
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Run {
        self.command.env(name, value);
        self
    }

    /// Gives it copies of `files` as descriptors 3, 4, … (at most seven). They are opened anew by
    /// path, so regular files and memfds only.
    pub fn descriptors(mut self, files: &[&OwnedFd]) -> Run {
        assert!(files.len() <= 7, "sh knows descriptors of one digit");
        let own = std::process::id();
        let opened: String = (3..)
            .zip(files)
            .map(|(number, file)| format!("{number}</proc/{own}/fd/{} ", file.as_raw_fd()))
            .collect();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {opened}; exec \"$@\""), "sh"]);
        command
            .arg(self.command.get_program())
            .args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// Has it see Landlock's ABI `abi` (see [`super::emulate`]). Comes last: [`Run::descriptors`]
    /// makes another program of it.
    pub fn emulating(mut self, abi: u32) -> Run {
        super::emulate::emulate(&mut self.command, abi);
        self
    }

    /// Feeds it `bytes` and closes its standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Run {
        self.stdin = bytes.into();
        self
    }

    /// Kills it after `deadline`; 60 seconds otherwise.
    pub fn deadline(mut self, deadline: Duration) -> Run {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Finished {
        self.command.stdin(if self.stdin.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("nsenter is on PATH");
        if let Some(mut pipe) = child.stdin.take() {
            let bytes = std::mem::take(&mut self.stdin);
            // A program that does not read is no error of the writer's.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = drain(child.stdout.take().expect("piped"));
        let stderr = drain(child.stderr.take().expect("piped"));
        let code = wait(&mut child, self.deadline).unwrap_or_else(|| {
            panic!("{} did not end within {:?}", self.what, self.deadline);
        });
        let (stdout, first) = collect(&stdout);
        let (stderr, second) = collect(&stderr);
        Finished {
            code,
            stdout,
            stderr,
            held_open: !(first && second),
            what: self.what,
        }
    }

    /// Runs it with its output appended to `file`, for programs whose children keep it open.
    pub fn run_into(mut self, file: &Path) -> i32 {
        let open = || {
            std::fs::File::options()
                .create(true)
                .append(true)
                .open(file)
                .expect("an output file")
        };
        self.command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open());
        let mut child = self.command.spawn().expect("nsenter is on PATH");
        wait(&mut child, self.deadline)
            .unwrap_or_else(|| panic!("{} did not end within {:?}", self.what, self.deadline))
    }

    /// Starts it with pipes and lets it run; killed when dropped.
    pub fn spawn(mut self) -> Spawned {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Spawned {
            child: self.command.spawn().expect("nsenter is on PATH"),
        }
    }
}

/// A running program; killed and reaped when dropped.
pub struct Spawned {
    /// With all three pipes.
    pub child: Child,
}

impl Spawned {
    /// Its exit code once it ended, `None` after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Option<i32> {
        wait(&mut self.child, deadline)
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits, and kills on expiry: the process inside has this one's death as its own.
fn wait(child: &mut Child, deadline: Duration) -> Option<i32> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            return Some(
                status
                    .code()
                    .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            );
        }
        if begin.elapsed() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reads in a thread of its own; chunks arrive as they come, the channel closes at the end.
fn drain(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut block = [0; 8192];
        while let Ok(length) = pipe.read(&mut block) {
            if length == 0 || sender.send(block[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// What was read, and whether the end came within two seconds.
fn collect(chunks: &Receiver<Vec<u8>>) -> (String, bool) {
    let until = Instant::now() + Duration::from_secs(2);
    let mut bytes = Vec::new();
    let ended = loop {
        match chunks.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(chunk) => bytes.extend(chunk),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break true,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => break false,
        }
    };
    (String::from_utf8_lossy(&bytes).into_owned(), ended)
}
