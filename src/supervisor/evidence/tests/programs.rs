//! Executables and their copies.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use super::*;

#[test]
fn a_program_that_was_deleted_is_copied_from_the_process_that_runs_it() {
    let scratch = Scratch::new("evidence-program");
    let path = scratch.path.join("x\n\u{1b}[31m");
    fs::copy("/bin/sleep", &path).unwrap();
    let own = Own::program(Command::new(&path).arg("60"));
    let twin = Own::program(Command::new(&path).arg("60"));
    fs::remove_file(&path).unwrap();
    let pids = [own.pid(), twin.pid()];
    let made = made_of("deleted", &pids, |scene| scene.started = a_moment_ago());
    let program = &made.process(own.pid())["program"];
    let digest = state::digest_file(Path::new("/bin/sleep")).unwrap();
    assert_eq!(program["sha256"], digest);
    let drift = program["drift"].as_array().unwrap();
    assert!(drift.contains(&"deleted".into()), "{program}");
    assert!(drift.contains(&"changed-after-start".into()), "{program}");
    assert_eq!(program["links"], 0);
    let exe = made.process(own.pid())["exe"].as_str().unwrap();
    assert!(exe.ends_with("x\n\u{1b}[31m (deleted)"), "{exe}");
    // Once, whole, and the very bytes.
    let binaries = made.manifest["binaries"].as_array().unwrap();
    assert_eq!(binaries.len(), 1);
    assert_eq!(binaries[0]["changed_meanwhile"], false);
    let copy = made.entry(&format!("binaries/{digest}"));
    assert_eq!(copy, fs::read("/bin/sleep").unwrap());
}

#[test]
fn a_program_that_never_had_a_name_is_copied_unless_it_is_init() {
    let program = fs::File::open("/bin/sleep").unwrap();
    let program = memfd::sealed(c"evil", memfd::Use::Program, program).unwrap();
    let link = format!("/proc/{}/fd/{}", std::process::id(), program.as_raw_fd());
    let own = Own::program(Command::new(link).arg("60"));
    let made = made_of("memfd", &[own.pid()], |_| {});
    let told = made.process(own.pid());
    if !nix::unistd::geteuid().is_root() {
        // It may be executed by all and read by nobody.
        assert!(
            made.lacks(&format!("processes/{}/exe", own.pid()))
                .is_some()
        );
        return;
    }
    let digest = state::digest_file(Path::new("/bin/sleep")).unwrap();
    assert_eq!(told["program"]["drift"], serde_json::json!(["memfd"]));
    assert_eq!(told["exe"], "/memfd:evil (deleted)");
    let copy = made.entry(&format!("binaries/{digest}"));
    assert_eq!(copy, fs::read("/bin/sleep").unwrap());
    let made = made_of("init", &[own.pid()], |scene| scene.init = &digest);
    let told = made.process(own.pid());
    assert_eq!(told["program"]["init"], true);
    assert_eq!(told["program"]["drift"], Value::Array(Vec::new()));
    assert!(made.manifest["binaries"].as_array().unwrap().is_empty());
}

/// A copy of /bin/sleep with `more` bytes behind it, executed.
fn large(scratch: &Scratch, more: usize) -> (Own, Vec<u8>) {
    let path = scratch.path.join("large");
    let mut bytes = fs::read("/bin/sleep").unwrap();
    bytes.extend((0..more).map(|at| (at / 7) as u8));
    let mut file = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(&path)
        .unwrap();
    file.write_all(&bytes).unwrap();
    drop(file);
    (Own::program(Command::new(&path).arg("60")), bytes)
}

#[test]
fn a_large_program_is_copied_whole_only_where_it_is_what_it_is_about() {
    let scratch = Scratch::new("evidence-large");
    let (own, bytes) = large(&scratch, 17 << 20);
    let about = |drifted| {
        made_of("about", &[own.pid()], |scene| {
            scene.started = SystemTime::UNIX_EPOCH;
            scene.drifted = drifted;
        })
    };
    let digest = state::digest(&bytes);
    let part = about(None);
    let name = format!("binaries/{digest}.part");
    assert_eq!(part.entry(&name), bytes[..16 << 20]);
    assert!(part.lacks(&name).unwrap().contains("16777216 of"));
    let whole = about(Some(own.pid()));
    assert_eq!(whole.entry(&format!("binaries/{digest}")), bytes);
    assert!(whole.bytes.len() as u64 <= archive::LARGEST);
}

#[test]
fn a_file_that_became_another_one_at_the_same_path_is_not_mistaken_for_what_runs() {
    let scratch = Scratch::new("evidence-replaced");
    let path = scratch.path.join("program");
    fs::copy("/bin/sleep", &path).unwrap();
    let own = Own::program(Command::new(&path).arg("60"));
    fs::remove_file(&path).unwrap();
    fs::copy("/bin/cat", &path).unwrap();
    let made = made_of("replaced", &[own.pid()], |_| {});
    let digest = state::digest_file(Path::new("/bin/sleep")).unwrap();
    assert_eq!(made.process(own.pid())["program"]["sha256"], digest);
}
