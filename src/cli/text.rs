//! Text for people: hostile strings made harmless, tables, colours only where they are welcome.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

pub use crate::escape::escape;
use crate::event::Identity;

/// Who a container is, in one word: `namespace/pod/name` as far as known, else the id.
pub fn name(container: &Identity) -> String {
    let parts = [&container.namespace, &container.pod, &container.name];
    let known: Vec<&str> = parts
        .into_iter()
        .filter_map(|part| part.as_deref())
        .collect();
    if known.is_empty() {
        escape(&container.id)
    } else {
        escape(&known.join("/"))
    }
}

/// Arguments of a program in one line: escaped, and in quotes where a reader could not tell where one
/// ends. Not meant for a shell.
pub fn words(arguments: &[String]) -> String {
    let word = |argument: &String| {
        let safe = escape(argument);
        if safe.is_empty() || safe.contains([' ', '"', '\'', '\\']) {
            format!("\"{}\"", safe.replace('"', "\\\""))
        } else {
            safe
        }
    };
    arguments.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Text of at most `width` characters; what is cut ends with `…`. A character counts as one column,
/// which wide ones are not: the line may then be broken by the terminal, no more.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Text in lines of at most `width` characters where its words allow that, each behind `indent` spaces.
pub fn wrap(text: &str, indent: usize, width: usize) -> String {
    let margin = " ".repeat(indent);
    let mut all = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let longer = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && longer + indent > width {
            all.push_str(&format!("{margin}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    all + &format!("{margin}{line}\n")
}

/// Columns of the terminal that standard output is; none in a pipe.
pub fn width() -> Option<usize> {
    columns(io::stdout())
}

/// The same of standard error.
pub fn stderr_width() -> Option<usize> {
    columns(io::stderr())
}

fn columns(stream: impl AsFd) -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(stream)?;
    Some(usize::from(width.0))
}

/// Bytes as people count them.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

/// Whether a person sits at standard output.
pub fn on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// An id as it is shown in a column: short on a terminal, whole in a pipe.
pub fn short(id: &str) -> String {
    if on_terminal() {
        escape(&id.chars().take(13).collect::<String>())
    } else {
        escape(id)
    }
}

/// How text may stand out.
#[derive(Debug, Clone, Copy)]
pub enum Ink {
    /// As it should be.
    Good,
    /// Needs a look.
    Odd,
    /// Needs action.
    Bad,
}

/// What a person said about colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set (no-color.org)
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// What was said, for the whole of this process's life.
static CHOSEN: OnceLock<Colour> = OnceLock::new();
/// Coloured text goes to standard error rather than standard output.
static TO_STDERR: AtomicBool = AtomicBool::new(false);

/// Sets what was said on the command line; the first time counts.
pub fn choose(colour: Colour) {
    CHOSEN.get_or_init(|| colour);
}

/// From now on coloured text goes to standard error.
pub fn speak_on_stderr() {
    TO_STDERR.store(true, Ordering::Relaxed);
}

/// Whether text for people is coloured: as was asked for, else where a person is likely to see it.
pub fn takes_colour() -> bool {
    let on_stderr = TO_STDERR.load(Ordering::Relaxed);
    is_wanted(|| match on_stderr {
        true => io::stderr().is_terminal(),
        false => on_terminal(),
    })
}

/// The same for one message on standard error.
pub fn stderr_takes_colour() -> bool {
    is_wanted(|| io::stderr().is_terminal())
}

fn is_wanted(on_terminal: impl Fn() -> bool) -> bool {
    let unwanted = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match CHOSEN.get() {
        Some(Colour::Always) => true,
        Some(Colour::Never) => false,
        Some(Colour::Auto) | None => on_terminal() && !unwanted(),
    }
}

/// Colours the text, where that is wanted.
pub fn ink(text: &str, ink: Ink) -> String {
    if !takes_colour() {
        return text.to_owned();
    }
    let code = match ink {
        Ink::Good => 32,
        Ink::Odd => 33,
        Ink::Bad => 31,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Lays out rows in columns, two spaces apart; the last column is not padded. Cells are escaped
/// text already.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|c| c.chars().count());
        cells
            .chain([head[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    for row in [&head].into_iter().chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_and_reordering_become_visible() {
        assert_eq!(escape("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape("x\ny\r\tz\u{9b}"), "x\\ny\\r\\tz\\u{9b}");
        assert_eq!(escape("gpj\u{202e}exe"), "gpj\\u{202e}exe");
        assert_eq!(escape("Grüße 日本"), "Grüße 日本");
    }

    #[test]
    fn arguments_stay_apart_and_what_is_too_long_is_cut() {
        let argv = ["sh", "-c", "a b", "", "say \"x\"", "\u{1b}c"].map(String::from);
        assert_eq!(words(&argv), r#"sh -c "a b" "" "say \"x\"" "\u{1b}c""#);
        assert_eq!(cut("grüße", 5), "grüße");
        assert_eq!(cut("grüße", 4), "grü…");
    }

    #[test]
    fn text_breaks_between_words_only() {
        assert_eq!(wrap("aa bb cc", 2, 7), "  aa bb\n  cc\n");
        assert_eq!(wrap("aaaaaaaaaa b", 0, 4), "aaaaaaaaaa\nb\n");
        assert_eq!(wrap("", 1, 4), " \n");
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "b".into()],
            vec!["long".into(), "c".into()],
        ];
        assert_eq!(table(&["X", "Y"], &rows), "X     Y\na     b\nlong  c\n");
    }
}
