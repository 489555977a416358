//! `mantlet evidence`: collects evidence of one container now, or lists what was collected.

use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::Serialize;
use serde_json::json;

use super::ask::{Deed, Undone, done};
use super::progress::Waiting;
use super::text::{escape, size, table};
use super::{CliError, print_json, select, warn};
use crate::config::Config;
use crate::control::{Answer, Ask};

/// Arguments of `evidence`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's id, or its beginning where no other id begins so
    #[arg(
        value_name = "ID",
        required_unless_present = "list",
        conflicts_with = "list"
    )]
    id: Option<String>,
    /// Copy the archive to this file too
    #[arg(short, long, value_name = "FILE", conflicts_with = "list")]
    output: Option<PathBuf>,
    /// Replace FILE where it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// List the archives that there are
    #[arg(long)]
    list: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const DEED: Deed = Deed {
    verb: "collect evidence of",
    runtimes: &[],
};

/// Collects, or lists.
pub fn evidence(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    match &args.id {
        Some(id) => collect(id, args, config),
        None => list(args, config),
    }
}

/// Prints the archive's path and nothing else, for scripts.
fn collect(id: &str, args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let known = select::one(&config.state_dir, id)?;
    // Before anything is collected in vain.
    if let Some(output) = args.output.as_deref()
        && let Ok(there) = fs::symlink_metadata(output)
    {
        // To replace a device would be to remove it.
        let cause = match (args.force, there.is_file()) {
            (true, true) => None,
            (true, false) => Some(io::Error::other("it is no plain file")),
            (false, _) => Some(io::ErrorKind::AlreadyExists.into()),
        };
        if let Some(cause) = cause {
            return Err(copying(output)(cause));
        }
    }
    let waiting = Waiting::on(format!("collecting evidence of {}", known.home.id()));
    let answer = DEED.ask(&known, &Ask::Evidence);
    drop(waiting);
    let archive = match answer? {
        Answer::Done {
            evidence: Some(archive),
        } => archive,
        _ => return Err(CliError::undone(DEED.verb, &known, Undone::Beside)),
    };
    if let Some(output) = &args.output {
        copy(&archive, output, args.force)?;
    }
    if args.json {
        let mut object = done(&known, "evidence");
        object["evidence"] = json!(archive);
        object["output"] = json!(args.output);
        print_json(&object)?;
    } else {
        writeln!(io::stdout(), "{}", escape(&archive.display().to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Evidence is for root's eyes: the copy has mode 0600. A file that is replaced appears whole or not
/// at all.
fn copy(archive: &Path, output: &Path, force: bool) -> Result<(), CliError> {
    let mut from = regular(archive).map_err(|source| CliError::Journal {
        operation: "open",
        path: archive.to_owned(),
        source,
    })?;
    let mut temporary = output.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let target = if force { Path::new(&temporary) } else { output };
    let mut new = OpenOptions::new();
    new.write(true).create_new(true).mode(0o600);
    let mut to = new.open(target).map_err(copying(output))?;
    let copied = io::copy(&mut from, &mut to).and_then(|_| to.sync_all());
    let named = copied.and_then(|()| match force {
        true => fs::rename(target, output),
        false => Ok(()),
    });
    named.map_err(|error| {
        // We made it, and the error to report is the first one.
        let _ = fs::remove_file(target);
        copying(output)(error)
    })
}

/// Opens a file that is no link: pods can have the log folder mounted, and put anything in the place of
/// an archive.
fn regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

fn copying(output: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = output.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::AlreadyExists => CliError::OutputExists { path },
        _ => CliError::OutputFile { path, source },
    }
}

/// One archive.
#[derive(Debug, Serialize)]
struct Archive {
    /// The container's id, from the file's name.
    container: String,
    /// When it was written, RFC 3339, UTC.
    time: String,
    size: u64,
    path: PathBuf,
}

fn list(args: &Args, config: &Config) -> Result<ExitCode, CliError> {
    let folder = config.log_dir.join("evidence");
    let archives = archives(&folder).map_err(|source| CliError::Journal {
        operation: "list",
        path: folder.clone(),
        source,
    })?;
    if args.json {
        print_json(&json!(archives))?;
    } else if archives.is_empty() {
        warn(&format!(
            "no evidence; there is none in {}",
            folder.display()
        ));
    } else {
        let row = |archive: &Archive| {
            vec![
                escape(&archive.container),
                archive.time.clone(),
                size(archive.size),
                escape(&archive.path.display().to_string()),
            ]
        };
        let rows: Vec<Vec<String>> = archives.iter().map(row).collect();
        let text = table(&["CONTAINER", "TIME", "SIZE", "ARCHIVE"], &rows);
        io::stdout().lock().write_all(text.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Every archive in the folder, oldest first; none where there is no folder.
fn archives(folder: &Path) -> io::Result<Vec<Archive>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(archive(&entry?));
    }
    found.sort_by(|a, b| (&a.time, &a.path).cmp(&(&b.time, &b.path)));
    Ok(found)
}

/// One that is written to the end: what is not yet has a hidden name. What goes away meanwhile is none.
fn archive(entry: &DirEntry) -> Option<Archive> {
    let name = entry.file_name().to_string_lossy().into_owned();
    let meta = entry.metadata().ok().filter(|meta| meta.is_file())?;
    let stem = name
        .strip_suffix(".tar")
        .filter(|_| !name.starts_with('.'))?;
    let written = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Some(Archive {
        container: container_of(stem).to_owned(),
        time: humantime::format_rfc3339_seconds(written).to_string(),
        size: meta.len(),
        path: entry.path(),
    })
}

/// The id in `ROOT-ID-TIME`; an id may have hyphens of its own.
fn container_of(stem: &str) -> &str {
    let id = stem.split_once('-').map_or(stem, |(_, rest)| rest);
    id.rsplit_once('-').map_or(id, |(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archives_name_tells_its_container() {
        assert_eq!(
            container_of("0123456789abcdef-web-1-20260101T000000.000Z"),
            "web-1"
        );
        assert_eq!(container_of("strange"), "strange");
    }
}
