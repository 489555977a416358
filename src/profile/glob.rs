//! Patterns over whole strings, for an admin's rules on images, names and paths of the host.
//!
//! `*` stands for any characters of one path segment, `**` for any characters at all, `?` for one
//! character that is no slash; everything else is itself. A pattern covers the whole string, and a
//! pattern that is a lone `*` every string. Nothing is folded or decoded first: `Web` is not `web`.

/// Whether `pattern` covers the whole of `text`.
#[must_use]
pub fn covers(pattern: &str, text: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (tokens, text) = (tokens(pattern), text.chars().collect::<Vec<char>>());
    // `reached[n]`: the tokens so far can cover the first n characters. One pass for each token, so
    // no pattern takes longer than its length times the text's.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for token in tokens {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            let before = at.checked_sub(1);
            next[at] = match token {
                Token::Any => reached[at] || before.is_some_and(|b| next[b]),
                Token::Segment => reached[at] || before.is_some_and(|b| next[b] && text[b] != '/'),
                Token::One => before.is_some_and(|b| reached[b] && text[b] != '/'),
                Token::Is(letter) => before.is_some_and(|b| reached[b] && text[b] == letter),
            };
        }
        reached = next;
    }
    reached[text.len()]
}

#[derive(Clone, Copy)]
enum Token {
    Any,
    Segment,
    One,
    Is(char),
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut letters = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(letter) = letters.next() {
        tokens.push(match letter {
            '*' if letters.next_if_eq(&'*').is_some() => Token::Any,
            '*' => Token::Segment,
            '?' => Token::One,
            letter => Token::Is(letter),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_pattern_covers_the_whole_string() {
        for (pattern, text) in [
            ("web", "web"),
            ("*", ""),
            ("*", "registry.example/team/web:1"),
            ("web-*", "web-"),
            ("w?b", "wéb"),
            ("registry.example/*/web:*", "registry.example/team/web:1"),
            ("registry.example/**", "registry.example/a/b/c@sha256:0"),
            ("**/web:*", "registry.example/a/web:1"),
            ("/var/lib/*/x", "/var/lib/a/x"),
            ("***", "a/b"),
        ] {
            assert!(covers(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("web", "webs"),
            ("web", "Web"),
            ("web", "wеb"),
            ("?", ""),
            ("?", "/"),
            ("", "a"),
            ("*b", "a/b"),
            ("registry.example/*", "registry.example/a/b"),
            ("a.c", "abc"),
            ("[a]", "a"),
        ] {
            assert!(!covers(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_their_length_times_the_texts() {
        let (pattern, text) = ("*a".repeat(200), "a".repeat(1999));
        assert!(!covers(&(pattern + "b"), &text));
    }
}
