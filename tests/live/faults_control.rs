//! The control socket: for root alone, and of use however many talk nonsense to it.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mantlet::control::{Ask, Request};
use mantlet::sys::socket;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect};

use crate::detect::site;
use crate::faults::{self, control, descriptors, have, keeper, status, waiting};
use crate::harness::{Bundle, World};
use crate::kills::buried;

/// How many connections the flood makes.
const FLOOD: usize = 10_000;

fn request() -> Vec<u8> {
    serde_json::to_vec(&Request::new(Ask::Status)).expect("plain data")
}

/// Tries it as uid 1000, which has reached the folder somehow: what the supervisor answers.
fn as_nobody(bundle: &Bundle) -> Result<usize, Errno> {
    let home = control(bundle).parent().expect("a home").to_owned();
    let attempt = move || {
        // SAFETY: unshare(2) and setresuid(2) by number are about this thread alone, which ends here.
        unsafe {
            assert_eq!(nix::libc::unshare(nix::libc::CLONE_FS), 0);
            std::env::set_current_dir(&home).expect("root may");
            for call in [nix::libc::SYS_setresgid, nix::libc::SYS_setresuid] {
                assert_eq!(nix::libc::syscall(call, 1000, 1000, 1000), 0);
            }
        }
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = nix::sys::socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        let address = UnixAddr::new("control.sock")?;
        connect(fd.as_raw_fd(), &address)?;
        let timeout = std::time::Duration::from_secs(20);
        socket::set_timeout(&fd, timeout).expect("a socket");
        let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
        socket::send(&fd, &request(), &[]).map_err(errno)?;
        socket::receive(&fd, 1 << 16)
            .map(|packet| packet.bytes.len())
            .map_err(errno)
    };
    std::thread::spawn(attempt).join().expect("it answers")
}

#[test]
fn nobody_but_root_is_heard_even_where_the_way_is_open() {
    let bundle = waiting(site(World::runc(), ""));
    assert_eq!(as_nobody(&bundle), Err(Errno::EACCES));
    let socket = control(&bundle);
    for path in [socket.parent().expect("a home"), &socket] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("root may");
    }
    let answer = as_nobody(&bundle);
    let closed = [Ok(0), Err(Errno::EPIPE), Err(Errno::ECONNRESET)];
    assert!(closed.contains(&answer), "{answer:?}");
    assert_eq!(status(&bundle).lost, 0, "root is answered");
}

/// Connections that say nothing, half a message, no message at all, or too much.
fn flood(bundle: &Bundle, made: &AtomicUsize) {
    let whole = request();
    let mut held = std::collections::VecDeque::new();
    loop {
        let number = made.fetch_add(1, Ordering::Relaxed);
        if number >= FLOOD {
            return;
        }
        let fd = faults::connect(bundle);
        let words: &[u8] = match number % 5 {
            0 => &[],
            1 => &whole[..whole.len() / 2],
            2 => b"\xff\0{}",
            3 => &[b'['; 60_000],
            _ => br#"{"version":99,"ask":"status"}"#,
        };
        if !words.is_empty() {
            // It may have been hung up on already.
            let _ = socket::send(&fd, words, &[]);
        }
        held.push_back(fd);
        if held.len() > 100 {
            held.pop_front();
        }
    }
}

#[test]
fn a_start_and_sessions_work_while_ten_thousand_connections_talk_nonsense() {
    let bundle = site(World::runc(), "").args(["strain", "await"]);
    bundle.write();
    assert_eq!(bundle.create(), 0);
    let keeper = keeper(&bundle);
    let before = descriptors(keeper);
    let (made, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let floods: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| flood(&bundle, &made)))
            .collect();
        bundle.start().ok();
        let mut sessions = 0;
        while made.load(Ordering::Relaxed) < FLOOD || sessions == 0 {
            bundle.exec(["harmless", "work"]).ok();
            sessions += 1;
        }
        over.store(true, Ordering::Relaxed);
        println!("{sessions} sessions meanwhile");
        for flood in floods {
            flood.join().expect("it connects");
        }
    });
    assert_eq!(have(&bundle, "USR1"), "errno EPERM");
    assert!(descriptors(keeper) < before + 80, "{before}");
    buried(&bundle, "flooded");
}
