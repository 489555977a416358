//! One program's life: created and started as an engine does it, watched, and taken away.
//!
//! The program is this process's child once the runtime has ended (PR_SET_CHILD_SUBREAPER), as it is
//! containerd's shim's: its status is the kernel's word. One thread sleeps in poll(2) for all there is: the
//! program's end, signals, the journal, the terminal, the deadline.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::console::Console;
use super::place::{Place, Programs};
use super::terminal::{Socket, Terminal};
use super::{Job, LocalError};
use crate::cli::journal::{Journal, Line};
use crate::event::What;
use crate::sys::pidfd::{self, Ended};

/// Passed on to the program.
const PASSED: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];
/// So many interrupts end a program that does not listen to them.
const INTERRUPTS: u32 = 3;
/// A program that is out of time is asked first, and killed after this.
const GRACE: Duration = Duration::from_secs(2);
/// The supervisor writes the journal's last line once the container is gone.
const LAST_LINE: Duration = Duration::from_secs(5);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// It was out of time.
    TimedOut,
    /// It was never started; the person has been told why. 127 where there is no such program, 126 where it
    /// cannot be executed, else 125.
    NotStarted(i32),
}

impl Ending {
    /// The exit code that says so, as shells and timeout(1) have it.
    pub fn code(&self) -> u8 {
        let code = match self {
            Ending::Exited(code) | Ending::NotStarted(code) => *code,
            Ending::Signaled(signal) => 128 + signal,
            Ending::TimedOut => 124,
        };
        u8::try_from(code).unwrap_or(1)
    }
}

/// Runs the bundle. The second answer is whether the journal came to its end.
pub(super) fn attend(
    job: &Job,
    place: &Place,
    programs: &Programs,
    witness: &mut dyn FnMut(Line) -> Option<String>,
) -> Result<(Ending, bool), LocalError> {
    let signals = signals()?;
    let failed = LocalError::system("become the parent of orphans in", &place.path);
    nix::sys::prctl::set_child_subreaper(true).map_err(|errno| failed(errno.into()))?;
    let mut diary = Diary::open(place)?;
    // Before anything is started, so that whatever fails takes it away.
    let container = Container { place, programs };
    let mut console = Console::default();
    let (pid, terminal) = match container.create(job.terminal)? {
        Ok(created) => created,
        Err(code) => return Ok((Ending::NotStarted(code), true)),
    };
    let program =
        pidfd::open(pid).map_err(LocalError::system("hold the program of", &place.path))?;
    console.raw = terminal.as_ref().is_some_and(Terminal::is_raw);
    if let Err(code) = container.start(console)? {
        drop(terminal);
        // The supervisor has put down why before it told the front door.
        diary.read_on(Console::default(), witness);
        return Ok((Ending::NotStarted(code), true));
    }
    let mut ward = Ward {
        pid,
        program,
        signals,
        terminal,
        console,
        interrupts: 0,
        killed_as: None,
        deadline: job.timeout.map(|timeout| Instant::now() + timeout),
        timed_out: false,
    };
    let ending = ward.watch(&mut diary, witness)?;
    // The terminal is the person's again before anything more is said.
    let console = Console::default();
    drop(ward.terminal.take());
    let whole = diary.finish(console, witness);
    drop(container);
    Ok((ending, whole))
}

/// A container that is deleted when it goes out of scope.
struct Container<'a> {
    place: &'a Place,
    programs: &'a Programs,
}

impl Container<'_> {
    /// Its first process, and the terminal where one is wanted; or the exit code that tells why there is
    /// none, once the person was told.
    fn create(&self, terminal: bool) -> Result<Result<(i32, Option<Terminal>), i32>, LocalError> {
        let place = self.place;
        let pid_file = place.path.join("pid");
        let mut create = place.call(self.programs);
        create.arg("create").arg("--bundle").arg(place.bundle());
        create.arg("--pid-file").arg(&pid_file);
        let socket = if terminal {
            let bound = Socket::bind(&place.path);
            Some(bound.map_err(LocalError::system("make a socket in", &place.path))?)
        } else {
            None
        };
        if let Some(socket) = &socket {
            create.arg("--console-socket").arg(&socket.path);
            create
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
        }
        let status = status(create.arg(&place.id), &self.programs.front_door)?;
        if !status.success() {
            // Without a terminal it is on standard error already, which was the container's.
            if terminal {
                Console::default().tell(&format!("mantlet: {}\n", last_error(place)));
            }
            return Ok(Err(125));
        }
        let text = fs::read_to_string(&pid_file).map_err(LocalError::system("read", &pid_file))?;
        let pid = text.trim().parse().map_err(|_| {
            LocalError::system("understand", &pid_file)(io::ErrorKind::InvalidData.into())
        })?;
        let failed = LocalError::system("take the terminal of", &place.path);
        let terminal = socket.map(|socket| socket.receive().and_then(Terminal::take));
        Ok(Ok((pid, terminal.transpose().map_err(failed)?)))
    }

    /// Lets it go; or the exit code that tells why not, once the person was told.
    fn start(&self, console: Console) -> Result<Result<(), i32>, LocalError> {
        let mut start = self.place.call(self.programs);
        start.arg("start").arg(&self.place.id);
        start
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let front_door = &self.programs.front_door;
        let failed = LocalError::system("execute", front_door);
        let mut child = start.spawn().map_err(failed)?;
        let mut said = String::new();
        if let Some(mut pipe) = child.stderr.take() {
            let _ = pipe.read_to_string(&mut said);
        }
        let status = child
            .wait()
            .map_err(LocalError::system("wait for", front_door))?;
        if status.success() {
            return Ok(Ok(()));
        }
        let message = last_error(self.place);
        let message = if message.is_empty() { said } else { message };
        console.tell(&format!(
            "mantlet: {}\n",
            crate::cli::text::escape(message.trim())
        ));
        Ok(Err(code_of(&message)))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let mut delete = self.place.call(self.programs);
        delete.args(["delete", "--force"]).arg(&self.place.id);
        delete
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let _ = delete.status();
    }
}

/// As a shell tells why a command could not be run.
fn code_of(message: &str) -> i32 {
    if message.contains("executable file not found")
        || message.contains("no such file or directory")
    {
        127
    } else if message.contains("permission denied") {
        126
    } else {
        125
    }
}

fn status(command: &mut Command, program: &Path) -> Result<ExitStatus, LocalError> {
    command
        .status()
        .map_err(LocalError::system("execute", program))
}

/// The last message of level `error` in the runtime's log, where containerd looks for it.
fn last_error(place: &Place) -> String {
    let text = fs::read_to_string(place.runtime_log()).unwrap_or_default();
    let lines = text.lines().rev();
    let mut errors = lines.filter_map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        (entry["level"] == "error").then(|| entry["msg"].as_str().unwrap_or_default().to_owned())
    });
    errors.next().unwrap_or_default()
}

fn signals() -> Result<SignalFd, LocalError> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGWINCH);
    for signal in PASSED {
        set.add(signal);
    }
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let made = set
        .thread_block()
        .and_then(|()| SignalFd::with_flags(&set, flags));
    made.map_err(|errno| LocalError::System {
        operation: "wait for",
        object: "signals".into(),
        cause: errno.into(),
    })
}

/// The run's journal as it grows.
struct Diary {
    watch: Inotify,
    journal: Journal,
    ended: bool,
}

impl Diary {
    fn open(place: &Place) -> Result<Diary, LocalError> {
        let folder = place.log_dir();
        let changes =
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO;
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        let watch = watch.and_then(|watch| watch.add_watch(&folder, changes).map(|_| watch));
        let failed = LocalError::system("watch", &folder);
        Ok(Diary {
            watch: watch.map_err(|errno| failed(errno.into()))?,
            journal: Journal::new(place.journal()),
            ended: false,
        })
    }

    fn read_on(&mut self, console: Console, witness: &mut dyn FnMut(Line) -> Option<String>) {
        // What changed is found by reading on; the queue only has to be emptied.
        let _ = self.watch.read_events();
        for line in self.journal.read_on().unwrap_or_default() {
            let end = |event: &crate::event::Event| matches!(event.what, What::End { .. });
            self.ended |= line.event.as_ref().is_ok_and(end);
            if let Some(text) = witness(line) {
                console.tell(&text);
            }
        }
    }

    /// Waits for the last line; whether it came.
    fn finish(
        &mut self,
        console: Console,
        witness: &mut dyn FnMut(Line) -> Option<String>,
    ) -> bool {
        let until = Instant::now() + LAST_LINE;
        loop {
            self.read_on(console, witness);
            let left = until.saturating_duration_since(Instant::now());
            if self.ended || left.is_zero() {
                return self.ended;
            }
            let left = u16::try_from(left.as_millis()).unwrap_or(u16::MAX).max(1);
            let _ = poll(
                &mut [PollFd::new(self.watch.as_fd(), PollFlags::POLLIN)],
                left,
            );
        }
    }
}

/// A started program.
struct Ward {
    pid: i32,
    program: OwnedFd,
    signals: SignalFd,
    terminal: Option<Terminal>,
    console: Console,
    /// Interrupts so far.
    interrupts: u32,
    /// It was killed in place of a signal that would have ended it, were it not the first process of its
    /// namespace, to which the kernel delivers none without a handler (pid_namespaces(7)).
    killed_as: Option<Signal>,
    deadline: Option<Instant>,
    timed_out: bool,
}

impl Ward {
    /// Until the program has ended, and what it wrote to its terminal is shown.
    fn watch(
        &mut self,
        diary: &mut Diary,
        witness: &mut dyn FnMut(Line) -> Option<String>,
    ) -> Result<Ending, LocalError> {
        loop {
            let ready = self.wait(diary)?;
            if ready.signal {
                self.pass_signals();
            }
            if let Some(terminal) = &mut self.terminal {
                let interrupted = ready.typed && terminal.type_in();
                terminal.flush_pending();
                terminal.show();
                if interrupted {
                    self.end_unheard(Signal::SIGINT);
                }
            }
            if ready.journal {
                diary.read_on(self.console, witness);
            }
            self.keep_time();
            if ready.ended {
                if let Some(terminal) = &mut self.terminal {
                    terminal.show();
                }
                return Ok(self.ending());
            }
        }
    }

    fn wait(&self, diary: &Diary) -> Result<Ready, LocalError> {
        let stdin = io::stdin();
        let input = PollFlags::POLLIN;
        let mut polled = vec![
            PollFd::new(self.program.as_fd(), input),
            PollFd::new(self.signals.as_fd(), input),
            PollFd::new(diary.watch.as_fd(), input),
        ];
        let mut typing = None;
        if let Some(terminal) = &self.terminal {
            let (typed, shown) = terminal.interest();
            if !typed.is_empty() {
                typing = Some(polled.len());
                polled.push(PollFd::new(stdin.as_fd(), typed));
            }
            if !shown.is_empty() {
                polled.push(PollFd::new(terminal.as_fd(), shown));
            }
        }
        let left = self.deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // One more, so that the deadline has passed then.
            let left = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
            left.saturating_add(1)
        });
        let left = left.and_then(|left| PollTimeout::try_from(left).ok());
        match poll(&mut polled, left.unwrap_or(PollTimeout::NONE)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(errno) => {
                return Err(LocalError::System {
                    operation: "wait for",
                    object: "the program".into(),
                    cause: errno.into(),
                });
            }
        }
        let is_ready = |place: usize| polled[place].any().unwrap_or(false);
        Ok(Ready {
            ended: is_ready(0),
            signal: is_ready(1),
            journal: is_ready(2),
            typed: typing.is_some_and(is_ready),
        })
    }

    fn pass_signals(&mut self) {
        while let Ok(Some(told)) = self.signals.read_signal() {
            let number = i32::try_from(told.ssi_signo).unwrap_or(0);
            let Ok(signal) = Signal::try_from(number) else {
                continue;
            };
            if signal == Signal::SIGWINCH {
                if let Some(terminal) = &self.terminal {
                    terminal.resize();
                }
                continue;
            }
            let _ = pidfd::send_signal(&self.program, number);
            self.end_unheard(signal);
        }
    }

    /// Ends a program that the signal would have ended, did it not run as the first of its namespace; and one
    /// that has not listened to several.
    fn end_unheard(&mut self, signal: Signal) {
        if matches!(signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGQUIT) {
            self.interrupts += 1;
        }
        if self.interrupts >= INTERRUPTS || !heeds(self.pid, signal) {
            self.killed_as.get_or_insert(signal);
            let _ = pidfd::send_signal(&self.program, Signal::SIGKILL as i32);
        }
    }

    fn keep_time(&mut self) {
        if self
            .deadline
            .is_none_or(|deadline| deadline > Instant::now())
        {
            return;
        }
        let signal = if self.timed_out {
            Signal::SIGKILL
        } else {
            Signal::SIGTERM
        };
        let _ = pidfd::send_signal(&self.program, signal as i32);
        self.deadline = (!self.timed_out).then(|| Instant::now() + GRACE);
        self.timed_out = true;
    }

    fn ending(&self) -> Ending {
        let ended = pidfd::wait(&self.program);
        match (self.timed_out, self.killed_as, ended) {
            (true, ..) => Ending::TimedOut,
            (false, Some(signal), Some(Ended::Signaled(libc::SIGKILL))) => {
                Ending::Signaled(signal as i32)
            }
            (false, _, Some(Ended::Signaled(signal))) => Ending::Signaled(signal),
            (false, _, Some(Ended::Exited(code))) => Ending::Exited(code),
            // Not reached while this process is the parent of orphans.
            (false, _, None) => Ending::Exited(pidfd::exit_code(&self.program).unwrap_or(1)),
        }
    }
}

/// What has happened.
#[derive(Debug, Default)]
struct Ready {
    ended: bool,
    signal: bool,
    journal: bool,
    typed: bool,
}

/// Whether the process has something to say about a signal: it catches, blocks or ignores it. One that has
/// ended does.
fn heeds(pid: i32, signal: Signal) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return true;
    };
    let bit = 1_u64 << (signal as i32 - 1);
    let sets = ["SigCgt:", "SigIgn:", "SigBlk:"];
    let mut sets = sets.iter().filter_map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    sets.any(|set| set & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_have_the_codes_that_shells_give_them() {
        assert_eq!(Ending::Exited(7).code(), 7);
        assert_eq!(Ending::Signaled(15).code(), 143);
        assert_eq!(Ending::TimedOut.code(), 124);
        assert_eq!(
            code_of("exec: \"x\": executable file not found in $PATH"),
            127
        );
        assert_eq!(
            code_of("exec: \"/x\": stat /x: no such file or directory"),
            127
        );
        assert_eq!(code_of("exec: \"/x\": permission denied"), 126);
        assert_eq!(code_of("the profile refuses it"), 125);
    }

    #[test]
    fn a_signal_that_nobody_heeds_is_told_from_one_that_is_caught() {
        // Both end with their standard input, whatever becomes of this test; and a shell that forks has
        // every signal blocked meanwhile, so this one only waits.
        let mut plain = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let script = "trap : TERM; echo ready; read line";
        let mut trapping = Command::new("sh");
        let mut trapping = trapping
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        trapping
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        assert!(!heeds(plain.id() as i32, Signal::SIGTERM));
        assert!(heeds(trapping.id() as i32, Signal::SIGTERM));
        assert!(!heeds(trapping.id() as i32, Signal::SIGUSR1));
        for child in [&mut plain, &mut trapping] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(heeds(plain.id() as i32, Signal::SIGTERM), "it has ended");
    }
}
