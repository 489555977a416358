//! Raw kernel interfaces that no crate offers, or offers without the flag that matters here.
//!
//! The only floor with `unsafe`. Each function is a thin, typed cover over one call: no policy, no
//! retry beyond EINTR, no logging; [`confine`] alone is a sequence of them. Errors are
//! [`std::io::Error`]; the caller names the object.

pub mod auxv;
pub mod bound;
pub mod capability;
pub mod confine;
pub mod fanotify;
pub mod fds;
#[cfg(test)]
pub(crate) mod forked;
pub mod memfd;
pub mod memory;
pub mod octal;
pub mod pidfd;
pub mod probe;
pub mod process;
pub mod seccomp;
pub mod shared;
pub mod socket;
pub mod spawn;
pub mod statx;

use std::io;

/// The result of a call that answers -1 and errno.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Repeats a call for as long as a signal interrupts it.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
