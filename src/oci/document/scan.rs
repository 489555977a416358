//! A second look at the raw text: what a parser into values cannot see any more.
//!
//! serde_json keeps the last of two equal keys, Go merges them, crun keeps one of its own choice;
//! so equal keys are refused, and with them all else that two readers read differently. The scanner
//! runs after serde_json accepted the text, so it may trust the grammar; it still never indexes
//! blindly.

use std::borrow::Cow;
use std::collections::HashSet;

use super::shape::{Below, Shape};

/// Something that two runtimes would read differently, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) what: Oddity,
    /// From 1.
    pub(super) line: usize,
    /// In bytes, from 1.
    pub(super) column: usize,
}

/// What is odd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Oddity {
    /// The same key twice in one object.
    #[error(
        "the key {key:?} stands twice in one object, and runtimes disagree about which counts; keep one"
    )]
    DuplicateKey {
        /// The key, unescaped.
        key: String,
    },
    /// A key that Go takes for a known one, and others do not.
    #[error(
        "the key {key:?} differs from {known:?} in letter case only, and runc would read it as that; write {known:?}"
    )]
    LetterCase {
        /// The key as written.
        key: String,
        /// The known key.
        known: &'static str,
    },
    /// A NUL, where C ends a string.
    #[error("a string holds \\u0000, where crun would end it; remove it")]
    Nul,
    /// A key by which serde_json marks its own values.
    #[error("the key {key:?} is reserved by the parser; remove it")]
    ReservedKey {
        /// The key.
        key: String,
    },
}

/// Looks through `text`, which serde_json accepted, as an object of `shape`.
pub(super) fn scan(text: &str, shape: &'static Shape) -> Result<(), Finding> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.value(Some(Below::One(shape)))
}

/// The nesting of `text`: the largest number of open brackets, whatever else it is.
pub(super) fn depth(text: &[u8]) -> usize {
    let (mut open, mut most, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                open += 1;
                most = most.max(open);
            }
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    most
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn finding(&self, what: Oddity, at: usize) -> Finding {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count()
            + 1;
        Finding { what, line, column }
    }

    fn value(&mut self, below: Option<Below>) -> Result<(), Finding> {
        self.skip_blank();
        match self.peek() {
            Some(b'{') => {
                let shape = if let Some(Below::One(shape)) = below {
                    Some(shape)
                } else {
                    None
                };
                self.object(shape)
            }
            Some(b'[') => {
                let each = if let Some(Below::Many(shape)) = below {
                    Some(Below::One(shape))
                } else {
                    None
                };
                self.array(each)
            }
            Some(b'"') => self.string().map(|_| ()),
            _ => {
                while self
                    .peek()
                    .is_some_and(|byte| !b",]} \t\r\n".contains(&byte))
                {
                    self.at += 1;
                }
                Ok(())
            }
        }
    }

    fn array(&mut self, each: Option<Below>) -> Result<(), Finding> {
        self.at += 1;
        loop {
            self.skip_blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                None => return Ok(()),
                Some(_) => self.value(each)?,
            }
        }
    }

    fn object(&mut self, shape: Option<&'static Shape>) -> Result<(), Finding> {
        let mut seen = HashSet::new();
        self.at += 1;
        loop {
            self.skip_blank();
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                None => return Ok(()),
                Some(_) => {
                    self.at += 1;
                    continue;
                }
            }
            let start = self.at;
            let key = self.string()?;
            if let Some(what) = odd_key(&key, shape) {
                return Err(self.finding(what, start));
            }
            let below = shape.and_then(|shape| shape.below(&key));
            if let Some(key) = seen.replace(key) {
                return Err(self.finding(
                    Oddity::DuplicateKey {
                        key: key.into_owned(),
                    },
                    start,
                ));
            }
            self.skip_blank();
            if self.peek() == Some(b':') {
                self.at += 1;
            }
            self.value(below)?;
        }
    }

    /// A string, unescaped; stands behind its closing quote afterwards.
    fn string(&mut self) -> Result<Cow<'a, str>, Finding> {
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                }
                b'"' => break,
                _ => {}
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        if !escaped {
            return Ok(Cow::Borrowed(raw.trim_matches('"')));
        }
        let plain: String = serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned());
        if plain.contains('\0') {
            return Err(self.finding(Oddity::Nul, start));
        }
        Ok(Cow::Owned(plain))
    }
}

fn odd_key(key: &str, shape: Option<&'static Shape>) -> Option<Oddity> {
    if key.starts_with("$serde_json::private::") {
        return Some(Oddity::ReservedKey {
            key: key.to_owned(),
        });
    }
    let known = shape?.disguised(key)?;
    Some(Oddity::LetterCase {
        key: key.to_owned(),
        known,
    })
}
