//! A static program that answers on a port, as Go makes them: `golike` of tests/programs.

use super::{Attack, Program, said};
use crate::harness::{Container, Containerd, Pod, image};

pub struct StaticGo;

impl Program for StaticGo {
    fn name(&self) -> &'static str {
        "static-go"
    }

    fn import(&self, _: &Containerd) {}

    fn live(&self, pod: &Pod<'_>) -> Vec<String> {
        let container = pod.container("static").user(1000).read_only();
        let container = container
            .command(["/bin/golike", "8080", "50", "serve"])
            .run();
        container.await_log("golike: 50 answers");
        container.stop(30).expect("StopContainer");
        assert_eq!(container.status().exit_code, 0);
        vec![container.id.clone()]
    }

    fn attacks(&self) -> &'static [Attack] {
        &[
            Attack {
                what: "a program that was written is executed",
                profile: None,
                carry_out: |pod| {
                    let container = taken_over(pod);
                    let evil = container.volume_path("/volume").join("evil");
                    std::fs::copy(image("static-rootfs").join("bin/hostile"), evil)
                        .expect("a program of the image");
                    said(&container, &["/volume/evil", "list"])
                },
                refused: &["permission denied", "Permission denied"],
            },
            Attack {
                what: "a program that is in no file is executed",
                profile: Some("static-hostile"),
                carry_out: |pod| said(&taken_over(pod), &["/bin/hostile", "memfd-exec"]),
                refused: &["errno EPERM"],
            },
            Attack {
                what: "a shell",
                profile: None,
                carry_out: |pod| said(&taken_over(pod), &["/bin/sh", "-c", ":"]),
                refused: &["permission denied", "Permission denied"],
            },
        ]
    }
}

/// A service that is up.
fn taken_over<'a>(pod: &'a Pod<'_>) -> Container<'a> {
    let container = pod.container("static").user(1000).volume("/volume", 1000);
    let container = container
        .command(["/bin/golike", "8080", "5", "serve"])
        .run();
    container.await_log("golike: 5 answers");
    container
}
