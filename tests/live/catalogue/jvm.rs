//! A JVM: threads, the just-in-time compiler, the collector, an HTTP server, files, and a graceful end.

use super::{Program, Wire};
use crate::harness::{Containerd, Pod, RUNTIMES};

pub struct Jvm;

impl Program for Jvm {
    fn name(&self) -> &'static str {
        "jvm"
    }

    fn import(&self, daemon: &Containerd) {
        daemon.with_runtimes();
    }

    fn live(&self, pod: &Pod<'_>) -> Vec<String> {
        let container = pod.container("jvm").image(RUNTIMES).user(1000).read_only();
        let container = container.volume("/data", 1000).volume("/tmp", 1000);
        let container = container
            .command(["java", "-Xmx128m", "-cp", "/srv", "Service"])
            .run();
        container.await_log("ready");
        let wire = Wire::of(&container);
        for _ in 0..20 {
            assert_eq!(wire.get(8080, "/work").as_deref(), Some("work true"));
        }
        assert_eq!(wire.get(8080, "/store?text").as_deref(), Some("kept text"));
        container.stop(60).expect("StopContainer");
        container.await_log("stopped");
        // What the JVM says of a SIGTERM that it handled.
        assert_eq!(container.status().exit_code, 143);
        vec![container.id.clone()]
    }
}
