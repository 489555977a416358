//! A broken node: profiles, configuration, programs, disks.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::harness::{Bundle, World};
use crate::remains;
use crate::scene::{Case, Scene, check, one_clear_line, refused};

#[test]
fn a_profile_that_is_not_in_order_is_refused() {
    check(&[
        Case {
            name: "missing",
            change: |scene| scene.profile = "nowhere".into(),
            says: &["no profile `nowhere`", "nowhere.yaml", "profiles directory"],
        },
        Case {
            name: "a directory",
            change: |scene| {
                scene.profile = "folder".into();
                fs::create_dir(scene.node.join("profiles/folder.yaml")).expect("our own folder");
            },
            says: &["`folder`", "directory", "readable for root"],
        },
        Case {
            name: "no YAML",
            change: |scene| scene.site_profile("broken", "name: [broken\n"),
            says: &["broken", ":"],
        },
        Case {
            name: "empty",
            change: |scene| scene.site_profile("empty", ""),
            says: &["empty"],
        },
        Case {
            name: "not UTF-8",
            change: |scene| {
                scene.profile = "latin".into();
                let file = scene.node.join("profiles/latin.yaml");
                fs::write(file, b"version: 1\nname: latin\ndescription: caf\xe9\n").expect("ours");
            },
            says: &["`latin`", "UTF-8"],
        },
        Case {
            name: "misnamed",
            change: |scene| {
                scene.site_profile("alpha", "version: 1\nname: beta\nextends: [baseline]\n");
            },
            says: &["`alpha`", "name: beta", "make both the same"],
        },
        Case {
            name: "a key nobody knows",
            change: |scene| {
                scene.site_profile(
                    "typo",
                    "version: 1\nname: typo\nextends: [baseline]\nsyscals: {}\n",
                );
            },
            says: &["typo", "syscals", "syscalls", ":4:"],
        },
        Case {
            name: "of a later version",
            change: |scene| {
                scene.site_profile("later", "version: 9\nname: later\nextends: [baseline]\n");
            },
            says: &["later", "version 9", "version: 1"],
        },
        Case {
            name: "a circle",
            change: |scene| {
                scene.site_profile("hen", "version: 1\nname: hen\nextends: [egg]\n");
                scene.site_profile("egg", "version: 1\nname: egg\nextends: [hen]\n");
            },
            says: &["hen", "egg", "circle", "remove one `extends`"],
        },
        Case {
            name: "a system call nobody knows",
            change: |scene| {
                scene.site_profile(
                    "calls",
                    "version: 1\nname: calls\nextends: [baseline]\nsyscalls: {deny: [opne]}\n",
                );
            },
            says: &["calls", "opne"],
        },
    ]);
}

#[test]
fn a_node_configuration_that_is_not_in_order_is_refused() {
    check(&[
        Case {
            name: "no YAML",
            change: |scene| scene.configuration = Some("version: [1\n".into()),
            says: &["config.yaml"],
        },
        Case {
            name: "a key nobody knows",
            change: |scene| scene.configuration = Some("version: 1\nstate_dri: /x\n".into()),
            says: &["config.yaml:2:", "state_dri", "state_dir"],
        },
        Case {
            name: "writable by everyone",
            change: |scene| {
                let file = scene.write_configuration();
                fs::set_permissions(file, fs::Permissions::from_mode(0o666)).expect("our own");
            },
            says: &["config.yaml", "writable by everyone", "chmod 0644"],
        },
        Case {
            name: "a profile that is a path",
            change: |scene| scene.profile = "../../etc/passwd".into(),
            says: &["config.yaml", "not a path", "profiles_dir"],
        },
        Case {
            name: "a directory",
            change: |scene| {
                fs::create_dir(scene.node.join("config.yaml")).expect("our own folder");
            },
            says: &["config.yaml", "directory"],
        },
    ]);
}
#[test]
fn a_program_that_is_not_in_order_is_refused() {
    check(&[
        Case {
            name: "a runtime that is not there",
            change: |scene| scene.runtime = "/no/such/runc".into(),
            says: &["/no/such/runc", "No such file", "install it"],
        },
        Case {
            name: "a runtime that no folder has",
            change: |scene| scene.runtime = "runk".into(),
            says: &["\"runk\"", "PATH", "install it"],
        },
        Case {
            name: "a runtime that cannot be executed",
            change: |scene| scene.runtime = "/etc/passwd".into(),
            says: &["/etc/passwd", "not an executable", "install it"],
        },
        Case {
            name: "a runtime that is mantlet itself",
            change: |scene| {
                let itself = scene.bundle.world().bin("mantlet-restricted");
                scene.runtime = itself.to_string_lossy().into_owned();
            },
            says: &["mantlet-restricted", "mantlet itself", "name the real one"],
        },
        Case {
            name: "a runtime that is another program",
            change: |scene| scene.runtime = "/bin/true".into(),
            says: &["/bin/true", "none of runc", "configure one"],
        },
        Case {
            name: "no init",
            change: |scene| drop(scene.programs_but("mantlet-init")),
            says: &["libexec/mantlet-init", "No such file", "install it"],
        },
        Case {
            name: "an init that is no program",
            change: |scene| {
                let init = scene.programs_but("mantlet-init");
                fs::write(init, "#!/bin/sh\nexec \"$@\"\n").expect("our own folder");
            },
            says: &["libexec/mantlet-init", "not a program", "install it"],
        },
        Case {
            name: "no supervisor",
            change: |scene| drop(scene.programs_but("mantlet-supervisor")),
            says: &["libexec/mantlet-supervisor", "No such file", "install it"],
        },
        Case {
            name: "a supervisor that cannot be executed",
            change: |scene| {
                let supervisor = scene.programs_but("mantlet-supervisor");
                fs::write(supervisor, "\x7fELF").expect("our own folder");
            },
            says: &[
                "libexec/mantlet-supervisor",
                "Permission denied",
                "install it",
            ],
        },
        Case {
            name: "a supervisor of another machine",
            change: |scene| {
                let supervisor = scene.programs_but("mantlet-supervisor");
                fs::write(&supervisor, "\x7fELF\x01").expect("our own folder");
                fs::set_permissions(supervisor, fs::Permissions::from_mode(0o755)).expect("ours");
            },
            says: &[
                "libexec/mantlet-supervisor",
                "Exec format error",
                "install it",
            ],
        },
    ]);
}

#[test]
fn a_program_name_of_no_handler_is_refused() {
    let world = World::runc();
    // Another test may have made it.
    let _ = symlink("mantlet-runtime", world.bin("mantlet-restrictde"));
    let scene = Scene::new("mantlet-restrictde");
    let case = Case {
        name: "a handler that nobody defined",
        change: |_| {},
        says: &["no handler named \"restrictde\"", "restricted", "handlers:"],
    };
    refused(&case, &scene);
}

#[test]
fn a_disk_that_takes_nothing_is_refused() {
    check(&[
        Case {
            name: "a full disk for the state directory",
            change: |scene| {
                fs::create_dir(scene.state()).expect("our own folder");
                let fill = "mount -t tmpfs -o size=64k,mode=700 full \"$1\"; \
                            ! cat /dev/zero >\"$1/filler\" 2>/dev/null";
                scene.script(fill, &scene.state());
            },
            says: &["state", "No space left", "mantlet doctor"],
        },
        Case {
            name: "no inodes for the state directory",
            change: |scene| {
                fs::create_dir(scene.state()).expect("our own folder");
                let fill = "mount -t tmpfs -o nr_inodes=5,mode=700 full \"$1\"; touch \"$1/a\"";
                scene.script(fill, &scene.state());
            },
            says: &["state", "No space left", "mantlet doctor"],
        },
        Case {
            name: "a read-only state directory",
            change: |scene| {
                fs::create_dir(scene.state()).expect("our own folder");
                scene.script("mount -t tmpfs -o ro,mode=700 ro \"$1\"", &scene.state());
            },
            says: &["state", "Read-only file system", "mantlet doctor"],
        },
        Case {
            name: "a state directory that everybody writes to",
            change: |scene| {
                fs::create_dir(scene.state()).expect("our own folder");
                let open = fs::Permissions::from_mode(0o1777);
                fs::set_permissions(scene.state(), open).expect("our own folder");
            },
            says: &["state", "others can write", "chmod 0700"],
        },
        Case {
            name: "a state directory of another user",
            change: |scene| {
                fs::create_dir(scene.state()).expect("our own folder");
                std::os::unix::fs::chown(scene.state(), Some(1000), None).expect("root does");
            },
            says: &["state", "not owned", "chown root"],
        },
        Case {
            name: "a state directory that is a file",
            change: |scene| fs::write(scene.state(), "").expect("our own folder"),
            says: &["state", "Not a directory", "mantlet doctor"],
        },
        Case {
            name: "a full disk for the bundle",
            change: |scene| small_bundle(scene, "! cat /dev/zero >\"$1/filler\" 2>/dev/null"),
            says: &["config.json", "No space left", "space and permissions"],
        },
        Case {
            name: "a disk that takes the bundle's original and no more",
            change: |scene| {
                let most =
                    "! cat /dev/zero >\"$1/filler\" 2>/dev/null; truncate -s -4k \"$1/filler\"";
                small_bundle(scene, most);
            },
            says: &["config.json", "No space left", "space and permissions"],
        },
        Case {
            name: "a read-only bundle",
            change: |scene| small_bundle(scene, "mount -o remount,ro \"$1\""),
            says: &[
                "config.json",
                "Read-only file system",
                "space and permissions",
            ],
        },
    ]);
}

/// The bundle's config.json on a disk of 64 KiB, and then `script` on it.
fn small_bundle(scene: &mut Scene, script: &str) {
    let world = scene.bundle.world();
    let folder = world.folder("small", &scene.bundle.id);
    scene.script("mount -t tmpfs -o size=64k,mode=711 small \"$1\"", &folder);
    scene.bundle.config["root"]["path"] = json!(scene.bundle.path.join("rootfs"));
    let file = world.inside(&folder).join("config.json");
    fs::write(file, scene.bundle.config.to_string()).expect("it has room");
    scene.script(script, &folder);
    scene.elsewhere = Some(folder);
}

/// The supervisor is not waited for at `create`: nobody answers init, so nothing runs.
#[test]
fn a_supervisor_that_dies_at_once_lets_no_workload_run() {
    let mut scene = Scene::new("mantlet-restricted");
    let supervisor = scene.programs_but("mantlet-supervisor");
    fs::copy("/bin/false", supervisor).expect("coreutils");
    let configuration = scene.write_configuration();
    let bundle = &scene.bundle;
    let world = bundle.world();
    let call = |verb: &str| {
        bundle
            .call()
            .env("MANTLET_CONFIG", &configuration)
            .arg(verb)
    };

    let create = call("create")
        .arg("--bundle")
        .arg(&bundle.path)
        .arg(&bundle.id);
    assert_eq!(create.run_into(&bundle.path.join("output")), 0);
    let log = bundle.path.join("log.json");
    // What `create` may have warned of.
    let _ = fs::remove_file(&log);
    let start = call("start").arg(&bundle.id).run().expect(1);
    one_clear_line(
        "start",
        &log,
        &start,
        &["supervisor is gone", "delete the container"],
    );
    assert!(
        no_workload(bundle),
        "{:?}",
        remains::processes(world, &bundle.id)
    );
    bundle.delete().ok();
    assert!(!remains::runtime_knows(bundle));
    remains::nothing_runs(world, &bundle.id);

    let run = call("run")
        .arg("--bundle")
        .arg(&bundle.path)
        .arg(&bundle.id)
        .run();
    run.refused()
        .stderr
        .contains("the supervisor")
        .then_some(())
        .expect("it says why");
    bundle.delete().ok();
    remains::nothing_runs(world, &bundle.id);
}

fn no_workload(bundle: &Bundle) -> bool {
    remains::processes(bundle.world(), &bundle.id)
        .iter()
        .all(|process| process.comm != "harmless")
}
