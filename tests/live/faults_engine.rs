//! What happens around a container: it is frozen, its pids are used again, the clock is set, its engine
//! goes away.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime, clock_settime};

use crate::detect::{of_type, site};
use crate::faults::{have, keeper, serving, signal, waiting};
use crate::harness::{Bundle, Containerd, STATIC, World, eventually};
use crate::kills::buried;
use crate::remains;
use crate::trace;

#[test]
fn a_session_is_refused_while_frozen_and_one_that_runs_goes_on_behind_it() {
    let bundle = waiting(site(World::runc(), ""));
    let world = bundle.world();
    let (code, output, _) = bundle.exec_detached(&[], &["strain", "await"]);
    assert_eq!(code, 0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Sessions that are on their way when the freeze comes.
        let racing = scope.spawn(|| {
            let mut codes = Vec::new();
            while !over.load(Ordering::Relaxed) {
                codes.push(bundle.exec(["harmless", "work"]).code);
            }
            codes
        });
        eventually("sessions come", || {
            let status = crate::faults::status(&bundle);
            (status.sessions >= 2).then_some(())
        });
        world.mantlet(["freeze", &bundle.id]).ok();
        let refused = bundle.exec(["harmless", "work"]).expect(255);
        for word in ["frozen by mantlet", "mantlet thaw"] {
            assert!(refused.stderr.contains(word), "{}", refused.stderr);
        }
        let ps = world.mantlet(["ps"]);
        assert!(ps.stdout.contains("FROZEN"), "{}", ps.stdout);
        world.mantlet(["thaw", &bundle.id]).ok();
        over.store(true, Ordering::Relaxed);
        let codes = racing.join().expect("each ends");
        println!("sessions around the freeze: {codes:?}");
        assert!(
            codes.iter().all(|code| [0, 255].contains(code)),
            "{codes:?}"
        );
    });
    bundle.exec(["harmless", "work"]).ok();
    assert!(fs::read_to_string(output).is_ok_and(|text| text.contains("awaiting")));
    assert_eq!(have(&bundle, "USR1"), "errno EPERM");
    buried(&bundle, "thawed");
}

/// A process of the world, none of the container's, that has got this number.
fn take_number(bundle: &Bundle, pid: i32) -> crate::harness::Spawned {
    let script = "for i in $(seq 500); do echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid; \
                  sleep 300 & if [ $! = $1 ]; then echo taken; wait; fi; kill $!; done";
    let call = bundle.world().command("bash").args(["-c", script, "bash"]);
    let mut taker = call.arg(pid.to_string()).spawn();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(taker.child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut out, &mut line).expect("a pipe");
    assert_eq!(line, "taken\n", "nobody got the number");
    taker
}

#[test]
fn a_response_does_not_hit_whoever_has_got_the_number_meanwhile() {
    let keys = "detect: [{on: tripwire, calls: [keyctl], respond: kill-process}]";
    let bundle = site(World::runc(), keys).args(["harmless", "stay"]).up();
    let world = bundle.world();
    let keeper = keeper(&bundle);
    serving(keeper);
    let (code, _, pid) = bundle.exec_detached(&[], &["sh", "-c", "sleep 1; exec strain once"]);
    assert_eq!(code, 0);
    let pid = pid.expect("runc writes it");
    // The watcher asks, and nobody hears it yet.
    assert!(signal(keeper, Signal::SIGSTOP));
    let call = format!("{} ", nix::libc::SYS_keyctl);
    eventually("it is in its call", || {
        let text = fs::read_to_string(world.proc(pid).join("syscall")).unwrap_or_default();
        text.starts_with(&call).then_some(())
    });
    // The watcher has to have asked: it waits on its link then.
    let watcher = serving(keeper);
    eventually("the watcher asks", || {
        let text = fs::read_to_string(format!("/proc/{watcher}/syscall")).unwrap_or_default();
        text.starts_with(&format!("{} ", nix::libc::SYS_recvmsg))
            .then_some(())
    });
    assert!(world.signal(pid, Signal::SIGKILL));
    eventually("its number is free", || {
        (!world.proc(pid).exists()).then_some(())
    });
    let taker = take_number(&bundle, pid);
    let comm = || fs::read_to_string(world.proc(pid).join("comm")).unwrap_or_default();
    eventually("it is a program of its own", || {
        (comm() == "sleep\n").then_some(())
    });
    assert!(signal(keeper, Signal::SIGCONT));
    let response = eventually("the response is told", || {
        of_type(&bundle, "response").pop()
    });
    let failed = response["failed"].as_str().unwrap_or_default();
    assert!(failed.contains("no process of the container"), "{response}");
    assert_eq!(comm(), "sleep\n", "it lives");
    let status = fs::read_to_string(world.proc(pid).join("status")).expect("it lives");
    assert!(status.contains("State:\tS (sleeping)"), "{status}");
    drop(taker);
}

#[test]
fn a_clock_that_is_set_is_noticed_and_nothing_stops() {
    let bundle = waiting(site(World::runc(), "detect: [{on: drift, respond: deny}]"));
    let keeper = keeper(&bundle);
    serving(keeper);
    let file = bundle.path.join("trace");
    let words = ["-e", "trace=timerfd_settime", "-o", &file.to_string_lossy()];
    let strace = trace::attach_host(keeper, &words.map(str::to_owned));
    // To what it is: the kernel tells of any setting.
    let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("a clock");
    clock_settime(ClockId::CLOCK_REALTIME, now).expect("root sets it");
    eventually("the keeper arms its timer anew", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.contains("TFD_TIMER_CANCEL_ON_SET").then_some(())
    });
    trace::detach(strace);
    assert_eq!(have(&bundle, "USR1"), "errno EPERM");
    assert_eq!(have(&bundle, "USR2"), "ran");
    bundle.exec(["harmless", "work"]).ok();
}

#[test]
fn a_supervisor_goes_on_without_its_engine_and_goes_with_its_container() {
    let world = World::runc();
    let containerd = Containerd::start(world, "faults");
    let id = world.name("faults");
    let run = containerd.ctr_run("mantlet-baseline", &id).arg("--detach");
    run.arg(STATIC)
        .arg(&id)
        .args(["strain", "await"])
        .run()
        .ok();
    let workload = eventually("the workload runs", || {
        let found = remains::processes(world, &id).into_iter();
        let mut found = found.filter(|process| process.comm == "strain");
        found.next().map(|process| process.pid)
    });
    let told = || {
        let journals = fs::read_dir(world.log_dir())
            .into_iter()
            .flatten()
            .flatten();
        let ours = journals.filter(|entry| entry.file_name().to_string_lossy().contains(&id));
        let text = ours.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let text: String = text.collect();
        text.matches("\"type\":\"tripwire\"").count()
    };
    let spring = |count: usize| {
        assert!(world.signal(workload, Signal::SIGUSR1));
        eventually("it is told", || (told() == count).then_some(()));
    };
    let exec = |name: &str| {
        let call = containerd.ctr(["tasks", "exec", "--exec-id", name]);
        call.arg(&id).args(["harmless", "work"]).run()
    };
    spring(1);
    exec("first").ok();
    containerd.restart();
    spring(2);
    exec("second").ok();

    // The shim is killed: its engine cleans up behind it, and takes the container along.
    let shims = world.pids_named("containerd-shim-runc-v2").into_iter();
    let shims = shims.filter(|pid| {
        let words = fs::read(world.proc(*pid).join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&id)
    });
    let shims: Vec<i32> = shims.collect();
    assert_eq!(shims.len(), 1, "{shims:?}");
    assert!(world.signal(shims[0], Signal::SIGKILL));
    remains::nothing_runs(world, &id);
    eventually("its home is gone", || {
        remains::homes(world, &world.state_dir(), &id)
            .is_empty()
            .then_some(())
    });
    containerd.ctr(["containers", "delete"]).arg(&id).run();
}
