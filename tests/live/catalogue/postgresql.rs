//! PostgreSQL: answers queries in parallel and over its socket, checkpoints, vacuums, is stopped, and recovers.
//!
//! Its cluster is made by a container of its own, as init containers and operators do it: initdb(1) needs a
//! shell, and the server does not.

use std::path::Path;

use super::{Attack, Program, furnished, uid};
use crate::harness::{Container, Containerd, DEBIAN, Pod, eventually, image};

pub struct PostgreSql;

/// Debian's folder of programs, which has the version in it. What lies in /usr/bin are scripts.
fn program(name: &str) -> String {
    let folder = image("debian-rootfs").join("usr/lib/postgresql");
    let mut versions = std::fs::read_dir(folder).expect("PostgreSQL is in the image");
    let version = versions
        .next()
        .expect("a version")
        .expect("our own folder")
        .file_name();
    format!(
        "/usr/lib/postgresql/{}/bin/{name}",
        version.to_string_lossy()
    )
}

/// The one client that is in the image, as probes are: a session.
fn query(container: &Container<'_>, text: &str) -> (i32, String) {
    let (code, out, _) = asked(container, text);
    (code, out)
}

fn asked(container: &Container<'_>, text: &str) -> (i32, String, String) {
    let psql = program("psql");
    let done = container.exec([
        &psql,
        "-X",
        "-h",
        "/run/postgresql",
        "-d",
        "postgres",
        "-Atc",
        text,
    ]);
    (done.code, done.stdout, done.stderr)
}

/// Makes a cluster in a folder of the host.
fn initialised(data: &Path) {
    let user = uid("debian", "postgres");
    let pod = Containerd::shared()
        .with_debian()
        .pod("mantlet-restricted")
        .run();
    let container = pod
        .container("init")
        .image(DEBIAN)
        .user(user.into())
        .read_only();
    let container = container.mount(data, "/data", false).volume("/tmp", user);
    let container = container
        .command([&program("initdb"), "--auth=trust", "-D", "/data/db"])
        .run();
    assert_eq!(container.wait(), 0, "{}", container.logs());
}

fn server<'a>(pod: &'a Pod<'_>, name: &str, data: &Path) -> Container<'a> {
    let user = uid("debian", "postgres");
    let container = pod
        .container(name)
        .image(DEBIAN)
        .user(user.into())
        .read_only();
    let container = container
        .volume("/run/postgresql", user)
        .mount(data, "/data", false);
    let postgres = program("postgres");
    let args = [postgres.as_str(), "-D", "/data/db", "-k", "/run/postgresql"];
    let settings = [
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "max_wal_size=64MB",
    ];
    container.command([&args[..], &settings].concat()).run()
}

impl Program for PostgreSql {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn import(&self, daemon: &Containerd) {
        daemon.with_debian();
    }

    fn live(&self, pod: &Pod<'_>) -> Vec<String> {
        let data = furnished(
            &pod.container("data"),
            "/data",
            uid("debian", "postgres"),
            &[],
        );
        initialised(&data);
        let first = server(pod, "first", &data);
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
        let spill = "set work_mem='64kB'; select count(*) from (select h from t order by h) s";
        assert!(query(&first, spill).1.contains("20000"));
        for text in ["checkpoint", "vacuum full t"] {
            assert_eq!(query(&first, text).0, 0, "{text}");
        }
        first.stop(60).expect("StopContainer");
        let second = server(pod, "second", &data);
        eventually("it came up again", || {
            (query(&second, "select 1").0 == 0).then_some(())
        });
        assert_eq!(query(&second, ask).1, "777\n");
        second.stop(60).expect("StopContainer");
        vec![first.id.clone(), second.id.clone()]
    }

    fn attacks(&self) -> &'static [Attack] {
        &[
            Attack {
                what: "COPY FROM PROGRAM",
                profile: None,
                carry_out: |pod| injected(pod, "create table o(l text); copy o from program 'id'"),
                // popen(3) says that it had no memory, whatever the kernel said to its execve(2) of /bin/sh.
                refused: &["could not execute command \"id\": Cannot allocate memory"],
            },
            Attack {
                what: "a file is exported to where it does not belong",
                profile: None,
                carry_out: |pod| {
                    injected(
                        pod,
                        "select lo_from_bytea(4242, 'x'); select lo_export(4242, '/victim/authorized_keys')",
                    )
                },
                refused: &["Permission denied"],
            },
            Attack {
                what: "a function of a library that was uploaded",
                profile: None,
                carry_out: |pod| {
                    injected(
                        pod,
                        "create function f(cstring) returns int as '/data/evil.so', 'hstore_in' language c",
                    )
                },
                refused: &["failed to map segment from shared object"],
            },
        ]
    }
}

/// What a superuser is told whose SQL somebody else writes.
fn injected(pod: &Pod<'_>, sql: &str) -> Option<String> {
    let user = uid("debian", "postgres");
    let container = pod.container("server").image(DEBIAN).user(user.into());
    let data = furnished(&container, "/data", user, &[]);
    initialised(&data);
    let lib = program("psql").replace("bin/psql", "lib/hstore.so");
    let evil = data.join("evil.so");
    std::fs::copy(
        image("debian-rootfs").join(lib.trim_start_matches('/')),
        &evil,
    )
    .expect("a library of the image");
    std::os::unix::fs::chown(&evil, Some(user), Some(user)).expect("our own file");
    let victim = furnished(&container, "/victim", user, &[]);
    let container = container.mount(&victim, "/victim", false);
    let container = container
        .volume("/run/postgresql", user)
        .mount(&data, "/data", false);
    let postgres = program("postgres");
    let container = container
        .command([postgres.as_str(), "-D", "/data/db", "-k", "/run/postgresql"])
        .run();
    eventually("PostgreSQL answers", || {
        (query(&container, "select 1").0 == 0).then_some(())
    });
    let (code, _, told) = asked(&container, sql);
    (code != 0).then_some(told)
}
