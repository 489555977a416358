//! How init gets into a container that SELinux labels; what cannot be run without SELinux.

use super::*;
use crate::config::InitDelivery;
use crate::policy::delivery::mount;
use crate::seal::BOUND_INIT;
use crate::state::Delivery;

const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c2";

fn labelled(change: impl FnOnce(&mut Value)) -> Value {
    with(|spec| {
        spec["process"]["selinuxLabel"] = json!(PROCESS);
        spec["linux"]["mountLabel"] = json!(FILES);
        change(spec);
    })
}

fn planned(spec: &Value, delivery: InitDelivery) -> Result<Plan, Refusal> {
    let profile = Profile::builtin("restricted").unwrap();
    let config = Config {
        init_delivery: delivery,
        ..config()
    };
    attempt(spec, &profile, &host(7), &config)
}

#[test]
fn a_labelled_container_gets_init_by_a_mount_with_its_files_label() {
    let plan = planned(&labelled(|_| {}), InitDelivery::Auto).unwrap();
    assert_eq!(plan.exec.delivery, Delivery::Bind);
    assert_eq!(plan.init_label.as_deref(), Some(FILES));
    let mut spec = labelled(|_| {});
    let mut edits = plan.edits.clone();
    edits.push(mount(std::path::Path::new(
        "/run/mantlet/containers/r/c/init",
    )));
    patch::apply(&mut spec, &edits).unwrap();
    // Last, so that nothing of the bundle's comes to lie on it; the labels stay the engine's.
    let last = spec["mounts"].as_array().unwrap().last().unwrap();
    assert_eq!(
        *last,
        json!({"destination": "/dev/.mantlet-init", "type": "bind",
            "source": "/run/mantlet/containers/r/c/init",
            "options": ["bind", "ro", "nosuid", "nodev", "private"]})
    );
    assert_eq!(spec["process"]["selinuxLabel"], PROCESS);
    assert_eq!(spec["linux"]["mountLabel"], FILES);
    // Its sessions carry the label too.
    let process: Process = serde_json::from_value(spec["process"].clone()).unwrap();
    let streams = Streams {
        terminal: false,
        input: false,
    };
    assert!(plan_exec(&process, streams, &plan.exec).is_ok());
}

#[test]
fn a_label_that_init_could_not_be_executed_under_is_refused() {
    let half = with(|spec| spec["process"]["selinuxLabel"] = json!(PROCESS));
    for delivery in [InitDelivery::Auto, InitDelivery::Bind] {
        let why = planned(&half, delivery).unwrap_err().to_string();
        assert!(why.contains("linux.mountLabel is not set"), "{why}");
    }
    for spec in [
        labelled(|_| {}),
        half,
        with(|spec| spec["linux"]["mountLabel"] = json!(FILES)),
    ] {
        let why = planned(&spec, InitDelivery::Memfd).unwrap_err().to_string();
        assert!(why.contains("SELinux may deny the sealed memfd"), "{why}");
    }
    // A session with a label in a container without one.
    let plan = planned(&cri(), InitDelivery::Auto).unwrap();
    assert_eq!(
        (plan.exec.delivery, plan.init_label),
        (Delivery::Memfd, None)
    );
    let process = json!({"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0},
        "selinuxLabel": PROCESS});
    let process: Process = serde_json::from_value(process).unwrap();
    let streams = Streams {
        terminal: false,
        input: false,
    };
    assert!(plan_exec(&process, streams, &plan.exec).is_err());
}

#[test]
fn a_mount_of_init_that_could_be_forged_or_would_stay_is_refused() {
    let volume = |destination: &str, typ: &str, options: &[&str]| {
        let mount =
            json!({"destination": destination, "type": typ, "source": "x", "options": options});
        with(|spec| spec["mounts"].as_array_mut().unwrap().push(mount))
    };
    let no_dev = with(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/dev");
    });
    let device = with(|spec| {
        spec["linux"]["devices"] =
            json!([{"path": BOUND_INIT, "type": "c", "major": 1, "minor": 3}]);
    });
    let host_dev = with(|spec| {
        for mount in spec["mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/dev" {
                *mount = json!({"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]});
            }
        }
    });
    for spec in [
        volume(BOUND_INIT, "bind", &["rbind"]),
        volume("/dev//.mantlet-init/", "tmpfs", &[]),
        volume("/dev", "tmpfs", &[]),
        volume("/dev", "tmpfs", &["rbind"]),
        no_dev,
        device,
        host_dev,
    ] {
        let why = planned(&spec, InitDelivery::Bind).unwrap_err().to_string();
        assert!(
            why.starts_with("cannot mount mantlet-init at /dev/.mantlet-init: "),
            "{why}"
        );
    }
    // Other things below /dev are as ever.
    assert!(planned(&volume("/dev/shm2", "tmpfs", &[]), InitDelivery::Bind).is_ok());
    let (profile, spec) = (Profile::builtin("baseline").unwrap(), cri());
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let config = Config {
        init_delivery: InitDelivery::Bind,
        ..config()
    };
    let run = plan(Input {
        profiles: Layers::from(&&profile),
        spec: &spec,
        host: &host(7),
        config: &config,
        run: true,
        found: None,
    });
    assert!(run.unwrap_err().to_string().contains("never parks"));
}
