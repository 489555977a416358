//! For tests: a piece of one runs in a process of its own, where it may change what cannot be
//! changed back: mounts, credentials, filters.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};

use super::pidfd::{self, Ended};
use super::{check, process};

/// What a piece of a test comes to.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Longest that a piece may take, seconds.
const LONGEST: libc::c_uint = 20;

/// Where a child tells why it failed; negative in the process that runs the tests.
static TOLD: AtomicI32 = AtomicI32::new(-1);
static HOOK: Once = Once::new();

/// Set before any child is made: to set it in one would wait for ever where another test was just
/// failing, and the usual one takes locks.
fn tell_of_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match TOLD.load(Ordering::Relaxed) {
        -1 => usual(panic),
        number => {
            process::write_all(number, panic.to_string().as_bytes());
        }
    }));
}

/// Runs `piece` in a forked child, single-threaded, and fails with what it fails with.
pub(crate) fn run(piece: impl FnOnce() -> Outcome<()>) {
    let (ended, words) = outcome(piece);
    assert_eq!(ended, Ended::Exited(0), "{words}");
}

/// Runs `piece` in a forked child: how that ended, and what it failed with.
pub(crate) fn outcome(piece: impl FnOnce() -> Outcome<()>) -> (Ended, String) {
    HOOK.call_once(tell_of_panics);
    let (near, far) = std::io::pipe().unwrap();
    // SAFETY: the child runs one closure that neither waits for a thread nor for a lock that one
    // may hold: glibc makes malloc usable after fork, and nothing prints. It never returns.
    let child = check(unsafe { libc::fork() }.into()).unwrap() as i32;
    if child == 0 {
        // SAFETY: alarm takes a number; nothing handles the signal.
        unsafe { libc::alarm(LONGEST) };
        drop(near);
        let number = far.as_raw_fd();
        TOLD.store(number, Ordering::Relaxed);
        match catch_unwind(AssertUnwindSafe(piece)) {
            Ok(Ok(())) => process::exit_now(0),
            Ok(Err(error)) => {
                process::write_all(number, error.to_string().as_bytes());
            }
            Err(_) => {}
        }
        process::exit_now(101)
    }
    drop(far);
    let pidfd = pidfd::open(child).unwrap();
    let ended = end(&pidfd);
    // Grandchildren may hold the other end.
    let mut words = vec![0; 4096];
    let mut polled = [PollFd::new(near.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut polled, PollTimeout::ZERO).unwrap() > 0;
    let count = if ready {
        (&near).read(&mut words).unwrap()
    } else {
        0
    };
    words.truncate(count);
    (ended, String::from_utf8_lossy(&words).into_owned())
}

/// Waits for a child.
pub(crate) fn end(child: &OwnedFd) -> Ended {
    let mut polled = [PollFd::new(child.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::NONE).unwrap();
    pidfd::wait(child).expect("it has ended")
}

/// In a forked child: a mount namespace of its own, and a fresh tmpfs on `folder`.
pub(crate) fn private_tmpfs(folder: &Path) -> Outcome<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)?;
    mount(none, folder, Some("tmpfs"), MsFlags::empty(), none)?;
    Ok(())
}

/// A folder that is removed with its owner.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A new folder.
pub(crate) fn folder() -> Folder {
    let mut name = std::env::temp_dir()
        .join("mantlet-sys-XXXXXX\0")
        .into_os_string()
        .into_encoded_bytes();
    // SAFETY: mkdtemp(3) rewrites the last six letters before the NUL.
    let made = unsafe { libc::mkdtemp(name.as_mut_ptr().cast()) };
    assert!(!made.is_null());
    name.pop();
    Folder(String::from_utf8(name).unwrap().into())
}
