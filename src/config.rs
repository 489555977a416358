//! Node configuration, `/etc/mantlet/config.yaml`: the admin's file. Strict keys; without a file
//! the embedded default holds.
//!
//! The path can be overridden by `MANTLET_CONFIG` only where the process is not privileged beyond
//! its caller (AT_SECURE, getauxval(3)): the front door's environment is the daemon's, never a
//! pod's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the file's form: 1.
    pub version: u32,
    /// State directory; default `/run/mantlet`.
    pub state_dir: PathBuf,
    /// Journals; default `/var/log/mantlet`.
    pub log_dir: PathBuf,
    /// Site profiles, searched before the embedded ones; default `/etc/mantlet/profiles`.
    pub profiles_dir: PathBuf,
    /// Folder of `mantlet-init` and `mantlet-supervisor`; default: the front door's own.
    pub libexec_dir: Option<PathBuf>,
    /// Handler used where the program's name is `mantlet-runtime` itself; default `baseline`.
    pub default_handler: String,
    /// Handlers by name; `mantlet-NAME` is the program's name for handler NAME.
    pub handlers: BTreeMap<String, Handler>,
    /// Mount destinations under /proc that the admin permits, such as lxcfs's `/proc/meminfo`.
    pub proc_mounts: Vec<PathBuf>,
    /// Whether `startContainer` hooks, which run in the container before init, are permitted.
    pub start_container_hooks: bool,
}

/// One handler.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handler {
    /// Profile name: `NAME.yaml` in `profiles_dir`, else the embedded one of that name.
    pub profile: String,
    /// The real runtime: a name searched on PATH, or an absolute path; default `runc`.
    pub runtime: PathBuf,
}
