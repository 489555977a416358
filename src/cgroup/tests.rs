//! The real hierarchies are asked, in groups of their own below the one that the tests run in.

use super::*;
use crate::oci::testdir::TestDir;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A v1, or hybrid, node has these; elsewhere a test that needs one is skipped.
const V1: &[&str] = &["freezer", "pids", "memory"];

/// Groups of one test, removed with it.
struct Own(Vec<PathBuf>);

impl Own {
    /// `None`, and says so, where one of the hierarchies is not here.
    fn new(name: &str, hierarchies: &[&str]) -> Option<Own> {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap();
        let mut own = Own(Vec::new());
        for hierarchy in hierarchies {
            let found = lines(&text).find(|(controllers, _)| controllers == hierarchy);
            let mounts = Path::new(MOUNTS);
            let mount = match *hierarchy {
                "" if mounts.join("cgroup.controllers").exists() => mounts.to_owned(),
                "" => mounts.join("unified"),
                name => mounts.join(name),
            };
            let Some((_, path)) = found.filter(|_| mount.join("cgroup.procs").exists()) else {
                eprintln!("skipped: no hierarchy {hierarchy:?} here");
                return None;
            };
            let name = format!("mantlet-{name}-{}", std::process::id());
            let directory = mount.join(path.trim_start_matches('/')).join(name);
            fs::create_dir(&directory).unwrap();
            own.0.push(directory);
        }
        Some(own)
    }

    fn set(&self, at: usize, file: &str, value: &str) {
        fs::write(self.0[at].join(file), value).unwrap();
    }

    /// A shell that is in all of them before it begins with `script`, and a line on its input lets
    /// it begin.
    fn shell(&self, script: &str) -> Shell {
        let child = Command::new("/bin/sh")
            .args(["-c", &format!("read line; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for at in 0..self.0.len() {
            self.set(at, "cgroup.procs", &child.id().to_string());
        }
        let cgroup = Cgroup::of(child.id() as i32).unwrap();
        Shell { child, cgroup }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for directory in &self.0 {
            for pid in Group::processes(directory) {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            let mut attempts = 0..500;
            while fs::remove_dir(directory).is_err() && attempts.next().is_some() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

struct Shell {
    child: Child,
    cgroup: Cgroup,
}

impl Shell {
    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Gives it a line.
    fn tell(&mut self) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(b"go\n").unwrap();
    }

    /// Whether it says something within a fifth of a second.
    fn speaks(&mut self) -> bool {
        let output = self.child.stdout.as_ref().unwrap();
        is_ready(output, PollFlags::POLLIN, 200)
    }

    fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.cgroup.thaw();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ready(fd: impl AsFd, flags: PollFlags, milliseconds: u16) -> bool {
    let mut polled = [PollFd::new(fd.as_fd(), flags)];
    poll(&mut polled, milliseconds).unwrap() > 0
}

/// As epoll would be asked.
fn changes(watch: &Watch, milliseconds: u16) -> bool {
    let flags = PollFlags::from_bits_truncate(watch.flags.bits() as i16);
    is_ready(&watch.fd, flags, milliseconds)
}

fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < deadline, "it never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn of_all_lines_the_ones_that_are_the_containers_own_count_and_the_telling_one_is_first() {
    let folder = TestDir::new("cgroups");
    let top = folder.path();
    for path in [
        "pids/a/b",
        "memory/a/b",
        "systemd/a/b",
        "unified/a/b",
        "cpu,cpuacct/a/b",
    ] {
        fs::create_dir_all(top.join(path)).unwrap();
    }
    let read = |text, own| Cgroup::read(text, own, top, &top.join("unified"));
    let directories = |text, own| -> Vec<PathBuf> {
        let found: Option<Cgroup> = read(text, own);
        let groups = found.into_iter().flat_map(|cgroup| cgroup.groups);
        groups
            .map(|group| group.directory.strip_prefix(top).unwrap().to_owned())
            .collect()
    };
    let text = "9:memory:/a/b\n3:cpu,cpuacct:/a/b\n2:pids:/a/b\n1:name=systemd:/a/b\n0::/a/b\n";
    let all = [
        "unified/a/b",
        "pids/a/b",
        "systemd/a/b",
        "memory/a/b",
        "cpu,cpuacct/a/b",
    ];
    assert_eq!(directories(text, ""), all.map(PathBuf::from));
    // Where the engine's service is, or above it, or beside it.
    assert_eq!(directories("0::/a/b", "0::/a/b"), Vec::<PathBuf>::new());
    assert_eq!(directories("0::/a", "0::/a/b"), Vec::<PathBuf>::new());
    assert_eq!(
        directories("0::/a/b", "0::/a/bc"),
        [PathBuf::from("unified/a/b")]
    );
    assert_eq!(
        directories("0::/a/b", "2:pids:/a/b"),
        [PathBuf::from("unified/a/b")]
    );
    let mixed = "2:pids:/a/b\n0::/a/b";
    assert_eq!(
        directories(mixed, "2:pids:/x\n0::/a/b/c"),
        [PathBuf::from("pids/a/b")]
    );
    for text in [
        "0::/",
        "2:pids:/",
        "0::/../a/b",
        "0::/a/../../b",
        "0::a/b",
        "0::/none",
        "x",
        "",
    ] {
        assert_eq!(read(text, ""), None, "{text}");
    }
}

#[test]
fn this_process_is_in_no_group_that_may_be_acted_on() {
    let error = Cgroup::of(std::process::id() as i32).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    let gone = Cgroup::of(i32::MAX).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
}

/// Every process below a group is a member, and all are killed, frozen or not.
fn killed_whole(own: &Own) {
    let mut shell = own.shell("sleep 1000 & sleep 1000 & echo; wait");
    let below = shell.cgroup.directory().join("below");
    fs::create_dir(&below).unwrap();
    shell.tell();
    assert!(shell.speaks());
    let mut members = shell.cgroup.members();
    assert_eq!(members.len(), 3);
    assert!(members.contains(&shell.pid()));
    fs::write(below.join("cgroup.procs"), members[2].to_string()).unwrap();
    assert!(members.iter().all(|pid| shell.cgroup.holds(*pid)));
    assert!(!shell.cgroup.holds(std::process::id() as i32));
    let mut moved = shell.cgroup.members();
    members.sort_unstable();
    moved.sort_unstable();
    assert_eq!(members, moved);
    shell.cgroup.freeze().unwrap();
    until(|| shell.cgroup.is_frozen().unwrap());
    shell.cgroup.kill_all().unwrap();
    assert!(!shell.end().success());
    until(|| shell.cgroup.members().is_empty());
    assert!(!shell.cgroup.holds(members[0]));
    until(|| fs::remove_dir(&below).is_ok());
}

#[test]
fn all_of_a_v2_group_is_killed() {
    if let Some(own) = Own::new("kill", &[""]) {
        killed_whole(&own);
    }
}

#[test]
fn all_of_a_v1_group_is_killed() {
    if let Some(own) = Own::new("kill", &["freezer"]) {
        killed_whole(&own);
    }
}

#[test]
fn a_group_that_forks_all_the_time_is_killed_without_the_one_call() {
    for hierarchies in [&["freezer"][..], &[""]] {
        let Some(own) = Own::new("forks", hierarchies) else {
            continue;
        };
        let mut shell = own.shell("echo; while :; do (:) & (:) & done");
        shell.tell();
        assert!(shell.speaks());
        shell.cgroup.kill_each().unwrap();
        assert!(shell.cgroup.members().is_empty());
        assert!(!shell.end().success());
    }
}

#[test]
fn a_frozen_group_stands_still_and_goes_on_when_thawed() {
    for hierarchies in [&["freezer"][..], &[""]] {
        let Some(own) = Own::new("freeze", hierarchies) else {
            continue;
        };
        let mut shell = own.shell("echo");
        assert!(!shell.cgroup.is_frozen().unwrap());
        shell.cgroup.freeze().unwrap();
        until(|| shell.cgroup.is_frozen().unwrap());
        shell.tell();
        assert!(!shell.speaks());
        shell.cgroup.thaw().unwrap();
        assert!(!shell.cgroup.is_frozen().unwrap());
        assert!(shell.speaks());
        assert!(shell.end().success());
    }
}

#[test]
fn a_hierarchy_that_cannot_freeze_says_so() {
    let Some(own) = Own::new("pids-only", &["pids"]) else {
        return;
    };
    let shell = own.shell("sleep 1000");
    for result in [shell.cgroup.freeze(), shell.cgroup.thaw()] {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
    assert_eq!(shell.cgroup.members(), [shell.pid()]);
    assert_eq!(shell.cgroup.oom_kills(), None);
    assert!(shell.cgroup.watch_oom().is_err());
    shell.cgroup.kill_all().unwrap();
}

#[test]
fn a_fork_that_the_limit_refuses_is_counted() {
    let Some(own) = Own::new("tasks", V1) else {
        return;
    };
    own.set(1, "pids.max", "1");
    let mut shell = own.shell("(:)");
    assert_eq!(shell.cgroup.tasks(), Some(1));
    assert_eq!(shell.cgroup.refused_tasks(), Some(0));
    // Where v1 has begun to wake its readers again, `watch_tasks` may say so.
    let error = shell.cgroup.watch_tasks().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    shell.tell();
    assert!(shell.end().code().is_some_and(|code| code != 0));
    assert_eq!(shell.cgroup.refused_tasks(), Some(1));
}

#[test]
fn a_v2_number_that_changes_wakes_the_watch_once() {
    let Some(own) = Own::new("watch", &[""]) else {
        return;
    };
    let shell = own.shell("");
    let watch = shell.cgroup.watch_frozen().unwrap();
    assert!(!changes(&watch, 100));
    for (frozen, number) in [(true, 1), (false, 0)] {
        shell.cgroup.set_frozen(frozen).unwrap();
        until(|| changes(&watch, 10_000) && watch.take().unwrap() == number);
        assert!(!changes(&watch, 100), "it waits for the next");
    }
}

#[test]
fn a_kill_for_want_of_memory_is_told_and_counted() {
    let Some(own) = Own::new("memory", V1) else {
        return;
    };
    own.set(2, "memory.limit_in_bytes", "8M");
    // tail keeps a line without an end.
    let mut shell = own.shell("head -c 64M /dev/zero | tail");
    let watch = shell.cgroup.watch_oom().unwrap();
    assert_eq!(shell.cgroup.oom_kills(), Some(0));
    assert!(!changes(&watch, 100));
    shell.tell();
    assert!(changes(&watch, 10_000));
    watch.take().unwrap();
    shell.end();
    until(|| shell.cgroup.oom_kills() > Some(0));
    assert_eq!(watch.take().ok(), shell.cgroup.oom_kills());
    assert!(!changes(&watch, 100), "it waits for the next");
}

#[test]
fn a_number_is_found_by_its_whole_name() {
    let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n";
    assert_eq!(number(text, "oom_kill"), Some(7));
    assert_eq!(number(text, "oom"), None);
    assert_eq!(number("max\n", "max"), None);
    assert_eq!(number("max -1\n", "max"), None);
}

#[test]
fn a_process_is_told_by_its_line_without_the_hierarchy() {
    let text = "9:name=systemd:/x\n8:pids:/pod/c\n0::/\n";
    assert!(is_told_by("pids:/pod/c", text));
    assert!(is_told_by("pids:/pod/c", "8:pids:/pod/c/inner\n"));
    for other in ["8:pids:/pod/cc\n", "8:pids:/pod\n", "4:memory:/pod/c\n", ""] {
        assert!(!is_told_by("pids:/pod/c", other), "{other}");
    }
    assert!(!is_told_by("", text));
    assert!(is_told_by(":/c", "0::/c\n"), "v2 has no controllers there");
}
