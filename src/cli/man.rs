//! `mantlet man`: the manual's pages, made from the same definition as the flags themselves.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{CliError, pages, version};

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The verb whose page it is, such as `try` or `learn merge` [default: the page of mantlet itself]
    #[arg(value_name = "VERB", conflicts_with = "output")]
    verb: Vec<String>,
    /// Write all pages into this folder, mantlet.1 and mantlet-VERB.1
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    output: Option<PathBuf>,
}

/// Prints a page as man(1) reads it, or writes all.
pub fn man(args: &Args) -> Result<ExitCode, CliError> {
    let mut whole = pages::command().disable_help_subcommand(true);
    whole.build();
    if let Some(folder) = &args.output {
        let verbs = pages::verbs(&whole).into_iter();
        for (path, command) in std::iter::once((String::new(), &whole)).chain(verbs) {
            let name = format!("{}.1", name(command));
            let file = folder.join(name);
            fs::write(&file, render(command, &path, &whole)?)
                .map_err(|source| CliError::Page { path: file, source })?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let path = args.verb.join(" ");
    let command = match path.as_str() {
        "" => Some(&whole),
        _ => pages::verbs(&whole)
            .into_iter()
            .find_map(|(known, command)| (known == path).then_some(command)),
    };
    let command = command.ok_or_else(|| CliError::NoVerb { verb: path.clone() })?;
    let mut out = io::stdout().lock();
    out.write_all(&render(command, &path, &whole)?)?;
    Ok(out.flush().map(|()| ExitCode::SUCCESS)?)
}

/// `mantlet`, `mantlet-try`: what the page is called.
fn name(command: &Command) -> String {
    command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned()
}

/// The page of a command that is typed so.
fn render(command: &Command, path: &str, whole: &Command) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let man = Man::new(command.clone())
        .title(name(command))
        .source(format!("mantlet {}", version::VERSION))
        .manual("mantlet");
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    let mut rest = Roff::default();
    if command.get_subcommands().next().is_some() {
        rest.control("SH", ["VERBS"]);
        for verb in command.get_subcommands() {
            rest.control("TP", []);
            rest.text([bold(format!("{}(1)", name(verb)))]);
            let about = verb.get_about().map(ToString::to_string);
            rest.text([roman(about.unwrap_or_default())]);
        }
    }
    let page = pages::page(path);
    if let Some(words) = page.and_then(|page| page.words.as_ref()) {
        rest.control("SH", [words.title.to_uppercase().as_str()]);
        for (word, what) in words.list {
            rest.control("TP", []);
            rest.text([bold(*word)]);
            rest.text([roman(*what)]);
        }
    }
    let codes = page.map_or_else(
        || {
            let [done, usage] = pages::ALWAYS;
            vec![
                done,
                ("1", "failure, or something found that needs attention"),
                usage,
            ]
        },
        pages::exits,
    );
    rest.control("SH", ["EXIT STATUS"]);
    for (code, what) in codes {
        rest.control("TP", []);
        rest.text([bold(code)]);
        rest.text([roman(what)]);
    }
    if let Some(page) = page {
        rest.control("SH", ["EXAMPLES"]);
        for (line, what) in page.examples {
            rest.control("TP", []);
            rest.text([bold(*line)]);
            rest.text([roman(*what)]);
        }
    }
    rest.control("SH", ["ENVIRONMENT"]);
    for (variable, what) in [
        (
            "MANTLET_CONFIG",
            "names another file than /etc/mantlet/config.yaml.",
        ),
        (
            "NO_COLOR",
            "where it is not empty, nothing is coloured unless --color says so.",
        ),
    ] {
        rest.control("TP", []);
        rest.text([bold(variable)]);
        rest.text([roman(what)]);
    }
    rest.control("SH", ["FILES"]);
    rest.control("TP", []);
    rest.text([bold("/etc/mantlet/config.yaml")]);
    rest.text([roman("the node's configuration.")]);
    rest.control("TP", []);
    rest.text([bold("/etc/mantlet/profiles")]);
    rest.text([roman(
        "the site's profiles, NAME.yaml; they win over built-in ones.",
    )]);
    rest.control("SH", ["SEE ALSO"]);
    let verbs = pages::verbs(whole).into_iter().map(|(_, verb)| verb);
    let mut others: Vec<String> = std::iter::once(whole)
        .chain(verbs)
        .map(name)
        .filter(|other| *other != name(command))
        .collect();
    others.sort();
    let others: Vec<String> = others.iter().map(|other| format!("{other}(1)")).collect();
    rest.text([roman(others.join(", "))]);
    rest.to_writer(&mut out)?;
    Ok(out)
}
