use super::*;

const FILE: u32 = libc::S_IFREG | 0o644;
const DIRECTORY: u32 = libc::S_IFDIR | 0o755;
const LINK: u32 = libc::S_IFLNK;

fn told(all: &[Asked]) -> Vec<String> {
    let place = |place| match place {
        Place::Itself => "",
        Place::FirstEntry => "1:",
        Place::SecondEntry => "2:",
    };
    all.iter()
        .map(|asked| format!("{}{}", place(asked.place), asked.right))
        .collect()
}

#[track_caller]
fn opens(flags: i32, mode: Option<u32>, want: &[&str]) {
    assert_eq!(told(&open(flags as u64, mode)), want, "{flags:#o} {mode:?}");
}

#[test]
fn an_open_asks_for_what_its_flags_say_and_its_file_is() {
    use libc::*;
    opens(O_RDONLY, Some(FILE), &["read-file"]);
    opens(O_WRONLY, Some(FILE), &["write-file"]);
    opens(O_RDWR | O_APPEND, Some(FILE), &["read-file", "write-file"]);
    opens(O_WRONLY | O_TRUNC, Some(FILE), &["write-file", "truncate"]);
    opens(O_RDONLY | O_TRUNC, Some(FILE), &["read-file", "truncate"]);
    opens(O_RDONLY, Some(DIRECTORY), &["read-dir"]);
    opens(O_RDONLY | O_DIRECTORY, Some(DIRECTORY), &["read-dir"]);
    opens(
        O_RDWR | O_CLOEXEC,
        Some(S_IFCHR),
        &["read-file", "write-file"],
    );
    opens(O_WRONLY | O_TRUNC, Some(S_IFIFO), &["write-file"]);
    opens(O_ACCMODE, Some(S_IFCHR), &[]);
}

#[test]
fn an_open_that_makes_a_file_asks_its_directory() {
    use libc::*;
    let creates = O_CREAT | O_WRONLY | O_TRUNC;
    opens(creates, None, &["1:make-reg", "write-file"]);
    opens(creates, Some(FILE), &["write-file", "truncate"]);
    opens(
        O_CREAT | O_RDWR | O_EXCL,
        None,
        &["1:make-reg", "read-file", "write-file"],
    );
    opens(
        O_TMPFILE | O_RDWR,
        Some(DIRECTORY),
        &["read-file", "write-file"],
    );
    opens(
        O_TMPFILE | O_WRONLY | O_EXCL,
        Some(DIRECTORY),
        &["write-file"],
    );
}

#[test]
fn an_open_that_fails_anyway_asks_for_nothing() {
    use libc::*;
    opens(O_RDONLY, None, &[]);
    opens(O_CREAT | O_EXCL | O_WRONLY, Some(FILE), &[]);
    opens(O_WRONLY, Some(DIRECTORY), &[]);
    opens(O_CREAT, Some(DIRECTORY), &[]);
    opens(O_DIRECTORY, Some(FILE), &[]);
    // A handle is none.
    opens(O_PATH, Some(FILE), &[]);
    opens(O_PATH | O_DIRECTORY, Some(DIRECTORY), &[]);
}

#[test]
fn links_and_renames_ask_both_directories() {
    assert_eq!(told(&link(FILE, true)), ["2:make-reg"]);
    assert_eq!(
        told(&link(LINK, false)),
        ["2:make-sym", "1:refer", "2:refer"]
    );
}

fn renaming(mode: u32, replaced: Option<u32>) -> Renaming {
    Renaming {
        mode,
        replaced,
        exchange: false,
        keeps: false,
        same_directory: true,
    }
}

#[test]
fn a_rename_removes_makes_and_replaces() {
    let plain = renaming(FILE, None);
    assert_eq!(told(&rename(plain)), ["1:remove-file", "2:make-reg"]);
    assert_eq!(
        told(&rename(renaming(FILE, Some(FILE)))),
        ["1:remove-file", "2:make-reg", "2:remove-file"]
    );
    let elsewhere = Renaming {
        same_directory: false,
        ..renaming(DIRECTORY, None)
    };
    assert_eq!(
        told(&rename(elsewhere)),
        ["1:remove-dir", "2:make-dir", "1:refer", "2:refer"]
    );
    let exchange = Renaming {
        exchange: true,
        ..renaming(FILE, Some(DIRECTORY))
    };
    assert_eq!(
        told(&rename(exchange)),
        ["1:make-dir", "1:remove-file", "2:make-reg", "2:remove-dir"]
    );
    let alone = Renaming {
        replaced: None,
        ..exchange
    };
    assert_eq!(rename(alone), [], "nothing to change places with");
}

#[test]
fn a_rename_that_is_to_replace_nothing_fails_where_something_is() {
    let keeps = Renaming {
        keeps: true,
        ..renaming(FILE, Some(FILE))
    };
    assert_eq!(rename(keeps), [], "EEXIST");
    let free = Renaming {
        replaced: None,
        ..keeps
    };
    assert_eq!(told(&rename(free)), ["1:remove-file", "2:make-reg"]);
    let both = Renaming {
        exchange: true,
        ..keeps
    };
    assert_eq!(rename(both), [], "EINVAL");
}

fn at(dir: Option<i32>, path: u64) -> At {
    At {
        dir,
        path,
        empty: false,
    }
}

#[test]
fn every_call_names_its_paths_where_its_manual_has_them() {
    let args = [11, 22, 33, 44, 0, 66];
    let cwd = at(None, 11);
    let (first, second) = (at(Some(11), 22), at(Some(33), 44));
    for (name, want) in [
        ("open", FileCall::Open { at: cwd, flags: 22 }),
        (
            "openat",
            FileCall::Open {
                at: first,
                flags: 33,
            },
        ),
        ("openat2", FileCall::OpenHow { at: first, how: 33 }),
        (
            "creat",
            FileCall::Open {
                at: cwd,
                flags: 0o1101,
            },
        ),
        (
            "execve",
            FileCall::Execute {
                at: cwd,
                follow: true,
            },
        ),
        (
            "uselib",
            FileCall::Execute {
                at: cwd,
                follow: true,
            },
        ),
        (
            "execveat",
            FileCall::Execute {
                at: first,
                follow: true,
            },
        ),
        ("truncate", FileCall::Truncate { at: cwd }),
        ("truncate64", FileCall::Truncate { at: cwd }),
        (
            "unlink",
            FileCall::Remove {
                at: cwd,
                right: "remove-file",
            },
        ),
        (
            "unlinkat",
            FileCall::Remove {
                at: first,
                right: "remove-file",
            },
        ),
        (
            "rmdir",
            FileCall::Remove {
                at: cwd,
                right: "remove-dir",
            },
        ),
        (
            "mkdir",
            FileCall::Make {
                at: cwd,
                right: "make-dir",
            },
        ),
        (
            "mkdirat",
            FileCall::Make {
                at: first,
                right: "make-dir",
            },
        ),
        (
            "mknod",
            FileCall::Make {
                at: cwd,
                right: "make-reg",
            },
        ),
        (
            "mknodat",
            FileCall::Make {
                at: first,
                right: "make-reg",
            },
        ),
        (
            "symlink",
            FileCall::Make {
                at: at(None, 22),
                right: "make-sym",
            },
        ),
        (
            "symlinkat",
            FileCall::Make {
                at: at(Some(22), 33),
                right: "make-sym",
            },
        ),
        (
            "link",
            FileCall::Link {
                from: cwd,
                to: at(None, 22),
                follow: false,
            },
        ),
        (
            "linkat",
            FileCall::Link {
                from: first,
                to: second,
                follow: false,
            },
        ),
        (
            "rename",
            FileCall::Rename {
                from: cwd,
                to: at(None, 22),
                exchange: false,
                keeps: false,
            },
        ),
        (
            "renameat",
            FileCall::Rename {
                from: first,
                to: second,
                exchange: false,
                keeps: false,
            },
        ),
        (
            "renameat2",
            FileCall::Rename {
                from: first,
                to: second,
                exchange: false,
                keeps: false,
            },
        ),
    ] {
        assert!(CALLS.contains(&name), "{name}");
        assert_eq!(of(name, &args), Some(want), "{name}");
    }
    assert!(CALLS.iter().all(|name| of(name, &args).is_some()));
    for name in ["stat", "chmod", "ftruncate", "read", "chdir", "access"] {
        assert_eq!(of(name, &args), None, "{name}");
    }
}

#[test]
fn flags_and_types_in_registers_choose_the_right() {
    let cwd = u64::from((-100_i32) as u32);
    let here = at(None, 5);
    let removes = of("unlinkat", &[cwd, 5, 0x200, 0, 0, 0]);
    assert_eq!(
        removes,
        Some(FileCall::Remove {
            at: here,
            right: "remove-dir"
        })
    );
    for (mode, right) in [
        (libc::S_IFIFO, "make-fifo"),
        (libc::S_IFSOCK, "make-sock"),
        (libc::S_IFCHR, "make-char"),
        (libc::S_IFBLK, "make-block"),
        (libc::S_IFREG, "make-reg"),
        (0o644, "make-reg"),
    ] {
        let made = of("mknodat", &[cwd, 5, u64::from(mode), 0, 0, 0]);
        assert_eq!(made, Some(FileCall::Make { at: here, right }));
    }
    let exchanged = of("renameat2", &[cwd, 5, cwd, 6, 2, 0]);
    let (from, to) = (here, at(None, 6));
    assert_eq!(
        exchanged,
        Some(FileCall::Rename {
            from,
            to,
            exchange: true,
            keeps: false,
        })
    );
    let by_descriptor = of("execveat", &[7, 5, 0, 0, 0x1000, 0]);
    let empty = At {
        dir: Some(7),
        path: 5,
        empty: true,
    };
    assert_eq!(
        by_descriptor,
        Some(FileCall::Execute {
            at: empty,
            follow: true
        })
    );
}

#[test]
fn addresses_are_ports_and_paths() {
    let family = |number: i32| (number as u16).to_ne_bytes().to_vec();
    let inet = [family(libc::AF_INET), vec![0x1f, 0x90, 127, 0, 0, 1]].concat();
    assert_eq!(address(&inet, true), Some(Address::Port(8080)));
    let unix = [family(libc::AF_UNIX), b"/run/s\0rest".to_vec()].concat();
    assert_eq!(
        address(&unix, true),
        Some(Address::Path(b"/run/s".to_vec()))
    );
    for other in [
        [family(libc::AF_UNIX), b"\0abstract".to_vec()].concat(),
        family(libc::AF_UNIX),
        family(libc::AF_NETLINK),
        family(libc::AF_INET),
        vec![2],
        Vec::new(),
    ] {
        assert_eq!(address(&other, true), None, "{other:?}");
    }
    // Any address of no family: bound as AF_INET, and the end of a connection.
    let any = [family(libc::AF_UNSPEC), vec![0x1f, 0x90, 0, 0, 0, 0]].concat();
    assert_eq!(address(&any, true), Some(Address::Port(8080)));
    assert_eq!(address(&any, false), None);
    let one = [family(libc::AF_UNSPEC), vec![0x1f, 0x90, 127, 0, 0, 1]].concat();
    assert_eq!(address(&one, true), None);
    let args = [3, 10, 16, 0, 20, 28];
    assert_eq!(
        socket("bind", &args).map(|a| (a.address, a.binds)),
        Some((10, true))
    );
    assert_eq!(
        socket("connect", &args).map(|a| (a.length, a.binds)),
        Some((16, false))
    );
    let sends = socket("sendto", &args).unwrap();
    assert_eq!((sends.address, sends.fast_open), (20, Some(false)));
    assert_eq!(socket("sendto", &[3, 10, 16, 0, 0, 0]), None);
}

#[test]
fn a_mapping_is_a_call_on_a_file_where_it_is_one_of_a_file_to_be_executed() {
    use libc::*;
    let call =
        |prot: i32, flags: i32, fd: u64| of("mmap", &[0, 4096, prot as u64, flags as u64, fd, 0]);
    let executed = PROT_READ | PROT_EXEC;
    let high = 0xffff_0000_0000;
    assert_eq!(
        call(executed, MAP_PRIVATE, high | 3),
        Some(FileCall::Map { fd: 3 })
    );
    assert_eq!(call(PROT_READ, MAP_PRIVATE, 3), None);
    assert_eq!(call(executed, MAP_PRIVATE | MAP_ANONYMOUS, 3), None);
    assert!(
        crate::seal::rights::file(MAP_EXECUTE).is_none(),
        "no right of Landlock's"
    );
}
