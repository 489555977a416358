//! The answer to one question: the verdict, what each layer says with the line that says it, and the
//! line that would change it.

use std::collections::BTreeSet;
use std::io::Read as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::program;
use super::question::{self, Question};
use crate::access::Access;
use crate::cli::CliError;
use crate::cli::subject::Subject;
use crate::cli::text::{Ink, escape, ink};
use crate::oci::patch::Edit;
use crate::policy::decide::{Answer, Decider, ENGINE, Verdict, engine_fix};
use crate::policy::landlock::runnable;
use crate::policy::mounts::beneath;
use crate::policy::noexec;
use crate::seal::aliased;

/// One access, decided.
#[derive(Debug, Serialize)]
pub struct Asked {
    /// In words: `write-file /etc/shadow`.
    pub what: String,
    /// As a journal has it.
    pub access: Access,
    /// What was said.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Lines that would change it, each with whose they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Fix>,
}

/// A line that would allow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// The layer that wants it.
    pub layer: String,
    /// The line.
    pub line: String,
}

/// The whole answer.
#[derive(Debug, Serialize)]
pub struct Whole {
    /// As asked.
    pub question: String,
    /// All of it together.
    pub answer: Answer,
    /// One by one.
    pub parts: Vec<Asked>,
    /// What is no layer's business and matters all the same.
    pub notes: Vec<String>,
}

/// Decides one access.
pub fn ask(decider: &Decider, access: Access) -> Asked {
    let verdict = decider.decide(&access);
    let mut fixes: Vec<Fix> = Vec::new();
    // What depends on an argument has no line before somebody says on which.
    let refusing = verdict.against().filter(|one| one.answer == Answer::Denied);
    for against in refusing {
        let line = match against.layer.as_str() {
            ENGINE => engine_fix(&access),
            name => match decider.layers().iter().find(|layer| layer.name == name) {
                Some(layer) => layer.fix(&access),
                None => continue,
            },
        };
        let fix = Fix {
            layer: against.layer.clone(),
            line,
        };
        if !fixes.contains(&fix) {
            fixes.push(fix);
        }
    }
    Asked {
        what: in_words(&access),
        access,
        verdict,
        fixes,
    }
}

/// An access in words.
pub fn in_words(access: &Access) -> String {
    match access {
        Access::Syscall { name, args } => {
            let args = args
                .iter()
                .map(|a| format!("arg{}={:#x}", a.index, a.value));
            let words: Vec<String> = [name.clone()].into_iter().chain(args).collect();
            words.join(" ")
        }
        Access::File {
            path, right, entry, ..
        } => match entry {
            Some(entry) => format!("{right} {entry} in {path}"),
            None => format!("{right} {path}"),
        },
        Access::Tcp { right, port } => format!("{right} port {port}"),
        Access::Capability { name } => format!("capability {name}"),
        Access::Container { what } => what.clone(),
    }
}

/// Answers a question.
///
/// # Errors
/// The layers refuse this node.
pub fn answer(
    subject: &Subject,
    decider: &Decider,
    question: &Question,
) -> Result<Whole, CliError> {
    let (title, accesses, notes) = match question {
        Question::Syscall { name, args } => {
            let access = question::call(name, args);
            (
                format!("system call {}", in_words(&access)),
                vec![access],
                Vec::new(),
            )
        }
        Question::Path { path, doings } => about_path(subject, decider, path, doings),
        Question::Exec { path } => about_program(subject, decider, path),
        Question::Port { port, rights } => {
            let access = |right: &String| Access::Tcp {
                right: right.clone(),
                port: *port,
            };
            let mut notes = Vec::new();
            if *port == 0 && rights.iter().any(|right| right == "bind") {
                notes.push("0 stands for a port of the kernel's choice".into());
            }
            let title = format!("{} TCP port {port}", rights.join(" and "));
            (title, rights.iter().map(access).collect(), notes)
        }
        Question::Capability { name } => {
            let name = (*name).to_owned();
            (
                format!("capability {name}"),
                vec![Access::Capability { name }],
                Vec::new(),
            )
        }
    };
    let mut seen = BTreeSet::new();
    let accesses = accesses
        .into_iter()
        .filter(|access| seen.insert(access.clone()));
    let parts: Vec<Asked> = accesses.map(|access| ask(decider, access)).collect();
    let mut answer = parts.iter().map(|part| part.verdict.answer).min();
    if notes.iter().any(|note| note.starts_with(NOEXEC)) {
        answer = Some(Answer::Denied);
    }
    Ok(Whole {
        question: title,
        answer: answer.unwrap_or(Answer::Allowed),
        parts,
        notes,
    })
}

type Asking = (String, Vec<Access>, Vec<String>);

fn about_path(subject: &Subject, decider: &Decider, path: &str, doings: &[String]) -> Asking {
    let mut notes = Vec::new();
    let mut folder = path.ends_with('/') || path == "/";
    let bare = match path.trim_end_matches('/') {
        "" => "/",
        bare => bare,
    };
    let real = real(subject, bare, &mut notes);
    if let Some(rootfs) = &subject.rootfs {
        folder |= rootfs.is_folder(&real);
    }
    let accesses = doings
        .iter()
        .flat_map(|doing| question::accesses(decider, &real, doing, folder));
    let accesses: Vec<Access> = accesses.collect();
    let changes = doings.iter().any(|doing| {
        !matches!(
            doing.as_str(),
            "read" | "execute" | "read-file" | "read-dir"
        )
    });
    notes.extend(beside(subject, &real, changes));
    (format!("{} {path}", doings.join(", ")), accesses, notes)
}

/// The real name of a path where the root file system is at hand, else as it is.
fn real(subject: &Subject, path: &str, notes: &mut Vec<String>) -> String {
    if let Some(rootfs) = &subject.rootfs {
        return match rootfs.name(path, true) {
            Some(name) => {
                if name != path {
                    notes.push(format!("{path} is {name} here"));
                }
                name
            }
            None => {
                if !rootfs.is_covered(path) {
                    notes.push(format!("{path} is not in the root file system"));
                }
                path.to_owned()
            }
        };
    }
    if let Some(other) = aliased(std::path::Path::new(path)) {
        notes.push(format!(
            "where the image has a link there, the kernel looks at {0}: ask for {0}",
            other.display()
        ));
    }
    path.to_owned()
}

/// What refuses or hides a path though no layer does.
fn beside(subject: &Subject, path: &str, changes: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let linux = subject.spec.linux().as_ref();
    let under = |engine: Option<&Vec<String>>, own: Vec<&String>| {
        let engine = engine
            .into_iter()
            .flatten()
            .map(|path| (path, "the engine"));
        let own = own.into_iter().map(|path| (path, "a profile"));
        let mut all = engine.chain(own);
        all.find(|(top, _)| beneath(path, top))
            .map(|(top, who)| (top.clone(), who))
    };
    let masked = subject
        .profiles
        .iter()
        .flat_map(|p| &p.masked_paths)
        .collect();
    if let Some((top, who)) = under(linux.and_then(|l| l.masked_paths().as_ref()), masked) {
        notes.push(format!(
            "{top} is masked by {who}: it looks empty, whatever is said above"
        ));
    }
    if !changes {
        return notes;
    }
    let readonly = subject
        .profiles
        .iter()
        .flat_map(|p| &p.readonly_paths)
        .collect();
    if let Some((top, who)) = under(linux.and_then(|l| l.readonly_paths().as_ref()), readonly) {
        notes.push(format!(
            "{top} is read-only by {who}: EROFS, whatever is said above"
        ));
    }
    let mut mounts: Vec<_> = subject
        .mounts
        .iter()
        .filter(|m| beneath(path, &m.destination))
        .collect();
    mounts.sort_by_key(|mount| mount.destination.len());
    let root = subject
        .spec
        .root()
        .as_ref()
        .and_then(|root| root.readonly());
    match mounts.last() {
        Some(mount) if !mount.writable => {
            notes.push(format!(
                "the mount at {} is read-only: EROFS",
                mount.destination
            ));
        }
        None if root == Some(true) => {
            notes.push("the root file system is read-only: EROFS".into());
        }
        _ => {}
    }
    notes
}

/// How a note begins that says no to an execution.
const NOEXEC: &str = "noexec: ";

fn about_program(subject: &Subject, decider: &Decider, path: &str) -> Asking {
    let mut notes = Vec::new();
    let mut accesses = vec![question::call("execve", &[])];
    let mut next = Some(real(subject, path, &mut notes));
    let mut files = Vec::new();
    while let Some(file) = next.take().filter(|_| files.len() < 5) {
        accesses.extend(question::accesses(decider, &file, "execute", false));
        notes.extend(noexec_at(subject, &file));
        let started = subject.rootfs.as_ref().and_then(|rootfs| {
            let mut head = Vec::new();
            let opened = rootfs.read(&file).ok()?;
            opened.take(64 * 1024).read_to_end(&mut head).ok()?;
            program::started_by(&head)
        });
        files.push(file);
        next = started.map(|by| {
            notes.push(format!(
                "{} is started by {}: {}",
                files[files.len() - 1],
                by.path,
                by.what
            ));
            real(subject, &by.path, &mut notes)
        });
    }
    if subject.rootfs.is_none() {
        notes.push(
            "what the file asks for (the interpreter of a script, the dynamic loader of a program) needs the \
             same: `--bundle` or `--container` looks into it"
                .into(),
        );
    }
    notes.push(
        "libraries are mapped, which is reading to Landlock; execveat(2) is a call of its own"
            .into(),
    );
    (format!("execute {path}"), accesses, notes)
}

/// Whether the mount that a file lies on loses execution.
fn noexec_at(subject: &Subject, file: &str) -> Option<String> {
    let rules: Vec<_> = subject
        .profiles
        .iter()
        .filter_map(|profile| runnable(profile, &subject.spec, &subject.mounts))
        .collect();
    let edits = noexec::edits(&subject.spec, &subject.host, &subject.mounts, &rules);
    let made: Vec<&str> = edits
        .iter()
        .filter_map(|edit| {
            let Edit::Set { pointer, .. } = edit else {
                return None;
            };
            let pointer = pointer.strip_prefix("/mounts/")?;
            let at: usize = pointer.split('/').next()?.parse().ok()?;
            Some(subject.mounts.get(at)?.destination.as_str())
        })
        .collect();
    let mut mounts: Vec<_> = subject
        .mounts
        .iter()
        .filter(|m| beneath(file, &m.destination))
        .collect();
    mounts.sort_by_key(|mount| mount.destination.len());
    let on = mounts.last()?;
    let made = made.contains(&on.destination.as_str());
    made.then(|| {
        format!(
            "{NOEXEC}the mount at {} gets it, because no list of `files` grants execution there",
            on.destination
        )
    })
}

impl Whole {
    /// For programs.
    pub fn json(&self, subject: &Subject) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value["profiles"] = json!(subject.profiles.iter().map(|p| &p.name).collect::<Vec<_>>());
        value["over"] = json!(subject.about);
        value["landlock_abi"] = json!(subject.host.landlock_abi);
        value["warnings"] = json!(subject.warnings);
        value
    }

    /// For people.
    pub fn page(&self, subject: &Subject) -> String {
        let title = format!("{}: {}: ", escape(&subject.title()), escape(&self.question));
        let mut text = format!("{title}{}\n", word(self.answer));
        for part in &self.parts {
            text += &part.page(self.parts.len() > 1);
        }
        let mut seen: Vec<&Fix> = Vec::new();
        for fix in self.parts.iter().flat_map(|part| &part.fixes) {
            if !seen.contains(&fix) {
                seen.push(fix);
            }
        }
        for fix in seen {
            text += &format!("\nfix for {}: {}\n", escape(&fix.layer), escape(&fix.line));
        }
        for note in &self.notes {
            text += &format!("\nnote: {}", escape(note));
        }
        let over = &subject.about;
        text += &format!(
            "\nover: {}, Landlock ABI {}\n",
            escape(over),
            subject.host.landlock_abi
        );
        text
    }
}

impl Asked {
    fn page(&self, several: bool) -> String {
        let mut text = String::new();
        if several {
            text += &format!("\n{}: {}\n", escape(&self.what), word(self.verdict.answer));
        }
        for said in &self.verdict.contributions {
            text += &format!(
                "  {:<8} {}: {}\n",
                plain(said.answer),
                escape(&said.layer),
                escape(&said.reason)
            );
            if let Some(by) = &said.written {
                let place = match by.origin.is_known() {
                    true => format!("{}:{}: ", by.origin.file(), by.origin.line()),
                    false => String::new(),
                };
                let why = by
                    .origin
                    .why()
                    .map_or_else(String::new, |why| format!("  # {why}"));
                text += &format!(
                    "           {}{}{}\n",
                    escape(&place),
                    escape(&by.text),
                    escape(&why)
                );
            }
        }
        text
    }
}

/// An answer as a word.
pub fn plain(answer: Answer) -> &'static str {
    match answer {
        Answer::Allowed => "allowed",
        Answer::Denied => "denied",
        Answer::Depends => "depends",
    }
}

fn word(answer: Answer) -> String {
    let colour = match answer {
        Answer::Allowed => Ink::Good,
        Answer::Denied => Ink::Bad,
        Answer::Depends => Ink::Odd,
    };
    ink(&plain(answer).to_uppercase(), colour)
}
