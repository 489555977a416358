//! Steps that need somebody outside of the container: an engine that leaves a descriptor open, and
//! sessions that start while the workload lies in wait. Bundles, with what the engine gave the
//! container of the same ward.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde_json::Value;

use super::run::{Answers, Ward, answer};
use super::steps::{self, By, Step};
use crate::harness::{Bundle, World, image};

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
            "overwrite what runs" => overwritten(bundle, ward),
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
fn overwritten(bundle: Bundle, ward: Ward) -> String {
    let bundle = bundle.args(["hostile", "exe-overwrite", "4"]).up();
    let brought = bundle.path.join("brought");
    fs::copy(image("static-rootfs").join("bin/harmless"), &brought).expect("our own folder");
    let before = fs::read(&brought).expect("our own file").len();
    while !bundle.output().contains("exe-overwrite: ") {
        let session = bundle.call().arg("exec");
        if ward.handler() == "runc" {
            let file: OwnedFd = fs::File::open(&brought).expect("our own file").into();
            let session = session.args(["--preserve-fds", "1"]).arg(&bundle.id);
            let session = session.args(["/proc/self/fd/3", "exit", "0"]);
            session
                .descriptors(&[&file])
                .deadline(Duration::from_secs(60))
                .run();
        } else {
            session
                .arg(&bundle.id)
                .args(["harmless", "exit", "0"])
                .run();
        }
    }
    let output = bundle.output();
    let after = fs::read(&brought).expect("our own file").len();
    assert_eq!(output.contains(": written"), after > before, "{output}");
    output
}
