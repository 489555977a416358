//! What the container chooses: names, arguments, variables.

use std::io::Read;
use std::os::unix::process::CommandExt;

use super::*;

#[test]
fn names_of_entries_are_made_of_numbers_and_fixed_words() {
    let own = Own::shell("true", |_| {});
    let made = made_of("names", &[own.pid()], |scene| {
        scene.started = SystemTime::UNIX_EPOCH;
    });
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/.-".contains(letter);
    for name in made.entries() {
        assert!(name.chars().all(plain) && !name.contains(".."), "{name}");
    }
}

#[test]
fn values_of_the_environment_are_nowhere_in_the_archive() {
    let secrets = [
        ("API_TOKEN", "s3cr3t-plain"),
        ("MULTI", "first\nSECOND=s3cr3t-line"),
        ("URL", "postgres://user:s3cr3t-url=@host"),
        ("ESCAPES", "\u{1b}]0;s3cr3t-title\u{7}"),
    ];
    let own = Own::shell("true", |command| {
        command.env_clear().envs(secrets).env("EMPTY", "");
    });
    let made = made_of("environment", &[own.pid()], |scene| {
        scene.started = SystemTime::UNIX_EPOCH;
    });
    let told = &made.process(own.pid())["environment"];
    let names: Vec<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    for name in ["API_TOKEN", "MULTI", "URL", "ESCAPES", "EMPTY"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.contains(&"SECOND"));
    assert!(!made.holds("s3cr3t"));
}

/// The source of a program that writes over the NUL behind its last argument, so that the kernel
/// shows the environment as part of the command line.
const OVERWRITES: &str = r#"
    #include <string.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        char *last = argv[argc - 1];
        last[strlen(last)] = 'x';
        write(1, "\n", 1);
        char byte;
        return read(0, &byte, 1) < 0;
    }
"#;

#[test]
fn a_title_written_over_the_environment_does_not_bring_it_in() {
    let scratch = Scratch::new("evidence-title");
    let (source, program) = (scratch.path.join("a.c"), scratch.path.join("a"));
    fs::write(&source, OVERWRITES).unwrap();
    let compiled = Command::new("cc")
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .status();
    assert!(
        compiled.unwrap().success(),
        "gcc is what building needs too"
    );
    let mut command = Command::new(&program);
    command.env_clear().env("PASSWORD", "s3cr3t-title");
    let mut own = Own(command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap());
    let output = own.0.stdout.as_mut().unwrap();
    output.read_exact(&mut [0; 1]).unwrap();
    // The control: it is there to be had.
    let shown = fs::read(format!("/proc/{}/cmdline", own.pid())).unwrap();
    assert!(String::from_utf8_lossy(&shown).contains("s3cr3t-title"));
    let made = made_of("title", &[own.pid()], |_| {});
    assert!(!made.holds("s3cr3t"));
    let environment = format!("processes/{}/environment", own.pid());
    assert!(made.lacks(&environment).unwrap().contains("written over"));
    let line = made.entry(&format!("processes/{}/cmdline", own.pid()));
    assert!(
        shown.starts_with(&line) && line.ends_with(b"ax"),
        "{line:?}"
    );
}

#[test]
fn hostile_arguments_are_bytes_like_any_other() {
    let hostile = "a\n\u{1b}[2J\"},{\"pid\":1\\";
    let mut command = Command::new("/bin/sh");
    command.arg0("\u{1b}]0;owned\u{7}");
    command.args(["-c", "read line", hostile, "../../etc/passwd"]);
    let own = Own::program(command.stdin(Stdio::piped()));
    let made = made_of("hostile", &[own.pid()], |_| {});
    let told = made.process(own.pid());
    assert_eq!(told["argv"][3], hostile);
    assert_eq!(told["argv"][0], "\u{1b}]0;owned\u{7}");
    assert_eq!(made.manifest["processes"].as_array().unwrap().len(), 1);
    let raw = fs::read(format!("/proc/{}/cmdline", own.pid())).unwrap();
    assert_eq!(made.entry(&format!("processes/{}/cmdline", own.pid())), raw);
}

#[test]
fn a_command_line_of_megabytes_is_cut_and_said_to_be() {
    // The kernel takes a quarter of the stack's limit, two mebibytes mostly.
    let word = "w".repeat(100 << 10);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "read line", "sh"]);
    command.args(std::iter::repeat_n(&word, 15));
    let own = Own::program(command.stdin(Stdio::piped()));
    let made = made_of("long", &[own.pid()], |_| {});
    let name = format!("processes/{}/cmdline", own.pid());
    assert_eq!(made.entry(&name).len(), LARGEST_TEXT);
    assert_eq!(made.lacks(&name), Some("the first 1048576 bytes"));
    assert!(
        made.lacks(&format!("processes/{}/argv", own.pid()))
            .is_some()
    );
    assert!(made.bytes.len() < 3 << 20);
}
