//! Words into an [`Invocation`].

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::flags::{self, Flag, Takes};
use super::head::Head;
use super::tail::Tail;
use super::{Global, Invocation, Layout, Rejected, Token, Verb};

/// Reads the whole command line.
pub(super) fn invocation(argv: Vec<OsString>) -> Result<Invocation, Box<Rejected>> {
    let program = base_name(argv.first());
    // 1. What stands before the verb, never refused by itself.
    let head = Head::read(&argv);
    let global = Global::read(&head.tokens, &argv);
    let reject = |error| {
        Box::new(Rejected {
            program: program.clone(),
            global: global.clone(),
            error,
        })
    };
    let Some(verb_at) = head.verb else {
        let layout = Layout {
            verb: None,
            id: None,
            tokens: head.tokens,
        };
        return Ok(Invocation {
            program,
            argv,
            global,
            verb: Verb::None,
            help: head.help,
            layout,
        });
    };
    let name = argv[verb_at].to_string_lossy().into_owned();
    // 2. What stands behind it: strictly where processes are started, leniently elsewhere.
    let table = match name.trim() {
        "create" => flags::CREATE,
        "run" => flags::RUN,
        "exec" => flags::EXEC,
        "start" => flags::START,
        "restore" => flags::RESTORE,
        _ => {
            if let Some(error) = head.torn(&argv, verb_at, &name) {
                return Err(reject(error));
            }
            return Ok(lenient(program, argv, global, head, verb_at, &name));
        }
    };
    if let Some(error) = head.refusal(&argv, &name) {
        return Err(reject(error));
    }
    let tail = Tail::read(&argv, verb_at, name.trim(), table).map_err(&reject)?;
    let verb = if tail.help {
        Verb::Other {
            name: name.clone(),
            id: None,
        }
    } else {
        tail.verb(&argv, &name).map_err(&reject)?
    };
    // 3. Where everything stands, for writing it again.
    let mut tokens = head.tokens;
    tokens.extend(tail.tokens);
    let layout = Layout {
        verb: Some(verb_at),
        id: tail.words.first().copied(),
        tokens,
    };
    Ok(Invocation {
        program,
        argv,
        global,
        verb,
        help: tail.help,
        layout,
    })
}

/// A verb that is forwarded, or `checkpoint`.
fn lenient(
    program: String,
    argv: Vec<OsString>,
    global: Global,
    head: Head,
    verb_at: usize,
    name: &str,
) -> Invocation {
    let table = if name == "checkpoint" {
        flags::CHECKPOINT
    } else {
        flags::FORWARDED
    };
    let (id, help) = best_effort(&argv, verb_at, table);
    let verb = if name == "checkpoint" {
        Verb::Checkpoint { id, help }
    } else {
        Verb::Other {
            name: name.to_owned(),
            id,
        }
    };
    let layout = Layout {
        verb: Some(verb_at),
        id: None,
        tokens: head.tokens,
    };
    Invocation {
        program,
        argv,
        global,
        verb,
        help,
        layout,
    }
}

/// A word that looks like a flag, taken apart.
pub(super) struct Spelled<'a> {
    pub(super) name: &'a str,
    pub(super) inline: Option<OsString>,
    pub(super) dashes: usize,
}

/// Takes `word` apart if it is a flag at all; `-` and `--` are not. A name that is not UTF-8 is
/// empty.
pub(super) fn spelled(word: &OsStr) -> Option<Spelled<'_>> {
    let bytes = word.as_bytes();
    if !bytes.starts_with(b"-") || bytes == b"-" || bytes == b"--" {
        return None;
    }
    let dashes = if bytes.starts_with(b"--") { 2 } else { 1 };
    let rest = &bytes[dashes..];
    let (name, inline) = match rest.iter().position(|byte| *byte == b'=') {
        Some(at) => (
            &rest[..at],
            Some(OsString::from_vec(rest[at + 1..].to_vec())),
        ),
        None => (rest, None),
    };
    Some(Spelled {
        name: std::str::from_utf8(name).unwrap_or(""),
        inline,
        dashes,
    })
}

/// `--help` in the forms of runc, crun and youki, without a value that could deny it.
pub(super) fn is_help_word(spelled: &Spelled<'_>) -> bool {
    spelled.inline.is_none() && matches!(spelled.name, "help" | "h" | "?" | "usage")
}

pub(super) fn is_version_word(spelled: &Spelled<'_>) -> bool {
    spelled.inline.is_none() && matches!(spelled.name, "version" | "v" | "V")
}

/// A switch's value as Go's strconv.ParseBool reads it; true where it has none.
pub(super) fn bool_of(token: &Token) -> Option<bool> {
    let Some(inline) = &token.inline else {
        return Some(true);
    };
    match inline.to_str()? {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// The id and whether help is asked for, of a verb that is forwarded whatever it says.
fn best_effort(
    argv: &[OsString],
    verb_at: usize,
    table: &'static [Flag],
) -> (Option<String>, bool) {
    let mut help = false;
    let mut at = verb_at + 1;
    while at < argv.len() {
        let word = &argv[at];
        match spelled(word) {
            Some(spelled) if is_help_word(&spelled) => help = true,
            Some(spelled) => {
                let flag = flags::find(table, spelled.name);
                let next =
                    spelled.inline.is_none() && flag.is_some_and(|flag| flag.takes == Takes::Value);
                at += usize::from(next);
            }
            None if word == "--" => {}
            None => return (word.to_str().map(str::to_owned), help),
        }
        at += 1;
    }
    (None, help)
}

fn base_name(program: Option<&OsString>) -> String {
    program
        .and_then(|program| Path::new(program).file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
