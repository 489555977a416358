//! Text as a scalar of YAML, for whatever is written here: profiles, the lines that would mend one, snippets.
//!
//! The texts are often foreign (paths out of a container, names out of somebody's file). What is written is read as
//! that very text by readers of YAML 1.1 and 1.2, in a block and within brackets, as a key and as a value; and it is
//! harmless on a terminal.

use std::fmt::Write as _;

/// What readers take for no text, in any mixture of letters (YAML 1.1 and 1.2, and what numbers are to some).
const WORDS: [&str; 13] = [
    "true",
    "false",
    "null",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "inf",
    "nan",
    "infinity",
    "undefined",
];

/// Plain where nobody could take it for something else, else in double quotes.
#[must_use]
pub fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+');
    let begins = |c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_');
    let word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    match !word && text.starts_with(begins) && text.chars().all(plain) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// In double quotes. Letters and digits stay as they are, in any script; whatever else is not of ASCII, or cannot be
/// seen, is told by its number.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            ' '..='~' => out.push(letter),
            _ if letter.is_alphanumeric() => out.push(letter),
            // Writing to a String cannot fail.
            _ => {
                let number = u32::from(letter);
                let _ = match number {
                    ..=0xffff => write!(out, "\\u{number:04x}"),
                    _ => write!(out, "\\U{number:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Where a scalar can stand: each has to give the text back, and nothing besides.
    fn read_back(text: &str) {
        for written in [scalar(text), quoted(text)] {
            for (page, wanted) in [
                (written.clone(), json!(text)),
                (format!("key: {written}\n"), json!({"key": text})),
                (format!("key: {written} # note\n"), json!({"key": text})),
                (format!("- {written}\n- x\n"), json!([text, "x"])),
                (format!("key: [{written}, x]"), json!({"key": [text, "x"]})),
                (
                    format!("{{a: {written}, b: x}}"),
                    json!({"a": text, "b": "x"}),
                ),
                (format!("{written}: x\n"), json!({text: "x"})),
                (format!("{{{written}: x}}"), json!({text: "x"})),
            ] {
                let read = serde_saphyr::from_str::<Value>(&page);
                assert_eq!(read.ok(), Some(wanted), "{page:?}");
            }
            assert_eq!(crate::escape::escape(&written), written, "{text:?}");
        }
    }

    #[test]
    fn what_is_meant_to_be_read_is_plain() {
        for text in [
            "/usr/bin",
            "/a.b/c-d_e+f",
            "openat",
            "SYS_ADMIN",
            "_sysctl",
            "web",
        ] {
            assert_eq!(scalar(text), text);
            read_back(text);
        }
    }

    #[test]
    fn whatever_somebody_could_take_for_something_else_is_quoted_and_read_as_it_is() {
        for text in [
            "",
            " ",
            "yes",
            "No",
            "ON",
            "off",
            "y",
            "N",
            "true",
            "False",
            "null",
            "Null",
            "~",
            "12",
            "0x1f",
            "0o17",
            "017",
            "1e3",
            "1_000",
            "12:30:45",
            "2026-11-26",
            "+1",
            "-1",
            ".5",
            ".inf",
            "-.INF",
            ".nan",
            "inf",
            "NaN",
            "Infinity",
            "<<",
            "=",
            "-",
            "- x",
            "-x",
            "--- x",
            "...",
            "?",
            "? x",
            ":",
            "a: b",
            "a:",
            ":a",
            "a #b",
            "#a",
            "@basic",
            "`a`",
            "%a",
            "!a",
            "!!str a",
            "&a",
            "*a",
            "|",
            ">",
            "|-",
            "'a'",
            "\"a\"",
            "a, b",
            "[a]",
            "{a: b}",
            "a]",
            "a}",
            "a\\b",
            "\\n",
            "a b",
            " a",
            "a ",
            "a\nb",
            "a\n",
            "\ta",
            "a\r\n",
            "\0",
            "\u{1b}[2J",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{ad}",
            "\u{200b}",
            "\u{202e}",
            "\u{2028}",
            "\u{2029}",
            "\u{feff}",
            "\u{fffd}",
            "\u{fffe}",
            "\u{ffff}",
            "\u{1f600}",
            "\u{e0001}",
            "\u{10ffff}",
            "é",
            "e\u{301}",
            "日本",
            "ı",
        ] {
            assert!(scalar(text).starts_with('"'), "{text:?}");
            read_back(text);
        }
    }

    /// A generator of our own: nothing here needs more than numbers that look random.
    #[test]
    fn any_text_is_read_back_as_it_is() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: u32| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u32::try_from(state >> 33).unwrap_or_default() % below
        };
        let signs: Vec<char> = "-:#,[]{}&*!|>'\"%@`?~<=.+_/\\ \t\n\r0123456789eExXonyfalsrtu"
            .chars()
            .collect();
        for _ in 0..3000 {
            let length = next(9);
            let text: String = (0..length)
                .filter_map(|_| match next(8) {
                    0 => char::from_u32(next(0x11_0000)),
                    1 => char::from_u32(next(0x100)),
                    _ => Some(signs[next(signs.len() as u32) as usize]),
                })
                .collect();
            read_back(&text);
        }
    }
}
