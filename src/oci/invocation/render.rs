//! The words for the real runtime.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::flags::Takes;
use super::{Invocation, Token};

/// What is different for the real runtime; everything else keeps its words and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes<'a> {
    /// `--preserve-fds` is this number.
    pub preserve_fds: Option<u32>,
    /// `--process` is this file. Only for an `exec` that has one.
    pub process: Option<&'a Path>,
    /// These words come before the command. Only for an `exec` without `--process`.
    pub before_command: &'a [OsString],
    /// `--no-new-privs` is given, and not `=false`. Only for `exec`.
    pub no_new_privs: bool,
    /// `--cap` is kept only for these, `CAP_` names. Only for `exec`.
    pub allowed_caps: Option<&'a [String]>,
}

impl Invocation {
    /// The words for the real runtime, with `changes`.
    ///
    /// New flags stand right behind the verb, where no flag before them could take them for its
    /// value. Known flags in a spelling that runtimes read differently are spelled `--name=value`.
    pub fn render(&self, runtime: &Path, changes: &Changes<'_>) -> Vec<OsString> {
        let mut words = vec![runtime.as_os_str().to_owned()];
        let mut at = 1;
        while at < self.argv.len() {
            if let Some(token) = self.layout.tokens.iter().find(|token| token.at == at) {
                self.token(token, changes, &mut words);
                at += 1 + usize::from(token.next);
                continue;
            }
            words.push(self.argv[at].clone());
            if self.layout.verb == Some(at) {
                self.added(changes, &mut words);
            }
            if self.layout.id == Some(at) {
                words.extend(changes.before_command.iter().cloned());
            }
            at += 1;
        }
        words
    }

    /// The flags that are given anew.
    fn added(&self, changes: &Changes<'_>, words: &mut Vec<OsString>) {
        if let Some(count) = changes.preserve_fds
            && !self
                .layout
                .tokens
                .iter()
                .any(|token| token.flag.name == "preserve-fds")
        {
            words.push("--preserve-fds".into());
            words.push(count.to_string().into());
        }
        if changes.no_new_privs {
            words.push("--no-new-privs".into());
        }
    }

    /// One known flag, changed, respelled or as it was.
    fn token(&self, token: &Token, changes: &Changes<'_>, words: &mut Vec<OsString>) {
        let value = self.value(token);
        match (token.flag.name, changes) {
            (
                "preserve-fds",
                Changes {
                    preserve_fds: Some(count),
                    ..
                },
            ) => {
                words.push("--preserve-fds".into());
                words.push(count.to_string().into());
            }
            (
                "process",
                Changes {
                    process: Some(file),
                    ..
                },
            ) => {
                words.push("--process".into());
                words.push(file.as_os_str().to_owned());
            }
            (
                "no-new-privs",
                Changes {
                    no_new_privs: true, ..
                },
            ) => {}
            (
                "cap",
                Changes {
                    allowed_caps: Some(allowed),
                    ..
                },
            ) if !is_allowed(value, allowed) => {}
            _ if self.is_common_spelling(token) => {
                words.extend(
                    self.argv[token.at..=token.at + usize::from(token.next)]
                        .iter()
                        .cloned(),
                );
            }
            _ => words.push(respelled(token, value)),
        }
    }

    /// The value of a flag, empty for a bare switch.
    pub(super) fn value<'a>(&'a self, token: &'a Token) -> &'a OsStr {
        token.value(&self.argv)
    }

    /// Go's flag package, getopt_long(3) and clap read it alike: `--name…`, or a letter on its own.
    fn is_common_spelling(&self, token: &Token) -> bool {
        let word = self.argv[token.at].as_bytes();
        let long = word.strip_prefix(b"--").is_some_and(|rest| {
            let name = rest.split(|byte| *byte == b'=').next().unwrap_or(rest);
            name == token.flag.name.as_bytes()
        });
        long || (word.len() == 2 && !word.starts_with(b"--"))
    }
}

impl Token {
    /// The value of this flag, empty for a bare switch.
    pub(super) fn value<'a>(&'a self, argv: &'a [OsString]) -> &'a OsStr {
        match (&self.inline, self.next) {
            (Some(inline), _) => inline,
            (None, true) => &argv[self.at + 1],
            (None, false) => OsStr::new(""),
        }
    }
}

fn respelled(token: &Token, value: &OsStr) -> OsString {
    let mut word = OsString::from(format!("--{}", token.flag.name));
    if token.flag.takes == Takes::Value || token.inline.is_some() {
        word.push("=");
        word.push(value);
    }
    word
}

/// Whether `cap`, with or without its prefix and in any case (crun takes both), is on the list.
fn is_allowed(cap: &OsStr, allowed: &[String]) -> bool {
    let Some(cap) = cap.to_str() else {
        return false;
    };
    let cap = cap.to_ascii_uppercase();
    let name = cap.strip_prefix("CAP_").unwrap_or(&cap);
    allowed
        .iter()
        .any(|entry| entry.strip_prefix("CAP_").unwrap_or(entry) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn rendered(line: &str, changes: &Changes<'_>) -> String {
        let call = Invocation::parse(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
        let out = call.render(Path::new("runc"), changes);
        out.iter()
            .map(|word| word.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn preserve_fds_is_replaced_in_every_form() {
        let changes = Changes {
            preserve_fds: Some(5),
            ..Changes::default()
        };
        for (line, want) in [
            ("runc create c1", "runc create --preserve-fds 5 c1"),
            (
                "runc create --preserve-fds 2 c1",
                "runc create --preserve-fds 5 c1",
            ),
            (
                "runc create --preserve-fds=2 c1",
                "runc create --preserve-fds 5 c1",
            ),
            (
                "runc create -preserve-fds=2 c1 --bundle /b",
                "runc create --preserve-fds 5 c1 --bundle /b",
            ),
            (
                "runc --root /r run -d -b /b c1",
                "runc --root /r run --preserve-fds 5 -d -b /b c1",
            ),
            (
                "runc exec -t c1 sh -c id",
                "runc exec --preserve-fds 5 -t c1 sh -c id",
            ),
            (
                "runc exec c1 sh --preserve-fds 9",
                "runc exec --preserve-fds 5 c1 sh --preserve-fds 9",
            ),
            ("runc create -- -c1", "runc create --preserve-fds 5 -- -c1"),
        ] {
            assert_eq!(rendered(line, &changes), want);
        }
    }

    #[test]
    fn spellings_that_getopt_reads_otherwise_are_respelled() {
        assert_eq!(
            rendered(
                "runc -root /r create -bundle /b -b=/c --b /d -no-pivot c1",
                &Changes::default()
            ),
            "runc --root=/r create --bundle=/b --bundle=/c --bundle=/d --no-pivot c1"
        );
    }

    #[test]
    fn an_untouched_call_keeps_every_word() {
        for line in [
            "runc --root /r --log=/l create --bundle /b --console-socket=/s -b /c c1",
            "runc exec -e A=B -e C= --cwd / -u 0:0 -t c1 sh -c --cap",
            "runc run --keep=true --no-pivot c1",
            "runc --criu x restore --image-path /i c1",
        ] {
            assert_eq!(rendered(line, &Changes::default()), line);
        }
    }

    #[test]
    fn the_process_file_is_replaced() {
        let changes = Changes {
            preserve_fds: Some(2),
            process: Some(Path::new("/proc/self/fd/7")),
            ..Changes::default()
        };
        for form in [
            "--process /dev/fd/63",
            "--process=/dev/fd/63",
            "-p /dev/fd/63",
            "-p=/dev/fd/63",
        ] {
            assert_eq!(
                rendered(&format!("runc exec {form} --detach c1"), &changes),
                "runc exec --preserve-fds 2 --process /proc/self/fd/7 --detach c1"
            );
        }
    }

    #[test]
    fn the_command_line_form_of_exec_is_confined() {
        let allowed = ["CAP_NET_BIND_SERVICE".to_owned()];
        let before = [OsString::from("/proc/self/fd/4")];
        let changes = Changes {
            preserve_fds: Some(2),
            before_command: &before,
            no_new_privs: true,
            allowed_caps: Some(&allowed),
            ..Changes::default()
        };
        let line = "runc exec --no-new-privs=false --cap CAP_SYS_ADMIN -c CAP_NET_BIND_SERVICE --cap=cap_net_raw \
                    -e A=b --no-new-privs -c net_bind_service c1 sh --cap CAP_SYS_ADMIN";
        assert_eq!(
            rendered(line, &changes),
            "runc exec --preserve-fds 2 --no-new-privs -c CAP_NET_BIND_SERVICE -e A=b -c net_bind_service c1 \
             /proc/self/fd/4 sh --cap CAP_SYS_ADMIN"
        );
    }

    #[test]
    fn words_that_are_not_text_survive() {
        use std::os::unix::ffi::OsStringExt;
        let mut argv = words("runc exec c1 echo");
        argv.push(OsString::from_vec(vec![0xff, b'x']));
        let call = Invocation::parse(argv.clone()).unwrap();
        assert_eq!(call.render(Path::new("runc"), &Changes::default()), argv);
    }
}
