//! `mantlet completions`: what a shell needs to complete this command, made from its own definition.
//!
//! Where a profile is named, the built-in ones are offered, and files all the same: clap has no word for that, so
//! two shells' scripts are mended here. A site's own names are not offered, because the script is written before
//! anybody is asked; neither does clap complete values for elvish and PowerShell.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap_complete::Shell;

use super::explain::QUESTIONS;
use super::{CliError, pages};
use crate::profile::BUILT_IN;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// What a person writes for a profile: anything, and completions offer the built-in names.
#[derive(Debug, Clone)]
pub struct ProfileName {
    /// Words that are offered besides.
    more: &'static [&'static str],
}

/// The name or the file of a profile.
pub const PROFILE: ProfileName = ProfileName { more: &[] };

/// The same, or the first word of a question.
pub const PROFILE_OR_QUESTION: ProfileName = ProfileName { more: &QUESTIONS };

impl TypedValueParser for ProfileName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words = BUILT_IN.iter().chain(self.more);
        Some(Box::new(words.map(PossibleValue::new)))
    }
}

/// Prints the shell's own script.
pub fn completions(args: &Args) -> Result<ExitCode, CliError> {
    // Into memory first: the generator does not survive a reader that goes away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut pages::command(), "mantlet", &mut script);
    let script = String::from_utf8(script).expect("clap writes text");
    let script = match args.shell {
        Shell::Zsh => with_files_zsh(&script),
        Shell::Fish => with_files_fish(&script),
        // bash takes a file where no word fits.
        _ => script,
    };
    let mut out = io::stdout().lock();
    out.write_all(script.as_bytes())?;
    Ok(out.flush().map(|()| ExitCode::SUCCESS)?)
}

/// A list of words is all that zsh would offer: it becomes one of alternatives.
fn with_files_zsh(script: &str) -> String {
    let (names, questions) = (BUILT_IN.join(" "), QUESTIONS.join(" "));
    let functions = format!(
        "#compdef mantlet\n\n\
         _mantlet_profile() {{\n    \
             _alternative 'profiles:profile:({names})' 'files:file:_files'\n\
         }}\n\n\
         _mantlet_profile_or_question() {{\n    \
             _alternative 'profiles:profile:({names})' 'questions:question:({questions})' 'files:file:_files'\n\
         }}\n"
    );
    script
        .replace(&format!(":({names})'"), ":_mantlet_profile'")
        .replace(
            &format!(":({names} {questions})'"),
            ":_mantlet_profile_or_question'",
        )
        .replacen("#compdef mantlet\n", &functions, 1)
}

/// fish is told of no file beside a list (`-f`), and of nothing at all where there is no flag.
fn with_files_fish(script: &str) -> String {
    let first = BUILT_IN[0];
    let mut script = script.replace(
        &format!(" -r -f -a \"{first}\\t"),
        &format!(" -r -F -a \"{first}\\t"),
    );
    let mut whole = pages::command();
    whole.build();
    for (verb, command) in pages::verbs(&whole) {
        let words = command
            .get_positionals()
            .map(clap::Arg::get_possible_values);
        let Some(words) = words
            .into_iter()
            .find(|words| words.first().is_some_and(|word| word.get_name() == first))
        else {
            continue;
        };
        let words: Vec<&str> = words.iter().map(PossibleValue::get_name).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            script,
            "complete -c mantlet -n \"__fish_mantlet_using_subcommand {verb}\" -a \"{}\"",
            words.join(" ")
        );
    }
    script
}
