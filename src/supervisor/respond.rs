//! What is done to a container: ends, freezes, thaws, and evidence. Only here, and only after the
//! keeper has seen for itself that a process is the container's.
//!
//! A freeze goes on while the watcher answers what is pending: a task that waits for an answer cannot
//! be frozen (cgroup v1). It has a deadline; a container that does not freeze by then is ended. Engines
//! do not see it: their probes and sessions fail, and the kubelet restarts the container.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use caps::Capability;
use nix::sys::epoll::EpollFlags;

use super::evidence;
use super::keeper::{Keeper, Source, Timer};
use super::rules;
use crate::cgroup::Cgroup;
use crate::control::Answer;
use crate::detect::{Freeze, Then};
use crate::event::{Action, What};
use crate::state::{Archives, Frozen};
use crate::sys::{confine, fds, pidfd, process, spawn};

/// A container that is not frozen by then is ended.
const FREEZES_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked whether it is: cgroup v1 tells nobody.
const FREEZES_AFTER: Duration = Duration::from_millis(1);
/// Evidence that takes longer is given up.
const COLLECTS_WITHIN: Duration = Duration::from_secs(60);
/// And what is not there by then is left out.
const COLLECTS_UNTIL: Duration = Duration::from_secs(40);

/// How often a rule's freeze has evidence collected: a container that is thawed can be the cause again.
const COLLECTS_EACH: Duration = Duration::from_secs(60);

/// What the collector may: see processes of any user, and read what belongs to them.
const COLLECTORS: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];

/// Who asks, in events.
const PERSON: &str = "mantlet";

/// A freeze, under way or in force.
pub(super) struct Freezing {
    by: String,
    freeze: Option<Freeze>,
    /// The process that was the cause, and the file that it was about to execute.
    cause: Option<i32>,
    file: Option<OwnedFd>,
    evidence: bool,
    clients: Vec<u64>,
    begun: Instant,
    /// All tasks stand still.
    frozen: bool,
}

/// Evidence being collected.
pub(super) struct Collector {
    pub(super) pidfd: OwnedFd,
    path: PathBuf,
    by: String,
    clients: Vec<u64>,
}

impl Keeper {
    /// A rule's response.
    pub(super) fn act(&mut self, action: Action, rule: usize, pid: i32, mut files: Vec<OwnedFd>) {
        // The container is gone, and its group may be another one's by now.
        if self.is_leaving() {
            return;
        }
        let Some(rule) = self.rules.get(rule) else {
            return;
        };
        let (by, freeze) = (rules::title(rule), rule.freeze.unwrap_or_default());
        match action {
            Action::KillProcess => {
                let done = self.kill_process(pid);
                self.responded(action, by, Some(pid), done.err());
            }
            // Its event says how it came out; there is nobody else to tell.
            Action::KillContainer => drop(self.kill_container(by)),
            Action::Freeze => {
                let cause = Some(pid).filter(|pid| *pid > 0);
                // Refused: it is frozen already, for as long as whoever froze it said.
                let _ = self.freeze(by, Some(freeze), true, cause, files.pop(), None);
            }
            Action::Thaw | Action::Evidence => {}
        }
    }

    fn responded(&mut self, action: Action, by: String, pid: Option<i32>, failed: Option<String>) {
        // A container can have this at will, one process after the other.
        if action == Action::KillProcess && !self.counts.admits() {
            self.counts.responses_left_out += 1;
            return self.tell_later();
        }
        self.tell(&What::Response {
            action,
            by,
            pid,
            failed,
            evidence: None,
        });
    }

    fn kill_process(&self, pid: i32) -> Result<(), String> {
        let held = pidfd::open(pid).map_err(|error| gone(&error))?;
        // Asked after it is held: the number is this process's from there on.
        if !self.is_ours(pid) {
            return Err("it is no process of the container any more".into());
        }
        pidfd::send_signal(&held, libc::SIGKILL).map_err(|error| gone(&error))
    }

    /// Ends every process, and tells so.
    ///
    /// # Errors
    /// Why some are left, in words.
    fn kill_container(&mut self, by: String) -> Result<(), String> {
        let failed = match &self.cgroup {
            Some(cgroup) => cgroup.kill_all().err().map(|error| error.to_string()),
            None => Some("its control group is not known yet".into()),
        };
        if self.freezing.take().is_some() {
            // Ended tasks of a frozen group end when it thaws.
            let _ = self.cgroup.as_ref().map(Cgroup::thaw);
            self.not_frozen();
        }
        self.responded(Action::KillContainer, by, None, failed.clone());
        failed.map_or(Ok(()), Err)
    }

    fn not_frozen(&mut self) {
        self.end_freezes_sentinel();
        self.forget(Timer::Freezing);
        self.forget(Timer::Thaw);
        self.status.frozen = None;
        self.write_status();
    }

    /// Begins to freeze.
    fn freeze(
        &mut self,
        by: String,
        freeze: Option<Freeze>,
        evidence: bool,
        cause: Option<i32>,
        file: Option<OwnedFd>,
        client: Option<u64>,
    ) -> Result<(), String> {
        if let Some(former) = &self.freezing {
            return Err(format!("it is frozen already, by {}", former.by));
        }
        let cgroup = self
            .cgroup
            .as_ref()
            .ok_or("its control group is not known yet")?;
        if let Err(error) = cgroup.freeze() {
            let failed =
                format!("its control group does not stop: {error}; `mantlet kill` ends it");
            let _ = cgroup.thaw();
            self.responded(Action::Freeze, by.clone(), None, Some(failed.clone()));
            if client.is_none() {
                // What a rule wanted stopped does not go on.
                let _ = self.kill_container(by);
            }
            return Err(failed);
        }
        self.freezing = Some(Freezing {
            by,
            freeze,
            cause,
            file,
            evidence,
            clients: client.into_iter().collect(),
            begun: Instant::now(),
            frozen: false,
        });
        self.after(FREEZES_AFTER, Timer::Freezing);
        Ok(())
    }

    /// Looks whether all tasks stand still.
    pub(super) fn look_whether_frozen(&mut self) {
        let (Some(freezing), Some(cgroup)) = (&mut self.freezing, &self.cgroup) else {
            return;
        };
        match cgroup.is_frozen() {
            Ok(true) => self.is_frozen(),
            Ok(false) if freezing.begun.elapsed() < FREEZES_WITHIN => {
                self.after(FREEZES_AFTER, Timer::Freezing);
            }
            other => {
                let failed = match other {
                    Err(error) => format!(
                        "its control group does not tell whether it stands still: {error}; `mantlet kill` ends it"
                    ),
                    _ => format!(
                        "it does not stand still after {} s: a task of it is stuck in the kernel; `mantlet kill` ends it",
                        FREEZES_WITHIN.as_secs()
                    ),
                };
                let (by, clients) = (freezing.by.clone(), std::mem::take(&mut freezing.clients));
                self.responded(Action::Freeze, by.clone(), None, Some(failed.clone()));
                if by == PERSON {
                    let _ = cgroup_thaw(self);
                    self.freezing = None;
                    self.not_frozen();
                } else {
                    let _ = self.kill_container(by);
                }
                for client in clients {
                    let message = failed.clone();
                    self.send(client, &Answer::Refused { message }, &[]);
                }
            }
        }
    }

    fn is_frozen(&mut self) {
        let Some(freezing) = &mut self.freezing else {
            return;
        };
        freezing.frozen = true;
        let (by, freeze) = (freezing.by.clone(), freezing.freeze);
        let (evidence, cause) = (freezing.evidence, freezing.cause);
        let (file, clients) = (freezing.file.take(), std::mem::take(&mut freezing.clients));
        let until = freeze.map(|freeze| Duration::from_millis(freeze.for_ms));
        if let Some(wait) = until {
            self.after(wait, Timer::Thaw);
        }
        self.status.frozen = Some(Frozen {
            since: rfc3339(SystemTime::now()),
            by: by.clone(),
            until: until.map(|wait| rfc3339(SystemTime::now() + wait)),
            then: freeze.map(|freeze| freeze.then),
        });
        self.write_status();
        self.post_freezes_sentinel(freeze.map(|freeze| freeze.then));
        self.responded(Action::Freeze, by.clone(), None, None);
        if evidence {
            self.collect(by, cause, file, clients);
        } else {
            for client in clients {
                self.send(client, &Answer::Done { evidence: None }, &[]);
            }
        }
    }

    /// Its time is over.
    pub(super) fn freeze_is_over(&mut self) {
        let Some(freezing) = &self.freezing else {
            return;
        };
        let by = freezing.by.clone();
        match freezing.freeze.map(|freeze| freeze.then) {
            Some(Then::Thaw) => drop(self.thaw(by)),
            _ => drop(self.kill_container(by)),
        }
    }

    fn thaw(&mut self, by: String) -> Result<(), String> {
        if self.freezing.is_none() {
            return Err("it is not frozen by mantlet".into());
        }
        if let Err(error) = cgroup_thaw(self) {
            let failed =
                format!("its control group does not go on: {error}; `mantlet kill` ends it");
            self.responded(Action::Thaw, by, None, Some(failed.clone()));
            return Err(failed);
        }
        self.freezing = None;
        self.not_frozen();
        self.responded(Action::Thaw, by, None, None);
        Ok(())
    }

    /// Why no session can be added now, where it is frozen.
    pub(super) fn frozen_because(&self) -> Option<String> {
        let freezing = self.freezing.as_ref()?;
        let end = self
            .status
            .frozen
            .as_ref()
            .and_then(|frozen| frozen.until.as_ref());
        let end = end.map_or_else(String::new, |until| format!(" until {until}"));
        Some(format!(
            "the container is frozen by {}{end}; `mantlet thaw` lets it go on, `mantlet kill` ends it",
            freezing.by
        ))
    }

    /// What a person asks for on the control socket.
    pub(super) fn serve_person(&mut self, client: u64, ask: PersonAsks) {
        if self.status.pid == 0 && !matches!(ask, PersonAsks::Kill) {
            let message = "it does not run; start it first".to_owned();
            return self.send(client, &Answer::Refused { message }, &[]);
        }
        let by = PERSON.to_owned();
        let done = match ask {
            PersonAsks::Freeze { freeze, evidence } => {
                match self.freeze(by, freeze, evidence, None, None, Some(client)) {
                    // Answered once it is.
                    Ok(()) => return,
                    Err(message) => Err(message),
                }
            }
            PersonAsks::Evidence => {
                return self.collect(by, None, None, vec![client]);
            }
            PersonAsks::Thaw => self.thaw(by),
            PersonAsks::Kill => self.kill_container(by),
        };
        let answer = match done {
            Ok(()) => Answer::Done { evidence: None },
            Err(message) => Answer::Refused { message },
        };
        self.send(client, &answer, &[]);
    }

    /// Has evidence collected, by a process of its own that reads all there is and writes the archive
    /// alone.
    fn collect(
        &mut self,
        by: String,
        cause: Option<i32>,
        file: Option<OwnedFd>,
        clients: Vec<u64>,
    ) {
        if let Err(failed) = self.start_collector(&by, cause, file, &clients) {
            self.collector_failed(by, failed, clients);
        }
    }

    fn collector_failed(&mut self, by: String, failed: String, clients: Vec<u64>) {
        self.tell(&What::Response {
            action: Action::Evidence,
            by,
            pid: None,
            failed: Some(failed.clone()),
            evidence: None,
        });
        for client in clients {
            let message = failed.clone();
            self.send(client, &Answer::Refused { message }, &[]);
        }
    }

    fn start_collector(
        &mut self,
        by: &str,
        cause: Option<i32>,
        file: Option<OwnedFd>,
        clients: &[u64],
    ) -> Result<(), String> {
        let lately = |at: Instant| at.elapsed() < COLLECTS_EACH;
        if by != PERSON && self.collected_at.is_some_and(lately) {
            return Err("there is an archive of less than a minute ago".into());
        }
        let busy = self
            .sources
            .values()
            .any(|source| matches!(source, Source::Collector(_)));
        if busy {
            return Err("evidence is being collected already; ask again in a minute".into());
        }
        let cgroup = self
            .cgroup
            .as_ref()
            .ok_or("its control group is not known yet")?;
        let pids = cgroup.members();
        let archives = Archives::of(self.journal.path()).map_err(|error| error.to_string())?;
        let (out, path) = archives
            .create(SystemTime::now())
            .map_err(|error| error.to_string())?;
        self.journal.make_room();
        let parent = std::process::id() as i32;
        match spawn::fork().map_err(|error| error.to_string())? {
            spawn::Fork::Parent { pidfd, .. } => {
                drop(out);
                let collector = Collector {
                    pidfd,
                    path,
                    by: by.to_owned(),
                    clients: clients.to_vec(),
                };
                self.add(Source::Collector(collector), EpollFlags::EPOLLIN);
                self.collected_at = Some(Instant::now());
                self.after(COLLECTS_WITHIN, Timer::Evidence);
                Ok(())
            }
            spawn::Fork::Child => {
                let _ = process::set_name(c"mantlet-evidenc");
                // Not the group: whoever holds it can let executions through, and keeps them waiting
                // where nobody answers. Not root's uid: what root owns, root writes to without any
                // capability. The wish to die comes last, because a change of user takes it away.
                let mut kept = vec![out.as_raw_fd()];
                kept.extend(file.as_ref().map(AsRawFd::as_raw_fd));
                let prepared = fds::close_all_but(3, &mut kept)
                    .and_then(|()| {
                        confine::drop_privileges(confine::UID, confine::UID, &COLLECTORS)
                    })
                    .and_then(|()| process::die_with_parent(parent));
                let collect = || {
                    prepared?;
                    evidence::collect(&self.evidence_scene(pids, by, cause, file), out)
                };
                let collected = std::panic::catch_unwind(std::panic::AssertUnwindSafe(collect));
                let code = match collected {
                    Ok(Ok(_)) => 0,
                    Ok(Err(error)) => error
                        .raw_os_error()
                        .filter(|errno| *errno < 128)
                        .unwrap_or(1),
                    Err(_) => 1,
                };
                process::exit_now(code)
            }
        }
    }

    fn evidence_scene<'a>(
        &'a self,
        pids: Vec<i32>,
        by: &'a str,
        cause: Option<i32>,
        refused: Option<OwnedFd>,
    ) -> evidence::Scene<'a> {
        let (seconds, nanoseconds) = self.scene.as_ref().map_or((0, 0), |scene| scene.since);
        evidence::Scene {
            pids,
            cgroup: self
                .scene
                .as_ref()
                .map(|scene| scene.cgroup.as_str())
                .filter(|line| !line.is_empty()),
            frozen: self
                .freezing
                .as_ref()
                .is_some_and(|freezing| freezing.frozen),
            container: self.journal.identity(),
            policy: self.journal.policy(),
            profiles: self.journal.profiles(),
            init: self.journal.init(),
            by,
            journal: self.journal.path(),
            drifted: cause,
            refused,
            started: UNIX_EPOCH + Duration::new(seconds, nanoseconds),
            until: Instant::now() + COLLECTS_UNTIL,
        }
    }

    pub(super) fn collected(&mut self, token: u64) {
        let Some(Source::Collector(collector)) = self.remove(token) else {
            return;
        };
        self.forget(Timer::Evidence);
        let failed = match pidfd::wait(&collector.pidfd) {
            Some(pidfd::Ended::Exited(0)) => None,
            Some(pidfd::Ended::Exited(errno)) if errno > 1 => {
                Some(std::io::Error::from_raw_os_error(errno).to_string())
            }
            Some(how) => Some(format!("its collector {how}")),
            None => Some("its collector ended".into()),
        };
        if let Some(failed) = failed {
            // Half an archive helps nobody.
            let _ = std::fs::remove_file(&collector.path);
            return self.collector_failed(collector.by, failed, collector.clients);
        }
        self.status.evidence = Some(collector.path.clone());
        self.write_status();
        self.tell(&What::Response {
            action: Action::Evidence,
            by: collector.by,
            pid: None,
            failed: None,
            evidence: Some(collector.path.to_string_lossy().into_owned()),
        });
        for client in collector.clients {
            let evidence = Some(collector.path.clone());
            self.send(client, &Answer::Done { evidence }, &[]);
        }
    }

    pub(super) fn evidence_is_late(&mut self) {
        for source in self.sources.values() {
            if let Source::Collector(collector) = source {
                let _ = pidfd::send_signal(&collector.pidfd, libc::SIGKILL);
            }
        }
    }
}

/// What a person may ask for.
pub(super) enum PersonAsks {
    Freeze {
        freeze: Option<Freeze>,
        evidence: bool,
    },
    Thaw,
    Kill,
    Evidence,
}

fn cgroup_thaw(keeper: &Keeper) -> std::io::Result<()> {
    keeper.cgroup.as_ref().map_or(Ok(()), Cgroup::thaw)
}

fn gone(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ESRCH) => "it has ended already".into(),
        _ => error.to_string(),
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
