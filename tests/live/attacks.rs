//! The two attacks of DESIGN §5. Each is first carried out against the naive form, which proves
//! that it is real, and then against mantlet, where it must fail.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use mantlet::seal::{Filter, Policy};
use mantlet::sys::memfd::{self, Use};
use serde_json::{Value, json};

use crate::harness::{Bundle, HANDLERS, Spawned, World, eventually};

/// One way of putting something of the image's in the place of `/proc/self/fd/N`.
struct Forgery {
    name: &'static str,
    /// Destination of the volume.
    destination: &'static str,
    /// Where in the volume the descriptors' numbers are.
    numbers: &'static str,
    /// A link of the image, and where it leads.
    link: Option<(&'static str, &'static str)>,
}

/// As DESIGN §5 has them; the plan sees through the first two.
const FORGERIES: [Forgery; 3] = [
    Forgery {
        name: "a volume at /proc",
        destination: "/proc",
        numbers: "self/fd",
        link: None,
    },
    Forgery {
        name: "a volume at /proc/self/fd",
        destination: "/proc/self/fd",
        numbers: "",
        link: None,
    },
    // The static image has this link.
    Forgery {
        name: "a volume at /data, where the image has /data -> /proc",
        destination: "/data",
        numbers: "self/fd",
        link: None,
    },
];

/// The first two again, through links that only the mount table of the parked container shows.
const LINKED: [Forgery; 2] = [
    Forgery {
        name: "a volume at /srv/fd, where the image has /srv/fd -> /proc/self/fd",
        destination: "/srv/fd",
        numbers: "",
        link: Some(("srv", "fd -> /proc/self/fd")),
    },
    Forgery {
        name: "a volume at /data/self/fd, where the image has /data -> /proc",
        destination: "/data/self/fd",
        numbers: "",
        link: None,
    },
];

/// Runs in place of whatever was meant, and leaves a mark.
const FORGED: &str = "#!/bin/sh\necho ran >/pwned\n";

impl Forgery {
    /// Puts the forgery into `bundle`, with `program` under every number.
    fn plant(&self, bundle: Bundle, program: &str) -> Bundle {
        let volume = bundle.path.join("volume");
        let numbers = volume.join(self.numbers);
        fs::create_dir_all(&numbers).expect("a folder of our own");
        for number in 3..10 {
            let file = numbers.join(number.to_string());
            fs::write(&file, program).expect("a folder of our own");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("our own file");
        }
        if let Some((folder, link)) = self.link {
            let (name, target) = link.split_once(" -> ").expect("a link");
            let folder = bundle.rootfs().join(folder);
            fs::create_dir_all(&folder).expect("a folder of our own");
            symlink(target, folder.join(name)).expect("a fresh folder");
        }
        let mount = json!({"destination": self.destination, "type": "bind",
            "source": volume, "options": ["rbind", "rw"]});
        bundle.edit(|config| config["mounts"].as_array_mut().expect("mounts").push(mount))
    }
}

fn ran(bundle: &Bundle) -> bool {
    bundle.path.join("upper/pwned").exists()
}

fn stopped(bundle: &Bundle) {
    eventually("the container stops", || {
        let state = bundle.around().arg("state").arg(&bundle.id).run();
        let state: Value = serde_json::from_str(&state.stdout).unwrap_or_default();
        (state["status"] == "stopped").then_some(())
    });
}

#[test]
fn a_forged_proc_makes_crun_execute_the_images_program_in_place_of_a_passed_one() {
    let world = World::crun();
    for forgery in FORGERIES.iter().chain(&LINKED) {
        let bundle = forgery.plant(Bundle::new(world, "crun"), FORGED);
        let bundle = bundle.args(["/proc/self/fd/3", "harmless", "exit", "0"]);
        bundle.write();
        // What was meant: the real program, passed as descriptor 3.
        let program = memfd::sealed(c"meant", Use::Program, &*init_program()).expect("a memfd");
        let call = bundle.call().descriptors(&[&program]);
        assert_eq!(
            bundle.create_with(call, &["--preserve-fds", "1"]),
            0,
            "{}",
            bundle.output()
        );
        bundle.start().ok();
        eventually(forgery.name, || ran(&bundle).then_some(()));
    }
}

#[test]
fn a_forged_proc_that_the_bundle_names_is_refused_before_anything_is_made() {
    for world in [World::runc(), World::crun()] {
        for (forgery, handler) in FORGERIES[..2].iter().flat_map(|f| HANDLERS.map(|h| (f, h))) {
            let bundle = forgery.plant(Bundle::new(world, handler), FORGED);
            bundle.write();
            assert_ne!(bundle.create(), 0, "{}", forgery.name);
            let errors = bundle.errors();
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains("/proc"), "{errors:?}");
            assert!(bundle.state().is_none());
            assert!(!ran(&bundle), "{}", forgery.name);
        }
    }
}

#[test]
fn a_forged_proc_that_only_the_mount_table_shows_is_refused_at_start() {
    let world = World::crun();
    for forgery in FORGERIES[2..].iter().chain(&LINKED) {
        let bundle = forgery.plant(Bundle::new(world, "mantlet-baseline"), FORGED);
        bundle.write();
        assert_eq!(
            bundle.create(),
            0,
            "{}: {:?}",
            forgery.name,
            bundle.errors()
        );
        let done = bundle.start().refused();
        let errors = bundle.errors();
        assert_eq!(errors.len(), 1, "{}: {errors:?}", forgery.name);
        assert!(
            errors[0].contains("refusing to trust the container's /proc"),
            "{errors:?}"
        );
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        assert!(!ran(&bundle), "{}", forgery.name);
        // It stays killable and deletable.
        bundle.kill("KILL").ok();
        bundle.delete().ok();
        assert!(bundle.state().is_none());
    }
}

#[test]
fn runc_itself_refuses_the_forms_that_the_plan_cannot_see() {
    for forgery in FORGERIES[2..].iter().chain(&LINKED) {
        let bundle = forgery.plant(Bundle::new(World::runc(), "mantlet-baseline"), FORGED);
        bundle.write();
        let created = bundle.create();
        if created == 0 {
            bundle.start().refused();
        }
        assert!(!ran(&bundle), "{}", forgery.name);
        assert!(!bundle.errors().is_empty(), "{}", forgery.name);
    }
}

/// Third line. Host root starts the parked container around mantlet, so nobody looks at the mount
/// table; the forged program even speaks init's part on the channel.
#[test]
fn a_forged_init_that_speaks_on_the_channel_is_killed_and_told() {
    let says_hello = "#!/bin/sh\nprintf 'hi\\000\\001' >&5\nread word <&5\necho ran >/pwned\n";
    let forgery = &FORGERIES[2];
    let bundle = forgery.plant(Bundle::new(World::crun(), "mantlet-baseline"), says_hello);
    bundle.write();
    assert_eq!(bundle.create(), 0, "{:?}", bundle.errors());
    bundle.around().arg("start").arg(&bundle.id).run().ok();
    stopped(&bundle);
    assert!(!ran(&bundle), "it was answered");
    let journal = eventually("the journal tells", || {
        let journal = bundle.journal();
        (!journal.is_empty()).then_some(journal)
    });
    let told = journal[0]["message"].as_str().unwrap_or_default();
    assert!(told.contains("another program"), "{journal:?}");
    eventually("the supervisor leaves", || {
        bundle.supervisors().is_empty().then_some(())
    });
}

/// The plain form of each, so that the refusals above are not refusals of everything.
#[test]
fn an_ordinary_volume_is_no_forgery() {
    let ordinary = Forgery {
        name: "a volume at /volume",
        destination: "/volume",
        numbers: "self/fd",
        link: None,
    };
    for world in [World::runc(), World::crun()] {
        let bundle = ordinary
            .plant(Bundle::new(world, "mantlet-baseline"), FORGED)
            .up();
        bundle.exec(["harmless", "work"]).ok();
        assert!(!ran(&bundle));
    }
}

fn init_program() -> Vec<u8> {
    fs::read(World::runc().bin("mantlet-init")).expect("it is built")
}

/// Exit code of a session whose code was overwritten by `hostile capture`, and what a session
/// answers by itself.
const CAPTURED: i32 = 77;
const ITSELF: &str = "5";

/// containerd's default for root. DAC_OVERRIDE is what matters.
fn as_containerd(config: &mut Value) {
    let names = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SYS_CHROOT",
        "MKNOD",
        "AUDIT_WRITE",
        "SETFCAP",
    ];
    let all = json!(names.map(|name| format!("CAP_{name}")));
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = all.clone();
    }
    config["process"]["noNewPrivileges"] = json!(false);
}

/// Two attackers inside the container, for as long as they are held.
fn under_fire(bundle: &Bundle, attack: impl Fn() -> crate::harness::Run) -> Vec<Spawned> {
    let capture = || {
        let run = attack().args(["hostile", "capture", "600", "mantlet"]);
        run.deadline(Duration::from_secs(700)).spawn()
    };
    let attackers = vec![capture(), capture()];
    let pid = bundle.pid().expect("it runs");
    eventually("the attackers watch", || {
        let world = bundle.world();
        let there = world.pids_named("hostile").into_iter().filter(|other| {
            let same = |pid: i32| fs::read_link(world.proc(pid).join("ns/pid")).ok();
            same(*other).is_some() && same(*other) == same(pid)
        });
        (there.count() >= 2).then_some(())
    });
    attackers
}

/// The control: the very same program, without a Landlock domain around it or the attacker.
#[test]
fn an_init_without_a_landlock_domain_is_captured_by_its_container() {
    let open = Policy {
        supervised: false,
        layers: Vec::new(),
        rlimits: Vec::new(),
        bounds: Vec::new(),
        // BPF_RET | BPF_K, SECCOMP_RET_ALLOW.
        filter: Filter {
            program: vec![6, 0, 0, 0, 0, 0, 0xff, 0x7f],
            flags: 0,
            listener: false,
        },
    };
    let program = memfd::sealed(c"mantlet-init", Use::Program, &*init_program()).expect("a memfd");
    let policy = memfd::sealed(c"mantlet-policy", Use::Bytes, &*open.encode()).expect("a memfd");
    let bundle = Bundle::new(World::runc(), "runc").edit(as_containerd).up();
    let _attackers = under_fire(&bundle, || bundle.call().arg("exec").arg(&bundle.id));
    for tried in 1..=400 {
        let call = bundle.call().args(["exec", "--preserve-fds", "2"]);
        let call = call
            .arg(&bundle.id)
            .args(["/proc/self/fd/3", "harmless", "exit", ITSELF]);
        if call.descriptors(&[&program, &policy]).run().code == CAPTURED {
            eprintln!("captured at try {tried}");
            return;
        }
    }
    panic!("the attack never worked, so it proves nothing elsewhere");
}

#[test]
fn no_init_of_two_hundred_sessions_is_captured_by_its_container() {
    for (world, sessions) in [(World::runc(), 200), (World::crun(), 200)] {
        let bundle = Bundle::new(world, "mantlet-baseline")
            .edit(as_containerd)
            .up();
        let attackers = under_fire(&bundle, || bundle.call().arg("exec").arg(&bundle.id));
        let pid = bundle.pid().expect("it runs");
        let held = world.status(pid, "CapEff").expect("it runs");
        assert_eq!(held, "00000000a80425fb", "the attackers hold DAC_OVERRIDE");
        for tried in 1..=sessions {
            let done = bundle.exec(["harmless", "exit", ITSELF]);
            assert_ne!(done.code, CAPTURED, "{}: try {tried}", world.runtime());
            done.expect(ITSELF.parse().expect("a number"));
        }
        for mut attacker in attackers {
            assert_eq!(attacker.wait(Duration::ZERO), None, "it gave up early");
        }
    }
}
