//! A Flask application behind gunicorn: threads, temporary files, SQLite, workers that are replaced.

use nix::sys::signal::Signal;

use super::{Attack, Program, Wire, furnished, said};
use crate::harness::{Container, Containerd, Pod, RUNTIMES, image};

pub struct PythonWeb;

impl Program for PythonWeb {
    fn name(&self) -> &'static str {
        "python-web"
    }

    fn import(&self, daemon: &Containerd) {
        daemon.with_runtimes();
    }

    fn live(&self, pod: &Pod<'_>) -> Vec<String> {
        let container = pod.container("web").image(RUNTIMES).user(1000).read_only();
        let container = container
            .volume("/data", 1000)
            .volume("/tmp", 1000)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let serve = [
            "python3",
            "-m",
            "gunicorn",
            "--chdir",
            "/srv",
            "--workers",
            "2",
            "--bind",
            "127.0.0.1:8080",
            "app:app",
        ];
        let container = container.command(serve).run();
        let wire = Wire::of(&container);
        assert_eq!(wire.await_get(8080, "/work"), "work True");
        for text in ["one", "two"] {
            assert_eq!(
                wire.get(8080, &format!("/store?{text}")),
                Some(format!("kept {text}"))
            );
        }
        // New workers.
        assert!(
            container
                .containerd()
                .world()
                .signal(container.pid(), Signal::SIGHUP)
        );
        assert_eq!(wire.await_get(8080, "/work"), "work True");
        container.stop(60).expect("StopContainer");
        assert_eq!(container.status().exit_code, 0);
        vec![container.id.clone()]
    }

    fn attacks(&self) -> &'static [Attack] {
        &[
            Attack {
                what: "a pickle that calls a program",
                profile: None,
                carry_out: |pod| {
                    let code = "import pickle, subprocess\nclass E:\n def __reduce__(self): return (subprocess.check_output, (['/usr/bin/id'],))\npickle.loads(pickle.dumps(E()))";
                    said(&taken_over(pod, RUNTIMES), &["python3", "-c", code])
                },
                refused: &["PermissionError: [Errno 13] Permission denied: '/usr/bin/id'"],
            },
            Attack {
                what: "it calls home",
                profile: None,
                carry_out: |pod| {
                    let container = taken_over(pod, RUNTIMES);
                    let _home = Wire::of(&container).listen(4444);
                    let code =
                        "import socket; socket.create_connection(('127.0.0.1', 4444)).close()";
                    said(&container, &["python3", "-c", code])
                },
                refused: &["PermissionError: [Errno 13] Permission denied"],
            },
            Attack {
                what: "a library that was written is loaded",
                profile: None,
                carry_out: |pod| {
                    let code = "import ctypes; ctypes.CDLL('/data/evil.so')";
                    said(&taken_over(pod, RUNTIMES), &["python3", "-c", code])
                },
                refused: &["failed to map segment from shared object"],
            },
        ]
    }
}

/// A container that waits, with a library in its volume that is not the image's.
pub fn taken_over<'a>(pod: &'a Pod<'_>, from: &str) -> Container<'a> {
    let container = pod.container("app").image(from).user(1000);
    let data = furnished(&container, "/data", 1000, &[]);
    let library = image("runtimes-rootfs").join("usr/lib/x86_64-linux-gnu/libz.so.1");
    std::fs::copy(library, data.join("evil.so")).expect("a library of the image");
    let container = container.mount(&data, "/data", false).volume("/tmp", 1000);
    let wait = "import time; time.sleep(1000)";
    container.command(["python3", "-c", wait]).run()
}
