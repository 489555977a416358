//! A containerd of our own, on the shipped drop-in, with `ctr`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use super::command::{Run, Spawned};
use super::cri::{Cri, Pod};
use super::eventually;
use super::world::World;

/// Our own programs (`harmless`, `hostile`, `pause`) and busybox.
pub const STATIC: &str = "localhost/mantlet/static:1";
/// Debian with nginx, redis, PostgreSQL and Python.
pub const DEBIAN: &str = "localhost/mantlet/debian:1";
/// Debian with a JVM, Node.js, gunicorn and Flask, and services for them.
pub const RUNTIMES: &str = "localhost/mantlet/runtimes:1";
/// A server that is one static program; see [`Containerd::with_go`].
pub const GO: &str = "localhost/mantlet/go:1";

/// Namespace of `ctr` containers.
const NAMESPACE: &str = "tests";

/// A running daemon.
pub struct Containerd {
    world: &'static World,
    home: PathBuf,
    debian: OnceLock<()>,
    runtimes: OnceLock<()>,
    go: OnceLock<()>,
    /// mantlet's configuration, for the runtimes that it starts.
    node: PathBuf,
    daemon: Mutex<Spawned>,
}

impl Containerd {
    /// The daemon that tests share, in the world of runc; started at the first call.
    pub fn shared() -> &'static Containerd {
        static SHARED: OnceLock<Containerd> = OnceLock::new();
        SHARED.get_or_init(|| Containerd::start(World::runc(), "shared"))
    }

    /// A daemon for one test alone. `name` is short and unique: sockets live below it.
    pub fn start(world: &'static World, name: &str) -> Containerd {
        Containerd::configured(world, name, |text| text, &world.config())
    }

    /// The same with mantlet's handlers under the profile `site`, whose text is given.
    pub fn with_profile(world: &'static World, name: &str, text: &str) -> Containerd {
        let home = world.folder("containerd", name);
        fs::write(home.join("site.yaml"), text).expect("our own folder");
        let own = fs::read_to_string(world.config()).expect("the world has one");
        let own = own.replace("profile: baseline", "profile: site");
        let own = own.replace("profile: restricted", "profile: site");
        let node = home.join("mantlet.yaml");
        let text = format!("{own}profiles_dir: {}\n", home.display());
        fs::write(&node, text).expect("our own folder");
        Containerd::configured(world, name, |text| text, &node)
    }

    /// The same, on the shipped drop-in as `change` leaves it, with `node` as mantlet's configuration.
    pub fn configured(
        world: &'static World,
        name: &str,
        change: impl FnOnce(String) -> String,
        node: &Path,
    ) -> Containerd {
        let home = world.folder("containerd", name);
        write_network(&home);
        let text = change(configuration(world, &home));
        fs::write(home.join("config.toml"), text).expect("our own folder");
        let daemon = Containerd {
            world,
            debian: OnceLock::new(),
            runtimes: OnceLock::new(),
            go: OnceLock::new(),
            node: node.to_owned(),
            daemon: Mutex::new(spawn(world, &home, node)),
            home,
        };
        daemon.answers();
        daemon.import("k8s.io", &image("static.tar"));
        daemon.import(NAMESPACE, &image("static.tar"));
        daemon
    }

    fn answers(&self) {
        eventually("containerd answers", || {
            (self.ctr(["version"]).run().code == 0).then_some(())
        });
    }

    /// Kills the daemon and starts it again; its shims and containers live on.
    pub fn restart(&self) {
        let mut daemon = self.daemon.lock().expect("nobody panics with it");
        let _ = daemon.child.kill();
        let _ = daemon.child.wait();
        eventually("the daemon is gone", || {
            (self.ctr(["version"]).run().code != 0).then_some(())
        });
        *daemon = spawn(self.world, &self.home, &self.node);
        self.answers();
    }

    /// The world it lives in.
    pub fn world(&self) -> &'static World {
        self.world
    }

    /// Its own folder: `config.toml`, `daemon.log`, `root`, `state`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What the daemon has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("daemon.log")).unwrap_or_default()
    }

    /// Its socket.
    pub fn address(&self) -> PathBuf {
        self.home.join("s")
    }

    /// Imports the Debian image, once.
    pub fn with_debian(&self) -> &Containerd {
        self.debian.get_or_init(|| {
            self.import("k8s.io", &image("debian.tar"));
        });
        self
    }

    /// Imports the image of the runtimes, once.
    pub fn with_runtimes(&self) -> &Containerd {
        self.runtimes.get_or_init(|| {
            self.import("k8s.io", &image("runtimes.tar"));
            // Half a gigabyte that is still to be written would hold up whoever syncs a small file next.
            let root = std::fs::File::open(&self.home).expect("our own folder");
            nix::unistd::syncfs(&root).expect("the disk can be written");
        });
        self
    }

    /// Imports the image of the Go program, once.
    pub fn with_go(&self) -> &Containerd {
        self.go.get_or_init(|| {
            self.import("k8s.io", &image("go.tar"));
        });
        self
    }

    /// `ctr` in the tests' namespace, to be completed with arguments.
    pub fn ctr<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.ctr_call(NAMESPACE).args(args)
    }

    /// `ctr run` through `handler` (`runc` or `crun` for the plain runtime) with containerd's default seccomp
    /// profile, as CRI has it; flags, then image, id and arguments are yours to add.
    pub fn ctr_run(&self, handler: &str, id: &str) -> Run {
        let binary = match handler {
            "runc" | "crun" => PathBuf::from(handler),
            ours => self.world.bin(ours),
        };
        self.ctr(["run", "--seccomp", "--runc-binary"])
            .arg(binary)
            .arg("--cgroup")
            .arg(format!("{}/{id}", self.world.cgroup()))
    }

    /// A pod, not started yet.
    pub fn pod(&self, handler: &str) -> Pod<'_> {
        Pod::new(self, handler)
    }

    /// A CRI client with a connection of its own.
    pub(super) fn cri(&self) -> Cri {
        Cri::connect(&self.address())
    }

    fn import(&self, namespace: &str, archive: &Path) {
        self.ctr_call(namespace)
            .args(["images", "import"])
            .arg(archive)
            .run()
            .ok();
    }

    fn ctr_call(&self, namespace: &str) -> Run {
        self.world
            .command("ctr")
            .arg("--address")
            .arg(self.address())
            .args(["-n", namespace])
    }
}

/// The daemon's output goes to a file: a full pipe would stop it.
fn spawn(world: &World, home: &Path, node: &Path) -> Spawned {
    let script = "exec containerd --config \"$1\" >>\"$2\" 2>&1";
    let call = world.command("sh").args(["-c", script, "sh"]);
    let call = call.arg(home.join("config.toml"));
    let call = call.arg(home.join("daemon.log"));
    call.env("MANTLET_CONFIG", node).spawn()
}

/// A file of the test images, made first where it is not there.
pub fn image(file: &str) -> PathBuf {
    static STATIC_MADE: OnceLock<()> = OnceLock::new();
    static DEBIAN_MADE: OnceLock<()> = OnceLock::new();
    static RUNTIMES_MADE: OnceLock<()> = OnceLock::new();
    static GO_MADE: OnceLock<()> = OnceLock::new();
    let repo = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (name, made) = match file.split(['.', '-']).next() {
        Some("debian") => ("debian", &DEBIAN_MADE),
        Some("runtimes") => ("runtimes", &RUNTIMES_MADE),
        Some("go") => ("go", &GO_MADE),
        _ => ("static", &STATIC_MADE),
    };
    made.get_or_init(|| {
        let status = Command::new(repo.join("hack/images")).arg(name).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "hack/images {name} failed"
        );
    });
    std::env::var_os("MANTLET_IMAGES")
        .map_or_else(|| repo.join("target/images"), PathBuf::from)
        .join(file)
}

/// The daemon's own settings, then the shipped drop-in with the installed path replaced.
fn configuration(world: &World, home: &Path) -> String {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = repo.join("containerd-config/containerd-1.x.toml");
    let shipped = fs::read_to_string(shipped).expect("the shipped drop-in");
    let installed = "/usr/local/bin/mantlet-";
    assert_eq!(
        shipped.matches(installed).count(),
        3,
        "the drop-in names three programs"
    );
    let ours = world.bin("mantlet-");
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    format!(
        "root = \"{home}/root\"\nstate = \"{home}/state\"\n{shipped}\n\
         [grpc]\naddress = \"{home}/s\"\n\
         [{cri}]\nsandbox_image = \"localhost/mantlet/pause:1\"\nrestrict_oom_score_adj = true\n\
         stream_server_address = \"127.0.0.1\"\nstream_server_port = \"0\"\n\
         [{cri}.cni]\nbin_dir = \"{home}/cni\"\nconf_dir = \"{home}/net.d\"\n\
         [{cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n",
        home = home.display(),
        shipped = shipped.replace(installed, &ours.to_string_lossy()),
    )
}

/// A network plugin that gives a pod its loopback and nothing else, so that pods have ports of
/// their own and the host's network is not touched.
fn write_network(home: &Path) {
    let plugin = r#"#!/bin/sh
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}'; exit ;;
ADD) nsenter --net="$CNI_NETNS" busybox ip link set lo up || exit 1 ;;
esac
cat <<END
{"cniVersion": "0.4.0", "interfaces": [{"name": "$CNI_IFNAME", "sandbox": "$CNI_NETNS"}],
 "ips": [{"version": "4", "address": "127.0.0.1/8", "interface": 0}]}
END
"#;
    let list = r#"{"cniVersion": "0.4.0", "name": "tests", "plugins": [{"type": "loopback"}]}"#;
    fs::create_dir_all(home.join("cni")).expect("our own folder");
    fs::create_dir_all(home.join("net.d")).expect("our own folder");
    let path = home.join("cni/loopback");
    fs::write(&path, plugin).expect("our own folder");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
    fs::write(home.join("net.d/10-tests.conflist"), list).expect("our own folder");
}
