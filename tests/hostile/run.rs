//! Carries out the corpus, once for a test program: four containers, the same steps.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::scenes;
use super::steps::{self, By, Step};
use crate::harness::{Container, Containerd, Pod, State, World, eventually, image};

/// What a container is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ward {
    /// A privileged container of plain runc: nothing in the way but the kernel.
    Nothing,
    /// Plain runc with what Kubernetes calls RuntimeDefault.
    Default,
    Baseline,
    Restricted,
}

pub const WARDS: [Ward; 4] = [
    Ward::Nothing,
    Ward::Default,
    Ward::Baseline,
    Ward::Restricted,
];

impl Ward {
    /// The runtime, by the harness's name.
    pub fn handler(self) -> &'static str {
        match self {
            Ward::Nothing | Ward::Default => "runc",
            Ward::Baseline => "mantlet-baseline",
            Ward::Restricted => "mantlet-restricted",
        }
    }
}

/// Answers of the kernel by step: `worked`, an errno's name, or a signal's.
pub type Answers = BTreeMap<&'static str, String>;

/// What happened.
pub struct Outcomes {
    /// In the order of [`WARDS`].
    pub wards: [Answers; 4],
    /// The same steps carried out by an exec session: `baseline`, `restricted`.
    pub sessions: [Answers; 2],
}

impl Outcomes {
    pub fn of(&self, ward: Ward, step: &Step) -> &str {
        let at = WARDS.iter().position(|w| *w == ward).expect("one of four");
        self.wards[at]
            .get(step.name)
            .map_or("no answer", String::as_str)
    }
}

/// Carries out the corpus at the first call.
pub fn outcomes() -> &'static Outcomes {
    static OUTCOMES: OnceLock<Option<Outcomes>> = OnceLock::new();
    let outcomes = OUTCOMES.get_or_init(|| {
        let answers = std::thread::scope(|scope| {
            let wards = WARDS.map(|ward| scope.spawn(move || in_ward(ward)));
            wards.map(|thread| thread.join().ok())
        });
        let [nothing, default, baseline, restricted] = answers;
        let (baseline, restricted) = (baseline?, restricted?);
        Some(Outcomes {
            wards: [nothing?.0, default?.0, baseline.0, restricted.0],
            sessions: [baseline.1, restricted.1],
        })
    });
    // The next test must not wait for all of it again.
    let outcomes = outcomes.as_ref();
    outcomes.expect("the corpus was carried out; the first test of it says why not")
}

/// What workload and session of one ward were answered.
fn in_ward(ward: Ward) -> (Answers, Answers) {
    let containerd = Containerd::shared();
    let mut pod = containerd.pod(ward.handler());
    if ward == Ward::Nothing {
        pod = pod.privileged();
    }
    let pod = pod.run();
    let neighbour = pod
        .container("neighbour")
        .command(["hostile", "listen-unix", "@mantlet-hostile"])
        .run();
    neighbour.await_log("listening");
    let (mut workload, mut session) = (Answers::new(), Answers::new());
    for (name, by) in [("root", By::Root), ("user", By::User)] {
        let script = script(|step| step.by == by);
        let line = format!("{script}exec harmless stay");
        let container = made(&pod, name, ward, by).shell(&line).run();
        eventually("the workload has tried all steps", || {
            let ended = container.state() == State::Exited;
            (ended || container.logs().contains("staying")).then_some(())
        });
        workload.extend(read(&container.logs()));
        if ward.handler() != "runc" {
            session.extend(read(&container.sh(&script).stdout));
        }
        if by == By::Root {
            let against = self::script(|step| step.by == By::Session);
            workload.extend(read(&container.sh(&against).stdout));
            let spec = &container.info()["runtimeSpec"];
            workload.extend(scenes::carry_out(ward, spec));
        }
    }
    (workload, session)
}

/// A container with the volumes that steps name, not run yet.
fn made<'a>(pod: &'a Pod<'a>, name: &str, ward: Ward, by: By) -> Container<'a> {
    let world = pod.containerd().world();
    let container = pod
        .container(name)
        .volume("/volume", 0)
        .mount(&memory(world), "/memory", false)
        // A pod may give itself such a one, for more of it; containerd's own is `noexec`.
        .mount(&memory(world), "/dev/shm", false)
        .mount(&programs(world), "/readonly", true)
        .mount(&termination_log(world), "/termination/log", false);
    let container = match ward {
        Ward::Nothing => container.privileged(),
        _ => container.default_proc(),
    };
    match by {
        By::User => container.user(1000),
        _ => container,
    }
}

/// An emptyDir of medium Memory, as the kubelet makes it.
pub fn memory(world: &World) -> PathBuf {
    let folder = world.folder("memory", &world.name("memory"));
    let mount = world
        .command("mount")
        .args(["-t", "tmpfs", "-o", "mode=777", "tmpfs"]);
    mount.arg(&folder).run().ok();
    folder
}

/// A volume that is read-only here and that somebody else has written.
pub fn programs(world: &World) -> PathBuf {
    let folder = world.folder("readonly", &world.name("readonly"));
    let program = folder.join("program");
    fs::copy(image("static-rootfs").join("bin/hostile"), &program).expect("our own folder");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own file");
    folder
}

/// A file that the kubelet makes and mounts: `terminationMessagePath`.
pub fn termination_log(world: &World) -> PathBuf {
    let file = world.folder("termination", &world.name("log")).join("log");
    fs::write(&file, "").expect("our own folder");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("our own file");
    file
}

/// One step after the other, each a process of its own; its number comes before its answer.
pub fn script(wanted: impl Fn(&Step) -> bool) -> String {
    steps::all()
        .iter()
        .enumerate()
        .filter(|(_, step)| wanted(step))
        .map(|(at, step)| format!("echo '# {at}'; hostile {}; echo \"= $?\"\n", step.call))
        .collect()
}

/// The answers in the output of [`script`]. A step that was killed before it could answer is known
/// by its exit code.
pub fn read(output: &str) -> Answers {
    let mut answers = Answers::new();
    let mut step: Option<&Step> = None;
    for line in output.lines() {
        if let Some(number) = line.strip_prefix("# ") {
            step = number
                .parse()
                .ok()
                .and_then(|at: usize| steps::all().get(at));
        }
        let Some(step) = step else { continue };
        if let Some(code) = line.strip_prefix("= ") {
            let code: i32 = code.parse().expect("an exit code");
            answers
                .entry(step.name)
                .or_insert_with(|| match code > 128 {
                    true => signal(code - 128),
                    false => format!("exit {code}"),
                });
        } else if let Some(answer) = answer(step, line) {
            answers.insert(step.name, answer);
        }
    }
    answers
}

/// What `hostile` says of `step`, in the page's words.
pub fn answer(step: &Step, line: &str) -> Option<String> {
    let attack = step.call.split(' ').next().unwrap_or_default();
    let said = line.strip_prefix(attack)?.strip_prefix(": ")?;
    if let Some(number) = said.strip_prefix("signal ") {
        return Some(signal(number.parse().expect("a signal's number")));
    }
    match said.strip_prefix("errno ") {
        Some(name) => Some(name.to_owned()),
        None => (said == "worked").then(|| said.to_owned()),
    }
}

fn signal(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |s| s.as_str().to_owned())
}
