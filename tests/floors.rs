//! A module imports only from lower floors, and modules of floor 3 do not import each other.
//! The table is the one in src/lib.rs; this test reads it there, so the two cannot drift apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What `init` may import: it runs inside containers and stays small.
const INIT_IMPORTS: [&str; 3] = ["sys", "seal", "channel"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Module → floor, from the table in the crate's documentation.
fn floors() -> BTreeMap<String, u32> {
    let text = fs::read_to_string(source().join("lib.rs")).expect("src/lib.rs");
    let mut floors = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let Some((floor, modules)) = line.split_once(" | ") else {
            continue;
        };
        let Ok(floor) = floor.trim().parse() else {
            continue;
        };
        // A module stands in the table as [`name`]; the parenthesis after `init` names its imports.
        let modules = modules.split(" (imports ").next().unwrap_or(modules);
        for module in modules
            .split("[`")
            .skip(1)
            .filter_map(|rest| rest.split_once("`]"))
        {
            floors.insert(module.0.to_owned(), floor);
        }
    }
    assert!(
        floors.len() > 10,
        "src/lib.rs has no table of floors any more"
    );
    floors
}

/// Every Rust file below `folder`.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The crate's module that a file belongs to; `None` for lib.rs, the programs, and tests that go through
/// several modules.
fn module_of(file: &Path) -> Option<String> {
    let relative = file.strip_prefix(source()).ok()?;
    let first = relative.iter().next()?.to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "bin", "tests"].contains(&name)).then(|| name.to_owned())
}

/// The text without comments and string literals, so that neither can look like an import.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '/' if rest.peek() == Some(&'/') => {
                while rest.next_if(|next| *next != '\n').is_some() {}
            }
            '"' => {
                while let Some(inside) = rest.next() {
                    match inside {
                        '\\' => drop(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            // A quote character must not open a string.
            '\'' if rest.peek() == Some(&'"') => drop((rest.next(), rest.next())),
            '\'' if rest.peek() == Some(&'\\') => drop((rest.next(), rest.next(), rest.next())),
            other => code.push(other),
        }
    }
    code
}

/// Names that follow `crate::`, those of a braced list included.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            None => drop(found.insert(identifier(part))),
            Some(list) => found.extend(first_names(list)),
        }
    }
    found
}

fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect()
}

/// First path segments of a braced list, at its own depth.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (1, Vec::new(), true);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            letter if fresh && !letter.is_whitespace() => {
                names.push(identifier(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// Module → modules it imports.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let known = floors();
    let mut found = Vec::new();
    files(&source(), &mut found);
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in found {
        let Some(module) = module_of(&file) else {
            continue;
        };
        let code = code_of(&fs::read_to_string(&file).expect("a source file"));
        let names = imports(&code)
            .into_iter()
            .filter(|name| known.contains_key(name));
        graph
            .entry(module.clone())
            .or_default()
            .extend(names.filter(|name| *name != module));
    }
    graph
}

#[test]
fn every_module_has_a_floor() {
    let known = floors();
    let modules: Vec<String> = graph().into_keys().collect();
    for module in &modules {
        assert!(
            known.contains_key(module),
            "src/lib.rs gives {module} no floor"
        );
    }
    for module in known.keys() {
        assert!(
            modules.contains(module),
            "src/lib.rs lists {module}, which is not there"
        );
    }
}

#[test]
fn a_module_imports_only_from_lower_floors() {
    let known = floors();
    for (module, names) in graph() {
        // A module without a floor is the business of the test above.
        let Some(&floor) = known.get(&module) else {
            continue;
        };
        for name in names {
            // The types of floor 1 build on each other; no cycle, says the test below.
            let fits = known[&name] < floor || (floor == 1 && known[&name] == 1);
            assert!(
                fits,
                "{module} (floor {floor}) imports {name} (floor {})",
                known[&name]
            );
        }
    }
}

#[test]
fn no_two_modules_import_each_other_by_any_path() {
    let graph = graph();
    for module in graph.keys() {
        let mut reached = BTreeSet::new();
        let mut ahead: Vec<&String> = graph[module].iter().collect();
        while let Some(next) = ahead.pop() {
            if reached.insert(next) {
                ahead.extend(graph.get(next).into_iter().flatten());
            }
        }
        assert!(
            !reached.contains(module),
            "{module} imports itself through {reached:?}"
        );
    }
}

#[test]
fn init_imports_only_what_it_needs() {
    for name in graph().get("init").into_iter().flatten() {
        assert!(
            INIT_IMPORTS.contains(&name.as_str()),
            "init imports {name}, and runs inside containers"
        );
    }
}

#[test]
fn unsafe_code_is_only_in_sys() {
    let mut found = Vec::new();
    files(&source(), &mut found);
    for file in found {
        let code = code_of(&fs::read_to_string(&file).expect("a source file"));
        let has = code
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .any(|word| word == "unsafe");
        let sys = module_of(&file).is_some_and(|module| module == "sys");
        assert!(sys || !has, "{} holds unsafe code", file.display());
    }
}

#[test]
fn the_reader_of_imports_sees_lists_and_not_comments() {
    let code = code_of(
        "// crate::cli\nuse crate::{sys::{a, b}, seal};\nlet x = \"crate::agent\"; crate::event::E",
    );
    let names: Vec<String> = imports(&code).into_iter().collect();
    assert_eq!(names, ["event", "seal", "sys"]);
}
