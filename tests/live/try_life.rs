//! `mantlet try`: signals, terminals, deadlines, and what a run leaves that did not come to its end.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::harness::{Run, Spawned, World, eventually};
use super::try_programs::{folder, nothing_is_left};

fn attempt(world: &World, args: &[&str]) -> Run {
    world.command(world.bin("mantlet")).arg("try").args(args)
}

/// A run whose program has said `ready`.
fn ready(world: &World, args: &[&str]) -> Spawned {
    let mut run = attempt(world, args).spawn();
    let mut line = String::new();
    let output = run.child.stdout.as_mut().expect("piped");
    BufReader::new(output).read_line(&mut line).expect("a pipe");
    assert_eq!(line, "ready\n");
    run
}

/// The run's own process, in the world's pids: that of `mantlet` whose arguments have `mark`.
fn pid_of(world: &World, mark: &str) -> i32 {
    let pids = world.pids_named("mantlet").into_iter();
    let mut found = pids.filter(|pid| {
        let line = fs::read(world.proc(*pid).join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    });
    found.next().expect("it runs")
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_signal_reaches_the_program_and_ends_one_that_has_no_handler() {
    for world in [World::runc(), World::crun()] {
        let mark = world.name("heeds");
        let script =
            format!("trap 'exit 42' TERM; echo ready; : {mark}; while :; do sleep 0.1; done");
        let mut run = ready(world, &["restricted", "--", "sh", "-c", &script]);
        assert!(world.signal(pid_of(world, &mark), Signal::SIGTERM));
        assert_eq!(run.wait(LONG), Some(42));

        // The first of its namespace is sent no signal that it has no handler for.
        let mark = world.name("heedless");
        let script = format!("echo ready; : {mark}; exec sleep 1000");
        let mut run = ready(world, &["restricted", "--", "sh", "-c", &script]);
        let pid = pid_of(world, &mark);
        let asked = Instant::now();
        eventually("the shell has become sleep", || {
            // Until then the shell may be what hears it, and it ends just as well.
            (asked.elapsed() > Duration::from_millis(200)).then_some(())
        });
        assert!(world.signal(pid, Signal::SIGINT));
        assert_eq!(run.wait(LONG), Some(130));

        let mark = world.name("stubborn");
        let script = format!("trap '' INT TERM; echo ready; : {mark}; while :; do sleep 0.1; done");
        let mut run = ready(world, &["restricted", "--", "sh", "-c", &script]);
        let pid = pid_of(world, &mark);
        for _ in 0..3 {
            assert!(world.signal(pid, Signal::SIGINT));
            // One that waits already swallows the next.
            std::thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(run.wait(LONG), Some(130));
        nothing_is_left(world);
    }
}

#[test]
fn time_runs_out() {
    let world = World::runc();
    let begin = Instant::now();
    let words = [
        "restricted",
        "--timeout",
        "1s",
        "--",
        "sh",
        "-c",
        "trap '' TERM; sleep 1000; sleep 1000",
    ];
    attempt(world, &words).run().expect(124);
    assert!(
        begin.elapsed() >= Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    attempt(world, &["restricted", "--timeout", "60s", "--", "true"])
        .run()
        .ok();
    nothing_is_left(world);
}

#[test]
fn a_program_has_a_terminal_of_its_own_where_there_is_one() {
    for world in [World::runc(), World::crun()] {
        let inside = "test -t 0 && test -t 1 && test -t 2 && stty size && : < /dev/tty && echo ready; exit 5";
        let line = format!(
            "{} try restricted -- sh -c '{inside}'",
            world.bin("mantlet").display()
        );
        let line =
            format!("stty rows 33 cols 77; {line}; echo code $?; stty -a | grep -c -- ' -icanon'");
        let done = world
            .command("script")
            .args(["-qec", &line, "/dev/null"])
            .stdin("\n")
            .run();
        let text = done.stdout.replace('\r', "");
        assert!(
            text.contains("33 77\n") && text.contains("ready\n"),
            "{text}"
        );
        assert!(text.contains("code 5\n0\n"), "the mode of before: {text}");
        // Without one, and where one is not wanted, the streams are as they are.
        let words = ["restricted", "--", "sh", "-c", "test ! -t 0 && ! test -t 1"];
        attempt(world, &words).run().ok();
        // Asked for where there is none: what is written comes out all the same.
        let words = [
            "restricted",
            "--tty",
            "--",
            "sh",
            "-c",
            "test -t 1 && echo shown",
        ];
        let done = attempt(world, &words).run().ok();
        assert_eq!(done.stdout, "shown\r\n");
        nothing_is_left(world);
    }
}

#[test]
fn what_is_typed_goes_in_and_an_interrupt_ends_what_does_not_listen() {
    let world = World::runc();
    let line = format!(
        "{} try restricted -- sh -c 'read word; echo got $word; exec sleep 1000'",
        world.bin("mantlet").display()
    );
    let mut run = world
        .command("script")
        .args(["-qec", &line, "/dev/null"])
        .spawn();
    let mut typing = run.child.stdin.take().expect("piped");
    let mut shown = BufReader::new(run.child.stdout.take().expect("piped"));
    typing.write_all(b"hello\n").expect("a pipe");
    let mut text = String::new();
    while !text.contains("got hello") {
        assert_ne!(shown.read_line(&mut text).expect("a pipe"), 0, "{text}");
    }
    std::thread::sleep(Duration::from_millis(300));
    typing.write_all(b"\x03").expect("a pipe");
    assert_eq!(run.wait(LONG), Some(130));
    nothing_is_left(world);
}

#[test]
fn a_run_that_was_killed_is_taken_away_by_the_next() {
    let world = World::runc();
    let mark = world.name("killed");
    // Other tests have a sleep of their own; nobody else's is so long.
    let long = "86413";
    let script = format!("echo ready; : {mark}; exec sleep {long}");
    let mut run = ready(world, &["restricted", "--", "sh", "-c", &script]);
    let pid = pid_of(world, &mark);
    assert!(world.signal(pid, Signal::SIGKILL));
    run.wait(LONG).expect("it is killed");
    let left: PathBuf = world.inside(format!("{}-try/try-{pid}", world.state_dir().display()));
    assert!(left.exists(), "there is something to take away");
    attempt(world, &["restricted", "--", "true"]).run().ok();
    assert!(!left.exists());
    eventually("its program is gone", || {
        let mut sleeping = world.pids_named("sleep").into_iter();
        let ours = sleeping.any(|pid| {
            let line = fs::read(world.proc(pid).join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(long)
        });
        (!ours).then_some(())
    });
    nothing_is_left(world);
}

#[test]
fn an_ordinary_user_is_told_what_it_takes() {
    let world = World::runc();
    let mantlet = world.bin("mantlet");
    let folder = folder(world);
    // Cargo's folder may be closed to others.
    let program = folder.join("mantlet");
    fs::copy(&mantlet, &program).expect("a readable program");
    let run = world
        .command("setpriv")
        .args(["--reuid", "65534", "--clear-groups", "--"]);
    let done = run.arg(&program).args(["try", "restricted", "--", "id"]);
    let done = done.env("MANTLET_CONFIG", "").run().expect(125);
    assert!(
        done.stderr.contains("needs root") && done.stderr.contains("sudo"),
        "{}",
        done.stderr
    );
    fs::remove_dir_all(folder).expect("our own folder");
}
