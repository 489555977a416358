//! Writes a profile as a person would: comments, wrapped at a hundred columns, nothing that foreign
//! text could break out of.

/// Columns of a comment.
const WIDTH: usize = 100;

/// Text of a foreign file as it may stand in a comment or a message: one line, no control characters.
pub fn plain(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() || is_format(c) {
            '\u{fffd}'
        } else {
            c
        }
    };
    let mut all: String = text.chars().take(300).map(shown).collect();
    if text.chars().count() > 300 {
        all.push('…');
    }
    all
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
    for word in plain(text).split_whitespace() {
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

/// A scalar in double quotes.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
