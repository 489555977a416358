//! A batch job: reads a read-only volume, counts in several processes, writes a report, and ends.

use super::{Attack, Program, Wire, furnished, said};
use crate::harness::{Container, Containerd, Pod, RUNTIMES};

pub struct BatchJob;

impl Program for BatchJob {
    fn name(&self) -> &'static str {
        "batch-job"
    }

    fn import(&self, daemon: &Containerd) {
        daemon.with_runtimes();
    }

    fn live(&self, pod: &Pod<'_>) -> Vec<String> {
        let container = pod.container("job").image(RUNTIMES).user(1000).read_only();
        let files = [("a.csv", "amount\n1\n2\n"), ("b.csv", "amount\n39\n")];
        let input = furnished(&container, "/input", 0, &files);
        let container = container.mount(&input, "/input", true);
        let container = container
            .volume("/output", 1000)
            .volume("/tmp", 1000)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let container = container.command(["python3", "/srv/job.py"]).run();
        assert_eq!(container.wait(), 0, "{}", container.logs());
        let report = std::fs::read_to_string(container.volume_path("/output").join("report.json"));
        assert_eq!(report.expect("a report"), r#"{"files": 2, "amount": 42}"#);
        vec![container.id.clone()]
    }

    fn attacks(&self) -> &'static [Attack] {
        &[
            Attack {
                what: "results are sent home",
                profile: None,
                carry_out: |pod| {
                    let container = taken_over(pod);
                    let _home = Wire::of(&container).listen(443);
                    let code =
                        "import socket; socket.create_connection(('127.0.0.1', 443)).close()";
                    said(&container, &["python3", "-c", code])
                },
                refused: &["PermissionError: [Errno 1] Operation not permitted"],
            },
            Attack {
                what: "the pod's token is read",
                profile: None,
                carry_out: |pod| {
                    let code =
                        "print(open('/var/run/secrets/kubernetes.io/serviceaccount/token').read())";
                    said(&taken_over(pod), &["python3", "-c", code])
                },
                refused: &["PermissionError: [Errno 13] Permission denied"],
            },
            Attack {
                what: "another program is started",
                profile: None,
                carry_out: |pod| {
                    let code = "import subprocess; subprocess.check_output(['/usr/bin/id'])";
                    said(&taken_over(pod), &["python3", "-c", code])
                },
                refused: &["PermissionError: [Errno 13] Permission denied: '/usr/bin/id'"],
            },
        ]
    }
}

/// A job that waits, with a token in its pod.
fn taken_over<'a>(pod: &'a Pod<'_>) -> Container<'a> {
    let container = pod.container("job").image(RUNTIMES).user(1000);
    let token = furnished(&container, "/token", 1000, &[("token", "a token")]);
    let to = "/var/run/secrets/kubernetes.io/serviceaccount";
    let container = container
        .mount(&token, to, true)
        .volume("/output", 1000)
        .volume("/tmp", 1000);
    container
        .command(["python3", "-c", "import time; time.sleep(1000)"])
        .run()
}
