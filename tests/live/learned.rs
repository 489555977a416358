//! Recorded, learned, enforced: what a program did in mode `learn` becomes a profile, and under that
//! profile the same program passes its own checks with nothing denied. And tight: without one of its
//! allowances the program no longer does.
//!
//! A call that is denied is told by the profile itself; a file or a port that Landlock denies is told by
//! nobody. So the same profile in mode `audit` stands beside the one that enforces, and tells.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::detect::ended;
use crate::harness::{Bundle, Finished, World, eventually, image};

/// What is recorded: a container, and what is asked of it from outside. `drive` panics where it does not
/// work, and ends it.
pub struct Workload {
    name: &'static str,
    image: &'static str,
    prepare: fn(Bundle) -> Bundle,
    drive: fn(&Bundle) -> Result<(), String>,
}

impl Workload {
    /// One life under the profile of this text: whether the program did what it should, and all events.
    fn live(&self, profile: &str) -> (Result<(), String>, Vec<Value>, PathBuf) {
        self.lived(self.bundle(profile))
    }

    /// The same with the same profile beside it that only looks: what Landlock denies is told then.
    fn watched(&self, profile: &str) -> (Result<(), String>, Vec<Value>) {
        let bundle = self.bundle(profile);
        let beside = format!("{}-beside", self.name);
        let text = profile.replace(
            &format!("\nname: {}\n", self.name),
            &format!("\nname: {beside}\nmode: audit\n"),
        );
        let path = bundle.path.join(format!("profiles/{beside}.yaml"));
        fs::write(path, text).expect("our own folder");
        let rule = format!("{{container: '*', profile: {beside}}}");
        let (done, events, _) = self.lived(bundle.ruled(&rule));
        let layers = json!([self.name, beside]);
        assert!(
            events.iter().all(|event| event["profiles"] == layers),
            "{events:#?}"
        );
        (done, events)
    }

    fn bundle(&self, profile: &str) -> Bundle {
        let bundle = Bundle::of(World::runc(), "mantlet-restricted", self.image);
        (self.prepare)(bundle.profile(self.name, profile))
    }

    fn lived(&self, bundle: Bundle) -> (Result<(), String>, Vec<Value>, PathBuf) {
        bundle.write();
        let code = bundle.create();
        let started = code == 0 && bundle.start().code == 0;
        let done = match started {
            true => (self.drive)(&bundle),
            false => Err(format!("not started: {:?}", bundle.errors())),
        };
        let done = done.map_err(|why| format!("{why}\n{}", bundle.output()));
        if !started || done.is_err() {
            bundle.delete();
        }
        let events = match started {
            true => eventually("the container is gone", || ended(&bundle)),
            false => bundle.journal(),
        };
        // The journal outlives the bundle.
        (done, events, bundle.journal_path())
    }

    /// Records it once.
    #[track_caller]
    fn record(&self) -> PathBuf {
        let learn = format!("version: 1\nname: {}\nmode: learn\n", self.name);
        let (done, events, journal) = self.live(&learn);
        assert_eq!(done, Ok(()), "{}, recorded", self.name);
        assert_eq!(
            of(&events, "lost") + of(&events, "tripwire"),
            0,
            "{events:#?}"
        );
        journal
    }

    /// The profile that it teaches, with what `mantlet learn` says about it.
    #[track_caller]
    fn learn(&self, journals: &[PathBuf], more: &[&str]) -> Value {
        let mut learn = Command::new(env!("CARGO_BIN_EXE_mantlet"));
        learn.env(
            "MANTLET_CONFIG",
            World::runc().inside(World::runc().config()),
        );
        learn
            .args(["learn", "--json", "--name", self.name])
            .args(more);
        journals.iter().for_each(|journal| {
            learn.arg("--from").arg(journal);
        });
        let learned = learn.output().expect("the program is built");
        let said = String::from_utf8_lossy(&learned.stderr);
        assert_eq!(learned.status.code(), Some(0), "{said}");
        let learned: Value = serde_json::from_slice(&learned.stdout).expect("JSON");
        assert_eq!(
            (&learned["events_lost"], &learned["mode"]),
            (&json!(0), &json!("enforce"))
        );
        learned
    }

    /// Its own tests hold, and nobody who looks for mistakes finds one.
    #[track_caller]
    fn is_well_formed(&self, profile: &str) {
        let folder = World::runc().folder("learned", &World::runc().name(self.name));
        let path = folder.join(format!("{}.yaml", self.name));
        fs::write(World::runc().inside(&path), profile).expect("our own folder");
        for verb in [&["test"][..], &["lint", "--deny", "warnings"]] {
            let path = [path.to_str().expect("UTF-8")];
            World::runc().mantlet([verb, &path].concat()).ok();
        }
    }

    /// Recorded, learned and enforced; answers the profile's text.
    #[track_caller]
    fn holds(&self) -> String {
        let journal = self.record();
        let learned = self.learn(&[journal], &[]);
        let profile = learned["profile"].as_str().expect("text").to_owned();
        if let Some(folder) = std::env::var_os("MANTLET_LEARNED") {
            let path = PathBuf::from(folder).join(format!("{}.yaml", self.name));
            fs::write(path, &profile).expect("a folder that is there");
        }
        self.is_well_formed(&profile);
        let (done, events, _) = self.live(&profile);
        assert_eq!(done, Ok(()), "{} under\n{profile}\n{events:#?}", self.name);
        assert_eq!(told(&events), 0, "{events:#?}\n{profile}");
        let (done, events) = self.watched(&profile);
        assert_eq!(done, Ok(()), "{} under\n{profile}\n{events:#?}", self.name);
        assert_eq!(told(&events), 0, "{events:#?}\n{profile}");
        profile
    }
}

fn of(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["type"] == kind).count()
}

/// Denials that were told, those among them that a layer in mode `audit` tells; and what was not seen
/// counts as one.
fn told(events: &[Value]) -> usize {
    let kinds = ["tripwire", "observed", "suppressed", "lost"];
    kinds.iter().map(|kind| of(events, kind)).sum()
}

/// Whether a denial was told: then it need not be waited for what the program makes of it.
fn tripped(bundle: &Bundle) -> bool {
    of(&bundle.journal(), "tripwire") > 0
}

/// Waits for the end of a program that ends by itself, and for this last line of it.
fn says(bundle: &Bundle, line: &str) -> Result<(), String> {
    for _ in 0..600 {
        if bundle
            .state()
            .is_none_or(|state| state["status"] == "stopped")
        {
            return match bundle.output().lines().last() {
                Some(last) if last == line => Ok(()),
                _ => Err(format!("it did not say {line:?}")),
            };
        }
        if tripped(bundle) {
            return Err("it was denied something".into());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err("it does not end".into())
}

const HARMLESS: Workload = Workload {
    name: "harmless",
    image: "static-rootfs",
    prepare: |bundle| bundle.args(["harmless", "work"]),
    drive: |bundle| says(bundle, "work: ok"),
};

const GOLIKE: Workload = Workload {
    name: "golike",
    image: "static-rootfs",
    prepare: |bundle| bundle.args(["golike", "8080", "50"]).user(1000),
    drive: |bundle| says(bundle, "golike: 50 answers"),
};

const JVMLIKE: Workload = Workload {
    name: "jvmlike",
    image: "static-rootfs",
    prepare: |bundle| {
        let bundle = bundle.args(["jvmlike", "/var/log/app/gc.log"]);
        bundle.volume("/var/log/app", 1000).user(1000)
    },
    drive: |bundle| says(bundle, "jvmlike: ok"),
};

/// A program of the Debian image in the container's network, outside of its sandbox: clients are no part
/// of a server's profile.
fn client(bundle: &Bundle, words: &[&str]) -> Finished {
    let pid = bundle.pid().unwrap_or(0).to_string();
    let inside = bundle
        .world()
        .command("nsenter")
        .args(["-t", &pid, "-n", "chroot"]);
    // A server that was denied something may take a connection and never answer.
    let inside = inside.arg(image("debian-rootfs")).args(["timeout", "30"]);
    inside.args(words).run()
}

/// timeout(1)'s code for what it ended.
const UNANSWERED: i32 = 124;

/// Asks until it is answered so.
fn asks(bundle: &Bundle, words: &[&str], answer: &str) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..300 {
        let got = client(bundle, words);
        if got.code == 0 && got.stdout.trim_end().ends_with(answer) {
            return Ok(());
        }
        last = format!("{words:?}: {} {} {}", got.code, got.stdout, got.stderr);
        if bundle
            .state()
            .is_none_or(|state| state["status"] != "running")
            || tripped(bundle)
            || got.code == UNANSWERED
        {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(last)
}

/// Waits until it is so, unless something was denied.
fn comes(bundle: &Bundle, what: &str, so: impl Fn() -> bool) -> Result<(), String> {
    for _ in 0..300 {
        if so() {
            return Ok(());
        }
        if tripped(bundle) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(format!("it did not come about: {what}"))
}

/// Ends a server as the kubelet does.
fn stops(bundle: &Bundle) -> Result<(), String> {
    bundle.kill("TERM");
    comes(bundle, "it ends on SIGTERM", || {
        bundle
            .state()
            .is_none_or(|state| state["status"] == "stopped")
    })
}

fn debian(bundle: Bundle, uid: u32, script: &str) -> Bundle {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let bundle = bundle.args(["/bin/sh", "-c", script]).user(uid);
    bundle.edit(|config| config["process"]["env"] = json!([path, "HOME=/tmp"]))
}

const FETCH: &str = "import urllib.request as r; \
                     print(r.urlopen('http://127.0.0.1:8080/index.html').read().decode(), end='')";

/// Logs where logrotate moves them; one more place than before the reload says `PLACE`.
const NGINX_CONF: &str = "daemon off; worker_processes 2; pid /run/nginx.pid; error_log stderr;\n\
    events {}\nhttp { access_log /var/log/nginx/access.log;\n\
    server { listen 127.0.0.1:8080; root /srv; PLACE } }\n";

const NGINX: Workload = Workload {
    name: "nginx",
    image: "debian-rootfs",
    prepare: |bundle| {
        let bundle = ["/srv", "/var/lib/nginx", "/var/log/nginx", "/run"]
            .into_iter()
            .fold(bundle, |bundle, path| bundle.volume(path, 33));
        let srv = bundle.volume_path("/srv");
        let conf = NGINX_CONF.replace("PLACE", "");
        fs::write(srv.join("nginx.conf"), conf).expect("our own folder");
        fs::write(srv.join("index.html"), "first\n").expect("our own folder");
        debian(bundle, 33, "exec nginx -c /srv/nginx.conf")
    },
    drive: |bundle| {
        asks(bundle, &["python3", "-c", FETCH], "first")?;
        let log = bundle.volume_path("/var/log/nginx").join("access.log");
        fs::rename(&log, log.with_extension("1")).map_err(|error| format!("its log: {error}"))?;
        bundle.kill("USR1");
        comes(bundle, "a new log with a line in it", || {
            client(bundle, &["python3", "-c", FETCH]);
            fs::read_to_string(&log).is_ok_and(|text| text.contains("GET /index.html"))
        })?;
        let place = "location /index.html { return 200 reloaded; }";
        let conf = NGINX_CONF.replace("PLACE", place);
        let path = bundle.volume_path("/srv").join("nginx.conf");
        fs::write(path, conf).expect("our own folder");
        bundle.kill("HUP");
        asks(bundle, &["python3", "-c", FETCH], "reloaded")?;
        stops(bundle)
    },
};

const REDIS: Workload = Workload {
    name: "redis",
    image: "debian-rootfs",
    prepare: |bundle| {
        let bundle = bundle.volume("/data", 999);
        debian(
            bundle,
            999,
            "exec redis-server --dir /data --port 6379 --save 900 1",
        )
    },
    drive: |bundle| {
        let ask = |words: &[&str], answer| asks(bundle, &[&["redis-cli"], words].concat(), answer);
        ask(&["ping"], "PONG")?;
        ask(&["set", "key", "value"], "OK")?;
        ask(
            &["eval", "return redis.call('get', KEYS[1])", "1", "key"],
            "value",
        )?;
        ask(&["bgsave"], "started")?;
        comes(bundle, "the fork has saved", || {
            let told = client(bundle, &["redis-cli", "info", "persistence"]).stdout;
            told.contains("rdb_bgsave_in_progress:0") && told.contains("rdb_last_bgsave_status:ok")
        })?;
        stops(bundle)?;
        match bundle.volume_path("/data").join("dump.rdb").exists() {
            true => Ok(()),
            false => Err("nothing was saved".into()),
        }
    },
};

fn postgres_uid() -> u32 {
    let passwd = fs::read_to_string(image("debian-rootfs").join("etc/passwd")).expect("its passwd");
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let uid = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    uid.expect("the package makes a user")
}

const POSTGRESQL: Workload = Workload {
    name: "postgresql",
    image: "debian-rootfs",
    prepare: |bundle| {
        let uid = postgres_uid();
        let bundle = ["/data", "/run/postgresql", "/tmp"]
            .into_iter()
            .fold(bundle, |bundle, path| bundle.volume(path, uid));
        // Ended, it is started once more on the same data.
        let script = "set -e; PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; export PATH; \
                      initdb --auth=trust -D /data/db; trap 'kill $server' TERM; \
                      for life in first second; do \
                          postgres -D /data/db -k /run/postgresql -c listen_addresses=127.0.0.1 & \
                          server=$!; \
                          while kill -0 $server 2>/dev/null; do wait $server || true; done; \
                      done";
        debian(bundle, uid, script)
    },
    drive: |bundle| {
        let query = |text: &str, answer| {
            let words = [
                "psql",
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-d",
                "postgres",
                "-Atc",
                text,
            ];
            asks(bundle, &words, answer)
        };
        query("select 1", "1")?;
        query(
            "create table t as select i, md5(i::text) as h from generate_series(1, 20000) i; \
             create index on t(h); analyze t",
            "ANALYZE",
        )?;
        query("select i from t where h = md5('777')", "777")?;
        query(
            "set parallel_setup_cost=0; set min_parallel_table_scan_size=0; \
             set force_parallel_mode=on; select count(*) from t",
            "20000",
        )?;
        query("checkpoint", "CHECKPOINT")?;
        query("vacuum t", "VACUUM")?;
        bundle.kill("TERM");
        comes(bundle, "it starts again", || {
            bundle.output().matches("ready to accept").count() == 2
        })?;
        query("select count(*) from t", "20000")?;
        stops(bundle)
    },
};

const SERVER: &str = r#"
import http.server, json, os, sqlite3, subprocess, tempfile
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with tempfile.TemporaryDirectory() as d:
            db = sqlite3.connect(os.path.join(d, "x.db"))
            db.execute("create table t(a)"); db.execute("insert into t values (6)"); db.commit()
            value = db.execute("select a*7 from t").fetchone()[0]; db.close()
        child = subprocess.run(["/bin/echo", "child"], capture_output=True, text=True).stdout.strip()
        body = f"{child} {value}".encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"#;

const PYTHON: Workload = Workload {
    name: "python",
    image: "debian-rootfs",
    prepare: |bundle| {
        let bundle = bundle.volume("/tmp", 1000).volume("/srv", 1000);
        fs::write(bundle.volume_path("/srv").join("app.py"), SERVER).expect("our own folder");
        debian(bundle, 1000, "exec python3 /srv/app.py")
    },
    drive: |bundle| {
        for _ in 0..3 {
            asks(bundle, &["python3", "-c", FETCH], "child 42")?;
        }
        // The first process of a pid namespace has no default for SIGTERM.
        bundle.kill("KILL");
        Ok(())
    },
};

#[test]
fn a_static_program_is_learned_and_enforced() {
    HARMLESS.holds();
}

#[test]
fn a_program_like_gos_is_learned_and_enforced() {
    let profile = GOLIKE.holds();
    for line in ["bind_tcp:\n    - 8080", "connect_tcp:\n    - 8080"] {
        assert!(profile.contains(line), "{profile}");
    }
}

#[test]
fn a_program_like_a_virtual_machine_is_learned_and_enforced() {
    JVMLIKE.holds();
}

#[test]
fn nginx_is_learned_and_enforced() {
    NGINX.holds();
}

#[test]
fn redis_is_learned_and_enforced() {
    REDIS.holds();
}

#[test]
fn postgresql_is_learned_and_enforced() {
    POSTGRESQL.holds();
}

#[test]
fn a_python_server_is_learned_and_enforced() {
    PYTHON.holds();
}

#[test]
fn what_was_not_recorded_is_denied() {
    let profile = JVMLIKE.holds();
    let under = |args: &[&str]| {
        let bundle = Bundle::new(World::runc(), "mantlet-restricted");
        let bundle = (JVMLIKE.prepare)(bundle.profile("jvmlike", &profile));
        bundle.args(args).run()
    };
    assert_eq!(
        under(&["harmless", "read", "/etc/passwd"]).code,
        0,
        "it was read"
    );
    // A file that everybody may read, a program that was not seen, a call that was not made.
    assert_eq!(
        under(&["harmless", "read", "/etc/group"]).code,
        nix::libc::EACCES
    );
    assert_ne!(under(&["busybox", "true"]).code, 0);
    assert_ne!(under(&["harmless", "serve", "8080"]).code, 0);
}

/// Runs a command on the static image's files by `mantlet VERB`.
fn on_image(world: &World, verb: &[&str], command: &[&str]) -> Finished {
    let rootfs = image("static-rootfs");
    let rootfs = rootfs.to_str().expect("UTF-8");
    world.mantlet([verb, &["--rootfs", rootfs, "--"], command].concat())
}

#[test]
fn a_command_is_recorded_and_tried_under_what_it_taught() {
    let world = World::runc();
    let folder = crate::try_programs::folder(world);
    let path = folder.join("app.yaml");
    let file = path.to_str().expect("UTF-8");
    let run = |verb: &[&str], command: &[&str]| on_image(world, verb, command);
    let learned = run(&["learn", "-o", file], &["harmless", "work"]).ok();
    assert_eq!(learned.stdout, "work: ok\n");
    assert!(
        learned.stderr.contains("nothing denied"),
        "{}",
        learned.stderr
    );
    let text = fs::read_to_string(&path).expect("it was written");
    assert!(
        text.contains("\nname: app\n") && text.contains("- /bin/harmless"),
        "{text}"
    );
    let tried = run(&["try", file], &["harmless", "work"]).ok();
    assert_eq!(tried.stdout, "work: ok\n");
    assert_ne!(run(&["try", file], &["busybox", "true"]).code, 0);
    // It is there, and stays.
    run(&["learn", "-o", file], &["harmless", "work"]).expect(1);
    assert_eq!(fs::read_to_string(&path).expect("it stays"), text);
    crate::try_programs::nothing_is_left(world);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_recording_that_no_profile_came_of_is_kept_and_where_there_is_none_nothing_is_written() {
    let world = World::runc();
    let folder = crate::try_programs::folder(world);
    let path = folder.join("app.yaml");
    let file = path.to_str().expect("UTF-8");
    let learn = |command: &[&str]| {
        let volume = folder.to_str().expect("UTF-8");
        on_image(world, &["learn", "-o", file, "--rw", volume], command).expect(1)
    };
    // 1. A program that is not there was not recorded.
    let absent = learn(&["no-such-program"]);
    assert!(
        absent.stderr.contains("there is no such program"),
        "{}",
        absent.stderr
    );
    assert_eq!(fs::read_dir(&folder).expect("our own").count(), 0);
    // 2. The profile's file is there by the time that the program has ended.
    let script = format!("echo mine >{file}");
    let late = learn(&["busybox", "sh", "-c", &script]);
    assert!(late.stderr.contains("exists"), "{}", late.stderr);
    assert_eq!(fs::read_to_string(&path).expect("it stays"), "mine\n");
    let kept = folder.join("app.recording.json");
    assert!(
        late.stderr
            .contains(&format!("is kept in {}", kept.display())),
        "{}",
        late.stderr
    );
    let again = ["learn", "--force", "-o", file, "--from"];
    let again = again.into_iter().chain(kept.to_str());
    world.mantlet(again).ok();
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_program_that_is_moved_to_where_it_is_executed_is_learned() {
    let world = World::runc();
    let folder = crate::try_programs::folder(world);
    let path = folder.join("app.yaml");
    let file = path.to_str().expect("UTF-8");
    // Of one mount: between two of them nothing is moved.
    let volume = folder.join("volume");
    let [from, to] = ["in", "out"].map(|name| volume.join(name));
    for place in [&from, &to] {
        fs::create_dir_all(place).expect("a folder of our own");
    }
    let script = format!(
        "cp /bin/busybox {0} && mv {0}/busybox {1} && {1}/busybox true && rm {1}/busybox",
        from.display(),
        to.display()
    );
    let run = |verb: &[&str]| {
        let volume = volume.to_str().expect("UTF-8");
        let verb = [verb, &["--rw", volume]].concat();
        on_image(world, &verb, &["busybox", "sh", "-c", &script]).ok()
    };
    run(&["learn", "-o", file]);
    let text = fs::read_to_string(&path).expect("it was written");
    assert!(text.contains("# as free as "), "{text}");
    let tried = run(&["try", file]);
    assert!(!tried.stderr.contains("denied"), "{text}{}", tried.stderr);
    let _ = fs::remove_dir_all(folder);
}

/// One allowance less, in the profile's text.
fn without(profile: &str, line: usize) -> String {
    let mut lines: Vec<String> = profile.lines().map(str::to_owned).collect();
    lines.remove(line);
    // A list without items is an empty list.
    let key = (0..line)
        .rev()
        .find(|at| lines[*at].trim_end().ends_with(':'));
    if let Some(key) = key {
        let item = |text: &String| text.trim_start().starts_with("- ");
        let indent = |text: &String| text.len() - text.trim_start().len();
        let mut rest = lines[key + 1..]
            .iter()
            .skip_while(|text| text.trim_start().starts_with('#'));
        let any = rest
            .next()
            .is_some_and(|next| item(next) && indent(next) > indent(&lines[key]));
        if !any {
            let with = format!("{} []", lines[key].trim_end());
            lines[key] = with;
        }
    }
    lines.join("\n") + "\n"
}

/// What became of a program without one of its allowances.
enum Without {
    /// It was denied a call, or its own checks failed.
    Fails,
    /// It went on, and was denied a file or a port that it asked for: what it does without it, nobody checks.
    Denied,
    /// Nothing was denied.
    Nothing,
}

/// Removes allowances for real and runs it again: MANTLET_TIGHTNESS names a workload and takes all of
/// them; else a sample of one.
#[test]
fn each_allowance_is_needed_by_the_program_itself() {
    let all = std::env::var("MANTLET_TIGHTNESS").ok();
    let workloads = [HARMLESS, GOLIKE, JVMLIKE, NGINX, REDIS, POSTGRESQL, PYTHON];
    let name = all.as_deref().unwrap_or("golike");
    let workload = workloads.iter().find(|workload| workload.name == name);
    let workload = workload.expect("MANTLET_TIGHTNESS names a workload of tests/live/learned.rs");
    let profile = workload.holds();
    let end = profile
        .lines()
        .position(|line| line == "process:")
        .expect("it is written");
    let numbered = profile.lines().enumerate().take(end);
    let items: Vec<(usize, &str)> = numbered
        .filter(|(_, line)| line.trim_start().starts_with("- ") && !line.contains("# not "))
        .collect();
    let step = if all.is_some() {
        1
    } else {
        items.len().div_ceil(8)
    };
    let (mut fails, mut denied, mut idle) = (0, Vec::new(), Vec::new());
    for (line, item) in items.iter().step_by(step) {
        let less = without(&profile, *line);
        let (done, events, _) = workload.live(&less);
        let became = match done.is_err() || told(&events) > 0 {
            true => Without::Fails,
            false if told(&workload.watched(&less).1) > 0 => Without::Denied,
            false => Without::Nothing,
        };
        match became {
            Without::Fails => fails += 1,
            Without::Denied => denied.push(item.trim()),
            Without::Nothing => idle.push(item.trim()),
        }
    }
    let tried = fails + denied.len() + idle.len();
    let needed = tried - idle.len();
    let percent = needed * 100 / tried.max(1);
    println!(
        "tightness {name}: {needed} of {tried} allowances needed ({percent} %): without {fails} of them it fails, \
         and without {} it is denied what it asks for",
        denied.len()
    );
    for (what, items) in [("denied, and went on", &denied), ("not needed", &idle)] {
        items.iter().for_each(|item| println!("  {what}: {item}"));
    }
    assert!(percent >= 95, "{needed} of {tried}; not needed: {idle:#?}");
}
