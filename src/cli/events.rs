//! `mantlet events`: what containers were refused, and the line that would allow it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::journal::{Journal, Line};
use super::text::{Ink, escape, ink, name};
use super::{CliError, warn};
use crate::config::Config;
use crate::event::{Event, Process, Session, What};

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the container of this id, or whose id begins with it
    #[arg(value_name = "ID", conflicts_with = "container")]
    id: Option<String>,
    /// The same as ID
    #[arg(short, long, value_name = "ID")]
    container: Option<String>,
    /// Go on with events as they happen, of new containers too
    #[arg(short, long)]
    follow: bool,
    /// Only the last N of the events that are there already
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Print the journal's own JSON lines
    #[arg(long)]
    json: bool,
}

/// Prints events in the order of time. A gap in a container's numbers and a line that is no event
/// are said on stderr; either makes the exit code 1.
pub fn events(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let mut stream = Stream {
        wanted: args.id.clone().or_else(|| args.container.clone()),
        json: args.json,
        journals: BTreeMap::new(),
        shown: 0,
        faults: 0,
    };
    // The watch comes first: what is written in between is then seen twice by us, never missed.
    let watch = args.follow.then(|| watch(&config.log_dir)).transpose()?;
    let mut past = stream.gather(&config.log_dir)?;
    let skipped = args
        .lines
        .map_or(0, |lines| past.len().saturating_sub(lines));
    stream.print(past.drain(..).skip(skipped))?;
    if let Some(watch) = watch {
        stream.follow(&watch, &config.log_dir)?;
    } else if stream.journals.is_empty() {
        warn(&format!(
            "no events; there is no journal in {}",
            config.log_dir.display()
        ));
    } else if let Some(wanted) = stream.wanted.as_deref().filter(|_| stream.shown == 0) {
        return Err(CliError::NoEvents {
            id: wanted.to_owned(),
            folder: config.log_dir.clone(),
        });
    }
    Ok(if stream.faults == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Journals and how to show them.
struct Stream {
    wanted: Option<String>,
    json: bool,
    journals: BTreeMap<PathBuf, Journal>,
    /// Lines that were wanted.
    shown: usize,
    /// Gaps and lines that could not be understood.
    faults: usize,
}

impl Stream {
    /// New lines of all journals in the folder, in the order of time; of one journal always in its
    /// own order, whatever the clock did.
    fn gather(&mut self, log_dir: &Path) -> Result<Vec<(PathBuf, Line)>, CliError> {
        let mut all = Vec::new();
        for path in journals_in(log_dir)? {
            let journal = self
                .journals
                .entry(path.clone())
                .or_insert_with(|| Journal::new(path.clone()));
            let lines = match journal.read_on() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lines => lines.map_err(failed("read", &path))?,
            };
            let mut latest = String::new();
            for line in lines {
                if let Ok(event) = &line.event {
                    latest = latest.max(event.time.clone());
                }
                all.push((latest.clone(), (path.clone(), line)));
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all.into_iter().map(|(_, line)| line).collect())
    }

    fn print(&mut self, lines: impl Iterator<Item = (PathBuf, Line)>) -> Result<(), CliError> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for (path, line) in lines {
            if !self.wants(&path, &line) {
                continue;
            }
            self.shown += 1;
            self.faults += complain(&path, &line);
            match &line.event {
                _ if self.json => {
                    out.write_all(&line.raw)?;
                    out.write_all(b"\n")?;
                }
                Ok(event) => out.write_all(human(event).as_bytes())?,
                Err(_) => {}
            }
        }
        Ok(out.flush()?)
    }

    /// A line that cannot be understood belongs to whom the file's name says.
    fn wants(&self, path: &Path, line: &Line) -> bool {
        let Some(wanted) = &self.wanted else {
            return true;
        };
        match &line.event {
            Ok(event) => event.container.id.starts_with(wanted.as_str()),
            Err(_) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.split_once('-')
                    .is_some_and(|(_, id)| id.starts_with(wanted.as_str()))
            }
        }
    }

    /// Sleeps until the folder changes or nobody reads our output any more.
    fn follow(&mut self, watch: &Inotify, log_dir: &Path) -> Result<(), CliError> {
        loop {
            let stdout = io::stdout();
            let mut ready = [
                PollFd::new(watch.as_fd(), PollFlags::POLLIN),
                PollFd::new(stdout.as_fd(), PollFlags::empty()),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(failed("watch", log_dir)(errno.into())),
            }
            let gone =
                |flags: PollFlags| flags.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL);
            if ready[1].revents().is_some_and(gone) {
                return Ok(());
            }
            if ready[0].revents().is_some_and(|flags| !flags.is_empty()) {
                // What changed is found by reading on; the queue only has to be emptied. EAGAIN
                // means it is.
                match watch.read_events() {
                    Ok(_) | Err(nix::errno::Errno::EAGAIN) => {}
                    Err(errno) => return Err(failed("watch", log_dir)(errno.into())),
                }
                let new = self.gather(log_dir)?;
                self.print(new.into_iter())?;
            }
        }
    }
}

/// Says what is wrong with a line; how many faults that were.
fn complain(path: &Path, line: &Line) -> usize {
    let journal = escape(&path.display().to_string());
    if let Err(problem) = &line.event {
        warn(&format!(
            "{journal}: a line is no event ({}); look at it there",
            escape(problem)
        ));
        return 1;
    }
    let Some(gap) = &line.gap else { return 0 };
    if gap.found > gap.expected {
        let last = gap.found - 1;
        warn(&format!(
            "{journal}: events {} to {last} are MISSING; look for a full disk or a rotated journal",
            gap.expected
        ));
    } else {
        warn(&format!(
            "{journal}: event {} comes after event {}; the journal was written by two supervisors",
            gap.found,
            gap.expected - 1
        ));
    }
    1
}

/// Journals in the folder, ordered by name; none where there is no folder.
fn journals_in(log_dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let entries = match fs::read_dir(log_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("list", log_dir))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed("list", log_dir))?.path();
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A watch on the folder: one for all journals, present and to come.
fn watch(log_dir: &Path) -> Result<Inotify, CliError> {
    use std::os::unix::fs::DirBuilderExt;
    // On a fresh node the first container would create it, unseen by a watch on nothing.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(log_dir)
        .map_err(failed("create", log_dir))?;
    let changes = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO;
    Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
        .and_then(|watch| watch.add_watch(log_dir, changes).map(|_| watch))
        .map_err(|errno| failed("watch", log_dir)(errno.into()))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::Journal {
        operation,
        path,
        source,
    }
}

/// One event as a person reads it: a line, and for a denial the `fix` beneath it.
fn human(event: &Event) -> String {
    let head = format!("{}  {}", escape(&event.time), name(&event.container));
    let (what, fix) = match &event.what {
        What::Tripwire {
            process,
            syscall,
            args,
            errno,
            profile,
            fix,
            ..
        } => {
            let denied = ink("denied", Ink::Bad);
            let call = format!("{}({})", escape(syscall), escape(&args.join(", ")));
            (
                format!("{denied} {call} = {}  by {}", escape(errno), who(process)),
                Some(remedy(event, profile, fix)),
            )
        }
        What::Start {
            process,
            session,
            stricter,
            report,
        } => {
            let held = match &stricter[..] {
                [] => String::new(),
                more => format!(" held to {} too", escape(&more.join(" + "))),
            };
            let what = format!(
                "started {} {}{held}  landlock: {}; seccomp: {}",
                kind(*session),
                who(process),
                super::ps::landlock(report),
                super::ps::seccomp(report)
            );
            (what, None)
        }
        What::Detection {
            rule,
            profile,
            process,
            why,
            ..
        } => (
            format!(
                "{} {}/{}: {}  by {}",
                ink("detected", Ink::Bad),
                escape(profile),
                escape(rule),
                escape(why),
                process.as_ref().map_or_else(|| "the container".into(), who)
            ),
            None,
        ),
        What::Response { action, by, .. } => (format!("{action:?} by {}", escape(by)), None),
        What::Watcher { ended, .. } => (format!("watcher ended: {}", escape(ended)), None),
        What::Lost { count, cause } => (format!("{count} lines lost: {}", escape(cause)), None),
        What::Overflow { count } => (format!("queue overflow, {count} times"), None),
        What::Suppressed { count, of } => (
            format!(
                "{} {count} more of: {}",
                ink("left out", Ink::Odd),
                escape(of)
            ),
            None,
        ),
        What::Failed { session, message } => {
            let failed = ink("failed", Ink::Bad);
            (
                format!("{failed} to start {}: {}", kind(*session), escape(message)),
                None,
            )
        }
        What::Exit { process, code } => {
            let code = code.map_or_else(String::new, |code| format!(" with code {code}"));
            (format!("exited{code}  {}", who(process)), None)
        }
        What::End { tripwires } => (format!("ended  {tripwires} denials in all"), None),
    };
    let fix = fix.map_or_else(String::new, |fix| format!("    {fix}\n"));
    format!("{head}  {what}\n{fix}")
}

/// The line that would allow it, and in which profile where that is not plain.
fn remedy(event: &Event, profile: &str, fix: &str) -> String {
    if event.profiles.len() > 1 && !profile.is_empty() {
        format!("fix in {}: {}", escape(profile), escape(fix))
    } else {
        format!("fix: {}", escape(fix))
    }
}

fn kind(session: Session) -> &'static str {
    match session {
        Session::Workload => "workload",
        Session::Exec => "exec session",
    }
}

fn who(process: &Process) -> String {
    let exe = if process.exe.is_empty() {
        &process.comm
    } else {
        &process.exe
    };
    format!("{}[{}] uid {}", escape(exe), process.pid, process.uid)
}
