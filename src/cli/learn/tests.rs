//! Files and calls, case by case: what is taken together, what is not, and what stays visible.

use std::collections::{BTreeMap, BTreeSet};

use super::calls;
use super::files::{self, Grant, Level, Need, Options, Why};
use super::union::{Coverage, Union};
use crate::access::calls::NAMESPACES;
use crate::access::{Access, Argument};
use crate::policy::mounts::{Kind, Place};

fn options(level: Level) -> Options {
    Options {
        level,
        exact: Vec::new(),
        into: Vec::new(),
        moves: BTreeMap::new(),
    }
}

fn places(union: &Union, mounts: &[Place], options: &Options) -> Vec<Grant> {
    files::places(union, union, mounts, options)
}

fn file(right: &str, mount: &str, path: &str) -> Access {
    Access::File {
        path: path.into(),
        right: right.into(),
        entry: None,
        mount: mount.into(),
        directory: false,
        moved: None,
    }
}

fn entry(right: &str, mount: &str, path: &str, name: &str) -> Access {
    Access::File {
        path: path.into(),
        right: right.into(),
        entry: Some(name.into()),
        mount: mount.into(),
        directory: true,
        moved: None,
    }
}

fn union(seen: impl IntoIterator<Item = Access>) -> Union {
    let once = || Coverage {
        runs: [0].into(),
        start_up: true,
        ..Coverage::default()
    };
    Union {
        seen: seen.into_iter().map(|access| (access, once())).collect(),
        runs: 1,
        ..Union::default()
    }
}

fn learned(level: Level, seen: impl IntoIterator<Item = Access>) -> Vec<Grant> {
    places(&union(seen), &[], &options(level))
}

fn names(grants: &[Grant]) -> Vec<&str> {
    grants.iter().map(|grant| grant.place.as_str()).collect()
}

#[test]
fn a_file_of_the_image_stays_what_it_is() {
    let seen = [
        file("execute", "/", "/usr/lib/postgresql/15/bin/postgres"),
        file("read-file", "/", "/etc/ssl/certs/2e5ac55d.0"),
    ];
    let grants = learned(Level::Careful, seen);
    assert_eq!(
        names(&grants),
        [
            "/etc/ssl/certs/2e5ac55d.0",
            "/usr/lib/postgresql/15/bin/postgres"
        ]
    );
    assert!(grants.iter().all(|grant| grant.why.is_empty()));
    assert!(grants[1].need.holds(Need::EXECUTE) && grants[1].need.holds(Need::READ));
}

#[test]
fn nothing_below_proc_is_named_and_devices_are_a_symbol() {
    let seen = [
        file("read-file", "/proc", "/proc/4711/stat"),
        file("write-file", "/dev", "/dev/null"),
        file("ioctl-dev", "/dev/pts", "/dev/pts/0"),
        file(
            "read-file",
            "/sys",
            "/sys/fs/cgroup/memory/pod1234/memory.limit_in_bytes",
        ),
    ];
    let grants = learned(Level::None, seen);
    assert_eq!(names(&grants), ["/proc", "/sys/fs/cgroup", "@devices"]);
    assert!(grants[2].need.holds(Need::WRITE) && grants[2].need.holds(Need::IOCTL));
}

#[test]
fn what_was_made_is_granted_by_the_directory_that_was_there_before() {
    let seen = [
        entry("make-dir", "/", "/var/lib/app", "work"),
        entry("make-reg", "/", "/var/lib/app/work", "a"),
        file("write-file", "/", "/var/lib/app/work/a"),
        file("read-file", "/", "/var/lib/app/work/a"),
    ];
    for level in [Level::None, Level::Careful, Level::Wide] {
        let grants = learned(level, seen.clone());
        assert_eq!(names(&grants), ["/var/lib/app"], "{level:?}");
        assert!(grants[0].need.holds(Need::READ | Need::WRITE));
        assert!(grants[0].why.contains(&Why::Made));
    }
}

#[test]
fn changing_names_are_their_directorys_where_something_is_written() {
    let seen = [
        file("write-file", "/data", "/data/base/16384/2619"),
        file("read-file", "/data", "/data/global/1262"),
        file("read-file", "/data", "/data/PG_VERSION"),
    ];
    let grants = learned(Level::Careful, seen.clone());
    // The rest of the volume is only read.
    assert_eq!(names(&grants), ["/data", "/data/base"]);
    assert!(!grants[0].need.has(Need::WRITE) && grants[1].need.has(Need::WRITE));
    assert!(grants[1].optional && !grants[0].optional);
    let plain = learned(Level::None, seen);
    assert_eq!(
        names(&plain),
        [
            "/data/PG_VERSION",
            "/data/base/16384/2619",
            "/data/global/1262"
        ]
    );
}

#[test]
fn a_volume_that_is_written_to_everywhere_is_one_place() {
    let seen = [
        entry("make-reg", "/data", "/data", "dump.rdb"),
        file("write-file", "/data", "/data/dump.rdb"),
        file("read-file", "/data", "/data/dump.rdb"),
    ];
    let grants = learned(Level::Careful, seen);
    assert_eq!(names(&grants), ["/data"]);
    assert!(!grants[0].optional);
}

#[test]
fn a_volume_gives_no_other_program_than_the_one_that_ran() {
    let seen = [
        file("execute", "/plugins", "/plugins/one"),
        file("read-file", "/plugins", "/plugins/list"),
    ];
    let grants = learned(Level::Careful, seen);
    assert_eq!(names(&grants), ["/plugins", "/plugins/one"]);
    assert!(!grants[0].need.has(Need::EXECUTE) && grants[1].need.has(Need::EXECUTE));
}

#[test]
fn what_is_mapped_to_be_executed_is_granted_execution_as_tightly_as_what_is_executed() {
    let seen = [
        file("read-file", "/plugins", "/plugins/one.so"),
        file("map-execute", "/plugins", "/plugins/one.so"),
        file("read-file", "/plugins", "/plugins/list"),
    ];
    for level in [Level::None, Level::Careful, Level::Wide] {
        let grants = learned(level, seen.clone());
        let runs = |grant: &&Grant| grant.need.has(Need::EXECUTE);
        let runs: Vec<&Grant> = grants.iter().filter(runs).collect();
        let [one] = &runs[..] else {
            panic!("{level:?}: {grants:?}");
        };
        assert_eq!(one.place, "/plugins/one.so", "{level:?}");
        assert!(one.optional && !one.need.has(Need::WRITE), "{level:?}");
    }
    // What the program made is another file each time.
    let made = [
        entry("make-reg", "/tmp", "/tmp", "jit-x7Qa2"),
        file("write-file", "/tmp", "/tmp/jit-x7Qa2"),
        file("map-execute", "/tmp", "/tmp/jit-x7Qa2"),
    ];
    let grants = learned(Level::Careful, made);
    assert_eq!(names(&grants), ["/tmp"]);
    assert!(grants[0].need.holds(Need::EXECUTE | Need::WRITE));
}

#[test]
fn all_volumes_are_a_symbol_where_all_are_written_to() {
    let mount = |path: &str, kind| Place {
        destination: path.into(),
        kind,
        writable: true,
    };
    let mounts = [
        mount("/data", Kind::Volume),
        mount("/logs", Kind::Volume),
        mount("/tmp", Kind::Tmpfs),
    ];
    let data = entry("make-reg", "/data", "/data", "a");
    let logs = entry("make-reg", "/logs", "/logs", "b");
    // One of which programs are executed makes no place for programs of the others.
    let asked = Options {
        into: vec![("/data/**".into(), "/data".into())],
        ..options(Level::Careful)
    };
    let program = file("execute", "/data", "/data/one");
    let mixed = union([program.clone(), data.clone(), logs.clone()]);
    let mixed = places(&mixed, &mounts, &asked);
    assert_eq!(names(&mixed), ["/data", "/logs"]);
    assert!(mixed[0].need.has(Need::EXECUTE) && !mixed[1].need.has(Need::EXECUTE));
    // One that is to stay as it was seen keeps its name, and so does the other.
    let exact = Options {
        exact: vec!["/data".into()],
        ..options(Level::Careful)
    };
    let kept = places(&union([data.clone(), logs.clone()]), &mounts, &exact);
    assert_eq!(names(&kept), ["/data", "/logs"]);
    let one = places(&union([data.clone()]), &mounts, &options(Level::Careful));
    assert_eq!(names(&one), ["/data"]);
    let both = places(&union([data, logs]), &mounts, &options(Level::Careful));
    assert_eq!(names(&both), ["@volumes"]);
}

#[test]
fn many_files_of_one_directory_are_the_directory_but_never_etc() {
    let many = |folder: &str, right: &str, count: usize| -> Vec<Access> {
        (0..count)
            .map(|number| {
                file(
                    right,
                    "/",
                    &format!("{folder}/file{}", ["a", "b", "c", "d", "e", "f"][number]),
                )
            })
            .collect()
    };
    let grants = learned(Level::Careful, many("/usr/share/app", "read-file", 6));
    assert_eq!(names(&grants), ["/usr/share/app"]);
    assert_eq!(grants[0].from.len(), 6);
    assert_eq!(
        learned(Level::Careful, many("/usr/share/app", "read-file", 5)).len(),
        5
    );
    assert_eq!(
        learned(Level::None, many("/usr/share/app", "read-file", 6)).len(),
        6
    );
    assert_eq!(
        learned(Level::Careful, many("/etc", "read-file", 6)).len(),
        6
    );
    assert_eq!(
        learned(Level::Careful, many("/root/keys", "read-file", 6)).len(),
        6
    );
    // Programs stay single files, unless that is asked for.
    assert_eq!(
        learned(Level::Careful, many("/usr/bin", "execute", 6)).len(),
        6
    );
    assert_eq!(
        names(&learned(Level::Wide, many("/usr/bin", "execute", 6))),
        ["/usr/bin"]
    );
}

#[test]
fn passing_files_are_their_directorys() {
    let seen = [
        entry("make-reg", "/", "/tmp", "tmpab12cd34"),
        entry("make-dir", "/", "/tmp/hsperfdata_app", "x"),
    ];
    let grants = learned(Level::Careful, seen);
    assert_eq!(names(&grants), ["/tmp"]);
    assert!(grants[0].why.contains(&Why::Passing));
}

#[test]
fn a_person_may_keep_paths_and_choose_places() {
    let seen = [
        file("write-file", "/data", "/data/base/16384/2619"),
        file("read-file", "/", "/opt/app/one/x"),
    ];
    let chosen = Options {
        level: Level::Careful,
        exact: vec!["/data/base".into()],
        into: vec![("/opt/app/**".into(), "/opt/app".into())],
        ..options(Level::Careful)
    };
    let grants = places(&union(seen), &[], &chosen);
    assert_eq!(names(&grants), ["/data/base/16384/2619", "/opt/app"]);
    assert!(grants[1].why.contains(&Why::Asked));
}

#[test]
fn what_was_made_has_no_rule_of_its_own_whoever_wants_one() {
    let seen = [
        entry("make-reg", "/", "/tmp/work", "a"),
        file("write-file", "/", "/tmp/work/a"),
        file("read-file", "/", "/tmp/work/gone (deleted)"),
        file("read-file", "/", "/tmp/work/there"),
    ];
    let exact = Options {
        exact: vec!["/tmp/work".into()],
        ..options(Level::Careful)
    };
    let grants = places(&union(seen), &[], &exact);
    assert_eq!(names(&grants), ["/tmp/work"]);
}

#[test]
fn names_that_no_rule_can_hold_and_things_without_a_path_are_no_trouble() {
    let seen = [
        file("read-file", "/", "/srv/a*b/c"),
        file("read-file", "/", "pipe:[4711]"),
        file("read-file", "/", "/memfd:x (deleted)"),
        file("write-file", "/", "/var/gone/x (deleted)"),
    ];
    let grants = learned(Level::Careful, seen);
    assert_eq!(names(&grants), ["/srv", "/var/gone"]);
    assert!(grants[0].why.contains(&Why::Unwritable));
}

fn call(name: &str, args: &[Argument]) -> Access {
    Access::Syscall {
        name: name.into(),
        args: args.to_vec(),
    }
}

fn argument(index: u8, value: u64) -> Argument {
    Argument {
        index,
        value,
        mask: None,
    }
}

fn of<'a>(calls: &'a calls::Calls, name: &str) -> Vec<&'a calls::Line> {
    calls
        .allow
        .iter()
        .filter(|line| line.name == name)
        .collect()
}

#[test]
fn a_deciding_argument_narrows_a_call_unless_it_is_used_at_large() {
    let few = (0..16).map(|value| call("ioctl", &[argument(1, value)]));
    let lines = calls::lines(&union(few), false);
    assert_eq!(of(&lines, "ioctl").len(), 16);
    let many = (0..17).map(|value| call("ioctl", &[argument(1, value)]));
    let lines = calls::lines(&union(many), false);
    let ioctl = of(&lines, "ioctl");
    assert!(ioctl.len() == 1 && ioctl[0].only.is_none() && ioctl[0].note.contains("17 values"));
    // Somebody saw it without an argument: nobody knows which it was.
    let blind = [call("socket", &[argument(0, 2)]), call("socket", &[])];
    let lines = calls::lines(&union(blind), false);
    assert!(of(&lines, "socket").len() == 1 && of(&lines, "socket")[0].only.is_none());
    // An argument that decides nothing.
    let lines = calls::lines(&union([call("mmap", &[argument(2, 5)])]), false);
    assert!(of(&lines, "mmap").len() == 1 && of(&lines, "mmap")[0].only.is_none());
}

#[test]
fn clone3_is_written_as_the_clone_that_libraries_take_instead() {
    let lines = calls::lines(&union([call("clone3", &[])]), false);
    assert!(of(&lines, "clone3").is_empty());
    assert_eq!(of(&lines, "clone")[0].only.unwrap().mask, Some(NAMESPACES));
    let both = [call("clone3", &[]), call("clone", &[])];
    let lines = calls::lines(&union(both), false);
    assert_eq!(
        (of(&lines, "clone3").len(), of(&lines, "clone").len()),
        (1, 1)
    );
}

#[test]
fn what_no_profile_may_allow_is_said_and_left_out() {
    let seen = [
        call("mount", &[]),
        call("io_uring_setup", &[]),
        call("syscall_999", &[]),
    ];
    let lines = calls::lines(&union(seen), false);
    let never: BTreeSet<&str> = lines.never.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(never, ["mount", "syscall_999"].into());
    assert_eq!(lines.absent[0].0, "io_uring_setup");
    assert!(of(&lines, "mount").is_empty() && of(&lines, "io_uring_setup").is_empty());
}

#[test]
fn a_group_stands_for_its_members_where_all_were_seen_or_half_with_fold() {
    let all = [
        "fdatasync",
        "fsync",
        "msync",
        "sync",
        "sync_file_range",
        "syncfs",
    ];
    let seen = || all.iter().map(|name| call(name, &[]));
    let lines = calls::lines(&union(seen()), false);
    assert_eq!(of(&lines, "@sync").len(), 1);
    assert!(of(&lines, "fsync").is_empty());
    let lines = calls::lines(&union(seen().take(4)), false);
    assert!(of(&lines, "@sync").is_empty() && of(&lines, "fsync").len() == 1);
    let lines = calls::lines(&union(seen().take(4)), true);
    assert!(
        of(&lines, "@sync")[0]
            .note
            .contains("sync_file_range syncfs")
    );
    // Never a group of dangers, however much of it was seen.
    let dangers = [
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "kcmp",
        "pidfd_getfd",
        "perf_event_open",
    ];
    let lines = calls::lines(&union(dangers.iter().map(|name| call(name, &[]))), true);
    assert!(of(&lines, "@debug").is_empty() && of(&lines, "ptrace").len() == 1);
}
