//! Ordinary images doing their real work under both handlers: what a sandbox is worth nothing
//! without.

use crate::harness::{Containerd, DEBIAN, HANDLERS, eventually};

/// The same for each handler at once; a failure names its handler.
fn under_each_handler(test: impl Fn(&'static str) + Sync) {
    std::thread::scope(|scope| {
        let running = HANDLERS.map(|handler| (handler, scope.spawn(|| test(handler))));
        for (handler, thread) in running {
            assert!(thread.join().is_ok(), "under {handler}");
        }
    });
}

#[test]
fn a_static_shell_and_a_busy_program_work() {
    under_each_handler(|handler| {
        let pod = Containerd::shared().pod(handler).run();
        let container = pod
            .container("main")
            .user(1000)
            .read_only()
            .volume("/volume", 1000)
            .run();
        assert_eq!(
            container.exec(["harmless", "work"]).ok().stdout,
            "work: ok\n"
        );
        let script = "echo text >/volume/file && cp /volume/file /volume/copy && \
                      ls /volume | sort | tr '\\n' ' ' && grep -c text /volume/copy";
        assert_eq!(container.sh(script).ok().stdout, "copy file 1\n");
    });
}

#[test]
fn nginx_serves_and_reloads() {
    under_each_handler(|handler| {
        let pod = Containerd::shared().with_debian().pod(handler).run();
        let container = pod
            .container("nginx")
            .image(DEBIAN)
            .volume("/srv", 33)
            .volume("/var/lib/nginx", 33)
            .volume("/var/log/nginx", 33)
            .volume("/run", 33)
            .user(33)
            .command(["sh", "-c", "printf '%s' \"$CONF\" >/srv/nginx.conf; echo first >/srv/index.html; exec nginx -c /srv/nginx.conf"])
            .env(
                "CONF",
                "daemon off; worker_processes 2; pid /run/nginx.pid; error_log /dev/stderr;\n\
                 events {}\nhttp { access_log /dev/stdout;\n\
                 server { listen 127.0.0.1:8080; root /srv; } }\n",
            )
            .run();
        let fetch = "import urllib.request as r; \
                     print(r.urlopen('http://127.0.0.1:8080/index.html').read().decode(), end='')";
        let get = || container.exec(["python3", "-c", fetch]);
        eventually("nginx serves", || (get().code == 0).then_some(()));
        assert_eq!(get().ok().stdout, "first\n");
        container.await_log("GET /index.html");
        let workers =
            || container.sh("grep -al '^nginx: worker process' /proc/[0-9]*/cmdline | wc -l");
        assert_eq!(workers().ok().stdout, "2\n");
        container.sh("sed -i 's/worker_processes 2/worker_processes 3/' /srv/nginx.conf; echo second >/srv/index.html; nginx -c /srv/nginx.conf -s reload").ok();
        eventually("nginx reloads", || {
            (workers().stdout == "3\n").then_some(())
        });
        assert_eq!(get().ok().stdout, "second\n");
        container.stop(10).expect("StopContainer");
        assert_eq!(container.status().exit_code, 0);
    });
}

#[test]
fn redis_sets_gets_saves_and_loads_again() {
    under_each_handler(|handler| {
        let pod = Containerd::shared().with_debian().pod(handler).run();
        let server = |name: &str, data: Option<&std::path::Path>| {
            let container = pod
                .container(name)
                .image(DEBIAN)
                .user(999)
                .read_only()
                .command([
                    "redis-server",
                    "--dir",
                    "/data",
                    "--port",
                    if data.is_some() { "6380" } else { "6379" },
                ]);
            match data {
                Some(path) => container.mount(path, "/data", false),
                None => container.volume("/data", 999),
            }
            .run()
        };
        let first = server("first", None);
        let cli = |args: &[&str]| first.exec([&["redis-cli"], args].concat());
        eventually("redis answers", || {
            (cli(&["ping"]).stdout == "PONG\n").then_some(())
        });
        assert_eq!(cli(&["set", "key", "value"]).ok().stdout, "OK\n");
        assert_eq!(cli(&["get", "key"]).ok().stdout, "value\n");
        assert_eq!(cli(&["bgsave"]).ok().stdout, "Background saving started\n");
        eventually("the fork has saved", || {
            cli(&["info", "persistence"])
                .stdout
                .contains("rdb_last_bgsave_status:ok")
                .then_some(())
        });
        assert_eq!(
            cli(&["eval", "return redis.call('incrby', KEYS[1], 41)", "1", "n"])
                .ok()
                .stdout,
            "41\n"
        );
        assert_eq!(cli(&["save"]).ok().stdout, "OK\n");
        let folder = first.volume_path("/data");
        assert!(folder.join("dump.rdb").exists());
        let second = server("second", Some(&folder));
        eventually("the copy has loaded", || {
            (second
                .exec(["redis-cli", "-p", "6380", "get", "key"])
                .stdout
                == "value\n")
                .then_some(())
        });
        first.stop(10).expect("StopContainer");
        assert_eq!(first.status().exit_code, 0);
    });
}

#[test]
fn postgresql_initialises_answers_queries_and_survives_a_restart() {
    under_each_handler(|handler| {
        let pod = Containerd::shared().with_debian().pod(handler).run();
        let program = "set -e; PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; export PATH\n";
        let server = |name: &str, data: Option<&std::path::Path>| {
            let script = "test -s /data/db/PG_VERSION || initdb --auth=trust -D /data/db; \
                          exec postgres -D /data/db -k /run/postgresql -c listen_addresses=127.0.0.1";
            let container = pod.container(name).image(DEBIAN).user(postgres_uid());
            let container = container
                .volume("/run/postgresql", uid32())
                .volume("/tmp", uid32());
            let container = match data {
                Some(path) => container.mount(path, "/data", false),
                None => container.volume("/data", uid32()),
            };
            container.shell(&format!("{program}{script}")).run()
        };
        let first = server("first", None);
        let query = |container: &crate::harness::Container<'_>, text: &str| {
            container.exec(["psql", "-h", "127.0.0.1", "-d", "postgres", "-Atc", text])
        };
        eventually("PostgreSQL answers", || {
            (query(&first, "select 1").code == 0).then_some(())
        });
        let make = "create table t as select i, md5(i::text) as h from generate_series(1, 20000) i; \
                    create index on t(h); analyze t";
        query(&first, make).ok();
        let ask = "select i from t where h = md5('777')";
        assert_eq!(query(&first, ask).ok().stdout, "777\n");
        // A parallel plan: dynamic shared memory between processes.
        let parallel = "set parallel_setup_cost=0; set min_parallel_table_scan_size=0; \
                        set debug_parallel_query=on; select count(*) from t";
        let parallel = parallel.replace("debug_parallel_query", "force_parallel_mode");
        assert!(query(&first, &parallel).ok().stdout.ends_with("20000\n"));
        first.stop(20).expect("StopContainer");
        let second = server("second", Some(&first.volume_path("/data")));
        eventually("it came up again", || {
            (query(&second, "select 1").code == 0).then_some(())
        });
        assert_eq!(query(&second, ask).ok().stdout, "777\n");
        second.stop(20).expect("StopContainer");
    });
}

/// Debian gives the user its number when the package is installed: the image's own passwd tells.
fn postgres_uid() -> i64 {
    let passwd = std::fs::read_to_string(crate::harness::image("debian-rootfs").join("etc/passwd"))
        .expect("the image's passwd");
    let line = passwd
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .expect("a postgres user");
    line.split(':')
        .nth(2)
        .and_then(|uid| uid.parse().ok())
        .expect("a uid")
}

fn uid32() -> u32 {
    u32::try_from(postgres_uid()).expect("a uid")
}

#[test]
fn a_python_web_server_with_threads_and_children_answers() {
    under_each_handler(|handler| {
        let pod = Containerd::shared().with_debian().pod(handler).run();
        let program = r#"
import http.server, json, os, sqlite3, subprocess, tempfile, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with tempfile.TemporaryDirectory() as d:
            db = sqlite3.connect(os.path.join(d, "x.db"))
            db.execute("create table t(a)"); db.execute("insert into t values (6)"); db.commit()
            value = db.execute("select a*7 from t").fetchone()[0]; db.close()
        child = subprocess.run(["/bin/echo", "child"], capture_output=True, text=True).stdout.strip()
        body = json.dumps({"value": value, "child": child}).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
print("ready", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"#;
        let container = pod
            .container("python")
            .image(DEBIAN)
            .user(1000)
            .read_only()
            .volume("/tmp", 1000)
            .command(["python3", "-c", program])
            .run();
        container.await_log("ready");
        let fetch = "import concurrent.futures as c, json, time, urllib.request as r\n\
                     def get(_):\n    for _ in range(50):\n        try: return json.load(r.urlopen('http://127.0.0.1:8000'))\n        except OSError: time.sleep(0.1)\n\
                     with c.ThreadPoolExecutor(8) as pool: print(sum(a['value'] for a in pool.map(get, range(16)) if a['child'] == 'child'))";
        assert_eq!(
            container.exec(["python3", "-c", fetch]).ok().stdout,
            "672\n"
        );
    });
}
