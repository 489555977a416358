//! The words before the verb, and which word the verb is.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::flags::{self, Takes};
use super::parse::{Spelled, bool_of, is_help_word, is_version_word, spelled};
use super::{Global, InvocationError, LogFormat, Token};

/// What stands before the verb.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) tokens: Vec<Token>,
    pub(super) verb: Option<usize>,
    pub(super) help: bool,
    /// First unknown flag without `=`: the next word may be its value.
    bare: Option<usize>,
    /// First unknown flag that getopt or clap could read as a known one.
    disguised: Option<usize>,
}

impl Head {
    pub(super) fn read(argv: &[OsString]) -> Head {
        let mut head = Head::default();
        let mut at = 1;
        while at < argv.len() {
            let word = &argv[at];
            if word == "--" {
                head.verb = (at + 1 < argv.len()).then_some(at + 1);
                return head;
            }
            let Some(spelled) = spelled(word) else {
                head.verb = Some(at);
                return head;
            };
            if let Some(flag) = flags::find(flags::GLOBAL, spelled.name) {
                let next = flag.takes == Takes::Value && spelled.inline.is_none();
                head.tokens.push(Token {
                    at,
                    flag,
                    inline: spelled.inline,
                    next,
                });
                at += 1 + usize::from(next);
                continue;
            }
            if (is_help_word(&spelled) || is_version_word(&spelled)) && head.bare.is_none() {
                head.help = true;
                return head;
            }
            at += head.unknown(argv, at, &spelled);
        }
        // A flag without its value stands last: the runtime says so.
        head.tokens
            .retain(|token| !token.next || token.at + 1 < argv.len());
        head
    }

    /// How many words an unknown flag takes: 2 if the next one is no verb.
    fn unknown(&mut self, argv: &[OsString], at: usize, spelled: &Spelled<'_>) -> usize {
        if spelled.dashes == 1 || flags::abbreviated(flags::GLOBAL, spelled.name).is_some() {
            self.disguised.get_or_insert(at);
        }
        if spelled.inline.is_some() {
            return 1;
        }
        self.bare.get_or_insert(at);
        let Some(next) = argv
            .get(at + 1)
            .filter(|word| !word.as_bytes().starts_with(b"-"))
        else {
            return 1;
        };
        if is_one_of(next, flags::OURS) || is_one_of(next, flags::OTHERS) {
            1
        } else {
            2
        }
    }

    /// Why a verb that is not ours cannot be believed: an unknown flag may take one of the words
    /// that follow it, and then a verb of ours would be the verb.
    pub(super) fn torn(
        &self,
        argv: &[OsString],
        verb_at: usize,
        verb: &str,
    ) -> Option<InvocationError> {
        let bare = self.bare?;
        let last = (verb_at + 1).min(argv.len() - 1);
        let hidden = argv[bare..=last]
            .iter()
            .any(|word| is_one_of(word, flags::OURS));
        (hidden && !flags::OURS.contains(&verb)).then(|| InvocationError::UnknownFlag {
            verb: verb.into(),
            flag: argv[bare].to_string_lossy().into_owned(),
        })
    }

    /// Why a verb of ours cannot stand behind this head.
    pub(super) fn refusal(&self, argv: &[OsString], verb: &str) -> Option<InvocationError> {
        if verb != verb.trim() {
            return Some(InvocationError::Ambiguous {
                verb: verb.trim().into(),
                word: verb.into(),
            });
        }
        for token in &self.tokens {
            let value = token.value(argv);
            let empty_root = token.flag.name == "root" && value.is_empty();
            if empty_root || (token.flag.takes == Takes::Bool && bool_of(token).is_none()) {
                return Some(InvocationError::BadValue {
                    verb: verb.into(),
                    flag: token.flag.name,
                    value: value.to_string_lossy().into_owned(),
                    expected: if empty_root {
                        "name a directory"
                    } else {
                        "leave the value out"
                    },
                });
            }
        }
        self.disguised.map(|at| InvocationError::UnknownFlag {
            verb: verb.into(),
            flag: argv[at].to_string_lossy().into_owned(),
        })
    }
}

/// Whether `word` is one of `verbs`.
fn is_one_of(word: &OsStr, verbs: &[&str]) -> bool {
    word.to_str().is_some_and(|word| verbs.contains(&word))
}

impl Global {
    pub(super) fn read(tokens: &[Token], argv: &[OsString]) -> Global {
        let last = |name: &str| {
            tokens
                .iter()
                .rfind(|token| token.flag.name == name)
                .map(|token| token.value(argv))
        };
        let path = |name: &str| {
            last(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Global {
            root: path("root"),
            log: path("log"),
            log_format: match last("log-format") {
                Some(format) if format == "json" => LogFormat::Json,
                _ => LogFormat::Text,
            },
            debug: tokens
                .iter()
                .rfind(|token| token.flag.name == "debug")
                .is_some_and(|token| bool_of(token) == Some(true)),
        }
    }
}
