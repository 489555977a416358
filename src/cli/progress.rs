//! What a long operation is at: one line on a terminal's standard error, drawn over again and taken away at
//! the end. Elsewhere nothing, as cargo(1) has it: a log is no place for what is true for a moment.
//!
//! Never while a program runs that has the same terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::text::{cut, escape, stderr_width};

/// The line is drawn so often at most.
const PAUSE: Duration = Duration::from_millis(100);
/// What is shown of seconds changes so often.
const SECOND: Duration = Duration::from_secs(1);
/// Where the terminal does not tell its width.
const COLUMNS: usize = 80;

/// The line.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    drawn: Option<Instant>,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new() -> Progress {
        Progress {
            terminal: io::stderr().is_terminal(),
            drawn: None,
        }
    }

    /// Shows what is done now, unless something was shown a moment ago.
    pub fn at(&mut self, text: &str) {
        if self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            self.now(text);
        }
    }

    /// Shows it at once.
    pub fn now(&mut self, text: &str) {
        if self.terminal {
            self.drawn = Some(Instant::now());
            put(&line(text, stderr_width().unwrap_or(COLUMNS)));
        }
    }

    /// Takes the line away: something else is written.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            put(CLEARED);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The same for something that says nothing until it is done: the seconds go on by themselves.
#[derive(Debug)]
pub struct Waiting {
    ticking: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Waiting {
    /// Shows it until this value goes.
    pub fn on(text: String) -> Waiting {
        let mut progress = Progress::new();
        if !progress.terminal {
            return Waiting { ticking: None };
        }
        let (stop, stopped) = mpsc::channel();
        let begun = Instant::now();
        let tick = move || {
            loop {
                progress.now(&format!("{text}, {} s", begun.elapsed().as_secs()));
                if stopped.recv_timeout(SECOND) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        Waiting {
            ticking: Some((stop, thread::spawn(tick))),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.ticking.take() {
            drop(stop);
            // What it drew is gone once it has ended.
            let _ = thread.join();
        }
    }
}

/// First column, and nothing behind it (ECMA-48 EL).
const CLEARED: &str = "\r\u{1b}[K";

/// The line in place of what stands there. The last column stays free, or the terminal would begin a new one.
fn line(text: &str, width: usize) -> String {
    let text = format!("mantlet: {}", escape(text));
    format!("{CLEARED}{}", cut(&text, width.saturating_sub(1)))
}

fn put(text: &str) {
    let mut out = io::stderr().lock();
    // Nothing can be done where stderr is gone.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_its_terminal_and_obeys_nobody() {
        assert_eq!(line("run 1 of 2", 80), "\r\u{1b}[Kmantlet: run 1 of 2");
        assert_eq!(line("run 1 of 2", 14), "\r\u{1b}[Kmantlet: run…");
        assert_eq!(line("\u{1b}[2J", 80), "\r\u{1b}[Kmantlet: \\u{1b}[2J");
    }
}
