//! One finding as a compiler shows it: what, where, the line with a mark under the word, what to do.

use std::fmt::Write as _;

use super::super::origin::Origin;
use crate::escape::{escape, width};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Most likely not what was meant.
    Warning,
    /// Wrong.
    Error,
}

impl Level {
    /// As people and programs read it; SARIF has the same three.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Level::Note => "36",
            Level::Warning => "33",
            Level::Error => "31",
        }
    }
}

/// What somebody found in a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// A stable code, such as `M001`.
    pub code: Option<&'static str>,
    /// What.
    pub message: String,
    /// Where.
    pub origin: Origin,
    /// What to do.
    pub help: Option<String>,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// With colours.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

impl Look {
    /// Without colours, for files and pipes.
    pub const PLAIN: Look = Look {
        colour: false,
        width: 100,
    };

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Finding {
    /// Several lines, the last one with its end. Text of the file is escaped: a profile may come from
    /// anywhere, and a terminal obeys what it is shown.
    #[must_use]
    pub fn show(&self, look: Look) -> String {
        let mut out = String::new();
        let level = match self.code {
            Some(code) => format!("{}[{code}]", self.level.word()),
            None => self.level.word().to_owned(),
        };
        let level = look.paint(&format!("1;{}", self.level.colour()), &level);
        let _ = writeln!(out, "{level}: {}", look.paint("1", &escape(&self.message)));
        let number = self.origin.line().to_string();
        let margin = " ".repeat(number.len());
        let bar = look.paint("1;34", "|");
        if self.origin.source().is_some() {
            let arrow = look.paint("1;34", "-->");
            let _ = writeln!(out, "{margin}{arrow} {}", escape(&self.origin.to_string()));
        }
        if let Some((line, mark)) = self.snippet(look.width.saturating_sub(number.len() + 3)) {
            let number = look.paint("1;34", &number);
            let mark = look.paint(&format!("1;{}", self.level.colour()), mark.trim_end());
            let _ = writeln!(
                out,
                "{margin} {bar}\n{number} {bar} {line}\n{margin} {bar} {mark}"
            );
        }
        if let Some(help) = &self.help {
            let equals = look.paint("1;34", "=");
            let _ = writeln!(out, "{margin} {equals} help: {}", escape(help));
        }
        out
    }

    /// The line of the file and what stands under it, at most `room` columns of both.
    fn snippet(&self, room: usize) -> Option<(String, String)> {
        let source = self.origin.source()?;
        let at = usize::try_from(self.origin.line()).ok()?.checked_sub(1)?;
        let line: Vec<char> = source.text.lines().nth(at)?.chars().collect();
        let from = usize::try_from(self.origin.column())
            .ok()?
            .saturating_sub(1);
        let from = from.min(line.len());
        let to = (from + word(&line[from..])).max(from + 1);
        // A line that is too long is shown from a little before the word on.
        let room = room.max(20);
        let columns = |chars: &[char]| -> usize { chars.iter().map(|c| width(*c)).sum() };
        let cut = columns(&line[..to.min(line.len())]) > room;
        let begin = if cut { from.saturating_sub(8) } else { 0 };
        let mut shown = String::from(if begin > 0 { "…" } else { "" });
        let mut mark = String::from(if begin > 0 { " " } else { "" });
        let mut used = shown.chars().count();
        for (i, c) in line.iter().enumerate().skip(begin) {
            let safe = escape(&c.to_string());
            let wide: usize = safe.chars().map(width).sum();
            if used + wide >= room && i + 1 < line.len() {
                shown.push('…');
                break;
            }
            used += wide;
            shown.push_str(&safe);
            let under = if (from..to).contains(&i) { "^" } else { " " };
            mark.push_str(&under.repeat(wide));
        }
        if from >= line.len() {
            mark.push('^');
        }
        Some((shown, mark))
    }
}

/// Characters of the YAML thing at the beginning of `text`, so far as it stands on this line.
fn word(text: &[char]) -> usize {
    match text.first() {
        Some(quote @ ('"' | '\'')) => {
            let end = text.iter().skip(1).position(|c| c == quote);
            end.map_or(text.len(), |end| end + 2)
        }
        Some('{' | '[') => {
            let mut depth = 0_usize;
            for (i, c) in text.iter().enumerate() {
                match c {
                    '{' | '[' => depth += 1,
                    '}' | ']' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    return i + 1;
                }
            }
            trimmed(text)
        }
        _ => {
            let ends = |i: usize, c: char| match c {
                ',' | ']' | '}' => true,
                ':' => text.get(i + 1).is_none_or(|next| next.is_whitespace()),
                ' ' => text.get(i + 1) == Some(&'#'),
                _ => false,
            };
            let end = text.iter().enumerate().find(|(i, c)| ends(*i, **c));
            trimmed(&text[..end.map_or(text.len(), |(i, _)| i)])
        }
    }
}

fn trimmed(text: &[char]) -> usize {
    let blanks = text.iter().rev().take_while(|c| c.is_whitespace()).count();
    text.len() - blanks
}
