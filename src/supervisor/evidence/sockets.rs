//! The kernel's tables of sockets (proc_pid_net(5)), and which line is which descriptor's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::manifest::{Ink, Socket};

/// Tables that are kept, by their names below /proc/PID/net.
pub(super) const TABLES: [&str; 7] = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "unix"];

/// linux/net/tcp_states.h, from 1.
const STATES: [&str; 12] = [
    "established",
    "syn-sent",
    "syn-received",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "closed",
    "close-wait",
    "last-ack",
    "listen",
    "closing",
    "new-syn-received",
];

/// Adds to `found` the lines of `table` whose inode is wanted.
pub(super) fn match_lines(
    table: &'static str,
    bytes: &[u8],
    wanted: &BTreeSet<u64>,
    found: &mut BTreeMap<u64, Socket>,
    ink: &mut Ink,
) {
    for line in bytes.split(|byte| *byte == b'\n').skip(1) {
        let line = match table {
            "unix" => unix(line),
            _ => inet(table, line),
        };
        let Some((inode, line)) = line else {
            continue;
        };
        if !wanted.contains(&inode) {
            continue;
        }
        if let Some(other) = found.get_mut(&inode) {
            other.ambiguous = true;
            continue;
        }
        let socket = Socket {
            table,
            local: ink.text(&line.local),
            remote: line.remote.map(|remote| remote.to_string()),
            state: line.state,
            ambiguous: false,
        };
        found.insert(inode, socket);
    }
}

struct Line {
    local: Vec<u8>,
    remote: Option<SocketAddr>,
    state: String,
}

/// `sl local remote state queues timer retransmissions uid timeout inode …`
fn inet(table: &str, line: &[u8]) -> Option<(u64, Line)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(1);
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    let state = usize::from_str_radix(fields.next()?, 16).ok()?;
    let inode = fields.nth(5)?.parse().ok()?;
    let named = STATES.get(state.wrapping_sub(1)).filter(|_| state > 0);
    // Those of UDP and raw sockets are told in the words of TCP: `closed` is one without a peer.
    let state = match named {
        Some(&"closed") if !table.starts_with("tcp") => "unconnected".to_owned(),
        Some(name) => (*name).to_owned(),
        None => state.to_string(),
    };
    let line = Line {
        local: local.to_string().into_bytes(),
        remote: (remote.port() != 0 || !remote.ip().is_unspecified()).then_some(remote),
        state,
    };
    Some((inode, line))
}

/// `HEX:PORT`, each 32 bits of the address in the byte order of the machine.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = words.get(at * 8..at * 8 + 8)?;
        let word = u32::from_str_radix(digits, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match words.len() {
        8 => Some(SocketAddr::from((Ipv4Addr::from(word(0)?), port))),
        32 => {
            let all = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            let all: [u8; 16] = all.try_into().ok()?;
            Some(SocketAddr::from((Ipv6Addr::from(all), port)))
        }
        _ => None,
    }
}

/// `NUM: REFCOUNT PROTOCOL FLAGS TYPE STATE INODE [PATH]`
fn unix(line: &[u8]) -> Option<(u64, Line)> {
    let mut rest = line;
    let mut fields = [&line[..0]; 7];
    for field in &mut fields {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let end = rest[start..].iter().position(|byte| *byte == b' ');
        let end = end.map_or(rest.len(), |end| start + end);
        *field = &rest[start..end];
        rest = &rest[end..];
    }
    let text = |at: usize| std::str::from_utf8(fields[at]).ok();
    let kind = match text(4)? {
        "0001" => "stream",
        "0002" => "datagram",
        "0005" => "seqpacket",
        _ => "other",
    };
    // __SO_ACCEPTCON; then linux/net.h's socket_state.
    let state = match (text(3)?, text(5)?) {
        ("00010000", _) => "listen",
        (_, "01") => "unconnected",
        (_, "02") => "connecting",
        (_, "03") => "connected",
        (_, "04") => "disconnecting",
        _ => "unknown",
    };
    let line = Line {
        local: rest.strip_prefix(b" ").unwrap_or_default().to_vec(),
        remote: None,
        state: format!("{kind} {state}"),
    };
    Some((text(6)?.parse().ok()?, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(table: &'static str, text: &[u8], wanted: &[u64]) -> BTreeMap<u64, Socket> {
        let wanted = wanted.iter().copied().collect();
        let mut found = BTreeMap::new();
        match_lines(table, text, &wanted, &mut found, &mut Ink::default());
        found
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let tcp = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 123 1 0000000000000000 100 0 0 10 0\n   1: 0100007F:1F90 0200000A:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 124 1 0\n";
        let both = found("tcp", tcp, &[123, 124, 125]);
        assert_eq!(both[&123].local, "127.0.0.1:8080");
        assert_eq!(
            (both[&123].state.as_str(), &both[&123].remote),
            ("listen", &None)
        );
        assert_eq!(both[&124].remote.as_deref(), Some("10.0.0.2:443"));
        assert_eq!(both[&124].state, "established");
        assert_eq!(both.len(), 2);
        let six = b"head\n   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 9 2 0\n";
        let six = found("udp6", six, &[9]);
        assert_eq!(
            (six[&9].local.as_str(), six[&9].state.as_str()),
            ("[::1]:22", "unconnected")
        );
        let unix = b"Num       RefCount Protocol Flags    Type St Inode Path\n0000000000000000: 00000002 00000000 00010000 0001 01    77 /run/a b\n0000000000000000: 00000003 00000000 00000000 0005 03    78\n";
        let unix = found("unix", unix, &[77, 78]);
        assert_eq!(
            (unix[&77].local.as_str(), unix[&77].state.as_str()),
            ("/run/a b", "stream listen")
        );
        assert_eq!(
            (unix[&78].local.as_str(), unix[&78].state.as_str()),
            ("", "seqpacket connected")
        );
    }

    #[test]
    fn a_path_that_looks_like_a_line_is_not_believed() {
        let text = b"head\n0: 2 0 00000000 0001 03 5 /run/true\n0: 2 0 00010000 0001 01 6 @x\n0: 2 0 00000000 0001 03 5 /run/forged\n";
        let found = found("unix", text, &[5, 6]);
        assert!(found[&5].ambiguous && !found[&6].ambiguous);
    }

    #[test]
    fn garbage_is_no_socket() {
        for line in [
            "",
            " ",
            "a",
            "0: zz:1 0:0 01",
            "0: 0100007F:1F90",
            "1 2 3 4 5 6 x",
        ] {
            let text = format!("head\n{line}\n");
            for table in TABLES {
                assert!(
                    found(table, text.as_bytes(), &[0, 1, 6]).is_empty(),
                    "{line}"
                );
            }
        }
    }
}
