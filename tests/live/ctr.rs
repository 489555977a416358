//! `ctr run` and `ctr task exec`: containerd without CRI, no annotations of a pod.

use std::path::PathBuf;

use crate::harness::{Containerd, HANDLERS, STATIC};

#[test]
fn ctr_run_prints_the_output_and_passes_the_exit_code() {
    let containerd = Containerd::shared();
    for handler in HANDLERS {
        let id = containerd.world().name("ctr");
        let run = containerd.ctr_run(handler, &id).args(["--rm", STATIC, &id]);
        let done = run.args(["sh", "-c", "echo hello; exit 3"]).run().expect(3);
        assert_eq!(done.stdout, "hello\n");
    }
}

#[test]
fn ctr_task_exec_runs_a_session_in_a_detached_container() {
    let containerd = Containerd::shared();
    for handler in HANDLERS {
        let id = containerd.world().name("ctr");
        let null: PathBuf = "/bin/harmless".into();
        let run = containerd
            .ctr_run(handler, &id)
            .args(["--null-io", "-d", STATIC, &id]);
        run.arg(null).arg("stay").run().ok();
        let exec = |args: &[&str]| {
            containerd
                .ctr(["task", "exec", "--exec-id", "s", &id])
                .args(args)
                .run()
        };
        assert_eq!(
            exec(&["/bin/harmless", "echo", "from a session"])
                .ok()
                .stdout,
            "from a session\n"
        );
        exec(&["/bin/harmless", "exit", "5"]).expect(5);
        let listed = containerd.ctr(["task", "ls"]).run().ok().stdout;
        assert!(
            listed
                .lines()
                .any(|line| line.starts_with(&id) && line.contains("RUNNING")),
            "{listed}"
        );
        containerd.ctr(["task", "rm", "-f", &id]).run().ok();
        containerd.ctr(["container", "rm", &id]).run().ok();
    }
}
