//! Becoming the real runtime with argv untouched, whatever state our own configuration is in: a
//! container must stay killable and deletable.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{Failure, root};
use crate::config::{Config, ConfigError};
use crate::host;
use crate::oci::invocation::{Invocation, Verb};
use crate::state::{Home, runtime_of};

const DEFAULT_RUNTIME: &str = "runc";

/// Execs the runtime that owns the container, else the handler's, else runc. Returns only an error.
pub(super) fn become_runtime(invocation: &Invocation, config: Option<&Config>) -> Failure {
    match runtime(invocation, config) {
        Ok(path) => execute(&path, invocation.forward(&path)),
        Err(failure) => failure,
    }
}

/// The runtime that owns the container, else the handler's, else runc.
pub(super) fn runtime(
    invocation: &Invocation,
    config: Option<&Config>,
) -> Result<PathBuf, Failure> {
    let handler = config.and_then(|config| config.handler_for(&invocation.program).ok());
    let named = handler.map_or(Path::new(DEFAULT_RUNTIME), |(_, handler)| &handler.runtime);
    if let Verb::Other { id: Some(id), .. } | Verb::Checkpoint { id: Some(id), .. } =
        &invocation.verb
    {
        // A container belongs to the runtime that made it, also after the admin chose another one.
        if let Some(path) = owner(invocation, config, named, id) {
            return Ok(path);
        }
    }
    match host::resolve(named) {
        Ok(path) => Ok(path),
        Err(error) if handler.is_some() => Err(error.into()),
        Err(_) => Ok(host::resolve(Path::new(DEFAULT_RUNTIME))?),
    }
}

fn owner(
    invocation: &Invocation,
    config: Option<&Config>,
    named: &Path,
    id: &str,
) -> Option<PathBuf> {
    let embedded = Config::embedded();
    let state_dir = &config.unwrap_or(&embedded).state_dir;
    runtime_of(state_dir, &root(invocation, named).ok()?, id)
}

/// Whether mantlet made the container, and its record does not permit `checkpoint`.
pub(super) fn denies_checkpoint(
    invocation: &Invocation,
    config: &Result<Config, ConfigError>,
    id: &str,
) -> bool {
    let embedded = Config::embedded();
    let config = config.as_ref().unwrap_or(&embedded);
    let named = config
        .handler_for(&invocation.program)
        .map_or(PathBuf::from(DEFAULT_RUNTIME), |(_, handler)| {
            handler.runtime.clone()
        });
    let Ok(root) = root(invocation, &named) else {
        return false;
    };
    Home::new(&config.state_dir, &root, id).is_ok_and(|home| {
        home.exists() && !home.read_record().is_ok_and(|record| record.checkpoint)
    })
}

/// Becomes `path` with `words` as argv and this process's environment. Returns only an error.
pub(super) fn execute(path: &Path, words: Vec<OsString>) -> Failure {
    let fail = |cause| Failure::system("execute", path.display().to_string(), cause);
    let nul = |_| std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let program = CString::new(path.as_os_str().as_encoded_bytes()).map_err(nul);
    let words: Result<Vec<_>, _> = words
        .into_iter()
        .map(|word| CString::new(word.into_vec()).map_err(nul))
        .collect();
    match (program, words) {
        (Ok(program), Ok(words)) => {
            crate::sys::process::restore_sigpipe();
            let error = crate::sys::process::Command::new(program, words).become_it();
            fail(error)
        }
        (Err(error), _) | (_, Err(error)) => fail(error),
    }
}
