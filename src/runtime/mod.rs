//! The front door: called as runc by an engine or a person, it answers the verbs that start
//! processes and becomes the real runtime for everything else.
//!
//! | verb | treatment |
//! |---|---|
//! | `create`, `run` | [`create`]: plan, start the supervisor, rewrite config.json, become the runtime |
//! | `start` | [`start`]: check the parked container's /proc, run the runtime's `start`, hear from init |
//! | `exec` | [`exec`]: hand over the container's own policy, run the runtime's `exec` |
//! | `restore`, `checkpoint` | refused, unless every profile says otherwise: CRIU suspends seccomp, and Landlock domains are not restored |
//! | all others, help, `--version`, `features` | [`forward`]: execve, argv untouched |
//!
//! Descriptors 0, 1 and 2 are the container's and are never touched, nothing is printed where a
//! call succeeds, and a refusal is one line in the runtime's log and on standard error.

mod blame;
mod bound;
mod bundle;
mod create;
mod exec;
mod failure;
mod forward;
mod frozen;
mod handover;
mod sources;
mod start;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use failure::Failure;

use crate::config::{Config, Handler};
use crate::host::Family;
use crate::oci::errorlog::{ErrorLog, Level};
use crate::oci::invocation::{Caller, Invocation, Verb, default_root};
use crate::state::Home;

/// Exit status for a refused `exec`, as runc has it; other verbs exit with 1.
const EXEC_FAILED: i32 = 255;

/// Runs the front door for one command line. Returns an exit status only where it did not become
/// the real runtime.
pub fn run(argv: Vec<OsString>) -> i32 {
    let invocation = match Invocation::parse(argv) {
        Ok(invocation) => invocation,
        Err(rejected) => {
            ErrorLog::new(&rejected.program, &rejected.global).error(&rejected.error.to_string());
            return 1;
        }
    };
    let log = ErrorLog::new(&invocation.program, &invocation.global);
    let status = if matches!(invocation.verb, Verb::Exec(_)) {
        EXEC_FAILED
    } else {
        1
    };
    match answer(&invocation, &log) {
        Ok(status) => status,
        Err(failure) => {
            log.error(&failure.to_string());
            status
        }
    }
}

fn answer(invocation: &Invocation, log: &ErrorLog) -> Result<i32, Failure> {
    let config = Config::load();
    if invocation.is_help() {
        return Err(forward::become_runtime(invocation, config.as_ref().ok()));
    }
    match &invocation.verb {
        Verb::Create(create) => Err(create::container(
            &Door::open(invocation, config?, log)?,
            create,
            false,
        )),
        Verb::Run(run) => Err(create::container(
            &Door::open(invocation, config?, log)?,
            &run.create,
            true,
        )),
        Verb::Start { id } => start::container(&Door::open(invocation, config?, log)?, id),
        Verb::Exec(exec) => exec::session(&Door::open(invocation, config?, log)?, exec),
        Verb::Restore { id, bundle } => Err(create::restored(
            &Door::open(invocation, config?, log)?,
            id,
            bundle.as_deref(),
        )),
        Verb::Checkpoint {
            id: Some(id),
            help: false,
        } if forward::denies_checkpoint(invocation, &config, id) => {
            Err(Failure::Checkpoint { id: id.clone() })
        }
        Verb::Checkpoint { .. } | Verb::Other { .. } | Verb::None => {
            let config = config.as_ref().ok();
            config
                .and_then(|config| frozen::end(invocation, config))
                .unwrap_or_else(|| Err(forward::become_runtime(invocation, config)))
        }
    }
}

/// What every verb of ours needs.
struct Door<'a> {
    invocation: &'a Invocation,
    config: Config,
    handler: String,
    settings: Handler,
    /// The runtime's `--root`, absolute.
    root: PathBuf,
    log: &'a ErrorLog,
}

impl<'a> Door<'a> {
    fn open(
        invocation: &'a Invocation,
        config: Config,
        log: &'a ErrorLog,
    ) -> Result<Door<'a>, Failure> {
        let (name, handler) = config.handler_for(&invocation.program)?;
        let (handler, settings) = (name.to_owned(), handler.clone());
        Ok(Door {
            root: root(invocation, &settings.runtime)?,
            invocation,
            config,
            handler,
            settings,
            log,
        })
    }

    fn home(&self, id: &str) -> Result<Home, Failure> {
        Ok(Home::new(&self.config.state_dir, &self.root, id)?)
    }

    /// For the log alone: an engine shows it to nobody, and a person who looks finds it.
    fn warn(&self, message: &str) {
        self.log.note(Level::Warning, message);
    }
}

/// The runtime's `--root`, absolute; the default of the family that the runtime's name tells.
fn root(invocation: &Invocation, runtime: &Path) -> Result<PathBuf, Failure> {
    let given = invocation.global.root.clone();
    let root = given.unwrap_or_else(|| default_root(family_of(runtime), &caller()));
    absolute(&root)
}

/// By name alone, because a forwarded call has no time to ask: `crun-1.8` is crun.
fn family_of(runtime: &Path) -> Family {
    let name = runtime.file_name().unwrap_or_default().to_string_lossy();
    match name.as_ref() {
        name if name.starts_with("crun") => Family::Crun,
        name if name.starts_with("youki") => Family::Youki,
        _ => Family::Runc,
    }
}

fn caller() -> Caller {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole: Vec<&str> = map.split_whitespace().collect();
    Caller {
        euid: nix::unistd::geteuid().as_raw(),
        user_namespace: whole != ["0", "0", "4294967295"],
        xdg_runtime_dir: std::env::var_os("XDG_RUNTIME_DIR"),
        user: std::env::var_os("USER"),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::system("make absolute", path.display().to_string(), error))
}
