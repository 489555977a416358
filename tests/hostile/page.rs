//! The table in README.md, made of what happened.

use std::fs;
use std::path::PathBuf;

use super::run::{Outcomes, WARDS, Ward};
use super::steps::{self, Step};

const BEGIN: &str = "<!-- outcomes: made by MANTLET_BLESS=1 cargo test --test live hostile -->\n";
const END: &str = "<!-- end of outcomes -->\n";

/// Answers that say: the kernel or the machine lacks the object, so there is nothing to attack.
const ABSENT: [&str; 7] = [
    "ENOSYS",
    "ENOENT",
    "ENODEV",
    "ENXIO",
    "EAFNOSUPPORT",
    "EPROTONOSUPPORT",
    "ENOTTY",
];

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/README.md")
}

/// Whether this machine has what `step` attacks.
pub fn present(outcomes: &Outcomes, step: &Step) -> bool {
    !ABSENT.contains(&outcomes.of(Ward::Nothing, step))
}

/// The page's table.
pub fn table(outcomes: &Outcomes) -> String {
    let count = |wanted: &dyn Fn(&Step) -> bool| steps::all().iter().filter(|s| wanted(s)).count();
    let [nothing, default, baseline, restricted] =
        WARDS.map(|ward| count(&|step| outcomes.of(ward, step) == "worked"));
    let mut text = format!(
        "Of {} steps {nothing} work where nothing is in the way, {default} under RuntimeDefault, \
         {baseline} under `baseline`,\nand under `restricted` the {restricted} that are out of \
         scope. {} find nothing to attack on the machine that made this page.\n",
        steps::all().len(),
        count(&|step| !present(outcomes, step)),
    );
    let mut section = "";
    for step in steps::all() {
        if step.section != section {
            section = step.section;
            text += &format!(
                "\n### {section}\n\n| step | after | nothing | RuntimeDefault | `baseline` | \
                 `restricted` | |\n|---|---|---|---|---|---|---|\n"
            );
        }
        text += &row(outcomes, step);
    }
    text
}

/// One line of the table. Its note says why an answer is not what one would expect.
fn row(outcomes: &Outcomes, step: &Step) -> String {
    let cells = WARDS.map(|ward| match outcomes.of(ward, step) {
        "worked" => "**worked**".to_owned(),
        other => other.to_owned(),
    });
    let note = match (step.permitted, step.inert) {
        (Some(why), _) => format!("out of scope: {why}"),
        (None, Some(why)) => why.to_owned(),
        (None, None) if !present(outcomes, step) => "not on this machine".to_owned(),
        (None, None) => String::new(),
    };
    format!("{}{} | {note} |\n", head(step), cells.join(" | "))
}

/// The page cut at the marks of its table.
fn parts() -> (String, String, String) {
    let page = fs::read_to_string(path()).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page marks its table");
    let (table, after) = rest
        .split_once(END)
        .expect("the page marks its table's end");
    (before.into(), table.into(), after.into())
}

/// Writes the page anew.
pub fn bless(outcomes: &Outcomes) {
    let ((before, _, after), table) = (parts(), table(outcomes));
    fs::write(path(), format!("{before}{BEGIN}{table}{END}{after}")).expect("a file of ours");
}

/// What the page should say and does not. A step that meets another machine or engine than the
/// page's (it is answered differently without mantlet) is told and passed over: the other tests hold
/// it.
pub fn missing(outcomes: &Outcomes) -> Vec<String> {
    let (_, page, _) = parts();
    let (mut missing, mut elsewhere) = (Vec::new(), false);
    for step in steps::all() {
        let (head, row) = (head(step), row(outcomes, step));
        let said = page.lines().find_map(|line| line.strip_prefix(&head));
        let found = row.trim_end().strip_prefix(&head);
        if said == found {
            continue;
        }
        if said.is_some() && without_us(said) != without_us(found) {
            eprintln!("{}: not the machine of README.md: {row}", step.name);
            elsewhere = true;
        } else {
            missing.push(row);
        }
    }
    if missing.is_empty() && !elsewhere && page != table(outcomes) {
        missing.push("figures, headings or order".into());
    }
    missing
}

/// The first two answers of a row.
fn without_us(cells: Option<&str>) -> Option<Vec<&str>> {
    Some(cells?.split(" | ").take(2).collect())
}

/// A row up to its answers.
fn head(step: &Step) -> String {
    format!("| {} | {} | ", step.name, step.from)
}
