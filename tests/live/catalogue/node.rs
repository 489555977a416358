//! Node.js: the just-in-time compiler, worker threads, libuv's pool, an HTTP server, files.

use super::{Program, Wire};
use crate::harness::{Containerd, Pod, RUNTIMES};

pub struct Node;

impl Program for Node {
    fn name(&self) -> &'static str {
        "node"
    }

    fn import(&self, daemon: &Containerd) {
        daemon.with_runtimes();
    }

    fn live(&self, pod: &Pod<'_>) -> Vec<String> {
        let container = pod.container("node").image(RUNTIMES).user(1000).read_only();
        let container = container
            .volume("/data", 1000)
            .command(["node", "/srv/service.js"])
            .run();
        container.await_log("ready");
        let wire = Wire::of(&container);
        for (path, wanted) in [
            ("/work", "work true"),
            ("/store?text", "kept text"),
            ("/zip", "zip true"),
        ] {
            assert_eq!(wire.get(8080, path).as_deref(), Some(wanted), "{path}");
        }
        container.stop(60).expect("StopContainer");
        assert_eq!(container.status().exit_code, 0);
        vec![container.id.clone()]
    }
}
