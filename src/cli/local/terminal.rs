//! The program's terminal and this process's own: what is typed goes in, what is shown comes out.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use rustix::termios::{self, OptionalActions, Termios};

use crate::sys::socket;

/// As long as a runtime may take between its start and the terminal; it sends that before `create` ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// Typed and not taken yet: more waits in the terminal itself.
const MOST_PENDING: usize = 4096;

/// Where the runtime sends the terminal that it makes (`--console-socket`).
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    /// For the command line.
    pub path: PathBuf,
}

impl Socket {
    /// A socket in `folder`.
    ///
    /// # Errors
    /// Those of bind(2); the path may be too long.
    pub fn bind(folder: &Path) -> io::Result<Socket> {
        let path = folder.join("tty");
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        Ok(Socket { listener, path })
    }

    /// The terminal that came.
    ///
    /// # Errors
    /// None came in time.
    pub fn receive(self) -> io::Result<OwnedFd> {
        let until = Instant::now() + PATIENCE;
        wait(self.listener.as_fd(), until)?;
        let (stream, _) = self.listener.accept()?;
        wait(stream.as_fd(), until)?;
        let mut packet = socket::receive(&stream, 4096)?;
        let missing = || io::Error::other("the runtime sent no terminal");
        packet.fds.pop().ok_or_else(missing)
    }
}

fn wait(fd: BorrowedFd<'_>, until: Instant) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    let left = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
    match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], left)? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Both ends. Dropping it gives the own terminal back as it was.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    /// How standard input was, where that is a terminal.
    before: Option<Termios>,
    /// Typed and not taken yet.
    pending: Vec<u8>,
    /// Standard input has ended.
    typed_all: bool,
    /// The program's side is closed.
    pub shown_all: bool,
}

impl Terminal {
    /// Takes over the program's terminal, and this process's own where it has one.
    ///
    /// # Errors
    /// The own terminal's mode cannot be set.
    pub fn take(master: OwnedFd) -> io::Result<Terminal> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let stdin = io::stdin();
        let before = if stdin.is_terminal() {
            let before = termios::tcgetattr(&stdin)?;
            let mut raw = before.clone();
            raw.make_raw();
            termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
            Some(before)
        } else {
            None
        };
        let terminal = Terminal {
            master: File::from(master),
            before,
            pending: Vec::new(),
            typed_all: false,
            shown_all: false,
        };
        terminal.resize();
        Ok(terminal)
    }

    /// Whether this process's own terminal is in raw mode.
    pub fn is_raw(&self) -> bool {
        self.before.is_some()
    }

    /// Gives the program the own terminal's size.
    pub fn resize(&self) {
        if let Ok(size) = termios::tcgetwinsize(io::stdout()) {
            let _ = termios::tcsetwinsize(&self.master, size);
        }
    }

    /// What to wait for: on standard input, and on the program's terminal.
    pub fn interest(&self) -> (PollFlags, PollFlags) {
        let typed = if self.typed_all || self.pending.len() >= MOST_PENDING {
            PollFlags::empty()
        } else {
            PollFlags::POLLIN
        };
        let mut shown = PollFlags::empty();
        if !self.shown_all {
            shown |= PollFlags::POLLIN;
        }
        if !self.pending.is_empty() {
            shown |= PollFlags::POLLOUT;
        }
        (typed, shown)
    }

    /// For poll(2).
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Takes what was typed, and passes on as much as fits; whether an interrupt was among it that the
    /// program's terminal makes a signal of.
    pub fn type_in(&mut self) -> bool {
        let mut block = [0; 1024];
        let mut interrupt = false;
        // Past the buffer of std's, whose rest no poll(2) would tell of.
        match rustix::io::read(io::stdin(), &mut block) {
            Ok(0) => {
                self.typed_all = true;
                // What a terminal's end of file is, for a program that waits for one.
                self.pending.push(4);
            }
            Ok(length) => {
                interrupt = self.makes_signals() && block[..length].contains(&3);
                self.pending.extend_from_slice(&block[..length]);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => self.typed_all = true,
        }
        self.flush_pending();
        interrupt
    }

    /// Passes on what was typed before.
    pub fn flush_pending(&mut self) {
        while !self.pending.is_empty() {
            match (&self.master).write(&self.pending) {
                Ok(0) | Err(_) => return,
                Ok(written) => drop(self.pending.drain(..written)),
            }
        }
    }

    /// Shows what the program wrote, as much as there is now. EIO is how a terminal says that nobody is
    /// left on the other side.
    pub fn show(&mut self) {
        let mut block = [0; 8192];
        let mut out = io::stdout().lock();
        while !self.shown_all {
            match (&self.master).read(&mut block) {
                Ok(0) => self.shown_all = true,
                Ok(length) => {
                    // A reader that went away is noticed by nobody else; the program goes on.
                    let _ = out.write_all(&block[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.shown_all = true,
            }
        }
        let _ = out.flush();
    }

    fn makes_signals(&self) -> bool {
        let modes = termios::tcgetattr(&self.master);
        modes.is_ok_and(|modes| modes.local_modes.contains(termios::LocalModes::ISIG))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
