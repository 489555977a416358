//! Node.js: the just-in-time compiler, worker threads, libuv's pool, an HTTP server, files.

use super::{Attack, Program, Wire, furnished, said};
use crate::harness::{Container, Containerd, Pod, RUNTIMES, image};

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

    fn attacks(&self) -> &'static [Attack] {
        &[
            Attack {
                what: "child_process",
                profile: None,
                carry_out: |pod| {
                    let code = "require('child_process').execFileSync('/usr/bin/id')";
                    said(&taken_over(pod), &["node", "-e", code])
                },
                refused: &["EACCES"],
            },
            Attack {
                what: "an addon that was written is loaded",
                profile: None,
                carry_out: |pod| {
                    // It is mapped, and found to be no addon: its constructors have run by then.
                    let code = "try { process.dlopen({exports: {}}, '/data/evil.node') } catch (e) { if (!/did not self-register|Module did not/.test(e)) throw e }";
                    said(&taken_over(pod), &["node", "-e", code])
                },
                refused: &["failed to map segment from shared object"],
            },
            Attack {
                what: "a package is changed for the next start",
                profile: None,
                carry_out: |pod| {
                    let code = "require('fs').writeFileSync('/app/index.js', 'evil')";
                    said(&taken_over(pod), &["node", "-e", code])
                },
                refused: &["EACCES"],
            },
        ]
    }
}

/// A service that waits, with a folder of its own that it may write, as far as permissions go.
fn taken_over<'a>(pod: &'a Pod<'_>) -> Container<'a> {
    let container = pod.container("node").image(RUNTIMES).user(1000);
    let data = furnished(&container, "/data", 1000, &[]);
    let library = image("runtimes-rootfs").join("usr/lib/x86_64-linux-gnu/libz.so.1");
    std::fs::copy(library, data.join("evil.node")).expect("a library of the image");
    let app = furnished(&container, "/app", 1000, &[]);
    let container = container
        .mount(&data, "/data", false)
        .mount(&app, "/app", false);
    container
        .command(["node", "-e", "setInterval(() => {}, 1000)"])
        .run()
}
