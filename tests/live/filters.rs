//! The filters that are really in force, read back from the kernel (PTRACE_SECCOMP_GET_FILTER): what the
//! properties of `src/policy/seccomp` take for runc's program answers as runc's own does, and init
//! installs what was sealed.

use mantlet::policy::Layers;
use mantlet::policy::seccomp::{bpf, engine, exact, plan, verdict};
use mantlet::profile::Profile;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use crate::harness::{Bundle, World, eventually};

#[path = "../../src/policy/seccomp/tests/calls.rs"]
mod calls;
#[path = "../../src/policy/seccomp/tests/generate.rs"]
mod generate;
#[path = "../../src/policy/seccomp/tests/installed.rs"]
mod installed;
#[path = "../../src/policy/seccomp/interpreter.rs"]
mod interpreter;

use interpreter::Call;

/// linux/ptrace.h, 4.4.
const GET_FILTER: libc::c_uint = 0x420c;

/// One request to the kernel about a process that this one traces, or is about to.
fn trace(
    request: libc::c_uint,
    pid: Pid,
    number: usize,
    into: Option<&mut Vec<u8>>,
) -> Option<usize> {
    let into = into.map_or(std::ptr::null_mut(), Vec::as_mut_ptr);
    // SAFETY: of the requests made here GET_FILTER alone writes, as many instructions as it answered
    // to the same question without a buffer, and the buffer has room for them.
    let answer = unsafe { libc::ptrace(request, pid, number, into) };
    usize::try_from(answer).ok()
}

/// Every filter of a process, the oldest first.
fn installed_on(pid: i32) -> Vec<Vec<u8>> {
    let pid = Pid::from_raw(pid);
    trace(libc::PTRACE_SEIZE, pid, 0, None).expect("root may");
    // One that executes its program at this moment can miss it, and nothing would ever come.
    eventually("it stops", || {
        trace(libc::PTRACE_INTERRUPT, pid, 0, None).expect("a tracer may");
        let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        let status = waitpid(pid, Some(flags)).expect("it is traced");
        (status != WaitStatus::StillAlive).then_some(())
    });
    let mut found = Vec::new();
    while let Some(count) = trace(GET_FILTER, pid, found.len(), None) {
        let mut bytes = vec![0; count * 8];
        trace(GET_FILTER, pid, found.len(), Some(&mut bytes));
        found.push(bytes);
    }
    trace(libc::PTRACE_DETACH, pid, 0, None).expect("a tracer may");
    found
}

/// Compares two programs on every known call, at the boundaries of its conditions and on other
/// architectures.
fn same(filter: &LinuxSeccomp, exact: &exact::Exact, real: &[u8], what: &str) {
    let real = interpreter::parse(real);
    let model = installed::Installed::new(filter);
    let mut random = generate::Random::new(1);
    let mut asked = calls::nameless();
    for (name, (native, _)) in &exact.calls {
        let bounds = calls::boundaries(Some(filter), exact, name);
        for args in calls::arguments(&bounds, 24, &mut random) {
            let each = calls::numbers(name, *native).into_iter();
            asked.extend(each.map(|(number, arch)| Call { number, arch, args }));
        }
    }
    for call in asked {
        let found = interpreter::action(interpreter::run(&real, &call));
        assert_eq!(found, model.answer(&call), "{what}: {call:x?}");
    }
}

fn fixture(text: &str) -> Value {
    serde_json::from_str(text).expect("a fixture is JSON")
}

#[test]
fn the_filters_in_force_are_the_ones_that_the_properties_are_about() {
    let containerd = fixture(include_str!("../../src/policy/testdata/ctr-seccomp.json"));
    let docker = fixture(include_str!(
        "../../src/policy/testdata/docker-seccomp.json"
    ));
    let podman = fixture(include_str!(
        "../../src/policy/testdata/podman-seccomp.json"
    ));
    let mut kills = docker.clone();
    kills["defaultAction"] = json!("SCMP_ACT_KILL_PROCESS");
    let mut traps = docker.clone();
    traps["defaultAction"] = json!("SCMP_ACT_TRAP");
    traps["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    let engines = [
        ("containerd", containerd["linux"]["seccomp"].clone()),
        ("docker", docker),
        ("podman", podman),
        ("kills", kills),
        ("traps", traps),
    ];
    let profile = Profile::builtin("restricted").unwrap();
    let layer = &profile;
    let layers = Layers::from(&layer);
    let exact = exact::Exact::new(layers, true).unwrap();
    for (name, value) in engines {
        let filter: LinuxSeccomp = serde_json::from_value(value.clone()).unwrap();
        let edit = |config: &mut Value| config["linux"]["seccomp"] = value.clone();
        // 1. Plain runc installs what the model says.
        let plain = Bundle::new(World::runc(), "runc").edit(edit).up();
        let found = installed_on(host_pid(&plain));
        assert_eq!(found.len(), 1, "{name}");
        same(&filter, &exact, &found[0], name);
        // 2. Under mantlet, the same holds of the rewritten filter, and init's lies on top.
        let bundle = Bundle::new(World::runc(), "mantlet-restricted")
            .edit(edit)
            .up();
        let found = installed_on(host_pid(&bundle));
        assert_eq!(found.len(), 2, "{name}");
        let now: Value = serde_json::from_slice(&bundle.on_disk()).unwrap();
        let patched: LinuxSeccomp =
            serde_json::from_value(now["linux"]["seccomp"].clone()).unwrap();
        same(&patched, &exact, &found[0], name);
        let planned = plan(layers, Some(&filter), true).unwrap();
        assert!(
            found[1] == planned.filter.program,
            "{name}: another exact filter"
        );
    }
}

fn host_pid(bundle: &Bundle) -> i32 {
    let pid = bundle.pid().expect("it runs");
    bundle.world().host_pid(pid).expect("it runs")
}
