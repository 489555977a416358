//! `mantlet freeze`: stops every process of one container, for somebody to look.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use super::ask::{Deed, Undone, done, title};
use super::select::{self, Known};
use super::text::escape;
use super::{CliError, print_json};
use crate::config::Config;
use crate::control::{Answer, Ask};
use crate::detect::{Freeze, Then};

/// Arguments of `freeze`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's id, or its beginning where no other id begins so
    #[arg(value_name = "ID")]
    id: String,
    /// How long, such as `10m`; without it until `mantlet thaw` or `mantlet kill`
    #[arg(long = "for", value_name = "DURATION", value_parser = at_least_a_second)]
    time: Option<Duration>,
    /// What ends it when that time is over
    #[arg(long, value_enum, requires = "time", default_value = "kill")]
    then: End,
    /// Collect evidence once every process is stopped
    #[arg(long)]
    evidence: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// [`Then`] as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum End {
    /// Every process is ended
    Kill,
    /// The container goes on
    Thaw,
}

impl From<End> for Then {
    fn from(end: End) -> Then {
        match end {
            End::Kill => Then::Kill,
            End::Thaw => Then::Thaw,
        }
    }
}

/// A freeze of no time would be one that nobody sees.
fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(1) || u64::try_from(time.as_millis()).is_err() {
        return Err("it has to be at least 1s".into());
    }
    Ok(time)
}

const DEED: Deed = Deed {
    verb: "freeze",
    runtimes: &["pause"],
};

/// Freezes one container, and says what nobody else will: engines do not show it.
pub fn freeze(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let known = select::one(&config.state_dir, &args.id)?;
    let limit = args.time.map(|time| Freeze {
        // Bounded by the parser above.
        for_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        then: args.then.into(),
    });
    let ask = Ask::Freeze {
        freeze: limit,
        evidence: args.evidence,
    };
    let evidence = match DEED.ask(&known, &ask)? {
        Answer::Done { evidence } => evidence,
        _ => return Err(CliError::undone(DEED.verb, &known, Undone::Beside)),
    };
    let path = evidence.map(|path| path.display().to_string());
    if args.json {
        let mut object = done(&known, DEED.verb);
        object["for_ms"] = limit.map(|limit| limit.for_ms).into();
        object["then"] = limit.map(|limit| limit.then.word()).into();
        object["evidence"] = path.into();
        print_json(&object)?;
    } else {
        let text = said(&known, limit, path.as_deref());
        io::stdout().lock().write_all(text.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn said(known: &Known, limit: Option<Freeze>, evidence: Option<&str>) -> String {
    let id = escape(&known.home.id());
    let end = match limit {
        None => "until somebody ends it".to_owned(),
        Some(Freeze { for_ms, then }) => {
            let time = humantime::format_duration(Duration::from_millis(for_ms));
            match then {
                Then::Kill => format!("for {time}, then every process is ended"),
                Then::Thaw => format!("for {time}, then it goes on"),
            }
        }
    };
    let mut text = format!(
        "{} is frozen {end}.\n\
         containerd does not show it and says Running. Probes fail from now on: after a failed \
         liveness probe the kubelet kills the container and starts it anew.\n\
         `mantlet thaw {id}` lets it go on, `mantlet kill {id}` ends it.\n",
        title(known)
    );
    if let Some(path) = evidence {
        text += &format!("evidence: {}\n", escape(path));
    }
    text
}
