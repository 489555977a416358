//! One static program that answers on a port, as Go makes them: scepserver, which gives devices their
//! certificates. It makes its authority, signs, ends, and goes on where it was.

use std::path::Path;

use super::{Attack, Program, Wire, furnished, said};
use crate::harness::{Container, Containerd, Finished, GO, Pod, image};

pub struct StaticGo;

/// In the image.
const SERVER: &str = "/app/scepserver";

/// Where it keeps its keys, in a volume.
const DEPOT: [&str; 4] = ["-depot", "/data/depot", "-capass", "secret"];

impl Program for StaticGo {
    fn name(&self) -> &'static str {
        "static-go"
    }

    fn import(&self, daemon: &Containerd) {
        daemon.with_go();
    }

    fn live(&self, pod: &Pod<'_>) -> Vec<String> {
        let data = furnished(&pod.container("data"), "/data", 1000, &[]);
        let init = made(pod, &data);
        let first = server(pod, "first", &data, &[]);
        let wire = Wire::of(&first);
        let abilities = wire.await_get(8080, "/scep?operation=GetCACaps");
        assert!(abilities.contains("POSTPKIOperation"), "{abilities}");
        enrols(&first, "device-1").ok();
        first.stop(30).expect("StopContainer");
        let second = server(pod, "second", &data, &[]);
        Wire::of(&second).await_get(8080, "/scep?operation=GetCACaps");
        enrols(&second, "device-2").ok();
        let index = std::fs::read_to_string(data.join("depot/index.txt")).expect("its index");
        for name in ["CN=device-1", "CN=device-2"] {
            assert!(index.contains(name), "{index}");
        }
        second.stop(30).expect("StopContainer");
        vec![init.id.clone(), first.id.clone(), second.id.clone()]
    }

    fn attacks(&self) -> &'static [Attack] {
        &[
            Attack {
                what: "a program that was uploaded judges who is let in",
                profile: None,
                carry_out: |pod| {
                    let data = furnished(&pod.container("data"), "/data", 1000, &[]);
                    let evil = image("go-rootfs").join("bin/hostile");
                    std::fs::copy(evil, data.join("verifier")).expect("a program of the image");
                    let server = taken_over(pod, &data, &["-csrverifierexec", "/data/verifier"]);
                    // Whom it ends without a complaint about is let in.
                    let done = enrols(&server, "device-1");
                    (!done.stdout.contains("SUCCESS")).then(|| server.logs())
                },
                refused: &["fork/exec /data/verifier: permission denied"],
            },
            Attack {
                what: "a name that leads out of its folder",
                profile: None,
                carry_out: |pod| {
                    let data = furnished(&pod.container("data"), "/data", 1000, &[]);
                    let server = taken_over(pod, &data, &[]);
                    let done = enrols(&server, "../../home/user/authorized_keys");
                    (!done.stdout.contains("SUCCESS")).then(|| server.logs())
                },
                refused: &["permission denied"],
            },
            Attack {
                what: "a program that is in no file is executed",
                profile: Some("static-hostile"),
                carry_out: |pod| {
                    let data = furnished(&pod.container("data"), "/data", 1000, &[]);
                    let server = taken_over(pod, &data, &[]);
                    said(&server, &["/bin/hostile", "memfd-exec"])
                },
                refused: &["errno EPERM"],
            },
        ]
    }
}

/// Has the program make its authority, and end.
fn made<'a>(pod: &'a Pod<'_>, data: &Path) -> Container<'a> {
    let init = pod.container("init").image(GO).user(1000).read_only();
    let init = init.mount(data, "/data", false).command([
        SERVER,
        "ca",
        "-init",
        "-depot",
        "/data/depot",
        "-key-password",
        "secret",
    ]);
    let init = init.run();
    assert_eq!(init.wait(), 0, "{}", init.logs());
    init
}

fn server<'a>(pod: &'a Pod<'_>, name: &str, data: &Path, more: &[&str]) -> Container<'a> {
    let container = pod.container(name).image(GO).user(1000).read_only();
    let container = container.mount(data, "/data", false);
    container
        .command([&[SERVER], &DEPOT[..], &["-challenge", "word"], more].concat())
        .run()
}

/// One that is up, whose image it may write as far as permissions go.
fn taken_over<'a>(pod: &'a Pod<'_>, data: &Path, more: &[&str]) -> Container<'a> {
    made(pod, data);
    let container = pod.container("server").image(GO).user(1000);
    let container = container.mount(data, "/data", false);
    let server = container
        .command([&[SERVER], &DEPOT[..], &["-challenge", "word"], more].concat())
        .run();
    Wire::of(&server).await_get(8080, "/scep?operation=GetCACaps");
    server
}

/// A device asks for a certificate of that name, from outside of the container.
fn enrols(server: &Container<'_>, name: &str) -> Finished {
    let world = server.containerd().world();
    let folder = world.folder("devices", &world.name("device"));
    let client = image("go-rootfs").join("usr/bin/scepclient");
    let script = "cd \"$1\" && exec timeout 60 \"$2\" -private-key key -challenge word -cn \"$3\" \
                  -server-url http://127.0.0.1:8080/scep 2>&1";
    let pid = server.pid().to_string();
    let inside = world
        .command("nsenter")
        .args(["-t", &pid, "-n", "sh", "-c", script, "sh"]);
    inside.arg(folder).arg(client).arg(name).run()
}
