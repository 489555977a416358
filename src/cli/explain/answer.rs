//! The answer to one question: the verdict, what each layer says with the line that says it, and the
//! line that would change it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::about;
use super::question::{self, Question};
use crate::access::Access;
use crate::cli::CliError;
use crate::cli::subject::Subject;
use crate::cli::text::{Ink, escape, ink};
use crate::policy::decide::{Answer, Decider, ENGINE, Verdict, engine_fix};

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
            path,
            right,
            entry,
            moved,
            ..
        } => {
            let from = moved.as_ref();
            let from = from.map_or(String::new(), |moved| format!(" from {}", moved.path));
            match entry {
                Some(entry) => format!("{right} {entry} in {path}{from}"),
                None => format!("{right} {path}{from}"),
            }
        }
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
        Question::Path { path, doings } => about::path(subject, decider, path, doings),
        Question::Exec { path } => about::program(subject, decider, path),
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
    if notes.iter().any(|note| note.starts_with(about::NOEXEC)) {
        answer = Some(Answer::Denied);
    }
    Ok(Whole {
        question: title,
        answer: answer.unwrap_or(Answer::Allowed),
        parts,
        notes,
    })
}

impl Whole {
    /// For programs.
    pub fn json(&self, subject: &Subject) -> Value {
        let mut value = json!(self);
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
