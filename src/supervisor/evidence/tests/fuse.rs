//! A file system whose server is stopped, as it is where a container mounts one and is frozen: whoever
//! asks for anything of it waits for ever.

use std::sync::mpsc::channel;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

fn says(own: &mut Own) -> String {
    let mut line = String::new();
    let mut output = BufReader::new(own.0.stdout.as_mut().unwrap());
    output.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// A process whose executable, working directory and descriptor 7 are of a file system that `server`
/// serves.
fn served(scratch: &Scratch) -> (Own, Pid) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = source.join("src/supervisor/evidence/tests/fuse.c");
    let (program, folder) = (scratch.path.join("fuse"), scratch.path.join("folder"));
    fs::create_dir(&folder).unwrap();
    let compiled = Command::new("cc")
        .arg("-o")
        .arg(&program)
        .arg(source)
        .status();
    assert!(compiled.unwrap().success(), "Rust links with it too");
    let mut command = Command::new(program);
    command
        .arg(&folder)
        .arg("/bin/sleep")
        .stdout(Stdio::piped());
    let mut own = Own(command.spawn().unwrap());
    let server = Pid::from_raw(says(&mut own).parse().unwrap());
    // Once it sleeps it has been executed, and asks for nothing more.
    let asleep = || {
        let stat = fs::read(format!("/proc/{}/stat", own.pid())).unwrap();
        let exe = fs::read_link(format!("/proc/{}/exe", own.pid())).unwrap();
        String::from_utf8_lossy(&stat).contains(") S ") && exe == folder.join("program")
    };
    while !asleep() {
        std::thread::sleep(Duration::from_millis(1));
    }
    (own, server)
}

#[test]
fn a_file_system_whose_server_is_stopped_is_not_waited_for() {
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        eprintln!("skipped: mounting a file system needs root and /dev/fuse");
        return;
    }
    let scratch = Scratch::new("evidence-fuse");
    let (own, server) = served(&scratch);
    kill(server, Signal::SIGSTOP).unwrap();
    // The control: whoever opens it waits.
    let exe = format!("/proc/{}/exe", own.pid());
    let mut cat = Own(Command::new("cat")
        .arg(&exe)
        .stdout(Stdio::null())
        .spawn()
        .unwrap());
    let opening = || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", cat.pid())).unwrap();
        call.starts_with(&format!("{} ", libc::SYS_openat))
    };
    while !opening() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (tell, told) = channel();
    let pid = own.pid();
    std::thread::spawn(move || {
        let made = made_of("fuse", &[pid], |scene| {
            scene.started = SystemTime::UNIX_EPOCH;
            scene.drifted = Some(pid);
        });
        let _ = tell.send(made);
    });
    let made = told.recv_timeout(Duration::from_secs(30));
    let waited = cat.0.try_wait().unwrap().is_none();
    kill(server, Signal::SIGCONT).unwrap();
    let made = made.expect("it waits for the server");
    assert!(waited, "the control did not wait");
    assert_eq!(made.manifest["complete"], true);
    let told = made.process(pid);
    let folder = scratch.path.join("folder");
    assert_eq!(told["cwd"], folder.to_str().unwrap());
    let descriptors = told["descriptors"].as_array().unwrap();
    let found = descriptors.iter().find(|found| found["number"] == 7);
    assert_eq!(found.unwrap()["kind"], "file");
    assert_eq!(told["program"]["filesystem"], "fuse");
    assert_eq!(told["program"]["drift"][0], "changed-after-start");
    assert_eq!(told["program"]["sha256"], Value::Null);
    let why = made.lacks(&format!("processes/{pid}/exe")).unwrap();
    assert!(why.contains("a process serves its file system"), "{why}");
}
