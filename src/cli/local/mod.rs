//! Running a program here and now under profiles, without an engine: what `mantlet try` does, and `mantlet
//! learn -- CMD`.
//!
//! It is the real thing but for the engine: the front door beside this program, the node's real runtime,
//! supervisor and init, on a bundle made for the occasion. State, journal, profiles and configuration are
//! the run's own ([`place`]), so neither the node's containers nor its configuration are touched.
//!
//! *Nothing that the program writes outlives it, but in volumes that were named*: its root filesystem is a
//! layer in memory over this machine's tree, a folder, or a bundle's ([`tree`]), made in a mount namespace of
//! this process that goes with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::journal::Line;
use super::progress::Progress;
use crate::config::Config;
use crate::host::{self, HostError, Kernel};

mod beside;
mod bundle;
mod console;
mod error;
mod how;
mod place;
mod profiles;
mod terminal;
mod tree;
mod users;
mod ward;

pub use bundle::{Network, Volume};
pub use error::LocalError;
pub use how::How;
pub use profiles::{Layer, Looking};
pub use ward::Ending;

use place::Place;

/// What to run, and under which profiles.
#[derive(Debug, Clone)]
pub struct Job {
    /// The profiles, outermost first; each is a layer. Not empty.
    pub layers: Vec<Layer>,
    /// What is told of denials.
    pub looking: Looking,
    /// What becomes the root filesystem.
    pub tree: Tree,
    /// The command and its arguments; empty: a bundle's own.
    pub command: Vec<String>,
    /// What of this machine's the program may change, and what else it sees of it.
    pub volumes: Vec<Volume>,
    /// Variables besides, `NAME=VALUE`; a later one wins.
    pub env: Vec<String>,
    /// `UID`, `UID:GID`, or a user of the tree's /etc/passwd; none: root, or as the bundle says.
    pub user: Option<String>,
    /// Working directory inside; none: this process's own, or as the bundle says.
    pub cwd: Option<PathBuf>,
    /// The network; none: none but a loopback interface, or as the bundle says.
    pub network: Option<Network>,
    /// Capabilities besides those that engines give, `CAP_` names.
    pub capabilities: Vec<&'static str>,
    /// The root filesystem cannot be written at all.
    pub read_only: bool,
    /// The real runtime; none: that of the node's default handler.
    pub runtime: Option<PathBuf>,
    /// Whether the program has a terminal of its own, relayed to this process's.
    pub terminal: bool,
    /// The program is ended after this time.
    pub timeout: Option<Duration>,
    /// Leaves journal, bundle and configuration where they are.
    pub keep: bool,
}

/// What becomes the root filesystem, beneath a layer in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// This machine's own.
    Machine,
    /// A folder.
    Folder(PathBuf),
    /// An OCI bundle: config.json and the root filesystem that it names.
    Bundle(PathBuf),
}

/// How a run came out.
#[derive(Debug)]
pub struct Outcome {
    /// How the program ended.
    pub ending: Ending,
    /// The run's journal; with what was put aside read by [`super::journal::Journal`].
    pub journal: PathBuf,
    /// Events could not be told from each other's loss: the journal has no end.
    pub journal_is_whole: bool,
    /// What was to be told of denials could not be ([`Looking::Beside`]), and why.
    pub untold: Option<&'static str>,
    /// The run's folder. It goes with this value, unless the job keeps it.
    place: Place,
}

impl Outcome {
    /// The folder with bundle, journal and configuration, where the job keeps it.
    pub fn kept(&self) -> Option<&Path> {
        self.place.kept()
    }
}

/// Runs a job in the foreground, to its end: the program has this process's standard streams, signals that
/// come here are passed on, and whatever was made is taken away again. `witness` is shown every line of the
/// journal as it is written, and answers what is to be told on standard error, if anything: only this function
/// knows whether a terminal needs other line ends.
///
/// ```ignore
/// let job = Job { looking: Looking::Instead, command, ..job };
/// let outcome = local::run(&job, &Config::load()?, &mut |_| None)?;
/// let lines = Journal::new(outcome.journal.clone()).read_on()?;   // before `outcome` is dropped
/// ```
///
/// This process gets a mount namespace of its own and becomes the parent of orphans, so it is called once,
/// near the end of a program's work, and before any thread is started.
///
/// # Errors
/// [`LocalError`]: there was no run, and nothing is left of it.
pub fn run(
    job: &Job,
    config: &Config,
    witness: &mut dyn FnMut(&Line) -> Option<String>,
) -> Result<Outcome, LocalError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LocalError::NotRoot);
    }
    // 1. What it takes: a runtime, the programs, profiles that can be understood.
    let runtime = runtime(job, config)?;
    let programs = place::Programs::find(config)?;
    let (looking, untold) = looking(job)?;
    let texts = profiles::gather(&job.layers, looking, &config.profiles_dir)?;
    let mut progress = Progress::new();
    progress.now(match &job.tree {
        Tree::Machine => "laying a layer in memory over this machine's file systems",
        Tree::Folder(_) | Tree::Bundle(_) => "laying a layer in memory over the root file system",
    });
    // 2. A place of its own; what an earlier run could not take away goes first.
    place::sweep(config);
    let place = Place::make(config, job.keep)?;
    place.configure(config, &programs, &runtime, &texts)?;
    // 3. The tree and the bundle.
    let root = tree::lay(&place, &job.tree)?;
    let spec = bundle::config(job, &place, &root)?;
    place.write_config(&spec)?;
    // 4. Run it; what is said from here on is the runtime's, or the program's.
    progress.clear();
    let mut witness = |line: Line| witness(&texts.copies.undo(line));
    let (ending, journal_is_whole) = ward::attend(job, &place, &programs, &mut witness)?;
    Ok(Outcome {
        ending,
        journal: place.journal(),
        journal_is_whole,
        untold: untold.or(texts
            .crowded
            .then_some("there are too many layers to look at each; name fewer profiles")),
        place,
    })
}

/// What can be told of denials here; where that is less than was asked for, why. A layer that only looks
/// needs the supervisor's listener, without which a container that has one is refused.
fn looking(job: &Job) -> Result<(Looking, Option<&'static str>), HostError> {
    if job.looking != Looking::Beside {
        return Ok((job.looking, None));
    }
    let kernel = Kernel::probe()?;
    Ok(match (kernel.user_notif, kernel.listener_taken) {
        (false, _) => (
            Looking::No,
            Some("this kernel has no seccomp notification (5.0 and later have)"),
        ),
        (_, true) => (
            Looking::No,
            Some("a seccomp listener of somebody else's holds this process already"),
        ),
        _ => (Looking::Beside, None),
    })
}

fn runtime(job: &Job, config: &Config) -> Result<PathBuf, HostError> {
    let handlers = &config.handlers;
    let named = job.runtime.clone();
    let default = || {
        handlers
            .get(&config.default_handler)
            .map(|handler| handler.runtime.clone())
    };
    let named = named.or_else(default).unwrap_or_else(|| "runc".into());
    let found = host::Runtime::ask(&named)?;
    found.check()?;
    Ok(found.path)
}
