//! Saying what went wrong where each engine looks: one line in the runtime's `--log` file and one
//! on stderr.
//!
//! containerd reads the last line of level exactly `error` for create and exec, stderr for kill and
//! update, both for the rest; Podman wants exactly one line. Therefore an error goes to both, once.
//! A warning goes to the log only, because stderr of `create` and `exec` is the container's own.
//! Nothing here ever fails the caller: there is no one left to tell.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use super::invocation::{Global, LogFormat};

/// Level of a line; containerd ignores all but `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The call failed.
    Error,
    /// Something is less than it could be.
    Warning,
    /// Worth knowing.
    Info,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
        }
    }
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorLog {
    /// What the line on stderr starts with.
    program: String,
    file: Option<PathBuf>,
    format: LogFormat,
}

impl ErrorLog {
    /// The log of one call, from its own flags.
    pub fn new(program: &str, global: &Global) -> ErrorLog {
        ErrorLog {
            program: program.to_owned(),
            file: global.log.clone(),
            format: global.log_format,
        }
    }

    /// Tells that the call failed: one line in the log, one on stderr (`mantlet-runtime: MESSAGE`).
    pub fn error(&self, message: &str) {
        self.append(Level::Error, message);
        let line = format!("{}: {}\n", self.program, one_line(message));
        // A closed stderr is the engine's choice.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// One line in the log, none on stderr.
    pub fn note(&self, level: Level, message: &str) {
        self.append(level, message);
    }

    /// One write to a file opened for appending, so that lines of several calls do not mix.
    /// O_NONBLOCK: a FIFO without a reader must not hold the engine up.
    fn append(&self, level: Level, message: &str) {
        let Some(file) = &self.file else { return };
        let line = line(self.format, level, message, SystemTime::now());
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(file);
        if let Ok(mut file) = opened {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

/// One line in logrus's form, newline included.
///
/// The time is RFC 3339 in UTC to the second: containerd decodes it, and one odd time makes the
/// whole log unreadable.
fn line(format: LogFormat, level: Level, message: &str, now: SystemTime) -> String {
    let (level, message) = (level.name(), one_line(message));
    let time = humantime::format_rfc3339_seconds(now);
    match format {
        LogFormat::Json => {
            let msg = serde_json::Value::String(message);
            format!("{{\"level\":\"{level}\",\"msg\":{msg},\"time\":\"{time}\"}}\n")
        }
        LogFormat::Text => {
            let msg = message.replace('\\', "\\\\").replace('"', "\\\"");
            format!("time=\"{time}\" level={level} msg=\"{msg}\"\n")
        }
    }
}

/// Folds a message into one line: line breaks become `; `, and other control characters, which
/// could play tricks on a terminal, are spelled out.
pub fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message
        .split(['\n', '\r'])
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let mut folded = String::with_capacity(message.len());
    for char in lines.join("; ").chars() {
        if char == '\t' {
            folded.push(' ');
        } else if char.is_control() || is_direction_mark(char) {
            folded.extend(char.escape_unicode());
        } else {
            folded.push(char);
        }
    }
    folded
}

/// Marks that reorder text on a terminal (Unicode UAX #9), and the two line separators.
fn is_direction_mark(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_json_line_is_what_containerd_decodes() {
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let line = line(
            LogFormat::Json,
            Level::Error,
            "no \"x\":\n\tcause\u{1b}[2J",
            now,
        );
        assert_eq!(
            line,
            "{\"level\":\"error\",\"msg\":\"no \\\"x\\\":;  cause\\\\u{1b}[2J\",\"time\":\"2023-11-14T22:13:20Z\"}\n"
        );
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_text_line_is_logrus() {
        let line = line(LogFormat::Text, Level::Warning, "a \"b\" \\c", UNIX_EPOCH);
        assert_eq!(
            line,
            "time=\"1970-01-01T00:00:00Z\" level=warning msg=\"a \\\"b\\\" \\\\c\"\n"
        );
    }

    #[test]
    fn lines_are_appended_to_a_file_made_where_absent() {
        let dir = crate::oci::testdir::TestDir::new("errorlog");
        let file = dir.path().join("log.json");
        let global = Global {
            log: Some(file.clone()),
            log_format: LogFormat::Json,
            ..Global::default()
        };
        let log = ErrorLog::new("mantlet-runtime", &global);
        log.note(Level::Info, "one");
        log.note(Level::Error, "two");
        let text = std::fs::read_to_string(&file).unwrap();
        let levels: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["level"].clone())
            .collect();
        assert_eq!(levels, ["info", "error"]);
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o133,
            0
        );
    }

    #[test]
    fn a_log_that_cannot_be_written_is_no_failure() {
        let dir = crate::oci::testdir::TestDir::new("errorlog-bad");
        for file in [
            dir.path().to_owned(),
            dir.path().join("no/such/dir"),
            "/dev/full".into(),
        ] {
            let global = Global {
                log: Some(file),
                ..Global::default()
            };
            ErrorLog::new("mantlet-runtime", &global).note(Level::Error, "lost");
        }
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let global = Global {
            log: Some(fifo),
            ..Global::default()
        };
        ErrorLog::new("mantlet-runtime", &global).note(Level::Error, "nobody reads");
    }
}
