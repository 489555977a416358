//! `mantlet try`: a program of this machine under a profile, told by what really happens to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::harness::{Finished, World, eventually};

/// A folder of the test's own, where the machine's tree shows it: not below /tmp.
pub fn folder(world: &World) -> PathBuf {
    let name = world.name("mantlet-try");
    let path = Path::new("/var/tmp").join(format!("{name}-{}", std::process::id()));
    fs::create_dir(&path).expect("a fresh folder");
    path
}

/// A profile of the test's own in `folder`.
pub fn profile(folder: &Path, name: &str, rest: &str) -> String {
    let path = folder.join(format!("{name}.yaml"));
    fs::write(&path, format!("version: 1\nname: {name}\n{rest}")).expect("a folder of our own");
    path.display().to_string()
}

fn attempt(world: &World, args: &[&str]) -> Finished {
    let done = world.mantlet(["try"].iter().chain(args));
    nothing_is_left(world);
    done
}

/// No folder, no cgroup, no process of any run.
#[track_caller]
pub fn nothing_is_left(world: &World) {
    let base = world.inside(format!("{}-try", world.state_dir().display()));
    // Another test's run is without its lock for a moment, while it begins and while it goes.
    eventually("nothing is left behind", || {
        let mut all = fs::read_dir(&base).into_iter().flatten().flatten();
        let left = all.any(|entry| !entry.path().join("lock").exists() || is_free(&entry.path()));
        (!left).then_some(())
    });
}

/// Whether no living run holds it: other tests run at the same time.
fn is_free(path: &Path) -> bool {
    let Ok(file) = fs::File::open(path.join("lock")) else {
        return false;
    };
    file.try_lock().is_ok() && !path.join("kept").exists()
}

#[test]
fn a_programs_exit_code_and_output_are_its_own() {
    for world in [World::runc(), World::crun()] {
        let done = attempt(
            world,
            &[
                "restricted",
                "--",
                "sh",
                "-c",
                "echo out; echo err >&2; exit 7",
            ],
        );
        let done = done.expect(7);
        assert_eq!(done.stdout, "out\n");
        assert_eq!(done.stderr, "err\n");
        let killed = [
            "baseline",
            "--",
            "sh",
            "-c",
            "sh -c 'kill -TERM $$'; exit $?",
        ];
        attempt(world, &killed).expect(143);
    }
}

#[test]
fn the_profile_is_really_in_force() {
    let world = World::runc();
    let script =
        "grep -E '^(NoNewPrivs|CapEff|Seccomp):' /proc/self/status; : > /etc/mantlet-was-here";
    let done = attempt(world, &["restricted", "--", "sh", "-c", script]).expect(2);
    let status: Vec<&str> = done.stdout.split_whitespace().collect();
    assert_eq!(
        status,
        [
            "CapEff:",
            "0000000000000400",
            "NoNewPrivs:",
            "1",
            "Seccomp:",
            "2"
        ]
    );
    assert!(done.stderr.contains("Permission denied"), "{}", done.stderr);
}

#[test]
fn a_denial_is_told_as_it_happens_and_its_fix_really_allows_it() {
    for world in [World::runc(), World::crun()] {
        let folder = folder(world);
        let child = profile(&folder, "site", "extends: [restricted]\n");
        let command = ["--", "unshare", "--uts", "true"];
        let done = attempt(world, &[&[&*child][..], &command].concat()).expect(1);
        assert!(
            done.stderr.contains("mantlet: denied unshare("),
            "{}",
            done.stderr
        );
        assert!(
            done.stderr
                .contains("    fix: syscalls: {allow: [{name: unshare, args: [{index: 0, op: eq, value: 0x4000000}]}]}\n"),
            "{}",
            done.stderr
        );
        assert!(done.stderr.contains("1 ×  unshare"), "{}", done.stderr);
        let snippet = snippet(&done);
        // A namespace needs a capability as well, of both the engine and the profile.
        let more = format!("extends: [restricted]\ncapabilities: [SYS_ADMIN]\n{snippet}");
        let more = more.replace("syscalls:\n", "syscalls:\n  groups: \"2026.1\"\n");
        let fixed = profile(&folder, "fixed", &more);
        let words = [&[&*fixed, "--capability", "sys_admin"][..], &command].concat();
        let done = attempt(world, &words);
        // runc's own refusal of what is privileged is the parent's: `restricted` refuses SYS_ADMIN.
        assert_eq!(done.code, 125, "{}", done.stderr);
        let own = more.replace("[restricted]", "[baseline]");
        let own = profile(&folder, "own", &own);
        let words = [&[&*own, "--capability", "sys_admin"][..], &command].concat();
        attempt(world, &words).expect(0);
        fs::remove_dir_all(folder).expect("our own folder");
    }
}

/// The lines to add, as they are printed.
fn snippet(done: &Finished) -> String {
    let after = done.stderr.split("or to one that extends it:\n").nth(1);
    let after = after.unwrap_or_else(|| panic!("no snippet in {}", done.stderr));
    let lines = after.lines().take_while(|line| line.starts_with("  "));
    lines.map(|line| format!("{}\n", &line[2..])).collect()
}

#[test]
fn what_landlock_and_a_silent_filter_deny_is_told_as_it_happens() {
    for world in [World::runc(), World::crun()] {
        let folder = folder(world);
        let more = "extends: [restricted]\nnetwork: {bind_tcp: [8080]}\nsyscalls:\n  groups: '2026.1'\n  \
                    deny: [{name: fchmodat, errno: EOPNOTSUPP, args: [{index: 2, op: eq, value: 448}]}]\n";
        let file = profile(&folder, "site", more);
        // In the program's own words, and its end: what is told changes neither.
        let script = "echo new > /srv/mantlet-try; echo $?; chmod 700 /srv; unshare --uts true; \
                      perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0) and bind(S, sockaddr_in(80, INADDR_ANY)) \
                      or warn qq(bind: $!\\n)'; exit 7";
        let words = [&*file, "--tmpfs", "/mnt", "--", "sh", "-c", script];
        let done = attempt(world, &words).expect(7);
        assert_eq!(done.stdout, "2\n");
        for said in [
            "Permission denied",
            "Operation not supported",
            "bind: Permission denied",
            "mantlet: denied make-reg mantlet-try in /srv  by ",
            "    fix: files: {read_write: [/srv]}\n",
            "mantlet: denied bind tcp port 80  by ",
            "    fix: network: {bind_tcp: [80]}\n",
            "mantlet: denied unshare(",
            "    fix: syscalls: {allow: [{name: unshare, args: [{index: 0, op: eq, value: 0x4000000}]}]}\n",
            "mantlet: what was denied",
        ] {
            assert!(done.stderr.contains(said), "{said} in {}", done.stderr);
        }
        // Not at the beginning of a line where the program has written half of one.
        let told = |words: &str| done.stderr.matches(words).count();
        assert_eq!(told("mantlet: denied unshare("), 1, "{}", done.stderr);
        assert_eq!(told("mantlet: denied fchmodat("), 1, "{}", done.stderr);
        for never in ["would", "told-1", "fix in", "clone3"] {
            assert!(!done.stderr.contains(never), "{never} in {}", done.stderr);
        }
        // For programs: events of the profile that was named, and that it was denied.
        let events = folder.join("events.jsonl");
        let json = ["--force", "--json", events.to_str().unwrap()];
        let words = [&json[..], &words].concat();
        attempt(world, &words).expect(7);
        let text = fs::read_to_string(&events).expect("the file of events");
        assert!(!text.contains("told-1"), "{text}");
        let events = text.lines().map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
            event
        });
        let observed: Vec<_> = events.filter(|event| event["type"] == "observed").collect();
        assert!(observed.len() >= 3, "{text}");
        for event in &observed {
            assert_eq!(event["denied"], true, "{event}");
            assert_eq!(event["profile"], "site", "{event}");
            assert_eq!(event["profiles"], serde_json::json!(["site"]), "{event}");
        }
        fs::remove_dir_all(folder).expect("our own folder");
    }
}

#[test]
fn an_audit_denies_nothing_and_what_it_prints_is_enough() {
    for world in [World::runc(), World::crun()] {
        let folder = folder(world);
        let file = profile(&folder, "site", "extends: [restricted]\n");
        let script = "echo new > /srv/mantlet-try && cat /srv/mantlet-try";
        let command = ["--", "sh", "-c", script];
        let denied = attempt(world, &[&[&*file][..], &command].concat()).refused();
        assert!(
            denied.stderr.contains("Permission denied"),
            "{}",
            denied.stderr
        );
        let audited = attempt(world, &[&[&*file, "--audit"][..], &command].concat()).expect(0);
        assert_eq!(audited.stdout, "new\n");
        for told in [
            "would deny make-reg",
            "    fix: files: {",
            "mantlet: what would be denied",
        ] {
            assert!(
                audited.stderr.contains(told),
                "{told} in {}",
                audited.stderr
            );
        }
        let more = format!("extends: [restricted]\n{}", snippet(&audited));
        let fixed = profile(&folder, "fixed", &more);
        attempt(world, &[&[&*fixed][..], &command].concat()).expect(0);
        let quiet = attempt(world, &[&[&*fixed, "--audit"][..], &command].concat()).expect(0);
        assert_eq!(quiet.stderr, "", "{more}");
        fs::remove_dir_all(folder).expect("our own folder");
    }
}

#[test]
fn what_is_written_stays_in_memory_but_in_what_was_named() {
    let world = World::runc();
    let folder = folder(world);
    fs::create_dir(folder.join("shared")).expect("our own folder");
    fs::write(folder.join("there"), "before").expect("our own folder");
    let script = format!(
        "cd {0} && cat there && echo over > there && cat there && echo x > new && \
         echo kept > shared/file; echo x > ro/file",
        folder.display()
    );
    fs::create_dir(folder.join("ro")).expect("our own folder");
    let (rw, ro) = (
        folder.join("shared"),
        format!("{}:ro", folder.join("ro").display()),
    );
    let words = [
        "baseline",
        "--rw",
        rw.to_str().unwrap(),
        "-v",
        &ro,
        "--",
        "sh",
        "-c",
        &script,
    ];
    let done = attempt(world, &words).expect(2);
    assert_eq!(done.stdout, "beforeover\n");
    assert!(
        done.stderr.contains("Read-only file system"),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read_to_string(folder.join("there")).unwrap(), "before");
    assert_eq!(fs::read_to_string(rw.join("file")).unwrap(), "kept\n");
    assert!(!folder.join("new").exists() && !folder.join("ro/file").exists());
    let words = [
        "baseline",
        "--read-only",
        "--",
        "sh",
        "-c",
        "echo x > /var/x",
    ];
    let done = attempt(world, &words).expect(2);
    assert!(
        done.stderr.contains("Read-only file system"),
        "{}",
        done.stderr
    );
    fs::remove_dir_all(folder).expect("our own folder");
}

#[test]
fn it_has_its_own_network_processes_and_folders_and_this_machines_files() {
    let world = World::runc();
    let folder = folder(world);
    fs::write(folder.join("here"), "").expect("our own folder");
    let script = "ls /tmp /run | grep -c .; grep -c : /proc/net/dev; echo $$; pwd; ls";
    let go = "cd \"$1\" && shift && exec \"$@\"";
    let run = world.command("sh").args(["-c", go, "sh"]).arg(&folder);
    let run = run.arg(world.bin("mantlet")).args(["try", "restricted"]);
    let done = run.args(["--", "sh", "-c", script]).run().ok();
    // The two names that ls(1) writes, and the one interface.
    let expected = format!("2\n1\n1\n{}\nhere\n", folder.display());
    assert_eq!(done.stdout, expected);
    fs::remove_dir_all(folder).expect("our own folder");
    // A server's life needs a loopback that is up.
    let script = "cat /sys/class/net/lo/flags";
    let done = attempt(world, &["restricted", "--", "sh", "-c", script]).expect(0);
    assert_eq!(done.stdout, "0x9\n");
    let refused = attempt(world, &["restricted", "--network", "host", "--", "true"]).expect(125);
    assert!(
        refused.stderr.contains("host-network"),
        "{}",
        refused.stderr
    );
    attempt(world, &["baseline", "--network", "host", "--", "true"]).expect(0);
    // The working directory is there where it would be hidden, and cannot be written.
    let hidden = world.folder("cwd", "hidden");
    fs::write(hidden.join("there"), "").expect("our own folder");
    let run = world.command("sh").args(["-c", go, "sh"]).arg(&hidden);
    let run = run.arg(world.bin("mantlet")).args(["try", "baseline"]);
    let done = run.args(["--", "sh", "-c", "ls; : > new"]).run().expect(2);
    assert_eq!(done.stdout, "there\n");
    assert!(
        done.stderr.contains("Read-only file system"),
        "{}",
        done.stderr
    );
}

#[test]
fn user_variables_and_folder_are_what_was_said() {
    let world = World::runc();
    let script = "id -un; echo $HOME $WORD; pwd; cat /proc/self/mountinfo | grep -c ' /cache '";
    let words = [
        "baseline", "-u", "nobody", "-e", "WORD=a b", "--cwd", "/usr", "--tmpfs", "/cache",
    ];
    let done = attempt(world, &[&words[..], &["--", "sh", "-c", script]].concat()).expect(0);
    assert_eq!(done.stdout, "nobody\n/nonexistent a b\n/usr\n1\n");
    let unknown = attempt(world, &["baseline", "-u", "no\u{1b}body", "--", "id"]).expect(125);
    assert!(
        unknown.stderr.contains("no user \"no\\u{1b}body\""),
        "{}",
        unknown.stderr
    );
}

#[test]
fn a_command_that_cannot_be_run_has_the_codes_of_shells() {
    for world in [World::runc(), World::crun()] {
        let done = attempt(world, &["restricted", "--", "no-such-program"]).expect(127);
        assert_eq!(
            done.stderr,
            "mantlet: exec: \"no-such-program\": executable file not found in $PATH\n"
        );
        let done = attempt(world, &["restricted", "--", "/etc/passwd"]).expect(126);
        assert_eq!(
            done.stderr,
            "mantlet: exec: \"/etc/passwd\": permission denied\n"
        );
    }
}

/// The program is granted, and what the kernel starts it by is not.
#[test]
fn a_program_whose_interpreter_is_not_granted_is_told_with_the_line_for_it() {
    for world in [World::runc(), World::crun()] {
        let folder = folder(world);
        let script = folder.join("script");
        fs::write(&script, "#!/bin/sh\n").expect("a folder of our own");
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("our own file");
        let lines = format!(
            "syscalls: {{groups: '2026.1', allow: ['@default', '@basic-io', '@file-system', '@process']}}\nfiles: {{read_execute: [{}]}}\n",
            script.display()
        );
        let file = profile(&folder, "site", &lines);
        let done = attempt(world, &[&file, "--", script.to_str().expect("UTF-8")]).expect(126);
        for said in [
            "profile site does not grant execution of ",
            ", the interpreter that its first line names; fix: files: {read_execute: [",
            "mantlet: denied execute ",
            "mantlet: to allow that, add to profile site",
        ] {
            assert!(done.stderr.contains(said), "{said} in {}", done.stderr);
        }
        fs::remove_dir_all(folder).expect("our own folder");
    }
}

#[test]
fn wrong_usage_and_wrong_profiles_are_said_before_anything_is_made() {
    let world = World::runc();
    let folder = folder(world);
    attempt(world, &[]).expect(2);
    attempt(
        world,
        &["restricted", "--rootfs", "/", "--bundle", "/", "--", "id"],
    )
    .expect(2);
    attempt(world, &["restricted", "--capability", "FLY", "--", "id"]).expect(2);
    for (words, said) in [
        (&["restricted"][..], "no command to run"),
        (&["restrictd", "--", "id"], "no profile `restrictd`"),
        (
            &["./no/such.yaml", "--", "id"],
            "cannot read ./no/such.yaml",
        ),
        (
            &["restricted", "-v", "/no/such", "--", "id"],
            "no /no/such to bring in",
        ),
        (
            &["restricted", "--tmpfs", "cache", "--", "id"],
            "no absolute path",
        ),
        (
            &["restricted", "--rootfs", "/etc/passwd", "--", "id"],
            "is no folder",
        ),
        (&["restricted", "--bundle", "/etc"], "config.json"),
        (
            &["restricted", "--runtime", "/no/such", "--", "id"],
            "/no/such",
        ),
    ] {
        let done = attempt(world, words).expect(125);
        assert!(done.stderr.contains(said), "{said} in {}", done.stderr);
    }
    let wrong = profile(&folder, "wrong", "extends: [baseline]\nsyscals: {}\n");
    let done = attempt(world, &[&wrong, "--", "id"]).expect(125);
    assert!(
        done.stderr.contains("4 | syscals: {}\n  | ^^^^^^^\n")
            && done.stderr.contains("syscalls")
            && done.stderr.contains(&format!("--> {wrong}:")),
        "{}",
        done.stderr
    );
    fs::remove_dir_all(folder).expect("our own folder");
}

#[test]
fn several_profiles_are_layers_and_each_has_its_say() {
    let world = World::runc();
    let folder = folder(world);
    let narrow = profile(
        &folder,
        "narrow",
        "extends: [baseline]\nnetwork: {connect_tcp: []}\n",
    );
    let both = format!("restricted+{narrow}");
    let done = attempt(world, &[&both, "--", "unshare", "-U", "true"]).expect(1);
    assert!(
        done.stderr.contains("fix in restricted: syscalls"),
        "{}",
        done.stderr
    );
    let words = ["restricted", "--layer", &narrow, "--keep", "--", "true"];
    let done = attempt(world, &words).expect(0);
    let kept = done.stderr.split("kept: ").nth(1).expect("it tells where");
    let kept = kept.split(" (journal ").next().expect("it tells where");
    let record = format!("{kept}/bundle/config.json");
    assert!(world.inside(&record).exists(), "{record}");
    let journal = done
        .stderr
        .split("(journal ")
        .nth(1)
        .expect("it tells where");
    let journal = journal.split(')').next().expect("it tells where");
    let text = fs::read_to_string(world.inside(journal)).expect("a journal");
    assert!(
        text.contains("\"profiles\":[\"restricted\",\"narrow\",\"restricted-told-1\","),
        "{text}"
    );
    fs::remove_dir_all(world.inside(kept)).expect("a kept folder");
    fs::remove_dir_all(folder).expect("our own folder");
}

#[test]
fn events_for_programs_go_to_a_file_and_nothing_is_said_about_them() {
    let world = World::runc();
    let folder = folder(world);
    let file = folder.join("events.jsonl");
    let words = [
        "restricted",
        "--json",
        file.to_str().unwrap(),
        "--",
        "unshare",
        "-U",
        "true",
    ];
    let done = attempt(world, &words).expect(1);
    assert!(!done.stderr.contains("mantlet:"), "{}", done.stderr);
    let text = fs::read_to_string(&file).expect("the file of events");
    let types: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON lines"))
        .map(|event| event["type"].as_str().expect("an event").to_owned())
        .collect();
    assert_eq!(types.first().map(String::as_str), Some("start"));
    assert!(types.contains(&"tripwire".to_owned()), "{types:?}");
    assert_eq!(types.last().map(String::as_str), Some("end"));
    // Not over a file that is there, unless that is said.
    let done = attempt(world, &words).expect(125);
    assert!(
        done.stderr.contains("exists; name another file"),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read_to_string(&file).expect("the file of events"), text);
    let force = [&["--force"][..], &words].concat();
    attempt(world, &force).expect(1);
    let again = fs::read_to_string(&file).expect("the file of events");
    assert_eq!(
        again
            .lines()
            .filter(|line| line.contains("\"type\":\"end\""))
            .count(),
        1
    );
    // A pipe is written to as it is, and a reader that goes away has not had what it wanted.
    let fifo = folder.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || drop(fs::File::open(fifo).expect("the pipe"))
    });
    let fifo = fifo.to_str().unwrap();
    let done = attempt(world, &["restricted", "--json", fifo, "--", "true"]).expect(125);
    assert!(
        done.stderr.contains("cannot write events to"),
        "{}",
        done.stderr
    );
    reader.join().expect("a thread");
    let done = attempt(
        world,
        &["restricted", "--json", "/no/such/file", "--", "true"],
    )
    .expect(125);
    assert!(
        done.stderr.contains("cannot write events to /no/such/file"),
        "{}",
        done.stderr
    );
    fs::remove_dir_all(folder).expect("our own folder");
}

/// A library in a folder of the test's own, which is mounted as a volume, and a program that loads it and maps
/// a file that it makes in /tmp, as JITs do.
fn plugin(folder: &Path) -> (String, String) {
    let (plug, text) = (folder.join("plug"), folder.join("p.c"));
    fs::create_dir(&plug).expect("our own folder");
    fs::write(&text, "int f(void){return 42;}\n").expect("our own folder");
    let made = Command::new("gcc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(plug.join("libp.so"))
        .arg(&text)
        .status();
    assert!(made.expect("gcc is here").success());
    let script = "import ctypes, mmap, tempfile\n\
                  print(ctypes.CDLL('/plug/libp.so').f())\n\
                  f = tempfile.TemporaryFile(dir='/tmp'); f.truncate(4096)\n\
                  mmap.mmap(f.fileno(), 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_EXEC)\n\
                  print('mapped')\n";
    (format!("{}:/plug:ro", plug.display()), script.into())
}

#[test]
fn what_noexec_denies_is_told_with_a_fix_that_repairs_it() {
    let world = World::runc();
    let folder = folder(world);
    let (volume, script) = plugin(&folder);
    let command = ["-v", &*volume, "--", "/usr/bin/python3", "-c", &*script];
    let site = profile(&folder, "site", "extends: [restricted]\n");
    let lines = [
        "map-execute /plug/libp.so  by ",
        "    fix: files: {execute: [/plug/libp.so]}\n",
    ];
    // Denied by the kernel, and told.
    let denied = attempt(world, &[&[&*site][..], &command].concat()).expect(1);
    for said in lines
        .iter()
        .chain(&["failed to map segment", "mantlet: denied map-execute"])
    {
        assert!(denied.stderr.contains(said), "{said} in {}", denied.stderr);
    }
    // Performed and told: of the file in /tmp, which has no name, by its folder.
    let audited = attempt(world, &[&[&*site, "--audit"][..], &command].concat()).expect(0);
    assert_eq!(audited.stdout, "42\nmapped\n");
    let more = [
        "would deny map-execute /plug/libp.so",
        "    fix: files: {execute: [/tmp]}\n",
    ];
    for said in lines.iter().chain(&more) {
        assert!(
            audited.stderr.contains(said),
            "{said} in {}",
            audited.stderr
        );
    }
    // Nothing is told of the image's own libraries.
    assert_eq!(
        audited.stderr.matches("would deny map-execute").count(),
        2,
        "{}",
        audited.stderr
    );
    let fixed = format!("extends: [restricted]\n{}", snippet(&audited));
    let fixed = profile(&folder, "fixed", &fixed);
    let done = attempt(world, &[&[&*fixed][..], &command].concat()).expect(0);
    assert_eq!(done.stdout, "42\nmapped\n");
    assert!(!done.stderr.contains("map-execute"), "{}", done.stderr);
    fs::remove_dir_all(folder).expect("our own folder");
}

#[test]
fn what_is_mapped_to_be_executed_is_learned_and_enforced() {
    let world = World::runc();
    let folder = folder(world);
    let (volume, script) = plugin(&folder);
    let command = ["-v", &*volume, "--", "/usr/bin/python3", "-c", &*script];
    let learned = folder.join("plug.yaml");
    let file = learned.to_str().expect("UTF-8");
    let done = world.mantlet([&["learn", "-o", file][..], &command].concat());
    assert!(
        done.stderr.contains("replayed: nothing denied"),
        "{}",
        done.stderr
    );
    let text = fs::read_to_string(&learned).expect("it was written");
    assert!(
        text.contains("{path: /plug/libp.so, optional: true}"),
        "{text}"
    );
    // Under it the program does what it did, and nothing is denied.
    let tried = attempt(world, &[&[file][..], &command].concat()).expect(0);
    assert_eq!(tried.stdout, "42\nmapped\n");
    assert!(!tried.stderr.contains("denied"), "{}", tried.stderr);
    // No more than that is executed: a library of the image needs no right to be mapped.
    let execute = text.split("  read_execute:\n").nth(1).expect("a list");
    let execute = execute.split("\n\n").next().expect("its lines");
    assert!(!execute.contains("libc.so"), "{text}");
    fs::remove_dir_all(folder).expect("our own folder");
}
