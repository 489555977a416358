//! What each verb's page holds, and that all of it is true of the flags.

use super::*;
use crate::cli::explain;

const README: &str = include_str!("../README.md");

/// Verbs whose output is another form by itself, and no text for people.
const OTHER_FORM: [&str; 3] = ["schema", "completions", "man"];

fn whole() -> Command {
    let mut whole = command();
    whole.build();
    whole
}

#[test]
fn every_verb_says_what_it_does_how_it_is_used_and_what_its_codes_mean() {
    for (name, verb) in verbs(&whole()) {
        assert!(verb.get_about().is_some(), "{name} has no description");
        let page = page(&name).unwrap_or_else(|| panic!("{name} has no page in PAGES"));
        assert!(
            !page.examples.is_empty() && !page.exits.is_empty(),
            "{name}"
        );
        let text = verb.clone().render_help().to_string();
        assert!(
            text.matches("Exit codes").count() == 1 && text.contains("Examples:"),
            "{name}"
        );
        for arg in verb.get_arguments() {
            assert!(
                arg.get_help().is_some(),
                "{name}: {} has no help",
                arg.get_id()
            );
        }
    }
}

#[test]
fn every_verb_has_a_row_in_the_readme_and_json_for_programs() {
    for (name, verb) in verbs(&whole()) {
        let row = README.lines().find(|line| {
            let cell = line.strip_prefix(&format!("| `{name}"));
            cell.is_some_and(|rest| rest.starts_with([' ', '`']))
        });
        assert!(row.is_some(), "src/cli/README.md has no row of {name}");
        let mut arguments = verb.get_arguments();
        let speaks =
            |arg: &clap::Arg| arg.get_long() == Some("json") || arg.get_long() == Some("format");
        assert!(
            arguments.any(speaks) || OTHER_FORM.contains(&name.as_str()),
            "{name} has no --json"
        );
    }
}

#[test]
fn every_example_is_a_command_line_and_every_page_a_verb() {
    let whole = whole();
    let known = verbs(&whole);
    for page in PAGES {
        assert!(
            known.iter().any(|(name, _)| name == page.verb),
            "{}",
            page.verb
        );
        for (line, _) in page.examples {
            let line = line.split([';', '|', '>']).next().unwrap_or_default();
            let words = line.split_whitespace().filter(|word| !word.is_empty());
            let parsed = command().try_get_matches_from(words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            assert!(
                line.starts_with(&format!("mantlet {}", page.verb)),
                "{line}"
            );
        }
    }
}

#[test]
fn the_whole_definition_is_sound() {
    command().debug_assert();
}

/// What clap's own `after_help` says is lost where a verb has a page.
#[test]
fn no_verb_with_a_page_has_a_text_that_nobody_sees() {
    let mut whole = Cli::command();
    whole.build();
    for (name, verb) in verbs(&whole) {
        assert!(verb.get_after_help().is_none(), "{name}: write it in PAGES");
    }
}

#[test]
fn help_names_what_errors_send_people_there_for() {
    let whole = whole();
    let help = |name: &str| {
        let verb = verbs(&whole).into_iter().find(|(verb, _)| verb == name);
        verb.unwrap().1.clone().render_help().to_string()
    };
    let explain = help("explain");
    for word in explain::QUESTIONS {
        assert!(explain.contains(&format!("\n  {word} ")), "{word}");
    }
    for word in [
        "read, write, execute, create, delete",
        "bind|connect",
        "@GROUP",
        " _ ",
    ] {
        assert!(explain.contains(word), "{word}");
    }
    let diff = help("diff");
    for word in ["container:ID", "\n  - LINE", "\n  + LINE"] {
        assert!(diff.contains(word), "{word}");
    }
    let test = help("test");
    for word in ["\n  tests:", "\n  --tests FILE", "\n  --replay JOURNAL"] {
        assert!(test.contains(word), "{word}");
    }
    let mut sent = 0;
    for text in include_str!("../mod.rs").split("see `mantlet ").skip(1) {
        let (verb, _) = text.split_once(" --help`").expect("the verb, then --help");
        let page = page(verb).unwrap_or_else(|| panic!("{verb} has no page"));
        assert!(page.words.is_some(), "{verb} explains nothing");
        sent += 1;
    }
    assert!(sent > 1);
}

/// Pages on which commands stand.
const PROSE: [(&str, &str); 4] = [
    ("README.md", include_str!("../../../README.md")),
    ("src/cli/README.md", README),
    (
        "profiles/README.md",
        include_str!("../../../profiles/README.md"),
    ),
    (
        "profiles/LEARNING.md",
        include_str!("../../../profiles/LEARNING.md"),
    ),
];

/// What stands for something on a page, and what may be typed there.
const PLACEHOLDERS: [(&str, &str); 3] = [("VERB", "try"), ("…", ""), ("\\|", "|")];

/// Command lines in prose and in blocks: code that begins with the command's name.
fn commands(text: &str) -> Vec<String> {
    let mut fence = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            fence = match fence {
                None => Some(kind),
                Some(_) => None,
            };
        } else if let Some(kind) = fence {
            let shell = kind.split(' ').next() == Some("sh");
            found.extend((shell && line.starts_with("mantlet ")).then(|| line.to_owned()));
        } else {
            let code = line.split('`').skip(1).step_by(2);
            // A message of the front door's begins so as well.
            let typed =
                |code: &&str| code.starts_with("mantlet ") && !code.starts_with("mantlet has ");
            found.extend(code.filter(typed).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_command_of_the_documentation_is_a_command_line() {
    let mut seen = 0;
    for (page, text) in PROSE {
        for command in commands(text) {
            let mut line = command.clone();
            for (placeholder, typed) in PLACEHOLDERS {
                line = line.replace(placeholder, typed);
            }
            // What may be left out is.
            while let (Some(from), Some(to)) = (line.find('['), line.find(']')) {
                line.replace_range(from..=to, "");
            }
            let line = line.split([';', '|', '>']).next().unwrap_or_default();
            let words = line.split_whitespace().map(|word| word.trim_matches('\''));
            let parsed = super::command().try_get_matches_from(words);
            use clap::error::ErrorKind::{
                DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument,
            };
            // A verb's name stands for the verb, whatever else it wants.
            let part = |error: &clap::Error| {
                matches!(
                    error.kind(),
                    DisplayHelp
                        | DisplayHelpOnMissingArgumentOrSubcommand
                        | MissingRequiredArgument
                )
            };
            if let Some(error) = parsed.err().filter(|error| !part(error)) {
                panic!("{page}: `{command}`: {error}");
            }
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} commands");
}
