//! The auxiliary vector (getauxval(3)): what the kernel told the program at execve.

/// Whether the kernel started this program with more privilege than its caller had (AT_SECURE:
/// set-user-id, set-group-id, file capabilities, or an LSM's word). Its environment is then the
/// caller's and not to be believed.
pub fn at_secure() -> bool {
    // SAFETY: getauxval(3) takes a number, touches no memory of ours and has no preconditions.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
