//! `mantlet explain`: what a profile comes to, or what it says to one thing and why.

mod about;
mod answer;
mod group;
mod page;
mod question;
mod sections;

use std::io::{self, Write};
use std::process::ExitCode;

use super::completions::{PROFILE, PROFILE_OR_QUESTION};
use super::subject::{Over, Subject};
use super::{CliError, print_json, warn};
use crate::config::Config;
use crate::policy::decide::Answer;

pub use answer::{Fix, Whole, answer, ask, in_words, plain};
pub use question::{Question, WORDS as QUESTIONS};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A profile's name, or a file; A+B for layers, outermost first; then a question
    #[arg(
        value_name = "PROFILE|@GROUP [QUESTION]",
        value_parser = PROFILE_OR_QUESTION,
        hide_possible_values = true,
        required_unless_present = "container"
    )]
    words: Vec<String>,
    /// One layer more, inside of PROFILE; may be repeated
    #[arg(long, value_name = "PROFILE", value_parser = PROFILE, hide_possible_values = true)]
    layer: Vec<String>,
    #[command(flatten)]
    over: Over,
    /// End with 1 where the answer is not `allowed`
    #[arg(long)]
    pub(super) exit_code: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Explains.
pub fn explain(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    if let [word] = &args.words[..]
        && let Some(name) = word.strip_prefix('@')
    {
        return group::group(name, args.json);
    }
    let mut words = &args.words[..];
    let mut layers: Vec<&str> = Vec::new();
    // With a container, a question may stand alone.
    let asks = |word: &String| question::WORDS.contains(&word.as_str());
    let alone = args.over.container.is_some() && words.first().is_none_or(asks);
    if !alone && let Some((first, rest)) = words.split_first() {
        layers.push(first);
        words = rest;
    }
    layers.extend(args.layer.iter().map(String::as_str));
    let question = Question::parse(words)?;
    let subject = Subject::of(&layers, &args.over, config)?;
    subject.warnings.iter().for_each(|warning| warn(warning));
    let (decider, composed) = subject.decider()?;
    let mut out = io::stdout().lock();
    let Some(question) = question else {
        let page = page::Page::of(&subject, &decider, &composed);
        if args.json {
            print_json(&page.json())?;
        } else {
            out.write_all(page.text().as_bytes())?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let whole = answer::answer(&subject, &decider, &question)?;
    if args.json {
        print_json(&whole.json(&subject))?;
    } else {
        out.write_all(whole.page(&subject).as_bytes())?;
    }
    let allowed = whole.answer == Answer::Allowed;
    Ok(ExitCode::from(u8::from(args.exit_code && !allowed)))
}
