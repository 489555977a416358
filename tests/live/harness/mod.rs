//! What live tests stand on: real runc, crun and containerd, in namespaces of their own.
//!
//! * [`World`]: a mount and pid namespace with its own `/run`. Everything a test starts runs in
//!   it, so the host's containerd is out of reach and nothing outlives the test program: when that
//!   ends, however it ends, the kernel kills the world's first process and with it all others.
//! * [`Bundle`]: an OCI bundle for runs without an engine.
//! * [`Containerd`]: a daemon on the shipped drop-in, with `ctr` and a CRI client.
//! * [`Pod`], [`Container`]: what the kubelet would do, over gRPC.
//!
//! Pids that mantlet, runc and containerd report are pids of the world; [`World::proc`] and
//! [`World::host_pid`] translate.

mod bundle;
mod command;
mod console;
mod container;
mod containerd;
mod cri;
mod emulate;
mod messages;
mod stream;
mod world;

pub use bundle::Bundle;
pub use command::{Finished, Run, Spawned};
pub use console::Console;
pub use container::{Container, State};
pub use containerd::{Containerd, DEBIAN, GO, RUNTIMES, STATIC, image};
pub use cri::Pod;
pub use messages::{ContainerStatus, LinuxContainerResources};
pub use world::{World, programs};

use std::time::{Duration, Instant};

/// Handlers that the shipped configuration defines.
pub const HANDLERS: [&str; 2] = ["mantlet-baseline", "mantlet-restricted"];

/// Asks every 20 ms until `ready` answers, and panics with `what` after 2 minutes: a bound against hanging, not a
/// measure, on a machine that may run twenty of these at a time.
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(120),
            "gave up waiting: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
