//! Files, ports and scopes, right by right: each is allowed in one place and refused in another, and
//! the kernel is asked.

use std::fs;

use crate::harness::eventually;
use crate::landlock_site::{assert_tries, site};

#[test]
fn each_list_of_files_grants_its_own_rights_and_no_other() {
    let lines = "files: {read: [/etc], execute: [/srv/x, /etc], read_execute: [/bin, /srv/rx], \
                 read_write: [/tmp, /var], read_write_execute: [/srv/rwx]}";
    let bundle = site(lines);
    for name in ["x", "rx", "rwx"] {
        let folder = bundle.rootfs().join("srv").join(name);
        fs::create_dir_all(&folder).expect("our own bundle");
        fs::copy(bundle.rootfs().join("bin/harmless"), folder.join("program")).expect("as above");
    }
    let program = bundle.rootfs().join("etc/program");
    fs::copy(bundle.rootfs().join("bin/harmless"), program).expect("as above");
    let bundle = bundle.up();
    let held = [
        ("read-file /etc/passwd", "worked"),
        ("write-file /etc/passwd", "EACCES"),
        ("truncate /etc/passwd", "EACCES"),
        ("unlink /etc/passwd", "EACCES"),
        ("read-file /srv/x/program", "EACCES"),
        ("read-file /srv/rx/program", "worked"),
        ("write-file /srv/rx/program", "EACCES"),
        ("write-file /tmp/file", "worked"),
        ("read-file /tmp/file", "worked"),
        ("truncate /tmp/file", "worked"),
        ("rename /tmp/file /tmp/other", "worked"),
        ("rename /tmp/other /var/other", "worked"),
        ("link /var/other /tmp/other", "worked"),
        // Into a place that is not written to, and out of one.
        ("rename /var/other /srv/rx/other", "EACCES"),
        ("rename /srv/rx/program /var/program", "EACCES"),
        // More may be done with a program there: what is moved would gain a right.
        ("rename /var/other /srv/rwx/other", "EXDEV"),
        ("unlink /var/other", "worked"),
        ("write-exec /tmp/dropped", "EACCES"),
        ("write-exec /srv/rwx/dropped", "worked"),
        ("mknod /tmp/device", "EACCES"),
        ("read-file /root", "EACCES"),
    ];
    assert_tries(&bundle, &held);
    // The kernel reads what it executes: one right without the other runs nothing.
    let done = bundle.exec(["/srv/x/program", "work"]).expect(126);
    assert!(done.stderr.contains("do not grant"), "{}", done.stderr);
    bundle.exec(["/etc/program", "work"]).ok();
    bundle.exec(["/srv/rx/program", "work"]).ok();
    let made =
        "cd /tmp && mkfifo pipe && ln -s x link && mkdir folder && rmdir folder && rm pipe link";
    bundle.exec(["sh", "-c", made]).ok();
    for refused in [
        "mkfifo /etc/p",
        "ln -s x /etc/l",
        "mkdir /etc/d",
        "rmdir /home/user",
    ] {
        let done = bundle.exec(["sh", "-c", refused]).refused();
        assert!(done.stderr.contains("Permission denied"), "{}", done.stderr);
    }
}

#[test]
fn listed_ports_work_and_others_do_not_by_either_protocol() {
    let bundle =
        site("files: {read_execute: [/bin]}\nnetwork: {bind_tcp: [8080, 0], connect_tcp: [8081]}")
            .up();
    let held = [
        ("bind4 8080", "worked"),
        ("bind6 8080", "worked"),
        ("bind4 8081", "EACCES"),
        ("bind6 8081", "EACCES"),
        ("connect4 8081", "worked"),
        ("connect6 8081", "worked"),
        ("connect4 8080", "EACCES"),
        ("connect6 8080", "EACCES"),
        // Zero is a number of its own: the kernel's choice.
        ("bind4 0", "worked"),
        ("bind6 0", "worked"),
        ("connect4 0", "EACCES"),
    ];
    assert_tries(&bundle, &held);

    let one_way = site("files: {read_execute: [/bin]}\nnetwork: {bind_tcp: [8080]}").up();
    let held = [
        ("bind4 0", "EACCES"),
        ("bind6 8081", "EACCES"),
        ("connect4 8081", "worked"),
        ("connect6 8081", "worked"),
    ];
    assert_tries(&one_way, &held);

    let none = site("files: {read_execute: [/bin]}\nnetwork: {bind_tcp: [], connect_tcp: []}").up();
    for words in ["bind4 8080", "bind6 0", "connect4 8081", "connect6 8081"] {
        assert_tries(&none, &[(words, "EACCES")]);
    }
}

/// The workload and an exec session are siblings: what one cannot do to the other it can do to its
/// own children.
#[test]
fn scopes_hold_between_workload_and_session_in_both_directions() {
    for (scope, signal, socket) in [
        ("signal, abstract-unix-socket", "EPERM", "EPERM"),
        ("signal", "EPERM", "worked"),
        ("abstract-unix-socket", "worked", "EPERM"),
        ("", "worked", "worked"),
    ] {
        let lines = format!(
            "files: {{read_execute: [/bin, /proc], read_write: [/tmp, /dev/null]}}\nscope: [{scope}]"
        );
        let workload = "hostile listen-unix @workload & until [ -e /tmp/pid ]; do sleep 0.05; done; \
            hostile kill $(cat /tmp/pid); hostile connect-unix @session; \
            hostile kill; hostile connect-unix @workload; echo tried; exec harmless stay";
        let bundle = site(&lines).args(["sh", "-c", workload]).up();
        eventually("the workload listens", || {
            bundle.output().contains("listening").then_some(())
        });
        let session = "hostile kill 1; hostile connect-unix @workload; \
            hostile listen-unix @session >/dev/null & \
            until hostile connect-unix @session >/dev/null; do sleep 0.05; done; \
            hostile connect-unix @session; hostile kill; \
            echo $$ >/tmp/new; mv /tmp/new /tmp/pid; sleep 60";
        let (code, output, _) = bundle.exec_detached(&[], &["sh", "-c", session]);
        assert_eq!(code, 0, "{:?}", bundle.errors());
        let word = |answer: &str| match answer {
            "worked" => "worked".to_owned(),
            errno => format!("errno {errno}"),
        };
        let others = format!("kill: {}\nconnect-unix: {}\n", word(signal), word(socket));
        let own = ("kill: worked\n", "connect-unix: worked\n");
        let said = eventually("the workload has tried", || {
            let output = bundle.output();
            output.contains("staying\n").then_some(output)
        });
        assert_eq!(
            said,
            format!("listening\n{others}{}{}tried\nstaying\n", own.0, own.1),
            "[{scope}]"
        );
        let said = fs::read_to_string(output).expect("our own file");
        assert_eq!(said, format!("{others}{}{}", own.1, own.0), "[{scope}]");
    }
}
