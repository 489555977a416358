//! `mantlet events`: what happened in containers: denials with the line that would allow them,
//! detections, and what became of responses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::journal::{Journal, Line};
use super::text::escape;
use super::{CliError, warn};
use crate::config::Config;
use crate::detect::Severity;
use crate::event::What;

mod filter;
pub(super) mod human;

use filter::{Filter, Kind, severities};
use human::human;

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only containers of these ids, or whose ids begin with them
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// The same as ID
    #[arg(short, long = "container", value_name = "ID")]
    containers: Vec<String>,
    /// Only events of these kinds
    #[arg(long = "type", value_name = "KIND", value_delimiter = ',', value_enum)]
    kinds: Vec<Kind>,
    /// Only detections at least so bad, and of other kinds only those that --type names
    #[arg(long, value_name = "LEAST", value_parser = severities())]
    severity: Option<Severity>,
    /// Only events that are not older, such as `10m` or `2h 30m`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Go on with events as they happen, of new containers too
    #[arg(short, long)]
    follow: bool,
    /// Only the last N of the events that are there already and wanted
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Print the journal's own JSON lines
    #[arg(long)]
    json: bool,
}

/// Prints events in the order of time. A gap in a container's numbers and a line that is no event
/// are said on stderr, whatever is asked for; either makes the exit code 1.
pub fn events(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let mut stream = Stream::new(args);
    // The watch comes first: what is written in between is then seen twice by us, never missed.
    let watch = args.follow.then(|| watch(&config.log_dir)).transpose()?;
    let past = stream.gather(&config.log_dir)?;
    let older = args.lines.map_or(0, |lines| {
        let wanted = past.iter().filter(|(_, line)| stream.wants(line)).count();
        wanted.saturating_sub(lines)
    });
    stream.print(past, older)?;
    if let Some(watch) = watch {
        stream.follow(&watch, &config.log_dir)?;
    } else if stream.journals.is_empty() {
        warn(&format!(
            "no events; there is no journal in {}",
            config.log_dir.display()
        ));
    } else if let Some(place) = stream.met.iter().position(|met| !met) {
        return Err(CliError::NoEvents {
            id: stream.filter.ids[place].clone(),
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
    filter: Filter,
    json: bool,
    journals: BTreeMap<PathBuf, Journal>,
    /// Of which of the filter's ids there were events.
    met: Vec<bool>,
    /// Gaps and lines that could not be understood.
    faults: usize,
}

impl Stream {
    fn new(args: &Args) -> Stream {
        let ids = [&args.ids[..], &args.containers].concat();
        Stream {
            met: vec![false; ids.len()],
            filter: Filter {
                ids,
                kinds: args.kinds.clone(),
                severity: args.severity,
                since: args.since.map(Filter::moment),
            },
            json: args.json,
            journals: BTreeMap::new(),
            faults: 0,
        }
    }

    /// New lines of all journals in the folder that are of wanted containers and recent, in the order
    /// of time; of one journal always in its own order, whatever the clock did.
    fn gather(&mut self, log_dir: &Path) -> Result<Vec<(PathBuf, Line)>, CliError> {
        let mut all = Vec::new();
        for path in journals_in(log_dir)? {
            let journal = self
                .journals
                .entry(path.clone())
                .or_insert_with(|| Journal::new(path.clone()));
            let lines = journal.read_on().map_err(failed("read", &path))?;
            let mut latest = String::new();
            for line in lines {
                if let Ok(event) = &line.event {
                    latest = latest.max(event.time.clone());
                }
                if self.is_meant(&path, &line) && self.filter.is_recent(&line) {
                    all.push((latest.clone(), (path.clone(), line)));
                }
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all.into_iter().map(|(_, line)| line).collect())
    }

    /// Whether a line is of a wanted container; notes that there was one.
    fn is_meant(&mut self, path: &Path, line: &Line) -> bool {
        let places: Vec<usize> = self.filter.meant(path, line).collect();
        for &place in &places {
            self.met[place] = true;
        }
        self.filter.ids.is_empty() || !places.is_empty()
    }

    /// A line that cannot be understood may be anything, so it is wanted.
    fn wants(&self, line: &Line) -> bool {
        let event = line.event.as_ref();
        event.map_or(true, |event| self.filter.wants(event))
    }

    /// Prints what is wanted, without the first `older` of it.
    fn print(&mut self, lines: Vec<(PathBuf, Line)>, mut older: usize) -> Result<(), CliError> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for (path, line) in lines {
            let wanted = self.wants(&line);
            if older > 0 {
                older -= usize::from(wanted);
                continue;
            }
            self.faults += complain(&path, &line);
            match &line.event {
                _ if !wanted => {}
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
                self.print(new, 0)?;
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
    let explained = matches!(&line.event, Ok(event) if matches!(event.what, What::Lost { .. }));
    if gap.is_beginning() && !explained {
        // As it is meant, where a container lives long: no fault.
        warn(&format!(
            "{journal}: events 1 to {} are not kept any more: a journal keeps its last two files",
            gap.found - 1
        ));
        return 0;
    }
    if gap.found > gap.expected {
        let (first, last) = (gap.expected, gap.found - 1);
        warn(&match line.event.as_ref().map(|event| &event.what) {
            Ok(What::Lost { cause, .. }) => format!(
                "{journal}: events {first} to {last} are LOST: {}; mend that, so that no more are",
                escape(cause)
            ),
            _ => format!(
                "{journal}: events {first} to {last} are MISSING; look for a full disk or a rotated journal"
            ),
        });
    } else {
        warn(&format!(
            "{journal}: event {} comes after event {}; the journal was written by two supervisors",
            gap.found,
            gap.expected - 1
        ));
    }
    1
}

/// Journals in the folder, those that were only put aside included, ordered by name; none where there
/// is no folder.
pub(super) fn journals_in(log_dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let entries = match fs::read_dir(log_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("list", log_dir))?,
    };
    let mut paths = BTreeSet::new();
    for entry in entries {
        let path = entry.map_err(failed("list", log_dir))?.path();
        let path = match path.extension() {
            Some(ending) if ending == "1" => path.with_extension(""),
            _ => path,
        };
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            paths.insert(path);
        }
    }
    Ok(paths.into_iter().collect())
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
