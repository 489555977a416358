//! The fallback delivery of init, a read-only bind mount, forced by `init_delivery: bind` because no
//! SELinux is here to ask for it. The attacks are those of `attacks` in this form.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::harness::{Bundle, World, eventually};

const INIT: &str = "/dev/.mantlet-init";

fn worlds() -> [&'static World; 2] {
    [World::runc(), World::crun()]
}

fn bundle(world: &'static World, handler: &str) -> Bundle {
    let bundle = Bundle::new(world, handler);
    bundle.configured(|text| format!("init_delivery: bind\n{text}"))
}

fn in_user_namespace(config: &mut Value) {
    let linux = &mut config["linux"];
    let namespaces = linux["namespaces"].as_array_mut().expect("namespaces");
    namespaces.push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    linux["uidMappings"] = map.clone();
    linux["gidMappings"] = map;
}

fn held(bundle: &Bundle) {
    let world = bundle.world();
    let pid = eventually("the workload runs", || {
        bundle
            .output()
            .contains("staying")
            .then(|| bundle.pid())
            .flatten()
    });
    let seen = |field| world.status(pid, field).expect("it runs");
    assert_eq!(seen("CapEff"), "0000000000000400");
    assert_eq!(
        (seen("NoNewPrivs"), seen("Seccomp_filters")),
        ("1".into(), "2".into())
    );
    let line = fs::read(world.proc(pid).join("cmdline")).expect("it runs");
    assert_eq!(line, b"/bin/harmless\0stay\0");
    let ask = "harmless status; harmless write /dev/planted x; echo write $?; \
               hostile unshare-user; echo unshare $?; harmless fds | grep -vc '^[012] '";
    let forms = [
        bundle.exec(["sh", "-c", ask]).stdout,
        bundle
            .exec_process(|process| process["args"] = json!(["sh", "-c", ask]))
            .stdout,
    ];
    for text in forms {
        let plain = text.replace('\t', " ");
        let wanted = [
            "CapEff: 0000000000000400",
            "Seccomp_filters: 2",
            "write 13",
            "unshare 1",
            "0",
        ];
        for wanted in wanted {
            let there = plain.lines().any(|line| line.trim() == wanted);
            assert!(there, "{}: {wanted}\n{text}", world.runtime());
        }
    }
    let (code, output, _) = bundle.exec_detached(&[], &["harmless", "status"]);
    assert_eq!(
        code,
        0,
        "{}",
        fs::read_to_string(output).unwrap_or_default()
    );
    bundle.exec(["nowhere"]).expect(127);
}

#[test]
fn a_mounted_init_holds_workload_and_sessions_alike() {
    for world in worlds() {
        for change in [
            |_: &mut Value| {},
            in_user_namespace,
            |config: &mut Value| {
                config["root"]["readonly"] = json!(true);
            },
        ] {
            let bundle = bundle(world, "mantlet-restricted").edit(change).up();
            held(&bundle);
            let home = bundle.supervisors().len();
            assert_eq!(home, 1);
            // The image has no such file, before and after.
            assert!(!bundle.path.join("upper/dev/.mantlet-init").exists());
            bundle.delete().ok();
            eventually("the supervisor leaves", || {
                bundle.supervisors().is_empty().then_some(())
            });
            // The bundle again, as it was rewritten.
            assert_eq!(bundle.create(), 0, "{:?}", bundle.errors());
            bundle.start().ok();
            bundle.exec(["harmless", "work"]).ok();
        }
        let pause = bundle(world, "mantlet-baseline")
            .args(["/bin/pause"])
            .edit(|config| {
                config["annotations"] = json!({"io.kubernetes.cri.container-type": "sandbox"});
            });
        let pause = pause.up();
        let pid = pause.pid().expect("it runs");
        eventually("pause is held", || {
            let exe = fs::read_link(world.proc(pid).join("exe")).ok()?;
            exe.ends_with("bin/pause").then_some(())
        });
        assert_eq!(world.status(pid, "Seccomp_filters").as_deref(), Some("2"));
    }
}

/// DAC_OVERRIDE and all: `baseline` keeps root's files writable.
#[test]
fn the_mounted_program_cannot_be_changed_or_replaced_from_inside() {
    for world in worlds() {
        let all = |config: &mut Value| {
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set] =
                    json!(["CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_CHOWN", "CAP_MKNOD"]);
            }
        };
        let bundle = bundle(world, "mantlet-baseline").edit(all).up();
        let sh = |script: &str| bundle.exec(["sh", "-c", script]);
        bundle
            .exec(["hostile", "write-file", INIT])
            .expect(libc::EROFS);
        bundle.exec(["hostile", "unlink", INIT]).expect(libc::EBUSY);
        for script in [
            "mv /dev/.mantlet-init /dev/x",
            "cp /bin/true /dev/x && mv /dev/x /dev/.mantlet-init",
            "mv /dev /dev2",
            "rm -rf /dev/.mantlet-init",
            "chmod 777 /dev/.mantlet-init",
        ] {
            sh(script).refused();
        }
        // It may be called, as any program: it has no descriptors and becomes nothing.
        for script in [
            "/dev/.mantlet-init",
            "/dev/.mantlet-init 3 true; test $? -ne 0",
        ] {
            assert!(!sh(script).stdout.contains("ran"));
        }
        bundle.exec(["harmless", "work"]).ok();
    }
}

const FORGED: &str = "#!/bin/sh\necho ran >/pwned\n";

fn forged(path: &std::path::Path) {
    fs::write(path, FORGED).expect("a folder of our own");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
}

fn ran(bundle: &Bundle) -> bool {
    bundle.path.join("upper/pwned").exists()
}

#[test]
fn a_forged_mount_is_refused_before_anything_is_made() {
    for world in worlds() {
        for destination in [INIT, "/dev"] {
            let bundle = bundle(world, "mantlet-baseline");
            let volume = bundle.path.join("volume");
            match destination {
                INIT => forged(&volume),
                _ => {
                    fs::create_dir(&volume).expect("a folder of our own");
                    forged(&volume.join(".mantlet-init"));
                }
            }
            let mount = json!({"destination": destination, "type": "bind", "source": volume,
                "options": ["rbind", "rw"]});
            let bundle =
                bundle.edit(|config| config["mounts"].as_array_mut().expect("mounts").push(mount));
            bundle.write();
            assert_ne!(bundle.create(), 0);
            let errors = bundle.errors();
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(
                errors[0].contains("cannot mount mantlet-init at"),
                "{errors:?}"
            );
            assert!(!ran(&bundle) && bundle.state().is_none());
        }
        let run = bundle(world, "mantlet-baseline").args(["true"]);
        run.run().expect(1);
        assert!(
            run.errors()[0].contains("never parks"),
            "{:?}",
            run.errors()
        );
    }
}

/// The image leads /dev to a volume, where something of its own waits under init's name.
#[test]
fn an_image_that_leads_dev_elsewhere_gets_nothing_executed() {
    for world in worlds() {
        let bundle = bundle(world, "mantlet-baseline");
        let volume = bundle.path.join("volume");
        fs::create_dir(&volume).expect("a folder of our own");
        forged(&volume.join(".mantlet-init"));
        let dev = bundle.rootfs().join("dev");
        fs::remove_dir_all(&dev).expect("the overlay is writable");
        fs::create_dir_all(bundle.rootfs().join("volume")).expect("the overlay is writable");
        symlink("/volume", &dev).expect("the overlay is writable");
        let mount = json!({"destination": "/volume", "type": "bind", "source": volume,
            "options": ["rbind", "rw"]});
        let bundle =
            bundle.edit(|config| config["mounts"].as_array_mut().expect("mounts").push(mount));
        bundle.write();
        if bundle.create() == 0 {
            let done = bundle.start().refused();
            assert!(
                done.stderr
                    .contains("refusing to trust its /dev/.mantlet-init"),
                "{}",
                done.stderr
            );
        }
        assert!(!ran(&bundle), "{}", world.runtime());
    }
}

/// What only the host could do: the front door looks each time.
#[test]
fn a_session_is_refused_where_the_mount_is_gone_or_covered() {
    for world in worlds() {
        for script in [
            "umount -l $1",
            "mount --bind /bin/true $1",
            "mount -o remount,bind,rw $1",
        ] {
            let bundle = bundle(world, "mantlet-baseline").up();
            bundle.exec(["harmless", "work"]).ok();
            let pid = bundle.pid().expect("it runs").to_string();
            // busybox of the image, in its mount namespace, without its sandbox.
            let inside = world
                .command("nsenter")
                .args(["-t", &pid, "--mount", "--pid", "--", "/bin/sh", "-c"]);
            inside.arg(script).args(["sh", INIT]).run().ok();
            let done = bundle.exec(["harmless", "work"]).expect(255);
            assert!(
                done.stderr
                    .contains("refusing to trust its /dev/.mantlet-init"),
                "{script}: {}",
                done.stderr
            );
            assert_eq!(bundle.state().expect("it lives")["status"], "running");
        }
    }
}
