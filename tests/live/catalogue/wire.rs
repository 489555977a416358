//! A client in a pod's network that runs nothing in its containers.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::harness::{Container, Pod, eventually};

/// The pod's network, entered by a thread for each connection.
pub struct Wire {
    namespace: File,
}

impl Wire {
    /// The network of a running container.
    pub fn of(container: &Container<'_>) -> Wire {
        let world = container.containerd().world();
        let path = world.proc(container.pid()).join("ns/net");
        Wire {
            namespace: File::open(path).expect("a running container has a network"),
        }
    }

    /// The network of a pod.
    pub fn pod(pod: &Pod<'_>) -> Wire {
        let path = pod.containerd().world().proc(pod.pid()).join("ns/net");
        Wire {
            namespace: File::open(path).expect("a running pod has a network"),
        }
    }

    /// Somebody's server beyond the container, who takes every connection.
    pub fn listen(&self, port: u16) -> TcpListener {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("we are root");
                TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).expect("a free port")
            });
            entered.join().expect("no panic")
        })
    }

    fn connect(&self, port: u16) -> std::io::Result<TcpStream> {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                // Of this thread alone, which ends with the connection made.
                setns(&self.namespace, CloneFlags::CLONE_NEWNET)?;
                let address = SocketAddr::from(([127, 0, 0, 1], port));
                TcpStream::connect_timeout(&address, Duration::from_secs(10))
            });
            entered.join().expect("no panic")
        })
    }

    /// Sends `text`, reads until `enough` or the end, and answers what came.
    pub fn ask(&self, port: u16, text: &str, enough: impl Fn(&str) -> bool) -> Option<String> {
        let mut stream = self.connect(port).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .ok()?;
        stream.write_all(text.as_bytes()).ok()?;
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&all).into_owned();
            if enough(&text) {
                return Some(text);
            }
            match stream.read(&mut part) {
                Ok(0) => return Some(text),
                Ok(count) => all.extend(&part[..count]),
                Err(_) => return None,
            }
        }
    }

    /// GET, and the body of a 200.
    pub fn get(&self, port: u16, path: &str) -> Option<String> {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = self.ask(port, &request, |_| false)?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let chunked = head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked");
        let body = match chunked {
            // One chunk is all that these services send.
            true => body.split("\r\n").nth(1)?,
            false => body,
        };
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// GET until the service is there.
    pub fn await_get(&self, port: u16, path: &str) -> String {
        eventually("the service answers", || self.get(port, path))
    }
}
