//! The reference of each verb besides its flags: examples and exit codes. One table, from which `--help`, the
//! manual's pages and the tests are made.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};

use super::Cli;

/// A verb's examples and exit codes.
#[derive(Debug)]
pub struct Page {
    /// The verb, as it is typed: `learn merge`.
    pub verb: &'static str,
    /// Command lines, each with what it is for.
    pub examples: &'static [(&'static str, &'static str)],
    /// Exit codes but 0 and 2, each with what it means.
    pub exits: &'static [(&'static str, &'static str)],
}

/// What every verb may answer.
pub const ALWAYS: [(&str, &str); 2] = [
    ("0", "it was done, and nothing needs attention"),
    ("2", "wrong usage"),
];

const LEARNED: [(&str, &str); 1] = [(
    "1",
    "nothing could be learned; FILE is there; nobody read what was printed; or the profile only audits: events \
     were lost, a recording is cut off, io_uring was used, or something was done that no profile allows, such as a \
     call of another architecture",
)];

const PAGES: &[Page] = &[
    Page {
        verb: "try",
        examples: &[
            (
                "mantlet try restricted -- id",
                "id(1), under a profile that is built in",
            ),
            (
                "mantlet try ./web.yaml --user www-data --rw /var/log/web -- web --serve",
                "a server of this machine, under a profile that is being written",
            ),
            (
                "mantlet try baseline+./web.yaml --rootfs ./image -- /bin/web",
                "two profiles as layers, on the files of an image",
            ),
            (
                "mantlet try web --audit --bundle ./bundle",
                "what a bundle would be denied",
            ),
        ],
        exits: &[
            ("N", "CMD's own"),
            ("124", "CMD was out of time"),
            (
                "125",
                "mantlet could not run it: a profile is wrong, or refuses it",
            ),
            ("126", "CMD cannot be executed"),
            ("127", "there is no CMD"),
            ("128 + N", "signal N ended CMD"),
        ],
    },
    Page {
        verb: "ps",
        examples: &[
            ("mantlet ps", "what runs, and what needs somebody"),
            (
                "mantlet ps --json | jq '.[].alarms'",
                "the same for a program",
            ),
        ],
        exits: &[("1", "a record cannot be read")],
    },
    Page {
        verb: "tree",
        examples: &[
            ("mantlet tree", "processes of all containers"),
            (
                "mantlet tree 3f2a --history",
                "of one, with those that have ended",
            ),
        ],
        exits: &[("1", "a container's supervisor cannot be asked")],
    },
    Page {
        verb: "events",
        examples: &[
            ("mantlet events -f", "what happens, as it happens"),
            (
                "mantlet events 3f2a --type tripwire --since 1h",
                "what one container was denied lately",
            ),
            (
                "mantlet events --severity warning --json",
                "detections, for a program",
            ),
        ],
        exits: &[(
            "1",
            "a journal has a gap or a broken line, or there are no events of that container",
        )],
    },
    Page {
        verb: "inspect",
        examples: &[(
            "mantlet inspect 3f2a",
            "what is in force on one container, and why",
        )],
        exits: &[(
            "1",
            "there is no such container, or its record cannot be read",
        )],
    },
    Page {
        verb: "doctor",
        examples: &[(
            "mantlet doctor",
            "what this node can enforce, and what to do about the rest",
        )],
        exits: &[("1", "the node cannot enforce as promised")],
    },
    Page {
        verb: "freeze",
        examples: &[
            ("mantlet freeze 3f2a", "until somebody thaws it"),
            (
                "mantlet freeze 3f2a --evidence --for 10m --then kill",
                "for somebody to look, and then to be ended",
            ),
        ],
        exits: &[("1", "it was not done")],
    },
    Page {
        verb: "thaw",
        examples: &[("mantlet thaw 3f2a", "whoever froze it")],
        exits: &[("1", "it was not done")],
    },
    Page {
        verb: "kill",
        examples: &[("mantlet kill 3f2a", "every process of it, at once")],
        exits: &[("1", "it was not done")],
    },
    Page {
        verb: "evidence",
        examples: &[
            ("mantlet evidence 3f2a -o case.tar", "of a container now"),
            ("mantlet evidence --list", "what was collected"),
        ],
        exits: &[(
            "1",
            "it was not done, the file is there, or the folder cannot be read",
        )],
    },
    Page {
        verb: "learn",
        examples: &[
            (
                "mantlet learn -o web.yaml -- nginx -g 'daemon off;'",
                "a profile of a program that is run and recorded here",
            ),
            (
                "mantlet learn --from 3f2a --save monday.json -o web.yaml",
                "one of a recorded container, whose recording is kept, to be learned from with others",
            ),
        ],
        exits: &LEARNED,
    },
    Page {
        verb: "learn merge",
        examples: &[(
            "mantlet learn merge monday.json 77b1 -o web.yaml",
            "a profile of a recording and a recorded container",
        )],
        exits: &LEARNED,
    },
    Page {
        verb: "lint",
        examples: &[
            ("mantlet lint ./web.yaml", "before it is handed on"),
            (
                "mantlet lint --deny warnings --format sarif profiles/*.yaml >lint.sarif",
                "in CI, for a forge that shows findings beside the lines",
            ),
        ],
        exits: &[(
            "1",
            "there are errors, or with --deny warnings, warnings; or a file cannot be read",
        )],
    },
    Page {
        verb: "explain",
        examples: &[
            (
                "mantlet explain restricted",
                "what a profile comes to, with file and line of each part",
            ),
            (
                "mantlet explain ./web.yaml path /etc/shadow write",
                "what it says to one thing, and why",
            ),
            (
                "mantlet explain --container 3f2a syscall openat2",
                "what a running container is held to",
            ),
            ("mantlet explain @network-io", "the calls of a group"),
        ],
        exits: &[
            (
                "1",
                "it cannot be had; with --exit-code: the answer is not `allowed`",
            ),
            ("2", "wrong usage; with --exit-code, whatever else is wrong"),
        ],
    },
    Page {
        verb: "diff",
        examples: &[
            (
                "mantlet diff baseline restricted",
                "what one allows and the other does not",
            ),
            (
                "mantlet diff container:3f2a ./web.yaml",
                "what a change would mean for a running container",
            ),
        ],
        exits: &[
            ("1", "they differ"),
            ("2", "wrong usage, or one of them cannot be had"),
        ],
    },
    Page {
        verb: "test",
        examples: &[
            ("mantlet test ./web.yaml", "what its author expects of it"),
            (
                "mantlet test ./web.yaml --replay 3f2a",
                "what it would deny of what a container did",
            ),
        ],
        exits: &[
            (
                "1",
                "an expectation does not hold, or something would be denied",
            ),
            (
                "2",
                "wrong usage, or the profile or a journal cannot be had",
            ),
        ],
    },
    Page {
        verb: "import",
        examples: &[
            (
                "mantlet import seccomp.json --name web -o web.yaml",
                "a profile that is no wider than the filter",
            ),
            (
                "mantlet import ruleset.toml --as landlockconfig",
                "the same of a Landlock ruleset",
            ),
        ],
        exits: &[(
            "1",
            "it cannot be said without being wider; or OUT is there",
        )],
    },
    Page {
        verb: "export",
        examples: &[
            (
                "mantlet export web --to oci-seccomp -o seccomp.json",
                "for a kubelet's Localhost profile",
            ),
            (
                "mantlet export web --to spo | kubectl apply -f -",
                "for the Security Profiles Operator",
            ),
        ],
        exits: &[(
            "1",
            "it cannot be said, or needs a container; or OUT is there",
        )],
    },
    Page {
        verb: "schema",
        examples: &[(
            "mantlet schema event > event.schema.json",
            "of a line of a journal",
        )],
        exits: &[("1", "the output cannot be written")],
    },
    Page {
        verb: "completions",
        examples: &[(
            "mantlet completions bash > /usr/share/bash-completion/completions/mantlet",
            "for every user of this machine",
        )],
        exits: &[("1", "the output cannot be written")],
    },
    Page {
        verb: "man",
        examples: &[
            ("mantlet man try | man -l -", "one page, to read"),
            (
                "mantlet man --output /usr/share/man/man1",
                "all of them, to install",
            ),
        ],
        exits: &[("1", "a page cannot be written")],
    },
];

/// The page of a verb.
pub fn page(verb: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.verb == verb)
}

/// The whole command, with what `--help` shows after the flags.
pub fn command() -> Command {
    with_pages(Cli::command(), "")
}

/// This command and those below, whose pages are called after `path`.
fn with_pages(command: Command, path: &str) -> Command {
    let command = match page(path) {
        Some(page) => command.after_help(after(page)),
        None => command,
    };
    let verbs: Vec<String> = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    verbs.into_iter().fold(command, |command, name| {
        let path = format!("{path} {name}").trim_start().to_owned();
        command.mut_subcommand(name, |verb| with_pages(verb, &path))
    })
}

/// A built command's verbs and theirs, each with how it is typed.
pub fn verbs(whole: &Command) -> Vec<(String, &Command)> {
    let mut all = Vec::new();
    for verb in whole.get_subcommands() {
        if verb.get_name() == "help" {
            continue;
        }
        let name = verb.get_name().to_owned();
        let below = verbs(verb).into_iter();
        let below = below.map(|(path, verb)| (format!("{name} {path}"), verb));
        all.push((name.clone(), verb));
        all.extend(below);
    }
    all
}

fn after(page: &Page) -> String {
    let mut text = String::from("Examples:\n");
    for (line, what) in page.examples {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {line}\n      {what}");
    }
    text += "\nExit codes:\n";
    let codes = exits(page);
    let width = codes.iter().map(|(code, _)| code.len()).max().unwrap_or(0);
    for (code, what) in codes {
        let _ = writeln!(text, "  {code:<width$}  {what}");
    }
    text.trim_end().to_owned()
}

/// All exit codes of a verb, in the order of their numbers. Where they are a program's own, 0 is that too.
pub fn exits(page: &Page) -> Vec<(&'static str, &'static str)> {
    let own = page.exits.iter().any(|(code, _)| *code == "N");
    let [done, usage] = ALWAYS;
    let first = (!own).then_some(done);
    let (before, behind): (Vec<_>, Vec<_>) = page
        .exits
        .iter()
        .copied()
        .partition(|(code, _)| matches!(*code, "1" | "N"));
    let mut all: Vec<_> = first.into_iter().chain(before).collect();
    // A verb whose answer is its exit code says more of 2.
    all.extend((behind.iter().all(|(code, _)| *code != "2")).then_some(usage));
    all.extend(behind);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = include_str!("README.md");

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
                text.contains("Exit codes:") && text.contains("Examples:"),
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
            let speaks = |arg: &clap::Arg| {
                arg.get_long() == Some("json") || arg.get_long() == Some("format")
            };
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
}
