//! What is made from the command's own definition: manual pages, completions, help.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use mantlet::profile::BUILT_IN;

use super::node::Node;
use super::{code, err, out};

/// Verbs as `--help` tells them, and theirs: `learn merge`.
fn verbs(node: &Node) -> Vec<String> {
    let first = below(node, &[]);
    let nested = first.iter().flat_map(|verb| {
        let nested = below(node, &[verb]).into_iter();
        nested.map(move |name| format!("{verb} {name}"))
    });
    let nested: Vec<String> = nested.collect();
    first.iter().cloned().chain(nested).collect()
}

fn below(node: &Node, verb: &[&str]) -> Vec<String> {
    let text = out(&node.run(&[verb, &["--help"]].concat()));
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"));
    let lines = lines.skip(1).take_while(|line| !line.is_empty());
    let words = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let verbs = words.filter(|word| !word.is_empty() && *word != "help");
    verbs.map(str::to_owned).collect()
}

/// Words that begin with `--` in the flags' own column.
fn flags(help: &str) -> Vec<String> {
    let lines = help
        .lines()
        .filter(|line| line.trim_start().starts_with('-'));
    let words = lines.flat_map(|line| line.split([' ', ',', '=', '[']));
    let flags = words.filter(|word| word.len() > 2 && word.starts_with("--"));
    flags.map(str::to_owned).collect()
}

#[test]
fn every_page_of_the_manual_is_read_without_a_warning_and_tells_every_flag() {
    let node = Node::new();
    let folder = node.path.join("man1");
    fs::create_dir(&folder).unwrap();
    code(&node.run(&["man", "--output", folder.to_str().unwrap()]), 0);
    let verbs = verbs(&node);
    assert!(verbs.len() > 10, "{verbs:?}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), verbs.len() + 1);
    for verb in &verbs {
        let words: Vec<&str> = verb.split(' ').collect();
        let page = folder.join(format!("mantlet-{}.1", words.join("-")));
        let source = fs::read(&page).unwrap();
        let printed = node.run(&[&["man"], &words[..]].concat());
        assert_eq!(printed.stdout, source, "{verb}");
        let mut groff = Command::new("groff")
            .args(["-ww", "-man", "-Tascii", "-P-cbou", "-rLL=200n"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("groff is what man(1) reads pages with");
        groff.stdin.take().unwrap().write_all(&source).unwrap();
        let read = groff.wait_with_output().unwrap();
        assert_eq!(err(&read), "", "{verb}");
        let text = String::from_utf8_lossy(&read.stdout).into_owned();
        for part in ["NAME", "SYNOPSIS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            assert!(text.contains(part), "{part} in {verb}:\n{text}");
        }
        let own: &[&str] = match *verb == "explain" {
            true => &[
                "syscall NAME",
                "path PATH",
                "exec PATH",
                "port N",
                "capability NAME",
                "@GROUP",
            ],
            false if *verb == "diff" => &["container:ID", "- LINE", "+ LINE"],
            false => &[],
        };
        for word in own {
            assert!(text.contains(word), "{word} in {verb}:\n{text}");
        }
        let help = out(&node.run(&[&words[..], &["--help"]].concat()));
        for flag in flags(&help) {
            assert!(text.contains(&flag), "{flag} in {verb}:\n{text}");
        }
    }
    let main = String::from_utf8(node.run(&["man"]).stdout).unwrap();
    let main = main.replace('\\', "");
    for verb in &verbs {
        let page = format!("mantlet-{}(1)", verb.replace(' ', "-"));
        assert!(main.contains(&page), "{verb}");
    }
}

#[test]
fn a_page_of_nothing_and_a_folder_that_is_not_there_are_errors() {
    let node = Node::new();
    let unknown = node.run(&["man", "dance\u{1b}"]);
    code(&unknown, 2);
    assert!(
        err(&unknown).contains("no verb \"dance\\u{1b}\""),
        "{}",
        err(&unknown)
    );
    let nowhere = node.run(&["man", "--output", "/no/such/folder"]);
    code(&nowhere, 1);
    assert!(
        err(&nowhere).contains("/no/such/folder"),
        "{}",
        err(&nowhere)
    );
    code(&node.run(&["completions", "tcsh"]), 2);
    code(&node.run(&["completions"]), 2);
}

#[test]
fn a_shell_completes_verbs_flags_and_profiles() {
    let node = Node::new();
    let script = out(&node.run(&["completions", "bash"]));
    let complete = |words: &[&str]| {
        let last = words.len() - 1;
        let array = words
            .iter()
            .map(|word| format!("'{word}' "))
            .collect::<String>();
        let ask = format!(
            "{script}\nCOMP_WORDS=({array})\nCOMP_CWORD={last}\n_mantlet mantlet '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words[last],
            words[last - 1]
        );
        let asked = Command::new("bash").args(["-c", &ask]).output().unwrap();
        assert_eq!(err(&asked), "");
        out(&asked)
    };
    assert_eq!(complete(&["mantlet", "insp"]), "inspect\n");
    assert!(complete(&["mantlet", "try", "--net"]).contains("--network"));
    for verb in ["try", "explain", "diff", "test", "export", "lint"] {
        for name in BUILT_IN {
            let offered = complete(&["mantlet", verb, &name[..3]]);
            assert!(
                offered.lines().any(|word| word == name),
                "{verb} {name}: {offered}"
            );
        }
        // Where no word fits, bash is told to take files.
        assert_eq!(complete(&["mantlet", verb, "./we"]), "\n", "{verb}");
    }
    assert!(script.contains("-o bashdefault -o default mantlet"));
    assert!(complete(&["mantlet", "explain", "web", "sysc"]).contains("syscall"));
    for flag in [["explain", "--layer"], ["learn", "--extends"]] {
        let offered = complete(&["mantlet", flag[0], flag[1], "postg"]);
        assert_eq!(offered, "postgresql\n", "{flag:?}");
    }
    assert_eq!(complete(&["mantlet", "try", "--network", "ho"]), "host\n");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = out(&node.run(&["completions", shell]));
        assert!(
            script.contains("inspect") && script.contains("rootfs"),
            "{shell}"
        );
    }
}

/// clap's own scripts for these two offer the list and no file.
#[test]
fn zsh_and_fish_offer_files_beside_the_profiles() {
    let node = Node::new();
    let names = BUILT_IN.join(" ");
    let zsh = out(&node.run(&["completions", "zsh"]));
    // Twice in the functions of which one is an argument's: never an argument's own.
    assert_eq!(zsh.matches(&format!(":({names})'")).count(), 2, "{zsh}");
    assert!(!zsh.contains(&format!(":({names} syscall")), "{zsh}");
    let alternatives = format!("_alternative 'profiles:profile:({names})' 'files:file:_files'");
    assert!(zsh.contains(&alternatives), "{zsh}");
    assert!(
        zsh.contains(":_mantlet_profile' \\") && zsh.contains(":_mantlet_profile_or_question' \\")
    );
    let fish = out(&node.run(&["completions", "fish"]));
    assert!(!fish.contains("-r -f -a \"baseline"), "{fish}");
    assert!(fish.contains("-r -F -a \"baseline"), "{fish}");
    for verb in ["try", "explain", "diff", "test", "export", "lint"] {
        let line = format!("\"__fish_mantlet_using_subcommand {verb}\" -a \"{names}");
        assert!(fish.contains(&line), "{verb}");
    }
}

#[test]
fn help_of_a_verb_is_the_same_either_way_and_colours_are_as_asked() {
    let node = Node::new();
    for verb in verbs(&node) {
        let words: Vec<&str> = verb.split(' ').collect();
        let one = node.run(&[&["help"], &words[..]].concat());
        code(&one, 0);
        let other = node.run(&[&words[..], &["--help"]].concat());
        assert_eq!(out(&one), out(&other), "{verb}");
    }
    node.journal("c", &[super::event("c", 1, super::tripwire("/a"))]);
    let coloured = |args: &[&str]| out(&node.run(args)).contains('\u{1b}');
    assert!(coloured(&["events", "--color", "always"]));
    assert!(coloured(&["--color=always", "events"]));
    assert!(!coloured(&["events", "--color", "never"]));
    code(&node.run(&["events", "--color", "blue"]), 2);
}
