//! The first program inside the container: applies what only the process itself can apply, and
//! becomes the workload. It runs with the workload's identity and capabilities, on a filesystem the
//! image's author chose, so it trusts nothing but its three descriptors:
//!
//! `argv[0]` is `/proc/self/fd/N`. N is this very program (a sealed memfd), N+1 the policy (another),
//! N+2 the channel to the supervisor, absent for a pause container. Lower numbers are the engine's.
//! Where it is mounted ([`BOUND_INIT`]) `argv[1]` is the number, and that of the policy.
//!
//! 1. Become non-dumpable; close all that is not needed; read the policy.
//! 2. Say hello, get the pipe whose silent end means *executed*.
//! 3. Look the workload up, by the runtime's rules, while everything can still be seen.
//! 4. Enter the Landlock domains, attest them, lower the rlimits.
//! 5. Install the exact filter; from here on only read, write, execve and exit_group are used, and
//!    no memory is asked for.
//! 6. Wait for the supervisor's word; execve.
//!
//! Anything else than success ends the process: there is no path to the workload around a step.

pub(crate) mod domain;
mod lookup;
pub(crate) mod paths;

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;

use crate::channel::{Attest, DEADLINE, Failure, GO, Hello, INSTALLED, LARGEST, Outcome, Welcome};
use crate::seal::{BOUND_INIT, Policy, Rlimit};
use crate::sys::process::{self, Command};
use crate::sys::{fds, memfd, seccomp, socket};

/// Where the runtime put what the front door passed: `argv[0]` without the number.
pub const ARGV0_PREFIX: &str = "/proc/self/fd/";

/// Exit code for a workload that was not found (POSIX 2.8.2), and for one that cannot be executed.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Why there is no workload: one line for people, and an exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    message: String,
    code: i32,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Refusal {
        Refusal {
            message: message.into(),
            code: NOT_EXECUTABLE,
        }
    }
}

/// The number N in `/proc/self/fd/N`, where `argv[0]` has that form and N is above standard error.
pub fn descriptor_of(argv0: &std::ffi::OsStr) -> Option<RawFd> {
    number(argv0.as_bytes().strip_prefix(ARGV0_PREFIX.as_bytes())?)
}

/// A descriptor above standard error.
fn number(digits: &[u8]) -> Option<RawFd> {
    if digits.is_empty() || digits.len() > 6 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number > 2).then_some(number)
}

/// Runs the whole of init for the process's own command line. Returns only if it is not init's, so
/// that the program can say what it is.
pub fn run(argv: Vec<OsString>) {
    let Some(place) = Place::of(&argv) else {
        return;
    };
    let mut out = Out::default();
    let refusal = match Session::open(place, &mut out) {
        Ok(session) => session.become_workload(argv.into_iter().skip(place.words), &mut out),
        Err(refusal) => refusal,
    };
    out.report(&refusal);
    process::exit_now(refusal.code)
}

/// Where this program and its descriptors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The first descriptor.
    first: RawFd,
    /// The policy's, the first or the one behind it.
    policy: RawFd,
    /// Words of argv before the command.
    words: usize,
}

impl Place {
    fn of(argv: &[OsString]) -> Option<Place> {
        let argv0 = argv.first()?;
        if argv0 == BOUND_INIT {
            let first = number(argv.get(1)?.as_bytes())?;
            return Some(Place {
                first,
                policy: first,
                words: 2,
            });
        }
        let first = descriptor_of(argv0)?;
        Some(Place {
            first,
            policy: first + 1,
            words: 1,
        })
    }
}

/// Where a failure is told. Standard error until the supervisor says that somebody waits for it.
#[derive(Debug, Default)]
struct Out {
    channel: Option<OwnedFd>,
    pipe: Option<File>,
    quiet: bool,
    /// `exec PATH: `, ready before memory can no longer be asked for.
    shown: Vec<u8>,
}

impl Out {
    fn report(&mut self, refusal: &Refusal) {
        let message = clipped(&refusal.message);
        let failure = Outcome::Failure(Failure {
            message: message.to_owned(),
        });
        // Each of the three may be gone; what can be told is told, and the exit code tells the rest.
        let told = match (&mut self.pipe, &self.channel) {
            (Some(pipe), _) => pipe.write_all(message.as_bytes()).is_ok(),
            (None, Some(channel)) => socket::send(channel, &failure.encode(), &[]).is_ok(),
            (None, None) => false,
        };
        if !(told && self.quiet) {
            let _ = writeln!(std::io::stderr(), "mantlet-init: {message}");
        }
    }
}

/// Bytes of a message that are told: names in it are as long as their author likes, and a packet and
/// a line of the journal are not.
const LONGEST: usize = 8 * 1024;

fn clipped(message: &str) -> &str {
    let end = (0..=LONGEST.min(message.len()))
        .rev()
        .find(|end| message.is_char_boundary(*end));
    &message[..end.unwrap_or(0)]
}

struct Session {
    policy: Policy,
    rlimits: Vec<Rlimit>,
}

impl Session {
    /// Steps 1 and 2.
    fn open(place: Place, out: &mut Out) -> Result<Session, Refusal> {
        let Place { first, policy, .. } = place;
        let channel = policy + 1;
        let fail = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| Refusal::new(format!("cannot {what}: {error}"))
        };
        process::set_undumpable().map_err(fail("become non-dumpable"))?;
        process::restore_sigpipe();
        fds::cloexec_from(first).map_err(fail("mark descriptors close-on-exec"))?;
        if first != policy {
            // The lowest number stays free for the listener: RLIMIT_NOFILE may leave no higher one.
            drop(fds::inherited(first).map_err(fail("find the program's descriptor"))?);
        }
        let policy = fds::inherited(policy).map_err(fail("find the policy's descriptor"))?;
        let policy = read_policy(policy)?;
        let mut session = Session {
            rlimits: policy.rlimits.clone(),
            policy,
        };
        if !session.policy.supervised {
            fds::close_from(first).map_err(fail("close descriptors"))?;
            return Ok(session);
        }
        let channel = fds::inherited(channel).map_err(fail("find the supervisor's channel"))?;
        fds::close_from(channel.as_raw_fd() + 1).map_err(fail("close descriptors"))?;
        socket::set_timeout(&channel, DEADLINE)
            .map_err(fail("bound the wait for the supervisor"))?;
        let channel = out.channel.insert(channel);
        let welcome = greet(channel.as_fd(), &mut out.pipe)?;
        out.quiet = !welcome.print_errors;
        if let Some(own) = welcome.rlimits {
            session.rlimits = own;
        }
        Ok(session)
    }

    /// Steps 3 to 6. Returns only what went wrong.
    fn become_workload(self, command: impl Iterator<Item = OsString>, out: &mut Out) -> Refusal {
        match self.confine(command, out) {
            Ok(command) => last_words(&command, out),
            Err(refusal) => refusal,
        }
    }

    fn confine(
        &self,
        command: impl Iterator<Item = OsString>,
        out: &mut Out,
    ) -> Result<Command, Refusal> {
        let words = words(command)?;
        let path = lookup::find(&words[0]).map_err(|miss| Refusal {
            message: miss.to_string(),
            code: if miss.is_missing() {
                NOT_FOUND
            } else {
                NOT_EXECUTABLE
            },
        })?;
        out.shown = shown(&path);
        let command = Command::new(path, words);
        process::set_no_new_privs()
            .map_err(|error| Refusal::new(format!("cannot set no_new_privs: {error}")))?;
        let entered =
            domain::enter(&self.policy.layers).map_err(|error| Refusal::new(error.to_string()))?;
        let program = instructions(&self.policy.filter.program)?;
        if let Some(channel) = &out.channel {
            attest(channel.as_fd(), entered, self.policy.filter.listener)?;
        }
        for limit in &self.rlimits {
            process::set_rlimit(limit.resource, limit.soft, limit.hard).map_err(|error| {
                Refusal::new(format!(
                    "cannot set rlimit {} to {}/{}: {error}",
                    limit.resource, limit.soft, limit.hard
                ))
            })?;
        }
        for bound in &self.policy.bounds {
            process::lower_rlimit(bound.resource, bound.soft, bound.hard).map_err(|error| {
                Refusal::new(format!(
                    "cannot lower rlimit {} to {}/{}: {error}",
                    bound.resource, bound.soft, bound.hard
                ))
            })?;
        }
        let filter = &self.policy.filter;
        let listener = install(&program, filter.flags, filter.listener)
            .map_err(|error| Refusal::new(format!("cannot install the seccomp filter: {error}")))?;
        // No destructor after this line: close(2) and munmap(2) may be denied from here on, and
        // execve gives everything back. The listener is close-on-exec.
        std::mem::forget((listener, program));
        Ok(command)
    }
}

/// With WAIT_KILLABLE_RECV where the kernel has it, so that signals do not restart notified calls.
fn install(
    program: &[libc::sock_filter],
    flags: u32,
    listener: bool,
) -> std::io::Result<Option<OwnedFd>> {
    if listener {
        let killable = flags | seccomp::FLAG_WAIT_KILLABLE_RECV;
        match seccomp::install(program, killable, true) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => return other,
        }
    }
    seccomp::install(program, flags, listener)
}

fn read_policy(fd: OwnedFd) -> Result<Policy, Refusal> {
    if !memfd::is_sealed(&fd) {
        return Err(Refusal::new(
            "the policy is not sealed; it did not come from mantlet-runtime",
        ));
    }
    let file = File::from(fd);
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; process::stat(&file)?.st_size as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| Refusal::new(format!("cannot read the policy: {error}")))?;
    Policy::decode(&bytes).map_err(|error| Refusal::new(format!("the policy {error}")))
}

fn greet(channel: BorrowedFd<'_>, pipe: &mut Option<File>) -> Result<Welcome, Refusal> {
    let gone =
        |error: std::io::Error| Refusal::new(format!("the supervisor does not answer: {error}"));
    socket::send(channel, &Hello.encode(), &[]).map_err(gone)?;
    let mut packet = socket::receive(channel, LARGEST).map_err(gone)?;
    if packet.bytes.is_empty() {
        return Err(Refusal::new("the supervisor has closed the channel"));
    }
    let welcome = Welcome::decode(&packet.bytes)
        .map_err(|error| Refusal::new(format!("the supervisor's welcome {error}")))?;
    match packet.fds.pop() {
        Some(end) if packet.fds.is_empty() => *pipe = Some(File::from(end)),
        _ => return Err(Refusal::new("the supervisor's welcome carries no pipe")),
    }
    Ok(welcome)
}

fn attest(
    channel: BorrowedFd<'_>,
    entered: domain::Entered,
    listener: bool,
) -> Result<(), Refusal> {
    let slot = if listener {
        let number = fds::lowest_free(channel).map_err(|error| {
            Refusal::new(format!("no descriptor is free for the listener: {error}"))
        })?;
        Some(number as u32)
    } else {
        None
    };
    let mut attest = Attest {
        landlock_abi: entered.abi,
        landlock_errata: entered.errata,
        domains: entered.domains,
        skipped: Vec::new(),
        skipped_count: 0,
        slot,
    };
    attest.skip(entered.skipped);
    socket::send(channel, &Outcome::Attest(attest).encode(), &[])
        .map_err(|error| Refusal::new(format!("cannot report to the supervisor: {error}")))
}

fn words(command: impl Iterator<Item = OsString>) -> Result<Vec<CString>, Refusal> {
    let words: Result<Vec<_>, _> = command.map(|word| CString::new(word.into_vec())).collect();
    match words {
        Ok(words) if !words.is_empty() => Ok(words),
        _ => Err(Refusal::new(
            "there is no command to execute: process.args is empty",
        )),
    }
}

fn instructions(program: &[u8]) -> Result<Vec<libc::sock_filter>, Refusal> {
    if program.is_empty() || !program.len().is_multiple_of(8) {
        return Err(Refusal::new(
            "the seccomp filter is not a whole number of instructions",
        ));
    }
    let one = |bytes: &[u8]| libc::sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    Ok(program.chunks_exact(8).map(one).collect())
}

/// Step 6, under the exact filter: read, write, execve and exit_group, and no memory. What can go
/// wrong is put together from pieces that are there already.
fn last_words(command: &Command, out: &Out) -> ! {
    if let Some(channel) = &out.channel {
        let mut word = [0; 16];
        let said = raw_write(channel.as_raw_fd(), &[INSTALLED]);
        let length = if said {
            process::read_some(channel.as_fd(), &mut word)
        } else {
            0
        };
        if word.get(..length) != Some(GO) {
            tell(out, &[b"the supervisor did not give its word"]);
            process::exit_now(NOT_EXECUTABLE)
        }
    }
    let error = command.become_it();
    let (why, code) = reason(&error);
    tell(out, &[&out.shown, why]);
    process::exit_now(code)
}

/// The path as runc tells it. Its bytes are the pod author's: what would move a terminal's cursor
/// is escaped.
fn shown(path: &std::ffi::CStr) -> Vec<u8> {
    let mut text = String::from("exec ");
    for letter in path.to_string_lossy().chars() {
        if letter.is_control() {
            text.extend(letter.escape_default());
        } else {
            text.push(letter);
        }
    }
    text.push_str(": ");
    text.into_bytes()
}

/// The errno's text without asking for memory, as Go's runtime words it.
fn reason(error: &std::io::Error) -> (&'static [u8], i32) {
    match error.raw_os_error() {
        Some(libc::ENOENT) => (b"no such file or directory", NOT_FOUND),
        Some(libc::EACCES) => (
            b"permission denied (the file is not executable, or the profile's `files` do not grant execution)",
            NOT_EXECUTABLE,
        ),
        Some(libc::EPERM) => (b"operation not permitted", NOT_EXECUTABLE),
        Some(libc::ENOEXEC) => (b"exec format error", NOT_EXECUTABLE),
        Some(libc::E2BIG) => (b"argument list too long", NOT_EXECUTABLE),
        Some(libc::ENOMEM) => (b"cannot allocate memory", NOT_EXECUTABLE),
        Some(libc::ETXTBSY) => (b"text file busy", NOT_EXECUTABLE),
        Some(libc::ELOOP) => (b"too many levels of symbolic links", NOT_EXECUTABLE),
        Some(libc::EAGAIN) => (b"resource temporarily unavailable", NOT_EXECUTABLE),
        Some(libc::EINVAL) => (b"invalid argument", NOT_EXECUTABLE),
        Some(libc::ENOTDIR) => (b"not a directory", NOT_FOUND),
        _ => (b"the kernel refused", NOT_EXECUTABLE),
    }
}

fn tell(out: &Out, pieces: &[&[u8]]) {
    let told = out
        .pipe
        .as_ref()
        .is_some_and(|pipe| raw_write(pipe.as_raw_fd(), pieces));
    if !(told && out.quiet) {
        raw_write(2, &[b"mantlet-init: "]);
        raw_write(2, pieces);
        raw_write(2, &[b"\n"]);
    }
}

fn raw_write(fd: RawFd, pieces: &[&[u8]]) -> bool {
    pieces.iter().all(|piece| process::write_all(fd, piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn only_a_descriptor_above_standard_error_makes_it_init() {
        assert_eq!(descriptor_of(OsStr::new("/proc/self/fd/3")), Some(3));
        assert_eq!(descriptor_of(OsStr::new("/proc/self/fd/12")), Some(12));
        for other in [
            "/proc/self/fd/2",
            "/proc/self/fd/",
            "/proc/self/fd/+3",
            "mantlet-init",
        ] {
            assert_eq!(descriptor_of(OsStr::new(other)), None, "{other}");
        }
        assert_eq!(descriptor_of(OsStr::new("/proc/self/fd/99999999999")), None);
    }

    #[test]
    fn a_mounted_init_is_told_its_descriptors_by_the_next_word() {
        let place = |words: &[&str]| {
            let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
            Place::of(&argv).map(|place| (place.first, place.policy, place.words))
        };
        assert_eq!(place(&["/proc/self/fd/3", "4"]), Some((3, 4, 1)));
        assert_eq!(place(&[BOUND_INIT, "4", "sh"]), Some((4, 4, 2)));
        for words in [
            &[BOUND_INIT][..],
            &[BOUND_INIT, "2"],
            &[BOUND_INIT, "sh"],
            &[],
        ] {
            assert_eq!(place(words), None, "{words:?}");
        }
    }

    #[test]
    fn a_path_is_told_without_its_control_characters() {
        assert_eq!(shown(c"/bin/a b"), b"exec /bin/a b: ");
        assert_eq!(shown(c"/bin/\x1b[2J\n"), b"exec /bin/\\u{1b}[2J\\n: ");
    }

    #[test]
    fn a_message_is_told_up_to_a_length_that_a_packet_holds() {
        assert_eq!(clipped("short"), "short");
        let long = "é".repeat(LONGEST);
        assert_eq!(clipped(&format!("x{long}")).len(), LONGEST - 1);
    }

    #[test]
    fn a_filter_of_half_an_instruction_is_refused() {
        assert!(instructions(&[0; 12]).is_err());
        assert!(instructions(&[]).is_err());
        assert_eq!(instructions(&[0; 16]).unwrap().len(), 2);
    }
}
