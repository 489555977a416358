//! The reference of each verb besides its flags: words of its own, examples and exit codes. One table, from which
//! `--help`, the manual's pages and the tests are made.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};

use super::Cli;

/// A verb's words, examples and exit codes.
#[derive(Debug)]
pub struct Page {
    /// The verb, as it is typed: `learn merge`.
    pub verb: &'static str,
    /// What it reads or writes that is no flag.
    pub words: Option<Words>,
    /// Command lines, each with what it is for.
    pub examples: &'static [(&'static str, &'static str)],
    /// Exit codes but 0 and 2, each with what it means.
    pub exits: &'static [(&'static str, &'static str)],
}

/// Words of a verb's own, such as the questions that may be asked.
#[derive(Debug)]
pub struct Words {
    /// What they are: the heading.
    pub title: &'static str,
    /// Each with what it means.
    pub list: &'static [(&'static str, &'static str)],
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
        words: None,
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
                "mantlet could not run it: a profile is wrong, or refuses it; or it could not write what --json asks for",
            ),
            ("126", "CMD cannot be executed"),
            ("127", "there is no CMD"),
            ("128 + N", "signal N ended CMD"),
        ],
    },
    Page {
        verb: "ps",
        words: None,
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
        words: None,
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
        words: None,
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
        words: None,
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
        words: None,
        examples: &[(
            "mantlet doctor",
            "what this node can enforce, and what to do about the rest",
        )],
        exits: &[("1", "the node cannot enforce as promised")],
    },
    Page {
        verb: "freeze",
        words: None,
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
        words: None,
        examples: &[("mantlet thaw 3f2a", "whoever froze it")],
        exits: &[("1", "it was not done")],
    },
    Page {
        verb: "kill",
        words: None,
        examples: &[("mantlet kill 3f2a", "every process of it, at once")],
        exits: &[("1", "it was not done")],
    },
    Page {
        verb: "evidence",
        words: None,
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
        words: None,
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
        words: None,
        examples: &[(
            "mantlet learn merge monday.json 77b1 -o web.yaml",
            "a profile of a recording and a recorded container",
        )],
        exits: &LEARNED,
    },
    Page {
        verb: "lint",
        words: None,
        examples: &[
            ("mantlet lint ./web.yaml", "before it is handed on"),
            (
                "mantlet lint --deny warnings --format sarif profiles/*.yaml >lint.sarif",
                "in CI, for a forge that shows findings beside the lines",
            ),
            (
                "mantlet lint --landlock-abi 4 ./web.yaml",
                "what the oldest kernel of a cluster could not enforce",
            ),
        ],
        exits: &[(
            "1",
            "there are errors, or with --deny warnings, warnings; or a file cannot be read",
        )],
    },
    Page {
        verb: "explain",
        words: Some(Words {
            title: "Questions, behind PROFILE",
            list: &[
                (
                    "syscall NAME [ARG...]",
                    "a call; arguments as numbers, _ for one that is not known",
                ),
                (
                    "path PATH [ACCESS...]",
                    "a file: read, write, execute, create, delete, or a right of Landlock's; / at its end: a directory",
                ),
                (
                    "exec PATH",
                    "a program, with the calls and files that its start needs",
                ),
                ("port N [bind|connect]", "a TCP port"),
                ("capability NAME", "with or without CAP_"),
                (
                    "@GROUP",
                    "in the place of PROFILE, and no question: the group's members",
                ),
            ],
        }),
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
        words: Some(Words {
            title: "What is compared, and how it is shown",
            list: &[
                (
                    "NAME, FILE, A+B",
                    "a profile by its name or file; several as layers, outermost first",
                ),
                (
                    "container:ID",
                    "what is in force on a container that runs; both sides are then looked at over it",
                ),
                ("- LINE", "A's alone"),
                ("+ LINE", "B's alone"),
            ],
        }),
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
        words: Some(Words {
            title: "What is tried",
            list: &[
                (
                    "tests:",
                    "in the profile, what its author expects: {path: /etc/shadow, access: write, expect: denied}",
                ),
                (
                    "--tests FILE",
                    "the same from a file of `version: 1` and `tests:` alone",
                ),
                (
                    "--replay JOURNAL",
                    "what was recorded, decided once more: a file, a container's id, or -",
                ),
            ],
        }),
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
                "an expectation does not hold, something would be denied, or the journals have lost something",
            ),
            (
                "2",
                "wrong usage, or the profile or a journal cannot be had",
            ),
        ],
    },
    Page {
        verb: "import",
        words: None,
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
        words: None,
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
        words: None,
        examples: &[(
            "mantlet schema event > event.schema.json",
            "of a line of a journal",
        )],
        exits: &[("1", "the output cannot be written")],
    },
    Page {
        verb: "completions",
        words: None,
        examples: &[(
            "mantlet completions bash > /usr/share/bash-completion/completions/mantlet",
            "for every user of this machine",
        )],
        exits: &[("1", "the output cannot be written")],
    },
    Page {
        verb: "man",
        words: None,
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
    // Writing to a String cannot fail.
    let mut text = String::new();
    if let Some(words) = &page.words {
        let _ = writeln!(text, "{}:", words.title);
        for (word, what) in words.list {
            let _ = writeln!(text, "  {word}\n      {what}");
        }
        text.push('\n');
    }
    text += "Examples:\n";
    for (line, what) in page.examples {
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
mod tests;
