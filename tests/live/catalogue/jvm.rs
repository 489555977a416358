//! A JVM: threads, the just-in-time compiler, the collector, an HTTP server, files, and a graceful end.

use super::{Attack, Program, Wire, furnished};
use crate::harness::{Containerd, Pod, RUNTIMES, image};

pub struct Jvm;

/// Else it writes below /proc what a core file should hold, which the profile refuses and the JVM does not mind.
const CORE: [&str; 3] = [
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-DumpPrivateMappingsInCore",
    "-XX:-DumpSharedMappingsInCore",
];

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
        let command = [
            &["java", "-Xmx128m"],
            &CORE[..],
            &["-cp", "/srv", "Service"],
        ];
        let container = container.command(command.concat()).run();
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

    fn attacks(&self) -> &'static [Attack] {
        &[
            Attack {
                what: "Runtime.exec",
                profile: None,
                carry_out: |pod| {
                    injected(pod, "Runtime.getRuntime().exec(\"/usr/bin/id\").waitFor();")
                },
                refused: &["Permission denied", "error=13"],
            },
            Attack {
                what: "a lookup that somebody's log line asked for",
                profile: None,
                carry_out: |pod| {
                    injected(
                        pod,
                        "new java.net.Socket(java.net.InetAddress.getLoopbackAddress(), 1389).close();",
                    )
                },
                refused: &["Permission denied"],
            },
            Attack {
                what: "a library that was written is loaded",
                profile: None,
                carry_out: |pod| injected(pod, "System.load(\"/data/evil.so\");"),
                refused: &["failed to map segment from shared object"],
            },
        ]
    }
}

/// What code is told that somebody got into a service.
fn injected(pod: &Pod<'_>, code: &str) -> Option<String> {
    let source = format!(
        "class Evil {{ public static void main(String[] a) throws Exception {{ {code} System.out.println(\"worked\"); }} }}"
    );
    let container = pod.container("jvm").image(RUNTIMES).user(1000);
    let app = furnished(&container, "/app", 0, &[("Evil.java", &source)]);
    let data = furnished(&container, "/data", 1000, &[]);
    let library = image("runtimes-rootfs").join("usr/lib/x86_64-linux-gnu/libz.so.1");
    std::fs::copy(library, data.join("evil.so")).expect("a library of the image");
    let container = container
        .mount(&app, "/app", true)
        .mount(&data, "/data", false)
        .volume("/tmp", 1000);
    let container = container
        .command(["java", "-Xmx128m", "/app/Evil.java"])
        .try_create()
        .expect("CreateContainer");
    let listening = Wire::pod(pod).listen(1389);
    container.try_start().expect("StartContainer");
    container.wait();
    drop(listening);
    let log = container.logs();
    (!log.contains("worked")).then_some(log)
}
