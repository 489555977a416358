//! A pod's life as the kubelet drives it, through each handler.

use crate::harness::{Containerd, HANDLERS, LinuxContainerResources, State};

#[test]
fn a_pod_lives_and_leaves_through_every_call_of_the_kubelet() {
    for handler in HANDLERS {
        let mut pod = Containerd::shared().pod(handler).run();
        assert!(pod.ready());
        let world = Containerd::shared().world();
        assert!(world.proc(pod.pid()).exists(), "the pause container runs");
        let container = pod
            .container("main")
            .shell(
                "echo begun; trap 'echo asked to stop; exit 0' TERM; while :; do sleep 0.05; done",
            )
            .run();
        container.await_log("begun");
        assert_eq!(container.state(), State::Running);

        assert_eq!(container.exec(["echo", "probe"]).ok().stdout, "probe\n");
        container.sh("exit 42").expect(42);

        let stats = container.stats();
        let memory = stats.memory.and_then(|memory| memory.working_set_bytes);
        assert!(memory.expect("a working set").value > 0);

        let mut resources = LinuxContainerResources {
            cpu_shares: 128,
            ..Default::default()
        };
        resources.memory_limit_in_bytes = 64 << 20;
        container
            .update(resources)
            .expect("UpdateContainerResources");

        container.stop(10).expect("StopContainer");
        assert_eq!(container.state(), State::Exited);
        assert_eq!(container.status().exit_code, 0, "it was asked, not killed");
        assert!(
            container.logs().ends_with("asked to stop\n"),
            "{}",
            container.logs()
        );
        container.remove().expect("RemoveContainer");
        pod.remove().expect("StopPodSandbox and RemovePodSandbox");
    }
}

#[test]
fn a_session_with_a_terminal_has_one() {
    for handler in HANDLERS {
        let pod = Containerd::shared().pod(handler).run();
        let container = pod.container("main").run();
        let script = "test -t 0 && echo terminal; read line; echo got $line; exit 4";
        let done = container
            .exec_tty(["/bin/sh", "-c", script], "typed\n")
            .expect("a session");
        let done = done.expect(4);
        assert!(done.stdout.contains("terminal\r\n"), "{:?}", done.stdout);
        assert!(done.stdout.contains("got typed\r\n"), "{:?}", done.stdout);
    }
}

#[test]
fn a_container_that_ends_by_itself_tells_its_code() {
    for handler in HANDLERS {
        let pod = Containerd::shared().pod(handler).run();
        let container = pod.container("job").shell("echo done; exit 17").run();
        assert_eq!(container.wait(), 17);
        assert_eq!(container.logs(), "done\n");
    }
}

#[test]
fn a_missing_program_is_the_error_people_know() {
    for handler in HANDLERS {
        let pod = Containerd::shared().pod(handler).run();
        let container = pod
            .container("main")
            .command(["no-such-program"])
            .try_create();
        let error = container
            .expect("CreateContainer")
            .try_start()
            .expect_err("no program");
        assert!(
            error.contains("executable file not found in $PATH"),
            "{error}"
        );
    }
}

#[test]
fn probes_in_a_row_all_answer() {
    for handler in HANDLERS {
        let pod = Containerd::shared().pod(handler).run();
        let container = pod.container("main").run();
        for number in 0..20 {
            let line = format!("probe {number}");
            assert_eq!(
                container.exec(["echo", &line]).ok().stdout,
                format!("{line}\n")
            );
        }
    }
}

#[test]
fn a_container_with_a_terminal_of_its_own_writes_to_it() {
    for handler in HANDLERS {
        let pod = Containerd::shared().pod(handler).run();
        let container = pod
            .container("main")
            .shell("test -t 1 && echo terminal")
            .tty()
            .run();
        assert_eq!(container.wait(), 0);
        assert!(
            container.logs().contains("terminal"),
            "{:?}",
            container.logs()
        );
    }
}
