//! What [`crate::policy::decide`] foretells is what the kernel does, and what `mode: audit` tells: init's
//! own code enters a plan's domains over a small root file system, every right is tried on every path,
//! every move and link between directories ([`moves`]), and each answer is compared.

mod moves;

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chdir, chroot, mkdir, symlinkat, truncate, unlink};
use serde_json::{Value, json};

use crate::access::Access;
use crate::init::domain;
use crate::policy::decide::{AsWritten, Decider, Domain, Places, Rootfs, Verdict};
use crate::policy::observe::Observing;
use crate::policy::tests::host;
use crate::policy::{Layers, Scene, mounts};
use crate::profile::{Mode as Says, Profile};
use crate::sys::forked::{self, Outcome};
use crate::sys::{process, spawn};

const FOLDERS: [&str; 24] = [
    "/",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/share",
    "/etc",
    "/etc/ssl",
    "/etc/ssl/private",
    "/srv",
    "/srv/a",
    "/srv/a/b",
    "/srv/a/b/c",
    "/srv/d",
    "/data",
    "/data/in",
    "/tmp",
    "/run",
    "/run/lock",
    "/var",
    "/var/lib",
    "/opt",
    "/opt/volume",
    "/dev",
    "/dev/shm",
];
/// Mounts of the container's, as config.json has them; writable but where it says so.
const MOUNTS: [(&str, &str, bool); 6] = [
    ("/proc", "proc", true),
    ("/data", "bind", true),
    ("/tmp", "tmpfs", true),
    ("/opt/volume", "bind", false),
    ("/dev/shm", "bind", true),
    ("/etc/ssl/private", "bind", true),
];

/// The files in every folder: a plain one, a program, a device, and those to be removed.
fn furnish(folder: &Path) -> Outcome<()> {
    fs::write(folder.join("file"), "x")?;
    fs::write(folder.join("program"), "")?;
    fs::set_permissions(folder.join("program"), fs::Permissions::from_mode(0o755))?;
    let all = Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO;
    mknod(&folder.join("device"), SFlag::S_IFCHR, all, makedev(1, 3))?;
    fs::write(folder.join("gone"), "")?;
    fs::create_dir(folder.join("gone.d"))?;
    fs::create_dir(folder.join("kept.d"))?;
    fs::write(folder.join("moved"), "")?;
    // Whoever listens is outside of every domain, and nobody has to accept.
    std::mem::forget(UnixListener::bind(folder.join("socket"))?);
    Ok(())
}

/// Makes the root file system in `root` and enters it.
fn enter(root: &Path) -> Outcome<()> {
    forked::private_tmpfs(root)?;
    let none = None::<&str>;
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    for folder in FOLDERS {
        fs::create_dir_all(inside(folder))?;
    }
    fs::create_dir(inside("/proc"))?;
    for (path, _, _) in MOUNTS.iter().filter(|(path, ..)| *path != "/proc") {
        mount(none, &inside(path), Some("tmpfs"), MsFlags::empty(), none)?;
    }
    mount(none, &inside("/proc"), Some("proc"), MsFlags::empty(), none)?;
    fs::create_dir_all(inside("/data/in"))?;
    for folder in FOLDERS {
        furnish(&inside(folder))?;
    }
    symlink("usr/bin", inside("/bin"))?;
    symlink("usr/lib", inside("/lib"))?;
    symlink("../run", inside("/var/run"))?;
    symlink("srv/a", inside("/link"))?;
    chroot(root)?;
    chdir("/")?;
    Ok(())
}

/// One try: the right, where Landlock looks, and what else has to be granted for it to be seen.
struct Try {
    right: &'static str,
    path: String,
    needs: &'static [&'static str],
    done: Result<(), Errno>,
}

fn device() -> u64 {
    makedev(1, 3)
}

/// Everything that Landlock has a right for, in one folder.
fn tries(folder: &str) -> Vec<Try> {
    let within = |name: &str| match folder {
        "/" => format!("/{name}"),
        folder => format!("{folder}/{name}"),
    };
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let opened = |name: &str, flags| open(&*within(name), flags, Mode::empty()).map(drop);
    let made = |name: &str, kind| mknod(&*within(name), kind, mode, device());
    let file = within("file");
    let at = |right, path: &str, done| Try {
        right,
        path: path.to_owned(),
        needs: &[],
        done,
    };
    let program = within("program");
    let words = [std::ffi::CString::new(program.clone()).expect("no NUL")];
    let execution = match nix::unistd::execve(&words[0], &words, &[] as &[std::ffi::CString]) {
        // It holds nothing that could run; that is said once it may be opened.
        Err(Errno::ENOEXEC) => Ok(()),
        Err(errno) => Err(errno),
        Ok(never) => match never {},
    };
    let control = open(&*within("device"), OFlag::O_RDONLY, Mode::empty()).map(|device| {
        // isatty(3) is the ioctl TCGETS.
        Errno::clear();
        match (device.is_terminal(), Errno::last()) {
            (false, Errno::ENOTTY) => Ok(()),
            (_, errno) => Err(errno),
        }
    });
    let resolved = UnixStream::connect(within("socket")).map(drop);
    let failed = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let mut all = vec![
        at("resolve-unix", &within("socket"), resolved.map_err(failed)),
        at("read-file", &within(LATER), opened(LATER, OFlag::O_RDONLY)),
        Try {
            needs: &["read-file"],
            ..at("execute", &program, execution)
        },
        at("read-file", &file, opened("file", OFlag::O_RDONLY)),
        at("write-file", &file, opened("file", OFlag::O_WRONLY)),
        at("truncate", &file, truncate(&*file, 0)),
        at(
            "read-dir",
            folder,
            opened(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY),
        ),
        at("make-reg", folder, made("made.reg", SFlag::S_IFREG)),
        at("make-fifo", folder, made("made.fifo", SFlag::S_IFIFO)),
        at("make-sock", folder, made("made.sock", SFlag::S_IFSOCK)),
        at("make-char", folder, made("made.char", SFlag::S_IFCHR)),
        at("make-block", folder, made("made.block", SFlag::S_IFBLK)),
        at("make-dir", folder, mkdir(&*within("made.dir"), mode)),
        at(
            "make-sym",
            folder,
            symlinkat("x", nix::fcntl::AT_FDCWD, &*within("made.sym")),
        ),
        at("remove-file", folder, unlink(&*within("gone"))),
        at(
            "remove-dir",
            folder,
            fs::remove_dir(within("gone.d")).map_err(failed),
        ),
    ];
    if let Ok(done) = control {
        all.push(at("ioctl-dev", &within("device"), done));
    }
    all
}

/// config.json of a container with these mounts.
fn spec() -> oci_spec::runtime::Spec {
    let mut spec: Value =
        serde_json::from_str(include_str!("../policy/testdata/ctr-seccomp.json")).expect("JSON");
    let mount = |(path, kind, writable): &(&str, &str, bool)| {
        let access = if *writable { "rw" } else { "ro" };
        json!({"destination": path, "type": kind, "source": "x", "options": [access]})
    };
    spec["mounts"] = MOUNTS.iter().map(mount).collect();
    serde_json::from_value(spec).expect("a spec")
}

fn profile(files: &str) -> Profile {
    let text = format!(
        "version: 1\nname: odd\nsyscalls: {{groups: \"2026.1\", allow: [execve]}}\nfiles: {files}\n"
    );
    Profile::parse("odd", &text).expect("an odd profile")
}

/// What is made in every folder once the domains are entered.
const LATER: &str = "later";

/// A process outside of the domains, which makes [`LATER`] in every folder when it is asked.
struct Maker(std::io::PipeWriter, std::io::PipeReader);

impl Maker {
    fn ready() -> Outcome<Maker> {
        let (mut asked, ask) = std::io::pipe()?;
        let (hear, mut done) = std::io::pipe()?;
        match spawn::fork()? {
            spawn::Fork::Child => {
                drop(ask);
                let mut made = || -> std::io::Result<()> {
                    asked.read_exact(&mut [0])?;
                    for folder in FOLDERS {
                        fs::write(Path::new(folder).join(LATER), "")?;
                    }
                    done.write_all(b".")
                };
                process::exit_now(i32::from(made().is_err()))
            }
            spawn::Fork::Parent { .. } => Ok(Maker(ask, hear)),
        }
    }

    fn make(mut self) -> Outcome<()> {
        self.0.write_all(b".")?;
        Ok(self.1.read_exact(&mut [0])?)
    }
}

/// Whoever says what would be denied, of one scene.
struct Foretellers {
    decider: Decider,
    observing: Observing,
    /// As a watcher has them, from outside.
    domains: Vec<Domain>,
}

impl Foretellers {
    fn access(&self, path: &str, right: &str, directory: bool) -> Access {
        Access::File {
            path: path.to_owned(),
            right: right.to_owned(),
            entry: None,
            mount: self.decider.mount_of(path).to_owned(),
            directory,
            moved: None,
        }
    }

    /// What `explain` says of all of these, which audit says too: but for what was made later beside an
    /// exception, of which only audit knows.
    fn ask(&self, all: &[Access]) -> Result<(bool, Vec<Verdict>), String> {
        let told: Vec<Verdict> = all.iter().map(|own| self.decider.decide(own)).collect();
        let explained = told.iter().all(Verdict::allowed);
        let denies = |access: &Access| self.observing.file(access, &self.domains).is_some();
        let audited = !all.iter().any(denies);
        let open = |one: &Verdict| {
            let mut said = one.contributions.iter();
            said.any(|own| {
                own.reason
                    .contains("only what was there when the session began")
            })
        };
        let later = explained && told.iter().any(open);
        if explained == audited || later && !audited {
            Ok((audited, told))
        } else {
            Err(format!("audit allows it: {audited}, but {told:?}"))
        }
    }
}

/// Enters these layers and compares every answer; how many there were of either kind.
fn compare(layers: &[&Profile], abi: u32, places: &dyn Places) -> Outcome<(usize, usize)> {
    let spec = spec();
    let mounts = mounts::read(&spec)?;
    let host = host(abi);
    let scene = Scene {
        spec: &spec,
        mounts: &mounts,
        host: &host,
        supervised: true,
    };
    let (decider, composed) = Decider::compose(Layers::new(layers)?, &scene, places)?;
    let audited: Vec<Profile> = layers
        .iter()
        .map(|&layer| Profile {
            mode: Says::Audit,
            ..layer.clone()
        })
        .collect();
    let audited: Vec<&Profile> = audited.iter().collect();
    let observing = Observing::of(Layers::new(&audited)?, &scene)?.ok_or("nothing audits")?;
    let settled = crate::supervisor::places_of(&observing, std::process::id() as i32)?;
    let foretellers = Foretellers {
        domains: observing.domains(&settled),
        observing,
        decider,
    };
    let maker = Maker::ready()?;
    domain::enter(&composed.domains)?;
    maker.make()?;
    let mut counts = (0, 0);
    let mut wrong = Vec::new();
    for folder in FOLDERS {
        for Try {
            right,
            path,
            needs,
            done,
        } in tries(folder)
        {
            let asked = |right: &&str| foretellers.access(&path, right, path == folder);
            let all: Vec<Access> = [&right].into_iter().chain(needs).map(asked).collect();
            match (foretellers.ask(&all), done) {
                (Ok((true, _)), Ok(())) => counts.0 += 1,
                (Ok((false, _)), Err(Errno::EACCES)) => counts.1 += 1,
                (said, done) => wrong.push(format!("{right} {path}: {done:?}, but {said:?}")),
            }
        }
    }
    moves::compare(&foretellers, &mut counts, &mut wrong);
    match wrong.is_empty() {
        true => Ok(counts),
        false => Err(wrong.join("\n").into()),
    }
}

/// One scene in a process of its own; `links`: resolve in the file system, else as written.
fn check(layers: &[&Profile], abi: u32, links: bool) {
    let folder = forked::folder();
    forked::run(|| {
        enter(folder.path())?;
        let (allowed, denied) = match links {
            true => compare(layers, abi, &Rootfs::open(Path::new("/"), Vec::new())?)?,
            false => compare(layers, abi, &AsWritten)?,
        };
        let all = FOLDERS.len() * 16 + moves::pairs() * 3;
        if allowed + denied < all {
            return Err(format!("{allowed} and {denied} are not {all} answers").into());
        }
        Ok(())
    });
}

/// The ABI of this kernel.
fn abi() -> u32 {
    crate::sys::probe::landlock_abi()
}

#[test]
fn profiles_that_ship_are_foretold() {
    let built_in = |name| Profile::builtin(name).expect("built in");
    for name in ["baseline", "restricted", "watched"] {
        let profile = built_in(name);
        check(&[&profile], abi(), true);
        check(&[&profile], abi(), false);
    }
    check(
        &[&built_in("baseline"), &built_in("restricted")],
        abi(),
        true,
    );
}

#[test]
fn odd_rules_are_foretold() {
    let odd = BTreeMap::from([
        ("nothing", "{read: [/usr]}"),
        (
            "every list",
            "{read: [/etc], execute: [/srv], read_execute: [/bin, /opt], read_write: [/tmp, /var], \
          read_write_execute: [/data], device_ioctl: [/etc, /srv/a], make_device: [/run]}",
        ),
        (
            "exceptions",
            "{read_execute: [/], read_write: [/srv/d], except: [/srv/a/b, /etc/ssl/private]}",
        ),
        (
            "an exception of one file",
            "{read: [/], except: [/srv/a/b/file]}",
        ),
        (
            "an exception through a link",
            "{read: [/], except: [/bin, /var/run/lock]}",
        ),
        (
            "an exception that is not there",
            "{read_execute: [/], except: [/srv/a/none, /none/at/all]}",
        ),
        (
            "nested",
            "{read: [/srv], read_write: [/srv/a/b], read_execute: [/srv/a], except: [/srv/a/b/c]}",
        ),
        (
            "optional",
            "{read: [{path: /none, optional: true}, {path: /srv/a, optional: true}]}",
        ),
        (
            "one file",
            "{read: [/srv/a/file], execute: [/srv/a/program], read_write: [/etc/file]}",
        ),
        (
            "symbols",
            "{read_execute: [\"@image\"], read_write: [\"@volumes\", \"@tmpfs\"], device_ioctl: [/srv]}",
        ),
        (
            "the image less some",
            "{read_execute: [\"@image\"], read_write: [/var/lib], except: [/usr/share]}",
        ),
        (
            "followed",
            "{read: [{path: /link, follow: true}], read_execute: [{path: /bin, follow: true}]}",
        ),
        (
            "moves that gain for files",
            "{read_write: [/srv/d, /etc], read_write_execute: [/srv/a], read_execute: [/etc/ssl], \
          execute: [/srv/d/file]}",
        ),
        (
            "moves that gain for directories",
            "{read_write: [/srv, /var, /usr], make_device: [/srv], device_ioctl: [/var]}",
        ),
        (
            "by another name",
            "{read_execute: [/bin, /lib], read_write: [/var/run]}",
        ),
    ]);
    for (name, files) in odd {
        let odd = profile(files);
        eprintln!("{name}");
        check(&[&odd], abi(), true);
        let restricted = Profile::builtin("restricted").expect("built in");
        check(&[&restricted, &odd], abi(), true);
    }
}

#[test]
fn older_kernels_are_foretold() {
    // A domain of an older ABI is one that handles less; this kernel enters it as that one would.
    for abi in 1..abi() {
        let text = "version: 1\nname: odd\nrequires: {landlock: 1, degrade: [landlock]}\n\
                    syscalls: {groups: \"2026.1\", allow: [execve]}\nfiles: {read: [/usr], read_write: [/srv/a]}\n";
        let lenient = Profile::parse("odd", text).expect("a profile");
        check(&[&lenient], abi, true);
    }
}
