//! What the node's containers need: supervisors that live, journals that can be written, room for
//! both, and groups of fanotify.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Check;
use crate::cli::alarm;
use crate::cli::select::{self, Known, Watch};
use crate::cli::text::{escape, size};
use crate::config::Config;
use crate::detect::OnLoss;

/// Where the kernel keeps the bound on groups of one user.
const GROUPS: &str = "/proc/sys/fs/fanotify/max_user_groups";
/// The kernel's own default (fanotify(7)), which one busy node can use up.
const DEFAULT_GROUPS: u64 = 128;
/// What a node with a few hundred pods needs, and room.
const ENOUGH_GROUPS: u64 = 1024;

/// All checks of containers.
pub fn checks(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    match select::all(&config.state_dir) {
        Ok(all) => {
            checks.push(supervisors(&all));
            checks.push(frozen(&all));
            checks.push(looking(&all));
            checks.push(journals(&all));
            checks.push(groups(limit(), in_use(&all)));
        }
        Err(error) => checks.push(Check::fail(
            "supervisors",
            error.to_string(),
            "mend the state folder",
        )),
    }
    checks.push(room(&config.log_dir, config.log_total_mib));
    checks
}

fn supervisors(all: &[Known]) -> Check {
    let name = "supervisors";
    let unread = all
        .iter()
        .filter(|known| known.watch() == Watch::Unknown)
        .flat_map(alarm::alarms);
    let lost = all.iter().filter(|known| known.watch() == Watch::Lost);
    let mut found: Vec<String> = lost.map(lost_one).collect();
    found.extend(unread);
    if found.is_empty() {
        let finding = format!(
            "{} containers known, none without its supervisor",
            all.len()
        );
        return Check::ok(name, finding);
    }
    let remedy = "restart these containers; `mantlet ps` lists them, and the kernel's log may say \
                  what ended their supervisors";
    Check::warn(name, found.join("; "), remedy)
}

fn lost_one(known: &Known) -> String {
    let loss = known
        .record
        .as_ref()
        .map(|record| record.on_supervisor_loss);
    let fate = match loss {
        Ok(OnLoss::Kill) => "is still there, against its profile's `on_supervisor_loss: kill`",
        _ => "goes on without reports, as `on_supervisor_loss: keep` has it",
    };
    format!(
        "container {} has LOST its supervisor and {fate}",
        known.home.id()
    )
}

fn frozen(all: &[Known]) -> Check {
    let name = "frozen containers";
    let stopped = all.iter().filter(|known| known.watch().has_container());
    let found: Vec<String> = stopped
        .filter_map(|known| {
            let frozen = known.seen()?.frozen.as_ref()?;
            Some(format!("{} {}", known.home.id(), alarm::freeze(frozen)))
        })
        .collect();
    if found.is_empty() {
        return Check::ok(name, "none");
    }
    let remedy = "look at the evidence (`mantlet evidence --list`), then `mantlet thaw ID` or \
                  `mantlet kill ID`";
    Check::warn(name, found.join("; "), remedy)
}

/// Containers with a layer that denies nothing: on purpose, or forgotten.
fn looking(all: &[Known]) -> Check {
    let name = "audited and recorded";
    let living = all.iter().filter(|known| known.watch().has_container());
    let found: Vec<String> = living
        .filter_map(|known| {
            let record = known.record.as_ref().ok()?;
            let mode = record.looks_only()?.to_uppercase();
            let profiles = escape(&record.profiles.join(" + "));
            Some(format!("{} {mode} ({profiles})", escape(&known.home.id())))
        })
        .collect();
    if found.is_empty() {
        return Check::ok(name, "every profile of every container enforces");
    }
    let remedy = "once they are tried, write `mode: enforce` into these profiles and restart the \
                  containers; nothing that such a profile lists is denied until then";
    Check::warn(name, found.join("; "), remedy)
}

fn journals(all: &[Known]) -> Check {
    let name = "journals";
    let failing: Vec<String> = all
        .iter()
        .filter_map(|known| {
            let status = known.seen().filter(|_| known.watch().has_container())?;
            let cause = status.journal_error.as_ref()?;
            let (id, lost) = (known.home.id(), status.lost);
            Some(format!("of {id}: {cause}, {lost} events lost so far"))
        })
        .collect();
    if failing.is_empty() {
        return Check::ok(name, "every supervisor can write its own");
    }
    let remedy = "free space under log_dir or mend it; supervisors try again by themselves";
    Check::warn(name, failing.join("; "), remedy)
}

fn limit() -> io::Result<u64> {
    let text = fs::read_to_string(GROUPS)?;
    text.trim().parse().map_err(io::Error::other)
}

/// Containers that hold a group: one each, as long as their supervisor lives.
fn in_use(all: &[Known]) -> u64 {
    let holds = |known: &&Known| {
        let wants = known.record.as_ref().is_ok_and(|record| record.fanotify);
        wants && matches!(known.watch(), Watch::Running | Watch::Starting)
    };
    all.iter().filter(holds).count() as u64
}

/// Supervisors take a group each where a profile watches executions; a container that gets none does
/// not start. Groups of root's other programs count too, and nobody tells how many they are.
fn groups(limit: io::Result<u64>, used: u64) -> Check {
    let name = "fanotify groups";
    let limit = match limit {
        Ok(limit) => limit,
        Err(error) => {
            let finding = format!("{GROUPS} cannot be read: {error}");
            let remedy =
                "kernel 5.13 or later with CONFIG_FANOTIFY, for profiles that watch executions";
            return Check::warn(name, finding, remedy);
        }
    };
    let finding = format!("{used} of {limit} in use by containers");
    let raised = (limit * 2).max(ENOUGH_GROUPS);
    let remedy = format!(
        "sysctl -w fs.fanotify.max_user_groups={raised}, and the line \
         `fs.fanotify.max_user_groups = {raised}` in /etc/sysctl.d/90-mantlet.conf to keep it"
    );
    let free = limit.saturating_sub(used);
    if free * 5 < limit {
        let finding = format!("{finding}: soon containers that watch executions cannot start");
        Check::warn(name, finding, remedy)
    } else if limit <= DEFAULT_GROUPS {
        let finding = format!(
            "{finding}, and {limit} is no more than the kernel's default: as many containers can \
             watch executions, less what root's other programs hold"
        );
        Check::warn(name, finding, remedy)
    } else {
        Check::ok(name, finding)
    }
}

/// What journals and evidence take, and what they may.
fn room(log_dir: &Path, log_total_mib: u64) -> Check {
    let name = "journals' size";
    let taken = match taken(log_dir) {
        Ok(taken) => taken,
        Err(error) => {
            let finding = format!("cannot be measured: {}: {error}", log_dir.display());
            return Check::warn(name, finding, "run doctor as root, or mend log_dir");
        }
    };
    let (bound, shown) = (log_total_mib.saturating_mul(1 << 20), size(taken));
    if bound == 0 {
        return Check::ok(name, format!("{shown}, without a bound (log_total_mib: 0)"));
    }
    let finding = format!("{shown} of {log_total_mib} MiB (log_total_mib)");
    if taken >= bound / 10 * 9 {
        let remedy = format!(
            "move old journals and archives out of {}, or raise log_total_mib",
            log_dir.display()
        );
        return Check::warn(name, finding, remedy);
    }
    Check::ok(name, finding)
}

/// Bytes that the files below a folder take on disk; links are not followed. What goes away meanwhile
/// takes nothing.
fn taken(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    let mut ahead = vec![folder.to_owned()];
    while let Some(folder) = ahead.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => ahead.push(entry.path()),
                Ok(meta) => total += meta.blocks() * 512,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn groups_warn_at_the_kernels_default_and_when_they_run_out() {
        assert_eq!(groups(Ok(1024), 10).level, Level::Ok);
        let default = groups(Ok(128), 0);
        assert_eq!(default.level, Level::Warn);
        assert!(default.finding.contains("0 of 128") && default.finding.contains("default"));
        assert!(default.remedy.unwrap().contains("max_user_groups=1024,"));
        assert_eq!(groups(Ok(1000), 800).level, Level::Ok);
        let full = groups(Ok(1000), 801);
        assert!(full.finding.contains("cannot start"));
        assert!(full.remedy.unwrap().contains("max_user_groups=2000,"));
        assert_eq!(groups(Err(io::Error::other("x")), 0).level, Level::Warn);
    }

    #[test]
    fn the_size_of_journals_is_held_against_its_bound() {
        let scratch = Scratch::new("doctor-room");
        let folder = scratch.path.join("evidence");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.tar"), vec![1; 950 << 10]).unwrap();
        assert_eq!(room(&scratch.path, 1).level, Level::Warn);
        assert_eq!(room(&scratch.path, 2).level, Level::Ok);
        assert!(room(&scratch.path, 0).finding.contains("without a bound"));
        assert_eq!(room(&scratch.path.join("none"), 1).level, Level::Ok);
    }
}
