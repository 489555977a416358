//! A run's own folder: state, journal, profiles, configuration and bundle, under `STATE_DIR-try`, where a
//! later run finds what was left by one that was killed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};
use serde_json::{Value, json};

use super::LocalError;
use super::profiles::Texts;
use crate::cli::version;
use crate::config::{self, Config, InitDelivery};
use crate::oci::mountinfo;
use crate::state;

/// Name of the handler in a run's configuration.
const HANDLER: &str = "try";
/// Says that a person wants to look at what is here.
const KEPT: &str = "kept";
const LOCK: &str = "lock";
const FRONT_DOOR: &str = "mantlet-runtime";

/// Where mantlet's own programs are.
#[derive(Debug)]
pub struct Programs {
    /// The front door.
    pub front_door: PathBuf,
    /// Folder of init and supervisor.
    pub libexec: PathBuf,
}

impl Programs {
    /// Beside this program, or in the configuration's `libexec_dir`.
    ///
    /// # Errors
    /// One is missing.
    pub fn find(config: &Config) -> Result<Programs, LocalError> {
        let own = version::beside(FRONT_DOOR).and_then(|path| Some(path.parent()?.to_owned()));
        let folders: Vec<PathBuf> = config.libexec_dir.clone().into_iter().chain(own).collect();
        let find = |name: &'static str| {
            let mut at = folders.iter().map(|folder| folder.join(name));
            at.find(|path| path.is_file())
                .ok_or_else(|| LocalError::Program {
                    name,
                    folders: folders.clone(),
                })
        };
        let front_door = find(FRONT_DOOR)?;
        let init = find("mantlet-init")?;
        let supervisor = find("mantlet-supervisor")?;
        let libexec = init.parent().unwrap_or(Path::new("/")).to_owned();
        if supervisor.parent() != init.parent() {
            return Err(LocalError::Program {
                name: "mantlet-supervisor",
                folders: vec![libexec],
            });
        }
        Ok(Programs {
            front_door,
            libexec,
        })
    }
}

/// One run's folder; removed with this value, unless it is kept.
#[derive(Debug)]
pub struct Place {
    /// The folder.
    pub path: PathBuf,
    /// The container's id, unique on this machine while it lives.
    pub id: String,
    keep: bool,
    /// Held for as long as this process lives, however it ends.
    _lock: Flock<File>,
}

impl Place {
    /// A fresh folder, mode 0700.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(config: &Config, keep: bool) -> Result<Place, LocalError> {
        let base = base(config);
        let folder = |path: &Path, recursive| {
            DirBuilder::new()
                .mode(0o700)
                .recursive(recursive)
                .create(path)
        };
        folder(&base, true).map_err(LocalError::system("create", &base))?;
        // Another run's sweep would take a folder without a lock for one that was left.
        let alone = alone(&base).map_err(LocalError::system("lock", &base))?;
        let names = (0..).map(|number| match number {
            0 => format!("try-{}", std::process::id()),
            more => format!("try-{}-{more}", std::process::id()),
        });
        for id in names {
            let path = base.join(&id);
            match folder(&path, false) {
                // A run's that was kept.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(LocalError::system("create", &path))?,
            }
            let lock = lock(&path).map_err(LocalError::system("lock", &path))?;
            drop(alone);
            let place = Place {
                path,
                id,
                keep,
                _lock: lock,
            };
            for name in ["state", "log", "profiles", "bundle", "tree"] {
                let path = place.path.join(name);
                folder(&path, false).map_err(LocalError::system("create", &path))?;
            }
            return Ok(place);
        }
        unreachable!("there are more numbers than folders")
    }

    /// The bundle.
    pub fn bundle(&self) -> PathBuf {
        self.path.join("bundle")
    }

    /// Where the root filesystem is put together: a mount point.
    pub fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    /// The runtime's `--root`.
    pub fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    /// Folder of the journal, and of nothing else.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        state::journal_path(&self.log_dir(), &self.root(), &self.id)
    }

    /// What the runtime and the front door say, as JSON lines.
    pub fn runtime_log(&self) -> PathBuf {
        self.path.join("runtime.log")
    }

    /// The folder, where it outlives this value.
    pub fn kept(&self) -> Option<&Path> {
        self.keep.then_some(&self.path)
    }

    /// Writes profiles and configuration.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn configure(
        &self,
        config: &Config,
        programs: &Programs,
        runtime: &Path,
        texts: &Texts,
    ) -> Result<(), LocalError> {
        for (name, text) in &texts.files {
            let path = self.path.join("profiles").join(format!("{name}.yaml"));
            write(&path, text.as_bytes())?;
        }
        let (first, rest) = match texts.layers.split_first() {
            Some((first, rest)) => (first.as_str(), rest),
            None => ("", &[][..]),
        };
        let rules = rest.iter();
        let rules: Vec<Value> = rules
            .map(|name| json!({"profile": name, "container": "*"}))
            .collect();
        let delivery = match config.init_delivery {
            InitDelivery::Auto => "auto",
            InitDelivery::Memfd => "memfd",
            InitDelivery::Bind => "bind",
        };
        // JSON is YAML.
        let text = json!({
            "version": config::VERSION,
            "state_dir": self.path.join("state"),
            "log_dir": self.log_dir(),
            "log_total_mib": 0,
            "profiles_dir": self.path.join("profiles"),
            "libexec_dir": programs.libexec,
            "default_handler": HANDLER,
            "handlers": {HANDLER: {"profile": first, "runtime": runtime}},
            "rules": rules,
            "proc_mounts": config.proc_mounts,
            "start_container_hooks": config.start_container_hooks,
            "runtime_annotations": config.runtime_annotations,
            "init_delivery": delivery,
        });
        let text = serde_json::to_vec_pretty(&text).unwrap_or_default();
        write(&configuration(&self.path), &text)
    }

    /// Writes the bundle's config.json.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_config(&self, spec: &Value) -> Result<(), LocalError> {
        let text = serde_json::to_vec_pretty(spec).unwrap_or_default();
        write(&self.bundle().join("config.json"), &text)
    }

    /// The front door with what every call has; add a verb.
    pub fn call(&self, programs: &Programs) -> Command {
        call(&programs.front_door, &self.path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // With all that is mounted in it; only this process's namespace has that.
        let _ = umount2(&self.tree(), MntFlags::MNT_DETACH);
        if self.keep {
            let _ = write(&self.path.join(KEPT), b"");
            return;
        }
        remove(&self.path);
    }
}

/// Takes away what runs have left that did not come to their end: the container, and the folder unless a
/// person asked to keep it. What cannot be taken away is left to the next run.
pub fn sweep(config: &Config) {
    let base = base(config);
    let folders = fs::read_dir(&base).into_iter().flatten().flatten();
    for path in folders.map(|entry| entry.path()) {
        let Ok(alone) = alone(&base) else { return };
        // A living run holds its lock.
        let Ok(_lock) = lock(&path) else { continue };
        drop(alone);
        if path.join(KEPT).exists() {
            continue;
        }
        let Some(id) = path.file_name() else { continue };
        if let (Ok(programs), true) = (Programs::find(config), configuration(&path).exists()) {
            let mut delete = call(&programs.front_door, &path);
            delete.args(["delete", "--force"]).arg(id);
            delete
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let _ = delete.status();
        }
        remove(&path);
    }
}

/// Folder of all runs of this node.
fn base(config: &Config) -> PathBuf {
    let mut name = config.state_dir.clone().into_os_string();
    name.push("-try");
    name.into()
}

fn configuration(path: &Path) -> PathBuf {
    path.join("config.yaml")
}

/// A process group of its own, so that what is typed at a terminal reaches us alone.
fn call(front_door: &Path, path: &Path) -> Command {
    let mut command = Command::new(front_door);
    command.arg0(FRONT_DOOR).process_group(0);
    command.env(config::PATH_VARIABLE, configuration(path));
    command.arg("--root").arg(path.join("root"));
    command.arg("--log").arg(path.join("runtime.log"));
    command.args(["--log-format", "json"]);
    command
}

/// No run of the node makes or takes a folder while this is held; others wait, for a moment.
fn alone(base: &Path) -> io::Result<Flock<File>> {
    Flock::lock(File::open(base)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

fn lock(path: &Path) -> io::Result<Flock<File>> {
    let mut how = File::options();
    how.write(true).create(true).mode(0o600);
    let file = how.open(path.join(LOCK))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.into())
}

/// Removes a folder, unless something is mounted in it: what that shows is not ours.
fn remove(path: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Ok(mounts) = mountinfo::read(&table) else {
        return;
    };
    let inside = |mount: &mountinfo::Mount| mount.point.starts_with(path);
    if !mounts.is_empty() && !mounts.iter().any(inside) {
        let _ = fs::remove_dir_all(path);
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), LocalError> {
    let mut how = File::options();
    how.write(true).create(true).truncate(true).mode(0o600);
    let written = how.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(LocalError::system("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn runs_that_begin_together_do_not_sweep_each_other() {
        let scratch = Scratch::new("place-together");
        let config = Config {
            state_dir: scratch.path.join("state"),
            ..Config::embedded()
        };
        let one = || -> Vec<Place> {
            let run = |_| {
                sweep(&config);
                Place::make(&config, false).unwrap()
            };
            (0..20).map(run).collect()
        };
        let all: Vec<Place> = std::thread::scope(|scope| {
            let threads = [(); 8].map(|()| scope.spawn(one));
            let made = threads.map(|thread| thread.join().unwrap());
            made.into_iter().flatten().collect()
        });
        assert!(all.iter().all(|place| place.bundle().is_dir()));
        drop(all);
        sweep(&config);
        assert_eq!(fs::read_dir(base(&config)).unwrap().count(), 0);
    }
}
