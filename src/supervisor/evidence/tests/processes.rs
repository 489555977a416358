//! Processes, descriptors, sockets, and what is missing.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_process_is_told_as_the_kernel_tells_it() {
    let own = Own::shell("cd /usr; exec 7<>/dev/null 8</etc/passwd", |_| {});
    let pid = own.pid();
    let made = made_of("facts", &[pid], |_| {});
    let told = made.process(pid);
    assert_eq!(told["ppid"], std::process::id());
    assert_eq!(told["uid"][0], nix::unistd::getuid().as_raw());
    assert_eq!(told["comm"], "sh");
    assert_eq!(told["cwd"], "/usr");
    assert_eq!(told["argv"][0], "/bin/sh");
    let state = told["state"].as_str().unwrap();
    assert!(state.starts_with(['R', 'S']), "{state}");
    assert_eq!(told["start_time"], state::start_time(pid).unwrap());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for name in ["CapEff", "NoNewPrivs", "Seccomp"] {
        let value = told["security"][name].as_str().unwrap();
        assert!(status.contains(&format!("{name}:\t{value}\n")), "{name}");
    }
    let net = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let space = told["namespaces"]["net"].as_u64().unwrap();
    assert_eq!(net.to_str().unwrap(), format!("net:[{space}]"));
    // Descriptors, with what their own files say.
    let descriptor = |number: i32| {
        let mut all = told["descriptors"].as_array().unwrap().iter();
        all.find(|descriptor| descriptor["number"] == number)
            .unwrap()
    };
    assert_eq!(descriptor(7)["kind"], "character-device");
    assert_eq!(descriptor(8)["kind"], "file");
    assert_eq!(descriptor(8)["target"], "/etc/passwd");
    assert_eq!(descriptor(8)["position"], 0);
    assert_eq!(descriptor(0)["kind"], "fifo");
    // The executable, of the image as far as anybody knows.
    let program = &told["program"];
    let digest = state::digest_file(Path::new("/bin/sh")).unwrap();
    assert_eq!(program["sha256"], digest);
    assert_eq!(program["drift"], Value::Array(Vec::new()));
    assert!(made.manifest["binaries"].as_array().unwrap().is_empty());
    assert_eq!(made.manifest["complete"], true);
    assert_eq!(made.manifest["by"], "web/drift");
    // The raw texts.
    for name in ["status", "stat", "limits", "cmdline", "maps", "mountinfo"] {
        let own = fs::read(format!("/proc/{pid}/{name}")).unwrap();
        let kept = made.entry(&format!("processes/{pid}/{name}"));
        assert_eq!(kept.is_empty(), own.is_empty(), "{name}");
    }
    assert_eq!(made.entry("events.jsonl"), b"{\"seq\":1}\n{\"seq\":2}\n");
    let early: Value = serde_json::from_slice(&made.entry("manifest-early.json")).unwrap();
    assert_eq!(early["complete"], false);
    assert_eq!(early["processes"][0]["comm"], "sh");
}

#[test]
fn an_open_socket_is_found_in_the_tables() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let own = Own::shell("true", |command| {
        command.stderr(OwnedFd::from(listener));
    });
    let made = made_of("socket", &[own.pid()], |_| {});
    let told = made.process(own.pid());
    let descriptors = told["descriptors"].as_array().unwrap();
    let found = descriptors.iter().find(|found| found["number"] == 2);
    let socket = &found.unwrap()["socket"];
    assert_eq!(socket["table"], "tcp");
    assert_eq!(socket["local"], address.to_string());
    assert_eq!(socket["state"], "listen");
    let space = told["namespaces"]["net"].as_u64().unwrap();
    let table = made.entry(&format!("sockets/{space}/tcp"));
    let port = format!("0100007F:{:04X} ", address.port());
    assert!(String::from_utf8_lossy(&table).contains(&port));
}

#[test]
fn a_fifo_and_a_descriptor_without_end_are_not_read() {
    let scratch = Scratch::new("evidence-fifo");
    let fifo = scratch.path.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("exec 7<>{} 8</dev/zero", fifo.display());
    let own = Own::shell(&script, |_| {});
    let made = made_of("fifo", &[own.pid()], |_| {});
    let told = made.process(own.pid());
    let descriptors = told["descriptors"].as_array().unwrap();
    let kind = |number: i32| {
        let found = descriptors.iter().find(|found| found["number"] == number);
        found.unwrap()["kind"].as_str().unwrap()
    };
    assert_eq!((kind(7), kind(8)), ("fifo", "character-device"));
}

#[test]
fn what_has_ended_or_was_never_there_is_only_missing() {
    let mut gone = Command::new("/bin/true").spawn().unwrap();
    gone.wait().unwrap();
    let zombie = Command::new("/bin/true").spawn().unwrap();
    let zombie = Own(zombie);
    while state::start_time(zombie.pid()).is_some() {
        std::thread::yield_now();
    }
    let own = Own::shell("true", |_| {});
    let pids = [gone.id() as i32, 0, -1, zombie.pid(), own.pid(), own.pid()];
    let made = made_of("gone", &pids, |scene| {
        scene.journal = Path::new("/proc/nowhere/at/all");
    });
    assert!(made.lacks(&format!("processes/{}", gone.id())).is_some());
    assert!(made.lacks("events.jsonl").is_some());
    let told = made.manifest["processes"].as_array().unwrap();
    assert_eq!(told.len(), 2);
    let state = made.process(zombie.pid())["state"].as_str().unwrap();
    assert!(state.starts_with('Z'));
    assert_eq!(made.process(own.pid())["comm"], "sh");
}

#[test]
fn a_pid_that_is_not_in_the_cgroup_any_more_is_left_alone() {
    let own = Own::shell("true", |_| {});
    let text = fs::read_to_string(format!("/proc/{}/cgroup", own.pid())).unwrap();
    let line = text.lines().next().unwrap().split_once(':').unwrap().1;
    let made = made_of("cgroup", &[own.pid()], |scene| scene.cgroup = Some(line));
    let told = made.manifest["processes"].as_array().unwrap();
    assert_eq!((told.len(), &told[0]["pid"]), (1, &own.pid().into()));
    let made = made_of("cgroup-other", &[own.pid()], |scene| {
        scene.cgroup = Some("pids:/no/such/group");
    });
    assert!(made.manifest["processes"].as_array().unwrap().is_empty());
    let why = made.lacks(&format!("processes/{}", own.pid())).unwrap();
    assert!(why.contains("cgroup"));
}

#[test]
fn a_collection_whose_time_is_over_is_a_whole_archive_that_says_so() {
    let own = Own::shell("true", |_| {});
    let made = made_of("late", &[own.pid()], |scene| scene.until = Instant::now());
    assert_eq!(made.manifest["complete"], false);
    assert!(made.lacks("processes").unwrap().contains("time"));
    assert!(
        made.lacks("executables").is_none(),
        "there was none to look at"
    );
    made.entry("manifest-early.json");
}

#[test]
fn more_processes_than_are_looked_at_are_counted() {
    let own = Own::shell("true", |_| {});
    let mut pids: Vec<i32> = (0..600).map(|number| 2_000_000_000 + number).collect();
    pids.push(own.pid());
    let made = made_of("many", &pids, |scene| scene.drifted = Some(own.pid()));
    let why = made.lacks("processes").unwrap();
    assert!(why.contains("601 processes; the first 512"), "{why}");
    // The one it is about is among them, however late it stands.
    assert_eq!(made.process(own.pid())["comm"], "sh");
}

#[test]
fn an_archive_that_cannot_be_written_is_an_error() {
    let identity = Identity::default();
    let scene = scene(&identity, Path::new("/nowhere"), &[1]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let error = collect(&scene, full).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
}

#[test]
fn names_and_modes_do_not_depend_on_who_calls() {
    let own = Own::shell("true", |_| {});
    let made = made_of("modes", &[own.pid()], |_| {});
    let mode = fs::metadata(&made.path).unwrap().permissions().mode();
    assert!(mode & 0o111 == 0);
    assert_eq!(made.entries().last().unwrap(), "manifest.json");
}
