//! The word that was meant.

/// `did you mean …?` for the candidate nearest to `word`, else a list of the few that exist; on a line
/// of its own, as every remedy is ([`super::Error`]).
pub(in crate::profile) fn closest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> String {
    let candidates: Vec<&str> = candidates.collect();
    match nearest(word, candidates.iter().copied()) {
        Some(name) => format!("\ndid you mean `{name}`?"),
        _ if (1..=20).contains(&candidates.len()) => {
            format!("\none of {}", candidates.join(", "))
        }
        _ => String::new(),
    }
}

/// The candidate that `word` is most likely a slip of.
pub(in crate::profile) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let (far, name) = candidates.map(|c| (distance(word, c), c)).min()?;
    (far <= 1 + word.len().max(name.len()) / 4).then_some(name)
}

/// As [`closest`], for an `@group` written without its `@`.
pub(in crate::profile) fn closest_group<'a>(
    group: &str,
    names: impl Iterator<Item = &'a str>,
) -> String {
    let names: Vec<String> = names.map(|name| format!("@{name}")).collect();
    let hint = closest(&format!("@{group}"), names.iter().map(String::as_str));
    match hint.is_empty() {
        true => "\nlist the calls themselves; `mantlet explain @known` has all, profiles/README.md the groups".into(),
        false => hint,
    }
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    // A hostile word must not cost a quadratic table.
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}
