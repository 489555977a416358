//! What of the host's a container shares: its namespaces, and what its mounts bring in, under all
//! names. Asked before the runtime is called, of what config.json names, and again at `start`, of
//! what was mounted.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::Failure;
use crate::oci::mountinfo::{self, Mount};
use crate::policy::{self, Found, host_path};
use crate::profile::{Profile, Refuse};
use crate::state::HostPathRules;

const TABLE: &str = "/proc/self/mountinfo";

/// Looks at the host: at its namespaces, and at its paths where a profile of the container or of its
/// sessions has rules on them.
pub(super) fn find(layers: &[&Profile], spec: &Spec, bundle: &Path) -> Result<Found, Failure> {
    let of_sessions = layers.iter().filter_map(|layer| layer.exec.as_ref());
    let of_sessions = of_sessions.flat_map(|exec| exec.profiles.values());
    let profiles: Vec<&Profile> = layers.iter().copied().chain(of_sessions).collect();
    let namespaces = own_namespaces(spec);
    let asks = |rule: &Refuse| matches!(rule, Refuse::HostPath(_));
    if !profiles
        .iter()
        .any(|profile| profile.refuse.iter().any(asks))
    {
        return Ok(Found {
            namespaces,
            ..Found::default()
        });
    }
    let mounts = table()?;
    let asked = host_path::asked(spec).into_iter();
    let sources = asked.flat_map(|(what, path)| all_of(&mounts, &what, &bundle.join(path)));
    Ok(Found {
        sources: sources.collect(),
        links: links(&profiles),
        namespaces,
    })
}

/// Namespaces that are named by a path, and are those in which the front door itself was called. One
/// that cannot be looked at counts: the runtime could not join it either.
fn own_namespaces(spec: &Spec) -> Vec<LinuxNamespaceType> {
    let linux = spec.linux().as_ref();
    let all = linux.and_then(|linux| linux.namespaces().as_ref());
    let named = all.into_iter().flatten().filter_map(|namespace| {
        let path = namespace.path().as_ref()?;
        Some((namespace.typ(), path))
    });
    let same = named.filter(|(typ, path)| {
        let own = Path::new("/proc/self/ns").join(file(*typ));
        match (fs::metadata(path), fs::metadata(own)) {
            (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
            _ => true,
        }
    });
    same.map(|(typ, _)| typ).collect()
}

/// The file of /proc/PID/ns (namespaces(7)).
fn file(typ: LinuxNamespaceType) -> &'static str {
    match typ {
        LinuxNamespaceType::Mount => "mnt",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "net",
        LinuxNamespaceType::Time => "time",
    }
}

/// Judges the mounts of a container whose first process is `pid` and whose mountinfo is `text`.
pub(super) fn check(pid: i32, text: &str, rules: Option<&HostPathRules>) -> Result<(), Failure> {
    let Some(rules) = rules else {
        return Ok(());
    };
    let (own, host) = (read(text)?, table()?);
    let root = own.iter().find(|mount| mount.point == Path::new("/"));
    let from_image = |mount: &Mount| {
        root.is_some_and(|root| root.device == mount.device && mount.root.starts_with(&root.root))
    };
    let usual = Usual {
        mounts: &own,
        kernels: &rules.kernels,
        cgroups: cgroups(pid)?,
    };
    for mount in own
        .iter()
        .filter(|mount| !from_image(mount) && !usual.has(mount))
    {
        let names = mountinfo::names(&host, &mount.device, &mount.root);
        let source = host_path::Source {
            what: format!("the mount at {:?}", shown(&mount.point)),
            asked: String::new(),
            names: names.iter().map(|path| shown(path)).collect(),
            root: false,
        };
        policy::mounted(Some(rules), &source)?;
    }
    Ok(())
}

/// What profiles in mode `audit` would have refused, by the same mounts: the profile, and why. That it
/// cannot be judged is told too.
pub(super) fn observed(pid: i32, text: &str, all: &[HostPathRules]) -> Vec<(String, String)> {
    let broken = |rules: &HostPathRules| {
        let why = check(pid, text, Some(rules)).err()?;
        let profile = rules.rules.first().map(|rule| rule.profile.clone());
        Some((profile.unwrap_or_default(), why.to_string()))
    };
    all.iter().filter_map(broken).collect()
}

/// The cgroups of a process (cgroups(7)), as mountinfo names them to the same reader. Not the root of a
/// hierarchy in which it was given none: whoever has that mounted has all cgroups.
fn cgroups(pid: i32) -> Result<Vec<PathBuf>, Failure> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).map_err(|error| Failure::system("read", path, error))?;
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    Ok(paths
        .filter(|path| *path != "/")
        .map(PathBuf::from)
        .collect())
}

/// Mounts that runtimes make of the kernel's own trees: some of these the container shares with the
/// host, and no pod has asked for them.
///
/// A place alone tells nothing, since a pod may mount a volume there, and a link of the image's may
/// lead one there. Whatever lies on, or under, something else at the same point is judged as any
/// mount.
struct Usual<'a> {
    mounts: &'a [Mount],
    /// Where config.json has them, other than by a bind.
    kernels: &'a [String],
    /// The container's own.
    cgroups: Vec<PathBuf>,
}

impl Usual<'_> {
    fn has(&self, mount: &Mount) -> bool {
        if !self.is_alone(mount) {
            return false;
        }
        match mount.fstype.as_str() {
            // In cgroup v1 one mount for each controller, below the one that config.json has.
            "cgroup" | "cgroup2" => {
                let below = |top: &String| mount.point.starts_with(top);
                self.is_listed(mount)
                    || (self.kernels.iter().any(below) && self.cgroups.contains(&mount.root))
            }
            "proc" | "sysfs" | "mqueue" | "devpts" => {
                (self.is_listed(mount) && mount.root == Path::new("/"))
                    || self.mounts.iter().any(|top| self.is_part(mount, top))
            }
            // Masks, and single devices where a user namespace forbids mknod(2).
            "devtmpfs" => {
                mount.root == Path::new("/null")
                    || (mount.point.starts_with("/dev") && mount.root != Path::new("/"))
            }
            _ => false,
        }
    }

    fn is_alone(&self, mount: &Mount) -> bool {
        let mut others = self.mounts.iter().filter(|other| other.id != mount.id);
        others.all(|other| other.point != mount.point)
    }

    fn is_listed(&self, mount: &Mount) -> bool {
        let mut all = self.kernels.iter();
        all.any(|point| mount.point == Path::new(point))
    }

    /// A part of the container's own tree at `top`: laid read-only over itself (`readonlyPaths`), or a
    /// terminal as /dev/console.
    fn is_part(&self, mount: &Mount, top: &Mount) -> bool {
        let same = top.device == mount.device && self.is_listed(top) && self.is_alone(top);
        let inside = mount.point.strip_prefix(&top.point);
        let in_place = inside.is_ok_and(|inside| mount.root.strip_prefix("/") == Ok(inside));
        let terminal = mount.fstype == "devpts" && mount.point == Path::new("/dev/console");
        same && (terminal || (in_place && mount.read_only))
    }
}

/// One source, and whatever is mounted beneath it.
fn all_of(mounts: &[Mount], what: &str, path: &Path) -> Vec<host_path::Source> {
    let real = resolved(path);
    let asked = host_path::lexical(path);
    let one = |what: String, asked: String, names| host_path::Source {
        root: what == host_path::ROOT,
        what,
        asked,
        names,
    };
    let mut all = vec![one(what.to_owned(), asked, names(mounts, &real))];
    if what == host_path::ROOT {
        return all;
    }
    let inside = mounts.iter();
    let inside = inside.filter(|mount| mount.point != real && mount.point.starts_with(&real));
    all.extend(inside.map(|mount| {
        let mut names = mountinfo::names(mounts, &mount.device, &mount.root);
        names.insert(mount.point.clone());
        let names = names.iter().map(|path| shown(path)).collect();
        one(format!("a part of {what}"), shown(&mount.point), names)
    }));
    all
}

/// Where a path leads. Of one that is not there, where its last folder leads that is.
fn resolved(path: &Path) -> PathBuf {
    for top in path.ancestors() {
        if let Ok(real) = fs::canonicalize(top) {
            let rest = path.strip_prefix(top).unwrap_or(Path::new(""));
            return mountinfo::below(&real, rest);
        }
    }
    path.to_owned()
}

/// `real` and its other names, by the mount that it lies on.
fn names(mounts: &[Mount], real: &Path) -> Vec<String> {
    let mut all = vec![shown(real)];
    let holding = holding(mounts, real);
    let inner = holding.and_then(|mount| {
        let rest = real.strip_prefix(&mount.point).ok()?;
        Some((&mount.device, mountinfo::below(&mount.root, rest)))
    });
    if let Some((device, inner)) = inner {
        let more = mountinfo::names(mounts, device, &inner);
        all.extend(
            more.iter()
                .filter(|name| *name != real)
                .map(|path| shown(path)),
        );
    }
    all
}

/// The mount on which `real` lies: the kernel's word, else the nearest one above it.
fn holding<'a>(mounts: &'a [Mount], real: &Path) -> Option<&'a Mount> {
    let told = mount_id(real).and_then(|id| mounts.iter().find(|mount| mount.id == id));
    told.or_else(|| {
        let above = mounts.iter().filter(|mount| real.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.as_os_str().len())
    })
}

fn mount_id(path: &Path) -> Option<u64> {
    let mut how = OpenOptions::new();
    how.read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW);
    let file = how.open(path).ok()?;
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    line.trim().parse().ok()
}

/// Folders in which patterns begin, where they are links on this host.
fn links(profiles: &[&Profile]) -> BTreeMap<String, String> {
    let all = profiles.iter();
    let all = all.flat_map(|profile| host_path::prefixes(profile));
    all.filter_map(|path| {
        let real = shown(&resolved(Path::new(&path)));
        (real != path).then_some((path, real))
    })
    .collect()
}

fn table() -> Result<Vec<Mount>, Failure> {
    let text = fs::read_to_string(TABLE)
        .map_err(|error| Failure::system("read", TABLE.to_owned(), error))?;
    read(&text)
}

fn read(text: &str) -> Result<Vec<Mount>, Failure> {
    mountinfo::read(text).map_err(|line| Failure::Mountinfo { line })
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
