//! One question about one thing, as typed behind a profile's name, and the accesses that it comes to.

use crate::access::{Access, Argument};
use crate::cli::CliError;
use crate::cli::text::escape;
use crate::policy::decide::Decider;
use crate::profile::{capability, table};
use crate::seal::rights;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// `syscall NAME [ARG...]`; an argument that is not known is none.
    Syscall {
        name: String,
        args: Vec<Option<u64>>,
    },
    /// `path PATH [ACCESS...]`; with a slash at its end it is a directory.
    Path { path: String, doings: Vec<String> },
    /// `exec PATH`.
    Exec { path: String },
    /// `port N [bind|connect]`.
    Port { port: u16, rights: Vec<String> },
    /// `capability NAME`.
    Capability { name: &'static str },
}

/// The words that begin a question.
pub const WORDS: [&str; 5] = ["syscall", "path", "exec", "port", "capability"];

/// What may be done to a file, and what it is called with when nothing is said.
const DOINGS: [&str; 5] = ["read", "write", "execute", "create", "delete"];

impl Question {
    /// Reads a question; none where there are no words.
    ///
    /// # Errors
    /// [`CliError::Question`]: what is wrong with it, and how it is asked.
    pub fn parse(words: &[String]) -> Result<Option<Question>, CliError> {
        let Some((kind, rest)) = words.split_first() else {
            return Ok(None);
        };
        let asked = match kind.as_str() {
            "syscall" => syscall(rest),
            "path" => path(rest),
            "exec" => exec(rest),
            "port" => port(rest),
            "capability" => capability(rest),
            other => Err(format!(
                "`{}` is no question: ask {}",
                escape(other),
                WORDS.join(", ")
            )),
        };
        asked
            .map(Some)
            .map_err(|reason| CliError::Question { reason })
    }
}

fn syscall(words: &[String]) -> Result<Question, String> {
    let (name, args) = words
        .split_first()
        .ok_or("a call's name is missing: `syscall openat2 0 _ _`")?;
    if table::lookup(name) == table::Lookup::Unknown {
        return Err(format!(
            "`{}` is no system call that this build knows: write its name as in `man 2 syscalls`",
            escape(name)
        ));
    }
    if args.len() > 6 {
        return Err("a call has six arguments at most".into());
    }
    let args: Result<Vec<Option<u64>>, String> = args.iter().map(|word| register(word)).collect();
    let (name, args) = (name.clone(), args?);
    Ok(Question::Syscall { name, args })
}

/// A register: decimal, `0x…`, negative, or `_` for one that is not known.
fn register(word: &str) -> Result<Option<u64>, String> {
    if matches!(word, "_" | "?") {
        return Ok(None);
    }
    let (digits, negative) = match word.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (word, false),
    };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    let number = number.map_err(|_| {
        format!(
            "`{}` is no number: write decimal, 0x…, or _ for one that is not known",
            escape(word)
        )
    })?;
    Ok(Some(if negative {
        number.wrapping_neg()
    } else {
        number
    }))
}

fn path(words: &[String]) -> Result<Question, String> {
    let (path, doings) = words
        .split_first()
        .ok_or("a path is missing: `path /etc/shadow write`")?;
    let path = absolute(path)?;
    for word in doings {
        if !DOINGS.contains(&word.as_str()) && rights::file(word).is_none() {
            return Err(format!(
                "`{}` is nothing that is done to a file: write {}, or one of Landlock's rights: {}",
                escape(word),
                DOINGS.join(", "),
                rights::all_files().join(", ")
            ));
        }
    }
    let doings = match doings.is_empty() {
        true => DOINGS.map(str::to_owned).into(),
        false => doings.to_vec(),
    };
    Ok(Question::Path { path, doings })
}

/// A path without dots and doubled slashes; a slash at its end stays.
fn absolute(path: &str) -> Result<String, String> {
    let normal = crate::profile::normal_path(path)?;
    let folder = path.ends_with('/') && normal != "/";
    Ok(if folder { normal + "/" } else { normal })
}

fn exec(words: &[String]) -> Result<Question, String> {
    match words {
        [path] => {
            let path = absolute(path)?;
            Ok(Question::Exec { path })
        }
        _ => Err("a program's absolute path is wanted: `exec /bin/sh`".into()),
    }
}

fn port(words: &[String]) -> Result<Question, String> {
    let (number, rights) = words
        .split_first()
        .ok_or("a port is missing: `port 443 connect`")?;
    let port = number
        .parse()
        .map_err(|_| format!("`{}` is no port: write 0 to 65535", escape(number)))?;
    let wrong = rights
        .iter()
        .find(|word| !["bind", "connect"].contains(&word.as_str()));
    if let Some(word) = wrong {
        return Err(format!(
            "`{}` is nothing that is done to a port: write bind or connect",
            escape(word)
        ));
    }
    let rights = match rights.is_empty() {
        true => ["bind", "connect"].map(str::to_owned).into(),
        false => rights.to_vec(),
    };
    Ok(Question::Port { port, rights })
}

fn capability(words: &[String]) -> Result<Question, String> {
    let [word] = words else {
        return Err("a capability is wanted: `capability NET_RAW`".into());
    };
    let name = capability::canonical(&word.to_ascii_uppercase());
    name.map(|name| Question::Capability { name })
        .ok_or_else(|| format!("`{}` is no capability: see capabilities(7)", escape(word)))
}

/// The accesses that one doing to a file needs, all of them. `folder`: it is a directory.
pub fn accesses(decider: &Decider, path: &str, doing: &str, folder: bool) -> Vec<Access> {
    let path = match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = if parent.is_empty() { "/" } else { parent };
    let at = |path: &str, right: &str, entry: Option<&str>, directory| Access::File {
        path: path.to_owned(),
        right: right.to_owned(),
        entry: entry.map(str::to_owned),
        mount: decider.mount_of(path).to_owned(),
        directory,
        moved: None,
    };
    let own = |right: &str| at(path, right, None, folder);
    let beside = |right: &str| at(parent, right, Some(name), true);
    match (doing, folder) {
        ("read", false) => vec![own("read-file")],
        ("read", true) => vec![own("read-dir")],
        ("write", false) => vec![own("write-file"), own("truncate")],
        ("write", true) => ["make-reg", "remove-file"].map(own).into(),
        // The kernel reads what it executes.
        ("execute", _) => vec![own("execute"), own("read-file")],
        ("create", false) => vec![beside("make-reg")],
        ("create", true) => vec![beside("make-dir")],
        ("delete", false) => vec![beside("remove-file")],
        ("delete", true) => vec![beside("remove-dir")],
        (right, _) => match right.starts_with("make-") || right.starts_with("remove-") {
            true if !folder => vec![beside(right)],
            _ => vec![own(right)],
        },
    }
}

/// A call with what is known of its arguments.
pub fn call(name: &str, args: &[Option<u64>]) -> Access {
    let known = args.iter().enumerate();
    let known = known.filter_map(|(at, value)| {
        Some(Argument {
            index: u8::try_from(at).ok()?,
            value: (*value)?,
            mask: None,
        })
    });
    Access::Syscall {
        name: name.to_owned(),
        args: known.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Question>, CliError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Question::parse(&words)
    }

    #[test]
    fn questions_are_read_as_they_are_typed() {
        assert_eq!(parse("").unwrap(), None);
        let call = |name: &str, args: &[Option<u64>]| {
            let (name, args) = (name.to_owned(), args.to_vec());
            Some(Question::Syscall { name, args })
        };
        assert_eq!(parse("syscall openat2").unwrap(), call("openat2", &[]));
        let args = [Some(0x11), None, Some(u64::MAX)];
        assert_eq!(
            parse("syscall clone 0x11 _ -1").unwrap(),
            call("clone", &args)
        );
        let port = |port, rights: &[&str]| {
            let rights = rights.iter().map(|&right| right.to_owned()).collect();
            Some(Question::Port { port, rights })
        };
        assert_eq!(parse("port 443 connect").unwrap(), port(443, &["connect"]));
        assert_eq!(parse("port 0").unwrap(), port(0, &["bind", "connect"]));
        let name = "CAP_NET_RAW";
        assert_eq!(
            parse("capability net_raw").unwrap(),
            Some(Question::Capability { name })
        );
        let path = "/srv/".to_owned();
        let doings = vec!["create".to_owned(), "make-fifo".to_owned()];
        let asked = parse("path //srv/ create make-fifo").unwrap();
        assert_eq!(asked, Some(Question::Path { path, doings }));
    }

    #[test]
    fn what_is_no_question_is_told_what_would_be() {
        for (text, told) in [
            ("file /x", "ask syscall, path, exec"),
            ("syscall", "name is missing"),
            ("syscall opnat", "no system call"),
            ("syscall read 1 2 3 4 5 6 7", "six arguments"),
            ("syscall read x", "no number"),
            ("path", "path is missing"),
            ("path etc", "not absolute"),
            ("path /x look", "Landlock's rights"),
            ("port 70000", "0 to 65535"),
            ("port 1 listen", "bind or connect"),
            ("exec", "absolute path"),
            ("exec /a /b", "absolute path"),
            ("capability ROOT", "capabilities(7)"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
