//! Writes a profile as a person would: comments, wrapped at a hundred columns, nothing that foreign
//! text could break out of.

pub use crate::yaml::quoted;

/// Columns of a comment.
const WIDTH: usize = 100;

/// Most characters of a foreign name or path that a message repeats.
const MOST: usize = 300;

/// Text of a foreign file as it may stand in a comment or a message: one line, no control characters, cut.
pub fn plain(text: &str) -> String {
    let mut all: String = text.chars().take(MOST).collect();
    if text.chars().count() > MOST {
        all.push('…');
    }
    flat(&all)
}

/// A parser's message: what is wrong, and on the next line what to do.
pub fn message(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.collect();
    plain(&lines.join("; "))
}

/// The same of any length.
fn flat(text: &str) -> String {
    let shown = |c: char| match c.is_control() || is_format(c) {
        true => '\u{fffd}',
        false => c,
    };
    text.chars().map(shown).collect()
}

/// Marks that change how the rest of a line is shown, line ends of YAML among them.
fn is_format(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A comment, wrapped.
pub fn comment(indent: usize, text: &str) -> String {
    let pad = " ".repeat(indent);
    let mut out = String::new();
    let mut line = String::new();
    for word in flat(text).split_whitespace() {
        if !line.is_empty() && indent + 2 + line.chars().count() + 1 + word.chars().count() > WIDTH
        {
            out += &format!("{pad}# {line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    if !line.is_empty() {
        out += &format!("{pad}# {line}\n");
    }
    out
}
