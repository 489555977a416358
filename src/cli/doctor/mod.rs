//! `mantlet doctor`: what this node can enforce, what is missing, and what to do about it.
//!
//! Asks the kernel, the runtimes and the files; changes nothing.

use std::io;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::text::{Ink, escape, ink};
use super::{CliError, output, print_json};
use crate::config::Config;

mod containerd;
mod containers;
mod elf;
mod kernel;
mod node;
mod programs;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    /// As it should be.
    Ok,
    /// Works, but something is missing or worth knowing.
    Warn,
    /// Containers would be refused, or not be protected as promised.
    Fail,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    level: Level,
    finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, finding: impl Into<String>) -> Check {
        Check {
            name,
            level: Level::Ok,
            finding: finding.into(),
            remedy: None,
        }
    }

    fn warn(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Check {
        let (finding, remedy) = (finding.into(), Some(remedy.into()));
        Check {
            name,
            level: Level::Warn,
            finding,
            remedy,
        }
    }

    fn fail(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check {
            level: Level::Fail,
            ..Check::warn(name, finding, remedy)
        }
    }
}

/// Prints every finding. Exit code 0 where the node can enforce, 1 where any check fails.
pub fn doctor(args: &Args) -> Result<ExitCode, CliError> {
    let checks = examine();
    let enforceable = checks.iter().all(|check| check.level != Level::Fail);
    let told = if args.json {
        print_json(&json!({ "enforceable": enforceable, "checks": checks }))
    } else {
        let text: String = checks.iter().map(line).collect();
        let verdict = if enforceable {
            "This node can enforce.\n"
        } else {
            "This node CANNOT enforce as promised: mend what says `fail`.\n"
        };
        output::print(&format!("{text}{verdict}"))
    };
    // The exit code is the verdict too, and a reader that went away takes nothing from it.
    match told {
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        told => told?,
    }
    Ok(if enforceable {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn examine() -> Vec<Check> {
    let mut checks = kernel::checks();
    let (found, config) = node::configuration();
    checks.push(found);
    // With a broken file the rest is still worth knowing; the file itself has failed already.
    let config = config.unwrap_or_else(Config::embedded);
    checks.extend(programs::runtimes(&config));
    checks.extend(programs::own(&config));
    checks.extend(node::checks(&config));
    checks.extend(containers::checks(&config));
    checks.extend(containerd::checks());
    checks
}

fn line(check: &Check) -> String {
    let level = match check.level {
        Level::Ok => ink("ok  ", Ink::Good),
        Level::Warn => ink("warn", Ink::Odd),
        Level::Fail => ink("fail", Ink::Bad),
    };
    let remedy = check.remedy.as_ref();
    let remedy = remedy.map_or_else(String::new, |remedy| {
        format!("      -> {}\n", escape(remedy))
    });
    format!(
        "{level}  {}: {}\n{remedy}",
        check.name,
        escape(&check.finding)
    )
}
