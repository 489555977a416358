//! A profile's expectations, one by one.

use serde::Serialize;

use crate::cli::CliError;
use crate::cli::explain::{Question, Whole, answer, plain};
use crate::cli::subject::Subject;
use crate::cli::text::{Ink, escape, ink};
use crate::policy::decide::{Answer, Decider};
use crate::profile::{Deed, Expectation, FileAccess, Outcome};

/// How one came out.
#[derive(Debug, Serialize)]
pub struct Tested {
    /// What was tried.
    pub what: String,
    /// The file that it is written in.
    pub file: String,
    /// Its line.
    pub line: u32,
    /// The author's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `allowed` or `denied`.
    pub expected: &'static str,
    /// As expected.
    pub passed: bool,
    /// What was found, with each layer's part.
    pub found: Whole,
}

/// Tries one.
///
/// # Errors
/// As [`answer`].
pub fn run(subject: &Subject, decider: &Decider, test: &Expectation) -> Result<Tested, CliError> {
    let found = answer(subject, decider, &question(&test.deed))?;
    let (expected, wanted) = match test.expect {
        Outcome::Allowed => ("allowed", Answer::Allowed),
        Outcome::Denied => ("denied", Answer::Denied),
    };
    Ok(Tested {
        what: found.question.clone(),
        file: test.origin.file().to_owned(),
        line: test.origin.line(),
        why: test.origin.why().map(str::to_owned),
        expected,
        passed: found.answer == wanted,
        found,
    })
}

fn question(deed: &Deed) -> Question {
    let one = |right: &str| vec![right.to_owned()];
    match deed {
        Deed::Syscall { name, args } => Question::Syscall {
            name: name.clone(),
            args: args.iter().flatten().map(|value| Some(*value)).collect(),
        },
        Deed::File { path, access } => Question::Path {
            path: path.clone(),
            doings: access
                .iter()
                .map(|access| doing(*access).to_owned())
                .collect(),
        },
        Deed::Exec { path } => Question::Exec { path: path.clone() },
        Deed::Bind { port } => Question::Port {
            port: *port,
            rights: one("bind"),
        },
        Deed::Connect { port } => Question::Port {
            port: *port,
            rights: one("connect"),
        },
        Deed::Capability { name } => Question::Capability { name },
    }
}

fn doing(access: FileAccess) -> &'static str {
    match access {
        FileAccess::Read => "read",
        FileAccess::Write => "write",
        FileAccess::Execute => "execute",
        FileAccess::Create => "create",
        FileAccess::Delete => "delete",
    }
}

/// For people, as cargo does it.
pub fn page(subject: &Subject, results: &[Tested]) -> String {
    let failures: Vec<&Tested> = results.iter().filter(|result| !result.passed).collect();
    let plural = if results.len() == 1 { "" } else { "s" };
    let mut page = format!(
        "running {} test{plural} of {}\n",
        results.len(),
        escape(&subject.title())
    );
    for result in results {
        let outcome = match result.passed {
            true => ink("ok", Ink::Good),
            false => ink("FAILED", Ink::Bad),
        };
        page += &format!("{}: {} ... {outcome}\n", result.place(), result.said());
    }
    if !failures.is_empty() {
        page += "\nfailures:\n";
    }
    for result in &failures {
        page += &format!(
            "\n{}: expected {}, and it is {}\n",
            result.place(),
            result.expected,
            match result.found.answer {
                Answer::Depends => "decided by what the test does not say",
                answer => plain(answer),
            }
        );
        if let Some(why) = &result.why {
            page += &format!("why it was expected: {}\n", escape(why));
        }
        page += &result.found.page(subject);
    }
    let outcome = match failures.is_empty() {
        true => ink("ok", Ink::Good),
        false => ink("FAILED", Ink::Bad),
    };
    let passed = results.len() - failures.len();
    page + &format!(
        "\ntest result: {outcome}. {passed} passed; {} failed\n",
        failures.len()
    )
}

impl Tested {
    fn place(&self) -> String {
        format!("{}:{}", escape(&self.file), self.line)
    }

    fn said(&self) -> String {
        format!("{} is {}", escape(&self.what), self.expected)
    }
}
