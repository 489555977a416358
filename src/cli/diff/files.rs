//! Files of two sides: at each path that a rule of either is about, the rights that one grants and the
//! other does not. A difference is said once, for the topmost path that has it.

use std::collections::{BTreeMap, BTreeSet};

use super::Section;
use crate::policy::decide::Decider;
use crate::policy::mounts::beneath;
use crate::seal::rights;

/// A name that no rule has, for whatever lies beneath a path.
const ANY: &str = "\u{1}";

/// Compares.
pub fn compare(a: &Decider, b: &Decider) -> Section {
    let known = [a, b]
        .into_iter()
        .fold(0, |all, decider| all | decider.handled());
    let mut paths: BTreeSet<String> = [a, b].into_iter().flat_map(Decider::paths).collect();
    paths.insert("/".into());
    let mut said: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut section = Section::of(
        "files",
        "Files, by Landlock's rights",
        Vec::new(),
        Vec::new(),
    );
    for path in &paths {
        let alone = |path: &str| {
            let (one, other) = (a.rights(path) & known, b.rights(path) & known);
            (one & !other, other & !one)
        };
        let inside = match path.as_str() {
            "/" => format!("/{ANY}"),
            path => format!("{path}/{ANY}"),
        };
        let (own, within) = (alone(path), alone(&inside));
        // The nearest path above that was looked at tells what is expected here.
        let above = said.iter().filter(|(top, _)| beneath(path, top));
        let expected = above
            .max_by_key(|(top, _)| top.len())
            .map_or((0, 0), |(_, rights)| *rights);
        if within != expected {
            section.add(path, "and beneath", within);
            if within == (0, 0) {
                section.note(path, expected);
            }
        }
        // An exception's surroundings are granted without the directories on the way.
        if own != within {
            section.add(path, "itself", own);
        }
        said.insert(path.clone(), within);
    }
    section
}

impl Section {
    fn add(&mut self, path: &str, where_: &str, (a, b): (u64, u64)) {
        for (rights, list) in [(a, &mut self.only_a), (b, &mut self.only_b)] {
            if rights != 0 {
                list.push(format!(
                    "{path} {where_}: {}",
                    rights::files(rights).join(", ")
                ));
            }
        }
    }

    /// Beneath a path that differs, this one does not.
    fn note(&mut self, path: &str, (a, b): (u64, u64)) {
        for (rights, list) in [(a, &mut self.only_a), (b, &mut self.only_b)] {
            if rights != 0 {
                list.push(format!("(but {path} and beneath is alike)"));
            }
        }
    }
}
