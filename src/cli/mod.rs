//! `mantlet`, the command for people: what runs, what was refused, what this node can do.
//!
//! It changes no policy, and nothing that is enforced depends on it. Four verbs do something to a
//! container (`freeze`, `thaw`, `kill`, `evidence`): they ask its supervisor, which alone may. Text that comes from containers (names, paths, arguments) is escaped wherever a person
//! reads it, and passed through unchanged in JSON.
//!
//! Exit codes: 0 success; 1 failure, or something found that needs attention; 2 wrong usage.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{FromArgMatches, Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::profile::Look;
use crate::state::StateError;

mod alarm;
mod ask;
mod completions;
mod diff;
mod doctor;
mod events;
mod evidence;
mod exchange;
mod explain;
mod freeze;
mod inspect;
mod journal;
mod journals;
mod kill;
mod learn;
mod lint;
mod lives;
mod local;
mod man;
mod output;
mod pages;
mod profiles;
mod progress;
mod ps;
mod schema;
mod select;
mod subject;
mod test;
mod text;
mod thaw;
mod tree;
mod trial;
mod version;

/// Sandboxed containers: what runs, what was refused, what this node can enforce.
#[derive(Debug, Parser)]
#[command(
    name = "mantlet",
    disable_version_flag = true,
    after_help = "Exit codes: 0 success, 1 failure or a finding, 2 wrong usage.\n\
                  The node's configuration is /etc/mantlet/config.yaml; MANTLET_CONFIG names another."
)]
struct Cli {
    /// Print version, commit and the digest of mantlet-init
    #[arg(short = 'V', long)]
    version: bool,
    /// Whether text is coloured; auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = false
    )]
    color: text::Colour,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What to do; each has its own file.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a program under a profile on this machine, and tell what is denied
    ///
    /// CMD runs as a container: through the real runtime, supervisor and init, without an engine. It sees this
    /// machine's files through a layer in memory: what it writes is gone when it ends, but in --volume and --rw.
    /// /tmp, /run, /dev, its processes and its network are its own. Needs root.
    Try(Box<trial::Args>),
    /// List containers and what is enforced on each
    Ps(ps::Args),
    /// Draw the processes of containers, with what they executed
    Tree(tree::Args),
    /// Show what happened: denials with the profile line that would allow them, detections, responses
    Events(events::Args),
    /// Show one container: record, effective policy, what took effect, config.json's changes
    Inspect(inspect::Args),
    /// Check what this node can enforce and what is missing, each with its remedy
    Doctor(doctor::Args),
    /// Stop every process of one container, for somebody to look
    Freeze(freeze::Args),
    /// Let a frozen container go on
    Thaw(thaw::Args),
    /// End every process of one container at once, frozen or not
    Kill(kill::Args),
    /// Collect evidence of one container now, or list what was collected
    Evidence(evidence::Args),
    /// Find what is allowed to write in a profile and most likely not meant
    Lint(lint::Args),
    /// Make a profile from what containers were recorded to do
    Learn(Box<learn::Args>),
    /// Make a profile of another tool's file: a seccomp filter, a Landlock ruleset
    Import(exchange::ImportArgs),
    /// Make another tool's file of a profile
    Export(exchange::ExportArgs),
    /// Show what a profile comes to, or what it says to one thing and why
    Explain(explain::Args),
    /// Show what one profile allows and another does not
    Diff(diff::Args),
    /// Try a profile's own expectations, or what was recorded, without a container
    Test(test::Args),
    /// Print the JSON Schema of what other programs read
    Schema(schema::Args),
    /// Print what a shell needs to complete this command
    Completions(completions::Args),
    /// Print a page of the manual, or write all of them
    Man(man::Args),
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The node's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// A profile that was not imported or exported.
    #[error(transparent)]
    Exchange(#[from] exchange::ExchangeError),
    /// Standard output; a closed pipe ends the program quietly.
    #[error("cannot write the output: {0}; check the disk or the pipe behind it")]
    Output(#[from] io::Error),
    /// A journal or the folder of journals.
    #[error("cannot {operation} {}: {source}; run as root, or mend log_dir in the configuration", path.display())]
    Journal {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: std::path::PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The container's own files.
    #[error("{reason}")]
    Unreadable {
        /// A [`StateError`]'s text, which says what to do.
        reason: String,
    },
    /// A supervisor did not do what it was asked.
    #[error("cannot {verb} container {:?}: {cause}", text::escape(id))]
    Undone {
        /// What was asked.
        verb: &'static str,
        /// The container.
        id: String,
        /// Why not, and what to do.
        cause: ask::Undone,
    },
    /// A file that the person named is there.
    #[error("{} exists; name another file, or replace it with --force", path.display())]
    OutputExists {
        /// The file.
        path: std::path::PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}; the archive itself stays where it is", path.display())]
    OutputFile {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is no page of that.
    #[error(
        "there is no verb \"{}\"; `mantlet help` lists them",
        text::escape(verb)
    )]
    NoVerb {
        /// As given.
        verb: String,
    },
    /// A page of the manual.
    #[error("cannot write {}: {source}; name a folder that is there with --output", text::escape(&path.display().to_string()))]
    Page {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file that the person asked for cannot be written.
    #[error("cannot write {}: {source}; name a file in a folder that you may write to", path.display())]
    Written {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file for events.
    #[error("cannot write events to {}: {source}; name another file", text::escape(&path.display().to_string()))]
    EventFile {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Nothing was learned.
    #[error(transparent)]
    Learn(#[from] learn::Error),
    /// A program was not run.
    #[error(transparent)]
    Local(#[from] local::LocalError),
    /// No container has that id or prefix.
    #[error(
        "no container {:?}; `mantlet ps` lists those that mantlet knows",
        text::escape(id)
    )]
    NoContainer {
        /// As given.
        id: String,
    },
    /// No journal tells of that id or prefix.
    #[error(
        "no events of a container {:?} in {}; `mantlet events` shows those of all",
        text::escape(id), folder.display()
    )]
    NoEvents {
        /// As given.
        id: String,
        /// The folder of journals.
        folder: std::path::PathBuf,
    },
    /// Several have it.
    #[error("{:?} is the beginning of several ids; give more of one:\n  {}", text::escape(id), candidates.join("\n  "))]
    Ambiguous {
        /// As given.
        id: String,
        /// Whole ids with their roots.
        candidates: Vec<String>,
    },
    /// Several journals are of containers with such an id.
    #[error("{:?} is the beginning of several containers' ids; name one journal:\n  {}", text::escape(id), candidates.join("\n  "))]
    SeveralJournals {
        /// As given.
        id: String,
        /// Their journals.
        candidates: Vec<String>,
    },
    /// A profile.
    #[error(transparent)]
    Profile(#[from] crate::profile::Error),
    /// A profile's file.
    #[error(
        "cannot read {}: {cause}; name a profile's file, or a profile by its bare name",
        text::escape(&path.display().to_string())
    )]
    ProfileFile {
        /// As given.
        path: std::path::PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// A file of tests.
    #[error(
        "cannot read {}: {cause}; name a file of `version` and `tests`",
        text::escape(&path.display().to_string())
    )]
    Tests {
        /// As given.
        path: std::path::PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// Nothing to try.
    #[error(
        "{profile} expects nothing: write `tests:` into it, or name a file with --tests or a journal with \
         --replay; see `mantlet test --help`"
    )]
    NoTests {
        /// The profile.
        profile: String,
    },
    /// A file in which nothing was recorded.
    #[error(
        "{} holds no event of a container; name a journal (see log_dir in the configuration)",
        text::escape(name)
    )]
    NoEvent {
        /// As given.
        name: String,
    },
    /// A file that was named to be read.
    #[error(
        "cannot read {}: {cause}; name a file that can be read, or a container's id",
        text::escape(&path.display().to_string())
    )]
    Source {
        /// As given.
        path: std::path::PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// The layers cannot be had on this node, or over this container.
    #[error("{0}\n(as on a node with another kernel: --landlock-abi N)")]
    Refusal(#[from] crate::policy::Refusal),
    /// config.json.
    #[error(transparent)]
    Bundle(#[from] crate::oci::document::DocumentError),
    /// The kernel.
    #[error(transparent)]
    Host(#[from] crate::host::HostError),
    /// Something was asked that means nothing.
    #[error("{reason}; see `mantlet explain --help`")]
    Question {
        /// What is wrong with it.
        reason: String,
    },
}

impl CliError {
    /// Whether a word of the command line is wrong, which clap could not know.
    fn is_usage(&self) -> bool {
        match self {
            CliError::NoVerb { .. } => true,
            CliError::Exchange(error) => error.is_usage(),
            _ => false,
        }
    }

    fn undone(verb: &'static str, known: &select::Known, cause: ask::Undone) -> CliError {
        let id = known.home.id();
        CliError::Undone { verb, id, cause }
    }
}

/// Runs one command line and gives the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = pages::command()
        .try_get_matches_from(args)
        .and_then(|found| Cli::from_arg_matches(&found));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // clap knows by itself that help goes to stdout with code 0, misuse to stderr with 2.
            let printed = error.print();
            let full = |error: &io::Error| error.kind() != io::ErrorKind::BrokenPipe;
            return match printed.err().filter(full) {
                Some(_) => ExitCode::FAILURE,
                None => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
            };
        }
    };
    // Where 1 is an answer, trouble is something else, as with diff(1).
    let trouble = match &cli.verb {
        Some(Verb::Explain(args)) if args.exit_code => ExitCode::from(2),
        Some(Verb::Diff(_) | Verb::Test(_)) => ExitCode::from(2),
        Some(Verb::Try(_)) => ExitCode::from(trial::FAILED),
        _ => ExitCode::FAILURE,
    };
    // Where the code is an answer, a reader that went away has not had it, and 0 would be one.
    let unread = match &cli.verb {
        Some(Verb::Explain(args)) if args.exit_code => trouble,
        Some(Verb::Diff(_) | Verb::Test(_) | Verb::Lint(_) | Verb::Learn(_) | Verb::Try(_)) => {
            trouble
        }
        _ => ExitCode::SUCCESS,
    };
    match perform(cli) {
        Ok(code) => code,
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => unread,
        Err(CliError::Profile(error)) => {
            complain(&error);
            trouble
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "mantlet: {error}");
            match error.is_usage() {
                true => ExitCode::from(2),
                false => trouble,
            }
        }
    }
}

fn perform(cli: Cli) -> Result<ExitCode, CliError> {
    text::choose(cli.color);
    if cli.version {
        return version::print();
    }
    match cli.verb {
        // The only verb that has something to say about a broken configuration.
        Some(Verb::Doctor(args)) => doctor::doctor(&args),
        Some(Verb::Schema(args)) => schema::schema(&args),
        Some(Verb::Completions(args)) => completions::completions(&args),
        Some(Verb::Man(args)) => man::man(&args),
        Some(Verb::Lint(args)) => lint::lint(&args),
        Some(Verb::Import(args)) => exchange::import(&args),
        Some(Verb::Export(args)) => exchange::export(&args, &Config::load()?),
        Some(Verb::Explain(args)) => explain::explain(&args, &Config::load()?),
        Some(Verb::Test(args)) => test::test(&args, &Config::load()?),
        Some(Verb::Diff(args)) => diff::diff(&args, &Config::load()?),
        Some(Verb::Try(args)) => trial::trial(&args, &Config::load()?),
        Some(Verb::Ps(args)) => ps::ps(&args, &Config::load()?),
        Some(Verb::Tree(args)) => tree::tree(&args, &Config::load()?),
        Some(Verb::Events(args)) => events::events(&args, &Config::load()?),
        Some(Verb::Inspect(args)) => inspect::inspect(&args, &Config::load()?),
        Some(Verb::Learn(args)) => learn::learn(&args, &Config::load()?),
        Some(Verb::Freeze(args)) => freeze::freeze(&args, &Config::load()?),
        Some(Verb::Thaw(args)) => thaw::thaw(&args, &Config::load()?),
        Some(Verb::Kill(args)) => kill::kill(&args, &Config::load()?),
        Some(Verb::Evidence(args)) => evidence::evidence(&args, &Config::load()?),
        None => {
            let help = pages::command().render_help();
            writeln!(io::stderr(), "{help}")?;
            Ok(ExitCode::from(2))
        }
    }
}

/// Says what is wrong with a profile: the line with a mark under the word.
fn complain(error: &crate::profile::Error) {
    let look = Look {
        colour: text::stderr_takes_colour(),
        width: text::stderr_width().unwrap_or(Look::PLAIN.width),
    };
    let _ = write!(io::stderr(), "{}", error.finding().show(look));
}

/// A note for the person that is no part of the output, such as a lost supervisor.
fn warn(message: &str) {
    // Nothing can be done where stderr is gone.
    let _ = writeln!(io::stderr(), "mantlet: {message}");
}

/// One JSON value, indented, with a newline.
fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
