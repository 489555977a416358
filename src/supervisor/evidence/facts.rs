//! What is said of one process: from /proc/PID, without a look at its executable.

use std::collections::BTreeMap;

use super::folder::{Folder, Text, bracketed, is_kernels};
use super::manifest::{Descriptor, Manifest, Process};
use super::mounts::Mounts;

/// Most descriptors that are listed of one process.
pub(super) const MOST_DESCRIPTORS: usize = 1024;
/// Bytes of the command line and of the environment that are looked at for the manifest.
const FOR_ARGV: usize = 16 << 10;
const FOR_ENVIRONMENT: usize = 1 << 20;
/// Most words of a command line that the manifest takes.
const MOST_WORDS: usize = 256;
/// Most names of variables, and longest one.
const MOST_NAMES: usize = 256;
const LONGEST_NAME: usize = 128;

const SECURITY: [&str; 8] = [
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
];
const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// The small files that the facts are taken from; kept as they are too.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) status: Text,
    pub(super) stat: Text,
    pub(super) limits: Text,
}

/// Everything but descriptors and executable. What cannot be read is noted.
pub(super) fn of(folder: &Folder, sources: &Sources, manifest: &mut Manifest) -> Process {
    let status = sources.status.lossy();
    let numbers = |name| all(field(&status, name));
    let stat = Stat::parse(&sources.stat.bytes);
    let mut process = Process {
        pid: folder.pid,
        ppid: number(field(&status, "PPid")),
        ns_pids: numbers("NSpid").iter().map(|id| *id as i32).collect(),
        uid: numbers("Uid"),
        gid: numbers("Gid"),
        state: field(&status, "State").to_owned(),
        threads: number(field(&status, "Threads")),
        start_time: stat.start_time,
        comm: manifest.ink.text(stat.comm),
        limits: limits(&sources.limits.lossy()),
        ..Process::default()
    };
    process.security = SECURITY
        .into_iter()
        .map(|name| (name, field(&status, name).to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    process.namespaces = namespaces(folder);
    if has_ended(&process) {
        return process;
    }
    let mut link = |name: &str| match folder.link(name) {
        Ok(target) => Some(manifest.ink.text(&target)),
        Err(error) => {
            manifest.lacks(entry(folder, name), error.to_string());
            None
        }
    };
    (process.exe, process.cwd, process.root) = (link("exe"), link("cwd"), link("root"));
    match folder.read("cgroup", 64 << 10) {
        Ok(text) => {
            let lines = text.bytes.split(|byte| *byte == b'\n');
            let lines = lines.filter(|line| !line.is_empty()).take(32);
            process.cgroups = lines.map(|line| manifest.ink.text(line)).collect();
        }
        Err(error) => manifest.lacks(entry(folder, "cgroup"), error.to_string()),
    }
    match command_line(folder, &stat, FOR_ARGV) {
        Ok(text) => {
            if text.cut || words(&text).nth(MOST_WORDS).is_some() {
                manifest.lacks(entry(folder, "argv"), "only its first words are told");
            }
            let words = words(&text).take(MOST_WORDS);
            process.argv = words.map(|word| manifest.ink.text(word)).collect();
        }
        Err(why) => manifest.lacks(entry(folder, "argv"), why),
    }
    match names(folder, &stat) {
        Ok(names) => {
            let names = names.iter().map(|name| manifest.ink.text(name.as_bytes()));
            process.environment = names.filter(|name| !name.is_empty()).collect();
        }
        Err(why) => manifest.lacks(entry(folder, "environment"), why),
    }
    process
}

/// Whether it only waits to be reaped: there is no more to be told of it.
pub(super) fn has_ended(process: &Process) -> bool {
    process.state.starts_with(['Z', 'X'])
}

/// `processes/PID/NAME`
pub(super) fn entry(folder: &Folder, name: &str) -> String {
    format!("processes/{}/{name}", folder.pid)
}

/// Open descriptors, at most `most`.
pub(super) fn descriptors(
    folder: &Folder,
    mounts: &Mounts,
    most: usize,
    manifest: &mut Manifest,
) -> Vec<Descriptor> {
    let (mut numbers, more) = match folder.numbers("fd", most) {
        Ok(numbers) => numbers,
        Err(error) => {
            manifest.lacks(entry(folder, "descriptors"), error.to_string());
            return Vec::new();
        }
    };
    if more {
        manifest.lacks(entry(folder, "descriptors"), format!("more than {most}"));
    }
    numbers.sort_unstable();
    let found = numbers
        .into_iter()
        .filter_map(|number| descriptor(folder, mounts, number, manifest));
    found.collect()
}

/// None where it has been closed meanwhile.
fn descriptor(
    folder: &Folder,
    mounts: &Mounts,
    number: i32,
    manifest: &mut Manifest,
) -> Option<Descriptor> {
    let link = format!("fd/{number}");
    let target = folder.link(&link).ok()?;
    let info = folder.read(&format!("fdinfo/{number}"), 4096);
    let info = info.unwrap_or_default();
    let info = info.lossy();
    let told = |name| Some(field(&info, name)).filter(|value| !value.is_empty());
    let mut found = Descriptor {
        number,
        target: manifest.ink.text(&target),
        position: told("pos").and_then(|value| value.parse().ok()),
        flags: told("flags").map(str::to_owned),
        inode: told("ino").and_then(|value| value.parse().ok()),
        ..Descriptor::default()
    };
    if target.starts_with(b"anon_inode:") {
        found.kind = Some("anonymous");
        return Some(found);
    }
    let mount = told("mnt_id").and_then(|value| value.parse().ok());
    if !is_kernels(&target) && mount.is_none_or(|mount| mounts.asks_a_machine(mount)) {
        return Some(found);
    }
    if let Ok(stat) = folder.examine(&link) {
        let (major, minor) = stat.device;
        found.kind = kind(stat.mode);
        found.inode = Some(stat.inode);
        found.device = Some(format!("{major}:{minor}"));
    }
    Some(found)
}

fn kind(mode: u32) -> Option<&'static str> {
    Some(match mode & libc::S_IFMT {
        libc::S_IFREG => "file",
        libc::S_IFDIR => "directory",
        libc::S_IFIFO => "fifo",
        libc::S_IFSOCK => "socket",
        libc::S_IFCHR => "character-device",
        libc::S_IFBLK => "block-device",
        0 => "anonymous",
        _ => return None,
    })
}

fn namespaces(folder: &Folder) -> BTreeMap<&'static str, u64> {
    let found = NAMESPACES.into_iter().filter_map(|name| {
        let link = folder.link(&format!("ns/{name}")).ok()?;
        Some((name, bracketed(&link, name)?))
    });
    found.collect()
}

/// The parts of /proc/PID/stat (proc_pid_stat(5)) that are used here.
pub(super) struct Stat<'a> {
    comm: &'a [u8],
    start_time: u64,
    /// Bytes of the command line in memory; absent where the kernel does not tell.
    argv: Option<u64>,
}

impl<'a> Stat<'a> {
    /// Fields are counted after the *last* parenthesis: `comm` may hold any byte.
    pub(super) fn parse(bytes: &'a [u8]) -> Stat<'a> {
        let open = bytes.iter().position(|byte| *byte == b'(');
        let close = bytes.iter().rposition(|byte| *byte == b')');
        let (comm, rest) = match (open, close) {
            (Some(open), Some(close)) if open < close => {
                (&bytes[open + 1..close], &bytes[close + 1..])
            }
            _ => (&bytes[..0], &bytes[..0]),
        };
        let rest = String::from_utf8_lossy(rest);
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first one here is field 3.
        let field = |number: usize| -> u64 {
            let text = fields.get(number - 3).copied().unwrap_or_default();
            number_of(text)
        };
        let (start, end) = (field(48), field(49));
        Stat {
            comm,
            start_time: field(22),
            argv: (start != 0 && start <= end).then(|| end - start),
        }
    }
}

/// `/proc/PID/cmdline`, its first `most` bytes, without what belongs to the environment: where the
/// last argument's end is overwritten the kernel reads on into it.
pub(super) fn command_line(folder: &Folder, stat: &Stat, most: usize) -> Result<Text, String> {
    let mut text = folder
        .read("cmdline", most)
        .map_err(|error| error.to_string())?;
    let Some(length) = stat.argv else {
        if text.bytes.is_empty() {
            return Ok(text);
        }
        return Err("the kernel does not tell where it ends and the environment begins".into());
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    text.bytes.truncate(length);
    text.cut &= length > most;
    Ok(text)
}

fn words(text: &Text) -> impl Iterator<Item = &[u8]> {
    let end = text.bytes.strip_suffix(b"\0").unwrap_or(&text.bytes);
    let any = !text.bytes.is_empty();
    end.split(|byte| *byte == 0).filter(move |_| any)
}

/// Names of the variables. Only what looks like `NAME=` counts: a program that changed its title may
/// have left the rest of some value where an entry seems to begin.
fn names(folder: &Folder, stat: &Stat) -> Result<Vec<String>, String> {
    let most = usize::try_from(stat.argv.unwrap_or(0)).unwrap_or(usize::MAX);
    let line = folder.read("cmdline", most.saturating_add(1).min(FOR_ENVIRONMENT));
    if line.is_ok_and(|line| line.bytes.len() > most) {
        return Err("the program has written over it".into());
    }
    let text = folder
        .read("environ", FOR_ENVIRONMENT)
        .map_err(|error| error.to_string())?;
    let entries = text.bytes.split(|byte| *byte == 0);
    let names = entries.filter_map(name).take(MOST_NAMES);
    Ok(names.collect())
}

fn name(entry: &[u8]) -> Option<String> {
    let end = entry.iter().position(|byte| *byte == b'=')?;
    let name = std::str::from_utf8(&entry[..end]).ok()?;
    let first = name.chars().next()?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    let fits = name.len() <= LONGEST_NAME && !first.is_ascii_digit() && name.chars().all(plain);
    fits.then(|| name.to_owned())
}

/// Columns of /proc/PID/limits: 26 letters of name, 21 of the soft limit, 21 of the hard one.
fn limits(text: &str) -> BTreeMap<String, [String; 2]> {
    let lines = text.lines().skip(1);
    let found = lines.filter_map(|line| {
        let column = |from: usize, to: usize| Some(line.get(from..to)?.trim().to_owned());
        Some((column(0, 26)?, [column(26, 47)?, column(47, 68)?]))
    });
    found.collect()
}

/// The last line of that name: what a process calls itself comes first, escaped by the kernel.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let value = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map_or("", str::trim)
}

fn all(value: &str) -> Vec<u32> {
    let numbers = value.split_ascii_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn number<T: std::str::FromStr + Default>(value: &str) -> T {
    value.parse().unwrap_or_default()
}

fn number_of(value: &str) -> u64 {
    number(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let rest: Vec<String> = (4..=52).map(|field| (field * 100).to_string()).collect();
        let line = format!("7 (a) Z (\n) S {}", rest.join(" "));
        let stat = Stat::parse(line.as_bytes());
        assert_eq!(stat.comm, b"a) Z (\n");
        assert_eq!((stat.start_time, stat.argv), (2200, Some(100)));
        let none = Stat::parse(b"7 (a");
        assert_eq!((none.comm, none.start_time, none.argv), (&b""[..], 0, None));
    }

    #[test]
    fn only_names_are_taken_of_an_environment() {
        for (entry, expected) in [
            (&b"PATH=/bin"[..], Some("PATH")),
            (b"app.kubernetes.io-x=1", Some("app.kubernetes.io-x")),
            (b"EMPTY=", Some("EMPTY")),
            (b"no equals sign", None),
            (b"s3cret/of=some", None),
            (b"line\nBREAK=x", None),
            (b"=x", None),
            (b"9=x", None),
            (b"\xff\xfe=x", None),
            (b"", None),
        ] {
            assert_eq!(name(entry).as_deref(), expected);
        }
    }

    #[test]
    fn limits_are_read_by_their_columns() {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        let limits = limits(&text);
        let (soft, hard) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        let expected = [soft, hard].map(|limit| match limit {
            nix::libc::RLIM_INFINITY => "unlimited".to_owned(),
            limit => limit.to_string(),
        });
        assert_eq!(limits["Max open files"], expected);
        assert_eq!(limits.len(), 16);
    }
}
