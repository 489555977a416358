//! Namespaces for a test program: a place where everything it starts lives and dies.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use super::command::Run;

/// A mount and pid namespace with its own `/run`, and a folder of its own on disk.
pub struct World {
    /// First process of the pid namespace, as the host counts.
    init: i32,
    /// `/tmp/mantlet-PID-KIND`: visible under the same name inside and outside.
    work: PathBuf,
    /// The runtime that mantlet's handlers hand over to here.
    runtime: &'static str,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl World {
    /// The world of runc, made at the first call.
    pub fn runc() -> &'static World {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| World::make("runc", "runc", false))
    }

    /// Another world of runc, for the caller alone: no other test's mount or container makes a
    /// program do more system calls here at one time than at another. It lives as long as the others.
    pub fn alone() -> &'static World {
        let kind = format!("alone-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Box::leak(Box::new(World::make(&kind, "runc", false)))
    }

    /// The world of crun: the same, with a pure cgroup v1 hierarchy where the host's is hybrid
    /// (DESIGN §10), because crun refuses a hybrid one.
    pub fn crun() -> &'static World {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| {
            World::make("crun", "crun", Path::new("/sys/fs/cgroup/unified").exists())
        })
    }

    /// This world's folder: bundles, state, logs. Removed at the end.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Name of the real runtime behind the handlers here: `runc` or `crun`.
    pub fn runtime(&self) -> &'static str {
        self.runtime
    }

    /// mantlet's configuration here, as `MANTLET_CONFIG` names it.
    pub fn config(&self) -> PathBuf {
        self.work.join("config.yaml")
    }

    /// mantlet's state directory here.
    pub fn state_dir(&self) -> PathBuf {
        self.work.join("state")
    }

    /// mantlet's journals here.
    pub fn log_dir(&self) -> PathBuf {
        self.work.join("log")
    }

    /// A program of ours in the folder of this run: `mantlet-restricted`, `mantlet`, …
    pub fn bin(&self, name: &str) -> PathBuf {
        self.work.join("bin").join(name)
    }

    /// A name nobody else in this test program has: `PREFIX-NUMBER`.
    pub fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// A fresh folder `WORK/KIND/NAME`.
    pub fn folder(&self, kind: &str, name: &str) -> PathBuf {
        let path = self.work.join(kind).join(name);
        fs::create_dir_all(&path).expect("a folder of our own");
        path
    }

    /// Cgroup below which every container of this test program belongs.
    pub fn cgroup(&self) -> String {
        format!("/{}", run_name())
    }

    /// `program` inside the world, with `MANTLET_CONFIG` set.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Run {
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--pid", "--target"])
            .arg(self.init.to_string());
        // The deadline kills nsenter; its child must not outlive it.
        command
            .args(["--", "setpriv", "--pdeathsig", "KILL", "--"])
            .arg(program.as_ref());
        command
            .env("MANTLET_CONFIG", self.config())
            .env_remove("RUST_BACKTRACE");
        Run::new(command, program.as_ref().to_string_lossy().into_owned())
    }

    /// `mantlet` with arguments, to its end.
    pub fn mantlet<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> super::Finished {
        self.command(self.bin("mantlet")).args(args).run()
    }

    /// Path, from outside, of the world's own view of `path`; follows its mounts.
    pub fn inside(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        let relative = path.strip_prefix("/").unwrap_or(path);
        Path::new("/proc")
            .join(self.init.to_string())
            .join("root")
            .join(relative)
    }

    /// `/proc/PID` of a pid of this world.
    pub fn proc(&self, pid: i32) -> PathBuf {
        self.inside(format!("/proc/{pid}"))
    }

    /// The host's number of a pid of this world, for signals.
    pub fn host_pid(&self, pid: i32) -> Option<i32> {
        let space = fs::read_link(format!("/proc/{}/ns/pid", self.init)).ok()?;
        let entries = fs::read_dir("/proc").ok()?;
        entries.flatten().find_map(|entry| {
            let host: i32 = entry.file_name().to_str()?.parse().ok()?;
            // A container's process is one level deeper than the world: match by level.
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let numbers: Vec<i32> = field(&status, "NSpid")?
                .split_whitespace()
                .filter_map(|number| number.parse().ok())
                .collect();
            let level = self.level();
            (numbers.get(level) == Some(&pid) && below(&entry.path(), &space)).then_some(host)
        })
    }

    /// Sends `signal` to a pid of this world; whether it was there.
    pub fn signal(&self, pid: i32, signal: nix::sys::signal::Signal) -> bool {
        self.host_pid(pid).is_some_and(|host| {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(host), signal).is_ok()
        })
    }

    /// Pids of this world whose `comm` is `name`.
    pub fn pids_named(&self, name: &str) -> Vec<i32> {
        let Ok(entries) = fs::read_dir(self.inside("/proc")) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                fs::read_to_string(self.proc(*pid).join("comm"))
                    .is_ok_and(|comm| comm.trim_end() == name.get(..15).unwrap_or(name))
            })
            .collect()
    }

    /// `/proc/PID/status` of a pid of this world, one field.
    pub fn status(&self, pid: i32, name: &str) -> Option<String> {
        let status = fs::read_to_string(self.proc(pid).join("status")).ok()?;
        field(&status, name).map(str::to_owned)
    }

    /// Depth of this world's pid namespace below the host's, as NSpid counts.
    fn level(&self) -> usize {
        fs::read_to_string(format!("/proc/{}/status", self.init))
            .ok()
            .and_then(|status| Some(field(&status, "NSpid")?.split_whitespace().count() - 1))
            .expect("the world's first process lives")
    }

    fn make(kind: &str, runtime: &'static str, pure_cgroups: bool) -> World {
        assert!(
            nix::unistd::geteuid().is_root(),
            "live tests need root: sudo -E cargo test"
        );
        // A worktree can sit below a folder that only root enters; /tmp is for everybody.
        let work = PathBuf::from(format!("/tmp/{}-{kind}", run_name()));
        fs::create_dir_all(&work).expect("a folder in /tmp");
        janitor();
        link_programs(&work.join("bin"));
        let holder = hold(&work, pure_cgroups);
        let world = World {
            init: holder,
            work,
            runtime,
        };
        fs::write(world.config(), world.configuration()).expect("a folder of our own");
        world
    }

    fn configuration(&self) -> String {
        let (state, log, runtime) = (self.state_dir(), self.log_dir(), self.runtime);
        format!(
            "version: 1\nstate_dir: {}\nlog_dir: {}\nhandlers:\n  \
             baseline: {{profile: baseline, runtime: {runtime}}}\n  \
             restricted: {{profile: restricted, runtime: {runtime}}}\n",
            state.display(),
            log.display(),
        )
    }
}

/// Value of one field of /proc/PID/status.
pub fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// Whether the process at `proc` lives in `space` or in a namespace made inside it: its own, or
/// that of an ancestor, is `space`.
fn below(proc: &Path, space: &Path) -> bool {
    let mut at = proc.to_path_buf();
    for _ in 0..64 {
        if fs::read_link(at.join("ns/pid")).is_ok_and(|found| found == space) {
            return true;
        }
        let Ok(status) = fs::read_to_string(at.join("status")) else {
            return false;
        };
        match field(&status, "PPid") {
            Some("0") | None => return false,
            Some(parent) => at = Path::new("/proc").join(parent),
        }
    }
    false
}

/// `mantlet-PID`: names the folders in /tmp and the cgroup of this test program.
fn run_name() -> String {
    format!("mantlet-{}", std::process::id())
}

/// Folder with our programs: `MANTLET_BIN_DIR`, else where cargo put this build's.
pub fn programs() -> PathBuf {
    std::env::var_os("MANTLET_BIN_DIR").map_or_else(
        || {
            let built = Path::new(env!("CARGO_BIN_EXE_mantlet-runtime"));
            built
                .parent()
                .expect("a program is in a folder")
                .to_path_buf()
        },
        PathBuf::from,
    )
}

/// The handlers' names beside the programs, as an installation has them.
fn link_programs(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder of our own");
    let from = programs();
    for name in [
        "mantlet-runtime",
        "mantlet-init",
        "mantlet-supervisor",
        "mantlet",
    ] {
        symlink(from.join(name), folder.join(name)).expect("a fresh folder");
    }
    for handler in super::HANDLERS.into_iter().chain(["mantlet-learn"]) {
        symlink("mantlet-runtime", folder.join(handler)).expect("a fresh folder");
    }
}

/// Makes the namespaces and answers the host's pid of their first process, a reaper.
fn hold(work: &Path, pure_cgroups: bool) -> i32 {
    let script = r#"
        mount -t tmpfs -o mode=755 tmpfs /run
        mkdir -p /run/lock /run/containerd
        if [ "$2" = true ]; then
            umount -l /sys/fs/cgroup
            mount -t tmpfs tmpfs /sys/fs/cgroup
            for controller in memory cpu cpuacct cpuset devices freezer blkio pids; do
                mkdir /sys/fs/cgroup/$controller
                mount -t cgroup -o $controller cgroup /sys/fs/cgroup/$controller
            done
        fi
        echo ready
        exec "$1"
    "#;
    let reaper = work.join("reaper");
    fs::copy(
        super::containerd::image("static-rootfs").join("bin/pause"),
        &reaper,
    )
    .expect("hack/images has made the static image");
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            "--",
            "unshare",
            "--mount",
            "--propagation",
            "private",
        ])
        .args([
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "--",
            "sh",
            "-euc",
            script,
        ])
        .arg("hold")
        .arg(reaper)
        .arg(pure_cgroups.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = on_lasting_thread(command);
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    output.read_line(&mut line).expect("a pipe");
    assert_eq!(
        line, "ready\n",
        "the namespaces of the live tests could not be made"
    );
    let outside = child.id();
    let children = fs::read_to_string(format!("/proc/{outside}/task/{outside}/children"))
        .expect("CONFIG_PROC_CHILDREN");
    HOLDERS.lock().expect("no holder panics").push(child);
    children.trim().parse().expect("unshare has one child")
}

static HOLDERS: Mutex<Vec<Child>> = Mutex::new(Vec::new());
static JANITOR: Mutex<Option<(Child, ChildStdin)>> = Mutex::new(None);

/// PDEATHSIG goes off when the *thread* that forked ends, and a test's thread ends early.
fn on_lasting_thread(mut command: Command) -> Child {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        sender
            .send(command.spawn().expect("util-linux is installed"))
            .expect("awaited");
        loop {
            std::thread::park();
        }
    });
    receiver.recv().expect("the thread sends")
}

/// A process that waits for this one's end, however it comes, and removes folders and cgroups.
/// The kernel has killed every process of the worlds by then.
fn janitor() {
    let mut slot = JANITOR.lock().expect("no janitor panics");
    if slot.is_some() {
        return;
    }
    let script = r#"
        cat >/dev/null
        trap '' INT TERM HUP
        for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            left=
            for top in /sys/fs/cgroup/*/"$1" /sys/fs/cgroup/"$1"; do
                [ -d "$top" ] || continue
                find "$top" -depth -type d -exec rmdir {} + 2>/dev/null || left=yes
            done
            rm -rf "/tmp/$1-"* 2>/dev/null || left=yes
            [ -z "$left" ] && exit 0
            sleep 0.1
        done
    "#;
    let mut child = Command::new("setsid")
        .args(["sh", "-c", script, "janitor"])
        .arg(run_name())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("util-linux is installed");
    let pipe = child.stdin.take().expect("piped");
    *slot = Some((child, pipe));
    // SAFETY: atexit(3) takes a function that lives as long as the program and does not unwind.
    unsafe { libc::atexit(leave) };
}

/// At an ordinary end the tidying is awaited, so that nothing is left when cargo goes on.
extern "C" fn leave() {
    let holders = std::mem::take(&mut *HOLDERS.lock().unwrap_or_else(|broken| broken.into_inner()));
    for mut holder in holders {
        let _ = holder.kill();
        let _ = holder.wait();
    }
    let taken = JANITOR
        .lock()
        .unwrap_or_else(|broken| broken.into_inner())
        .take();
    if let Some((mut child, pipe)) = taken {
        drop(pipe);
        let _ = child.wait();
    }
}
