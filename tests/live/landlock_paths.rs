//! The limits of rules on paths that DESIGN §5 found, on a real overlay: names and inodes that the
//! kernel forgets are forgotten here on purpose.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc::channel;

use landlock::{AccessFs, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::harness::{Bundle, World};
use crate::landlock_site::{
    around, assert_create_refused, assert_start_refused, assert_tries, drop_inode_caches, profile,
    report, site,
};

/// Whether a thread in a domain whose one rule grants reading `name` in `folder` may read it: before
/// the kernel forgot it, and after.
fn lasts(folder: &Path, name: &'static str) -> (bool, bool) {
    // Opened beforehand: a domain keeps a thread out of other processes' /proc/PID/root.
    let folder = fs::File::open(folder).expect("a folder");
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let file = openat(&folder, name, flags, Mode::empty()).expect("it is there");
    let (told, tells) = channel();
    let (go_on, going) = channel::<()>();
    let alone = std::thread::spawn(move || {
        let rights = AccessFs::ReadFile;
        let ruleset = Ruleset::default().handle_access(rights);
        let created = ruleset.and_then(|ruleset| ruleset.create());
        let ruled = created.and_then(|created| created.add_rule(PathBeneath::new(file, rights)));
        ruled
            .and_then(|ruled| ruled.restrict_self())
            .expect("a domain");
        let may = || openat(&folder, name, OFlag::O_RDONLY, Mode::empty()).is_ok();
        told.send(may()).expect("awaited");
        going.recv().expect("it comes");
        told.send(may()).expect("awaited");
    });
    let before = tells.recv().expect("the thread tells");
    drop_inode_caches();
    go_on.send(()).expect("awaited");
    let after = tells.recv().expect("the thread tells");
    alone.join().expect("it does not panic");
    (before, after)
}

/// The control of the refusals below, without mantlet: what the kernel does with such rules. (Of
/// procfs it cannot be shown by this sysctl: the kernel drops that cache under pressure only.)
#[test]
fn a_rule_on_a_hard_linked_file_of_an_overlay_really_vanishes() {
    let bundle = site("files: {read_execute: [/bin]}");
    let root = bundle.rootfs();
    assert_eq!(lasts(&root, "bin/harmless"), (true, true));
    assert_eq!(lasts(&root, "bin/sh"), (true, false));
}

/// busybox and its applets are names of one file, as in the field's images.
#[test]
fn a_hard_linked_file_of_the_image_is_refused_and_its_directory_lasts() {
    let single = site("files: {read_execute: [/bin/sh, /bin/harmless]}");
    assert_start_refused(&single, "\"/bin/sh\" is a file with");
    let beside = site("files: {read_execute: [/], except: [/bin/harmless]}");
    assert_start_refused(&beside, "hard-linked program beside an excepted");

    let folder = site("files: {read_execute: [/bin], read_write: [/tmp]}").up();
    let said = around(
        &folder,
        "cat /bin/sh | wc -c",
        drop_inode_caches,
        "cat /bin/sh | wc -c",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], lines[2], "{said}");
    assert!(
        lines[0].parse::<u64>().is_ok_and(|size| size > 100_000),
        "{said}"
    );
}

#[test]
fn a_rule_on_a_single_file_outlasts_the_inode_cache_and_its_own_copy_up() {
    let files =
        "files: {read_execute: [/bin], read: [/etc/passwd], read_write: [/etc/group, /tmp]}";
    let bundle = site(files).up();
    let tries = "hostile read-file /etc/passwd; hostile read-file /etc/group; \
                 hostile write-file /etc/group; hostile read-file /etc/shadow";
    let expected = "read-file: worked\nread-file: worked\nwrite-file: worked\n\
                    read-file: errno EACCES\n";
    // The first write copies /etc/group up, between rule and look-up.
    let said = around(&bundle, tries, drop_inode_caches, tries);
    assert_eq!(said, format!("{expected}ready\n{expected}done\n"));
    assert!(bundle.path.join("upper/etc/group").exists());
}

#[test]
fn rules_below_procfs_are_refused_however_they_are_written() {
    assert_create_refused(&site("files: {read: [/proc/sys]}"), "lies below procfs");
    // The static image has /data -> /proc.
    let linked = site("files: {read_execute: [/bin], read: [/data/sys]}");
    assert_start_refused(&linked, "\"/data/sys\" has a symbolic link in it");
    let followed = "files: {read_execute: [/bin], read: [{path: /data/sys, follow: true}]}";
    assert_start_refused(&site(followed), "leads below procfs");
    let excepted = "files: {read_execute: [/bin], read: [/proc], except: [/proc/sys]}";
    assert_start_refused(&site(excepted), "leads below procfs");
}

#[test]
fn a_folder_that_the_workload_swaps_for_a_link_stops_the_next_exec() {
    let files = "files: {read_execute: [/bin], read: [/srv/data/inner], read_write: [/srv/data]}";
    let bundle = site(files);
    fs::create_dir_all(bundle.rootfs().join("srv/data/inner")).expect("our own bundle");
    let bundle = bundle.up();
    assert_tries(&bundle, &[("read-file /etc/shadow", "EACCES")]);
    let swap = "mv /srv/data/inner /srv/data/kept && ln -s /etc /srv/data/inner";
    bundle.exec(["sh", "-c", swap]).ok();
    let done = bundle
        .exec(["hostile", "read-file", "/etc/shadow"])
        .refused();
    assert!(!done.stdout.contains("worked"), "{}", done.stdout);
    let words = "\"/srv/data/inner\" has a symbolic link in it";
    assert!(done.stderr.contains(words), "{}", done.stderr);
    // A link that was there from the start is refused at the start.
    let bundle = site("files: {read_execute: [/bin], read: [/srv/link]}");
    fs::create_dir_all(bundle.rootfs().join("srv")).expect("our own bundle");
    symlink("/etc", bundle.rootfs().join("srv/link")).expect("our own bundle");
    assert_start_refused(&bundle, "has a symbolic link in it");
}

#[test]
fn an_exception_holds_and_names_that_come_later_beside_it_are_denied() {
    let files = "files: {read: [/], read_write: [/tmp], except: [/etc/shadow, /var/gone], \
                 device_ioctl: [/], execute: [/bin]}";
    let bundle = site(files);
    fs::create_dir_all(bundle.rootfs().join("etc/folder")).expect("our own bundle");
    let bundle = bundle.up();
    let held = [
        ("read-file /etc/passwd", "worked"),
        ("read-file /etc/shadow", "EACCES"),
        (
            "read-file /proc/self/../self/../sys/kernel/ostype",
            "worked",
        ),
        // Nothing can be made or moved beside an exception, whatever the owner.
        ("write-file /etc/later", "EACCES"),
        ("rename /etc/folder /etc/shadow", "EACCES"),
        ("link /etc/shadow /tmp/twin", "EXDEV"),
    ];
    assert_tries(&bundle, &held);
    // Names of the host's, in the container's own session: the rules were made before.
    let before = "hostile read-file /etc/passwd";
    let etc = bundle.rootfs().join("etc");
    let add = || {
        for name in ["later", "folder/later"] {
            fs::write(etc.join(name), "x").expect("our own bundle");
        }
        fs::write(bundle.rootfs().join("var/gone"), "x").expect("our own bundle");
        drop_inode_caches();
    };
    let after = "hostile read-file /etc/later; hostile read-file /etc/folder/later; \
                 hostile read-file /var/gone; hostile read-file /etc/passwd";
    let said = around(&bundle, before, add, after);
    let wanted = "read-file: worked\nready\nread-file: errno EACCES\nread-file: worked\n\
                  read-file: errno EACCES\nread-file: worked\ndone\n";
    assert_eq!(said, wanted);
    // A later session sees the new names, and still not the excepted ones.
    let later = [
        ("read-file /etc/later", "worked"),
        ("read-file /var/gone", "EACCES"),
        ("read-file /etc/shadow", "EACCES"),
    ];
    assert_tries(&bundle, &later);
}

#[test]
fn a_file_that_vanishes_between_plan_and_init_is_refused_unless_it_is_optional() {
    let bundle = |entry: &str| {
        let lines = format!("files: {{read_execute: [/bin, /etc], read_write: [/tmp, {entry}]}}");
        let bundle = site(&lines);
        fs::write(bundle.rootfs().join("var/there"), "").expect("our own bundle");
        bundle.write();
        assert_eq!(bundle.create(), 0, "{:?}", bundle.errors());
        fs::remove_file(bundle.rootfs().join("var/there")).expect("our own bundle");
        bundle
    };
    let strict = bundle("/var/there");
    strict.start().refused();
    let errors = strict.errors();
    assert!(
        errors[0].contains("cannot open \"/var/there\" for a landlock rule"),
        "{errors:?}"
    );

    let lax = bundle("{path: /var/there, optional: true}");
    lax.start().ok();
    let report = report(&lax);
    assert_eq!(report["skipped_paths"], serde_json::json!(["/var/there"]));
    assert_eq!(report["skipped_count"], 1);
    let shown = lax.world().mantlet(["inspect", &lax.id]).ok().stdout;
    assert!(shown.contains("skipped       /var/there"), "{shown}");
    // It is no rule for whatever comes there later in this session; the next one resolves anew.
    lax.exec(["true"]).ok();
}

/// Nobody has to know which name of a place is the real one.
#[test]
fn an_exception_holds_by_whatever_name_it_is_written() {
    let files = "files: {read_execute: [/bin], read: [/srv, /opt/all/part, {path: /ways/b, follow: true}], \
                 read_write: [/tmp], except: [/ways/a/secret, /ways/c, /opt/b/hidden]}";
    let bundle = site(files);
    let root = bundle.rootfs();
    for folder in ["srv", "opt/b", "opt/all/part", "ways"] {
        fs::create_dir_all(root.join(folder)).expect("our own bundle");
    }
    for file in [
        "srv/secret",
        "srv/plain",
        "opt/b/hidden",
        "opt/b/plain",
        "opt/all/part/file",
    ] {
        fs::write(root.join(file), "text").expect("our own bundle");
    }
    for (link, target) in [("a", "/srv"), ("b", "/opt/b"), ("c", "/opt/all")] {
        symlink(target, root.join("ways").join(link)).expect("our own bundle");
    }
    let bundle = bundle.up();
    let held = [
        ("read-file /srv/plain", "worked"),
        ("read-file /srv/secret", "EACCES"),
        ("read-file /opt/b/plain", "worked"),
        ("read-file /opt/b/hidden", "EACCES"),
        // All of it is left out.
        ("read-file /opt/all/part/file", "EACCES"),
    ];
    assert_tries(&bundle, &held);
}

#[test]
fn odd_names_beside_an_exception_neither_hang_nor_hide() {
    use std::os::unix::ffi::OsStrExt;
    let lines =
        "files: {read_execute: [/bin], read: [/srv], read_write: [/tmp], except: [/srv/out]}";
    let bundle = site(lines);
    let srv = bundle.rootfs().join("srv");
    fs::create_dir_all(srv.join("out")).expect("our own bundle");
    let name = std::ffi::OsStr::from_bytes(b"new\nline \xff\x1b[2J");
    fs::write(srv.join(name), "x").expect("our own bundle");
    nix::unistd::mkfifo(&srv.join("fifo"), Mode::S_IRWXU).expect("our own bundle");
    symlink("/etc/shadow", srv.join("link")).expect("our own bundle");
    let bundle = bundle.up();
    let found = bundle.exec([
        "sh",
        "-c",
        "cd /srv && for f in new*; do hostile read-file \"$f\"; done; true",
    ]);
    // Listing /srv itself is denied: what stands beside an exception is named or not found.
    assert_eq!(found.ok().stdout, "read-file: errno ENOENT\n");
    let read = "printf 'new\\nline \\377\\033[2J' >/tmp/name; hostile read-file \"/srv/$(cat /tmp/name)\"; \
                hostile read-file /srv/link; hostile read-file /srv/out; true";
    let found = bundle.exec(["sh", "-c", read]).ok().stdout;
    assert_eq!(
        found,
        "read-file: worked\nread-file: errno EACCES\nread-file: errno EACCES\n"
    );
}

#[test]
fn thousands_of_rules_are_attested_to_the_last_and_more_than_the_limit_is_refused() {
    let listed = |count: usize| {
        let paths: Vec<String> = (0..count).map(|n| format!("/srv/d{n}")).collect();
        profile(&format!(
            "files: {{read_execute: [/bin], read_write: [/tmp], read: [{}]}}",
            paths.join(", ")
        ))
    };
    let bundle = Bundle::new(World::runc(), "mantlet-baseline").profile("site", &listed(5000));
    for number in 0..5000 {
        let folder = bundle.rootfs().join(format!("srv/d{number}"));
        fs::create_dir_all(folder).expect("our own bundle");
    }
    fs::write(bundle.rootfs().join("srv/d4999/file"), "x").expect("our own bundle");
    fs::create_dir(bundle.rootfs().join("srv/d5000")).expect("our own bundle");
    fs::write(bundle.rootfs().join("srv/d5000/file"), "x").expect("our own bundle");
    let begin = std::time::Instant::now();
    let bundle = bundle.up();
    eprintln!("create and start with 5002 rules: {:?}", begin.elapsed());
    let begin = std::time::Instant::now();
    bundle.exec(["true"]).ok();
    eprintln!("exec with 5002 rules: {:?}", begin.elapsed());
    let report = report(&bundle);
    assert_eq!(
        report["landlock_rules"], 5002,
        "{}",
        report["landlock_rules"]
    );
    let tries = [
        ("read-file /srv/d4999/file", "worked"),
        ("read-file /srv/d5000/file", "EACCES"),
    ];
    assert_tries(&bundle, &tries);

    let over = Bundle::new(World::runc(), "mantlet-baseline").profile("site", &listed(9_999));
    assert_create_refused(
        &over,
        "comes to 10001 Landlock rules and exceptions, and at most 10000 are taken",
    );
}

#[test]
fn thousands_of_optional_paths_that_are_not_there_are_counted() {
    let paths: Vec<String> = (0..5000)
        .map(|n| format!("{{path: /srv/{}{n}, optional: true}}", "long".repeat(10)))
        .collect();
    let lines = format!(
        "files: {{read_execute: [/bin], read: [{}]}}",
        paths.join(", ")
    );
    let bundle = site(&lines).up();
    let report = report(&bundle);
    assert_eq!(report["skipped_count"], 5000);
    let listed = report["skipped_paths"].as_array().expect("a list").len();
    assert!((100..5000).contains(&listed), "{listed}");
    let shown = bundle.world().mantlet(["inspect", &bundle.id]).ok().stdout;
    assert!(
        shown.contains(&format!(" and {} more", 5000 - listed)),
        "{shown}"
    );
    bundle.exec(["true"]).ok();
}

#[test]
fn more_siblings_than_the_kernel_should_hold_are_refused() {
    let lines = "files: {read_execute: [/bin], read: [/srv], except: [/srv/out]}";
    let bundle = site(lines);
    let srv = bundle.rootfs().join("srv");
    fs::create_dir_all(srv.join("out")).expect("our own bundle");
    for number in 0..=65_536 {
        fs::write(srv.join(number.to_string()), "").expect("our own bundle");
    }
    assert_start_refused(&bundle, "comes to more than 65536 files and directories");
}
