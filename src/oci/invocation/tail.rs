//! The words behind a verb that starts processes, read strictly.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::flags::{self, Flag, Takes};
use super::parse::{bool_of, is_help_word, spelled};
use super::preserved::plain_number;
use super::{Create, Exec, InvocationError, Run, Token, Verb};

/// What stands behind a verb of ours.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) tokens: Vec<Token>,
    /// Words that are neither flags nor values, the id first; of `exec` the id alone.
    pub(super) words: Vec<usize>,
    pub(super) help: bool,
}

impl Tail {
    pub(super) fn read(
        argv: &[OsString],
        verb_at: usize,
        verb: &str,
        table: &'static [Flag],
    ) -> Result<Tail, InvocationError> {
        let mut tail = Tail::default();
        let mut unknown = None;
        let mut only_words = false;
        let mut at = verb_at + 1;
        while at < argv.len() {
            let word = &argv[at];
            let flag = if only_words { None } else { spelled(word) };
            let Some(spelled) = flag else {
                if word == "--" && !only_words {
                    only_words = true;
                } else {
                    tail.words.push(at);
                    if verb == "exec" {
                        break;
                    }
                }
                at += 1;
                continue;
            };
            let shown = || word.to_string_lossy().into_owned();
            if let Some(flag) = flags::find(table, spelled.name) {
                at += tail.known(argv, at, verb, flag, spelled.inline)?;
            } else if is_help_word(&spelled) {
                // Behind an unknown flag it may be a value; behind the id, a word that crun counts.
                if unknown.is_some() || !tail.words.is_empty() {
                    return Err(InvocationError::Ambiguous {
                        verb: verb.into(),
                        word: shown(),
                    });
                }
                tail.help = true;
                return Ok(tail);
            } else if let Some(full) = flags::abbreviated(table, spelled.name) {
                return Err(InvocationError::Abbreviated {
                    verb: verb.into(),
                    flag: shown(),
                    full: full.name,
                });
            } else {
                let bare = spelled.inline.is_none();
                let global = flags::find(flags::GLOBAL, spelled.name).is_some();
                if spelled.dashes == 1 || global || (verb == "exec" && bare) {
                    return Err(InvocationError::UnknownFlag {
                        verb: verb.into(),
                        flag: shown(),
                    });
                }
                if bare {
                    unknown.get_or_insert(at);
                }
                at += 1;
            }
        }
        tail.check_words(argv, verb)?;
        Ok(tail)
    }

    /// Takes a known flag and tells how many words it has.
    fn known(
        &mut self,
        argv: &[OsString],
        at: usize,
        verb: &str,
        flag: &'static Flag,
        inline: Option<OsString>,
    ) -> Result<usize, InvocationError> {
        let next = flag.takes == Takes::Value && inline.is_none();
        let bad = |value: &OsStr, expected| InvocationError::BadValue {
            verb: verb.into(),
            flag: flag.name,
            value: value.to_string_lossy().into_owned(),
            expected,
        };
        // runc 1.1 looks for `--` before it looks for values, and would take another word.
        match argv.get(at + 1) {
            None if next => return Err(bad(OsStr::new(""), "the value is missing; add it")),
            Some(value) if next && value == "--" => {
                return Err(bad(
                    value,
                    "runtimes disagree about this value; write it with =",
                ));
            }
            _ => {}
        }
        let token = Token {
            at,
            flag,
            inline,
            next,
        };
        if flag.takes == Takes::Bool && bool_of(&token).is_none() {
            return Err(bad(
                token.value(argv),
                "write true or false, or leave the value out",
            ));
        }
        if flag.name == "preserve-fds"
            && token.value(argv).to_str().and_then(plain_number).is_none()
        {
            return Err(bad(
                token.value(argv),
                "write a decimal number, at most 1048576",
            ));
        }
        self.tokens.push(token);
        Ok(1 + usize::from(next))
    }

    /// Exactly one word, and it is an id.
    fn check_words(&self, argv: &[OsString], verb: &str) -> Result<(), InvocationError> {
        let shown = |at: usize| argv[at].to_string_lossy().into_owned();
        if let Some(extra) = self.words.get(1) {
            return Err(InvocationError::Ambiguous {
                verb: verb.into(),
                word: shown(*extra),
            });
        }
        let id = self
            .words
            .first()
            .ok_or(InvocationError::MissingId { verb: verb.into() })?;
        if is_id(&argv[*id]) {
            Ok(())
        } else {
            Err(InvocationError::BadId {
                verb: verb.into(),
                id: shown(*id),
            })
        }
    }

    /// The typed verb; the words were checked.
    pub(super) fn verb(&self, argv: &[OsString], verb: &str) -> Result<Verb, InvocationError> {
        let id = self
            .words
            .first()
            .map(|at| argv[*at].to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(match verb {
            "create" => Verb::Create(self.create(argv, id)),
            "run" => Verb::Run(Run {
                create: self.create(argv, id),
                detach: self.switch("detach").unwrap_or(false),
                keep: self.switch("keep").unwrap_or(false),
            }),
            "exec" => Verb::Exec(self.exec(argv, id)?),
            "restore" => Verb::Restore {
                bundle: self.path(argv, "bundle"),
                id,
            },
            _ => Verb::Start { id },
        })
    }

    fn create(&self, argv: &[OsString], id: String) -> Create {
        Create {
            id,
            bundle: self.path(argv, "bundle"),
            config: self.path(argv, "config"),
            pid_file: self.path(argv, "pid-file"),
            console_socket: self.path(argv, "console-socket"),
            preserve_fds: self.number(argv, "preserve-fds"),
            no_pivot: self.switch("no-pivot").unwrap_or(false),
            no_new_keyring: self.switch("no-new-keyring").unwrap_or(false),
        }
    }

    fn exec(&self, argv: &[OsString], id: String) -> Result<Exec, InvocationError> {
        let process = self.path(argv, "process");
        let behind = self.words.first().map_or(argv.len(), |at| at + 1);
        let command = argv[behind..].to_vec();
        if process.is_none() && command.is_empty() {
            return Err(InvocationError::NoCommand);
        }
        let text = |value: &OsStr| value.to_string_lossy().into_owned();
        Ok(Exec {
            id,
            process,
            detach: self.switch("detach").unwrap_or(false),
            tty: self.switch("tty").unwrap_or(false),
            pid_file: self.path(argv, "pid-file"),
            console_socket: self.path(argv, "console-socket"),
            preserve_fds: self.number(argv, "preserve-fds"),
            cwd: self.path(argv, "cwd"),
            user: self.all(argv, "user").last().map(text),
            env: self.all(argv, "env").map(OsStr::to_owned).collect(),
            caps: self.all(argv, "cap").map(text).collect(),
            no_new_privs: self.switch("no-new-privs"),
            command,
        })
    }

    fn all<'a>(&'a self, argv: &'a [OsString], name: &'a str) -> impl Iterator<Item = &'a OsStr> {
        self.tokens
            .iter()
            .filter(move |token| token.flag.name == name)
            .map(|token| token.value(argv))
    }

    fn path(&self, argv: &[OsString], name: &str) -> Option<PathBuf> {
        self.all(argv, name)
            .last()
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    fn number(&self, argv: &[OsString], name: &str) -> u32 {
        self.all(argv, name)
            .last()
            .and_then(OsStr::to_str)
            .and_then(plain_number)
            .unwrap_or(0)
    }

    fn switch(&self, name: &str) -> Option<bool> {
        self.tokens
            .iter()
            .rfind(|token| token.flag.name == name)
            .and_then(bool_of)
    }
}

/// runc's rule for ids, the narrowest of the three; it also keeps them safe as directory names.
fn is_id(word: &OsStr) -> bool {
    let bytes = word.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(byte);
    !bytes.is_empty() && bytes != b"." && bytes != b".." && bytes.iter().all(plain)
}
