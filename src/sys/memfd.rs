//! Sealed memory files: init's program and its policy, which nobody can change any more.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::check;

/// linux/memfd.h, 6.3: the file may be executed whatever `vm.memfd_noexec` says.
const MFD_EXEC: libc::c_uint = 0x10;
/// linux/memfd.h, 6.3: born without execute bits and sealed so.
const MFD_NOEXEC_SEAL: libc::c_uint = 0x8;
/// linux/fcntl.h, 6.3: the execute bits of the mode are fixed.
const F_SEAL_EXEC: libc::c_int = 0x20;

const SEALS: libc::c_int =
    libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// What a sealed memfd is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A program: executable by all, readable by nobody without DAC_OVERRIDE, so that the process
    /// that runs it is born non-dumpable.
    Program,
    /// Data: never executable.
    Bytes,
}

/// A memfd that holds all of `source`, sealed against every change. Close-on-exec.
///
/// # Errors
/// Those of memfd_create(2), write(2) and fcntl(2); EACCES where `vm.memfd_noexec` is 2 and a
/// program is asked for.
pub fn sealed(name: &CStr, purpose: Use, mut source: impl Read) -> io::Result<OwnedFd> {
    let mut file = File::from(create(name, purpose)?);
    // From a file to a file this is sendfile(2): the bytes do not pass through this process.
    io::copy(&mut source, &mut file)?;
    let fd = OwnedFd::from(file);
    if purpose == Use::Program {
        // SAFETY: fchmod(2) takes a descriptor that `fd` keeps open, and a mode.
        check(unsafe { libc::fchmod(fd.as_raw_fd(), 0o111) }.into())?;
    }
    // SAFETY: fcntl(2) F_ADD_SEALS takes an int; the descriptor is a memfd with sealing allowed.
    let add = |seals: libc::c_int| {
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }.into())
    };
    // F_SEAL_EXEC is younger than the rest and implied by MFD_NOEXEC_SEAL, so it may be missing.
    if add(SEALS | F_SEAL_EXEC).is_err() {
        add(SEALS)?;
    }
    Ok(fd)
}

fn create(name: &CStr, purpose: Use) -> io::Result<OwnedFd> {
    let base = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let newer = match purpose {
        Use::Program => MFD_EXEC,
        Use::Bytes => MFD_NOEXEC_SEAL,
    };
    // SAFETY: memfd_create(2) takes a NUL-terminated name, which `CStr` is, and flags.
    let call = |flags| check(unsafe { libc::memfd_create(name.as_ptr(), flags) }.into());
    let raw = match call(base | newer) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => call(base),
        other => other,
    }?;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as libc::c_int) })
}

/// Whether nobody can change what `fd` holds.
pub fn is_sealed(fd: impl AsFd) -> bool {
    // SAFETY: fcntl(2) F_GET_SEALS takes no argument; the descriptor is open for this borrow.
    let seals = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GET_SEALS) };
    seals != -1 && seals & SEALS == SEALS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn sealed_bytes_can_be_read_and_never_written() {
        let fd = sealed(c"test", Use::Bytes, &b"policy"[..]).unwrap();
        assert!(is_sealed(&fd));
        let file = File::from(fd);
        let mut back = [0; 6];
        file.read_exact_at(&mut back, 0).unwrap();
        assert_eq!(&back, b"policy");
        let error = file.write_at(b"x", 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn an_ordinary_file_is_not_sealed() {
        assert!(!is_sealed(File::open("/proc/self/exe").unwrap()));
    }
}
