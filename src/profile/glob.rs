//! Patterns for paths and names: `*` is any text within one component, `**` any text across
//! components, `?` one character other than `/`. No classes and no escapes: every other character
//! stands for itself.

/// Whether `pattern` matches the whole of `text`. Time and space are bounded by the product of
/// their lengths, whatever the pattern: texts may come from a pod's author.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // `reached[i]`: what was read of the pattern matches the first `i` characters.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    let mut rest = pattern.chars().peekable();
    while let Some(letter) = rest.next() {
        let mut next = vec![false; reached.len()];
        if letter == '*' {
            let across = rest.next_if_eq(&'*').is_some();
            let mut open = false;
            for (at, now) in next.iter_mut().enumerate() {
                // A text grows by the character before `at`; `/` ends what one star stands for.
                open = reached[at] || (open && (across || text[at - 1] != '/'));
                *now = open;
            }
        } else {
            for (at, have) in text.iter().enumerate() {
                let fits = if letter == '?' {
                    *have != '/'
                } else {
                    *have == letter
                };
                next[at + 1] = reached[at] && fits;
            }
        }
        reached = next;
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stays_within_a_component_and_two_do_not() {
        for (pattern, text, want) in [
            ("/run/x", "/run/x", true),
            ("/run/x", "/run/xy", false),
            ("/run/*", "/run/x", true),
            ("/run/*", "/run/", true),
            ("/run/*", "/run/x/y", false),
            ("/run/**", "/run/x/y", true),
            ("/run/**", "/run", false),
            ("/run/*/s", "/run/a/s", true),
            ("/run/*/s", "/run/a/b/s", false),
            ("/**/s", "/run/a/b/s", true),
            ("/r?n", "/run", true),
            ("/r?n", "/r/n", false),
            ("/r?n", "/rün", true),
            ("/?", "/ü", true),
            ("*.sock", "a.sock", true),
            ("", "", true),
            ("", "a", false),
            ("[a]", "a", false),
            ("***", "a/b", true),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} and {text}");
        }
    }

    #[test]
    fn many_stars_are_answered_at_once() {
        let pattern = "*a".repeat(100) + "b";
        assert!(!matches(&pattern, &"a".repeat(4000)));
    }
}
