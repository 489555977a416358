//! A Flask application behind gunicorn: threads, temporary files, SQLite, workers that are replaced.

use nix::sys::signal::Signal;

use super::{Program, Wire};
use crate::harness::{Containerd, Pod, RUNTIMES};

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
        let container = container.volume("/data", 1000).volume("/tmp", 1000);
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
}
