//! A streaming session over WebSocket (RFC 6455), sub-protocol `v4.channel.k8s.io`: the first byte
//! of a message is its channel: 0 stdin, 1 stdout, 2 stderr, 3 outcome, 4 terminal size.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// What a session left.
pub struct Session {
    /// Both output streams, as they came.
    pub output: String,
    /// Exit code, or the runtime's error.
    pub code: Result<i32, String>,
}

/// Connects to `url` (`http://ADDRESS:PORT/PATH`), types `input`, and reads until the session ends.
pub fn converse(url: &str, input: &str) -> io::Result<Session> {
    let rest = url
        .strip_prefix("http://")
        .ok_or(io::ErrorKind::InvalidInput)?;
    let (host, path) = rest.split_once('/').ok_or(io::ErrorKind::InvalidInput)?;
    let address: SocketAddr = host.parse().map_err(io::Error::other)?;
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    // The key is a nonce that only an attentive proxy compares.
    write!(
        socket,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Origin: http://{host}\r\nSec-WebSocket-Key: bWFudGxldC10ZXN0LWtleQ==\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
    )?;
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut status = String::new();
    reader.read_line(&mut status)?;
    if !status.contains(" 101 ") {
        let mut body = String::new();
        let _ = reader.read_to_string(&mut body);
        return Err(io::Error::other(format!("{status}{body}")));
    }
    let mut header = String::from("-");
    while !header.trim().is_empty() {
        header.clear();
        reader.read_line(&mut header)?;
    }
    if !input.is_empty() {
        send(&mut socket, 0, input.as_bytes())?;
    }
    collect(&mut reader)
}

/// One binary frame; a client's frames are masked, here with zeroes.
fn send(socket: &mut TcpStream, channel: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len() + 1).map_err(io::Error::other)?;
    let mut frame = vec![0x82, 0x80 | 126];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.push(channel);
    frame.extend(bytes);
    socket.write_all(&frame)
}

fn collect(reader: &mut impl Read) -> io::Result<Session> {
    let mut output = Vec::new();
    let mut code = Err("the session ended without an outcome".to_owned());
    while let Some((opcode, payload)) = frame(reader)? {
        match (opcode, payload.split_first()) {
            (8, _) => break,
            (0..=2, Some((1 | 2, bytes))) => output.extend(bytes),
            (0..=2, Some((3, bytes))) if !bytes.is_empty() => code = outcome(bytes),
            _ => {}
        }
    }
    Ok(Session {
        output: String::from_utf8_lossy(&output).into_owned(),
        code,
    })
}

/// One frame, or `None` where the peer has hung up.
fn frame(reader: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 2];
    match reader.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = match head[1] & 0x7f {
        126 => {
            let mut bytes = [0; 2];
            reader.read_exact(&mut bytes)?;
            u64::from(u16::from_be_bytes(bytes))
        }
        127 => {
            let mut bytes = [0; 8];
            reader.read_exact(&mut bytes)?;
            u64::from_be_bytes(bytes)
        }
        short => u64::from(short),
    };
    let mut payload = Vec::new();
    reader.take(length).read_to_end(&mut payload)?;
    Ok(Some((head[0] & 0x0f, payload)))
}

/// A metav1.Status: success, or a failure whose cause is an exit code or an error.
fn outcome(bytes: &[u8]) -> Result<i32, String> {
    let status: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if status["status"] == "Success" {
        return Ok(0);
    }
    let exit = status["details"]["causes"].as_array().and_then(|causes| {
        let cause = causes.iter().find(|cause| cause["reason"] == "ExitCode")?;
        cause["message"].as_str()?.parse().ok()
    });
    exit.ok_or_else(|| {
        status["message"]
            .as_str()
            .unwrap_or("no message")
            .to_owned()
    })
}
