//! The same answers from the kernel: both filters installed in a child, calls made, errno compared.

use std::process::{Command, Stdio};

use oci_spec::runtime::Spec;

use super::{Layers, plan};
use crate::profile::Profile;

/// Asks the kernel through a small Python program, because this crate has no `unsafe` outside
/// `sys`: it installs the filter it is given, makes calls, and prints their errnos.
const CHILD: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
program = open(sys.argv[1], 'rb').read()
calls = [tuple(int(x, 0) for x in a.split(',')) for a in sys.argv[2:]]
buffer = ctypes.create_string_buffer(program)
fprog = struct.pack('HxxxxxxP', len(program) // 8, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.syscall(317, 1, 0, fprog) == 0
out = []
for call in calls:
    ctypes.set_errno(0)
    args = [ctypes.c_long(a if a < 1 << 63 else a - (1 << 64)) for a in call]
    answer = libc.syscall(*args)
    out.append(str(ctypes.get_errno() if answer == -1 else 0))
os.write(1, ' '.join(out).encode())
os._exit(0)
"#;

fn ask(program: &[u8], calls: &[&str]) -> Option<Vec<i32>> {
    let path = std::env::temp_dir().join(format!("mantlet-filter-{}", std::process::id()));
    std::fs::write(&path, program).unwrap();
    let child = Command::new("python3")
        .args(["-c", CHILD])
        .arg(&path)
        .args(calls)
        .stderr(Stdio::inherit())
        .output();
    let _ = std::fs::remove_file(&path);
    let output = match child {
        Ok(output) => output,
        Err(error) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "python3 is needed: {error}"
            );
            eprintln!("skipped: python3 is missing ({error})");
            return None;
        }
    };
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.split(' ').map(|n| n.parse().unwrap()).collect())
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_kernel_answers_as_the_exact_filter_was_decided() {
    let spec: Spec = serde_json::from_str(include_str!("../testdata/ctr-seccomp.json")).unwrap();
    let engine = spec.linux().as_ref().unwrap().seccomp().as_ref();
    let profile = Profile::builtin("restricted").unwrap();
    // Without notification, tripwires answer their errno by themselves.
    let planned = plan(Layers::from(&&profile), engine, false).unwrap();
    // getppid; clone3; keyctl; io_uring_setup; socket(AF_ALG, 5, 0); ioctl(-1, TIOCSTI) with and
    // without a dirty upper half; ioctl(-1, TCGETS); memfd_create("", 0); unknown; unshare(0);
    // clone(CLONE_NEWUSER); personality(query); personality(8); -1.
    let calls = [
        "110",
        "435,0,0",
        "250,0,0,0",
        "425,1,0",
        "41,38,5,0",
        "16,0xffffffff,0x5412,0",
        "16,0xffffffff,0xdead00005412,0",
        "16,0xffffffff,0x5401,0",
        "319,0,0",
        "999",
        "272,0",
        "56,0x10000000",
        "135,0xffffffff",
        "135,8",
        "0xffffffff",
    ];
    let Some(found) = ask(&planned.filter.program, &calls) else {
        return;
    };
    use libc::{EAFNOSUPPORT, EBADF, ENOSYS, EPERM};
    let want = [
        0,
        ENOSYS,
        EPERM,
        ENOSYS,
        EAFNOSUPPORT,
        EPERM,
        EPERM,
        EBADF,
        EPERM,
        ENOSYS,
        EPERM,
        EPERM,
        0,
        EPERM,
        ENOSYS,
    ];
    assert_eq!(found, want);
}
