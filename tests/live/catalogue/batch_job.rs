//! A batch job: reads a read-only volume, counts in several processes, writes a report, and ends.

use super::{Program, furnished};
use crate::harness::{Containerd, Pod, RUNTIMES};

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
        let container = container.volume("/output", 1000).volume("/tmp", 1000);
        let container = container.command(["python3", "/srv/job.py"]).run();
        assert_eq!(container.wait(), 0, "{}", container.logs());
        let report = std::fs::read_to_string(container.volume_path("/output").join("report.json"));
        assert_eq!(report.expect("a report"), r#"{"files": 2, "amount": 42}"#);
        vec![container.id.clone()]
    }
}
