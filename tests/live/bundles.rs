//! Bundles without an engine: each verb that people and engines use, over runc and over crun.

use crate::harness::{Bundle, HANDLERS, World};

fn every(test: impl Fn(&'static World, &str)) {
    for handler in HANDLERS {
        test(World::runc(), handler);
    }
}

#[test]
fn run_answers_with_the_workloads_output_and_exit_code() {
    every(|world, handler| {
        let bundle =
            Bundle::new(world, handler).args(["sh", "-c", "echo out; echo err >&2; exit 7"]);
        let done = bundle.run().expect(7);
        assert_eq!(
            (done.stdout.as_str(), done.stderr.as_str()),
            ("out\n", "err\n")
        );
        assert!(!done.held_open, "somebody kept the container's pipes");
    });
}

#[test]
fn create_start_exec_kill_and_delete_behave_as_with_the_plain_runtime() {
    every(|world, handler| {
        let bundle = Bundle::new(world, handler);
        bundle.write();
        assert_eq!(bundle.create(), 0, "{:?}", bundle.errors());
        assert_eq!(bundle.state().expect("created")["status"], "created");
        bundle.start().ok();
        assert_eq!(bundle.state().expect("started")["status"], "running");
        assert_eq!(
            bundle.exec(["harmless", "echo", "hello"]).ok().stdout,
            "hello\n"
        );
        bundle
            .exec_process(|process| {
                process["args"] = serde_json::json!(["/bin/harmless", "exit", "9"])
            })
            .expect(9);
        bundle.kill("TERM").ok();
        crate::harness::eventually("the container stops", || {
            (bundle.state()?["status"] == "stopped").then_some(())
        });
        bundle.delete().ok();
        assert!(bundle.state().is_none());
    });
}

#[test]
fn the_same_life_works_over_crun() {
    for handler in HANDLERS {
        let bundle = Bundle::new(World::crun(), handler).up();
        assert_eq!(bundle.exec(["harmless", "work"]).ok().stdout, "work: ok\n");
        bundle.kill("KILL").ok();
    }
}

#[test]
fn containerd_runs_containers_over_crun() {
    let containerd = crate::harness::Containerd::start(World::crun(), "crun");
    for handler in HANDLERS {
        let pod = containerd.pod(handler).run();
        let container = pod.container("main").run();
        assert_eq!(
            container.exec(["harmless", "work"]).ok().stdout,
            "work: ok\n"
        );
    }
}
