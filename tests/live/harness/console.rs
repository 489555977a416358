//! The engine's end of a container's terminal: what a shim does with `--console-socket`.

use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::eventually;

/// A listening console socket.
pub struct Console {
    listener: UnixListener,
    /// For `--console-socket`.
    pub path: PathBuf,
}

impl Console {
    /// A socket in `folder`.
    pub fn new(folder: &Path, name: &str) -> Console {
        let path = folder.join(name);
        let listener = UnixListener::bind(&path).expect("a folder of our own, a short path");
        listener.set_nonblocking(true).expect("a socket");
        Console { listener, path }
    }

    /// The terminal that the runtime sent.
    pub fn terminal(self) -> Terminal {
        let stream = eventually("the runtime sends its terminal", || {
            self.listener.accept().ok()
        });
        let stream = stream.0;
        stream.set_nonblocking(false).expect("a socket");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a socket");
        let mut packet = mantlet::sys::socket::receive(&stream, 4096).expect("a message");
        let fd = packet.fds.pop().expect("a terminal travels with it");
        Terminal(File::from(fd))
    }
}

/// The master end of a terminal.
pub struct Terminal(pub File);

impl Terminal {
    /// Reads until the last process has closed the other end, with plain line ends.
    pub fn read_to_end(mut self) -> String {
        let mut text = Vec::new();
        let mut block = [0; 4096];
        // EIO is how a terminal says that nobody is left.
        while let Ok(length) = self.0.read(&mut block) {
            if length == 0 {
                break;
            }
            text.extend_from_slice(&block[..length]);
        }
        String::from_utf8_lossy(&text).replace("\r\n", "\n")
    }
}
