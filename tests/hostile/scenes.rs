//! Steps that need somebody outside of the container: an engine that leaves a descriptor open, and
//! sessions that start while the workload lies in wait. Bundles, with what the engine gave the
//! container of the same ward.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::run::{Answers, Ward, answer, memory, programs, read, script, termination_log};
use super::steps::{self, By, Step};
use crate::harness::{Bundle, World, eventually, image};

/// All scenes under `ward`; `spec` is config.json as containerd made it there.
pub fn carry_out(ward: Ward, spec: &Value) -> Answers {
    let mut answers = Answers::new();
    for step in steps::all().iter().filter(|step| step.by == By::Scene) {
        let bundle = Bundle::new(World::runc(), ward.handler()).edit(|config| {
            config["linux"]["seccomp"] = spec["linux"]["seccomp"].clone();
            config["process"]["capabilities"] = spec["process"]["capabilities"].clone();
            config["process"]["noNewPrivileges"] = spec["process"]["noNewPrivileges"].clone();
        });
        let output = match step.name {
            "leaked directory" => leaked_directory(bundle, step),
            "overwrite what runs" => overwritten(bundle, ward, step),
            other => panic!("no scene for {other}"),
        };
        let said = output.lines().find_map(|line| answer(step, line));
        answers.insert(step.name, said.unwrap_or(format!("no answer: {output}")));
    }
    answers
}

/// The runtime is called with the host's root open, and told to pass it on.
fn leaked_directory(bundle: Bundle, step: &Step) -> String {
    let bundle =
        bundle.args([&["hostile"], &step.call.split(' ').collect::<Vec<_>>()[..]].concat());
    bundle.write();
    let call = bundle.call_after("exec 3</");
    let call = call.args(["run", "--preserve-fds", "1", "--bundle"]);
    call.arg(&bundle.path).arg(&bundle.id).run().stdout
}

/// The workload waits for programs that sessions bring with them. With plain runc that is a file of
/// the host's passed as a descriptor, for runc's own is a copy in memory since 1.0-rc7; with mantlet
/// its init.
fn overwritten(bundle: Bundle, ward: Ward, step: &Step) -> String {
    // It ends by itself once it has written; where it must not, it has met a session by then.
    let seconds = if ward.handler() == "runc" { "100" } else { "3" };
    let bundle = bundle.args(["hostile", step.call, seconds]).up();
    let brought = bundle.path.join("brought");
    fs::copy(image("static-rootfs").join("bin/harmless"), &brought).expect("our own folder");
    let before = fs::read(&brought).expect("our own file").len();
    let output = eventually("the workload has overwritten or given up", || {
        let session = bundle.call().arg("exec");
        if ward.handler() == "runc" {
            let file: OwnedFd = fs::File::open(&brought).expect("our own file").into();
            let session = session.args(["--preserve-fds", "1"]).arg(&bundle.id);
            let session = session.args(["/proc/self/fd/3", "exit", "0"]);
            session.descriptors(&[&file]).run();
        } else {
            let session = session.arg(&bundle.id);
            session.args(["harmless", "exit", "0"]).run();
        }
        let output = bundle.output();
        let answered = output.lines().any(|line| answer(step, line).is_some());
        answered.then_some(output)
    });
    let after = fs::read(&brought).expect("our own file").len();
    assert_eq!(output.contains(": written"), after > before, "{output}");
    output
}

/// The answers of a container without an engine, over `world`'s runtime, to the steps of `section`:
/// it has the volumes that they name.
pub fn section_in_bundle(world: &'static World, ward: Ward, section: &str) -> Answers {
    let script = script(|step| step.section == section && step.by == By::Root);
    let line = format!("{script}exec harmless stay");
    let mut bundle = Bundle::new(world, ward.handler()).args(["sh", "-c", &line]);
    let volumes = [
        (volume(world), "/volume", "rw"),
        (memory(world), "/memory", "rw"),
        (memory(world), "/dev/shm", "rw"),
        (programs(world), "/readonly", "ro"),
        (termination_log(world), "/termination/log", "rw"),
    ];
    for (source, destination, access) in volumes {
        bundle = bundle.edit(|config| {
            let mounts = config["mounts"].as_array_mut().expect("a list");
            mounts.retain(|mount| mount["destination"] != destination);
            mounts.push(
                json!({"destination": destination, "type": "bind", "source": source,
                "options": ["rbind", "rprivate", access]}),
            );
        });
    }
    let bundle = bundle.up();
    let output = eventually("the workload has tried all steps", || {
        let output = bundle.output();
        output.contains("staying").then_some(output)
    });
    read(&output)
}

/// An emptyDir.
fn volume(world: &World) -> PathBuf {
    let folder = world.folder("volumes", &world.name("volume"));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("our own folder");
    folder
}
