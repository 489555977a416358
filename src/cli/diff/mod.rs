//! `mantlet diff`: what one profile allows and another does not, by what they come to and not by their text.

mod calls;
mod files;
mod rest;

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::completions::PROFILE;
use super::subject::{Over, Subject};
use super::text::{self, Ink, escape, ink};
use super::{CliError, print_json, warn};
use crate::config::Config;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is compared
    #[arg(value_name = "A", value_parser = PROFILE, hide_possible_values = true)]
    a: String,
    /// With what
    #[arg(value_name = "B", value_parser = PROFILE, hide_possible_values = true)]
    b: String,
    #[command(flatten)]
    over: Over,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One kind of difference.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Its name for programs.
    pub key: &'static str,
    /// What its lines say of who has them.
    pub title: &'static str,
    /// A's alone.
    pub only_a: Vec<String>,
    /// B's alone.
    pub only_b: Vec<String>,
}

impl Section {
    /// From two lists of which both may have the same.
    pub fn of(key: &'static str, title: &'static str, a: Vec<String>, b: Vec<String>) -> Section {
        let alone = |one: &[String], other: &[String]| {
            one.iter()
                .filter(|line| !other.contains(line))
                .cloned()
                .collect()
        };
        Section {
            key,
            title,
            only_a: alone(&a, &b),
            only_b: alone(&b, &a),
        }
    }

    fn is_empty(&self) -> bool {
        self.only_a.is_empty() && self.only_b.is_empty()
    }
}

/// Compares.
pub fn diff(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let mut over = args.over.clone();
    let container = |word: &str| word.strip_prefix("container:").map(str::to_owned);
    for id in [container(&args.a), container(&args.b)]
        .into_iter()
        .flatten()
    {
        // The first one gives the container; of two, each is looked at over its own.
        over.container.get_or_insert(id);
    }
    let side = |word: &str| match container(word) {
        Some(id) => {
            let own = Over {
                container: Some(id),
                ..over.clone()
            };
            Subject::of(&[], &own, config)
        }
        None => Subject::of(&[word], &over, config),
    };
    let (mut a, mut b) = (side(&args.a)?, side(&args.b)?);
    // Both over one pod: it asks for what either may give.
    let names = [&a, &b].map(Subject::capabilities).concat();
    a.ask_for(&names);
    b.ask_for(&names);
    let (one, other) = (a.decider()?, b.decider()?);
    for warning in a.warnings.iter().chain(&b.warnings) {
        warn(warning);
    }
    let mut sections = calls::compare(&one.0, &other.0);
    sections.push(files::compare(&one.0, &other.0));
    sections.extend(rest::compare(&a, &b, &one.1, &other.1));
    sections.retain(|section| !section.is_empty());
    if args.json {
        print_json(&json!({
            "a": {"name": args.a, "over": a.about},
            "b": {"name": args.b, "over": b.about},
            "landlock_abi": a.host.landlock_abi,
            "same": sections.is_empty(),
            "sections": sections,
        }))?;
    } else {
        io::stdout()
            .lock()
            .write_all(page(args, &a, &b, &sections).as_bytes())?;
    }
    Ok(ExitCode::from(u8::from(!sections.is_empty())))
}

fn page(args: &Args, a: &Subject, b: &Subject, sections: &[Section]) -> String {
    if sections.is_empty() {
        return format!(
            "{} and {} come to the same, over {}, Landlock ABI {}\n",
            escape(&args.a),
            escape(&args.b),
            escape(&a.about),
            a.host.landlock_abi
        );
    }
    let mut page = format!(
        "--- {}: {}\n+++ {}: {}\nover: {}, Landlock ABI {}\n",
        escape(&args.a),
        escape(&a.title()),
        escape(&args.b),
        escape(&b.title()),
        escape(&a.about),
        a.host.landlock_abi
    );
    let width = text::width().unwrap_or(usize::MAX).max(40);
    for section in sections {
        page += &format!("\n{}\n", section.title);
        for line in &section.only_a {
            page += &(ink(&text::cut(&format!("- {}", escape(line)), width), Ink::Bad) + "\n");
        }
        for line in &section.only_b {
            page += &(ink(&text::cut(&format!("+ {}", escape(line)), width), Ink::Good) + "\n");
        }
    }
    page
}
