//! How a workload or a session that cannot be executed is told, and what passes through when it
//! can: exit codes, signals, terminals.

use std::fs;
use std::io::Write;

use serde_json::json;

use crate::harness::{Bundle, Console, HANDLERS, World, eventually};

fn every(test: impl Fn(&'static World, &str)) {
    for world in [World::runc(), World::crun()] {
        for handler in HANDLERS {
            test(world, handler);
        }
    }
}

/// Commands that do not run, the runtime's words for each, and the exit code of a shell.
const MISSING: [(&str, &str, i32); 4] = [
    (
        "no-such-program",
        "exec: \"no-such-program\": executable file not found in $PATH",
        127,
    ),
    (
        "/no/such",
        "exec: \"/no/such\": stat /no/such: no such file or directory",
        127,
    ),
    (
        "/etc/passwd",
        "exec: \"/etc/passwd\": permission denied",
        126,
    ),
    ("/etc", "exec: \"/etc\": permission denied", 126),
];

#[test]
fn a_workload_that_cannot_be_executed_fails_start_in_the_runtimes_words() {
    every(|world, handler| {
        for (program, words, _) in MISSING {
            let bundle = Bundle::new(world, handler).args([program, "argument"]);
            bundle.write();
            assert_eq!(bundle.create(), 0, "{:?}", bundle.errors());
            let done = bundle.start().expect(1);
            assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            assert!(done.stderr.contains(words), "{}", done.stderr);
            let errors = bundle.errors();
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains(words), "{errors:?}");
            // The container's own output is its workload's alone.
            assert_eq!(bundle.output(), "");
            bundle.delete().ok();
        }
    });
}

#[test]
fn a_detached_session_that_cannot_be_executed_fails_exec_in_the_runtimes_words() {
    every(|world, handler| {
        let bundle = Bundle::new(world, handler).up();
        for (number, (program, words, _)) in MISSING.into_iter().enumerate() {
            let (code, output, _) = bundle.exec_detached(&[], &[program]);
            assert_eq!(code, 255);
            let said = fs::read_to_string(output).unwrap_or_default();
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.contains(words), "{said}");
            let errors = bundle.errors();
            assert_eq!(errors.len(), number + 1, "{errors:?}");
            assert!(errors[number].contains(words), "{errors:?}");
        }
        bundle.exec(["true"]).ok();
    });
}

#[test]
fn a_session_in_the_foreground_that_cannot_be_executed_exits_as_a_shell_would() {
    every(|world, handler| {
        let bundle = Bundle::new(world, handler).up();
        for (program, words, code) in MISSING {
            let done = bundle.exec([program]).expect(code);
            assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            assert!(done.stderr.contains(words), "{}", done.stderr);
            assert_eq!(done.stdout, "");
        }
    });
}

#[test]
fn run_of_what_cannot_be_executed_exits_as_a_shell_would() {
    for handler in HANDLERS {
        for (program, words, code) in MISSING {
            let bundle = Bundle::new(World::runc(), handler).args([program]);
            let done = bundle.run().expect(code);
            assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            assert!(done.stderr.contains(words), "{}", done.stderr);
        }
    }
}

/// A script without an interpreter's line, and one whose interpreter is not there: the kernel
/// finds out at execve, under the exact filter.
#[test]
fn what_only_the_kernel_refuses_is_told_as_well() {
    every(|world, handler| {
        for (text, words) in [
            ("echo no interpreter\n", "exec format error"),
            ("#!/no/such\n", "no such file or directory"),
        ] {
            let bundle = Bundle::new(world, handler).args(["/bin/odd"]);
            let odd = bundle.rootfs().join("bin/odd");
            fs::write(&odd, text).expect("our own file");
            let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
            fs::set_permissions(&odd, mode).expect("our own file");
            bundle.write();
            assert_eq!(bundle.create(), 0, "{:?}", bundle.errors());
            let done = bundle.start().expect(1);
            assert!(done.stderr.contains("exec /bin/odd: "), "{}", done.stderr);
            assert!(done.stderr.contains(words), "{}", done.stderr);
            assert!(bundle.errors()[0].contains(words), "{:?}", bundle.errors());
        }
    });
}

#[test]
fn the_workloads_exit_code_passes_through_run() {
    for handler in HANDLERS {
        for code in [0, 1, 77, 255] {
            let bundle = Bundle::new(World::runc(), handler);
            bundle
                .args(["harmless", "exit", &code.to_string()])
                .run()
                .expect(code);
        }
    }
}

#[test]
fn a_sessions_exit_code_and_its_death_by_a_signal_pass_through() {
    every(|world, handler| {
        let bundle = Bundle::new(world, handler).up();
        for code in [0, 1, 126, 255] {
            bundle
                .exec(["harmless", "exit", &code.to_string()])
                .expect(code);
        }
        bundle.exec(["sh", "-c", "kill -9 $$"]).expect(128 + 9);
        bundle.exec(["sh", "-c", "kill -15 $$"]).expect(128 + 15);
    });
}

#[test]
fn a_signal_reaches_the_workload() {
    every(|world, handler| {
        let script = "trap 'echo got; exit 3' USR1; echo ready; while :; do sleep 0.02; done";
        let bundle = Bundle::new(world, handler).args(["sh", "-c", script]).up();
        eventually("it is ready", || {
            bundle.output().contains("ready").then_some(())
        });
        bundle.kill("USR1").ok();
        eventually("it got the signal", || {
            bundle.output().contains("got").then_some(())
        });
        eventually("it stops", || {
            (bundle.state()?["status"] == "stopped").then_some(())
        });
        // The last line of the journal tells the code.
        let journal = eventually("the journal ends", || {
            let journal = bundle.journal();
            (journal.last()?["type"] == "end").then_some(journal)
        });
        let exit = journal.iter().find(|event| event["type"] == "exit");
        assert_eq!(exit.expect("it exited")["code"], 3, "{journal:?}");
    });
}

#[test]
fn a_workload_with_a_terminal_reads_and_writes_it() {
    every(|world, handler| {
        let script = "test -t 0 && test -t 1 && test -t 2 && echo terminal; \
                      read line; echo got $line; stty size";
        let bundle = Bundle::new(world, handler).args(["sh", "-c", script]);
        let bundle = bundle.edit(|config| {
            config["process"]["terminal"] = json!(true);
            config["process"]["consoleSize"] = json!({"height": 31, "width": 97});
        });
        bundle.write();
        let console = Console::new(&bundle.path, "pty");
        let path = console.path.to_str().expect("a plain path").to_owned();
        let created = bundle.create_with(bundle.call(), &["--console-socket", &path]);
        assert_eq!(created, 0, "{:?}", bundle.errors());
        bundle.start().ok();
        let mut terminal = console.terminal();
        terminal.0.write_all(b"typed\n").expect("a terminal");
        let text = terminal.read_to_end();
        for line in ["terminal\n", "got typed\n", "31 97\n"] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    });
}
