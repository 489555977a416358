//! All errors of a file, so far as they do not depend on each other.
//!
//! The reader stops at the first error. A profile is a mapping of keys that are judged by themselves, so
//! what stands under the key with the error is blanked out, and the rest is read again, line numbers
//! unchanged. Of one key the first error alone is told: what a reader would say of the rest of a list
//! that it has lost its way in is worth nothing.

use super::super::model::Document;
use super::{Error, Problem};

/// Most errors that are told: whoever has more mends these first.
const MOST: usize = 20;

/// As [`Document::parse`], with one error of every key of the file.
///
/// # Errors
///
/// All of them, in the order of lines; at least one.
pub fn parse_all(source: &str, text: &str) -> Result<Document, Vec<Error>> {
    let mut errors: Vec<Error> = Vec::new();
    let mut rest = text.to_owned();
    while errors.len() < MOST {
        let error = match Document::parse(source, &rest) {
            Ok(document) if errors.is_empty() => return Ok(document),
            Ok(_) => break,
            Err(error) => error,
        };
        let line = error.origin.line();
        let again = errors.iter().any(|had| had.origin.line() == line);
        // What is missing is missing for good, and what is no YAML has no keys.
        let missing = match &error.problem {
            Problem::Syntax(_) => true,
            Problem::Text(text) => text.contains("is missing\n"),
            _ => false,
        };
        let blanked = without_key(&rest, line);
        if !again {
            errors.push(error);
        }
        match blanked {
            Some(blanked) if !again && !missing => rest = blanked,
            _ => break,
        }
    }
    errors.sort_by_key(|error| error.origin.line());
    Err(errors)
}

/// The text without the top key that line `at` (from 1) belongs to; none where that would take away
/// what every file needs, or nothing.
fn without_key(text: &str, at: u32) -> Option<String> {
    let lines: Vec<&str> = text.split('\n').collect();
    let at = usize::try_from(at).ok()?.checked_sub(1)?;
    let is_key = |line: &str| line.starts_with(|c: char| c.is_ascii_alphabetic());
    let first = (0..=at.min(lines.len() - 1)).rfind(|&i| is_key(lines[i]))?;
    let needed = ["version:", "name:"];
    if needed.iter().any(|key| lines[first].starts_with(key)) {
        return None;
    }
    let after = (first + 1..lines.len()).find(|&i| is_key(lines[i]));
    let end = after.unwrap_or(lines.len());
    let kept = |(i, line): (usize, &&str)| {
        if (first..end).contains(&i) {
            String::new()
        } else {
            (*line).to_owned()
        }
    };
    let all: Vec<String> = lines.iter().enumerate().map(kept).collect();
    Some(all.join("\n"))
}
