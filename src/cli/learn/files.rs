//! From files that were used to places that a profile names.
//!
//! A Landlock rule is on a file or on a directory with everything beneath; there are no wildcards. So
//! some files can only be granted by their directory (what is made or removed at run time), some should
//! be (names that are another each time, a volume's contents), and the rest stays as it was seen. Each
//! place remembers what it was made from and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use super::names;
use super::union::{Coverage, Union};
use crate::access::Access;
use crate::access::files::MAP_EXECUTE;
use crate::policy::decide::folder_of;
use crate::policy::mounts::{Kind, Place, beneath};
use crate::profile::glob;

/// How far files are taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    /// Only where no rule on the file itself could hold
    None,
    /// Volumes, changing names, directories of which many files were used
    Careful,
    /// The same with fewer files, and directories of programs
    Wide,
}

/// What a person says about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// How far.
    pub level: Level,
    /// Paths that stay as they were seen, with all beneath.
    pub exact: Vec<String>,
    /// Patterns, each with the directory that stands for what it covers.
    pub into: Vec<(String, String)>,
    /// Moves and links that would gain rights, each with what the place needs that it comes from.
    pub moves: BTreeMap<Access, Grant>,
}

/// What is done with a place, in the words of the profile's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Need(u8);

impl Need {
    /// Read, listed, connected to.
    pub const READ: Need = Need(1);
    /// Written, created, removed, renamed.
    pub const WRITE: Need = Need(2);
    /// Executed.
    pub const EXECUTE: Need = Need(4);
    /// ioctl(2) on a device.
    pub const IOCTL: Need = Need(8);
    /// A device file made.
    pub const DEVICE: Need = Need(16);

    /// What a Landlock right comes to. The kernel reads what it executes.
    fn of(right: &str) -> Need {
        match right {
            "read-file" | "read-dir" | "resolve-unix" => Need::READ,
            // Only a grant of execution leaves its mount executable, where it is mapped rather than executed.
            "execute" | MAP_EXECUTE => Need::EXECUTE | Need::READ,
            "ioctl-dev" => Need::IOCTL,
            "make-char" | "make-block" => Need::DEVICE,
            _ => Need::WRITE,
        }
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub fn holds(self, other: Need) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in it.
    #[must_use]
    pub fn has(self, other: Need) -> bool {
        self.0 & other.0 != 0
    }

    fn without(self, other: Need) -> Need {
        Need(self.0 & !other.0)
    }
}

impl BitOr for Need {
    type Output = Need;

    fn bitor(self, other: Need) -> Need {
        Need(self.0 | other.0)
    }
}

impl BitOrAssign for Need {
    fn bitor_assign(&mut self, other: Need) {
        self.0 |= other.0;
    }
}

/// Why a place is not the file that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// `--generalise`.
    Asked,
    /// Below /proc.
    Proc,
    /// The container's own groups, whose path holds its id.
    Cgroup,
    /// A device that every container has.
    Device,
    /// It was made by the workload.
    Made,
    /// Its name is another each time.
    Changing,
    /// A directory for passing files.
    Passing,
    /// It has several names (hard links).
    Linked,
    /// A name that rules cannot be written with.
    Unwritable,
    /// A volume's contents.
    Volume,
    /// Many files of one directory.
    Many,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Asked => "--generalise",
            Why::Proc => "rules below /proc do not last",
            Why::Cgroup => "the path holds the container's id",
            Why::Device => "ordinary devices",
            Why::Made => "made or removed at run time",
            Why::Changing => "names that change",
            Why::Passing => "passing files",
            Why::Linked => "hard links, whose rules do not last",
            Why::Unwritable => "names that no rule can hold",
            Why::Volume => "a volume's contents",
            Why::Many => "many files of one directory",
        })
    }
}

/// One place with what is done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// A path, or a symbol such as `@devices`.
    pub place: String,
    /// What.
    pub need: Need,
    /// When and by whom.
    pub coverage: Coverage,
    /// Files that it stands for.
    pub from: BTreeSet<String>,
    /// Why it stands for them; empty: it is the file itself.
    pub why: BTreeSet<Why>,
    /// It may be missing when the workload starts.
    pub optional: bool,
    /// Directories that something is moved or linked to from here, and that it has to be as free as.
    pub moved_to: BTreeSet<String>,
    /// Where its mount begins.
    mount: String,
}

/// Ordinary device files, as `@devices` has them.
const DEVICES: [&str; 7] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/console",
];

/// Directories that many files never stand for: they hold secrets, or everything.
const NEVER: [&str; 8] = [
    "/etc/ssh",
    "/etc/ssl/private",
    "/run/secrets",
    "/usr/local",
    "/var/lib",
    "/var/run",
    "/run/lock",
    "/var/cache",
];

/// Files that engines mount.
const ENGINE_FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// Written directories of one volume beside files that are only read; more stand for all of it.
const MOST_WRITTEN: usize = 4;

/// Makes places of what `union` says of files. `whole` is all that was seen, `union` what of it is to be granted;
/// `mounts` are those that every run had.
#[must_use]
pub fn places(union: &Union, whole: &Union, mounts: &[Place], options: &Options) -> Vec<Grant> {
    let made = Made::of(whole);
    // 1. Where each file can be granted at all.
    let mut grants: Vec<Grant> = union
        .seen
        .iter()
        .filter_map(|(access, coverage)| placed(access, coverage, &made, options))
        .collect();
    grants.extend(options.moves.values().cloned());
    grants = joined(grants);
    if options.level > Level::None {
        // 2. Volumes, then directories of which much is used.
        grants = volumes(grants, options);
        let (few, programs) = match options.level {
            Level::Wide => (3, 4),
            _ => (6, usize::MAX),
        };
        let execute = Need::READ | Need::EXECUTE;
        for (need, least) in [(Need::READ, few), (Need::WRITE, few), (execute, programs)] {
            grants = crowded(grants, need, least, options);
        }
        symbols(&mut grants, mounts, options);
    }
    // 3. What lies beneath another place that grants as much is said by that.
    pruned(joined(grants))
}

/// What the workload made, by whole path.
struct Made(BTreeSet<String>);

impl Made {
    fn of(union: &Union) -> Made {
        let made = union.seen.keys().filter_map(|access| match access {
            Access::File {
                path,
                right,
                entry: Some(entry),
                moved,
                ..
            } if right.starts_with("make-") || moved.is_some() => Some(child(path, entry)),
            _ => None,
        });
        Made(made.collect())
    }

    /// The directory that held `path`, or the first directory above it, before it was made.
    fn before<'a>(&self, path: &'a str) -> Option<&'a str> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1);
        let first = ends
            .chain([path.len()])
            .find(|end| self.0.contains(&path[..*end]))?;
        Some(folder_of(&path[..first]))
    }
}

/// Whether it is a path at all. Pipes, sockets and memfds have none, and Landlock does not ask about
/// them.
#[must_use]
pub fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("/memfd:")
}

fn child(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

/// Where one access is granted; none where no rule is asked.
fn placed(access: &Access, coverage: &Coverage, made: &Made, options: &Options) -> Option<Grant> {
    let Access::File {
        path,
        right,
        entry,
        mount,
        ..
    } = access
    else {
        return None;
    };
    if !is_path(path) {
        return None;
    }
    let gone = path.strip_suffix(" (deleted)");
    let path = gone.unwrap_or(path);
    let need = Need::of(right);
    let whole = match entry {
        Some(entry) => child(path, entry),
        None => path.to_owned(),
    };
    let (mut place, mut why) = place(path, &whole, need, gone.is_some(), mount, made, options);
    // Neither does a rule on one of several names last, nor may a profile have one.
    if coverage.linked && place == path && place != *mount {
        (place, why) = (folder_of(path).to_owned(), Some(Why::Linked));
    }
    let on_mount = mount != "/" && place != *mount && beneath(&place, mount);
    let engine = ["/dev", "/proc", "/sys"]
        .iter()
        .any(|top| beneath(mount, top));
    Some(Grant {
        optional: on_mount && !engine && !place.starts_with('@'),
        place,
        need,
        coverage: coverage.clone(),
        from: [whole].into(),
        why: why.into_iter().collect(),
        moved_to: BTreeSet::new(),
        mount: mount.clone(),
    })
}

/// Where something is moved or linked from, with `rights` that it has to have there already; none for what is no
/// such access.
#[must_use]
pub fn origin(
    access: &Access,
    rights: &[&'static str],
    union: &Union,
    options: &Options,
) -> Option<Grant> {
    let Access::File {
        path,
        mount,
        moved: Some(moved),
        ..
    } = access
    else {
        return None;
    };
    let made = Made::of(union);
    let there = |right: &str| Access::File {
        path: moved.path.clone(),
        right: right.to_owned(),
        entry: None,
        mount: mount.clone(),
        directory: moved.directory,
        moved: None,
    };
    let coverage = union.seen.get(access).cloned().unwrap_or_default();
    let grants = rights
        .iter()
        .filter_map(|right| placed(&there(right), &coverage, &made, options));
    let mut grant = grants.reduce(|mut known, other| {
        // Places differ where one right is to write; the wider one holds for both.
        if beneath(&known.place, &other.place) {
            known.place.clone_from(&other.place);
        }
        absorb(&mut known, other);
        known
    })?;
    grant.moved_to.insert(path.clone());
    Some(grant)
}

/// The place of one file, and why it is another than the file.
fn place(
    path: &str,
    whole: &str,
    need: Need,
    gone: bool,
    mount: &str,
    made: &Made,
    options: &Options,
) -> (String, Option<Why>) {
    if let Some((_, into)) = options
        .into
        .iter()
        .find(|(pattern, _)| glob::covers(pattern, path) || glob::covers(pattern, whole))
    {
        return (into.clone(), Some(Why::Asked));
    }
    if beneath(path, "/proc") {
        let why = (path != "/proc").then_some(Why::Proc);
        return ("/proc".into(), why);
    }
    if beneath(path, "/sys/fs/cgroup") {
        let why = (path != "/sys/fs/cgroup").then_some(Why::Cgroup);
        return ("/sys/fs/cgroup".into(), why);
    }
    if DEVICES.contains(&path) || beneath(path, "/dev/pts") {
        return ("@devices".into(), Some(Why::Device));
    }
    if let Some(at) = path.find('*') {
        return (folder_of(&path[..at]).into(), Some(Why::Unwritable));
    }
    if is_exact(path, options) {
        // What is not there when the workload starts cannot have a rule, whoever wants one.
        return match made.before(path) {
            Some(folder) => (folder.into(), Some(Why::Made)),
            None if gone => (folder_of(path).into(), Some(Why::Made)),
            None => (path.into(), None),
        };
    }
    if options.level > Level::None && need.has(Need::WRITE) && names::is_passing(path) {
        let top = ["/var/tmp", "/dev/shm", "/tmp"]
            .into_iter()
            .find(|top| beneath(path, top))
            .unwrap_or(path);
        // A mount may begin deeper; nothing above it is meant.
        let top = if beneath(mount, top) { mount } else { top };
        let why = (top != path).then_some(Why::Passing);
        return (top.into(), why);
    }
    if let Some(folder) = made.before(path) {
        return (folder.into(), Some(Why::Made));
    }
    if gone {
        return (folder_of(path).into(), Some(Why::Made));
    }
    // What the image shipped is called the same each time, `/usr/lib/postgresql/15` too.
    let passing = need.has(Need::WRITE) || mount != "/" || names::is_passing(path);
    if options.level > Level::None
        && passing
        && !need.has(Need::EXECUTE)
        && let Some((folder, _)) = names::changing(path)
        && folder != "/"
        && beneath(folder, mount)
    {
        return (folder.into(), Some(Why::Changing));
    }
    (path.into(), None)
}

fn is_exact(path: &str, options: &Options) -> bool {
    options.exact.iter().any(|top| beneath(path, top))
}

/// One grant for each place.
fn joined(grants: Vec<Grant>) -> Vec<Grant> {
    let mut all: BTreeMap<String, Grant> = BTreeMap::new();
    for grant in grants {
        match all.get_mut(&grant.place) {
            Some(known) => absorb(known, grant),
            None => drop(all.insert(grant.place.clone(), grant)),
        }
    }
    all.into_values().collect()
}

fn absorb(known: &mut Grant, other: Grant) {
    known.need |= other.need;
    known.coverage.join(&other.coverage);
    known.from.extend(other.from);
    known.why.extend(other.why);
    known.optional &= other.optional;
    known.moved_to.extend(other.moved_to);
}

/// Takes a volume's contents together: where all of it is written to, the whole of it; else what is
/// read as a whole, and the written directories one by one.
fn volumes(grants: Vec<Grant>, options: &Options) -> Vec<Grant> {
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for grant in grants.iter().filter(|grant| is_of_volume(grant, options)) {
        let places = written.entry(grant.mount.clone()).or_default();
        if grant.need.has(Need::WRITE) {
            places.insert(grant.place.clone());
        }
    }
    let mut read: BTreeSet<String> = BTreeSet::new();
    for grant in grants.iter().filter(|grant| is_of_volume(grant, options)) {
        let places = &written[&grant.mount];
        if !places.iter().any(|top| beneath(&grant.place, top)) {
            read.insert(grant.mount.clone());
        }
    }
    let taken = grants.into_iter().flat_map(|grant| {
        if !is_of_volume(&grant, options) || grant.place == grant.mount {
            return vec![grant];
        }
        let whole = !read.contains(&grant.mount) || written[&grant.mount].len() > MOST_WRITTEN;
        let writes = grant.need.has(Need::WRITE);
        let up = |need| Grant {
            place: grant.mount.clone(),
            need,
            why: [Why::Volume].into(),
            optional: false,
            ..grant.clone()
        };
        // A program of the volume stays what it is; no other file there becomes one.
        match grant.need.without(Need::EXECUTE) {
            rest if grant.need.has(Need::EXECUTE) => {
                let rest = Grant {
                    moved_to: BTreeSet::new(),
                    ..up(rest)
                };
                vec![rest, grant]
            }
            rest if whole || !writes => vec![up(rest)],
            _ => vec![grant],
        }
    });
    joined(taken.collect())
}

fn is_of_volume(grant: &Grant, options: &Options) -> bool {
    let mount = grant.mount.as_str();
    let shared = beneath(mount, "/dev/shm");
    let engine = ["/dev", "/proc", "/sys"]
        .iter()
        .any(|top| beneath(mount, top));
    mount != "/"
        && (shared || !engine)
        && !ENGINE_FILES.contains(&mount)
        && beneath(&grant.place, mount)
        && !is_exact(&grant.place, options)
}

/// Takes `least` places of one directory together, from the deepest directory up, where they are on
/// the root file system and need just `need` (or, for writing, that among others).
fn crowded(mut grants: Vec<Grant>, need: Need, least: usize, options: &Options) -> Vec<Grant> {
    let counts = |grant: &Grant| {
        let alike = match need {
            Need::WRITE => grant.need.has(need) && !grant.need.has(Need::EXECUTE),
            _ => grant.need == need,
        };
        alike
            && grant.mount == "/"
            && grant.place.starts_with('/')
            && !is_exact(&grant.place, options)
    };
    loop {
        let mut by_folder: BTreeMap<&str, usize> = BTreeMap::new();
        for grant in grants.iter().filter(|grant| counts(grant)) {
            *by_folder.entry(folder_of(&grant.place)).or_default() += 1;
        }
        let folder = by_folder
            .into_iter()
            .filter(|(folder, count)| *count >= least && may_stand_for_many(folder))
            .map(|(folder, _)| folder.to_owned())
            .max_by_key(|folder| folder.matches('/').count());
        let Some(folder) = folder else { return grants };
        for grant in &mut grants {
            if counts(grant) && beneath(&grant.place, &folder) && grant.place != folder {
                grant.place.clone_from(&folder);
                grant.why.insert(Why::Many);
                grant.optional = false;
            }
        }
        grants = joined(grants);
    }
}

fn may_stand_for_many(folder: &str) -> bool {
    let deep = folder.matches('/').count() >= 2;
    let secret = ["/root", "/home"].iter().any(|top| beneath(folder, top));
    deep && !secret && !NEVER.contains(&folder)
}

/// Where every volume, or every tmpfs, is written to as a whole, and all of them need the same, their symbol says
/// that and holds for pods that mount them elsewhere. One that is executed from makes no other a place for programs, and one that a person wants
/// to stay as it was seen keeps its name.
fn symbols(grants: &mut [Grant], mounts: &[Place], options: &Options) {
    for (kind, symbol) in [(Kind::Volume, "@volumes"), (Kind::Tmpfs, "@tmpfs")] {
        let all: BTreeSet<&str> = mounts
            .iter()
            .filter(|mount| mount.kind == kind && mount.writable && mount.destination != "/dev")
            .map(|mount| mount.destination.as_str())
            .collect();
        let whole = |grant: &Grant| {
            all.contains(grant.place.as_str())
                && grant.need.has(Need::WRITE)
                && !is_exact(&grant.place, options)
        };
        let mut needs = grants
            .iter()
            .filter(|grant| whole(grant))
            .map(|grant| grant.need);
        let Some(first) = needs.next() else { continue };
        let rest: Vec<Need> = needs.collect();
        if rest.len() + 1 < all.len() || rest.iter().any(|need| reaches(*need) != reaches(first)) {
            continue;
        }
        for grant in grants.iter_mut().filter(|grant| whole(grant)) {
            grant.place = symbol.into();
            grant.why.insert(Why::Volume);
        }
    }
}

/// Drops what lies beneath a place that grants as much, and says so there.
fn pruned(grants: Vec<Grant>) -> Vec<Grant> {
    let mut kept: Vec<Grant> = Vec::new();
    // Sorted by path: what is above comes before what is beneath.
    for mut grant in grants {
        for above in &mut kept {
            let covers = above.place.starts_with('/')
                && grant.place.starts_with('/')
                && beneath(&grant.place, &above.place);
            if covers && reaches(above.need).holds(grant.need) {
                above.coverage.join(&grant.coverage);
                above.from.append(&mut grant.from);
                above.moved_to.append(&mut grant.moved_to);
                grant.need = Need::default();
                break;
            }
        }
        if grant.need != Need::default() {
            kept.push(grant);
        }
    }
    kept
}

/// What the list of a place grants at least: writing comes with reading.
fn reaches(need: Need) -> Need {
    match need.has(Need::WRITE) {
        true => need | Need::READ,
        false => need,
    }
}
