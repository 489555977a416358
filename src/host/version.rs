//! Asking a runtime for its version, and understanding the answer.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Family, HostError, Runtime};
use crate::channel::DEADLINE;
use crate::sys::probe::end_with_parent;

/// No runtime says more; the rest is not read.
const MAX_ANSWER: usize = 16 * 1024;

/// Runs `PATH --version`.
///
/// # Errors
/// It cannot be run, does not answer in time, or is none of the known families.
pub fn ask(path: &Path) -> Result<Runtime, HostError> {
    let answer = first_output(path, &["--version"]).map_err(|source| HostError::Version {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &answer).ok_or_else(|| HostError::UnknownRuntime {
        path: path.to_owned(),
        answer: answer
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(80)
            .collect(),
    })
}

/// What a program writes on its standard output, within the deadline and the size limit.
///
/// # Errors
/// It cannot be run, fails, or does not end in time.
pub fn first_output(path: &Path, args: &[&str]) -> io::Result<String> {
    let mut command = Command::new(path);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = end_with_parent(&mut command).spawn()?;
    let output = match child.stdout.take() {
        Some(stdout) => read_until(stdout, Instant::now() + DEADLINE),
        None => Ok(Vec::new()),
    };
    if output.is_err() {
        // It may still run; it is ours, and it is not waited for without being ended.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let output = output?;
    if !status.success() {
        return Err(io::Error::other(format!("it ended with {status}")));
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Reads to the end, but not past the deadline or the size limit.
fn read_until(mut pipe: ChildStdout, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    let mut block = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        match pipe.read(&mut block)? {
            0 => return Ok(output),
            count => output.extend_from_slice(&block[..count]),
        }
        if output.len() > MAX_ANSWER {
            return Err(io::Error::other("it writes without end"));
        }
    }
}

/// Understands `runc version 1.1.5+ds1`, `crun version 1.8.1`, `youki version: 0.5.7`.
fn parse(path: &Path, answer: &str) -> Option<Runtime> {
    let mut words = answer.lines().next()?.split_ascii_whitespace();
    let family = match words.next()? {
        "runc" => Family::Runc,
        "crun" => Family::Crun,
        "youki" => Family::Youki,
        _ => return None,
    };
    let version = words.find(|word| !matches!(*word, "version" | "version:"))?;
    Some(Runtime {
        path: path.to_owned(),
        family,
        version: version.to_owned(),
        number: number(version),
    })
}

/// The three leading numbers of `1.1.5+ds1`, `1.2.0-rc.1` or `1.8`.
fn number(version: &str) -> Option<(u32, u32, u32)> {
    let end = version
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(version.len());
    let mut parts = version[..end]
        .split('.')
        .map(|part| part.parse::<u32>().ok());
    let (major, minor) = (parts.next()??, parts.next()??);
    Some((major, minor, parts.next().map_or(Some(0), |patch| patch)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Family, version and numbers, one after the other; empty where it is not understood.
    fn parsed(answer: &str) -> String {
        parse(Path::new("/x"), answer)
            .map(|r| format!("{} {} {:?}", r.family.name(), r.version, r.number))
            .unwrap_or_default()
    }

    #[test]
    fn each_family_is_recognised_by_its_first_line() {
        for (answer, expected) in [
            (
                "runc version 1.1.5+ds1\ncommit: x\n",
                "runc 1.1.5+ds1 Some((1, 1, 5))",
            ),
            ("crun version 1.8.1\n", "crun 1.8.1 Some((1, 8, 1))"),
            ("youki version: 0.5.7\n", "youki 0.5.7 Some((0, 5, 7))"),
            ("runc version 1.2.0-rc.1", "runc 1.2.0-rc.1 Some((1, 2, 0))"),
            ("runc version unknown", "runc unknown None"),
            ("runsc version release-2023", ""),
            ("", ""),
        ] {
            assert_eq!(parsed(answer), expected);
        }
    }

    #[test]
    fn a_program_that_fails_or_is_foreign_is_an_error() {
        assert!(matches!(
            ask(Path::new("/bin/false")),
            Err(HostError::Version { .. })
        ));
        assert!(matches!(
            ask(Path::new("/bin/echo")),
            Err(HostError::UnknownRuntime { .. })
        ));
    }
}
