//! Node configuration, `/etc/mantlet/config.yaml`: the admin's file. Strict keys; without a file
//! the embedded default holds. A file that exists but cannot be read or understood is an error:
//! there is no falling back to the default, which would be somebody else's policy.
//!
//! The path can be overridden by `MANTLET_CONFIG` only where the process is not privileged beyond
//! its caller (AT_SECURE, getauxval(3)): the front door's environment is the daemon's, never a
//! pod's. A file named that way has to exist.
//!
//! # The file
//!
//! Every key may be left out; this is the embedded default, written down:
//!
//! ```yaml
//! version: 1
//! state_dir: /run/mantlet              # records of living containers; root only
//! log_dir: /var/log/mantlet            # journals and archives of evidence
//! log_total_mib: 1024                  # what all of them together may take, MiB; 0: no bound
//! profiles_dir: /etc/mantlet/profiles  # searched before the embedded profiles
//! libexec_dir: null                    # mantlet-init, mantlet-supervisor; null: beside the front door
//! default_handler: baseline            # where the program is called mantlet-runtime
//! handlers:                            # mantlet-NAME is the program's name for handler NAME
//!   baseline: {profile: baseline, runtime: runc, selectable: []}
//!   restricted: {profile: restricted, runtime: runc, selectable: []}
//!   learn: {profile: learn, runtime: runc, selectable: []}
//! rules: []                            # further profiles for containers that match
//! proc_mounts: []                      # permitted mounts under /proc, such as lxcfs's
//! start_container_hooks: false         # hooks that run in the container before init
//! runtime_annotations: []              # annotations the runtime may act on, such as run.oci.handler
//! init_delivery: auto                  # memfd, bind, or auto: bind where the engine sets SELinux labels
//! ```
//!
//! `handlers` *adds to* the embedded three: a handler of the same name replaces that one, the others
//! stay. A handler that no program name points to does nothing, so there is no way (and no need)
//! to remove one. Within a handler, `profile` defaults to the handler's own name, `runtime` to
//! `runc`, and `selectable`, the profiles that a pod's annotation may select as one layer more, to
//! none. `rules` are of the form `{namespace: …, image: …, container: …, profile: …}` ([`Rule`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::sys::auxv;

mod nearest;
mod rules;

use nearest::{nearest, suggestion};
pub use rules::Rule;

/// Version of the file's form.
pub const VERSION: u32 = 1;
/// Where the file is unless `MANTLET_CONFIG` says otherwise.
pub const PATH: &str = "/etc/mantlet/config.yaml";
/// Names another file; ignored in a process privileged beyond its caller.
pub const PATH_VARIABLE: &str = "MANTLET_CONFIG";
/// No real configuration comes near; a larger file is a mistake such as a device or a log.
const MAX_SIZE: u64 = 1 << 20;
/// `mantlet-NAME` is taken by a program of ours.
const RESERVED: [&str; 4] = ["runtime", "init", "supervisor", "agent"];

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Version of the file's form: 1.
    pub version: u32,
    /// State directory; default `/run/mantlet`.
    pub state_dir: PathBuf,
    /// Journals; default `/var/log/mantlet`.
    pub log_dir: PathBuf,
    /// What journals and evidence together may take, MiB; 0: no bound. Default 1024.
    pub log_total_mib: u64,
    /// Site profiles, searched before the embedded ones; default `/etc/mantlet/profiles`.
    pub profiles_dir: PathBuf,
    /// Folder of `mantlet-init` and `mantlet-supervisor`; default: the front door's own.
    pub libexec_dir: Option<PathBuf>,
    /// Handler used where the program's name is `mantlet-runtime` itself; default `baseline`.
    pub default_handler: String,
    /// Handlers by name; `mantlet-NAME` is the program's name for handler NAME.
    pub handlers: BTreeMap<String, Handler>,
    /// Further layers for containers that match, in order.
    pub rules: Vec<Rule>,
    /// Mount destinations under /proc that the admin permits, such as lxcfs's `/proc/meminfo`.
    pub proc_mounts: Vec<PathBuf>,
    /// Whether `startContainer` hooks, which run in the container before init, are permitted.
    pub start_container_hooks: bool,
    /// Exact names of annotations by which the runtime may be switched; others of
    /// [`crate::policy::annotations`] are taken out of config.json.
    pub runtime_annotations: BTreeSet<String>,
    /// How init gets into containers.
    pub init_delivery: InitDelivery,
}

/// How init gets into containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitDelivery {
    /// As a read-only bind mount where the engine sets SELinux labels, else as a file in memory.
    #[default]
    Auto,
    /// As a sealed file in memory; a container with a label is refused.
    Memfd,
    /// As a read-only bind mount.
    Bind,
}

/// One handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Profile name: `NAME.yaml` in `profiles_dir`, else the embedded one of that name.
    pub profile: String,
    /// The real runtime: a name searched on PATH, or an absolute path; default `runc`.
    pub runtime: PathBuf,
    /// Profiles that a pod's annotation may select as one layer more; default none.
    pub selectable: BTreeSet<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there (or was named by the environment) but cannot be read.
    #[error("cannot read {}: {source}; {}", path.display(), remedy(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Anyone but the owner could have written it.
    #[error(
        "refusing {}: it is writable by everyone or not owned by root or the caller; \
         chown root and chmod 0644 it", path.display()
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what it should be at one place.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 where unknown.
        line: u64,
        /// Column, from 1; 0 where unknown.
        column: u64,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// A value that parses but cannot be meant.
    #[error("{}: {key}: {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Dotted key.
        key: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// The program's name is neither `mantlet-runtime` nor `mantlet-NAME`.
    #[error(
        "called as {program:?}, which names no handler; call it mantlet-runtime, or mantlet-NAME \
         for a handler NAME, of which there are: {known}"
    )]
    Program {
        /// The name it was called by.
        program: String,
        /// Names that exist, comma-separated.
        known: String,
    },
    /// The program's name names no handler.
    #[error(
        "no handler named {name:?}{}; add it under `handlers:` in {PATH} or call one of: {known}",
        suggestion(suggested.as_deref())
    )]
    NoHandler {
        /// The name asked for.
        name: String,
        /// A handler with a similar name.
        suggested: Option<String>,
        /// Names that exist, comma-separated.
        known: String,
    },
}

/// The file as written: what is absent stays absent until the defaults are filled in.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    version: Option<u32>,
    state_dir: Option<PathBuf>,
    log_dir: Option<PathBuf>,
    log_total_mib: Option<u64>,
    profiles_dir: Option<PathBuf>,
    libexec_dir: Option<PathBuf>,
    default_handler: Option<String>,
    handlers: Option<BTreeMap<String, Option<WrittenHandler>>>,
    rules: Option<Vec<Rule>>,
    proc_mounts: Option<Vec<PathBuf>>,
    start_container_hooks: Option<bool>,
    runtime_annotations: Option<BTreeSet<String>>,
    init_delivery: Option<InitDelivery>,
}

/// One handler as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenHandler {
    profile: Option<String>,
    runtime: Option<PathBuf>,
    selectable: Option<BTreeSet<String>>,
}

impl Config {
    /// What holds where no file exists.
    pub fn embedded() -> Config {
        Written::default().complete()
    }

    /// The node's configuration: the file where there is one, else the embedded default.
    ///
    /// # Errors
    /// A file that exists, or that `MANTLET_CONFIG` names, cannot be read, trusted or understood.
    pub fn load() -> Result<Config, ConfigError> {
        match overriding_path() {
            Some(path) => Config::load_from(&path),
            None => match Config::load_from(Path::new(PATH)) {
                Err(ConfigError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    Ok(Config::embedded())
                }
                loaded => loaded,
            },
        }
    }

    /// The file that [`Config::load`] looks for.
    pub fn path() -> PathBuf {
        overriding_path().unwrap_or_else(|| PathBuf::from(PATH))
    }

    /// Reads one file, which has to exist.
    ///
    /// # Errors
    /// It cannot be read, trusted or understood.
    pub fn load_from(path: &Path) -> Result<Config, ConfigError> {
        let text = read(path)?;
        Config::parse(&text, path)
    }

    /// Understands a file's text; `path` is for messages only.
    ///
    /// # Errors
    /// The text is not YAML, holds an unknown key, a wrong type, or a value that cannot be meant.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        // An empty document is YAML's null, which is no mapping: every key left out.
        let written: Option<Written> =
            serde_saphyr::from_str(text).map_err(|error| parse_error(&error, path))?;
        let config = written.unwrap_or_default().complete();
        config
            .check()
            .map_err(|(key, problem)| ConfigError::Value {
                path: path.to_owned(),
                key,
                problem,
            })?;
        Ok(config)
    }

    /// The handler that a program's name (the last component of argv[0]) stands for: NAME for
    /// `mantlet-NAME`, the default handler for `mantlet-runtime`. No other name stands for one: an
    /// admin's `my-restricted` must not be the default, which may well be weaker.
    ///
    /// # Errors
    /// `mantlet-NAME` without a handler NAME, or a name of another form.
    pub fn handler_for(&self, program: &str) -> Result<(&str, &Handler), ConfigError> {
        let known = || self.handlers.keys().cloned().collect::<Vec<_>>().join(", ");
        let name = match program.strip_prefix("mantlet-") {
            Some("runtime") => self.default_handler.as_str(),
            Some(name) => name,
            None => {
                return Err(ConfigError::Program {
                    program: program.to_owned(),
                    known: known(),
                });
            }
        };
        match self.handlers.get_key_value(name) {
            Some((name, handler)) => Ok((name, handler)),
            None => Err(ConfigError::NoHandler {
                name: name.to_owned(),
                suggested: nearest(name, self.handlers.keys().map(String::as_str)),
                known: known(),
            }),
        }
    }

    /// What the types cannot say: (key, problem) of the first value that cannot be meant.
    fn check(&self) -> Result<(), (String, String)> {
        let fail = |key: &str, problem: String| Err((key.to_owned(), problem));
        if self.version != VERSION {
            return fail(
                "version",
                format!("{} is not known here; write {VERSION}", self.version),
            );
        }
        let folders = [
            ("state_dir", Some(&self.state_dir)),
            ("log_dir", Some(&self.log_dir)),
            ("profiles_dir", Some(&self.profiles_dir)),
            ("libexec_dir", self.libexec_dir.as_ref()),
        ];
        for (key, folder) in folders {
            if folder.is_some_and(|f| !f.is_absolute()) {
                return fail(
                    key,
                    "write an absolute path: the working directory is the bundle".into(),
                );
            }
        }
        for (name, handler) in &self.handlers {
            check_handler(name, handler).map_err(|p| (format!("handlers.{name}"), p))?;
        }
        for (at, rule) in self.rules.iter().enumerate() {
            if let Some(problem) = rule.problem() {
                return fail(&format!("rules[{at}]"), problem);
            }
        }
        for mount in &self.proc_mounts {
            let inside = mount
                .strip_prefix("/proc")
                .is_ok_and(|rest| rest != Path::new(""));
            if !inside || mount.components().any(|c| c.as_os_str() == "..") {
                let problem = format!(
                    "{} is not below /proc; write it like /proc/meminfo",
                    mount.display()
                );
                return fail("proc_mounts", problem);
            }
        }
        if !self.handlers.contains_key(&self.default_handler) {
            let near = nearest(
                &self.default_handler,
                self.handlers.keys().map(String::as_str),
            );
            let problem = format!(
                "no handler named {:?}{}; define it under `handlers:`",
                self.default_handler,
                suggestion(near.as_deref())
            );
            return fail("default_handler", problem);
        }
        Ok(())
    }
}

impl Written {
    /// Fills in what was left out.
    fn complete(self) -> Config {
        let or = |given: Option<PathBuf>, default: &str| given.unwrap_or_else(|| default.into());
        let mut handlers: BTreeMap<String, Handler> = ["baseline", "learn", "restricted"]
            .map(|name| (name.to_owned(), WrittenHandler::default().complete(name)))
            .into();
        for (name, written) in self.handlers.unwrap_or_default() {
            let handler = written.unwrap_or_default().complete(&name);
            handlers.insert(name, handler);
        }
        Config {
            version: self.version.unwrap_or(VERSION),
            state_dir: or(self.state_dir, "/run/mantlet"),
            log_dir: or(self.log_dir, "/var/log/mantlet"),
            log_total_mib: self.log_total_mib.unwrap_or(1024),
            profiles_dir: or(self.profiles_dir, "/etc/mantlet/profiles"),
            libexec_dir: self.libexec_dir,
            default_handler: self.default_handler.unwrap_or_else(|| "baseline".into()),
            handlers,
            rules: self.rules.unwrap_or_default(),
            proc_mounts: self.proc_mounts.unwrap_or_default(),
            start_container_hooks: self.start_container_hooks.unwrap_or(false),
            runtime_annotations: self.runtime_annotations.unwrap_or_default(),
            init_delivery: self.init_delivery.unwrap_or_default(),
        }
    }
}

impl WrittenHandler {
    /// Fills in what was left out of handler `name`.
    fn complete(self, name: &str) -> Handler {
        Handler {
            profile: self.profile.unwrap_or_else(|| name.to_owned()),
            runtime: self.runtime.unwrap_or_else(|| "runc".into()),
            selectable: self.selectable.unwrap_or_default(),
        }
    }
}

/// What to do about a file that cannot be read: without a name in the environment, one that is not there is no
/// error.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => {
            "MANTLET_CONFIG names it: name a file that there is, or unset it"
        }
        _ => "mend or remove the file",
    }
}

/// The file named by the environment, where the environment may be believed.
fn overriding_path() -> Option<PathBuf> {
    if auxv::at_secure() {
        return None;
    }
    std::env::var_os(PATH_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// The text of the site's profile of that name in `folder` (`profiles_dir`), as `create` takes it; none where
/// there is none, and the one that is built in holds.
///
/// # Errors
/// As [`read`]: it cannot be read, or others could have written it.
pub fn profile(folder: &Path, name: &str) -> std::io::Result<Option<String>> {
    match read(&folder.join(format!("{name}.yaml"))) {
        Ok(text) => Ok(Some(text)),
        Err(ConfigError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(ConfigError::Read { source, .. }) => Err(source),
        Err(untrusted) => Err(std::io::Error::other(untrusted)),
    }
}

/// The text of an admin's file, this one or a profile, where nobody but root or the caller could have
/// written it.
///
/// # Errors
/// It cannot be read, is no regular file of at most 1 MiB, or others could have written it.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let caller = nix::unistd::geteuid().as_raw();
    if meta.mode() & 0o002 != 0 || (meta.uid() != 0 && meta.uid() != caller) {
        return Err(ConfigError::Untrusted {
            path: path.to_owned(),
        });
    }
    if meta.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if !meta.is_file() || meta.len() > MAX_SIZE {
        return Err(failed(io::Error::other(
            "not a regular file of at most 1 MiB",
        )));
    }
    let mut text = String::new();
    file.take(MAX_SIZE)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

/// One handler's own rules; the problem in words.
fn check_handler(name: &str, handler: &Handler) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return Err("a handler's name has lower-case letters, digits and hyphens only".into());
    }
    if RESERVED.contains(&name) {
        return Err(format!(
            "mantlet-{name} is a program of mantlet's own; choose another name"
        ));
    }
    let mut named = [&handler.profile].into_iter().chain(&handler.selectable);
    if let Some(problem) = named.find_map(|profile| misnamed(profile)) {
        return Err(problem);
    }
    let named = handler.runtime.components().count() == 1;
    if !(handler.runtime.is_absolute() || named) {
        return Err("runtime is a name on PATH such as runc, or an absolute path".into());
    }
    Ok(())
}

/// What is wrong with a profile's name.
fn misnamed(profile: &str) -> Option<String> {
    let wrong = profile.is_empty() || profile.contains('/') || profile.starts_with('.');
    wrong.then(|| "profile is a name, not a path; put NAME.yaml into profiles_dir".into())
}

/// A parser's complaint with its place, and with a suggestion where a key is merely misspelt.
fn parse_error(error: &serde_saphyr::Error, path: &Path) -> ConfigError {
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((0, 0), |l| (l.line(), l.column()));
    let message = match error {
        serde_saphyr::Error::SerdeUnknownField {
            field, expected, ..
        } => {
            let near = nearest(field, expected.iter().copied());
            format!(
                "unknown key {field:?}{}; known here: {}",
                suggestion(near.as_deref()),
                expected.join(", ")
            )
        }
        other => other.to_string(),
    };
    ConfigError::Parse {
        path: path.to_owned(),
        line,
        column,
        message,
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
