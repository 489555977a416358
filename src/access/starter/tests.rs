//! What the kernel is known to execute with a file, and, where it can be tried, what this one does.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitStatus};

use super::*;

fn by(bytes: &[u8]) -> Option<Starter> {
    of(|from, into| {
        let rest = usize::try_from(from)
            .ok()
            .and_then(|from| bytes.get(from..));
        let rest = rest.unwrap_or_default();
        // One at a time: a file may give less than it is asked for.
        let count = rest.len().min(into.len()).min(7);
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    })
}

fn script(bytes: &[u8]) -> Option<String> {
    match by(bytes)? {
        Starter::Interpreter(path) => Some(String::from_utf8_lossy(&path).into_owned()),
        Starter::Loader(_) => None,
    }
}

#[test]
fn a_scripts_first_line_names_its_interpreter() {
    for (text, name) in [
        (&b"#!/bin/sh\necho"[..], Some("/bin/sh")),
        (b"#! \t/bin/sh -e\nexit", Some("/bin/sh")),
        (b"#!/usr/bin/env", Some("/usr/bin/env")),
        (b"#!/bin/sh\0-e\n", Some("/bin/sh")),
        (b"#!/bin/sh\t\xff\n", Some("/bin/sh")),
        // From the working directory.
        (b"#!sh\n", Some("sh")),
        // No such file, most often.
        (b"#!/bin/sh\r\n", Some("/bin/sh\r")),
        (b"#!\n/bin/sh", None),
        (b"#! \t \n", None),
        (b"#!\0/bin/sh\n", None),
        (b"#!", None),
        (b"exit", None),
        (b" #!/bin/sh\n", None),
        (b"", None),
    ] {
        assert_eq!(script(text).as_deref(), name, "{text:?}");
    }
}

#[test]
fn a_name_that_goes_on_behind_what_the_kernel_reads_is_none() {
    let long = |name: usize, rest: &str| format!("#!/{}{rest}", "x".repeat(name - 1));
    assert_eq!(
        script(long(253, "\n").as_bytes()).map(|n| n.len()),
        Some(253)
    );
    assert_eq!(
        script(long(253, " -e\n").as_bytes()).map(|n| n.len()),
        Some(253)
    );
    // Shorter than the buffer, a file's end is one.
    assert_eq!(script(long(253, "").as_bytes()).map(|n| n.len()), Some(253));
    assert_eq!(script(long(254, "\n").as_bytes()), None);
    assert_eq!(script(long(254, "").as_bytes()), None);
    // The argument may be cut.
    let text = format!("#!/bin/sh {}\n", "x".repeat(999));
    assert_eq!(script(text.as_bytes()).as_deref(), Some("/bin/sh"));
    let text = format!("#!{}/bin/sh\n", " ".repeat(254));
    assert_eq!(script(text.as_bytes()), None);
}

/// Whatever is executed by a script's name, this kernel and we agree on whose it is.
#[test]
fn the_kernel_takes_the_same_word() {
    let scratch = std::env::temp_dir().join(format!("mantlet-starter-{}", std::process::id()));
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir(&scratch).unwrap();
    let put = |name: &str, text: &[u8]| {
        let path = scratch.join(name);
        let mut file = OpenOptions::new();
        let file = file.create_new(true).write(true).mode(0o755).open(&path);
        file.unwrap().write_all(text).unwrap();
        path
    };
    // While another thread forks, its child may hold what was written open for a moment.
    let run = |name: &str| loop {
        let path = scratch.join(name);
        let ran = Command::new(path).current_dir("/bin").status();
        match ran {
            Err(error) if error.raw_os_error() == Some(nix::libc::ETXTBSY) => {}
            ran => return ran,
        }
    };
    let folder = scratch.display();
    // A shell is tried with what the kernel would not execute (execvp(3)); it ends with 3.
    for text in [
        "#!/bin/true\nexit 3\n".to_owned(),
        "#! \t/bin/true -e\nexit 3\n".to_owned(),
        "#!/bin/true\0x\nexit 3\n".to_owned(),
        "#!/bin/true\r\nexit 3\n".to_owned(),
        format!("#!{}/bin/true\nexit 3\n", " ".repeat(254)),
        format!("#!/bin/true -e {}\nexit 3\n", "#".repeat(300)),
        format!("#!/bin/true{}\nexit 3\n", "e".repeat(300)),
        "#!true\nexit 3\n".to_owned(),
        "#!\0/bin/true\nexit 3\n".to_owned(),
    ] {
        put("script", text.as_bytes());
        let ran = run("script");
        let _ = fs::remove_file(scratch.join("script"));
        let started = script(text.as_bytes());
        let there = matches!(started.as_deref(), Some("/bin/true" | "true"));
        let done = ran.as_ref().is_ok_and(ExitStatus::success);
        assert_eq!(done, there, "{text:?}: {ran:?}, {started:?}");
    }
    // Each is the interpreter of the next; the first one's is a program with a loader.
    put("level0", b"#!/bin/true\nexit 3\n");
    for level in 1..6 {
        put(
            &format!("level{level}"),
            format!("#!{folder}/level{}\n", level - 1).as_bytes(),
        );
    }
    let runs = |level: usize| run(&format!("level{level}"));
    // A script, four more, the shell; and its loader makes seven.
    assert!(runs(MOST_PROGRAMS - 3).unwrap().success());
    let refused = runs(MOST_PROGRAMS - 2).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(nix::libc::ELOOP));
    fs::remove_dir_all(&scratch).unwrap();
}

#[test]
fn a_program_names_its_loader() {
    let shell = fs::read("/bin/sh").unwrap();
    let Some(Starter::Loader(path)) = by(&shell) else {
        panic!("/bin/sh has a loader");
    };
    assert!(path.starts_with(b"/lib") && !path.contains(&0), "{path:?}");
    let table = usize::try_from(u64::from_le_bytes(shell[32..40].try_into().unwrap())).unwrap();
    for cut in [0, 5, 40, 63, table + 10] {
        assert_eq!(by(&shell[..cut]), None, "{cut}");
    }
    let mut other = shell.clone();
    // Of another size than the kernel takes.
    other[54] = 57;
    assert_eq!(by(&other), None);
    assert_eq!(by(b"\x7fELF\x01\x01"), None);
    let unreadable = of(|_, _| Err(io::ErrorKind::PermissionDenied.into()));
    assert_eq!(unreadable, None);
    let own = fs::read("/proc/self/exe").unwrap();
    // A static one.
    assert_eq!(by(&own), None);
}
