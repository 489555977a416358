//! Every Landlock ABI from none to this kernel's, through front door, init and kernel.
//!
//! Older kernels are emulated outside of mantlet: a tracer changes what the kernel says of itself
//! and refuses what the older one would not know (`harness/emulate.rs`). What mantlet then asks for
//! is enforced by this kernel, so an attack tells whether a right was asked for.

use serde_json::{Value, json};

use mantlet::seal::{Filter, Layer, PathRule, Policy};
use mantlet::sys::memfd::{self, Use};

use crate::harness::{Bundle, Finished, World, eventually};
use crate::landlock_site;

/// The rights that each ABI knows, in the order of linux/landlock.h.
const RIGHTS: [(u32, &str); 17] = [
    (1, "execute"),
    (1, "write-file"),
    (1, "read-file"),
    (1, "read-dir"),
    (1, "remove-dir"),
    (1, "remove-file"),
    (1, "make-char"),
    (1, "make-dir"),
    (1, "make-reg"),
    (1, "make-sock"),
    (1, "make-fifo"),
    (1, "make-block"),
    (1, "make-sym"),
    (2, "refer"),
    (3, "truncate"),
    (5, "ioctl-dev"),
    (9, "resolve-unix"),
];

/// A profile that narrows every control; `REQUIRES` is the test's.
const SITE: &str = r#"
version: 1
name: site
requires: REQUIRES
syscalls:
  groups: "2026.1"
  allow: ["@default", "@aio", "@basic-io", "@chown", "@file-system", "@io-event", "@ipc", "@network-io",
    "@process", "@resources", "@setuid", "@signal", "@sync", "@timer", ioctl]
files:
  read_execute: [/bin, /etc, /proc]
  read_write: [/tmp, /var, "@devices"]
network: {bind_tcp: [8080], connect_tcp: [8080]}
scope: [signal, abstract-unix-socket]
"#;

/// What an exec session tries, each with the ABI from which on it is refused, and with what.
/// Moving between directories is the exception: refused before ABI 2, permitted by the profile after.
const TRIES: [(&str, u32, &str); 11] = [
    ("write-file /etc/planted", 1, "EACCES"),
    ("mknod /tmp/device", 1, "EACCES"),
    ("truncate /etc/group", 3, "EACCES"),
    ("bind4 9090", 4, "EACCES"),
    ("bind6 9090", 4, "EACCES"),
    ("connect4 9090", 4, "EACCES"),
    ("connect6 9090", 4, "EACCES"),
    ("ioctl /dev/zero", 5, "EACCES"),
    ("kill 1", 6, "EPERM"),
    ("connect-unix @workload", 6, "EPERM"),
    ("bind4 8080", u32::MAX, ""),
];

fn site(world: &'static World, requires: &str) -> Bundle {
    let text = SITE.replace("REQUIRES", requires);
    let listening = "hostile listen-unix @workload & exec harmless stay";
    let bundle = Bundle::new(world, "mantlet-baseline");
    bundle.profile("site", &text).args(["sh", "-c", listening])
}

/// This kernel's own.
fn newest() -> u32 {
    mantlet::sys::probe::landlock_abi()
}

/// One line an attack, such as `truncate: errno EACCES`.
fn attack(bundle: &Bundle) -> Vec<String> {
    eventually("the workload listens", || {
        bundle.output().contains("listening").then_some(())
    });
    let words: Vec<String> = TRIES
        .iter()
        .map(|(words, ..)| format!("hostile {words}"))
        .collect();
    let moving = "echo >/tmp/moved; hostile rename /tmp/moved /var/moved";
    let script = format!("{}; {moving}; true", words.join("; "));
    let done = bundle.exec(["sh", "-c", &script]).ok();
    done.stdout.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_enforced(abi: u32, found: &[String]) {
    let mut wanted: Vec<String> = TRIES
        .iter()
        .map(|(words, least, errno)| {
            let name = words.split(' ').next().unwrap_or(words);
            match *least {
                // A device needs a capability that nobody has here.
                1 if abi == 0 && name == "mknod" => "mknod: errno EPERM".to_owned(),
                least if abi >= least => format!("{name}: errno {errno}"),
                _ => format!("{name}: worked"),
            }
        })
        .collect();
    wanted.push(match abi {
        1 => "rename: errno EXDEV".into(),
        _ => "rename: worked".into(),
    });
    assert_eq!(found, wanted, "ABI {abi}");
}

#[test]
fn every_abi_enforces_its_rights_and_claims_no_younger_one() {
    let all = "{degrade: [landlock, exec-capture]}";
    for abi in 0..=newest() {
        let bundle = site(World::runc(), all).emulating(abi).up();
        assert_enforced(abi, &attack(&bundle));
        let report = landlock_site::report(&bundle);
        assert_eq!(report["landlock_abi"], abi, "{report}");
        let domains = report["landlock_domains"].as_array().expect("a list");
        assert_eq!(domains.len(), usize::from(abi > 0), "ABI {abi}: {report}");
        for domain in domains {
            let known = RIGHTS.iter().filter(|(least, _)| abi >= *least);
            let names: Vec<&str> = known.map(|(_, name)| *name).collect();
            assert_eq!(domain["files"], json!(names), "ABI {abi}");
            let tcp = if abi < 4 {
                json!([])
            } else {
                json!(["bind", "connect"])
            };
            assert_eq!(
                (&domain["tcp"], &domain["port_rules"]),
                (&tcp, &json!(u8::from(abi > 3)))
            );
            let scope = match abi {
                0..6 => json!([]),
                _ => json!(["abstract-unix-socket", "signal"]),
            };
            assert_eq!(domain["scope"], scope, "ABI {abi}");
        }
        let lacks = report["degraded"].as_array().expect("a list");
        let controls = [2, 3, 4, 5, 6, 9];
        let lacking = controls.iter().filter(|least| abi < **least).count();
        assert_eq!(lacks.len(), if abi == 0 { 1 } else { lacking }, "{report}");
        let inspected = bundle.world().mantlet(["inspect", &bundle.id]).ok().stdout;
        for text in lacks {
            assert!(
                inspected.contains(text.as_str().expect("text")),
                "{inspected}"
            );
        }
        let listed = bundle.world().mantlet(["ps"]).stdout;
        let row = match abi {
            0 => "none in kernel".to_owned(),
            _ => format!("ABI {abi}, 1 layer"),
        };
        assert!(listed.contains(&row), "{listed}");
    }
}

#[test]
fn each_word_lets_a_container_start_on_the_kernel_that_lacks_it_and_no_other_word_does() {
    // The words that an ABI still lacks, and what the refusal names where they are left out.
    let cases = [
        (
            2,
            "truncate, network, device-ioctl, scope",
            "requires",
            "truncate(2)",
        ),
        (3, "network, device-ioctl, scope", "truncate", "TCP ports"),
        (
            4,
            "device-ioctl, scope",
            "network",
            "ioctl(2) on device files",
        ),
        (
            5,
            "scope",
            "device-ioctl",
            "signals or abstract UNIX sockets",
        ),
    ];
    for (abi, words, other, names) in cases {
        let enough = format!("{{degrade: [{words}]}}");
        site(World::runc(), &enough).emulating(abi).up();
        let other = match other {
            "requires" => "{landlock: 1}".to_owned(),
            word => format!("{{degrade: [{word}]}}"),
        };
        let bundle = site(World::runc(), &other).emulating(abi);
        bundle.write();
        assert_ne!(bundle.create(), 0, "ABI {abi}");
        let errors = bundle.errors();
        assert!(errors.len() == 1 && errors[0].contains(names), "{errors:?}");
        assert!(
            errors[0].contains(&format!("this kernel has {abi}")),
            "{errors:?}"
        );
    }
}

#[test]
fn shipped_profiles_hold_on_their_least_kernels_and_are_refused_below() {
    for world in [World::runc(), World::crun()] {
        for (handler, least) in [("mantlet-baseline", 1), ("mantlet-restricted", 3)] {
            let bundle = Bundle::new(world, handler).emulating(least).up();
            let report = landlock_site::report(&bundle);
            assert_eq!(report["landlock_abi"], least, "{report}");
            bundle.exec(["harmless", "work"]).ok();
            bundle.exec(["hostile", "mount"]).expect(libc::EPERM);

            let bundle = Bundle::new(world, handler).emulating(least - 1);
            bundle.write();
            assert_ne!(bundle.create(), 0, "{handler}");
            let errors = bundle.errors();
            let wanted = format!(
                "requires Landlock ABI {least}, this kernel has {}",
                least - 1
            );
            assert!(
                errors.len() == 1 && errors[0].contains(&wanted),
                "{errors:?}"
            );
            assert!(bundle.state().is_none());
        }
    }
}

#[test]
fn without_landlock_an_exec_that_could_be_captured_is_refused_until_the_profile_lets_it_be() {
    let held = |config: &mut Value| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
        }
    };
    let with = |degrade: &str| {
        let text = SITE
            .replace("REQUIRES", &format!("{{degrade: [{degrade}]}}"))
            .replace("syscalls:", "capabilities: [DAC_OVERRIDE]\nsyscalls:");
        let bundle = Bundle::new(World::runc(), "mantlet-baseline").profile("site", &text);
        bundle.edit(held).emulating(0).up()
    };
    let strict = with("landlock");
    strict.exec(["true"]).refused();
    let errors = strict.errors();
    assert!(
        errors.len() == 1 && errors[0].contains("could capture the session"),
        "{errors:?}"
    );
    let inspected = strict.world().mantlet(["inspect", &strict.id]).ok().stdout;
    assert!(
        inspected.contains("refused: without Landlock"),
        "{inspected}"
    );
    with("landlock, exec-capture").exec(["true"]).ok();
}

/// The emulation itself: what stands between mantlet and the kernel refuses like an older kernel.
#[test]
fn the_emulated_kernel_knows_nothing_that_is_younger() {
    let world = World::runc();
    for abi in 0..=newest() {
        let doctor = world
            .command(world.bin("mantlet"))
            .args(["doctor", "--json"]);
        let answer: Value =
            serde_json::from_str(&doctor.emulating(abi).run().stdout).expect("JSON");
        let text = answer.to_string();
        let wanted = match abi {
            0 => "no Landlock".to_owned(),
            _ => format!("ABI {abi}"),
        };
        assert!(text.contains(&wanted), "ABI {abi}: {text}");
    }
}

/// init alone, handed a policy of one domain, where Landlock's ABI is `abi`.
fn init_alone(bundle: &Bundle, layer: Layer, abi: u32) -> Finished {
    let program = std::fs::read(bundle.world().bin("mantlet-init")).expect("it is built");
    let policy = Policy {
        supervised: false,
        layers: vec![layer],
        bounds: Vec::new(),
        rlimits: Vec::new(),
        // BPF_RET | BPF_K, SECCOMP_RET_ALLOW.
        filter: Filter {
            program: vec![6, 0, 0, 0, 0, 0, 0xff, 0x7f],
            flags: 0,
            listener: false,
        },
    };
    let program = memfd::sealed(c"init", Use::Program, &*program).expect("a memfd");
    let policy = memfd::sealed(c"policy", Use::Bytes, &*policy.encode()).expect("a memfd");
    let call = bundle.call().args(["exec", "--preserve-fds", "2"]);
    let call = call
        .arg(&bundle.id)
        .args(["/proc/self/fd/3", "harmless", "exit", "5"]);
    call.descriptors(&[&program, &policy]).emulating(abi).run()
}

/// A plan is made for the kernel that the front door asked. Should init meet another one, it must
/// not go on with less.
#[test]
fn a_policy_for_a_newer_kernel_is_refused_by_init_on_an_older_one() {
    let bundle = Bundle::new(World::runc(), "runc").up();
    let root = PathRule {
        path: b"/".to_vec(),
        access: 1 | 4 | 8,
        except: Vec::new(),
        optional: false,
        follow: false,
        within_mount: false,
    };
    let layer = |files, tcp, scopes| Layer {
        handled_fs: files,
        handled_net: tcp,
        scoped: scopes,
        paths: vec![root.clone()],
        ports: Vec::new(),
    };
    let cases = [
        (layer(0x1fff, 0, 0), 1),
        (layer(0x3fff, 0, 0), 2),
        (layer(0x7fff, 0, 0), 3),
        (layer(0x7fff, 3, 0), 4),
        (layer(0xffff, 3, 0), 5),
        (layer(0xffff, 3, 3), 6),
        (layer(0x1_ffff, 3, 3), 9),
    ];
    for (layer, least) in cases {
        if least <= newest() {
            init_alone(&bundle, layer.clone(), least).expect(5);
        }
        let older = least - 1;
        let done = init_alone(&bundle, layer, older.min(newest())).expect(126);
        assert!(
            done.stderr.contains("landlock"),
            "ABI {older}: {}",
            done.stderr
        );
    }
}
