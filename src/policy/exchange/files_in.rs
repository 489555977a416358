//! A Landlock ruleset as `files`, `network` and `scope`.
//!
//! A profile's lists are sets of rights, so a path gets the widest list that grants no right which the
//! ruleset withholds there: one that it names on the path or above it, or does not handle at all. What is
//! left over is said in a comment. A ruleset says nothing of calls, and a profile without calls is none:
//! those of `baseline` are written out.

use std::collections::BTreeMap;

use landlock::{AccessFs, AccessNet, BitFlags, Scope};

use super::landlockconfig::{Config, FILES};
use super::{Error, Imported, yaml};
use crate::policy::landlock::rights;
use crate::policy::mounts::beneath;
use crate::profile::{self, Profile};

/// Makes a profile called `name` of a ruleset.
///
/// # Errors
///
/// [`Error::Name`], [`Error::Broken`].
pub fn import_files(file: &str, name: &str, config: &Config) -> Result<Imported, Error> {
    let name = super::name(name)?;
    let mut lists = Lists::of(config);
    lists.sort();
    let mut out = yaml::comment(
        0,
        &format!("Made by `mantlet import` from {file}, a Landlock ruleset."),
    );
    out += "#\n";
    out += &yaml::comment(
        0,
        "It says nothing of system calls and capabilities: here they are those of `baseline`, and none. \
         Missing paths are passed over, as there; symbolic links are not followed: name what they lead to. \
         On a node that cannot enforce all of it, no container is created (`requires.degrade`).",
    );
    for note in &lists.notes {
        out += &yaml::comment(0, &format!("* {note}"));
    }
    out += &format!(
        "version: 1\nname: {}\ndescription: {}\n\ncapabilities: []\n\n{}",
        yaml::quoted(name),
        yaml::quoted(&format!("imported from {}", yaml::plain(file))),
        calls()
    );
    out += &lists.files();
    out += &network(config);
    let scopes = [
        ("signal", Scope::Signal),
        ("abstract-unix-socket", Scope::AbstractUnixSocket),
    ];
    let scopes: Vec<&str> = scopes
        .iter()
        .filter(|(_, bit)| config.scoped.contains(*bit))
        .map(|(word, _)| *word)
        .collect();
    out += &format!("\nscope: [{}]\n", scopes.join(", "));
    match Profile::parse(name, &out) {
        Ok(_) => Ok(Imported {
            text: out,
            notes: lists.notes,
        }),
        Err(error) => Err(Error::Broken {
            file: file.into(),
            cause: error.to_string(),
        }),
    }
}

/// The part of `baseline` that is about calls, with its comments.
fn calls() -> String {
    let text = profile::embedded("baseline").unwrap_or_default();
    let lines = text.lines().skip_while(|line| *line != "syscalls:");
    let first = lines.clone().take(1);
    let more = lines
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with(' '));
    let block: Vec<&str> = first.chain(more).collect();
    block.join("\n").trim_end().to_owned() + "\n"
}

fn network(config: &Config) -> String {
    let mut out = String::new();
    for (key, right) in [
        ("bind_tcp", AccessNet::BindTcp),
        ("connect_tcp", AccessNet::ConnectTcp),
    ] {
        if !config.handled_net.contains(right) {
            continue;
        }
        let ports = config
            .ports
            .iter()
            .filter(|(_, rights)| rights.contains(right));
        let ports: Vec<String> = ports.map(|(port, _)| port.to_string()).collect();
        if out.is_empty() {
            out = "\nnetwork:\n".into();
        }
        out += &format!("  {key}: [{}]\n", ports.join(", "));
    }
    out
}

/// Paths by list.
struct Lists {
    handled: bool,
    /// List and path.
    entries: Vec<(usize, String)>,
    notes: Vec<String>,
}

/// Rights whose absence from a ruleset is no freedom: the kernel denies moving files between directories
/// unless it is handled and allowed.
const NEVER_FREE: AccessFs = AccessFs::Refer;

impl Lists {
    fn of(config: &Config) -> Lists {
        let mut lists = Lists {
            handled: !config.handled_fs.is_empty(),
            entries: Vec::new(),
            notes: Vec::new(),
        };
        if !lists.handled {
            lists.notes.push(
                "it handles no right on files, so that files are not restricted: no `files` here"
                    .into(),
            );
            return lists;
        }
        let free = BitFlags::<AccessFs>::all() & !config.handled_fs & !NEVER_FREE;
        let mut granted: BTreeMap<&str, BitFlags<AccessFs>> = BTreeMap::new();
        // 1. What it does not handle is free everywhere.
        let everywhere = config.paths.get("/").copied().unwrap_or_default();
        let chosen = lists.grant("/", free | everywhere, free | everywhere);
        granted.insert("/", chosen);
        let quiet = AccessFs::ResolveUnix | AccessFs::Refer;
        lists.left(
            "free there, for lack of a word denied here but where a list grants it",
            "/",
            free & !chosen & !quiet,
        );
        let mut left: BTreeMap<u64, (BitFlags<AccessFs>, Vec<&str>)> = BTreeMap::new();
        let mut note_left = |path, rights: BitFlags<AccessFs>| {
            if !rights.is_empty() {
                left.entry(rights.bits())
                    .or_insert((rights, Vec::new()))
                    .1
                    .push(path);
            }
        };
        note_left("/", everywhere & !chosen);
        // 2. Each path, those above it first: a BTreeMap's order.
        for (path, own) in config.paths.iter().filter(|(path, _)| *path != "/") {
            if path.contains('*') || path.starts_with("/proc/") {
                lists
                    .notes
                    .push(format!("left out, because no profile can name it: {path}"));
                continue;
            }
            let above = config
                .paths
                .iter()
                .filter(|(other, _)| beneath(path, other));
            let all = above.fold(free, |all, (_, rights)| all | *rights);
            let before = granted.iter().filter(|(other, _)| beneath(path, other));
            let before = before.fold(BitFlags::EMPTY, |all, (_, rights)| all | *rights);
            let chosen = lists.grant(path, all, *own & !before);
            granted.insert(path, chosen);
            note_left(path, *own & !chosen & !before);
        }
        for (_, (rights, paths)) in left {
            lists.left("for lack of a word, not granted", &paths.join(" "), rights);
        }
        lists
    }

    /// Puts `path` on the widest lists within `all` that give any of `wanted`, and says what they give.
    fn grant(
        &mut self,
        path: &str,
        all: BitFlags<AccessFs>,
        wanted: BitFlags<AccessFs>,
    ) -> BitFlags<AccessFs> {
        let mut given = BitFlags::EMPTY;
        for at in WIDEST {
            let (_, rights) = rights()[at];
            let gives = rights & wanted & !given & !AccessFs::Refer;
            if all.contains(rights) && !gives.is_empty() {
                self.entries.push((at, path.to_owned()));
                given |= rights;
            }
        }
        given
    }

    fn left(&mut self, what: &str, paths: &str, rights: BitFlags<AccessFs>) {
        let words: Vec<&str> = FILES
            .iter()
            .filter(|(_, right)| rights.contains(*right))
            .map(|(name, _)| *name)
            .collect();
        if !words.is_empty() {
            self.notes
                .push(format!("{what}: {} on {paths}", words.join(", ")));
        }
    }

    fn sort(&mut self) {
        self.entries.sort();
    }

    fn files(&self) -> String {
        if !self.handled {
            return String::new();
        }
        if self.entries.is_empty() {
            return "\nfiles: {}\n".into();
        }
        let mut out = String::from("\nfiles:\n");
        for (at, (list, _)) in rights().into_iter().enumerate() {
            let entries = self.entries.iter().filter(|(own, _)| *own == at);
            let lines: Vec<String> = entries
                .map(|(_, path)| match path.as_str() {
                    "/" => "    - \"/\"\n".to_owned(),
                    path => format!("    - {{path: {}, optional: true}}\n", yaml::quoted(path)),
                })
                .collect();
            if !lines.is_empty() {
                out += &format!("  {list}:\n{}", lines.concat());
            }
        }
        out
    }
}

/// The lists from the widest on: read_write_execute, read_write, read_execute, read, execute, device_ioctl,
/// make_device, as [`rights`] has them.
const WIDEST: [usize; 7] = [3, 2, 1, 0, 4, 5, 6];
