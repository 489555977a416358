//! `exec`: one more process under the container's own policy, in both of runc's forms. Nothing is
//! compiled and no profile is read: the supervisor lends the very bytes the workload was held to.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::handover::{self, Handover};
use super::start::{ask, check_inside, code_of, hear, hear_outcome, record, runtime};
use super::{Door, Failure, forward, sources};
use crate::control::{Answer, Ask};
use crate::oci::document::{Document, Kind};
use crate::oci::invocation::{Changes, Exec};
use crate::oci::patch::Edit;
use crate::policy::{self, ExecPlan, Streams};
use crate::seal::Rlimit;
use crate::state::{Delivery, Home, Record};
use crate::sys::{fds, process, socket};

const VERB: &str = "exec in";

/// Adds a process to a container; its exit status where the front door outlives the runtime.
pub(super) fn session(door: &Door<'_>, exec: &Exec) -> Result<i32, Failure> {
    let home = door.home(&exec.id)?;
    let record = record(&home, &exec.id, VERB)?;
    // 1. Decide, before anybody is asked for anything.
    if !record.supervised {
        return Err(Failure::Pause {
            id: exec.id.clone(),
        });
    }
    let process = exec
        .process
        .as_deref()
        .map(|path| process_file(path, exec, &record))
        .transpose()?;
    let argv0 = exec.command.first().map(|word| word.as_bytes());
    let (policy, allowed_caps) = match &process {
        Some((_, plan)) => (plan.policy, None),
        None => {
            let held = policy::session::admit(argv0, streams(exec), &record.exec)?;
            if let Some(profiles) = held.fewer_capabilities {
                return Err(Failure::CommandLine {
                    id: exec.id.clone(),
                    profiles: profiles.join(" + "),
                });
            }
            check_user(exec, held.refuse_root && is_root(exec, &record))?;
            (held.policy, Some(held.capabilities))
        }
    };
    // 2. The filesystem may have changed since the last session, and who may mount is not asked.
    let pid = running_pid(&home, &exec.id)?;
    let mounts = check_inside(VERB, &exec.id, pid, &home, &record)?;
    let mut held_to = record.exec.sub_policies();
    let held_to = held_to.find(|sub| sub.number == policy);
    for rules in held_to.into_iter().flat_map(|sub| &sub.host_paths) {
        sources::check(pid, &mounts, Some(rules))?;
    }
    let looking = held_to.map(|sub| sub.observed.host_paths.as_slice());
    let looking = sources::observed(pid, &mounts, looking.unwrap_or_default());
    // 3. Init's program, the policy and a channel, all from the supervisor.
    let rlimits = process.as_ref().map(|(_, plan)| plan.rlimits.as_slice());
    let root = is_root(exec, &record);
    let mut observed = match &process {
        Some((_, plan)) => plan.observed.clone(),
        None => policy::session::observed(argv0, streams(exec), root, &record.exec),
    };
    observed.extend(looking);
    let (supervisor, mut ours) = borrow(&home, exec, (policy, observed), rlimits)?;
    if record.exec.delivery == Delivery::Bind {
        ours.remove(0);
    }
    // 4. The runtime's own exec.
    let family = super::family_of(&record.runtime);
    let handover = Handover::new(exec.preserve_fds, family, record.exec.delivery, ours);
    let supervisor = handover::clear(supervisor, &handover)?;
    let file = process
        .map(|(document, _)| put_init(&document, &handover, &exec.id))
        .transpose()?;
    let file_path = file.as_ref().map(handover::path_to);
    let init: Vec<OsString> = handover.words().into_iter().map(OsString::from).collect();
    let changes = Changes {
        preserve_fds: Some(handover.preserve()),
        process: file_path.as_deref(),
        before_command: if file.is_some() { &[] } else { &init },
        no_new_privs: file.is_none(),
        allowed_caps,
    };
    let words = door.invocation.render(&record.runtime, &changes);
    let (first, end) = (handover.first(), handover.end());
    handover.place()?;
    if !exec.detach {
        // The runtime stays in the foreground and answers with the command's own exit status.
        return Err(forward::execute(&record.runtime, words));
    }
    let status = runtime(&record.runtime, words);
    let closed = fds::unplace(first, end);
    closed.map_err(|error| Failure::system("close", "init's descriptors".into(), error))?;
    let status = status?;
    if !status.success() {
        return Ok(code_of(status));
    }
    hear_outcome(&supervisor, &exec.id, VERB)
}

/// The process file with the profile's limits in it, and what holds the session.
fn process_file(
    path: &Path,
    exec: &Exec,
    record: &Record,
) -> Result<(Document, ExecPlan), Failure> {
    let document = Document::load(path, Kind::Process)?;
    let plan = policy::plan_exec(&document.process()?, streams(exec), &record.exec)?;
    Ok((document.edited(&plan.edits)?, plan))
}

/// What makes the session interactive, as far as the command line tells. `--tty` counts beside a
/// process file too: no runtime heeds it there today, and one that will must not get past the rule.
fn streams(exec: &Exec) -> Streams {
    Streams {
        terminal: exec.tty,
        input: has_input(),
    }
}

/// Whether standard input can bring anything: engines give /dev/null to probes, to hooks of the pod
/// and to `kubectl exec` without `-i`.
fn has_input() -> bool {
    let null = |file: libc::stat| {
        file.st_mode & libc::S_IFMT == libc::S_IFCHR && file.st_rdev == libc::makedev(1, 3)
    };
    !process::stat(std::io::stdin()).is_ok_and(null)
}

/// The command-line form takes the container's own process for a model, whose limits were set at
/// `create`; only its user can be another one.
fn check_user(exec: &Exec, refused: bool) -> Result<(), Failure> {
    if refused {
        return Err(Failure::RootSession {
            id: exec.id.clone(),
            user: exec.user.clone().unwrap_or_default(),
        });
    }
    Ok(())
}

/// Whether a session of the command line may be uid 0.
fn is_root(exec: &Exec, record: &Record) -> bool {
    match exec.user.as_deref().unwrap_or_default() {
        "" => record.exec.workload_is_root,
        user => may_be_root(user),
    }
}

/// Whether any runtime could read `--user` as uid 0. They take signs, blanks and numbers that wrap
/// around at 2³² (Go's Atoi with a conversion, C's strtol), so all but a plain uid counts as root.
fn may_be_root(user: &str) -> bool {
    let uid = user.split(':').next().unwrap_or_default();
    let plain = !uid.is_empty() && uid.bytes().all(|digit| digit.is_ascii_digit());
    !plain || !uid.parse::<u32>().is_ok_and(|uid| uid != 0)
}

fn running_pid(home: &Home, id: &str) -> Result<i32, Failure> {
    let status = home
        .read_status()?
        .filter(|status| status.container_alive());
    status
        .map(|status| status.pid)
        .ok_or_else(|| Failure::NotThere {
            verb: VERB,
            id: id.to_owned(),
            cause: "its first process does not run; start it first".into(),
        })
}

/// Opens a session: the supervisor takes one end of a channel and lends the rest.
fn borrow(
    home: &Home,
    exec: &Exec,
    (policy, observed): (u32, Vec<(String, String)>),
    rlimits: Option<&[Rlimit]>,
) -> Result<(OwnedFd, Vec<OwnedFd>), Failure> {
    let (near, far) =
        socket::pair().map_err(|error| Failure::system("make", "init's channel".into(), error))?;
    let own = |limit: &Rlimit| (limit.resource, limit.soft, limit.hard);
    let wanted = Ask::Exec {
        print_errors: !exec.detach,
        rlimits: rlimits.map(|limits| limits.iter().map(own).collect()),
        policy,
        observed,
    };
    let supervisor = ask(home, &wanted, &[near.as_raw_fd()], &exec.id, VERB)?;
    let (answer, mut packet) = hear(&supervisor, &exec.id, VERB)?;
    match answer {
        Answer::Accepted if packet.fds.len() == 2 => {
            packet.fds.push(far);
            Ok((supervisor, packet.fds))
        }
        Answer::Refused { message } => Err(Failure::NotThere {
            verb: VERB,
            id: exec.id.clone(),
            cause: message,
        }),
        _ => Err(Failure::Unsupervised {
            verb: VERB,
            id: exec.id.clone(),
            cause: "it did not lend the container's policy".into(),
        }),
    }
}

/// The process file for the runtime, in memory: nothing has to be removed afterwards. It lies
/// behind init's descriptors and is closed by the runtime, as everything there.
fn put_init(document: &Document, handover: &Handover, id: &str) -> Result<OwnedFd, Failure> {
    let args = document.value().get("args").cloned().unwrap_or_default();
    let edit = Edit::Set {
        pointer: "/args".into(),
        value: handover::with_init(handover.words(), &args).ok_or_else(|| Failure::NoCommand {
            verb: VERB,
            id: id.to_owned(),
        })?,
    };
    let bytes = document.edited(&[edit])?.to_bytes();
    let fd = handover::clear(handover::bytes(c"mantlet-process", &bytes)?, handover)?;
    fds::set_cloexec(&fd, false)
        .map_err(|error| Failure::system("pass on", "the process file".into(), error))?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_uid_0_and_all_that_is_no_plain_uid_counts_as_root() {
        for root in [
            "0",
            "00",
            "+0",
            "-0",
            " 0",
            "0:5",
            "+0:5",
            "4294967296",
            "-4294967296",
            "0x0",
            "root",
            ":5",
            "99999999999999999999",
            "1 ",
            "+1000",
            "١",
        ] {
            assert!(may_be_root(root), "{root:?}");
        }
        for other in ["1", "1000", "1000:0", "01000", "4294967294"] {
            assert!(!may_be_root(other), "{other:?}");
        }
    }
}
