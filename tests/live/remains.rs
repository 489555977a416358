//! What a container has left in its world: processes, homes, files. For tests that end with
//! *nothing is left*.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::harness::{Bundle, World, eventually};

/// A living process of the world.
#[derive(Debug, Clone)]
pub struct Process {
    /// As the world counts.
    pub pid: i32,
    pub comm: String,
    pub words: Vec<String>,
}

/// Processes that belong to container `id`: in its cgroup, or with its id or home on their command
/// line (the supervisor, a runtime that still works). Zombies are not counted: nothing of them runs.
pub fn processes(world: &World, id: &str) -> Vec<Process> {
    let entries = fs::read_dir(world.inside("/proc")).expect("the world lives");
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let proc = world.proc(pid);
        let cgroup = fs::read_to_string(proc.join("cgroup")).ok()?;
        let words = fs::read_to_string(proc.join("cmdline")).ok()?;
        let words: Vec<String> = words.split_terminator('\0').map(str::to_owned).collect();
        let of_id = |path: &str| Path::new(path).file_name().is_some_and(|name| name == id);
        let ours = cgroup.lines().any(of_id) || words.iter().any(|word| of_id(word));
        let zombie = world.status(pid, "State")?.starts_with('Z');
        let comm = fs::read_to_string(proc.join("comm")).ok()?;
        (ours && !zombie).then(|| Process {
            pid,
            comm: comm.trim_end().to_owned(),
            words,
        })
    })
    .collect()
}

/// Pid of the supervisor of container `id`, in the world's numbers.
pub fn supervisor(world: &World, id: &str) -> Option<i32> {
    let found = processes(world, id)
        .into_iter()
        .find(|process| process.comm == "mantlet-supervi");
    found.map(|process| process.pid)
}

/// Waits until no process of container `id` is left.
#[track_caller]
pub fn nothing_runs(world: &World, id: &str) {
    eventually(&format!("all processes of {id} are gone"), || {
        processes(world, id).is_empty().then_some(())
    });
}

/// Homes of container `id` in a state directory, as the world sees it.
pub fn homes(world: &World, state: &Path, id: &str) -> Vec<PathBuf> {
    let roots = fs::read_dir(world.inside(state).join("containers"));
    roots
        .into_iter()
        .flatten()
        .flatten()
        .map(|root| root.path().join(id))
        .filter(|home| home.exists())
        .collect()
}

/// Whether the runtime keeps anything for the container.
pub fn runtime_knows(bundle: &Bundle) -> bool {
    bundle
        .world()
        .inside(bundle.root())
        .join(&bundle.id)
        .exists()
}

/// A folder's content: each file's mode, owner and bytes, each link's target. The runtime's log and
/// the files of the container itself are not the bundle's.
pub fn snapshot(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("a folder of our own");
    let others = ["log.json", "output", "rootfs", "scratch", "upper"];
    entries
        .flatten()
        .map(|entry| {
            let (path, name) = (entry.path(), entry.file_name());
            let meta = fs::symlink_metadata(&path).expect("it was just listed");
            let content = if meta.is_symlink() {
                format!("{:?}", fs::read_link(&path).expect("a link"))
            } else if meta.is_file() {
                let bytes = fs::read(&path).expect("root reads it");
                format!("{} bytes {}", bytes.len(), hash(&bytes))
            } else {
                String::new()
            };
            let described = format!("{:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid());
            (name.to_string_lossy().into_owned(), described)
        })
        .filter(|(name, _)| !others.contains(&name.as_str()))
        .collect()
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Waits until all that is left of container `id` are its own processes.
#[track_caller]
pub fn nothing_but_the_container(world: &World, id: &str) {
    eventually(&format!("nobody supervises {id}"), || {
        let ours = |process: &Process| process.comm.starts_with("mantlet-");
        (!processes(world, id).iter().any(ours)).then_some(())
    });
}
