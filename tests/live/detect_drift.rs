//! `on: drift` and `on: fileless-exec`: programs that the image did not ship.

use serde_json::{Value, json};

use crate::detect::{bind, mounted, site, to_the_end, under, worlds};
use crate::harness::{Bundle, World};

const DENY: &str = "detect: [{name: new, on: drift, respond: deny}]";

/// A fresh folder of the host, and a program in it.
fn volume(world: &World) -> std::path::PathBuf {
    let folder = world.folder("volumes", &world.name("drift"));
    std::fs::copy(
        crate::harness::image("static-rootfs").join("bin/harmless"),
        folder.join("there"),
    )
    .expect("a folder of our own");
    folder
}

#[test]
fn whatever_was_made_or_changed_is_refused_and_what_the_image_ships_runs() {
    let script = "
        new() { \"$@\" exit 0; echo $1 $?; }
        cp /bin/harmless /tmp/made; new /tmp/made
        cp /bin/harmless /tmp/from; mv /tmp/from /usr-moved; new /usr-moved
        ln /bin/hostile /tmp/linked; new /tmp/linked
        chmod 755 /bin/pause; new /bin/pause
        printf x >> /bin/hostile-dynamic; new /bin/hostile-dynamic
        ln -s /bin/harmless /tmp/symbolic; new /tmp/symbolic
        new /bin/harmless
        printf '#!/bin/harmless exit\\n' > /tmp/script; chmod 755 /tmp/script; new /tmp/script
        sh /tmp/script; echo read";
    for world in worlds() {
        let lived = to_the_end(site(world, DENY), script);
        let refused = [
            "/tmp/made",
            "/usr-moved",
            "/tmp/linked",
            "/bin/pause",
            "/bin/hostile-dynamic",
            "/tmp/script",
        ];
        for path in refused {
            lived.printed(&format!("{path} 126"));
        }
        for path in ["/tmp/symbolic", "/bin/harmless"] {
            lived.printed(&format!("{path} 0"));
        }
        lived.printed("read");
        assert_eq!(lived.files("new"), refused);
        let event = lived.detections("new")[0];
        assert_eq!(event["due"], true);
        assert_eq!(event["severity"], "critical");
        assert_eq!(event["tags"], json!(["T1105"]));
        assert_eq!(
            event["why"],
            "executes /tmp/made, which changed after the container's start"
        );
        assert!(event["file"]["argv"].is_null(), "{event}");
        assert_eq!(event["process"]["exe"], "/bin/sh");
        assert!(lived.of_type("response").is_empty());
    }
}

#[test]
fn a_writable_volume_drifts_and_one_that_is_read_only_does_not() {
    let script = "
        /rw/there exit 0; echo rw $?
        /ro/there exit 0; echo ro $?
        cp /bin/harmless /memory/new; /memory/new exit 0; echo memory $?";
    for world in worlds() {
        let bundle = mounted(site(world, DENY), bind(&volume(world), "/rw", "rw"));
        let bundle = mounted(bundle, bind(&volume(world), "/ro", "ro"));
        let memory = json!({"destination": "/memory", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]});
        let lived = to_the_end(mounted(bundle, memory), script);
        lived
            .printed("rw 126")
            .printed("ro 0")
            .printed("memory 126");
        assert_eq!(lived.files("new"), ["/rw/there", "/memory/new"]);
        let why = "executes /rw/there, which lies on a writable mount";
        assert_eq!(lived.detections("new")[0]["why"], why);
    }
}

#[test]
fn a_read_only_volume_that_the_host_changes_drifts() {
    let world = World::runc();
    let folder = volume(world);
    let bundle = mounted(site(world, DENY), bind(&folder, "/ro", "ro")).up();
    bundle.exec(["/ro/there", "exit", "0"]).ok();
    std::fs::copy(folder.join("there"), folder.join("late")).expect("our own folder");
    assert_ne!(bundle.exec(["/ro/late", "exit", "0"]).code, 0);
    let event = crate::detect::detected(&bundle, "new");
    assert_eq!(event["file"]["path"], "/ro/late");
}

#[test]
fn a_session_that_brings_a_program_is_refused_it() {
    for world in worlds() {
        let bundle = site(world, DENY).up();
        bundle.exec(["cp", "/bin/harmless", "/tmp/brought"]).ok();
        bundle.exec(["sh", "-c", "/tmp/brought exit 0"]).expect(126);
        // The session's own program as well.
        bundle.exec(["/tmp/brought", "exit", "0"]).refused();
        let seen = crate::harness::eventually("both are told", || {
            let seen = crate::detect::of_type(&bundle, "detection");
            (seen.len() == 2).then_some(seen)
        });
        assert!(
            seen.iter()
                .all(|event| event["file"]["path"] == "/tmp/brought")
        );
    }
}

#[test]
fn a_root_that_is_a_plain_folder_drifts_too() {
    for world in worlds() {
        let bundle = site(world, DENY);
        let (from, to) = (
            crate::harness::image("static-rootfs"),
            bundle.path.join("plain"),
        );
        let copy = world.command("cp").arg("-a").arg(from).arg(&to);
        copy.run().ok();
        let bundle = bundle.edit(|config| config["root"]["path"] = json!("plain"));
        let script = "cp /bin/harmless /tmp/new; /tmp/new exit 0; echo new $?; harmless exit 0; echo image $?; exit 0";
        let lived = to_the_end(bundle, script);
        lived.printed("new 126").printed("image 0");
        assert_eq!(lived.files("new"), ["/tmp/new"]);
    }
}

/// Question of the review: what is left for `drift` where the kernel refuses first.
#[test]
fn where_landlock_refuses_first_drift_sees_nothing() {
    let keys = "detect: [{name: new, on: drift, respond: kill-container}]";
    let world = World::runc();
    let bundle = under(world, "restricted", keys).user(1000);
    let memory = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"]});
    let bundle = mounted(bundle, memory).edit(|config| config["root"]["readonly"] = json!(true));
    let script = "cp /bin/harmless /tmp/new; /tmp/new exit 0; echo new $?; exit 0";
    let lived = to_the_end(bundle, script);
    lived.printed("new 126");
    assert!(lived.detections("new").is_empty(), "{:#?}", lived.events);
}

/// And what it does see there: what is below a path that the profile lets programs run from.
#[test]
fn where_a_profile_lets_a_volume_execute_drift_sees_what_runs_from_it() {
    let keys =
        "files: {read_write_execute: [/volume]}\ndetect: [{name: new, on: drift, respond: deny}]";
    let world = World::runc();
    let bundle = under(world, "restricted", keys).user(1000);
    let bundle = mounted(bundle, bind(&volume(world), "/volume", "rw"));
    let bundle = bundle.edit(|config| config["root"]["readonly"] = json!(true));
    let lived = to_the_end(bundle, "/volume/there exit 0; echo volume $?; exit 0");
    lived.printed("volume 126");
    assert_eq!(lived.files("new"), ["/volume/there"]);
}

fn with_shared_memory(bundle: Bundle) -> Bundle {
    bundle.edit(|config| {
        for mount in config["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/dev/shm" {
                mount["options"] = json!(["nosuid", "mode=1777"]);
            }
        }
    })
}

#[test]
fn programs_without_a_file_are_refused() {
    let keys = "detect: [{name: none, on: fileless-exec, respond: deny}]";
    let script = "
        hostile deleted-exec; echo deleted $?
        hostile proc-fd-exec; echo open $?
        hostile tmpfile-exec; echo unnamed $?
        hostile shm-exec; echo shared $?
        hostile write-exec; echo written $?
        hostile memfd-exec; echo memory $?
        hostile memfd-noexec; echo sealed $?
        exit 0";
    for world in worlds() {
        let lived = to_the_end(with_shared_memory(site(world, keys)), script);
        for what in ["deleted", "open", "unnamed", "shared", "memory"] {
            lived.printed(&format!("{what} {}", libc::EPERM));
        }
        lived.printed("written 0");
        // Made; the kernel refuses its execution.
        lived.printed(&format!("sealed {}", libc::EACCES));
        let seen = lived.detections("none");
        assert_eq!(seen.len(), 5, "{seen:#?}");
        assert_eq!(lived.files("none")[0], "/tmp/hostile-deleted (deleted)");
        assert_eq!(
            seen[4]["why"],
            "asked for memory that can be executed (memfd_create)"
        );
        let calls = lived.of_type("tripwire");
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0]["syscall"], "memfd_create");
    }
}

/// A memfd lies on no mount of the container's: without `fileless-exec` nobody sees it run.
#[test]
fn drift_alone_does_not_see_memory_that_is_executed() {
    let lived = to_the_end(
        site(World::runc(), DENY),
        "hostile memfd-exec; echo memory $?; exit 0",
    );
    lived.printed("memory 0");
    assert!(lived.detections("new").is_empty());
}

/// The marks are on this container's mounts: what another one executes of the same volume is its own.
#[test]
fn a_volume_s_other_user_is_not_seen() {
    let world = World::runc();
    let folder = volume(world);
    let keys = "detect: [{name: new, on: drift}]";
    let watched = mounted(site(world, keys), bind(&folder, "/shared", "rw")).up();
    let other = mounted(site(world, ""), bind(&folder, "/shared", "rw")).up();
    other.exec(["/shared/there", "exit", "0"]).ok();
    watched.exec(["/shared/there", "exit", "0"]).ok();
    crate::detect::detected(&watched, "new");
    watched.kill("KILL").ok();
    let events =
        crate::harness::eventually("the container is gone", || crate::detect::ended(&watched));
    let seen = events.iter().filter(|event| event["type"] == "detection");
    assert_eq!(seen.count(), 1, "{events:#?}");
}
