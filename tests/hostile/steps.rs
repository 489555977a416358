//! The corpus as `corpus.txt` has it.

use std::sync::OnceLock;

/// One step.
pub struct Step {
    /// The heading it stands under on the page.
    pub section: &'static str,
    /// Unique; the row's name on the page.
    pub name: &'static str,
    /// What `hostile` is called with.
    pub call: &'static str,
    /// The write-up, technique or CVE.
    pub from: &'static str,
    /// Who carries it out.
    pub by: By,
    /// Why `restricted` need not stop it; none where it must.
    pub permitted: Option<&'static str>,
    /// Why it does not work even where nothing stops it; none where it must.
    pub inert: Option<&'static str>,
}

/// Who carries out a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The workload, as root; then an exec session, which must be answered the same.
    Root,
    /// The same as user 1000.
    User,
    /// An exec session alone, against the workload (pid 1).
    Session,
    /// A scene of its own: see `scenes.rs`.
    Scene,
}

/// All steps, in the page's order.
pub fn all() -> &'static [Step] {
    static STEPS: OnceLock<Vec<Step>> = OnceLock::new();
    STEPS.get_or_init(|| {
        let mut section = "";
        let mut steps: Vec<Step> = Vec::new();
        for line in include_str!("corpus.txt").lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                section = heading;
            } else if !line.is_empty() && !line.starts_with('#') {
                let step = step(section, line);
                let twice = steps.iter().any(|other| other.name == step.name);
                assert!(!twice, "corpus.txt has two steps \"{}\"", step.name);
                steps.push(step);
            }
        }
        steps
    })
}

fn step(section: &'static str, line: &'static str) -> Step {
    let mut parts = line.split(" | ");
    let mut part = || parts.next().unwrap_or_else(|| panic!("corpus.txt: {line}"));
    let mut step = Step {
        section,
        name: part(),
        call: part(),
        from: part(),
        by: By::Root,
        permitted: None,
        inert: None,
    };
    for word in parts {
        match (word, word.split_once(": ")) {
            ("user", _) => step.by = By::User,
            ("session", _) => step.by = By::Session,
            ("scene", _) => step.by = By::Scene,
            (_, Some(("permitted", why))) => step.permitted = Some(why),
            (_, Some(("inert", why))) => step.inert = Some(why),
            _ => panic!("corpus.txt: {word} in {line}"),
        }
    }
    step
}
