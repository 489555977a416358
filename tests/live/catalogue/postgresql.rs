//! PostgreSQL: makes its cluster, answers queries in parallel and over its socket, checkpoints, vacuums, is
//! stopped, and recovers.

use super::{Program, uid};
use crate::harness::{Container, Containerd, DEBIAN, Pod, eventually};

pub struct PostgreSql;

/// What an image's entrypoint does.
const ENTRY: &str = "set -e; PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; export PATH
test -s /data/db/PG_VERSION || initdb --auth=trust -D /data/db
exec postgres -D /data/db -k /run/postgresql -c listen_addresses=127.0.0.1 -c max_wal_size=64MB";

/// The one client that is in the image, as probes are: a session.
fn query(container: &Container<'_>, text: &str) -> (i32, String) {
    let done = container.exec([
        "psql",
        "-h",
        "/run/postgresql",
        "-d",
        "postgres",
        "-Atc",
        text,
    ]);
    (done.code, done.stdout)
}

impl PostgreSql {
    fn server<'a>(&self, pod: &'a Pod<'_>, name: &str) -> Container<'a> {
        let user = uid("debian", "postgres");
        let container = pod
            .container(name)
            .image(DEBIAN)
            .user(user.into())
            .read_only();
        container
            .volume("/run/postgresql", user)
            .volume("/tmp", user)
            .shell(ENTRY)
    }
}

impl Program for PostgreSql {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn import(&self, daemon: &Containerd) {
        daemon.with_debian();
    }

    fn live(&self, pod: &Pod<'_>) -> Vec<String> {
        let first = self
            .server(pod, "first")
            .volume("/data", uid("debian", "postgres"))
            .run();
        eventually("PostgreSQL answers", || {
            (query(&first, "select 1").0 == 0).then_some(())
        });
        let make = "create table t as select i, md5(i::text) as h from generate_series(1, 20000) i; \
                    create index on t(h); analyze t";
        assert_eq!(query(&first, make).0, 0);
        let ask = "select i from t where h = md5('777')";
        assert_eq!(query(&first, ask).1, "777\n");
        let parallel = "set parallel_setup_cost=0; set min_parallel_table_scan_size=0; \
                        set force_parallel_mode=on; select count(*) from t";
        assert!(query(&first, parallel).1.ends_with("20000\n"));
        // A sort that does not fit into memory, and what runs in the background.
        let spill =
            "set work_mem='64kB'; select count(*) from (select h from t order by h) s; checkpoint";
        assert!(query(&first, spill).1.contains("20000"));
        assert_eq!(query(&first, "vacuum full t").0, 0);
        first.stop(60).expect("StopContainer");
        let data = first.volume_path("/data");
        let second = self
            .server(pod, "second")
            .mount(&data, "/data", false)
            .run();
        eventually("it came up again", || {
            (query(&second, "select 1").0 == 0).then_some(())
        });
        assert_eq!(query(&second, ask).1, "777\n");
        second.stop(60).expect("StopContainer");
        vec![first.id.clone(), second.id.clone()]
    }
}
